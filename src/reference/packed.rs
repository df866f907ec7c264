//! Integer inference (`docs/FORMAT.md`, What is computed): what every device must give, bit for bit.

use crate::graph::INPUT;
use crate::op::ConvShape;
use crate::op::conv::reference::{each_tap, offsets};
use crate::pack::{PackedModel, bind};
use crate::tensor::pad4;

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

/// The logits, in units of 2^[`PackedModel::logit_scale`], from what [`PackedModel::image_input`] makes of an
/// image, or [`PackedModel::latent_input`] of a latent.
pub fn infer(model: &PackedModel, input: &[i32]) -> Vec<i32> {
    let network = model.network();
    let values = values(model, input);
    let last = bind(model, &network, 1)
        .last()
        .map_or(INPUT, |step| step.step.output);
    let real = network.output_shape().channels;
    let pixels = values[last].chunks(pad4(real));
    pixels
        .flat_map(|pixel| &pixel[..real])
        .map(|v| *v as i32)
        .collect()
}

/// Every value of [`PackedModel::network`] that is stored, as (rows, columns, padded channels), from the same input as
/// [`infer`]; values that are not stored are empty. A walk over the graph, one plain loop after the other.
pub fn values(model: &PackedModel, input: &[i32]) -> Vec<Vec<i64>> {
    let network = model.network();
    let [height, width, channels] = network.input;
    let stored = pad4(channels);
    let mut image = vec![0; height * width * stored];
    for (pixel, values) in input.chunks(channels).enumerate() {
        for (channel, value) in values.iter().enumerate() {
            image[pixel * stored + channel] = i64::from(*value);
        }
    }
    let mut values: Vec<Vec<i64>> = vec![Vec::new(); network.graph.nodes.len() + 1];
    values[INPUT] = image;
    for step in bind(model, &network, 1) {
        let x: Vec<&[i64]> = step
            .step
            .inputs
            .iter()
            .map(|value| &values[*value][..])
            .collect();
        values[step.step.output] = step.integers.exact(&x);
    }
    values
}
