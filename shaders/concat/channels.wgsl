// y = some neighbouring channels of x, then zeros up to a multiple of four: the gradient of a concatenation.
//
// a: x (pixels, x_texels)
// output_0: y (pixels, y_texels)

struct Params {
    count: u32, // texels of y
    first: u32, // channel of x
    channels: u32, // without padding
    x_texels: u32, // of a pixel
    y_texels: u32,
    x_base: u32, // texels
    y_base: u32,
    inverse_y_texels: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let pixel = divide_long(i, params.y_texels, params.inverse_y_texels);
    let channel = (i - pixel * params.y_texels) * 4u;
    let number = params.first + channel;
    let x_pixel = params.x_base + pixel * params.x_texels;
    let low = read_a(x_pixel + number / 4u);
    let high = read_a(x_pixel + min(number / 4u + 1u, params.x_texels - 1u));
    let exists = channel + vec4u(0u, 1u, 2u, 3u) < vec4u(params.channels);
    write_0(params.y_base + i, select(vec4f(0.0), following(low, high, number & 3u), exists));
}
