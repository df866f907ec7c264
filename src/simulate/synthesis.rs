//! Results of synthesis, which reports show beside the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One engine as it was synthesised. `docs/HARDWARE.md` describes the file: a list of these in JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Synthesis {
    /// `shift-add`, or `int8`, `int4`, `int2` for one with multipliers.
    pub engine: String,
    /// Its lanes.
    pub lanes: u64,
    /// For what it was synthesised: a cell library or an FPGA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Area without memories, in areas of a NAND gate with two inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells_nand2: Option<f64>,
    /// Look-up tables of an FPGA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub luts: Option<f64>,
    /// Flip-flops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffs: Option<f64>,
    /// Block memories of an FPGA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brams: Option<f64>,
    /// The clock that it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mhz: Option<f64>,
    /// Bits of its memory for weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bits: Option<f64>,
    /// Cycles of an image, if they were simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<f64>,
    /// Versions of the tools, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

impl Synthesis {
    /// Reads a file of them; `file` is its name for messages.
    ///
    /// # Errors
    /// A sentence for a person.
    pub fn parse(file: &str, text: &str) -> Result<Vec<Self>, String> {
        let wanted = "a list of engines is expected, as docs/HARDWARE.md describes it";
        let all: Vec<Self> =
            serde_json::from_str(text).map_err(|e| format!("{file}: {e}; {wanted}"))?;
        if all.is_empty() {
            return Err(format!("{file}: no engine is in it; {wanted}"));
        }
        for (i, engine) in all.iter().enumerate() {
            if engine.lanes == 0 {
                return Err(format!(
                    "{file}: engine {i} ('{}') has 0 lanes",
                    engine.engine
                ));
            }
            for (key, value) in engine.numbers() {
                if value.is_some_and(|value| !(value.is_finite() && value >= 0.0)) {
                    return Err(format!(
                        "{file}: engine {i} ('{}'): {key} is {}, and cannot be negative",
                        engine.engine,
                        value.unwrap_or_default()
                    ));
                }
            }
        }
        Ok(all)
    }

    fn numbers(&self) -> [(&'static str, Option<f64>); 7] {
        [
            ("cells_nand2", self.cells_nand2),
            ("luts", self.luts),
            ("ffs", self.ffs),
            ("brams", self.brams),
            ("mhz", self.mhz),
            ("memory_bits", self.memory_bits),
            ("cycles", self.cycles),
        ]
    }

    /// Bits of the weights of an engine with multipliers: 8 of `int8`.
    pub fn linear_bits(&self) -> Option<u32> {
        self.engine.strip_prefix("int")?.parse().ok()
    }
}
