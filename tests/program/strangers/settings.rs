//! Flags, files of settings and descriptions that say something else than what is meant, or nothing at all.

use std::fs;

use crate::common::{finish, gtc, refuse, run, succeed};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).unwrap();
        self.at(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }
}

/// Words of a run of a few steps.
fn short<'a>(model: &'a str, out: &'a str) -> Vec<&'a str> {
    let mut words = vec!["train", model, "--limit", "64", "--batch-size", "16"];
    words.extend(["--epochs", "1", "--out", out]);
    words
}

#[test]
fn flags_for_pictures_are_refused_without_pictures() {
    let place = Place::new();
    let out = place.at("run");
    for flag in [["--image-size", "32"], ["--test-fraction", "0.1"]] {
        let words = [&short("lenet-small", &out)[..], &flag].concat();
        refuse(&words, &[flag[0], "folders of pictures", "digits inside"]);
    }
}

#[test]
fn flags_that_change_nothing_are_named() {
    let place = Place::new();
    let out = place.at("run");
    let more = [
        "--objective",
        "float",
        "--temperature",
        "3",
        "--muon-rate",
        "0.1",
    ];
    let words = [&short("lenet-small", &out)[..], &more].concat();
    let (code, _, stderr) = run(&words);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("--muon-rate, --temperature"), "{stderr}");
}

/// A config may be of a run with another quantiser. What replaces it brings its own objective.
#[test]
fn another_quantiser_in_a_config_takes_its_objective_away() {
    let place = Place::new();
    let config = place.write("lsq.toml", "quantiser = \"lsq:2\"\n");
    let out = place.at("own");
    let own = ["--config", &config, "--quantiser", "gtc"];
    succeed(&[&short("lenet-small", &out)[..], &own].concat());
    let text = place.text("own/config.toml");
    assert!(text.contains("objective = \"gtc\""), "{text}");

    let out = place.at("compare");
    let words = [
        "compare",
        "lenet-small",
        "--methods",
        "gtc:2",
        "--seeds",
        "1",
        "--limit",
        "64",
    ];
    let runs = ["--out", &out, "--", "--epochs", "1", "--config", &config];
    succeed(&[&words[..], &runs].concat());
    let text = place.text("compare/gtc-2-seed-1/config.toml");
    assert!(text.contains("objective = \"gtc\""), "{text}");
    assert!(!text.contains("lsq"), "{text}");
}

/// The name of a description is its owner's business, also where the program has a model of that name.
#[test]
fn a_description_is_itself_whatever_its_name() {
    let place = Place::new();
    let model = place.write(
        "vae.toml",
        r#"
name = "vae"
input = [32, 32, 3]
likelihood = "gaussian"
nodes = [
  { op = "flatten" }, { op = "dense", outputs = 16 }, { op = "relu" }, { op = "dense", outputs = 8 },
  { op = "latent", size = 4 }, { op = "dense", outputs = 3072 },
]
"#,
    );
    let data = place.at("data");
    crate::common::write_cifar10(data.as_ref(), 20);
    let out = place.at("run");
    let words = [&short(&model, &out)[..], &["--data", &data]].concat();
    succeed(&words);
    let text = place.text("run/model.toml");
    assert!(text.contains("outputs = 16"), "{text}");
}

/// Layers of an encoder that stay floats have no levels, and no part in what is packed.
#[test]
fn an_auto_encoder_packs_with_an_encoder_of_floats() {
    let place = Place::new();
    let model = place.write(
        "half.toml",
        r#"
name = "half"
input = [28, 28, 1]
likelihood = "bernoulli"
nodes = [
  { op = "flatten" }, { op = "dense", outputs = 24, quantise = false }, { op = "relu" },
  { op = "dense", outputs = 8, quantise = false }, { op = "latent", size = 4 },
  { name = "wide", op = "dense", outputs = 20 }, { op = "relu" }, { op = "dense", outputs = 784 },
]
"#,
    );
    let out = place.at("run");
    succeed(&short(&model, &out));
    let text = succeed(&["pack", &out]);
    assert!(text.contains("wide"), "{text}");
}

/// A step that was too large may be seen in no loss but that of the test.
#[test]
fn a_run_that_diverges_keeps_its_last_weights() {
    let place = Place::new();
    let out = place.at("run");
    let words = [
        &short("lenet-small", &out)[..],
        &["--learning-rate", "1e30"],
    ]
    .concat();
    refuse(&words, &["stopped being a number", "--resume"]);
    assert_eq!(place.text("run/metrics.jsonl"), "");
    succeed(&["train", "--resume", &out, "--learning-rate", "0.001"]);
    assert_eq!(place.text("run/metrics.jsonl").lines().count(), 1);
}

#[test]
fn the_report_of_a_run_from_weights_begins_with_them() {
    let place = Place::new();
    let [first, second] = ["first", "second"].map(|name| place.at(name));
    let fast = ["--quantiser-rate", "9"];
    succeed(&[&short("lenet-small", &first)[..], &fast].concat());
    succeed(&[&short("lenet-small", &second)[..], &["--from", &first]].concat());
    assert!(
        place
            .text("first/report.html")
            .contains("slope 1.000 &rarr;")
    );
    let slope = |page: &str| {
        let from = page.split("slope ").nth(1).unwrap_or_default();
        from.split(' ').next().unwrap_or_default().to_owned()
    };
    let began = slope(&place.text("second/report.html"));
    let ended = place.text("first/report.html");
    assert!(ended.contains(&format!("&rarr; {began},")), "{began}");
    // Kept for the reports of a run that goes on.
    succeed(&["train", "--resume", &second, "--epochs", "2"]);
    assert_eq!(slope(&place.text("second/report.html")), began);
}

#[test]
fn a_packed_file_of_a_network_that_went_on_is_called_old() {
    let place = Place::new();
    let out = place.at("run");
    succeed(&short("lenet-small", &out));
    succeed(&["pack", &out]);
    let simulate = ["simulate", &out, "--images", "0"];
    let (_, _, stderr) = run(&simulate);
    assert!(!stderr.contains("newer than"), "{stderr}");
    succeed(&["train", "--resume", &out, "--epochs", "2"]);
    let (code, _, stderr) = run(&simulate);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("newer than its model.gtc"), "{stderr}");
}

/// A folder may have the name of a model and hold something else, and a pattern may fit the file that is written.
#[test]
fn names_that_mean_two_things_do_no_harm() {
    let place = Place::new();
    let inside = |words: &[&str]| {
        let output = gtc().args(words).current_dir(place.0.path()).output();
        finish(output.unwrap())
    };
    fs::create_dir(place.at("lenet5")).unwrap();
    let (code, stdout, stderr) = inside(&["models", "show", "lenet5"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("lenet5"), "{stdout}");
    succeed(&short("vae-mlp", &place.at("ae")));
    let picture = image::GrayImage::from_pixel(28, 28, image::Luma([9]));
    picture.save(place.at("pairs.png")).unwrap();
    let before = fs::read(place.at("pairs.png")).unwrap();
    let (code, _, stderr) = inside(&["reconstruct", "ae", "*.png"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("this file is read"), "{stderr}");
    assert_eq!(fs::read(place.at("pairs.png")).unwrap(), before);
}
