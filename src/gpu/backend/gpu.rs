//! Graphics processors: buffers, and tiles in the memory of workgroups.

use super::{Backend, DepthSplits, RowRanges, Texts, WeightSums};
use crate::gpu::{Core, Family};

pub(super) const BACKEND: Backend = Backend {
    name: "gpu",
    recognises: |_| true,
    texts: Texts {
        textures: false,
        inputs: include_str!("../../../shaders/shared/inputs_buffer.wgsl"),
        storage: false,
        previous: None,
    },
    features: wgpu::Features::TIMESTAMP_QUERY,
    large_buffers: true,
    cores,
    submission_flops: [30_000_000_000, 500_000_000_000],
    // `few` and `short` are calculated, not measured: a workgroup alone on its compute unit takes about a microsecond for
    // 16 steps, and a dispatch more costs 7 (the second measured on an H200), so that 512 steps take 32 and four ranges of 128 with their sum
    // 16.
    depth_splits: Some(DepthSplits {
        busy: 1024,
        least: 512,
        few: 64,
        short: 128,
    }),
    weight_sums: WeightSums {
        tile: [64, 64],
        busy: 1024,
        cached: usize::MAX,
    },
    // Short ranges, because there are threads enough, and many, because 64 threads add them: one thread took 45
    // microseconds for 512 of them on an H200.
    row_ranges: RowRanges {
        least: 16,
        most: 2048,
        together: true,
    },
    // Not measured: of the products of vgg16 with 128 images, forward and to the input, it leaves out a fifth.
    images_first: true,
    fours: true,
    dot4_is_fast: true,
    packed_lanes: false,
    tiles_keep_bits: true,
    probe_threads: 1 << 18,
};

fn cores(family: Family, _: u32) -> Vec<Core> {
    match family {
        Family::Elementwise => Vec::new(),
        Family::MatrixVector => vec![Core::Vector {
            threads: 64,
            columns: 1,
        }],
        Family::Matrix(_) => [(16, 16), (32, 16), (32, 32)]
            .map(|(rows, columns)| Core::Workgroup { rows, columns })
            .into(),
        Family::MatrixPacked => vec![Core::Workgroup {
            rows: 16,
            columns: 16,
        }],
    }
}

/// Steps of the depth that `shaders/shared/matrix_workgroup.wgsl` takes at once.
pub(in crate::gpu) fn steps(adapter: &wgpu::AdapterInfo) -> u32 {
    const INTEL: u32 = 0x8086;
    // A browser gives no number.
    let is_intel = adapter.vendor == INTEL || adapter.name.to_lowercase().contains("intel");
    if is_intel { 1 } else { 4 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn intels_gpus_take_one_step_at_once() {
        let named = |vendor, name: &str| wgpu::AdapterInfo {
            vendor,
            name: name.to_owned(),
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::IntegratedGpu, wgpu::Backend::Vulkan)
        };
        assert_eq!(super::steps(&named(0x8086, "Arc A770")), 1);
        assert_eq!(super::steps(&named(0, "intel xe-hpg")), 1);
        assert_eq!(super::steps(&named(0x10de, "NVIDIA H200")), 4);
    }
}
