//! Packed models and quantised ones on the command line, from outside.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use crate::common::{finish, gtc, json, refuse, succeed, trained};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

/// The small run of [`trained`], packed.
fn packed() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| {
        let (run, data) = trained();
        let file = Path::new(run).with_file_name("small.gtc");
        let file = file.display().to_string();
        // Two epochs leave exponents far apart; more room for activations would not fit.
        let report = json(&["pack", run, "--calibrate", data, "-o", &file, "--json"]);
        assert_eq!(report["images"], 50);
        assert_eq!(report["activation_bits"], 8);
        assert_eq!(report["layers"].as_array().unwrap().len(), 5);
        assert_eq!(report["bytes"], std::fs::metadata(&file).unwrap().len());
        let difference = report["accuracy_before"].as_f64().unwrap()
            - report["accuracy_after"].as_f64().unwrap();
        assert!(difference.abs() <= 0.04, "two of 50 images: {report}");
        file
    })
}

#[test]
fn packed_models_are_measured_shown_and_used_like_others() {
    let (_, data) = trained();
    let file = packed();
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for kernel in [&["--kernel", "shift"][..], &[]] {
        let out = folder.path().join("logits.json").display().to_string();
        let args = ["--logits", &out, "--count-ops", "--json"];
        let report = json(&[&["eval", file, "--data", data], kernel, &args[..]].concat());
        assert_eq!(report["images"], 50);
        assert!(report["accuracy"].as_f64().unwrap() > 0.2);
        assert_eq!(report["operations"]["multiplications"], 0);
        assert!(report["operations"]["shifts"].as_u64().unwrap() > 100_000);
        assert!(kernel.is_empty() || report["layers"][0]["kernel"] == "shift");
        let logits: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        assert_eq!(logits["logits"].as_array().unwrap().len(), 50);
        assert!(logits["logits"][0][0].is_i64());
        all.push(logits);
    }
    assert_eq!(all[0], all[1]);
    let shown = json(&["inspect", file, "--json"]);
    assert_eq!(shown["layers"][0]["name"], "conv1");
    assert!(shown["layers"][0]["levels"].as_array().unwrap().len() > 1);
    assert!(succeed(&["inspect", file]).contains("0 multiplications"));
    let picture = folder.path().join("digit.png");
    image::GrayImage::from_pixel(28, 28, image::Luma([40]))
        .save(&picture)
        .unwrap();
    let answer = json(&["classify", file, picture.to_str().unwrap(), "--json"]);
    let sum: f64 = answer[0]["probabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-5);
}

/// A text without the lines that it was broken into.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_cannot_be_packed_or_read_is_refused_with_a_reason() {
    let (run, data) = trained();
    let file = packed();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gtc").display().to_string();
    // A packed model is refused by what needs float weights, with what to name instead.
    let packed_already = [
        file,
        "packed already",
        "lenet-small",
        "packed from",
        "gtc eval",
    ];
    refuse(&["pack", file, "-o", &out], &packed_already);
    let floats = folder.path().join("out.safetensors").display().to_string();
    refuse(&["export", file, "-o", &floats], &packed_already);
    refuse(&["quantise", file, "-o", &floats], &packed_already);
    let train = ["train", "lenet-small", "--from", file, "--out", &out];
    refuse(&train, &packed_already);
    let help = succeed(&["export", "--help"]);
    assert!(
        words(&help).contains("for --to c, verilog and onnx a packed .gtc file"),
        "{help}"
    );
    for command in ["pack", "quantise"] {
        let help = succeed(&[command, "--help"]);
        assert!(help.contains("not a packed .gtc file"), "{help}");
    }
    refuse(&["pack", run, "--activations", "12"], &["8, 16"]);
    refuse(
        &["pack", run, "--calibrate", "/nowhere", "-o", &out],
        &["/nowhere"],
    );
    refuse(
        &["eval", run, "--data", data, "--kernel", "shift"],
        &["--kernel is for packed models", "gtc pack"],
    );
    refuse(
        &["eval", run, "--data", data, "--count-ops"],
        &["--count-ops is for packed models"],
    );
    assert!(!Path::new(&out).exists());
    let good = std::fs::read(file).unwrap();
    let damaged = folder.path().join("damaged.gtc");
    let name = damaged.display().to_string();
    let try_bytes = |bytes: &[u8], words: &[&str]| {
        std::fs::write(&damaged, bytes).unwrap();
        refuse(&["inspect", &name], &[&[name.as_str()], words].concat());
    };
    try_bytes(&good[..good.len() / 2], &["damaged", "copy it again"]);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    try_bytes(&flipped, &["damaged"]);
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8_lossy(&good[8..]).into_owned();
        assert_eq!(from.len(), to.len());
        let at = 8 + text.find(from).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let version = replaced("\\\"version\\\":3", "\\\"version\\\":9");
    try_bytes(&version, &["packed in format 9", "newer gtc"]);
    try_bytes(
        &replaced("lenet-small", "lenet-smelt"),
        &["of 'lenet-smelt'", "of 'lenet-small'"],
    );
    try_bytes(b"", &["damaged"]);
}

#[test]
fn a_float_model_is_packed_only_by_force_or_with_levels() {
    let (_, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (run, out, quantised) = (at("float"), at("out.gtc"), at("quantised.safetensors"));
    let train = [
        "train",
        "lenet-small",
        "--objective",
        "float",
        "--epochs",
        "1",
    ];
    succeed(&[&train[..], &["--data", data, "--out", &run]].concat());
    // Its report says nothing of levels that nobody trained.
    let page = std::fs::read_to_string(Path::new(&run).join("report.html")).unwrap();
    assert!(page.contains("Where the weights went"));
    for words in ["Bits of each layer", "bits, mean", "<th>levels", " bits; "] {
        assert!(!page.contains(words), "{words}");
    }
    let pack = |model: &str| {
        let args = ["pack", model, "--calibrate", data, "-o", &out];
        args.map(str::to_owned).to_vec()
    };
    let pack_run = pack(&run);
    let pack_run: Vec<&str> = pack_run.iter().map(String::as_str).collect();
    let words = [
        &run,
        "trained as floats",
        "gtc quantise",
        "gtc train --from",
        "--force",
    ];
    refuse(&pack_run, &words);
    assert!(!Path::new(&out).exists());
    let (code, _, stderr) = crate::common::run(&[&pack_run[..], &["--force"]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("warning") && stderr.contains("trained as floats"),
        "{stderr}"
    );
    assert!(Path::new(&out).exists());
    let lp = ["export", &run, "--network", "lp", "-o", &quantised];
    refuse(&lp, &["only its floats have learned", "gtc quantise"]);
    // Levels that were fitted are levels.
    succeed(&["quantise", &run, "--data", data, "-o", &quantised]);
    let pack_quantised = pack(&quantised);
    succeed(
        &pack_quantised
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
}

/// What was measured on an adapter is kept, shown, and not measured again.
#[test]
fn kernels_are_timed_once_and_remembered() {
    let (_, data) = trained();
    let file = packed();
    let cache = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let (code, stdout, stderr) = finish(
            gtc()
                .args(args)
                .env("GTC_CACHE", cache.path())
                .output()
                .unwrap(),
        );
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };
    let shapes = |adapters: &Value| adapters[0]["kernels"].as_object().unwrap().clone();
    assert!(shapes(&run(&["adapters", "--json"])).is_empty());
    let eval = ["eval", file, "--data", data, "--batch-size", "10", "--json"];
    let first = run(&eval);
    let kept = cache.path().join("kernels.json");
    let written = std::fs::read(&kept).unwrap();
    assert_eq!(run(&eval), first);
    assert_eq!(std::fs::read(&kept).unwrap(), written, "measured once");
    let shapes = shapes(&run(&["adapters", "--json"]));
    assert_eq!(shapes.len(), 5, "a shape a layer");
    for (name, trials) in &shapes {
        for trial in trials.as_array().unwrap() {
            assert_eq!(trial["right"], true, "{name}: {trial}");
        }
    }
    // The fastest that was right runs; a wrong one does not, however fast.
    let mut file: Value = serde_json::from_slice(&written).unwrap();
    let wanted = |report: &Value| report["layers"][4]["sharing"].as_str().unwrap().to_owned();
    let usual = wanted(&first);
    for trials in file.as_object_mut().unwrap().values_mut() {
        for trials in trials.as_object_mut().unwrap().values_mut() {
            for trial in trials.as_array_mut().unwrap() {
                trial["right"] = (trial["sharing"] != usual.as_str()).into();
            }
        }
    }
    std::fs::write(&kept, file.to_string()).unwrap();
    assert_ne!(wanted(&run(&eval)), usual);
    // A damaged file costs a measurement, nothing else.
    std::fs::write(&kept, "{").unwrap();
    assert_eq!(run(&eval)["accuracy"], first["accuracy"]);
    assert!(std::fs::read(&kept).unwrap().len() > 100);
}

/// A lenet-small with PyTorch's names and layouts out of a checkpoint of ours.
fn as_pytorch(run: &str) -> Vec<u8> {
    let data = std::fs::read(Path::new(run).join("model.safetensors")).unwrap();
    let ours = safetensors::SafeTensors::deserialize(&data).unwrap();
    let mut tensors: HashMap<String, (Vec<usize>, Vec<u8>)> = HashMap::new();
    for layer in ["conv1", "conv2", "fc1", "fc2", "fc3"] {
        let weight = ours.tensor(&format!("{layer}.weight")).unwrap();
        let [outputs, height, width, inputs] = weight.shape().try_into().unwrap();
        let mut bytes = Vec::new();
        for o in 0..outputs {
            for i in 0..inputs {
                for pixel in 0..height * width {
                    let at = 4 * ((o * height * width + pixel) * inputs + i);
                    bytes.extend_from_slice(&weight.data()[at..at + 4]);
                }
            }
        }
        let shape = match layer.starts_with("fc") {
            true => vec![outputs, inputs * height * width],
            false => vec![outputs, inputs, height, width],
        };
        tensors.insert(format!("{layer}.weight"), (shape, bytes));
        let bias = ours.tensor(&format!("{layer}.bias")).unwrap();
        tensors.insert(
            format!("{layer}.bias"),
            (vec![outputs], bias.data().to_vec()),
        );
    }
    let views = tensors.iter().map(|(name, (shape, data))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize(views.collect::<HashMap<_, _>>(), None).unwrap()
}

#[test]
fn float_models_get_levels_without_training() {
    let (run, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let quantise = |model: &str, out: &str, bits: &str| {
        json(&[
            "quantise", model, "-o", out, "--data", data, "--bits", bits, "--json",
        ])
    };
    let (ours, theirs) = (path("ours.safetensors"), path("theirs.safetensors"));
    let report = quantise(run, &ours, "3");
    assert_eq!(report["model"], "lenet-small");
    for layer in report["layers"].as_array().unwrap() {
        assert!(layer["bits"].as_u64().unwrap() <= 3, "{layer}");
        let error = layer["relative_squared_error"].as_f64().unwrap();
        assert!(error > 0.0 && error < 0.2, "{layer}");
    }
    // The same weights in another layout are the same model.
    let foreign = path("pytorch.safetensors");
    std::fs::write(&foreign, as_pytorch(run)).unwrap();
    let other = quantise(&foreign, &theirs, "3");
    for key in ["layers", "float_accuracy", "lp_accuracy", "mean_bits"] {
        assert_eq!(report[key], other[key], "{key}");
    }
    // `gtc export` writes the same layout, which is written down a second time here.
    let exported = path("exported.safetensors");
    succeed(&["export", run, "-o", &exported]);
    let [ours_bytes, theirs_bytes] = [&exported, &foreign].map(|f| std::fs::read(f).unwrap());
    let [a, b] = [&ours_bytes, &theirs_bytes].map(|f| SafeTensors::deserialize(f).unwrap());
    assert_eq!(a.len(), b.len());
    for (name, view) in b.iter() {
        let found = a.tensor(name).unwrap();
        assert_eq!(
            (found.shape(), found.data()),
            (view.shape(), view.data()),
            "{name}"
        );
    }
    // What it writes is a model like any other.
    let eval = json(&["eval", &theirs, "--data", data, "--json"]);
    assert_eq!(eval["lp_accuracy"], report["lp_accuracy"]);
    let packed = path("theirs.gtc");
    let report = json(&[
        "pack",
        &theirs,
        "--calibrate",
        data,
        "-o",
        &packed,
        "--json",
    ]);
    for layer in report["layers"].as_array().unwrap() {
        assert!(layer["bits"].as_u64().unwrap() <= 3, "{layer}");
    }
    // One bit a weight leaves two levels.
    let one = quantise(run, &ours, "1");
    assert_eq!(one["mean_bits"], 1.0);
    // Layers may have bits of their own, by their names or by their places.
    let own = quantise(run, &ours, "1,first=4,conv2=2");
    let layers = own["layers"].as_array().unwrap();
    let bits: Vec<u64> = layers.iter().map(|l| l["bits"].as_u64().unwrap()).collect();
    assert!(bits[0] > 2 && bits[0] <= 4 && bits[1] == 2, "{bits:?}");
    assert!(bits[2..].iter().all(|b| *b == 1), "{bits:?}");
    for (bits, words) in [
        ("2,conv9=3", &["no quantised layer 'conv9'", "conv1"][..]),
        ("first=4", &["bits of all other layers"]),
        ("2,first=7", &["1 to 6"]),
    ] {
        let out = path("refused.safetensors");
        refuse(
            &["quantise", run, "-o", &out, "--data", data, "--bits", bits],
            words,
        );
        assert!(!Path::new(&out).exists());
    }
    // Wide activations leave shifts only, but what is remembered serves narrow ones too.
    let cache = tempfile::tempdir().unwrap();
    let wide = path("wide.gtc");
    let run = |args: &[&str]| {
        let mut command = gtc();
        let output = command.args(args).env("GTC_CACHE", cache.path()).output();
        let (code, stdout, stderr) = finish(output.unwrap());
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };
    let pack = ["pack", &ours, "--calibrate", data, "-o", &wide];
    run(&[&pack[..], &["--activations", "16", "--json"]].concat());
    let adapters = run(&["adapters", "--json"]);
    for (name, trials) in adapters[0]["kernels"].as_object().unwrap() {
        for kernel in ["shift", "dot4", "float"] {
            let tried = |t: &Value| t["kernel"] == kernel;
            assert!(
                trials.as_array().unwrap().iter().any(tried),
                "{name}: {kernel}"
            );
        }
    }
}

#[test]
fn what_cannot_be_quantised_is_refused_with_a_reason() {
    let (run, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let out = path("out.safetensors");
    let refuse_bytes = |bytes: &[u8], words: &[&str]| {
        let file = path("model.safetensors");
        std::fs::write(&file, bytes).unwrap();
        refuse(&["quantise", &file, "-o", &out, "--data", data], words);
    };
    refuse_bytes(b"not one", &["not a whole safetensors file"]);
    let good = as_pytorch(run);
    refuse_bytes(&good[..good.len() - 9], &["not a whole safetensors file"]);
    let text = String::from_utf8_lossy(&good).into_owned();
    let at = text.find("\"fc2.weight").unwrap();
    let mut renamed = good.clone();
    renamed[at + 1..at + 4].copy_from_slice(b"fcx");
    refuse_bytes(
        &renamed,
        &["lenet-small", "PyTorch", "'fc2.weight' is missing"],
    );
    let mut broken = good.clone();
    let end = broken.len();
    broken[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    refuse_bytes(&broken, &["holds NaN"]);
    refuse(&["quantise", run, "-o", &out, "--bits", "0"], &["1 to 6"]);
    assert!(!Path::new(&out).exists());
    assert!(succeed(&["quantise", "--help"]).contains("PyTorch"));
}
