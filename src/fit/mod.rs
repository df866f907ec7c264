//! Powers of two for networks that were trained as floats, without training them further.
//!
//! | step | |
//! |---|---|
//! | [`align_norms`] | scales of channels that make the factors of batch normalisations powers of two |
//! | [`fit_all`] | levels that are nearest to the weights of each layer |
//! | [`fit_outputs`] | levels, and which one each weight takes, so that what layers compute changes least |

mod levels;
mod norms;
#[cfg(not(target_arch = "wasm32"))]
mod outputs;
#[cfg(not(target_arch = "wasm32"))]
mod rounding;

pub use levels::{Fit, fit, fit_all};
pub use norms::align_norms;
#[cfg(not(target_arch = "wasm32"))]
pub use outputs::fit_outputs;
