// y = the channels of a, then those of b, each shifted right with rounding and clamped: both come to one unit.
//
// a: a (pixels, a_channels padded to whole texels)
// b: b (pixels, b_channels padded to whole texels)
// output_0: y (pixels, a_channels + b_channels padded to whole texels), its padding zero

struct Params {
    count: u32, // texels of y
    channels: u32, // texels of a pixel of y
    a_channels: u32, // logical channels
    b_channels: u32,
    a_texels: u32, // texels of a pixel of a
    b_texels: u32,
    a_shift: i32,
    b_shift: i32,
    low: i32, // results are clamped
    high: i32,
    a_base: u32, // first texel of each operand within its buffer
    b_base: u32,
    y_base: u32,
    inverse_channels: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Texel n of b at a pixel. One that does not exist is replaced by the nearest that does; no channel of y reads it.
fn b_texel(pixel: u32, n: i32) -> vec4i {
    let nearest = u32(clamp(n, 0, i32(params.b_texels) - 1));
    return read_b(params.b_base + pixel * params.b_texels + nearest);
}

// The channels of b that lie in texel n of y. The last texel of a has `gap` channels of padding. The first
// channels of b fill this gap, so every later texel of y straddles two texels of b.
fn b_channels_of(pixel: u32, n: u32) -> vec4i {
    let first = i32(n) - i32(params.a_texels);
    let gap = 4u * params.a_texels - params.a_channels;
    let low = b_texel(pixel, first);
    if gap == 0u {
        return low;
    }
    let high = b_texel(pixel, first + 1);
    if gap == 1u {
        return vec4i(low.yzw, high.x);
    }
    if gap == 2u {
        return vec4i(low.zw, high.xy);
    }
    return vec4i(low.w, high.xyz);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let pixel = divide_long(i, params.channels, params.inverse_channels);
    let n = i - pixel * params.channels;
    let channel = vec4u(4u * n) + vec4u(0u, 1u, 2u, 3u);
    let is_a = channel < vec4u(params.a_channels);
    let is_real = channel < vec4u(params.a_channels + params.b_channels);
    let a = read_a(params.a_base + pixel * params.a_texels + min(n, params.a_texels - 1u));
    let x = select(b_channels_of(pixel, n), a, is_a);
    let shift = select(vec4i(params.b_shift), vec4i(params.a_shift), is_a);
    write_0(params.y_base + i, select(vec4i(0), requantise(x, vec4i(0), shift), is_real));
}
