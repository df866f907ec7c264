//! What a step does, as a recording: both networks forward and backward, the quantiser, the optimiser.

use std::ops::Range;

use super::{Objective, Optimiser, StraightThrough, TrainOptions};
use crate::evaluate::{Batch, Memory, Teacher};
use crate::gpu::Path;
use crate::loss::Lesson;
use crate::model::{Mode, Pass};
use crate::optimiser::{AdamState, Muon, adam, add_shards, least_slope, orthogonalise, sgd};
use crate::quantiser::{Pull, quantiser_backward};
use crate::recording::{Exchange, Recording};
use crate::tensor::Tensor;

/// What Adam walks.
pub(super) fn adam_state<'a>(
    memory: &'a Memory,
    [first_moment, second_moment]: [&'a Tensor; 2],
    options: &TrainOptions,
) -> AdamState<'a> {
    AdamState {
        weights: &memory.weights,
        first_moment,
        second_moment,
        quantisers: memory.parameters.quantisers,
        decayed: memory.parameters.scales,
        weight_decay: options.weight_decay,
        least_slope: least_slope(memory.parameters.quantiser),
    }
}

/// Records a step.
pub(super) fn step_of(
    objective: Objective,
    path: Path,
    options: &TrainOptions,
    memory: &Memory,
    both_gradients: &[Tensor; 2],
    state: &AdamState<'_>,
) -> Recording {
    let mut recording = Recording::new(path);
    record_gradients(&mut recording, objective, options, memory, both_gradients);
    let gradients = &both_gradients[0];
    let end = memory.parameters.layout.len();
    let muon = match options.optimiser {
        Optimiser::Muon => memory.parameters.muon(),
        Optimiser::Adam | Optimiser::Sgd => Muon::default(),
    };
    let arenas = [state.weights, gradients, state.first_moment];
    let (zeros, products) = (memory.zeros(), options.product_storage());
    orthogonalise(&mut recording, "optimiser", &muon, arenas, zeros, products);
    let levels = memory.parameters.quantisers;
    let others = match options.optimiser {
        Optimiser::Adam | Optimiser::Muon => muon.others(end),
        Optimiser::Sgd => {
            sgd(&mut recording, "optimiser", gradients, state, 0..levels);
            std::iter::once(levels..end)
                .filter(|range| !range.is_empty())
                .collect()
        }
    };
    for range in others {
        adam(&mut recording, "optimiser", gradients, state, range);
    }
    recording
}

/// Records everything of a step but the optimiser: the gradients of all shards, added along a tree whose leaves are the
/// shards in order.
fn record_gradients(
    recording: &mut Recording,
    objective: Objective,
    options: &TrainOptions,
    memory: &Memory,
    both_gradients: &[Tensor; 2],
) {
    let [gradients, lp_gradients] = both_gradients;
    let shards = &memory.shards;
    let own = shards.own.len();
    if quantises(objective, options) {
        memory.quantise(recording);
        memory.keep_budget(recording);
    }
    let mut tree = Tree::new(own, gradients);
    let mut first = None;
    // Where normalisations need all shards at once, all are recorded together, else one after the other.
    let together = if shards.sync_norm { own } else { 1 };
    for start in (0..own).step_by(together) {
        let arenas: Vec<Tensor> = (0..together).map(|_| tree.arena()).collect();
        // A kernel that reads texture copies gains nothing by memory of both networks side by side.
        let lp_arenas: Vec<Tensor> = match shards.is_one() && !recording.path().reads_textures() {
            true => vec![lp_gradients.clone()],
            false => {
                let transient = |arena: &Tensor| Tensor::transient("LP gradients", &arena.shape);
                arenas.iter().map(transient).collect()
            }
        };
        let group = start..start + together;
        let to = [&arenas[..], &lp_arenas];
        let batch = record_shards(recording, objective, options, memory, (group, to));
        first.get_or_insert(batch);
        for arena in arenas {
            tree.add(recording, arena);
        }
    }
    let networks = networks_of(objective);
    if shards.are_elsewhere() {
        recording.exchange(Exchange {
            sums: vec![gradients.clone()],
            gathers: memory.gathers(networks.clone()),
        });
    }
    memory.join_norms(recording, networks.clone());
    // With several shards the outcomes of all lie in one tensor.
    if !shards.is_one() {
        let batch = first.expect("a process has a shard");
        memory.count(recording, &batch, networks);
    }
}

/// Whether a step needs levels.
fn quantises(objective: Objective, options: &TrainOptions) -> bool {
    objective.low_precision() || options.lambda_l2 > 0.0
}

/// Which networks learn.
fn networks_of(objective: Objective) -> Range<usize> {
    usize::from(!objective.high_precision())..1 + usize::from(objective.low_precision())
}

/// Sums of the gradients of shards that come one after the other: as in a binary counter, two sums of equally many shards
/// become one.
struct Tree<'a> {
    shards: usize,
    added: usize,
    /// Where the sum of all goes.
    result: &'a Tensor,
    /// Sums so far, of fewer and fewer shards.
    sums: Vec<Tensor>,
    /// Arenas that nobody uses now. They keep their memory, because nothing writes the gaps in an arena.
    free: Vec<Tensor>,
}

impl<'a> Tree<'a> {
    fn new(shards: usize, result: &'a Tensor) -> Self {
        Self {
            shards,
            added: 0,
            result,
            sums: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Room for the gradients of a shard; of the only one, where the sum goes.
    fn arena(&mut self) -> Tensor {
        match self.shards {
            1 => self.result.clone(),
            _ => self
                .free
                .pop()
                .unwrap_or_else(|| Tensor::kept("gradients of a shard", &self.result.shape)),
        }
    }

    /// Adds the gradients of the next shard.
    fn add(&mut self, recording: &mut Recording, arena: Tensor) {
        self.added += 1;
        let mut sum = arena;
        for _ in 0..self.added.trailing_zeros() {
            let before = self.sums.pop().expect("two sums of equally many shards");
            let last = self.sums.is_empty() && self.added == self.shards;
            let to = if last {
                self.result.clone()
            } else {
                self.arena()
            };
            add_shards(recording, "sum of shards", [&before, &sum], &to);
            self.free.extend([before, sum]);
            sum = to;
        }
        self.sums.push(sum);
    }
}

/// Records the networks of an objective, forward and backward, over some shards, step by step: to the gradients of each in
/// an arena of its own.
fn record_shards(
    recording: &mut Recording,
    objective: Objective,
    options: &TrainOptions,
    memory: &Memory,
    (own, [gradients, lp_gradients]): (Range<usize>, [&[Tensor]; 2]),
) -> Batch {
    let scale = 1.0 / options.batch_size as f32;
    let net = &memory.network;
    let arenas: Vec<&Tensor> = gradients.iter().collect();
    let lp_arenas: Vec<&Tensor> = lp_gradients.iter().collect();
    let quantise = quantises(objective, options);
    let batches: Vec<Batch> = own
        .map(|own| memory.prepare_shard(recording, own))
        .collect();
    let backward =
        |recording: &mut Recording, network, passes: &[Pass], d_logits: &[Tensor], to| {
            let passes: Vec<&Pass> = passes.iter().collect();
            let d_logits: Vec<&Tensor> = d_logits.iter().collect();
            net.backward_together(recording, &passes, memory.arenas_of(network), &d_logits, to);
        };
    let high_precision = |recording: &mut Recording| {
        if !objective.high_precision() {
            // What the quantiser's backward pass adds to.
            arenas
                .iter()
                .for_each(|arena| recording.clear(&arena.buffer));
            return None;
        }
        let data = Teacher::Data;
        let lesson = Lesson::plain(scale);
        let (passes, d_logits) = memory.judge(recording, (0, Mode::Train), &batches, data, lesson);
        backward(recording, 0, &passes, &d_logits, &arenas);
        Some(passes)
    };
    let low_precision = |recording: &mut Recording, teacher: Option<Vec<Pass>>| {
        if objective.low_precision() {
            let (teacher, lesson) = match &teacher {
                Some(passes) => (Teacher::HighPrecision(passes), options.distillation()),
                None => (Teacher::Data, Lesson::plain(scale)),
            };
            let network = (1, Mode::Train);
            let (passes, d_logits) = memory.judge(recording, network, &batches, teacher, lesson);
            backward(recording, 1, &passes, &d_logits, &lp_arenas);
        } else if quantise {
            // Of a float network only the L2 term is left.
            lp_arenas
                .iter()
                .for_each(|arena| recording.clear(&arena.buffer));
        }
    };
    recording.side_by_side(high_precision, low_precision);
    if memory.shards.is_one() {
        memory.count(recording, &batches[0], networks_of(objective));
    }
    if quantise {
        // What is not a mean over images is in the gradient of every shard.
        let pull = Pull {
            lambda_l2: (options.lambda_l2 / options.shards as f64) as f32,
            identity: options.straight_through == StraightThrough::Identity,
        };
        for (gradients, lp_gradients) in gradients.iter().zip(lp_gradients) {
            let targets = [gradients, &memory.parameters.quantisers_of(gradients)];
            memory.quantised(|model| {
                quantiser_backward(recording, "quantise", model, lp_gradients, pull, targets);
            });
        }
    }
    let mut batches = batches;
    batches.swap_remove(0)
}

#[cfg(test)]
mod tests;
