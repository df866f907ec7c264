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

// Of a range of the depth over all taps, with so many of them in a row and so many channels each, what lies among the steps
// of a tile that runs over some of the taps. So ranges end at the same taps in all tiles, and no sum depends on the tile.
fn part_among(chosen: Taps, range: vec2u, columns: u32, channels: u32) -> vec2u {
    if !SPLIT {
        return vec2u(0u, chosen.count.x * chosen.count.y * channels);
    }
    return vec2u(
        steps_before(chosen, range.x, columns, channels),
        steps_before(chosen, range.y, columns, channels),
    );
}

// How many steps of the tile come before step k of the depth over all taps.
fn steps_before(chosen: Taps, k: u32, columns: u32, channels: u32) -> u32 {
    let number = k / channels;
    let tap = vec2u(number / columns, number % columns);
    let end = chosen.first + chosen.count;
    let before = clamp(tap, chosen.first, end) - chosen.first;
    var taps_before = before.x * chosen.count.y;
    let row = tap.x >= chosen.first.x && tap.x < end.x;
    if row {
        taps_before += before.y;
    }
    let inside = row && tap.y >= chosen.first.y && tap.y < end.y;
    return taps_before * channels + select(0u, k - number * channels, inside);
}
