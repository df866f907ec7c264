//! Packed decoders of auto-encoders: the definition's integers everywhere, and the pictures of the floats
//! they come from.

use crate::common::packing::{
    device, gpu, logits, noise_images, pack_weights, packed, small_file, two_inputs,
};
use gtc::data::{Images, embedded_digits};
use gtc::generate::{Generator, Which, draw_latents, mean_difference};
use gtc::gpu::Path;
use gtc::infer::{Inference, fits, pictures};
use gtc::loss::Likelihood;
use gtc::model::{LayerValues, Model, Parameters, vae, vae_colour, vae_mlp};
use gtc::op::Arithmetic;
use gtc::pack::{Activations, decode, encode};
use gtc::reference;
use gtc::train::{TrainOptions, Trainer};
use pollster::block_on;

/// Decoders on every path, in every arithmetic, with latents that fill no texel.
#[test]
fn decoders_agree_on_every_path() {
    let models = [
        vae_mlp().with_latent(7, Likelihood::Gaussian),
        vae().with_latent(20, Likelihood::Bernoulli),
    ];
    for activations in [Activations::Eight, Activations::Sixteen] {
        let packed = models
            .each_ref()
            .map(|model| packed(device(), model, activations, 0.3));
        for path in Path::ALL.into_iter().filter(|path| device().can_run(*path)) {
            let gpu = gpu(Some(path));
            for packed in &packed {
                let inputs = two_inputs(packed);
                let wanted = inputs.each_ref().map(|x| reference::infer(packed, x));
                for kernel in Arithmetic::ALL {
                    let exact = |layer| fits(layer, activations, kernel).is_ok();
                    let all = packed.layers.iter().all(exact);
                    let wide = activations == Activations::Sixteen;
                    assert_eq!(all, !wide || kernel == Arithmetic::Shift, "{kernel:?}");
                    if all {
                        let mut inference =
                            Inference::new(&gpu, packed.clone(), 2, Some(kernel)).unwrap();
                        let got = logits(&mut inference, &inputs);
                        let name = &packed.model.name;
                        assert_eq!(got, wanted, "{name}, {}, {kernel:?}", path.name());
                    }
                }
            }
        }
    }
}

/// The mean difference of the pictures of a packed decoder from those of the low-precision network, in
/// units of 1/255, on latents of the prior.
fn distance(model: &Model, activations: Activations, weights: &[f32], images: &Images) -> f64 {
    let packed = pack_weights(device(), model, activations, weights, images);
    let generator = Generator::new(device(), model.clone(), 100)
        .unwrap()
        .unwrap();
    generator.set_weights(weights);
    let latents = draw_latents(1, 200, generator.latent());
    let lp = block_on(generator.decode(Which::LowPrecision, &latents)).unwrap();
    let mut inference = Inference::new(device(), packed, 100, None).unwrap();
    let logits = block_on(inference.decode(&latents, |_| ())).unwrap();
    let drawn = pictures(inference.model(), &logits);
    assert_eq!(drawn.size(), model.input);
    assert_eq!(drawn.count(), latents.len());
    assert_eq!(drawn.pixels.len(), lp.pixels.len());
    assert!(drawn.image(0) != drawn.image(1), "latents differ");
    mean_difference(&lp, &drawn)
}

/// [`distance`] with both widths of activations.
fn decoder_is_as_right_as_its_floats(model: &Model, weights: &[f32], images: &Images) {
    for (activations, most) in [(Activations::Eight, 3.0), (Activations::Sixteen, 0.05)] {
        let found = distance(model, activations, weights, images);
        println!("{} {activations:?}: {found:.4} of 255", model.name);
        assert!(found <= most, "{} {activations:?}: {found}", model.name);
    }
}

/// The same weights in the middles of their levels. Learning leaves many within f32's precision of an edge
/// between two, where LP, which decides in f32, and the packer, in f64, may differ: that would hide what the
/// integers add.
fn in_the_middle(model: &Model, weights: &[f32]) -> Vec<f32> {
    let parameters = Parameters::new(model);
    let mut moved = weights.to_vec();
    for layer in &parameters.layers {
        let quantiser = layer.quantiser_values(weights);
        let [c, s] = quantiser.map(f64::from);
        let middle = |w: &f32| match reference::exponent(f64::from(*w), c, s) {
            Some(e) => ((f64::from(e) - c) / s).exp2().copysign(f64::from(*w)) as f32,
            None => 0.0,
        };
        let values: Vec<f32> = layer.weight_values(weights).iter().map(middle).collect();
        let of = |values: &[f32]| -> Vec<Option<i32>> {
            let exponents = values
                .iter()
                .map(|w| reference::exponent(f64::from(*w), c, s));
            exponents.collect()
        };
        assert_eq!(
            of(&values),
            of(&layer.weight_values(weights)),
            "{}",
            layer.name
        );
        let values = LayerValues {
            weights: values,
            bias: Vec::new(),
            quantiser: quantiser.to_vec(),
        };
        layer.place(&mut moved, &values);
    }
    moved
}

#[test]
fn a_learned_decoder_draws_what_the_floats_draw() {
    let digits = embedded_digits().unwrap();
    let options = TrainOptions {
        epochs: 2,
        learning_rate: 2e-3,
        lambda_bits: 6.0,
        ..TrainOptions::auto_encoder()
    };
    let mut trainer = Trainer::new(device(), vae_mlp(), &digits.train, options).unwrap();
    while trainer.steps_done() < trainer.total_steps() {
        trainer.train_step(&digits.train);
    }
    let weights = block_on(trainer.snapshot()).unwrap().weights;
    let weights = in_the_middle(&vae_mlp(), &weights);
    decoder_is_as_right_as_its_floats(&vae_mlp(), &weights, &digits.train);
}

/// At their real shapes, with weights as large as learned ones and quantisers that halve the range of
/// their exponents.
#[test]
fn convolutional_decoders_draw_what_the_floats_draw() {
    for (model, likelihood) in [
        (vae(), Likelihood::Bernoulli),
        (vae_colour(), Likelihood::Gaussian),
    ] {
        let model = model.with_latent(20, likelihood);
        let parameters = Parameters::new(&model);
        let mut weights = parameters.initial(3);
        for layer in &parameters.layers {
            // Around the exponent of a standard deviation.
            let intercept = 0.25 * (2.0 / layer.fan_in() as f32).log2();
            let values = LayerValues {
                quantiser: vec![intercept, 0.5],
                ..LayerValues::default()
            };
            layer.place(&mut weights, &values);
        }
        decoder_is_as_right_as_its_floats(&model, &weights, &noise_images(&model, 20));
    }
}

/// What a decoder's file says of itself must fit.
#[test]
fn a_file_of_a_decoder_holds_it_or_is_refused() {
    for likelihood in [Likelihood::Bernoulli, Likelihood::Gaussian] {
        let model = vae_mlp().with_latent(9, likelihood);
        let packed = packed(device(), &model, Activations::Sixteen, 0.3);
        let bytes = encode(&packed).unwrap();
        assert_eq!(decode("test", &bytes).unwrap(), packed);
    }
    let [good, decoder] = [false, true].map(|decoder| &small_file(decoder).0);
    for (file, from, to, words) in [
        (
            decoder,
            r#"\"version\":3"#,
            r#"\"version\":1"#,
            "a graph in format 1",
        ),
        (
            decoder,
            r#"\"version\":3"#,
            r#"\"version\":4"#,
            "reads up to 3",
        ),
        (good, r#"\"version\":3"#, r#"\"version\":2"#, "in format 2"),
        (
            decoder,
            r#"\"latent\":6"#,
            r#"\"latent\":0"#,
            "graph and its decoder differ",
        ),
        (
            decoder,
            r#"\"latent\":6"#,
            r#"\"latent\":5"#,
            "graph and its decoder differ",
        ),
        (
            decoder,
            r#"\"decoder"#,
            r#"\"decodes"#,
            "graph and its decoder differ",
        ),
        (decoder, "bernoulli", "poisson  ", "unknown variant"),
        (
            decoder,
            "bernoulli\\\"",
            "gaussian\\\" ",
            "graph and its decoder differ",
        ),
        (
            decoder,
            r#"\"vae-mlp\""#,
            r#"\"vgg16\"  "#,
            "its graph that it is of 'vae-mlp'",
        ),
    ] {
        let text: String = file.iter().map(|b| char::from(*b)).collect();
        assert_eq!(from.len(), to.len());
        let changed: Vec<u8> = text
            .replacen(from, to, 1)
            .chars()
            .map(|c| c as u8)
            .collect();
        assert!(&changed != file, "{from} is in it");
        let error = decode("test", &changed).unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
    }
}
