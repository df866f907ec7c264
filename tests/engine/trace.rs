//! Ten steps of the whole trainer on the device beside the plain f64 trainer, which walks the graph without any
//! fusion: losses, all gradients, all parameters.

use std::collections::BTreeMap;

use gtc::data::{Images, epoch_order};
use gtc::gpu::{Gpu, GpuOptions, Path};
use gtc::graph::Model;
use gtc::op::Op;
use gtc::reference::PlainTrainer;
use gtc::rng::Philox;
use gtc::train::{Objective, Optimiser, Precision, StraightThrough, TrainOptions, Trainer};
use pollster::block_on;

use networks::{everything, normalised, plain_layers, pooled_norm};

mod networks;

const STEPS: u64 = 10;

/// Black and white noise with a white block whose place is the label. Pixels are 0 or 1, so that sums over powers of
/// two are exact: where two numbers of a pool are equal, they are so on the device and in the plain trainer.
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
            let white = rng.below(100) < if bright { 90 } else { 30 };
            images.pixels.push(if white { 255 } else { 0 });
        }
        images.labels.push(label as u16);
    }
    images
}

fn gpu(path: Option<Path>, part_bytes: Option<u64>, cooperative: bool) -> Gpu {
    block_on(Gpu::open(&GpuOptions {
        path,
        part_bytes,
        cooperative,
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

/// Images of a batch, what to learn of them, and the label of each.
fn batch_of(
    options: &TrainOptions,
    model: &Model,
    images: &Images,
    which: &[u32],
    epoch: u32,
) -> (Vec<f64>, Vec<f64>, Vec<u16>) {
    let augment = options.augment(0.0);
    let pixels = |i: u32| {
        model
            .scaling
            .apply(images.image(i as usize), images.channels)
    };
    let one_hot = |i: u32| {
        let label = usize::from(images.labels[i as usize]);
        (0..model.classes).map(move |class| f64::from(class == label))
    };
    let (mut batch, mut targets, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &i) in which.iter().enumerate() {
        let other = which[(row + 1) % which.len()];
        let share = augment
            .draw(options.seed, epoch, i)
            .share
            .map_or(1.0, f64::from);
        let mixed = |own: f64, other: f64| share * own + (1.0 - share) * other;
        let both = pixels(i).into_iter().zip(pixels(other));
        batch.extend(both.map(|(own, other)| mixed(own.into(), other.into())));
        let smoothing = options.label_smoothing;
        let both = one_hot(i).zip(one_hot(other));
        let even = 1.0 / model.classes as f64;
        targets.extend(
            both.map(|(own, other)| (1.0 - smoothing) * mixed(own, other) + smoothing * even),
        );
        labels.push(images.labels[if share < 0.5 { other } else { i } as usize]);
    }
    (batch, targets, labels)
}

/// In full precision one network learns from sixteen images at a time: then positions count through the images first, and on
/// GPUs a block of four is one place of four images.
fn batch_size(model: &Model, precision: Precision) -> usize {
    if model.name == "pooled" && precision == Precision::Full {
        16
    } else {
        6
    }
}

/// Follows ten steps of the plain trainer; returns the kernels of a training step, and the parts of its batch.
fn follow(
    path: Path,
    model: &Model,
    part_bytes: Option<u64>,
    objective: Objective,
) -> (Vec<&'static str>, usize) {
    let how = (objective, Optimiser::Adam, Precision::Full);
    follow_with(path, model, part_bytes, how)
}

/// The same with an optimiser and a precision of choice.
fn follow_with(
    path: Path,
    model: &Model,
    part_bytes: Option<u64>,
    (objective, optimiser, precision): (Objective, Optimiser, Precision),
) -> (Vec<&'static str>, usize) {
    let gpu = gpu(Some(path), part_bytes, precision == Precision::Cooperative);
    // One of the models also learns from mixed images, softened labels, and first without LP.
    let softened = model.name == "normalised";
    let options = TrainOptions {
        batch_size: batch_size(model, precision),
        epochs: 2,
        learning_rate: 3e-3,
        lambda_bits: 1e-2,
        lambda_l2: 1e-3,
        lambda_norm: 0.1,
        weight_decay: 0.3,
        lp_start: if softened { 0.3 } else { 0.0 },
        mix_up: if softened { 0.7 } else { 0.0 },
        label_smoothing: if softened { 0.1 } else { 0.0 },
        temperature: if softened { 2.0 } else { 1.0 },
        lp_labels: if softened { 0.25 } else { 0.0 },
        target_bits: if model.name == "plain" { 1 } else { 4 },
        // A model of its own bits, and one that fits into its budget, so that nothing is paid.
        layer_bits: match model.name.as_str() {
            "normalised" if model.quantiser.is_gtc() => BTreeMap::from([("first".to_owned(), 2)]),
            _ => BTreeMap::new(),
        },
        target_size: match (model.name.as_str(), path) {
            ("plain", Path::Gpu) => 1 << 20,
            _ => 0,
        },
        bits_ramp: 0.3,
        optimiser,
        warm_up: if optimiser == Optimiser::Muon {
            0.4
        } else {
            0.0
        },
        objective,
        precision,
        centred_slopes: softened,
        straight_through: match softened {
            true => StraightThrough::Identity,
            false => StraightThrough::Chain,
        },
        ..TrainOptions::default()
    };
    let images = images(model, 5 * options.batch_size);
    let mut trainer = Trainer::new(&gpu, model.clone(), &images, options.clone()).unwrap();
    assert_eq!(trainer.total_steps(), STEPS);
    let mut plain = PlainTrainer::new(model, options.clone(), STEPS);
    let mut distances = Vec::new();
    for step in 0..STEPS {
        trainer.reset_totals();
        trainer.train_step(&images);
        let progress = block_on(trainer.progress()).unwrap();
        let gradients = block_on(trainer.gradients()).unwrap();
        let snapshot = block_on(trainer.snapshot()).unwrap();
        let weights = snapshot.weights.clone();

        let order = epoch_order(options.seed, (step / 5) as u32, images.count());
        let first = (step % 5) as usize * options.batch_size;
        let which = &order[first..first + options.batch_size];
        let (batch, targets, labels) = batch_of(&options, model, &images, which, (step / 5) as u32);
        let want = plain.train_step_towards(&batch, &targets, &labels);

        let of_loss = match precision {
            Precision::Full => 2e-5,
            Precision::Mixed | Precision::Cooperative => 5e-3,
        };
        let near = |got: f64, want: f64| (got - want).abs() < of_loss * (1.0 + want.abs());
        if objective == Objective::Gtc {
            let got = progress.hp.mean_loss();
            assert!(near(got, want.hp_loss), "step {step}: HP loss");
        }
        assert!(
            near(progress.lp.mean_loss(), want.lp_loss),
            "step {step}: LP loss"
        );
        assert_eq!(progress.bit_loss(), want.bit_loss, "step {step}: bit loss");
        for layer in &trainer.parameters().layers {
            let (g, p) = (&want.gradients[layer.node], &want.parameters[layer.node]);
            let quantiser = |arena: &[f32], want: Option<[f64; 2]>| match want {
                Some(want) => (layer.quantiser_values(arena).to_vec(), want.to_vec()),
                None => (Vec::new(), Vec::new()),
            };
            let (d_q, want_d_q) = quantiser(&gradients, g.quantiser);
            let (q, want_q) = quantiser(&weights, p.quantiser);
            let parts = [
                ("d_w", layer.weight_values(&gradients), &g.weights[..], 1e-4),
                ("d_bias", layer.bias_values(&gradients), &g.bias, 1e-4),
                ("d_quantiser", d_q, &want_d_q, 1e-4),
                ("w", layer.weight_values(&weights), &p.weights, 1e-4),
                ("bias", layer.bias_values(&weights), &p.bias, 1e-3),
                ("quantiser", q, &want_q, 1e-4),
            ];
            compare(step, &layer.name, parts, (precision, &mut distances));
        }
        for norm in &trainer.parameters().norms {
            let (g, p) = (&want.gradients[norm.node], &want.parameters[norm.node]);
            let running = |n: usize| norm.running_values(&snapshot.running[n]);
            let ([d_gamma, d_beta], [gamma, beta]) =
                (norm.values(&gradients), norm.values(&weights));
            let parts = [
                ("d_gamma", d_gamma, &g.scale[..], 1e-4),
                ("d_beta", d_beta, &g.bias, 1e-4),
                ("gamma", gamma, &p.scale, 1e-4),
                ("beta", beta, &p.bias, 1e-3),
                ("HP running", running(0), &want.running[0][norm.node], 1e-4),
                ("LP running", running(1), &want.running[1][norm.node], 1e-4),
            ];
            compare(step, &norm.name, parts, (precision, &mut distances));
        }
        // Each step is judged by itself: rounding errors of the steps before do not add up.
        plain.restore(trainer.parameters(), &snapshot);
    }
    if precision != Precision::Full {
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        assert!(distances.len() > 100 && mean < 0.01, "{mean:.4}");
    }
    let (_, plan) = trainer.plans()[0];
    (
        plan.rows().iter().map(|row| row.kernel).collect(),
        trainer.parts(),
    )
}

/// Numbers of the engine beside those of the plain trainer, with the largest difference that is allowed as a part
/// of the largest number. With mixed precision a ReLU or a max pool of few images may decide otherwise, which shows in single
/// numbers, so gradients are compared as vectors; parameters are not, because Adam's first steps have the same size
/// whatever the gradient, and the smallest gradients change signs.
fn compare<const N: usize>(
    step: u64,
    node: &str,
    parts: [(&str, Vec<f32>, &[f64], f64); N],
    (precision, distances): (Precision, &mut Vec<f64>),
) {
    for (what, got, want, allowed) in parts {
        assert_eq!(got.len(), want.len(), "{node} {what}");
        if precision != Precision::Full && !what.ends_with("running") {
            let length = want.iter().map(|w| w * w).sum::<f64>().sqrt();
            if what.starts_with("d_") && length > 1e-6 {
                let pairs = got.iter().zip(want);
                let squares = pairs.map(|(got, want)| (f64::from(*got) - want).powi(2));
                let distance = squares.sum::<f64>().sqrt() / length;
                assert!(distance < 0.15, "step {step}, {node} {what}: {distance:.3}");
                distances.push(distance);
            }
            continue;
        }
        let allowed = match precision {
            Precision::Full => allowed,
            Precision::Mixed | Precision::Cooperative => 1e-2,
        };
        let (error, size) = worst(&got, want);
        assert!(
            error <= allowed * size + 1e-7,
            "step {step}, {node} {what}: off by {error:.2e} of {size:.2e}"
        );
    }
}

fn with_both_networks(path: Path, model: &Model) -> Vec<&'static str> {
    let (kernels, parts) = follow(path, model, None, Objective::Gtc);
    assert_eq!(parts, 1);
    kernels
}

#[test]
fn shifted_copies_with_the_pool_in_the_product_follow_the_plain_trainer() {
    for path in [Path::Gpu, Path::CpuStorage] {
        let kernels = with_both_networks(path, &plain_layers());
        assert!(kernels.contains(&"shifts"), "{kernels:?}");
        let apart = ["max_pool_forward", "im2col"];
        assert!(
            !kernels.iter().any(|kernel| apart.contains(kernel)),
            "{kernels:?}"
        );
    }
}

#[test]
fn batch_normalisations_follow_the_plain_trainer() {
    for path in [Path::Gpu, Path::CpuStorage] {
        let kernels = with_both_networks(path, &normalised());
        let wanted = [
            "im2col",
            "norm_combine",
            "norm_gradients",
            "max_pool_forward",
            "max_unpool",
        ];
        assert!(
            wanted.iter().all(|kernel| kernels.contains(kernel)),
            "{kernels:?}"
        );
        let kernels = with_both_networks(path, &pooled_norm());
        let wanted = [
            "norm_pool_forward",
            "norm_pool_backward_sums",
            "norm_pool_backward",
        ];
        let has = |kernel: &&str| kernels.contains(kernel);
        assert!(wanted.iter().all(has), "{kernels:?}");
        assert!(!["max_pool_forward", "max_unpool"].iter().any(has));
    }
}

#[test]
fn a_graph_of_all_operations_follows_the_plain_trainer() {
    for path in [Path::Gpu, Path::CpuStorage] {
        let kernels = with_both_networks(path, &everything());
        let wanted = [
            "add",
            "activation_forward",
            "average_pool_backward",
            "window_max_pool_backward",
            "group_conv_forward",
            "group_conv_backward_weight",
            "concat",
            "channels",
            "dropout",
            "upsample_backward",
        ];
        assert!(
            wanted.iter().all(|kernel| kernels.contains(kernel)),
            "{kernels:?}"
        );
    }
}

#[test]
fn mixed_precision_follows_the_plain_trainer() {
    for model in [plain_layers(), normalised(), pooled_norm(), everything()] {
        let mixed = (Objective::Gtc, Optimiser::Adam, Precision::Mixed);
        follow_with(Path::Gpu, &model, None, mixed);
    }
}

#[test]
#[ignore = "needs a device with cooperative matrices: scripts/test-cooperative"]
fn cooperative_precision_follows_the_plain_trainer() {
    for model in [plain_layers(), normalised(), everything()] {
        let how = (Objective::Gtc, Optimiser::Adam, Precision::Cooperative);
        follow_with(Path::Gpu, &model, None, how);
    }
    let muon = (Objective::Gtc, Optimiser::Muon, Precision::Cooperative);
    follow_with(Path::Gpu, &normalised(), None, muon);
}

#[test]
fn muon_follows_the_plain_trainer() {
    for (path, model) in [
        (Path::Gpu, plain_layers()),
        (Path::CpuStorage, normalised()),
        (Path::CpuStorage, pooled_norm()),
        (Path::Gpu, everything()),
    ] {
        let muon = (Objective::Gtc, Optimiser::Muon, Precision::Full);
        let (kernels, _) = follow_with(path, &model, None, muon);
        let wanted = ["momentum", "unit_norm", "newton_schulz", "muon", "adam"];
        assert!(
            wanted.iter().all(|kernel| kernels.contains(kernel)),
            "{kernels:?}"
        );
    }
}

#[test]
fn stochastic_gradient_descent_follows_the_plain_trainer() {
    for (path, model) in [
        (Path::Gpu, plain_layers()),
        (Path::CpuStorage, normalised()),
    ] {
        let sgd = (Objective::Gtc, Optimiser::Sgd, Precision::Full);
        let (kernels, _) = follow_with(path, &model, None, sgd);
        let of = |name| kernels.iter().filter(|kernel| **kernel == name).count();
        assert_eq!([of("sgd"), of("adam")], [1, 1]);
    }
}

#[test]
fn low_precision_alone_follows_it_too() {
    for (path, model) in [
        (Path::Gpu, plain_layers()),
        (Path::CpuStorage, normalised()),
    ] {
        follow(path, &model, None, Objective::Direct);
    }
}

#[test]
fn quantisation_methods_follow_the_plain_trainer() {
    let words = [
        "lsq:2",
        "lsq:4",
        "binary",
        "binary-pot",
        "twn",
        "ttq",
        "deepshift:4",
        "inq:4",
        "pot:3",
        "apot:4",
        "apot:5",
    ];
    for (i, word) in words.iter().enumerate() {
        let (model, path) = match i % 2 {
            0 => (plain_layers(), Path::CpuStorage),
            _ => (normalised(), Path::Gpu),
        };
        let objective = [Objective::Direct, Objective::Gtc][i / 2 % 2];
        let mut model = model.with_quantiser(word.parse().unwrap());
        // The first layer reads pixels of 0 or 1: with few weights that are no powers of two, many of its sums would be equal,
        // or not, by rounding alone. And where the last layer's weights of a unit are all equal, the unit's gradient is zero
        // but for rounding, which Adam makes a full step of.
        for node in &mut model.graph.nodes {
            match &mut node.op {
                Op::Conv(conv) if node.name == "conv1" => conv.quantise = false,
                Op::Dense(dense) if node.name == "fc2" => dense.quantise = false,
                _ => (),
            }
        }
        let (kernels, _) = follow(path, &model, None, objective);
        let wanted = ["method_scales", "method_forward", "method_backward"];
        assert!(
            wanted.iter().all(|kernel| kernels.contains(kernel)),
            "{word}: {kernels:?}"
        );
        assert!(!kernels.contains(&"quantiser_forward"), "{word}");
    }
}

/// With so little room in a binding that a batch becomes two parts, one of six images a part of four and a part of two.
#[test]
fn a_batch_in_parts_follows_the_plain_trainer() {
    for (path, model) in [
        (Path::Gpu, normalised()),
        (Path::Gpu, pooled_norm()),
        (Path::CpuStorage, plain_layers()),
        (Path::Gpu, everything()),
    ] {
        let options = TrainOptions {
            batch_size: batch_size(&model, Precision::Full),
            ..TrainOptions::default()
        };
        let splits = |bytes: &u64| {
            let gpu = gpu(Some(path), Some(*bytes), false);
            let trainer =
                Trainer::for_count(&gpu, model.clone(), 5 * options.batch_size, options.clone());
            trainer.is_ok_and(|trainer| trainer.parts() == 2)
        };
        let room = (1..64)
            .map(|n| 1024 * n)
            .find(splits)
            .expect("some room splits the batch");
        let (_, parts) = follow(path, &model, Some(room), Objective::Gtc);
        assert_eq!(parts, 2, "{}", model.name);
    }
}

/// Where subgroups share a product, every number of it is still summed in the same order. Not so where taps reach
/// across edges: which positions a weight gradient leaves out depends on the tile.
#[test]
fn subgroups_change_no_bit_without_padding() {
    if !gpu(None, None, false).can_run(Path::CpuSubgroup) {
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
    let gpu = gpu(Some(path), None, false);
    let images = images(model, 64);
    let options = TrainOptions {
        batch_size: 32,
        epochs: 1,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(&gpu, model.clone(), &images, options).unwrap();
    for _ in 0..2 {
        trainer.train_step(&images);
    }
    block_on(trainer.snapshot()).unwrap().weights
}
