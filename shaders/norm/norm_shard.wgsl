// The statistics of one shard of a batch from those of its ranges (Chan, Golub, LeVeque 1983), and its moments,
// from which norm_combine makes the running statistics when all shards are done.
//
// a: partial (splits, 2, channels), see norm_statistics
// b: gamma and beta (2, channels)
// c: running mean and variance (2, channels): which power of two a factor is rounded to is decided by what they would
//    become if this shard were the batch
// output_0: statistics (5, channels), see shared/norm.wgsl
// output_1: moments (2, channels): mean, and sum of squared differences from it

struct Params {
    rows: u32,
    channels: u32, // texels
    splits: u32,
    rows_per_split: u32,
    partial_base: u32, // texels
    parameters_base: u32,
    running_base: u32,
    statistics_base: u32,
    moments_base: u32,
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
    let at = params.moments_base + channel;
    write_1(at, spread.mean);
    write_1(at + params.channels, spread.squares);
    let rows = f32(params.rows);
    let gamma = read_b(params.parameters_base + channel);
    let beta = read_b(params.parameters_base + params.channels + channel);
    let unbiased = spread.squares / max(rows - 1.0, 1.0);
    let old = read_c(params.running_base + params.channels + channel);
    let variance = old + params.momentum * (unbiased - old);
    store_statistics(channel, Moments(spread.mean, spread.squares / rows, variance), gamma, beta);
}
