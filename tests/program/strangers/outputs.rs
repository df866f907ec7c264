//! Outputs never destroy what is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{refuse, run, succeed, trained};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A folder with a folder `photos` of two classes, and the path of that.
fn photos(classes: [&str; 2]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("photos");
    for class in classes {
        fs::create_dir_all(data.join(class)).unwrap();
        for number in 0..3 {
            let picture = image::GrayImage::from_pixel(8, 8, image::Luma([number * 50]));
            let file = data.join(class).join(format!("{number}.png"));
            picture.save(file).unwrap();
        }
    }
    (folder, data)
}

#[cfg(unix)]
#[test]
fn devices_pipes_and_links_stay_what_they_are() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let (model, _) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = at("file.safetensors");
    succeed(&["export", model, "-o", &text(&file)]);
    let whole = fs::read(&file).unwrap();

    succeed(&["export", model, "-o", "/dev/null"]);
    let kind = fs::metadata("/dev/null").unwrap().file_type();
    assert!(kind.is_char_device());

    // Through a link to a link, into a folder below.
    fs::create_dir(at("below")).unwrap();
    symlink("below/real.safetensors", at("first")).unwrap();
    symlink("first", at("second")).unwrap();
    succeed(&["export", model, "-o", &text(&at("second"))]);
    assert!(fs::symlink_metadata(at("second")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(at("first")).unwrap().is_symlink());
    assert_eq!(fs::read(at("below/real.safetensors")).unwrap(), whole);

    let pipe = at("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read(pipe).unwrap())
    };
    succeed(&["export", model, "-o", &text(&pipe)]);
    assert_eq!(reader.join().unwrap(), whole);
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

    // Words for people go elsewhere, so that the file is whole on the other side.
    let output = crate::common::gtc()
        .args(["export", model, "-o", "/dev/stdout"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, whole);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("weights of"), "{words}");
}

#[test]
fn files_that_are_nobodys_business_stay() {
    let (model, _) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["out.tmp", "out.safetensors.tmp", ".out.safetensors.tmp"] {
        fs::write(at(name), name).unwrap();
    }
    succeed(&["export", model, "-o", &text(&at("out.safetensors"))]);
    for name in ["out.tmp", "out.safetensors.tmp", ".out.safetensors.tmp"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), name);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    // Where nothing was before, nothing is said to be untouched.
    let missing = text(&at("no/such/folder/out.safetensors"));
    let (code, _, stderr) = run(&["export", model, "-o", &missing]);
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no folder"), "{stderr}");
    assert!(!stderr.contains("untouched"), "{stderr}");
    refuse(&["export", model, "-o", &text(folder.path())], &["folder"]);
}

#[test]
fn a_run_keeps_its_files() {
    let (model, _) = trained();
    let own = Path::new(model);
    let before = fs::read(own.join("model.safetensors")).unwrap();
    let words = ["a run keeps its state"];
    let checkpoint = text(&own.join("model.safetensors"));
    for command in ["export", "quantise"] {
        refuse(&[command, model, "-o", &checkpoint], &words);
        // Named as a file, it is the one that is read.
        refuse(&[command, &checkpoint, "-o", &checkpoint], &["is read"]);
        let around = text(&own.join("../run/model.safetensors"));
        refuse(&[command, model, "-o", &around], &words);
    }
    #[cfg(unix)]
    {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("innocent.safetensors");
        std::os::unix::fs::symlink(&checkpoint, &link).unwrap();
        refuse(&["export", model, "-o", &text(&link)], &words);
    }
    assert_eq!(fs::read(own.join("model.safetensors")).unwrap(), before);
    succeed(&["inspect", model]);
}

#[test]
fn a_suffix_says_what_is_written() {
    let (model, _) = trained();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&folder.path().join(name));
    for name in ["m.onnx", "m.pth", "m.npz", "m.gtc"] {
        let words = ["a safetensors file", "m.safetensors"];
        refuse(&["export", model, "-o", &at(name)], &words);
        refuse(&["quantise", model, "-o", &at(name)], &words);
    }
    for name in ["m.bin", "m.safetensors", "m.json"] {
        let words = ["a packed model", "m.gtc"];
        refuse(&["pack", model, "-o", &at(name)], &words);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    succeed(&["export", model, "--to", "gtc", "-o", &at("without")]);
    succeed(&["inspect", &at("without")]);
}

#[test]
fn pictures_of_the_data_are_not_written_over() {
    let (folder, data) = photos(["cat", "dog"]);
    let before = fs::read(data.join("cat/1.png")).unwrap();
    let own = text(&data.join("cat/1.png"));
    refuse(
        &["data", "check", &text(&data), "-o", &own],
        &["among the data", "-o"],
    );
    assert_eq!(fs::read(data.join("cat/1.png")).unwrap(), before);
    // Without a name the sheet replaces nothing.
    let check = || {
        let mut command = crate::common::gtc();
        command
            .current_dir(folder.path())
            .args(["data", "check", "photos"]);
        assert!(command.output().unwrap().status.success());
    };
    fs::write(folder.path().join("photos.png"), "mine").unwrap();
    check();
    assert_eq!(fs::read(folder.path().join("photos.png")).unwrap(), b"mine");
    assert!(folder.path().join("photos-2.png").exists());
}

#[cfg(unix)]
#[test]
fn names_of_strangers_steer_no_terminal() {
    let (folder, data) = photos(["cat\u{1b}[2J", "dog"]);
    let sheet = text(&folder.path().join("sheet.png"));
    let (_, stdout, stderr) = run(&["data", "check", &text(&data), "-o", &sheet]);
    assert!(stdout.contains("cat?[2J"), "{stdout}");
    assert!(!(stdout + &stderr).contains('\u{1b}'));
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_pictures_is_said_to_be_none() {
    let (folder, data) = photos(["cat", "dog"]);
    let made = std::process::Command::new("mkfifo")
        .arg(data.join("cat/p.png"))
        .status();
    assert!(made.unwrap().success());
    let sheet = text(&folder.path().join("sheet.png"));
    let (_, stdout, stderr) = run(&["data", "check", &text(&data), "-o", &sheet]);
    let said = stdout + &stderr;
    assert!(said.contains("no ordinary file"), "{said}");
}
