//! A run goes on after its data moved, from anywhere, longer or more slowly, and in one process at a time.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{finish, gtc, refuse, run, succeed, write_data};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        write_data(&place.0.path().join("data"), 64, 10);
        place
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn train(&self, out: &str, more: &[&str]) -> String {
        let data = self.at("data");
        let out = self.at(out);
        let words = [
            "train",
            "lenet-small",
            "--batch-size",
            "16",
            "--data",
            &data,
            "--out",
            &out,
        ];
        succeed(&[&words, more].concat())
    }

    fn model(&self, run: &str) -> Vec<u8> {
        fs::read(self.0.path().join(run).join("model.safetensors")).unwrap()
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap_or_default()
    }
}

#[test]
fn data_are_known_by_what_they_are() {
    let place = Place::new();
    place.train("run", &["--epochs", "2"]);
    let whole = place.model("run");
    fs::rename(place.at("data"), place.at("moved")).unwrap();
    let run = place.at("run");
    let resume = ["train", "--resume", &run];
    refuse(&resume, &["not there any more", "--resume", "--data DIR"]);
    // Images of the same number and format are not the same images.
    write_data(Path::new(&place.at("others")), 64, 10);
    let file = place.at("others/train-images-idx3-ubyte");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let data = place.at("others");
    refuse(
        &[&resume[..], &["--data", &data]].concat(),
        &["are not the 64"],
    );
    let data = place.at("moved");
    succeed(&[&resume[..], &["--data", &data]].concat());
    assert_eq!(place.model("run"), whole, "a finished run, found again");
    succeed(&resume);
}

#[test]
fn a_run_goes_on_from_another_folder() {
    let place = Place::new();
    let inside = |words: &[&str], folder: &str| {
        let output = gtc().args(words).current_dir(place.at(folder)).output();
        let (code, stdout, stderr) = finish(output.unwrap());
        assert_eq!(code, 0, "{words:?}\n{stdout}\n{stderr}");
    };
    let train = [
        "train",
        "lenet-small",
        "--batch-size",
        "16",
        "--epochs",
        "1",
    ];
    inside(
        &[&train[..], &["--data", "data", "--out", "run"]].concat(),
        "",
    );
    fs::create_dir(place.at("elsewhere")).unwrap();
    inside(
        &["train", "--resume", "../run", "--epochs", "2"],
        "elsewhere",
    );
    inside(&["eval", "../run"], "elsewhere");
    inside(&["pack", "../run"], "elsewhere");
}

#[test]
fn a_run_may_become_longer_or_slower() {
    let place = Place::new();
    place.train("run", &["--epochs", "1"]);
    let run = place.at("run");
    let resume = ["train", "--resume", &run];
    let more = ["--epochs", "3", "--learning-rate", "0.0005"];
    let text = succeed(&[&resume[..], &more].concat());
    assert!(text.contains("epochs 1 -> 3"), "{text}");
    assert_eq!(place.text("run/metrics.jsonl").lines().count(), 3);
    let config = place.text("run/config.toml");
    assert!(config.contains("epochs = 3"), "{config}");
    assert!(config.contains("[[change]]"), "{config}");
    assert_eq!(config.matches("setting = ").count(), 2, "{config}");
    // Nothing is changed twice by saying nothing.
    succeed(&resume);
    assert_eq!(place.text("run/config.toml"), config);
    refuse(
        &[&resume[..], &["--epochs", "2"]].concat(),
        &["epoch 3 already"],
    );
    // What the state stands on stays.
    for fixed in [
        ["--seed", "5"],
        ["--batch-size", "8"],
        ["--optimiser", "sgd"],
    ] {
        refuse(&[&resume[..], &fixed].concat(), &[fixed[0]]);
    }
    // By hand in the file it is no different.
    let other = config.replace("seed = 1", "seed = 2");
    fs::write(place.at("run/config.toml"), other).unwrap();
    refuse(&resume, &["seed was 1 and cannot become 2"]);
    fs::write(
        place.at("run/config.toml"),
        config.replace("epochs = 3", "epochs = 4"),
    )
    .unwrap();
    let text = succeed(&resume);
    assert!(text.contains("epochs 3 -> 4"), "{text}");
    // A file of a run that was changed begins another one.
    let file = place.at("run/config.toml");
    let out = place.at("second");
    succeed(&["train", "--config", &file, "--epochs", "1", "--out", &out]);
}

/// Low precision that has joined does not leave again when the run becomes longer.
#[test]
fn a_longer_run_keeps_both_networks() {
    let place = Place::new();
    place.train("run", &["--epochs", "2", "--lp-start", "0.5"]);
    let run = place.at("run");
    let text = succeed(&["train", "--resume", &run, "--epochs", "8"]);
    assert!(text.contains("lp_start 0.5 -> 0.125"), "{text}");
    let metrics = place.text("run/metrics.jsonl");
    let joined: Vec<bool> = metrics
        .lines()
        .map(|line| line.contains("\"lp_accuracy\":"))
        .collect();
    assert_eq!(joined, [false, true, true, true, true, true, true, true]);
    let config = place.text("run/config.toml");
    assert!(config.contains("lp_start = 0.125"), "{config}");
    // Killed before the first step, a continuation leaves a part of the run of its own length: any other length may follow.
    let other = config
        .replace("epochs = 8", "epochs = 20")
        .replace("lp_start = 0.125", "lp_start = 0.05")
        .replace("to = 0.125", "to = 0.05");
    let step = "step = 32\nsetting = \"lp_start\"\nfrom = 0.125\nto = 0.05\n";
    fs::write(
        place.at("run/config.toml"),
        format!("{other}\n[[change]]\n{step}"),
    )
    .unwrap();
    let text = succeed(&["train", "--resume", &run, "--epochs", "8"]);
    assert!(!text.contains("lp_start"), "{text}");
    fs::write(place.at("run/config.toml"), &config).unwrap();
    // Said again, nothing is changed; device flags are for the one time.
    succeed(&["train", "--resume", &run, "--checked"]);
    assert_eq!(place.text("run/config.toml"), config);
}

#[test]
fn a_run_has_one_owner() {
    let place = Place::new();
    let (run_folder, data) = (place.at("run"), place.at("data"));
    write_data(Path::new(&data), 640, 10);
    let words = [
        "train",
        "lenet-small",
        "--batch-size",
        "16",
        "--epochs",
        "500",
        "--data",
        &data,
        "--out",
        &run_folder,
    ];
    let mut first = gtc()
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let model = Path::new(&run_folder).join("model.safetensors");
    while !model.exists() {
        assert!(first.try_wait().unwrap().is_none(), "the run ended at once");
        std::thread::sleep(Duration::from_millis(5));
    }
    let held = format!("process {}", first.id());
    refuse(&["train", "--resume", &run_folder], &[&held, "now"]);
    refuse(&words, &[&held]);
    // Whoever only reads may do so.
    succeed(&["inspect", &run_folder]);
    first.kill().unwrap();
    first.wait().unwrap();
    // A killed process holds nothing, and leaves nothing behind.
    fs::write(place.at("run/.model.safetensors.aBc123.tmp"), "half").unwrap();
    let lines = place.text("run/metrics.jsonl").lines().count() as u32;
    let (epochs, resume) = ((lines + 2).to_string(), ["train", "--resume", &run_folder]);
    succeed(&[&resume[..], &["--epochs", &epochs]].concat());
    assert!(!Path::new(&place.at("run/.model.safetensors.aBc123.tmp")).exists());
    let epochs: Vec<u64> = place
        .text("run/metrics.jsonl")
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["epoch"].as_u64().unwrap()
        })
        .collect();
    let wanted: Vec<u64> = (1..=epochs.len() as u64).collect();
    assert_eq!(epochs, wanted);
    let (code, ..) = run(&["train", "--resume", &place.at("nothing")]);
    assert_eq!(code, 2);
}

#[test]
fn a_damaged_line_of_the_metrics_costs_no_other() {
    let place = Place::new();
    place.train("run", &["--epochs", "3"]);
    let file = place.at("run/metrics.jsonl");
    let text = place.text("run/metrics.jsonl");
    let mut lines: Vec<&str> = text.lines().collect();
    let damaged = format!("xx{}", lines[1]);
    lines[1] = &damaged;
    let before = lines.join("\n") + "\n";
    fs::write(&file, &before).unwrap();
    let resume = ["train", "--resume", &place.at("run"), "--epochs", "4"];
    let (code, _, stderr) = run(&resume);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("line 2 cannot be read"), "{stderr}");
    assert_eq!(place.text("run/metrics.jsonl.damaged"), before);
    let epochs: Vec<u64> = place
        .text("run/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["epoch"].as_u64())
        .map(Option::unwrap)
        .collect();
    assert_eq!(epochs, [1, 3, 4]);
}

#[test]
fn the_config_of_a_run_makes_the_same_run() {
    let place = Place::new();
    let flags = ["--epochs", "1", "--quantiser", "lsq:2", "--float-ends"];
    place.train("run", &flags);
    let config = place.at("run/config.toml");
    let again = place.at("again");
    succeed(&["train", "--config", &config, "--out", &again]);
    assert_eq!(place.model("run"), place.model("again"));
    let text = place.text("run/config.toml");
    assert!(text.contains("float_ends = true"), "{text}");
}

#[test]
fn a_flipped_bit_of_a_checkpoint_is_found() {
    let place = Place::new();
    place.train("run", &["--epochs", "1"]);
    let mut bytes = place.model("run");
    // The lowest bit of a number: it stays a number.
    let at = bytes.len() - 400;
    bytes[at] ^= 1;
    fs::write(place.at("run/model.safetensors"), bytes).unwrap();
    refuse(&["inspect", &place.at("run")], &["not a whole", "checksum"]);
}

#[test]
fn a_network_without_its_weights_is_said_to_begin_anew() {
    let place = Place::new();
    place.train("run", &["--epochs", "1"]);
    let (first, data) = (place.at("run"), place.at("data"));
    let out = place.at("anew");
    let train = ["train", &first, "--data", &data, "--limit", "32"];
    let more = ["--batch-size", "16", "--epochs", "1", "--out", &out];
    let (code, _, stderr) = run(&[&train[..], &more].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("--from"), "{stderr}");
}
