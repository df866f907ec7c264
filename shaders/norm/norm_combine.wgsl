// The statistics of a batch from those of its ranges (Chan, Golub, LeVeque 1983), and the
// running ones.
//
// a: partial (splits, 2, channels), see norm_statistics
// b: gamma and beta (2, channels)
// output_0: statistics (5, channels), see shared/norm.wgsl
// output_1: running mean and variance (2, channels), updated

struct Params {
    rows: u32,
    channels: u32, // texels
    splits: u32,
    rows_per_split: u32,
    partial_base: u32, // texels
    parameters_base: u32,
    statistics_base: u32,
    running_base: u32,
    epsilon: f32,
    momentum: f32, // share of the new batch
    round: u32, // whether the factor is a power of two
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = share_of(thread_index(id, groups), lane);
    let spread = spread_of_ranges(share, lane);
    if !share.writes {
        return;
    }
    let channel = share.channel;
    let mean = spread.mean;
    let squares = spread.squares;
    let rows = f32(params.rows);
    let gamma = read_b(params.parameters_base + channel);
    let beta = read_b(params.parameters_base + params.channels + channel);
    let at = params.running_base + channel;
    let unbiased = squares / max(rows - 1.0, 1.0);
    let old_mean = previous_1(at);
    let old_variance = previous_1(at + params.channels);
    let variance = old_variance + params.momentum * (unbiased - old_variance);
    write_1(at, old_mean + params.momentum * (mean - old_mean));
    write_1(at + params.channels, variance);
    store_statistics(channel, Moments(mean, squares / rows, variance), gamma, beta);
}
