//! `gtc export --to verilog`, simulated: the numbers of the definition come out of the engine.
//!
//! Needs Debian's verilator (5 or later), iverilog and yosys; what one of them would do is left out, aloud, where it is not
//! installed, unless `GTC_VERILOG_TESTS=required`.

use std::path::Path;
use std::process::Command;

use gtc::export::verilog::{self, Arithmetic, Options};
use gtc::export::{ExportError, Program};
use gtc::graph::{Description, Model};
use gtc::pack::{Activations, PackedLayer, PackedModel, encode};
use gtc::rng::Philox;
use gtc::verify::known_answers;

use crate::common::packing::{device, packed};
use crate::common::{refuse, succeed, trained};

const NETWORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lenet5.gtc");
const DECODER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/vae-mlp.gtc");

/// A residual network with what the engine has: padding, strides, groups, a pool that a product does, one that it does
/// not, an average, sums of two, channels side by side.
const RESIDUAL: &str = r#"
name = "residual"
input = [12, 10, 3]
nodes = [
  { op = "conv", outputs = 16, kernel = 3, padding = 1, bias = false },
  { op = "norm" },
  { name = "stem", op = "relu" },
  { op = "conv", outputs = 16, kernel = 3, padding = 1, bias = false },
  { op = "norm" },
  { op = "relu" },
  { op = "conv", outputs = 16, kernel = 3, padding = 1, bias = false },
  { name = "branch", op = "norm" },
  { op = "add", inputs = ["branch", "stem"] },
  { name = "block", op = "relu" },
  { op = "conv", outputs = 16, kernel = 3, padding = 1, groups = 16 },
  { op = "relu6" },
  { name = "deep", op = "conv", outputs = 20, kernel = 1 },
  { name = "side", op = "concat", inputs = ["deep", "block"] },
  { op = "max-pool", size = 3, stride = 2, padding = 1 },
  { op = "conv", outputs = 12, kernel = 3, padding = 1, stride = 2, groups = 2 },
  { op = "leaky-relu" },
  { op = "average-pool", size = 2, stride = 1 },
  { op = "conv", outputs = 9, kernel = 2, padding = 1 },
  { op = "max-pool", size = 2 },
  { op = "global-average-pool" },
  { op = "dense", outputs = 10 },
]
"#;

#[test]
fn a_network_may_be_called_like_a_part_of_the_engine() {
    let text = RESIDUAL.replace("\"residual\"", "\"engine\"");
    let model = Description::from_toml(&text).unwrap().model(None).unwrap();
    let packed = packed(device(), &model, Activations::Eight, 0.2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.gtc");
    std::fs::write(&file, encode(&packed).unwrap()).unwrap();
    let out = folder.path().join("rtl");
    let [file, out] = [&file, &out].map(|path| path.display().to_string());
    succeed(&["export", &file, "--to", "verilog", "-o", &out]);
    let top = std::fs::read_to_string(format!("{out}/top.v")).unwrap();
    assert!(top.contains("module gtc_engine_network"), "{top}");
}

fn required() -> bool {
    std::env::var("GTC_VERILOG_TESTS").is_ok_and(|v| v == "required")
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--help").output().is_ok();
    if !found {
        assert!(!required(), "{program} is not installed");
        eprintln!("{program} is not installed: what it would do is left out");
    }
    found
}

/// Whether `make` succeeds, and what it says.
fn make(folder: &Path, words: &[&str]) -> (bool, String) {
    let output = Command::new("make")
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn passes(folder: &Path, words: &[&str]) -> String {
    let (success, text) = make(folder, words);
    assert!(success && text.contains("PASS"), "make {words:?}: {text}");
    text
}

fn model_of(text: &str) -> Model {
    Description::from_toml(text).unwrap().model(None).unwrap()
}

/// Writes a model as the library does.
fn write(
    folder: &Path,
    model: &PackedModel,
    options: &Options,
    images: usize,
) -> Result<(), ExportError> {
    let network = model.network();
    let program = Program::new(model, &network)?;
    let answers = known_answers(model, images).unwrap();
    let source = verilog::write(&program, options, &answers)?;
    for (name, text) in source.files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    Ok(())
}

#[test]
fn a_hundred_digits_in_hardware_have_the_logits_of_eval() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let words = [
        "export", NETWORK, "--to", "verilog", "-o", &out, "--images", "100",
    ];
    let said = succeed(&words);
    assert!(said.contains("16 lanes of 8 inputs"), "{said}");
    let file = folder.path().join("logits.json");
    succeed(&["eval", NETWORK, "--logits", &file.display().to_string()]);
    let wanted: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("logits.hex")).unwrap();
    let got: Vec<i64> = text
        .lines()
        .map(|line| u32::from_str_radix(line, 16).unwrap().cast_signed().into())
        .collect();
    let rows: Vec<Vec<i64>> = got.chunks(10).map(<[i64]>::to_vec).collect();
    assert_eq!(rows.len(), 100);
    let first = &wanted["logits"].as_array().unwrap()[..100];
    assert_eq!(
        serde_json::to_value(rows).unwrap(),
        serde_json::Value::from(first.to_vec())
    );
    if is_there("verilator") {
        let said = passes(folder.path(), &["test-verilator"]);
        assert!(
            said.contains("PASS: 8 layer cases, 100 images, 10 logits each"),
            "{said}"
        );
        let cycles = said
            .split("logits each, ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let cycles: f64 = cycles.unwrap().parse().unwrap();
        let summary = std::fs::read(folder.path().join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        let said = summary["cycles"].as_f64().unwrap();
        assert!(
            (said - cycles).abs() < 0.01 * cycles,
            "{said} clocks said, {cycles} counted"
        );
        let (clean, text) = make(folder.path(), &["lint"]);
        assert!(clean && !text.contains("%Warning"), "{text}");
    }
}

#[test]
fn a_residual_network_in_hardware_gives_the_definitions_integers() {
    let model = packed(device(), &model_of(RESIDUAL), Activations::Eight, 0.3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("residual.gtc");
    std::fs::write(&file, encode(&model).unwrap()).unwrap();
    let out = folder.path().join("rtl");
    let words = [
        "export",
        &file.display().to_string(),
        "--to",
        "verilog",
        "-o",
        &out.display().to_string(),
    ];
    succeed(
        &[
            &words[..],
            &["--images", "100", "--lanes", "8", "--inputs", "4"],
        ]
        .concat(),
    );
    if is_there("verilator") {
        let said = passes(&out, &["test-verilator"]);
        assert!(said.contains(" 100 images"), "{said}");
        let (clean, text) = make(&out, &["lint"]);
        assert!(clean && !text.contains("%Warning"), "{text}");
    }
}

#[test]
fn multipliers_give_the_same_logits_where_the_weights_fit() {
    let model = gtc::pack::load(NETWORK.as_ref()).unwrap();
    let network = model.network();
    let program = Program::new(&model, &network).unwrap();
    assert_eq!(
        [2, 4, 8].map(|bits| verilog::weights_fit(&program, bits)),
        [false, true, true]
    );
    for bits in [8, 2] {
        let folder = tempfile::tempdir().unwrap();
        let random = bits == 2;
        let options = Options {
            arithmetic: Arithmetic::Multiply { bits, random },
            lanes: 32,
            ..Options::default()
        };
        write(folder.path(), &model, &options, 1).unwrap();
        if is_there("verilator") {
            passes(folder.path(), &["test-verilator"]);
        }
    }
}

/// Yosys finds no multiplier, divider or remainder in the engine that shifts, and finds the others' multipliers.
#[test]
fn nothing_multiplies_but_multipliers() {
    if !is_there("yosys") {
        return;
    }
    let model = gtc::pack::load(NETWORK.as_ref()).unwrap();
    let multiply = Arithmetic::Multiply {
        bits: 8,
        random: false,
    };
    for (arithmetic, check) in [
        (Arithmetic::Shift, "-assert-none"),
        (multiply, "-assert-any"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            arithmetic,
            ..Options::default()
        };
        write(folder.path(), &model, &options, 1).unwrap();
        let script = format!(
            "read_verilog engine.v top.v; read_verilog -lib memories.v; hierarchy -check -top gtc_lenet5; proc; opt; \
             select {check} t:$mul t:$macc t:$div t:$mod"
        );
        let words = ["-q", "-p", &script];
        let output = Command::new("yosys")
            .args(words)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arithmetic:?}: {said}");
    }
}

/// A convolution with random codes, biases and shifts, and a dense layer behind it.
fn random_layer(seed: u64) -> (PackedModel, Options) {
    let mut rng = Philox::new(seed, 1);
    let mut pick = |from: &[usize]| from[rng.below(from.len() as u32) as usize];
    let groups = pick(&[1, 1, 1, 2, 4]);
    let channels = groups * pick(&[1, 2, 3, 5]);
    let outputs = groups * pick(&[1, 2, 5, 6]);
    let (kernel, padding, stride) = (pick(&[1, 2, 3]), pick(&[0, 0, 1]), pick(&[1, 1, 2]));
    // Windows must see a pixel.
    let padding = padding.min(kernel - 1);
    let [height, width] = [pick(&[3, 5, 8]), pick(&[4, 6, 7])];
    let relu = pick(&[0, 1]);
    let pool = pick(&[0, 1]);
    let options = Options {
        lanes: pick(&[1, 3, 4, 8]),
        inputs: pick(&[2, 4, 8]),
        ..Options::default()
    };
    let bits = [pick(&[1, 2, 3, 4]) as u32, pick(&[1, 2, 3]) as u32];
    let zero = [pick(&[0, 1]) == 1, pick(&[0, 1]) == 1];
    let relu = if relu == 1 { "{ op = \"relu\" }," } else { "" };
    let rows = |side: usize| (side + 2 * padding - kernel) / stride + 1;
    let pooled = pool == 1 && rows(height) >= 2 && rows(width) >= 2;
    let pool = if pooled {
        "{ op = \"max-pool\", size = 2 },"
    } else {
        ""
    };
    let text = format!(
        "name = \"random\"\ninput = [{height}, {width}, {channels}]\nnodes = [\n\
         {{ op = \"conv\", outputs = {outputs}, kernel = {kernel}, padding = {padding}, stride = {stride}, \
         groups = {groups} }},\n{relu}\n{pool}\n{{ op = \"dense\", outputs = 3 }},\n]\n"
    );
    let model = model_of(&text);
    let values = model.graph.nodes.len() + 1;
    let divided = if pooled { 2 } else { 1 };
    let dense = (rows(height) / divided, rows(width) / divided, outputs);
    let shapes = [
        [outputs, kernel, kernel, channels / groups],
        [3, dense.0, dense.1, dense.2],
    ];
    let names: Vec<String> = model
        .graph
        .nodes
        .iter()
        .filter(|node| node.name.starts_with("conv") || node.name.starts_with("dense"))
        .map(|node| node.name.clone())
        .collect();
    let mut layers = Vec::new();
    for number in 0..2 {
        let bits = bits[number];
        let zero = zero[number] && bits > 1;
        let count: usize = shapes[number].iter().product();
        // Spans of 0 to 6.
        let indices = (1u32 << (bits - 1)).min(7 + u32::from(zero));
        let mut code = || (rng.below(indices) | rng.below(2) << (bits - 1)) as u8;
        let codes = (0..count).map(|_| code()).collect();
        let last = number == 1;
        let mut bias = || rng.below(4001) as i32 - 2000;
        let bias = (0..shapes[number][0]).map(|_| bias()).collect();
        let mut shift = || if last { 0 } else { rng.below(12) as i32 - 2 };
        let shift = (0..shapes[number][0]).map(|_| shift()).collect();
        layers.push(PackedLayer {
            name: names[number].clone(),
            shape: shapes[number],
            bits,
            zero,
            exponent_min: 0,
            codes,
            bias,
            shift,
            input_scale: 0,
            output_scale: 0,
            last,
        });
    }
    // Two bytes of three lie at the ends of what an activation can be.
    let entry = |byte: usize| match byte % 3 {
        0 => (byte as i16 - 128).clamp(-127, 127),
        1 => 127,
        _ => -127,
    };
    let packed = PackedModel {
        classes: (0..3).map(|class: usize| class.to_string()).collect(),
        model,
        data: "noise".to_owned(),
        seen: None,
        activations: if seed.is_multiple_of(5) {
            Activations::Sixteen
        } else {
            Activations::Eight
        },
        table: (0..256 * channels).map(|i| entry(i % 256)).collect(),
        layers,
        units: vec![0; values],
    };
    (packed, options)
}

/// Seeds of random layers.
const SEEDS: u64 = 24;

#[test]
fn random_layers_in_hardware_give_the_definitions_integers() {
    let seeds = std::env::var("GTC_VERILOG_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(SEEDS) {
        let (model, options) = random_layer(seed);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &model, &options, 2).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        if is_there("iverilog") {
            let (success, text) = make(folder.path(), &["test-icarus"]);
            assert!(
                success && text.contains("PASS"),
                "seed {seed}: {:?}\n{text}",
                model.layers[0].shape
            );
        }
    }
}

/// The line that makes a sum of products of what leaves an accumulator.
const SUM: &str = "wire [ACC-1:0] sum = value1[ACC-1:0] + correct;";

/// Faults of hardware, as changes of `engine.v`, that the test bench must find.
const FAULTS: [(&str, &str, &str); 8] = [
    (
        "rounds down",
        "value3 <= raised + bias2;",
        "value3 <= raised + (bias2 & ~16'd15);",
    ),
    ("keeps the smallest of a pool", "old > now", "old < now"),
    (
        "loses a carry",
        SUM,
        "wire [ACC-1:0] sum = value1[ACC-1:0] + (correct & ~18'd1);",
    ),
    ("does not saturate", "f_has_high && rounded > high", "1'b0"),
    (
        "has an accumulator that is too narrow by three bits",
        SUM,
        "wire [ACC-1:0] whole = value1[ACC-1:0] + correct;
         wire [ACC-1:0] sum = {{3{whole[ACC-4]}}, whole[ACC-4:0]};",
    ),
    (
        "has an accumulator that is too narrow by one bit",
        SUM,
        "wire [ACC-1:0] whole = value1[ACC-1:0] + correct;
         wire [ACC-1:0] sum = {whole[ACC-2], whole[ACC-2:0]};",
    ),
    (
        "reads beyond the image",
        "at_x < f_columns && at_y < f_rows",
        "1'b1",
    ),
    (
        "ignores the sign of a code",
        "u ^ {ACT{code[INDEX]}}",
        "u ^ {ACT{code[INDEX] && 1'b0}}",
    ),
];

#[test]
fn the_test_bench_finds_faults() {
    let text = RESIDUAL
        .replace("outputs = 16", "outputs = 8")
        .replace("groups = 16", "groups = 8");
    let model = packed(device(), &model_of(&text), Activations::Eight, 0.3);
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        lanes: 4,
        inputs: 4,
        ..Options::default()
    };
    write(folder.path(), &model, &options, 1).unwrap();
    if !is_there("iverilog") {
        return;
    }
    passes(folder.path(), &["test-icarus"]);
    let engine = folder.path().join("engine.v");
    let right = std::fs::read_to_string(&engine).unwrap();
    for (what, from, to) in FAULTS {
        assert!(
            right.contains(from),
            "{what}: '{from}' is not in the engine"
        );
        std::fs::write(&engine, right.replace(from, to)).unwrap();
        // Faults are found in layers; images would only take longer.
        let (success, text) = make(folder.path(), &["-B", "test-icarus", "IMAGES=0"]);
        assert!(
            !success && text.contains("FAIL"),
            "an engine that {what} passes: {text}"
        );
    }
}

#[test]
fn equal_networks_give_equal_files() {
    let model = gtc::pack::load(NETWORK.as_ref()).unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        write(folder.path(), &model, &Options::default(), 1).unwrap();
    }
    let mut files = 0;
    for entry in std::fs::read_dir(folders[0].path()).unwrap() {
        let name = entry.unwrap().file_name();
        let of = |i: usize| std::fs::read(folders[i].path().join(&name)).unwrap();
        assert_eq!(of(0), of(1), "{name:?}");
        files += 1;
    }
    assert!(files > 12);
}

#[test]
fn what_the_engine_lacks_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rtl").display().to_string();
    let export = |file: &str, more: &[&str], words: &[&str]| {
        refuse(
            &[&["export", file, "--to", "verilog", "-o", &out], more].concat(),
            words,
        );
        assert!(!Path::new(&out).exists(), "nothing may be written");
    };
    export(DECODER, &[], &["vae-mlp", "decoder", "--to c"]);
    export(
        NETWORK,
        &["--accumulator", "14"],
        &["conv2", "too narrow", "40640", "17 bits", "--accumulator"],
    );
    export(NETWORK, &["--lanes", "0"], &["--lanes"]);
    export(NETWORK, &["--inputs", "3"], &["--inputs"]);
    export(
        NETWORK,
        &["--multipliers", "8", "--compare"],
        &["--compare", "--multipliers"],
    );
    export(
        NETWORK,
        &["--prefix", "net"],
        &["--prefix", "means nothing"],
    );
    let (run, _) = trained();
    export(run, &[], &["not packed yet", "gtc pack"]);
    refuse(
        &["export", NETWORK, "--to", "c", "-o", &out, "--lanes", "8"],
        &["--lanes", "means nothing", "c"],
    );
    refuse(
        &["export", NETWORK, "--to", "verilog", "-o", NETWORK],
        &["folder"],
    );
    std::fs::write(folder.path().join("Makefile"), "all:\n").unwrap();
    let there = folder.path().display().to_string();
    refuse(
        &["export", NETWORK, "--to", "verilog", "-o", &there],
        &["Makefile", "another folder"],
    );

    let nodes = |node: &str| {
        format!(
            "name = \"odd\"\ninput = [4, 4, 2]\nnodes = [\n{{ name = \"a\", op = \"conv\", outputs = 2, kernel = 1 }},\n\
             {{ name = \"b\", op = \"conv\", outputs = 2, kernel = 1, inputs = [\"input\"] }},\n{node},\n\
             {{ op = \"dense\", outputs = 10 }},\n]\n"
        )
    };
    for (node, words) in [
        (
            "{ op = \"add\", inputs = [\"a\", \"b\"] },\n{ name = \"wide\", op = \"upsample\", size = 2 }",
            ["'wide'", "upsample", "--to c"],
        ),
        (
            "{ name = \"all\", op = \"add\", inputs = [\"a\", \"b\", \"input\"] }",
            ["'all'", "add", "pairs"],
        ),
    ] {
        let model = packed(device(), &model_of(&nodes(node)), Activations::Eight, 0.0);
        let error = write(folder.path(), &model, &Options::default(), 1)
            .unwrap_err()
            .to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
