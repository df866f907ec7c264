// The matrix core for drivers that run on a CPU and have subgroups of eight lanes: a subgroup makes a tile of the
// result. Of one operand every lane keeps OWN blocks to itself; of the other, the shared one, lanes read a block each,
// and every lane multiplies by all eight, one after the other. To bring a number from a lane known beforehand costs
// such a driver nothing, and loads are nearly all that the register core waits for: here a multiplication takes an
// eighth of its.
//
// The functions it calls are those of shared/matrix_register.wgsl, over blocks of floats. Constants say whether
// lanes share the rows and have columns of their own (SHARED_ROWS) or the other way round, how many of these, one or
// two (OWN), and how many blocks of rows and columns that makes (TILE). Threads number lanes in order: Gpu::open makes
// sure.

// Blocks of the result: a shared block by each of the lane's own.
struct Pair {
    first: Sum,
    second: Sum,
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let column_tiles = (columns() + TILE.y - 1u) / TILE.y;
    let tiles = column_tiles * ((rows() + TILE.x - 1u) / TILE.x);
    let split = group.x / tiles;
    let tile = group.x - split * tiles;
    let m = (tile / column_tiles) * TILE.x;
    let n = (tile % column_tiles) * TILE.y;
    // The lane's first blocks: of what it shares the only one.
    let m_lane = m + select(lane * OWN, lane, SHARED_ROWS);
    let n_lane = n + select(lane, lane * OWN, SHARED_ROWS);
    let r0 = locate_rows(min(m_lane, rows() - 1u));
    let s0 = locate_columns(min(n_lane, columns() - 1u));
    var r1 = r0;
    var s1 = s0;
    if OWN > 1u && SHARED_ROWS {
        s1 = locate_columns(min(n_lane + 1u, columns() - 1u));
    }
    if OWN > 1u && !SHARED_ROWS {
        r1 = locate_rows(min(m_lane + 1u, rows() - 1u));
    }
    var c0 = Pair(); var c1 = Pair(); var c2 = Pair(); var c3 = Pair();
    var c4 = Pair(); var c5 = Pair(); var c6 = Pair(); var c7 = Pair();
    let range = depth_range(vec2u(m, TILE.x), vec2u(n, TILE.y), split);
    for (var k = range.x; k < range.y; k++) {
        var block: mat4x4f;
        var own0: mat4x4f;
        var own1: mat4x4f;
        if SHARED_ROWS {
            block = load_rows(r0, k);
            own0 = load_columns(s0, k);
            if OWN > 1u {
                own1 = load_columns(s1, k);
            }
        } else {
            block = load_columns(s0, k);
            own0 = load_rows(r0, k);
            if OWN > 1u {
                own1 = load_rows(r1, k);
            }
        }
        c0 = add(c0, own0, own1, of_lane(block, 0u));
        c1 = add(c1, own0, own1, of_lane(block, 1u));
        c2 = add(c2, own0, own1, of_lane(block, 2u));
        c3 = add(c3, own0, own1, of_lane(block, 3u));
        c4 = add(c4, own0, own1, of_lane(block, 4u));
        c5 = add(c5, own0, own1, of_lane(block, 5u));
        c6 = add(c6, own0, own1, of_lane(block, 6u));
        c7 = add(c7, own0, own1, of_lane(block, 7u));
    }
    // One store in a loop whose length is not known beforehand, because drivers take longer to compile the
    // stores of eight pairs than all the rest.
    let there = min(8u, select(columns() - n, rows() - m, SHARED_ROWS));
    for (var i = 0u; i < there; i++) {
        var pair = c0;
        if i == 1u { pair = c1; }
        if i == 2u { pair = c2; }
        if i == 3u { pair = c3; }
        if i == 4u { pair = c4; }
        if i == 5u { pair = c5; }
        if i == 6u { pair = c6; }
        if i == 7u { pair = c7; }
        keep(vec2u(m_lane, n_lane), vec2u(m, n), i, split, pair);
    }
}

fn add(pair: Pair, own0: mat4x4f, own1: mat4x4f, block: mat4x4f) -> Pair {
    if SHARED_ROWS {
        var sum = Pair(multiply_add(pair.first, own0, block), pair.second);
        if OWN > 1u {
            sum.second = multiply_add(pair.second, own1, block);
        }
        return sum;
    }
    var sum = Pair(multiply_add(pair.first, block, own0), pair.second);
    if OWN > 1u {
        sum.second = multiply_add(pair.second, block, own1);
    }
    return sum;
}

// Blocks of the lane at `lane`, and number `i` of the shared ones from `base`.
fn keep(lane: vec2u, base: vec2u, i: u32, split: u32, pair: Pair) {
    if SHARED_ROWS {
        keep_block(base.x + i, lane.y, split, pair.first);
        if OWN > 1u {
            keep_block(base.x + i, lane.y + 1u, split, pair.second);
        }
        return;
    }
    keep_block(lane.x, base.y + i, split, pair.first);
    if OWN > 1u {
        keep_block(lane.x + 1u, base.y + i, split, pair.second);
    }
}

fn keep_block(m: u32, n: u32, split: u32, block: Sum) {
    if m < rows() && n < columns() {
        store(m, n, split, block);
    }
}

// The lane is a constant once functions are inlined.
fn of_lane(b: mat4x4f, lane: u32) -> mat4x4f {
    return mat4x4f(
        subgroupShuffle(b[0], lane),
        subgroupShuffle(b[1], lane),
        subgroupShuffle(b[2], lane),
        subgroupShuffle(b[3], lane),
    );
}
