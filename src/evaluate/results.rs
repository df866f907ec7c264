//! What a test finds out.

use serde::{Deserialize, Serialize};

/// Sums over the images seen since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the loss that trains this network.
    pub loss: f64,
    /// Images whose label won; of an auto-encoder, the sum of KL(q || N(0, 1)) in nats.
    pub correct: f64,
    /// Sum of the cross entropy with the labels; of an auto-encoder, of the reconstruction loss with
    /// the images, in nats.
    pub label_loss: f64,
    /// Images.
    pub images: f64,
}

impl Totals {
    pub(super) fn new(values: &[f32]) -> Self {
        let v: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        Self {
            loss: v[0],
            correct: v[1],
            label_loss: v[2],
            images: v[3],
        }
    }

    /// Share of images whose label won.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.images.max(1.0)
    }

    /// Mean loss that trains this network.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1.0)
    }

    /// Mean KL(q || N(0, 1)) of an auto-encoder, in nats.
    pub fn mean_divergence(&self) -> f64 {
        self.correct / self.images.max(1.0)
    }

    /// Mean reconstruction loss of an auto-encoder, in nats summed over pixels.
    pub fn mean_reconstruction(&self) -> f64 {
        self.label_loss / self.images.max(1.0)
    }

    /// Mean negative evidence lower bound of an auto-encoder, in nats.
    pub fn negative_elbo(&self) -> f64 {
        self.mean_reconstruction() + self.mean_divergence()
    }

    /// Mean cross entropy with the labels.
    pub fn mean_label_loss(&self) -> f64 {
        self.label_loss / self.images.max(1.0)
    }
}

/// The levels of one layer as the device sees them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LayerBits {
    /// Largest exponent minus smallest plus one.
    pub range: u32,
    /// 1 + ⌈log2 range⌉
    pub bits: u32,
}

/// How the run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// High-precision network.
    pub hp: Totals,
    /// Low-precision network.
    pub lp: Totals,
    /// One entry a layer.
    pub layers: Vec<LayerBits>,
    /// Batches whose loss was infinite or not a number, of HP and of LP; they are in no sum.
    pub not_finite: [u64; 2],
}

impl Progress {
    /// Refuses results that numbers are missing from, because they were infinite or none, of HP and LP where `counts` says that
    /// they count.
    ///
    /// # Errors
    /// A sentence for a person.
    pub fn require_finite(&self, counts: [bool; 2]) -> Result<(), String> {
        let names = ["high precision", "low precision"];
        let lost = self.not_finite.iter().zip(names).zip(counts);
        let mut lost = lost.filter_map(|(found, counts)| counts.then_some(found));
        match lost.find(|(lost, _)| **lost > 0) {
            None => Ok(()),
            Some((lost, name)) => Err(format!(
                "in {lost} batches {name} computes outputs that are infinite or none, so that there is no accuracy. Its \
                 weights or statistics are too large, or damaged"
            )),
        }
    }

    /// Accuracy and loss of a classifier, without the numbers of a network that did not learn (HP, LP).
    pub fn tested(&self, learned: [bool; 2]) -> Tested {
        let [hp, lp] = learned;
        Tested {
            images: self.hp.images.max(self.lp.images) as usize,
            hp_accuracy: hp.then(|| self.hp.accuracy()),
            lp_accuracy: lp.then(|| self.lp.accuracy()),
            hp_loss: hp.then(|| self.hp.mean_label_loss()),
            lp_loss: lp.then(|| self.lp.mean_label_loss()),
        }
    }

    /// Σ 2^bits
    pub fn bit_loss(&self) -> f64 {
        self.layers.iter().map(|l| f64::from(l.bits).exp2()).sum()
    }

    /// Mean of the layers' bits.
    pub fn mean_bits(&self) -> f64 {
        self.layers.iter().map(|l| f64::from(l.bits)).sum::<f64>() / self.layers.len().max(1) as f64
    }
}

/// What a classifier reached on test images. Numbers of a network that did not learn are absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tested {
    /// Test images.
    pub images: usize,
    /// Share of them that HP names rightly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hp_accuracy: Option<f64>,
    /// The same of LP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lp_accuracy: Option<f64>,
    /// HP's mean cross entropy with the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hp_loss: Option<f64>,
    /// The same of LP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lp_loss: Option<f64>,
}

/// What the low-precision network made of every test image.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Most probable class.
    pub class: Vec<u16>,
    /// Probability of every class.
    pub probabilities: Vec<Vec<f32>>,
}
