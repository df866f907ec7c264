//! The networks that are followed.

use gtc::graph::{Builder, Model};
use gtc::op::{
    Activation, Add, AveragePool, Concat, Conv, Dense, Dropout, Flatten, GlobalAveragePool,
    MaxPool, Norm, Pair, Reshape, Upsample,
};

/// Two convolutions and two dense layers without normalisations. Rows of outputs come in fours, so that the first
/// layer reads shifted copies of the images, and its kernels do the ReLU and the max pool behind it.
pub(super) fn plain_layers() -> Model {
    let mut net = Builder::new("plain", [10, 10, 1]);
    net.then("conv1", Conv::new(3, 3));
    net.then("", Activation::RELU);
    net.then("", MaxPool::new(2));
    net.then("conv2", Conv::new(5, 3).stride(2).padding(1));
    net.then("", Activation::RELU);
    net.then("fc1", Dense::new(7));
    net.then("", Activation::RELU);
    net.then("fc2", Dense::new(3));
    net.build().unwrap()
}

/// The same with batch normalisations: before a ReLU and a max pool, before a ReLU alone, and behind a dense layer.
pub(super) fn normalised() -> Model {
    let mut net = Builder::new("normalised", [9, 8, 1]);
    for (name, conv) in [
        ("conv1", Conv::new(3, 3)),
        ("conv2", Conv::new(5, 3).stride(2).padding(1)),
    ] {
        net.then(name, conv.without_bias());
        net.then(format!("{name}_norm"), Norm {});
        net.then("", Activation::RELU);
        if name == "conv1" {
            net.then("", MaxPool::new(2));
        }
    }
    net.then("fc1", Dense::new(7).without_bias());
    net.then("fc1_norm", Norm {});
    net.then("", Activation::RELU);
    net.then("fc2", Dense::new(3));
    net.build().unwrap()
}

/// A batch normalisation that does the max pool behind it. It is not the first: pixels in steps of 1/255 times powers of two make
/// equal sums, which f32 and f64 round apart, and then each has its own largest.
pub(super) fn pooled_norm() -> Model {
    let mut net = Builder::new("pooled", [10, 8, 1]);
    for (name, conv) in [
        ("conv1", Conv::new(3, 3)),
        ("conv2", Conv::new(5, 3).padding(1)),
    ] {
        net.then(name, conv.without_bias());
        net.then(format!("{name}_norm"), Norm {});
        net.then("", Activation::RELU);
    }
    net.then("", MaxPool::new(2));
    net.then("fc", Dense::new(3));
    net.build().unwrap()
}

/// A graph in which every operation occurs, with branches: a residual sum, a value that three nodes read, groups,
/// depthwise convolutions, windows that overlap, channels that are no multiples of four.
pub(super) fn everything() -> Model {
    let mut net = Builder::new("everything", [9, 8, 3]);
    let stem = net.then("stem", Conv::new(6, 3).padding(1));
    net.then("", Activation::RELU);
    let start = net.last();
    net.then(
        "depthwise",
        Conv::new(6, 3).padding(1).groups(6).without_bias(),
    );
    net.then("depthwise_norm", Norm {});
    let branch = net.then("", Activation::RELU6);
    net.join("residual", Add {}, &[branch, start]);
    let sum = net.then("", Activation::RELU);
    net.then("groups", Conv::new(4, 1).groups(2));
    let left = net.then("", Activation::leaky(2));
    net.go_to(sum);
    let middle = net.then(
        "wide",
        Conv {
            kernel: Pair([1, 3]),
            padding: Pair([0, 1]),
            ..Conv::new(3, 1)
        },
    );
    let joined = net.join("joined", Concat {}, &[left, middle, stem]);
    net.then(
        "pool",
        MaxPool {
            stride: Some(Pair([2, 1])),
            padding: Pair([1, 1]),
            ..MaxPool::new(3)
        },
    );
    net.then(
        "average",
        AveragePool {
            stride: Some(Pair([1, 2])),
            ..AveragePool::new(2)
        },
    );
    net.then("free_norm", Norm {});
    let pooled = net.then("dropped", Dropout { probability: 0.25 });
    net.go_to(joined);
    let means = net.then("means", GlobalAveragePool {});
    net.go_to(pooled);
    net.then("flat", Flatten {});
    net.then("fc1", Dense::new(16));
    net.then(
        "image",
        Reshape {
            height: 2,
            width: 2,
        },
    );
    net.then("large", Upsample { size: 2 });
    net.then(
        "last_conv",
        Conv {
            quantise: false,
            ..Conv::new(13, 2)
        }
        .stride(2),
    );
    let row = net.then("last_means", GlobalAveragePool {});
    net.join("both", Add {}, &[row, means]);
    net.then("fc2", Dense::new(3));
    net.build().unwrap()
}
