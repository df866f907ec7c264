//! What a step does, as a recording: both networks forward and backward, the quantiser, the optimiser.

use super::{Objective, Optimiser, StraightThrough, TrainError, TrainOptions};
use crate::evaluate::{Memory, Teacher};
use crate::gpu::Path;
use crate::graph::Model;
use crate::loss::Lesson;
use crate::model::{BitBudget, Mode, Parameters, Prices, SlopesPay};
use crate::op::TRAINING_NOISE;
use crate::optimiser::{AdamState, Muon, adam, least_slope, orthogonalise, sgd};
use crate::pack::PackedSize;
use crate::quantiser::{Pull, quantiser_backward};
use crate::recording::Recording;
use crate::tensor::Tensor;

/// How the layers of a model pay for their bits.
pub(super) fn prices(model: &Model, options: &TrainOptions) -> Result<Prices, TrainError> {
    let parameters = Parameters::new(model);
    let quantiser = model.quantiser;
    let priced = [
        (
            "target-bits",
            !options.layer_bits.is_empty(),
            "bits".to_owned(),
        ),
        (
            "target-size",
            options.target_size > 0,
            options.target_size.to_string(),
        ),
    ];
    if let Some((option, _, value)) = priced
        .into_iter()
        .find(|(_, given, _)| *given && !quantiser.is_gtc())
    {
        let remedy =
            format!("layers choose their bits with --quantiser gtc alone, not {quantiser}");
        return Err(TrainError::BadOption {
            option,
            value,
            remedy,
        });
    }
    let names: Vec<&str> = parameters
        .quantised()
        .map(|layer| layer.name.as_str())
        .collect();
    let layer_bits = options.bits_of_layers(&names);
    for (name, bits) in &layer_bits {
        if !names.contains(&name.as_str()) {
            return Err(TrainError::BadOption {
                option: "target-bits",
                value: format!("{name}={bits}"),
                remedy: format!(
                    "quantised layers of {} are {}, or first and last",
                    model.name,
                    names.join(", ")
                ),
            });
        }
    }
    let budget = match options.target_size {
        0 => None,
        target => {
            let size = PackedSize::of(model)?;
            let least = size.bytes(names.iter().map(|_| 1));
            let target = target as usize;
            if least > target {
                return Err(TrainError::BadOption {
                    option: "target-size",
                    value: format!("{target}"),
                    remedy: format!(
                        "with one bit for every weight the packed file of {} has {least} bytes",
                        model.name
                    ),
                });
            }
            Some(BitBudget {
                bits: 8.0 * (target - size.rest) as f32,
                weights: size.weights,
            })
        }
    };
    Ok(Prices {
        slopes_pay: match (options.straight_through, options.optimiser) {
            (StraightThrough::Identity, _) => SlopesPay::All,
            (_, Optimiser::Muon) => SlopesPay::Matrices,
            _ => SlopesPay::None,
        },
        bits: layer_bits,
        budget,
    })
}

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
    gradients: &Tensor,
    state: &AdamState<'_>,
) -> Recording {
    let mut plan = Recording::new(path);
    record_gradients(&mut plan, objective, options, memory, gradients);
    let end = memory.parameters.layout.len();
    let muon = match options.optimiser {
        Optimiser::Muon => memory.parameters.muon(),
        Optimiser::Adam | Optimiser::Sgd => Muon::default(),
    };
    let arenas = [state.weights, gradients, state.first_moment];
    orthogonalise(&mut plan, "optimiser", &muon, arenas, memory.zeros());
    let levels = memory.parameters.quantisers;
    let others = match options.optimiser {
        Optimiser::Adam | Optimiser::Muon => muon.others(end),
        Optimiser::Sgd => {
            sgd(&mut plan, "optimiser", gradients, state, 0..levels);
            std::iter::once(levels..end)
                .filter(|range| !range.is_empty())
                .collect()
        }
    };
    for range in others {
        adam(&mut plan, "optimiser", gradients, state, range);
    }
    plan
}

/// Records everything of a step but the optimiser: the networks of an objective, forward and backward.
fn record_gradients(
    plan: &mut Recording,
    objective: Objective,
    options: &TrainOptions,
    memory: &Memory,
    gradients: &Tensor,
) {
    let scale = 1.0 / options.batch_size as f32;
    let net = &memory.network;
    let lp_gradients = Tensor::transient("LP gradients", &gradients.shape);
    let quantise = objective.low_precision() || options.lambda_l2 > 0.0;
    if quantise {
        memory.quantise(plan);
        memory.keep_budget(plan);
    }
    let batch = memory.prepare(plan, TRAINING_NOISE);
    let mut teacher = None;
    if objective.high_precision() {
        let data = Teacher::Data;
        let lesson = Lesson::plain(scale);
        let (pass, d_logits) = memory.judge(plan, (0, Mode::Train), &batch, data, lesson);
        net.backward(plan, &pass, memory.weights_of(0), &d_logits, gradients);
        teacher = Some(pass);
    } else {
        // What the quantiser's backward pass adds to.
        plan.clear(&gradients.buffer);
    }
    if objective.low_precision() {
        let (teacher, lesson) = match &teacher {
            Some(pass) => (Teacher::HighPrecision(pass), options.distillation()),
            None => (Teacher::Data, Lesson::plain(scale)),
        };
        let (pass, d_logits) = memory.judge(plan, (1, Mode::Train), &batch, teacher, lesson);
        net.backward(plan, &pass, memory.weights_of(1), &d_logits, &lp_gradients);
    } else if quantise {
        // Of a float network only the L2 term is left.
        plan.clear(&lp_gradients.buffer);
    }
    let networks =
        usize::from(!objective.high_precision())..1 + usize::from(objective.low_precision());
    memory.count(plan, &batch, networks);
    if quantise {
        let targets = [gradients, &memory.parameters.quantisers_of(gradients)];
        let pull = Pull {
            lambda_l2: options.lambda_l2 as f32,
            identity: options.straight_through == StraightThrough::Identity,
        };
        memory.quantised(|model| {
            quantiser_backward(plan, "quantise", model, &lp_gradients, pull, targets);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{NAMES, resnet20};
    use crate::recording::tests::follow;

    /// Follows a training step of a model through all passes, and returns the kernels that it calls.
    fn step(
        model: &Model,
        path: Path,
        options: &TrainOptions,
        part_bytes: u64,
    ) -> Vec<&'static str> {
        let memory = Memory::laid_out(model, options.batch_size, part_bytes, true);
        let parameters = &memory.parameters;
        let [gradients, first_moment, second_moment] =
            ["gradients", "first moment", "second moment"]
                .map(|label| parameters.layout.tensor(label));
        let state = adam_state(&memory, [&first_moment, &second_moment], options);
        let recording = step_of(
            options.objective,
            path,
            options,
            &memory,
            &gradients,
            &state,
        );
        follow(&recording);
        recording.calls().map(|call| call.kernel.name).collect()
    }

    #[test]
    fn a_step_of_every_model_reads_what_was_written_on_every_path() {
        let options = TrainOptions {
            batch_size: 8,
            ..TrainOptions::default()
        };
        for name in NAMES {
            let model = Model::by_name(name).unwrap_or_else(|e| panic!("{e}"));
            for path in Path::ALL {
                let calls = step(&model, path, &options, 1 << 27);
                assert_eq!(calls.iter().filter(|name| **name == "adam").count(), 1);
                let muon = TrainOptions {
                    optimiser: Optimiser::Muon,
                    ..options.clone()
                };
                let calls = step(&model, path, &muon, 1 << 27);
                let convolves = Parameters::new(&model).muon() != Muon::default();
                assert_eq!(calls.contains(&"muon"), convolves, "{name}");
            }
        }
    }

    #[test]
    fn every_objective_and_a_batch_in_parts_do_too() {
        let model = resnet20();
        let calls = |objective, part_bytes| {
            let options = TrainOptions {
                batch_size: 16,
                objective,
                ..TrainOptions::default()
            };
            step(&model, Path::CpuSubgroup, &options, part_bytes).len()
        };
        let both = calls(Objective::Gtc, 1 << 27);
        assert!(calls(Objective::Float, 1 << 27) < both);
        assert!(calls(Objective::Direct, 1 << 27) < both);
        assert!(
            calls(Objective::Gtc, 1 << 19) > both,
            "parts take more calls"
        );
    }
}
