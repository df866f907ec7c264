//! Losses, totals and the optimiser.

use crate::loss::Lesson;
use crate::optimiser::{ADAM_EPSILON, BETA_1, BETA_2, SGD_MOMENTUM, Schedule};

/// What `softmax_cross_entropy` writes.
pub struct Outcome {
    /// (rows, width)
    pub d_logits: Vec<f64>,
    /// (rows, width)
    pub probabilities: Vec<f64>,
    /// (rows, 4): the loss, 1 if the label won, cross entropy with the
    /// label, 1 if the row counts.
    pub outcome: Vec<f64>,
}

/// p^(1/T) over its sum; for a temperature of one p as it is.
fn softened(p: &[f64], temperature: f64) -> Vec<f64> {
    if temperature == 1.0 {
        return p.to_vec();
    }
    let powers: Vec<f64> = p.iter().map(|p| p.powf(1.0 / temperature)).collect();
    let total: f64 = powers.iter().sum();
    powers
        .iter()
        .map(|power| power / total.max(1e-30))
        .collect()
}

/// log softmax
fn log_softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_total = row.iter().map(|v| (v - top).exp()).sum::<f64>().ln() + top;
    row.iter().map(|v| v - log_total).collect()
}

/// (1 - share) T² times the cross entropy of softened probabilities with softened targets, and `share` of that with the
/// labels; all (rows, width), of which the first
/// `classes` columns are real. A row of `labels` that is all zero counts for nothing. The label
/// wins when no logit is larger and no equal one stands before it.
pub fn softmax_cross_entropy(
    logits: &[f64],
    targets: &[f64],
    labels: &[f64],
    width: usize,
    classes: usize,
    lesson: Lesson,
) -> Outcome {
    let [scale, temperature, share] =
        [lesson.scale, lesson.temperature, lesson.label_share].map(f64::from);
    let mut result = Outcome {
        d_logits: vec![0.0; logits.len()],
        probabilities: vec![0.0; logits.len()],
        outcome: Vec::new(),
    };
    for first in (0..logits.len()).step_by(width) {
        let row = &logits[first..first + classes];
        let label = (0..classes).find(|&c| labels[first + c] > 0.0);
        let counted = if label.is_some() { 1.0 } else { 0.0 };
        let logs = log_softmax(row);
        let divided: Vec<f64> = row.iter().map(|v| v / temperature).collect();
        let soft_logs = log_softmax(&divided);
        let targets = softened(&targets[first..first + classes], temperature);
        let mut cross = 0.0;
        for c in 0..classes {
            let target = targets[c] * counted;
            cross -= target * soft_logs[c];
            result.probabilities[first + c] = logs[c].exp();
            let soft = soft_logs[c].exp() * counted - target;
            let hard = logs[c].exp() * counted - labels[first + c];
            result.d_logits[first + c] =
                scale * ((1.0 - share) * temperature * soft + share * hard);
        }
        let won = label.is_some_and(|l| {
            row[..l].iter().all(|v| *v < row[l]) && row[l..].iter().all(|v| *v <= row[l])
        });
        let hard = label.map_or(0.0, |l| -logs[l]);
        let cross = (1.0 - share) * temperature * temperature * cross + share * hard;
        result
            .outcome
            .extend([cross, f64::from(u8::from(won)), hard, counted]);
    }
    result
}

/// totals (2, 4): the first row plus the column sums of outcome (rows, 4) if those are finite,
/// else one more broken batch in the second row.
pub fn metrics(outcome: &[f64], totals: &[f64]) -> Vec<f64> {
    let sums = super::sum_partials(outcome, 4);
    let mut result = totals.to_vec();
    if sums.iter().all(|v| v.is_finite()) {
        result.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
    } else {
        result[4] += 1.0;
    }
    result
}

/// One step of stochastic gradient descent with Nesterov's momentum and decoupled weight decay: new (weights, momentum).
pub fn sgd(
    gradients: &[f64],
    [weights, momentum]: [&[f64]; 2],
    schedule: &Schedule,
    weight_decay: impl Fn(usize) -> f64,
) -> [Vec<f64>; 2] {
    let mut result = [weights.to_vec(), momentum.to_vec()];
    for (i, g) in gradients.iter().enumerate() {
        let m = SGD_MOMENTUM * momentum[i] + g;
        let step = g + SGD_MOMENTUM * m + weight_decay(i) * weights[i];
        result[0][i] = weights[i] - f64::from(schedule.sgd_rate) * step;
        result[1][i] = m;
    }
    result
}

/// The sum of the gradients of two shards, in the arithmetic of the device: what is below the smallest normal number counts
/// as zero.
pub fn add_shards(a: &[f64], b: &[f64]) -> Vec<f64> {
    let normal = |v: f64| {
        if v.abs() < f64::from(f32::MIN_POSITIVE) {
            0.0
        } else {
            v
        }
    };
    let sum = |(a, b): (&f64, &f64)| normal(f64::from((normal(*a) + normal(*b)) as f32));
    a.iter().zip(b).map(sum).collect()
}

/// How Adam treats a number.
#[derive(Clone, Copy, Debug)]
pub struct AdamRule {
    /// Multiple of the learning rate.
    pub rate: f64,
    /// Draws it to zero by so many learning rates.
    pub weight_decay: f64,
    /// It stays at this or above, or where it was if that is lower.
    pub least: f64,
}

/// Lets intercepts follow slopes after a step: rows of (intercept, slope, centre, -), before and after. A weight whose
/// log2 |w| is the centre keeps its exponent.
pub fn follow_slopes(before: &[f64], after: &mut [f64]) {
    for (before, after) in before.chunks(4).zip(after.chunks_mut(4)) {
        after[0] -= before[2] * (after[1] - before[1]);
    }
}

/// One step of Adam with decoupled weight decay: new (weights, first moment, second moment).
pub fn adam(
    gradients: &[f64],
    [weights, first, second]: [&[f64]; 3],
    schedule: &Schedule,
    rule: impl Fn(usize) -> AdamRule,
) -> [Vec<f64>; 3] {
    let mut result = [weights.to_vec(), first.to_vec(), second.to_vec()];
    for (i, g) in gradients.iter().enumerate() {
        let m = BETA_1 * first[i] + (1.0 - BETA_1) * g;
        let v = BETA_2 * second[i] + (1.0 - BETA_2) * g * g;
        let m_hat = m * f64::from(schedule.first_correction);
        let v_hat = v * f64::from(schedule.second_correction);
        let change = m_hat / (v_hat.sqrt() + f64::from(ADAM_EPSILON));
        let AdamRule {
            rate,
            weight_decay,
            least,
        } = rule(i);
        let rate = f64::from(schedule.learning_rate) * rate;
        let new = weights[i] - rate * (change + weight_decay * weights[i]);
        result[0][i] = new.max(least.min(weights[i]));
        result[1][i] = m;
        result[2][i] = v;
    }
    result
}
