//! Float networks in ONNX, from outside: in, out, and levels for them without training.

use std::path::{Path, PathBuf};

use crate::common::pictures::Tree;
use crate::common::{json, refuse, run, succeed, trained};
use gtc::checkpoint;
use serde_json::Value;

fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/onnx");
    format!("{folder}/{name}.onnx")
}

/// A folder of its own, and paths in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

#[test]
fn a_network_comes_in_and_says_what_it_is() {
    let place = Place::new();
    let out = place.at("net.safetensors");
    let said = succeed(&["import", &fixture("residual-11"), "-o", &out]);
    for word in [
        "residual-11",
        "5 layers",
        "2 batch normalisations",
        "6 x 6",
        "classes  5",
        "gtc quantise",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let header = checkpoint::load(Path::new(&out)).unwrap().header;
    assert_eq!(header.model().unwrap().input, [6, 6, 3]);
    for model in [&out, &fixture("residual-11")] {
        let shown = succeed(&["models", "check", model]);
        assert!(shown.contains("conv1"), "{shown}");
        assert!(succeed(&["models", "show", model]).contains("op = \"norm\""));
    }
    // What the network does to its pixels is part of the model; so is what is said of them.
    let said = succeed(&["import", &fixture("scaled-input-17"), "-o", &out]);
    assert!(said.contains("0.25"), "{said}");
    let said = succeed(&[
        "import",
        &fixture("lenet-17"),
        "-o",
        &out,
        "--range",
        "-1..1",
    ]);
    assert!(said.contains("deviation [0.5"), "{said}");
    // What is said comes first, and what the network does itself after it: ((255 x) - mean) / deviation.
    let own = checkpoint::load(Path::new(&out)).unwrap().header;
    assert_eq!(own.model().unwrap().scaling.deviation, [0.5; 3]);
    let scaled = fixture("scaled-input-17");
    let scaling = |more: &[&str]| {
        succeed(&[&["import", &scaled, "-o", &out], more].concat());
        let header = checkpoint::load(Path::new(&out)).unwrap().header;
        header.model().unwrap().scaling
    };
    let (plain, of_bytes) = (scaling(&[]), scaling(&["--range", "0..255"]));
    for channel in 0..3 {
        for (found, wanted) in [
            (of_bytes.mean[channel], plain.mean[channel] / 255.0),
            (
                of_bytes.deviation[channel],
                plain.deviation[channel] / 255.0,
            ),
        ] {
            assert!((found - wanted).abs() < 1e-6, "{found} and {wanted}");
        }
    }
    // Pictures have one channel or three.
    let four = place.at("four.safetensors");
    succeed(&["import", &fixture("grouped-17"), "-o", &four]);
    let picture = place.at("picture.png");
    image::RgbImage::new(4, 4).save(&picture).unwrap();
    refuse(&["classify", &four, &picture], &["images of 4 channels"]);
    // It is said when a network comes in, and not again.
    refuse(
        &[
            "quantise",
            &out,
            "-o",
            &place.at("q.safetensors"),
            "--range",
            "0..255",
        ],
        &["imported already", "gtc import"],
    );
    let (_, _, notes) = run(&["import", &fixture("uneven-pad-17"), "-o", &out]);
    assert!(notes.contains("uneven pads"), "{notes}");
}

#[test]
fn what_cannot_come_in_is_named() {
    let place = Place::new();
    let out = place.at("net.safetensors");
    // Weights beside the file, which is copied alone.
    let alone = PathBuf::from(place.at("mean-20.onnx"));
    std::fs::copy(fixture("mean-20"), &alone).unwrap();
    let words = [
        "mean-20.onnx",
        "beside the model",
        "Keep the two files together",
    ];
    refuse(&["import", alone.to_str().unwrap(), "-o", &out], &words);
    std::fs::copy(fixture("mean-20") + ".data", place.at("mean-20.onnx.data")).unwrap();
    succeed(&["import", alone.to_str().unwrap(), "-o", &out]);
    let text = place.at("text.onnx");
    std::fs::write(&text, "no network").unwrap();
    refuse(
        &["import", &text, "-o", &out],
        &["text.onnx", "not a whole ONNX model"],
    );
    refuse(
        &["import", &place.at("none.onnx"), "-o", &out],
        &["none.onnx"],
    );
    refuse(
        &["import", &fixture("lenet-17"), "-o", &place.at("net.onnx")],
        &["safetensors"],
    );
    refuse(
        &[
            "import",
            &fixture("lenet-17"),
            "-o",
            &out,
            "--model",
            "lenet5",
        ],
        &["leave --model away"],
    );
    assert!(succeed(&["import", "--help"]).contains("PyTorch"));
}

/// Trains a float network on the embedded digits, and writes it as ONNX.
fn trained_digits(place: &Place, model: &str, epochs: &str) -> String {
    let (out, file) = (place.at("run"), place.at("net.onnx"));
    succeed(&[
        "train",
        model,
        "--objective",
        "float",
        "--epochs",
        epochs,
        "--out",
        &out,
    ]);
    let said = succeed(&["export", &out, "--to", "onnx", "-o", &file]);
    assert!(said.contains("float weights (HP)"), "{said}");
    file
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap()
}

#[test]
fn levels_without_training_cost_little() {
    let place = Place::new();
    let file = trained_digits(&place, "lenet5", "4");
    holds_with_few_bits(&place, &file);
    // What was packed gives what low precision gives.
    let (quantised, packed) = (place.at("q-4bits.safetensors"), place.at("q.gtc"));
    succeed(&["pack", &quantised, "-o", &packed]);
    let [lp, integers] = [&quantised, &packed].map(|model| json(&["eval", model, "--json"]));
    let off = number(&lp, "lp_accuracy") - number(&integers, "accuracy");
    assert!(off.abs() <= 0.003, "{off}");
}

#[test]
fn levels_for_networks_with_batch_normalisations_cost_little() {
    let place = Place::new();
    let text = r#"
        name = "small-vgg"
        input = [28, 28, 1]
        nodes = [
          { op = "conv", outputs = 16, kernel = 3, padding = 1, bias = false },
          { op = "norm" }, { op = "relu" }, { op = "max-pool", size = 2 },
          { op = "conv", outputs = 32, kernel = 3, padding = 1, bias = false },
          { op = "norm" }, { op = "relu" }, { op = "max-pool", size = 2 },
          { op = "conv", outputs = 48, kernel = 3, padding = 1, bias = false },
          { op = "norm" }, { op = "relu" }, { op = "max-pool", size = 2 },
          { op = "dense", outputs = 10 },
        ]"#;
    let model = place.at("small-vgg.toml");
    std::fs::write(&model, text).unwrap();
    let file = trained_digits(&place, &model, "5");
    holds_with_few_bits(&place, &file);
}

/// At most a point at three bits and a third of one at four, of 1,000 images: one more image each.
fn holds_with_few_bits(place: &Place, file: &str) {
    let out = place.at("q.safetensors");
    let reports = json(&["quantise", file, "-o", &out, "--bits", "4,2,3", "--json"]);
    let reports = reports.as_array().unwrap().clone();
    let most = |report: &Value| {
        let layers = report["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer["bits"].as_u64().unwrap())
            .max()
    };
    assert_eq!(
        reports.iter().map(most).collect::<Vec<_>>(),
        [Some(2), Some(3), Some(4)]
    );
    let lost = |report: &Value| number(report, "float_accuracy") - number(report, "lp_accuracy");
    let losses: Vec<f64> = reports.iter().map(lost).collect();
    assert!(losses[1] <= 0.0111 && losses[2] <= 0.0041, "{losses:?}");
    // The float weights hardly moved, and statistics of batch normalisations behind them are their own.
    for report in &reports[1..] {
        let moved = number(report, "float_accuracy") - number(report, "hp_accuracy");
        assert!(moved <= 0.02, "{moved}");
    }
    // Levels that are nearest to the weights cost more.
    let nearest = place.at("n.safetensors");
    let nearest = json(&[
        "quantise", file, "-o", &nearest, "--bits", "2", "--fit", "weights", "--json",
    ]);
    assert!(
        lost(&nearest) > losses[0],
        "{} and {}",
        lost(&nearest),
        losses[0]
    );
    let table = succeed(&["quantise", file, "-o", &out, "--bits", "3,4"]);
    for word in [
        "float",
        "q-3bits.safetensors",
        "q-4bits.safetensors",
        "gtc pack",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(
        !Path::new(&out).exists(),
        "one file for each number of bits"
    );
}

#[test]
fn training_goes_on_from_onnx() {
    let place = Place::new();
    let (old, data) = trained();
    let file = place.at("net.onnx");
    succeed(&[
        "export",
        old,
        "--to",
        "onnx",
        "--network",
        "hp",
        "-o",
        &file,
    ]);
    let train = |words: &[&str], out: &str| {
        let usual = [
            "train",
            "--from",
            &file,
            "--epochs",
            "1",
            "--batch-size",
            "20",
            "--out",
            out,
        ];
        run(&[&usual, words].concat())
    };
    let out = place.at("run");
    let (code, _, errors) = train(&["--data", data, "--learning-rate", "1e-12"], &out);
    assert_eq!(code, 0, "{errors}");
    let [before, after] = [old, &out].map(|run| json(&["eval", run, "--data", data, "--json"]));
    assert_eq!(before["hp_accuracy"], after["hp_accuracy"]);
    // The run keeps the network, not the file.
    std::fs::rename(&file, place.at("moved.onnx")).unwrap();
    succeed(&["train", "--resume", &out, "--epochs", "2"]);
    std::fs::rename(place.at("moved.onnx"), &file).unwrap();
    // Other classes: the last layer starts anew, the others go on.
    let pictures = Tree::two_classes(40);
    let folder = pictures.at("").display().to_string();
    let other = place.at("other");
    let words = ["--data", &folder, "--grey", "--learning-rate", "1e-12"];
    let (code, _, errors) = train(&words, &other);
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.contains("10 classes") && errors.contains("starts anew"),
        "{errors}"
    );
    let [before, after] = [&out, &other].map(|run| checkpoint::load(Path::new(run)).unwrap());
    let weights = |checkpoint: &checkpoint::Checkpoint| {
        let parameters = gtc::model::Parameters::new(&checkpoint.header.model().unwrap());
        parameters.layers[0].weight_values(&checkpoint.snapshot.weights)
    };
    let pairs = weights(&before).into_iter().zip(weights(&after));
    assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-6);
    assert_eq!(after.header.model().unwrap().classes, 2);
    // The config of the run makes the same run, although no model of the program is called as the file's.
    let (config, again) = (place.at("other/config.toml"), place.at("again"));
    succeed(&["train", "--config", &config, "--out", &again]);
    let again = checkpoint::load(Path::new(&again)).unwrap();
    assert_eq!(again.snapshot.weights, after.snapshot.weights);
    // But a config whose model is mistyped names no model, and one that names a model takes no other.
    let text = std::fs::read_to_string(&config).unwrap();
    let name = text.lines().next().unwrap().to_owned();
    for (model, words) in [
        ("lenet6", &["unknown model 'lenet6'"]),
        ("lenet5", &["lenet5"]),
    ] {
        let changed = text.replacen(&name, &format!("model = \"{model}\""), 1);
        std::fs::write(&config, changed).unwrap();
        let out = place.at("refused");
        refuse(
            &["train", "--config", &config, "--from", old, "--out", &out],
            words,
        );
    }
    // The same from weights in PyTorch's layout, which say by their shapes what they are of.
    let (theirs, third) = (place.at("theirs.safetensors"), place.at("third"));
    succeed(&["export", old, "-o", &theirs]);
    let words = [
        "train", "--from", &theirs, "--data", &folder, "--grey", "--epochs", "1",
    ];
    let more = [
        "--batch-size",
        "20",
        "--learning-rate",
        "1e-12",
        "--out",
        &third,
    ];
    succeed(&[&words[..], &more].concat());
    let third = checkpoint::load(Path::new(&third)).unwrap();
    assert_eq!(weights(&third), weights(&after));
}

#[test]
fn networks_go_out_as_floats() {
    let place = Place::new();
    let (old, data) = trained();
    let (hp, lp, back) = (
        place.at("hp.onnx"),
        place.at("lp.onnx"),
        place.at("back.safetensors"),
    );
    let said = succeed(&["export", old, "--to", "onnx", "--network", "lp", "-o", &lp]);
    assert!(
        said.contains("powers of two (LP)") && said.contains("float32"),
        "{said}"
    );
    succeed(&["export", old, "--to", "onnx", "--network", "hp", "-o", &hp]);
    succeed(&["import", &hp, "-o", &back]);
    let [there, here] = [&back, old].map(|model| json(&["eval", model, "--data", data, "--json"]));
    assert_eq!(there["hp_accuracy"], here["hp_accuracy"]);
    // LP's weights are powers of two, so levels for them are found without an error.
    let levels = json(&[
        "quantise", &lp, "-o", &back, "--data", data, "--fit", "weights", "--bits", "6", "--range",
        "0..1", "--json",
    ]);
    for layer in levels["layers"].as_array().unwrap() {
        assert!(number(layer, "relative_squared_error") < 1e-9, "{layer}");
    }
    // A packed model has no floats left, and PyTorch's layout no integers.
    let packed = place.at("m.gtc");
    succeed(&[
        "pack",
        old,
        "-o",
        &packed,
        "--calibrate",
        data,
        "--activations",
        "8",
    ]);
    refuse(
        &[
            "export",
            &packed,
            "--to",
            "onnx",
            "--network",
            "hp",
            "-o",
            &hp,
        ],
        &["packed already"],
    );
    refuse(
        &["export", old, "--network", "integer", "-o", &back],
        &["--to onnx"],
    );
    refuse(
        &[
            "export",
            old,
            "--to",
            "c",
            "--network",
            "hp",
            "-o",
            &place.at("c"),
        ],
        &["--network"],
    );
    let lenet5 = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lenet5.gtc");
    let said = succeed(&["export", lenet5, "--to", "onnx", "-o", &place.at("i.onnx")]);
    assert!(said.contains("uint8"), "{said}");
}
