//! gtc
pub mod gpu;
pub mod tensor;
pub mod kernels;
pub mod layer;
pub mod loss;
pub mod quantiser;
pub mod optimiser;
pub mod suggest;
pub mod reference;
pub mod rng;
pub mod data;
pub mod model;
pub mod train;
pub mod verify;
