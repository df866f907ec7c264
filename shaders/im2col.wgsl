// Lays out the window of every output position as one row, so that a convolution over few
// channels becomes a dense product without wasted lanes.
//
// a: x (batch, input_height, input_width, input_channels), channels not padded
// output_0: rows (batch * output_height * output_width, row_texels * 4), the tail of a row zero

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32, // numbers
    output_height: u32,
    output_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding: u32,
    row_texels: u32,
    x_base: u32, // texels
    y_base: u32,
    inverse_row_texels: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_input_channels: f32,
    inverse_kernel_width: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

fn element(at: u32) -> Number {
    let texel = read_a(params.x_base + at / 4u);
    let part = at & 3u;
    let low = select(texel.x, texel.y, part == 1u);
    let high = select(texel.z, texel.w, part == 3u);
    return select(low, high, part > 1u);
}

fn tap(first: vec3i, at: u32) -> Number {
    let place = divide_one(at, params.inverse_input_channels);
    let channel = at - place * params.input_channels;
    let tap_row = divide_one(place, params.inverse_kernel_width);
    let row = first.y + i32(tap_row);
    let column = first.z + i32(place - tap_row * params.kernel_width);
    let inside = place < params.kernel_height * params.kernel_width
        && u32(row) < params.input_height && u32(column) < params.input_width;
    let pixel = (first.x * i32(params.input_height) + row) * i32(params.input_width) + column;
    let value = element(select(0u, u32(pixel) * params.input_channels + channel, inside));
    return select(Number(0), value, inside);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.output_width * params.row_texels {
        return;
    }
    let position = divide_long(i, params.row_texels, params.inverse_row_texels);
    let at = (i - position * params.row_texels) * 4u;
    let line = divide_one(position, params.inverse_output_width);
    let image = divide_one(line, params.inverse_output_height);
    let first = vec3i(
        i32(image),
        i32((line - image * params.output_height) * params.stride) - i32(params.padding),
        i32((position - line * params.output_width) * params.stride) - i32(params.padding),
    );
    output_0[params.y_base + i] =
        Texel(tap(first, at), tap(first, at + 1u), tap(first, at + 2u), tap(first, at + 3u));
}
