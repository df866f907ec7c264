//! Running the program as its users do.
#![allow(dead_code, reason = "every test file uses its own part of this")]

pub mod checks;
pub mod described;
pub mod packing;
pub mod pictures;
pub mod plain;
pub mod random_graphs;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use gtc::data::{CIFAR10_TEST, CIFAR10_TRAIN, encode_cifar10, encode_images, encode_labels};
use gtc::rng::Philox;
use serde_json::Value;
use tempfile::TempDir;

/// The built program. What it finds out about kernels stays out of the user's cache.
pub fn gtc() -> Command {
    static CACHE: OnceLock<TempDir> = OnceLock::new();
    let cache = CACHE.get_or_init(|| tempfile::tempdir().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_gtc"));
    command.env("GTC_CACHE", cache.path());
    command
}

/// Runs the program and returns (exit code, stdout, stderr).
pub fn run(args: &[&str]) -> (i32, String, String) {
    finish(gtc().args(args).output().unwrap())
}

/// (exit code, stdout, stderr)
pub fn finish(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Runs the program, demands success and returns stdout.
pub fn succeed(args: &[&str]) -> String {
    let (code, stdout, stderr) = run(args);
    assert_eq!(code, 0, "gtc {args:?}\n{stdout}\n{stderr}");
    stdout
}

/// Runs the program, demands exit code 2 and a message that holds every one of `words`.
pub fn refuse(args: &[&str], words: &[&str]) {
    let (code, stdout, stderr) = run(args);
    assert_eq!(code, 2, "gtc {args:?}\n{stdout}\n{stderr}");
    for word in words {
        assert!(
            stderr.contains(word),
            "gtc {args:?}: no '{word}' in\n{stderr}"
        );
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// The four files of a small data set in MNIST's format: a bright block whose place is the label.
pub fn write_data(folder: &Path, train: usize, test: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for (part, count) in [("train", train), ("t10k", test)] {
        let mut rng = Philox::new(1, count as u64);
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for i in 0..count {
            let label = i % 10;
            let corner = (2 + 5 * (label % 5), 4 + 12 * (label / 5));
            for pixel in 0..28 * 28 {
                let (y, x) = (pixel / 28, pixel % 28);
                let inside =
                    (corner.0..corner.0 + 5).contains(&x) && (corner.1..corner.1 + 8).contains(&y);
                pixels.push(if inside { 255 } else { rng.below(60) as u8 });
            }
            labels.push(label as u8);
        }
        std::fs::write(
            folder.join(format!("{part}-images-idx3-ubyte")),
            encode_images(28, 28, &pixels),
        )
        .unwrap();
        std::fs::write(
            folder.join(format!("{part}-labels-idx1-ubyte")),
            encode_labels(&labels),
        )
        .unwrap();
    }
}

/// The six files of a small data set in CIFAR-10's format: a coloured block whose place and colour
/// are the label; `count` images a file.
pub fn write_cifar10(folder: &Path, count: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for (file, name) in CIFAR10_TRAIN.iter().chain([&CIFAR10_TEST]).enumerate() {
        let mut rng = Philox::new(2, file as u64);
        let mut records = Vec::new();
        for i in 0..count {
            let label = i % 10;
            let (top, left) = (4 + 14 * (label / 5), 2 + 6 * (label % 5));
            let mut pixels = Vec::new();
            for pixel in 0..32 * 32 {
                let (y, x) = (pixel / 32, pixel % 32);
                let inside = (top..top + 10).contains(&y) && (left..left + 6).contains(&x);
                for channel in 0..3 {
                    let bright = inside && channel == label % 3;
                    pixels.push(if bright { 250 } else { rng.below(90) as u8 });
                }
            }
            records.extend(encode_cifar10(label as u8, &pixels));
        }
        std::fs::write(folder.join(name), records).unwrap();
    }
}

/// A small trained run, made once for all tests: (folder of the run, folder of the data).
pub fn trained() -> &'static (String, String) {
    static RUN: OnceLock<(String, String)> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let data = folder.join("data");
        write_data(&data, 200, 50);
        let out = folder.join("run").display().to_string();
        let data = data.display().to_string();
        succeed(&[
            "train",
            "lenet-small",
            "--data",
            &data,
            "--epochs",
            "2",
            "--batch-size",
            "20",
            "--out",
            &out,
        ]);
        (out, data)
    })
}

/// Runs the program and reads the one document it prints.
pub fn json(args: &[&str]) -> Value {
    let text = succeed(args);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"))
}
