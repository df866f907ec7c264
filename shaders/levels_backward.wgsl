// The gradient of one layer's intercept and slope: the sums of quantiser_backward, and the bit
// loss, which pulls the slope alone. A batch normalisation after the layer undoes any common factor
// of its weights: the intercept's gradient is then zero, and what its sum holds is rounding, which
// Adam would scale up to full steps.
//
// a: partial (threads, 4) of quantiser_backward
// b: levels (3, 4) of this layer
// output_0: (d_intercept, d_slope, 0, 0) in the gradients arena

struct Params {
    threads: u32,
    partial_base: u32, // texels
    levels_base: u32,
    gradient_base: u32,
    normalised: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    var sum = vec4f(0.0);
    for (var i = thread; i < params.threads; i += 64u) {
        sum += read_a(params.partial_base + i);
    }
    sums[thread] = sum;
    workgroupBarrier();
    if thread == 0u {
        var total = vec4f(0.0);
        for (var i = 0u; i < 64u; i++) {
            total += sums[i];
        }
        total.y += schedule.lambda_bits * read_b(params.levels_base + 2u).z;
        total.x = select(total.x, 0.0, params.normalised != 0u);
        output_0[params.gradient_base] = total;
    }
}
