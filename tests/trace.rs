//! Ten steps of the whole trainer on the device beside the plain f64 trainer: losses, all
//! gradients, all parameters.

use gtc::data::{Images, epoch_order};
use gtc::gpu::{Gpu, GpuOptions, Path};
use gtc::model::{Layer, Model, Scaling};
use gtc::reference::PlainTrainer;
use gtc::rng::Philox;
use gtc::train::{Objective, TrainOptions, Trainer};
use pollster::block_on;

const STEPS: u64 = 10;

/// With `norm` both middle layers are batch normalised: one before a ReLU alone, one dense. Without, rows of
/// outputs come in fours, so that the first layer reads shifted copies of the images.
fn tiny(norm: bool) -> Model {
    Model {
        name: "tiny",
        input: [9, if norm { 8 } else { 10 }, 1],
        scaling: Scaling::NONE,
        classes: 3,
        likelihood: None,
        layers: vec![
            Layer::Conv {
                name: "conv1",
                outputs: 3,
                kernel: 3,
                stride: 1,
                padding: 0,
                norm,
                relu: true,
            },
            Layer::MaxPool { size: 2 },
            Layer::Conv {
                name: "conv2",
                outputs: 5,
                kernel: 3,
                stride: 2,
                padding: 1,
                norm,
                relu: true,
            },
            Layer::Dense {
                name: "fc1",
                outputs: 7,
                norm,
                relu: true,
            },
            Layer::Dense {
                name: "fc2",
                outputs: 3,
                norm: false,
                relu: false,
            },
        ],
    }
}

/// Noise with a bright block whose place is the label.
fn images(model: &Model, count: usize) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(5, 5);
    let mut images = Images {
        height,
        width,
        channels,
        ..Images::default()
    };
    for i in 0..count {
        let label = i % model.classes.max(1);
        for value in 0..height * width * channels {
            let pixel = value / channels;
            let (y, x) = (pixel / width, pixel % width);
            let bright = y / 3 == label && (2..5).contains(&x);
            images
                .pixels
                .push(rng.below(100) as u8 + if bright { 150 } else { 0 });
        }
        images.labels.push(label as u16);
    }
    images
}

fn gpu(path: Option<Path>, part_bytes: Option<u64>) -> Gpu {
    block_on(Gpu::open(&GpuOptions {
        path,
        part_bytes,
        ..GpuOptions::default()
    }))
    .unwrap_or_else(|e| panic!("{e}"))
}

fn worst(got: &[f32], want: &[f64]) -> (f64, f64) {
    let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let error = got
        .iter()
        .zip(want)
        .fold(0.0f64, |m, (g, w)| m.max((f64::from(*g) - w).abs()));
    (error, size)
}

fn trace(path: Path, norm: bool, part_bytes: Option<u64>) {
    follow(path, norm, part_bytes, Objective::Gtc);
}

fn follow(path: Path, norm: bool, part_bytes: Option<u64>, objective: Objective) {
    let gpu = gpu(Some(path), part_bytes);
    let model = tiny(norm);
    let options = TrainOptions {
        batch_size: 6,
        epochs: 2,
        learning_rate: 3e-3,
        lambda_bits: 1e-2,
        lambda_l2: 1e-3,
        lambda_norm: 0.1,
        target_bits: if norm { 4 } else { 1 },
        bits_ramp: 0.3,
        objective,
        ..TrainOptions::default()
    };
    let images = images(&model, 30);
    let mut trainer = Trainer::new(&gpu, model.clone(), images.count(), options.clone()).unwrap();
    assert_eq!(trainer.total_steps(), STEPS);
    let mut plain = PlainTrainer::new(&model, options.clone(), STEPS);
    for step in 0..STEPS {
        trainer.reset_totals();
        trainer.train_step(&images);
        let progress = block_on(trainer.progress()).unwrap();
        let gradients = block_on(trainer.gradients()).unwrap();
        let snapshot = block_on(trainer.snapshot()).unwrap();
        let weights = snapshot.weights;

        let order = epoch_order(options.seed, (step / 5) as u32, images.count());
        let first = (step % 5) as usize * options.batch_size;
        let which = &order[first..first + options.batch_size];
        let batch: Vec<f64> = which
            .iter()
            .flat_map(|&i| {
                model
                    .scaling
                    .apply(images.image(i as usize), images.channels)
            })
            .map(f64::from)
            .collect();
        let labels: Vec<u16> = which.iter().map(|&i| images.labels[i as usize]).collect();
        let want = plain.train_step(&batch, &labels);

        let near = |got: f64, want: f64| (got - want).abs() < 2e-5 * (1.0 + want.abs());
        if objective == Objective::Gtc {
            let got = progress.hp.mean_loss();
            assert!(near(got, want.hp_loss), "step {step}: HP loss");
        }
        assert!(
            near(progress.lp.mean_loss(), want.lp_loss),
            "step {step}: LP loss"
        );
        assert_eq!(progress.bit_loss(), want.bit_loss, "step {step}: bit loss");
        for (i, layer) in trainer.parameters().layers.iter().enumerate() {
            let (g, p) = (&want.gradients[i], &want.parameters[i]);
            let running = |n: usize| layer.running_values(&snapshot.running[n]);
            let parts = [
                ("d_w", layer.weight_values(&gradients), &g.weights[..], 1e-4),
                ("d_scale", layer.scale_values(&gradients), &g.scale, 1e-4),
                ("d_bias", layer.bias_values(&gradients), &g.bias, 1e-4),
                (
                    "d_quantiser",
                    layer.quantiser_values(&gradients).to_vec(),
                    &g.quantiser,
                    1e-4,
                ),
                ("w", layer.weight_values(&weights), &p.weights, 1e-4),
                ("scale", layer.scale_values(&weights), &p.scale, 1e-4),
                ("bias", layer.bias_values(&weights), &p.bias, 1e-3),
                ("HP running", running(0), &want.running[0][i], 1e-4),
                ("LP running", running(1), &want.running[1][i], 1e-4),
                (
                    "quantiser",
                    layer.quantiser_values(&weights).to_vec(),
                    &p.quantiser,
                    1e-4,
                ),
            ];
            for (what, got, want, allowed) in parts {
                assert_eq!(got.len(), want.len());
                let (error, size) = worst(&got, want);
                assert!(
                    error <= allowed * size + 1e-7,
                    "step {step}, {} {what}: off by {error:.2e} of {size:.2e}",
                    layer.name
                );
            }
        }
    }
}

#[test]
fn ten_steps_follow_the_plain_trainer_on_the_gpu_path() {
    trace(Path::Gpu, false, None);
}

#[test]
fn ten_steps_follow_the_plain_trainer_on_the_cpu_path() {
    trace(Path::CpuStorage, false, None);
}

#[test]
fn with_batch_normalisation_on_the_gpu_path() {
    trace(Path::Gpu, true, None);
}

#[test]
fn with_batch_normalisation_on_the_cpu_path() {
    trace(Path::CpuStorage, true, None);
}

#[test]
fn low_precision_alone_follows_it_too() {
    for (path, norm) in [(Path::Gpu, false), (Path::CpuStorage, true)] {
        follow(path, norm, None, Objective::Direct);
    }
}

/// With room for five images a batch of six is a part of four and a part of two.
fn room_for_five(numbers: u64) -> Option<u64> {
    Some(5 * numbers * 4)
}

#[test]
fn a_batch_in_parts_on_the_gpu_path() {
    // The largest tensors are rows of windows.
    trace(Path::Gpu, true, room_for_five(504));
}

#[test]
fn a_batch_in_parts_on_the_cpu_path() {
    // The largest tensors are shifted copies.
    trace(Path::CpuStorage, false, room_for_five(288));
}

/// Where subgroups share a product, every number of it is still summed in the same order. Not so where taps reach
/// across edges: which positions a weight gradient leaves out depends on the tile.
#[test]
fn subgroups_change_no_bit_without_padding() {
    if !gpu(None, None).can_run(Path::CpuSubgroup) {
        eprintln!("SKIPPED: the adapter has no subgroups of eight lanes");
        return;
    }
    for model in [gtc::model::lenet5(), gtc::model::vae_mlp()] {
        let [alone, shared] =
            [Path::CpuStorage, Path::CpuSubgroup].map(|path| two_steps(path, &model));
        let differ = |(a, b): &(&f32, &f32)| a.to_bits() != b.to_bits();
        let count = alone.iter().zip(&shared).filter(differ).count();
        assert_eq!(count, 0, "of {} weights of {}", alone.len(), model.name);
    }
}

/// The weights after two steps of both networks.
fn two_steps(path: Path, model: &Model) -> Vec<f32> {
    let gpu = gpu(Some(path), None);
    let images = images(model, 64);
    let options = TrainOptions {
        batch_size: 32,
        epochs: 1,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(&gpu, model.clone(), images.count(), options).unwrap();
    for _ in 0..2 {
        trainer.train_step(&images);
    }
    block_on(trainer.snapshot()).unwrap().weights
}
