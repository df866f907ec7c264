//! Messages say what is the matter, and no more.

use std::fs;

use gtc::checkpoint;

use crate::common::{finish, gtc, refuse, run, succeed, trained, write_data};

#[test]
fn a_huge_bias_is_called_one() {
    let (model, data) = trained();
    let mut checkpoint = checkpoint::load(format!("{model}/model.safetensors").as_ref()).unwrap();
    let parameters = gtc::model::Parameters::new(&checkpoint.header.model().unwrap());
    let layer = &parameters.layers[0];
    let values = gtc::model::LayerValues {
        bias: vec![3e9; layer.shape[0]],
        ..Default::default()
    };
    layer.place(&mut checkpoint.snapshot.weights, &values);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("biased.safetensors");
    fs::write(&file, checkpoint::encode(&checkpoint).unwrap()).unwrap();
    let (file, out) = (file.display().to_string(), folder.path().join("x.gtc"));
    let words = [
        "pack",
        &file,
        "--calibrate",
        data,
        "-o",
        &out.display().to_string(),
    ];
    refuse(&words, &["layer 'conv1'", "bias"]);
    let (_, _, stderr) = crate::common::run(&words);
    assert!(!stderr.contains("lambda-bits"), "{stderr}");
}

#[test]
fn paths_with_blanks_are_quoted_where_they_are_to_be_copied() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_data(&folder.path().join("my data"), 50, 10);
    let (data, out) = (at("my data"), at("it's mine"));
    let train = [
        "train",
        "lenet-small",
        "--epochs",
        "1",
        "--batch-size",
        "16",
    ];
    let text = succeed(&[&train[..], &["--data", &data, "--out", &out]].concat());
    let quoted = format!("gtc inspect '{}'", out.replace('\'', "'\\''"));
    assert!(text.contains(&quoted), "{quoted}\n{text}");
    // Images that no batch has room for are mentioned.
    assert!(text.contains("2 images of each epoch"), "{text}");
    // A shell understands the line.
    #[cfg(unix)]
    {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("next    gtc "));
        let program = env!("CARGO_BIN_EXE_gtc");
        let line = format!("{program} {}", line.unwrap());
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .output();
        assert_eq!(finish(output.unwrap()).0, 0, "{line}");
    }
}

#[test]
fn archives_and_versions_for_python_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("archive.7z"), b"7z\xbc\xaf\x27\x1c\0\x04").unwrap();
    fs::write(at("archive.rar"), b"Rar!\x1a\x07\x01\0").unwrap();
    fs::write(at("notes.txt"), b"what lies where").unwrap();
    refuse(&["data", "check", &at("archive.7z")], &["7-Zip", "Unpack"]);
    refuse(&["data", "check", &at("archive.rar")], &["RAR", "Unpack"]);
    refuse(
        &["data", "check", &at("nowhere.zip")],
        &["nowhere.zip", "no such"],
    );
    refuse(
        &["data", "check", &at("notes.txt")],
        &["no archive", "folder"],
    );
    fs::create_dir(at("cifar-10-batches-py")).unwrap();
    refuse(
        &["train", "vgg-tiny", "--data", &at(""), "--out", &at("run")],
        &["for Python", "gtc data get cifar10"],
    );
}

/// Settings of which each makes sense and both together do not.
#[test]
fn levels_that_are_never_learned_are_remarked() {
    let folder = tempfile::tempdir().unwrap();
    let noted = |freeze: &str| {
        let out = folder.path().join(freeze).display().to_string();
        let words = "train lenet-small --limit 64 --batch-size 32 --epochs 2 --lp-start 0.5 --freeze-levels";
        let words: Vec<&str> = words.split(' ').chain([freeze, "--out", &out]).collect();
        let (code, _, stderr) = run(&words);
        assert_eq!(code, 0, "{stderr}");
        stderr.contains("never learns them")
    };
    assert!(noted("0.5"));
    assert!(!noted("0.8"));
}

/// Names that no text file can hold, short memory, and an environment without what a desktop sets.
#[cfg(target_os = "linux")]
#[test]
fn surroundings_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let strange = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    write_data(&strange, 50, 10);
    let out = folder.path().join("run");
    let output = gtc()
        .args(["train", "lenet-small", "--epochs", "1", "--data"])
        .arg(&strange)
        .arg("--out")
        .arg(&out)
        .output();
    let (code, _, stderr) = finish(output.unwrap());
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("caf") && stderr.contains("UTF-8"),
        "{stderr}"
    );
    assert!(!out.exists());

    let output = gtc().arg("adapters").env_remove("XDG_RUNTIME_DIR").output();
    let (code, _, stderr) = finish(output.unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""));

    // Less memory than a batch needs: a message about memory, not about validation.
    let data = folder.path().join("data");
    write_data(&data, 4096, 10);
    let line = format!(
        "ulimit -v 1300000; exec {} train lenet5 --batch-size 4096 --epochs 1 --data {} --out {}",
        env!("CARGO_BIN_EXE_gtc"),
        data.display(),
        out.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &line])
        .output();
    let (code, stdout, stderr) = finish(output.unwrap());
    assert_ne!(code, 0, "{stdout}");
    assert!(stderr.contains("--batch-size"), "{stderr}");
    assert!(!stderr.contains("Validation"), "{stderr}");
}
