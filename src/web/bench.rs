//! The kernels of LeNet-5 on the visitor's device: every answer is checked, then timed.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::{Engine, json, lost};
use crate::gpu::{Gpu, GpuError, Plan};
use crate::model::{Network, lenet5};
use crate::op::ConvShape;
use crate::tensor::Tensor;
use crate::verify::{Case, matrix_cases, packed_cases, prepare, run_case};

/// Bits of a weight in packed rows: a sign, two exponents.
const BITS: u32 = 2;
/// Least time spent on a row, in milliseconds.
const LEAST: f64 = 300.0;

/// One row of the table.
#[derive(Serialize)]
struct Row {
    layer: String,
    /// Its name, and in which of its ways it runs.
    kernel: String,
    shape: String,
    milliseconds: f64,
    runs: usize,
    /// Billions of multiply-adds, or of the shifts and additions that stand for them, a second.
    gmacs: f64,
    verified: bool,
    /// What is wrong, if anything is.
    failure: Option<String>,
}

/// The table, row by row.
#[wasm_bindgen]
pub struct Bench {
    gpu: &'static Gpu,
    rows: Vec<(String, ConvShape, Case)>,
    next: usize,
}

#[wasm_bindgen]
impl Bench {
    /// The layers of LeNet-5 for so many images: the f32 products of training, and packed layers in
    /// every arithmetic.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: &Engine, batch: usize) -> Bench {
        let mut rows = Vec::new();
        for step in Network::new(&lenet5(), batch).steps() {
            let Some(product) = step.recorder.product() else {
                continue;
            };
            let s = product.shape;
            let packed = packed_cases(s, BITS, (false, 1), 8, 127);
            let float = matrix_cases(s).into_iter();
            let float = float.filter(|c| c.kernel.name.starts_with("conv_"));
            rows.extend(float.chain(packed).map(|case| (step.name.clone(), s, case)));
        }
        Bench {
            gpu: engine.gpu,
            rows,
            next: 0,
        }
    }

    /// How many rows there will be.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Checks and times the next row; nothing after the last.
    ///
    /// # Errors
    /// When the device fails. A wrong answer is a row that says so.
    pub async fn next(&mut self) -> Result<Option<String>, js_sys::Error> {
        let Some((layer, shape, case)) = self.rows.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let row = row(self.gpu, layer, shape, case).await;
        let row = row.map_err(lost)?;
        json(&row).map(Some)
    }
}

/// What the name of a case says beside its shape: arithmetic, sharing and bits, splits, ReLU.
fn variant(case: &Case) -> String {
    let shape = ["kernel ", "stride ", "padding ", "exponents ", "|x| "];
    let parts = case.name.split(", ");
    let own =
        parts.filter(|part| !part.contains("->") && !shape.iter().any(|s| part.starts_with(s)));
    own.collect::<Vec<_>>().join(" ")
}

async fn row(gpu: &Gpu, layer: &str, shape: &ConvShape, case: &Case) -> Result<Row, GpuError> {
    let failure = run_case(gpu, case).await?.failure;
    let (plan, outputs) = prepare(gpu, case)?;
    let schedule = bytemuck::bytes_of(&case.schedule);
    // Twice as many runs until they last long enough for a clock that browsers blur.
    let (mut runs, mut milliseconds) = (1, timed(gpu, &plan, &outputs[0], schedule, 1).await?);
    while milliseconds < LEAST && runs < 1 << 12 {
        runs *= 2;
        milliseconds = timed(gpu, &plan, &outputs[0], schedule, runs).await?;
    }
    let milliseconds = milliseconds / runs as f64;
    Ok(Row {
        layer: layer.to_owned(),
        kernel: format!("{} {}", case.kernel.name, variant(case)),
        shape: format!(
            "{}x{}x{}x{} -> {}, {}x{}",
            shape.batch,
            shape.input_height,
            shape.input_width,
            shape.input_channels,
            shape.output_channels,
            shape.kernel_height,
            shape.kernel_width
        ),
        gmacs: shape.flops() as f64 / 2e6 / milliseconds,
        milliseconds,
        runs,
        verified: failure.is_none(),
        failure,
    })
}

/// Milliseconds that so many runs take together, until the last has answered.
async fn timed(
    gpu: &Gpu,
    plan: &Plan,
    output: &Tensor,
    schedule: &[u8],
    runs: usize,
) -> Result<f64, GpuError> {
    let started = super::milliseconds();
    for _ in 0..runs {
        plan.run(gpu, schedule);
    }
    gpu.read(&output.buffer, 0, 4).await?;
    Ok(super::milliseconds() - started)
}
