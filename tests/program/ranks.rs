//! `gtc train --ranks`: processes that share the shards of a batch. What a program with MPI does is tested where `mpirun` is and
//! gtc was built with it, and left out aloud elsewhere, unless `GTC_MPI_TESTS=required`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{finish, gtc, refuse, write_cifar10, write_data};

/// `gtc`, in an environment that lets `mpirun` run in a container.
fn with_mpi() -> Command {
    in_container(gtc())
}

fn in_container(mut command: Command) -> Command {
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command
}

/// Whether ranks can be tested here.
fn has_mpi() -> bool {
    let built = cfg!(feature = "mpi");
    let found = Command::new("mpirun").arg("--version").output().is_ok();
    if built && found {
        return true;
    }
    let missing = if built { "mpirun" } else { "the feature mpi" };
    let required = std::env::var("GTC_MPI_TESTS").is_ok_and(|v| v == "required");
    assert!(!required, "{missing} is missing");
    eprintln!("left out: {missing} is missing");
    false
}

/// Trains, and returns what it said.
fn train(arguments: &[&str]) -> String {
    let (code, output, errors) = finish(with_mpi().arg("train").args(arguments).output().unwrap());
    assert_eq!(code, 0, "{arguments:?}: {errors}");
    output
}

/// Fails to, with these words.
fn fail(arguments: &[&str], words: &[&str]) {
    let (code, _, errors) = finish(with_mpi().arg("train").args(arguments).output().unwrap());
    assert_eq!(code, 2, "{arguments:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{arguments:?}: {word}: {errors}");
    }
}

fn model(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model.safetensors")).unwrap()
}

/// The model of twenty steps on so many ranks.
fn twenty_steps(folder: &Path, arguments: &[&str], ranks: usize) -> Vec<u8> {
    let out = folder.join(format!("{}-{ranks}", arguments.join("")));
    let out_text = out.display().to_string();
    let ranks_text = ranks.to_string();
    let more = ["--ranks", &ranks_text, "--out", &out_text, "--epochs", "1"];
    let said = train(&[arguments, &more].concat());
    let lines = ["1 epochs of 20 steps", "4 shards"];
    assert!(lines.iter().all(|line| said.contains(line)), "{said}");
    model(&out)
}

#[test]
fn one_two_and_four_processes_learn_the_same() {
    if !has_mpi() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (grey, colour) = (folder.path().join("grey"), folder.path().join("colour"));
    write_data(&grey, 325, 40);
    write_cifar10(&colour, 40);
    let [grey, colour] = [&grey, &colour].map(|path| path.display().to_string());
    let out = folder.path();
    let digits = [
        "lenet5",
        "--shards",
        "4",
        "--batch-size",
        "16",
        "--data",
        &grey,
    ];
    let wanted = twenty_steps(out, &digits, 1);
    for ranks in [2, 4] {
        assert!(twenty_steps(out, &digits, ranks) == wanted, "{ranks} ranks");
    }
    for name in ["vgg-tiny", "resnet20"] {
        let apart = [
            name,
            "--shards",
            "4",
            "--batch-size",
            "8",
            "--limit",
            "160",
            "--data",
            &colour,
        ];
        let together = [&apart[..], &["--sync-norm"]].concat();
        for arguments in [&apart[..], &together] {
            let wanted = twenty_steps(out, arguments, 1);
            for ranks in [2, 4] {
                let found = twenty_steps(out, arguments, ranks);
                assert!(found == wanted, "{arguments:?} on {ranks} ranks");
            }
        }
    }
}

/// A run of some seconds.
fn long(out: &Path) -> Vec<String> {
    let out = out.display().to_string();
    let words = [
        "lenet-small",
        "--limit",
        "320",
        "--epochs",
        "12",
        "--batch-size",
        "16",
        "--shards",
        "4",
        "--out",
        &out,
    ];
    words.map(str::to_owned).to_vec()
}

fn start(out: &Path, ranks: usize) -> Child {
    let mut command = with_mpi();
    command
        .arg("train")
        .args(long(out))
        .args(["--ranks", &ranks.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until a run has tested after so many epochs.
fn wait_for(child: &mut Child, out: &Path, epochs: usize) {
    let metrics = out.join("metrics.jsonl");
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < epochs {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the run ended: {ended:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(pid: u32, signal: &str) {
    let arguments = [format!("-{signal}"), pid.to_string()];
    let status = Command::new("kill").args(arguments).status().unwrap();
    assert!(status.success());
}

/// The process that is rank `rank` of the run in `out`.
#[cfg(target_os = "linux")]
fn process_of(out: &Path, rank: usize) -> u32 {
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let out = out.display().to_string();
    let mut found = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let words = |name: &str| {
                let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                let words = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                words.map(|word| word.into_owned()).collect::<Vec<_>>()
            };
            let is_it = words("environ").contains(&wanted) && words("cmdline").contains(&out);
            is_it.then_some(pid)
        });
    found.next().expect("the rank is there")
}

fn copy(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}

#[test]
fn a_stopped_run_goes_on_with_other_ranks() {
    if !has_mpi() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let arguments = long(&whole);
    train(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let stopped = folder.path().join("stopped");
    let mut run = start(&stopped, 2);
    wait_for(&mut run, &stopped, 2);
    send(run.id(), "TERM");
    let (code, said, errors) = finish(run.wait_with_output().unwrap());
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("stopped and saved after step"), "{said}");
    assert!(model(&stopped) != model(&whole));
    for ranks in ["1", "4"] {
        let run = copy(&stopped, &folder.path().join(ranks));
        train(&["--resume", &run.display().to_string(), "--ranks", ranks]);
        assert!(model(&run) == model(&whole), "{ranks} ranks");
    }
    let run = stopped.display().to_string();
    fail(
        &["--resume", &run, "--ranks", "8"],
        &["--ranks 8", "at most 4"],
    );
    fail(&["--resume", &run, "--shards", "8"], &["--shards"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_rank_ends_the_run_and_nothing_is_lost() {
    if !has_mpi() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let arguments = long(&whole);
    train(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    for (rank, epochs) in [(1, 0), (0, 3), (1, 5)] {
        let out = folder.path().join(format!("{rank}-{epochs}"));
        let mut run = start(&out, 2);
        while !out.join("model.safetensors").exists() {
            assert!(run.try_wait().unwrap().is_none(), "the run ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        wait_for(&mut run, &out, epochs);
        send(process_of(&out, rank), "KILL");
        let (code, _, errors) = finish(run.wait_with_output().unwrap());
        assert_eq!(code, 2, "{errors}");
        let words = [
            format!("rank {rank} "),
            "signal 9".to_owned(),
            "--resume".to_owned(),
        ];
        assert!(words.iter().all(|word| errors.contains(word)), "{errors}");
        train(&["--resume", &out.display().to_string(), "--ranks", "2"]);
        assert!(
            model(&out) == model(&whole),
            "rank {rank} after {epochs} epochs"
        );
    }
}

#[test]
fn what_ranks_cannot_do_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let run = |more: &[&'static str], words: &[&str]| {
        refuse(
            &[&["train", "lenet-small", "--out", &out], more].concat(),
            words,
        );
    };
    run(&["--shards", "3"], &["--shards 3", "power of two"]);
    run(
        &["--shards", "4", "--batch-size", "30"],
        &["30 images", "--batch-size 28"],
    );
    run(&["--ranks", "3"], &["--ranks 3", "power of two, such as 2"]);
    run(&["--ranks", "0"], &["--ranks 0", "power of two"]);
    assert!(!Path::new(&out).exists(), "nothing is left behind");
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_without_mpi_says_so() {
    let words = ["built without MPI", "--features mpi", "libopenmpi-dev"];
    refuse(&["train", "lenet-small", "--ranks", "2"], &words);
    // Two programs in one folder would be worse.
    let output = gtc()
        .arg("train")
        .env("OMPI_COMM_WORLD_SIZE", "2")
        .output()
        .unwrap();
    let (code, _, errors) = finish(output);
    assert_eq!(code, 2);
    assert!(errors.contains("mpirun has started 2 ranks"), "{errors}");
    assert!(words.iter().all(|word| errors.contains(word)), "{errors}");
}

#[test]
fn ranks_that_do_not_agree_are_refused() {
    if !has_mpi() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let other = folder.path().join("other");
    write_data(&other, 64, 16);
    let other = other.display().to_string();
    let program = gtc().get_program().to_owned();
    let both = |second: &[&str]| {
        let mut command = in_container(Command::new("mpirun"));
        let common = ["train", "lenet-small", "--shards", "2", "--out", &out];
        command.args(["--oversubscribe", "--bind-to", "none", "-n", "1"]);
        command.arg(&program).args(common).args([":", "-n", "1"]);
        command.arg(&program).args(common).args(second);
        let (code, _, errors) = finish(command.output().unwrap());
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("the ranks do not agree"), "{errors}");
        errors
    };
    let errors = both(&["--epochs", "3"]);
    assert!(
        errors.contains("epochs is 3 on rank 1, and 8 on rank 0"),
        "{errors}"
    );
    let errors = both(&["--data", &other]);
    assert!(
        errors.contains("the hash of the training images is"),
        "{errors}"
    );
    assert!(!Path::new(&out).exists(), "nothing is left behind");
    fail(
        &[
            "lenet-small",
            "--ranks",
            "2",
            "--shards",
            "1",
            "--out",
            &out,
        ],
        &["begin a run with --shards 2"],
    );
    fail(
        &["lenet-small", "--ranks", "2", "--profile"],
        &["--profile measures"],
    );
}

/// Runs a command on one of two hosts, with one link between them that is slow and loses packets.
fn on_a_bad_link(command: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slow-link");
    let mut all = in_container(Command::new(script));
    all.args(["--delay", "2", "--loss", "2", "--rate", "500"])
        .args(command);
    all
}

#[test]
fn a_slow_link_that_loses_packets_changes_nothing() {
    if !has_mpi() {
        return;
    }
    let made = on_a_bad_link(&["true"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("left out: two hosts and a link cannot be made here (scripts/slow-link)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [near, far] = ["near", "far"].map(|name| folder.path().join(name));
    let [near_text, far_text] = [&near, &far].map(|path| path.display().to_string());
    let run = |out| {
        [
            "train",
            "lenet-small",
            "--limit",
            "320",
            "--epochs",
            "1",
            "--batch-size",
            "16",
            "--shards",
            "4",
            "--out",
            out,
        ]
    };
    let (code, _, errors) = finish(gtc().args(run(&near_text)).output().unwrap());
    assert_eq!(code, 0, "{errors}");
    let program = gtc().get_program().to_string_lossy().into_owned();
    let start = [
        "mpirun",
        "-n",
        "2",
        "--bind-to",
        "none",
        "--host",
        "10.77.0.1,10.77.0.2",
        &program,
    ];
    let command = [&start[..], &run(&far_text)].concat();
    let (code, said, errors) = finish(on_a_bad_link(&command).output().unwrap());
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("2 ranks"), "{said}");
    let bytes = errors.lines().find_map(|line| {
        line.strip_prefix("slow-link: ")?
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()
    });
    assert!(
        bytes.is_some_and(|bytes| bytes > 1_000_000),
        "gradients went over the link: {errors}"
    );
    assert!(model(&near) == model(&far));
}
