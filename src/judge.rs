//! The quality of generated images as numbers: what a classifier makes of them.

use nalgebra::{DMatrix, Dyn, SymmetricEigen};

use crate::data::{Augmentation, Images};
use crate::evaluate::{Evaluator, Memory};
use crate::gpu::{Gpu, GpuError, Plan, Pool};
use crate::model::{Mode, Model, PartedTensor};
use crate::recording::Recording;
use crate::tensor::Tensor;

/// What a classifier makes of a set of images.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Mean probability of the most probable class.
    pub confidence: f64,
    /// Entropy of the shares of images that each class wins, in nats: log 10 when all of ten win
    /// equally often.
    pub label_entropy: f64,
    /// Mean of the penultimate features.
    pub mean: Vec<f64>,
    /// Their covariance, (features, features).
    pub covariance: Vec<f64>,
}

/// The high-precision network of a trained classifier, with a look at its penultimate features.
pub struct Judge<'g> {
    evaluator: Evaluator<'g>,
    plan: Plan,
    features: PartedTensor,
    logits: Tensor,
    batch: usize,
}

impl<'g> Judge<'g> {
    /// Compiles the plan of a classifier and sets its parameters and its running statistics.
    ///
    /// # Errors
    /// [`GpuError`] when memory or a kernel is refused.
    pub fn new(
        gpu: &'g Gpu,
        model: Model,
        batch: usize,
        arena: &[f32],
        running: &[Vec<f32>; 2],
    ) -> Result<Self, GpuError> {
        let memory = Memory::new(gpu, &model, batch, true)?;
        let mut pool = Pool::default();
        let mut recording = Recording::new(gpu.path());
        let input = memory
            .network
            .prepare(&mut recording, &memory.inputs[0], model.input);
        let weights = memory.arenas_of(0);
        let pass = memory
            .network
            .forward(&mut recording, &input, weights, Mode::Test);
        let plan = gpu.plan_in(recording, &mut pool)?;
        let evaluator = Evaluator::with_memory(gpu, model, batch, memory, pool)?;
        evaluator.set_weights(arena);
        evaluator.set_running(running);
        Ok(Self {
            evaluator,
            plan,
            features: pass.penultimate().clone(),
            logits: pass.logits().clone(),
            batch,
        })
    }

    /// Judges images of the classifier's size.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn judge(&mut self, images: &Images) -> Result<Judgement, GpuError> {
        let gpu = self.evaluator.gpu;
        let classes = self.evaluator.model().classes;
        let all: Vec<u32> = (0..images.count() as u32).collect();
        let count = all.len().max(1) as f64;
        let mut confidence = 0.0;
        let mut wins = vec![0.0; classes];
        let mut features = Vec::new();
        for part in all.chunks(self.batch) {
            self.evaluator
                .upload(images, part, |_| Augmentation::default());
            self.plan.run(gpu, &[]);
            let mut rows = Vec::new();
            for tensor in self.features.parts() {
                rows.extend(tensor.read(gpu).await?);
            }
            let width = rows.len() / self.batch;
            features.extend(rows.chunks(width).take(part.len()).map(<[f32]>::to_vec));
            let logits = self.logits.read(gpu).await?;
            for row in logits.chunks(logits.len() / self.batch).take(part.len()) {
                let row = &row[..classes];
                let best = (0..classes).fold(0, |b, c| if row[c] > row[b] { c } else { b });
                let total: f64 = row.iter().map(|v| f64::from(v - row[best]).exp()).sum();
                confidence += 1.0 / total;
                wins[best] += 1.0;
            }
        }
        let shares = wins.iter().map(|n| n / count).filter(|p| *p > 0.0);
        let (mean, covariance) = moments(&features);
        Ok(Judgement {
            confidence: confidence / count,
            label_entropy: -shares.map(|p| p * p.ln()).sum::<f64>(),
            mean,
            covariance,
        })
    }
}

/// Mean, and covariance as a square matrix.
fn moments(rows: &[Vec<f32>]) -> (Vec<f64>, Vec<f64>) {
    let size = rows.first().map_or(0, Vec::len);
    let count = rows.len().max(1) as f64;
    let mut mean = vec![0.0; size];
    for row in rows {
        for (m, v) in mean.iter_mut().zip(row) {
            *m += f64::from(*v) / count;
        }
    }
    let centred = DMatrix::from_fn(rows.len(), size, |i, j| f64::from(rows[i][j]) - mean[j]);
    let covariance = centred.transpose() * &centred / count;
    (mean, covariance.as_slice().to_vec())
}

/// Fréchet distance of the normal distributions with two judgements' moments (Heusel et al. 2017):
/// |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½). Not a number if a moment is none.
pub fn frechet_distance(a: &Judgement, b: &Judgement) -> f64 {
    let size = a.mean.len();
    if size == 0 {
        return 0.0;
    }
    let numbers = [&a.mean, &a.covariance, &b.mean, &b.covariance];
    if !numbers
        .into_iter()
        .flatten()
        .all(|number| number.is_finite())
    {
        return f64::NAN;
    }
    let apart: f64 = a
        .mean
        .iter()
        .zip(&b.mean)
        .map(|(x, y)| (x - y).powi(2))
        .sum();
    let [first, second] =
        [a, b].map(|judgement| DMatrix::from_row_slice(size, size, &judgement.covariance));
    let traces = first.trace() + second.trace();
    // (C₁ C₂)^½ has the trace of (S C₂ S)^½ with S = C₁^½, which is symmetric.
    let Some(own) = eigen(first) else {
        return f64::NAN;
    };
    let roots = own.eigenvalues.map(|value| value.max(0.0).sqrt());
    let root = &own.eigenvectors * DMatrix::from_diagonal(&roots) * own.eigenvectors.transpose();
    let Some(middle) = eigen(&root * second * &root) else {
        return f64::NAN;
    };
    let overlap: f64 = middle.eigenvalues.iter().map(|v| v.max(0.0).sqrt()).sum();
    // Rounding may take it below zero.
    (apart + traces - 2.0 * overlap).max(0.0)
}

/// Eigenvalues and eigenvectors of a symmetric matrix; nothing of one with numbers that are none.
fn eigen(matrix: DMatrix<f64>) -> Option<SymmetricEigen<f64, Dyn>> {
    const MOST_ROUNDS: usize = 100_000;
    SymmetricEigen::try_new(matrix, f64::EPSILON, MOST_ROUNDS)
}

#[cfg(test)]
mod tests {
    use super::{Judgement, frechet_distance};

    #[test]
    fn distances_are_those_of_normal_distributions() {
        let judgement = |mean: [f64; 2], covariance: [f64; 4]| Judgement {
            confidence: 1.0,
            label_entropy: 0.0,
            mean: mean.to_vec(),
            covariance: covariance.to_vec(),
        };
        let a = judgement([1.0, 2.0], [2.0, 0.5, 0.5, 1.0]);
        assert!(frechet_distance(&a, &a).abs() < 1e-10);
        // Of commuting covariances: |m - n|^2 + sum (sqrt v - sqrt w)^2.
        let b = judgement([0.0, 0.0], [4.0, 0.0, 0.0, 9.0]);
        let c = judgement([3.0, -1.0], [1.0, 0.0, 0.0, 16.0]);
        assert!((frechet_distance(&b, &c) - (10.0 + 1.0 + 1.0)).abs() < 1e-10);
        // Of others: the product of a and b has eigenvalues x with x² - 17 x + 63 = 0.
        let overlap = (17.0 + 2.0 * 63f64.sqrt()).sqrt();
        let wanted = 5.0 + 3.0 + 13.0 - 2.0 * overlap;
        assert!((frechet_distance(&a, &b) - wanted).abs() < 1e-10);
        assert!(frechet_distance(&judgement([0.0; 2], [f64::NAN; 4]), &a).is_nan());
    }
}
