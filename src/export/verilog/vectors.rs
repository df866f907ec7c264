//! Known answers: of images, and of each layer for the inputs that drive its sums to their limits.

use super::evaluate;
use super::hardware::Hardware;
use super::plan::{Place, Plan, Work};
use crate::op::integers::Form;
use crate::rng::Philox;
use crate::verify::KnownAnswer;

/// What a command of the test bench does: see `tb.v`.
const WRITE: u32 = 1;
const RUN: u32 = 2;
const CHECK: u32 = 3;
const EXPECT: u32 = 4;
const CASE: u32 = 5;

/// Commands for the test bench.
#[derive(Clone, Debug, Default)]
pub struct LayerTests {
    /// What `layers.hex` holds.
    pub words: Vec<u32>,
    /// Names of the cases.
    pub cases: Vec<String>,
}

/// Weights of every step, as whole numbers.
fn weights(hardware: &Hardware) -> Vec<Vec<i64>> {
    let values = hardware.weights.iter();
    values
        .map(|w| w.as_ref().map(|w| w.values.clone()).unwrap_or_default())
        .collect()
}

/// The same images with what the weights of the hardware, which are not the network's, make of them.
pub fn answers(plan: &Plan<'_>, hardware: &Hardware, images: &[KnownAnswer]) -> Vec<KnownAnswer> {
    let weights = weights(hardware);
    let answer = |image: &KnownAnswer| {
        let bytes: Vec<u8> = image.input.iter().map(|byte| *byte as u8).collect();
        let input = plan.program.model.image_input(&bytes);
        let input: Vec<i64> = input.into_iter().map(i64::from).collect();
        let logits = run(plan, &input, &weights);
        KnownAnswer {
            input: image.input.clone(),
            logits: logits.into_iter().map(|v| v as i32).collect(),
        }
    };
    images.iter().map(answer).collect()
}

/// The output of a plan's program, whose products may end in a pool.
fn run(plan: &Plan<'_>, input: &[i64], weights: &[Vec<i64>]) -> Vec<i64> {
    let mut values = vec![(crate::graph::INPUT, input.to_vec())];
    for number in 0..plan.program.steps.len() {
        let step = &plan.program.steps[number];
        let read = |value| {
            &values
                .iter()
                .find(|(known, _)| *known == value)
                .expect("made before")
                .1[..]
        };
        let inputs: Vec<&[i64]> = step.reads.iter().map(|r| read(r.value)).collect();
        let y = value(plan, number, &inputs, weights);
        values.push((step.gives, y));
    }
    values.pop().map(|(_, y)| y).unwrap_or_default()
}

/// The value of a step of the plan.
fn value(plan: &Plan<'_>, number: usize, inputs: &[&[i64]], weights: &[Vec<i64>]) -> Vec<i64> {
    let step = &plan.program.steps[number];
    let y = evaluate::step(step, inputs, &weights[number]);
    match (plan.pools.get(&step.gives), &step.form) {
        (Some(window), Form::Product { shape, .. }) => {
            let sides = [
                shape.output_height(),
                shape.output_width(),
                shape.output_channels,
            ];
            evaluate::pooled(&y, sides, *window)
        }
        _ => y,
    }
}

/// Commands that write a value to its place. Zeros behind channels are part of it where the place has any.
fn write(words: &mut Vec<u32>, place: &Place, x: &[i64], command: u32) {
    let channels = place.sides[2];
    let pixels = x.chunks(channels).map(|pixel| {
        let mut stored: Vec<u32> = pixel.iter().map(|v| *v as i32 as u32).collect();
        stored.resize(place.pixel, 0);
        stored
    });
    let numbers: Vec<u32> = pixels.flatten().collect();
    words.extend([command, place.base as u32, numbers.len() as u32]);
    words.extend(numbers);
}

/// Two cases for each product: the output with the largest sum and the one with the smallest, driven there in the middle
/// of the image, and noise everywhere else. One case of noise for every other step.
pub fn layers(plan: &Plan<'_>, hardware: &Hardware) -> LayerTests {
    let mut tests = LayerTests::default();
    let weights = weights(hardware);
    for (number, step) in plan.program.steps.iter().enumerate() {
        let micros = plan
            .micros
            .iter()
            .enumerate()
            .filter(|(_, m)| m.step == number);
        let micros: Vec<usize> = micros.map(|(i, _)| i).collect();
        let (Some(first), Some(last)) = (micros.first(), micros.last()) else {
            continue;
        };
        let product = matches!(plan.micros[*last].work, Work::Product { .. });
        let kinds: &[&str] = if product {
            &["largest sum", "smallest sum"]
        } else {
            &["noise"]
        };
        for (kind, name) in kinds.iter().enumerate() {
            let mut rng = Philox::new(7, (2 * number + kind) as u64);
            let mut inputs: Vec<Vec<i64>> = Vec::new();
            for read in &step.reads {
                let [low, high] = hardware.ranges[&read.value];
                let draw = |_| low + i64::from(rng.below((high - low + 1) as u32));
                inputs.push((0..read.shape.len()).map(draw).collect());
            }
            if step.reads.len() == 2 && step.reads[0].value == step.reads[1].value {
                inputs[1] = inputs[0].clone();
            }
            if let (Form::Product { shape, groups }, Some(of)) =
                (&step.form, &hardware.weights[number])
            {
                let range = hardware.ranges[&step.reads[0].value];
                let outputs = 0..shape.output_channels;
                let chosen = match kind {
                    0 => outputs.max_by_key(|o| of.range(*o, range)[1]),
                    _ => outputs.min_by_key(|o| of.range(*o, range)[0]),
                };
                let o = chosen.unwrap_or(0);
                let row = &weights[number][o * of.row..(o + 1) * of.row];
                drive(shape, *groups, o, row, &mut inputs[0], range, kind == 0);
            }
            let inputs_ref: Vec<&[i64]> = inputs.iter().map(|x| &x[..]).collect();
            let y = value(plan, number, &inputs_ref, &weights);
            let words = &mut tests.words;
            words.extend([CASE, tests.cases.len() as u32, 0]);
            for (read, x) in step.reads.iter().zip(&inputs) {
                write(words, &plan.places[plan.values[&read.value]], x, WRITE);
            }
            words.extend([RUN, *first as u32, *last as u32]);
            match plan.micros[*last].to {
                Some((place, _)) => write(words, &plan.places[place], &y, CHECK),
                None => {
                    words.extend([EXPECT, 0, y.len() as u32]);
                    words.extend(y.iter().map(|v| *v as i32 as u32));
                }
            }
            tests.cases.push(format!("{}, {name}", step.name));
        }
    }
    tests
}

/// Sets the window in the middle to what makes the sum of output `o` as large, or as small, as it can be.
fn drive(
    shape: &crate::op::ConvShape,
    groups: usize,
    o: usize,
    row: &[i64],
    x: &mut [i64],
    [low, high]: [i64; 2],
    largest: bool,
) {
    let read = shape.input_channels / groups;
    let first = o / (shape.output_channels / groups) * read;
    let middle = [shape.output_height() / 2, shape.output_width() / 2];
    let mut taps = row.iter();
    for a in 0..shape.kernel_height {
        for b in 0..shape.kernel_width {
            let y = (middle[0] * shape.stride + a).wrapping_sub(shape.padding[0]);
            let z = (middle[1] * shape.stride + b).wrapping_sub(shape.padding[1]);
            for channel in first..first + read {
                let Some(weight) = taps.next() else { return };
                if y < shape.input_height && z < shape.input_width && *weight != 0 {
                    let at = (y * shape.input_width + z) * shape.input_channels + channel;
                    x[at] = if (*weight > 0) == largest { high } else { low };
                }
            }
        }
    }
}
