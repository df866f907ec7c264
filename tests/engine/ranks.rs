//! One batch in shards, shared by several ranks: the same bits on any number of them. The ranks are threads here, each with a
//! device of its own; `tests/program/ranks.rs` does the same with processes and MPI.

use gtc::data::Images;
use gtc::gpu::{Gpu, GpuOptions};
use gtc::graph::{Builder, Model};
use gtc::model::{lenet_small, vae_mlp, vgg_tiny};
use gtc::op::{Activation, Conv, Dense, Dropout, GlobalAveragePool, MaxPool, Norm};
use gtc::ranks::{Communicator, local};
use gtc::rng::Philox;
use gtc::train::{Objective, Optimiser, Snapshot, TrainError, TrainOptions, Trainer};
use pollster::block_on;

/// Convolutions with batch normalisations, one of them without a ReLU, and dropout.
fn normalised() -> Model {
    let mut net = Builder::new("normalised", [10, 8, 1]);
    net.then("conv1", Conv::new(5, 3).padding(1).without_bias());
    net.then("conv1_norm", Norm {});
    net.then("", Activation::RELU);
    net.then("", MaxPool::new(2));
    net.then("conv2", Conv::new(8, 3).without_bias());
    net.then("conv2_norm", Norm {});
    net.then("dropped", Dropout { probability: 0.25 });
    net.then("means", GlobalAveragePool {});
    net.then("fc", Dense::new(3));
    net.build().unwrap()
}

/// Noise with a brighter stripe whose place is the label.
fn images(model: &Model, count: usize) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(9, 9);
    let mut images = Images {
        height,
        width,
        channels,
        ..Images::default()
    };
    let classes = model.classes.max(1);
    for i in 0..count {
        let label = i % classes;
        for at in 0..height * width * channels {
            let bright = at / channels / width * classes / height == label;
            images
                .pixels
                .push(rng.below(if bright { 256 } else { 120 }) as u8);
        }
        images.labels.push(label as u16);
    }
    images
}

fn options(batch_size: usize, shards: usize) -> TrainOptions {
    TrainOptions {
        batch_size,
        shards,
        epochs: 2,
        shift: 1,
        lambda_norm: 0.1,
        ..TrainOptions::default()
    }
}

/// What some steps, and a test behind them, leave on every rank. They go on from a snapshot if there is one.
fn train(
    (model, images): (&Model, &Images),
    options: &TrainOptions,
    (count, steps): (usize, u64),
    from: Option<&Snapshot>,
) -> Vec<(Snapshot, String)> {
    let run = |ranks: &dyn Communicator| {
        let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap();
        let made = Trainer::with_ranks(&gpu, ranks, model.clone(), images, options.clone());
        let mut trainer = made.unwrap();
        if let Some(snapshot) = from {
            trainer.restore(snapshot);
        }
        for _ in 0..steps {
            trainer.train_step(images);
        }
        block_on(trainer.progress()).unwrap();
        let (tested, predictions) = block_on(trainer.test(images, |_| ())).unwrap();
        let tested = format!("{tested:?} {:?}", predictions.probabilities);
        (block_on(trainer.snapshot()).unwrap(), tested)
    };
    std::thread::scope(|scope| {
        let run = &run;
        let ranks = local(count).into_iter();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || run(&rank))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

/// Every number as bits, so that NaN would be found too.
fn bits(snapshot: &Snapshot) -> Vec<u32> {
    let arenas = [
        &snapshot.weights,
        &snapshot.first_moment,
        &snapshot.second_moment,
        &snapshot.running[0],
        &snapshot.running[1],
        &snapshot.totals,
    ];
    let numbers = arenas.into_iter().flatten();
    numbers.map(|v| v.to_bits()).collect()
}

fn one_two_and_four_ranks_agree(model: &Model, options: &TrainOptions, steps: u64) {
    let images = images(model, 3 * options.batch_size + 5);
    let [(wanted, tested)] = &train((model, &images), options, (1, steps), None)[..] else {
        panic!("one rank")
    };
    assert!(wanted.weights.iter().all(|w| w.is_finite()));
    let seen = wanted.totals[3] + wanted.totals[11];
    assert!(seen > 0.0, "images were counted");
    for count in [2, 4] {
        for (rank, (found, same)) in train((model, &images), options, (count, steps), None)
            .iter()
            .enumerate()
        {
            let what = format!("{}: rank {rank} of {count}", model.name);
            assert!(bits(found) == bits(wanted), "{what}");
            assert_eq!(same, tested, "{what}");
        }
    }
}

#[test]
fn networks_without_and_with_batch_normalisation_have_the_same_bits() {
    one_two_and_four_ranks_agree(&lenet_small(), &options(32, 4), 4);
    one_two_and_four_ranks_agree(&normalised(), &options(32, 4), 4);
    // More shards than ranks, in a tree of two levels on the device.
    one_two_and_four_ranks_agree(&normalised(), &options(32, 8), 2);
}

#[test]
fn statistics_of_the_whole_batch_have_the_same_bits() {
    let options = TrainOptions {
        sync_norm: true,
        ..options(16, 4)
    };
    one_two_and_four_ranks_agree(&normalised(), &options, 4);
}

#[test]
fn other_objectives_optimisers_and_auto_encoders_do_too() {
    let smaller = TrainOptions {
        lp_start: 0.5,
        optimiser: Optimiser::Muon,
        mix_up: 0.4,
        label_smoothing: 0.1,
        ..options(16, 4)
    };
    // LP joins within these steps.
    one_two_and_four_ranks_agree(&normalised(), &smaller, 4);
    let float = TrainOptions {
        objective: Objective::Float,
        lambda_l2: 1e-3,
        ..options(16, 4)
    };
    one_two_and_four_ranks_agree(&normalised(), &float, 2);
    let direct = TrainOptions {
        objective: Objective::Direct,
        ..options(16, 4)
    };
    one_two_and_four_ranks_agree(&lenet_small(), &direct, 2);
    let drawn = TrainOptions {
        shift: 0,
        lambda_norm: 0.0,
        ..options(16, 4)
    };
    one_two_and_four_ranks_agree(&vae_mlp(), &drawn, 2);
}

#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    let model = normalised();
    let options = options(16, 4);
    let images = images(&model, 70);
    let whole = &train((&model, &images), &options, (1, 6), None)[0].0;
    let half = &train((&model, &images), &options, (2, 3), None)[1].0;
    for count in [1, 4] {
        for (found, _) in train((&model, &images), &options, (count, 3), Some(half)) {
            assert!(bits(&found) == bits(whole), "on {count} ranks");
        }
    }
}

/// The largest distance, over the largest number.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let far = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    far.fold(0.0, f32::max) / largest
}

/// Gradients and running statistics after a step.
fn first_step(model: &Model, options: &TrainOptions) -> (Vec<f32>, [Vec<f32>; 2]) {
    let images = images(model, options.batch_size);
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap();
    let mut trainer = Trainer::new(&gpu, model.clone(), &images, options.clone()).unwrap();
    trainer.train_step(&images);
    let running = block_on(trainer.snapshot()).unwrap().running;
    (block_on(trainer.gradients()).unwrap(), running)
}

#[test]
fn shards_learn_what_a_whole_batch_learns() {
    // Without normalisations the gradient is the mean over all images either way.
    for model in [lenet_small(), vae_mlp()] {
        let (whole, _) = first_step(&model, &options(32, 1));
        let (sharded, _) = first_step(&model, &options(32, 4));
        let far = distance(&sharded, &whole);
        assert!(far < 1e-4, "{}: {far}", model.name);
    }
    // With them it is if they share statistics. Noise of dropout is that of the whole batch.
    for model in [normalised(), vgg_tiny()] {
        let together = TrainOptions {
            sync_norm: true,
            ..options(32, 4)
        };
        let (whole, running) = first_step(&model, &options(32, 1));
        let (sharded, joined) = first_step(&model, &together);
        let far = distance(&sharded, &whole);
        assert!(far < 2e-3, "{}: {far}", model.name);
        let (apart, own) = first_step(&model, &options(32, 4));
        let farther = distance(&apart, &whole);
        assert!(farther > 5.0 * far, "{}: {farther} and {far}", model.name);
        // Of HP's first normalisation the input is the same: statistics of shards join to those of the batch.
        let first = 4;
        for found in [&joined, &own] {
            let far = distance(&found[0][..first], &running[0][..first]);
            assert!(far < 1e-4, "{}: {far}", model.name);
        }
    }
}

#[test]
fn what_cannot_be_shared_is_refused_with_a_remedy() {
    let refused = |options: TrainOptions, ranks: usize| {
        let found = options
            .check(1000)
            .and_then(|()| options.check_ranks(ranks));
        match found {
            Err(error @ TrainError::BadOption { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let error = refused(options(32, 3), 1);
    assert!(
        error.contains("--shards 3") && error.contains("power of two"),
        "{error}"
    );
    let error = refused(options(30, 4), 1);
    assert!(
        error.contains("30 images") && error.contains("--batch-size 28"),
        "{error}"
    );
    let error = refused(options(32, 2), 4);
    assert!(
        error.contains("--ranks 4") && error.contains("at most 2"),
        "{error}"
    );
    let error = refused(options(32, 8), 3);
    assert!(
        error.contains("--ranks 3") && error.contains("power of two"),
        "{error}"
    );
    assert!(options(32, 8).check_ranks(4).is_ok());
}
