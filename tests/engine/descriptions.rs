//! Models as text: what is printed reads back to the same model. What does not fit: see `bad_descriptions.rs`.

use std::panic::catch_unwind;

use crate::common::described::{AUTO_ENCODER, GOOD, changed, read, refuse};
use gtc::graph::{Builder, DataFacts, Description, Graph, Model, NAMES, Node, Scaling};
use gtc::loss::Likelihood;
use gtc::op::{
    Activation, Add, AveragePool, Concat, Conv, Dense, Dropout, Flatten, GlobalAveragePool, Latent,
    MaxPool, Norm, Pair, Reshape, Upsample,
};
use gtc::rng::Philox;

fn zoo() -> Vec<Model> {
    let names = NAMES.iter().copied().chain(["mobilenet-0.5"]);
    names.map(|name| Model::by_name(name).unwrap()).collect()
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
  { name = "joined", op = "concat", inputs = ["average_pool_1", "relu_1"] },
  { name = "stem", op = "conv", inputs = "input", outputs = 8, kernel = [3, 3], padding = [1, 0], bias = false },
  { op = "norm" },
  { op = "activation", kind = "relu6", name = "relu6_1" },
  { name = "deep", op = "conv", outputs = 8, kernel = 3, padding = 1, groups = 8 },
  { op = "leaky-relu", shift = 2 },
  { name = "sum", op = "add", inputs = ["leaky_relu_1", "stem"] },
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
