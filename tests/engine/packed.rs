//! Packed models: the same integers from every kernel, on every driver, as from the definition.

use std::path::Path as FilePath;
use std::sync::OnceLock;

use crate::common::packing::{device, gpu, logits, packed, random_weights, small_file, two_inputs};
use gtc::data::{Images, embedded_digits};
use gtc::evaluate::Evaluator;
use gtc::gpu::{Gpu, Path};
use gtc::infer::{Inference, best};
use gtc::model::{LayerValues, Model, NAMES, Parameters};
use gtc::op::{Arithmetic, ConvShape};
use gtc::pack::{Activations, PackError, PackedModel, PackedSize, Trained, decode, encode, pack};
use gtc::reference;
use gtc::rng::Philox;
use gtc::train::{TrainOptions, Trainer};
use pollster::block_on;
use proptest::prelude::*;

/// Every model, at its real shapes, in every arithmetic: what the definition says.
#[test]
fn every_model_gives_the_definitions_integers() {
    for name in NAMES {
        let model = Model::by_name(name).unwrap();
        let packed = packed(device(), &model, Activations::Eight, 0.3);
        check_size(&packed);
        let inputs = two_inputs(&packed);
        let wanted: Vec<Vec<i32>> = inputs
            .iter()
            .map(|input| reference::infer(&packed, input))
            .collect();
        assert!(wanted[0].iter().any(|l| *l != 0), "{name} says something");
        assert_ne!(wanted[0], wanted[1], "{name} tells two inputs apart");
        for batch in [1, 2] {
            for kernel in [None, Some(Arithmetic::Shift), Some(Arithmetic::Dot4)] {
                let mut inference =
                    Inference::new(device(), packed.clone(), batch, kernel).unwrap();
                let got = logits(&mut inference, &inputs);
                assert_eq!(got, wanted, "{name}, batch {batch}, {kernel:?}");
            }
        }
        let mut small = Inference::small(device(), packed, 1, None).unwrap();
        assert!(small.choices().iter().all(|c| c.sharing == "vector"));
        let got = logits(&mut small, &inputs);
        assert_eq!(got, wanted, "{name}, least code");
    }
}

/// A budget of bytes is kept only if the size of the file is known before it is made.
fn check_size(packed: &PackedModel) {
    let parameters = Parameters::new(&packed.model);
    let bits = parameters.quantised().map(|layer| {
        let found = packed.layers.iter().find(|known| known.name == layer.name);
        found.map_or(0, |known| known.bits)
    });
    let known = PackedSize::of(&packed.model).unwrap().bytes(bits) as i64;
    let file = encode(packed).unwrap().len() as i64;
    let name = &packed.model.name;
    assert!(
        (known - file).abs() <= 400,
        "{name}: {known} instead of {file} bytes"
    );
}

#[test]
fn vgg16_at_batch_one_needs_little_memory() {
    let model = Model::by_name("vgg16").unwrap();
    let packed = packed(device(), &model, Activations::Eight, 0.0);
    let inference = Inference::new(device(), packed, 1, None).unwrap();
    let bytes = inference.memory_bytes();
    assert!(
        bytes <= 12_000_000,
        "{bytes} bytes of buffers and their texture copies"
    );
}

/// The whole file, header, biases and shifts included, beside its weights as floats.
#[test]
fn files_are_as_small_as_their_bits_promise() {
    let model = Model::by_name("vgg16").unwrap();
    let parameters = Parameters::new(&model);
    let running = parameters.initial_running();
    let classes: Vec<String> = (0..model.classes).map(|c| c.to_string()).collect();
    for (slope, bits, share) in [(0.0, 1, 26), (0.04, 2, 14)] {
        let mut weights = parameters.initial(3);
        for layer in &parameters.layers {
            let values = LayerValues {
                quantiser: vec![-3.25, slope],
                ..LayerValues::default()
            };
            layer.place(&mut weights, &values);
        }
        let calibration = gtc::evaluate::Calibration {
            values: vec![vec![1.0]; model.graph.nodes.len() + 1],
        };
        let trained = Trained {
            model: &model,
            data: "noise",
            classes: &classes,
            seen: None,
            weights: &weights,
            running: &running,
            exact_norm: false,
        };
        let packed = pack(&trained, Activations::Eight, &calibration).unwrap();
        assert!(packed.layers.iter().all(|l| l.bits <= bits));
        assert!(packed.layers.iter().any(|l| l.bits == bits));
        let file = encode(&packed).unwrap().len();
        let floats = packed.float_bytes();
        assert!(
            file * share <= floats,
            "{bits} bits: {file} of {floats} bytes"
        );
    }
}

/// LeNet-5 after two epochs, and the test digits.
fn learned() -> &'static (PackedModel, Images, f64) {
    static MODEL: OnceLock<(PackedModel, Images, f64)> = OnceLock::new();
    MODEL.get_or_init(|| {
        let digits = embedded_digits().unwrap();
        let options = TrainOptions {
            epochs: 2,
            lambda_bits: 5e-2,
            ..TrainOptions::default()
        };
        let model = Model::by_name("lenet5").unwrap();
        let mut trainer = Trainer::new(device(), model.clone(), &digits.train, options).unwrap();
        while trainer.steps_done() < trainer.total_steps() {
            trainer.train_step(&digits.train);
        }
        let (result, _) = block_on(trainer.test(&digits.test, |_| ())).unwrap();
        let snapshot = block_on(trainer.snapshot()).unwrap();
        let mut evaluator = Evaluator::new(device(), model.clone(), 100, true).unwrap();
        evaluator.set_weights(&snapshot.weights);
        let calibration = block_on(evaluator.calibrate(&digits.train)).unwrap();
        let trained = Trained {
            model: &model,
            data: gtc::data::EMBEDDED_DIGITS,
            classes: &digits.classes,
            seen: None,
            weights: &snapshot.weights,
            running: &snapshot.running[1],
            exact_norm: false,
        };
        let packed = pack(&trained, Activations::Eight, &calibration).unwrap();
        (packed, digits.test, result.lp.accuracy())
    })
}

/// The definition's logits of every test digit.
fn wanted() -> &'static Vec<Vec<i32>> {
    static LOGITS: OnceLock<Vec<Vec<i32>>> = OnceLock::new();
    LOGITS.get_or_init(|| {
        let (packed, digits, _) = learned();
        let infer = |i| reference::infer(packed, &packed.image_input(digits.image(i)));
        (0..digits.count()).map(infer).collect()
    })
}

fn agree_on_digits(gpu: &Gpu) {
    let (packed, digits, _) = learned();
    for kernel in Arithmetic::ALL {
        let mut inference = Inference::new(gpu, packed.clone(), 100, Some(kernel)).unwrap();
        let got = block_on(inference.infer(digits, |_| ())).unwrap();
        assert_eq!(&got, wanted(), "{}, {kernel:?}", gpu.name());
    }
}

#[test]
fn a_thousand_digits_agree_on_every_path() {
    agree_on_digits(device());
    for path in Path::ALL.into_iter().filter(|path| device().can_run(*path)) {
        agree_on_digits(&gpu(Some(path)));
    }
}

#[test]
fn integers_are_as_right_as_the_floats_they_come_from() {
    let (packed, digits, float) = learned();
    let mut inference = Inference::new(device(), packed.clone(), 100, None).unwrap();
    let logits = block_on(inference.infer(digits, |_| ())).unwrap();
    let right = logits.iter().zip(&digits.labels);
    let right = right
        .filter(|(l, label)| best(l) == usize::from(**label))
        .count();
    let accuracy = right as f64 / digits.count() as f64;
    assert!(
        (accuracy - float).abs() <= 0.005,
        "{accuracy} packed, {float} before"
    );
}

#[test]
fn a_file_holds_exactly_the_model() {
    let (packed, ..) = learned();
    let bytes = encode(packed).unwrap();
    assert_eq!(&decode("test", &bytes).unwrap(), packed);
    assert_eq!(bytes, encode(packed).unwrap());
}

#[test]
fn exponents_too_far_apart_are_refused_by_name() {
    let model = Model::by_name("lenet-small").unwrap();
    let weights = random_weights(&model, 4.0);
    let running = Parameters::new(&model).initial_running();
    let calibration = gtc::evaluate::Calibration {
        values: vec![vec![1.0]; model.graph.nodes.len() + 1],
    };
    let trained = Trained {
        model: &model,
        data: "noise",
        classes: &[],
        seen: None,
        weights: &weights,
        running: &running,
        exact_norm: false,
    };
    match pack(&trained, Activations::Eight, &calibration) {
        Err(PackError::Overflow { layer, .. }) => assert_eq!(layer, "conv1"),
        other => panic!("{other:?}"),
    }
}

/// A run on SwiftShader, if it is installed, as a process of its own.
#[test]
fn swiftshader_gives_the_same_logits() {
    let driver = "/usr/lib/chromium/vk_swiftshader_icd.json";
    if !FilePath::new(driver).exists() {
        eprintln!("SwiftShader is not installed: nothing compared");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gtc");
    std::fs::write(&file, encode(&learned().0).unwrap()).unwrap();
    let logits = |driver: Option<&str>, kernel: &str| {
        let out = folder.path().join("logits.json");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gtc"));
        command
            .arg("eval")
            .arg(&file)
            .args(["--kernel", kernel, "--logits"])
            .arg(&out);
        if let Some(driver) = driver {
            command.env("VK_ICD_FILENAMES", driver);
        }
        assert!(command.output().unwrap().status.success());
        std::fs::read(&out).unwrap()
    };
    let wanted = logits(None, "shift");
    for kernel in Arithmetic::ALL {
        assert!(
            logits(Some(driver), kernel.name()) == wanted,
            "{}",
            kernel.name()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A changed file is refused, or, where nothing that matters changed, still the same model.
    #[test]
    fn damaged_files(decoder in any::<bool>(), at in any::<usize>(), head in any::<bool>(), mask in 1u8.., cut in any::<usize>(), truncate in any::<bool>()) {
        let (good, model) = small_file(decoder);
        let mut bytes = good.clone();
        let at = at % if head { 2000 } else { bytes.len() };
        bytes[at] ^= mask;
        if truncate {
            bytes.truncate(cut % good.len());
        }
        if let Ok(read) = decode("fuzz", &bytes) {
            prop_assert!(&read == model, "byte {at} ^ {mask}");
        }
    }
}

/// Everything that a random layer may be: widths, spans, odd channels, saturating inputs.
#[test]
fn random_layers_agree() {
    let mut rng = Philox::new(77, 0);
    for number in 0..60 {
        let mut pick = |from: usize, to: usize| from + rng.below((to - from + 1) as u32) as usize;
        let kernel = [1, 1, 2, 3, 5][pick(0, 4)];
        let side = kernel + pick(0, 6);
        let deep = pick(0, 3) == 0;
        let inputs = if deep { pick(200, 512) } else { pick(1, 40) };
        let (batch, outputs) = (pick(1, 3), pick(1, 40));
        let (stride, padding) = (pick(1, 2), pick(0, kernel / 2));
        let shape = ConvShape {
            batch,
            input_height: side,
            input_width: side,
            input_channels: inputs,
            output_channels: outputs,
            kernel_height: kernel,
            kernel_width: kernel,
            stride,
            padding: [padding, padding],
        };
        let bits = pick(1, 8) as u32;
        let zero = bits > 1 && pick(0, 1) == 1;
        let most_top = ((1usize << (bits - 1)) - 1)
            .saturating_sub(usize::from(zero))
            .min(12);
        let top = pick(0, most_top) as u32;
        let most = [127, 32_767][usize::from(pick(0, 3) == 0)];
        for case in
            gtc::verify::packed_cases(shape, bits, (zero, top), pick(0, 14) as i32 - 2, most)
        {
            let report = block_on(gtc::verify::run_case(device(), &case)).unwrap();
            assert!(
                report.failure.is_none(),
                "layer {number}: {} {:?}",
                report.case,
                report.failure
            );
        }
    }
}
