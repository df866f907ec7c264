//! Tiles of float products that were chosen by measurement.

use std::ops::ControlFlow;

use gtc::gpu::{Gpu, GpuOptions, Path, Tiles};
use gtc::model::Model;
use gtc::train::{Snapshot, TrainOptions, Trainer, record_step};
use gtc::tune::tiles::TileTuning;
use gtc::{data, probe};
use pollster::block_on;

fn open(path: Path) -> Gpu {
    let options = GpuOptions {
        path: Some(path),
        ..GpuOptions::default()
    };
    block_on(Gpu::open(&options)).unwrap_or_else(|e| panic!("{e}"))
}

fn model() -> Model {
    Model::by_name("lenet-small").unwrap()
}

fn options() -> TrainOptions {
    TrainOptions {
        batch_size: 24,
        epochs: 1,
        ..TrainOptions::default()
    }
}

/// What three steps with some tiles end in.
fn learned(tiles: Tiles) -> Snapshot {
    let gpu = open(Path::Gpu).with_tiles(tiles);
    let digits = data::embedded_digits().unwrap();
    let mut trainer = Trainer::new(&gpu, model(), &digits.train, options()).unwrap();
    for _ in 0..3 {
        trainer.train_step(&digits.train);
    }
    block_on(trainer.snapshot()).unwrap()
}

#[test]
fn tuned_and_untuned_training_give_the_same_bits() {
    let gpu = open(Path::Gpu);
    let step = record_step(&gpu, &model(), &options()).unwrap();
    let mut tuning = TileTuning::default();
    let names = tuning.missing(&step);
    for kernel in [
        "conv_forward",
        "conv_backward_input",
        "conv_backward_weight",
    ] {
        assert!(names.iter().any(|n| n.starts_with(kernel)), "{names:?}");
    }
    let mut seen = Vec::new();
    let mut asked = 0;
    let first_alone = |_: &str| {
        asked += 1;
        match asked {
            1 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    };
    block_on(tuning.complete(&gpu, &step, first_alone)).unwrap();
    assert_eq!(tuning.missing(&step), names[1..], "stopped after one");
    let tick = |name: &str| {
        seen.push(name.to_owned());
        ControlFlow::Continue(())
    };
    block_on(tuning.complete(&gpu, &step, tick)).unwrap();
    assert_eq!(seen, names[1..], "every product is tried once");
    assert!(tuning.missing(&step).is_empty());
    for (name, trials) in &tuning.products {
        let mut tiles: Vec<&str> = trials.iter().map(|t| t.tile.as_str()).collect();
        tiles.sort_unstable();
        assert_eq!(tiles, ["128x128", "128x64", "64x64"], "{name}");
        assert!(trials.iter().all(|t| t.same), "{name}: {trials:?}");
        let sorted = trials.is_sorted_by_key(|t| t.microseconds);
        assert!(sorted && trials[0].microseconds > 0.0, "{name}: {trials:?}");
    }
    let untuned = learned(Tiles::default());
    assert!(untuned.weights.iter().any(|w| *w != 0.0));
    assert!(learned(tuning.tiles()) == untuned, "the fastest");
    // The fastest may be those of the table.
    for tile in ["64x64", "128x64", "128x128"] {
        let all = names.iter().map(|name| (name.clone(), tile.to_owned()));
        assert!(learned(Tiles::new(all)) == untuned, "{tile}");
    }
}

/// A wrong tile is never used, however fast.
#[test]
fn a_tile_that_gave_other_bits_is_not_chosen() {
    let gpu = open(Path::Gpu);
    let step = record_step(&gpu, &model(), &options()).unwrap();
    let text = |name: &str| {
        let trial = |tile: &str, same: bool, time: f64| serde_json::json!({ "tile": tile, "same": same, "microseconds": time });
        let trials = [trial("128x128", false, 1.0), trial("128x64", true, 2.0)];
        (name.to_owned(), serde_json::json!(trials))
    };
    let names = TileTuning::default().missing(&step);
    let file: serde_json::Map<_, _> = names.iter().map(|name| text(name)).collect();
    let tuning: TileTuning = serde_json::from_value(file.into()).unwrap();
    let wanted = names.iter().map(|n| (n.clone(), "128x64".to_owned()));
    assert_eq!(tuning.tiles(), Tiles::new(wanted));
}

#[test]
fn devices_whose_tiles_decide_bits_are_not_tuned() {
    let default = block_on(Gpu::open(&GpuOptions::default())).unwrap();
    for path in Path::ALL.into_iter().filter(|path| *path != Path::Gpu) {
        if !default.can_run(path) {
            eprintln!("SKIPPED: {} has no {} kernels", default.name(), path.name());
            continue;
        }
        let gpu = open(path);
        let step = record_step(&gpu, &model(), &options()).unwrap();
        assert!(TileTuning::default().missing(&step).is_empty());
        let tiles = Tiles::new([("a product".to_owned(), "64x64".to_owned())]);
        assert!(gpu.with_tiles(tiles).tiles().is_empty());
    }
}

/// No number can be expected of it, but it is one, and of the order that any device has.
#[test]
fn the_rate_of_multiply_adds_is_measured() {
    for path in [Path::Gpu, Path::CpuStorage] {
        let rate = block_on(probe::f32_rate(&open(path))).unwrap();
        assert!(rate.is_finite() && rate > 1e6, "{rate}");
    }
}
