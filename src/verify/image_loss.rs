//! Cases of the losses of images.

use super::{Case, Expected, near, noise, padded_noise};
use crate::kernels;
use crate::loss::{self, GAUSSIAN_DEVIATION, Likelihood, LossOutputs};
use crate::optimiser::Schedule;
use crate::reference::{self, ImageLossInputs};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for likelihood in [Likelihood::Bernoulli, Likelihood::Gaussian] {
        for [rows, width, channels] in [
            [1, 4, 4],
            [3, 256, 1],
            [9, 300, 3],
            [5, 784, 4],
            [4, 52, 49],
            [3, 160, 5],
        ] {
            for soft in [false, true] {
                cases.push(image_loss(likelihood, [rows, width, channels], soft));
            }
        }
    }
    cases
}

/// Hard targets are the images. One logit is so large that exp of it overflows.
fn image_loss(likelihood: Likelihood, [rows, width, channels]: [usize; 3], soft: bool) -> Case {
    let name = format!(
        "{rows} rows of {width}, {channels} channels{}",
        if soft { ", soft" } else { "" }
    );
    let padded = |what: &str, factor: f32, shift: f32| -> Vec<f32> {
        let pixel = channels.next_multiple_of(4);
        let values = padded_noise(what, &[rows * width / pixel, pixel], channels);
        let each = values.iter().enumerate();
        each.map(|(i, v)| {
            if i % pixel < channels {
                v * factor + shift
            } else {
                0.0
            }
        })
        .collect()
    };
    let mut logits = padded(&name, 4.0, 0.0);
    if likelihood == Likelihood::Bernoulli {
        (logits[0], logits[width - 4]) = (120.0, -120.0);
    }
    let images: Vec<f32> = padded("images", 1.0, 0.0)
        .iter()
        .map(|v| if *v > 0.0 { 1.0 } else { 0.0 })
        .collect();
    let targets = if soft {
        padded("targets", 0.5, 0.5)
    } else {
        images.clone()
    };
    let mut divergence = noise("divergence", rows * 4);
    for (row, values) in divergence.chunks_mut(4).enumerate() {
        values[3] = if row % 4 == 3 { 0.0 } else { 1.0 };
    }
    let scale = 0.5 / rows as f32;
    // What one number may add.
    let size = match likelihood {
        Likelihood::Bernoulli => 4.0,
        Likelihood::Gaussian => 25.0 / (2.0 * GAUSSIAN_DEVIATION * GAUSSIAN_DEVIATION),
    };
    let mut input_shapes = vec![vec![rows, width]; 3];
    input_shapes.push(vec![rows, 4]);
    Case {
        kernel: match likelihood {
            Likelihood::Bernoulli => &kernels::BERNOULLI_LOSS,
            Likelihood::Gaussian => &kernels::GAUSSIAN_LOSS,
        },
        name,
        inputs: vec![logits, targets, images, divergence],
        input_shapes,
        output_shapes: vec![vec![rows, width], vec![rows, width], vec![rows, 4]],
        initial: vec![None; 3],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let outputs = LossOutputs {
                d_logits: &o[0],
                probabilities: &o[1],
                outcome: &o[2],
            };
            let inputs = [&i[0], &i[1], &i[2], &i[3]];
            loss::image_loss(
                recording,
                "case",
                (likelihood, channels),
                inputs,
                scale,
                &outputs,
            );
        }),
        expected: Box::new(move |i, _| {
            let inputs = ImageLossInputs {
                logits: &i[0],
                targets: &i[1],
                images: &i[2],
                divergence: &i[3],
                channels,
                scale: f64::from(scale),
            };
            let answer = match likelihood {
                Likelihood::Bernoulli => reference::bernoulli_loss(inputs),
                Likelihood::Gaussian => reference::gaussian_loss(inputs, GAUSSIAN_DEVIATION),
            };
            let [d_logits, means, outcome] = answer;
            let expected = |values, tolerance| Expected { values, tolerance };
            vec![
                expected(d_logits, near(1, f64::from(scale))),
                expected(means, near(1, 1.0)),
                expected(outcome, near(width, size / 20.0)),
            ]
        }),
    }
}
