//! Packed networks written for other machines: the same integers there.

use std::path::Path;
use std::process::Command;

use crate::common::checks::pack_random;
use crate::common::packing::{device, packed};
use crate::common::random_graphs::{may_have_floats, random_auto_encoder, random_model};
use gtc::export::{Program, c};
use gtc::model::Model;
use gtc::pack::{Activations, PackError, PackedModel};

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
    let answers = c::known_answers(model, 3).unwrap();
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

/// Random networks; a hundred more were tried once.
const SEEDS: u64 = 20;
const C: &[&str] = &["cc", "-std=c99", "-O1"];
const CHECKED: &[&str] = &["cc", "-std=c99", "-g", "-fsanitize=address,undefined"];
const PLUS_PLUS: &[&str] = &["c++", "-std=c++11", "-x", "c++", "-O1"];

fn is_written(
    what: &str,
    model: &Model,
    activations: Activations,
    floats: bool,
    compiler: &[&str],
) {
    match pack_random(device(), model, activations) {
        Ok(packed) => gives_known_answers(&packed.model, compiler),
        Err(PackError::Float { .. }) if floats => (),
        Err(
            PackError::UnitsApart { .. } | PackError::Overflow { .. } | PackError::Offset { .. },
        ) => (),
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn random_graphs_in_c_give_the_definitions_integers() {
    if !is_there("cc") {
        eprintln!("no C compiler (Debian: gcc): nothing compared");
        return;
    }
    for seed in 0..SEEDS {
        let activations = match seed % 3 {
            0 => Activations::Sixteen,
            _ => Activations::Eight,
        };
        let compiler = match seed % 4 {
            0 => CHECKED,
            1 if is_there("c++") => PLUS_PLUS,
            _ => C,
        };
        let what = format!("seed {seed}");
        is_written(
            &what,
            &random_model(seed),
            activations,
            may_have_floats(seed),
            compiler,
        );
        if seed % 4 == 0 {
            is_written(
                &what,
                &random_auto_encoder(seed),
                activations,
                false,
                compiler,
            );
        }
    }
}

#[test]
fn networks_of_the_program_in_c_give_the_definitions_integers() {
    if !is_there("cc") {
        eprintln!("no C compiler (Debian: gcc): nothing compared");
        return;
    }
    for name in [
        "lenet5",
        "lenet-small",
        "vgg-tiny",
        "resnet20",
        "vae-mlp",
        "vae",
    ] {
        let model = Model::by_name(name).unwrap();
        for (activations, slope) in [(Activations::Eight, 0.0), (Activations::Sixteen, 0.3)] {
            let packed = packed(device(), &model, activations, slope);
            let answers = c::known_answers(&packed, 2).unwrap();
            assert_ne!(
                answers[0].logits, answers[1].logits,
                "{name} says something"
            );
            gives_known_answers(&packed, C);
        }
    }
}
