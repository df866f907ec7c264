//! ReLU, ReLU6 and leaky ReLU.

use serde::{Deserialize, Serialize};

use super::integers::PackedActivation;
use super::plain::PlainActivation;
use super::{Activate, activation_backward, activation_forward};
use crate::graph::Shape;
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder};
use crate::op::{Fusible, Operation, Packing};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::Case;

/// The words of activations in descriptions, which stand there like operations of their own.
pub(in crate::op) const WORDS: &[&str] = &["relu", "relu6", "leaky-relu"];

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x, or x times 2^-shift where x is negative
    LeakyRelu,
}

/// A function of every number by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Which function.
    pub kind: Kind,
    /// Of a leaky ReLU: negative numbers are multiplied by 2^-shift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<u32>,
}

/// The shift of a leaky ReLU that does not say one: a slope of 1/8.
const USUAL_SHIFT: u32 = 3;

impl Activation {
    /// max(x, 0)
    pub const RELU: Self = Self {
        kind: Kind::Relu,
        shift: None,
    };
    /// min(max(x, 0), 6)
    pub const RELU6: Self = Self {
        kind: Kind::Relu6,
        shift: None,
    };

    /// x, or x times 2^-shift where x is negative
    pub const fn leaky(shift: u32) -> Self {
        Self {
            kind: Kind::LeakyRelu,
            shift: Some(shift),
        }
    }

    /// The largest output, if there is one.
    pub(crate) fn ceiling(&self) -> Option<f64> {
        matches!(self.kind, Kind::Relu6).then_some(6.0)
    }

    /// Places by which negative numbers are shifted to the right; `None` if they become zero.
    pub(crate) fn leak(&self) -> Option<u32> {
        match self.kind {
            Kind::Relu | Kind::Relu6 => None,
            Kind::LeakyRelu => Some(self.shift.unwrap_or(USUAL_SHIFT)),
        }
    }

    /// The same as numbers for kernels.
    pub(crate) fn slopes(&self) -> Activate {
        match self.kind {
            Kind::Relu => Activate::RELU,
            Kind::Relu6 => Activate::RELU6,
            Kind::LeakyRelu => Activate::leaky(self.leak().unwrap_or(USUAL_SHIFT)),
        }
    }
}

/// Reads `relu`, `relu6` and `leaky-relu` as the operation `activation`.
pub(in crate::op) fn expand(word: &str, mut settings: toml::Table) -> (String, toml::Table) {
    if !WORDS.contains(&word) {
        return (word.to_owned(), settings);
    }
    settings.insert("kind".to_owned(), word.into());
    ("activation".to_owned(), settings)
}

/// The inverse of [`expand`].
pub(in crate::op) fn contract(word: &str, mut settings: toml::Table) -> (String, toml::Table) {
    if word != "activation" {
        return (word.to_owned(), settings);
    }
    let kind = settings.remove("kind");
    let kind = kind
        .as_ref()
        .and_then(toml::Value::as_str)
        .unwrap_or("relu");
    (kind.to_owned(), settings)
}

impl Operation for Activation {
    fn word(&self) -> &'static str {
        "activation"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match (self.kind, self.shift) {
            (Kind::LeakyRelu, None | Some(1..=15)) | (_, None) => Ok(inputs[0]),
            (Kind::LeakyRelu, Some(shift)) => Err(format!("shift {shift}: it must be 1 to 15")),
            (_, Some(_)) => Err("shift is a setting of leaky-relu alone".to_owned()),
        }
    }

    fn keeps_scale(&self) -> bool {
        match self.kind {
            Kind::Relu | Kind::LeakyRelu => true,
            Kind::Relu6 => false,
        }
    }

    fn fusible(&self) -> Fusible {
        match self.kind {
            Kind::Relu => Fusible::Relu,
            Kind::Relu6 | Kind::LeakyRelu => Fusible::No,
        }
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Pointwise {
            shape: bind.stored(bind.output),
            slopes: self.slopes(),
        }))
    }

    fn packing(&self) -> Packing {
        match self.leak() {
            Some(_) => Packing::OwnUnit,
            None => Packing::Limits {
                ceiling: self.ceiling(),
            },
        }
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let leak = self.leak().unwrap_or(0);
        Some(Box::new(PackedActivation {
            shape: at.output,
            leak,
            shift: at.unit - at.units[0] + leak as i32,
            limits: at.limits,
        }))
    }

    fn plain(&self, _bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainActivation(self.slopes()))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let (name, inputs) = (node.name, &node.inputs);
        match self.kind {
            Kind::Relu => writer.node("Relu", inputs, name, &[]),
            Kind::Relu6 => {
                let (low, high) = (writer.constant(&[], &[0.0]), writer.constant(&[], &[6.0]));
                writer.node("Clip", &[inputs[0], &low, &high], name, &[])
            }
            Kind::LeakyRelu => {
                let places = self.leak().unwrap_or_default() as i32;
                let settings = [Attribute::Float("alpha", (-places as f32).exp2())];
                writer.node("LeakyRelu", inputs, name, &settings)
            }
        }
    }
}

struct Pointwise {
    /// (batch, rows, columns, padded channels)
    shape: Vec<usize>,
    slopes: Activate,
}

impl Recorder for Pointwise {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.shape.clone()]
    }

    fn output(&self) -> Vec<usize> {
        self.shape.clone()
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (x, y) in at.x[0].parts().iter().zip(at.y.parts()) {
            activation_forward(recording, at.label, &self.slopes, x, y);
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        if !at.wanted[0] {
            return vec![Gradient::None];
        }
        let d_x = at.room(&self.shape);
        for ((x, d_y), d_x) in at.x[0].parts().iter().zip(at.d_y.parts()).zip(d_x.parts()) {
            activation_backward(recording, at.label, &self.slopes, [x, d_y], d_x);
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        super::cases::of_size(self.shape.iter().product(), self.slopes)
    }
}

/// The gradient before a ReLU in memory of its own, from the output y of the ReLU and the gradient of y.
pub(in crate::op) fn relu_backward_apart(
    recording: &mut Recording,
    label: &str,
    [y, d_y]: [&Tensor; 2],
    d_x: &Tensor,
) {
    activation_backward(recording, label, &Activate::RELU, [y, d_y], d_x);
}
