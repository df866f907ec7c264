//! The browser's entry points, compiled for WebAssembly alone: what the page's worker calls.
//!
//! Structures cross the border as JSON, numbers and files as typed arrays. Objects live in one
//! worker; none may be called again before its last promise is settled.

mod bench;
mod draw;
mod dream;
mod learn;
mod tune;

use wasm_bindgen::prelude::*;

use crate::data::{Dataset, embedded_digits};
use crate::gpu::{Gpu, GpuError, GpuOptions, Path};
use crate::kernels;
use crate::train::TrainError;

pub use bench::Bench;
pub use draw::{Reader, centred};
pub use dream::Dreamer;
pub use learn::{Learner, fresh_layers};

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since the worker started: the only clock there is.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub(crate) fn milliseconds() -> f64;
}

/// An error for the page: its message is for people, its name for the program, `GpuLost` when the
/// device is gone and everything on it.
fn failed(gpu: &Gpu, error: impl Into<TrainError>) -> js_sys::Error {
    let name = match gpu.check() {
        Err(_) => "GpuLost",
        Ok(()) => "GtcError",
    };
    named(name, &words(error))
}

/// The device has failed while something was read from it.
fn lost(error: impl Into<TrainError>) -> js_sys::Error {
    named("GpuLost", &words(error))
}

/// The message, without advice that is for the command line.
fn words(error: impl Into<TrainError>) -> String {
    match error.into() {
        TrainError::Gpu(GpuError::Lost(reason) | GpuError::NoDevice { reason, .. }) => reason,
        TrainError::Gpu(GpuError::OutOfMemory(reason)) => {
            format!("the GPU has not enough memory: {reason}.")
        }
        error => error.to_string(),
    }
}

fn named(name: &str, message: &str) -> js_sys::Error {
    let error = js_sys::Error::new(message);
    error.set_name(name);
    error
}

fn json(value: &impl serde::Serialize) -> Result<String, js_sys::Error> {
    serde_json::to_string(value).map_err(|error| named("GtcError", &error.to_string()))
}

/// The device and the digits.
#[wasm_bindgen]
pub struct Engine {
    // Lives as long as the worker: trainers and packed models borrow it.
    gpu: &'static Gpu,
    digits: &'static Dataset,
}

#[wasm_bindgen]
impl Engine {
    /// Opens the browser's adapter, with kernels of this family: `gpu`, or `cpu-sampled` if it is known to run on the
    /// processor. Without one, of the family that suits it.
    ///
    /// # Errors
    /// `NoWebGpu` when there is no adapter, with what the browser said.
    pub async fn open(path: Option<String>) -> Result<Engine, js_sys::Error> {
        console_error_panic_hook::set_once();
        let known = |word: String| serde_json::from_value::<Path>(word.into());
        let path = path.map(known).transpose();
        let options = GpuOptions {
            path: path.map_err(|e| named("GtcError", &e.to_string()))?,
            ..Default::default()
        };
        let gpu = Gpu::open(&options).await.map_err(|error| match error {
            GpuError::NoAdapter => named("NoWebGpu", "the browser offers no WebGPU adapter"),
            error => named("NoWebGpu", &words(error)),
        })?;
        let digits = embedded_digits().map_err(|e| named("GtcError", &e.to_string()))?;
        Ok(Engine {
            gpu: Box::leak(Box::new(gpu)),
            digits: Box::leak(Box::new(digits)),
        })
    }

    /// The kernel family in use.
    pub fn path(&self) -> String {
        self.gpu.path().name().to_owned()
    }

    /// JSON: names and texts of all kernels of a family, for a browser's compiler to judge.
    ///
    /// # Errors
    /// When there is no such family.
    pub fn kernel_texts(path: &str) -> Result<String, js_sys::Error> {
        let path = serde_json::from_value(path.into());
        json(&kernels::texts(
            path.map_err(|e| named("GtcError", &e.to_string()))?,
        ))
    }

    /// The held-out digit of that number: 28 x 28 bytes, row by row.
    pub fn test_digit(&self, number: usize) -> Vec<u8> {
        self.digits.test.image(number).to_vec()
    }

    /// Its label.
    pub fn test_label(&self, number: usize) -> u16 {
        self.digits.test.labels[number]
    }

    /// How many held-out digits there are.
    pub fn test_count(&self) -> usize {
        self.digits.test.count()
    }
}
