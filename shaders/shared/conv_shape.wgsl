// What the three convolution kernels know of a layer. Channels count in texels of four.
// A dense layer is a convolution of 1 x 1 images.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32, // texels
    output_height: u32,
    output_width: u32,
    output_channels: u32, // texels
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    relu: u32,
    x_base: u32, // first texel of each operand within its buffer
    w_base: u32,
    bias_base: u32,
    y_base: u32,
    d_x_base: u32,
    argmax_base: u32, // all ones if nobody wants it
    splits: u32,
    inverse_input_channels: f32,
    inverse_output_channels: f32,
    inverse_kernel_width: f32,
    // Input positions a stride apart, for the gradient of the input.
    phase_rows: u32,
    phase_height: u32,
    phase_width: u32,
    inverse_phase_width: f32,
    inverse_phase_height: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_batch: f32,
    // Of windows over few channels, see shared/shift_windows.wgsl: numbers, pixels, channels.
    window: u32,
    window_width: u32,
    window_channels: u32,
    inverse_window_width: f32,
    inverse_window_channels: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Rows and columns.
fn padding() -> vec2u { return vec2u(params.padding_rows, params.padding_columns); }
