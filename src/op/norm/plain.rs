//! Batch normalisation as plain loops.

use crate::model::Mode;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput, padded};
use crate::reference::{
    norm_backward, norm_backward_sums, norm_combine, norm_forward, norm_gradients, norm_running,
    norm_statistics,
};

/// A normalisation.
pub struct PlainNorm {
    /// Padded channels.
    pub channels: usize,
}

impl Plain for PlainNorm {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        let (x, outputs) = (at.x[0], at.norm[0].len());
        if at.mode == Mode::Test {
            let running: Vec<f64> = at.running.chunks(outputs).flat_map(padded).collect();
            let statistics = norm_running(&running, &at.norm.map(padded).concat(), at.round);
            return norm_forward(x, &statistics, false).into();
        }
        let sizes = (x.len() / self.channels, 1);
        let partial = norm_statistics(x, self.channels, 1);
        let before: Vec<f64> = at.running.chunks(outputs).flat_map(padded).collect();
        let parameters = at.norm.map(padded).concat();
        let [statistics, moved] = norm_combine(&partial, &parameters, sizes, at.round, &before);
        let rows = moved.chunks(self.channels);
        *at.running = rows.flat_map(|row| row[..outputs].to_vec()).collect();
        PlainOutput {
            y: norm_forward(x, &statistics, false),
            kept: statistics,
        }
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        let (x, statistics) = (at.x[0], at.kept);
        let partial = norm_backward_sums(x, at.d_y, statistics, false, 1);
        let lambda_norm = f64::from(at.schedule.lambda_norm);
        let [sums, d] = norm_gradients(&partial, statistics, lambda_norm);
        let gamma = d[..at.outputs].to_vec();
        let beta = d[self.channels..self.channels + at.outputs].to_vec();
        PlainGradients {
            d_x: vec![norm_backward(x, at.d_y, statistics, &sums, false)],
            d_norm: [gamma, beta],
            ..PlainGradients::default()
        }
    }
}
