//! Packed models with random weights, and what goes into them.

use std::sync::OnceLock;

use gtc::data::Images;
use gtc::evaluate::Evaluator;
use gtc::generate::draw_latents;
use gtc::gpu::{Gpu, GpuOptions, Path};
use gtc::infer::Inference;
use gtc::loss::Likelihood;
use gtc::model::{LayerValues, Model, Parameters, vae_mlp};
use gtc::pack::{Activations, PackedModel, Trained, encode, pack};
use gtc::rng::Philox;
use pollster::block_on;

pub fn gpu(path: Option<Path>) -> Gpu {
    let options = GpuOptions {
        path,
        ..GpuOptions::default()
    };
    block_on(Gpu::open(&options)).unwrap_or_else(|e| panic!("{e}"))
}

/// One device for all tests of a process, because a CPU driver leaks devices.
pub fn device() -> &'static Gpu {
    static DEVICE: OnceLock<Gpu> = OnceLock::new();
    DEVICE.get_or_init(|| gpu(None).without_compiling_ahead())
}

pub fn noise_images(model: &Model, count: usize) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(5, 5);
    let pixels = (0..count * height * width * channels).map(|_| rng.below(256) as u8);
    Images {
        height,
        width,
        channels,
        pixels: pixels.collect(),
        labels: vec![0; count],
    }
}

/// The arena of a model with random weights whose exponents lie close together, some of them zero,
/// some γ negative and some zero.
pub fn random_weights(model: &Model, slope: f32) -> Vec<f32> {
    let parameters = Parameters::new(model);
    let mut arena = parameters.initial(3);
    for (number, layer) in parameters.layers.iter().enumerate() {
        let mut rng = Philox::new(4, number as u64);
        let mut weights = layer.weight_values(&arena);
        if number % 2 == 0 {
            weights.iter_mut().step_by(7).for_each(|w| *w = 0.0);
        }
        let outputs = layer.shape[0];
        let bias: Vec<f32> = (0..outputs).map(|_| 0.1 * rng.normal() as f32).collect();
        let values = LayerValues {
            weights,
            bias,
            quantiser: vec![-3.0, slope],
        };
        layer.place(&mut arena, &values);
    }
    for (number, norm) in parameters.norms.iter().enumerate() {
        let mut rng = Philox::new(5, number as u64);
        let gamma = |c: usize| match c % 11 {
            3 => 0.0,
            _ => rng.normal() as f32,
        };
        let gamma: Vec<f32> = (0..norm.channels).map(gamma).collect();
        let beta: Vec<f32> = (0..norm.channels)
            .map(|_| 0.1 * rng.normal() as f32)
            .collect();
        norm.place(&mut arena, &gamma, &beta);
    }
    arena
}

pub fn packed(gpu: &Gpu, model: &Model, activations: Activations, slope: f32) -> PackedModel {
    let weights = random_weights(model, slope);
    let images = noise_images(model, 2);
    pack_weights(gpu, model, activations, &weights, &images)
}

/// Packs an arena of weights, with scales from a batch of images.
pub fn pack_weights(
    gpu: &Gpu,
    model: &Model,
    activations: Activations,
    weights: &[f32],
    images: &Images,
) -> PackedModel {
    let running = Parameters::new(model).initial_running();
    let mut evaluator = Evaluator::new(gpu, model.clone(), images.count().min(100), true).unwrap();
    evaluator.set_weights(weights);
    evaluator.set_running(&[running.clone(), running.clone()]);
    let calibration = block_on(evaluator.calibrate(images)).unwrap();
    let classes: Vec<String> = (0..model.classes).map(|c| c.to_string()).collect();
    let trained = Trained {
        model,
        data: "noise",
        classes: &classes,
        seen: None,
        weights,
        running: &running,
        exact_norm: false,
    };
    pack(&trained, activations, &calibration).unwrap()
}

/// Two inputs of a model: images, or latents of a decoder.
pub fn two_inputs(packed: &PackedModel) -> [Vec<i32>; 2] {
    match packed.model.latent() {
        Some(latent) => {
            let latents = draw_latents(1, 2, latent);
            [0, 1].map(|i| packed.latent_input(&latents[i]))
        }
        None => {
            let images = noise_images(&packed.model, 2);
            [0, 1].map(|i| packed.image_input(images.image(i)))
        }
    }
}

/// The logits of two inputs, in batches of one or two.
pub fn logits(inference: &mut Inference<'_>, inputs: &[Vec<i32>; 2]) -> Vec<Vec<i32>> {
    let mut all = Vec::new();
    for part in inputs.chunks(inference.batch()) {
        inference.upload(part.iter().cloned());
        inference.run();
        all.extend(block_on(inference.logits(part.len())).unwrap());
    }
    all
}

/// A classifier's file, or a decoder's.
pub fn small_file(decoder: bool) -> &'static (Vec<u8>, PackedModel) {
    static FILES: OnceLock<[(Vec<u8>, PackedModel); 2]> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let classifier = Model::by_name("lenet-small").unwrap();
        let decoder = vae_mlp().with_latent(6, Likelihood::Bernoulli);
        [classifier, decoder].map(|model| {
            let packed = packed(device(), &model, Activations::Eight, 0.3);
            (encode(&packed).unwrap(), packed)
        })
    });
    &files[usize::from(decoder)]
}
