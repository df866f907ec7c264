//! The memory that a run keeps, beside what testing needs.

use std::ops::Range;

use super::step::prices;
use super::{Objective, Precision, TrainError, TrainOptions};
use crate::evaluate::Memory;
use crate::gpu::Gpu;
use crate::graph::Model;
use crate::model::Shards;
use crate::tensor::{ArenaLayout, Tensor};

/// The memory of a run of which this process has the shards `own`.
pub(super) fn memory_of(
    gpu: &Gpu,
    model: &Model,
    options: &TrainOptions,
    own: Range<usize>,
) -> Result<Memory, TrainError> {
    let shards = Shards {
        count: options.shards,
        own,
        sync_norm: options.sync_norm && options.shards > 1,
    };
    let batch = options.shard_size();
    let mut memory = Memory::new(gpu, model, batch, !options.exact_norm)?.with_shards(shards);
    if options.precision != Precision::Full {
        let cooperative = options.precision.needs_matrices();
        let wrong = |remedy: String| TrainError::BadOption {
            option: "precision",
            value: if cooperative { "cooperative" } else { "mixed" }.to_owned(),
            remedy,
        };
        if gpu.path().reads_textures() {
            return Err(wrong(format!(
                "it is for GPUs: kernels of the path {} read textures of 32 bits a number. Leave it out; --path gpu runs \
                     here what a GPU would, slowly",
                gpu.path().name()
            )));
        }
        if cooperative != gpu.matrices().is_some() {
            let remedy = match cooperative {
                true => {
                    "the device was not opened for it (GpuOptions::cooperative; browsers cannot)"
                }
                false => "the device was opened for cooperative",
            };
            return Err(wrong(remedy.to_owned()));
        }
        memory = memory.with_storages(options.storages(model));
    }
    for (option, value, usual) in [
        ("mix-up", options.mix_up, 0.0),
        ("label-smoothing", options.label_smoothing, 0.0),
        ("lp-labels", options.lp_labels, 0.0),
        ("temperature", options.temperature, 1.0),
    ] {
        if value != usual && model.likelihood.is_some() {
            return Err(TrainError::BadOption {
                option,
                value: value.to_string(),
                remedy: "it is about labels, and an auto-encoder learns none".to_owned(),
            });
        }
    }
    if options.mix_up > 0.0 || options.label_smoothing > 0.0 {
        memory = memory.with_targets();
    }
    Ok(memory.with_prices(prices(model, options)?))
}

/// The arenas of the gradients of HP, or of all, and of LP: side by side where one dispatch may write both.
pub(super) fn gradients_of(layout: &ArenaLayout, options: &TrainOptions) -> [Tensor; 2] {
    let labels = ["gradients", "LP gradients"];
    match options.objective == Objective::Gtc && options.shards == 1 {
        true => layout.pair(labels),
        false => labels.map(|label| layout.tensor(label)),
    }
}
