//! `gtc train --from`: a run that begins with the weights of another.

use std::path::Path;

use crate::common::{json, refuse, succeed, trained, write_data};
use gtc::checkpoint;

#[test]
fn a_run_begins_where_another_ended() {
    let (old, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    // So small a rate that no weight leaves its place: what is tested is the beginning.
    let run = [
        "train",
        "--from",
        old,
        "lenet-small",
        "--data",
        data,
        "--epochs",
        "1",
        "--batch-size",
        "20",
        "--learning-rate",
        "1e-12",
        "--out",
        &out,
    ];
    succeed(&run);
    let [before, after] = [old, &out].map(|run| json(&["eval", run, "--data", data, "--json"]));
    assert_eq!(before["hp_accuracy"], after["hp_accuracy"]);
    assert_eq!(before["lp_accuracy"], after["lp_accuracy"]);
    let [before, after] = [old, &out].map(|run| checkpoint::load(Path::new(run)).unwrap());
    let [ours, theirs] = [&before, &after].map(|c| &c.snapshot.weights);
    let pairs = ours.iter().zip(theirs);
    let moved = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(moved < 1e-6, "{moved}");
    assert_eq!(after.snapshot.step, 10, "steps are counted anew");
    let config = std::fs::read_to_string(Path::new(&out).join("config.toml")).unwrap();
    assert!(config.contains("from = "), "{config}");
    // The folder continues by itself, without what it began with.
    succeed(&["train", "--resume", &out]);
}

#[test]
fn only_the_same_model_can_be_begun_with() {
    let (old, _) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let out = at("run");
    refuse(
        &["train", "lenet5", "--from", old, "--out", &out],
        &["lenet-small", "not 'lenet5'"],
    );
    refuse(
        &["train", "lenet5", "--from", &at("nothing"), "--out", &out],
        &["nothing"],
    );
    assert!(!Path::new(&out).exists(), "nothing was written");
    write_data(&folder.path().join("data"), 40, 20);
    let (data, vae) = (at("data"), at("vae"));
    let train = ["train", "vae-mlp", "--data", &data, "--epochs", "1"];
    let small = ["--batch-size", "20", "--latent", "5", "--out", &vae];
    succeed(&[&train[..], &small].concat());
    let other = ["--batch-size", "20", "--from", &vae, "--out", &out];
    refuse(&[&train[..], &other].concat(), &["--latent 5"]);
}
