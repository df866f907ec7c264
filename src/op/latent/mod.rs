//! The latent of a variational auto-encoder.

pub(crate) mod cases;
pub mod entries;
mod kernels;
pub mod reference;

use super::Folder;

pub use kernels::{
    Counter, TEST_NOISE, TRAINING_NOISE, gaussian_kl, philox, reparameterise_backward,
    reparameterise_forward, standard_normal,
};
use serde::{Deserialize, Serialize};

use super::integers::{IntegerBinding, Integers};
use super::plain::{Plain, PlainView};
use super::record::{Backward, Binding, Forward, Gradient, Recorder};
use super::{Operation, Packing};
use crate::graph::Shape;
use crate::model::PartedTensor;
use crate::onnx::{FloatNode, FloatWriter};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};
use crate::verify::Case;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &entries::PHILOX,
        &entries::STANDARD_NORMAL,
        &entries::REPARAMETERISE_FORWARD,
        &entries::REPARAMETERISE_BACKWARD,
        &entries::GAUSSIAN_KL,
    ],
    cases: &[cases::cases],
};

/// Samples of normal distributions, whose means and log variances it reads (Kingma, Welling 2013).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latent {
    /// Numbers of a sample: half as many as it reads.
    pub size: usize,
}

impl Operation for Latent {
    fn word(&self) -> &'static str {
        "latent"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let input = inputs[0];
        match input.pixels() == 1 && input.channels == self.size.saturating_mul(2) {
            true => Ok(Shape::row(self.size)),
            false => Err(format!(
                "a sample of {} numbers has {} means and log variances, and it reads {input}",
                self.size,
                self.size.saturating_mul(2)
            )),
        }
    }

    fn latent(&self) -> Option<usize> {
        Some(self.size)
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Sampler {
            batch: bind.batch,
            size: self.size,
        }))
    }

    fn packing(&self) -> Packing {
        Packing::Boundary
    }

    fn integers(&self, _at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        None
    }

    fn plain(&self, _bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainView)
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        // Only what follows it is written, from here on.
        writer.view(node)
    }
}

struct Sampler {
    batch: usize,
    size: usize,
}

impl Recorder for Sampler {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![vec![self.batch, pad4(2 * self.size)]]
    }

    fn output(&self) -> Vec<usize> {
        vec![self.batch, pad4(self.size)]
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        let noise = at
            .noise
            .expect("the noise of an auto-encoder is allocated with it");
        for (number, (x, y)) in at.x[0].parts().iter().zip(at.y.parts()).enumerate() {
            reparameterise_forward(recording, at.label, self.size, [x, noise.part(number)], y);
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let noise = at
            .noise
            .expect("the noise of an auto-encoder is allocated with it");
        let d_posterior = at
            .d_posterior
            .expect("the loss writes the divergence's gradient");
        let d_x = PartedTensor::whole(d_posterior, at.parts);
        for (number, (x, d_y)) in at.x[0].parts().iter().zip(at.d_y.parts()).enumerate() {
            let inputs = [x, noise.part(number), d_y];
            reparameterise_backward(recording, at.label, self.size, inputs, d_x.part(number));
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        // Its kernels' cases do not depend on the model.
        Vec::new()
    }
}
