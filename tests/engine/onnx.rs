//! Float networks out of ONNX files, against what onnxruntime makes of them (`tests/files/onnx/make.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use gtc::checkpoint::{Checkpoint, Header, VERSION};
use gtc::data::Images;
use gtc::evaluate::Evaluator;
use gtc::foreign::{ForeignModel, WeightPrecision};
use gtc::graph::Description;
use gtc::model::{LayerValues, Model, Parameters};
use gtc::onnx::{OnnxError, import, write_float};
use gtc::op::Op;
use gtc::reference::logits;
use gtc::rng::Philox;
use gtc::train::{Snapshot, TrainOptions};
use pollster::block_on;

use crate::common::packing::device;
use crate::common::random_graphs::random_model;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/onnx")
}

/// All files of the folder, by name without the suffix.
fn files() -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect()
}

fn beside(name: &str) -> Result<Rc<Vec<u8>>, String> {
    let bytes = std::fs::read(folder().join(name)).map_err(|e| e.to_string())?;
    Ok(Rc::new(bytes))
}

fn read(name: &str, data: &[u8]) -> Result<ForeignModel, OnnxError> {
    import(name, data, &mut beside)
}

/// The images that the script runs, (images, rows, columns, channels), as the network reads them.
fn images(found: &ForeignModel, count: usize) -> Vec<f64> {
    let [height, width, channels] = found.model.input;
    let number = |i: usize| f64::from((37 * i + 11) as f32 % 101.0 / 101.0);
    let scaling = &found.model.scaling;
    let mut pixels = Vec::new();
    for image in 0..count {
        for place in 0..height * width {
            for channel in 0..channels {
                // Channels first, also where the script turned them for a network that has them last.
                let at = (image * channels + channel) * height * width + place;
                let scaled = channel.min(2);
                pixels.push(
                    (number(at) - f64::from(scaling.mean[scaled]))
                        / f64::from(scaling.deviation[scaled]),
                );
            }
        }
    }
    pixels
}

fn float_logits(found: &ForeignModel, images: &[f64]) -> Vec<f64> {
    let arenas = [&found.weights[..], &found.running];
    logits(&found.model, WeightPrecision::High, arenas, images)
}

#[test]
fn imported_networks_give_what_onnxruntime_gives() {
    let expected = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let expected: BTreeMap<String, Vec<f64>> = serde_json::from_str(&expected).unwrap();
    let files = files();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    let mut failures = Vec::new();
    for (name, data) in &files {
        let found = match read(name, data) {
            Ok(found) => found,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let wanted = &expected[name];
        let count = wanted.len() / found.model.classes;
        let images = images(&found, count);
        let mut given = float_logits(&found, &images);
        if name.contains("softmax") {
            for row in given.chunks_mut(found.model.classes) {
                let sum: f64 = row.iter().map(|v| v.exp()).sum();
                row.iter_mut().for_each(|v| *v -= sum.ln());
                if !name.starts_with("log") {
                    row.iter_mut().for_each(|v| *v = v.exp());
                }
            }
        }
        let pairs = given.iter().zip(wanted);
        let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if given.len() != wanted.len() || off.is_nan() || off > 1e-4 {
            failures.push(format!("{name}: off by {off}, {given:?} {wanted:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The same network without any quantised layer, so that a test of low precision shows the float network.
fn in_float(found: &ForeignModel) -> (Model, Vec<f32>) {
    let mut model = found.model.clone();
    for node in &mut model.graph.nodes {
        match &mut node.op {
            Op::Conv(conv) => conv.quantise = false,
            Op::Dense(dense) => dense.quantise = false,
            _ => (),
        }
    }
    let (from, to) = (Parameters::new(&found.model), Parameters::new(&model));
    let mut weights = vec![0.0; to.layout.len().next_multiple_of(4)];
    for (from, to) in from.layers.iter().zip(&to.layers) {
        to.place(&mut weights, &from.values(&found.weights));
    }
    for (from, to) in from.norms.iter().zip(&to.norms) {
        let [gamma, beta] = from.values(&found.weights);
        to.place(&mut weights, &gamma, &beta);
    }
    (model, weights)
}

/// Networks of torchvision by several exporters: `scripts/test-onnx` makes them, each with the bytes of its images and what
/// onnxruntime makes of them, and runs this.
#[test]
fn networks_of_torchvision_give_what_onnxruntime_gives() {
    let Some(folder) = std::env::var_os("GTC_ONNX_MODELS").map(PathBuf::from) else {
        eprintln!("no networks of torchvision (scripts/test-onnx makes them): nothing compared");
        return;
    };
    let gpu = device();
    let mut compared = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let mut beside = |file: &str| {
            let bytes = std::fs::read(path.with_file_name(file)).map_err(|e| e.to_string())?;
            Ok(Rc::new(bytes))
        };
        let data = std::fs::read(&path).unwrap();
        let found = import(name, &data, &mut beside).unwrap_or_else(|e| panic!("{name}: {e}"));
        let answers = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let wanted: Vec<Vec<f64>> = serde_json::from_str(&answers).unwrap();
        let [height, width, channels] = found.model.input;
        // Bytes (37 i + 11) mod 256, i counted channels first.
        let byte = |image: usize, pixel: usize, channel: usize| {
            let i = (image * channels + channel) * height * width + pixel;
            ((37 * i + 11) % 256) as u8
        };
        let pixels = (0..wanted.len()).flat_map(|image| {
            (0..height * width).flat_map(move |pixel| {
                (0..channels).map(move |channel| byte(image, pixel, channel))
            })
        });
        let images = Images {
            width,
            height,
            channels,
            pixels: pixels.collect::<Vec<u8>>().into(),
            labels: vec![0; wanted.len()],
        };
        let (model, weights) = in_float(&found);
        let mut evaluator = Evaluator::new(gpu, model, wanted.len(), false).unwrap();
        evaluator.set_weights(&weights);
        evaluator.set_running(&[found.running.clone(), found.running.clone()]);
        let (_, predictions) = block_on(evaluator.test(&images, |_| ())).unwrap();
        for (given, logits) in predictions.probabilities.iter().zip(&wanted) {
            // Logits up to what all have in common, which probabilities do not show.
            let sum: f64 = logits.iter().map(|v| v.exp()).sum();
            for (p, logit) in given.iter().zip(logits) {
                let off = (f64::from(*p).ln() - (logit - sum.ln())).abs();
                assert!(off < 1e-4, "{name}: off by {off}");
            }
        }
        compared += 1;
    }
    assert!(compared >= 8, "{compared} networks in {}", folder.display());
    eprintln!("{compared} networks agree");
}

/// A model with random weights and statistics.
fn random_checkpoint(model: &Model, seed: u64) -> Checkpoint {
    let parameters = Parameters::new(model);
    let mut weights = parameters.initial(seed);
    let mut running = parameters.initial_running();
    let mut rng = Philox::new(seed, 99);
    let mut numbers = |count: usize, low: f32| -> Vec<f32> {
        (0..count)
            .map(|_| (0.3 * rng.normal()).abs() as f32 + low)
            .collect()
    };
    for norm in &parameters.norms {
        let (gamma, beta) = (numbers(norm.channels, 0.5), numbers(norm.channels, -0.2));
        norm.place(&mut weights, &gamma, &beta);
        let statistics = [numbers(norm.channels, -0.2), numbers(norm.channels, 0.5)];
        norm.place_running(&mut running, &statistics.concat());
    }
    for layer in &parameters.layers {
        if layer.has_bias() {
            let values = LayerValues {
                bias: numbers(layer.shape[0], -0.1),
                ..LayerValues::default()
            };
            layer.place(&mut weights, &values);
        }
    }
    Checkpoint {
        header: Header {
            version: VERSION,
            model: model.name.clone(),
            graph: Some(Description::of(model)),
            data: "noise".to_owned(),
            classes: (0..model.classes).map(|class| class.to_string()).collect(),
            images: 1,
            data_hash: None,
            seen: None,
            step: 0,
            learned: None,
            options: TrainOptions::default(),
        },
        snapshot: Snapshot {
            step: 0,
            weights,
            first_moment: Vec::new(),
            second_moment: Vec::new(),
            running: [running.clone(), running],
            totals: Vec::new(),
        },
    }
}

/// Scaled pixels (images, rows, columns, channels).
fn noise(model: &Model, count: usize) -> Vec<f64> {
    let pixels: usize = model.input.iter().product();
    (0..count * pixels)
        .map(|i| ((37 * i + 11) % 101) as f64 / 101.0)
        .collect()
}

#[test]
fn a_float_network_comes_back_from_onnx_as_it_went() {
    let mut models: Vec<Model> = ["lenet5", "lenet-small", "vgg-tiny", "resnet20", "mobilenet"]
        .iter()
        .map(|name| Model::by_name(name).unwrap())
        .collect();
    let named = models.len();
    models.extend((0..30).map(random_model));
    let mut taken = 0;
    for (number, model) in models.iter().enumerate() {
        let checkpoint = random_checkpoint(model, number as u64);
        let file = write_float(&checkpoint, WeightPrecision::High).unwrap();
        let found = match read(&model.name, &file) {
            Ok(found) => found,
            // A row that becomes an image again is not read.
            Err(OnnxError::Node { operator, .. }) if operator == "Reshape" => continue,
            Err(error) => panic!("{number}: {error}\n{}", model.to_toml()),
        };
        taken += 1;
        let snapshot = &checkpoint.snapshot;
        if number < named {
            assert_eq!(found.model.graph, model.graph, "{}", model.name);
            assert_eq!(found.model.scaling, model.scaling);
            assert_eq!(found.weights, snapshot.weights, "{}", model.name);
            assert_eq!(found.running, snapshot.running[0]);
            continue;
        }
        let images = noise(model, 2);
        let arenas = [&snapshot.weights[..], &snapshot.running[0]];
        let wanted = logits(model, WeightPrecision::High, arenas, &images);
        for (given, wanted) in float_logits(&found, &images).iter().zip(wanted) {
            assert!(
                (given - wanted).abs() < 1e-5 * (1.0 + wanted.abs()),
                "{number}: {given} {wanted}"
            );
        }
    }
    assert!(taken > 25, "{taken} of {}", models.len());
}

/// Layers may be called like the input, the output, and what is computed beside a layer.
#[test]
fn names_of_layers_meet_no_other_names_in_a_file() {
    let text = r#"
name = "names"
input = [6, 6, 1]
nodes = [
  { name = "image", op = "conv", outputs = 4, kernel = 3 },
  { name = "constant", op = "relu6" },
  { name = "logits_row", op = "average-pool", size = 2 },
  { name = "sizes", op = "relu6" },
  { name = "logits", op = "dense", outputs = 10 },
]"#;
    let model = Description::from_toml(text).unwrap().model(None).unwrap();
    let checkpoint = random_checkpoint(&model, 1);
    let file = write_float(&checkpoint, WeightPrecision::High).unwrap();
    let found = read(&model.name, &file).unwrap();
    let images = noise(&model, 2);
    let arenas = [
        &checkpoint.snapshot.weights[..],
        &checkpoint.snapshot.running[0],
    ];
    let wanted = logits(&model, WeightPrecision::High, arenas, &images);
    for (given, wanted) in float_logits(&found, &images).iter().zip(wanted) {
        assert!(
            (given - wanted).abs() < 1e-5 * (1.0 + wanted.abs()),
            "{given} {wanted}"
        );
    }
}

#[test]
fn onnxruntime_gives_what_both_networks_give() {
    let Some(python) = crate::exports::python_with_onnx() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let small = ["lenet5", "vgg-tiny", "resnet20", "mobilenet"];
    let mut models: Vec<Model> = small
        .iter()
        .map(|name| Model::by_name(name).unwrap())
        .collect();
    models.extend((0..20).map(random_model));
    for (number, model) in models.iter().enumerate() {
        let checkpoint = random_checkpoint(model, number as u64);
        let images = noise(model, 2);
        let scaling = &model.scaling;
        let channels = model.input[2];
        // What goes into the file are pixels before they are scaled.
        let pixels: Vec<f64> = images
            .iter()
            .enumerate()
            .map(|(i, x)| {
                let channel = (i % channels).min(2);
                x * f64::from(scaling.deviation[channel]) + f64::from(scaling.mean[channel])
            })
            .collect();
        for (word, network) in [("hp", WeightPrecision::High), ("lp", WeightPrecision::Low)] {
            let file = write_float(&checkpoint, network).unwrap();
            let snapshot = &checkpoint.snapshot;
            let arenas = [&snapshot.weights[..], &snapshot.running[0]];
            let wanted = logits(model, network, arenas, &images);
            let name = folder.path().join(format!("{number}-{word}"));
            std::fs::write(name.with_extension("onnx"), file).unwrap();
            let facts =
                serde_json::json!({ "input": model.input, "pixels": pixels, "logits": wanted });
            std::fs::write(name.with_extension("json"), facts.to_string()).unwrap();
        }
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/files/onnx_float_check.py"
    );
    let output = Command::new(&python)
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(
        text(&output.stdout).contains("48 models agree"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_part_of_a_file_is_refused_or_the_same_network() {
    for (name, data) in files() {
        let whole = read(&name, &data).unwrap();
        for end in 0..data.len() {
            // What follows the graph and its operator set may be missing: it says nothing of the network.
            if let Ok(found) = read(&name, &data[..end]) {
                assert_eq!(
                    found.weights,
                    whole.weights,
                    "{name}: {end} of {} bytes",
                    data.len()
                );
            }
        }
    }
}
