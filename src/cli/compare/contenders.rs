//! What is compared: quantisers, GTC at several prices, and a float network.

use std::fmt;
use std::str::FromStr;

use crate::quantiser::Quantiser;

/// One way to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// An ordinary float network.
    Float,
    /// GTC with the gradients of its paper.
    GtcChain,
    /// GTC where each layer may keep so many bits.
    Gtc(u32),
    /// The same, but the first and the last layer may keep four.
    GtcEnds(u32),
    /// The same without a float network that teaches it: it learns from the labels, like other methods.
    GtcDirect(u32),
    /// Another quantiser, which learns from the labels.
    Method(Quantiser),
}

/// Bits that GTC's layers may keep.
const GTC_BITS: [u32; 3] = [1, 2, 3];
/// The same where the ends may keep more.
const GTC_ENDS_BITS: [u32; 2] = [1, 2];

/// Flags of GTC that set when slopes begin to pay and when levels freeze: `ramp` and `freeze` of the time in which LP learns,
/// which begins after `lp_start` of the run.
fn levels(price: &str, ramp: f64, freeze: f64, lp_start: f64) -> Vec<String> {
    let of_run = |share: f64| format!("{:.4}", lp_start + share * (1.0 - lp_start));
    let pairs = [
        ("--lambda-bits", price.to_owned()),
        ("--bits-ramp", of_run(ramp)),
        ("--freeze-levels", of_run(freeze)),
    ];
    let words = pairs
        .into_iter()
        .map(|(flag, value)| [flag.to_owned(), value]);
    words.flatten().collect()
}

/// All of them.
pub(super) fn known() -> Vec<Contender> {
    let methods = Quantiser::all().into_iter().filter(|q| !q.is_gtc());
    [Contender::Float, Contender::GtcChain]
        .into_iter()
        .chain(GTC_BITS.map(Contender::Gtc))
        .chain(GTC_ENDS_BITS.map(Contender::GtcEnds))
        .chain([Contender::GtcDirect(1)])
        .chain(methods.map(Contender::Method))
        .collect()
}

/// Those that are compared unless others are named.
pub(super) fn usual() -> Vec<Contender> {
    let left_out = [
        "gtc:3",
        "deepshift:2",
        "deepshift:5",
        "inq:4",
        "inq:5",
        "pot:2",
        "apot:5",
    ];
    let is_usual = |contender: &Contender| !left_out.contains(&&*contender.to_string());
    known().into_iter().filter(is_usual).collect()
}

impl Contender {
    /// Flags of `gtc train` for it, where LP joins after `lp_start` of a run.
    pub fn flags(self, lp_start: f64) -> Vec<String> {
        let with = |first: Vec<String>, words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned());
            first.into_iter().chain(words).collect()
        };
        // Where a factor stands behind every sum, that of a batch normalisation becomes part of it and need be no power of two.
        let free_norm = ["--exact-norm", "--lambda-norm", "0"];
        // Said aloud, because a description or a config may name others.
        let whole = ["--exact-norm", "false"];
        let gtc = [
            "--quantiser",
            "gtc",
            "--objective",
            "gtc",
            whole[0],
            whole[1],
        ];
        match self {
            Self::Float => with(
                Vec::new(),
                &[
                    &["--quantiser", "gtc", "--objective", "float"],
                    &free_norm[..],
                ]
                .concat(),
            ),
            Self::GtcChain => with(
                levels("0.01", 0.5, 0.8, lp_start),
                &[
                    &gtc[..],
                    &["--straight-through", "chain", "--centred-slopes", "false"],
                ]
                .concat(),
            ),
            Self::Gtc(bits) => with(
                Vec::new(),
                &[&gtc[..], &["--target-bits", &bits.to_string()]].concat(),
            ),
            Self::GtcDirect(bits) => with(
                levels("0.03", 0.1, 0.5, 0.0),
                &[
                    "--straight-through",
                    "identity",
                    "--centred-slopes",
                    "--quantiser",
                    "gtc",
                    "--objective",
                    "direct",
                    whole[0],
                    whole[1],
                    "--target-bits",
                    &bits.to_string(),
                ],
            ),
            Self::GtcEnds(bits) => with(
                Vec::new(),
                &[
                    &gtc[..],
                    &["--target-bits", &format!("{bits},first=4,last=4")],
                ]
                .concat(),
            ),
            Self::Method(quantiser) => {
                let rest = if self.packs() {
                    &whole[..]
                } else {
                    &free_norm[..]
                };
                let word = quantiser.to_string();
                let own = ["--quantiser", &word, "--objective", "direct"];
                with(Vec::new(), &[&own[..], rest].concat())
            }
        }
    }

    /// Bits of a weight's code, in words.
    pub fn bits(self) -> String {
        match self {
            Self::Float => "32".to_owned(),
            Self::GtcChain => "any".to_owned(),
            Self::Gtc(bits) | Self::GtcDirect(bits) => format!("<={bits}"),
            Self::GtcEnds(bits) => format!("<={bits},4"),
            Self::Method(quantiser) => {
                let method = quantiser.method();
                method.map_or(0, |method| method.bits()).to_string()
            }
        }
    }

    /// Whether its networks become packed models, which multiply nowhere.
    pub fn packs(self) -> bool {
        match self {
            Self::Float => false,
            Self::GtcChain | Self::Gtc(_) | Self::GtcEnds(_) | Self::GtcDirect(_) => true,
            Self::Method(quantiser) => quantiser.is_shift(),
        }
    }

    /// Why it does not, if it does not.
    pub fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::Float => Some("float weights"),
            _ if self.packs() => None,
            Self::Method(quantiser) => {
                let method = quantiser.method()?;
                Some(match (method.digits(), method.factors()) {
                    (None, _) => "integer weights need a multiplier",
                    (_, 2) => "two factors behind every sum",
                    _ => "a factor behind every sum",
                })
            }
            _ => None,
        }
    }

    /// What a weight becomes.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Float => "it stays as it is",
            Self::GtcChain => Quantiser::Gtc.summary(),
            Self::Gtc(_) => {
                "as gtc-chain, with the settings of the model's preset, and so many bits to keep"
            }
            Self::GtcDirect(_) => {
                "as gtc, from the labels alone, without a float network that teaches"
            }
            Self::GtcEnds(_) => "as gtc, with up to 4 bits in the first and the last layer",
            Self::Method(quantiser) => quantiser.summary(),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float => f.write_str("float"),
            Self::GtcChain => f.write_str("gtc-chain"),
            Self::Gtc(bits) => write!(f, "gtc:{bits}"),
            Self::GtcEnds(bits) => write!(f, "gtc-ends:{bits}"),
            Self::GtcDirect(bits) => write!(f, "gtc-direct:{bits}"),
            Self::Method(quantiser) => write!(f, "{quantiser}"),
        }
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(contender) = known().into_iter().find(|c| c.to_string() == text) {
            return Ok(contender);
        }
        match text.split(':').next() {
            Some("gtc") => Err(
                "say how many bits layers may keep: one of gtc:1, gtc:2, gtc:3; or gtc-chain"
                    .to_owned(),
            ),
            _ => match text.parse::<Quantiser>() {
                Err(error) => Err(error),
                Ok(_) => Err(format!("'{text}' is nothing to compare, see --list")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_learn_while_there_is_a_network_to_learn_them() {
        let flags = |lp_start: f64| Contender::GtcChain.flags(lp_start).join(" ");
        assert!(flags(0.0).contains("--bits-ramp 0.5000 --freeze-levels 0.8000"));
        assert!(flags(0.5).contains("--bits-ramp 0.7500 --freeze-levels 0.9000"));
    }

    #[test]
    fn only_networks_that_multiply_nowhere_round_their_normalisations() {
        for contender in known() {
            let flags = contender.flags(0.0);
            let at = flags
                .iter()
                .position(|flag| flag == "--exact-norm")
                .unwrap();
            let is_rounded = flags.get(at + 1).is_some_and(|value| value == "false");
            assert_eq!(is_rounded, contender.packs(), "{contender}: {flags:?}");
        }
    }

    #[test]
    fn words_lead_back_to_what_they_name() {
        for contender in known() {
            assert_eq!(contender.to_string().parse(), Ok(contender));
            assert_eq!(contender.packs(), contender.obstacle().is_none());
        }
        assert_eq!(usual().len(), known().len() - 7);
        assert!(
            "gtc"
                .parse::<Contender>()
                .is_err_and(|e| e.contains("gtc:1"))
        );
        assert!(
            "lsq"
                .parse::<Contender>()
                .is_err_and(|e| e.contains("lsq:2"))
        );
    }
}
