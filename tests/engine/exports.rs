//! Packed networks written for other machines: the same integers there.

use std::path::Path;
use std::process::Command;

use crate::common::checks::random_networks;
use crate::common::packing::{device, packed};
use gtc::export::{ExportError, Program, c};
use gtc::model::Model;
use gtc::onnx;
use gtc::pack::{Activations, PackedModel};
use gtc::verify::{KnownAnswer, known_answers};

/// Whether a program of this name can be called.
fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn run(folder: &Path, program: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(words).current_dir(folder).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {words:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

const WARNINGS: [&str; 5] = ["-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"];

/// Compiles what is written for a model, and has it test itself.
fn gives_known_answers(model: &PackedModel, compiler: &[&str]) {
    let network = model.network();
    let program = Program::new(model, &network).unwrap();
    let answers = known_answers(model, 3).unwrap();
    let source = c::write(&program, "net", &answers).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in &source.files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let files = ["net_test.c", "net.c", "-o", "net_test"];
    let words: Vec<&str> = [&compiler[1..], &WARNINGS, &files].concat();
    run(folder.path(), compiler[0], &words);
    let said = run(folder.path(), "./net_test", &[]);
    assert_eq!(said, "3 passed, 0 failed\n", "{}", network.name);
}

/// Seeds of random networks. A hundred more were tried once in C, forty in ONNX.
const SEEDS: u64 = 20;
const C: &[&str] = &["cc", "-std=c99", "-O1"];
const CHECKED: &[&str] = &["cc", "-std=c99", "-g", "-fsanitize=address,undefined"];
const PLUS_PLUS: &[&str] = &["c++", "-std=c++11", "-x", "c++", "-O1"];

/// Networks of the program with random weights, which tell two inputs apart.
fn known_networks() -> impl Iterator<Item = (String, PackedModel)> {
    let names = [
        "lenet5",
        "lenet-small",
        "vgg-tiny",
        "resnet20",
        "vae-mlp",
        "vae",
    ];
    let ways = [(Activations::Eight, 0.0), (Activations::Sixteen, 0.3)];
    names.into_iter().flat_map(move |name| {
        ways.map(|(activations, slope)| {
            let model = Model::by_name(name).unwrap();
            let packed = packed(device(), &model, activations, slope);
            let answers = known_answers(&packed, 2).unwrap();
            assert_ne!(answers[0].logits, answers[1].logits, "{name}");
            (format!("{name}-{}", activations.bits()), packed)
        })
    })
}

#[test]
fn random_graphs_in_c_give_the_definitions_integers() {
    if !is_there("cc") {
        eprintln!("no C compiler (Debian: gcc): nothing compared");
        return;
    }
    let mut written = 0;
    for seed in 0..SEEDS {
        let compiler = match seed % 4 {
            0 => CHECKED,
            1 if is_there("c++") => PLUS_PLUS,
            _ => C,
        };
        for (_, model) in random_networks(seed) {
            gives_known_answers(&model, compiler);
            written += 1;
        }
    }
    assert!(written > SEEDS, "{written} networks of {SEEDS} seeds");
}

#[test]
fn networks_of_the_program_in_c_give_the_definitions_integers() {
    if !is_there("cc") {
        eprintln!("no C compiler (Debian: gcc): nothing compared");
        return;
    }
    for (_, model) in known_networks() {
        gives_known_answers(&model, C);
    }
}

/// The Python that has onnxruntime and onnx, if any: `GTC_ONNX_PYTHON`, else `python3`.
pub fn python_with_onnx() -> Option<String> {
    let named = std::env::var("GTC_ONNX_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let imports = Command::new(&python)
        .args(["-c", "import onnx, onnxruntime"])
        .output();
    match imports.is_ok_and(|output| output.status.success()) {
        true => Some(python),
        false => {
            assert_eq!(named, None, "it has no onnx and onnxruntime");
            eprintln!("python3 has no onnx and onnxruntime (PyPI): nothing compared");
            None
        }
    }
}

/// Writes a model beside inputs and the logits they must have.
fn write_onnx(
    folder: &Path,
    name: &str,
    model: &PackedModel,
    count: usize,
) -> Result<(), ExportError> {
    let network = model.network();
    let program = Program::new(model, &network)?;
    let file = onnx::write_packed(&program)?;
    std::fs::write(folder.join(format!("{name}.onnx")), file).unwrap();
    let answers = known_answers(model, count).unwrap();
    let rows = |of: &dyn Fn(&KnownAnswer) -> Vec<i32>| -> Vec<Vec<i32>> {
        answers.iter().map(of).collect()
    };
    let output = program.output();
    let facts = serde_json::json!({
        "input": program.input.sides(),
        "inputs": rows(&|answer| answer.input.clone()),
        "output": output.sides(),
        "logits": rows(&|answer| answer.logits.clone()),
    });
    std::fs::write(folder.join(format!("{name}.json")), facts.to_string()).unwrap();
    Ok(())
}

#[test]
fn onnxruntime_gives_the_definitions_integers() {
    let Some(python) = python_with_onnx() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut written = 0;
    for (name, model) in (0..SEEDS).flat_map(random_networks) {
        match write_onnx(folder.path(), &name, &model, 4) {
            Ok(()) => written += 1,
            Err(error) => assert!(error.to_string().contains("2^24"), "{error}"),
        }
    }
    assert!(written > SEEDS, "{written} networks of {SEEDS} seeds");
    for (name, model) in known_networks() {
        write_onnx(folder.path(), &name, &model, 2).unwrap_or_else(|e| panic!("{name}: {e}"));
        written += 1;
    }
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lenet5.gtc");
    let lenet5 = gtc::pack::load(digits.as_ref()).unwrap();
    write_onnx(folder.path(), "lenet5-digits", &lenet5, 1000).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/onnx_check.py");
    let said = run(folder.path(), &python, &[script, "."]);
    assert_eq!(said.trim(), format!("{} models agree", written + 1));
    let web = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx_web");
    if !Path::new(web).join("node_modules").exists() {
        eprintln!("no onnxruntime-web (npm ci --prefix tests/onnx_web): not compared");
        return;
    }
    let script = format!("{web}/check.mjs");
    let said = run(folder.path(), "node", &[&script, "."]);
    assert_eq!(said.trim(), format!("{} models agree", written + 1));
}
