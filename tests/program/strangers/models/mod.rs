//! Models from elsewhere are what they are, or are refused; models for elsewhere are what others read.

mod scales;

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use gtc::checkpoint;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use crate::common::{json, refuse, run, succeed, trained, write_data};

/// Convolutions with and without normalisations, and a dense layer.
const MINE: &str = r#"
name = "mine"
input = [28, 28, 1]
nodes = [
  { name = "conv1", op = "conv", outputs = 6, kernel = 3, stride = 2, padding = 1, bias = false },
  { name = "conv1_norm", op = "norm" },
  { op = "relu" },
  { name = "conv2", op = "conv", outputs = 12, kernel = 3, stride = 2, padding = 1 },
  { op = "relu" },
  { name = "conv3", op = "conv", outputs = 12, kernel = 3, stride = 2, padding = 1 },
  { op = "relu" },
  { name = "fc", op = "dense", outputs = 10 },
]
"#;

/// What all tests here share: a trained network and its data.
struct Mine {
    description: String,
    run: String,
    /// What `gtc quantise` made of it.
    quantised: String,
    data: String,
    /// HP as PyTorch has it.
    tensors: Tensors,
    /// What `gtc quantise` says of the run.
    report: Value,
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn mine() -> &'static Mine {
    static MADE: OnceLock<Mine> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let at = |name: &str| folder.join(name).display().to_string();
        fs::write(at("mine.toml"), MINE).unwrap();
        write_data(&folder.join("data"), 600, 100);
        let (description, data, out) = (at("mine.toml"), at("data"), at("run"));
        let train = ["train", &description, "--data", &data, "--out", &out];
        let more = [
            "--objective",
            "float",
            "--epochs",
            "6",
            "--batch-size",
            "20",
        ];
        succeed(&[&train[..], &more].concat());
        let file = at("mine.safetensors");
        succeed(&["export", &out, "-o", &file]);
        let quantised = at("q.safetensors");
        let report = json(&["quantise", &out, "-o", &quantised, "--bits", "3", "--json"]);
        assert!(report["float_accuracy"].as_f64().unwrap() > 0.9, "{report}");
        Mine {
            tensors: read(&fs::read(file).unwrap()),
            description,
            run: out,
            quantised,
            data,
            report,
        }
    })
}

fn read(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F32, "{name}");
            let words = view.data().chunks_exact(4);
            let values = words.map(|w| f32::from_le_bytes(w.try_into().unwrap()));
            (name.to_owned(), (view.shape().to_vec(), values.collect()))
        })
        .collect()
}

fn write(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let one = |v: &f32| match dtype {
                Dtype::F16 => f16::from_f32(*v).to_le_bytes().to_vec(),
                Dtype::BF16 => bf16::from_f32(*v).to_le_bytes().to_vec(),
                Dtype::F64 => f64::from(*v).to_le_bytes().to_vec(),
                _ => v.to_le_bytes().to_vec(),
            };
            let data = values.iter().flat_map(one).collect();
            (name.clone(), shape.clone(), data)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| {
        let view = TensorView::new(dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// A folder with a file of a network, and what quantising that says.
struct Foreign(tempfile::TempDir);

impl Foreign {
    fn new(bytes: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.at("theirs.safetensors"), bytes).unwrap();
        folder
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn words(&self, file: &str, more: &[&str]) -> Vec<String> {
        let (file, out) = (self.at(file), self.at("out.safetensors"));
        let words = [
            "quantise",
            &file,
            "-o",
            &out,
            "--bits",
            "3",
            "--data",
            &mine().data,
            "--json",
        ];
        let words = [&words[..], more].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    fn described(&self, more: &[&str]) -> Vec<String> {
        let model = ["--model", &mine().description];
        self.words("theirs.safetensors", &[&model[..], more].concat())
    }

    fn report(&self, more: &[&str]) -> Value {
        let words = self.described(more);
        json(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn refused(&self, more: &[&str], wanted: &[&str]) {
        let words = self.described(more);
        refuse(
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
            wanted,
        );
        assert!(!std::path::Path::new(&self.at("out.safetensors")).exists());
    }
}

/// The same result as of the run itself.
fn same(report: &Value, what: &str) {
    for key in ["float_accuracy", "lp_accuracy", "mean_bits", "layers"] {
        assert_eq!(report[key], mine().report[key], "{what}: {key}");
    }
}

/// The tensors under other names.
fn renamed(name: impl Fn(&str) -> String) -> Tensors {
    let tensors = mine().tensors.iter();
    tensors.map(|(n, array)| (name(n), array.clone())).collect()
}

/// What answers is the network that learned: of a run of floats HP, whose statistics LP does not have.
#[test]
fn pictures_are_classified_by_floats_where_only_floats_learned() {
    let mine = mine();
    let folder = tempfile::tempdir().unwrap();
    let images = gtc::data::read_folder(mine.data.as_ref()).unwrap().test;
    let mut words = vec!["classify".to_owned(), mine.run.clone(), "--json".to_owned()];
    for number in 0..20 {
        let path = folder.path().join(format!("{number:02}.png"));
        let pixels = images.image(number);
        image::save_buffer(&path, pixels, 28, 28, image::ColorType::L8).unwrap();
        words.push(path.display().to_string());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answers = json(&words);
    let classes = answers.as_array().unwrap().iter();
    let classes = classes.map(|answer| answer["class"].as_str().unwrap().to_owned());
    let right = classes.zip(&images.labels);
    let right = right
        .filter(|(class, label)| *class == label.to_string())
        .count();
    assert!(right >= 18, "{right} of 20");
    let eval = json(&["eval", &mine.run, "--data", &mine.data, "--json"]);
    assert!(eval["hp_accuracy"].as_f64().unwrap() > 0.9, "{eval}");
    assert!(eval.get("lp_accuracy").is_none(), "{eval}");
    let shown = succeed(&["eval", &mine.run, "--data", &mine.data]);
    assert_eq!(shown.matches("did not learn").count(), 1, "{shown}");
}

#[test]
fn an_export_comes_back_as_what_it_was() {
    let mine = mine();
    let shape = |name: &str| mine.tensors[name].0.clone();
    assert_eq!(shape("conv2.weight"), [12, 6, 3, 3]);
    assert_eq!(shape("fc.weight"), [10, 12 * 4 * 4]);
    assert_eq!(shape("conv1_norm.running_var"), [6]);
    same(
        &Foreign::new(&write(&mine.tensors, Dtype::F32)).report(&[]),
        "as exported",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lp.safetensors").display().to_string();
    succeed(&["export", &mine.quantised, "--network", "lp", "-o", &file]);
    let lp = read(&fs::read(&file).unwrap());
    for name in ["conv1.weight", "fc.weight"] {
        let powers = lp[name]
            .1
            .iter()
            .all(|w| *w == 0.0 || w.abs().log2().fract() == 0.0);
        assert!(powers, "{name}");
    }
    let (_, gamma) = &lp["conv1_norm.weight"];
    for (gamma, variance) in gamma.iter().zip(&lp["conv1_norm.running_var"].1) {
        let factor = (f64::from(*gamma) / (f64::from(*variance) + 1e-5).sqrt())
            .abs()
            .log2();
        assert!((factor - factor.round()).abs() < 1e-6, "{factor}");
    }
    let half = folder.path().join("half.safetensors").display().to_string();
    succeed(&["export", &mine.run, "--half", "-o", &half]);
    let bytes = fs::read(&half).unwrap();
    let half = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(half.tensor("conv1.weight").unwrap().dtype(), Dtype::F16);
}

#[test]
fn names_of_wrappers_and_sequences_are_understood() {
    for prefix in [
        "module.",
        "_orig_mod.",
        "model._orig_mod.module.",
        "ema.module.",
    ] {
        let tensors = renamed(|name| format!("{prefix}{name}"));
        same(
            &Foreign::new(&write(&tensors, Dtype::F32)).report(&[]),
            prefix,
        );
    }
    // A sequence, whose numbers sort as text in another order than as numbers.
    let places = [
        ("conv1_norm", "features.9"),
        ("conv1", "features.8"),
        ("conv2", "features.11"),
        ("conv3", "features.100"),
        ("fc", "classifier.1"),
    ];
    let sequence = |name: &str| {
        let (module, part) = name.rsplit_once('.').unwrap();
        let place = places.iter().find(|(known, _)| *known == module).unwrap().1;
        format!("{place}.{part}")
    };
    let folder = Foreign::new(&write(&renamed(sequence), Dtype::F32));
    same(&folder.report(&[]), "a sequence");
    let words = folder.described(&[]);
    let (_, _, stderr) = run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(stderr.contains("features.100 = conv3"), "{stderr}");
    // Beside an average of its weights, a network is not the only one in the file.
    let mut both = renamed(|name| format!("model.{name}"));
    both.extend(renamed(|name| format!("ema.{name}")));
    Foreign::new(&write(&both, Dtype::F32)).refused(&[], &["several networks", "ema.", "model."]);
}

#[test]
fn numbers_of_every_width_are_read() {
    same(
        &Foreign::new(&write(&mine().tensors, Dtype::F64)).report(&[]),
        "f64",
    );
    for dtype in [Dtype::F16, Dtype::BF16] {
        let report = Foreign::new(&write(&mine().tensors, dtype)).report(&[]);
        let accuracy = report["float_accuracy"].as_f64().unwrap();
        let whole = mine().report["float_accuracy"].as_f64().unwrap();
        assert!((accuracy - whole).abs() <= 0.02, "{dtype:?}: {accuracy}");
    }
    // In several files with an index, as hubs keep large models.
    let folder = Foreign::new(b"");
    let mut map = BTreeMap::new();
    let (mut first, mut second) = (Tensors::new(), Tensors::new());
    for (number, (name, array)) in mine().tensors.iter().enumerate() {
        let (part, file) = match number % 2 {
            0 => (&mut first, "a.safetensors"),
            _ => (&mut second, "b.safetensors"),
        };
        part.insert(name.clone(), array.clone());
        map.insert(name.clone(), file);
    }
    fs::write(folder.at("a.safetensors"), write(&first, Dtype::F32)).unwrap();
    fs::write(folder.at("b.safetensors"), write(&second, Dtype::F32)).unwrap();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    let name = "model.safetensors.index.json";
    fs::write(folder.at(name), index.to_string()).unwrap();
    for file in [name, ""] {
        let words = folder.words(file, &["--model", &mine().description]);
        same(
            &json(&words.iter().map(String::as_str).collect::<Vec<_>>()),
            "shards",
        );
    }
    fs::remove_file(folder.at("b.safetensors")).unwrap();
    let words = folder.words(name, &[]);
    refuse(
        &words.iter().map(String::as_str).collect::<Vec<_>>(),
        &["b.safetensors"],
    );
}

#[test]
fn every_tensor_is_used_or_named() {
    // What PyTorch counts is no part of a network.
    let mut counted = mine().tensors.clone();
    counted.insert(
        "conv1_norm.num_batches_tracked".into(),
        (vec![1], vec![7.0]),
    );
    same(
        &Foreign::new(&write(&counted, Dtype::F32)).report(&[]),
        "counted",
    );
    // Normalisations of which a model of this program knows nothing.
    let (lenet, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    succeed(&["export", lenet, "-o", &at("lenet.safetensors")]);
    let mut tensors = read(&fs::read(at("lenet.safetensors")).unwrap());
    let quantise = [
        "quantise",
        &at("lenet.safetensors"),
        "-o",
        &at("q.safetensors"),
        "--data",
        data,
    ];
    succeed(&quantise);
    fs::remove_file(at("q.safetensors")).unwrap();
    for part in ["weight", "bias", "running_mean", "running_var"] {
        tensors.insert(format!("bn1.{part}"), (vec![6], vec![1.0; 6]));
    }
    fs::write(at("lenet.safetensors"), write(&tensors, Dtype::F32)).unwrap();
    refuse(
        &quantise,
        &["without a use", "'bn1.bias'", "lenet-small", "--model"],
    );
    assert!(!std::path::Path::new(&at("q.safetensors")).exists());
    // A bias that the model has no place for.
    let mut biased = mine().tensors.clone();
    biased.remove("conv1_norm.weight");
    Foreign::new(&write(&biased, Dtype::F32)).refused(&[], &["'conv1.norm.weight' is missing"]);
    let mut wide = mine().tensors.clone();
    wide.insert(
        "conv2.weight".into(),
        (vec![12, 6, 5, 5], vec![0.0; 12 * 6 * 25]),
    );
    Foreign::new(&write(&wide, Dtype::F32)).refused(&[], &["conv2.weight", "[12, 6, 3, 3]"]);
}

#[test]
fn impossible_numbers_are_refused() {
    let spoiled = |name: &str, value: f32| {
        let mut tensors = mine().tensors.clone();
        tensors.get_mut(name).unwrap().1[3] = value;
        Foreign::new(&write(&tensors, Dtype::F32))
    };
    spoiled("conv1_norm.running_var", -0.5).refused(&[], &["running_var", "negative"]);
    spoiled("conv1_norm.running_mean", f32::NAN).refused(&[], &["running_mean", "NaN"]);
    spoiled("conv2.weight", f32::INFINITY).refused(&[], &["conv2.weight", "inf"]);
    // Finite numbers whose products are not: a ReLU would hide it.
    let mine = mine();
    let file = format!("{}/model.safetensors", mine.run);
    let mut checkpoint = checkpoint::load(file.as_ref()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("large.safetensors");
    for w in &mut checkpoint.snapshot.weights {
        *w = if w.abs() > 0.01 {
            w.signum() * 3e37
        } else {
            *w
        };
    }
    fs::write(&out, checkpoint::encode(&checkpoint).unwrap()).unwrap();
    let out = out.display().to_string();
    refuse(
        &["eval", &out, "--data", &mine.data],
        &["infinite or none", "no result"],
    );
    let packed = folder.path().join("large.gtc").display().to_string();
    refuse(
        &[
            "pack",
            &out,
            "--calibrate",
            &mine.data,
            "--force",
            "-o",
            &packed,
        ],
        &["layer '"],
    );
    for running in &mut checkpoint.snapshot.running {
        running.iter_mut().for_each(|v| *v = -1.0);
    }
    fs::write(&out, checkpoint::encode(&checkpoint).unwrap()).unwrap();
    refuse(
        &["eval", &out, "--data", &mine.data],
        &["no variance is negative"],
    );
}

#[test]
fn files_of_other_kinds_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let out = at("out");
    let cases: [(&str, &[u8], &[&str]); 6] = [
        (
            "m.pth",
            b"PK\x03\x04....archive/data.pkl",
            &["PyTorch", "save_file"],
        ),
        (
            "old.pt",
            b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9",
            &["pickle", "save_file"],
        ),
        ("m.onnx", b"\x08\x08\x12\x07pytorch\x1a\x05", &["ONNX"]),
        ("m.npz", b"PK\x03\x04....arr_0.npy", &["NumPy"]),
        ("m.h5", b"\x89HDF\r\n\x1a\n", &["HDF5"]),
        ("m.safetensors", b"<!DOCTYPE html><html>", &["web page"]),
    ];
    for (name, bytes, words) in cases {
        fs::write(at(name), bytes).unwrap();
        for command in [
            &["inspect", &at(name)][..],
            &["eval", &at(name)],
            &["pack", &at(name)],
            &["quantise", &at(name), "-o", &out],
            &["train", "lenet-small", "--from", &at(name), "--out", &out],
        ] {
            refuse(command, words);
            let (_, _, stderr) = run(command);
            assert!(!stderr.contains("cut short"), "{command:?}: {stderr}");
        }
    }
    // A network of PyTorch in the right format, where levels are needed.
    let theirs = at("theirs.safetensors");
    fs::write(&theirs, write(&mine().tensors, Dtype::F32)).unwrap();
    for command in [
        &["inspect", &theirs][..],
        &["eval", &theirs],
        &["pack", &theirs],
    ] {
        refuse(command, &["another program", "gtc quantise"]);
    }
    // Training begins with them, if they are of the network that is to learn.
    let Mine {
        description, data, ..
    } = mine();
    let usual = [
        "--from",
        &theirs,
        "--data",
        data,
        "--epochs",
        "1",
        "--batch-size",
        "20",
        "--out",
        &out,
    ];
    let other = [&["train", "lenet-small"][..], &usual].concat();
    refuse(&other, &["PyTorch", "conv1.weight", "[6, 25]"]);
    succeed(&[&["train", description][..], &usual].concat());
}
