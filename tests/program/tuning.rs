//! `gtc tune`, what it leaves, and who reads it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{finish, gtc, refuse, trained, write_data};

/// A user's cache of its own.
struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = gtc();
        let output = command.args(args).env("GTC_CACHE", self.0.path()).output();
        let (code, stdout, stderr) = finish(output.unwrap());
        assert_eq!(code, 0, "gtc {args:?}\n{stdout}\n{stderr}");
        stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(args)).unwrap()
    }

    /// Trains for an epoch in a folder that has data, and returns the run's folder.
    fn train(&self, folder: &Path, name: &str, more: &[&str]) -> PathBuf {
        let (data, out) = (folder.join("data"), folder.join(name));
        let named = ["train", "lenet-small", "--data", data.to_str().unwrap()];
        let settings = ["--epochs", "1", "--batch-size", "20", "--path", "gpu"];
        let place = ["--out", out.to_str().unwrap()];
        self.run(&[&named[..], &settings, &place, more].concat());
        out
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.path().join(name)).ok()
    }
}

const TUNE: [&str; 6] = ["tune", "lenet-small", "--batch-size", "20", "--path", "gpu"];

#[test]
fn what_is_tuned_is_kept_shown_and_used_and_changes_no_result() {
    let (cache, empty) = (Cache::new(), Cache::new());
    let report = cache.json(&[&TUNE[..], &["--json"]].concat());
    assert_eq!(
        (&report["path"], &report["batch_size"]),
        (&"gpu".into(), &20.into())
    );
    let products = report["products"].as_array().unwrap();
    assert!(products.len() > 6, "{products:?}");
    assert!(!report["kernels"].as_object().unwrap().is_empty());
    let adapters = cache.json(&["adapters", "--json"]);
    let adapter = adapters
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["name"] == report["adapter"])
        .unwrap();
    for row in products {
        let name = row["product"].as_str().unwrap();
        assert_eq!(adapter["products"][name], row["trials"], "{name}");
    }
    // The second time nothing is measured, until it is asked for.
    let [tiles, kernels] = ["tiles.json", "kernels.json"].map(|name| cache.bytes(name).unwrap());
    let said = cache.run(&TUNE);
    assert!(said.contains("they change no result"), "{said}");
    assert_eq!(cache.bytes("tiles.json").unwrap(), tiles);
    assert_eq!(cache.bytes("kernels.json").unwrap(), kernels);
    cache.run(&[&TUNE[..], &["--force"]].concat());
    assert_ne!(cache.bytes("tiles.json").unwrap(), tiles);
    // Whatever was the fastest, all products get the largest tile.
    let mut kept: Value = serde_json::from_slice(&tiles).unwrap();
    for products in kept.as_object_mut().unwrap().values_mut() {
        for trials in products.as_object_mut().unwrap().values_mut() {
            trials
                .as_array_mut()
                .unwrap()
                .retain(|t| t["tile"] == "128x128");
            assert_eq!(trials.as_array().unwrap().len(), 1);
        }
    }
    let text = serde_json::to_string(&kept).unwrap();
    std::fs::write(cache.0.path().join("tiles.json"), text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_data(&folder.path().join("data"), 60, 20);
    let run = |cache: &Cache, name: &str| {
        let out = cache.train(folder.path(), name, &[]);
        ["model.safetensors", "config.toml"].map(|file| std::fs::read(out.join(file)).unwrap())
    };
    let grids = |cache: &Cache| {
        let plan = cache.json(&[
            "plan",
            "lenet-small",
            "--batch-size",
            "20",
            "--path",
            "gpu",
            "--json",
        ]);
        let rows = plan["plans"][0][1].as_array().unwrap().clone();
        rows.into_iter()
            .map(|row| row["grid"].clone())
            .collect::<Vec<Value>>()
    };
    assert_ne!(grids(&cache), grids(&empty), "tuned tiles are used");
    assert!(
        run(&cache, "tuned") == run(&empty, "untuned"),
        "the same bits and settings"
    );
    assert!(empty.bytes("tiles.json").is_none());
    let said = cache.run(&["tune", "--clear"]);
    assert!(
        said.contains("tiles.json") && said.contains("kernels.json"),
        "{said}"
    );
    assert_eq!(cache.bytes("tiles.json"), None);
    assert_eq!(
        cache.run(&["tune", "--clear"]),
        "",
        "nothing is left to remove"
    );
}

#[test]
fn training_tries_tiles_once_where_it_is_asked_to() {
    let cache = Cache::new();
    let folder = tempfile::tempdir().unwrap();
    write_data(&folder.path().join("data"), 60, 20);
    let run = |when: &str, name: &str| {
        let out = cache.train(folder.path(), name, &["--tune", when]);
        std::fs::read(out.join("model.safetensors")).unwrap()
    };
    // A driver of the CPU is no hardware.
    let untuned = run("auto", "auto");
    assert!(run("never", "never") == untuned);
    assert!(cache.bytes("tiles.json").is_none());
    assert!(run("always", "first") == untuned, "the same bits");
    let tiles = cache.bytes("tiles.json").expect("remembered");
    assert!(run("always", "second") == untuned);
    assert_eq!(cache.bytes("tiles.json").unwrap(), tiles, "tried once");
    let report = cache.json(&[&TUNE[..], &["--json"]].concat());
    let kept: Value = serde_json::from_slice(&tiles).unwrap();
    let kept = kept.as_object().unwrap().values().next().unwrap();
    for row in report["products"].as_array().unwrap() {
        let name = row["product"].as_str().unwrap();
        assert_eq!(kept[name], row["trials"], "`gtc tune` has nothing to add");
    }
}

#[test]
fn packed_files_and_runs_are_tuned_too() {
    let (run, _) = trained();
    let cache = Cache::new();
    let file = cache.0.path().join("model.gtc").display().to_string();
    cache.run(&["pack", run, "-o", &file]);
    cache.run(&["tune", "--clear"]);
    let report = cache.json(&["tune", &file, "--batch-size", "7", "--json"]);
    assert!(report["products"].as_array().unwrap().is_empty());
    let kernels = report["kernels"].as_object().unwrap();
    assert_eq!(kernels.len(), 5, "a shape a layer");
    for shape in kernels.keys() {
        // Images, or the rows that a first layer makes of them.
        let rows: usize = shape.split('x').next().unwrap().parse().unwrap();
        assert_eq!(rows % 7, 0, "{shape}");
    }
    // A run is tuned at the batch size that it was trained with.
    let report = cache.json(&["tune", run, "--path", "gpu", "--json"]);
    assert_eq!(report["batch_size"], 20);
}

#[test]
fn a_damaged_cache_is_measured_anew_and_mistakes_are_named() {
    let cache = Cache::new();
    std::fs::write(cache.0.path().join("tiles.json"), "{").unwrap();
    cache.run(&TUNE);
    let kept: Value = serde_json::from_slice(&cache.bytes("tiles.json").unwrap()).unwrap();
    assert_eq!(kept.as_object().unwrap().len(), 1);
    refuse(&["tune", "lenet6"], &["lenet6", "lenet5"]);
    refuse(&["tune", "lenet5", "--clear"], &["--clear"]);
    refuse(&["tune", "--batch-size", "0"], &["--batch-size"]);
}

/// The usual kernels of a CPU driver, where the core of a float product decides last bits.
#[test]
fn float_products_keep_their_cores_where_those_decide_bits() {
    let cache = Cache::new();
    let said = cache.run(&["tune", "lenet-small", "--path", "cpu-storage"]);
    assert!(said.contains("would change last bits"), "{said}");
    assert!(cache.bytes("tiles.json").is_none());
    assert!(cache.bytes("kernels.json").is_some());
}
