//! Several training runs as one piece of work that can be stopped and said again: each run a process and a folder of its
//! own, within the folder of the series.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
            return Err(format!("{name} belongs before the two dashes, to `gtc {command}`").into());
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
        on_stop(move || asked.store(true, Ordering::SeqCst))?;
        Ok(Self {
            folder,
            stopped,
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
                    let well = train(&path, run)?;
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
fn train(path: &Path, run: &Run) -> Result<bool, CliError> {
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
    let status = process::Command::new(&program).args(words).status();
    Ok(status
        .map_err(|e| format!("{}: {e}", program.display()))?
        .success())
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
