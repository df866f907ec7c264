//! Folders of pictures on the command line.

use std::path::Path;

use crate::common::pictures::{Tree, encoded, gradient};
use crate::common::{gtc, json, refuse, succeed, write_data};
use gtc::checkpoint;
use gtc::data::{Images, read_folder};
use image::{DynamicImage, GrayImage, ImageFormat};

/// Writes images as PNG files, each named after its number, in folders named after their labels.
fn as_pictures(images: &Images, folder: &Path) {
    for i in 0..images.count() {
        let class = folder.join(images.labels[i].to_string());
        std::fs::create_dir_all(&class).unwrap();
        let picture = GrayImage::from_raw(28, 28, images.image(i).to_vec()).unwrap();
        picture.save(class.join(format!("{i:05}.png"))).unwrap();
    }
}

#[test]
fn idx_files_and_their_pictures_train_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_data(Path::new(&at("idx/data")), 100, 30);
    let data = read_folder(Path::new(&at("idx/data"))).unwrap();
    as_pictures(&data.train, Path::new(&at("png/data/train")));
    as_pictures(&data.test, Path::new(&at("png/data/test")));
    for kind in ["idx", "png"] {
        let (data, out) = (at(&format!("{kind}/data")), at(&format!("run-{kind}")));
        let start = [
            "train",
            "lenet-small",
            "--epochs",
            "1",
            "--batch-size",
            "20",
            "--shift",
            "1",
        ];
        succeed(&[&start[..], &["--data", &data, "--out", &out]].concat());
    }
    let model = |run: &str| checkpoint::load(Path::new(&at(run))).unwrap().snapshot;
    assert!(model("run-idx") == model("run-png"));
    let trained = checkpoint::load(Path::new(&at("run-png"))).unwrap();
    assert_eq!(trained.header.classes[9], "9");
    // A model is tested on folders by the names of its classes.
    let run = at("run-png");
    let idx = json(&["eval", &run, "--data", &at("idx/data"), "--json"]);
    let png = json(&["eval", &run, "--data", &at("png/data"), "--json"]);
    assert_eq!(idx, png);
    std::fs::remove_dir_all(at("png/data/train/3")).unwrap();
    std::fs::remove_dir_all(at("png/data/test/3")).unwrap();
    let fewer = json(&["eval", &run, "--data", &at("png/data"), "--json"]);
    assert_eq!(fewer["images"], 27);
    // A model of the program takes as many classes as there are; a description that says ten does not.
    let nine = at("nine");
    succeed(&[
        "train",
        "lenet-small",
        "--data",
        &at("png/data"),
        "--epochs",
        "1",
        "--out",
        &nine,
    ]);
    let description = at("ten.toml");
    std::fs::write(&description, succeed(&["models", "show", "lenet-small"])).unwrap();
    let train = [
        "train",
        &description,
        "--data",
        &at("png/data"),
        "--out",
        &at("never"),
    ];
    refuse(&train, &["tells 10 classes apart", "the data have 9"]);
    refuse(&[&train[..], &["--image-size", "30"]].concat(), &["9"]);
    let eval = [
        "eval",
        &nine,
        "--data",
        &at("png/data"),
        "--image-size",
        "30",
    ];
    refuse(&eval, &["30x30", "28x28"]);
}

#[test]
fn a_run_and_its_evaluation_split_alike() {
    let tree = Tree::new();
    for class in 0..10 {
        for i in 0..12u8 {
            tree.colour(&format!("{class}/picture{i}.png"), [20 * class, 9 * i, 0]);
        }
    }
    let out = tree.at("../run-of-split").display().to_string();
    let data = tree.0.path().display().to_string();
    let printed = succeed(&[
        "train",
        "lenet-small",
        "--data",
        &data,
        "--test-fraction",
        "0.5",
        "--epochs",
        "1",
        "--batch-size",
        "10",
        "--out",
        &out,
    ]);
    let config = std::fs::read_to_string(Path::new(&out).join("config.toml")).unwrap();
    assert!(config.contains("test_fraction = 0.5"), "{config}");
    let eval = json(&["eval", &out, "--data", &data, "--json"]);
    let tested = format!("{} test images", eval["images"]);
    assert!(printed.contains(&tested), "{tested} in\n{printed}");
    std::fs::remove_dir_all(&out).unwrap();
}

#[test]
fn a_check_shows_what_a_folder_holds() {
    let tree = Tree::two_classes(6);
    tree.write("cat/notes.txt", b"x");
    tree.write("dog/bad.png", b"no picture");
    std::fs::copy(tree.at("cat/0.png"), tree.at("dog/copy.png")).unwrap();
    let grey = DynamicImage::ImageLuma16(image::ImageBuffer::new(40, 20));
    tree.write("cat/grey.png", &encoded(&grey, ImageFormat::Png));
    let data = tree.0.path().display().to_string();
    let sheet = tempfile::tempdir().unwrap().keep().join("sheet.png");
    let shown = sheet.display().to_string();
    let args = [
        "data",
        "check",
        &data,
        "-o",
        &shown,
        "--json",
        "--image-size",
        "32",
    ];
    let output = gtc().args(args).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "a broken picture is a failed check"
    );
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sum = |class: usize| {
        let class = &found["classes"][class];
        class["train"].as_u64().unwrap() + class["test"].as_u64().unwrap()
    };
    assert_eq!((sum(0), sum(1)), (7, 7));
    assert_eq!(found["broken"][0]["file"], "dog/bad.png");
    assert_eq!(found["skipped"]["others"][".txt"], 1);
    assert_eq!(found["modes"]["grey"], 1);
    assert_eq!(found["modes"]["deep"], 1);
    assert_eq!(found["modes"]["colour"], 13);
    assert_eq!(found["largest"], serde_json::json!([20, 40]));
    assert_eq!(found["median"], serde_json::json!([8, 8]));
    let copies = found["in_two_classes"].as_array().unwrap();
    assert_eq!(copies.len(), 1);
    let sheet = image::open(&sheet).unwrap();
    assert!(sheet.width() > 8 * 64 && sheet.height() > 2 * 64);
    let output = gtc().args(&args[..5]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for words in [
        "dog/bad.png",
        "1 .txt",
        "40x20",
        "in two classes",
        "13 colour, 1 grey",
    ] {
        assert!(text.contains(words), "no '{words}' in\n{text}");
    }
    refuse(&["data", "check", "/nowhere"], &["/nowhere"]);
}

#[test]
fn the_cache_is_listed_and_emptied() {
    let tree = Tree::new();
    let png = encoded(&DynamicImage::ImageRgb8(gradient(28, 28)), ImageFormat::Png);
    for class in 0..10 {
        tree.write(&format!("{class}/a.png"), &png);
        tree.write(&format!("{class}/b.png"), &png);
    }
    tree.write("0/bad.jpg", &png[..40]);
    let data = tree.0.path().display().to_string();
    let cache = tempfile::tempdir().unwrap();
    let out = cache.path().join("run").display().to_string();
    let place = cache.path().join("cache");
    let run = |args: &[&str]| {
        let output = gtc()
            .args(args)
            .env("GTC_CACHE_DIR", &place)
            .output()
            .unwrap();
        crate::common::finish(output)
    };
    let train = [
        "train",
        "lenet-small",
        "--data",
        &data,
        "--epochs",
        "1",
        "--batch-size",
        "5",
        "--out",
        &out,
    ];
    let (code, _, stderr) = run(&train);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("0/bad.jpg") && stderr.contains("--skip-broken"),
        "{stderr}"
    );
    assert!(!Path::new(&out).exists(), "nothing was written");
    let (code, _, stderr) = run(&[&train[..], &["--skip-broken"]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("1 broken picture(s) left out"), "{stderr}");
    std::fs::write(place.join("mine.txt"), b"not of the cache").unwrap();
    let (_, listed, _) = run(&["data", "cache"]);
    assert!(
        listed.contains("20 images of 28x28x1") && listed.contains(&data),
        "{listed}"
    );
    let (_, cleared, _) = run(&["data", "cache", "--clear"]);
    assert!(cleared.contains("1 data set(s) removed"), "{cleared}");
    let (_, listed, _) = run(&["data", "cache", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["files"].as_array().unwrap().len(), 0);
    assert!(place.join("mine.txt").exists());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let tree = Tree::two_classes(2);
    let data = tree.0.path().display().to_string();
    let attempt = |flags: &[&str], words: &[&str]| {
        let start = [
            "train",
            "lenet-small",
            "--data",
            &data,
            "--out",
            "/tmp/gtc-never",
        ];
        refuse(&[&start[..], flags].concat(), words);
    };
    attempt(&["--image-size", "big"], &["--image-size big", "48x64"]);
    attempt(
        &["--image-size", "5000"],
        &["--image-size 5000x5000", "1 to 1024"],
    );
    attempt(&["--test-fraction", "1"], &["--test-fraction 1"]);
    attempt(
        &["--background", "mauve"],
        &["--background mauve", "#rrggbb"],
    );
    attempt(&["--resize", "squeeze"], &["squeeze", "crop"]);
    attempt(&["--grey", "--colour"], &["--grey"]);
    refuse(
        &["train", "--random-crop", "0", "--out", "/tmp/gtc-never"],
        &["--random-crop 0", "0.05 to 1"],
    );
    refuse(
        &["train", "--jitter", "2", "--out", "/tmp/gtc-never"],
        &["--jitter 2"],
    );
    assert!(!Path::new("/tmp/gtc-never").exists());
}
