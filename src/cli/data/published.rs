//! What was published: files, checksums of their contents, addresses.

use crate::data::{CIFAR10_TEST, CIFAR10_TRAIN};

/// One file as it lies in a data folder.
pub(super) struct File {
    pub name: String,
    /// Bytes, unpacked.
    pub bytes: u64,
    /// MD5 of those bytes, as hexadecimal digits. It tells a damaged copy, not a forged one.
    pub md5: String,
}

/// A published data set.
pub(super) struct DataSet {
    pub title: &'static str,
    pub files: Vec<File>,
    /// The folder on the network.
    pub address: String,
    /// The files in it.
    pub remote: Vec<String>,
    /// A model and settings for the line after success.
    pub suggestion: &'static str,
}

/// Names for the command line.
pub(super) const NAMES: [&str; 3] = ["mnist", "fashion-mnist", "cifar10"];

const IDX: [(&str, u64); 4] = [
    ("train-images-idx3-ubyte", 47_040_016),
    ("train-labels-idx1-ubyte", 60_008),
    ("t10k-images-idx3-ubyte", 7_840_016),
    ("t10k-labels-idx1-ubyte", 10_008),
];
const MNIST: [&str; 4] = [
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
];
const FASHION: [&str; 4] = [
    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "9018921c3c673c538a1fc5bad174d6f9",
    "8181f5470baa50b63fa0f6fddb340f0a",
    "15d484375f8d13e6eb1aabb0c3f46965",
];
const CIFAR: [&str; 6] = [
    "5dd7e06a14cb22eb9f671a540d1b7c25",
    "5ea93a67294ea407fff1d09f752e9692",
    "942cd6a4bcdd0dd3c604fbe906cb4421",
    "ae636b3ba5c66a11e91e8cb52e771fcb",
    "53f37980c15c3d472c316c40844f3f0d",
    "803d5f7f4d78ea53de84dbe85f74fb6d",
];
const CIFAR_BYTES: u64 = 30_730_000;

/// A data set by one of [`NAMES`].
pub(super) fn data_set(name: &str) -> DataSet {
    let idx = |title, md5: [&str; 4], address: &str, suggestion| DataSet {
        title,
        files: (IDX.iter().zip(md5))
            .map(|((name, bytes), md5)| file(name, *bytes, md5))
            .collect(),
        address: address.to_owned(),
        remote: IDX.iter().map(|(name, _)| format!("{name}.gz")).collect(),
        suggestion,
    };
    match name {
        "mnist" => idx(
            "MNIST",
            MNIST,
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "lenet5 --preset mnist",
        ),
        "fashion-mnist" => idx(
            "Fashion-MNIST",
            FASHION,
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "lenet5 --preset mnist",
        ),
        _ => DataSet {
            title: "CIFAR-10",
            files: (CIFAR10_TRAIN.iter().chain([&CIFAR10_TEST]).zip(CIFAR))
                .map(|(name, md5)| file(name, CIFAR_BYTES, md5))
                .collect(),
            address: "https://www.cs.toronto.edu/~kriz".to_owned(),
            remote: vec!["cifar-10-binary.tar.gz".to_owned()],
            suggestion: "vgg-tiny",
        },
    }
}

fn file(name: &str, bytes: u64, md5: &str) -> File {
    File {
        name: name.to_owned(),
        bytes,
        md5: md5.to_owned(),
    }
}
