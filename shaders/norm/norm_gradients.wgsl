// Sums of norm_backward_sums over all rows, and the gradients of gamma and beta. Where the factor
// gamma / deviation is rounded, the gradient of half the squared distance of gamma from the one that
// the rounded factor stands for is added, lambda_norm times.
//
// a: partial (splits, 2, channels)
// b: statistics (5, channels), see shared/norm.wgsl
// output_0: sums (2, channels) of g and of g * normal(x)
// output_1: gradients of gamma and beta (2, channels)

struct Params {
    channels: u32, // texels
    splits: u32,
    partial_base: u32, // texels
    statistics_base: u32,
    sums_base: u32,
    gradient_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> all_sums: array<vec4f, 64>;
var<workgroup> all_products: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let share = share_of(thread_index(id, groups), lane);
    var sum = vec4f(0.0);
    var product = vec4f(0.0);
    for (var split = share.first; split < share.end; split++) {
        let at = params.partial_base + 2u * split * params.channels + share.channel;
        sum += read_a(at);
        product += read_a(at + params.channels);
    }
    if TOGETHER {
        all_sums[lane] = sum;
        all_products[lane] = product;
        workgroupBarrier();
        for (var apart = 32u; apart > 0u; apart /= 2u) {
            if lane < apart {
                all_sums[lane] += all_sums[lane + apart];
                all_products[lane] += all_products[lane + apart];
            }
            workgroupBarrier();
        }
        sum = all_sums[0];
        product = all_products[0];
    }
    if !share.writes {
        return;
    }
    let channel = share.channel;
    write_0(params.sums_base + channel, sum);
    write_0(params.sums_base + params.channels + channel, product);
    let statistics = params.statistics_base + channel;
    let inverse = read_b(statistics + params.channels);
    let factor = read_b(statistics + 2u * params.channels);
    let ratio = read_b(statistics + 3u * params.channels);
    let stands_for = factor / inverse;
    let distance = select(vec4f(0.0), stands_for / ratio - stands_for, ratio != vec4f(0.0));
    let at = params.gradient_base + channel;
    write_1(at, ratio * product + schedule.lambda_norm * distance);
    write_1(at + params.channels, sum);
}
