//! lavapipe with subgroups of eight lanes: as without, but the lanes of a subgroup share a product.

use super::{Backend, cpu_storage};
use crate::gpu::{Core, Family};

pub(super) const BACKEND: Backend = Backend {
    name: "cpu-subgroup",
    recognises: |adapter| adapter.is_lavapipe() && adapter.has_subgroups,
    features: wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::SUBGROUP),
    cores,
    packed_lanes: true,
    // Near edges, cores of other sizes leave out other positions of a sum.
    tiles_keep_bits: false,
    probe_threads: 1 << 14,
    ..cpu_storage::BACKEND
};

fn cores(family: Family, rows: u32) -> Vec<Core> {
    let mut cores = cpu_storage::cores(family, rows);
    if let Family::Matrix(dearer) = family {
        for shared in [dearer, dearer.other()] {
            cores.extend([2, 1].map(|own| Core::Subgroup { shared, own }));
        }
    }
    cores
}
