//! `gtc bench infer`

use std::time::Duration;

use super::infer_report::{InferRow, WHOLE};
use super::{RUNS_ON_GPU, Times, bar, random_images, time, warm_up};
use crate::cli::{CliError, tuning};
use crate::evaluate::Evaluator;
use crate::generate::draw_latents;
use crate::gpu::{Gpu, Path, Plan};
use crate::model::{Inputs, LayerValues, Mode, Model, Network, NetworkArenas, Parameters, Shard};
use crate::op::{
    Arithmetic, CodeShape, ConvShape, Epilogue, Sharing, Windows, conv_forward, packed_conv,
};
use crate::pack::{Activations, PackedModel, Trained, pack};
use crate::probe::f32_rate;
use crate::recording::Recording;
use crate::rng::Philox;
use crate::tensor::{Tensor, pad4};
use crate::verify::{packed_cases, run_case};
use pollster::block_on;

/// So many bytes of operands take turns, so that no cache holds what a run would fetch anew.
const ROTATED_BYTES: usize = 64 << 20;
const MOST_ROTATED: usize = 8;
/// What the device reaches at most: multiply-adds and bytes a second.
struct Rates {
    macs: f64,
    bytes: f64,
}

struct Layer {
    name: String,
    shape: ConvShape,
    /// The same layer for two images, to be checked.
    small: ConvShape,
}

pub(super) fn infer(
    gpu: &Gpu,
    model: &Model,
    batches: &[u32],
    bits: u32,
    least: Duration,
) -> Result<Vec<InferRow>, CliError> {
    let rates = rates(gpu, least)?;
    let packed = random_packed(gpu, model, bits)?;
    let network = packed.network();
    let mut rows = Vec::new();
    for batch in batches {
        let layers = layers(&network, *batch as usize);
        let bar = bar(layers.len() as u64 + 1)?;
        for layer in layers {
            bar.set_message(format!("{} at {batch}", layer.name));
            rows.extend(layer_rows(gpu, &layer, bits, least, &rates)?);
            bar.inc(1);
        }
        bar.set_message(format!("{} at {batch}", model.name));
        rows.extend(model_rows(gpu, &packed, *batch as usize, least, &rates)?);
        bar.finish_and_clear();
    }
    Ok(rows)
}

fn layers(model: &Model, batch: usize) -> Vec<Layer> {
    let (full, small) = (Network::new(model, batch), Network::new(model, 2));
    let mut layers: Vec<Layer> = Vec::new();
    for (step, small) in full.steps().iter().zip(small.steps()) {
        let products = (step.recorder.product(), small.recorder.product());
        if let (Some(product), Some(small)) = products
            && !layers.iter().any(|known| known.shape == product.shape)
        {
            layers.push(Layer {
                name: step.name.clone(),
                shape: product.shape,
                small: small.shape,
            });
        }
    }
    layers
}

/// The largest exponent, counted from the smallest, that codes of so many bits hold.
fn top(bits: u32) -> u32 {
    (1 << (bits - 1)) - 1
}

/// Times runs of `plans` in turns, each with the wait for its end, as whoever classifies one image after the other does.
fn timed(gpu: &Gpu, plans: &[Plan], least: Duration) -> Result<Times, CliError> {
    if gpu.path() == Path::Gpu {
        warm_up(|| plans[0].run(gpu, &[]), || gpu.wait());
    }
    in_turns(gpu, plans, 1, least)
}

/// Times runs of a layer's `plans` in turns. On a GPU a wait takes longer than a small layer, so several runs share one.
fn timed_layer(gpu: &Gpu, plans: &[Plan], least: Duration) -> Result<Times, CliError> {
    if gpu.path() != Path::Gpu {
        return timed(gpu, plans, least);
    }
    // Beside a millisecond a wait is nothing.
    let once = timed(gpu, plans, Duration::ZERO)?;
    let runs = (1.0 / once.fastest).clamp(1.0, RUNS_ON_GPU as f64);
    in_turns(gpu, plans, runs as usize, least)
}

/// Times runs of `plans` in turns, so many of them with one wait.
fn in_turns(gpu: &Gpu, plans: &[Plan], runs: usize, least: Duration) -> Result<Times, CliError> {
    let mut next = 0;
    let times = time(least, || {
        for _ in 0..runs {
            plans[next % plans.len()].run(gpu, &[]);
            next += 1;
        }
        gpu.wait();
        Ok(gpu.check()?)
    })?;
    Ok(times.each(runs))
}

fn rates(gpu: &Gpu, least: Duration) -> Result<Rates, CliError> {
    let macs = block_on(f32_rate(gpu))? / 2.0;
    // Gradient of a ReLU: two reads and a write a number, and nothing else to do.
    let floats = 8 << 20;
    let (y, d_y) = (
        Tensor::new(gpu, "y", &[floats])?,
        Tensor::new(gpu, "d_y", &[floats])?,
    );
    let mut recording = Recording::new(gpu.path());
    crate::op::relu_backward(&mut recording, "copy", &y, &d_y);
    let times = timed_layer(gpu, &[gpu.plan(recording)?], least)?;
    let bytes = 12.0 * floats as f64 / (times.fastest / 1e3);
    Ok(Rates { macs, bytes })
}

fn random<T: bytemuck::NoUninit>(
    gpu: &Gpu,
    shape: &[usize],
    value: impl Fn(&mut Philox) -> T,
) -> Result<Tensor, CliError> {
    let tensor = Tensor::new(gpu, "operand", shape)?;
    let mut rng = Philox::new(1, 0);
    let values: Vec<T> = (0..tensor.len()).map(|_| value(&mut rng)).collect();
    tensor.write(gpu, &values);
    Ok(tensor)
}

fn f32_plan(gpu: &Gpu, shape: &ConvShape) -> Result<Plan, CliError> {
    let float = |rng: &mut Philox| rng.below(2049) as f32 / 1024.0 - 1.0;
    let x = random(gpu, &shape.x(), float)?;
    let w = random(gpu, &shape.w(), float)?;
    let bias = random(gpu, &shape.w()[..1], float)?;
    let y = Tensor::new(gpu, "y", &shape.y())?;
    let mut recording = Recording::new(gpu.path());
    recording.constant(&w.buffer);
    conv_forward(
        &mut recording,
        "f32",
        Windows::Plain(shape),
        [&x, &w, &bias],
        Epilogue::Relu,
        &y,
    );
    Ok(gpu.plan(recording)?)
}

fn packed_plan(
    gpu: &Gpu,
    shape: &ConvShape,
    (arithmetic, sharing): (Arithmetic, Sharing),
    bits: u32,
) -> Result<Plan, CliError> {
    let form = CodeShape::new(shape, bits, false, arithmetic);
    let x = random(gpu, &shape.x(), |rng| rng.below(128) as i32)?;
    let mut words = vec![0u32; form.codes(shape).iter().product()];
    let mut rng = Philox::new(2, 0);
    words
        .iter_mut()
        .for_each(|w| *w = rng.below(1 << 31) << 1 | rng.below(2));
    let w = Tensor::new(gpu, "codes", &form.codes(shape))?;
    w.write(gpu, &words);
    let table = random(gpu, &[2, shape.w()[0]], |_| 8)?;
    let y = Tensor::new(gpu, "y", &shape.y())?;
    let mut recording = Recording::new(gpu.path());
    recording.constant(&w.buffer);
    recording.constant(&table.buffer);
    let how = (arithmetic, sharing, form);
    packed_conv(
        &mut recording,
        "packed",
        shape,
        how,
        [&x, &w, &table],
        [0, 127],
        &y,
    );
    Ok(gpu.plan(recording)?)
}

/// Plans over operands of their own, enough of them to take turns.
fn rotated(bytes: usize, plan: impl Fn() -> Result<Plan, CliError>) -> Result<Vec<Plan>, CliError> {
    let count = (ROTATED_BYTES / bytes.max(1)).clamp(1, MOST_ROTATED);
    (0..count).map(|_| plan()).collect()
}

fn layer_rows(
    gpu: &Gpu,
    layer: &Layer,
    bits: u32,
    least: Duration,
    rates: &Rates,
) -> Result<Vec<InferRow>, CliError> {
    let shape = &layer.shape;
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    let weights =
        shape.output_channels * shape.kernel_height * shape.kernel_width * shape.input_channels;
    let around = 4 * (count(&shape.x()) + count(&shape.y()));
    let mut rows = Vec::new();
    let mut row = |kernel: String, weight_bytes: usize, times: Times| {
        let bytes = (around + weight_bytes) as f64;
        let macs = shape.flops() as f64 / 2.0;
        rows.push(new_row(
            (layer.name.clone(), shape_batch(layer), kernel, weight_bytes),
            times,
            (macs, bytes),
            rates,
        ));
    };
    let plans = rotated(around + 4 * weights, || f32_plan(gpu, shape))?;
    row(
        "f32".to_owned(),
        4 * weights,
        timed_layer(gpu, &plans, least)?,
    );
    drop(plans);
    check(gpu, &layer.small, bits)?;
    let bytes = (weights * bits as usize).div_ceil(8);
    for arithmetic in Arithmetic::ALL {
        for sharing in Sharing::ALL {
            let [batch, height, width, _] = shape.y();
            if sharing == Sharing::Vector && batch * height * width > 256 {
                continue;
            }
            let plans = rotated(around + bytes, || {
                packed_plan(gpu, shape, (arithmetic, sharing), bits)
            })?;
            let name = format!("{} {}", arithmetic.name(), sharing.name());
            row(name, bytes, timed_layer(gpu, &plans, least)?);
        }
    }
    relative(&mut rows);
    Ok(rows)
}

/// Images of a layer: rows of windows are counted by positions.
fn shape_batch(layer: &Layer) -> usize {
    2 * layer.shape.batch / layer.small.batch
}

fn check(gpu: &Gpu, shape: &ConvShape, bits: u32) -> Result<(), CliError> {
    for case in packed_cases(*shape, bits, (false, top(bits)), 8, 127) {
        let report = block_on(run_case(gpu, &case))?;
        if let Some(failure) = report.failure {
            return Err(format!("{} [{}] is wrong: {failure}", report.kernel, report.case).into());
        }
    }
    Ok(())
}

fn new_row(
    (layer, batch_size, kernel, weight_bytes): (String, usize, String, usize),
    times: Times,
    (macs, bytes): (f64, f64),
    rates: &Rates,
) -> InferRow {
    let seconds = times.milliseconds / 1e3;
    let (compute, memory) = (macs / rates.macs, bytes / rates.bytes);
    InferRow {
        layer,
        batch_size,
        kernel,
        weight_bytes,
        gmacs: macs / seconds / 1e9,
        gigabytes_per_second: bytes / seconds / 1e9,
        of_f32: 1.0,
        bound: if compute > memory {
            "arithmetic"
        } else {
            "memory"
        },
        of_bound: compute.max(memory) / seconds,
        times,
    }
}

/// Sets the ratios to the first row.
fn relative(rows: &mut [InferRow]) {
    let first = rows[0].times.milliseconds;
    for row in rows {
        row.of_f32 = first / row.times.milliseconds;
    }
}

/// A model with random weights, packed to at most so many bits a weight.
pub(in crate::cli) fn random_packed(
    gpu: &Gpu,
    model: &Model,
    bits: u32,
) -> Result<PackedModel, CliError> {
    let parameters = Parameters::new(model);
    let mut weights = parameters.initial(1);
    for layer in &parameters.layers {
        // ±2^(-4 - k), every k as often as the next.
        let levels = top(bits) + 1;
        let mut rng = Philox::new(2, 0);
        let powers: Vec<f32> = (0..layer.weights())
            .map(|_| {
                let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
                sign * (-4.0 - rng.below(levels) as f32).exp2()
            })
            .collect();
        let values = LayerValues {
            weights: powers,
            bias: Vec::new(),
            quantiser: vec![0.0, 1.0],
        };
        layer.place(&mut weights, &values);
    }
    let running = parameters.initial_running();
    let mut evaluator = Evaluator::new(gpu, model.clone(), 2, true)?;
    evaluator.set_weights(&weights);
    evaluator.set_running(&[running.clone(), running.clone()]);
    let calibration = block_on(evaluator.calibrate(&random_images(model, 2)))?;
    let classes: Vec<String> = (0..model.classes).map(|c| c.to_string()).collect();
    let trained = Trained {
        model,
        data: "noise",
        classes: &classes,
        seen: None,
        weights: &weights,
        running: &running,
        exact_norm: false,
    };
    Ok(pack(&trained, Activations::Eight, &calibration)?)
}

/// The forward pass of the float network alone.
fn f32_model_plan(gpu: &Gpu, model: &Model, batch: usize) -> Result<Plan, CliError> {
    let network = Network::new(model, batch).in_parts_for(gpu);
    let parameters = Parameters::new(model);
    let pixels: usize = model.input.iter().product();
    let widest = parameters.layers.iter().map(|l| pad4(l.shape[0])).max();
    let arena = parameters.layout.allocate(gpu, "weights")?;
    arena.write(gpu, &parameters.initial(1));
    let running = parameters.initial_running();
    let statistics = Tensor::new(gpu, "running", &[running.len()])?;
    statistics.write(gpu, &running);
    let zeros = Tensor::new(gpu, "zeros", &[widest.unwrap_or(4)])?;
    let inputs = Inputs {
        images: Tensor::new(gpu, "images", &[pad4(batch * pixels)])?,
        labels: Tensor::new(gpu, "labels", &[batch, pad4(model.classes)])?,
        targets: None,
        shard: Shard::default(),
    };
    let mut recording = Recording::new(gpu.path());
    recording.constant(&arena.buffer);
    let input = network.prepare(&mut recording, &inputs, model.input);
    let weights = NetworkArenas {
        name: "HP",
        weights: &arena,
        floats: &arena,
        running: &statistics,
        zeros: &zeros,
        round_norm: false,
        moments: None,
    };
    network.forward(&mut recording, &input, weights, Mode::Test);
    Ok(gpu.plan(recording)?)
}

fn model_rows(
    gpu: &Gpu,
    packed: &PackedModel,
    batch: usize,
    least: Duration,
    rates: &Rates,
) -> Result<Vec<InferRow>, CliError> {
    let network = packed.network();
    let weights = Parameters::new(&network).weights();
    let plan = f32_model_plan(gpu, &network, batch)?;
    let macs = plan.rows().iter().map(|r| r.flops).sum::<u64>() as f64 / 2.0;
    let bytes = |weights: usize| weights as f64;
    let name = |kernel: &str, weights: usize| {
        (
            format!("{WHOLE}{}", network.name),
            batch,
            kernel.to_owned(),
            weights,
        )
    };
    let times = timed(gpu, &[plan], least)?;
    let mut rows = vec![new_row(
        name("f32", 4 * weights),
        times,
        (macs, bytes(4 * weights)),
        rates,
    )];
    let size: usize = packed
        .layers
        .iter()
        .map(|l| (l.codes.len() * l.bits as usize).div_ceil(8))
        .sum();
    let inputs: Vec<Vec<i32>> = match packed.model.latent() {
        Some(latent) => {
            let latents = draw_latents(1, batch, latent);
            latents.iter().map(|z| packed.latent_input(z)).collect()
        }
        None => {
            let images = random_images(&packed.model, batch);
            let input = |i| packed.image_input(images.image(i));
            (0..batch).map(input).collect()
        }
    };
    for kernel in [None, Some(Arithmetic::Shift), Some(Arithmetic::Dot4)] {
        let mut inference = tuning::inference_of(gpu, packed.clone(), batch, kernel)?;
        inference.upload(inputs.iter().cloned());
        if gpu.path() == Path::Gpu {
            warm_up(|| inference.run(), || gpu.wait());
        }
        let times = time(least, || {
            inference.run();
            gpu.wait();
            Ok(gpu.check()?)
        })?;
        let word = kernel.map_or("chosen", Arithmetic::name);
        rows.push(new_row(name(word, size), times, (macs, bytes(size)), rates));
    }
    relative(&mut rows);
    Ok(rows)
}
