//! A model for a batch: [`Parameters`] places what it learns, [`Network`] records its forward and backward
//! passes.

mod backward;
mod forward;
mod muon_norm;
mod network;
mod parameters;
mod parted_tensor;
mod shards;

pub use forward::Images;
pub use network::{Inputs, Mode, Network, NetworkArenas, Pass, whole_batch};
pub use parameters::{
    BitBudget, LayerParameters, LayerValues, NormParameters, Parameters, Prices, SlopesPay,
};
pub(crate) use parameters::{check_positions, uses_rows};
pub use parted_tensor::{PartedTensor, Parts, Storages};
pub use shards::{Moments, Shard, Shards};

pub use crate::graph::{
    LATENT, Model, ModelError, NAMES, Scaling, lenet_small, lenet5, mobilenet, resnet18, resnet20,
    vae, vae_colour, vae_mlp, vgg_tiny, vgg7, vgg16,
};
