//! Folders of pictures: which files are read, what they become, and what is kept of them.

mod common;

use std::path::{Path, PathBuf};

use gtc::data::folder::{FolderOptions, Loaded, Resize, open_folder, read_pictures};
use gtc::data::{Images, read_folder};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::TempDir;

const QUIET: &(dyn Fn(usize, usize) + Sync) = &|_, _| ();

/// A data folder that is removed with the test.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.at(name), bytes).unwrap();
    }

    /// A picture of one colour.
    fn colour(&self, name: &str, rgb: [u8; 3]) {
        RgbImage::from_pixel(8, 8, Rgb(rgb))
            .save(self.at(name))
            .unwrap();
    }

    fn folder(&self, name: &str) {
        std::fs::create_dir_all(self.at(name)).unwrap();
    }

    /// Two classes with `count` pictures each.
    fn two_classes(count: usize) -> Self {
        let tree = Self::new();
        for i in 0..count {
            tree.colour(&format!("cat/{i}.png"), [200, i as u8, 0]);
            tree.colour(&format!("dog/{i}.png"), [0, i as u8, 200]);
        }
        tree
    }

    fn load(&self, options: &FolderOptions) -> Result<Loaded, String> {
        read_pictures(self.0.path(), options, QUIET).map_err(|e| e.to_string())
    }

    /// Loads with the smallest options; must succeed.
    fn loaded(&self) -> Loaded {
        self.load(&small()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Demands an error that names all of `words`.
    fn refused(&self, words: &[&str]) {
        let error = self.load(&small()).map(|_| ()).unwrap_err();
        for word in words {
            assert!(error.contains(word), "no '{word}' in\n{error}");
        }
    }
}

fn small() -> FolderOptions {
    FolderOptions {
        size: [8, 8],
        ..FolderOptions::default()
    }
}

fn count(images: &Images, label: u16) -> usize {
    images.labels.iter().filter(|l| **l == label).count()
}

fn warned(loaded: &Loaded, words: &[&str]) {
    let found = loaded
        .warnings
        .iter()
        .any(|w| words.iter().all(|word| w.contains(word)));
    assert!(found, "{words:?} in none of {:?}", loaded.warnings);
}

/// One picture as both a training and a test picture of two classes; returns its bytes as read.
fn seen(name: &str, bytes: &[u8], options: &FolderOptions) -> Result<Images, String> {
    let tree = Tree::new();
    for part in ["train", "test"] {
        for class in ["a", "b"] {
            tree.write(&format!("{part}/{class}/{name}"), bytes);
        }
    }
    Ok(tree.load(options)?.data.train)
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture with a different colour at every place, smooth enough for JPEG.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    })
}

#[test]
fn classes_are_in_the_order_of_code_points_and_split_by_a_fraction() {
    let tree = Tree::new();
    for class in ["cat", "ant", "Zebra", "9", "10"] {
        for i in 0..50 {
            tree.colour(&format!("{class}/{class}-{i}.png"), [i, 0, 0]);
        }
    }
    let data = tree.loaded().data;
    assert_eq!(data.classes, ["10", "9", "Zebra", "ant", "cat"]);
    for label in 0..5 {
        let test = count(&data.test, label);
        assert_eq!(count(&data.train, label) + test, 50);
        assert!((3..20).contains(&test), "{test} of 50");
    }
    // Not all of one class first: `--limit` and calibration take the first ones.
    let first: Vec<u16> = data.train.labels[..20].to_vec();
    assert!(
        (0..5).filter(|label| first.contains(label)).count() >= 4,
        "{first:?}"
    );
}

#[test]
fn every_spelling_of_the_test_folder_is_found() {
    for part in ["val", "valid", "validation", "test", "Test"] {
        let tree = Tree::new();
        for class in ["a", "b"] {
            tree.colour(&format!("train/{class}/1.png"), [1, 2, 3]);
            tree.colour(&format!("train/{class}/2.png"), [1, 2, 3]);
            tree.colour(&format!("{part}/{class}/1.png"), [4, 5, 6]);
        }
        let data = tree.loaded().data;
        assert_eq!((data.train.count(), data.test.count()), (4, 2), "{part}");
        assert_eq!(data.test.image(0)[..3], [4, 5, 6]);
    }
    let tree = Tree::two_classes(3);
    tree.colour("train/loco.png", [1, 1, 1]);
    tree.colour("train/wagon.png", [1, 1, 1]);
    assert_eq!(tree.loaded().data.classes, ["cat", "dog", "train"]);
}

#[test]
fn a_test_folder_wins_over_a_validation_folder_which_is_named() {
    let tree = Tree::new();
    for part in ["train", "val", "test"] {
        for class in ["a", "b"] {
            tree.colour(&format!("{part}/{class}/{part}.png"), [part.len() as u8; 3]);
        }
    }
    let loaded = tree.loaded();
    assert_eq!(loaded.data.test.image(0)[0], 4);
    warned(&loaded, &["val", "not read"]);
}

#[test]
fn a_train_folder_alone_is_split() {
    let tree = Tree::new();
    for i in 0..10 {
        tree.colour(&format!("train/a/{i}.png"), [i, 0, 0]);
        tree.colour(&format!("train/b/{i}.png"), [i, 0, 0]);
    }
    let data = tree.loaded().data;
    assert_eq!(data.classes, ["a", "b"]);
    assert_eq!(data.train.count() + data.test.count(), 20);
}

#[test]
fn what_is_no_picture_is_skipped_and_counted() {
    let tree = Tree::two_classes(3);
    tree.write("cat/._0.jpg", b"resource fork");
    tree.write("cat/.DS_Store", b"x");
    tree.write(".git/objects/1.png", b"x");
    tree.write("cat/notes.txt", b"x");
    tree.write("dog/Thumbs.db", b"x");
    tree.write("LICENCE", b"x");
    tree.colour("dog/deep/er/3.png", [0, 0, 9]);
    let upper = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Png);
    tree.write("dog/BIG.PNG", &upper);
    let loaded = tree.loaded();
    assert_eq!(loaded.data.classes, ["cat", "dog"]);
    assert_eq!(loaded.data.train.count() + loaded.data.test.count(), 8);
    assert_eq!(loaded.skipped.hidden, 3);
    assert_eq!(loaded.skipped.others[".txt"], 1);
    assert_eq!(loaded.skipped.others[".db"], 1);
    assert_eq!(loaded.skipped.others["without an ending"], 1);
    assert_eq!(loaded.skipped.count(), 6);
}

#[cfg(unix)]
#[test]
fn loops_of_links_end_and_bring_no_picture_of_another_class() {
    use std::os::unix::fs::symlink;
    let tree = Tree::two_classes(3);
    symlink(tree.0.path(), tree.at("cat/up")).unwrap();
    symlink(tree.0.path().join("dog"), tree.at("dog/again")).unwrap();
    symlink(tree.0.path(), tree.at("loop")).unwrap();
    symlink("/nowhere/at/all.png", tree.at("dog/gone.png")).unwrap();
    tree.refused(&["1 broken", "dog/gone.png"]);
    std::fs::remove_file(tree.at("dog/gone.png")).unwrap();
    let elsewhere = Tree::new();
    elsewhere.colour("far/7.png", [7, 7, 7]);
    symlink(elsewhere.0.path().join("far"), tree.at("dog/far")).unwrap();
    let loaded = tree.loaded();
    assert_eq!(loaded.data.classes, ["cat", "dog"]);
    let both = |label| count(&loaded.data.train, label) + count(&loaded.data.test, label);
    assert_eq!((both(0), both(1)), (3, 4));
    assert_eq!(loaded.skipped.links, 3);
    warned(&loaded, &["'loop'", "no picture"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::two_classes(2);
    let odd = tree.0.path().join(OsStr::from_bytes(b"z\xff"));
    std::fs::create_dir(&odd).unwrap();
    let png = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Png);
    for name in [&b"\xfe1.png"[..], b"\xfe2.png", b"3.p\xfeg"] {
        std::fs::write(odd.join(OsStr::from_bytes(name)), &png).unwrap();
    }
    let loaded = tree.loaded();
    assert_eq!(loaded.data.classes[2], "z\u{fffd}");
    assert_eq!(
        count(&loaded.data.train, 2) + count(&loaded.data.test, 2),
        2
    );
    assert_eq!(loaded.skipped.count(), 1);
    std::fs::write(odd.join(OsStr::from_bytes(b"\xfe4.png")), b"no").unwrap();
    tree.refused(&["z\u{fffd}/\u{fffd}4.png"]);
}

#[test]
fn a_list_of_classes_decides_their_order() {
    let tree = Tree::two_classes(3);
    tree.colour("emu/1.png", [1, 1, 1]);
    tree.write("classes.txt", "\u{feff}dog\r\n\r\n cat \r\n".as_bytes());
    let loaded = tree.loaded();
    assert_eq!(loaded.data.classes, ["dog", "cat"]);
    warned(&loaded, &["'emu'", "classes.txt"]);
    tree.write("classes.txt", b"dog\ncow\n");
    tree.refused(&["classes.txt", "'cow'"]);
    tree.write("classes.txt", b"dog\ncat\ndog\n");
    tree.refused(&["classes.txt", "line 3", "'dog'"]);
    tree.write("classes.txt", b"\n \n");
    tree.refused(&["classes.txt", "no class"]);
}

#[test]
fn too_few_pictures_are_named() {
    let tree = Tree::new();
    tree.refused(&["no folder in it holds pictures", "empty"]);
    tree.colour("loose.png", [1, 1, 1]);
    tree.refused(&["no folder in it holds pictures", "loose.png"]);
    tree.colour("cat/1.png", [1, 1, 1]);
    tree.colour("cat/2.png", [1, 1, 1]);
    tree.refused(&["'cat' is the only class"]);
    tree.folder("dog");
    tree.refused(&["'cat' is the only class"]);
    tree.colour("dog/1.png", [1, 1, 1]);
    tree.refused(&["'dog' has a single picture", "second one"]);
    tree.colour("dog/2.png", [1, 1, 1]);
    tree.folder("emu");
    let loaded = tree.loaded();
    assert_eq!(loaded.data.classes, ["cat", "dog"]);
    warned(&loaded, &["'emu'", "no picture"]);
    assert_eq!(
        (loaded.data.train.count(), loaded.data.test.count()),
        (2, 2)
    );
}

#[test]
fn classes_of_one_half_alone_are_named() {
    let tree = Tree::new();
    for class in ["a", "b"] {
        tree.colour(&format!("train/{class}/1.png"), [1, 1, 1]);
    }
    tree.colour("test/a/1.png", [1, 1, 1]);
    warned(&tree.loaded(), &["'b'", "no test picture"]);
    tree.colour("test/c/1.png", [1, 1, 1]);
    tree.refused(&["'c' has test pictures and none to learn from"]);
}

#[test]
fn a_trained_models_classes_decide_the_labels() {
    let tree = Tree::two_classes(3);
    let with = |classes: &[&str]| FolderOptions {
        classes: Some(classes.iter().map(|c| (*c).to_owned()).collect()),
        ..small()
    };
    let data = tree.load(&with(&["emu", "dog", "cat"])).unwrap().data;
    assert_eq!(data.classes, ["emu", "dog", "cat"]);
    assert_eq!(count(&data.train, 0) + count(&data.test, 0), 0);
    assert_eq!(count(&data.train, 2) + count(&data.test, 2), 3);
    let error = tree.load(&with(&["cat", "emu", "cow"])).unwrap_err();
    assert!(error.contains("'dog' is none of the model's"), "{error}");
    let loaded = tree.load(&with(&["Katze", "Hund"])).unwrap();
    warned(&loaded, &["'cat' is taken for 'Katze'"]);
}

#[test]
fn another_picture_moves_no_other_between_the_halves() {
    let tree = Tree::two_classes(40);
    let before = tree.loaded().data;
    tree.colour("cat/more.png", [9, 9, 9]);
    let after = tree.loaded().data;
    let images = |images: &Images| -> Vec<Vec<u8>> {
        (0..images.count())
            .map(|i| images.image(i).to_vec())
            .collect()
    };
    let (train, test) = (images(&after.train), images(&after.test));
    assert!(
        images(&before.train)
            .iter()
            .all(|image| train.contains(image))
    );
    assert!(
        images(&before.test)
            .iter()
            .all(|image| test.contains(image))
    );
    assert_eq!(train.len() + test.len(), 81);
    let half = FolderOptions {
        test_fraction: 0.5,
        ..small()
    };
    let half = tree.load(&half).unwrap().data.test.count();
    assert!((25..56).contains(&half), "{half} of 81");
    for fraction in [0.0, 1.0, -1.0, f64::NAN] {
        let error = tree.load(&FolderOptions {
            test_fraction: fraction,
            ..small()
        });
        assert!(error.unwrap_err().contains("--test-fraction"));
    }
}

#[test]
fn three_hundred_classes_have_labels_beyond_a_byte() {
    let tree = Tree::new();
    let dot = encoded(
        &DynamicImage::ImageLuma8(GrayImage::new(2, 2)),
        ImageFormat::Png,
    );
    for class in 0..300 {
        tree.write(&format!("{class:03}/a.png"), &dot);
        tree.write(&format!("{class:03}/b.png"), &dot);
    }
    let options = FolderOptions {
        size: [2, 2],
        ..small()
    };
    let data = tree.load(&options).unwrap().data;
    assert_eq!(data.classes.len(), 300);
    let mut labels = data.train.labels.clone();
    labels.sort_unstable();
    assert_eq!(labels, (0..300).collect::<Vec<u16>>());
    for class in 300..1001 {
        tree.write(&format!("{class:04}/a.png"), &dot);
    }
    tree.refused(&["1001 classes", "1000"]);
}

#[test]
fn images_of_an_idx_file_written_out_come_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (idx, png) = (
        folder.path().join("idx/data"),
        folder.path().join("png/data"),
    );
    common::write_data(&idx, 120, 30);
    let data = read_folder(&idx).unwrap();
    as_pictures(&data.train, &png.join("train"));
    as_pictures(&data.test, &png.join("test"));
    let options = FolderOptions {
        size: [28, 28],
        ..FolderOptions::default()
    };
    let again = read_pictures(&png, &options, QUIET).unwrap().data;
    assert!(again.train == data.train && again.test == data.test);
    assert_eq!((again.classes, again.name), (data.classes, data.name));
    let detected = open_folder(&idx, &options, QUIET).unwrap().data;
    assert!(detected.train == data.train);
}

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
fn every_format_is_read_and_grey_stays_grey() {
    let picture = DynamicImage::ImageRgb8(gradient(8, 8));
    for (format, ending) in [
        (ImageFormat::Png, "png"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Gif, "gif"),
        (ImageFormat::Jpeg, "jpeg"),
    ] {
        let images = seen(&format!("p.{ending}"), &encoded(&picture, format), &small()).unwrap();
        assert_eq!(images.channels, 3, "{ending}");
        let far = images.image(0).iter().zip(picture.as_bytes());
        let far = far.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let most = match format {
            ImageFormat::Gif | ImageFormat::Jpeg => 48,
            _ => 0,
        };
        assert!(far <= most, "{ending}: {far}");
    }
    let grey = DynamicImage::ImageLuma8(GrayImage::from_fn(8, 8, |x, _| Luma([x as u8])));
    let images = seen("p.png", &encoded(&grey, ImageFormat::Png), &small()).unwrap();
    assert_eq!(
        (images.channels, images.image(0)[..3].to_vec()),
        (1, vec![0, 1, 2])
    );
    let colour = FolderOptions {
        channels: Some(3),
        ..small()
    };
    let images = seen("p.png", &encoded(&grey, ImageFormat::Png), &colour).unwrap();
    assert_eq!(images.image(0)[..6], [0, 0, 0, 1, 1, 1]);
    let one = FolderOptions {
        channels: Some(1),
        ..small()
    };
    let images = seen("p.png", &encoded(&picture, ImageFormat::Png), &one).unwrap();
    assert_eq!(images.image(0), picture.into_luma8().into_raw());
    // A name that lies about the format does no harm.
    let png = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Png);
    assert!(seen("p.jpg", &png, &small()).is_ok());
}

#[test]
fn transparent_pixels_get_the_background() {
    let clear = RgbaImage::from_fn(8, 8, |x, _| {
        Rgba([255, 0, 0, [0, 128, 255][x.min(2) as usize]])
    });
    let png = encoded(&DynamicImage::ImageRgba8(clear), ImageFormat::Png);
    let white = seen("p.png", &png, &small()).unwrap();
    assert_eq!(
        white.image(0)[..9],
        [255, 255, 255, 255, 127, 127, 255, 0, 0]
    );
    let black = FolderOptions {
        background: [0; 3],
        ..small()
    };
    let black = seen("p.png", &png, &black).unwrap();
    assert_eq!(black.image(0)[..9], [0, 0, 0, 128, 0, 0, 255, 0, 0]);
    let grey = image::GrayAlphaImage::from_pixel(8, 8, LumaA([40, 0]));
    let png = encoded(&DynamicImage::ImageLumaA8(grey), ImageFormat::Png);
    let grey = seen("p.png", &png, &small()).unwrap();
    assert_eq!((grey.channels, grey.image(0)[0]), (1, 255));
}

#[test]
fn sixteen_bits_become_eight() {
    let deep = image::ImageBuffer::from_fn(8, 8, |x, _| Luma([x as u16 * 257]));
    let png = encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png);
    let images = seen("p.png", &png, &small()).unwrap();
    assert_eq!(images.image(0)[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn an_animation_is_its_first_frame() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for colour in [[250, 0, 0, 255], [0, 0, 250, 255]] {
        let frame = RgbaImage::from_pixel(8, 8, Rgba(colour));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let images = seen("p.gif", &bytes, &small()).unwrap();
    assert!(images.image(0)[0] > 200 && images.image(0)[2] < 50);
}

/// A JPEG with an EXIF orientation, as a camera writes it.
fn turned_jpeg(orientation: u8) -> Vec<u8> {
    let mut picture = GrayImage::new(8, 8);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        // The upper left quarter is bright.
        *pixel = Luma([if x < 4 && y < 4 { 250 } else { 5 }]);
    }
    let plain = encoded(&DynamicImage::ImageLuma8(picture), ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() + 2) as u16;
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
    bytes.extend(length.to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn pictures_are_turned_as_their_exif_says() {
    let bright = |options: &FolderOptions, orientation| {
        let images = seen("p.jpg", &turned_jpeg(orientation), options).unwrap();
        let image = images.image(0);
        let corner = |x: usize, y: usize| image[8 * y + x] > 128;
        [corner(1, 1), corner(6, 1), corner(1, 6), corner(6, 6)].map(u8::from)
    };
    assert_eq!(bright(&small(), 1), [1, 0, 0, 0]);
    assert_eq!(bright(&small(), 6), [0, 1, 0, 0], "turned to the right");
    assert_eq!(bright(&small(), 3), [0, 0, 0, 1], "upside down");
    let as_stored = FolderOptions {
        exif: false,
        ..small()
    };
    assert_eq!(bright(&as_stored, 6), [1, 0, 0, 0]);
}

#[test]
fn pictures_of_any_shape_get_the_wanted_one() {
    // 16 x 8: the left quarter black, the middle grey, the right quarter white.
    let wide = GrayImage::from_fn(16, 8, |x, _| Luma([[0, 128, 128, 255][x as usize / 4]]));
    let png = encoded(&DynamicImage::ImageLuma8(wide), ImageFormat::Png);
    let with = |resize, size| {
        let options = FolderOptions {
            resize,
            size,
            ..small()
        };
        let images = seen("p.png", &png, &options).unwrap();
        images.image(0).to_vec()
    };
    assert_eq!(with(Resize::Crop, [8, 8]), [128; 64]);
    let row = with(Resize::Stretch, [8, 8])[..8].to_vec();
    assert!(
        row[0] < 20 && row[3].abs_diff(128) < 20 && row[7] > 235,
        "{row:?}"
    );
    let padded = with(Resize::Pad, [8, 8]);
    assert_eq!(
        (&padded[..16], &padded[48..]),
        (&[255; 16][..], &[255; 16][..])
    );
    assert!(padded[16] < 20);
    assert_eq!(
        with(Resize::Crop, [8, 16])[..16],
        [
            0, 0, 0, 0, 128, 128, 128, 128, 128, 128, 128, 128, 255, 255, 255, 255
        ]
    );
    assert_eq!(with(Resize::Crop, [4, 16]).len(), 64);
}

#[test]
fn very_long_pictures_take_little_memory() {
    let long = GrayImage::from_fn(30_000, 1, |x, _| Luma([if x == 15_000 { 0 } else { 77 }]));
    let png = encoded(&DynamicImage::ImageLuma8(long), ImageFormat::Png);
    for resize in Resize::ALL {
        let options = FolderOptions {
            resize,
            size: [64, 64],
            ..small()
        };
        assert_eq!(
            seen("p.png", &png, &options).unwrap().image(0).len(),
            64 * 64
        );
    }
}

/// A PNG that promises a size and holds next to nothing.
fn promising_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let body = [kind, data].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&body);
        bytes.extend(sum.sum().to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size[..], &[8, 2, 0, 0, 0]].concat());
    chunk(b"IDAT", &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    bytes
}

#[test]
fn a_picture_of_absurd_size_is_refused_by_name() {
    let refused = |name: &str, bytes: &[u8]| {
        let error = seen(name, bytes, &small()).unwrap_err();
        assert!(
            error.contains(name) && error.contains("60000x60000"),
            "{error}"
        );
    };
    refused("huge.png", &promising_png(60_000, 60_000));
    let mut bmp = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    refused("huge.bmp", &bmp);
    let mut jpeg = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    refused("huge.jpg", &jpeg);
}

#[test]
fn broken_pictures_are_all_named_or_skipped() {
    let tree = Tree::two_classes(5);
    let jpeg = encoded(
        &DynamicImage::ImageRgb8(gradient(200, 150)),
        ImageFormat::Jpeg,
    );
    let png = encoded(
        &DynamicImage::ImageRgb8(gradient(200, 150)),
        ImageFormat::Png,
    );
    tree.write("cat/half.jpg", &jpeg[..jpeg.len() / 2]);
    tree.write("cat/nearly.jpg", &jpeg[..jpeg.len() - 2]);
    tree.write("dog/half.png", &png[..png.len() / 2]);
    tree.write("dog/empty.gif", b"");
    tree.write("dog/text.png", b"this is no picture");
    let names = [
        "cat/half.jpg",
        "cat/nearly.jpg",
        "dog/half.png",
        "dog/empty.gif",
        "dog/text.png",
    ];
    tree.refused(&[&["5 broken", "--skip-broken"], &names[..]].concat());
    let skipping = FolderOptions {
        skip_broken: true,
        ..small()
    };
    let loaded = tree.load(&skipping).unwrap();
    assert_eq!(loaded.data.train.count() + loaded.data.test.count(), 10);
    let mut found: Vec<&str> = loaded.broken.iter().map(|b| b.file.as_str()).collect();
    found.sort_unstable();
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    // A film behind the picture, as telephones write it, does no harm.
    tree.write(
        "cat/half.jpg",
        &[&jpeg[..], &[0, 0xff, 0xda, 7, 7]].concat(),
    );
    let loaded = tree.load(&skipping).unwrap();
    assert_eq!(loaded.broken.len(), 4);
    for i in 0..30 {
        tree.write(&format!("cat/broken{i}.png"), b"no");
    }
    tree.refused(&["34 broken", "and 14 more"]);
}

/// Every length of a JPEG that was cut is found.
#[test]
fn no_cut_of_a_jpeg_is_taken_for_a_picture() {
    let jpeg = encoded(
        &DynamicImage::ImageRgb8(gradient(40, 40)),
        ImageFormat::Jpeg,
    );
    let tree = Tree::new();
    let lengths = (0..jpeg.len()).step_by(11);
    let cuts = lengths.clone().count();
    for length in lengths {
        tree.write(&format!("a/{length}.jpg"), &jpeg[..length]);
    }
    for class in ["a", "b"] {
        tree.write(&format!("{class}/whole1.jpg"), &jpeg);
        tree.write(&format!("{class}/whole2.jpg"), &jpeg);
    }
    tree.refused(&[&format!("{cuts} broken")]);
}

mod cache {
    use super::*;

    fn with(place: &Path) -> FolderOptions {
        FolderOptions {
            cache: Some(place.to_owned()),
            ..small()
        }
    }

    fn same(a: &Loaded, b: &Loaded) -> bool {
        let (a, b) = (&a.data, &b.data);
        a.train == b.train && a.test == b.test && a.classes == b.classes
    }

    fn files(place: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(place).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn the_second_time_comes_from_the_cache() {
        let tree = Tree::two_classes(10);
        let place = tempfile::tempdir().unwrap();
        let options = with(place.path());
        let plain = tree.loaded();
        let first = tree.load(&options).unwrap();
        let second = tree.load(&options).unwrap();
        assert!(!first.from_cache && second.from_cache);
        assert!(same(&plain, &first) && same(&first, &second));
        assert!(!second.data.train.pixels.is_mapped());
        assert_eq!(files(place.path()).len(), 1);
        let mapped = FolderOptions {
            map_above: Some(0),
            ..options.clone()
        };
        let mapped = tree.load(&mapped).unwrap();
        assert!(mapped.data.train.pixels.is_mapped() && mapped.from_cache);
        assert!(same(&first, &mapped));
        // Written and mapped in one go, as data larger than memory are.
        std::fs::remove_file(&files(place.path())[0]).unwrap();
        let options = FolderOptions {
            map_above: Some(0),
            ..options
        };
        let fresh = tree.load(&options).unwrap();
        assert!(fresh.data.test.pixels.is_mapped() && !fresh.from_cache && same(&first, &fresh));
    }

    #[test]
    fn anything_that_changes_makes_it_anew() {
        let tree = Tree::two_classes(10);
        let place = tempfile::tempdir().unwrap();
        let options = with(place.path());
        let first = tree.load(&options).unwrap();
        // The same length, other pixels, a later time.
        let file = tree.at("cat/3.png");
        tree.colour("cat/3.png", [1, 3, 5]);
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        let changed = tree.load(&options).unwrap();
        assert!(!changed.from_cache && !same(&first, &changed));
        tree.colour("cat/new.png", [1, 3, 5]);
        assert!(!tree.load(&options).unwrap().from_cache);
        std::fs::remove_file(tree.at("dog/1.png")).unwrap();
        assert!(!tree.load(&options).unwrap().from_cache);
        std::fs::rename(tree.at("dog"), tree.at("wolf")).unwrap();
        assert!(!tree.load(&options).unwrap().from_cache);
        assert_eq!(files(place.path()).len(), 1, "what is stale is replaced");
        for other in [
            FolderOptions {
                size: [4, 8],
                ..options.clone()
            },
            FolderOptions {
                channels: Some(1),
                ..options.clone()
            },
            FolderOptions {
                resize: Resize::Pad,
                ..options.clone()
            },
            FolderOptions {
                background: [0; 3],
                ..options.clone()
            },
            FolderOptions {
                exif: false,
                ..options.clone()
            },
            FolderOptions {
                test_fraction: 0.4,
                ..options.clone()
            },
            FolderOptions {
                split_seed: 9,
                ..options.clone()
            },
        ] {
            assert!(!tree.load(&other).unwrap().from_cache, "{other:?}");
            assert!(tree.load(&other).unwrap().from_cache, "{other:?}");
        }
        assert!(tree.load(&options).unwrap().from_cache);
    }

    #[test]
    fn damage_is_found_and_mended() {
        let tree = Tree::two_classes(10);
        let place = tempfile::tempdir().unwrap();
        let options = with(place.path());
        let first = tree.load(&options).unwrap();
        let file = files(place.path()).remove(0);
        let whole = std::fs::read(&file).unwrap();
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        };
        let damages = [
            flipped(0),
            flipped(9),
            flipped(17),
            flipped(100),
            flipped(whole.len() - 20),
            whole[..whole.len() - 1].to_vec(),
            whole[..70].to_vec(),
            whole[..20].to_vec(),
            vec![],
            [&whole[..], &[0]].concat(),
            [vec![0; 64], whole[64..].to_vec()].concat(),
        ];
        for (number, damage) in damages.iter().enumerate() {
            std::fs::write(&file, damage).unwrap();
            let again = tree.load(&options).unwrap();
            assert!(!again.from_cache && same(&first, &again), "damage {number}");
            assert!(tree.load(&options).unwrap().from_cache, "damage {number}");
        }
    }

    /// A program that was killed leaves a draft, which nobody takes for a file and which goes in time.
    #[test]
    fn a_killed_writer_leaves_nothing_that_is_read() {
        let tree = Tree::two_classes(10);
        let place = tempfile::tempdir().unwrap();
        let options = with(place.path());
        tree.load(&options).unwrap();
        let file = files(place.path()).remove(0);
        let draft = file.with_extension("1-0.pictures-draft");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&draft, &whole[..whole.len() / 2]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(!tree.load(&options).unwrap().from_cache);
        assert!(tree.load(&options).unwrap().from_cache);
        assert!(draft.exists(), "its writer may still be at work");
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 3600);
        std::fs::File::options()
            .append(true)
            .open(&draft)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        std::fs::remove_file(&file).unwrap();
        tree.load(&options).unwrap();
        assert_eq!(files(place.path()), [file]);
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_a_warning() {
        let tree = Tree::two_classes(10);
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, b"not a folder").unwrap();
        let loaded = tree.load(&with(&file.join("cache"))).unwrap();
        warned(&loaded, &["could not be kept"]);
        assert!(same(&loaded, &tree.loaded()));
    }

    #[test]
    fn broken_pictures_are_remembered_and_refused_again() {
        let tree = Tree::two_classes(10);
        tree.write("cat/bad.png", b"no");
        let place = tempfile::tempdir().unwrap();
        let skipping = FolderOptions {
            skip_broken: true,
            ..with(place.path())
        };
        tree.load(&skipping).unwrap();
        let again = tree.load(&skipping).unwrap();
        assert!(again.from_cache);
        assert_eq!(again.broken[0].file, "cat/bad.png");
        let error = tree.load(&with(place.path())).unwrap_err();
        assert!(error.contains("cat/bad.png"), "{error}");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let place = tempfile::tempdir().unwrap();
        let trees = [10, 11, 12].map(Tree::two_classes);
        let options = FolderOptions {
            // Two files fit, three do not.
            cache_limit: 12_500,
            ..with(place.path())
        };
        let age = |seconds: u64| {
            for file in files(place.path()) {
                let file = std::fs::File::options().append(true).open(file).unwrap();
                let used = file.metadata().unwrap().modified().unwrap();
                file.set_modified(used - std::time::Duration::from_secs(seconds))
                    .unwrap();
            }
        };
        trees[0].load(&options).unwrap();
        age(10);
        trees[1].load(&options).unwrap();
        age(10);
        assert!(trees[0].load(&options).unwrap().from_cache);
        trees[2].load(&options).unwrap();
        assert!(trees[0].load(&options).unwrap().from_cache, "used later");
        assert_eq!(files(place.path()).len(), 2);
        let tiny = FolderOptions {
            cache_limit: 1,
            ..options
        };
        assert!(!trees[1].load(&tiny).unwrap().from_cache);
        assert!(
            trees[1].load(&tiny).unwrap().from_cache,
            "the one in use stays"
        );
        assert_eq!(files(place.path()).len(), 1);
    }

    #[test]
    fn two_at_once_do_not_disturb_each_other() {
        let tree = Tree::two_classes(30);
        let place = tempfile::tempdir().unwrap();
        let options = with(place.path());
        let wanted = tree.loaded();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(same(&tree.load(&options).unwrap(), &wanted)));
            }
        });
        assert_eq!(files(place.path()).len(), 1);
        assert!(tree.load(&options).unwrap().from_cache);
    }
}
