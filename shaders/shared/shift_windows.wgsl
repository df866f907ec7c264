// Windows over few channels, read from what shaders/shifts.wgsl made of the images: for every channel, four
// copies of the padded image, shifted by 0 to 3 pixels. The inputs of four neighbouring outputs from one tap
// are then one texel. With SHIFTS the parameters describe
//
// - the product: input_channels texels of depth, of which `window` numbers are taps and channels,
//   (kernel_height, kernel_width, channels); kernels of 1 x 1;
// - the copies: (batch, channels, 4, input_height, input_width texels).

override SHIFTS: bool = false;

// First texel of a block of four positions, without a tap; `output_width` is a multiple of four.
fn shift_base(block: u32) -> u32 {
    let line = divide_one(block, 4.0 * params.inverse_output_width);
    let image = divide_one(line, params.inverse_output_height);
    let row = image * params.window_channels * 4u * params.input_height + line - image * params.output_height;
    return params.x_base + row * params.input_width + block - line * (params.output_width / 4u);
}

// What the four numbers of a block of the depth add to that. Past the window it is the last one's.
fn shift_offsets(k: u32) -> vec4u {
    let number = min(k * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(params.window - 1u));
    let tap = divide(number, params.inverse_window_channels);
    let channel = number - tap * params.window_channels;
    let row = divide(tap, params.inverse_window_width);
    let column = tap - row * params.window_width;
    let plane = channel * 4u + (column & vec4u(3u));
    return (plane * params.input_height + row) * params.input_width + (column >> vec4u(2u));
}
