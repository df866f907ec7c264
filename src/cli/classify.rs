//! `gtc classify`

use crate::cli::output::{say, say_error};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::data_args::seen_by;
use super::picture_files::{Reads, pictures_below, spread};
use super::{AnyModel, CliError, DeviceArgs, KernelArgs, ModelArg, print_json, tuning};
use crate::checkpoint::Checkpoint;
use crate::data::Images;
use crate::evaluate::Evaluator;
use crate::infer::probabilities;
use crate::model::Model;
use crate::pack::PackedModel;

#[derive(clap::Args)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    model: ModelArg,
    /// Pictures (PNG, JPEG, WebP, GIF or BMP) of any size, folders of them, which are walked in the order of names, patterns
    /// such as '*.png', and - for standard input.
    ///
    /// A model that learned from a folder of pictures reads others as it read those. Digits may be dark on light,
    /// transparent, on grey paper and anywhere on the picture. Other pictures keep their proportions: grey ones are
    /// fitted into the model's size, colour ones cut to the middle. A picture
    /// of the model's own size is taken pixel by pixel. Files that cannot be read are named and counted; the exit
    /// code is then 1.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Classes to name for each picture, the most probable first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    top: u32,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One picture in what `--json` prints.
#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Read(Answer),
    Failed { image: String, error: String },
}

#[derive(Serialize)]
struct Answer {
    image: String,
    class: String,
    probability: f32,
    /// The most probable classes.
    top: Vec<Guess>,
    /// Of all classes, in their order.
    probabilities: Vec<f32>,
    inverted: bool,
    blank: bool,
    /// How the picture differs from all training images, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    unlike: Option<&'static str>,
}

#[derive(Serialize)]
struct Guess {
    class: String,
    probability: f32,
}

/// A picture file, and how it was prepared or why not.
struct File {
    name: String,
    read: Result<Note, String>,
}

/// What preparing a picture found.
struct Note {
    inverted: bool,
    blank: bool,
    unlike: Option<&'static str>,
}

pub(super) fn run(args: &ClassifyArgs) -> Result<ExitCode, CliError> {
    let (files, found, classes) = match args.model.load()? {
        AnyModel::Trained(checkpoint) => {
            if args.kernel.kernel.is_some() {
                return Err("--kernel is for packed models: make one with `gtc pack`".into());
            }
            let model = checkpoint.header.model()?;
            if model.likelihood.is_some() {
                return Err(format!(
                    "{}: {} makes pictures and names none; see `gtc reconstruct` and `gtc sample`",
                    args.model.model.display(),
                    model.name
                )
                .into());
            }
            let classes = checkpoint.header.classes.clone();
            let (images, files) = load_all(
                args,
                Reads::new(
                    model.input,
                    &classes,
                    seen_by(&args.model.model, &checkpoint.header),
                )?,
            )?;
            let found = match images.count() {
                0 => Vec::new(),
                _ => trained(args, &checkpoint, model, &images)?,
            };
            (files, found, classes)
        }
        AnyModel::Packed(model) => {
            args.model.refuse_decoder(&model)?;
            let classes = model.classes.clone();
            let (images, files) =
                load_all(args, Reads::new(model.model.input, &classes, model.seen)?)?;
            let found = match images.count() {
                0 => Vec::new(),
                _ => packed(args, *model, &images)?,
            };
            (files, found, classes)
        }
    };
    let mut found = found.into_iter();
    let rows = files.into_iter().map(|file| match file.read {
        Ok(note) => {
            let probabilities = found.next().unwrap_or_default();
            Row::Read(answer(file.name, &note, probabilities, &classes, args.top))
        }
        Err(error) => Row::Failed {
            image: file.name,
            error,
        },
    });
    let rows: Vec<Row> = rows.collect();
    match args.json {
        true => print_json(&rows)?,
        false => rows.iter().for_each(print),
    }
    let failed = rows.iter().filter(|row| matches!(row, Row::Failed { .. }));
    match failed.count() {
        0 => Ok(ExitCode::SUCCESS),
        failed => {
            say_error!("{failed} of {} pictures could not be read", rows.len());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Reads all pictures: (those that can be read, every file). An error is kept beside the answers of the others; only that
/// of a single picture ends the program.
fn load_all(args: &ClassifyArgs, reads: Reads) -> Result<(Images, Vec<File>), CliError> {
    let mut images = reads.none();
    let mut files = Vec::new();
    let named = spread(&args.images)?;
    let alone = named.len() == 1;
    for named in &named {
        let folder = named.is_dir();
        let paths = match folder {
            true => pictures_below(named)?,
            false => vec![named.clone()],
        };
        for path in paths {
            let read = match reads.read(&path) {
                Ok(prepared) => {
                    let note = Note {
                        inverted: prepared.inverted,
                        blank: prepared.blank,
                        unlike: reads.seen.and_then(|seen| seen.unlike(&prepared.pixels)),
                    };
                    images.pixels.extend(prepared.pixels);
                    images.labels.push(0);
                    Ok(note)
                }
                Err(error) if alone && !folder => return Err(error),
                Err(error) => Err(error.to_string()),
            };
            let name = path.display().to_string();
            files.push(File { name, read });
        }
    }
    Ok((images, files))
}

fn answer(
    image: String,
    note: &Note,
    probabilities: Vec<f32>,
    classes: &[String],
    top: u32,
) -> Answer {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    // Stable: of equals, the first class comes first.
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let guess = |class: &usize| Guess {
        class: classes.get(*class).cloned().unwrap_or_default(),
        probability: probabilities[*class],
    };
    let top: Vec<Guess> = order.iter().take(top as usize).map(guess).collect();
    Answer {
        image,
        class: top.first().map(|g| g.class.clone()).unwrap_or_default(),
        probability: top.first().map_or(0.0, |g| g.probability),
        top,
        probabilities,
        inverted: note.inverted,
        blank: note.blank,
        unlike: note.unlike,
    }
}

fn print(row: &Row) {
    let answer = match row {
        Row::Read(answer) => answer,
        Row::Failed { error, .. } => {
            say_error!("{error}");
            return;
        }
    };
    let guess = |guess: &Guess| format!("{}  {:.1} %", guess.class, 100.0 * guess.probability);
    let guesses: Vec<String> = answer.top.iter().map(guess).collect();
    let note = match (answer.blank, answer.unlike, answer.inverted) {
        (true, _, _) => "  (blank: nothing is on this picture)".to_owned(),
        (_, Some(unlike), _) => format!("  (doubtful: {unlike})"),
        (_, _, true) => "  (dark on light: inverted)".to_owned(),
        _ => String::new(),
    };
    say!("{}: {}{note}", answer.image, guesses.join(", "));
}

/// The probabilities of every image, by LP of a trained model, or by HP where LP never learned.
fn trained(
    args: &ClassifyArgs,
    checkpoint: &Checkpoint,
    model: Model,
    images: &Images,
) -> Result<Vec<Vec<f32>>, CliError> {
    let gpu = args.device.open()?;
    let round_norm = !checkpoint.header.options.exact_norm;
    let has_levels = !checkpoint.has_no_levels(&model);
    let mut evaluator = Evaluator::new(&gpu, model, images.count().min(64), round_norm)?;
    evaluator.set_running(&checkpoint.snapshot.running);
    evaluator.set_weights(&checkpoint.snapshot.weights);
    let (progress, predictions) = pollster::block_on(async {
        match has_levels {
            true => evaluator.test(images, |_| ()).await,
            false => evaluator.test_high_precision(images, |_| ()).await,
        }
    })?;
    progress
        .require_finite([!has_levels, has_levels])
        .map_err(|e| format!("{}: {e}", args.model.model.display()))?;
    Ok(predictions.probabilities)
}

/// The probabilities of every image, by a packed model.
fn packed(
    args: &ClassifyArgs,
    model: PackedModel,
    images: &Images,
) -> Result<Vec<Vec<f32>>, CliError> {
    let gpu = args.device.open()?;
    let scale = model.logit_scale();
    let batch = images.count().min(64);
    let mut inference = tuning::inference(&gpu, model, batch, args.kernel.arithmetic())?;
    let logits = pollster::block_on(inference.infer(images, |_| ()))?;
    let answer = |row: &Vec<i32>| {
        let probabilities = probabilities(row, scale);
        probabilities.iter().map(|p| *p as f32).collect()
    };
    Ok(logits.iter().map(answer).collect())
}
