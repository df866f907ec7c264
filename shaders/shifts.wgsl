// Four shifted copies of every channel of images, zero-padded: what shared/shift_windows.wgsl reads.
//
// a: x (batch, height, width, channels), channels not padded
// output_0: shifts (batch, channels, 4, rows, texels * 4); copy s begins s pixels further right

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    channels: u32,
    rows: u32, // with padding
    texels: u32, // of a row
    padding: u32,
    count: u32, // texels of all
    x_texels: u32,
    x_base: u32, // texels
    y_base: u32,
    inverse_rows: f32,
    inverse_texels: f32,
    inverse_channels: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Known when the pipeline is made.
override CHANNELS: u32 = 1u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let line = divide_long(i, params.texels, params.inverse_texels);
    let plane = divide_one(line, params.inverse_rows);
    let row = i32(line - plane * params.rows) - i32(params.padding);
    let shift = plane & 3u;
    let image = divide_one(plane >> 2u, params.inverse_channels);
    let channel = (plane >> 2u) - image * params.channels;
    let first = (i - line * params.texels) * 4u + shift;
    let column = vec4i(first + vec4u(0u, 1u, 2u, 3u)) - i32(params.padding);
    let inside = (vec4u(column) < vec4u(params.width)) & vec4<bool>(u32(row) < params.height);
    let pixel = (i32(image * params.height) + row) * i32(params.width) + column;
    let at = pixel * i32(params.channels) + i32(channel);
    output_0[params.y_base + i] = select(Texel(0, 0, 0, 0), numbers(at), inside);
}

// What lies outside x is not looked at.
fn texel_of(at: i32) -> Texel {
    return read_a(params.x_base + u32(clamp(at, 0, i32(params.x_texels) - 1)));
}

fn numbers(at: vec4i) -> Texel {
    if CHANNELS == 1u {
        // Four neighbours, in two texels.
        let low = texel_of(at.x >> 2u);
        let high = texel_of((at.x >> 2u) + 1);
        let far = (at.x & 2) != 0;
        let a = select(low, vec4(low.zw, high.xy), far);
        let b = select(high.xy, high.zw, far);
        return select(a, vec4(a.yzw, b.x), (at.x & 1) != 0);
    }
    return vec4(number(at.x), number(at.y), number(at.z), number(at.w));
}

fn number(at: i32) -> Number {
    let texel = texel_of(at >> 2u);
    let pair = select(texel.xy, texel.zw, (at & 2) != 0);
    return select(pair.x, pair.y, (at & 1) != 0);
}
