// What the losses of generated images share: a workgroup owns an image and sums over its pixels.
// The kernel defines `losses(logit, target)`, `mean_of(logit)` and `slope(logit, target)`.
//
// a: logits (rows, texels); a pixel is CHANNELS numbers in as many texels as they need, and a row is whole pixels
// b: targets, like the logits: the images, or another network's means
// c: images, like the logits
// d: divergence (rows, 4), see `gaussian_kl`
// output_0: d_logits = scale * slope, of rows that count
// output_1: means of the pixels' distributions, like the logits
// output_2: (rows, 4): loss with the targets plus the weighted divergence, divergence from the
//           prior, loss with the images, 1 if the row counts

// Numbers of a pixel. What fills its last texel counts nothing.
override CHANNELS: u32 = 4u;

struct Params {
    texels: u32, // of one row
    scale: f32,
    inverse_variance: f32, // of a normal distribution
    constant: f32, // added for every number, of a normal distribution
    logits_base: u32, // texels
    targets_base: u32,
    images_base: u32,
    divergence_base: u32,
    d_logits_base: u32,
    means_base: u32,
    outcome_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec2f, 16>;

fn sum_of(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(16)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let row = group.x;
    let first = row * params.texels;
    let divergence = read_d(params.divergence_base + row);
    let counted = divergence.w;
    let pixel_texels = (CHANNELS + 3u) / 4u;
    var loss = vec2f(0.0);
    for (var t = thread; t < params.texels; t += 16u) {
        let logit = read_a(params.logits_base + first + t);
        let target_value = read_b(params.targets_base + first + t);
        let pixel = read_c(params.images_base + first + t);
        let number = 4u * (t % pixel_texels) + vec4u(0u, 1u, 2u, 3u);
        let real = select(vec4f(0.0), vec4f(1.0), number < vec4u(CHANNELS));
        loss += vec2f(
            sum_of(losses(logit, target_value) * real),
            sum_of(losses(logit, pixel) * real),
        );
        let d_logits = params.scale * counted * slope(logit, target_value) * real;
        write_0(params.d_logits_base + first + t, d_logits);
        write_1(params.means_base + first + t, mean_of(logit) * real);
    }
    sums[thread] = loss;
    workgroupBarrier();
    if thread == 0u {
        var total = vec2f(0.0);
        for (var i = 0u; i < 16u; i++) {
            total += sums[i];
        }
        write_2(params.outcome_base + row, vec4f(
            total.x * counted + divergence.x,
            divergence.y,
            total.y * counted,
            counted,
        ));
    }
}
