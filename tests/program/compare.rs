//! A comparison trains one run for each method and seed, goes on where it was stopped, and says what came out.

use crate::common::{refuse, succeed};

/// The words of a comparison with runs of two steps.
fn words<'a>(out: &'a str, methods: &'a str) -> Vec<&'a str> {
    vec![
        "compare",
        "lenet-small",
        "--methods",
        methods,
        "--seeds",
        "1,2",
        "--limit",
        "32",
        "--out",
        out,
        "--",
        "--batch-size",
        "16",
        "--epochs",
        "1",
    ]
}

#[test]
fn a_comparison_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compare");
    let out = path.display().to_string();
    let methods = "float,gtc:1,gtc-ends:1,lsq:2,binary-pot";
    let text = succeed(&words(&out, methods));
    assert!(text.contains("run 10 of 10"), "{text}");
    let table = std::fs::read_to_string(path.join("compare.md")).unwrap();
    assert_eq!(table.lines().count(), 2 + 5, "{table}");
    for method in methods.split(',') {
        assert!(table.contains(&format!("| {method} |")), "{table}");
    }
    let page = std::fs::read_to_string(path.join("compare.html")).unwrap();
    assert_eq!(page.matches("data:image/svg+xml").count(), 3);
    let json = std::fs::read_to_string(path.join("compare.json")).unwrap();
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let of = |method: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|row| row["method"] == method).unwrap()
    };
    assert_eq!(of("float")["costs"]["code_bits"], 32.0);
    assert_eq!(of("binary-pot")["costs"]["code_bits"], 1.0);
    assert_eq!(of("binary-pot")["costs"]["scale_multiplications"], 0);
    assert!(of("lsq:2")["costs"]["scale_multiplications"].as_u64() > Some(0));
    let energy = |method: &str| of(method)["energy"].as_f64().unwrap();
    assert!(energy("binary-pot") < energy("lsq:2") && energy("lsq:2") < energy("float"));
    assert_eq!(of("gtc:1")["accuracies"].as_array().unwrap().len(), 2);

    // As if it had been stopped in one run.
    std::fs::remove_file(path.join("lsq-2-seed-2/model.safetensors")).unwrap();
    let text = succeed(&words(&out, methods));
    assert_eq!(text.matches("results go to").count(), 1, "{text}");
    let steady = |table: &str| -> Vec<String> {
        let columns = table
            .lines()
            .map(|line| line.rsplit_once(" | ").map(|(row, _)| row));
        columns
            .map(|row| row.unwrap_or_default().to_owned())
            .collect()
    };
    let again = std::fs::read_to_string(path.join("compare.md")).unwrap();
    assert_eq!(steady(&again), steady(&table), "all but the time");

    refuse(&words(&out, "float,twn"), &["holds another compare"]);
}

#[test]
fn what_cannot_be_compared_is_refused_before_the_first_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("compare").display().to_string();
    for (methods, why) in [
        ("lsq:7", "one of lsq:2"),
        ("twm", "did you mean"),
        ("gtc", "gtc:1"),
        ("twn,twn", "twice"),
    ] {
        refuse(&words(&out, methods), &[why]);
    }
    let mut own = words(&out, "twn");
    own.extend(["--quantiser", "ttq"]);
    refuse(&own, &["--quantiser is for `gtc compare` to decide"]);
    let mut wrong = words(&out, "twn");
    wrong.push("--epoch");
    refuse(&wrong, &["--epoch"]);
    assert!(!folder.path().join("compare").exists());
}

#[test]
fn a_method_trains_packs_and_is_inspected_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, quantiser: &str| {
        let out = folder.path().join(name).display().to_string();
        succeed(&[
            "train",
            "lenet-small",
            "--quantiser",
            quantiser,
            "--limit",
            "64",
            "--batch-size",
            "16",
            "--epochs",
            "2",
            "--out",
            &out,
        ]);
        out
    };
    let inq = run("inq", "inq:3");
    assert!(succeed(&["inspect", &inq]).contains("inq:3, "));
    let described = std::fs::read_to_string(format!("{inq}/model.toml")).unwrap();
    assert!(described.contains("quantiser = \"inq:3\""), "{described}");
    // Low precision in float and packed: the same network.
    succeed(&["pack", &inq]);
    let packed = succeed(&["inspect", &format!("{inq}/model.gtc")]);
    assert!(packed.contains(" 0 multiplications"), "{packed}");
    // Levels without training are those of GTC, whatever the run had.
    let lsq = run("lsq", "lsq:2");
    let levels = folder
        .path()
        .join("levels.safetensors")
        .display()
        .to_string();
    succeed(&["quantise", &lsq, "--bits", "2", "-o", &levels]);
    let inspected = succeed(&["inspect", &levels]);
    assert!(
        inspected.contains("Q = ±2^round") && !inspected.contains("lsq"),
        "{inspected}"
    );
    // And a method that begins with the weights of another starts its scales at what fits them.
    let begun = folder.path().join("begun").display().to_string();
    let train = [
        "train",
        "--from",
        &lsq,
        "--quantiser",
        "pot:3",
        "--limit",
        "64",
        "--batch-size",
        "16",
    ];
    succeed(&[&train[..], &["--epochs", "1", "--out", &begun]].concat());
    assert!(succeed(&["inspect", &begun]).contains("pot:3, 7 values"));
    let ttq = run("ttq", "ttq");
    refuse(
        &["pack", &ttq],
        &["ttq gives weights that are no powers of two"],
    );
    refuse(
        &[
            "train",
            "lenet-small",
            "--quantiser",
            "twn",
            "--target-size",
            "20kB",
        ],
        &["--quantiser gtc alone"],
    );
}

#[test]
fn auto_encoders_are_refused_before_the_first_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("compare");
    let shown = out.display().to_string();
    let mut words = words(&shown, "gtc:1");
    words[1] = "vae-mlp";
    refuse(&words, &["auto-encoder", "only classifiers"]);
    let mut words = self::words(&shown, "gtc:1");
    words[5] = "1,1";
    refuse(&words, &["--seeds names 1 twice"]);
    assert!(!out.exists(), "nothing was begun");
}
