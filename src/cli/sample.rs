//! `gtc sample`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::pictures::{Grid, picture_path, save, side_by_side};
use super::{AnyModel, AutoEncoderArg, CliError, DeviceArgs, KernelArgs, outputs, tuning};
use crate::checkpoint::Checkpoint;
use crate::data::Images;
use crate::generate::{Which, draw_latents};
use crate::infer::pictures;
use crate::pack::PackedModel;

/// Samples at a time, at most.
const BATCH: usize = 100;

#[derive(clap::Args)]
#[command(mut_arg("model", |model| model.help("An auto-encoder: a .safetensors file, the folder of a run, or a packed .gtc file")))]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    model: AutoEncoderArg,
    /// Images of each network
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    count: u32,
    /// Decides the noise, which is the same for both networks
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Side of a pixel in the picture
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// The picture; its suffix names the format: png, jpg, gif or bmp
    #[arg(short, long, default_value = "samples.png", value_name = "FILE", value_parser = picture_path)]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    kernel: KernelArgs,
}

/// Images under their captions.
type Panels = Vec<(String, Images)>;

pub(super) fn run(args: &SampleArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::PICTURE, &[&args.model.model])?;
    let panels = match args.model.any()? {
        AnyModel::Trained(checkpoint) => trained(args, &checkpoint)?,
        AnyModel::Packed(model) => packed(args, *model)?,
    };
    let captions: Vec<&str> = panels.iter().map(|(caption, _)| &caption[..]).collect();
    let from = match panels.len() {
        1 => "",
        _ => ", from the same noise",
    };
    let grids: Vec<(String, Grid<'_>)> = panels
        .iter()
        .map(|(caption, images)| {
            let grid = Grid {
                images,
                columns: f64::from(args.count).sqrt().ceil() as usize,
                scale: args.scale,
            };
            (caption.clone(), grid)
        })
        .collect();
    save(&args.out, &side_by_side(&grids)?)?;
    say!(
        "{} samples ({}{from}): {}",
        args.count,
        captions.join("; "),
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn trained(args: &SampleArgs, checkpoint: &Checkpoint) -> Result<Panels, CliError> {
    if args.kernel.kernel.is_some() {
        return Err("--kernel is for packed models: make one with `gtc pack`".into());
    }
    let gpu = args.device.open()?;
    let count = args.count as usize;
    let generator = args.model.generator(&gpu, checkpoint, count.min(BATCH))?;
    let latents = draw_latents(args.seed, count, generator.latent());
    let model = checkpoint.header.model()?;
    let mut panels = Vec::new();
    for which in Which::of(checkpoint.learned(&model)) {
        let what = match which {
            Which::HighPrecision => "floats",
            Which::LowPrecision => model.quantiser.weights_in_words(),
        };
        let images = block_on(generator.decode(which, &latents))?;
        panels.push((format!("{}: {what}", which.name()), images));
    }
    Ok(panels)
}

fn packed(args: &SampleArgs, model: PackedModel) -> Result<Panels, CliError> {
    let gpu = args.device.open()?;
    let count = args.count as usize;
    let latents = draw_latents(args.seed, count, model.model.latent().unwrap_or(0));
    let kernel = args.kernel.arithmetic();
    let mut inference = tuning::inference(&gpu, model, count.min(BATCH), kernel)?;
    let logits = block_on(inference.decode(&latents, |_| ()))?;
    let model = inference.model();
    let caption = format!("packed: {}-bit integers", model.activations.bits());
    Ok(vec![(caption, pictures(model, &logits))])
}
