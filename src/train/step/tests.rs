//! The steps of all models, followed through the passes without a device.

use super::*;
use crate::gpu::{Cooperative, Core, Storage, Tiles};
use crate::graph::{Builder, Model, NAMES, resnet20};
use crate::model::{Parameters, Shards};
use crate::op::{Conv, Dense, MaxPool, Pair};
use crate::recording::cores;
use crate::recording::tests::follow;
use crate::train::Precision;

/// Follows a training step of a model through all passes, and returns the kernels that it calls.
fn step(model: &Model, path: Path, options: &TrainOptions, part_bytes: u64) -> Vec<&'static str> {
    sharded_step(model, path, options, part_bytes, Shards::one())
}

/// The same on a process that has some shards of a batch.
fn sharded_step(
    model: &Model,
    path: Path,
    options: &TrainOptions,
    part_bytes: u64,
    shards: Shards,
) -> Vec<&'static str> {
    let memory = Memory::laid_out(model, options.shard_size(), part_bytes, true);
    let memory = memory
        .with_shards(shards)
        .with_storages(options.storages(model));
    let parameters = &memory.parameters;
    let [first_moment, second_moment] =
        ["first moment", "second moment"].map(|label| parameters.layout.tensor(label));
    let gradients = parameters.layout.pair(["gradients", "LP gradients"]);
    let state = adam_state(&memory, [&first_moment, &second_moment], options);
    let recording = step_of(
        options.objective,
        path,
        options,
        &memory,
        &gradients,
        &state,
    );
    follow(&recording);
    if options.precision != Precision::Full {
        check_storages(&recording);
    }
    let calls = recording.calls().map(|call| call.kernel.name).collect();
    if path == Path::Gpu {
        follow(&recording.with_twins(1 << 13));
    }
    calls
}

/// Whether what an operation gives and the gradients of that are stored in 16 bits, and what losses and parameters are
/// made of in 32.
fn check_storages(recording: &Recording) {
    let scaled = |tensor: &Tensor| match tensor.buffer.storage() {
        Storage::Float => None,
        Storage::Half { exponent } => Some(exponent),
    };
    let of_losses = ["d_logits", "d_posterior"];
    let mut products = 0;
    let matrices = Some(Cooperative {
        size: 16,
        lanes: 32,
    });
    let shared = cores::choose(recording, &Tiles::default(), matrices);
    let cooperative = |core: Option<Core>| matches!(core, Some(Core::Cooperative { .. }));
    assert!(shared.iter().any(|shared| cooperative(shared.core)));
    for (call, shared) in recording.calls().zip(&shared) {
        // Gradients of a loss are smaller than 16 bits hold, until an operation stores them scaled.
        if cooperative(shared.core) {
            assert!(!of_losses.contains(&call.reads[0].buffer.label()));
            assert!(scaled(&call.reads[0]).is_some());
        }
        if call.label == "optimiser" {
            continue;
        }
        let name = format!("{} {}", call.label, call.kernel.name);
        let [reads, writes]: [Vec<_>; 2] = [
            call.reads.iter().map(scaled).collect(),
            call.writes.iter().map(|o| scaled(&o.tensors[0])).collect(),
        ];
        match call.kernel.name {
            "conv_backward_input" if !of_losses.contains(&call.reads[0].buffer.label()) => {
                products += 1;
                assert!(reads[0] > Some(0), "{name}: {reads:?}");
                assert_eq!(reads[1], None, "{name}: {reads:?}");
            }
            "norm_forward" | "norm_pool_forward" => {
                assert_eq!((reads[0], writes[0]), (Some(0), Some(0)), "{name}");
            }
            "norm_backward" | "norm_pool_backward" => {
                assert!(writes[0] > Some(0), "{name}: {writes:?}");
            }
            "conv_backward_weight"
            | "norm_statistics"
            | "adam"
            | "muon"
            | "metrics"
            | "softmax_cross_entropy"
            | "bernoulli_loss"
            | "gaussian_kl" => {
                assert!(writes.iter().all(Option::is_none), "{name}: {writes:?}");
            }
            _ => {}
        }
    }
    assert!(products > 0);
}

#[test]
fn a_max_pool_over_windows_that_overlap_binds_no_memory_twice() {
    let mut net = Builder::new("windows", [9, 8, 1]);
    net.then("conv", Conv::new(4, 3));
    let stride = Some(Pair([2, 2]));
    net.then(
        "pool",
        MaxPool {
            stride,
            ..MaxPool::new(3)
        },
    );
    net.then("fc1", Dense::new(5));
    net.then("fc2", Dense::new(3));
    let model = net.build().unwrap_or_else(|e| panic!("{e}"));
    for precision in [Precision::Full, Precision::Mixed, Precision::Cooperative] {
        let options = TrainOptions {
            batch_size: 8,
            precision,
            ..TrainOptions::default()
        };
        let calls = step(&model, Path::Gpu, &options, 1 << 27);
        assert!(calls.contains(&"window_max_pool_forward"), "{calls:?}");
    }
}

#[test]
fn a_mixed_step_reads_what_was_written_and_stores_halves() {
    let options = TrainOptions {
        batch_size: 8,
        precision: Precision::Mixed,
        ..TrainOptions::default()
    };
    for name in NAMES {
        let model = Model::by_name(name).unwrap_or_else(|e| panic!("{e}"));
        step(&model, Path::Gpu, &options, 1 << 27);
        let cooperative = TrainOptions {
            precision: Precision::Cooperative,
            optimiser: Optimiser::Muon,
            ..options.clone()
        };
        step(&model, Path::Gpu, &cooperative, 1 << 27);
    }
    // In parts, and as some shards of a batch.
    step(&resnet20(), Path::Gpu, &options, 1 << 19);
    for sync_norm in [false, true] {
        let options = TrainOptions {
            batch_size: 32,
            shards: 4,
            ..options.clone()
        };
        let shards = Shards {
            count: 4,
            own: 2..4,
            sync_norm,
        };
        sharded_step(&resnet20(), Path::Gpu, &options, 1 << 27, shards);
    }
}

#[test]
fn a_step_of_every_model_reads_what_was_written_on_every_path() {
    let options = TrainOptions {
        batch_size: 8,
        ..TrainOptions::default()
    };
    for name in NAMES {
        let model = Model::by_name(name).unwrap_or_else(|e| panic!("{e}"));
        for path in Path::ALL {
            let calls = step(&model, path, &options, 1 << 27);
            assert_eq!(calls.iter().filter(|name| **name == "adam").count(), 1);
            let muon = TrainOptions {
                optimiser: Optimiser::Muon,
                ..options.clone()
            };
            let calls = step(&model, path, &muon, 1 << 27);
            let convolves = Parameters::new(&model).muon() != Muon::default();
            assert_eq!(calls.contains(&"muon"), convolves, "{name}");
        }
    }
}

#[test]
fn every_objective_and_a_batch_in_parts_do_too() {
    let model = resnet20();
    let calls = |objective, part_bytes| {
        let options = TrainOptions {
            batch_size: 16,
            objective,
            ..TrainOptions::default()
        };
        step(&model, Path::CpuSubgroup, &options, part_bytes).len()
    };
    let both = calls(Objective::Gtc, 1 << 27);
    assert!(calls(Objective::Float, 1 << 27) < both);
    assert!(calls(Objective::Direct, 1 << 27) < both);
    assert!(
        calls(Objective::Gtc, 1 << 19) > both,
        "parts take more calls"
    );
}

#[test]
fn a_shard_has_the_same_cores_in_every_process() {
    // Small maps with edges, where several cores compete and each sums other positions.
    let mut net = Builder::new("edges", [8, 8, 16]);
    for (number, channels) in [16, 24, 40].into_iter().enumerate() {
        let conv = Conv::new(channels, 3).padding(1).without_bias();
        net.then(format!("conv{number}"), conv);
    }
    net.then("fc", Dense::new(3));
    let model = net.build().unwrap_or_else(|e| panic!("{e}"));
    let options = TrainOptions {
        batch_size: 16,
        shards: 2,
        ..TrainOptions::default()
    };
    let cores_of = |own: Range<usize>| {
        let memory = Memory::laid_out(&model, options.shard_size(), 1 << 27, true);
        let shards = Shards {
            count: options.shards,
            own,
            sync_norm: false,
        };
        let memory = memory.with_shards(shards);
        let layout = &memory.parameters.layout;
        let [first, second] = ["first", "second"].map(|label| layout.tensor(label));
        let gradients = layout.pair(["gradients", "LP gradients"]);
        let state = adam_state(&memory, [&first, &second], &options);
        let objective = options.objective;
        let path = Path::CpuSubgroup;
        let list = step_of(objective, path, &options, &memory, &gradients, &state);
        let shared = cores::choose(&list, &Tiles::default(), None);
        let products: Vec<(String, Option<Core>)> = list
            .calls()
            .zip(shared)
            .filter_map(|(call, shared)| Some((call.product_name()?, shared.core)))
            .collect();
        products
    };
    let of_both = cores_of(0..2);
    let alone = cores_of(1..2);
    assert_eq!(of_both.len(), 2 * alone.len());
    assert_eq!(of_both[alone.len()..], alone);
}

#[test]
fn shards_of_one_process_and_of_several_do_too() {
    let model = resnet20();
    let calls = |own: Range<usize>, sync_norm| {
        let options = TrainOptions {
            batch_size: 64,
            shards: 8,
            ..TrainOptions::default()
        };
        let shards = Shards {
            count: options.shards,
            own,
            sync_norm,
        };
        sharded_step(&model, Path::CpuSubgroup, &options, 1 << 27, shards)
    };
    let sums = |calls: &[&str]| calls.iter().filter(|name| **name == "add_shards").count();
    for sync_norm in [false, true] {
        assert_eq!(sums(&calls(0..8, sync_norm)), 7);
        assert_eq!(sums(&calls(4..8, sync_norm)), 3);
        assert_eq!(sums(&calls(7..8, sync_norm)), 0);
    }
}
