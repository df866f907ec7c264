//! Every operation of the table in a small graph of its own: a new operation is tested as soon as it has an entry
//! here, and without one a test fails.

use std::collections::BTreeSet;

use crate::common::checks::{
    Followed, checkpoint_survives, device_of, follow_one_step, fusion_changes_nothing,
    integers_are_near_the_floats, kernels_give_the_definitions_integers, pack_random,
    packed_file_survives,
};
use crate::common::plain::gradients_are_finite_differences;
use gtc::gpu::Path;
use gtc::graph::{Description, Model};
use gtc::op::Op;
use gtc::pack::Activations;

/// A graph around one operation.
struct Entry {
    /// The operation's word.
    word: &'static str,
    /// (height, width, channels) of images.
    input: [usize; 3],
    /// Lines of the description before its nodes.
    head: &'static str,
    /// Its nodes.
    nodes: &'static str,
}

/// A graph that ends in a dense layer, around one operation.
const fn entry(word: &'static str, input: [usize; 3], nodes: &'static str) -> Entry {
    Entry {
        word,
        input,
        head: "",
        nodes,
    }
}

/// At least one entry for every word of [`Op::WORDS`].
const ENTRIES: &[Entry] = &[
    entry(
        "conv",
        [6, 5, 3],
        r#"{ op = "conv", outputs = 5, kernel = 3, padding = 1 }, { op = "relu" },
        { op = "conv", outputs = 6, kernel = [2, 3], stride = 2, padding = [0, 1], bias = false }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "conv",
        [5, 6, 4],
        r#"{ op = "conv", outputs = 8, kernel = 3, groups = 2 }, { op = "relu" },
        { op = "conv", outputs = 8, kernel = 2, padding = 1, groups = 8 }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "dense",
        [3, 4, 3],
        r#"{ op = "dense", outputs = 7 }, { op = "relu" }, { op = "dense", outputs = 4, bias = false }"#,
    ),
    entry(
        "norm",
        [5, 4, 3],
        r#"{ op = "norm" }, { op = "conv", outputs = 6, kernel = 3, bias = false }, { op = "norm" },
        { op = "relu" }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "activation",
        [4, 5, 3],
        r#"{ op = "conv", outputs = 5, kernel = 2 }, { op = "leaky-relu", shift = 2 },
        { op = "conv", outputs = 5, kernel = 2 }, { op = "relu6" }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "activation",
        [4, 5, 4],
        r#"{ op = "relu6" }, { op = "relu" }, { op = "leaky-relu" }, { op = "dense", outputs = 3 },
        { op = "relu" }"#,
    ),
    entry(
        "max-pool",
        [7, 6, 3],
        r#"{ op = "max-pool", size = 2, stride = 1 }, { op = "conv", outputs = 5, kernel = 1 },
        { op = "max-pool", size = 3, stride = [2, 1], padding = 1 }, { op = "max-pool", size = 2 }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "average-pool",
        [7, 6, 3],
        r#"{ op = "conv", outputs = 5, kernel = 1 }, { op = "average-pool", size = [2, 3], stride = 1, padding = [1, 0] },
        { op = "average-pool", size = 2 }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "global-average-pool",
        [3, 5, 3],
        r#"{ op = "conv", outputs = 6, kernel = 1 }, { op = "relu" }, { op = "global-average-pool" },
        { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "global-average-pool",
        [3, 5, 3],
        r#"{ op = "conv", outputs = 3, kernel = 3, padding = 1 }, { op = "global-average-pool" }"#,
    ),
    entry(
        "add",
        [4, 4, 3],
        r#"{ name = "a", op = "conv", outputs = 3, kernel = 3, padding = 1 }, { op = "relu" },
        { name = "b", op = "conv", outputs = 3, kernel = 1 }, { op = "add", inputs = ["a", "b", "input"] }, { op = "relu" },
        { name = "c", op = "conv", outputs = 3, kernel = 1 }, { name = "twice", op = "add", inputs = ["c", "c"] },
        { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "concat",
        [4, 4, 3],
        r#"{ name = "a", op = "conv", outputs = 9, kernel = 3, padding = 1 }, { op = "relu" },
        { name = "b", op = "conv", outputs = 5, kernel = 1 }, { op = "concat", inputs = ["a", "b", "input"] },
        { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "upsample",
        [3, 2, 3],
        r#"{ op = "upsample", size = 2 }, { op = "conv", outputs = 5, kernel = 2 }, { op = "upsample", size = 3 },
        { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "flatten",
        [3, 4, 3],
        r#"{ op = "flatten" }, { op = "dense", outputs = 8 }, { op = "flatten" }, { op = "relu" },
        { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "flatten",
        [3, 4, 3],
        r#"{ op = "conv", outputs = 5, kernel = 2 }, { op = "flatten" }, { op = "relu" }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "reshape",
        [2, 4, 3],
        r#"{ op = "dense", outputs = 16 }, { op = "reshape", height = 2, width = 2 },
        { op = "conv", outputs = 4, kernel = 2, padding = 1 }, { op = "relu" }, { op = "reshape", height = 1, width = 1 },
        { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "reshape",
        [1, 1, 16],
        r#"{ op = "reshape", height = 2, width = 2 }, { op = "conv", outputs = 5, kernel = 2 }, { op = "relu" },
        { op = "max-pool", size = 1 }, { op = "dense", outputs = 3 }"#,
    ),
    entry(
        "dropout",
        [4, 4, 3],
        r#"{ op = "dropout", probability = 0.25 }, { op = "conv", outputs = 6, kernel = 2 },
        { op = "dropout", probability = 0.5 }, { op = "relu" }, { op = "dense", outputs = 3 }, { op = "dropout", probability = 0.125 }"#,
    ),
    Entry {
        word: "latent",
        input: [4, 4, 3],
        head: "likelihood = \"gaussian\"",
        nodes: r#"{ op = "conv", outputs = 5, kernel = 3 }, { op = "relu" }, { op = "dense", outputs = 6 }, { op = "latent", size = 3 },
            { op = "dense", outputs = 16 }, { op = "relu" }, { op = "reshape", height = 2, width = 2 }, { op = "upsample", size = 2 },
            { op = "conv", outputs = 3, kernel = 3, padding = 1 }"#,
    },
];

impl Entry {
    fn model(&self) -> Model {
        let Self {
            word,
            input,
            head,
            nodes,
        } = self;
        let text = format!("name = \"{word}\"\ninput = {input:?}\n{head}\nnodes = [{nodes}]");
        let description = Description::from_toml(&text);
        let model = description.and_then(|description| description.model(None));
        model.unwrap_or_else(|e| panic!("{word}: {e}"))
    }
}

/// Calls a check for every entry and names all that fail it.
fn for_entries(mut check: impl FnMut(&Entry, &Model) -> Result<(), String>) {
    let mut failures = Vec::new();
    for entry in ENTRIES {
        let model = entry.model();
        if let Err(reason) = check(entry, &model) {
            failures.push(format!("{}: {reason}\n{}", entry.word, model.to_toml()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn paths() -> impl Iterator<Item = &'static gtc::gpu::Gpu> {
    Path::ALL.into_iter().filter_map(device_of)
}

#[test]
fn every_operation_has_an_entry() {
    let words: BTreeSet<&str> = Op::WORDS.iter().copied().collect();
    let entries: BTreeSet<&str> = ENTRIES.iter().map(|entry| entry.word).collect();
    assert_eq!(
        entries, words,
        "each word of the table needs an entry in this file"
    );
    for_entries(|entry, model| {
        let found = model
            .graph
            .nodes
            .iter()
            .any(|node| node.op.operation().word() == entry.word);
        found
            .then_some(())
            .ok_or_else(|| "its graph does not hold it".to_owned())
    });
}

#[test]
fn every_operation_refuses_too_few_and_too_many_inputs() {
    for_entries(|entry, model| {
        let nodes = &model.graph.nodes;
        let at = nodes
            .iter()
            .position(|node| node.op.operation().word() == entry.word);
        let at = at.ok_or("not there")?;
        let joins = nodes[at].op.operation().check_arity(2).is_ok();
        let wrong = match joins {
            true => vec![vec![], vec![0]],
            false => vec![vec![], vec![0, 0], vec![0; 9]],
        };
        for inputs in wrong {
            let mut broken = model.clone();
            broken.graph.nodes[at].inputs.clone_from(&inputs);
            let error = match broken.check() {
                Ok(()) => return Err(format!("it reads {} values", inputs.len())),
                Err(error) => error.to_string(),
            };
            let name = format!("'{}' ({})", nodes[at].name, entry.word);
            let count = inputs.len().to_string();
            if !error.contains(&name) || !error.contains(&count) {
                return Err(format!("{error}: without {name} and {count}"));
            }
        }
        Ok(())
    });
}

#[test]
fn the_gradients_of_every_operation_are_finite_differences() {
    for_entries(|_, model| {
        let nodes = model.graph.nodes.iter().enumerate();
        // The plain loops know no noise, so they have no latent: see vae.rs.
        let plain = nodes.filter(|(_, node)| node.op.operation().latent().is_none());
        plain
            .into_iter()
            .try_for_each(|(number, _)| gradients_are_finite_differences(model, number))
    });
}

#[test]
fn a_training_step_of_every_operation_is_that_of_the_plain_walker() {
    for gpu in paths() {
        for_entries(|entry, model| {
            if model.likelihood.is_some() {
                // Auto-encoders have no plain walker: see vae.rs.
                return Ok(());
            }
            let near = |e| format!("on {:?}: {e}", gpu.path());
            match follow_one_step(gpu, model, 1).map_err(near)? {
                Followed::Yes => Ok(()),
                Followed::Kink => Err(format!("no images of {} keep away from kinks", entry.word)),
            }
        });
    }
}

#[test]
fn fusion_changes_nothing_around_any_operation() {
    for gpu in paths() {
        for_entries(|_, model| {
            let near = |e| format!("on {:?}: {e}", gpu.path());
            fusion_changes_nothing(gpu, model).map_err(near)
        });
    }
}

#[test]
fn every_operation_gives_the_definitions_integers() {
    for_entries(|_, model| {
        let eight = paths().map(|gpu| (Activations::Eight, gpu));
        let sixteen = paths().take(1).map(|gpu| (Activations::Sixteen, gpu));
        for (activations, gpu) in eight.chain(sixteen) {
            let near = |e: String| format!("{activations:?} on {:?}: {e}", gpu.path());
            let packed = pack_random(gpu, model, activations).map_err(|e| near(e.to_string()))?;
            if activations == Activations::Sixteen && model.likelihood.is_none() {
                integers_are_near_the_floats(&packed, 0.02).map_err(near)?;
            }
            packed_file_survives(&packed.model).map_err(near)?;
            kernels_give_the_definitions_integers(gpu, &packed.model).map_err(near)?;
        }
        Ok(())
    });
}

#[test]
fn every_operation_survives_texts_and_checkpoints() {
    for_entries(|_, model| {
        let text = model.to_toml();
        let read = Description::from_toml(&text).and_then(|d| d.model(None));
        match read.map_err(|e| e.to_string())? == *model {
            true => checkpoint_survives(model),
            false => Err("another model came back from its text".to_owned()),
        }
    });
}
