//! What changes in the course of a run: levels that are left as they are, images that are.

use gtc::data::{Flip, Images, embedded_digits};
use gtc::gpu::{Gpu, GpuOptions};
use gtc::model::lenet_small;
use gtc::pack::PackedSize;
use gtc::train::{Decay, Objective, Optimiser, QuantiserRate, TrainOptions, Trainer};
use pollster::block_on;

fn options() -> TrainOptions {
    TrainOptions {
        epochs: 2,
        batch_size: 20,
        ..TrainOptions::default()
    }
}

fn digits() -> Images {
    let mut data = embedded_digits().unwrap_or_else(|e| panic!("{e}"));
    data.limit(40);
    data.train
}

/// Intercepts and slopes, then the first layer's weights, after each of the four steps of a run.
fn course(gpu: &Gpu, options: TrainOptions) -> Vec<(Vec<f32>, Vec<f32>)> {
    let images = digits();
    let mut trainer = Trainer::new(gpu, lenet_small(), &images, options).unwrap();
    let step = |_| {
        trainer.train_step(&images);
        let arena = block_on(trainer.snapshot()).unwrap().weights;
        let layers = &trainer.parameters().layers;
        let levels = layers.iter().flat_map(|l| l.quantiser_values(&arena));
        (levels.collect(), layers[0].weight_values(&arena))
    };
    (0..4).map(step).collect()
}

#[test]
fn levels_stay_once_they_are_frozen() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let free = course(&gpu, options());
    let half = TrainOptions {
        freeze_levels: 0.5,
        ..options()
    };
    let frozen = course(&gpu, half);
    assert_eq!(free[1], frozen[1], "the first half is the same");
    assert_ne!(free[2].0, free[1].0);
    assert_eq!(frozen[2].0, frozen[1].0);
    assert_eq!(frozen[3].0, frozen[1].0);
    assert_ne!(frozen[3].1, frozen[2].1, "weights go on");
}

#[test]
fn a_schedule_says_when_levels_move_and_images_change() {
    let options = TrainOptions {
        freeze_levels: 0.8,
        augment_until: 0.5,
        shift: 2,
        flip: Flip::Random,
        quantiser_rate: QuantiserRate::Times(3.0),
        ..options()
    };
    let rates: Vec<f32> = (1..=10)
        .map(|t| options.schedule(t, 10).quantiser_rate)
        .collect();
    assert_eq!(rates, [[3.0; 8].as_slice(), &[0.0; 2]].concat());
    let float = TrainOptions {
        objective: Objective::Float,
        ..options.clone()
    };
    assert_eq!(float.schedule(1, 10).quantiser_rate, 0.0);
    let early = options.augment(0.49);
    assert_eq!((early.shift, early.flip), (2, Flip::Random));
    let late = options.augment(0.5);
    assert_eq!((late.shift, late.flip), (0, Flip::Never));
}

/// The step sizes of slopes add up to the same way, however long a run is.
#[test]
fn slopes_may_travel_as_far_in_every_run() {
    for (total, lp_start) in [(50, 0.0), (1000, 0.5)] {
        let options = TrainOptions {
            quantiser_rate: QuantiserRate::Auto,
            lp_start,
            ..options()
        };
        let steps = (1..=total).map(|t| options.schedule(t, total));
        let way: f32 = steps.map(|s| s.learning_rate * s.quantiser_rate).sum();
        assert!((way - 1.5).abs() < 1e-3, "{way}");
    }
    for (text, rate) in [
        ("auto", QuantiserRate::Auto),
        ("2", QuantiserRate::Times(2.0)),
    ] {
        assert_eq!(text.parse(), Ok(rate));
    }
    assert!("fast".parse::<QuantiserRate>().is_err());
}

#[test]
fn step_sizes_rise_and_fall() {
    let options = TrainOptions {
        learning_rate: 1.0,
        muon_rate: 2.0,
        warm_up: 0.2,
        decay: Decay::Linear,
        ..options()
    };
    for (t, rate) in [(1, 0.5), (2, 0.9), (3, 0.8), (6, 0.5), (10, 0.1)] {
        let schedule = options.schedule(t, 10);
        assert!((schedule.learning_rate - rate).abs() < 1e-6, "step {t}");
        assert_eq!(schedule.muon_rate, 2.0 * schedule.learning_rate);
    }
}

/// A step of Muon first gives weights their norm, whatever they had, and then goes by an update whose singular values are
/// about one.
#[test]
fn muon_keeps_norms() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let images = digits();
    let muon = TrainOptions {
        optimiser: Optimiser::Muon,
        ..options()
    };
    let mut trainer = Trainer::new(&gpu, lenet_small(), &images, muon).unwrap();
    let mut start = block_on(trainer.snapshot()).unwrap();
    start.weights.iter_mut().for_each(|w| *w *= 3.0);
    trainer.restore(&start);
    trainer.train_step(&images);
    let end = block_on(trainer.snapshot()).unwrap();
    let size = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let rate = f64::from(trainer.options().schedule(1, 4).muon_rate);
    let layers = trainer.parameters().layers.iter();
    for layer in layers.filter(|layer| layer.is_whole()) {
        let [before, after] = [&start, &end].map(|snapshot| -> Vec<f64> {
            let weights = layer.weight_values(&snapshot.weights);
            weights.into_iter().map(f64::from).collect()
        });
        let factor = layer.norm() / size(&before);
        let pairs = before.iter().zip(&after);
        let update: Vec<f64> = pairs.map(|(b, a)| (factor * b - a) / rate).collect();
        let most = (layer.shape[0].min(layer.fan_in()) as f64).sqrt();
        let found = size(&update);
        assert!(
            (0.3 * most..1.25 * most).contains(&found),
            "{found} of {most}"
        );
    }
}

/// A run of any length finds its rate in a thousand steps.
#[test]
fn slopes_of_a_long_run_travel_as_far() {
    let options = TrainOptions {
        quantiser_rate: QuantiserRate::Auto,
        lp_start: 0.5,
        warm_up: 0.05,
        ..options()
    };
    let total = 3456;
    let steps = (1..=total).map(|t| options.schedule(t, total));
    let way: f32 = steps.map(|s| s.learning_rate * s.quantiser_rate).sum();
    assert!((way - 1.5).abs() < 0.01, "{way}");
}

#[test]
fn low_precision_joins_when_it_is_told_to() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let late = TrainOptions {
        lp_start: 0.5,
        ..options()
    };
    let float = TrainOptions {
        objective: Objective::Float,
        ..options()
    };
    let [late, float] = [late, float].map(|options| course(&gpu, options));
    assert!(
        late[..2] == float[..2],
        "the first half is a float network's"
    );
    assert_ne!(late[2].0, late[1].0, "then levels move");
    let last = TrainOptions {
        lp_start: 0.99,
        ..options()
    };
    let joined: Vec<bool> = (1..=4).map(|t| last.low_precision_at(t, 4)).collect();
    assert_eq!(joined, [false, false, false, true], "at the latest");
}

/// A run that is cut short to what is done must not end with levels that never learned.
#[test]
fn a_run_may_end_once_low_precision_has_learned() {
    let late = TrainOptions {
        epochs: 4,
        lp_start: 0.5,
        ..options()
    };
    let ends = |done, epochs| late.ends_without_low_precision(done, 10, epochs);
    assert!(ends(10, 1) && ends(20, 2), "before it joins");
    assert!(!ends(30, 3), "it learned in the third epoch");
    assert!(!ends(10, 2) && !ends(0, 1), "there are steps to come");
    let float = TrainOptions {
        objective: Objective::Float,
        ..late
    };
    assert!(
        !float.ends_without_low_precision(10, 10, 1),
        "nor has it any"
    );
}

#[test]
fn weights_decay_to_zero_and_levels_do_not() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let [free, decayed] = [0.0, 10.0].map(|weight_decay| {
        let options = TrainOptions {
            weight_decay,
            ..options()
        };
        course(&gpu, options)
    });
    // The learning rate of the first step is 2e-3: weights lose a fiftieth.
    for (free, decayed) in free[0].1.iter().zip(&decayed[0].1) {
        assert!(
            (free - decayed).abs() <= 0.021 * (free.abs() + 3e-3),
            "{free} {decayed}"
        );
        assert!(
            free.abs() < 5e-3 || decayed.abs() < free.abs(),
            "{free} {decayed}"
        );
    }
    assert_eq!(free[0].0, decayed[0].0);
}

#[test]
fn a_float_network_does_not_mind_its_bits() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let [free, dear] = [0.0, 1.0].map(|lambda_bits| {
        let options = TrainOptions {
            objective: Objective::Float,
            lambda_bits,
            lambda_l2: 1e-3,
            bits_ramp: 0.0,
            ..options()
        };
        course(&gpu, options)
    });
    assert!(free == dear, "the price of bits moves weights");
    assert_ne!(free[0].1, free[1].1);
}

/// Bits of the layers after a run in which they cost more than everything else, with other options laid over it.
fn bits(gpu: &Gpu, change: impl FnOnce(&mut TrainOptions)) -> Vec<u32> {
    let images = digits();
    let mut options = TrainOptions {
        epochs: 100,
        lambda_bits: 0.3,
        decay: Decay::Constant,
        bits_ramp: 0.0,
        freeze_levels: 1.0,
        ..options()
    };
    change(&mut options);
    let mut trainer = Trainer::new(gpu, lenet_small(), &images, options).unwrap();
    for _ in 0..trainer.total_steps() {
        trainer.train_step(&images);
    }
    let progress = block_on(trainer.progress()).unwrap();
    progress.layers.iter().map(|layer| layer.bits).collect()
}

#[test]
fn bits_fall_to_their_target_and_no_further() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let fallen = bits(&gpu, |_| ());
    assert!(fallen.iter().all(|bits| *bits <= 2), "{fallen:?}");
    // Small layers jump over a level now and then.
    let kept = bits(&gpu, |options| options.target_bits = 3);
    assert!(kept.iter().all(|bits| [2, 3].contains(bits)), "{kept:?}");
    let full = kept.iter().filter(|bits| **bits == 3).count();
    assert!(full >= 3, "{kept:?}");
}

#[test]
fn a_layer_may_have_a_target_of_its_own() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let own = bits(&gpu, |options| {
        options.layer_bits.insert("fc1".to_owned(), 4);
    });
    let names = ["conv1", "conv2", "fc1", "fc2", "fc3"];
    for (name, bits) in names.iter().zip(&own) {
        match *name {
            "fc1" => assert!(*bits >= 3, "{own:?}"),
            _ => assert!(*bits <= 2, "{own:?}"),
        }
    }
    let nobody = TrainOptions {
        layer_bits: [("fc9".to_owned(), 2)].into(),
        ..options()
    };
    let refused = Trainer::new(&gpu, lenet_small(), &digits(), nobody);
    let message = refused.err().map(|error| error.to_string());
    assert!(message.is_some_and(|text| text.contains("fc9") && text.contains("fc3")));
}

#[test]
fn bits_fall_until_the_packed_file_fits_and_no_further() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let size = PackedSize::of(&lenet_small()).unwrap();
    let least = size.bytes([1; 5]);
    let target = size.bytes([3; 5]);
    let fallen = bits(&gpu, |options| options.target_size = target as u64);
    let bytes = size.bytes(fallen.iter().copied());
    assert!(bytes <= target, "{bytes} of {target} bytes: {fallen:?}");
    let free = bits(&gpu, |_| ());
    assert!(size.bytes(free) < bytes, "it stops when it fits");
    let small = TrainOptions {
        target_size: least as u64 - 1,
        ..options()
    };
    let refused = Trainer::new(&gpu, lenet_small(), &digits(), small);
    let message = refused.err().map(|error| error.to_string());
    assert!(message.is_some_and(|text| text.contains(&least.to_string())));
}

#[test]
fn the_price_of_bits_doubles_while_a_file_is_too_large() {
    let free = TrainOptions {
        bits_ramp: 0.5,
        ..options()
    };
    let bound = TrainOptions {
        target_size: 1000,
        ..free.clone()
    };
    let price = |options: &TrainOptions, t| options.schedule(t, 100).lambda_bits;
    assert_eq!(price(&bound, 51), price(&free, 51));
    let ratio = price(&bound, 61) / price(&free, 61);
    assert!((ratio - 4.0).abs() < 1e-5, "{ratio}");
}
