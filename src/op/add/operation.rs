//! Sums of values: the end of a residual branch (He et al. 2016).

use serde::{Deserialize, Serialize};

use super::add;
use super::integers::PackedSum;
use super::plain::PlainAdd;
use crate::graph::Shape;
use crate::onnx::{FloatNode, FloatWriter};
use crate::op::activation::relu_backward_apart;
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder};
use crate::op::relu_backward;
use crate::op::{Operation, Packing};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::Case;

/// The sum of two or more values of one shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operation for Add {
    fn word(&self) -> &'static str {
        "add"
    }

    fn check_arity(&self, inputs: usize) -> Result<(), String> {
        match inputs {
            0 | 1 => Err(format!("it adds two or more values, not {inputs}")),
            _ => Ok(()),
        }
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let other = inputs.iter().find(|shape| **shape != inputs[0]);
        match other {
            None => Ok(inputs[0]),
            Some(other) => Err(format!(
                "it adds values of one shape, and these are {} and {other}",
                inputs[0]
            )),
        }
    }

    fn takes_relu(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Adder {
            shape: bind.stored(bind.output),
            inputs: bind.inputs.len(),
            relu: bind.fused.relu,
        }))
    }

    fn packing(&self) -> Packing {
        Packing::OwnUnit
    }

    fn takes_limits(&self) -> bool {
        true
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let finest = at.units.iter().copied().min().unwrap_or(at.unit);
        Some(Box::new(PackedSum {
            shape: at.output,
            ups: at.units.iter().map(|unit| unit.abs_diff(finest)).collect(),
            shift: at.unit - finest,
            limits: at.limits,
        }))
    }

    fn plain(&self, _bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainAdd)
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let kind = match node.inputs.len() {
            1 => "Identity",
            2 => "Add",
            _ => "Sum",
        };
        writer.node(kind, &node.inputs, node.name, &[])
    }
}

struct Adder {
    /// (batch, rows, columns, padded channels)
    shape: Vec<usize>,
    inputs: usize,
    relu: bool,
}

impl Recorder for Adder {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.shape.clone(); self.inputs]
    }

    fn output(&self) -> Vec<usize> {
        self.shape.clone()
    }

    fn ends_in_relu(&self) -> bool {
        self.relu
    }

    fn has_relu(&self) -> bool {
        self.relu
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (number, y) in at.y.parts().iter().enumerate() {
            let mut sum = at.x[0].part(number).clone();
            for (input, x) in at.x.iter().enumerate().skip(1) {
                let last = input + 1 == at.x.len();
                let to = match last {
                    true => y.clone(),
                    false => Tensor::transient_of("sum", &y.shape, at.storages.values),
                };
                add(
                    recording,
                    at.label,
                    [&sum, x.part(number)],
                    last && self.relu,
                    &to,
                );
                sum = to;
            }
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let mut d_x = at.d_y.clone();
        if at.masks_own && at.d_y_shared {
            d_x = at.room(&self.shape);
            for ((y, d_y), d_x) in at.y.parts().iter().zip(at.d_y.parts()).zip(d_x.parts()) {
                relu_backward_apart(recording, at.label, [y, d_y], d_x);
            }
        } else if at.masks_own {
            for (y, d_y) in at.y.parts().iter().zip(at.d_y.parts()) {
                relu_backward(recording, at.label, y, d_y);
            }
        }
        let gradient = |wanted: &bool| match wanted {
            true => Gradient::Shared(d_x.clone()),
            false => Gradient::None,
        };
        at.wanted.iter().map(gradient).collect()
    }

    fn cases(&self) -> Vec<Case> {
        vec![super::cases::of_shape(
            [self.shape[0], self.shape[1], self.shape[2], self.shape[3]],
            self.relu,
        )]
    }
}
