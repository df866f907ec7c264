//! `gtc interpolate`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::data_args::seen_by;
use super::picture_files::Reads;
use super::pictures::{Grid, format_of, picture_path, rows, save, save_gif, side_by_side};
use super::{AutoEncoderArg, CliError, DeviceArgs, outputs};
use crate::data::Images;
use crate::generate::Which;

#[derive(clap::Args)]
pub(crate) struct InterpolateArgs {
    #[command(flatten)]
    model: AutoEncoderArg,
    /// The first picture, of any size (PNG, JPEG, WebP, GIF or BMP; - for standard input), prepared as `gtc classify` does
    #[arg(value_name = "A")]
    from: PathBuf,
    /// The last picture
    #[arg(value_name = "B")]
    to: PathBuf,
    /// Images on the way, both ends included
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=256))]
    steps: u32,
    /// Side of a pixel in the picture [default: 2, in an animation 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: Option<u32>,
    /// A picture with all steps (png, jpg or bmp), or a gif that walks there and back
    #[arg(short, long, default_value = "walk.png", value_name = "FILE", value_parser = picture_path)]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &InterpolateArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::PICTURE, &[&args.from, &args.to])?;
    let checkpoint = args.model.load()?;
    let model = checkpoint.header.model()?;
    let reads = Reads::new(
        model.input,
        &checkpoint.header.classes,
        seen_by(&args.model.model, &checkpoint.header),
    )?;
    let mut ends = reads.none();
    for path in [&args.from, &args.to] {
        ends.pixels.extend(reads.read_shown(path)?.pixels);
        ends.labels.push(0);
    }
    let gpu = args.device.open()?;
    let steps = args.steps as usize;
    let mut generator = args.model.generator(&gpu, &checkpoint, steps.min(64))?;
    let mut walks = Vec::new();
    for which in Which::of(checkpoint.learned(&model)) {
        let means = block_on(generator.encode(which, &ends))?;
        let between = |step: usize| -> Vec<f32> {
            let part = step as f32 / (steps - 1) as f32;
            let pairs = means[0].iter().zip(&means[1]);
            pairs.map(|(a, b)| a + part * (b - a)).collect()
        };
        let latents: Vec<Vec<f32>> = (0..steps).map(between).collect();
        walks.push((which.name(), block_on(generator.decode(which, &latents))?));
    }
    if format_of(&args.out)? == image::ImageFormat::Gif {
        let frame = |step: usize| {
            let one = |(name, walk): &(&'static str, Images)| {
                (*name, super::pictures::slice(walk, step..step + 1))
            };
            let ones: Vec<(&str, Images)> = walks.iter().map(one).collect();
            let panels = ones.iter().map(|(name, images)| {
                let grid = Grid {
                    images,
                    columns: 1,
                    scale: args.scale.unwrap_or(6),
                };
                ((*name).to_owned(), grid)
            });
            side_by_side(&panels.collect::<Vec<_>>())
        };
        let back = (1..steps - 1).rev();
        let frames: Result<Vec<_>, CliError> = (0..steps).chain(back).map(frame).collect();
        save_gif(&args.out, frames?, 100)?;
    } else {
        let lines: Vec<_> = walks.iter().map(|(name, walk)| (*name, walk)).collect();
        let picture = rows(&lines, steps.min(32), args.scale.unwrap_or(2))?;
        save(&args.out, &picture)?;
    }
    say!(
        "{steps} steps from {} to {}: {}",
        args.from.display(),
        args.to.display(),
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
