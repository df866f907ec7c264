//! A batch in shards, which are worked through apart and whose gradients are added in one fixed order.

use std::ops::Range;

use crate::tensor::Tensor;

/// How a batch is cut into shards, and which of them are this process's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    /// Shards of the whole batch.
    pub count: usize,
    /// Those that are worked through here.
    pub own: Range<usize>,
    /// Whether batch normalisations use statistics of the whole batch, not of a shard.
    pub sync_norm: bool,
}

impl Shards {
    /// The batch is one shard.
    pub fn one() -> Self {
        Self {
            count: 1,
            own: 0..1,
            sync_norm: false,
        }
    }

    /// Whether the batch is one shard.
    pub fn is_one(&self) -> bool {
        self.count == 1
    }

    /// Whether other processes have some of them.
    pub fn are_elsewhere(&self) -> bool {
        self.own.len() < self.count
    }
}

/// Which shard of a batch a pass is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Its number within the batch: random numbers depend on it.
    pub number: usize,
    /// Its number among those of this process.
    pub own: usize,
}

/// Where the shards of a batch leave what batch normalisations know of them.
#[derive(Clone, Copy)]
pub struct Moments<'a> {
    /// Of every normalisation (shards, 2, channels), see
    /// [`NormParameters::moments_of`](super::NormParameters::moments_of).
    pub arena: &'a Tensor,
    /// The shards.
    pub shards: &'a Shards,
}
