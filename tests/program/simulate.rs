//! `gtc simulate` on the command line.

use std::path::Path;

use crate::common::{json, refuse, run, succeed, trained, write_cifar10};
use serde_json::Value;

const LENET5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lenet5.gtc");

fn read(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_model_is_simulated_and_agrees_with_what_eval_counts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (page, file) = (at("hardware.html"), at("hardware.json"));
    let args = [
        "simulate", LENET5, "--images", "3", "--json", &file, "-o", &page,
    ];
    let said = succeed(&args);
    for words in [
        "not silicon",
        "int8",
        "linear, same bits",
        "cycles an image",
        &page,
    ] {
        assert!(said.contains(words), "no '{words}' in\n{said}");
    }
    let found = read(&file);
    let counted = json(&["eval", LENET5, "--count-ops", "--json"]);
    assert_eq!(found["operations"], counted["operations"]);
    assert_eq!(
        found["counted_on"].as_str().unwrap().split(' ').next(),
        Some("3")
    );
    let packed = &found["formats"][0];
    let layers = packed["layers"].as_array().unwrap();
    for part in [
        "arithmetic",
        "registers",
        "weights",
        "activations",
        "off_chip",
    ] {
        let sum: f64 = layers
            .iter()
            .map(|l| l["energy"][part].as_f64().unwrap())
            .sum();
        let all = packed["energy"][part].as_f64().unwrap();
        assert!((sum - all).abs() <= 1e-9 * all, "{part}: {sum} {all}");
    }
    let text = std::fs::read_to_string(&page).unwrap();
    for words in [
        "prefers-color-scheme",
        "Horowitz",
        "conv2 + ",
        "linear, same bits",
    ] {
        assert!(text.contains(words), "no '{words}' on the page");
    }
    // It needs nothing from elsewhere.
    for words in ["<script", "http://", "https://", "NaN", "inf "] {
        assert!(!text.contains(words), "'{words}' on the page");
    }
}

#[test]
fn runs_decoders_and_every_dataflow_are_simulated() {
    let (run, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // A run is named by its folder once it is packed.
    let copy = at("run");
    std::fs::create_dir(&copy).unwrap();
    refuse(&["simulate", run], &[run, "not packed yet", "gtc pack"]);
    let packed = format!("{copy}/model.gtc");
    succeed(&["pack", run, "--calibrate", data, "-o", &packed]);
    for dataflow in [
        &["--lanes", "7"][..],
        &["--dataflow", "output-stationary", "--array", "8x4"],
        &[
            "--dataflow",
            "weight-stationary",
            "--batch",
            "4",
            "--node",
            "7nm",
        ],
    ] {
        let args = [
            &["simulate", &copy, "--data", data, "--sram", "16"],
            dataflow,
        ]
        .concat();
        assert!(succeed(&args).contains("multiply-accumulate"));
    }
    let vae = at("vae");
    let train = [
        "train", "vae-mlp", "--latent", "4", "--epochs", "1", "--limit", "200",
    ];
    succeed(&[&train[..], &["--out", &vae]].concat());
    let decoder = at("decoder.gtc");
    succeed(&["pack", &vae, "-o", &decoder]);
    let file = at("decoder.json");
    succeed(&["simulate", &decoder, "--images", "2", "--json", &file]);
    let found = read(&file);
    assert!(found["counted_on"].as_str().unwrap().contains("2 latents"));
    refuse(
        &["simulate", &decoder, "--data", data],
        &["--data", "decoder of vae-mlp", "reads no images"],
    );
}

#[test]
fn a_table_that_is_printed_can_be_changed_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let table = succeed(&["simulate", "--print-node", "45nm"]);
    let mine = at("mine.toml");
    let total = |text: &str| -> f64 {
        std::fs::write(&mine, text).unwrap();
        let file = at("out.json");
        let base = ["simulate", LENET5, "--images", "0"];
        succeed(&[&base[..], &["--node", &mine, "--json", &file]].concat());
        let energy = read(&file)["formats"][0]["energy"].clone();
        let parts = energy.as_object().unwrap().values();
        parts.map(|part| part.as_f64().unwrap()).sum()
    };
    let before = total(&table);
    assert!(total(&table.replace("pj = 0.009", "pj = 0.9")) > before);
    let bad = |from: &str, to: &str, words: &[&str]| {
        assert!(table.contains(from), "{from}");
        std::fs::write(&mine, table.replace(from, to)).unwrap();
        let args = ["simulate", LENET5, "--node", &mine];
        refuse(&args, &[&[mine.as_str()], words].concat());
    };
    bad(
        "pj = 0.03\n",
        "pj = -0.03\n",
        &["add_int8.pj = -0.03", "from 0 up"],
    );
    bad(
        "pj = 0.009\n",
        "pj = nan\n",
        &["register_bit.pj", "from 0 up"],
    );
    bad("[sign_bit]", "[sign_bits]", &["sign_bits", "unknown field"]);
    bad("pj = 0.03\n", "", &["missing field", "pj"]);
    bad("low = 1300.0", "low = 2000.0", &["dram.pj", "between"]);
    bad("kib = 32", "kib = 4", &["sram[1]", "in order"]);
    bad("mhz = 500.0", "mhz = 0.0", &["clock.mhz", "larger than 0"]);
    bad(
        "source = \"assumption\"",
        "source = \"\"",
        &["clock", "empty source"],
    );
    bad(
        "pj = 0.1\n",
        "pj = 0.01\n",
        &["add_int32.pj", "add_int8.pj"],
    );
    bad("[add_int8]", "[add_int8", &["TOML parse error"]);
    let start = table.find("[add_int8]").unwrap();
    let end = table.find("[add_int32]").unwrap();
    bad(&table[start..end], "", &["missing field", "add_int8"]);
}

#[test]
fn results_of_synthesis_are_shown_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (file, page) = (at("synth.json"), at("hardware.html"));
    let base = ["simulate", LENET5, "--images", "0", "-o", &page];
    let all = [&base[..], &["--synthesis", &file]].concat();
    let engines = r#"[
        {"engine": "shift-add", "lanes": 10, "target": "cells", "cells_nand2": 8000, "mhz": 100,
         "memory_bits": 436000, "cycles": 229364, "tools": {"yosys": "0.23"}},
        {"engine": "int8", "lanes": 10, "target": "cells", "cells_nand2": 20000, "mhz": 80},
        {"engine": "int4", "lanes": 10, "target": "cells", "cells_nand2": 12000}]"#;
    std::fs::write(&file, engines).unwrap();
    succeed(&all);
    let text = std::fs::read_to_string(&page).unwrap();
    // 20,000 by 8,000; 100 MHz by 229,364 cycles; 8,000 for 4 bits and 10 lanes.
    for words in [
        "As synthesised",
        "2.50",
        "436",
        "yosys 0.23",
        "costs 200 NAND2 a lane",
    ] {
        assert!(text.contains(words), "no '{words}' on the page");
    }
    for (text, words) in [
        ("{}", "a list of engines"),
        ("[]", "no engine"),
        (r#"[{"engine": "int8", "lanes": 0}]"#, "0 lanes"),
        (
            r#"[{"engine": "int8", "lanes": 4, "mhz": -1}]"#,
            "mhz is -1",
        ),
        (r#"[{"lanes": 4}]"#, "missing field `engine`"),
    ] {
        std::fs::write(&file, text).unwrap();
        refuse(&all, &[&file, words]);
    }
    let same = ["simulate", LENET5, "--synthesis", &file, "--json", &file];
    refuse(&same, &[&file]);
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    refuse(&["simulate"], &["MODEL"]);
    refuse(
        &["simulate", "--print-node", "90nm"],
        &["90nm", "45nm", "7nm"],
    );
    let with = |args: &[&str], words: &[&str]| {
        refuse(&[&["simulate", LENET5], args].concat(), words);
    };
    with(&["--node", "45"], &["'45'", "45nm", "--print-node"]);
    with(&["--node", "/nowhere/n.toml"], &["/nowhere/n.toml"]);
    with(&["--lanes", "0"], &["--lanes", "0"]);
    with(&["--batch", "0"], &["--batch", "0"]);
    with(&["--sram", "0"], &["--sram 0", "above 0"]);
    with(&["--sram", "nan"], &["--sram", "above 0"]);
    with(&["--array", "8x8"], &["--array", "--dataflow"]);
    let arrays = ["--dataflow", "output-stationary"];
    with(
        &[&arrays[..], &["--lanes", "4"]].concat(),
        &["--lanes", "--array"],
    );
    with(
        &[&arrays[..], &["--array", "0x4"]].concat(),
        &["0x4", "16x16"],
    );
    with(&[&arrays[..], &["--array", "4"]].concat(), &["16x16"]);
    with(&["--dataflow", "row"], &["lanes", "weight-stationary"]);
    with(&["--data", "/nowhere"], &["/nowhere"]);
    with(&["-o", LENET5], &[".gtc says otherwise", "an HTML page"]);
    with(&["-o", "/nowhere/h.html"], &["no folder"]);
    with(&["--json", &at("h.html")], &["a JSON document"]);
    let text = at("text.gtc");
    std::fs::write(&text, "no model").unwrap();
    refuse(&["simulate", &text], &[&text]);
    refuse(&["simulate", &at("missing.gtc")], &["missing.gtc"]);
    // A file that is there is read first, and nothing is written if that fails.
    let page = at("page.html");
    let (code, ..) = run(&["simulate", &text, "-o", &page]);
    assert_eq!(code, 2);
    assert!(!Path::new(&page).exists());
}

/// A model that lies apart from its run and its data is simulated without zeros, with a note that says why.
#[test]
fn a_model_without_its_data_is_simulated_without_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (data, model, out) = (at("cifar10"), at("mine.toml"), at("run"));
    write_cifar10(Path::new(&data), 5);
    let text = r#"
        name = "mine"
        input = "data"
        nodes = [
          { op = "conv", outputs = 4, kernel = 3, stride = 2, padding = 1 }, { op = "relu" },
          { op = "global-average-pool" }, { op = "dense", outputs = "data" },
        ]"#;
    std::fs::write(&model, text).unwrap();
    let train = [
        "train",
        &model,
        "--data",
        &data,
        "--epochs",
        "1",
        "--batch-size",
        "5",
    ];
    succeed(&[&train[..], &["--out", &out]].concat());
    let apart = at("apart.gtc");
    succeed(&["pack", &out, "--calibrate", &data, "-o", &apart]);
    let (code, stdout, stderr) = run(&["simulate", &apart]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("zeros are not counted"), "{stderr}");
    assert!(!stdout.contains("activation of zero"), "{stdout}");
    // Asked for images, it needs to know which.
    refuse(&["simulate", &apart, "--images", "5"], &["--data DIR"]);
    let said = succeed(&["simulate", &apart, "--data", &data]);
    assert!(said.contains("activation of zero"), "{said}");
}
