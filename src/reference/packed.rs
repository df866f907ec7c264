//! Integer inference (SPEC section 5): what every device must give, bit for bit.

use super::conv::{each_tap, offsets};
use crate::layer::ConvShape;
use crate::model::{Layer, shapes};
use crate::pack::PackedModel;

/// (sum << up) + bias, then a right shift that rounds half up, then the limits. A positive shift
/// goes right, a negative one left.
pub fn requantise(sum: i64, bias: i64, shift: i64, limits: [i64; 2]) -> i64 {
    let (up, down) = ((-shift).max(0), shift.max(0));
    let half = (1 << down) >> 1;
    (((sum << up) + bias + half) >> down).clamp(limits[0], limits[1])
}

/// y (stored) from x (stored), w (stored, in units of the layer's smallest), and the bias and shift
/// of every output.
pub fn packed_conv(
    shape: &ConvShape,
    x: &[i64],
    w: &[i64],
    [bias, shift]: [&[i64]; 2],
    limits: [i64; 2],
) -> Vec<i64> {
    let [outputs, height, width, inputs] = shape.w();
    let mut y = vec![0; shape.y().iter().product()];
    each_tap(shape, |at| {
        let [x_at, w_at, y_at] = offsets(shape, at);
        for o in 0..shape.output_channels {
            for i in 0..shape.input_channels {
                y[y_at + o] += x[x_at + i] * w[o * height * width * inputs + w_at + i];
            }
        }
    });
    for (i, y) in y.iter_mut().enumerate() {
        let o = i % outputs;
        if o < shape.output_channels {
            *y = requantise(*y, bias[o], shift[o], limits);
        }
    }
    y
}

/// Weights in units of the layer's smallest from codes of `bits` bits: a sign above an index, whose
/// 0 is zero where the layer has zeros.
pub fn packed_unpack(codes: &[u8], bits: u32, zero: bool) -> Vec<i64> {
    let weight = |code: &u8| {
        let index = i64::from(*code) & ((1 << (bits - 1)) - 1);
        let negative = code >> (bits - 1) & 1 == 1;
        let size = (1 << index) >> i64::from(zero);
        if negative { -size } else { size }
    };
    codes.iter().map(weight).collect()
}

/// Whole numbers x (rows, channels) as bytes, four to a word, `words` of them a row, zero past the
/// last channel.
pub fn packed_bytes(x: &[i64], channels: usize, words: usize) -> Vec<i32> {
    let mut packed = Vec::new();
    for row in x.chunks(channels) {
        for word in 0..words {
            let byte = |i| row.get(4 * word + i).map_or(0, |v| *v as i8 as u8);
            packed.push(i32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]));
        }
    }
    packed
}

/// The logits, in units of 2^scale of the last layer, from what [`PackedModel::image_input`] makes of an
/// image, or [`PackedModel::latent_input`] of a latent. Loops over logical shapes; nothing here knows how
/// a device stores them.
pub fn infer(model: &PackedModel, input: &[i32]) -> Vec<i32> {
    let mut x: Vec<i64> = input.iter().map(|v| i64::from(*v)).collect();
    let mut packed = model.layers.iter();
    let (network, most) = (model.network(), model.most());
    for (layer, shape) in shapes(&network, 1) {
        let relu = match layer {
            Layer::MaxPool { size } => {
                x = pool(&x, &shape, *size);
                continue;
            }
            Layer::Upsample { size } => {
                x = upsample(&x, &shape, *size);
                continue;
            }
            // The same numbers in the same order.
            Layer::Reshape { .. } => continue,
            Layer::Latent { .. } => unreachable!("decoders start after it"),
            Layer::Conv { relu, .. } | Layer::Dense { relu, .. } => *relu,
        };
        let Some(layer) = packed.next() else { break };
        let limits = match (layer.last, relu) {
            (true, _) => [i64::from(i32::MIN), i64::from(i32::MAX)],
            (false, true) => [0, most],
            (false, false) => [-most, most],
        };
        let w = packed_unpack(&layer.codes, layer.bits, layer.zero);
        let taps = shape.kernel_height * shape.kernel_width;
        let (inputs, outputs) = (shape.input_channels, shape.output_channels);
        let mut y = vec![0; shape.output_height() * shape.output_width() * outputs];
        each_tap(
            &shape,
            |[_, row, column, tap_row, tap_column, y_in, x_in]| {
                let from = (y_in * shape.input_width + x_in) * inputs;
                let to = (row * shape.output_width() + column) * outputs;
                let tap = tap_row * shape.kernel_width + tap_column;
                for o in 0..outputs {
                    let w = &w[(o * taps + tap) * inputs..][..inputs];
                    let products = w.iter().zip(&x[from..from + inputs]).map(|(w, x)| w * x);
                    y[to + o] += products.sum::<i64>();
                }
            },
        );
        for (i, y) in y.iter_mut().enumerate() {
            let o = i % outputs;
            *y = requantise(*y, layer.bias[o].into(), layer.shift[o].into(), limits);
        }
        x = y;
    }
    x.iter().map(|v| *v as i32).collect()
}

fn pool(x: &[i64], shape: &ConvShape, size: usize) -> Vec<i64> {
    let channels = shape.input_channels;
    let mut y = Vec::new();
    for row in 0..shape.input_height / size {
        for column in 0..shape.input_width / size {
            for c in 0..channels {
                let window = (0..size * size).map(|i| {
                    let (r, k) = (row * size + i / size, column * size + i % size);
                    x[(r * shape.input_width + k) * channels + c]
                });
                y.extend(window.max());
            }
        }
    }
    y
}

fn upsample(x: &[i64], shape: &ConvShape, size: usize) -> Vec<i64> {
    let channels = shape.input_channels;
    let mut y = Vec::new();
    for row in 0..shape.input_height * size {
        for column in 0..shape.input_width * size {
            let from = (row / size * shape.input_width + column / size) * channels;
            y.extend(&x[from..from + channels]);
        }
    }
    y
}
