//! One dispatch for both networks, on GPUs: no bit differs from one dispatch for each.

use gtc::data::Images;
use gtc::gpu::{Gpu, GpuOptions, Path};
use gtc::model::Model;
use gtc::rng::Philox;
use gtc::train::{Objective, Precision, Snapshot, TrainOptions, Trainer};
use pollster::block_on;

const STEPS: u64 = 3;

fn open(no_twins: bool, checked: bool) -> Gpu {
    block_on(Gpu::open(&GpuOptions {
        path: Some(Path::Gpu),
        no_twins,
        checked,
        ..GpuOptions::default()
    }))
    .unwrap_or_else(|e| panic!("{e}"))
}

fn images(model: &Model, count: usize) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(7, 7);
    let pixels = height * width * channels * count;
    Images {
        height,
        width,
        channels,
        pixels: (0..pixels).map(|_| rng.below(256) as u8).collect(),
        labels: (0..count)
            .map(|i| (i % model.classes.max(1)) as u16)
            .collect(),
    }
}

/// What some steps and a test leave, and the dispatches of a step and of the test.
fn learn(gpu: &Gpu, model: &Model, options: &TrainOptions) -> (Snapshot, String, Vec<usize>) {
    let images = images(model, STEPS as usize * options.batch_size);
    let mut trainer = Trainer::new(gpu, model.clone(), &images, options.clone())
        .unwrap_or_else(|e| panic!("{}: {e}", model.name));
    for _ in 0..STEPS {
        trainer.train_step(&images);
    }
    let snapshot = block_on(trainer.snapshot()).unwrap_or_else(|e| panic!("{e}"));
    let (tested, _) = block_on(trainer.test(&images, |_| ())).unwrap_or_else(|e| panic!("{e}"));
    let dispatches = trainer
        .plans()
        .into_iter()
        .map(|(_, plan)| plan.rows().len());
    let dispatches = dispatches.collect();
    (snapshot, format!("{tested:?}"), dispatches)
}

#[test]
fn one_dispatch_for_both_networks_changes_no_bit() {
    let [together, apart] = [false, true].map(|no_twins| open(no_twins, false));
    for (name, batch_size, precision) in [
        ("lenet-small", 8, Precision::Full),
        ("lenet-small", 8, Precision::Mixed),
        ("vae-mlp", 8, Precision::Full),
        ("resnet20", 4, Precision::Full),
        ("mobilenet-0.5", 4, Precision::Mixed),
    ] {
        let model = Model::by_name(name).unwrap_or_else(|e| panic!("{e}"));
        let options = TrainOptions {
            batch_size,
            precision,
            ..TrainOptions::default()
        };
        let (learned, tested, few) = learn(&together, &model, &options);
        let (expected, expected_of_test, many) = learn(&apart, &model, &options);
        assert!(learned == expected, "{name}: other bits");
        assert_eq!(tested, expected_of_test, "{name}");
        // The step and the test.
        assert!(5 * few[0] < 4 * many[0], "{name}: {few:?}, {many:?}");
        assert!(few.iter().sum::<usize>() < many.iter().sum(), "{name}");
    }
}

#[test]
fn both_networks_at_once_run_with_all_checks_on() {
    let [checked, not_checked] = [true, false].map(|checked| open(false, checked));
    let model = Model::by_name("lenet-small").unwrap_or_else(|e| panic!("{e}"));
    let options = TrainOptions {
        batch_size: 8,
        ..TrainOptions::default()
    };
    let (learned, ..) = learn(&checked, &model, &options);
    let (expected, ..) = learn(&not_checked, &model, &options);
    assert!(learned == expected);
}

#[test]
fn a_network_alone_and_a_batch_of_several_shards_run_too() {
    let [together, apart] = [false, true].map(|no_twins| open(no_twins, false));
    let model = Model::by_name("lenet-small").unwrap_or_else(|e| panic!("{e}"));
    for (objective, shards) in [
        (Objective::Float, 1),
        (Objective::Direct, 1),
        (Objective::Gtc, 2),
    ] {
        let options = TrainOptions {
            batch_size: 8,
            objective,
            shards,
            ..TrainOptions::default()
        };
        let (learned, tested, _) = learn(&together, &model, &options);
        let (expected, expected_of_test, _) = learn(&apart, &model, &options);
        assert!(learned == expected, "{objective:?} in {shards} shards");
        assert_eq!(tested, expected_of_test);
    }
}
