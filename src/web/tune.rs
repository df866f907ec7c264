//! The tiles of float products, timed on the visitor's device once; the page keeps what was found.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use wasm_bindgen::prelude::*;

use super::{Engine, failed, json, milliseconds, named};
use crate::model::lenet5;
use crate::probe::f32_rate;
use crate::train::{TrainOptions, record_step};
use crate::tune::tiles::{self, TileTuning};

#[wasm_bindgen]
impl Engine {
    /// Times every tile of each float product that LeNet-5 learns with, and uses the fastest from then on; no result
    /// depends on it. `options` is JSON, as for a `Learner`; `kept` is what the last call returned, maybe on another visit:
    /// nothing in it is timed again. After `budget` milliseconds no further product is tried. Returns JSON to keep if anything
    /// is new.
    ///
    /// # Errors
    /// When an option makes no sense, memory is short or the device fails.
    pub async fn tune(
        &self,
        adapter: &str,
        options: &str,
        kept: Option<String>,
        budget: f64,
    ) -> Result<Option<String>, js_sys::Error> {
        if !self.gpu.path().backend().tiles_keep_bits {
            return Ok(None);
        }
        let options: TrainOptions =
            serde_json::from_str(options).map_err(|e| named("GtcError", &e.to_string()))?;
        let step = record_step(self.gpu, &lenet5(), &options).map_err(|e| failed(self.gpu, e))?;
        let version = format!("{:016x}", tiles::version());
        // What is damaged is measured again.
        let mut all: BTreeMap<String, TileTuning> = kept
            .and_then(|kept| serde_json::from_str(&kept).ok())
            .unwrap_or_default();
        all.retain(|key, _| key.ends_with(&version));
        let tuning = all.entry(format!("{adapter} | {version}")).or_default();
        let known = tuning.products.len();
        if !tuning.missing(&step).is_empty() {
            // An idle GPU runs at a fraction of its clock.
            f32_rate(self.gpu).await.map_err(|e| failed(self.gpu, e))?;
            let until = milliseconds() + budget;
            let tick = |_: &str| match milliseconds() > until {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            match tuning.complete(self.gpu, &step, tick).await {
                // A product alone may need memory that training does not.
                Err(error) if error.is_about_size() => self.gpu.forget_out_of_memory(),
                tried => tried.map_err(|e| failed(self.gpu, e))?,
            }
        }
        self.gpu.use_tiles(tuning.tiles());
        match tuning.products.len() > known {
            true => json(&all).map(Some),
            false => Ok(None),
        }
    }
}
