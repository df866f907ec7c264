//! How the low-precision network reads weights: Generalized Ternary Connect, or one of the published methods that it is
//! compared with.
//!
//! All of them are straight-through estimators: the forward pass reads Q(w), and the backward pass carries ∂L/∂Q to w as
//! if rounding were the identity. [`Quantiser::Gtc`] is the method of this program. Every other one is a [`Method`]: a file of this
//! folder with its mathematics in `f64`, and a file `shaders/shared/method_*.wgsl` with the same three functions for
//! devices.

mod binary;
mod codebook;
mod gtc;
mod lsq;
mod method;
mod powers;
mod spans;
mod ternary;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use gtc::{EPSILON, INTERCEPT, SLOPE, budget, levels, levels_backward};
pub use method::{Learned, Method, MethodKernels, Scales, Through, method_kernels};
pub(crate) use method::{
    method_backward, method_scales, method_statistics_to, method_values, quantise_layer,
};
pub use spans::{LayerRanges, Quantised, Spans};

use crate::recording::Recording;
use crate::suggest::did_you_mean;
use crate::tensor::Tensor;

/// A quantiser by name. In text: its word, and behind a colon the bits of a weight where these can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub enum Quantiser {
    /// Powers of two whose number each layer learns.
    #[default]
    Gtc,
    /// Whole multiples of a learned step (LSQ).
    Lsq(u32),
    /// One magnitude a layer, the mean of |w| (BWN of XNOR-Net).
    Binary,
    /// The same, rounded to a power of two.
    BinaryPowerOfTwo,
    /// Zero and one magnitude, by the mean of |w| (TWN).
    Twn,
    /// Zero and two learned magnitudes (TTQ).
    Ttq,
    /// Powers of two up to one (DeepShift-Q).
    DeepShift(u32),
    /// Zero and powers of two below the largest weight (the levels of INQ).
    Inq(u32),
    /// Zero and powers of two below a learned clip.
    PowersOfTwo(u32),
    /// Zero and sums of powers of two below a learned clip (APoT).
    Apot(u32),
}

/// A word, what it is, and the bits that can be chosen.
type Word = (&'static str, fn(u32) -> Quantiser, &'static [u32]);

/// All of them, with the bits that they can have; none: the word stands alone.
const WORDS: [Word; 10] = [
    ("gtc", |_| Quantiser::Gtc, &[]),
    ("lsq", Quantiser::Lsq, &[2, 3, 4, 8]),
    ("binary", |_| Quantiser::Binary, &[]),
    ("binary-pot", |_| Quantiser::BinaryPowerOfTwo, &[]),
    ("twn", |_| Quantiser::Twn, &[]),
    ("ttq", |_| Quantiser::Ttq, &[]),
    ("deepshift", Quantiser::DeepShift, &[2, 3, 4, 5]),
    ("inq", Quantiser::Inq, &[3, 4, 5]),
    ("pot", Quantiser::PowersOfTwo, &[2, 3, 4]),
    ("apot", Quantiser::Apot, &[4, 5]),
];

impl Quantiser {
    /// Every quantiser with every number of bits.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (_, make, bits) in WORDS {
            match bits {
                [] => all.push(make(0)),
                bits => all.extend(bits.iter().map(|bits| make(*bits))),
            }
        }
        all
    }

    /// Whether it is the method of this program.
    pub fn is_gtc(&self) -> bool {
        *self == Self::Gtc
    }

    /// Whether its weights are powers of two and zeros, so that sums need shifts alone.
    pub fn is_shift(self) -> bool {
        self.is_gtc() || self.method().is_some_and(|method| method.is_shift())
    }

    /// What low precision computes with, in words.
    pub fn weights_in_words(self) -> &'static str {
        match self.is_shift() {
            true => "powers of two",
            false => "quantised weights",
        }
    }

    /// The method, unless it is GTC.
    pub fn method(self) -> Option<Box<dyn Method>> {
        Some(match self {
            Self::Gtc => return None,
            Self::Lsq(bits) => Box::new(lsq::Lsq { bits }),
            Self::Binary => Box::new(binary::Binary {
                power_of_two: false,
            }),
            Self::BinaryPowerOfTwo => Box::new(binary::Binary { power_of_two: true }),
            Self::Twn => Box::new(ternary::Twn),
            Self::Ttq => Box::new(ternary::Ttq),
            Self::DeepShift(bits) => Box::new(powers::DeepShift { bits }),
            Self::Inq(bits) => Box::new(powers::Inq { bits }),
            Self::PowersOfTwo(bits) => Box::new(codebook::Codebook::powers_of_two(bits)),
            Self::Apot(bits) => Box::new(codebook::Codebook::additive(bits)),
        })
    }

    /// One line for people: what a weight becomes, and who published it.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Gtc => {
                "powers of two whose number and place each layer learns (Parajuli et al. 2018)"
            }
            Self::Lsq(_) => "whole multiples of a learned step (Esser et al. 2020)",
            Self::Binary => {
                "+a or -a, the mean of |w| of a layer (BWN of XNOR-Net, Rastegari et al. 2016)"
            }
            Self::BinaryPowerOfTwo => "the same with a rounded to a power of two",
            Self::Twn => "-a, 0 or +a, from the mean of |w| (Li et al. 2016)",
            Self::Ttq => "-n, 0 or +p, both learned (Zhu et al. 2017)",
            Self::DeepShift(_) => "powers of two up to one (DeepShift-Q, Elhoushi et al. 2021)",
            Self::Inq(_) => {
                "0 and powers of two below the largest weight (the levels of INQ, Zhou et al. 2017)"
            }
            Self::PowersOfTwo(_) => "0 and powers of two below a learned clip",
            Self::Apot(_) => {
                "0 and sums of powers of two below a learned clip (APoT, Li et al. 2020)"
            }
        }
    }
}

impl fmt::Display for Quantiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, make, bits) in WORDS {
            if bits.is_empty() && make(0) == *self {
                return f.write_str(word);
            }
            if let Some(bits) = bits.iter().find(|bits| make(**bits) == *self) {
                return write!(f, "{word}:{bits}");
            }
        }
        unreachable!("every quantiser has a word")
    }
}

impl From<Quantiser> for String {
    fn from(quantiser: Quantiser) -> Self {
        quantiser.to_string()
    }
}

impl TryFrom<Cow<'_, str>> for Quantiser {
    type Error = String;

    fn try_from(text: Cow<'_, str>) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Quantiser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, bits) = match text.split_once(':') {
            Some((word, bits)) => (word, Some(bits)),
            None => (text, None),
        };
        let Some((_, make, allowed)) = WORDS.iter().find(|(known, ..)| *known == word) else {
            let words: Vec<&str> = WORDS.iter().map(|(word, ..)| *word).collect();
            let meant = did_you_mean(word, words.iter().copied());
            return Err(format!(
                "there is no quantiser '{word}'{meant}: it is one of {}",
                words.join(", ")
            ));
        };
        let some: Vec<String> = allowed
            .iter()
            .map(|bits| format!("{word}:{bits}"))
            .collect();
        match (bits, allowed.is_empty()) {
            (None, true) => Ok(make(0)),
            (Some(_), true) => Err(format!(
                "{word} has no number of bits to choose: write {word}"
            )),
            (bits, false) => {
                let chosen = bits.and_then(|bits| bits.parse().ok());
                match chosen.filter(|bits| allowed.contains(bits)) {
                    Some(bits) => Ok(make(bits)),
                    None => Err(format!("say how many bits: one of {}", some.join(", "))),
                }
            }
        }
    }
}

/// How gradients reach the weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pull {
    /// Weight of ½Σ‖w‖².
    pub lambda_l2: f32,
    /// Whether GTC passes ∂L/∂Q to weights as it is, as other methods do, instead of by the chain rule. Intercepts and
    /// slopes learn by the chain rule always.
    pub identity: bool,
}

/// Records Q(w) of all layers, and the levels, bits and bit losses that they have.
pub fn quantiser_forward(recording: &mut Recording, label: &str, model: &Quantised<'_>) {
    match model.quantiser.method() {
        None => gtc::quantiser_forward(recording, label, model),
        Some(method) => method::method_forward(recording, label, model, &*method),
    }
}

/// Adds the gradients of the low-precision network, `lp_gradients`, to those of the high-precision one,
/// `gradients`: those of weights through Q, with the price of bits and the L2 term. Writes the gradients
/// of what layers learn besides to `d_quantisers` (layers, 4). The first two are arenas.
pub fn quantiser_backward(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    lp_gradients: &Tensor,
    pull: Pull,
    targets: [&Tensor; 2],
) {
    match model.quantiser.method() {
        None => gtc::quantiser_backward(recording, label, model, lp_gradients, pull, targets),
        Some(method) => {
            method::method_backward(
                recording,
                label,
                model,
                &*method,
                lp_gradients,
                pull.lambda_l2,
                targets,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_name() {
        let all = Quantiser::all();
        assert_eq!(all.len(), 21);
        for quantiser in all {
            assert_eq!(quantiser.to_string().parse(), Ok(quantiser));
            assert_eq!(quantiser.method().is_none(), quantiser == Quantiser::Gtc);
        }
    }

    #[test]
    fn other_words_are_refused_with_what_there_is() {
        let refused = |text: &str| text.parse::<Quantiser>().unwrap_err();
        assert!(refused("lqs:2").contains("lsq"));
        assert!(refused("lsq").contains("lsq:2, lsq:3, lsq:4, lsq:8"));
        assert!(refused("lsq:7").contains("one of lsq:2"));
        assert!(refused("twn:2").contains("write twn"));
    }
}
