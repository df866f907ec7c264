//! `gtc train`

mod args;
mod profile;
mod session;
mod shared;
mod start;

pub(crate) use args::TrainArgs;
pub(in crate::cli) use profile::print_profile;
use session::{DRAWN, Session};
use shared::{Old, Stop, facts, follow, in_turns, share_state};
use start::{Prepared, prepare};

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pollster::block_on;

use super::data_args::reading;
use super::ranks::{Fact, Group, Role, begin, launched, refuse_differences, together};
use super::run_folder::RunFolder;
use super::signals::{listen_to_launcher, on_stop};
use super::tuning::tuned_for;
use super::{CliError, DeviceArgs};
use crate::checkpoint::{Header, VERSION};
use crate::data::Seen;
use crate::generate::Generator;
use crate::graph::Description;
use crate::inspect::inspect;
use crate::pack::PackedSize;
use crate::train::Trainer;

pub(super) fn run(args: TrainArgs) -> Result<ExitCode, CliError> {
    match begin(args.ranks)? {
        Role::Done(code) => Ok(code),
        Role::Train(group) => {
            let result = run_on(&args, &group);
            group.end(result)
        }
    }
}

/// Trains as one of the ranks.
fn run_on(args: &TrainArgs, group: &Group) -> Result<ExitCode, CliError> {
    let ranks = group.ranks();
    if args.profile && ranks.count() > 1 {
        let text = "--profile measures the kernels of one process: leave --ranks out";
        return together(ranks, Err(text.into()));
    }
    let old = Old::open(args, ranks)?;
    let place = launched(|name| std::env::var(name).ok())?;
    let turn = place.map_or(0, |place| place.local);
    let Prepared {
        mut config,
        model,
        data,
        data_hash,
        start,
    } = in_turns(ranks, turn, || prepare(args, old.as_ref(), ranks))?;
    let facts = facts(&config, &model, &data_hash)?;
    refuse_differences(ranks, &facts)?;
    let device = DeviceArgs {
        adapter: config.adapter.clone(),
        checked: config.checked,
        path: config.path,
        no_twins: args.device.no_twins,
    };
    let gpu = together(ranks, device.open_for(turn, config.options.precision))?;
    let mut kind = Fact::new(
        "the device",
        match gpu.matrices() {
            None => format!("{} ({})", gpu.name(), gpu.path().name()),
            Some(m) => format!("{} (matrices of {}, {} lanes)", gpu.name(), m.size, m.lanes),
        },
    );
    kind.may_differ = true;
    refuse_differences(ranks, &[kind])?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    on_stop(move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    if ranks.count() > 1 {
        listen_to_launcher();
    }
    let alone = ranks.count() == 1;
    let tuned = tuned_for(gpu, &model, &config.options, args.tune, alone);
    let gpu = together(ranks, tuned)?;
    let options = config.options.clone();
    let made = Trainer::with_ranks(&gpu, ranks, model, &data.train, options);
    let mut trainer = together(ranks, made.map_err(CliError::from))?;
    let stop = Stop { asked: stop, ranks };
    let resumed = old.as_ref().map(|old| &old.checkpoint);
    if resumed.is_none() {
        config.reading = reading(config.data.as_deref(), &config.pictures)?;
    }
    let (data_name, classes) = match resumed {
        // The same images under another name do not make another run.
        Some(checkpoint) => (&checkpoint.header.data, &checkpoint.header.classes),
        None => (&data.name, &data.classes),
    };
    let header = Header {
        version: VERSION,
        model: trainer.model().name.clone(),
        graph: Some(Description::of(trainer.model())),
        data: data_name.clone(),
        classes: classes.clone(),
        images: data.train.count(),
        data_hash: Some(data_hash),
        seen: Seen::of(&data.train).map(|seen| Seen {
            reading: config.reading,
            ..seen
        }),
        step: 0,
        learned: None,
        options: config.options.clone(),
    };
    if let Some(checkpoint) = resumed {
        trainer.restore(&checkpoint.snapshot);
    }
    if let Some(snapshot) = &start {
        trainer.start_from(snapshot);
    }
    share_state(ranks, &mut trainer, &header)?;
    if !group.writes() {
        together(ranks, Ok(()))?;
        return block_on(follow(&mut trainer, &data, &stop));
    }
    let described = trainer.model().clone();
    let begin = || -> Result<_, CliError> {
        let generator = Generator::new(&gpu, described.clone(), DRAWN)?;
        let folder = match old {
            Some(old) => {
                let folder = old.folder.expect("the first rank holds the folder");
                (config.adapter, config.checked, config.path) = old.device;
                folder.save_config(&config)?;
                folder
            }
            None => {
                let folder = RunFolder::create(args.out.as_deref(), &config, &described)?;
                if start.is_some() {
                    let weights = block_on(trainer.weights())?;
                    folder.save_start(&inspect(trainer.parameters(), &weights))?;
                }
                folder
            }
        };
        let size = match header.options.target_size {
            0 => None,
            _ => Some(PackedSize::of(&described)?),
        };
        Ok((generator, folder, size))
    };
    let (generator, folder, size) = together(ranks, begin())?;
    let mut session = Session::new(trainer, generator, header, &data, stop, (folder, size))?;
    session.introduce(&gpu);
    if args.profile {
        session.profile()?;
    }
    block_on(session.train())
}
