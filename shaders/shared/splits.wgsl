// Products whose depth is cut into ranges: where tiles are few, more workgroups share one.

// Whether the depth is cut into params.splits ranges, for a product each. Those are stored as they are, one behind the
// other; conv/sum_partials.wgsl adds them up.
override SPLIT: bool = false;

// A range of the depth, all of it without splits. Ranges begin at whole steps of the tiles of a core.
fn part_of(split: u32, depth: u32) -> vec2u {
    if !SPLIT {
        return vec2u(0u, depth);
    }
    let steps = (depth + 3u) / 4u;
    let chunk = (steps + params.splits - 1u) / params.splits * 4u;
    return vec2u(min(split * chunk, depth), min((split + 1u) * chunk, depth));
}
