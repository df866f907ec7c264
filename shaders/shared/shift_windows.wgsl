// Windows over few channels, read from what shaders/conv/shifts.wgsl made of the images: for every channel, four
// copies of the padded image, shifted by 0 or 1 pixels down and right, in texels of 2 x 2 pixels. The inputs of a
// square of outputs (shared/squares.wgsl) from one tap are then one texel. With SHIFTS, and then SQUARES too, the
// parameters describe
//
// - the product: input_channels texels of depth, of which `window` numbers are taps and channels,
//   (kernel_height, kernel_width, channels); kernels of 1 x 1;
// - the copies: (batch, channels, 4, input_height, input_width), both counted in texels.

override SHIFTS: bool = false;

// First texel of a square, without a tap.
fn shift_base(number: u32) -> u32 {
    let at = square_of(number);
    let row = at.image * params.window_channels * 4u * params.input_height + at.row;
    return params.x_base + row * params.input_width + at.column;
}

// What the four numbers of a block of the depth add to that. Past the window it is the last one's.
fn shift_offsets(k: u32) -> vec4u {
    let number = min(k * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(params.window - 1u));
    let tap = divide(number, params.inverse_window_channels);
    let channel = number - tap * params.window_channels;
    let row = divide(tap, params.inverse_window_width);
    let column = tap - row * params.window_width;
    let plane = channel * 4u + 2u * (row & vec4u(1u)) + (column & vec4u(1u));
    return (plane * params.input_height + row / 2u) * params.input_width + column / 2u;
}
