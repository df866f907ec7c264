//! `gtc classify`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::imageops::FilterType;
use serde::Serialize;

use super::{AnyModel, CliError, DeviceArgs, KernelArgs, ModelArg, print_json, tuning};
use crate::checkpoint::Checkpoint;
use crate::data::Images;
use crate::evaluate::Evaluator;
use crate::infer::{best, probabilities};
use crate::model::Model;
use crate::pack::PackedModel;

/// Largest side of a picture taken for sensible, in pixels.
const MAX_SIDE: u32 = 16_384;

#[derive(clap::Args)]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    model: ModelArg,
    /// Pictures, PNG or JPEG; they are scaled to the model's size, and made grey if it reads grey
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
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
struct Answer {
    image: String,
    class: String,
    probability: f32,
    probabilities: Vec<f32>,
    inverted: bool,
}

/// Class and probabilities of every picture.
type Found = Vec<(usize, Vec<f32>)>;

pub(super) fn run(args: &ClassifyArgs) -> Result<ExitCode, CliError> {
    let (found, classes, inverted) = match args.model.load()? {
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
            let (images, inverted) = load_all(args, model.input)?;
            let found = trained(args, &checkpoint, model, &images)?;
            (found, checkpoint.header.classes, inverted)
        }
        AnyModel::Packed(model) => {
            args.model.refuse_decoder(&model)?;
            let (images, inverted) = load_all(args, model.model.input)?;
            let classes = model.classes.clone();
            (packed(args, *model, &images)?, classes, inverted)
        }
    };
    let answers: Vec<Answer> = found
        .into_iter()
        .enumerate()
        .map(|(i, (class, probabilities))| Answer {
            image: args.images[i].display().to_string(),
            class: classes[class].clone(),
            probability: probabilities[class],
            probabilities,
            inverted: inverted[i],
        })
        .collect();
    if args.json {
        print_json(&answers)?;
        return Ok(ExitCode::SUCCESS);
    }
    for answer in &answers {
        let note = if answer.inverted {
            "  (dark on light: inverted)"
        } else {
            ""
        };
        println!(
            "{}: {}  {:.1} %{note}",
            answer.image,
            answer.class,
            100.0 * answer.probability
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn load_all(args: &ClassifyArgs, size: [usize; 3]) -> Result<(Images, Vec<bool>), CliError> {
    let [height, width, channels] = size;
    let mut images = Images {
        height,
        width,
        channels,
        ..Images::default()
    };
    let mut inverted = Vec::new();
    for path in &args.images {
        let (pixels, flipped) = load(path, size)?;
        images.pixels.extend(pixels);
        images.labels.push(0);
        inverted.push(flipped);
    }
    Ok((images, inverted))
}

fn trained(
    args: &ClassifyArgs,
    checkpoint: &Checkpoint,
    model: Model,
    images: &Images,
) -> Result<Found, CliError> {
    let gpu = args.device.open()?;
    let round_norm = !checkpoint.header.options.exact_norm;
    let mut evaluator = Evaluator::new(&gpu, model, images.count().min(64), round_norm)?;
    evaluator.set_running(&checkpoint.snapshot.running);
    evaluator.set_weights(&checkpoint.snapshot.weights);
    let (_, predictions) = pollster::block_on(evaluator.test(images, |_| ()))?;
    let classes = predictions.class.into_iter().map(usize::from);
    Ok(classes.zip(predictions.probabilities).collect())
}

fn packed(args: &ClassifyArgs, model: PackedModel, images: &Images) -> Result<Found, CliError> {
    let gpu = args.device.open()?;
    let scale = model.logit_scale();
    let batch = images.count().min(64);
    let mut inference = tuning::inference(&gpu, model, batch, args.kernel.arithmetic())?;
    let logits = pollster::block_on(inference.infer(images, |_| ()))?;
    let answer = |row: &Vec<i32>| {
        let probabilities = probabilities(row, scale);
        (best(row), probabilities.iter().map(|p| *p as f32).collect())
    };
    Ok(logits.iter().map(answer).collect())
}

/// Pixels of a picture as the data sets have them, (height, width, channels), and whether it came
/// the other way round: grey data sets are light on dark, so a picture in them whose border is
/// light is inverted.
fn load(path: &Path, size: [usize; 3]) -> Result<(Vec<u8>, bool), CliError> {
    let shown = path.display();
    let mut reader = image::ImageReader::open(path)
        .and_then(|reader| reader.with_guessed_format())
        .map_err(|e| format!("{shown}: {e}"))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| {
        format!("{shown}: not a picture that can be read ({e}). PNG and JPEG up to {MAX_SIDE} pixels a side are.")
    })?;
    let [height, width, channels] = size;
    let picture = picture.resize_exact(width as u32, height as u32, FilterType::Triangle);
    if channels == 3 {
        return Ok((picture.into_rgb8().into_raw(), false));
    }
    let mut pixels = picture.into_luma8().into_raw();
    let border: Vec<u8> = (0..pixels.len())
        .filter(|i| {
            let (x, y) = (i % width, i / width);
            x == 0 || y == 0 || x == width - 1 || y == height - 1
        })
        .map(|i| pixels[i])
        .collect();
    let light = border.iter().map(|v| u32::from(*v)).sum::<u32>() > 128 * border.len() as u32;
    if light {
        pixels.iter_mut().for_each(|v| *v = 255 - *v);
    }
    Ok((pixels, light))
}
