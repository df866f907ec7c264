//! Data as they were downloaded: archives of every kind, named as if they were folders.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::pictures::Tree;
use crate::common::{finish, gtc, write_cifar10, write_data};

/// A folder to work in, with a cache of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = gtc();
        command.env("GTC_CACHE_DIR", self.0.path().join("cache"));
        finish(command.args(args).output().unwrap())
    }

    fn succeed(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!(code, 0, "gtc {args:?}\n{stdout}\n{stderr}");
        stdout
    }

    fn refuse(&self, args: &[&str], words: &[&str]) {
        let (code, stdout, stderr) = self.run(args);
        assert_eq!(code, 2, "gtc {args:?}\n{stdout}\n{stderr}");
        for word in words {
            assert!(stderr.contains(word), "no '{word}' in\n{stderr}");
        }
    }

    fn refuse_data(&self, name: &str, words: &[&str]) {
        self.refuse(&["data", "check", &self.at(name)], words);
        let left = self.kept();
        assert!(left.is_empty(), "left after it was refused: {left:?}");
    }

    /// What the cache says it holds of archives.
    fn kept(&self) -> Vec<Value> {
        let text = self.succeed(&["data", "cache", "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        report["archives"].as_array().unwrap().clone()
    }

    fn train(&self, data: &str, run: &str) -> Vec<u8> {
        let start = [
            "train",
            "lenet-small",
            "--epochs",
            "1",
            "--batch-size",
            "10",
        ];
        let places = ["--data", &self.at(data), "--out", &self.at(run)];
        self.succeed(&[&start[..], &places].concat());
        fs::read(self.at(run) + "/model.safetensors").unwrap()
    }
}

/// All files below a folder, with names relative to it.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner)).unwrap() {
            let name = inner.join(entry.unwrap().file_name());
            match folder.join(&name).is_dir() {
                true => folders.push(name),
                false => found.push((
                    name.display().to_string(),
                    fs::read(folder.join(&name)).unwrap(),
                )),
            }
        }
    }
    found.sort();
    found
}

/// The bytes of a zip file. `name` gives each file its name in it.
fn zipped(files: &[(String, Vec<u8>)], name: impl Fn(&str) -> String) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (file, bytes) in files {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(name(file), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The bytes of a tar file.
fn archived(files: &[(String, Vec<u8>)], name: impl Fn(&str) -> String) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (file, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // The safe way refuses names that climb.
        let name = name(file);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The bytes of an `.npz` file as Keras's `mnist.npz` is: arrays of bytes in a zip file.
fn arrays(folder: &Path) -> Vec<u8> {
    use npyz::WriterBuilder;

    let data = gtc::data::read_folder(folder).unwrap();
    let array = |shape: &[u64], values: Vec<u8>| {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(shape);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let mut files = Vec::new();
    for (part, images) in [("train", &data.train), ("test", &data.test)] {
        let count = images.count() as u64;
        let pixels = array(&[count, 28, 28], images.pixels.to_vec());
        let labels = images.labels.iter().map(|label| *label as u8).collect();
        files.push((format!("x_{part}.npy"), pixels));
        files.push((format!("y_{part}.npy"), array(&[count], labels)));
    }
    zipped(&files, str::to_owned)
}

/// Pictures of two classes, 12 each.
fn pictures() -> Vec<(String, Vec<u8>)> {
    let tree = Tree::two_classes(12);
    files(tree.0.path())
}

#[test]
fn archives_train_to_the_bits_of_their_folders() {
    let place = Place::new();
    write_data(Path::new(&place.at("digits")), 40, 10);
    let digits = files(Path::new(&place.at("digits")));
    let packed: Vec<(String, Vec<u8>)> = digits
        .iter()
        .map(|(name, bytes)| (name.clone() + ".gz", gzipped(bytes)))
        .collect();
    let of_folder = place.train("digits", "run");
    // A zip file of gzipped files in a folder of it, as Kaggle and NIST have; tar and its gzip; a name that says nothing.
    for (name, bytes) in [
        ("digits.zip", zipped(&packed, |file| format!("gzip/{file}"))),
        ("digits.npz", arrays(Path::new(&place.at("digits")))),
        ("digits.tar", archived(&digits, str::to_owned)),
        (
            "digits.tar.gz",
            gzipped(&archived(&digits, |file| format!("./raw/{file}"))),
        ),
        (
            "other/digits",
            zipped(&digits, |file| format!("MNIST\\raw\\{file}")),
        ),
    ] {
        fs::create_dir_all(place.at("other")).unwrap();
        fs::write(place.at(name), bytes).unwrap();
        let of_archive = place.train(name, &format!("run-{name}"));
        assert!(of_archive == of_folder, "{name}");
    }
    let kept = place.kept();
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(
        kept[0]["source"]
            .as_str()
            .unwrap()
            .ends_with("other/digits")
    );
    // A run knows its archive, and misses it.
    let run = place.at("run-digits.zip");
    place.succeed(&["eval", &run]);
    fs::rename(place.at("digits.zip"), place.at("moved.zip")).unwrap();
    place.refuse(&["eval", &run], &["digits.zip", "not there any more"]);
    place.succeed(&["eval", &run, "--data", &place.at("moved.zip")]);
    place.succeed(&[
        "train",
        "--resume",
        &run,
        "--data",
        &place.at("moved.zip"),
        "--epochs",
        "2",
    ]);
    place.succeed(&["data", "cache", "--clear"]);
    assert!(place.kept().is_empty());
    place.succeed(&["eval", &run]);
}

#[test]
fn pictures_come_out_of_archives() {
    let place = Place::new();
    let all = pictures();
    for (name, value) in &all {
        let file = place.0.path().join("pets").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, value).unwrap();
    }
    let mut with_junk = all.clone();
    with_junk.push(("__MACOSX/pets/._cat".to_owned(), vec![1]));
    with_junk.push((".DS_Store".to_owned(), vec![2]));
    fs::create_dir_all(place.at("other")).unwrap();
    let in_folder = |file: &str| match file.starts_with("__") {
        true => file.to_owned(),
        false => format!("pets/{file}"),
    };
    fs::write(place.at("pets.zip"), zipped(&with_junk, in_folder)).unwrap();
    fs::write(
        place.at("other/pets.tgz"),
        gzipped(&archived(&all, str::to_owned)),
    )
    .unwrap();
    let of_folder = place.train("pets", "run");
    assert!(place.train("pets.zip", "run-zip") == of_folder);
    assert!(place.train("other/pets.tgz", "run-tgz") == of_folder);
    let config = fs::read_to_string(place.at("run-zip/config.toml")).unwrap();
    assert!(config.contains("pets.zip"), "{config}");
    let sheet = place.at("sheet.png");
    place.succeed(&["data", "check", &place.at("pets.zip"), "-o", &sheet]);
    // A newer file of the same name is another archive.
    fs::write(place.at("pets.zip"), zipped(&all[..20], in_folder)).unwrap();
    let printed = place.succeed(&[
        "data",
        "check",
        &place.at("pets.zip"),
        "-o",
        &sheet,
        "--json",
    ]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["classes"].as_array().unwrap().len(), 2, "{printed}");
    assert_eq!(place.kept().len(), 2);
}

#[test]
fn one_of_several_sets_in_an_archive_is_named_like_a_file() {
    let place = Place::new();
    write_data(Path::new(&place.at("raw")), 20, 10);
    let mut both = Vec::new();
    for (name, bytes) in files(Path::new(&place.at("raw"))) {
        let test = name.replace("t10k", "test");
        both.push((format!("gzip/emnist-letters-{test}"), bytes.clone()));
        both.push((format!("gzip/emnist-digits-{test}"), bytes));
    }
    fs::write(place.at("gzip.zip"), zipped(&both, str::to_owned)).unwrap();
    let whole = place.at("gzip.zip");
    let wanted = format!("{whole}/gzip/emnist-digits");
    place.refuse(&["data", "check", &whole], &["several data sets", &wanted]);
    place.succeed(&["data", "check", &wanted]);
    // An archive in an archive.
    write_cifar10(Path::new(&place.at("cifar-10-batches-bin")), 10);
    let cifar = files(Path::new(&place.at("cifar-10-batches-bin")));
    let inner = gzipped(&archived(&cifar, |file| {
        format!("cifar-10-batches-bin/{file}")
    }));
    let outer = [("cifar-10-binary.tar.gz".to_owned(), inner)];
    fs::write(place.at("archive.zip"), zipped(&outer, str::to_owned)).unwrap();
    let printed = place.succeed(&["data", "check", &place.at("archive.zip")]);
    assert!(printed.contains("50 training"), "{printed}");
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let place = Place::new();
    let all = pictures();
    let good = zipped(&all, str::to_owned);
    fs::write(place.at("cut.zip"), &good[..good.len() / 2]).unwrap();
    place.refuse_data("cut.zip", &["cut.zip", "cut or damaged", "Fetch it again"]);
    let mut damaged = good.clone();
    let middle = damaged.len() / 3;
    damaged[middle..middle + 40].fill(0x55);
    fs::write(place.at("damaged.zip"), damaged).unwrap();
    place.refuse_data("damaged.zip", &["cut or damaged"]);
    let tar = gzipped(&archived(&all, str::to_owned));
    fs::write(place.at("cut.tar.gz"), &tar[..tar.len() / 2]).unwrap();
    place.refuse_data("cut.tar.gz", &["cut.tar.gz", "cut or damaged"]);
    for (name, bytes) in [
        (
            "climbs.zip",
            zipped(&all[..1], |_| "../../out.png".to_owned()),
        ),
        (
            "climbs.tar",
            archived(&all[..1], |_| "../../out.png".to_owned()),
        ),
        ("root.tar", archived(&all[..1], |_| "/out.png".to_owned())),
        (
            "back.zip",
            zipped(&all[..1], |_| "..\\..\\out.png".to_owned()),
        ),
    ] {
        fs::write(place.at(name), bytes).unwrap();
        place.refuse_data(name, &["climbs out", "Do not trust it"]);
    }
    assert!(!place.0.path().join("out.png").exists());
    let (unpacked, _, _) = place.run(&["data", "check", &place.at("climbs.zip")]);
    assert_eq!(unpacked, 2);
    fs::write(place.at("empty.zip"), zipped(&[], str::to_owned)).unwrap();
    let args = ["data", "check", &place.at("empty.zip")];
    place.refuse(&args, &["empty.zip", "empty"]);
    // A cache that cannot be.
    fs::write(place.at("good.zip"), good).unwrap();
    let mut command = gtc();
    command.env("GTC_CACHE_DIR", place.at("good.zip"));
    let output = command
        .args(["data", "check", &place.at("good.zip")])
        .output();
    let (code, _, stderr) = finish(output.unwrap());
    assert_eq!(code, 2, "{stderr}");
    for word in ["could not be unpacked", "GTC_CACHE_DIR"] {
        assert!(stderr.contains(word), "{stderr}");
    }
}

/// An archive that is locked: a byte that says so is set by hand, as no writer here locks any.
#[test]
fn archives_with_a_password_are_told() {
    let place = Place::new();
    let mut bytes = zipped(&pictures()[..2], str::to_owned);
    for (mark, at) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let places: Vec<usize> = (0..bytes.len() - 4)
            .filter(|i| bytes[*i..].starts_with(mark))
            .collect();
        for place in places {
            bytes[place + at] |= 1;
        }
    }
    fs::write(place.at("locked.zip"), bytes).unwrap();
    place.refuse_data("locked.zip", &["locked.zip", "password"]);
}
