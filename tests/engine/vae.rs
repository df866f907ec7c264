//! Auto-encoders from outside: a run, its pictures, resuming, and what is refused.

use std::sync::OnceLock;

use crate::common::{json, refuse, run, succeed, write_cifar10, write_data};
use gtc::data::Images;
use gtc::gpu::{Gpu, GpuOptions};
use gtc::loss::Likelihood;
use gtc::model::{Model, vae, vae_colour, vae_mlp};
use gtc::rng::Philox;
use gtc::train::{Objective, TrainOptions, Trainer};
use pollster::block_on;

/// A folder with data, a short run of an auto-encoder and one of a classifier.
fn folder() -> &'static str {
    static FOLDER: OnceLock<(tempfile::TempDir, String)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        write_data(&folder.path().join("data"), 200, 40);
        let data = format!("{path}/data");
        let short = ["--data", &data, "--epochs", "2", "--batch-size", "20"];
        for (model, more) in [("vae-mlp", vec!["--latent", "6"]), ("lenet-small", vec![])] {
            let out = format!("{path}/{model}");
            let mut args = vec!["train", model, "--out", &out];
            args.extend(short);
            args.extend(more);
            succeed(&args);
        }
        (folder, path)
    });
    path
}

fn picture(path: &str) -> image::DynamicImage {
    image::open(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn a_run_learns_and_its_folder_holds_terms_samples_and_a_report() {
    let at = folder();
    let text = std::fs::read_to_string(format!("{at}/vae-mlp/metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        for (network, loss) in [("hp", &line["hp_loss"]), ("lp", &line["lp_loss"])] {
            let reconstruction = number(&line["elbo"][format!("{network}_reconstruction")]);
            let divergence = number(&line["elbo"][format!("{network}_divergence")]);
            assert!((reconstruction + divergence - number(loss)).abs() < 1e-9);
            assert!(divergence > 0.0);
        }
        assert!(line.get("hp_accuracy").is_none());
    }
    let loss = |line: &serde_json::Value| line["lp_loss"].as_f64().unwrap();
    assert!(loss(&lines[1]) < loss(&lines[0]));
    picture(&format!("{at}/vae-mlp/samples-epoch-002.png"));
    let report = std::fs::read_to_string(format!("{at}/vae-mlp/report.html")).unwrap();
    for words in ["Test -ELBO", "What it draws", "Where images lie"] {
        assert!(report.contains(words), "{words}");
    }
    assert!(!report.contains("NaN"));
}

#[test]
fn pictures_have_the_promised_content() {
    let at = folder();
    let model = &format!("{at}/vae-mlp");
    let out = |name: &str| format!("{at}/{name}");
    let samples = |seed: &str, name: &str| {
        let path = out(name);
        succeed(&["sample", model, "--count", "9", "--seed", seed, "-o", &path]);
        picture(&path).into_rgb8()
    };
    let first = samples("1", "s1.png");
    assert_eq!(first, samples("1", "s2.png"));
    assert_ne!(first, samples("2", "s3.png"));
    assert!(first.width() > 2 * 3 * 28 * 3 && first.height() > 3 * 28 * 3);

    let image = |name: &str, shift: u8| {
        let pixels: Vec<u8> = (0..784u32).map(|i| (i % 251) as u8 ^ shift).collect();
        let path = out(name);
        image::GrayImage::from_raw(28, 28, pixels)
            .unwrap()
            .save(&path)
            .unwrap();
        path
    };
    let (a, b) = (image("a.png", 0), image("b.png", 99));
    let pairs = out("pairs.png");
    succeed(&["reconstruct", model, &a, &b, "-o", &pairs]);
    // The originals stand in the first row, enlarged by two, right of the captions: two cells of 29 pixels and a margin.
    let found = picture(&pairs).into_luma8();
    let (left, top) = (found.width() - 8 - 2 * 58, 8);
    for (x, y) in [(0, 0), (5, 9), (27, 27)] {
        let want = ((y * 28 + x) % 251) as u8;
        let got = found.get_pixel(left + 2 * x + 1, top + 2 * y + 1).0[0];
        assert_eq!(got, want, "({x}, {y})");
    }
    // The suffix names the format, and what is in the file is that.
    let formats = [
        ("jpg", image::ImageFormat::Jpeg),
        ("JPEG", image::ImageFormat::Jpeg),
        ("gif", image::ImageFormat::Gif),
        ("bmp", image::ImageFormat::Bmp),
    ];
    for (suffix, format) in formats {
        let path = out(&format!("samples.{suffix}"));
        succeed(&["sample", model, "--count", "9", "-o", &path]);
        assert_eq!(
            image::guess_format(&std::fs::read(&path).unwrap()).unwrap(),
            format
        );
        let size = picture(&path).into_rgb8().dimensions();
        assert_eq!(size, first.dimensions(), "{path}");
    }
    let pairs = out("pairs.jpg");
    succeed(&["reconstruct", model, &a, "-o", &pairs]);
    let bytes = std::fs::read(&pairs).unwrap();
    assert_eq!(
        image::guess_format(&bytes).unwrap(),
        image::ImageFormat::Jpeg
    );
    for name in ["x.tiff", "x.pgn", "x"] {
        let path = out(name);
        let known = [".png", ".jpg", ".gif", ".bmp"];
        refuse(&["sample", model, "-o", &path], &known);
        refuse(&["reconstruct", model, &a, "-o", &path], &known);
        refuse(&["interpolate", model, &a, &b, "-o", &path], &known);
        refuse(&["bench", "train", "--plot", &path], &known);
        assert!(!std::path::Path::new(&path).exists());
    }
    let walk = out("walk.gif");
    succeed(&["interpolate", model, &a, &b, "--steps", "5", "-o", &walk]);
    let file = std::io::BufReader::new(std::fs::File::open(&walk).unwrap());
    let decoder = image::codecs::gif::GifDecoder::new(file).unwrap();
    let frames = image::AnimationDecoder::into_frames(decoder);
    assert_eq!(frames.count(), 5 + 3);
    succeed(&["interpolate", model, &a, &b, "-o", &out("walk.png")]);
    picture(&out("walk.png"));
}

#[test]
fn eval_and_inspect_know_auto_encoders() {
    let at = folder();
    let (model, data) = (&format!("{at}/vae-mlp"), &format!("{at}/data"));
    let text = succeed(&["eval", model, "--data", data, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let last = std::fs::read_to_string(format!("{model}/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    // Another batch size draws other noise.
    let (got, want) = (&report["lp_negative_elbo"], &last["lp_loss"]);
    let (got, want) = (got.as_f64().unwrap(), want.as_f64().unwrap());
    assert!((got - want).abs() < 0.05 * want, "{got} {want}");
    assert!(succeed(&["inspect", model]).contains("posterior"));
    assert!(succeed(&["plan", "vae", "--batch-size", "2"]).contains("upsample_backward"));
}

#[test]
fn a_classifier_judges_samples() {
    let at = folder();
    let (model, data) = (&format!("{at}/vae-mlp"), &format!("{at}/data"));
    let judge = &format!("{at}/lenet-small");
    let args = ["eval", model, "--data", data, "--judge", judge, "--json"];
    let report: serde_json::Value = serde_json::from_str(&succeed(&args)).unwrap();
    let rows = report["judged"].as_array().unwrap();
    let number = |row: usize, key: &str| rows[row][key].as_f64().unwrap();
    for (row, images) in ["HP", "LP", "test"].iter().enumerate() {
        assert_eq!(rows[row]["images"], *images);
        let confidence = number(row, "confidence");
        assert!(confidence > 0.1 && confidence <= 1.0, "{confidence}");
        let entropy = number(row, "label_entropy");
        assert!((0.0..=10f64.ln() + 1e-9).contains(&entropy), "{entropy}");
    }
    assert_eq!(number(0, "count"), 10_000.0);
    // The test images lie at no distance from themselves, but for what square roots of zeros leave.
    let distances = [0, 1, 2].map(|row| number(row, "frechet_distance"));
    assert!(distances[2].abs() < 1e-3 * distances[0], "{distances:?}");
    assert!(distances[2].abs() < 1e-3 * distances[1], "{distances:?}");
    let wrong = ["eval", model, "--data", data, "--judge", model];
    refuse(&wrong, &["--judge", "no classifier"]);
}

#[test]
fn a_packed_decoder_draws_is_shown_and_does_nothing_else() {
    let at = folder();
    let (model, data) = (&format!("{at}/vae-mlp"), &format!("{at}/data"));
    let file = &format!("{at}/decoder.gtc");
    let pack = ["pack", model, "--calibrate", data, "-o", file];
    let report = json(&[&pack[..], &["--json"]].concat());
    assert_eq!(report["latents"], 1000);
    assert!(
        report["pixel_difference"].as_f64().unwrap() < 3.0,
        "{report}"
    );
    assert!(report.get("accuracy_after").is_none());
    let names: Vec<&str> = report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["decode1", "pixels"]);
    let text = succeed(&pack);
    for words in ["of 255", "pixels", "gtc sample"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let shown = json(&["inspect", file, "--json"]);
    assert_eq!(shown["decoder"]["latent"], 6);
    assert_eq!(shown["decoder"]["likelihood"], "bernoulli");
    assert_eq!(shown["operations"]["multiplications"], 0);
    let text = succeed(&["inspect", file]);
    assert!(text.contains("decoder from latents of 6 numbers of vae-mlp"));

    let samples = |seed: &str, kernel: &[&str]| {
        let path = format!("{at}/packed-{seed}-{}.png", kernel.len());
        let args = ["sample", file, "--count", "9", "--seed", seed, "-o", &path];
        succeed(&[&args[..], kernel].concat());
        picture(&path).into_rgb8()
    };
    let first = samples("1", &["--kernel", "shift"]);
    assert_eq!(first, samples("1", &[]));
    assert_ne!(first, samples("2", &[]));
    // One panel, not two.
    assert!(first.width() < 2 * 3 * 28 * 3 && first.height() > 3 * 28 * 3);

    let what = ["the packed decoder of vae-mlp", "gtc sample"];
    refuse(&["eval", file, "--data", data], &what);
    refuse(&["classify", file, "a.png"], &what);
    refuse(&["reconstruct", file], &what);
    refuse(&["interpolate", file, "a.png", "b.png"], &what);
    refuse(&["sample", model, "--kernel", "shift"], &["gtc pack"]);
    let out = &format!("{at}/again.gtc");
    let packed_already = ["packed already", "the decoder of vae-mlp", "gtc sample"];
    refuse(&["pack", file, "-o", out], &packed_already);
    let floats = out.replace(".gtc", ".safetensors");
    refuse(&["export", file, "-o", &floats], &packed_already);
}

#[test]
fn what_does_not_fit_is_refused() {
    let at = folder();
    let (model, classifier) = (&format!("{at}/vae-mlp"), &format!("{at}/lenet-small"));
    let out = &format!("{at}/refused");
    refuse(&["sample", classifier], &["lenet-small is a classifier"]);
    refuse(&["reconstruct", classifier], &["is a classifier"]);
    refuse(&["classify", model, "a.png"], &["names none"]);
    let train = |more: &[&str], words: &[&str]| {
        let mut args = vec!["train", "vae-mlp", "--out", out];
        args.extend(more);
        refuse(&args, words);
        assert!(!std::path::Path::new(out).exists());
    };
    train(&["--latent", "0"], &["--latent 0", "at least 1"]);
    train(&["--kl-warmup", "2"], &["--kl-warmup 2"]);
    let classifier_with_latent = ["train", "lenet5", "--latent", "3", "--out", out];
    refuse(&classifier_with_latent, &["--latent is for auto-encoders"]);
    let text = format!("{at}/text.png");
    std::fs::write(&text, "not a picture").unwrap();
    refuse(&["reconstruct", model, &text], &["text.png", "PNG, JPEG"]);
    refuse(
        &["interpolate", model, at, &text],
        &["a folder", "pictures in it"],
    );
    let cifar = format!("{at}/cifar");
    write_cifar10(cifar.as_ref(), 4);
    refuse(&["train", "vae-mlp", "--data", &cifar], &["28x28", "32x32"]);
    let (code, _, _) = run(&["sample", model, "--count", "0"]);
    assert_eq!(code, 2);
}

fn noise_images(model: &Model, count: usize) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(4, 4);
    let bytes = height * width * channels * count;
    Images {
        height,
        width,
        channels,
        pixels: (0..bytes).map(|_| rng.below(256) as u8).collect(),
        labels: (0..count).map(|i| (i % 10) as u16).collect(),
    }
}

/// Every model, likelihood and objective takes steps; a restored trainer goes on bit for bit.
#[test]
fn restored_trainers_continue_bit_for_bit() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    for (model, objective, likelihood) in [
        (vae_mlp(), Objective::Gtc, Likelihood::Bernoulli),
        (vae_mlp(), Objective::Direct, Likelihood::Gaussian),
        (vae(), Objective::Float, Likelihood::Bernoulli),
        (vae_colour(), Objective::Gtc, Likelihood::Gaussian),
    ] {
        let options = TrainOptions {
            batch_size: 4,
            epochs: 2,
            latent: 7,
            objective,
            likelihood,
            learning_rate: 1e-4,
            ..TrainOptions::auto_encoder()
        };
        let images = noise_images(&model, 8);
        let model = model.with_latent(options.latent, likelihood);
        let trainer = || Trainer::for_count(&gpu, model.clone(), 8, options.clone()).unwrap();
        let mut whole = trainer();
        for _ in 0..4 {
            whole.train_step(&images);
        }
        let mut first = trainer();
        first.train_step(&images);
        first.train_step(&images);
        let mut second = trainer();
        second.restore(&block_on(first.snapshot()).unwrap());
        second.train_step(&images);
        second.train_step(&images);
        let (a, b) = (block_on(whole.snapshot()), block_on(second.snapshot()));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a == b, "{} {objective:?}", model.name);
        assert!(a.weights.iter().all(|w| w.is_finite()));
        let (tested, _) = block_on(whole.test(&images, |_| ())).unwrap();
        // A run of floats tests only those.
        let network = match objective {
            Objective::Float => &tested.hp,
            Objective::Gtc | Objective::Direct => &tested.lp,
        };
        assert!(network.negative_elbo().is_finite());
        assert_eq!(network.images, 8.0);
    }
}

#[test]
fn an_auto_encoder_learns_no_labels() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    for flag in ["--mix-up", "--label-smoothing"] {
        let train = [
            "train", "vae-mlp", "--limit", "64", flag, "0.2", "--out", &out,
        ];
        refuse(&train, &[&format!("{flag} 0.2"), "learns none"]);
    }
}

#[test]
fn a_run_of_floats_has_no_numbers_of_low_precision() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["vae-mlp", "lenet-small"] {
        let out = folder.path().join(model);
        let to = out.display().to_string();
        let start = ["train", model, "--limit", "64", "--batch-size", "32"];
        let floats = ["--epochs", "1", "--objective", "float", "--out", &to];
        let printed = succeed(&[&start[..], &floats].concat());
        assert!(
            printed.contains("test") && !printed.contains("LP"),
            "{printed}"
        );
        let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        assert!(
            metrics.contains("hp_loss") && !metrics.contains("lp_"),
            "{metrics}"
        );
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        for word in ["join later", "LP test", "LP distillation"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}

#[test]
fn a_run_of_low_precision_alone_has_no_numbers_of_high_precision() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["vae-mlp", "lenet-small"] {
        let out = folder.path().join(model);
        let to = out.display().to_string();
        let start = ["train", model, "--limit", "64", "--batch-size", "32"];
        let direct = ["--epochs", "1", "--objective", "direct", "--out", &to];
        let printed = succeed(&[&start[..], &direct].concat());
        assert!(
            printed.contains("LP") && !printed.contains("HP"),
            "{printed}"
        );
        let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        assert!(
            metrics.contains("lp_loss") && !metrics.contains("hp_"),
            "{metrics}"
        );
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        for word in ["floats (HP)", "HP test", "LP distillation", "NaN"] {
            assert!(!page.contains(word), "{word}");
        }
        let eval = succeed(&["eval", &to, "--json"]);
        assert!(eval.contains("lp_") && !eval.contains("hp_"), "{eval}");
        let eval = succeed(&["eval", &to]);
        assert_eq!(eval.matches("did not learn").count(), 1, "{eval}");
        let file = folder.path().join("lp.onnx").display().to_string();
        let export = ["export", &to, "--to", "onnx", "-o", &file];
        assert!(succeed(&export).contains("(LP)"));
        refuse(
            &[&export[..], &["--network", "hp"]].concat(),
            &["only low precision has learned"],
        );
    }
}

#[test]
fn low_precision_has_no_numbers_before_it_joins() {
    let folder = tempfile::tempdir().unwrap();
    for (model, key) in [("vae-mlp", "elbo"), ("lenet-small", "lp_accuracy")] {
        let out = folder.path().join(model);
        let to = out.display().to_string();
        let start = ["train", model, "--limit", "64", "--batch-size", "32"];
        let late = ["--epochs", "2", "--lp-start", "0.5", "--out", &to];
        let printed = succeed(&[&start[..], &late].concat());
        assert_eq!(printed.matches("LP joins later").count(), 1, "{printed}");
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let epochs: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let has = |epoch: usize, key: &str| !epochs[epoch][key].is_null();
        assert!(has(0, "hp_loss") && !has(0, "lp_loss") && !has(0, "train_lp_loss"));
        assert!(has(1, "lp_loss") && has(1, key));
        if key == "elbo" {
            assert!(epochs[0][key].get("lp_divergence").is_none());
            assert!(epochs[1][key]["lp_divergence"].is_f64());
        } else {
            assert!(!has(0, key));
        }
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        assert!(!page.contains("NaN"));
    }
}
