//! A run folder: `config.toml`, `model.toml`, `metrics.jsonl`, `model.safetensors`, `report.html`.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CliError;
use super::config::Config;
use crate::checkpoint::{self, Checkpoint, write_atomically};
use crate::evaluate::Progress;
use crate::graph::Model;

/// Terms of negative evidence lower bounds, means over test images, in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ElboTerms {
    /// Reconstruction of HP, summed over pixels.
    pub hp_reconstruction: f64,
    /// KL(q || N(0, 1)) of HP.
    pub hp_divergence: f64,
    /// Reconstruction of LP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lp_reconstruction: Option<f64>,
    /// KL(q || N(0, 1)) of LP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lp_divergence: Option<f64>,
}

impl ElboTerms {
    /// From a test of HP, and of LP if it has joined: else its terms are absent.
    pub fn new(tested: &Progress, joined: bool) -> Self {
        Self {
            hp_reconstruction: tested.hp.mean_reconstruction(),
            hp_divergence: tested.hp.mean_divergence(),
            lp_reconstruction: joined.then(|| tested.lp.mean_reconstruction()),
            lp_divergence: joined.then(|| tested.lp.mean_divergence()),
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
    /// Mean training loss of HP: cross entropy with the labels, or what an auto-encoder minimises.
    pub train_hp_loss: f64,
    /// Mean training loss of LP: cross entropy with HP's probabilities. Numbers of LP are absent before it joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_lp_loss: Option<f64>,
    /// Mean test loss of HP: cross entropy with the labels, or the negative evidence lower bound.
    pub hp_loss: f64,
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

/// Where a run keeps what it makes.
pub(crate) struct RunFolder {
    path: PathBuf,
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
            Some(path) => path.to_owned(),
            None => (1..)
                .map(|n| PathBuf::from(format!("runs/{name}-{n}")))
                .find(|path| !path.exists())
                .ok_or("no free name for a run folder")?,
        };
        let folder = Self { path };
        if folder.model().exists() || folder.file("config.toml").exists() {
            let shown = folder.path.display();
            return Err(format!(
                "{shown} already holds a run. Continue it with --resume {shown}, or name another folder with --out."
            )
            .into());
        }
        std::fs::create_dir_all(&folder.path)
            .map_err(|e| format!("{}: {e}", folder.path.display()))?;
        write_atomically(
            &folder.file("config.toml"),
            toml::to_string(config)?.as_bytes(),
        )?;
        write_atomically(&folder.file("model.toml"), model.to_toml().as_bytes())?;
        Ok(folder)
    }

    /// Opens the folder of an interrupted run, with its settings and its last checkpoint.
    pub fn resume(path: &Path) -> Result<(Self, Config, Checkpoint), CliError> {
        let folder = Self {
            path: path.to_owned(),
        };
        let file = folder.file("config.toml");
        let shown = file.display();
        let text = std::fs::read_to_string(&file)
            .map_err(|e| format!("{shown}: {e}. Is {} the folder of a run?", path.display()))?;
        let config: Config = toml::from_str(&text).map_err(|e| format!("{shown}: {e}"))?;
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

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Keeps a picture of samples after an epoch.
    pub fn save_samples(&self, epoch: u32, png: &[u8]) -> Result<(), CliError> {
        let name = format!("samples-epoch-{epoch:03}.png");
        Ok(write_atomically(&self.file(&name), png)?)
    }

    /// The picture of samples after an epoch, if there is one.
    pub fn samples(&self, epoch: u32) -> Option<Vec<u8>> {
        std::fs::read(self.file(&format!("samples-epoch-{epoch:03}.png"))).ok()
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
        Ok(write_atomically(
            &self.model(),
            &checkpoint::encode(checkpoint)?,
        )?)
    }

    /// Replaces the report.
    pub fn save_report(&self, page: &str) -> Result<PathBuf, CliError> {
        let path = self.file("report.html");
        write_atomically(&path, page.as_bytes())?;
        Ok(path)
    }

    /// The lines written so far, up to an epoch; later ones belong to work that was lost with a
    /// killed process and will be done again.
    pub fn metrics_until(&self, epoch: u32) -> Result<Vec<EpochMetrics>, CliError> {
        let path = self.file("metrics.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(format!("{}: {e}", path.display()).into()),
        };
        // A line cut short by a kill does not parse; everything after it is from no later time.
        let lines: Vec<EpochMetrics> = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .filter(|m: &EpochMetrics| m.epoch <= epoch)
            .collect();
        let mut kept = String::new();
        for line in &lines {
            kept += &serde_json::to_string(line)?;
            kept.push('\n');
        }
        if kept != text {
            write_atomically(&path, kept.as_bytes())?;
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
