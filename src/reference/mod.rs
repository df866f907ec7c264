//! What every shader computes, as plain loops: one function a shader, of the same name. Those of an operation lie in its folder
//! (`src/op/NAME/reference.rs`, of packed models `packed_reference.rs`); here are the others, and those that several folders use.
//!
//! These are definitions, in `f64` (of packed models: in exact integers) and in the order of the formula; they know nothing of tiles,
//! texels or threads. Slices hold stored shapes, the last axis contiguous.

mod evaluate;
mod image_loss;
mod loss;
mod method;
mod muon;
mod packed;
mod probe;
mod quantiser;
mod trainer;

pub use crate::op::activation::reference::relu_backward;
pub use crate::op::conv::reference::{
    bias_backward, conv_backward_input, conv_backward_weight, conv_forward, im2col, shifts,
    sum_partials, taps,
};
pub use crate::op::latent::reference::{
    gaussian_kl, philox, reparameterise_backward, reparameterise_forward, standard_normal,
};
pub use crate::op::max_pool::reference::{
    max_pool_argmax, max_pool_backward, max_pool_forward, max_unpool,
};
pub use crate::op::norm::reference::{
    norm_backward, norm_backward_sums, norm_combine, norm_forward, norm_gradients,
    norm_pool_backward, norm_pool_backward_sums, norm_pool_forward, norm_running, norm_shard,
    norm_statistics, rounded_factor,
};
pub use crate::op::upsample::reference::{upsample_backward, upsample_forward};
pub use evaluate::logits;
pub use image_loss::{ImageLossInputs, bernoulli_loss, gaussian_loss};
pub use loss::{
    AdamRule, Outcome, adam, add_shards, follow_slopes, metrics, sgd, softmax_cross_entropy,
};
pub use method::{method_backward, method_forward, method_scales, method_statistics};
pub use muon::{momentum, muon, muon_step, newton_schulz, unit_norm};
pub use packed::{infer, packed_bytes, packed_conv, packed_unpack, requantise, values};
pub use probe::multiply_add;
pub use quantiser::{
    Extreme, Levels, budget, exponent, levels, levels_backward, log2_size, quantiser_backward,
    quantiser_forward,
};
pub use trainer::{NodeTrace, PlainTrainer, StepTrace};
