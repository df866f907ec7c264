//! Settings that were measured, for kinds of networks and data.

use super::{Optimiser, QuantiserRate, StraightThrough, TrainOptions};
use crate::data::Flip;

impl TrainOptions {
    /// Settings for small networks on the digits inside the program: levels collapse in the first half of the run, and weights
    /// learn with the few that are left in the second.
    pub fn digits() -> Self {
        Self {
            lambda_bits: 3e-2,
            bits_ramp: 0.1,
            freeze_levels: 0.5,
            straight_through: StraightThrough::Identity,
            centred_slopes: true,
            ..Self::default()
        }
    }

    /// Settings for LeNet-5 on the complete MNIST: random shifts; the last fifth of the run on images
    /// as they are, with levels that stay.
    pub fn mnist() -> Self {
        Self {
            epochs: 10,
            lambda_bits: 4e-3,
            quantiser_rate: QuantiserRate::Times(1.0),
            shift: 1,
            augment_until: 0.8,
            ..Self::default()
        }
    }

    /// Settings under which nearly every layer of LeNet-5 ends with two levels: a dearer bit.
    pub fn almost_binary() -> Self {
        Self {
            epochs: 6,
            lambda_bits: 2e-2,
            quantiser_rate: QuantiserRate::Times(1.0),
            freeze_levels: 1.0,
            shift: 1,
            ..Self::default()
        }
    }

    /// What the settings for VGGs on CIFAR-10 have in common: Muon; random crops and mirrors; LP joins in the middle of the run, when
    /// early layers have settled, with factors of batch normalisations drawn to powers of two; levels stay for the last
    /// fifth.
    pub fn cifar10() -> Self {
        Self {
            epochs: 16,
            optimiser: Optimiser::Muon,
            warm_up: 0.05,
            lp_start: 0.5,
            bits_ramp: 0.75,
            lambda_bits: 8e-3,
            lambda_norm: 0.2,
            quantiser_rate: QuantiserRate::Auto,
            freeze_levels: 0.8,
            shift: 4,
            flip: Flip::Random,
            ..Self::default()
        }
    }

    /// Settings for a VGG of one to ten million weights on CIFAR-10, on two CPU cores: ten epochs, two bits for every layer
    /// that can, and both networks held closer together than in [`TrainOptions::cifar10`].
    pub fn cifar10_medium() -> Self {
        Self {
            epochs: 10,
            target_bits: 2,
            lambda_distill: 1.5,
            lambda_norm: 1.0,
            label_smoothing: 0.2,
            shift: 2,
            flip: Flip::Alternate,
            ..Self::cifar10()
        }
    }

    /// Settings for a VGG of ten million weights and more on CIFAR-10: larger batches, for a GPU, training images that are
    /// harder to know by heart, and networks held closer together than in [`TrainOptions::cifar10`].
    pub fn cifar10_large() -> Self {
        Self {
            batch_size: 128,
            muon_rate: 0.1,
            label_smoothing: 0.2,
            flip: Flip::Alternate,
            cutout: 8,
            lambda_norm: 1.0,
            lambda_distill: 1.5,
            ..Self::cifar10()
        }
    }

    /// Settings for a small VGG, which has nothing to spare: two bits for every layer that can, and both networks held
    /// closer together, by LP's loss and by the factors of batch normalisations.
    pub fn cifar10_tiny() -> Self {
        Self {
            epochs: 15,
            lambda_bits: 1.6e-2,
            target_bits: 2,
            lambda_distill: 1.5,
            lambda_norm: 1.0,
            ..Self::cifar10()
        }
    }

    /// Settings for deep networks on CIFAR-10: Adam with weight decay; LP joins after two fifths of the run.
    pub fn cifar10_late() -> Self {
        Self {
            epochs: 20,
            optimiser: Optimiser::Adam,
            warm_up: 0.0,
            weight_decay: 1.0,
            lp_start: 0.4,
            bits_ramp: 0.6,
            lambda_bits: 8e-3,
            target_bits: 3,
            quantiser_rate: QuantiserRate::Times(2.0),
            ..Self::cifar10_tiny()
        }
    }

    /// Settings for networks with depthwise convolutions on CIFAR-10: four bits, and factors of batch normalisations that are
    /// held closer to powers of two, because a depthwise layer has few weights to make up for either.
    pub fn cifar10_depthwise() -> Self {
        Self {
            target_bits: 4,
            lambda_norm: 10.0,
            ..Self::cifar10_late()
        }
    }

    /// Settings for auto-encoders, whose losses are sums over pixels: a bit is dearer in
    /// proportion.
    pub fn auto_encoder() -> Self {
        Self {
            epochs: 20,
            learning_rate: 1e-3,
            lambda_bits: 1.0,
            freeze_levels: 1.0,
            ..Self::default()
        }
    }
}
