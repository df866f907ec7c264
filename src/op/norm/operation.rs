//! Batch normalisation (Ioffe, Szegedy 2015), with a ReLU behind it.

use serde::{Deserialize, Serialize};

use super::plain::PlainNorm;
use crate::graph::Shape;
use crate::model::{Mode, NormParameters, Parts};
use crate::op::ConvShape;
use crate::op::GroupShape;
use crate::op::conv::integers::PackedGroups;
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder, cut};
use crate::op::{
    NORM_STATISTICS, norm_backward, norm_backward_sums, norm_combine, norm_forward, norm_gradients,
    norm_range, norm_running, norm_statistics,
};
use crate::op::{Operation, Packing};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};
use crate::verify::{self, Case};

/// Batch normalisation: every channel with mean zero and deviation one over the batch, times gamma, plus beta.
///
/// The two networks share gamma and beta, and each has its own running statistics. In the low-precision network
/// the factor gamma / deviation is rounded to a power of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {}

impl Operation for Norm {
    fn word(&self) -> &'static str {
        "norm"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        inputs[0].as_image()
    }

    fn normalises(&self, input: Shape) -> Option<usize> {
        Some(input.channels)
    }

    fn takes_relu(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        let input = bind.input();
        Some(Box::new(Normaliser {
            rows: bind.batch * input.pixels(),
            channels: pad4(input.channels),
            output: bind.stored(bind.output),
            norm: bind.norm.expect("a normalisation has parameters").clone(),
            relu: bind.fused.relu,
        }))
    }

    fn packing(&self) -> Packing {
        Packing::Layer
    }

    fn takes_limits(&self) -> bool {
        true
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let input = at.input();
        let conv = ConvShape {
            input_height: input.height,
            input_width: input.width,
            ..ConvShape::dense(at.batch, input.channels, input.channels)
        };
        let shape = GroupShape {
            conv,
            groups: input.channels,
        };
        Some(Box::new(PackedGroups::new(shape, at)))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainNorm {
            channels: pad4(bind.input().channels),
        })
    }
}

/// A normalisation of (rows, padded channels).
struct Normaliser {
    rows: usize,
    channels: usize,
    /// Stored shape of its output: (batch, rows, columns, padded channels).
    output: Vec<usize>,
    norm: NormParameters,
    relu: bool,
}

/// What a sum over rows is cut into, because one thread would take too long.
struct Partials {
    /// Rows that are summed at once.
    range: usize,
    /// (ranges, 2, channels)
    all: Tensor,
    /// `all` for each micro-batch.
    of_parts: Vec<Tensor>,
}

impl Normaliser {
    fn partials(&self, parts: &Parts) -> Partials {
        let range = norm_range(self.rows, parts.rows(self.rows));
        let all = Tensor::transient("partial", &[self.rows.div_ceil(range), 2, self.channels]);
        let of_image = self.rows / parts.batch();
        let lengths = parts
            .ranges()
            .iter()
            .map(|part| (part.len() * of_image).div_ceil(range));
        let of_parts = cut(&all, lengths);
        Partials {
            range,
            all,
            of_parts,
        }
    }

    /// Records the statistics (5, channels) that normalise the input.
    fn statistics(&self, plan: &mut Recording, at: &Forward<'_>) -> Tensor {
        let statistics = Tensor::transient("statistics", &[NORM_STATISTICS, self.channels]);
        let parameters = self.norm.parameters_of(at.weights.biases);
        let running = self.norm.running_of(at.weights.running);
        let round = at.weights.round_norm;
        match at.mode {
            Mode::Test => {
                norm_running(plan, at.label, [&running, &parameters], round, &statistics);
            }
            Mode::Train => {
                let partials = self.partials(at.parts);
                for (x, partial) in at.x[0].parts().iter().zip(&partials.of_parts) {
                    norm_statistics(plan, at.label, x, partials.range, partial);
                }
                let (inputs, outputs) = ([&partials.all, &parameters], [&statistics, &running]);
                let sizes = (self.rows, partials.range);
                norm_combine(plan, at.label, inputs, sizes, round, outputs);
            }
        }
        statistics
    }
}

impl Recorder for Normaliser {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![vec![self.rows, self.channels]]
    }

    fn output(&self) -> Vec<usize> {
        self.output.clone()
    }

    fn forward(&self, plan: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        let statistics = self.statistics(plan, at);
        for (x, y) in at.x[0].parts().iter().zip(at.y.parts()) {
            norm_forward(plan, at.label, [x, &statistics], self.relu, y);
        }
        Some(statistics)
    }

    fn backward(&self, plan: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let statistics = at
            .kept
            .statistics
            .as_ref()
            .expect("the forward pass keeps statistics");
        let gradients = self.norm.parameters_of(at.gradients);
        let partials = self.partials(at.parts);
        let pieces = || at.x[0].parts().iter().zip(at.d_y.parts());
        for ((x, d_y), partial) in pieces().zip(&partials.of_parts) {
            let inputs = [x, d_y, statistics];
            norm_backward_sums(plan, at.label, inputs, self.relu, partials.range, partial);
        }
        let sums = Tensor::transient("sums", &[2, self.channels]);
        let (inputs, outputs) = ([&partials.all, statistics], [&sums, &gradients]);
        norm_gradients(plan, at.label, inputs, partials.all.shape[0], outputs);
        if !at.wanted[0] {
            return vec![Gradient::None];
        }
        let d_x = at.room(&self.inputs()[0]);
        for ((x, d_y), d_x) in pieces().zip(d_x.parts()) {
            let inputs = [x, d_y, statistics, &sums];
            norm_backward(plan, at.label, inputs, self.relu, self.rows, d_x);
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        let splits = self.rows.div_ceil(norm_range(self.rows, self.rows));
        verify::norm_cases(self.rows, self.channels, splits)
    }
}
