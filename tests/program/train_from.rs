//! `gtc train --from`: a run that begins with the weights of another.

use std::path::Path;

use crate::common::{json, refuse, run, succeed, trained, write_data};
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
    // A classifier is no auto-encoder, and the other way round.
    for (model, from) in [("lenet-small", &vae[..]), ("vae-mlp", old)] {
        refuse(
            &[
                "train",
                model,
                "--data",
                &data,
                "--batch-size",
                "20",
                "--from",
                from,
                "--out",
                &out,
            ],
            &["not", model],
        );
    }
}

/// A network gets pixels as its weights are used to them.
#[test]
fn the_scaling_of_pixels_comes_with_weights() {
    let (old, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (theirs, imported) = (at("theirs.safetensors"), at("imported.safetensors"));
    succeed(&["export", old, "-o", &theirs]);
    succeed(&["import", &theirs, "--range", "-1..1", "-o", &imported]);
    let scaling = |run: &str| {
        let header = checkpoint::load(Path::new(run)).unwrap().header;
        header.model().unwrap().scaling
    };
    let short = ["--data", data, "--epochs", "1", "--batch-size", "20"];
    let begun = |model: &str, out: &str| {
        let words = ["train", model, "--from", &imported, "--out", out];
        [&words[..], &short].concat().join(" ")
    };
    let begin = |model: &str, out: &str| {
        let words = begun(model, out);
        run(&words.split(' ').collect::<Vec<_>>())
    };
    let out = at("run");
    let (code, _, notes) = begin("lenet-small", &out);
    assert_eq!(code, 0, "{notes}");
    assert!(notes.contains("so will this run"), "{notes}");
    assert_eq!(scaling(&out), scaling(&imported));
    // A description that says something else is asked about.
    let text = succeed(&["models", "show", "lenet-small"]);
    let other = text.replace("scaling = \"none\"", "scaling = \"cifar10\"");
    assert_ne!(text, other);
    std::fs::write(at("other.toml"), other).unwrap();
    let (code, _, stderr) = begin(&at("other.toml"), &at("refused"));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("the description has pixels"), "{stderr}");
}

/// Weights in several files, as large networks are published, say themselves what they are of.
#[test]
fn a_run_begins_with_weights_in_several_files() {
    let (old, data) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let part = at("part.safetensors");
    succeed(&["export", old, "-o", &part]);
    let bytes = std::fs::read(&part).unwrap();
    let names = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let names = names.names().into_iter();
    let map: serde_json::Map<String, serde_json::Value> = names
        .map(|name| (name.to_owned(), "part.safetensors".into()))
        .collect();
    let index = serde_json::json!({ "weight_map": map });
    std::fs::write(at("model.safetensors.index.json"), index.to_string()).unwrap();
    for (from, out) in [
        (at(""), at("one")),
        (at("model.safetensors.index.json"), at("two")),
    ] {
        succeed(&[
            "train",
            "--from",
            &from,
            "--data",
            data,
            "--epochs",
            "1",
            "--batch-size",
            "20",
            "--out",
            &out,
        ]);
        let header = checkpoint::load(Path::new(&out)).unwrap().header;
        assert_eq!(header.model, "lenet-small");
    }
}
