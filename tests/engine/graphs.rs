//! Two hundred random graphs: what holds for the models of the program holds for every graph.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::checks::{
    Followed, checkpoint_survives, device_of, follow_one_step, fusion_changes_nothing,
    integers_are_near_the_floats, kernels_give_the_definitions_integers, pack_random,
    packed_file_survives,
};
use crate::common::random_graphs::{may_have_floats, random_auto_encoder, random_model};
use gtc::gpu::{Gpu, Path};
use gtc::graph::{Description, Model};
use gtc::pack::{Activations, PackError};

/// Graphs that are described, written and read.
const ALL: u64 = 240;
/// Graphs that take a training step.
const TRAINED: u64 = 120;
/// Graphs whose fused kernels run beside those of single nodes.
const FUSED: u64 = 120;
/// Graphs that are packed.
const PACKED: u64 = 160;
/// Auto-encoders.
const AUTO_ENCODERS: u64 = 40;

/// Calls a check for graphs of seeds from 0 on and names every seed that fails it, with its graph.
fn for_seeds(seeds: u64, check: impl FnMut(u64, &Model) -> Result<(), String>) {
    for_models(seeds, random_model, check);
}

fn for_models(
    seeds: u64,
    make: fn(u64) -> Model,
    mut check: impl FnMut(u64, &Model) -> Result<(), String>,
) {
    let mut failures = Vec::new();
    for seed in 0..seeds {
        let model = make(seed);
        let outcome = catch_unwind(AssertUnwindSafe(|| check(seed, &model)));
        if let Err(reason) = outcome.unwrap_or_else(|_| Err("a panic".to_owned())) {
            eprintln!("seed {seed}: {reason}\n{}", model.to_toml());
            failures.push(seed);
        }
    }
    assert!(failures.is_empty(), "seeds {failures:?} fail, see above");
}

/// The device of a seed: paths take turns.
fn device(seed: u64) -> &'static Gpu {
    let paths = [Path::Gpu, Path::CpuStorage, Path::CpuSubgroup];
    let path = paths[seed as usize % paths.len()];
    let device = device_of(path).or_else(|| device_of(Path::CpuStorage));
    device.expect("every adapter runs this path")
}

#[test]
fn random_graphs_hold_every_operation_and_all_kinds_of_branches() {
    let mut words = BTreeMap::<String, usize>::new();
    let (mut shared, mut images_twice) = (0, 0);
    for seed in 0..ALL {
        let model = random_model(seed);
        let nodes = model.graph.nodes.len();
        assert!((2..=24).contains(&nodes), "seed {seed}: {nodes} nodes");
        for node in &model.graph.nodes {
            *words
                .entry(node.op.operation().word().to_owned())
                .or_default() += 1;
        }
        let readers = model.graph.readers();
        shared += readers[1..]
            .iter()
            .filter(|readers| readers.len() > 1)
            .count();
        images_twice += usize::from(readers[0].len() > 1);
    }
    for word in gtc::op::Op::WORDS.iter().filter(|word| **word != "latent") {
        let count = words.get(*word).copied().unwrap_or_default();
        assert!(count >= 20, "{word} occurs {count} times: {words:?}");
    }
    assert!(shared > 100, "{shared} values are read by several nodes");
    assert!(
        images_twice > 20,
        "{images_twice} graphs read the images several times"
    );
}

#[test]
fn random_graphs_survive_descriptions_and_checkpoints() {
    for_seeds(ALL, |_, model| {
        let text = model.to_toml();
        let read = Description::from_toml(&text).and_then(|d| d.model(None));
        let read = read.map_err(|e| e.to_string())?;
        if read != *model {
            return Err(format!("another model came back:\n{}", read.to_toml()));
        }
        checkpoint_survives(model)
    });
}

#[test]
fn a_training_step_of_random_graphs_is_that_of_the_plain_walker() {
    let mut kinks = 0;
    for_seeds(TRAINED, |seed, model| {
        let followed = follow_one_step(device(seed), model, seed)?;
        kinks += u64::from(followed == Followed::Kink);
        Ok(())
    });
    assert!(
        kinks <= TRAINED / 10,
        "{kinks} of {TRAINED} graphs lie on kinks"
    );
}

#[test]
fn fusion_changes_nothing_in_random_graphs() {
    for_seeds(FUSED, |seed, model| {
        fusion_changes_nothing(device(seed + 1), model)
    });
}

#[test]
fn packed_random_graphs_give_the_definitions_integers() {
    let mut refused = 0;
    for_seeds(PACKED, |seed, model| {
        let activations = match seed % 4 {
            1 => Activations::Sixteen,
            _ => Activations::Eight,
        };
        let packed = match pack_random(device(seed), model, activations) {
            Ok(packed) => packed,
            Err(PackError::Float { .. }) if may_have_floats(seed) => return Ok(()),
            Err(PackError::Overflow { .. } | PackError::UnitsApart { .. }) => {
                refused += 1;
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        if activations == Activations::Sixteen {
            integers_are_near_the_floats(&packed, 0.02)?;
        }
        packed_file_survives(&packed.model)?;
        kernels_give_the_definitions_integers(device(seed), &packed.model)
    });
    assert!(
        refused <= PACKED / 5,
        "{refused} of {PACKED} graphs have units too far apart"
    );
}

#[test]
fn random_auto_encoders_hold_the_same() {
    let mut refused = 0;
    for_models(AUTO_ENCODERS, random_auto_encoder, |seed, model| {
        let read = Description::from_toml(&model.to_toml()).and_then(|d| d.model(None));
        if read.map_err(|e| e.to_string())? != *model {
            return Err("another model came back".to_owned());
        }
        checkpoint_survives(model)?;
        fusion_changes_nothing(device(seed), model)?;
        match pack_random(device(seed), model, Activations::Eight) {
            Ok(packed) => {
                packed_file_survives(&packed.model)?;
                kernels_give_the_definitions_integers(device(seed), &packed.model)
            }
            Err(PackError::Overflow { .. } | PackError::UnitsApart { .. }) => {
                refused += 1;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    });
    assert!(
        refused <= AUTO_ENCODERS / 5,
        "{refused} decoders have units too far apart"
    );
}

fn described(nodes: &str) -> Model {
    let text = format!("name = \"special\"\ninput = [5, 4, 3]\nnodes = [{nodes}]");
    let description = Description::from_toml(&text);
    let model = description.and_then(|description| description.model(None));
    model.unwrap_or_else(|e| panic!("{e}"))
}

/// A graph in which nothing is quantised still learns.
#[test]
fn layers_that_all_stay_in_float_follow_the_plain_walker() {
    let model = described(
        r#"{ op = "conv", outputs = 5, kernel = 3, quantise = false }, { op = "relu" },
        { op = "dense", outputs = 3, quantise = false }"#,
    );
    for path in [Path::Gpu, Path::CpuStorage] {
        let device = device_of(path).expect("every adapter runs this path");
        assert_eq!(follow_one_step(device, &model, 1), Ok(Followed::Yes));
    }
    checkpoint_survives(&model).unwrap();
    match pack_random(device(0), &model, Activations::Eight) {
        Err(PackError::Float { layer }) => assert_eq!(layer, "conv_1"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("packed, and it should not be"),
    }
}

/// Names of nodes stand in files beside words of the format.
#[test]
fn nodes_with_the_words_of_files_survive_them() {
    let model = described(
        r#"{ name = "first_moment", op = "conv", outputs = 5, kernel = 3, bias = false },
        { name = "second_moment", op = "norm" }, { name = "totals", op = "relu" },
        { name = "x_moment", op = "dense", outputs = 6 }, { name = "gtc_packed", op = "relu" },
        { name = "weight", op = "dense", outputs = 4 }, { name = "table", op = "dense", outputs = 3 }"#,
    );
    checkpoint_survives(&model).unwrap();
    let packed = pack_random(device(0), &model, Activations::Eight).unwrap();
    packed_file_survives(&packed.model).unwrap();
}
