//! Models as text: what is printed reads back to the same model, and whatever does not fit is answered with an error
//! that names the thing and, for a mistyped name, the nearest one.

use std::panic::catch_unwind;

use gtc::graph::{
    Builder, DataFacts, Description, Graph, MOST_TEXT, Model, ModelError, NAMES, Node, Scaling,
};
use gtc::loss::Likelihood;
use gtc::op::{
    Activation, Add, AveragePool, Concat, Conv, Dense, Dropout, Flatten, GlobalAveragePool, Latent,
    MaxPool, Norm, Pair, Reshape, Upsample,
};
use gtc::rng::Philox;

/// A description with nothing wrong.
const GOOD: &str = r#"
name = "mine"
input = [8, 8, 3]
nodes = [
  { name = "stem", op = "conv", outputs = 8, kernel = 3, padding = 1 },
  { op = "relu" },
  { name = "pool", op = "max-pool", size = 2 },
  { name = "deep", op = "conv", outputs = 8, kernel = 3, padding = 1, groups = 2 },
  { name = "sum", op = "add", inputs = ["deep", "pool"] },
  { name = "fc", op = "dense", outputs = 10 },
]
"#;

/// The smallest auto-encoder.
const AUTO_ENCODER: &str = r#"
name = "small"
input = [4, 4, 1]
likelihood = "bernoulli"
nodes = [
  { name = "posterior", op = "dense", outputs = 6 },
  { name = "sample", op = "latent", size = 3 },
  { name = "pixels", op = "dense", outputs = 16 },
]
"#;

fn read(text: &str) -> Result<Model, ModelError> {
    Description::from_toml(text)?.model(None)
}

fn zoo() -> Vec<Model> {
    let names = NAMES.iter().copied().chain(["mobilenet-0.5"]);
    names.map(|name| Model::by_name(name).unwrap()).collect()
}

/// A text with one change, which must be in it.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "'{from}' does not occur in:\n{text}");
    text.replace(from, to)
}

/// Checks that a text is refused with words that name what is wrong.
fn refuse(text: &str, words: &[&str]) {
    let short: String = text.chars().take(2000).collect();
    match catch_unwind(|| read(text)) {
        Err(_) => panic!("a panic, not an error, for:\n{short}"),
        Ok(Ok(_)) => panic!("accepted, but it should say {words:?}:\n{short}"),
        Ok(Err(error)) => {
            let said = error.to_string();
            for word in words {
                assert!(
                    said.contains(word),
                    "'{word}' is not in \"{said}\", of:\n{short}"
                );
            }
            assert!(
                said.len() < 1000,
                "an error of {} bytes for:\n{short}",
                said.len()
            );
        }
    }
}

#[test]
fn every_model_of_the_program_survives_its_text() {
    for model in zoo() {
        let text = model.to_toml();
        let found = read(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(found, model, "{text}");
        assert_eq!(found.to_toml(), text);
    }
}

#[test]
fn every_model_of_the_program_survives_json() {
    for model in zoo() {
        let description = Description::of(&model);
        let text = serde_json::to_string(&description).unwrap();
        let found: Description = serde_json::from_str(&text).unwrap();
        assert_eq!(found, description, "{text}");
        assert_eq!(found.model(None).unwrap(), model, "{text}");
    }
}

#[test]
fn rust_and_toml_give_one_model() {
    let mut net = Builder::new("both", [12, 10, 3])
        .summary("a \"quoted\" word, a\ttab, a\nline and an ä")
        .scaling(Scaling {
            mean: [0.1, 0.25, 1e-7],
            deviation: [1.0, 0.3, 1e10],
        });
    let stem = net.then("stem", Conv::new(8, 3).padding([1, 0]).without_bias());
    net.then("", Norm {});
    net.then("", Activation::RELU6);
    net.then("deep", Conv::new(8, 3).padding(1).groups(8).stride(1));
    let branch = net.then("", Activation::leaky(2));
    net.join("sum", Add {}, &[branch, stem]);
    net.then("", Dropout { probability: 0.1 });
    net.then(
        "",
        MaxPool {
            stride: Some(Pair([2, 1])),
            padding: Pair::both(1),
            ..MaxPool::new(3)
        },
    );
    let left = net.then("", AveragePool::new(2));
    net.then("side", Conv::new(3, 1));
    let side = net.then("", Activation::RELU);
    net.join("joined", Concat {}, &[left, side]);
    net.then("", Upsample { size: 2 });
    net.then("", Flatten {});
    net.then("row", Dense::new(16));
    net.then(
        "",
        Reshape {
            height: 2,
            width: 2,
        },
    );
    net.then("", GlobalAveragePool {});
    net.then(
        "classes",
        Dense {
            quantise: false,
            ..Dense::new(5)
        },
    );
    let built = net.build().unwrap();
    let text = r#"
name = "both"
summary = "a \"quoted\" word, a\ttab, a\nline and an ä"
input = [12, 10, 3]
scaling = { mean = [0.1, 0.25, 1e-7], deviation = [1.0, 0.3, 1e10] }
nodes = [
  { name = "joined", op = "concat", inputs = ["average_pool1", "relu1"] },
  { name = "stem", op = "conv", inputs = "input", outputs = 8, kernel = [3, 3], padding = [1, 0], bias = false },
  { op = "norm" },
  { op = "activation", kind = "relu6", name = "relu6_1" },
  { name = "deep", op = "conv", outputs = 8, kernel = 3, padding = 1, groups = 8 },
  { op = "leaky-relu", shift = 2 },
  { name = "sum", op = "add", inputs = ["leaky_relu1", "stem"] },
  { op = "dropout", probability = 0.1 },
  { op = "max-pool", size = 3, stride = [2, 1], padding = 1 },
  { op = "average-pool", size = 2 },
  { name = "side", op = "conv", outputs = 3, kernel = 1 },
  { op = "relu" },
  { op = "upsample", size = 2, inputs = "joined" },
  { op = "flatten" },
  { name = "row", op = "dense", outputs = 16 },
  { op = "reshape", height = 2, width = 2 },
  { op = "global-average-pool" },
  { name = "classes", op = "dense", outputs = 5, quantise = false },
]
"#;
    assert_eq!(read(text).unwrap(), built);
    assert_eq!(
        read(&built.to_toml()).unwrap(),
        built,
        "{}",
        built.to_toml()
    );

    let mut net = Builder::new("small", [4, 4, 1]).likelihood(Likelihood::Bernoulli);
    net.then("posterior", Dense::new(6));
    net.then("sample", Latent { size: 3 });
    net.then("pixels", Dense::new(16));
    assert_eq!(read(AUTO_ENCODER).unwrap(), net.build().unwrap());
}

#[test]
fn the_word_data_stands_for_what_the_data_set_says() {
    let text = changed(GOOD, "[8, 8, 3]", "\"data\"");
    let text = changed(&text, "outputs = 10", "outputs = \"data\"");
    let description = Description::from_toml(&text).unwrap();
    assert!(description.needs_data());
    let again = Description::from_toml(&description.to_toml()).unwrap();
    assert_eq!(again, description);
    let facts = DataFacts {
        size: [12, 14, 1],
        classes: 7,
    };
    let model = description.model(Some(&facts)).unwrap();
    assert_eq!(model.input, [12, 14, 1]);
    assert_eq!(model.classes, 7);
    let error = description.model(None).unwrap_err().to_string();
    assert!(
        error.contains("mine") && error.contains("--data"),
        "{error}"
    );
    let small = DataFacts {
        size: [1, 1, 3],
        classes: 7,
    };
    let error = description.model(Some(&small)).unwrap_err().to_string();
    assert!(error.contains("'pool'"), "{error}");
    assert!(!Description::from_toml(GOOD).unwrap().needs_data());
    refuse(&changed(GOOD, "[8, 8, 3]", "\"date\""), &["date", "data"]);
}

#[test]
fn mistyped_words_are_answered_with_the_nearest() {
    read(GOOD).unwrap();
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "op = \"max-pool\"",
            "op = \"maxpool\"",
            &["'pool'", "'maxpool'", "did you mean 'max-pool'"],
        ),
        (
            "op = \"relu\"",
            "op = \"rely\"",
            &["node 2", "'rely'", "did you mean 'relu'"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernal = 3 }",
            &["'stem'", "conv", "'kernal'", "did you mean 'kernel'"],
        ),
        (
            "groups = 2",
            "group = 2",
            &["'deep'", "'group'", "did you mean 'groups'"],
        ),
        (
            "\"pool\"] }",
            "\"pol\"] }",
            &["'sum'", "'pol'", "did you mean 'pool'"],
        ),
        (
            "nodes =",
            "scaling = \"cifar\"\nnodes =",
            &["scaling", "'cifar'", "did you mean 'cifar10'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shft = 2 }",
            &["node 2", "'shft'", "did you mean 'shift'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"relu\", size = 2 }",
            &["node 2", "'size'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"norm\", size = 2 }",
            &["node 2", "norm", "'size'", "no settings"],
        ),
        (
            "name = \"mine\"",
            "name = \"mine\"\nsumary = \"x\"",
            &["line 3", "sumary", "summary"],
        ),
    ];
    for (from, to, words) in cases {
        refuse(&changed(GOOD, from, to), words);
    }
    refuse(
        &changed(AUTO_ENCODER, "bernoulli", "bernuli"),
        &["line 4", "bernuli", "bernoulli"],
    );
    refuse(
        &changed(AUTO_ENCODER, "likelihood", "likelyhood"),
        &["line 4", "likelyhood", "likelihood"],
    );
    let error = Model::by_name("resnet-20").unwrap_err().to_string();
    assert!(error.contains("did you mean 'resnet20'"), "{error}");
}

#[test]
fn settings_of_a_wrong_type_are_named() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "kernel = 3, padding = 1 }",
            "kernel = \"three\" }",
            &["'stem'", "kernel", "whole number"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = [3, 3, 3] }",
            &["'stem'", "kernel", "whole number"],
        ),
        ("outputs = 10", "outputs = \"ten\"", &["'fc'", "outputs"]),
        ("outputs = 10", "outputs = 2.5", &["'fc'", "outputs"]),
        ("outputs = 10", "outputs = -10", &["'fc'", "outputs", "-10"]),
        ("outputs = 10", "outputs = 10, bias = 1", &["'fc'", "bias"]),
        ("size = 2", "size = -2", &["'pool'", "size"]),
        ("size = 2", "size = true", &["'pool'", "size"]),
        (", size = 2", "", &["'pool'", "size"]),
        (
            "outputs = 8, kernel = 3, padding = 1 }",
            "kernel = 3 }",
            &["'stem'", "outputs"],
        ),
        ("op = \"max-pool\"", "op = 3", &["'pool'", "op"]),
        ("op = \"max-pool\", ", "", &["'pool'", "op ="]),
        ("name = \"pool\"", "name = 3", &["node 3", "name"]),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = 3",
            &["'sum'", "inputs"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = [\"deep\", 3]",
            &["'sum'", "inputs"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shift = -1 }",
            &["node 2", "shift"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = \"half\" }",
            &["node 2", "probability"],
        ),
        ("[8, 8, 3]", "[8, 8]", &["input"]),
        ("[8, 8, 3]", "[8, 8, -3]", &["input"]),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0], deviation = [1.0, 1.0, 1.0] }\nnodes =",
            &["scaling"],
        ),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0, nan], deviation = [1.0, 1.0, 1.0] }\nnodes =",
            &["scaling"],
        ),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0, 0.0], deviation = [1.0, 0.0, 1.0] }\nnodes =",
            &["scaling", "deviation"],
        ),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0, 0.0], deviation = [1.0, inf, 1.0] }\nnodes =",
            &["scaling"],
        ),
        ("nodes =", "nods =", &["nods"]),
    ];
    for (from, to, words) in cases {
        refuse(&changed(GOOD, from, to), words);
    }
}

#[test]
fn graphs_that_are_none_are_refused() {
    let cases: &[(&str, &str, &[&str])] = &[
        // A cycle, and a node that reads itself.
        (
            "{ name = \"pool\", op = \"max-pool\", size = 2 }",
            "{ name = \"pool\", op = \"max-pool\", size = 2, inputs = \"deep\" }",
            &["cycle", "pool", "deep"],
        ),
        (
            "{ op = \"relu\" }",
            "{ name = \"self\", op = \"relu\", inputs = \"self\" }",
            &["cycle", "self"],
        ),
        (
            "name = \"deep\"",
            "name = \"stem\"",
            &["two nodes", "'stem'"],
        ),
        ("name = \"fc\"", "name = \"input\"", &["'input'"]),
        (
            "name = \"fc\"",
            "name = \"relu1\"",
            &["two nodes", "'relu1'"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = [\"pool\", \"pool\"]",
            &["nobody reads", "'deep'"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = []",
            &["'sum'", "add", "0"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = \"deep\"",
            &["'sum'", "add", "1"],
        ),
        (
            "outputs = 10 }",
            "outputs = 10, inputs = [\"sum\", \"pool\"] }",
            &["'fc'", "dense", "one value", "2"],
        ),
        (
            "  { name = \"fc\", op = \"dense\", outputs = 10 },\n",
            "",
            &["last node", "dense"],
        ),
        ("name = \"mine\"", "name = \"\"", &["name", "''"]),
        ("name = \"mine\"", "name = \"a/../b\"", &["a/../b"]),
        ("name = \"stem\"", "name = \"\"", &["name", "''"]),
        ("name = \"stem\"", "name = \"a.b\"", &["'a.b'"]),
        ("name = \"stem\"", "name = \"a b\"", &["'a b'"]),
        ("name = \"stem\"", "name = \"a\\nb\"", &["name"]),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 9 }",
            &["'stem'", "kernel", "9 x 9", "8 x 8"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 3, stride = 0 }",
            &["'stem'", "stride"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 0 }",
            &["'stem'", "kernel"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 3, padding = 3 }",
            &["'stem'", "padding", "3"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 3, groups = 0 }",
            &["'stem'", "groups"],
        ),
        ("groups = 2", "groups = 3", &["'deep'", "3 groups", "8"]),
        ("outputs = 10", "outputs = 0", &["'fc'", "outputs"]),
        ("size = 2", "size = 9", &["'pool'", "9 x 9", "8 x 8"]),
        ("size = 2", "size = 0", &["'pool'", "size"]),
        ("size = 2", "size = 2, stride = 0", &["'pool'", "stride"]),
        ("size = 2", "size = 2, padding = 2", &["'pool'", "padding"]),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = 1 }",
            &["'dropout1'", "probability 1"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = -0.5 }",
            &["'dropout1'", "probability -0.5"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = nan }",
            &["'dropout1'", "probability NaN"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shift = 0 }",
            &["'leaky_relu1'", "shift 0", "1 to 15"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shift = 99 }",
            &["'leaky_relu1'", "shift 99"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"relu6\", shift = 2 }",
            &["'relu6_1'", "shift"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"reshape\", height = 5, width = 5 }",
            &["'reshape1'", "512 numbers", "5 x 5"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"reshape\", height = 0, width = 5 }",
            &["'reshape1'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"upsample\", size = 0 }",
            &["'upsample1'", "size"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"flatten\" }",
            &["'pool'", "flattened", "512"],
        ),
        ("[8, 8, 3]", "[0, 8, 3]", &["image"]),
        ("[8, 8, 3]", "[8, 8, 0]", &["image"]),
        (
            "nodes =",
            "likelihood = \"bernoulli\"\nnodes =",
            &["likelihood", "latent"],
        ),
    ];
    for (from, to, words) in cases {
        refuse(&changed(GOOD, from, to), words);
    }
    let apart = changed(GOOD, "\"deep\", \"pool\"", "\"deep\", \"stem\", \"pool\"");
    refuse(&apart, &["'sum'", "4 x 4 x 8", "8 x 8 x 8"]);
    let joined = changed(&apart, "op = \"add\"", "op = \"concat\"");
    refuse(&joined, &["'sum'", "4 x 4 x 8", "8 x 8 x 8"]);
    refuse("name = \"x\"\ninput = [8, 8, 1]\nnodes = []", &["no nodes"]);
    refuse("name = \"x\"\ninput = [8, 8, 1]", &["nodes"]);
    refuse(
        "name = \"x\"\ninput = [8, 8, 1]\nnodes = [{ op = \"global-average-pool\" }]",
        &["no node has weights", "dense"],
    );
}

#[test]
fn auto_encoders_that_are_none_are_refused() {
    read(AUTO_ENCODER).unwrap();
    let latent = "{ name = \"sample\", op = \"latent\", size = 3 }";
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "likelihood = \"bernoulli\"\n",
            "",
            &["auto-encoder", "likelihood"],
        ),
        ("size = 3", "size = 4", &["'sample'", "4", "8", "6"]),
        ("size = 3", "size = 0", &["'sample'", "0"]),
        (latent, "{ op = \"relu\" }", &["likelihood", "latent"]),
        (
            "{ name = \"pixels\", op = \"dense\", outputs = 16 }",
            "{ name = \"around\", op = \"dense\", outputs = 3, inputs = \"posterior\" },\n{ name = \"both\", op = \"add\", inputs = [\"around\", \"sample\"] },\n{ op = \"dense\", outputs = 16 }",
            &["before the latent", "around"],
        ),
        (
            "{ name = \"pixels\", op = \"dense\", outputs = 16 }",
            "{ name = \"pixels\", op = \"dense\", outputs = 16, inputs = \"input\" }",
            &["sample"],
        ),
        ("outputs = 16", "outputs = 15", &["15", "4 x 4 x 1"]),
        (
            "  { name = \"pixels\", op = \"dense\", outputs = 16 },\n",
            "",
            &["decoder"],
        ),
        (
            latent,
            "{ name = \"sample\", op = \"latent\", size = 3 },\n{ op = \"dense\", outputs = 4 }, { name = \"again\", op = \"latent\", size = 2 }",
            &["one latent"],
        ),
    ];
    for (from, to, words) in cases {
        refuse(&changed(AUTO_ENCODER, from, to), words);
    }
}

#[test]
fn huge_numbers_are_refused() {
    let huge = [
        "1000000000000",
        "9223372036854775807",
        "4611686018427387904",
        "4294967296",
        "4294967297",
        "99999999999999999999999",
    ];
    for number in huge {
        for (from, to) in [
            ("kernel = 3, padding = 1 }", "kernel = HUGE }"),
            ("kernel = 3, padding = 1 }", "kernel = 3, padding = HUGE }"),
            (
                "kernel = 3, padding = 1 }",
                "kernel = [1, HUGE], padding = 0 }",
            ),
            ("kernel = 3, padding = 1 }", "kernel = 1, stride = HUGE }"),
            ("outputs = 10", "outputs = HUGE"),
            (
                "outputs = 8, kernel = 3, padding = 1 }",
                "outputs = HUGE, kernel = 3, padding = 1 }",
            ),
            ("groups = 2", "groups = HUGE"),
            ("size = 2", "size = HUGE"),
            ("size = 2", "size = 2, stride = HUGE"),
            ("size = 2", "size = 2, padding = HUGE"),
            ("{ op = \"relu\" }", "{ op = \"upsample\", size = HUGE }"),
            ("{ op = \"relu\" }", "{ op = \"leaky-relu\", shift = HUGE }"),
            (
                "{ op = \"relu\" }",
                "{ op = \"reshape\", height = HUGE, width = HUGE }",
            ),
            ("[8, 8, 3]", "[HUGE, 8, 3]"),
            ("[8, 8, 3]", "[HUGE, HUGE, HUGE]"),
            ("[8, 8, 3]", "[8, 8, HUGE]"),
        ] {
            refuse(&changed(GOOD, from, &to.replace("HUGE", number)), &[]);
        }
        refuse(
            &changed(AUTO_ENCODER, "size = 3", &format!("size = {number}")),
            &[],
        );
    }
    // A padding just smaller than the kernel, so that only the sizes themselves speak against them.
    for (kernel, padding) in [
        ("9223372036854775807", "9223372036854775806"),
        ("4611686018427387904", "4611686018427387903"),
        ("4294967296", "4294967295"),
        ("1048576", "1048575"),
    ] {
        let sizes = format!("kernel = {kernel}, padding = {padding}, stride = {kernel} }}");
        refuse(
            &changed(GOOD, "kernel = 3, padding = 1 }", &sizes),
            &["'stem'"],
        );
        let sizes = format!("size = {kernel}, padding = {padding}, stride = {kernel}");
        refuse(&changed(GOOD, "size = 2", &sizes), &["'pool'"]);
        let text = changed(GOOD, "op = \"max-pool\"", "op = \"average-pool\"");
        refuse(&changed(&text, "size = 2", &sizes), &["'pool'"]);
    }
    let image = r#"{"name":"x","input":[18446744073709551615,1,1],"nodes":[OP,{"op":"dense","outputs":2}]}"#;
    for op in [
        r#"{"op":"conv","outputs":1,"kernel":2,"padding":1}"#,
        r#"{"op":"max-pool","size":2,"padding":1}"#,
        r#"{"op":"reshape","height":2,"width":2}"#,
        r#"{"op":"flatten"}"#,
        r#"{"op":"global-average-pool"}"#,
    ] {
        for sizes in [
            "[18446744073709551615,1,1]",
            "[4294967296,4294967296,4294967296]",
            "[0,1,1]",
        ] {
            let text = image
                .replace("OP", op)
                .replace("[18446744073709551615,1,1]", sizes);
            let description: Description = serde_json::from_str(&text).unwrap();
            let error = description.model(None).unwrap_err().to_string();
            assert!(error.contains("image"), "{error}: {text}");
        }
    }
    // Two large layers whose weights only together are too many.
    let wide = changed(
        GOOD,
        "outputs = 10 }",
        "outputs = 1000000 }, { op = \"dense\", outputs = 1000 }, { op = \"dense\", outputs = 1000000 }, { op = \"dense\", outputs = 2 }",
    );
    refuse(&wide, &["dense", "weights"]);
}

#[test]
fn long_texts_are_refused_at_once() {
    let start = std::time::Instant::now();
    let long = format!("{GOOD}\n# {}", "x".repeat(10 << 20));
    refuse(&long, &["bytes", &MOST_TEXT.to_string()]);
    let mut nodes = String::new();
    for _ in 0..5000 {
        nodes.push_str("{ op = \"relu\" },");
    }
    let many = changed(GOOD, "{ op = \"relu\" },", &nodes);
    refuse(&many, &["5005 nodes", "4096"]);
    // As many as are allowed, each behind the one that it reads, in the worst order of the text.
    let mut text = "name = \"x\"\ninput = [1, 1, 4]\nnodes = [{ name = \"last\", op = \"dense\", outputs = 2, inputs = \"n0\" },".to_owned();
    for number in 0..4094 {
        let next = number + 1;
        text.push_str(&format!(
            "{{ name = \"n{number}\", op = \"relu\", inputs = \"n{next}\" }},"
        ));
    }
    text.push_str("{ name = \"n4094\", op = \"relu\", inputs = \"input\" }]");
    let model = read(&text).unwrap();
    assert_eq!(model.graph.nodes.len(), 4096);
    assert_eq!(read(&model.to_toml()).unwrap(), model);
    let deep = format!(
        "name = \"x\"\ninput = {}1{}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    refuse(&deep, &[]);
    let name = changed(GOOD, "\"stem\"", &format!("\"{}\"", "n".repeat(100_000)));
    refuse(&name, &["names have"]);
    let reads = format!("inputs = [{}]", "\"deep\",".repeat(100_000));
    let sums = changed(GOOD, "inputs = [\"deep\", \"pool\"]", &reads);
    drop(read(&sums));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn syntax_errors_come_with_their_line() {
    refuse(
        &changed(GOOD, "{ op = \"relu\" }", "{ op = \"relu }"),
        &["line "],
    );
    refuse(&changed(GOOD, "size = 2 }", "size = 2"), &["line "]);
    refuse(
        &changed(GOOD, "input = [8, 8, 3]", "input = [8, 8, 3"),
        &["line "],
    );
    refuse("name = \"x\"\nname = \"y\"", &["line 2"]);
    refuse("\u{0}\u{7f}", &["line 1"]);
    refuse("", &["name"]);
    let twice = changed(GOOD, "size = 2", "size = 2, size = 3");
    refuse(&twice, &["line 7", "duplicate key"]);
}

#[test]
fn graphs_made_by_hand_are_checked_too() {
    let good = read(GOOD).unwrap();
    let broken = |change: &dyn Fn(&mut Vec<Node>)| {
        let mut nodes = good.graph.nodes.clone();
        change(&mut nodes);
        let graph = Graph { nodes };
        Model {
            graph,
            ..good.clone()
        }
        .check()
        .unwrap_err()
        .to_string()
    };
    let error = broken(&|nodes| nodes[0].inputs = vec![3]);
    assert!(
        error.contains("'stem'") && error.contains("value 3"),
        "{error}"
    );
    let error = broken(&|nodes| nodes[2].inputs = vec![999]);
    assert!(error.contains("'pool'") && error.contains("999"), "{error}");
    let error = broken(&|nodes| nodes[2].inputs = Vec::new());
    assert!(error.contains("'pool'"), "{error}");
    let mut net = Builder::new("loop", [2, 2, 1]);
    net.join("a", Add {}, &[2, 0]);
    net.join("b", Dense::new(3), &[1]);
    let error = net.build().unwrap_err().to_string();
    assert!(
        error.contains("'a'") && error.contains("value 2"),
        "{error}"
    );
}

/// Nodes without a name get one by themselves. That of the first `relu6` must not be that of the 61st `relu`.
#[test]
fn automatic_names_do_not_meet() {
    let mut net = Builder::new("many", [1, 1, 4]);
    net.then("", Activation::RELU6);
    for _ in 0..70 {
        net.then("", Activation::RELU);
    }
    net.then("", Dense::new(2));
    let model = net.build().unwrap();
    assert_eq!(read(&model.to_toml()).unwrap(), model);
}

/// Damages texts of models at random: bytes go or change, numbers and words change places. Whatever is still
/// accepted must be a sound model that survives its own text.
#[test]
fn damaged_texts_never_panic() {
    let numbers = [
        "0",
        "1",
        "2",
        "7",
        "-1",
        "64",
        "1e9",
        "4096",
        "65537",
        "4294967296",
        "9223372036854775807",
        "nan",
        "\"data\"",
        "[1, 2]",
        "true",
    ];
    let texts: Vec<String> = zoo().iter().map(Model::to_toml).collect();
    let words: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split('"').skip(1).step_by(2).map(str::to_owned))
        .collect();
    let mut accepted = 0;
    for number in 0..2000u64 {
        let mut rng = Philox::new(number, 99);
        let mut text = texts[rng.below(texts.len() as u32) as usize]
            .clone()
            .into_bytes();
        for _ in 0..1 + rng.below(3) {
            damage(&mut text, &mut rng, &numbers, &words);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let found = catch_unwind(|| {
            let model = read(&text).ok()?;
            model
                .check()
                .unwrap_or_else(|e| panic!("accepted, and then: {e}"));
            let again =
                read(&model.to_toml()).unwrap_or_else(|e| panic!("{e}\n{}", model.to_toml()));
            assert_eq!(again, model);
            Some(())
        });
        match found {
            Ok(found) => accepted += u32::from(found.is_some()),
            Err(_) => panic!("damage {number} ends in a panic:\n{text}"),
        }
    }
    assert!(
        (100..1900).contains(&accepted),
        "{accepted} of 2000 texts are accepted"
    );
}

/// Changes one thing about a text.
fn damage(text: &mut Vec<u8>, rng: &mut Philox, numbers: &[&str], words: &[String]) {
    let at = rng.below(text.len() as u32) as usize;
    match rng.below(5) {
        0 => {
            let end = (at + 1 + rng.below(8) as usize).min(text.len());
            text.drain(at..end);
        }
        1 => text[at] = rng.below(128) as u8,
        2 | 3 => {
            let is_digit = |i: &usize| text[*i].is_ascii_digit();
            let Some(first) = (at..text.len()).find(is_digit) else {
                return;
            };
            let end = (first..text.len())
                .find(|i| !is_digit(i))
                .unwrap_or(text.len());
            let new = numbers[rng.below(numbers.len() as u32) as usize];
            text.splice(first..end, new.bytes());
        }
        _ => {
            let quote = |from: usize| (from..text.len()).find(|i| text[*i] == b'"');
            let Some((first, end)) = quote(at).and_then(|first| Some((first, quote(first + 1)?)))
            else {
                return;
            };
            let new = &words[rng.below(words.len() as u32) as usize];
            text.splice(first + 1..end, new.bytes());
        }
    }
}
