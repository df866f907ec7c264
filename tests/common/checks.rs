//! What must hold for every model: that a training step is that of the plain walker, that fusion changes nothing,
//! that packed kernels give the integers of the definition, and that files give back what was written.

use std::sync::OnceLock;

use gtc::checkpoint::{self, Checkpoint, Header};
use gtc::data::{Images, epoch_order};
use gtc::evaluate::Evaluator;
use gtc::gpu::{Gpu, Path};
use gtc::graph::{Description, Model};
use gtc::infer::{Inference, fits};
use gtc::model::{Inputs, Mode, Network, NetworkArenas, Parameters, Shard};
use gtc::op::Arithmetic;
use gtc::op::add;
use gtc::optimiser::Schedule;
use gtc::pack::{self, Activations, PackError, PackedModel, Trained};
use gtc::recording::Recording;
use gtc::reference::{self, PlainTrainer};
use gtc::rng::Philox;
use gtc::tensor::{Tensor, pad4};
use gtc::train::{Snapshot, TrainOptions, Trainer};
use pollster::block_on;

use super::packing::{device, gpu, random_weights};
use super::plain::PlainWalk;
use super::random_graphs::{may_have_floats, random_auto_encoder, random_model};

/// Images of a batch.
pub const BATCH: usize = 6;
/// Sets of images that are tried until one keeps away from kinks, at most.
const TRIES: u64 = 40;
/// How near to a kink no number may lie, as a part of the largest number of its value: several times the rounding
/// of `f32` after some layers.
const KINK: f64 = 5e-6;

/// One device of a path for all tests of a process, if the adapter has that path.
pub fn device_of(path: Path) -> Option<&'static Gpu> {
    static DEVICES: [OnceLock<Option<Gpu>>; 4] = [const { OnceLock::new() }; 4];
    let number = Path::ALL.iter().position(|known| *known == path)?;
    let open = || {
        let can = super::packing::device().can_run(path);
        can.then(|| gpu(Some(path)).without_compiling_ahead())
    };
    DEVICES[number].get_or_init(open).as_ref()
}

/// Noise of a seed, with labels that take turns.
pub fn noise(model: &Model, count: usize, seed: u64) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(seed, 5);
    let pixels = (0..count * height * width * channels).map(|_| rng.below(256) as u8);
    Images {
        height,
        width,
        channels,
        pixels: pixels.collect(),
        labels: (0..count).map(|i| (i % model.classes) as u16).collect(),
    }
}

/// The pixels of some images as networks read them.
fn scaled(model: &Model, images: &Images, which: &[u32]) -> Vec<f64> {
    let image = |i: &u32| {
        model
            .scaling
            .apply(images.image(*i as usize), images.channels)
    };
    which.iter().flat_map(image).map(f64::from).collect()
}

/// Options of a step in which every part of the loss has a weight.
fn options(seed: u64) -> TrainOptions {
    TrainOptions {
        batch_size: BATCH,
        epochs: 1,
        learning_rate: 3e-3,
        lambda_bits: 1e-2,
        lambda_l2: 1e-3,
        lambda_norm: 0.1,
        target_bits: 4,
        bits_ramp: 0.0,
        seed,
        ..TrainOptions::default()
    }
}

/// What became of a comparison with the plain walker.
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// All numbers agree.
    Yes,
    /// All sets of images bring some number so near to a kink that rounding decides on which side it lies.
    Kink,
}

/// Compares one training step with the plain walker's: losses, gradients, running statistics and what is learned.
///
/// # Errors
/// What differs.
pub fn follow_one_step(gpu: &Gpu, model: &Model, seed: u64) -> Result<Followed, String> {
    let options = options(seed);
    let order = epoch_order(options.seed, 0, BATCH);
    let clear = |seed: &u64| {
        let images = noise(model, BATCH, *seed);
        let mut walk = PlainWalk::new(model, &options);
        walk.keeps_away_from_kinks(&scaled(model, &images, &order), KINK)
    };
    let Some(which) = (1000 * seed..1000 * seed + TRIES).find(clear) else {
        return Ok(Followed::Kink);
    };
    let images = noise(model, BATCH, which);
    let trainer = Trainer::new(gpu, model.clone(), &images, options.clone());
    let mut trainer = trainer.map_err(|e| e.to_string())?;
    let total = trainer.total_steps();
    trainer.train_step(&images);
    let progress = block_on(trainer.progress()).map_err(|e| e.to_string())?;
    let gradients = block_on(trainer.gradients()).unwrap();
    let snapshot = block_on(trainer.snapshot()).unwrap();

    let labels: Vec<u16> = order.iter().map(|&i| images.labels[i as usize]).collect();
    let mut plain = PlainTrainer::new(model, options, total);
    let want = plain.train_step(&scaled(model, &images, &order), &labels);
    for (what, got, want) in [
        ("HP loss", progress.hp.mean_loss(), want.hp_loss),
        ("LP loss", progress.lp.mean_loss(), want.lp_loss),
        ("bit loss", progress.bit_loss(), want.bit_loss),
    ] {
        if (got - want).abs() > 2e-5 * (1.0 + want.abs()) {
            return Err(format!("{what}: {got}, not {want}"));
        }
    }
    for layer in &trainer.parameters().layers {
        let (g, p) = (&want.gradients[layer.node], &want.parameters[layer.node]);
        let d_w = layer.weight_values(&gradients);
        near(&layer.name, "d_w", &d_w, &g.weights)?;
        near(
            &layer.name,
            "d_bias",
            &layer.bias_values(&gradients),
            &g.bias,
        )?;
        if let Some(want) = g.quantiser {
            let got = layer.quantiser_values(&gradients);
            near(&layer.name, "d_quantiser", &got, &want)?;
        }
        let w = layer.weight_values(&snapshot.weights);
        learned(&layer.name, &w, &p.weights, &g.weights)?;
    }
    for norm in &trainer.parameters().norms {
        let (g, p) = (&want.gradients[norm.node], &want.parameters[norm.node]);
        let ([d_gamma, d_beta], [gamma, _]) =
            (norm.values(&gradients), norm.values(&snapshot.weights));
        near(&norm.name, "d_gamma", &d_gamma, &g.scale)?;
        near(&norm.name, "d_beta", &d_beta, &g.bias)?;
        learned(&norm.name, &gamma, &p.scale, &g.scale)?;
        for (network, running) in snapshot.running.iter().enumerate() {
            let got = norm.running_values(running);
            let what = ["HP running", "LP running"][network];
            near(&norm.name, what, &got, &want.running[network][norm.node])?;
        }
    }
    Ok(Followed::Yes)
}

/// Whether numbers differ by one part in 10,000 of the largest at most, as in `tests/trace.rs`.
fn near(node: &str, what: &str, got: &[f32], want: &[f64]) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!(
            "'{node}' {what}: {} numbers, not {}",
            got.len(),
            want.len()
        ));
    }
    let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let pairs = got.iter().zip(want);
    let error = pairs.fold(0.0f64, |m, (g, w)| m.max((f64::from(*g) - w).abs()));
    match error <= 1e-4 * size + 1e-7 {
        true => Ok(()),
        false => Err(format!("'{node}' {what}: off by {error:.2e} of {size:.2e}")),
    }
}

/// The same for what Adam made of gradients. Its first step is one learning rate long whatever the size of the
/// gradient, so entries are left out whose gradient is nothing but rounding.
fn learned(node: &str, got: &[f32], want: &[f64], gradient: &[f64]) -> Result<(), String> {
    let size = gradient.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let sure = |i: &usize| gradient[*i].abs() > 1e-3 * size + 1e-6;
    let sure: Vec<usize> = (0..want.len()).filter(sure).collect();
    let got: Vec<f32> = sure.iter().map(|i| got[*i]).collect();
    let want: Vec<f64> = sure.iter().map(|i| want[*i]).collect();
    near(node, "after the step", &got, &want)
}

/// What one network makes of a batch.
struct Made {
    logits: Vec<f32>,
    /// The arena of gradients; none of an auto-encoder.
    gradients: Vec<f32>,
}

/// Logits of a batch, and gradients for fixed gradients of the logits.
fn run(gpu: &Gpu, model: &Model, network: Network, mode: Mode) -> Made {
    let parameters = Parameters::new(model);
    let arena = |label: &str| parameters.layout.allocate(gpu, label).unwrap();
    let tensor = |label: &str, shape: &[usize]| Tensor::new(gpu, label, shape).unwrap();
    let weights = arena("weights");
    weights.write(gpu, &random_weights(model, 0.3));
    let running = tensor("running", &[parameters.initial_running().len()]);
    running.write(gpu, &parameters.initial_running());
    let widest = parameters.layers.iter().map(|l| pad4(l.shape[0])).max();
    let zeros = tensor("zeros", &[widest.unwrap_or(4)]);
    let pixels: usize = model.input.iter().product();
    let images = tensor("images", &[pad4(BATCH * pixels)]);
    let mut upload: Vec<f32> = scaled(model, &noise(model, BATCH, 3), &[0, 1, 2, 3, 4, 5])
        .into_iter()
        .map(|v| v as f32)
        .collect();
    upload.resize(images.len(), 0.0);
    images.write(gpu, &upload);
    let labels = tensor("labels", &[BATCH, pad4(model.classes)]);
    let inputs = Inputs {
        images,
        labels,
        targets: None,
        shard: Shard::default(),
    };
    let latent = model
        .latent()
        .map(|size| tensor("noise", &[BATCH, pad4(size)]));
    let network = match &latent {
        Some(noise) => network.in_parts_for(gpu).with_noise(noise),
        None => network.in_parts_for(gpu),
    };
    let mut recording = Recording::new(gpu.path());
    let prepared = network.prepare(&mut recording, &inputs, model.input);
    let read = NetworkArenas {
        name: "HP",
        weights: &weights,
        floats: &weights,
        running: &running,
        zeros: &zeros,
        round_norm: false,
        moments: None,
    };
    let pass = network.forward(&mut recording, &prepared, read, mode);
    let shape = pass.logits().shape.clone();
    let [logits, nothing, d_logits] =
        ["logits", "nothing", "d_logits"].map(|label| tensor(label, &shape));
    // Logits lie in working memory: a sum with zeros brings them out of it.
    add(
        &mut recording,
        "out",
        [pass.logits(), &nothing],
        false,
        &logits,
    );
    let gradients = arena("gradients");
    if mode == Mode::Train && latent.is_none() {
        let mut rng = Philox::new(8, 8);
        let stored = pad4(model.classes);
        let random = (0..shape.iter().product()).map(|i: usize| {
            if i % stored < model.classes {
                rng.normal() as f32
            } else {
                0.0
            }
        });
        d_logits.write(gpu, &random.collect::<Vec<f32>>());
        network.backward(&mut recording, &pass, read, &d_logits, &gradients);
    }
    let schedule = Schedule::default().with_noise(1.0, 0, 0);
    let plan = gpu.plan(recording).unwrap();
    plan.run(gpu, bytemuck::bytes_of(&schedule));
    Made {
        logits: block_on(logits.read(gpu)).unwrap(),
        gradients: block_on(gradients.read(gpu)).unwrap(),
    }
}

/// Compares a network whose kernels do the work of several nodes with one that has a step for every node.
///
/// # Errors
/// What differs.
pub fn fusion_changes_nothing(gpu: &Gpu, model: &Model) -> Result<(), String> {
    for mode in [Mode::Test, Mode::Train] {
        let [fused, unfused] = [Network::new, Network::unfused]
            .map(|network| run(gpu, model, network(model, BATCH), mode));
        alike("logits", &fused.logits, &unfused.logits, 1e-5)?;
        let parameters = Parameters::new(model);
        let (a, b) = (&fused.gradients, &unfused.gradients);
        for layer in &parameters.layers {
            let what = format!("'{}' gradients", layer.name);
            let [x, y] = [a, b].map(|arena| layer.weight_values(arena));
            alike(&what, &x, &y, 1e-4)?;
            let [x, y] = [a, b].map(|arena| layer.bias_values(arena));
            alike(&what, &x, &y, 1e-4)?;
        }
        for norm in &parameters.norms {
            let [x, y] = [a, b].map(|arena| norm.values(arena).concat());
            alike(&format!("'{}' gradients", norm.name), &x, &y, 1e-4)?;
        }
    }
    Ok(())
}

fn alike(what: &str, got: &[f32], want: &[f32], allowed: f64) -> Result<(), String> {
    let size = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let pairs = got.iter().zip(want);
    let error = pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    match f64::from(error) <= allowed * f64::from(size) + 1e-7 {
        true => Ok(()),
        false => Err(format!(
            "fused and unfused {what} differ by {error:.2e} of {size:.2e}"
        )),
    }
}

/// A packed model, and what it was made from.
pub struct Packed {
    pub model: PackedModel,
    /// The output that the low-precision network gives two images in floats, (2, stored numbers); of an auto-encoder
    /// more.
    floats: Vec<f32>,
}

/// Packs a model with random weights.
///
/// # Errors
/// Why it cannot be packed.
pub fn pack_random(
    gpu: &Gpu,
    model: &Model,
    activations: Activations,
) -> Result<Packed, PackError> {
    let weights = random_weights(model, 0.3);
    let running = Parameters::new(model).initial_running();
    let mut evaluator = Evaluator::new(gpu, model.clone(), 2, true).unwrap();
    evaluator.set_weights(&weights);
    evaluator.set_running(&[running.clone(), running.clone()]);
    let calibration = block_on(evaluator.calibrate(&noise(model, 2, 1))).unwrap();
    let trained = Trained {
        model,
        data: "noise",
        classes: &class_names(model),
        seen: None,
        weights: &weights,
        running: &running,
        exact_norm: false,
    };
    Ok(Packed {
        model: pack::pack(&trained, activations, &calibration)?,
        floats: calibration.values.last().cloned().unwrap_or_default(),
    })
}

/// Compares the integers of a classifier with the floats that they stand for. The definition takes its shifts from
/// where kernels take them, so a wrong one would show only here.
///
/// # Errors
/// What differs.
pub fn integers_are_near_the_floats(packed: &Packed, allowed: f64) -> Result<(), String> {
    let model = &packed.model;
    let images = noise(&model.model, 2, 1);
    let unit = f64::from(model.logit_scale()).exp2();
    let rows = packed.floats.chunks(packed.floats.len() / 2);
    for (i, row) in rows.enumerate() {
        let logits = reference::infer(model, &model.image_input(images.image(i)));
        let size = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (logit, float) in logits.iter().zip(row) {
            let error = (f64::from(*logit) * unit - f64::from(*float)).abs();
            if error > allowed * f64::from(size) + unit {
                return Err(format!("image {i}: {logits:?} times {unit}, not {row:?}"));
            }
        }
    }
    Ok(())
}

fn class_names(model: &Model) -> Vec<String> {
    (0..model.classes).map(|class| class.to_string()).collect()
}

/// Compares the logits of two inputs in every arithmetic with the definition's, in batches of one and of two.
///
/// # Errors
/// What differs.
pub fn kernels_give_the_definitions_integers(
    gpu: &Gpu,
    packed: &PackedModel,
) -> Result<(), String> {
    let inputs = super::packing::two_inputs(packed);
    let wanted = inputs
        .each_ref()
        .map(|x| reference::infer(packed, x))
        .to_vec();
    let kernels = Arithmetic::ALL.map(Some);
    for (batch, kernel) in [(1, None), (2, None)]
        .into_iter()
        .chain(kernels.map(|kernel| (2, kernel)))
    {
        let exact = |kernel| {
            let layers = packed.layers.iter();
            layers
                .clone()
                .all(|layer| fits(layer, packed.activations, kernel).is_ok())
        };
        if !kernel.is_none_or(exact) {
            continue;
        }
        let mut inference =
            Inference::new(gpu, packed.clone(), batch, kernel).map_err(|e| e.to_string())?;
        let got = super::packing::logits(&mut inference, &inputs);
        if got != wanted {
            return Err(format!(
                "batch {batch}, {kernel:?}: {got:?}, not {wanted:?}"
            ));
        }
    }
    Ok(())
}

/// Writes a model into a checkpoint and reads it back.
///
/// # Errors
/// What differs.
pub fn checkpoint_survives(model: &Model) -> Result<(), String> {
    let parameters = Parameters::new(model);
    let weights = random_weights(model, 0.3);
    let running = parameters.initial_running();
    let zeros = vec![0.0; weights.len()];
    let written = Checkpoint {
        header: Header {
            version: checkpoint::VERSION,
            model: model.name.clone(),
            graph: Some(Description::of(model)),
            data: "noise".to_owned(),
            classes: class_names(model),
            images: 6,
            data_hash: None,
            seen: None,
            step: 3,
            learned: None,
            options: TrainOptions::default(),
        },
        snapshot: Snapshot {
            step: 3,
            weights,
            first_moment: zeros.clone(),
            second_moment: zeros,
            running: [running.clone(), running],
            totals: vec![0.0; 16],
        },
    };
    let bytes = checkpoint::encode(&written).map_err(|e| e.to_string())?;
    let read = checkpoint::decode("test", &bytes).map_err(|e| e.to_string())?;
    let found = read.header.model().map_err(|e| e.to_string())?;
    let half = checkpoint::encode_weights(&written, true).map_err(|e| e.to_string())?;
    checkpoint::decode("half", &half).map_err(|e| e.to_string())?;
    match (read == written, found == *model) {
        (true, true) => Ok(()),
        (false, _) => Err("the checkpoint differs from what was written".to_owned()),
        (_, false) => Err(format!(
            "the checkpoint holds another model:\n{}",
            found.to_toml()
        )),
    }
}

/// Writes a packed model into a file and reads it back.
///
/// # Errors
/// What differs.
pub fn packed_file_survives(packed: &PackedModel) -> Result<(), String> {
    let bytes = pack::encode(packed).map_err(|e| e.to_string())?;
    let read = pack::decode("test", &bytes).map_err(|e| e.to_string())?;
    match read == *packed {
        true => Ok(()),
        false => Err(format!(
            "the packed file differs: units {:?}, not {:?}",
            read.units, packed.units
        )),
    }
}

/// Random classifiers and decoders with random weights, as far as they can be packed.
pub fn random_networks(seed: u64) -> impl Iterator<Item = (String, PackedModel)> {
    let activations = match seed % 3 {
        0 => Activations::Sixteen,
        _ => Activations::Eight,
    };
    let models = [
        ("graph", random_model(seed), may_have_floats(seed)),
        ("decoder", random_auto_encoder(seed), false),
    ];
    models.into_iter().filter_map(move |(kind, model, floats)| {
        let name = format!("{kind}-{seed}");
        match pack_random(device(), &model, activations) {
            Ok(packed) => Some((name, packed.model)),
            Err(PackError::Float { .. }) if floats => None,
            Err(
                PackError::UnitsApart { .. }
                | PackError::Overflow { .. }
                | PackError::Offset { .. },
            ) => None,
            Err(error) => panic!("{name}: {error}"),
        }
    })
}
