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
    padding_rows: u32,
    padding_columns: u32,
    count: u32, // texels of a copy, of all images and channels
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

// A thread makes the same texel of all four copies: of 3 x 3 pixels.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let line = divide_long(i, params.texels, params.inverse_texels);
    let plane = divide_one(line, params.inverse_rows);
    let image = divide_one(plane, params.inverse_channels);
    let channel = plane - image * params.channels;
    let row = i32(2u * (line - plane * params.rows)) - i32(params.padding_rows);
    let column = i32(2u * (i - line * params.texels)) - i32(params.padding_columns);
    let first = (i32(image * params.height) + row) * i32(params.width) + column;
    let at = first * i32(params.channels) + i32(channel);
    let step = i32(params.width * params.channels);
    let inside = vec3u(column + vec3i(0, 1, 2)) < vec3u(params.width);
    let top = triple(at, inside & vec3<bool>(u32(row) < params.height));
    let middle = triple(at + step, inside & vec3<bool>(u32(row + 1) < params.height));
    let bottom = triple(at + 2 * step, inside & vec3<bool>(u32(row + 2) < params.height));
    let copy = params.rows * params.texels;
    let y = params.y_base + plane * 3u * copy + i;
    write_0(y, vec4(top.xy, middle.xy));
    write_0(y + copy, vec4(top.yz, middle.yz));
    write_0(y + 2u * copy, vec4(middle.xy, bottom.xy));
    write_0(y + 3u * copy, vec4(middle.yz, bottom.yz));
}

// What lies outside x is not looked at.
fn texel_of(at: i32) -> Texel {
    return read_a(params.x_base + u32(clamp(at, 0, i32(params.x_texels) - 1)));
}

// A pixel and the two to its right, zero where they are not inside.
fn triple(at: i32, inside: vec3<bool>) -> vec3<Number> {
    return select(vec3<Number>(), any_triple(at), inside);
}

fn any_triple(at: i32) -> vec3<Number> {
    if CHANNELS == 1u {
        let left = texel_of(at >> 2u);
        let next = texel_of((at >> 2u) + 1);
        let even = select(left.xyz, vec3(left.zw, next.x), (at & 2) != 0);
        let odd = select(left.yzw, vec3(left.w, next.xy), (at & 2) != 0);
        return select(even, odd, (at & 1) != 0);
    }
    return vec3(number(at), number(at + i32(CHANNELS)), number(at + 2 * i32(CHANNELS)));
}

fn number(at: i32) -> Number {
    let texel = texel_of(at >> 2u);
    let pair = select(texel.xy, texel.zw, (at & 2) != 0);
    return select(pair.x, pair.y, (at & 1) != 0);
}
