// Mean, and sum of squared differences from it, of `rows` rows, from those of ranges of `rows_per_split` rows
// (Chan, Golub, LeVeque 1983). Input a is (splits, 2, channels), see norm/norm_statistics.wgsl.

struct Spread {
    mean: vec4f,
    squares: vec4f,
    rows: f32,
}

var<workgroup> spreads: array<Spread, 64>;

fn joined(first: Spread, second: Spread) -> Spread {
    let rows = first.rows + second.rows;
    let part = second.rows / max(rows, 1.0);
    let difference = second.mean - first.mean;
    let between = difference * difference * (first.rows * part);
    return Spread(first.mean + difference * part, first.squares + (second.squares + between), rows);
}

// Of all ranges, in the thread that writes.
fn spread_of_ranges(share: Share, lane: u32) -> Spread {
    var spread = Spread(vec4f(0.0), vec4f(0.0), 0.0);
    for (var split = share.first; split < share.end; split++) {
        let at = params.partial_base + 2u * split * params.channels + share.channel;
        let rows = min(params.rows_per_split, params.rows - split * params.rows_per_split);
        spread = joined(spread, Spread(read_a(at), read_a(at + params.channels), f32(rows)));
    }
    if TOGETHER {
        spreads[lane] = spread;
        workgroupBarrier();
        for (var apart = 32u; apart > 0u; apart /= 2u) {
            if lane < apart {
                spreads[lane] = joined(spreads[lane], spreads[lane + apart]);
            }
            workgroupBarrier();
        }
        spread = spreads[0];
    }
    return spread;
}
