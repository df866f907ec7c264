// Four shifted copies of every channel of images, zero-padded: what shared/shift_windows.wgsl reads.
//
// a: x (batch, height, width, channels), channels not padded
// output_0: shifts (batch, channels, 4, rows, texels * 4): texels of 2 x 2 pixels; copy 2 r + c begins r pixels
//           further down and c further right

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    channels: u32,
    rows: u32, // of texels
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
    let shift = plane & 3u;
    let image = divide_one(plane >> 2u, params.inverse_channels);
    let channel = (plane >> 2u) - image * params.channels;
    let row = vec2i(i32(2u * (line - plane * params.rows) + (shift >> 1u)) - i32(params.padding)) + vec2i(0, 1);
    let first = i32(2u * (i - line * params.texels) + (shift & 1u)) - i32(params.padding);
    let image_row = i32(image * params.height) + row;
    let at = (image_row * i32(params.width) + first) * i32(params.channels) + i32(channel);
    let inside = vec2<bool>(u32(first) < params.width, u32(first + 1) < params.width);
    let low = select(vec2<Number>(), pair(at.x), inside & vec2<bool>(u32(row.x) < params.height));
    let high = select(vec2<Number>(), pair(at.y), inside & vec2<bool>(u32(row.y) < params.height));
    output_0[params.y_base + i] = vec4(low, high);
}

// What lies outside x is not looked at.
fn texel_of(at: i32) -> Texel {
    return read_a(params.x_base + u32(clamp(at, 0, i32(params.x_texels) - 1)));
}

// A pixel and the one to its right.
fn pair(at: i32) -> vec2<Number> {
    if CHANNELS == 1u {
        let left = texel_of(at >> 2u);
        let next = texel_of((at >> 2u) + 1);
        let low = select(left.xy, left.zw, (at & 2) != 0);
        let high = select(left.yz, vec2(left.w, next.x), (at & 2) != 0);
        return select(low, high, (at & 1) != 0);
    }
    return vec2(number(at), number(at + i32(CHANNELS)));
}

fn number(at: i32) -> Number {
    let texel = texel_of(at >> 2u);
    let pair = select(texel.xy, texel.zw, (at & 2) != 0);
    return select(pair.x, pair.y, (at & 1) != 0);
}
