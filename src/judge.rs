//! The quality of generated images as numbers: what a classifier makes of them.

use crate::data::{Augmentation, Images};
use crate::evaluate::{Evaluator, Memory};
use crate::gpu::{Gpu, GpuError, Plan, Pool};
use crate::model::{Activation, Mode, Model};
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
    features: Activation,
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
        let mut plan = Recording::new(gpu.path());
        let input = memory
            .network
            .prepare(&mut plan, &memory.inputs[0], model.input);
        let weights = memory.weights_of(0);
        let pass = memory
            .network
            .forward(&mut plan, &input, weights, Mode::Test);
        let plan = gpu.plan_in(plan, &mut pool)?;
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
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, v)| *m += f64::from(*v) / count);
    }
    let mut covariance = vec![0.0; size * size];
    for row in rows {
        let centred: Vec<f64> = row
            .iter()
            .zip(&mean)
            .map(|(v, m)| f64::from(*v) - m)
            .collect();
        for (i, a) in centred.iter().enumerate() {
            let line = &mut covariance[i * size..(i + 1) * size];
            line.iter_mut()
                .zip(&centred)
                .for_each(|(c, b)| *c += a * b / count);
        }
    }
    (mean, covariance)
}

/// Fréchet distance of the normal distributions with two judgements' moments (Heusel et al. 2017):
/// |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½).
pub fn frechet_distance(a: &Judgement, b: &Judgement) -> f64 {
    let size = a.mean.len();
    let apart: f64 = a
        .mean
        .iter()
        .zip(&b.mean)
        .map(|(x, y)| (x - y).powi(2))
        .sum();
    let trace = |m: &[f64]| (0..size).map(|i| m[i * size + i]).sum::<f64>();
    // (C₁ C₂)^½ has the trace of (S C₂ S)^½ with S = C₁^½, which is symmetric.
    let (values, vectors) = eigen(&a.covariance, size);
    let mut root = vec![0.0; size * size];
    for k in 0..size {
        let weight = values[k].max(0.0).sqrt();
        for i in 0..size {
            let along = weight * vectors[k * size + i];
            for j in 0..size {
                root[i * size + j] += along * vectors[k * size + j];
            }
        }
    }
    let middle = product(&product(&root, &b.covariance, size), &root, size);
    let (values, _) = eigen(&middle, size);
    let overlap: f64 = values.iter().map(|v| v.max(0.0).sqrt()).sum();
    // Rounding may take it below zero.
    (apart + trace(&a.covariance) + trace(&b.covariance) - 2.0 * overlap).max(0.0)
}

fn product(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let mut c = vec![0.0; size * size];
    for i in 0..size {
        for k in 0..size {
            let factor = a[i * size + k];
            let (to, from) = (i * size, k * size);
            for j in 0..size {
                c[to + j] += factor * b[from + j];
            }
        }
    }
    c
}

/// Eigenvalues of a symmetric matrix, and its eigenvectors as rows, by Jacobi rotations.
fn eigen(matrix: &[f64], size: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 30;
    let mut m = matrix.to_vec();
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|i| vectors[i * size + i] = 1.0);
    let whole: f64 = m.iter().map(|v| v * v).sum();
    let turn = |m: &mut [f64], p: usize, q: usize, c: f64, s: f64| {
        for k in 0..size {
            let (a, b) = (m[p * size + k], m[q * size + k]);
            m[p * size + k] = c * a - s * b;
            m[q * size + k] = s * a + c * b;
        }
    };
    for _ in 0..SWEEPS {
        let outside: f64 = (0..size)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| m[i * size + j].powi(2))
            .sum();
        if outside <= 1e-22 * whole {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                let between = m[p * size + q];
                if between == 0.0 {
                    continue;
                }
                let half = (m[q * size + q] - m[p * size + p]) / (2.0 * between);
                let t = half.signum() / (half.abs() + (half * half + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..size {
                    let (a, b) = (m[k * size + p], m[k * size + q]);
                    m[k * size + p] = c * a - s * b;
                    m[k * size + q] = s * a + c * b;
                }
                turn(&mut m, p, q, c, s);
                turn(&mut vectors, p, q, c, s);
            }
        }
    }
    ((0..size).map(|i| m[i * size + i]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::{Judgement, eigen, frechet_distance};

    #[test]
    fn eigenvectors_put_a_matrix_together_again() {
        let m = [4.0, 1.0, -2.0, 1.0, 3.0, 0.5, -2.0, 0.5, 1.0];
        let (values, vectors) = eigen(&m, 3);
        for i in 0..3 {
            for j in 0..3 {
                let sum: f64 = (0..3)
                    .map(|k| values[k] * vectors[k * 3 + i] * vectors[k * 3 + j])
                    .sum();
                assert!((sum - m[i * 3 + j]).abs() < 1e-10, "{i} {j}: {sum}");
            }
        }
    }

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
    }
}
