//! Graphics processors: buffers, and tiles in the memory of workgroups.

use super::{Backend, Texts, WeightSums};
use crate::gpu::{Core, Family};

pub(super) const BACKEND: Backend = Backend {
    name: "gpu",
    recognises: |_| true,
    texts: Texts {
        mirrors: false,
        inputs: include_str!("../../../shaders/shared/inputs_buffer.wgsl"),
        storage: false,
        previous: None,
    },
    features: wgpu::Features::TIMESTAMP_QUERY,
    large_buffers: true,
    cores,
    submission_flops: [30_000_000_000, 500_000_000_000],
    weight_sums: WeightSums {
        tile: [64, 64],
        busy: 256,
        cached: usize::MAX,
    },
    // Not measured.
    images_first: false,
    dot4_is_fast: true,
    packed_lanes: false,
};

fn cores(family: Family, rows: u32) -> Vec<Core> {
    match family {
        Family::Elementwise => Vec::new(),
        Family::MatrixVector => vec![Core::Vector { threads: 64 }],
        Family::Matrix(_) | Family::MatrixBytes => vec![Core::Workgroup],
        Family::MatrixRegister => vec![Core::Register { rows, columns: 2 }],
    }
}
