//! What cases of kernels over integers share. Integers agree exactly or not at all.

use super::{Case, Expected, Tolerance, bits, noise};
use crate::gpu::Kernel;
use crate::optimiser::Schedule;
use crate::recording::Recording;
use crate::tensor::Tensor;

/// Whole numbers from -most to most, from a seed made of a name.
pub(crate) fn integers(name: &str, count: usize, most: i32) -> Vec<i32> {
    let noise = noise(name, count);
    noise.iter().map(|v| (v * most as f32) as i32).collect()
}

/// [`integers`] of a stored shape whose last axis has `channels` logical numbers: its padding is zero.
pub(crate) fn padded_integers(name: &str, shape: &[usize], channels: usize, most: i32) -> Vec<i32> {
    let width = shape[shape.len() - 1];
    let mut values = integers(name, shape.iter().product(), most);
    for (i, value) in values.iter_mut().enumerate() {
        if i % width >= channels {
            *value = 0;
        }
    }
    values
}

/// A case of a kernel over integers that writes one output of stored shape `output`. Inputs are stored shapes and
/// their numbers; `answer` is the reference.
pub(crate) fn integer_case(
    kernel: &'static Kernel,
    name: String,
    inputs: Vec<(Vec<usize>, Vec<i32>)>,
    output: Vec<usize>,
    record: impl Fn(&mut Recording, &[Tensor], &Tensor) + 'static,
    answer: impl Fn(&[Vec<i64>]) -> Vec<i64> + 'static,
) -> Case {
    let (input_shapes, inputs): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
    Case {
        kernel,
        name,
        inputs: inputs.into_iter().map(bits).collect(),
        input_shapes,
        output_shapes: vec![output],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| record(recording, i, &o[0])),
        expected: Box::new(move |i, _| {
            let whole = |v: &Vec<f64>| v.iter().map(|v| *v as i64).collect();
            vec![exactly(&answer(&i.iter().map(whole).collect::<Vec<_>>()))]
        }),
    }
}

/// Codes of a layer: any sign, exponents up to `top`, zero where there are zeros.
pub(crate) fn codes(name: &str, count: usize, bits: u32, (zero, top): (bool, u32)) -> Vec<u8> {
    let indices = top + 1 + u32::from(zero);
    let half = 1 << (bits - 1);
    let code = |v: &f32| {
        let v = ((v + 1.0) * 1024.0) as u32;
        ((v % indices) | if v / indices % 2 == 1 { half } else { 0 }) as u8
    };
    noise(name, count).iter().map(code).collect()
}

pub(crate) fn exactly(values: &[i64]) -> Expected {
    Expected {
        values: values.iter().map(|v| *v as f64).collect(),
        tolerance: Tolerance::EXACT,
    }
}
