//! A run folder: `config.toml`, `model.toml`, `metrics.jsonl`, `model.safetensors`, `report.html`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::CliError;
use super::config::Config;
use super::output::say_error;
use crate::checkpoint::{self, Checkpoint};
use crate::evaluate::Progress;
use crate::files::{self, Lock, LockError};
use crate::graph::Model;
use crate::inspect::LayerReport;

/// Terms of negative evidence lower bounds, means over test images, in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ElboTerms {
    /// Reconstruction of HP, summed over pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hp_reconstruction: Option<f64>,
    /// KL(q || N(0, 1)) of HP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hp_divergence: Option<f64>,
    /// Reconstruction of LP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lp_reconstruction: Option<f64>,
    /// KL(q || N(0, 1)) of LP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lp_divergence: Option<f64>,
}

impl ElboTerms {
    /// From a test of HP and LP. Terms of a network that has not `learned` are absent.
    pub fn new(tested: &Progress, learned: [bool; 2]) -> Self {
        let [hp, lp] = learned;
        Self {
            hp_reconstruction: hp.then(|| tested.hp.mean_reconstruction()),
            hp_divergence: hp.then(|| tested.hp.mean_divergence()),
            lp_reconstruction: lp.then(|| tested.lp.mean_reconstruction()),
            lp_divergence: lp.then(|| tested.lp.mean_divergence()),
        }
    }
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u32,
    /// Steps done.
    pub step: u64,
    /// Mean training loss of HP: cross entropy with the labels, or what an auto-encoder minimises. Numbers of HP are
    /// absent where LP alone learns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_hp_loss: Option<f64>,
    /// Mean training loss of LP: cross entropy with HP's probabilities. Numbers of LP are absent before it joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_lp_loss: Option<f64>,
    /// Mean test loss of HP: cross entropy with the labels, or the negative evidence lower bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hp_loss: Option<f64>,
    /// Mean test loss of LP: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lp_loss: Option<f64>,
    /// Share of the test images HP names rightly, of a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hp_accuracy: Option<f64>,
    /// Share of the test images LP names rightly, of a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lp_accuracy: Option<f64>,
    /// The two terms of the test losses of an auto-encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elbo: Option<ElboTerms>,
    /// Sum of 2^bits.
    pub bit_loss: f64,
    /// Bits of each layer.
    pub bits: Vec<u32>,
    /// Exponents from the smallest to the largest in each layer.
    pub levels: Vec<u32>,
    /// Training speed.
    pub images_per_second: f64,
}

/// Files that a run makes, apart from samples.
const OWN: [&str; 7] = [
    "config.toml",
    DESCRIPTION,
    "metrics.jsonl",
    "model.safetensors",
    "report.html",
    START,
    LOCK,
];
/// How long a process that was killed, such as one of several ranks, may take to end and let go of what it held.
const ENDING: Duration = Duration::from_secs(3);
/// The layers that a run from given weights began with, for its report.
const START: &str = "start.json";
/// Held by the process that trains.
const LOCK: &str = "run.lock";

/// The network of a run.
pub(crate) const DESCRIPTION: &str = "model.toml";

/// Whether a file is the [`DESCRIPTION`] of a run.
pub(crate) fn is_of_run(file: &Path) -> bool {
    file.ends_with(DESCRIPTION) && file.with_file_name("config.toml").is_file()
}

/// How the names of pictures of samples begin.
const SAMPLES: &str = "samples-epoch-";

/// Where a run keeps what it makes.
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Kept by the process that may write here.
    _lock: Option<Lock>,
}

impl RunFolder {
    /// Makes a new folder: the one asked for, or the next free `runs/MODEL-N`. It begins with the settings of the
    /// run and the description of its model.
    pub fn create(wanted: Option<&Path>, config: &Config, model: &Model) -> Result<Self, CliError> {
        // A description is called after its file.
        let name = match config.model.strip_suffix(".toml") {
            Some(file) => Path::new(file)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy(),
            None => model.name.as_str().into(),
        };
        let path = match wanted {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
                path.to_owned()
            }
            None => next_free(&name)?,
        };
        let folder = Self {
            _lock: own(&path, LOCK, "trains the run in this folder")?,
            path,
        };
        let shown = folder.path.display();
        if folder.model().exists() || folder.file("config.toml").exists() {
            return Err(format!(
                "{shown} already holds a run. Continue it with --resume {shown}, or name another folder with --out."
            )
            .into());
        }
        let is_there = |name: &&&str| **name != LOCK && folder.file(name).exists();
        if let Some(name) = OWN.iter().find(is_there) {
            return Err(format!(
                "{shown} holds a file called {name}, which a run would replace. Name another folder with --out."
            )
            .into());
        }
        folder.save_config(config)?;
        files::write(&folder.file(DESCRIPTION), model.to_toml().as_bytes())?;
        Ok(folder)
    }

    /// Replaces the settings.
    pub fn save_config(&self, config: &Config) -> Result<(), CliError> {
        let text = toml::to_string(config)?;
        Ok(files::write(&self.file("config.toml"), text.as_bytes())?)
    }

    /// Opens the folder of an interrupted run, with its settings and its last checkpoint. No other process may go on with
    /// it until the folder is dropped.
    pub fn resume(path: &Path) -> Result<(Self, Config, Checkpoint), CliError> {
        let mut folder = Self {
            path: path.to_owned(),
            _lock: None,
        };
        let file = folder.file("config.toml");
        let shown = file.display();
        let text = std::fs::read_to_string(&file)
            .map_err(|e| format!("{shown}: {e}. Is {} the folder of a run?", path.display()))?;
        let config: Config = toml::from_str(&text).map_err(|e| format!("{shown}: {e}"))?;
        folder._lock = own(path, LOCK, "trains the run in this folder")?;
        files::remove_unfinished(path, &OWN);
        let model = folder.model();
        if !model.exists() {
            let shown = path.display();
            return Err(format!(
                "{shown}: the run was stopped before its first checkpoint. Remove the folder and train again."
            )
            .into());
        }
        let checkpoint = checkpoint::load(&model)?;
        if !checkpoint.snapshot.is_whole() {
            let shown = model.display();
            return Err(format!(
                "{shown} holds weights alone, from which nothing continues. Put the run's own file back."
            )
            .into());
        }
        if checkpoint.header.model != config.model && !config.model.ends_with(".toml") {
            return Err(checkpoint::CheckpointError::OtherModel {
                file: model.display().to_string(),
                found: checkpoint.header.model,
                wanted: config.model,
            }
            .into());
        }
        Ok((folder, config, checkpoint))
    }

    /// Whether a file belongs to a run, so that nothing else may be written there.
    pub fn owns(file: &Path) -> bool {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let samples = name.starts_with(SAMPLES) && name.ends_with(".png");
        let of_a_run = || file.with_file_name("config.toml").exists();
        (OWN.contains(&&*name) || samples) && of_a_run()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Keeps a picture of samples after an epoch.
    pub fn save_samples(&self, epoch: u32, png: &[u8]) -> Result<(), CliError> {
        Ok(files::write(&self.file(&samples_name(epoch)), png)?)
    }

    /// The picture of samples after an epoch, if there is one.
    pub fn samples(&self, epoch: u32) -> Option<Vec<u8>> {
        std::fs::read(self.file(&samples_name(epoch))).ok()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint.
    pub fn model(&self) -> PathBuf {
        self.file("model.safetensors")
    }

    /// Replaces the checkpoint, all or nothing.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), CliError> {
        Ok(files::write(
            &self.model(),
            &checkpoint::encode(checkpoint)?,
        )?)
    }

    /// Keeps the layers that the run began with.
    pub fn save_start(&self, layers: &[LayerReport]) -> Result<(), CliError> {
        Ok(files::write(
            &self.file(START),
            &serde_json::to_vec(layers)?,
        )?)
    }

    /// The layers that the run began with, if they were kept.
    pub fn start(&self) -> Option<Vec<LayerReport>> {
        serde_json::from_slice(&std::fs::read(self.file(START)).ok()?).ok()
    }

    /// Replaces the report.
    pub fn save_report(&self, page: &str) -> Result<PathBuf, CliError> {
        let path = self.file("report.html");
        files::write(&path, page.as_bytes())?;
        Ok(path)
    }

    /// The lines written so far, up to an epoch; later ones belong to work that was lost with a
    /// killed process and will be done again. Lines that cannot be read are left out, and a copy of the file as it was is kept;
    /// not for a last line without an end, which a kill has cut short.
    pub fn metrics_until(&self, epoch: u32) -> Result<Vec<EpochMetrics>, CliError> {
        let path = self.file("metrics.jsonl");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(format!("{}: {e}", path.display()).into()),
        };
        let text = String::from_utf8_lossy(&bytes);
        let read: Vec<Option<EpochMetrics>> = text
            .lines()
            .map(|line| serde_json::from_str(line).ok())
            .collect();
        let damaged = |line: &Option<EpochMetrics>| line.is_none();
        let is_cut_short = |at: usize| at + 1 == read.len() && !text.ends_with('\n');
        if let Some(at) = read
            .iter()
            .position(damaged)
            .filter(|at| !is_cut_short(*at))
        {
            let copy = self.file("metrics.jsonl.damaged");
            files::write(&copy, &bytes)?;
            say_error!(
                "note: {}: line {} cannot be read and is left out. The file as it was is {}",
                path.display(),
                at + 1,
                copy.display()
            );
        }
        let lines: Vec<EpochMetrics> = read
            .into_iter()
            .flatten()
            .filter(|m| m.epoch <= epoch)
            .collect();
        let mut kept = String::new();
        for line in &lines {
            kept += &serde_json::to_string(line)?;
            kept.push('\n');
        }
        if kept.as_bytes() != bytes {
            files::write(&path, kept.as_bytes())?;
        }
        Ok(lines)
    }

    /// Appends one line.
    pub fn append(&self, metrics: &EpochMetrics) -> Result<(), CliError> {
        let path = self.file("metrics.jsonl");
        let line = serde_json::to_string(metrics)? + "\n";
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|e| format!("{}: {e}", path.display()).into())
    }
}

/// Makes the first of `runs/NAME-1`, `runs/NAME-2`, ... that is not there yet.
fn next_free(name: &str) -> Result<PathBuf, CliError> {
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let all = Path::new("runs");
    std::fs::create_dir_all(all).map_err(|e| failed(all, e))?;
    for n in 1.. {
        let path = all.join(format!("{name}-{n}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // Another process may take a name at the same moment.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(&path, e).into()),
        }
    }
    Err("no free name for a run folder".into())
}

/// Makes this process the only one that may write into a folder. `does` says what for, of whoever holds it.
pub(crate) fn own(folder: &Path, lock: &str, does: &str) -> Result<Option<Lock>, CliError> {
    let host = sysinfo::System::host_name().unwrap_or_default();
    let owner = format!("process {} on {host}", std::process::id());
    let shown = folder.display();
    let path = folder.join(lock);
    let mut taken = Lock::take(&path, &owner);
    let asked = Instant::now();
    while matches!(taken, Err(LockError::Held(_))) && asked.elapsed() < ENDING {
        std::thread::sleep(Duration::from_millis(100));
        taken = Lock::take(&path, &owner);
    }
    taken.map_err(|error| match error {
        LockError::Held(holder) => {
            let holder = match holder.as_str() {
                "" => "another process",
                holder => holder,
            };
            format!(
                "{shown}: {holder} {does} now. Wait until it has ended, or stop it with Ctrl-C, upon which it saves"
            )
            .into()
        }
        LockError::Io(error) => format!("{shown}: {lock}: {error}").into(),
    })
}

fn samples_name(epoch: u32) -> String {
    format!("{SAMPLES}{epoch:03}.png")
}
