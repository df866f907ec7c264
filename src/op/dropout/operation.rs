//! Dropout (Srivastava et al. 2014).

use serde::{Deserialize, Serialize};

use super::dropout;
use super::plain::PlainDropout;
use crate::graph::Shape;
use crate::model::{Mode, Shard};
use crate::onnx::{FloatNode, FloatWriter};
use crate::op::Counter;
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder};
use crate::op::{Operation, Packing};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::Case;

/// While training, numbers become zero with a probability, and the others grow so that the mean stays. Tests
/// and packed models leave all numbers as they are. Both networks drop the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of becoming zero, from 0 to less than 1.
    pub probability: f64,
}

impl Operation for Dropout {
    fn word(&self) -> &'static str {
        "dropout"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match (0.0..1.0).contains(&self.probability) {
            true => Ok(inputs[0]),
            false => Err(format!(
                "probability {}: it must be at least 0 and less than 1",
                self.probability
            )),
        }
    }

    fn keeps_scale(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Dropper {
            shape: bind.stored(bind.output),
            probability: self.probability as f32,
            number: bind.number as u32,
        }))
    }

    fn packing(&self) -> Packing {
        Packing::View
    }

    fn integers(&self, _at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        None
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainDropout {
            probability: self.probability as f32,
            counter: counter(bind.number as u32, 0),
        })
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let ratio = writer.constant(&[], &[self.probability as f32]);
        writer.node("Dropout", &[node.inputs[0], &ratio], node.name, &[])
    }
}

/// The counter of a node's random bits, from the vec4 `first` of the whole batch on. The fourth word leaves
/// remainder 2 when divided by 4, unlike that of other noise.
pub(crate) fn counter(number: u32, first: usize) -> Counter {
    Counter {
        first: first as u32,
        second: number,
        fourth: 2,
    }
}

struct Dropper {
    /// (batch, rows, columns, padded channels)
    shape: Vec<usize>,
    probability: f32,
    number: u32,
}

impl Dropper {
    /// A shard has the numbers that it would have within a whole batch.
    fn record(
        &self,
        recording: &mut Recording,
        (label, shard): (&str, Shard),
        probability: f32,
        [x, y]: [&[Tensor]; 2],
    ) {
        let mut first = shard.number * self.shape.iter().product::<usize>() / 4;
        for (x, y) in x.iter().zip(y) {
            dropout(
                recording,
                label,
                (probability, counter(self.number, first)),
                x,
                y,
            );
            first += x.texels() as usize;
        }
    }
}

impl Recorder for Dropper {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.shape.clone()]
    }

    fn output(&self) -> Vec<usize> {
        self.shape.clone()
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        let probability = match at.mode {
            Mode::Train => self.probability,
            Mode::Test => 0.0,
        };
        let tensors = [at.x[0].parts(), at.y.parts()];
        self.record(recording, (at.label, at.shard), probability, tensors);
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        if !at.wanted[0] {
            return vec![Gradient::None];
        }
        let d_x = at.room(&self.shape);
        let tensors = [at.d_y.parts(), d_x.parts()];
        self.record(recording, (at.label, at.shard), self.probability, tensors);
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        vec![super::cases::of_size(
            self.shape.iter().product(),
            self.probability,
        )]
    }
}
