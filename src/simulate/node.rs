//! What operations and memories of a process take, as a table that people can replace.

use serde::{Deserialize, Serialize};

use crate::suggest::did_you_mean;

/// Bytes of a KiB.
pub(super) const KIB: f64 = 1024.0;
/// Bits of the accesses to memory that tables give the energy of.
const ACCESS_BITS: f64 = 64.0;
/// No memory is smaller: below this, registers do the work.
const LEAST_SRAM: f64 = KIB;

/// The tables of the program, by name.
pub const NODES: [(&str, &str); 2] = [
    ("45nm", include_str!("nodes/45nm.toml")),
    ("7nm", include_str!("nodes/7nm.toml")),
];

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No table of the program.
    #[error(
        "no process is called '{name}'{hint}. Known are {}; or name a file that ends in .toml \
         (`gtc simulate --print-node 45nm` prints one to begin with)",
        NODES.map(|(name, _)| name).join(" and ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// A name that is close, in words.
        hint: String,
    },
    /// Not TOML, a key too much or one that is missing.
    #[error("{file}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// The parser's words.
        reason: String,
    },
    /// A number that cannot be.
    #[error("{file}: {key} = {value}: {reason}")]
    Number {
        /// The file.
        file: String,
        /// Its place in the table.
        key: String,
        /// What stands there.
        value: f64,
        /// What it must be.
        reason: &'static str,
    },
    /// A number without a source.
    #[error("{file}: {key} has an empty source; say where the number comes from")]
    Source {
        /// The file.
        file: String,
        /// Its place in the table.
        key: String,
    },
}

/// The energy of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// pJ.
    pub pj: f64,
    /// Where the number comes from.
    pub source: String,
    /// Whether somebody has read it there.
    #[serde(default)]
    pub checked: bool,
}

/// The energy of an access to an on-chip memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sram {
    /// Capacity in KiB.
    pub kib: f64,
    /// pJ for 64 bits.
    pub pj: f64,
    /// Where the number comes from.
    pub source: String,
    /// Whether somebody has read it there.
    #[serde(default)]
    pub checked: bool,
}

/// The energy of an access to off-chip memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dram {
    /// pJ for 64 bits.
    pub pj: f64,
    /// The lower end of what is published.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Where the numbers come from.
    pub source: String,
    /// Whether somebody has read them there.
    #[serde(default)]
    pub checked: bool,
}

/// The clock that cycles are converted with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// MHz.
    pub mhz: f64,
    /// Where the number comes from.
    pub source: String,
}

/// What off-chip memory delivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// 10^9 bytes a second.
    pub gb_per_s: f64,
    /// Where the number comes from.
    pub source: String,
}

/// A process: energies with their sources, a clock and a bandwidth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its short name.
    pub name: String,
    /// Its name in headings.
    pub title: String,
    /// An addition of two integers of 8 bits.
    pub add_int8: Constant,
    /// Of 32 bits.
    pub add_int32: Constant,
    /// An addition of two floats of 32 bits.
    pub add_fp32: Constant,
    /// A multiplication of two integers of 8 bits.
    pub multiply_int8: Constant,
    /// Of two floats of 16 bits.
    pub multiply_fp16: Constant,
    /// Of two floats of 32 bits.
    pub multiply_fp32: Constant,
    /// One bit through one stage of a shifter.
    pub shift_stage_bit: Constant,
    /// One bit that is inverted or not.
    pub sign_bit: Constant,
    /// One bit that is clocked into a register.
    pub register_bit: Constant,
    /// On-chip memories, the smallest first.
    pub sram: Vec<Sram>,
    /// Off-chip memory.
    pub dram: Dram,
    /// The clock.
    pub clock: Clock,
    /// What off-chip memory delivers.
    pub dram_bandwidth: Bandwidth,
}

/// The text of a table of the program.
///
/// # Errors
/// [`NodeError::Unknown`].
pub fn node_text(name: &str) -> Result<&'static str, NodeError> {
    let found = NODES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| NodeError::Unknown {
            name: name.to_owned(),
            hint: did_you_mean(name, NODES.map(|(known, _)| known)),
        })
}

impl Node {
    /// A table of the program.
    ///
    /// # Errors
    /// [`NodeError::Unknown`].
    pub fn by_name(name: &str) -> Result<Self, NodeError> {
        Self::parse(name, node_text(name)?)
    }

    /// Reads a table; `file` is its name for messages.
    ///
    /// # Errors
    /// [`NodeError`] that names the key.
    pub fn parse(file: &str, text: &str) -> Result<Self, NodeError> {
        let node: Self = toml::from_str(text).map_err(|error| NodeError::Syntax {
            file: file.to_owned(),
            reason: error.to_string().trim().to_owned(),
        })?;
        node.check(file)?;
        Ok(node)
    }

    /// The operations with their keys.
    pub fn constants(&self) -> [(&'static str, &Constant); 9] {
        [
            ("add_int8", &self.add_int8),
            ("add_int32", &self.add_int32),
            ("add_fp32", &self.add_fp32),
            ("multiply_int8", &self.multiply_int8),
            ("multiply_fp16", &self.multiply_fp16),
            ("multiply_fp32", &self.multiply_fp32),
            ("shift_stage_bit", &self.shift_stage_bit),
            ("sign_bit", &self.sign_bit),
            ("register_bit", &self.register_bit),
        ]
    }

    fn check(&self, file: &str) -> Result<(), NodeError> {
        let wrong = |key: &str, value: f64, reason| NodeError::Number {
            file: file.to_owned(),
            key: key.to_owned(),
            value,
            reason,
        };
        let energy = |key: &str, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(wrong(key, value, "an energy is a number from 0 up, in pJ")),
        };
        let source = |key: &str, source: &str| match source.trim().is_empty() {
            false => Ok(()),
            true => Err(NodeError::Source {
                file: file.to_owned(),
                key: key.to_owned(),
            }),
        };
        for (key, constant) in self.constants() {
            energy(&format!("{key}.pj"), constant.pj)?;
            source(key, &constant.source)?;
        }
        if self.add_int32.pj < self.add_int8.pj {
            let reason = "wider additions must not take less than add_int8.pj";
            return Err(wrong("add_int32.pj", self.add_int32.pj, reason));
        }
        if self.sram.is_empty() {
            let reason = "at least one memory must be given";
            return Err(wrong("sram", 0.0, reason));
        }
        for (i, sram) in self.sram.iter().enumerate() {
            let key = format!("sram[{i}].pj");
            energy(&key, sram.pj)?;
            source(&format!("sram[{i}]"), &sram.source)?;
            if !(sram.kib.is_finite() && sram.kib > 0.0) {
                let reason = "a capacity is larger than 0, in KiB";
                return Err(wrong(&format!("sram[{i}].kib"), sram.kib, reason));
            }
            if sram.pj == 0.0 && self.sram.len() > 1 {
                let reason = "between memories that take no energy nothing can be interpolated";
                return Err(wrong(&key, sram.pj, reason));
            }
            let before = i.checked_sub(1).map(|i| &self.sram[i]);
            if before.is_some_and(|before| before.kib >= sram.kib || before.pj > sram.pj) {
                let reason = "memories stand in order: the next is larger and takes no less";
                return Err(wrong(&key, sram.pj, reason));
            }
        }
        for (key, value) in [
            ("dram.low", self.dram.low),
            ("dram.pj", self.dram.pj),
            ("dram.high", self.dram.high),
        ] {
            energy(key, value)?;
        }
        source("dram", &self.dram.source)?;
        if !(self.dram.low <= self.dram.pj && self.dram.pj <= self.dram.high) {
            let reason = "it lies between dram.low and dram.high";
            return Err(wrong("dram.pj", self.dram.pj, reason));
        }
        for (key, value) in [
            ("clock.mhz", self.clock.mhz),
            ("dram_bandwidth.gb_per_s", self.dram_bandwidth.gb_per_s),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(wrong(key, value, "it is larger than 0"));
            }
        }
        source("clock", &self.clock.source)?;
        source("dram_bandwidth", &self.dram_bandwidth.source)
    }

    /// pJ of an addition of integers.
    pub fn add_int(&self, bits: u32) -> f64 {
        let (narrow, wide) = (self.add_int8.pj, self.add_int32.pj);
        let bits = f64::from(bits);
        match bits < 8.0 {
            true => narrow * bits / 8.0,
            false => narrow + (wide - narrow) * (bits - 8.0) / 24.0,
        }
    }

    /// pJ of a multiplication of integers of so many bits.
    pub fn multiply_int(&self, a: u32, b: u32) -> f64 {
        self.multiply_int8.pj * f64::from(a) * f64::from(b) / 64.0
    }

    /// pJ of a shifter of so many bits that tells `places` places apart.
    pub fn shift(&self, bits: u32, places: u32) -> f64 {
        let stages = match places {
            0 | 1 => 0,
            _ => (places - 1).ilog2() + 1,
        };
        self.shift_stage_bit.pj * f64::from(bits) * f64::from(stages)
    }

    /// pJ of a bit read from or written to an on-chip memory of so many bytes: on straight lines in log-log scale
    /// through the table, and beyond its ends on its first and last line.
    pub fn sram_bit(&self, bytes: f64) -> f64 {
        let kib = bytes.max(LEAST_SRAM) / KIB;
        let access = match &self.sram[..] {
            [only] => only.pj,
            table => {
                let above = table.iter().position(|sram| sram.kib >= kib);
                let upper = above.unwrap_or(table.len() - 1).max(1);
                let (a, b) = (&table[upper - 1], &table[upper]);
                let slope = (b.pj / a.pj).ln() / (b.kib / a.kib).ln();
                a.pj * (kib / a.kib).powf(slope)
            }
        };
        access / ACCESS_BITS
    }

    /// pJ of a bit of off-chip memory.
    pub fn dram_bit(&self) -> f64 {
        self.dram.pj / ACCESS_BITS
    }

    /// Bits that off-chip memory delivers in a cycle.
    pub fn dram_bits_per_cycle(&self) -> f64 {
        8000.0 * self.dram_bandwidth.gb_per_s / self.clock.mhz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_program_are_whole() {
        for (name, _) in NODES {
            assert_eq!(Node::by_name(name).unwrap().name, name);
        }
    }

    #[test]
    fn energies_follow_the_table() {
        let node = Node::by_name("45nm").unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(node.add_int(8), 0.03);
        near(node.add_int(32), 0.1);
        near(node.add_int(20), 0.065);
        near(node.add_int(4), 0.015);
        near(node.multiply_int(8, 2), 0.05);
        near(node.sram_bit(8.0 * KIB), 10.0 / 64.0);
        near(node.sram_bit(32.0 * KIB), 20.0 / 64.0);
        near(node.sram_bit(1024.0 * KIB), 100.0 / 64.0);
        // The first line is that of the square root.
        near(node.sram_bit(16.0 * KIB), 10.0 * 2f64.sqrt() / 64.0);
        near(node.sram_bit(2.0 * KIB), 5.0 / 64.0);
        near(node.sram_bit(0.0), node.sram_bit(KIB));
        // Places told apart: one is a wire, two take a stage, five take three.
        near(node.shift(10, 1), 0.0);
        near(node.shift(10, 2), 0.02606);
        near(node.shift(10, 5), 3.0 * 0.02606);
    }
}
