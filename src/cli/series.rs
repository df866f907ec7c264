//! Several training runs as one piece of work that can be stopped and said again: each run a process and a folder of its
//! own, within the folder of the series.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::{Config, check_same};
use super::output::say;
use super::run_folder::{EpochMetrics, RunFolder, own};
use super::signals::on_stop;
use super::{Cli, CliError, Command};
use crate::checkpoint::Checkpoint;
use crate::files::{self, Lock};

/// A series in its folder, which no other process works on.
pub(super) struct Series {
    folder: PathBuf,
    stopped: Arc<AtomicBool>,
    in_hand: InHand,
    _lock: Option<Lock>,
}

/// One run of a series.
pub(super) struct Run {
    /// Name of its folder.
    pub name: String,
    /// Flags of `gtc train` for it, without those about its folder.
    pub words: Vec<OsString>,
}

/// What a finished run came to.
pub(super) struct Finished {
    /// The checkpoint of the last step.
    pub checkpoint: Checkpoint,
    /// The last line of its metrics.
    pub last: EpochMetrics,
    /// Training images a second, each epoch.
    pub speeds: Vec<f64>,
}

/// Refuses seeds that would count twice.
///
/// # Errors
/// Names the first such seed.
pub(super) fn refuse_twice(seeds: &[u64]) -> Result<(), CliError> {
    let again = |(number, seed): (usize, &u64)| seeds[..number].contains(seed);
    match seeds.iter().enumerate().find(|pair| again(*pair)) {
        Some((_, seed)) => Err(format!("--seeds names {seed} twice").into()),
        None => Ok(()),
    }
}

/// Flags of `gtc train` that `gtc COMMAND` sets itself.
///
/// # Errors
/// Names one of them, or says what `gtc train` would refuse.
pub(super) fn check_flags(
    command: &str,
    own: &[&str],
    train: &[String],
    run: &Run,
) -> Result<(), CliError> {
    for flag in train {
        let name = flag.split('=').next().unwrap_or(flag);
        if own.contains(&name) || ["--out", "--resume", "--help", "-h"].contains(&name) {
            let instead = match name {
                "--seed" => "; seeds are its --seeds",
                "--resume" => "; given again, the same command goes on",
                _ => ", which sets it itself for every run",
            };
            return Err(match [
                "--out",
                "--help",
                "-h",
                "--data",
                "--limit",
                "--float-ends",
                "--lambda-bits",
            ]
            .contains(&name)
            {
                true => format!("{name} belongs before the two dashes, to `gtc {command}`"),
                false => format!("{name} is for `gtc {command}` to decide{instead}"),
            }
            .into());
        }
    }
    settings(&run.words).map(|_| ())
}

/// What `gtc train` would make of its flags.
///
/// # Errors
/// What `gtc train` would refuse.
pub(super) fn settings(flags: &[OsString]) -> Result<Config, CliError> {
    let words = ["gtc", "train"].map(OsString::from).into_iter();
    match Cli::try_parse_from(words.chain(flags.iter().cloned())) {
        Ok(Cli {
            command: Command::Train(args),
            ..
        }) => args.resolve(),
        Ok(_) => Err("these are no flags of `gtc train`".into()),
        Err(error) => {
            let text = error.to_string();
            Err(text.trim_start_matches("error: ").trim_end().into())
        }
    }
}

/// `runs/MODEL-ENDING`, of a description after its file.
pub(super) fn default_folder(model: &str, ending: &str) -> PathBuf {
    let name = Path::new(model).file_stem().unwrap_or_default();
    PathBuf::from(format!("runs/{}-{ending}", name.to_string_lossy()))
}

impl Series {
    /// Writes down what the series is in `KIND.toml`, or finds the same in its folder.
    ///
    /// # Errors
    /// If the folder holds another series, or another process works on it.
    pub fn open<P: Serialize + DeserializeOwned + PartialEq>(
        folder: PathBuf,
        kind: &str,
        plan: &P,
    ) -> Result<Self, CliError> {
        let file = folder.join(format!("{kind}.toml"));
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let known: P =
                    toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
                if known != *plan {
                    return Err(format!(
                        "{} holds another {kind}, see {}. Name another folder with --out.",
                        folder.display(),
                        file.display()
                    )
                    .into());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&folder)
                    .map_err(|e| format!("{}: {e}", folder.display()))?;
                files::write(&file, toml::to_string(plan)?.as_bytes())?;
            }
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        }
        let what = format!("trains the {kind} in this folder");
        let lock = own(&folder, &format!("{kind}.lock"), &what)?;
        // The run in hand stops after its step and saves; then the series stops too.
        let stopped = Arc::new(AtomicBool::new(false));
        let asked = stopped.clone();
        let in_hand = InHand::default();
        let run = in_hand.clone();
        on_stop(move || {
            asked.store(true, Ordering::SeqCst);
            ask_to_stop(&run);
        })?;
        Ok(Self {
            folder,
            stopped,
            in_hand,
            _lock: lock,
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does all runs that have not ended yet, in order; `done` sees each run when it has ended. Returns whether all have:
    /// not so after a stop.
    ///
    /// # Errors
    /// If a run fails, or `done`.
    pub fn all(
        &self,
        runs: &[Run],
        mut done: impl FnMut(usize, Finished) -> Result<(), CliError>,
    ) -> Result<bool, CliError> {
        for (number, run) in runs.iter().enumerate() {
            let path = self.folder.join(&run.name);
            say!("run {} of {}: {}", number + 1, runs.len(), path.display());
            let finished = match finished(&path, run)? {
                Some(finished) => finished,
                None => {
                    if self.stopped.load(Ordering::SeqCst) {
                        say!("\nstopped. Say the same again to go on.");
                        return Ok(false);
                    }
                    let well = train(&path, run, (&self.stopped, &self.in_hand))?;
                    if self.stopped.load(Ordering::SeqCst) {
                        say!("\nstopped. Say the same again to go on.");
                        return Ok(false);
                    }
                    if !well {
                        return Err(format!(
                            "{}: the run failed, see above. Say the same again to go on.",
                            path.display()
                        )
                        .into());
                    }
                    let found = finished(&path, run)?;
                    found.ok_or_else(|| format!("{}: the run did not end", path.display()))?
                }
            };
            done(number, finished)?;
        }
        Ok(true)
    }
}

/// Trains one run in a process of its own, or goes on with it; whether it ended well.
fn train(
    path: &Path,
    run: &Run,
    (stopped, in_hand): (&AtomicBool, &InHand),
) -> Result<bool, CliError> {
    let mut words: Vec<OsString> = vec!["train".into()];
    if path.join("model.safetensors").exists() {
        words.extend(["--resume".into(), path.into()]);
    } else {
        // Left by a run that was stopped before its first checkpoint.
        if path.join("config.toml").exists() {
            std::fs::remove_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        words.extend(run.words.iter().cloned());
        words.extend(["--out".into(), path.into()]);
    }
    let program = std::env::current_exe()?;
    let failed = |e: std::io::Error| format!("{}: {e}", program.display());
    let mut command = process::Command::new(&program);
    command.args(words);
    dies_with_this(&mut command);
    let child = command.spawn().map_err(failed)?;
    *in_hand.lock().unwrap_or_else(|e| e.into_inner()) = Some(child);
    // Whoever was told to stop meanwhile found no run to tell it.
    if stopped.load(Ordering::SeqCst) {
        ask_to_stop(in_hand);
    }
    loop {
        let mut child = in_hand.lock().unwrap_or_else(|e| e.into_inner());
        let ended = child.as_mut().map_or(Ok(None), process::Child::try_wait);
        if let Some(status) = ended.map_err(failed)? {
            *child = None;
            return Ok(status.success());
        }
        drop(child);
        std::thread::sleep(LOOKING);
    }
}

/// Time between two looks whether a run has ended.
const LOOKING: Duration = Duration::from_millis(50);

/// The process that trains now, if one does. Only who holds it waits for it, so that a signal finds no other process by its number.
type InHand = Arc<Mutex<Option<process::Child>>>;

/// Ends a run when this process is killed outright: the same command given again would find it at work.
fn dies_with_this(command: &mut process::Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let parent = process::id();
        // SAFETY: `prctl` and `getppid` may be called between fork and exec, and nothing else is.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                match u32::try_from(libc::getppid()) {
                    Ok(found) if found == parent => Ok(()),
                    _ => Err(std::io::Error::from(std::io::ErrorKind::Interrupted)),
                }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Asks a run to stop after its step; asked again, it ends at once.
fn ask_to_stop(in_hand: &InHand) {
    let child = in_hand.lock().unwrap_or_else(|e| e.into_inner());
    #[cfg(unix)]
    if let Some(process) = child
        .as_ref()
        .and_then(|child| i32::try_from(child.id()).ok())
    {
        // SAFETY: sends a signal to a child that nobody has waited for yet.
        unsafe {
            libc::kill(process, libc::SIGTERM);
        }
    }
    drop(child);
}

/// What a run came to, if it has ended.
///
/// # Errors
/// If the run cannot be read, or has other settings than the series gives it now.
fn finished(path: &Path, run: &Run) -> Result<Option<Finished>, CliError> {
    if !path.join("model.safetensors").exists() {
        return Ok(None);
    }
    let (folder, config, checkpoint) = RunFolder::resume(path)?;
    check_same(&config.options, &settings(&run.words)?.options).map_err(|difference| {
        format!(
            "{}: this run has other settings than runs that begin today: {difference}. They do not belong in one table. \
             Name another folder with --out.",
            path.display()
        )
    })?;
    let epochs = config.options.epochs;
    let metrics = folder.metrics_until(epochs)?;
    let speeds = metrics.iter().map(|line| line.images_per_second).collect();
    let Some(last) = metrics.into_iter().find(|line| line.epoch == epochs) else {
        return Ok(None);
    };
    Ok((checkpoint.header.step >= last.step).then_some(Finished {
        checkpoint,
        last,
        speeds,
    }))
}
