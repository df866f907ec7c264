//! `gtc sample`

use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::pictures::{Grid, save_png, side_by_side};
use super::{AutoEncoderArg, CliError, DeviceArgs};
use crate::generate::{Which, draw_latents};

#[derive(clap::Args)]
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
    /// The picture
    #[arg(short, long, default_value = "samples.png", value_name = "FILE.png")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &SampleArgs) -> Result<ExitCode, CliError> {
    let checkpoint = args.model.load()?;
    let gpu = args.device.open()?;
    let count = args.count as usize;
    let generator = args.model.generator(&gpu, &checkpoint, count.min(100))?;
    let latents = draw_latents(args.seed, count, generator.latent());
    let [hp, lp] = Which::BOTH.map(|which| block_on(generator.decode(which, &latents)));
    let (hp, lp) = (hp?, lp?);
    let columns = (count as f64).sqrt().ceil() as usize;
    let panel = |name: &str, images| {
        let grid = Grid {
            images,
            columns,
            scale: args.scale,
        };
        (name.to_owned(), grid)
    };
    let panels = [panel("HP: floats", &hp), panel("LP: powers of 2", &lp)];
    save_png(&args.out, &side_by_side(&panels))?;
    println!(
        "{} samples of HP and of LP from the same noise: {}",
        count,
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
