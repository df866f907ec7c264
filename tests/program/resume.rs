//! Interrupted runs end where uninterrupted ones do, bit for bit.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{finish, gtc, refuse, succeed, write_data};

fn arguments(data: &Path, out: &Path) -> Vec<String> {
    let mut args: Vec<String> = [
        "train",
        "lenet-small",
        "--epochs",
        "4",
        "--batch-size",
        "16",
        "--seed",
        "3",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(["--shift", "1", "--optimiser", "muon", "--warm-up", "0.2"].map(str::to_owned));
    args.extend(["--data".to_owned(), data.display().to_string()]);
    args.extend(["--out".to_owned(), out.display().to_string()]);
    args
}

fn start(data: &Path, out: &Path) -> Child {
    gtc()
        .args(arguments(data, out))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until a run has come so far; a run that ends before fails the test.
fn wait_until(child: &mut Child, what: &str, reached: impl Fn() -> bool) {
    loop {
        // Asked first: what the run wrote before it ended counts.
        let ended = child.try_wait().unwrap();
        if reached() {
            return;
        }
        assert!(ended.is_none(), "the run ended ({ended:?}) without {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a file has so many lines.
fn wait_for(child: &mut Child, path: &Path, lines: usize) {
    let what = format!("{lines} lines of {}", path.display());
    wait_until(child, &what, || {
        std::fs::read_to_string(path).map_or(0, |t| t.lines().count()) >= lines
    });
}

/// A shell lets commands in its background ignore Ctrl-C, and what they start inherits that: so would these tests.
fn hears_interrupts(mut command: Command) -> Command {
    #[cfg(unix)]
    // SAFETY: `signal` may be called between fork and exec, and nothing else is.
    unsafe {
        use std::os::unix::process::CommandExt;
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    command
}

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

fn model(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model.safetensors")).unwrap()
}

/// Metrics without the speed, the one thing that may differ.
fn metrics(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["images_per_second"] = 0.into();
            value
        })
        .collect()
}

#[test]
fn equal_seeds_killed_runs_and_stopped_runs_end_alike() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 600, 50);
    let run = |name: &str| -> PathBuf { folder.path().join(name) };
    for name in ["whole", "again"] {
        let args = arguments(&data, &run(name));
        succeed(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(
        model(&run("whole")),
        model(&run("again")),
        "same seed, same bits"
    );

    // Killed outright at several moments: in the first epoch, around a checkpoint, later.
    for (name, lines, pause) in [
        ("early", 0, 700),
        ("between", 1, 0),
        ("later", 2, 40),
        ("last", 3, 90),
    ] {
        let out = run(name);
        let mut child = start(&data, &out);
        if lines == 0 {
            let file = out.join("model.safetensors");
            wait_until(&mut child, "a model", || file.exists());
        } else {
            wait_for(&mut child, &out.join("metrics.jsonl"), lines);
        }
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        succeed(&["train", "--resume", out.to_str().unwrap()]);
        assert_eq!(model(&out), model(&run("whole")), "killed: {name}");
        assert_eq!(metrics(&out), metrics(&run("whole")), "killed: {name}");
    }

    // Ctrl-C: finishes the step, saves, says how to go on.
    let out = run("stopped");
    let mut child = hears_interrupts(gtc())
        .args(arguments(&data, &out))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut child, &out.join("metrics.jsonl"), 1);
    signal(&child, "INT");
    let (code, stdout, stderr) = finish(child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("gtc train --resume"), "{stdout}");
    assert_ne!(model(&out), model(&run("whole")));
    succeed(&["train", "--resume", out.to_str().unwrap()]);
    assert_eq!(model(&out), model(&run("whole")), "stopped and resumed");
    assert_eq!(metrics(&out), metrics(&run("whole")), "stopped and resumed");
    // A finished run resumes to itself.
    let text = succeed(&["train", "--resume", out.to_str().unwrap()]);
    assert!(text.contains("finished already"), "{text}");
    assert_eq!(model(&out), model(&run("whole")));
    // What the state of a run stands on belongs to the run; tests/strangers has what may change.
    refuse(
        &["train", "--resume", out.to_str().unwrap(), "--seed", "9"],
        &["--seed"],
    );
    refuse(&["train", "--resume", "/nowhere"], &["/nowhere"]);
    // A checkpoint of other settings is not mixed in.
    let other = run("other");
    let mut args = arguments(&data, &other);
    args[7] = "4".to_owned();
    succeed(&args.iter().map(String::as_str).collect::<Vec<_>>());
    std::fs::copy(
        other.join("model.safetensors"),
        out.join("model.safetensors"),
    )
    .unwrap();
    refuse(
        &["train", "--resume", out.to_str().unwrap()],
        &["seed was 4 and cannot become 3"],
    );
}

/// An epoch of one step is over when Ctrl-C is heard in it.
#[test]
fn a_run_stopped_in_the_last_step_of_an_epoch_keeps_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 200, 20);
    let run = |name: &str| -> PathBuf { folder.path().join(name) };
    let arguments = |name: &str| -> Vec<String> {
        let mut args = arguments(&data, &run(name));
        args[3] = "12".to_owned();
        args[5] = "200".to_owned();
        args
    };
    let whole = arguments("whole");
    succeed(&whole.iter().map(String::as_str).collect::<Vec<_>>());
    let out = run("stopped");
    let mut child = hears_interrupts(gtc())
        .args(arguments("stopped"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut child, &out.join("metrics.jsonl"), 2);
    signal(&child, "INT");
    let (code, _, stderr) = finish(child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{stderr}");
    let stopped = metrics(&out);
    assert!(stopped.len() < 12, "it was stopped");
    assert_eq!(stopped, metrics(&run("whole"))[..stopped.len()]);
    succeed(&["train", "--resume", out.to_str().unwrap()]);
    assert_eq!(model(&out), model(&run("whole")));
    assert_eq!(metrics(&out), metrics(&run("whole")));
}

/// A file that may not grow stands for a full disk: the old checkpoint must stay whole.
#[test]
fn a_full_disk_leaves_the_old_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 200, 20);
    let out = folder.path().join("run");
    let mut child = start(&data, &out);
    wait_for(&mut child, &out.join("metrics.jsonl"), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let before = model(&out);
    let command = format!(
        "trap '' XFSZ; ulimit -f 64; exec {} train --resume {}",
        env!("CARGO_BIN_EXE_gtc"),
        out.display()
    );
    // The driver's own cache would meet the limit too.
    let output = std::process::Command::new("bash")
        .args(["-c", &command])
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .output()
        .unwrap();
    let (code, stdout, stderr) = finish(output);
    assert_eq!(code, 2, "{stdout}\n{stderr}");
    assert!(
        stderr.contains("model.safetensors") && stderr.contains("untouched"),
        "{stderr}"
    );
    assert_eq!(model(&out), before);
    let left = std::fs::read_dir(&out).unwrap().map(|file| file.unwrap());
    let unfinished = |name: &str| name.ends_with(".tmp");
    assert!(
        !left
            .into_iter()
            .any(|file| unfinished(&file.file_name().to_string_lossy()))
    );
    succeed(&["inspect", out.to_str().unwrap()]);
}

/// `nohup` and a shell that goes on after its terminal closed set the signal to be ignored; shells without job control do so
/// with Ctrl-C for what runs in the background, and supervisors with others.
#[test]
fn a_signal_that_is_ignored_when_the_run_begins_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data, 640, 40);
    let program = env!("CARGO_BIN_EXE_gtc");
    let mut child = std::process::Command::new("sh")
        .args(["-c", "trap '' HUP INT TERM; exec \"$0\" \"$@\"", program])
        .args(arguments(&data, &out))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&mut child, &out.join("metrics.jsonl"), 1);
    for name in ["HUP", "INT", "TERM"] {
        signal(&child, name);
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(metrics(&out).len(), 4, "all epochs");
}

/// A full disk behind standard output loses what is printed, and nothing else.
#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_output_is_full_learns_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data, 64, 10);
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let run = |words: &[String]| {
        let mut program = gtc();
        program.args(words).stdout(full()).stderr(Stdio::piped());
        finish(program.spawn().unwrap().wait_with_output().unwrap())
    };
    let (code, _, stderr) = run(&arguments(&data, &out));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
    assert_eq!(metrics(&out).len(), 4, "all epochs");
    for words in ["models", "adapters"] {
        let (code, _, stderr) = run(&[words.to_owned()]);
        assert_eq!(code, 2, "{stderr}");
        assert!(
            stderr.contains("standard output") && !stderr.contains("panicked"),
            "{stderr}"
        );
    }
}

/// A GPU's kernels with numbers of 16 bits: killed and resumed, a run ends as one that was not, and near one of 32 bits.
#[test]
fn mixed_precision_goes_on_as_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 96, 16);
    let run = |name: &str| folder.path().join(name);
    let command = |name: &str, precision: &str| {
        let mut command = gtc();
        command.args([
            "train",
            "lenet-small",
            "--epochs",
            "3",
            "--batch-size",
            "16",
        ]);
        command.args(["--path", "gpu", "--precision", precision]);
        command.arg("--data").arg(&data).arg("--out").arg(run(name));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    for (name, precision) in [("whole", "mixed"), ("full", "full")] {
        assert!(command(name, precision).status().unwrap().success());
    }
    let parts = run("parts");
    let mut child = command("parts", "mixed").spawn().unwrap();
    wait_for(&mut child, &parts.join("metrics.jsonl"), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let resume = ["train", "--resume", parts.to_str().unwrap()];
    succeed(&[&resume[..], &["--path", "gpu"]].concat());
    assert_eq!(model(&parts), model(&run("whole")));
    assert_eq!(metrics(&parts), metrics(&run("whole")));

    let losses = |name: &str| -> Vec<f64> {
        let loss = |line: &serde_json::Value| line["train_lp_loss"].as_f64().unwrap();
        metrics(&run(name)).iter().map(loss).collect()
    };
    let [mixed, full] = ["whole", "full"].map(losses);
    assert_ne!(mixed, full, "numbers of 16 bits change last digits");
    for (mixed, full) in mixed.iter().zip(&full) {
        assert!((mixed - full).abs() < 0.05 * full, "{mixed} beside {full}");
    }
    let other = [&resume[..], &["--precision", "full"]].concat();
    refuse(&other, &["--precision"]);
    let textures = ["train", "--path", "cpu-sampled", "--precision", "mixed"];
    refuse(&textures, &["--precision mixed", "for GPUs", "--path gpu"]);
    // Whatever the driver can do, kernels that read textures have no cooperative matrices.
    let cooperative = [&textures[..4], &["cooperative"]].concat();
    refuse(
        &cooperative,
        &["cpu-sampled", "no cooperative matrices", "--path gpu"],
    );
}
