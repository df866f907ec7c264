//! Zeros among activations, counted exactly over images.

use super::workload::Workload;
use crate::export::{Program, Step};
use crate::op::ConvShape;
use crate::op::integers::Form;
use crate::pack::unpacked;
use crate::tensor::pad4;
use crate::verify::known_values;

/// What was counted for one work, over all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WorkActivity {
    /// Numbers of the values that it reads.
    pub numbers: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// Multiply-accumulates, without those outside the image; 0 if it is no product.
    pub macs: u64,
    /// Those whose activation is zero.
    pub zero_macs: u64,
    /// Those whose activation or weight is zero.
    pub idle_macs: u64,
}

impl WorkActivity {
    /// The part of multiply-accumulates whose activation is zero.
    pub fn zero_share(&self) -> f64 {
        match self.macs {
            0 => 0.0,
            macs => self.zero_macs as f64 / macs as f64,
        }
    }
}

/// Zeros by work.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Activity {
    /// Inputs that were counted.
    pub inputs: u64,
    /// In the order of [`Workload::works`].
    pub works: Vec<WorkActivity>,
}

impl Activity {
    /// The part of all multiply-accumulates whose activation is zero.
    pub fn zero_share(&self) -> f64 {
        let sum = |of: fn(&WorkActivity) -> u64| self.works.iter().map(of).sum::<u64>();
        WorkActivity {
            macs: sum(|work| work.macs),
            zero_macs: sum(|work| work.zero_macs),
            ..WorkActivity::default()
        }
        .zero_share()
    }
}

/// Weights that are not zero, for each tap and channel of the input, in the order of [`ConvShape::w`] without padding.
fn nonzero_weights(step: &Step<'_>, groups: usize) -> Vec<u64> {
    let Some(layer) = step.layer else {
        return Vec::new();
    };
    let Form::Product { shape, .. } = &step.form else {
        return Vec::new();
    };
    let taps = shape.kernel_height * shape.kernel_width;
    let (channels, outputs) = (shape.input_channels, shape.output_channels);
    let inputs = channels / groups;
    let mut counts = vec![0; taps * channels];
    for (i, weight) in unpacked(&layer.codes, layer.bits, layer.zero)
        .iter()
        .enumerate()
    {
        let (output, tap, input) = (i / (taps * inputs), i / inputs % taps, i % inputs);
        let group = output / (outputs / groups);
        counts[tap * channels + group * inputs + input] += u64::from(*weight != 0);
    }
    counts
}

/// Calls `visit(offset of a pixel in x, number of the tap)` for every position and every tap that lies inside the image.
fn each_tap(shape: &ConvShape, mut visit: impl FnMut(usize, usize)) {
    let stored = pad4(shape.input_channels);
    for row in 0..shape.output_height() {
        for column in 0..shape.output_width() {
            for tap in 0..shape.kernel_height * shape.kernel_width {
                let y = row * shape.stride + tap / shape.kernel_width;
                let x = column * shape.stride + tap % shape.kernel_width;
                let y = y.wrapping_sub(shape.padding[0]);
                let x = x.wrapping_sub(shape.padding[1]);
                if y < shape.input_height && x < shape.input_width {
                    visit((y * shape.input_width + x) * stored, tap);
                }
            }
        }
    }
}

/// Counts zeros, input by input.
pub struct Meter<'p> {
    program: &'p Program<'p>,
    /// Numbers of steps, by work.
    steps: Vec<usize>,
    /// By work.
    weights: Vec<Vec<u64>>,
    activity: Activity,
}

impl<'p> Meter<'p> {
    /// A meter that has counted nothing.
    pub fn new(program: &'p Program<'p>, workload: &Workload) -> Self {
        let weights = |i: &usize| {
            let step = &program.steps[*i];
            match step.form {
                Form::Product { groups, .. } => nonzero_weights(step, groups),
                _ => Vec::new(),
            }
        };
        Self {
            program,
            weights: workload.steps.iter().map(weights).collect(),
            activity: Activity {
                inputs: 0,
                works: vec![WorkActivity::default(); workload.steps.len()],
            },
            steps: workload.steps.clone(),
        }
    }

    /// Runs the network on what [`crate::pack::PackedModel::image_input`] or
    /// [`crate::pack::PackedModel::latent_input`] gives, and counts.
    pub fn add(&mut self, input: &[i32]) {
        let values = known_values(self.program.model, input);
        self.activity.inputs += 1;
        for (place, number) in self.steps.iter().enumerate() {
            let step = &self.program.steps[*number];
            let work = &mut self.activity.works[place];
            let mut seen = Vec::new();
            for read in &step.reads {
                if seen.contains(&read.value) {
                    continue;
                }
                seen.push(read.value);
                let channels = self.program.shape_of(read.value).channels;
                for pixel in values[read.value].chunks(pad4(channels)) {
                    let zeros = pixel[..channels].iter().filter(|v| **v == 0).count();
                    work.numbers += channels as u64;
                    work.zeros += zeros as u64;
                }
            }
            let Form::Product { shape, groups } = &step.form else {
                continue;
            };
            let (x, weights) = (&values[step.reads[0].value], &self.weights[place]);
            let channels = shape.input_channels;
            let outputs = (shape.output_channels / groups) as u64;
            each_tap(shape, |pixel, tap| {
                let weights = &weights[tap * channels..][..channels];
                work.macs += outputs * channels as u64;
                for (x, weights) in x[pixel..][..channels].iter().zip(weights) {
                    if *x == 0 {
                        work.zero_macs += outputs;
                        work.idle_macs += outputs;
                    } else {
                        work.idle_macs += outputs - weights;
                    }
                }
            });
        }
    }

    /// What was counted.
    pub fn finish(self) -> Activity {
        self.activity
    }
}
