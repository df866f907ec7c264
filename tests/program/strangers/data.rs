//! A model's data are those that it learned from, unless others are named.

use std::fs;

use crate::common::{json, refuse, run, succeed, trained, write_data};

#[test]
fn a_run_is_measured_on_its_own_data() {
    let (model, data) = trained();
    let given = json(&["eval", model, "--data", data, "--json"]);
    let own = json(&["eval", model, "--json"]);
    assert_eq!(own, given);
    assert_eq!(own["images"], 50);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alone.safetensors");
    fs::copy(format!("{model}/model.safetensors"), &file).unwrap();
    // Far from its run, digits are measured on those inside the program, and the note says so.
    let (code, _, stderr) = run(&["eval", &file.display().to_string()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("the digits inside this program") && stderr.contains("--data DIR"),
        "{stderr}"
    );
}

#[test]
fn data_that_moved_away_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_data(&folder.path().join("data"), 32, 10);
    let names: Vec<String> = (0..10).map(|class| format!("thing {class}")).collect();
    fs::write(at("data/classes.txt"), names.join("\n")).unwrap();
    let train = [
        "train",
        "lenet-small",
        "--epochs",
        "1",
        "--batch-size",
        "16",
    ];
    let places = ["--data", &at("data"), "--out", &at("run")];
    succeed(&[&train[..], &places].concat());
    succeed(&["eval", &at("run")]);
    fs::rename(folder.path().join("data"), folder.path().join("other")).unwrap();
    for command in ["eval", "pack"] {
        refuse(&[command, &at("run")], &["not there any more", "DIR"]);
    }
    succeed(&["eval", &at("run"), "--data", &at("other")]);
    // Things are no digits: far from the run nothing is guessed.
    fs::copy(at("run/model.safetensors"), at("alone.safetensors")).unwrap();
    for command in ["eval", "pack"] {
        refuse(
            &[command, &at("alone.safetensors")],
            &["learned from", "DIR"],
        );
    }
}

#[test]
fn data_of_other_classes_are_remarked() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    for class in ["cat", "dog"] {
        fs::create_dir_all(pictures.join(class)).unwrap();
        for i in 0..5u8 {
            let ink = image::Luma([40 * i]);
            let file = pictures.join(class).join(format!("{i}.png"));
            image::GrayImage::from_pixel(28, 28, ink)
                .save(file)
                .unwrap();
        }
    }
    let (model, _) = trained();
    let (_, _, stderr) = run(&["eval", model, "--data", &pictures.display().to_string()]);
    assert!(stderr.contains("cat"), "{stderr}");
}
