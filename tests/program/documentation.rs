//! The commands of pages in `docs/`, run in their order as they stand there.

use std::path::Path;
use std::process::Command;

use crate::common::pictures::Tree;
use crate::common::{gtc, succeed};

/// The commands of a page: lines of code, and words between backticks that are more than the name of one.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in page.lines() {
        if let Some(code) = line.strip_prefix("    ") {
            // What a command does stands behind it, two spaces or more away.
            let command = code.split("  ").next().unwrap_or_default();
            if command.starts_with("gtc ") || command.starts_with("make ") {
                found.push(command.trim().to_owned());
            }
            continue;
        }
        let spans = line.split('`').skip(1).step_by(2);
        let whole = spans.filter(|span| span.starts_with("gtc ") && span.split(' ').count() > 2);
        found.extend(whole.map(str::to_owned));
    }
    found
}

fn run(folder: &Path, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let mut program = match words[0] {
        "gtc" => gtc(),
        other => Command::new(other),
    };
    let output = program.args(&words[1..]).current_dir(folder).output();
    let output = output.unwrap_or_else(|e| panic!("{command}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A folder with what the pages name: pictures, runs, and a float network in ONNX.
fn workplace() -> Tree {
    let tree = Tree::two_classes(0);
    for (class, rgb) in [("photos/cat", [200, 0, 0]), ("photos/dog", [0, 0, 200])] {
        for number in 0..40 {
            tree.colour(
                &format!("{class}/{number}.png"),
                rgb.map(|v: u8| v.saturating_add(number)),
            );
        }
    }
    let text = r#"
        name = "mine"
        input = "data"
        nodes = [
          { op = "conv", outputs = 8, kernel = 3 }, { op = "relu" }, { op = "global-average-pool" },
          { op = "dense", outputs = "data" },
        ]"#;
    tree.write("mine.toml", text.as_bytes());
    let at = |name: &str| tree.at(name).display().to_string();
    let (model, photos, floats, mine) = (
        at("mine.toml"),
        at("photos"),
        at("runs/f"),
        at("runs/mine-1"),
    );
    let train = [
        "train",
        &model,
        "--data",
        &photos,
        "--epochs",
        "8",
        "--batch-size",
        "8",
        "--out",
    ];
    succeed(&[&train[..], &[&mine]].concat());
    succeed(&[&train[..], &[&floats, "--objective", "float"]].concat());
    succeed(&["export", &floats, "--to", "onnx", "-o", &at("net.onnx")]);
    succeed(&["pack", &mine]);
    for file in [
        "config.toml",
        "model.toml",
        "metrics.jsonl",
        "model.safetensors",
    ] {
        let copy = tree.at(&format!("runs/lenet5-1/{file}"));
        std::fs::copy(tree.at(&format!("runs/mine-1/{file}")), copy).unwrap();
    }
    tree
}

#[test]
fn commands_of_pages_do_what_they_say() {
    let tree = workplace();
    for (page, least) in [("C.md", 3), ("ONNX.md", 9), ("HARDWARE.md", 3)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(page);
        let commands = commands(&std::fs::read_to_string(path).unwrap());
        assert!(commands.len() >= least, "{page}: {commands:?}");
        for command in commands {
            run(tree.0.path(), &command);
        }
    }
}
