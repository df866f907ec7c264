//! Layers: forward beside backward. Functions here only record dispatches into a plan.

mod conv;
mod conv_shape;
mod im2col;
mod latent;
mod norm;
mod packed;
mod pool;
mod relu;
mod shifts;
mod sum;
mod upsample;

/// Where kernels keep what nobody wants.
const NOWHERE: u32 = u32::MAX;

pub use conv::{
    Epilogue, OutputGradient, Windows, conv_backward_input, conv_backward_weight, conv_forward,
};
pub use conv_shape::ConvShape;
pub use im2col::im2col;
pub use latent::{
    Counter, TEST_NOISE, TRAINING_NOISE, gaussian_kl, philox, reparameterise_backward,
    reparameterise_forward, standard_normal,
};
pub use norm::{
    NORM_EPSILON, NORM_MOMENTUM, NORM_STATISTICS, norm_backward, norm_backward_sums, norm_combine,
    norm_forward, norm_gradients, norm_range, norm_running, norm_statistics,
};
pub use packed::{
    Arithmetic, CodeShape, Sharing, packed_bytes, packed_conv, packed_im2col, packed_max_pool,
    packed_upsample,
};
pub use pool::{PoolShape, max_pool_forward, max_unpool};
pub use relu::relu_backward;
pub use shifts::shifts;
pub use sum::sum_partials;
pub use upsample::{UpsampleShape, upsample_backward, upsample_forward};
