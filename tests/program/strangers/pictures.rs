//! Pictures are answered one by one, whatever is beside them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use gtc::data::embedded_digits;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, ImageFormat};
use serde_json::Value;

use crate::common::{finish, gtc, json, refuse, run, succeed, trained};

fn model() -> String {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    assets.join("lenet5.gtc").display().to_string()
}

struct Folder(tempfile::TempDir);

impl Folder {
    /// Three digits, and two files that are no pictures.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in ["a.png", "b.webp", "c.bmp"] {
            fs::write(folder.at(name), folder.digit(name)).unwrap();
        }
        fs::write(folder.at("broken.png"), b"\x89PNG\r\n\x1a\nrest").unwrap();
        let jpeg = folder.digit("x.jpg");
        fs::write(folder.at("half.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
        folder
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A digit of the test set, in the format that the name says.
    fn digit(&self, name: &str) -> Vec<u8> {
        let digits = embedded_digits().unwrap().test;
        let image = GrayImage::from_raw(28, 28, digits.image(0).to_vec()).unwrap();
        let image = DynamicImage::ImageLuma8(image).into_rgb8();
        let mut bytes = std::io::Cursor::new(Vec::new());
        match name.rsplit_once('.').unwrap().1 {
            "jpg" => image
                .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 100))
                .unwrap(),
            suffix => {
                let format = ImageFormat::from_extension(suffix).unwrap();
                image.write_to(&mut bytes, format).unwrap();
            }
        }
        bytes.into_inner()
    }
}

fn rows(words: &[&str], code: i32) -> Vec<Value> {
    let (found, stdout, stderr) = run(words);
    assert_eq!(found, code, "{words:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn broken_pictures_leave_the_others_their_answers() {
    let (folder, model) = (Folder::new(), model());
    let names = [
        "a.png",
        "broken.png",
        "b.webp",
        "half.jpg",
        "missing.png",
        "c.bmp",
    ];
    let named: Vec<String> = names.iter().map(|name| folder.at(name)).collect();
    let mut words = vec!["classify", &model, "--json"];
    words.extend(named.iter().map(String::as_str));
    let wanted: u64 = embedded_digits().unwrap().test.labels[0].into();
    let found = rows(&words, 1);
    assert_eq!(found.len(), names.len());
    for (row, name) in found.iter().zip(names) {
        let good = ["a.png", "b.webp", "c.bmp"].contains(&name);
        match good {
            true => assert_eq!(row["class"], wanted.to_string(), "{name}"),
            false => assert!(row["error"].as_str().unwrap().contains(name), "{row}"),
        }
    }
    // The whole folder holds the same, without the missing one.
    let all = folder.at("");
    assert_eq!(rows(&["classify", &model, "--json", &all], 1).len(), 5);
    // One alone is an error of the whole command.
    refuse(
        &["classify", &model, &folder.at("half.jpg")],
        &["half.jpg", "not a picture"],
    );
    refuse(
        &["classify", &model, &folder.at("missing.png")],
        &["missing.png"],
    );
}

#[test]
fn a_picture_that_is_unlike_all_others_is_doubted() {
    let (model, data) = trained();
    let folder = Folder::new();
    let images = gtc::data::read_folder(data.as_ref()).unwrap().test;
    let save = |name: &str, pixels: Vec<u8>| {
        let image = GrayImage::from_raw(28, 28, pixels).unwrap();
        image.save(folder.at(name)).unwrap();
    };
    save("like.png", images.image(3).to_vec());
    // A chessboard with a dark border, which is not taken for dark on light.
    let square = |i: usize| {
        let (y, x) = (i / 28, i % 28);
        let inside = (1..27).contains(&y) && (1..27).contains(&x);
        255 * u8::from(inside && (y + x) % 2 == 0)
    };
    save("unlike.png", (0..784).map(square).collect());
    let (like, unlike) = (folder.at("like.png"), folder.at("unlike.png"));
    let found = json(&["classify", model, &like, &unlike, "--json"]);
    assert_eq!(found[0]["unlike"], Value::Null);
    assert!(
        found[1]["unlike"]
            .as_str()
            .unwrap()
            .contains("than what the model learned")
    );
    let text = succeed(&["classify", model, &unlike]);
    assert!(text.contains("doubtful"), "{text}");
    // A packed model knows it too.
    let packed = folder.at("m.gtc");
    succeed(&["pack", model, "-o", &packed]);
    let found = json(&["classify", &packed, &like, &unlike, "--json"]);
    assert_eq!(found[0]["unlike"], Value::Null);
    assert!(found[1]["unlike"].is_string(), "{found}");
}

/// Grey pictures on light ground, of another shape than the model's: what was learned in one form is read in that form.
#[test]
fn pictures_are_read_as_those_that_were_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (class, top) in [("above", 8), ("below", 40)] {
        fs::create_dir_all(folder.path().join("pictures").join(class)).unwrap();
        for i in 0..40u32 {
            let image = GrayImage::from_fn(40, 70, |x, y| {
                let inside = (top..top + 20).contains(&y) && (8 + i % 8..24 + i % 8).contains(&x);
                image::Luma([if inside { 30 } else { 235 - (i % 5) as u8 }])
            });
            image
                .save(at(&format!("pictures/{class}/{i}.png")))
                .unwrap();
        }
    }
    let model = r#"
        name = "small"
        input = [24, 24, 1]
        nodes = [
          { op = "conv", outputs = 8, kernel = 5, stride = 3 },
          { op = "relu" },
          { name = "classes", op = "dense", outputs = "data" },
        ]
    "#;
    fs::write(at("small.toml"), model).unwrap();
    let (pictures, out) = (at("pictures"), at("run"));
    let train = [
        "train",
        &at("small.toml"),
        "--data",
        &pictures,
        "--out",
        &out,
    ];
    let more = [
        "--resize",
        "pad",
        "--background",
        "#808080",
        "--epochs",
        "12",
        "--batch-size",
        "8",
    ];
    succeed(&[&train[..], &more].concat());
    let packed = at("run/model.gtc");
    succeed(&["pack", &out]);
    for model in [&out, &packed] {
        for class in ["above", "below"] {
            let found = json(&[
                "classify",
                model,
                &at(&format!("pictures/{class}")),
                "--json",
            ]);
            for row in found.as_array().unwrap() {
                assert_eq!(row["class"], class, "{model}: {row}");
                assert_eq!(row["inverted"], false, "{row}");
                assert_eq!(row["unlike"], Value::Null, "{row}");
            }
        }
    }
    // Wherever the files go, test pictures are read like those of training, which cropped ones are not.
    let away = at("away.safetensors");
    succeed(&["export", &out, "--to", "gtc", "-o", &away]);
    fs::create_dir(at("elsewhere")).unwrap();
    let moved = at("elsewhere/net.gtc");
    fs::copy(&packed, &moved).unwrap();
    for (there, file) in [(&out, &away), (&packed, &moved)] {
        let [here, there] =
            [file, there].map(|model| json(&["eval", model, "--data", &pictures, "--json"]));
        assert_eq!(here, there, "{file}");
    }
    let [as_read, cropped] = ["pad", "crop"].map(|resize| {
        json(&[
            "eval", &away, "--data", &pictures, "--resize", resize, "--json",
        ])
    });
    assert_eq!(as_read, json(&["eval", &out, "--json"]));
    assert_ne!(as_read, cropped);
}

#[test]
fn patterns_that_no_shell_has_replaced_are_replaced_here() {
    let (folder, model) = (Folder::new(), model());
    let pattern = folder.at("[a-c].*");
    let found = json(&["classify", &model, "--json", &pattern]);
    assert_eq!(found.as_array().unwrap().len(), 3);
    refuse(
        &["classify", &model, &folder.at("*.tiff")],
        &["no file fits"],
    );
    // A file that is called like a pattern is meant itself.
    fs::copy(folder.at("a.png"), folder.at("[x].png")).unwrap();
    let found = json(&["classify", &model, "--json", &folder.at("[x].png")]);
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[test]
fn a_picture_may_come_from_standard_input_or_a_pipe() {
    let (folder, model) = (Folder::new(), model());
    let answer = |bytes: &[u8]| {
        let mut child = gtc()
            .args(["classify", &model, "--json", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        finish(child.wait_with_output().unwrap())
    };
    let (code, stdout, stderr) = answer(&folder.digit("x.png"));
    assert_eq!(code, 0, "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let file = json(&["classify", &model, "--json", &folder.at("a.png")]);
    assert_eq!(found[0]["probabilities"], file[0]["probabilities"]);
    let (code, _, stderr) = answer(b"");
    assert_eq!(code, 2);
    assert!(stderr.contains("empty"), "{stderr}");
    #[cfg(unix)]
    {
        let pipe = folder.at("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let (bytes, into) = (folder.digit("x.png"), pipe.clone());
        let writer = std::thread::spawn(move || fs::write(into, bytes).unwrap());
        let found = json(&["classify", &model, "--json", &pipe]);
        writer.join().unwrap();
        assert_eq!(found[0]["probabilities"], file[0]["probabilities"]);
    }
}
