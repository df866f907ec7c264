//! Batch normalisation (Ioffe, Szegedy 2015), with a ReLU and a max pool behind it.

use serde::{Deserialize, Serialize};

use super::plain::PlainNorm;
use crate::gpu::Path;
use crate::graph::Shape;
use crate::model::{Mode, Moments, NetworkArenas, NormParameters, Parts, Shard};
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::ConvShape;
use crate::op::GroupShape;
use crate::op::conv::integers::PackedGroups;
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder, cut};
use crate::op::{NORM_EPSILON, Operation, Packing};
use crate::op::{
    NORM_STATISTICS, norm_backward, norm_backward_sums, norm_combine, norm_forward, norm_gradients,
    norm_pool_backward, norm_pool_backward_sums, norm_pool_forward, norm_range, norm_running,
    norm_shard, norm_statistics,
};
use crate::recording::{Exchange, Recording};
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

    /// Pixels that a max pool cuts off are normalised too, so it takes none along that has some.
    fn takes_pool(&self, bind: &Binding<'_>) -> bool {
        let input = bind.input();
        [input.height, input.width]
            .iter()
            .all(|side| side.is_multiple_of(2))
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        let input = bind.input();
        let mut output = bind.stored(bind.output);
        if bind.fused.pool {
            output[1] /= 2;
            output[2] /= 2;
        }
        Some(Box::new(Normaliser {
            rows: bind.batch * input.pixels(),
            channels: pad4(input.channels),
            output,
            pooled_width: bind.fused.pool.then_some(input.width),
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

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        writer.learned(node);
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let parts = parts.map(|part| format!("{}.{part}", node.name));
        let parts = parts.iter().map(String::as_str);
        let inputs: Vec<&str> = node.inputs.iter().copied().chain(parts).collect();
        let settings = [Attribute::Float("epsilon", NORM_EPSILON as f32)];
        writer.node("BatchNormalization", &inputs, node.name, &settings)
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
    /// Pixels of a row of the input, if a max pool over squares follows the ReLU.
    pooled_width: Option<usize>,
}

/// Ranges of rows: one thread sums one range.
struct Partials {
    /// Rows that are summed at once.
    range: usize,
    /// (ranges, 2, channels)
    all: Tensor,
    /// `all` for each micro-batch.
    of_parts: Vec<Tensor>,
}

impl Normaliser {
    /// For ranges of rows, each of so many pixels.
    fn partials(&self, path: Path, parts: &Parts, pixels: usize) -> Partials {
        let rows = self.rows / pixels;
        let range = norm_range(path, rows, parts.rows(rows), pixels);
        let all = Tensor::transient("partial", &[rows.div_ceil(range), 2, self.channels]);
        let of_image = rows / parts.batch();
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

    /// Where a shard leaves its moments: (2, channels).
    fn moments(&self, moments: &Moments<'_>, shard: Shard) -> Tensor {
        let all = self.norm.moments_of(moments.arena, moments.shards.count);
        let one = all.range(shard.number..shard.number + 1);
        one.view(&[2, self.channels])
    }

    /// The moments of all shards, once those of other processes have come: (shards, 2, channels).
    fn gathered(&self, recording: &mut Recording, moments: &Moments<'_>) -> Tensor {
        let all = self.norm.moments_of(moments.arena, moments.shards.count);
        if moments.shards.are_elsewhere() {
            recording.exchange(Exchange {
                gathers: vec![all.clone()],
                ..Exchange::default()
            });
        }
        all
    }

    /// Records that the running statistics (2, channels) follow the moments of all shards, and makes statistics
    /// (5, channels) of them.
    fn join(
        &self,
        recording: &mut Recording,
        label: &str,
        weights: NetworkArenas<'_>,
        (all, shards): (&Tensor, usize),
    ) -> Tensor {
        let statistics = Tensor::transient("statistics", &[NORM_STATISTICS, self.channels]);
        let parameters = self.norm.parameters_of(weights.floats);
        let running = self.norm.running_of(weights.running);
        let (inputs, outputs) = ([all, &parameters], [&statistics, &running]);
        let sizes = (self.rows * shards, self.rows);
        norm_combine(recording, label, inputs, sizes, weights.round_norm, outputs);
        statistics
    }

    /// Records the statistics (5, channels) that normalise the input.
    fn statistics(&self, recording: &mut Recording, at: &Forward<'_>) -> Tensor {
        let statistics = Tensor::transient("statistics", &[NORM_STATISTICS, self.channels]);
        let parameters = self.norm.parameters_of(at.weights.floats);
        let running = self.norm.running_of(at.weights.running);
        let round = at.weights.round_norm;
        match at.mode {
            Mode::Test => {
                norm_running(
                    recording,
                    at.label,
                    [&running, &parameters],
                    round,
                    &statistics,
                );
            }
            Mode::Train => {
                let partials = self.partials(recording.path(), at.parts, 1);
                for (x, partial) in at.x[0].parts().iter().zip(&partials.of_parts) {
                    norm_statistics(recording, at.label, x, partials.range, partial);
                }
                let sizes = (self.rows, partials.range);
                let partial = &partials.all;
                match &at.weights.moments {
                    None => {
                        let (inputs, outputs) = ([partial, &parameters], [&statistics, &running]);
                        norm_combine(recording, at.label, inputs, sizes, round, outputs);
                    }
                    Some(moments) => {
                        let moments = self.moments(moments, at.shard);
                        let inputs = [partial, &parameters, &running];
                        let outputs = [&statistics, &moments];
                        norm_shard(recording, at.label, inputs, sizes, round, outputs);
                    }
                }
            }
        }
        statistics
    }

    /// Records the output from the statistics (5, channels).
    fn normalise(&self, recording: &mut Recording, at: &Forward<'_>, statistics: &Tensor) {
        for (x, y) in at.x[0].parts().iter().zip(at.y.parts()) {
            let inputs = [x, statistics];
            match self.pooled_width {
                Some(width) => norm_pool_forward(recording, at.label, inputs, width, y),
                None => norm_forward(recording, at.label, inputs, self.relu, y),
            }
        }
    }
}

/// What the forward pass kept.
fn statistics_of<'a>(at: &Backward<'a>) -> &'a Tensor {
    let statistics = at.kept.statistics.as_ref();
    statistics.expect("the forward pass keeps statistics")
}

impl Normaliser {
    /// Records the sums (2, channels) that the gradient of the input needs, and the gradients of γ and β.
    fn sums(&self, recording: &mut Recording, at: &Backward<'_>, sums: &Tensor) {
        let statistics = statistics_of(at);
        let gradients = self.norm.parameters_of(at.gradients);
        let pixels = if self.pooled_width.is_some() { 4 } else { 1 };
        let partials = self.partials(recording.path(), at.parts, pixels);
        let pieces = at.x[0].parts().iter().zip(at.d_y.parts());
        for ((x, d_y), partial) in pieces.zip(&partials.of_parts) {
            let (inputs, range) = ([x, d_y, statistics], partials.range);
            match self.pooled_width {
                Some(width) => {
                    norm_pool_backward_sums(recording, at.label, inputs, width, range, partial);
                }
                None => norm_backward_sums(recording, at.label, inputs, self.relu, range, partial),
            }
        }
        let (inputs, outputs) = ([&partials.all, statistics], [sums, &gradients]);
        norm_gradients(recording, at.label, inputs, partials.all.shape[0], outputs);
    }

    /// Records the gradient of the input from the sums of all `rows` rows that were normalised together.
    fn input_gradient(
        &self,
        recording: &mut Recording,
        at: &Backward<'_>,
        sums: &Tensor,
        rows: usize,
    ) -> Vec<Gradient> {
        if !at.wanted[0] {
            return vec![Gradient::None];
        }
        let d_x = at.room(&self.inputs()[0]);
        let pieces = at.x[0].parts().iter().zip(at.d_y.parts());
        for ((x, d_y), d_x) in pieces.zip(d_x.parts()) {
            let inputs = [x, d_y, statistics_of(at), sums];
            match self.pooled_width {
                Some(width) => norm_pool_backward(recording, at.label, inputs, width, rows, d_x),
                None => norm_backward(recording, at.label, inputs, self.relu, rows, d_x),
            }
        }
        vec![Gradient::Own(d_x)]
    }
}

impl Recorder for Normaliser {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![vec![self.rows, self.channels]]
    }

    fn output(&self) -> Vec<usize> {
        self.output.clone()
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        let statistics = self.statistics(recording, at);
        self.normalise(recording, at, &statistics);
        Some(statistics)
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let sums = Tensor::transient("sums", &[2, self.channels]);
        self.sums(recording, at, &sums);
        self.input_gradient(recording, at, &sums, self.rows)
    }

    fn forward_together(
        &self,
        recording: &mut Recording,
        at: &[Forward<'_>],
    ) -> Vec<Option<Tensor>> {
        let moments = match (at[0].mode, at[0].weights.moments) {
            (Mode::Train, Some(moments)) if moments.shards.sync_norm => moments,
            _ => return at.iter().map(|at| self.forward(recording, at)).collect(),
        };
        for at in at {
            // Of the shard alone nobody needs the statistics.
            self.statistics(recording, at);
        }
        let all = self.gathered(recording, &moments);
        let shards = (&all, moments.shards.count);
        let statistics = self.join(recording, at[0].label, at[0].weights, shards);
        for at in at {
            self.normalise(recording, at, &statistics);
        }
        vec![Some(statistics); at.len()]
    }

    fn backward_together(
        &self,
        recording: &mut Recording,
        at: &[Backward<'_>],
    ) -> Vec<Vec<Gradient>> {
        let moments = match at[0].weights.moments {
            Some(moments) if moments.shards.sync_norm => moments,
            _ => return at.iter().map(|at| self.backward(recording, at)).collect(),
        };
        for at in at {
            // The moments' memory is free for the sums: nothing reads what the forward pass left there any more.
            let sums = self.moments(&moments, at.shard);
            self.sums(recording, at, &sums);
        }
        let all = self.gathered(recording, &moments);
        let sums = Tensor::transient("sums", &[2, self.channels]);
        let unused = Tensor::transient("gradients of all", &[2, self.channels]);
        let statistics = statistics_of(&at[0]);
        let (inputs, outputs) = ([&all, statistics], [&sums, &unused]);
        norm_gradients(
            recording,
            at[0].label,
            inputs,
            moments.shards.count,
            outputs,
        );
        let rows = self.rows * moments.shards.count;
        at.iter()
            .map(|at| self.input_gradient(recording, at, &sums, rows))
            .collect()
    }

    fn join_norms(&self, recording: &mut Recording, label: &str, weights: NetworkArenas<'_>) {
        if let Some(moments) = &weights.moments
            && !moments.shards.sync_norm
        {
            let count = moments.shards.count;
            let all = self.norm.moments_of(moments.arena, count);
            self.join(recording, label, weights, (&all, count));
        }
    }

    fn cases(&self) -> Vec<Case> {
        // As a GPU cuts them: these ranges are more and shorter, so they try more of every kernel.
        let splits = self
            .rows
            .div_ceil(norm_range(Path::Gpu, self.rows, self.rows, 1));
        let mut cases = verify::norm_cases(self.rows, self.channels, splits);
        if self.pooled_width.is_some() {
            let [batch, height, width, channels] = self.output[..] else {
                unreachable!("images have four axes")
            };
            cases.extend(verify::norm_pool_cases([
                batch,
                2 * height,
                2 * width,
                channels,
            ]));
        }
        cases
    }
}
