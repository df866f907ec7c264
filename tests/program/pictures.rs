//! Pictures as people make them are read as well as the images of a data set.

use std::path::Path;

use crate::common::packing::device;
use crate::common::{json, refuse, run, succeed};
use gtc::data::{Images, embedded_digits};
use gtc::infer::{Inference, best};
use gtc::picture::{Look, Picture, prepare};
use gtc::rng::Philox;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use pollster::block_on;

/// How many digits of a thousand may be read wrongly beyond those that are read wrongly as they are.
const MARGIN: usize = 20;

fn model() -> String {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    assets.join("lenet5.gtc").display().to_string()
}

/// A digit enlarged by a whole factor, between pixels linearly: ink from 0 to 1.
fn enlarged(digit: &[u8], factor: usize) -> Vec<f64> {
    let side = 28 * factor;
    let at = |row: isize, column: isize| {
        let inside = (0..28).contains(&row) && (0..28).contains(&column);
        let pixel = |row, column| f64::from(digit[row as usize * 28 + column as usize]) / 255.0;
        if inside { pixel(row, column) } else { 0.0 }
    };
    let place = |i: usize| (i as f64 + 0.5) / factor as f64 - 0.5;
    let pixel = |i: usize| {
        let (y, x) = (place(i / side), place(i % side));
        let (top, left) = (y.floor(), x.floor());
        let (down, right) = (y - top, x - left);
        let (row, column) = (top as isize, left as isize);
        let line = |row| at(row, column) * (1.0 - right) + at(row, column + 1) * right;
        line(row) * (1.0 - down) + line(row + 1) * down
    };
    (0..side * side).map(pixel).collect()
}

/// A sheet with a digit on it.
struct Sheet {
    width: usize,
    height: usize,
    factor: usize,
    /// Column and row of the digit's upper left corner.
    corner: [usize; 2],
}

const LARGE: Sheet = Sheet {
    width: 120,
    height: 120,
    factor: 4,
    corner: [4, 4],
};
const IN_THE_CORNER: Sheet = Sheet {
    width: 500,
    height: 300,
    factor: 4,
    corner: [388, 188],
};

impl Sheet {
    /// The sheet with each pixel coloured by its ink, 0 to 1.
    fn draw(&self, digit: &[u8], mut colour: impl FnMut(f64) -> [u8; 4]) -> RgbaImage {
        let side = 28 * self.factor;
        let ink = enlarged(digit, self.factor);
        RgbaImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let (x, y) = (x as usize, y as usize);
            let [left, top] = self.corner;
            let inside = (left..left + side).contains(&x) && (top..top + side).contains(&y);
            let ink = match inside {
                true => ink[(y - top) * side + x - left],
                false => 0.0,
            };
            Rgba(colour(ink))
        })
    }
}

fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn grey(value: f64) -> [u8; 4] {
    let value = byte(value);
    [value, value, value, 255]
}

fn on_white(ink: f64) -> [u8; 4] {
    grey(255.0 * (1.0 - ink))
}

fn transparent_black(ink: f64) -> [u8; 4] {
    [0, 0, 0, byte(255.0 * ink)]
}

/// Every test digit drawn in one way, as the model reads it.
fn drawn(digits: &Images, draw: impl Fn(usize, &[u8]) -> RgbaImage) -> Images {
    let mut images = Images {
        pixels: Vec::new().into(),
        labels: digits.labels.clone(),
        ..*digits
    };
    for i in 0..digits.count() {
        let image = draw(i, digits.image(i));
        let width = image.width() as usize;
        let picture = Picture::new(width, image.into_raw()).unwrap();
        let prepared = prepare(&picture, Look::Digits, [28, 28, 1]);
        assert!(!prepared.blank, "digit {i}");
        images.pixels.extend(prepared.pixels);
    }
    images
}

#[test]
fn digits_are_read_however_they_are_drawn() {
    let digits = embedded_digits().unwrap().test;
    let file = std::fs::read(model()).unwrap();
    let packed = gtc::pack::decode("lenet5.gtc", &file).unwrap();
    let mut inference = Inference::new(device(), packed, 100, None).unwrap();
    let mut wrong = |images: &Images| {
        let logits = block_on(inference.infer(images, |_| ())).unwrap();
        let pairs = logits.iter().zip(&digits.labels);
        pairs
            .filter(|(l, label)| best(l) != usize::from(**label))
            .count()
    };
    let plain = wrong(&digits);
    let mut check = |way: &str, images: &Images| {
        let found = wrong(images);
        println!("{way}: {found} of 1000 wrong, {plain} as they are");
        assert!(
            found <= plain + MARGIN,
            "{way}: {found} wrong, {plain} as they are"
        );
    };
    let way = |sheet: &'static Sheet, colour: fn(f64) -> [u8; 4]| {
        drawn(&digits, |_, digit| sheet.draw(digit, colour))
    };
    check("dark on white", &way(&LARGE, on_white));
    check("light on black", &way(&LARGE, |ink| grey(255.0 * ink)));
    check("black ink, transparent", &way(&LARGE, transparent_black));
    let white_ink = |ink: f64| [255, 255, 255, byte(255.0 * ink)];
    check("white ink, transparent", &way(&LARGE, white_ink));
    check("small, in a corner", &way(&IN_THE_CORNER, on_white));
    let colours = |ink: f64| {
        let mix = |paper: f64, pen: f64| byte(paper + ink * (pen - paper));
        [mix(250.0, 20.0), mix(240.0, 30.0), mix(200.0, 160.0), 255]
    };
    check("blue on yellow", &way(&LARGE, colours));
    let paper = drawn(&digits, |i, digit| {
        let mut grain = Philox::new(9, i as u64);
        LARGE.draw(digit, |ink| {
            grey(166.0 - 106.0 * ink + grain.below(9) as f64)
        })
    });
    check("grey paper", &paper);
}

/// A JPEG file that says how it is to be turned, as cameras do.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    exif.extend([0; 4]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

fn jpeg(picture: RgbaImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgba8(picture).into_rgb8();
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// A folder of picture files, some of them below another.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        self.path(name)
    }

    fn save(&self, name: &str, picture: &RgbaImage) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        picture.save(&path).unwrap();
        path
    }
}

#[test]
fn files_of_every_kind_are_read_as_the_same_digit() {
    let digits = embedded_digits().unwrap().test;
    let folder = Folder::new();
    // Of each of some classes, the first digit.
    for label in [2u8, 4, 7] {
        let i = digits
            .labels
            .iter()
            .position(|l| *l == u16::from(label))
            .unwrap();
        let digit = digits.image(i);
        let name = |kind: &str| format!("{label}/{kind}");
        let upright = LARGE.draw(digit, on_white);
        let turned = DynamicImage::ImageRgba8(upright.clone()).rotate270();
        let paths = [
            folder.save(
                &name("clear.png"),
                &IN_THE_CORNER.draw(digit, transparent_black),
            ),
            folder.write(&name("plain.jpg"), &jpeg(upright.clone())),
            folder.write(
                &name("turned.jpg"),
                &with_orientation(&jpeg(turned.into_rgba8()), 6),
            ),
        ];
        let mut args = vec!["classify", "MODEL", "--json"];
        let model = model();
        args[1] = &model;
        args.extend(paths.iter().map(String::as_str));
        for answer in json(&args).as_array().unwrap() {
            assert_eq!(answer["class"], label.to_string(), "{answer}");
            assert_eq!(answer["inverted"], true, "{answer}");
            assert_eq!(answer["blank"], false, "{answer}");
        }
        // Without the word of the camera it lies on its side, and is prepared otherwise.
        let lying = folder.write(&name("lying.jpg"), &jpeg(turned_by(&upright)));
        let both = json(&["classify", &model, &paths[2], &lying, "--json"]);
        assert_ne!(both[0]["probabilities"], both[1]["probabilities"]);
    }
}

fn turned_by(upright: &RgbaImage) -> RgbaImage {
    image::imageops::rotate270(upright)
}

#[test]
fn a_folder_is_walked_and_what_cannot_be_read_is_counted() {
    let digits = embedded_digits().unwrap().test;
    let (folder, model) = (Folder::new(), model());
    let sheet = |i: usize| LARGE.draw(digits.image(i), on_white);
    folder.save("b.png", &sheet(0));
    folder.save("a/z.PNG", &sheet(500));
    folder.write("c.jpg", &jpeg(sheet(900)));
    folder.write("notes.txt", b"no picture");
    folder.save(".hidden.png", &sheet(1));
    let root = folder.path("");
    let text = succeed(&["classify", &model, &root, "--top", "3"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, name) in lines.iter().zip(["a/z.PNG", "b.png", "c.jpg"]) {
        assert!(line.contains(name), "{line}");
        assert_eq!(line.matches(" %").count(), 3, "{line}");
    }
    let rows = json(&["classify", &model, &root, "--top", "3", "--json"]);
    let row = &rows[1];
    let top = row["top"].as_array().unwrap();
    assert_eq!(top.len(), 3);
    assert_eq!(top[0]["class"], row["class"]);
    let probability = |i: usize| top[i]["probability"].as_f64().unwrap();
    assert!(probability(0) >= probability(1) && probability(1) >= probability(2));
    assert_eq!(row["class"], digits.labels[0].to_string());

    folder.write("broken.png", b"no picture either");
    let (code, stdout, stderr) = run(&["classify", &model, &root]);
    assert_eq!(code, 1, "{stdout}\n{stderr}");
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    assert!(stderr.contains("broken.png"), "{stderr}");
    assert!(stderr.contains("1 of 4 pictures"), "{stderr}");
    let (code, stdout, _) = run(&["classify", &model, &root, "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 1);
    let failed = &rows[2];
    assert!(failed["image"].as_str().unwrap().ends_with("broken.png"));
    assert!(failed["error"].as_str().unwrap().contains("not a picture"));

    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().display().to_string();
    refuse(
        &["classify", &model, &empty],
        &[&empty, "no pictures", ".png"],
    );
}

#[test]
fn an_empty_picture_is_called_blank() {
    let (folder, model) = (Folder::new(), model());
    let white = folder.save("white.png", &RgbaImage::from_pixel(90, 50, Rgba([255; 4])));
    let clear = folder.save("clear.png", &RgbaImage::new(90, 50));
    let text = succeed(&["classify", &model, &white, &clear]);
    assert_eq!(text.matches("blank").count(), 2, "{text}");
}

#[test]
fn auto_encoders_read_pictures_in_the_same_way() {
    let digits = embedded_digits().unwrap().test;
    let folder = Folder::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vae-mlp.safetensors");
    let model = model.display().to_string();
    let clear = folder.save("clear.png", &LARGE.draw(digits.image(3), transparent_black));
    let white = folder.save("white.png", &LARGE.draw(digits.image(3), on_white));
    let out = folder.path("pairs.png");
    succeed(&["reconstruct", &model, &clear, &white, "-o", &out]);
    // Both originals stand beside each other behind their caption, 28 columns of two pixels and a gap, and are the same digit.
    let found = image::open(&out).unwrap().into_luma8();
    let original = |number: u32| -> Vec<u8> {
        let left = found.width() - 8 - (2 - number) * 58;
        let pixel = |i: u32| found.get_pixel(left + 2 * (i % 28), 8 + 2 * (i / 28)).0[0];
        (0..784).map(pixel).collect()
    };
    let apart = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(original(0).iter().any(|v| *v > 200));
    assert!(apart(&original(0), &original(1)) <= 2);
    let walk = folder.path("walk.png");
    succeed(&["interpolate", &model, &clear, &white, "-o", &walk]);
    // A data set's image stays what it is.
    let plain = GrayImage::from_fn(28, 28, |x, y| {
        Luma([digits.image(3)[(28 * y + x) as usize]])
    });
    let path = folder.path("plain.png");
    plain.save(&path).unwrap();
    succeed(&["reconstruct", &model, &path, "-o", &out]);
    let found = image::open(&out).unwrap().into_luma8();
    let left = found.width() - 8 - 58;
    let pixel = |i: u32| found.get_pixel(left + 2 * (i % 28), 8 + 2 * (i / 28)).0[0];
    let shown: Vec<u8> = (0..784).map(pixel).collect();
    assert_eq!(shown, digits.image(3));
    refuse(
        &["reconstruct", &model, "/nowhere/x.png"],
        &["/nowhere/x.png"],
    );
}
