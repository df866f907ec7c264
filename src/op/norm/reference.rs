//! Batch normalisation. Slices are (rows, channels) unless said otherwise.

use crate::op::{NORM_EPSILON, NORM_MOMENTUM};

/// The column of one channel.
fn column(x: &[f64], channels: usize, c: usize) -> impl Iterator<Item = f64> + Clone + '_ {
    x.iter().skip(c).step_by(channels).copied()
}

/// (splits, 2, channels): mean of each range of rows, and the sum of squared differences from it.
pub fn norm_statistics(x: &[f64], channels: usize, splits: usize) -> Vec<f64> {
    let rows_per_split = (x.len() / channels).div_ceil(splits);
    let mut partial = Vec::new();
    for split in 0..splits {
        let first = (split * rows_per_split * channels).min(x.len());
        let end = (first + rows_per_split * channels).min(x.len());
        let range = &x[first..end];
        let rows = (range.len() / channels).max(1) as f64;
        let means: Vec<f64> = (0..channels)
            .map(|c| column(range, channels, c).sum::<f64>() / rows)
            .collect();
        let squares = (0..channels).map(|c| {
            column(range, channels, c)
                .map(|v| (v - means[c]).powi(2))
                .sum::<f64>()
        });
        let squares: Vec<f64> = squares.collect();
        partial.extend(means);
        partial.extend(squares);
    }
    partial
}

/// γ/σ rounded to a power of two; nearer to zero than 10^-6 it is zero.
pub fn rounded_factor(exact: f64) -> f64 {
    if exact.abs() < 1e-6 {
        return 0.0;
    }
    exact.signum() * exact.abs().log2().round().exp2()
}

/// The block (5, channels): mean, 1/σ, factor, factor over γ/σ, β. `parameters` is (2, channels):
/// γ and β. The running variance decides which power of two a rounded factor is.
fn block([mean, variance, running]: [&[f64]; 3], parameters: &[f64], round: bool) -> Vec<f64> {
    let channels = mean.len();
    let (gamma, beta) = parameters.split_at(channels);
    let mut rows = vec![mean.to_vec(); 5];
    for c in 0..channels {
        let inverse = 1.0 / (variance[c] + NORM_EPSILON).sqrt();
        let exact = gamma[c] * inverse;
        let factor = match round {
            true => rounded_factor(gamma[c] / (running[c] + NORM_EPSILON).sqrt()),
            false => exact,
        };
        rows[1][c] = inverse;
        rows[2][c] = factor;
        rows[3][c] = if exact == 0.0 { 1.0 } else { factor / exact };
        rows[4][c] = beta[c];
    }
    rows.concat()
}

/// Statistics (5, channels) and new running statistics (2, channels) from the partial ones of
/// `rows` rows, the parameters (2, channels) and the old running statistics.
pub fn norm_combine(
    partial: &[f64],
    parameters: &[f64],
    (rows, splits): (usize, usize),
    round: bool,
    running: &[f64],
) -> [Vec<f64>; 2] {
    let channels = parameters.len() / 2;
    let rows_per_split = rows.div_ceil(splits);
    let rows_of = |split: usize| rows_per_split.min(rows - split * rows_per_split) as f64;
    let at = |split: usize, which: usize, c: usize| partial[(2 * split + which) * channels + c];
    let mut mean = vec![0.0; channels];
    let mut squares = vec![0.0; channels];
    for c in 0..channels {
        let all = 0..splits;
        mean[c] = all.clone().map(|s| rows_of(s) * at(s, 0, c)).sum::<f64>() / rows as f64;
        squares[c] = all
            .map(|s| at(s, 1, c) + rows_of(s) * (at(s, 0, c) - mean[c]).powi(2))
            .sum();
    }
    let biased: Vec<f64> = squares.iter().map(|v| v / rows as f64).collect();
    let unbiased = squares.iter().map(|v| v / (rows as f64 - 1.0).max(1.0));
    let new = mean.iter().copied().chain(unbiased);
    let moved: Vec<f64> = running
        .iter()
        .zip(new)
        .map(|(old, new)| old + NORM_MOMENTUM * (new - old))
        .collect();
    let moments = [&mean, &biased, &moved[channels..]];
    [block(moments, parameters, round), moved]
}

/// Statistics (5, channels) and moments (2, channels), mean and sum of squared differences, of a shard of `rows` rows: as
/// [`norm_combine`] but for what becomes of the running ones, which stay.
pub fn norm_shard(
    partial: &[f64],
    parameters: &[f64],
    running: &[f64],
    (rows, splits): (usize, usize),
    round: bool,
) -> [Vec<f64>; 2] {
    let channels = parameters.len() / 2;
    let [statistics, moved] = norm_combine(partial, parameters, (rows, splits), round, running);
    let variance = running[channels..].iter().zip(&moved[channels..]);
    let unbiased = variance.map(|(old, new)| old + (new - old) / NORM_MOMENTUM);
    let squares = unbiased.map(|v| v * (rows as f64 - 1.0).max(1.0));
    let moments = statistics[..channels].iter().copied().chain(squares);
    let moments = moments.collect();
    [statistics, moments]
}

/// Statistics (5, channels) from the running ones (2, channels) and the parameters (2, channels).
pub fn norm_running(running: &[f64], parameters: &[f64], round: bool) -> Vec<f64> {
    let (mean, variance) = running.split_at(running.len() / 2);
    block([mean, variance, variance], parameters, round)
}

/// y = (x - mean) factor + β, then ReLU when asked.
pub fn norm_forward(x: &[f64], statistics: &[f64], relu: bool) -> Vec<f64> {
    let channels = statistics.len() / 5;
    let low = if relu { 0.0 } else { f64::NEG_INFINITY };
    (0..x.len())
        .map(|i| {
            let s = |row: usize| statistics[row * channels + i % channels];
            ((x[i] - s(0)) * s(2) + s(4)).max(low)
        })
        .collect()
}

/// d_y where the ReLU was open.
fn gated(x: &[f64], d_y: &[f64], statistics: &[f64], relu: bool) -> Vec<f64> {
    let y = norm_forward(x, statistics, relu);
    let open = |y: f64| !relu || y > 0.0;
    let kept = d_y.iter().zip(y);
    kept.map(|(d, y)| if open(y) { *d } else { 0.0 }).collect()
}

/// (x - mean) / σ
fn normal(x: &[f64], statistics: &[f64]) -> Vec<f64> {
    let channels = statistics.len() / 5;
    let each = x.iter().enumerate();
    each.map(|(i, x)| (x - statistics[i % channels]) * statistics[channels + i % channels])
        .collect()
}

/// (splits, 2, channels): sums of g and of g normal(x) over ranges of rows.
pub fn norm_backward_sums(
    x: &[f64],
    d_y: &[f64],
    statistics: &[f64],
    relu: bool,
    splits: usize,
) -> Vec<f64> {
    let channels = statistics.len() / 5;
    let g = gated(x, d_y, statistics, relu);
    let normal = normal(x, statistics);
    let rows_per_split = (x.len() / channels).div_ceil(splits);
    let mut partial = vec![0.0; splits * 2 * channels];
    for i in 0..x.len() {
        let (row, c) = (i / channels, i % channels);
        let at = row / rows_per_split * 2 * channels + c;
        partial[at] += g[i];
        partial[at + channels] += g[i] * normal[i];
    }
    partial
}

/// Sums (2, channels) of all ranges, and the gradients of γ and β (2, channels): that of the loss, and
/// of ½ `lambda_norm` (γ - γ')², γ' being the constant that a rounded factor stands for.
pub fn norm_gradients(partial: &[f64], statistics: &[f64], lambda_norm: f64) -> [Vec<f64>; 2] {
    let channels = statistics.len() / 5;
    let mut sums = vec![0.0; 2 * channels];
    for (i, value) in partial.iter().enumerate() {
        sums[i % (2 * channels)] += value;
    }
    let row = |row: usize| &statistics[row * channels..(row + 1) * channels];
    let (inverse, factor, ratio) = (row(1), row(2), row(3));
    let distance = |c: usize| match ratio[c] {
        0.0 => 0.0,
        ratio => factor[c] / inverse[c] * (1.0 / ratio - 1.0),
    };
    let d_gamma = (0..channels).map(|c| ratio[c] * sums[channels + c] + lambda_norm * distance(c));
    let gradients = d_gamma.chain(sums[..channels].iter().copied()).collect();
    [sums, gradients]
}

/// d_x from x, d_y, the statistics and the sums (2, channels).
pub fn norm_backward(
    x: &[f64],
    d_y: &[f64],
    statistics: &[f64],
    sums: &[f64],
    relu: bool,
) -> Vec<f64> {
    let channels = statistics.len() / 5;
    let rows = (x.len() / channels) as f64;
    let g = gated(x, d_y, statistics, relu);
    let normal = normal(x, statistics);
    (0..x.len())
        .map(|i| {
            let c = i % channels;
            let factor = statistics[2 * channels + c];
            factor * (g[i] - sums[c] / rows - normal[i] * sums[channels + c] / rows)
        })
        .collect()
}

/// Of every square of an image (images, height, width, channels), even sides, the place of each of its four, row by row.
fn squares([images, height, width, channels]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    let lines = 0..images * height / 2;
    lines.flat_map(move |line| {
        (0..width / 2).flat_map(move |column| {
            (0..channels).map(move |channel| {
                let at = |row: usize, right: usize| {
                    ((2 * line + row) * width + 2 * column + right) * channels + channel
                };
                [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
            })
        })
    })
}

/// The largest of each square of [`norm_forward`] with a ReLU.
pub fn norm_pool_forward(shape: [usize; 4], x: &[f64], statistics: &[f64]) -> Vec<f64> {
    let y = norm_forward(x, statistics, true);
    let largest = |square: [usize; 4]| square.map(|at| y[at]).into_iter().fold(0.0, f64::max);
    squares(shape).map(largest).collect()
}

/// d_y of a max pool at the first of each square's largest, where the ReLU lets one pass.
fn unpooled(shape: [usize; 4], x: &[f64], d_y: &[f64], statistics: &[f64]) -> Vec<f64> {
    let y = norm_forward(x, statistics, true);
    let mut spread = vec![0.0; x.len()];
    for (square, d_y) in squares(shape).zip(d_y) {
        let largest = square.map(|at| y[at]).into_iter().fold(0.0, f64::max);
        let winner = square.into_iter().find(|at| y[*at] == largest);
        spread[winner.expect("one is the largest or all are zero")] = *d_y;
    }
    spread
}

/// [`norm_backward_sums`] over ranges of squares, from d_y of a max pool.
pub fn norm_pool_backward_sums(
    shape: [usize; 4],
    x: &[f64],
    d_y: &[f64],
    statistics: &[f64],
    splits: usize,
) -> Vec<f64> {
    let channels = shape[3];
    let g = gated(x, &unpooled(shape, x, d_y, statistics), statistics, true);
    let normal = normal(x, statistics);
    let rows_per_split = (d_y.len() / channels).div_ceil(splits);
    let mut partial = vec![0.0; splits * 2 * channels];
    for (i, square) in squares(shape).enumerate() {
        let (row, c) = (i / channels, i % channels);
        let at = row / rows_per_split * 2 * channels + c;
        for place in square {
            partial[at] += g[place];
            partial[at + channels] += g[place] * normal[place];
        }
    }
    partial
}

/// [`norm_backward`] from d_y of a max pool.
pub fn norm_pool_backward(
    shape: [usize; 4],
    x: &[f64],
    d_y: &[f64],
    statistics: &[f64],
    sums: &[f64],
) -> Vec<f64> {
    let d_y = unpooled(shape, x, d_y, statistics);
    norm_backward(x, &d_y, statistics, sums, true)
}
