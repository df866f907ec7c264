//! Folders of pictures: which files are read, as which class, in which order and half.

use std::path::Path;

use crate::common::pictures::{QUIET, Tree, count, encoded, gradient, small, warned};
use gtc::data::folder::{FolderOptions, open_folder, read_pictures};
use gtc::data::{Images, read_folder};
use image::{DynamicImage, GrayImage, ImageFormat};

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
    crate::common::write_data(&idx, 120, 30);
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
