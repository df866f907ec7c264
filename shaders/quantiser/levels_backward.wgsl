// The gradient of each layer's intercept and slope: the sums of quantiser_backward, and the bit
// loss, which pulls the slope alone. A batch normalisation after the layer undoes any common factor
// of its weights: the intercept's gradient is then zero, and what its sum holds is rounding, which
// Adam would scale up to full steps.
//
// a: partial (spans, 4) of quantiser_backward
// b: levels (layers, 3, 4)
// c: layers (layers, 4): first span, spans, 1 if a normalisation follows
// output_0: (layers, 4): d_intercept, d_slope, 0, 0

struct Params {
    partial_base: u32, // texels
    levels_base: u32,
    layers_base: u32,
    gradients_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let layer = vec3u(read_c(params.layers_base + group.x).xyz);
    var sum = vec4f(0.0);
    for (var i = layer.x + thread; i < layer.x + layer.y; i += 64u) {
        sum += read_a(params.partial_base + i);
    }
    sums[thread] = sum;
    workgroupBarrier();
    if thread == 0u {
        for (var i = 1u; i < 64u; i++) {
            sum += sums[i];
        }
        let levels = params.levels_base + 3u * group.x;
        let bits = read_b(levels + 2u);
        let pays = read_b(levels).z > free_exponents(bits.w);
        sum.y += select(0.0, schedule.lambda_bits * bits.z, pays);
        sum.x = select(sum.x, 0.0, layer.z != 0u);
        write_0(params.gradients_base + group.x, sum);
    }
}
