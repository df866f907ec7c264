//! The command line from outside: what it prints and writes.

use std::path::Path;

use crate::common::{finish, gtc, json, refuse, run, succeed, trained, write_cifar10, write_data};
use gtc::checkpoint;
use serde_json::Value;

#[test]
fn a_run_folder_holds_what_the_readme_says() {
    let (run, data) = trained();
    let file = |name: &str| std::fs::read_to_string(Path::new(run).join(name)).unwrap();
    let config: toml::Table = file("config.toml").parse().unwrap();
    assert_eq!(config["model"].as_str(), Some("lenet-small"));
    assert_eq!(config["data"].as_str(), Some(data.as_str()));
    assert_eq!(config["epochs"].as_integer(), Some(2));
    let metrics = file("metrics.jsonl");
    assert_eq!(metrics.lines().count(), 2);
    for (i, line) in metrics.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["epoch"], i + 1);
        assert_eq!(line["step"], 10 * (i + 1));
        assert_eq!(line["bits"].as_array().unwrap().len(), 5);
        assert_eq!(line["levels"].as_array().unwrap().len(), 5);
        for key in [
            "hp_accuracy",
            "lp_accuracy",
            "bit_loss",
            "images_per_second",
            "hp_loss",
            "lp_loss",
        ] {
            assert!(line[key].is_number(), "{key}");
        }
    }
    let page = file("report.html");
    for part in [
        "How it learned",
        "Where the weights went",
        "What it takes for what",
        "What it misread",
        "<svg",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("http"),
        "the report needs nothing from elsewhere"
    );
}

#[test]
fn the_form_of_the_kernels_is_chosen_by_hand_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let out = out.to_str().unwrap();
    let start = ["train", "lenet-small", "--epochs", "1", "--limit", "64"];
    let printed = succeed(&[&start[..], &["--path", "gpu", "--out", out]].concat());
    assert!(printed.contains("(gpu kernels)"), "{printed}");
    let config = std::fs::read_to_string(Path::new(out).join("config.toml")).unwrap();
    assert!(config.contains("path = \"gpu\""), "{config}");
    refuse(
        &["verify", "--path", "vulkan"],
        &["invalid value", "cpu-subgroup"],
    );
}

#[test]
fn json_documents_have_the_promised_keys() {
    let (run, data) = trained();
    let eval = json(&["eval", run, "--data", data, "--json"]);
    assert_eq!(eval["images"], 50);
    for key in ["hp_accuracy", "lp_accuracy", "hp_loss", "lp_loss"] {
        assert!(eval[key].is_number(), "{key}");
    }
    let inspect = json(&["inspect", run, "--json"]);
    assert!(inspect["mean_bits"].is_number() && inspect["weighted_bits"].is_number());
    let layers = inspect["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 5);
    for layer in layers {
        let levels: Vec<f64> = layer["levels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert!(
            levels.is_sorted()
                && levels
                    .iter()
                    .all(|v| *v == 0.0 || v.abs().log2().fract() == 0.0)
        );
        for key in [
            "name",
            "shape",
            "weights",
            "bits",
            "exponent_min",
            "exponent_max",
            "zeros",
            "intercept",
            "slope",
        ] {
            assert!(!layer[key].is_null(), "{key}");
        }
    }
    let adapters = json(&["adapters", "--json"]);
    assert!(adapters[0]["name"].is_string());
    let plan = json(&["plan", "lenet5", "--batch-size", "8", "--json"]);
    assert!(plan["plans"][0][1].as_array().unwrap().len() > 30);
    assert!(plan["total_bytes"].as_u64().unwrap() > 1_000_000);
    // The last epoch's line and a later evaluation speak of the same model.
    let metrics = std::fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(last["lp_accuracy"], eval["lp_accuracy"]);
    assert_eq!(last["hp_accuracy"], eval["hp_accuracy"]);
}

#[test]
fn verify_prints_one_document_and_fails_on_wrong_golden_values() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/golden/quantiser.json");
    let report = json(&["verify", "--json", "--golden", golden.to_str().unwrap()]);
    assert_eq!(report["failed"], 0);
    assert!(report["cases"].as_u64().unwrap() > 100);
    assert!(report["max_error"].is_number() && report["adapter"].is_string());
    let wrong = tempfile::NamedTempFile::new().unwrap();
    let text =
        std::fs::read_to_string(golden)
            .unwrap()
            .replacen("\"bits\": 6.0", "\"bits\": 5.0", 1);
    std::fs::write(&wrong, text).unwrap();
    let (code, stdout, _) = run(&["verify", "--golden", wrong.path().to_str().unwrap()]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("golden values          FAILS"), "{stdout}");
}

/// The second Vulkan implementation a machine without a GPU can have: Chromium's.
#[test]
fn swiftshader_agrees_too() {
    const DRIVER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";
    if !Path::new(DRIVER).exists() {
        eprintln!("SKIPPED: no SwiftShader here ({DRIVER}); it comes with Debian's chromium");
        return;
    }
    let verify = |extra: &[&str]| {
        let output = gtc()
            .args(["verify", "--golden", "assets/golden/quantiser.json"])
            .args(extra)
            .env("VK_DRIVER_FILES", DRIVER)
            .env("VK_ICD_FILENAMES", DRIVER)
            .output();
        finish(output.unwrap())
    };
    let checked = |extra: &[&str]| {
        let (code, stdout, stderr) = verify(extra);
        assert_eq!(code, 0, "{extra:?}\n{stdout}\n{stderr}");
        assert!(
            stdout.contains("SwiftShader") && stdout.contains(", 0 failed"),
            "{stdout}"
        );
    };
    // Two at a time, because it compiles every kernel on one core. The form that browsers run and that of GPUs in full, of
    // the others, which `kernels.rs` runs in full on another driver, a sample.
    std::thread::scope(|scope| {
        scope.spawn(|| [&[][..], &["--checked", "--every", "5"]].map(checked));
        let storage = &["--path", "cpu-storage", "--every", "5"];
        scope.spawn(|| [&["--path", "gpu"][..], storage].map(checked));
    });
    // Its subgroups have four lanes.
    let (code, _, stderr) = verify(&["--path", "cpu-subgroup"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("no subgroups of eight lanes"), "{stderr}");
}

#[test]
fn classify_reads_pictures_either_way_round() {
    let (model, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let images = gtc::data::read_folder(data.as_ref()).unwrap().test;
    let save = |name: &str, pixels: Vec<u8>| {
        let path = folder.path().join(name);
        image::save_buffer(&path, &pixels, 28, 28, image::ColorType::L8).unwrap();
        path.display().to_string()
    };
    let light = save("light.png", images.image(3).to_vec());
    let dark = save(
        "dark.jpg",
        images.image(3).iter().map(|v| 255 - v).collect(),
    );
    let answers = json(&["classify", model, &light, &dark, "--json"]);
    assert_eq!(answers[0]["inverted"], false);
    assert_eq!(answers[1]["inverted"], true);
    assert_eq!(answers[0]["class"], answers[1]["class"]);
    let sum: f64 = answers[0]["probabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-4);
    let text = folder.path().join("text.png");
    std::fs::write(&text, "not a picture").unwrap();
    refuse(
        &["classify", model, text.to_str().unwrap()],
        &["text.png", "PNG, JPEG"],
    );
    refuse(&["classify", model, "/nowhere/x.png"], &["/nowhere/x.png"]);
    // A PNG whose header promises 2^31 - 1 pixels a side.
    let mut huge = std::fs::read(&light).unwrap();
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let path = folder.path().join("huge.png");
    std::fs::write(&path, huge).unwrap();
    refuse(&["classify", model, path.to_str().unwrap()], &["huge.png"]);
}

#[test]
fn flags_override_the_config_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 40, 10);
    let config = folder.path().join("c.toml");
    std::fs::write(
        &config,
        "model = \"lenet-small\"\nepochs = 5\nbatch_size = 10\nseed = 9",
    )
    .unwrap();
    let out = folder.path().join("run");
    let path = |p: &Path| p.display().to_string();
    succeed(&[
        "train",
        "--config",
        &path(&config),
        "--data",
        &path(&data),
        "--epochs",
        "1",
        "--out",
        &path(&out),
    ]);
    let config: toml::Table = std::fs::read_to_string(out.join("config.toml"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(config["epochs"].as_integer(), Some(1));
    assert_eq!(config["seed"].as_integer(), Some(9));
    assert_eq!(config["batch_size"].as_integer(), Some(10));
}

#[test]
fn gzipped_data_are_read_with_the_names_of_their_classes() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("fashion-mnist");
    write_data(&data, 20, 10);
    // A folder's name says nothing of what is in it.
    assert_eq!(gtc::data::read_folder(&data).unwrap().classes[9], "9");
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let file = std::fs::File::create(format!("{}.gz", path.display())).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap();
        std::fs::remove_file(path).unwrap();
    }
    let names: Vec<String> = (0..10).map(|class| format!("thing {class}")).collect();
    std::fs::write(data.join("classes.txt"), names.join("\n")).unwrap();
    let data = gtc::data::read_folder(&data).unwrap();
    assert_eq!(data.classes[9], "thing 9");
    assert_eq!((data.train.count(), data.test.count()), (20, 10));
}

#[test]
fn exported_weights_are_used_and_not_continued() {
    let (run, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let export = ["export", run, "--to", "gtc", "-o"];
    succeed(&[&export[..], &[&at("full.safetensors")]].concat());
    succeed(&[&export[..], &[&at("half.safetensors"), "--half"]].concat());
    let load = |path: &Path| checkpoint::load(path).unwrap().snapshot;
    let original = load(&Path::new(run).join("model.safetensors"));
    let full = load(&folder.path().join("full.safetensors"));
    assert_eq!(full.weights, original.weights);
    assert!(!full.is_whole());
    let half = load(&folder.path().join("half.safetensors"));
    for (a, b) in half.weights.iter().zip(&original.weights) {
        // A half has 11 bits of precision, down to 2^-24; the last one may differ to keep the level.
        assert!((a - b).abs() <= b.abs() / 1024.0 + 1e-7, "{a} {b}");
    }
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size("half.safetensors") * 10 < size("full.safetensors") * 6);
    let eval = |model: &str| -> Value {
        serde_json::from_str(&succeed(&["eval", model, "--data", data, "--json"])).unwrap()
    };
    assert_eq!(eval(&at("full.safetensors")), eval(run));

    std::fs::copy(Path::new(run).join("config.toml"), at("config.toml")).unwrap();
    std::fs::copy(at("full.safetensors"), at("model.safetensors")).unwrap();
    refuse(
        &["train", "--resume", folder.path().to_str().unwrap()],
        &["model.safetensors", "weights alone"],
    );
    let bad = [&at("full.safetensors"), "-o", "/nowhere/w.safetensors"];
    refuse(&["export", bad[0], bad[1], bad[2]], &["/nowhere/w"]);
}

#[test]
fn a_vgg_learns_colours_and_reads_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (data, out) = (at("cifar-10-batches-bin"), at("run"));
    write_cifar10(Path::new(&data), 40);
    let parent = folder.path().to_str().unwrap();
    let run = [
        "train",
        "vgg-tiny",
        "--data",
        parent,
        "--epochs",
        "4",
        "--batch-size",
        "20",
    ];
    succeed(
        &[
            &run[..],
            &["--augment", "none", "--limit", "160", "--out", &out],
        ]
        .concat(),
    );
    let report = std::fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
    for class in ["airplane", "truck"] {
        assert!(report.contains(class));
    }
    let eval = json(&["eval", &out, "--data", &data, "--json"]);
    assert_eq!(eval["images"], 40);
    let lines = std::fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(
        eval["lp_accuracy"], last["lp_accuracy"],
        "the run and eval agree"
    );
    assert!(eval["hp_accuracy"].as_f64().unwrap() > 0.8, "{eval}");

    let test = gtc::data::read_folder(Path::new(&data)).unwrap().test;
    let picture = image::RgbImage::from_raw(32, 32, test.image(7).to_vec()).unwrap();
    picture.save(at("seven.png")).unwrap();
    let answer = json(&["classify", &out, &at("seven.png"), "--json"]);
    assert_eq!(answer[0]["inverted"], false);
    assert_eq!(answer[0]["class"], "horse");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_makes_nothing_panic() {
    use std::io::{BufRead, BufReader, Read};
    let mut child = gtc()
        // More than a pipe holds.
        .args(["plan", "vgg16", "--batch-size", "2", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "{\n");
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    child.wait().unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
}
