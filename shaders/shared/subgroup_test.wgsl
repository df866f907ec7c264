// What shared/matrix_subgroup.wgsl takes for granted: of a workgroup of eight threads each is the lane of its
// number, and a shuffle brings the number of the lane asked for.

// [thread][lane]: the thread that is this lane of the thread's subgroup
@group(0) @binding(0) var<storage, read_write> seen: array<u32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let thread = group.x * 8u + lane;
    seen[thread * 8u + 0u] = subgroupShuffle(thread, 0u);
    seen[thread * 8u + 1u] = subgroupShuffle(thread, 1u);
    seen[thread * 8u + 2u] = subgroupShuffle(thread, 2u);
    seen[thread * 8u + 3u] = subgroupShuffle(thread, 3u);
    seen[thread * 8u + 4u] = subgroupShuffle(thread, 4u);
    seen[thread * 8u + 5u] = subgroupShuffle(thread, 5u);
    seen[thread * 8u + 6u] = subgroupShuffle(thread, 6u);
    seen[thread * 8u + 7u] = subgroupShuffle(thread, 7u);
}
