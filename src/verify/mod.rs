//! One table of cases a kernel, used by the tests, by `gtc verify` and by the benchmarks: every
//! case runs on the device and is compared with the reference function of the same name.

mod answers;
mod elementwise;
mod golden;
mod image_loss;
mod methods;
mod muon;
pub(crate) mod packed;
mod quantiser;

pub use answers::{KnownAnswer, known_answers, known_values};
pub use golden::{GoldenLayer, GoldenReport, check_golden};

use crate::gpu::{Gpu, GpuError, Kernel, Numbers, Plan, Storage};
use crate::kernels;
use crate::model::{Model, Network};
use crate::op;
use crate::op::conv::cases as conv;
use crate::op::conv::packed_cases as packed_conv;
use crate::op::max_pool::cases as max_pool;
use crate::op::norm::cases as norm;
use crate::op::upsample::cases as upsample;
use crate::op::{ConvShape, PoolShape, UpsampleShape};
use crate::optimiser::Schedule;
use crate::recording::Recording;
use crate::recording::cores::most_cores;
use crate::rng::Philox;
use crate::tensor::{Tensor, pad4};

/// What outputs hold before a case runs: a value no kernel writes by chance.
const CANARY: f32 = -7.654_321e12;
/// Floats around every output that must still hold the canary afterwards.
const MARGIN: usize = 64;

/// How far a float may be from its reference: |x - ref| <= absolute + relative |ref|.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Allowed whatever the size.
    pub absolute: f64,
    /// Allowed per unit of size.
    pub relative: f64,
}

impl Tolerance {
    /// Not a bit may differ.
    pub const EXACT: Self = Self {
        absolute: 0.0,
        relative: 0.0,
    };

    /// For sums of `terms` products of numbers below one. Every partial sum is rounded; partial
    /// sums of random signs grow like the root of their number, so the error of them all grows
    /// like the number: about an eighth of this, whatever the order.
    pub fn sum_of(terms: usize) -> Self {
        let error = terms as f64 * f64::from(f32::EPSILON);
        Self {
            absolute: error,
            relative: 4.0 * f64::from(f32::EPSILON),
        }
    }
}

/// What one output must be.
pub struct Expected {
    /// The reference's values.
    pub values: Vec<f64>,
    /// How near.
    pub tolerance: Tolerance,
}

/// One call of one kernel with known inputs.
pub struct Case {
    /// The shader.
    pub kernel: &'static Kernel,
    /// The sizes that make it interesting.
    pub name: String,
    /// Values of the inputs, in the order `record` takes them; of kernels over integers, their
    /// bits.
    pub inputs: Vec<Vec<f32>>,
    /// Stored shapes of the inputs.
    pub input_shapes: Vec<Vec<usize>>,
    /// Stored shapes of the outputs.
    pub output_shapes: Vec<Vec<usize>>,
    /// What outputs hold before the call, for kernels that update them.
    pub initial: Vec<Option<Vec<f32>>>,
    /// The schedule the kernel reads.
    pub schedule: Schedule,
    /// Records the call: (recording, inputs, outputs).
    pub record: Record,
    /// The reference's answer: from inputs and initial outputs, as f64.
    pub expected: Answer,
}

impl Case {
    /// A case whose outputs are overwritten without looking, with the default schedule. `inputs` are values
    /// and their stored shapes.
    pub(crate) fn new(
        kernel: &'static Kernel,
        name: String,
        inputs: Vec<(Vec<f32>, Vec<usize>)>,
        output_shapes: Vec<Vec<usize>>,
        record: Record,
        expected: Answer,
    ) -> Self {
        let (inputs, input_shapes) = inputs.into_iter().unzip();
        Self {
            kernel,
            name,
            inputs,
            input_shapes,
            initial: vec![None; output_shapes.len()],
            output_shapes,
            schedule: Schedule::default(),
            record,
            expected,
        }
    }
}

impl Expected {
    /// An output that must hold exactly these values.
    pub(crate) fn exact(values: Vec<f64>) -> Self {
        Self {
            values,
            tolerance: Tolerance::EXACT,
        }
    }

    /// What is left of it where numbers are stored like this.
    fn stored_as(mut self, storage: Storage) -> Self {
        if let Storage::Half { exponent } = storage {
            let unit = (-f64::from(exponent)).exp2();
            let most = 65504.0 * unit;
            for value in &mut self.values {
                *value = value.clamp(-most, most);
            }
            // Half of the last of eleven bits. Numbers that have fewer, a driver may take for zero.
            self.tolerance.relative += 2f64.powi(-11);
            self.tolerance.absolute += unit * 2f64.powi(-14);
        }
        self
    }
}

/// How the inputs and the outputs of a case are stored.
#[derive(Clone, Copy)]
struct Storages {
    /// By number, and around.
    inputs: [Storage; 4],
    outputs: [Storage; 4],
}

impl Storages {
    fn of_inputs(&self) -> impl Iterator<Item = Storage> {
        self.inputs.into_iter().cycle()
    }
}

const FLOATS: Storages = Storages {
    inputs: [Storage::Float; 4],
    outputs: [Storage::Float; 4],
};

/// Each operand with another scale, so that one taken for another shows.
const HALVES: Storages = Storages {
    inputs: [half(4), half(3), half(5), half(6)],
    outputs: [half(-2), half(-1), half(0), half(1)],
};

const fn half(exponent: i32) -> Storage {
    Storage::Half { exponent }
}

/// What a kernel finds in memory into which these numbers were written.
fn stored(numbers: &[f32], storage: Storage) -> Vec<f32> {
    match storage {
        // As they are, because integers travel as the bits of floats.
        Storage::Float => numbers.to_vec(),
        Storage::Half { .. } => storage.decode(&storage.encode(numbers), numbers.len()),
    }
}

/// The reference's outputs from inputs and initial outputs.
pub type Answer = Box<dyn Fn(&[Vec<f64>], &[Vec<f64>]) -> Vec<Expected>>;

/// Records one kernel call into a recording.
pub type Record = Box<dyn Fn(&mut Recording, &[Tensor], &[Tensor])>;

/// How one case came out.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CaseReport {
    /// The shader.
    pub kernel: &'static str,
    /// The case.
    pub case: String,
    /// Largest error, as a share of what is allowed where anything is, else absolute.
    pub max_error: f64,
    /// The first disagreement, in words.
    pub failure: Option<String>,
}

/// The whole case table.
pub fn cases() -> Vec<Case> {
    let mut all = elementwise::cases();
    all.extend(quantiser::cases());
    all.extend(methods::cases());
    all.extend(image_loss::cases());
    all.extend(muon::cases());
    all.extend(op::cases());
    in_order(all)
}

/// Those that are also to be run with operands in 16 bits, see [`run_case_in_halves`]: of operations' kernels over floats.
pub fn half_cases() -> Vec<Case> {
    let all = op::cases().into_iter();
    in_order(
        all.filter(|case| case.kernel.numbers == Numbers::Float)
            .collect(),
    )
}

/// The kernels of a model's nodes at their real shapes.
pub fn model_cases(model: &Model, batch: usize) -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for step in Network::new(model, batch).steps() {
        for case in step.recorder.cases() {
            let known =
                |other: &Case| (other.kernel.name, &other.name) == (case.kernel.name, &case.name);
            if !all.iter().any(known) {
                all.push(case);
            }
        }
    }
    in_order(all)
}

/// The kernels of a matrix product, which may read shifted copies of images and keep only the largest of squares.
pub(crate) fn product_cases(
    shape: ConvShape,
    shifts: Option<ConvShape>,
    pool: Option<PoolShape>,
) -> Vec<Case> {
    let mut cases: Vec<Case> = match shifts {
        Some(shifts) => conv::of_shifts(shifts).into(),
        None => conv::of_shape(shape).into(),
    };
    if let Some(pool) = pool {
        cases.extend(match shifts {
            Some(shifts) => conv::of_pooled_shifts(shifts),
            None => conv::of_pooled(shape),
        });
        cases.extend(max_pool::of_pool(pool));
    }
    cases
}

/// The kernels of a batch normalisation of (rows, channels).
pub(crate) fn norm_cases(rows: usize, channels: usize, splits: usize) -> Vec<Case> {
    norm::of_size(rows, channels, splits)
}

/// Those that also do a max pool over squares, of (images, height, width, channels).
pub(crate) fn norm_pool_cases(x: [usize; 4]) -> Vec<Case> {
    norm::of_pool(x).into()
}

/// The kernels of a max pool over square windows side by side.
pub(crate) fn pool_cases(shape: PoolShape) -> Vec<Case> {
    max_pool::of_pool(shape).into()
}

/// The kernels of an upsampling.
pub(crate) fn upsample_cases(shape: UpsampleShape) -> Vec<Case> {
    upsample::of_upsample(shape).into()
}

/// The three products of one shape.
pub fn matrix_cases(shape: ConvShape) -> [Case; 9] {
    conv::of_shape(shape)
}

/// A random packed layer in every arithmetic in which it is exact: bits of a code, zeros and the largest
/// exponent, places to shift, the largest input. Empty if its sums could leave 32 bits.
pub fn packed_cases(
    shape: ConvShape,
    code_bits: u32,
    codes: (bool, u32),
    shift: i32,
    most: i32,
) -> Vec<Case> {
    packed_conv::of_layer(shape, code_bits, codes, shift, most)
}

fn in_order(mut cases: Vec<Case>) -> Vec<Case> {
    let kernels = kernels::all();
    let order = |case: &Case| kernels.iter().position(|k| k.name == case.kernel.name);
    cases.sort_by_key(order);
    cases
}

/// Uniform numbers in -1 to 1 on a grid of 2^-10, from a seed made of the case's name, so that
/// products and short sums are exact in f32.
pub(crate) fn noise(name: &str, count: usize) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(17u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mut rng = Philox::new(seed, 0);
    (0..count)
        .map(|_| (rng.below(2049) as f32 - 1024.0) / 1024.0)
        .collect()
}

/// Noise of a stored shape whose logical last axis is `logical` wide: the padding is zero.
pub(crate) fn padded_noise(name: &str, shape: &[usize], logical: usize) -> Vec<f32> {
    let width = shape[shape.len() - 1];
    let mut values = noise(name, shape.iter().product());
    for (i, value) in values.iter_mut().enumerate() {
        if i % width >= logical {
            *value = 0.0;
        }
    }
    values
}

/// exp of a driver may be off by a few ulp of its argument, and sums run over `terms`.
pub(crate) fn near(terms: usize, size: f64) -> Tolerance {
    Tolerance {
        absolute: 1e-6 * size * terms as f64,
        relative: 1e-5,
    }
}

/// Integers as [`Case::inputs`] carries them: the same bits.
pub(crate) fn bits(values: Vec<i32>) -> Vec<f32> {
    bytemuck::cast_vec(values)
}

/// The call of a case alone, with its operands on the device: to be timed once it is known to be
/// right.
///
/// # Errors
/// [`GpuError`] when memory or a kernel is refused.
pub fn prepare(gpu: &Gpu, case: &Case) -> Result<(Plan, Vec<Tensor>), GpuError> {
    let (plan, outputs, _) = record(
        gpu,
        case,
        Recording::new(gpu.path()).all_in_textures(),
        FLOATS,
    )?;
    Ok((plan, outputs))
}

fn record(
    gpu: &Gpu,
    case: &Case,
    mut recording: Recording,
    storages: Storages,
) -> Result<(Plan, Vec<Tensor>, usize), GpuError> {
    let outputs = record_stored(gpu, case, &mut recording, storages)?;
    let cores = most_cores(&recording, gpu.matrices());
    Ok((gpu.plan(recording)?, outputs, cores))
}

/// Records the call of a case, and returns its outputs.
#[cfg(test)]
pub(crate) fn record_into(
    gpu: &Gpu,
    case: &Case,
    recording: &mut Recording,
) -> Result<Vec<Tensor>, GpuError> {
    record_stored(gpu, case, recording, FLOATS)
}

fn record_stored(
    gpu: &Gpu,
    case: &Case,
    recording: &mut Recording,
    storages: Storages,
) -> Result<Vec<Tensor>, GpuError> {
    let mut inputs = Vec::new();
    let operands = case.inputs.iter().zip(&case.input_shapes);
    for ((values, shape), storage) in operands.zip(storages.of_inputs()) {
        let tensor = Tensor::kept_of("input", shape, storage);
        tensor.allocate(gpu)?;
        tensor.store(gpu, values);
        inputs.push(tensor);
    }
    let mut outputs = Vec::new();
    let shapes = case.output_shapes.iter().zip(&case.initial);
    for (number, (shape, initial)) in shapes.enumerate() {
        let length = shape.iter().product::<usize>();
        let around = [pad4(length + 2 * MARGIN)];
        let mut whole = Tensor::kept_of("output", &around, storages.outputs[number]);
        whole.allocate(gpu)?;
        whole.store(gpu, &vec![CANARY; whole.len()]);
        whole.offset = MARGIN;
        whole.shape = shape.clone();
        if let Some(values) = initial {
            whole.store(gpu, values);
        }
        outputs.push(whole);
    }
    (case.record)(recording, &inputs, &outputs);
    Ok(outputs)
}

/// Runs one case, of a product in every way in which threads can share it here, and compares every output, its
/// padding and its surroundings.
///
/// # Errors
/// [`GpuError`] when the device fails; a wrong answer is part of the report.
pub async fn run_case(gpu: &Gpu, case: &Case) -> Result<CaseReport, GpuError> {
    run_stored(gpu, case, FLOATS).await
}

/// The same with all operands in 16 bits, on a device whose kernels read buffers.
///
/// # Errors
/// As [`run_case`].
pub async fn run_case_in_halves(gpu: &Gpu, case: &Case) -> Result<CaseReport, GpuError> {
    let mut report = run_stored(gpu, case, HALVES).await?;
    report.case += ", in halves";
    Ok(report)
}

async fn run_stored(gpu: &Gpu, case: &Case, storages: Storages) -> Result<CaseReport, GpuError> {
    let value = |x: &f32| value_of(case.kernel.numbers, *x);
    let wide = |(v, storage): (&Vec<f32>, Storage)| -> Vec<f64> {
        stored(v, storage).iter().map(value).collect()
    };
    let none = Vec::new();
    let initial = case.initial.iter().map(|v| v.as_ref().unwrap_or(&none));
    let initial: Vec<Vec<f64>> = initial.zip(storages.outputs).map(wide).collect();
    let inputs = case.inputs.iter().zip(storages.of_inputs()).map(wide);
    let expected = (case.expected)(&inputs.collect::<Vec<_>>(), &initial);
    let expected = expected.into_iter().zip(storages.outputs);
    let expected: Vec<Expected> = expected.map(|(e, s)| e.stored_as(s)).collect();
    let mut report = CaseReport {
        kernel: case.kernel.name,
        case: case.name.clone(),
        max_error: 0.0,
        failure: None,
    };
    for core in 0.. {
        let cores = run_once(gpu, case, (core, storages), &expected, &mut report).await?;
        if core + 1 >= cores {
            break;
        }
    }
    Ok(report)
}

/// Compares one run with what is expected, and returns in how many ways threads can share the work.
async fn run_once(
    gpu: &Gpu,
    case: &Case,
    (core, storages): (usize, Storages),
    expected: &[Expected],
    report: &mut CaseReport,
) -> Result<usize, GpuError> {
    let recording = Recording::new(gpu.path()).all_in_textures().with_core(core);
    let (plan, outputs, cores) = record(gpu, case, recording, storages)?;
    plan.run(gpu, bytemuck::bytes_of(&case.schedule));
    let value = |x: &f32| value_of(case.kernel.numbers, *x);
    for (number, (tensor, expected)) in outputs.iter().zip(expected).enumerate() {
        let got = gpu
            .read(&tensor.buffer, 0, tensor.len() + 2 * MARGIN)
            .await?;
        let (inside, around) = (&got[MARGIN..MARGIN + tensor.len()], tensor.len() + MARGIN);
        if inside.len() != expected.values.len() {
            report.failure = Some(format!(
                "output {number} holds {} values, the reference {}",
                inside.len(),
                expected.values.len()
            ));
        }
        let canary = stored(&[CANARY], storages.outputs[number])[0];
        let stray = got[..MARGIN]
            .iter()
            .chain(&got[around..])
            .any(|v| *v != canary);
        if stray {
            report.failure = Some(format!("wrote outside output {number}"));
        }
        for (i, (got, want)) in inside.iter().map(value).zip(&expected.values).enumerate() {
            let error = (got - want).abs();
            let allowed = expected.tolerance.absolute + expected.tolerance.relative * want.abs();
            let share = if allowed > 0.0 {
                error / allowed
            } else {
                error
            };
            let wrong = error > allowed || got.is_nan();
            report.max_error =
                report
                    .max_error
                    .max(if got.is_nan() { f64::INFINITY } else { share });
            if wrong && report.failure.is_none() {
                report.failure = Some(format!(
                    "output {number}[{i}] is {got:?}, the reference {want:?} (off by {error:.3e}, allowed {allowed:.3e})"
                ));
            }
        }
    }
    Ok(cores)
}

/// What a float that carries a number of this kind means.
fn value_of(numbers: Numbers, x: f32) -> f64 {
    match numbers {
        Numbers::Float => f64::from(x),
        Numbers::Integer => f64::from(x.to_bits().cast_signed()),
    }
}
