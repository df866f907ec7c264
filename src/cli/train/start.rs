//! What a run begins with: fresh weights, those of another run, or its own.

use std::path::Path;

use super::TrainArgs;
use super::shared::Old;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cli::config::{Change, Config, changes};
use crate::cli::data_args::{fingerprint, load_data};
use crate::cli::elsewhere::{is_onnx_file, is_own, read_float_aloud, scaling_text};
use crate::cli::model_files::{find_model, input_of, is_file};
use crate::cli::output::{say, say_error};
use crate::cli::run_folder::is_of_run;
use crate::cli::{CliError, archives, facts_of, quoted};
use crate::data::Dataset;
use crate::graph::{Model, Scaling, vae_colour};
use crate::model::Parameters;
use crate::ranks::Communicator;
use crate::rescale::{is_far_off, rescale};
use crate::train::{Objective, Snapshot};

/// What a run begins with, on every rank.
pub(super) struct Prepared {
    pub config: Config,
    pub model: Model,
    pub data: Dataset,
    pub data_hash: String,
    /// What `--from` gave: weights to begin with.
    pub start: Option<Snapshot>,
}

/// Reads settings, data and model, and checks that they fit together.
pub(super) fn prepare(
    args: &TrainArgs,
    old: Option<&Old>,
    ranks: &dyn Communicator,
) -> Result<Prepared, CliError> {
    let mut config = settings(args, old, ranks)?;
    name_idle_flags(args, &config)?;
    let resumed = old.map(|old| &old.checkpoint);
    let takes = match resumed {
        Some(checkpoint) => Some(checkpoint.header.model()?.input),
        None => input_of(&config.model)?,
    };
    if let Some(old) = old {
        check_data_is_there(&old.path, config.data.as_deref())?;
    }
    args.pictures.refuse_idle(config.data.as_deref())?;
    let mut data = load_data(config.data.as_deref(), &config.pictures, takes, None)?;
    let mut model = match resumed {
        Some(checkpoint) => checkpoint.header.model()?,
        None => find_model(&config.model, Some(&facts_of(&data)))?,
    };
    let from_file = resumed.is_none() && is_file(&config.model);
    let is_description = config.model.ends_with(".toml");
    // A file in PyTorch's layout names no model: it is read as the one that is named, else as the one whose shapes fit.
    let named = match &config.from {
        Some(from) if from.display().to_string() == config.model => None,
        _ => Some(config.model.clone()),
    };
    match from_file {
        true => keep_network(&mut config, &model),
        false if model.name == "vae" && data.train.size() == vae_colour().input => {
            model = vae_colour();
            config.model = model.name.clone();
        }
        false => (),
    }
    if resumed.is_none() && model.latent().is_none() {
        refuse_latents(args, &model)?;
    }
    if let Some(limit) = config.limit {
        if limit == 0 {
            return Err("limit is 0: it must be at least 1 training image".into());
        }
        data.limit(limit);
    }
    if resumed.is_none() {
        if from_file {
            take_described(&mut config, args, &model);
        }
        model = model.with_latent(config.options.latent, config.options.likelihood);
        if config.float_ends {
            model = model.with_float_ends();
        }
        if let Some(quantiser) = config.quantiser {
            model = model.with_quantiser(quantiser);
        }
    }
    if model.likelihood.is_some() {
        model.classes = data.classes.len();
    }
    model.check_data(&data)?;
    config.options.check(data.train.count())?;
    config.options.check_ranks(ranks.count())?;
    let data_hash = fingerprint(&data.train);
    if let Some(old) = old {
        check_continuation(&old.path, &old.checkpoint, &mut config, &data, &data_hash)?;
    }
    let start = match (resumed, &config.from) {
        (None, Some(path)) => {
            let (start, scaling) =
                starting_weights(path, named.as_deref(), &model, config.options.seed)?;
            take_scaling(&mut model, scaling, (path, is_description))?;
            Some(start)
        }
        _ => None,
    };
    Ok(Prepared {
        config,
        model,
        data,
        data_hash,
        start,
    })
}

/// The settings of a new run, or those that another one goes on with.
fn settings(
    args: &TrainArgs,
    old: Option<&Old>,
    ranks: &dyn Communicator,
) -> Result<Config, CliError> {
    if let Some(old) = old {
        let mut config = old.config.clone();
        args.change(&mut config)?;
        return Ok(config);
    }
    let mut config = args.resolve()?;
    args.share_among(ranks.count(), &mut config);
    Ok(config)
}

/// Says which flags change nothing with these settings.
fn name_idle_flags(args: &TrainArgs, config: &Config) -> Result<(), CliError> {
    let idle = args.idle_flags(config);
    if idle.is_empty() {
        return Ok(());
    }
    let options = toml::Table::try_from(&config.options)?;
    let word = |key: &str| {
        let value = options.get(key).and_then(toml::Value::as_str);
        value.unwrap_or_default()
    };
    say_error!(
        "note: {} changes nothing with --optimiser {} and --objective {}",
        idle.join(", "),
        word("optimiser"),
        word("objective")
    );
    Ok(())
}

/// Asks where the data of a run are that lay elsewhere when it began.
fn check_data_is_there(run: &Path, data: Option<&Path>) -> Result<(), CliError> {
    match data {
        Some(data) if !archives::is_there(data) => Err(format!(
            "{}: the data of this run are not there any more. Say where they are now: \
             gtc train --resume {} --data DIR",
            data.display(),
            quoted(run)
        )
        .into()),
        _ => Ok(()),
    }
}

/// Of a network from a file that is no description the run keeps the network itself, and does not depend on the file.
fn keep_network(config: &mut Config, model: &Model) {
    let is_description = config.model.ends_with(".toml");
    if !is_description && config.from.is_none() {
        say_error!(
            "note: of {0} only the network is taken, and its weights begin anew. To begin with its weights: --from {0}",
            config.model
        );
    }
    if !is_description || is_of_run(Path::new(&config.model)) {
        config.model.clone_from(&model.name);
    }
}

/// Refuses flags of auto-encoders for other networks.
fn refuse_latents(args: &TrainArgs, model: &Model) -> Result<(), CliError> {
    let flags = [
        ("--latent", args.latent.is_some()),
        ("--likelihood", args.likelihood.is_some()),
        ("--kl-warmup", args.kl_warmup.is_some()),
    ];
    match flags.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(format!(
            "{flag} is for auto-encoders (vae-mlp, vae), not for {}",
            model.name
        )
        .into()),
        None => Ok(()),
    }
}

/// Checks that a run may go on with these settings and data, and writes into the settings what has changed.
fn check_continuation(
    folder: &Path,
    checkpoint: &Checkpoint,
    config: &mut Config,
    data: &Dataset,
    data_hash: &str,
) -> Result<(), CliError> {
    let old = &checkpoint.header;
    let shown = folder.display();
    let same_data = match &old.data_hash {
        Some(hash) => hash == data_hash,
        None => (&old.data, old.images) == (&data.name, data.train.count()),
    };
    if !same_data {
        return Err(format!(
            "{shown}: the {} training images of {} are not the {} of {} that this run has learned from. \
             Name the folder that holds those: gtc train --resume {} --data DIR",
            data.train.count(),
            data.name,
            old.images,
            old.data,
            quoted(folder)
        )
        .into());
    }
    let per_epoch = (data.train.count() / config.options.batch_size).max(1) as u64;
    let joined = old
        .options
        .joined_as_before(old.step, per_epoch, config.options.epochs);
    // Written by a continuation that ended before its first checkpoint, maybe for another number of epochs.
    let written = |change: &Change| {
        let to = Some(config.options.lp_start.into());
        (change.step, change.setting.as_str(), &change.to) == (old.step, "lp_start", &to)
    };
    if config.options.lp_start != old.options.lp_start && config.change.iter().any(written) {
        let of_now =
            |change: &Change| (change.step, change.setting.as_str()) == (old.step, "lp_start");
        config.change.retain(|change| !of_now(change));
        config.options.lp_start = old.options.lp_start;
    }
    let mut changed = changes(old.step, &old.options, &config.options)
        .map_err(|error| format!("{shown}: {error}"))?;
    if joined != old.options.lp_start {
        config.options.lp_start = joined;
        changed.push(Change {
            step: old.step,
            setting: "lp_start".to_owned(),
            from: Some(old.options.lp_start.into()),
            to: Some(joined.into()),
        });
    }
    let epochs = old.step.div_ceil(per_epoch);
    if u64::from(config.options.epochs) < epochs {
        return Err(format!(
            "{shown}: the run is in epoch {epochs} already and cannot end after {}",
            config.options.epochs
        )
        .into());
    }
    let wanted = config.options.epochs;
    if old
        .options
        .ends_without_low_precision(old.step, per_epoch, wanted)
    {
        return Err(format!(
            "{shown}: low precision has not joined in the {epochs} epochs that are done, and a run that ends here would have levels \
             that never learned. Name more: --epochs {}, for example",
            epochs + 1
        )
        .into());
    }
    for change in changed {
        say!("from step {} on: {change}", change.step);
        let repeats = |old: &Change| (old.step, &old.setting) == (change.step, &change.setting);
        // Written by a continuation that ended before its first checkpoint.
        config.change.retain(|old| !repeats(old));
        config.change.push(change);
    }
    Ok(())
}

/// What a description says of an auto-encoder goes before the defaults of options, and flags before that.
fn take_described(config: &mut Config, args: &TrainArgs, model: &Model) {
    if let (Some(latent), None) = (model.latent(), args.latent) {
        config.options.latent = latent;
    }
    if let (Some(likelihood), None) = (model.likelihood, &args.likelihood) {
        config.options.likelihood = likelihood;
    }
}

/// Lets the pixels of a model be scaled as those were that its weights from `from` learned from.
///
/// # Errors
/// If its description says otherwise.
fn take_scaling(
    model: &mut Model,
    learned: Scaling,
    (from, is_description): (&Path, bool),
) -> Result<(), CliError> {
    if model.scaling == learned {
        return Ok(());
    }
    let (shown, text) = (from.display(), scaling_text(&learned));
    if is_description && model.scaling != Scaling::NONE {
        return Err(format!(
            "{shown}: its weights learned from pixels {text}, and the description has pixels {}. Write the first into it, or leave \
             its `scaling` out",
            scaling_text(&model.scaling)
        )
        .into());
    }
    say_error!("note: {shown}: it reads pixels {text}, and so will this run");
    model.scaling = learned;
    Ok(())
}

/// What `--from` names, if it fits the model that is to learn, and how its pixels were scaled. `named` is what the user calls
/// that model.
fn starting_weights(
    path: &Path,
    named: Option<&str>,
    model: &Model,
    seed: u64,
) -> Result<(Snapshot, Scaling), CliError> {
    // Checkpoints, packed files and ONNX say themselves what they are; only PyTorch's layout needs the name.
    let described = match is_own(path) {
        true => None,
        false => named.filter(|_| !is_onnx_file(path)),
    };
    let mut checkpoint = read_float_aloud(path, described, None)?;
    let found = checkpoint.header.model()?;
    let shown = path.display();
    let has_no_levels = checkpoint.has_no_levels(&found);
    checkpoint.share_statistics(&found);
    let mut snapshot = checkpoint.snapshot;
    let other_classes = found.classes != model.classes
        && found
            .clone()
            .with_classes(model.classes)
            .is_some_and(|other| other.graph == model.graph);
    if other_classes {
        say_error!(
            "note: {shown}: it tells {} classes apart and the data have {}; the last layer starts anew",
            found.classes,
            model.classes
        );
        snapshot = with_fresh_end(&found, model, &snapshot, seed);
    } else if found.graph != model.graph && !differs_in_latent(&found, model) {
        return Err(CheckpointError::OtherModel {
            file: shown.to_string(),
            found: found.name,
            wanted: model.name.clone(),
        }
        .into());
    }
    if differs_in_latent(&found, model) {
        let [found, wanted] = [&found, model].map(|model| model.latent().unwrap_or(0));
        return Err(format!(
            "{shown}: its latent is {found} numbers, not {wanted}. Say --latent {found} to start from it."
        )
        .into());
    }
    if checkpoint.header.options.objective == Objective::Float
        && is_far_off(model, &snapshot.weights)
    {
        say_error!(
            "note: {shown}: its weights are of another size than training begins with; they are brought to it, which changes \
             nothing in what it computes"
        );
        rescale(model, &mut snapshot.weights, &mut snapshot.running[0]);
    }
    if has_no_levels {
        // Again, of weights that were brought to another size.
        snapshot.running[1] = snapshot.running[0].clone();
    }
    // Last, because scales start at what fits the weights.
    if found.quantiser != model.quantiser {
        Parameters::new(model).start_quantisers(&mut snapshot.weights);
    }
    Ok((snapshot, found.scaling))
}

/// Whether both are auto-encoders and their latents differ.
fn differs_in_latent(found: &Model, model: &Model) -> bool {
    matches!((found.latent(), model.latent()), (Some(found), Some(wanted)) if found != wanted)
}

/// What was learned for other classes, with a new last layer.
fn with_fresh_end(found: &Model, model: &Model, old: &Snapshot, seed: u64) -> Snapshot {
    let (from, to) = (Parameters::new(found), Parameters::new(model));
    let mut weights = to.initial(seed);
    let mut running = [to.initial_running(), to.initial_running()];
    for (from, to) in from.layers.iter().zip(&to.layers) {
        if from.shape != to.shape {
            continue;
        }
        to.place(&mut weights, &from.values(&old.weights));
    }
    for (from, to) in from.norms.iter().zip(&to.norms) {
        if from.channels != to.channels {
            continue;
        }
        let [gamma, beta] = from.values(&old.weights);
        to.place(&mut weights, &gamma, &beta);
        for (running, old) in running.iter_mut().zip(&old.running) {
            to.place_running(running, &from.running_values(old));
        }
    }
    let blank = vec![0.0; weights.len()];
    Snapshot {
        step: 0,
        weights,
        first_moment: blank.clone(),
        second_moment: blank,
        running,
        totals: vec![0.0; 16],
    }
}
