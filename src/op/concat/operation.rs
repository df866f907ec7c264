//! Channels of several values side by side.

use serde::{Deserialize, Serialize};

use super::integers::{PackedJoin, Part};
use super::plain::PlainConcat;
use super::{channels, concat};
use crate::graph::Shape;
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder};
use crate::op::{Operation, Packing};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};
use crate::verify::Case;

/// The channels of two or more images of one size, one image's after the other's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {}

impl Operation for Concat {
    fn word(&self) -> &'static str {
        "concat"
    }

    fn check_arity(&self, inputs: usize) -> Result<(), String> {
        match inputs {
            0 | 1 => Err(format!("it joins two or more values, not {inputs}")),
            _ => Ok(()),
        }
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let first = inputs[0].as_image()?;
        let mut sum = 0;
        for shape in inputs {
            let shape = shape.as_image()?;
            if [shape.height, shape.width] != [first.height, first.width] {
                return Err(format!(
                    "it joins images of one size, and these are {first} and {shape}"
                ));
            }
            sum += shape.channels;
        }
        Ok(Shape::image([first.height, first.width, sum]))
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Joiner {
            rows: [bind.batch, bind.output.height, bind.output.width],
            channels: bind.inputs.iter().map(|shape| shape.channels).collect(),
        }))
    }

    fn packing(&self) -> Packing {
        Packing::OwnUnit
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let parts = at.inputs.iter().zip(&at.units).map(|(shape, unit)| Part {
            channels: shape.channels,
            shift: at.unit - unit,
        });
        Some(Box::new(PackedJoin {
            parts: parts.collect(),
            pixels: at.output.pixels(),
            limits: at.limits,
        }))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainConcat(
            bind.inputs.iter().map(|shape| shape.channels).collect(),
        ))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let settings = [Attribute::Int("axis", 1)];
        writer.node("Concat", &node.inputs, node.name, &settings)
    }
}

struct Joiner {
    /// Images, rows and columns.
    rows: [usize; 3],
    /// Of each input, without padding.
    channels: Vec<usize>,
}

impl Joiner {
    fn stored(&self, channels: usize) -> Vec<usize> {
        [&self.rows[..], &[pad4(channels)]].concat()
    }
}

impl Recorder for Joiner {
    fn inputs(&self) -> Vec<Vec<usize>> {
        self.channels
            .iter()
            .map(|channels| self.stored(*channels))
            .collect()
    }

    fn output(&self) -> Vec<usize> {
        self.stored(self.channels.iter().sum())
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (number, y) in at.y.parts().iter().enumerate() {
            let (mut joined, mut width) = (at.x[0].part(number).clone(), self.channels[0]);
            for (input, channels) in self.channels.iter().enumerate().skip(1) {
                let mut shape = y.shape.clone();
                shape[3] = pad4(width + channels);
                let to = match input + 1 == self.channels.len() {
                    true => y.clone(),
                    false => Tensor::transient_of("joined", &shape, at.storages.values),
                };
                let right = (at.x[input].part(number), *channels);
                concat(recording, at.label, [(&joined, width), right], &to);
                (joined, width) = (to, width + channels);
            }
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let mut first = 0;
        let mut gradients = Vec::new();
        for (input, count) in self.channels.iter().enumerate() {
            gradients.push(match at.wanted[input] {
                true => {
                    let d_x = at.room(&self.stored(*count));
                    for (d_y, d_x) in at.d_y.parts().iter().zip(d_x.parts()) {
                        channels(recording, at.label, d_y, (first, *count), d_x);
                    }
                    Gradient::Own(d_x)
                }
                false => Gradient::None,
            });
            first += count;
        }
        gradients
    }

    fn cases(&self) -> Vec<Case> {
        let pixels = self.rows.iter().product();
        super::cases::of_sizes(pixels, [self.channels[0], self.channels[1]])
    }
}
