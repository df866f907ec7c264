//! Files that version 0.1.0 wrote are read by the program of today as they were then. How they were made
//! stands in `tests/files/README.md`.

use std::path::Path;

use crate::common::{json, succeed};
use gtc::data::embedded_digits;
use image::{GrayImage, RgbImage};
use serde_json::Value;

/// Probabilities may differ by this much: kernels may sum in another order.
const TOLERANCE: f64 = 2e-3;

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    folder.join(name).display().to_string()
}

fn recorded(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file(name)).unwrap()).unwrap()
}

/// Ten embedded test digits as PNG files.
fn digits(folder: &Path) -> Vec<String> {
    let test = embedded_digits().unwrap().test;
    let one = |n: usize| {
        let path = folder.join(format!("{n}.png"));
        let pixels = test.image(100 * n).to_vec();
        GrayImage::from_raw(28, 28, pixels)
            .unwrap()
            .save(&path)
            .unwrap();
        path.display().to_string()
    };
    (0..10).map(one).collect()
}

/// The ten generated colour pictures as PNG files.
fn colours(folder: &Path) -> Vec<String> {
    let one = |n: u32| {
        let path = folder.join(format!("{n}.png"));
        let channel = |x: u32, y: u32, c: u32| {
            let place = (y / 8) * (40 + 5 * n) + (x / 4) * (9 * n + 11);
            ((37 * n + place + 71 * c * (n % 3)) % 256) as u8
        };
        let pixel = |x, y| image::Rgb([0, 1, 2].map(|c| channel(x, y, c)));
        RgbImage::from_fn(32, 32, pixel).save(&path).unwrap();
        path.display().to_string()
    };
    (0..10).map(one).collect()
}

fn classify_as_recorded(model: &str, pictures: &[String], record: &str) {
    let model = file(model);
    let mut args = vec!["classify", &model, "--json"];
    args.extend(pictures.iter().map(String::as_str));
    let found = json(&args);
    let wanted = recorded(record);
    let (found, wanted) = (found.as_array().unwrap(), wanted.as_array().unwrap());
    assert_eq!(found.len(), wanted.len());
    for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found["class"], wanted["class"], "{model}, picture {number}");
        let all = |row: &Value| -> Vec<f64> {
            let row = row["probabilities"].as_array().unwrap();
            row.iter().map(|p| p.as_f64().unwrap()).collect()
        };
        for (found, wanted) in all(found).into_iter().zip(all(wanted)) {
            assert!(
                (found - wanted).abs() < TOLERANCE,
                "{model}, picture {number}: {found}, recorded {wanted}"
            );
        }
    }
}

#[test]
fn a_checkpoint_of_version_1_classifies_as_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = digits(folder.path());
    classify_as_recorded("lenet-small.safetensors", &pictures, "lenet-small.json");
}

#[test]
fn half_precision_weights_with_batch_normalisation_classify_as_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = colours(folder.path());
    classify_as_recorded("vgg-tiny.safetensors", &pictures, "vgg-tiny.json");
}

#[test]
fn a_packed_file_of_version_1_gives_the_same_integers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.json").display().to_string();
    succeed(&["eval", &file("lenet-small.gtc"), "--logits", &out]);
    let found: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let wanted = recorded("lenet-small-logits.json");
    assert_eq!(found["logit_scale"], wanted["logit_scale"]);
    for number in 0..10 {
        assert_eq!(
            found["logits"][100 * number],
            wanted["logits"][number],
            "digit {}",
            100 * number
        );
    }
}

#[test]
fn a_packed_file_of_version_2_draws_the_same_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("samples.png").display().to_string();
    let model = file("vae-mlp.gtc");
    succeed(&[
        "sample", &model, "--count", "10", "--seed", "1", "--scale", "1", "-o", &out,
    ]);
    // Four columns and three rows of 28 x 28 pixels below a caption, which is drawn in another font now.
    let pixels = |path: &str| {
        let picture = image::open(path).unwrap().into_rgb8();
        image::imageops::crop_imm(&picture, 8, 22, 4 * 29, 3 * 29).to_image()
    };
    let wanted = pixels(&file("vae-mlp-samples.png"));
    assert_eq!(pixels(&out), wanted);
}
