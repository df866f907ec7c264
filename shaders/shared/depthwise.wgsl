// What the kernels of a depthwise convolution share: four channels of a texel are one vector, because each reads its own
// channel alone, and a thread works on a strip of four positions in a row. Kernel and stride are known when the pipeline
// is made, so that loops over taps are unrolled and a texel of weights is read once for its four taps.

override KERNEL_HEIGHT: u32 = 1u;
override KERNEL_WIDTH: u32 = 1u;
override STRIDE: u32 = 1u;
// Whether windows are 3 x 3, as nearly all are.
override NINE: bool = false;

// The first position of a strip.
struct Strip {
    image: u32,
    row: u32,
    column: u32,
}

fn strip_of(block: u32, height: u32, inverse_height: f32) -> Strip {
    let line = divide_one(block, params.inverse_strips);
    let image = divide_one(line, inverse_height);
    return Strip(image, line - image * height, (block - line * params.strips) * 4u);
}

// The weights of one tap of four channels.
fn weights_of(tap: u32, channel: u32) -> vec4f {
    let texel = params.w_base + channel * 4u * params.row + tap / 4u;
    return vec4f(
        number_of(read_b(texel), tap & 3u),
        number_of(read_b(texel + params.row), tap & 3u),
        number_of(read_b(texel + 2u * params.row), tap & 3u),
        number_of(read_b(texel + 3u * params.row), tap & 3u),
    );
}

// Adds what four positions read through one tap.
fn with_tap(sums: mat4x4f, read: mat4x4f, w: vec4f) -> mat4x4f {
    return mat4x4f(
        sums[0] + read[0] * w,
        sums[1] + read[1] * w,
        sums[2] + read[2] * w,
        sums[3] + read[3] * w,
    );
}

// The weights of four channels for 3 x 3 taps, by rows.
struct Nine {
    top: mat3x4f,
    middle: mat3x4f,
    bottom: mat3x4f,
}

fn nine_weights(channel: u32) -> Nine {
    let texel = params.w_base + channel * 4u * params.row;
    let first = four_taps(texel);
    let second = four_taps(texel + 1u);
    return Nine(
        mat3x4f(first[0], first[1], first[2]),
        mat3x4f(first[3], second[0], second[1]),
        mat3x4f(second[2], second[3], four_taps(texel + 2u)[0]),
    );
}

fn four_taps(texel: u32) -> mat4x4f {
    return transpose(mat4x4f(
        read_b(texel),
        read_b(texel + params.row),
        read_b(texel + 2u * params.row),
        read_b(texel + 3u * params.row),
    ));
}

// A sum over the three taps of a row.
fn three(sum: vec4f, a: vec4f, b: vec4f, c: vec4f, w: mat3x4f) -> vec4f {
    return sum + a * w[0] + b * w[1] + c * w[2];
}
