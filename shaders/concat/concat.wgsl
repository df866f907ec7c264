// y = the channels of a, then those of b, then zeros up to a multiple of four.
//
// a: a (pixels, a_texels)
// b: b (pixels, b_texels)
// output_0: y (pixels, y_texels)

struct Params {
    count: u32, // texels of y
    a_channels: u32, // without padding
    b_channels: u32,
    a_texels: u32, // of a pixel
    b_texels: u32,
    y_texels: u32,
    a_base: u32, // texels
    b_base: u32,
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
    let numbers = channel + vec4u(0u, 1u, 2u, 3u);
    // The four channels of y from a, if it has them, and from two neighbouring texels of b.
    let a = read_a(params.a_base + pixel * params.a_texels + min(channel / 4u, params.a_texels - 1u));
    let skipped = max(channel, params.a_channels) - params.a_channels;
    let first = skipped / 4u;
    let b_pixel = params.b_base + pixel * params.b_texels;
    let low = read_b(b_pixel + min(first, params.b_texels - 1u));
    let high = read_b(b_pixel + min(first + 1u, params.b_texels - 1u));
    // Where a ends within these four channels, b starts there.
    let before = max(channel, params.a_channels) - channel;
    var b = following(low, high, skipped & 3u);
    b = moved(b, min(before, 4u));
    let in_a = numbers < vec4u(params.a_channels);
    let in_b = !in_a & (numbers < vec4u(params.a_channels + params.b_channels));
    write_0(params.y_base + i, select(select(vec4f(0.0), b, in_b), a, in_a));
}

// The same numbers `places` places further back.
fn moved(values: vec4f, places: u32) -> vec4f {
    let by_one = select(values, vec4f(0.0, values.xyz), (places & 1u) != 0u);
    return select(by_one, vec4f(0.0, 0.0, by_one.xy), (places & 2u) != 0u);
}
