// Mean, and sum of squared differences from it, of `rows` rows, from those of ranges of `rows_per_split` rows, in their
// order (Chan, Golub, LeVeque 1983). Input a is (splits, 2, channels), see norm/norm_statistics.wgsl.

struct Spread {
    mean: vec4f,
    squares: vec4f,
}

fn spread_of_ranges(channel: u32) -> Spread {
    var mean = vec4f(0.0);
    var squares = vec4f(0.0);
    for (var split = 0u; split < params.splits; split++) {
        let at = params.partial_base + 2u * split * params.channels + channel;
        let first = split * params.rows_per_split;
        let before = f32(first);
        let rows = f32(min(params.rows_per_split, params.rows - first));
        let share = rows / (before + rows);
        let difference = read_a(at) - mean;
        mean += difference * share;
        squares += read_a(at + params.channels) + difference * difference * (before * share);
    }
    return Spread(mean, squares);
}
