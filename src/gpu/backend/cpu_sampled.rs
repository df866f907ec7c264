//! SwiftShader and other drivers on a CPU: sampled textures, because a load from a buffer at an address that differs
//! between threads costs many times as much, and tiles in registers.

use super::{Backend, RowRanges, Texts, WeightSums};
use crate::gpu::{Core, Family};

pub(super) const PREVIOUS: &str = include_str!("../../../shaders/shared/previous_sampled.wgsl");

/// So that what a tile reads of a range of positions stays in a core's cache until the next tile reads it again.
pub(super) const WEIGHT_SUMS: WeightSums = WeightSums {
    tile: [16, 8],
    busy: 512,
    cached: 256,
};

/// Ranges enough for every core, few enough that one thread adds them in no time.
pub(super) const ROW_RANGES: RowRanges = RowRanges {
    least: 64,
    most: 512,
    together: false,
};

pub(super) const BACKEND: Backend = Backend {
    name: "cpu-sampled",
    recognises: |adapter| {
        adapter.info.device_type == wgpu::DeviceType::Cpu
            || adapter.is_named(&["swiftshader", "warp"])
    },
    texts: Texts {
        textures: true,
        inputs: include_str!("../../../shaders/shared/inputs_sampled_texture.wgsl"),
        storage: false,
        previous: Some([PREVIOUS; 2]),
    },
    features: wgpu::Features::TIMESTAMP_QUERY,
    large_buffers: false,
    cores,
    submission_flops: [2_000_000_000; 2],
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

/// Three blocks of columns take a fifth fewer loads for a product, which pays where a load is dear.
fn cores(family: Family, rows: u32) -> Vec<Core> {
    match family {
        Family::Elementwise => Vec::new(),
        Family::MatrixVector => vec![Core::Vector {
            threads: 8,
            columns: 2,
        }],
        _ => vec![Core::Register { rows, columns: 3 }],
    }
}
