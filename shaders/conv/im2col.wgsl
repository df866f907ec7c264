// Lays out the window of every output position as one row, so that a convolution over few
// channels becomes a dense product without wasted lanes.
//
// a: x (batch, input_height, input_width, input_channels), channels not padded
// output_0: rows (batch * output_height * output_width, row_texels * 4), the tail of a row zero
//
// A thread makes one row. What a row of taps covers lies in one piece in x: a run, which starts
// anywhere in a texel and ends up anywhere in another.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    row_texels: u32,
    x_texels: u32,
    x_base: u32, // texels
    y_base: u32,
    inverse_output_width: f32,
    inverse_output_height: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Known when the pipeline is made, so that loops unroll.
override KERNEL_HEIGHT: u32 = 1u;
override CHANNELS: u32 = 1u;
override RUN: u32 = 1u; // kernel_width * CHANNELS numbers

const NONE = Texel(0, 0, 0, 0);

// What lies outside x is not looked at.
fn texel_of(at: i32) -> Texel {
    return read_a(params.x_base + u32(clamp(at, 0, i32(params.x_texels) - 1)));
}

// Four numbers from number `skipped` of two texels on.
fn piece(low: Texel, high: Texel, skipped: i32) -> Texel {
    let far = (skipped & 2) != 0;
    let a = select(low, vec4(low.zw, high.xy), far);
    let b = select(high.xy, high.zw, far);
    return select(a, vec4(a.yzw, b.x), (skipped & 1) != 0);
}

// The numbers of a piece that stay in a texel which holds `before` others, and those that do not.
fn staying(values: Texel, before: u32) -> Texel {
    switch before {
        case 1u: { return vec4(Number(0), values.xyz); }
        case 2u: { return vec4(Number(0), Number(0), values.xy); }
        case 3u: { return vec4(Number(0), Number(0), Number(0), values.x); }
        default: { return values; }
    }
}

fn leaving(values: Texel, before: u32) -> Texel {
    switch before {
        case 1u: { return vec4(values.w, Number(0), Number(0), Number(0)); }
        case 2u: { return vec4(values.zw, Number(0), Number(0)); }
        case 3u: { return vec4(values.yzw, Number(0)); }
        default: { return NONE; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let position = thread_index(id, groups);
    if position >= params.batch * params.output_height * params.output_width {
        return;
    }
    let line = divide_one(position, params.inverse_output_width);
    let image = divide_one(line, params.inverse_output_height);
    let top = i32((line - image * params.output_height) * params.stride) - i32(params.padding_rows);
    let left = i32((position - line * params.output_width) * params.stride) - i32(params.padding_columns);
    let first_row = i32(image * params.input_height) + top;
    let first = (first_row * i32(params.input_width) + left) * i32(CHANNELS);
    let output = params.y_base + position * params.row_texels;
    var texel = NONE; // the one being filled
    for (var row = 0u; row < KERNEL_HEIGHT; row++) {
        let run = first + i32(row * params.input_width * CHANNELS);
        let row_inside = u32(top + i32(row)) < params.input_height;
        var low = texel_of(run >> 2u);
        for (var start = 0u; start < RUN; start += 4u) {
            let number = start + vec4u(0u, 1u, 2u, 3u);
            let column = vec4u(left + vec4i(number / CHANNELS));
            let inside = (column < vec4u(params.input_width)) & (number < vec4u(RUN));
            let high = texel_of((run >> 2u) + i32(start / 4u) + 1);
            let values = select(NONE, piece(low, high, run & 3), inside & vec4<bool>(row_inside));
            low = high;
            let done = row * RUN + start;
            let before = done & 3u;
            texel += staying(values, before);
            if before + min(4u, RUN - start) >= 4u {
                write_0(output + done / 4u, texel);
                texel = leaving(values, before);
            }
        }
    }
    if ((KERNEL_HEIGHT * RUN) & 3u) != 0u {
        write_0(output + params.row_texels - 1u, texel);
    }
}
