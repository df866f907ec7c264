//! What the ranks of a run do besides training: begin alike, stop together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pollster::block_on;

use super::TrainArgs;
use super::session::LOOK_EVERY;
use crate::checkpoint::{self, Checkpoint, Header};
use crate::cli::CliError;
use crate::cli::config::Config;
use crate::cli::data_args::text_hash;
use crate::cli::ranks::{Fact, together};
use crate::cli::run_folder::RunFolder;
use crate::cli::signals::was_asked;
use crate::data::Dataset;
use crate::gpu::{Cooperative, Path};
use crate::graph::Model;
use crate::kernels;
use crate::ranks::{Communicator, any, from_first};
use crate::train::{TrainError, Trainer};
use std::process::ExitCode;

/// A run that goes on.
pub(super) struct Old {
    /// Its folder, which the first rank holds.
    pub folder: Option<RunFolder>,
    pub path: PathBuf,
    pub config: Config,
    /// Adapter, checks and form of kernels that its folder tells. On which device a run is continued is no setting of the run.
    pub device: (Option<String>, bool, Option<crate::gpu::Path>),
    pub checkpoint: Checkpoint,
}

impl Old {
    /// Opens the run that is to go on, if one is. Only the first rank needs its folder.
    pub fn open(args: &TrainArgs, ranks: &dyn Communicator) -> Result<Option<Self>, CliError> {
        let Some(path) = &args.resume else {
            return Ok(None);
        };
        let own = match ranks.rank() {
            0 => RunFolder::resume(path).map(Some),
            _ => Ok(None),
        };
        let opened = together(ranks, own)?;
        let (folder, config, checkpoint) = match opened {
            Some((folder, config, checkpoint)) => {
                if ranks.count() > 1 {
                    from_first(ranks, toml::to_string(&config)?.as_bytes());
                    from_first(ranks, &checkpoint::encode(&checkpoint)?);
                }
                (Some(folder), config, checkpoint)
            }
            None => {
                let config = String::from_utf8(from_first(ranks, &[]))?;
                let checkpoint = from_first(ranks, &[]);
                let shown = path.display().to_string();
                (
                    None,
                    toml::from_str(&config)?,
                    checkpoint::decode(&shown, &checkpoint)?,
                )
            }
        };
        Ok(Some(Self {
            folder,
            path: path.clone(),
            device: (config.adapter.clone(), config.checked, config.path),
            config,
            checkpoint,
        }))
    }
}

/// Does something on the first rank of every machine, then on the others, so that these find what it leaves in caches. Fails
/// everywhere if it fails anywhere.
pub(super) fn in_turns<T>(
    ranks: &dyn Communicator,
    turn: usize,
    run: impl FnOnce() -> Result<T, CliError>,
) -> Result<T, CliError> {
    let first = turn == 0;
    let mut run = Some(run);
    let mut go = |now: bool| match now {
        true => run.take().map(|run| run()).transpose(),
        false => Ok(None),
    };
    let before = together(ranks, go(first))?;
    let after = together(ranks, go(!first))?;
    Ok(before.or(after).expect("it is either's turn"))
}

/// In what ranks must not differ.
pub(super) fn facts(
    config: &Config,
    model: &Model,
    data_hash: &str,
) -> Result<Vec<Fact>, CliError> {
    let mut texts = kernels::texts(Path::Gpu);
    // Of one size: the text is the same for all.
    texts.extend(kernels::cooperative_texts(Cooperative {
        size: 8,
        lanes: 8,
    }));
    let texts: String = texts.into_iter().map(|(_, text)| text).collect();
    let mut facts = vec![
        Fact::new("the version of gtc", env!("CARGO_PKG_VERSION")),
        Fact::new("the hash of all kernels", text_hash(&texts)),
        Fact::new("the hash of the training images", data_hash),
        Fact::new("the model", model.to_toml()),
    ];
    // Where the data lie and on which device each works may differ.
    let own = ["data", "adapter", "reading"];
    for (name, value) in toml::Table::try_from(config)? {
        if !own.contains(&name.as_str()) {
            facts.push(Fact::new(&name, value));
        }
    }
    Ok(facts)
}

/// Lets all ranks begin with the state of the first.
pub(super) fn share_state(
    ranks: &dyn Communicator,
    trainer: &mut Trainer<'_>,
    header: &Header,
) -> Result<(), CliError> {
    if ranks.count() == 1 {
        return Ok(());
    }
    let bytes = match ranks.rank() {
        0 => checkpoint::encode(&Checkpoint {
            header: Header {
                step: trainer.steps_done(),
                ..header.clone()
            },
            snapshot: block_on(trainer.snapshot())?,
        }),
        _ => Ok(Vec::new()),
    };
    let bytes = together(ranks, bytes.map_err(CliError::from))?;
    let state = checkpoint::decode("the state of rank 0", &from_first(ranks, &bytes))?;
    trainer.restore(&state.snapshot);
    Ok(())
}

/// Whether a run is to stop: what one rank is asked, all do, after the same step.
pub(super) struct Stop<'a> {
    pub asked: Arc<AtomicBool>,
    pub ranks: &'a dyn Communicator,
}

impl Stop<'_> {
    /// Asks all ranks.
    pub fn is_asked(&self) -> bool {
        any(self.ranks, self.asked.load(Ordering::SeqCst) || was_asked())
    }
}

/// What all ranks but the first do: the same steps and tests, without words and files.
pub(super) async fn follow(
    trainer: &mut Trainer<'_>,
    data: &Dataset,
    stop: &Stop<'_>,
) -> Result<ExitCode, CliError> {
    let steps = trainer.steps_per_epoch();
    let mut tested_once = false;
    while trainer.steps_done() < trainer.total_steps() {
        trainer.train_step(&data.train);
        trainer.check()?;
        let done = trainer.steps_done();
        let stopping = stop.is_asked();
        if done.is_multiple_of(LOOK_EVERY) {
            // Of a loss that is no number the first rank tells.
            if let Err(TrainError::Gpu(error)) = trainer.progress().await {
                return Err(error.into());
            }
        }
        if done.is_multiple_of(steps) {
            trainer.reset_totals();
            trainer.test(&data.test, |_| ()).await?;
            tested_once = true;
        }
        if stopping && done < trainer.total_steps() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !tested_once {
        trainer.test(&data.test, |_| ()).await?;
    }
    Ok(ExitCode::SUCCESS)
}
