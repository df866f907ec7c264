//! The memory that a run keeps, beside what testing needs.

use std::ops::Range;

use super::check::check_for;
use super::prices::prices;
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
    check_for(options, model, gpu)?;
    let shards = Shards {
        count: options.shards,
        own,
        sync_norm: options.sync_norm && options.shards > 1,
    };
    let batch = options.shard_size();
    let mut memory = Memory::new(gpu, model, batch, !options.exact_norm)?.with_shards(shards);
    if options.precision != Precision::Full {
        memory = memory.with_storages(options.storages(model));
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
