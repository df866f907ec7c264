//! A sweep trains one run for each price and seed, goes on where it was stopped, and draws what came out.

use crate::common::{refuse, succeed};

/// The words of a sweep over two prices with runs of two steps.
fn words(out: &std::path::Path, prices: &str) -> Vec<String> {
    let out = out.display().to_string();
    let words = [
        "sweep",
        "lenet-small",
        "--lambda-bits",
        prices,
        "--out",
        &out,
        "--",
        "--limit",
        "32",
        "--batch-size",
        "16",
        "--epochs",
        "1",
    ];
    words.map(str::to_owned).to_vec()
}

fn given(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn a_sweep_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep");
    let text = succeed(&given(&words(&out, "0.001,0.1")));
    assert!(text.contains("run 2 of 2"), "{text}");
    let table = std::fs::read_to_string(out.join("sweep.md")).unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.contains("| 0.001 | 1 |") && table.contains("| 0.1 | 1 |"),
        "{table}"
    );
    let picture = std::fs::read_to_string(out.join("sweep.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("bits a weight"));
    // Two points of each network, and two of the legend.
    assert_eq!(picture.matches("<circle").count(), 6, "{picture}");

    // As if it had been stopped: the first run before its first checkpoint, the second one is done.
    let first = out.join("lambda-0.001-seed-1");
    std::fs::remove_file(first.join("model.safetensors")).unwrap();
    let text = succeed(&given(&words(&out, "0.001,0.1")));
    assert_eq!(
        text.matches("results go to").count(),
        1,
        "one run is trained: {text}"
    );
    assert_eq!(
        std::fs::read_to_string(out.join("sweep.md")).unwrap(),
        table
    );

    refuse(&given(&words(&out, "0.001,0.2")), &["another sweep"]);
}

#[test]
fn runs_of_other_settings_do_not_go_into_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep");
    succeed(&given(&words(&out, "0.001")));
    // As if a preset had been another when this run began.
    let config = out.join("lambda-0.001-seed-1/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let other = text.replace("bits_ramp = 0.1", "bits_ramp = 0.5");
    assert_ne!(text, other, "{text}");
    std::fs::write(&config, other).unwrap();
    refuse(
        &given(&words(&out, "0.001")),
        &[
            "lambda-0.001-seed-1",
            "bits_ramp is 0.5 there and 0.1",
            "--out",
        ],
    );
}

#[test]
fn mistakes_are_found_before_the_first_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep");
    refuse(&given(&words(&out, "0.1,0.1")), &["twice"]);
    let mut twice = words(&out, "0.1");
    twice.splice(2..2, ["--seeds", "3,3"].map(str::to_owned));
    refuse(&given(&twice), &["--seeds names 3 twice"]);
    for (flag, says) in [("--seed=2", "--seed"), ("--no-such-flag", "--no-such-flag")] {
        let mut words = words(&out, "0.1");
        words.push(flag.to_owned());
        refuse(&given(&words), &[says]);
    }
    assert!(!out.exists(), "nothing was begun");
}

#[cfg(unix)]
#[test]
fn a_sweep_that_is_told_to_stop_stops_the_run_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep");
    let mut words = words(&out, "0.1");
    *words.last_mut().unwrap() = "2000".to_owned();
    let mut child = crate::common::gtc()
        .args(&words)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let metrics = out.join("lambda-0.1-seed-1/metrics.jsonl");
    while !metrics.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let process = child.id().to_string();
    let kill = std::process::Command::new("kill").arg(process).status();
    assert!(kill.unwrap().success());
    assert!(
        child.wait().unwrap().code().is_some(),
        "it ended in its own way"
    );
    let lines = std::fs::read_to_string(&metrics).unwrap().lines().count();
    assert!(lines < 2000, "the run was stopped");
    // Nobody trains there any more.
    let run = out.join("lambda-0.1-seed-1").display().to_string();
    crate::common::succeed(&[
        "train",
        "--resume",
        &run,
        "--epochs",
        &(lines + 1).to_string(),
    ]);
}
