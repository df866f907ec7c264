//! The quantiser against values made elsewhere by automatic differentiation in f64.

use serde::Deserialize;

use crate::gpu::{Gpu, GpuError};
use crate::optimiser::Schedule;
use crate::quantiser::{
    LayerRanges, Pull, Quantised, Quantiser, Spans, quantiser_backward, quantiser_forward,
};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// One layer of a golden file.
#[derive(Debug, Deserialize)]
pub struct GoldenLayer {
    /// w
    pub weights: Vec<f64>,
    /// ∂L/∂Q
    pub upstream: Vec<f64>,
    /// c
    pub intercept: f64,
    /// s
    pub slope: f64,
    /// e(w), also of weights that quantise to zero
    pub exponent: Vec<f64>,
    /// Q(w)
    pub quantised: Vec<f64>,
    /// ∂L/∂w
    pub grad_weights: Vec<f64>,
    /// ∂L/∂c
    pub grad_intercept: f64,
    /// ∂L/∂s
    pub grad_slope: f64,
    /// Bits of the layer
    pub bits: f64,
    /// 2^bits
    pub bit_loss: f64,
    /// ∂ 2^bits / ∂w
    pub bit_grad_weights: Vec<f64>,
    /// ∂ 2^bits / ∂c
    pub bit_grad_intercept: f64,
    /// ∂ 2^bits / ∂s
    pub bit_grad_slope: f64,
}

/// What the comparison found.
#[derive(Debug, Default, serde::Serialize)]
pub struct GoldenReport {
    /// Layers compared.
    pub layers: usize,
    /// Numbers compared.
    pub values: usize,
    /// Largest relative error of a value or gradient; exponents and bits must be equal.
    pub max_error: f64,
    /// What disagreed.
    pub failures: Vec<String>,
}

/// Relative error allowed of values and gradients. Sums that cancel are compared with the sum of
/// the sizes of their terms.
const ALLOWED: f64 = 1e-5;

impl GoldenReport {
    fn near(&mut self, what: &str, got: f64, want: f64, scale: f64) {
        self.values += 1;
        let error = (got - want).abs() / scale.max(f64::MIN_POSITIVE);
        let error = if got == want { 0.0 } else { error };
        self.max_error = self.max_error.max(error);
        if error > ALLOWED || got.is_nan() {
            self.failures.push(format!(
                "{what}: {got:e}, golden {want:e} (relative error {error:.2e})"
            ));
        }
    }

    fn equal(&mut self, what: &str, got: f64, want: f64) {
        self.values += 1;
        if got != want {
            self.failures.push(format!("{what}: {got}, golden {want}"));
        }
    }
}

/// Runs the quantiser's kernels on every layer of a golden file and compares.
///
/// # Errors
/// [`GpuError`] when the device fails; disagreements are part of the report.
pub async fn check_golden(gpu: &Gpu, layers: &[GoldenLayer]) -> Result<GoldenReport, GpuError> {
    let mut report = GoldenReport {
        layers: layers.len(),
        ..Default::default()
    };
    for (number, layer) in layers.iter().enumerate() {
        // Once for the network's gradient alone, once with the bit loss.
        let plain = run(gpu, layer, 0.0).await?;
        let priced = run(gpu, layer, 1.0).await?;
        let at = |what: &str| format!("layer {number}, {what}");
        report.equal(&at("bits"), plain.levels[3], layer.bits);
        report.equal(&at("bit loss"), plain.levels[8], layer.bit_loss);
        for (i, w) in layer.weights.iter().enumerate() {
            let at = |what: &str| format!("layer {number}, {what} {i}");
            report.equal(&at("quantised"), plain.q[i], layer.quantised[i]);
            if plain.q[i] != 0.0 {
                report.equal(&at("exponent"), plain.q[i].abs().log2(), layer.exponent[i]);
            }
            let want = layer.grad_weights[i];
            report.near(&at("gradient"), plain.d_w[i], want, want.abs());
            let both = want + layer.bit_grad_weights[i];
            let scale = want.abs() + layer.bit_grad_weights[i].abs();
            report.near(&at("gradient with bit loss"), priced.d_w[i], both, scale);
            debug_assert!(w.is_finite());
        }
        let terms = |slope: bool| {
            let parts = layer
                .weights
                .iter()
                .zip(&layer.upstream)
                .zip(&layer.quantised);
            parts
                .map(|((w, g), q)| {
                    let log = if slope {
                        crate::reference::log2_size(*w)
                    } else {
                        1.0
                    };
                    (g * q * std::f64::consts::LN_2 * log).abs()
                })
                .sum::<f64>()
        };
        let [c, s] = plain.d_quantiser;
        report.near(&at("d intercept"), c, layer.grad_intercept, terms(false));
        report.near(&at("d slope"), s, layer.grad_slope, terms(true));
        let [c, s] = priced.d_quantiser;
        let want = layer.grad_intercept + layer.bit_grad_intercept;
        report.near(&at("d intercept with bit loss"), c, want, terms(false));
        let want = layer.grad_slope + layer.bit_grad_slope;
        let scale = terms(true) + layer.bit_grad_slope.abs();
        report.near(&at("d slope with bit loss"), s, want, scale);
    }
    Ok(report)
}

struct Answer {
    q: Vec<f64>,
    levels: Vec<f64>,
    d_w: Vec<f64>,
    d_quantiser: [f64; 2],
}

async fn run(gpu: &Gpu, layer: &GoldenLayer, lambda_bits: f64) -> Result<Answer, GpuError> {
    let stored = pad4(layer.weights.len());
    let arena = |label, values: &[f64]| -> Result<Tensor, GpuError> {
        let tensor = Tensor::new(gpu, label, &[stored + 4])?;
        let mut all: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        all.resize(stored, 0.0);
        all.extend([layer.intercept, layer.slope, 0.0, 0.0].map(|v| v as f32));
        tensor.write(gpu, &all);
        Ok(tensor)
    };
    let parameters = arena("weights", &layer.weights)?;
    let upstream = arena("upstream", &layer.upstream)?;
    let (values, gradients) = (arena("values", &[])?, arena("gradients", &[])?);
    let levels = Tensor::new(gpu, "levels", &[1, 3, 4])?;
    let layer_ranges = LayerRanges {
        slope_pays: false,
        free_exponents: None,
        weights: 0..stored,
        normalised: false,
    };
    let spans = Spans::new(&[layer_ranges], &[]);
    let table = Tensor::new(gpu, "spans", &[spans.table().len() / 4, 4])?;
    table.write(gpu, &spans.table());
    let [d_weights, d_quantiser] = [0..stored, stored..stored + 4].map(|r| gradients.range(r));
    let mut recording = Recording::new(gpu.path()).all_in_textures();
    let model = Quantised {
        quantiser: Quantiser::Gtc,
        spans: &spans,
        table: &table,
        parameters: &parameters,
        quantisers: &parameters.range(stored..stored + 4),
        values: &values,
        levels: &levels,
    };
    quantiser_forward(&mut recording, "golden", &model);
    let targets = [&gradients, &d_quantiser];
    quantiser_backward(
        &mut recording,
        "golden",
        &model,
        &upstream,
        Pull::default(),
        targets,
    );
    let schedule = Schedule::new(1, 0.0, lambda_bits);
    gpu.plan(recording)?.run(gpu, bytemuck::bytes_of(&schedule));
    let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
    let sums = wide(d_quantiser.read(gpu).await?);
    Ok(Answer {
        q: wide(values.read(gpu).await?),
        levels: wide(levels.read(gpu).await?),
        d_w: wide(d_weights.read(gpu).await?),
        d_quantiser: [sums[0], sums[1]],
    })
}
