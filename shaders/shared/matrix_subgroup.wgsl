// The matrix core for drivers that run on a CPU and have subgroups of eight lanes: a subgroup makes a tile
// of the result. Of one operand every lane keeps OWN blocks to itself; of the other, the shared one, lanes read a block
// each, and every lane multiplies by all eight, one after the other. Broadcasts from a lane known beforehand cost
// such a driver nothing, and loads are nearly all that the register core waits for: here they are half of its.
//
// The functions it calls are those of shared/matrix_register.wgsl; rows and columns come in blocks of one type,
// Block. Threads number lanes in order: Gpu::open makes sure. Constants say whether lanes share the rows and have
// columns of their own (SHARED_ROWS) or the other way round, how many of these, one or two (OWN), and how many
// blocks of rows and columns that makes (TILE).

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
        var block: Block;
        var own0: Block;
        var own1: Block;
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
        c0 = add(c0, own0, own1, of_lane_0(block));
        c1 = add(c1, own0, own1, of_lane_1(block));
        c2 = add(c2, own0, own1, of_lane_2(block));
        c3 = add(c3, own0, own1, of_lane_3(block));
        c4 = add(c4, own0, own1, of_lane_4(block));
        c5 = add(c5, own0, own1, of_lane_5(block));
        c6 = add(c6, own0, own1, of_lane_6(block));
        c7 = add(c7, own0, own1, of_lane_7(block));
    }
    let to = vec2u(m_lane, n_lane);
    let base = vec2u(m, n);
    keep(to, base, 0u, split, c0);
    keep(to, base, 1u, split, c1);
    keep(to, base, 2u, split, c2);
    keep(to, base, 3u, split, c3);
    keep(to, base, 4u, split, c4);
    keep(to, base, 5u, split, c5);
    keep(to, base, 6u, split, c6);
    keep(to, base, 7u, split, c7);
}

fn add(pair: Pair, own0: Block, own1: Block, block: Block) -> Pair {
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

fn of_lane_0(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 0u),
        subgroupBroadcast(b[1], 0u),
        subgroupBroadcast(b[2], 0u),
        subgroupBroadcast(b[3], 0u),
    );
}

fn of_lane_1(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 1u),
        subgroupBroadcast(b[1], 1u),
        subgroupBroadcast(b[2], 1u),
        subgroupBroadcast(b[3], 1u),
    );
}

fn of_lane_2(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 2u),
        subgroupBroadcast(b[1], 2u),
        subgroupBroadcast(b[2], 2u),
        subgroupBroadcast(b[3], 2u),
    );
}

fn of_lane_3(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 3u),
        subgroupBroadcast(b[1], 3u),
        subgroupBroadcast(b[2], 3u),
        subgroupBroadcast(b[3], 3u),
    );
}

fn of_lane_4(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 4u),
        subgroupBroadcast(b[1], 4u),
        subgroupBroadcast(b[2], 4u),
        subgroupBroadcast(b[3], 4u),
    );
}

fn of_lane_5(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 5u),
        subgroupBroadcast(b[1], 5u),
        subgroupBroadcast(b[2], 5u),
        subgroupBroadcast(b[3], 5u),
    );
}

fn of_lane_6(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 6u),
        subgroupBroadcast(b[1], 6u),
        subgroupBroadcast(b[2], 6u),
        subgroupBroadcast(b[3], 6u),
    );
}

fn of_lane_7(b: Block) -> Block {
    return Block(
        subgroupBroadcast(b[0], 7u),
        subgroupBroadcast(b[1], 7u),
        subgroupBroadcast(b[2], 7u),
        subgroupBroadcast(b[3], 7u),
    );
}
