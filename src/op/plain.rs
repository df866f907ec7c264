//! Operations as plain loops over `f64`: what the walker of [`crate::reference::PlainTrainer`] asks of them.
//!
//! Values are stored like those of a device: (batch, rows, columns, padded channels). What is learned is in its
//! logical shape, without padding.

use crate::model::Mode;
use crate::optimiser::Schedule;
use crate::tensor::pad4;

/// What the forward pass of an operation reads.
pub struct PlainForward<'a> {
    /// Its inputs.
    pub x: Vec<&'a [f64]>,
    /// Weights as the network reads them, (outputs, kernel rows, kernel columns, inputs of one output).
    pub weights: &'a [f64],
    /// (outputs), or empty.
    pub bias: &'a [f64],
    /// Gamma and beta, (channels) each, of a normalisation.
    pub norm: [&'a [f64]; 2],
    /// Running mean and variance, (2, channels), which follow the batch.
    pub running: &'a mut Vec<f64>,
    /// Whether statistics come from the batch, and whether anything is dropped.
    pub mode: Mode,
    /// Whether the factor of a normalisation is rounded to a power of two.
    pub round: bool,
    /// The numbers of the step.
    pub schedule: &'a Schedule,
}

/// What the forward pass of an operation gives.
pub struct PlainOutput {
    /// The output.
    pub y: Vec<f64>,
    /// What the backward pass needs besides.
    pub kept: Vec<f64>,
}

impl From<Vec<f64>> for PlainOutput {
    fn from(y: Vec<f64>) -> Self {
        Self {
            y,
            kept: Vec::new(),
        }
    }
}

/// What the backward pass of an operation reads.
pub struct PlainBackward<'a> {
    /// Its inputs.
    pub x: Vec<&'a [f64]>,
    /// The gradient of its output.
    pub d_y: &'a [f64],
    /// What the forward pass kept.
    pub kept: &'a [f64],
    /// Weights as the network reads them.
    pub weights: &'a [f64],
    /// Outputs of the weights' node, or channels of a normalisation.
    pub outputs: usize,
    /// The numbers of the step.
    pub schedule: &'a Schedule,
}

/// What the backward pass of an operation gives; empty where there is nothing to learn.
#[derive(Default)]
pub struct PlainGradients {
    /// Of every input.
    pub d_x: Vec<Vec<f64>>,
    /// Of the weights as the network reads them.
    pub d_weights: Vec<f64>,
    /// (outputs)
    pub d_bias: Vec<f64>,
    /// Of gamma and of beta, (channels) each.
    pub d_norm: [Vec<f64>; 2],
}

impl PlainGradients {
    /// Of an operation with one input that learns nothing.
    pub fn of_input(d_x: Vec<f64>) -> Self {
        Self {
            d_x: vec![d_x],
            ..Self::default()
        }
    }
}

/// An operation as plain loops over `f64`.
pub trait Plain {
    /// The output from the inputs.
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput;

    /// Gradients from the gradient of the output.
    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients;
}

/// Numbers with zeros up to a multiple of four.
pub fn padded(values: &[f64]) -> Vec<f64> {
    let mut padded = values.to_vec();
    padded.resize(pad4(values.len()), 0.0);
    padded
}

/// An operation whose output is its input.
pub struct PlainView;

impl Plain for PlainView {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        at.x[0].to_vec().into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        PlainGradients::of_input(at.d_y.to_vec())
    }
}
