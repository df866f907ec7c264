//! What the command line refuses, and what it says then.

use std::path::Path;

use crate::common::{finish, gtc, refuse, succeed, trained, write_cifar10, write_data};
use gtc::checkpoint;

#[test]
fn no_adapter_names_the_packages_to_install() {
    let output = gtc()
        .args(["train", "--out", "/tmp/gtc-never"])
        .env("VK_DRIVER_FILES", "/nonexistent.json")
        .env("VK_ICD_FILENAMES", "/nonexistent.json")
        .output()
        .unwrap();
    let (code, _, stderr) = finish(output);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("mesa-vulkan-drivers libvulkan1"),
        "{stderr}"
    );
    assert!(!Path::new("/tmp/gtc-never").exists());
}

#[test]
fn mistyped_names_are_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    refuse(
        &["train", "lenet", "--out", &out],
        &["unknown model 'lenet'", "did you mean 'lenet5'"],
    );
    refuse(&["train", "--epoch", "3"], &["--epochs"]);
    refuse(&["plan", "vgg99"], &["unknown model 'vgg99'"]);
    refuse(
        &["train", "--adapter", "llvmpip3 nonsense", "--out", &out],
        &["no adapter matches", "  0: "],
    );
    refuse(
        &["train", "--adapter", "99", "--out", &out],
        &["no adapter matches '99'"],
    );
    let config = folder.path().join("c.toml");
    std::fs::write(&config, "lambda_bit = 1").unwrap();
    refuse(
        &["train", "--config", config.to_str().unwrap(), "--out", &out],
        &["c.toml", "lambda_bit", "did you mean 'lambda_bits'"],
    );
    assert!(!Path::new(&out).exists(), "nothing was written");
}

#[test]
fn numbers_that_make_no_sense_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let try_flag = |flag: &str, value: &str, words: &[&str]| {
        refuse(&["train", "--out", &out, flag, value], words);
    };
    try_flag("--batch-size", "0", &["--batch-size 0", "1 to 6000"]);
    try_flag("--batch-size", "6001", &["--batch-size 6001", "1 to 6000"]);
    try_flag("--epochs", "0", &["--epochs 0"]);
    try_flag("--learning-rate", "nan", &["--learning-rate NaN"]);
    try_flag("--lambda-bits=-1", "--epochs=1", &["--lambda-bits -1"]);
    try_flag("--bits-ramp", "2", &["--bits-ramp 2"]);
    try_flag("--target-bits", "0", &["--target-bits 0", "1 to 9"]);
    try_flag("--target-bits", "10", &["--target-bits 10", "1 to 9"]);
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_folder_that_holds_a_run_is_not_overwritten() {
    let (run, _) = trained();
    let before = std::fs::read(Path::new(run).join("model.safetensors")).unwrap();
    refuse(
        &["train", "--out", run, "--epochs", "1"],
        &["already holds a run", "--resume"],
    );
    assert_eq!(
        std::fs::read(Path::new(run).join("model.safetensors")).unwrap(),
        before
    );
    // Nor a file of the user's that is called as one of a run's.
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("model.toml");
    let text = succeed(&["models", "show", "lenet-small"]) + "# mine\n";
    std::fs::write(&own, &text).unwrap();
    let out = folder.path().display().to_string();
    refuse(
        &["train", own.to_str().unwrap(), "--out", &out],
        &["holds a file called model.toml", "--out"],
    );
    assert_eq!(std::fs::read_to_string(own).unwrap(), text);
}

#[test]
fn damaged_data_files_are_named_with_place_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let attempt = |name: &str, change: &dyn Fn(&Path), words: &[&str]| {
        let data = folder.path().join(name);
        write_data(&data, 20, 10);
        change(&data);
        refuse(
            &["train", "--data", data.to_str().unwrap(), "--out", &out],
            words,
        );
    };
    let edit = |file: &'static str, change: &'static dyn Fn(&mut Vec<u8>)| {
        move |data: &Path| {
            let path = data.join(file);
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    };
    let (images, labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    attempt(
        "missing",
        &|d| std::fs::remove_file(d.join(labels)).unwrap(),
        &[labels, "it holds"],
    );
    attempt(
        "truncated",
        &edit(images, &|b| b.truncate(5000)),
        &[images, "has 5000"],
    );
    attempt(
        "short",
        &edit(images, &|b| b.truncate(3)),
        &[images, "only 3 bytes"],
    );
    attempt(
        "header",
        &edit(images, &|b| b.truncate(9)),
        &[images, "has 9"],
    );
    attempt("long", &edit(images, &|b| b.push(0)), &[images, "promises"]);
    attempt(
        "type",
        &edit(images, &|b| b[3] = 1),
        &[images, "file of labels"],
    );
    attempt(
        "magic",
        &edit(labels, &|b| b[0] = 9),
        &[labels, "0x09000801"],
    );
    attempt(
        "side",
        &edit(images, &|b| b[8] = 1),
        &[images, "image side"],
    );
    attempt(
        "zero",
        &edit(images, &|b| b[4..8].fill(0)),
        &[images, "promises nothing"],
    );
    attempt(
        "label",
        &edit(labels, &|b| b[10] = 77),
        &[labels, "byte 10", "label 77 of image 2"],
    );
    attempt(
        "count",
        &edit(labels, &|b| {
            b.pop();
            b[7] -= 1;
        }),
        &[labels, "20 images", "19 labels"],
    );
    attempt(
        "gzip",
        &edit(images, &|b| b[0..2].copy_from_slice(&[0x1f, 0x8b])),
        &[images, "gzip"],
    );
    refuse(
        &["train", "--data", "/nowhere", "--out", &out],
        &["/nowhere"],
    );
    assert!(!Path::new(&out).exists(), "nothing was written");
}

#[test]
fn damaged_checkpoints_are_refused() {
    let (run, _) = trained();
    let good = std::fs::read(Path::new(run).join("model.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let attempt = |name: &str, bytes: &[u8], words: &[&str]| {
        let path = folder.path().join(format!("{name}.safetensors"));
        std::fs::write(&path, bytes).unwrap();
        let path = path.display().to_string();
        refuse(&["inspect", &path], words);
        refuse(&["eval", &path], words);
    };
    attempt(
        "truncated",
        &good[..good.len() - 100],
        &["truncated.safetensors", "not a whole"],
    );
    attempt("empty", &[], &["empty.safetensors", "the file is empty"]);
    attempt(
        "text",
        b"hello, this is no model at all",
        &["text.safetensors"],
    );
    let text = String::from_utf8_lossy(&good).into_owned();
    assert!(text.contains("lenet-small"));
    let swap = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    attempt(
        "newer",
        &swap("\\\"version\\\":2", "\\\"version\\\":9"),
        &["format 9", "newer gtc"],
    );
    attempt(
        "other",
        &swap("lenet-small", "resnet-9999"),
        &["resnet-9999"],
    );
    attempt(
        "foreign",
        &swap("\"gtc\"", "\"xyz\""),
        &["not a checkpoint of gtc"],
    );
    let mut checkpoint = checkpoint::decode("good", &good).unwrap();
    checkpoint.snapshot.weights[0] = f32::NAN;
    assert!(
        checkpoint::encode(&checkpoint)
            .unwrap_err()
            .to_string()
            .contains("NaN")
    );
    let one = checkpoint::decode("good", &good).unwrap().snapshot.weights[0].to_le_bytes();
    let at = good.windows(4).rposition(|w| w == one).unwrap();
    let mut bytes = good.clone();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    attempt("nan", &bytes, &["NaN", "diverged"]);
    refuse(
        &["eval", "/nowhere/model.safetensors"],
        &["/nowhere/model.safetensors"],
    );
}

#[test]
fn a_diverging_run_stops_and_keeps_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 100, 10);
    let out = folder.path().join("run").display().to_string();
    let data = data.display().to_string();
    refuse(
        &[
            "train",
            "lenet-small",
            "--data",
            &data,
            "--batch-size",
            "10",
            "--epochs",
            "3",
            "--objective",
            "float",
            "--learning-rate",
            "1e30",
            "--out",
            &out,
        ],
        &["stopped being a number at step", "last checkpoint"],
    );
    succeed(&["inspect", &out]);
}

#[test]
fn damaged_cifar_files_are_named_with_place_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let attempt = |name: &str, file: &str, change: &dyn Fn(&Path), words: &[&str]| {
        let data = folder.path().join(name);
        write_cifar10(&data, 20);
        change(&data.join(file));
        let data = data.to_str().unwrap();
        let words = [&[file], words].concat();
        refuse(
            &["train", "vgg-tiny", "--data", data, "--out", &out],
            &words,
        );
    };
    let edit = |change: &'static dyn Fn(&mut Vec<u8>)| {
        move |path: &Path| {
            let mut bytes = std::fs::read(path).unwrap();
            change(&mut bytes);
            std::fs::write(path, bytes).unwrap();
        }
    };
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    attempt(
        "length",
        "data_batch_3.bin",
        &edit(&|b| b.truncate(5000)),
        &["3073", "5000"],
    );
    attempt(
        "empty",
        "test_batch.bin",
        &edit(&|b| b.clear()),
        &["0 bytes"],
    );
    attempt(
        "label",
        "data_batch_2.bin",
        &edit(&|b| b[3073] = 10),
        &["label 10 of image 1"],
    );
    attempt(
        "missing",
        "data_batch_5.bin",
        &remove,
        &["data_batch_4.bin"],
    );
    attempt("untested", "test_batch.bin", &remove, &["is here"]);
    assert!(!Path::new(&out).exists(), "nothing was written");
    let data = folder.path().join("whole");
    write_cifar10(&data, 20);
    let data = data.to_str().unwrap();
    refuse(
        &["train", "vae-mlp", "--data", data, "--out", &out],
        &["3 channel"],
    );
    refuse(
        &[
            "train", "vgg-tiny", "--data", data, "--limit", "0", "--out", &out,
        ],
        &["limit"],
    );
}

#[test]
fn data_that_differ_from_the_published_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_data(Path::new(&at("source")), 20, 10);
    write_cifar10(Path::new(&at("cifar")), 2);
    let to = at("to");
    let import = |name: &str, source: &str, words: &[&str]| {
        refuse(&["data", "import", name, &at(source), "--to", &to], words);
    };
    import(
        "mnist",
        "source",
        &["train-images-idx3-ubyte", "published file 47040016"],
    );
    import("cifar10", "cifar", &["data_batch_1.bin", "published file"]);
    import("cifar10", "source", &["data_batch_1.bin", "t10k-images"]);
    import("mnist", "nowhere", &["nowhere"]);
    import("minst", "source", &["mnist"]);
    refuse(
        &[
            "data",
            "import",
            "mnist",
            &at("source"),
            "--to",
            &at("cifar"),
        ],
        &["holds other files"],
    );
    // Nobody listens on the discard port.
    let nobody = "http://127.0.0.1:9";
    refuse(
        &["data", "get", "mnist", "--to", &to, "--mirror", nobody],
        &[nobody],
    );
    assert!(!Path::new(&to).exists(), "nothing was written");
}
