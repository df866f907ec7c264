//! Convolution and, as convolutions of 1 x 1 images, dense layers.

use super::entries;
use bytemuck::{Pod, Zeroable};

use super::{ConvShape, SumEpilogue, sum_partials_then};
use crate::op::NOWHERE;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// The twin of `Params` in `shaders/shared/conv_shape.wgsl`. Channels count in texels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct ConvParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32,
    output_height: u32,
    output_width: u32,
    output_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    relu: u32,
    x_base: u32,
    w_base: u32,
    bias_base: u32,
    y_base: u32,
    d_x_base: u32,
    argmax_base: u32,
    splits: u32,
    inverse_input_channels: f32,
    inverse_output_channels: f32,
    inverse_kernel_width: f32,
    phase_rows: u32,
    phase_height: u32,
    phase_width: u32,
    inverse_phase_width: f32,
    inverse_phase_height: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_batch: f32,
    window: u32,
    window_width: u32,
    window_channels: u32,
    inverse_window_width: f32,
    inverse_window_channels: f32,
}

/// How a layer finds its inputs.
#[derive(Clone, Copy, Debug)]
pub enum Windows<'a> {
    /// Its input is as [`ConvShape::x`] says.
    Plain(&'a ConvShape),
    /// Its input is what [`super::shifts`] made for this shape; its weights are (outputs, padded window).
    Shifts(&'a ConvShape),
}

impl Windows<'_> {
    /// The product with rows for positions: in its terms weights and results are stored.
    fn product(&self) -> ConvShape {
        match self {
            Windows::Plain(shape) => **shape,
            Windows::Shifts(shape) => shape.as_rows(),
        }
    }

    /// Positions that are computed.
    fn positions(&self, pooled: bool) -> usize {
        let shape = self.shape();
        let sides = [shape.output_height(), shape.output_width()];
        let [height, width] = sides.map(|side| if pooled { side / 2 * 2 } else { side });
        shape.batch * height * width
    }

    fn params(&self, pooled: bool) -> ConvParams {
        let product = ConvParams::new(&self.product());
        let Windows::Shifts(shape) = self else {
            return product.pooled(pooled);
        };
        let [.., rows, row] = shape.shifts();
        let window = shape.kernel_height * shape.kernel_width * shape.input_channels;
        ConvParams {
            batch: shape.batch as u32,
            output_height: shape.output_height() as u32,
            output_width: shape.output_width() as u32,
            inverse_output_height: 1.0 / shape.output_height() as f32,
            inverse_output_width: 1.0 / shape.output_width() as f32,
            input_height: rows as u32,
            input_width: (row / 4) as u32,
            window: window as u32,
            window_width: shape.kernel_width as u32,
            window_channels: shape.input_channels as u32,
            inverse_window_width: 1.0 / shape.kernel_width as f32,
            inverse_window_channels: 1.0 / shape.input_channels as f32,
            ..product
        }
    }

    /// The convolution.
    fn shape(&self) -> &ConvShape {
        match self {
            Windows::Plain(shape) | Windows::Shifts(shape) => shape,
        }
    }

    /// Says so to the kernels, and in what order positions count.
    fn constants(&self, pooled: bool) -> [(&'static str, f64); 3] {
        let shifts = matches!(self, Windows::Shifts(_));
        [
            ("SHIFTS", f64::from(shifts)),
            ("SQUARES", f64::from(shifts || pooled)),
            ("POOLED", f64::from(pooled)),
        ]
    }
}

impl ConvParams {
    fn new(shape: &ConvShape) -> Self {
        let [_, _, _, input_channels] = shape.x();
        let [_, _, _, output_channels] = shape.y();
        let (inputs, outputs) = (input_channels / 4, output_channels / 4);
        let inverse = |n: usize| 1.0 / n as f32;
        let [phase_height, phase_width] = shape.phase();
        Self {
            batch: shape.batch as u32,
            input_height: shape.input_height as u32,
            input_width: shape.input_width as u32,
            input_channels: inputs as u32,
            output_height: shape.output_height() as u32,
            output_width: shape.output_width() as u32,
            output_channels: outputs as u32,
            kernel_height: shape.kernel_height as u32,
            kernel_width: shape.kernel_width as u32,
            stride: shape.stride as u32,
            padding_rows: shape.padding[0] as u32,
            padding_columns: shape.padding[1] as u32,
            splits: 1,
            inverse_input_channels: inverse(inputs),
            inverse_output_channels: inverse(outputs),
            inverse_kernel_width: inverse(shape.kernel_width),
            phase_rows: shape.phase_rows() as u32,
            phase_height: phase_height as u32,
            phase_width: phase_width as u32,
            inverse_phase_width: inverse(phase_width),
            inverse_phase_height: inverse(phase_height),
            inverse_output_width: inverse(shape.output_width()),
            inverse_output_height: inverse(shape.output_height()),
            inverse_batch: inverse(shape.batch),
            ..Default::default()
        }
    }

    /// Leaves out the outputs that a max pool would cut off.
    fn pooled(self, pooled: bool) -> Self {
        if !pooled {
            return self;
        }
        let [height, width] = [self.output_height, self.output_width].map(|side| side / 2 * 2);
        Self {
            output_height: height,
            output_width: width,
            inverse_output_height: 1.0 / height as f32,
            inverse_output_width: 1.0 / width as f32,
            ..self
        }
    }
}

/// What a layer does with its sums.
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    /// Nothing.
    Linear,
    /// A ReLU.
    Relu,
    /// A ReLU, then the largest of each square of 2 x 2: y is half as high and wide. Rows and columns that fill
    /// no square are not computed.
    MaxPool {
        /// Which of the four it was, like y and in the same buffer: what the backward pass needs.
        argmax: Option<&'a Tensor>,
    },
}

/// The gradient of a layer's outputs.
#[derive(Clone, Copy)]
pub struct OutputGradient<'a> {
    /// Of what left its epilogue.
    pub d_y: &'a Tensor,
    /// What an epilogue with a max pool wrote.
    pub argmax: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for OutputGradient<'a> {
    fn from(d_y: &'a Tensor) -> Self {
        Self { d_y, argmax: None }
    }
}

/// y = x * w + bias, then the epilogue.
pub fn conv_forward(
    recording: &mut Recording,
    label: &str,
    windows: Windows<'_>,
    operands: [&Tensor; 3],
    epilogue: Epilogue<'_>,
    y: &Tensor,
) {
    let shape = windows.product();
    let [.., channels] = shape.y();
    let pooled = matches!(epilogue, Epilogue::MaxPool { .. });
    let [_, height, width, inputs] = shape.w();
    let splits = match windows {
        Windows::Plain(_) if !pooled => {
            let size = [windows.positions(pooled), channels];
            recording
                .path()
                .backend()
                .splits(size, height * width * inputs)
        }
        _ => 1,
    };
    conv_forward_in(splits, recording, label, windows, operands, epilogue, y);
}

/// [`conv_forward`] in so many ranges of its depth. With more than one, windows are plain and there is no max pool.
pub(super) fn conv_forward_in(
    splits: usize,
    recording: &mut Recording,
    label: &str,
    windows: Windows<'_>,
    [x, w, bias]: [&Tensor; 3],
    epilogue: Epilogue<'_>,
    y: &Tensor,
) {
    let shape = &windows.product();
    let [.., channels] = shape.y();
    let (pooled, argmax) = match epilogue {
        Epilogue::MaxPool { argmax } => (true, argmax),
        Epilogue::Linear | Epilogue::Relu => (false, None),
    };
    debug_assert!(argmax.is_none_or(|argmax| argmax.buffer.same(&y.buffer)));
    let relu = !matches!(epilogue, Epilogue::Linear);
    let partial = partial_of(splits, y);
    let product = partial.as_ref().unwrap_or(y);
    let params = ConvParams {
        relu: u32::from(relu),
        argmax_base: argmax.map_or(NOWHERE, Tensor::base),
        x_base: x.base(),
        w_base: w.base(),
        bias_base: bias.base(),
        y_base: product.base(),
        splits: splits as u32,
        ..windows.params(pooled)
    };
    let path = recording.path();
    let order = shape.order(path, !pooled && shape.has_edges());
    let constants = [
        ("INSIDE", f64::from(shape.is_inside())),
        ("POINTS", f64::from(!pooled && shape.is_points())),
        ("SPLIT", f64::from(splits > 1)),
    ];
    let constants = [&constants[..], &order, &windows.constants(pooled)].concat();
    let rows = windows.positions(pooled);
    let output = argmax.map_or(Write::New(product), |argmax| Write::Both(product, argmax));
    recording.dispatch(Dispatch {
        kernel: &entries::CONV_FORWARD,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        reads: &[x, w, bias],
        writes: &[output],
        schedule: false,
        grid: Grid::Product {
            size: [rows, channels],
            splits,
        },
        flops: shape.flops(),
    });
    if let Some(partial) = partial {
        let epilogue = SumEpilogue {
            bias: Some(bias),
            relu,
            mask: None,
        };
        sum_partials_then(recording, label, &partial, epilogue, y);
    }
}

/// Room for the products of a split depth.
fn partial_of(splits: usize, total: &Tensor) -> Option<Tensor> {
    let shape = [&[splits], &total.shape[..]].concat();
    (splits > 1).then(|| Tensor::transient("partial", &shape))
}

/// d_x from d_y and w; with `relu`, x came out of a ReLU and d_x is the gradient before it.
pub fn conv_backward_input(
    recording: &mut Recording,
    label: &str,
    shape: &ConvShape,
    operands: [&Tensor; 3],
    relu: bool,
    d_x: &Tensor,
) {
    let [.., channels] = shape.x();
    let rows = 4 * shape.stride * shape.stride * shape.phase_rows();
    let [outputs, height, width, _] = shape.w();
    let taps = height.div_ceil(shape.stride) * width.div_ceil(shape.stride);
    let splits = recording
        .path()
        .backend()
        .splits([rows, channels], taps * outputs);
    conv_backward_input_in(splits, recording, label, shape, operands, relu, d_x);
}

/// [`conv_backward_input`] in so many ranges of its depth.
pub(super) fn conv_backward_input_in(
    splits: usize,
    recording: &mut Recording,
    label: &str,
    shape: &ConvShape,
    [d_y, w, x]: [&Tensor; 3],
    relu: bool,
    d_x: &Tensor,
) {
    let [.., channels] = shape.x();
    let partial = partial_of(splits, d_x);
    let product = partial.as_ref().unwrap_or(d_x);
    let params = ConvParams {
        x_base: x.base(),
        d_x_base: product.base(),
        w_base: w.base(),
        y_base: d_y.base(),
        splits: splits as u32,
        ..ConvParams::new(shape)
    };
    let (path, rows) = (
        recording.path(),
        4 * shape.stride * shape.stride * shape.phase_rows(),
    );
    let constants = [
        ("STRIDE", shape.stride as f64),
        ("RELU", f64::from(u8::from(relu && splits == 1))),
        ("POINTS", f64::from(shape.is_points())),
        ("SPLIT", f64::from(splits > 1)),
    ];
    let order = shape.order(path, shape.has_transposed_edges());
    let constants = [&constants[..], &order].concat();
    recording.dispatch(Dispatch {
        kernel: &entries::CONV_BACKWARD_INPUT,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        reads: &[d_y, w, x],
        writes: &[Write::New(product)],
        schedule: false,
        grid: Grid::Product {
            size: [rows, channels],
            splits,
        },
        flops: shape.flops(),
    });
    if let Some(partial) = partial {
        let epilogue = SumEpilogue {
            mask: relu.then_some(x),
            ..Default::default()
        };
        sum_partials_then(recording, label, &partial, epilogue, d_x);
    }
}

/// Partial sums of d_w, and with `bias` of d_bias behind it, from the gradient of y and from x: `partial` is
/// (splits, weights, or weights + outputs). With one split they are d_w and d_bias.
pub fn conv_backward_weight(
    recording: &mut Recording,
    label: &str,
    windows: Windows<'_>,
    OutputGradient { d_y, argmax }: OutputGradient<'_>,
    x: &Tensor,
    bias: bool,
    partial: &Tensor,
) {
    let shape = &windows.product();
    let [outputs, kernel_height, kernel_width, inputs] = shape.w();
    let splits = partial.shape[0];
    let pooled = argmax.is_some();
    let params = ConvParams {
        x_base: x.base(),
        w_base: partial.base(),
        y_base: d_y.base(),
        argmax_base: argmax.map_or(NOWHERE, Tensor::base),
        splits: splits as u32,
        ..windows.params(pooled)
    };
    let inside = shape.is_inside() && windows.positions(pooled).is_multiple_of(4);
    let in_order = pooled || matches!(windows, Windows::Shifts(_)) || shape.is_points();
    let fours = !in_order && shape.in_fours(recording.path());
    let columns = kernel_height * kernel_width * inputs + if bias { 4 } else { 0 };
    let constants = [
        ("EDGES", f64::from(!pooled && shape.has_edges())),
        ("BIAS", f64::from(bias)),
        ("INSIDE", f64::from(inside)),
        ("POINTS", f64::from(!pooled && inside && shape.is_points())),
        ("FOURS", f64::from(fours)),
    ];
    let constants = [&constants[..], &windows.constants(pooled)].concat();
    recording.dispatch(Dispatch {
        kernel: &entries::CONV_BACKWARD_WEIGHT,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        // The pipeline's layout names every binding in the text.
        reads: &[d_y, x, argmax.unwrap_or(d_y)],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Product {
            size: [outputs, columns],
            splits,
        },
        flops: shape.flops(),
    });
}
