//! What is done to pixels before a network reads them.

use serde::{Deserialize, Serialize};

/// Per-channel normalisation of pixels: (pixel - mean) / deviation, with pixels from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Subtracted from each channel; channels after the third use the third number.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub deviation: [f32; 3],
}

impl Scaling {
    /// Pixels as they are.
    pub const NONE: Self = Self {
        mean: [0.0; 3],
        deviation: [1.0; 3],
    };
    /// To mean zero and deviation one over CIFAR-10's training images.
    pub const CIFAR10: Self = Self {
        mean: [0.491_40, 0.482_16, 0.446_53],
        deviation: [0.247_03, 0.243_49, 0.261_59],
    };

    /// Pixels of 0 to 1 made into numbers from `low` to `high`; `None` if that is no range.
    pub fn to_range(low: f32, high: f32) -> Option<Self> {
        let scaling = Self {
            mean: [-low / (high - low); 3],
            deviation: [1.0 / (high - low); 3],
        };
        (low < high && scaling.is_usable()).then_some(scaling)
    }

    /// This scaling of what `first` makes of pixels, as one.
    pub fn after(&self, first: &Self) -> Self {
        let wide = |values: [f32; 3]| values.map(f64::from);
        let (mean, deviation) = (wide(self.mean), wide(self.deviation));
        let (first_mean, first_deviation) = (wide(first.mean), wide(first.deviation));
        let at = |of: &dyn Fn(usize) -> f64| [0, 1, 2].map(|channel| of(channel) as f32);
        Self {
            mean: at(&|c| first_mean[c] + first_deviation[c] * mean[c]),
            deviation: at(&|c| first_deviation[c] * deviation[c]),
        }
    }

    /// The pixels of an image, bytes (pixels, channels), as networks read them.
    pub fn apply(&self, image: &[u8], channels: usize) -> Vec<f32> {
        let each = image.iter().enumerate();
        each.map(|(i, byte)| {
            let channel = (i % channels).min(2);
            (f32::from(*byte) / 255.0 - self.mean[channel]) / self.deviation[channel]
        })
        .collect()
    }

    /// Whether all numbers are finite and no deviation is zero.
    pub fn is_usable(&self) -> bool {
        let finite = self
            .mean
            .iter()
            .chain(&self.deviation)
            .all(|v| v.is_finite());
        finite && self.deviation.iter().all(|d| *d > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scalings_are_as_one() {
        let first = Scaling::to_range(0.0, 255.0).unwrap();
        let then = Scaling {
            mean: [127.5, 100.0, 3.0],
            deviation: [127.5, 50.0, 255.0],
        };
        let image = [0, 128, 255, 7, 99, 200];
        let between = first.apply(&image, 3);
        let both = then.after(&first).apply(&image, 3);
        for (i, (between, both)) in between.iter().zip(both).enumerate() {
            let wanted = (between - then.mean[i % 3]) / then.deviation[i % 3];
            assert!((wanted - both).abs() < 1e-5, "{wanted} and {both}");
        }
    }
}
