//! lavapipe without subgroups of eight: storage textures, whose reads take half of the time of sampled ones, and tiles
//! in registers.

use super::cpu_sampled::{PREVIOUS, ROW_RANGES, WEIGHT_SUMS};
use super::{Backend, Texts};
use crate::gpu::{Core, Family};

pub(super) const BACKEND: Backend = Backend {
    name: "cpu-storage",
    recognises: |adapter| adapter.is_lavapipe(),
    texts: Texts {
        textures: true,
        inputs: include_str!("../../../shaders/shared/inputs_storage_texture.wgsl"),
        storage: true,
        previous: Some([
            PREVIOUS,
            include_str!("../../../shaders/shared/previous_storage.wgsl"),
        ]),
    },
    features: wgpu::Features::TIMESTAMP_QUERY,
    large_buffers: false,
    cores,
    submission_flops: [8_000_000_000; 2],
    depth_splits: None,
    weight_sums: WEIGHT_SUMS,
    row_ranges: ROW_RANGES,
    images_first: true,
    fours: false,
    dot4_is_fast: false,
    packed_lanes: false,
    // Near edges, cores of other sizes leave out other positions of a sum.
    tiles_keep_bits: false,
    probe_threads: 1 << 14,
};

/// Two blocks of columns keep a tile in the registers that lavapipe has; three pay only if they leave fewer columns
/// empty.
pub(super) fn cores(family: Family, rows: u32) -> Vec<Core> {
    let register = |columns| Core::Register { rows, columns };
    match family {
        Family::Elementwise => Vec::new(),
        Family::MatrixVector => vec![Core::Vector {
            threads: 8,
            columns: 2,
        }],
        _ => vec![register(2), register(3)],
    }
}
