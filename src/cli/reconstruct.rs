//! `gtc reconstruct`

use crate::cli::output::say;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;

use super::data_args::{Learned, PictureArgs, seen_by};
use super::picture_files::{self, Reads};
use super::pictures::{picture_path, rows, save};
use super::{AutoEncoderArg, CliError, DeviceArgs, outputs};
use crate::data::{Images, Pixels};
use crate::generate::Which;

/// Images in a line of the picture.
const COLUMNS: usize = 16;

#[derive(clap::Args)]
pub(crate) struct ReconstructArgs {
    #[command(flatten)]
    model: AutoEncoderArg,
    /// Pictures of any size (PNG, JPEG, WebP, GIF or BMP; - for standard input), prepared as `gtc classify` does [default: the first test
    /// images]
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Folder whose test images are used where none are named [default: the data of the model's run, or the digits inside
    /// the program if it learned from those]
    #[arg(long, value_name = "DIR", conflicts_with = "images")]
    data: Option<PathBuf>,
    /// Test images, where none are named
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    count: u32,
    /// Side of a pixel in the picture
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// The picture; its suffix names the format: png, jpg, gif or bmp
    #[arg(short, long, default_value = "pairs.png", value_name = "FILE", value_parser = picture_path)]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    pictures: PictureArgs,
}

pub(super) fn run(args: &ReconstructArgs) -> Result<ExitCode, CliError> {
    let images = picture_files::spread(&args.images)?;
    let inputs: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    outputs::check(&args.out, &outputs::PICTURE, &inputs)?;
    let checkpoint = args.model.load()?;
    let model = checkpoint.header.model()?;
    let (images, left_out) = if images.is_empty() {
        let learned = Learned::of(&args.model.model, &checkpoint.header, &model);
        if let Some(folder) = learned.folder("--data", args.data.as_deref())? {
            outputs::check_outside(&args.out, &folder)?;
        }
        let data = learned.load("--data", args.data.as_deref(), &args.pictures)?;
        model.check_images(&data.test)?;
        (spread(&data.test, args.count as usize), 0)
    } else {
        Reads::new(
            model.input,
            &checkpoint.header.classes,
            seen_by(&args.model.model, &checkpoint.header),
        )?
        .read_all(&images)?
    };
    let gpu = args.device.open()?;
    let mut generator = args
        .model
        .generator(&gpu, &checkpoint, images.count().min(100))?;
    let mut made = Vec::new();
    for which in Which::of(checkpoint.learned(&model)) {
        let means = block_on(generator.encode(which, &images))?;
        made.push((which.name(), block_on(generator.decode(which, &means))?));
    }
    let mut lines = vec![("original", &images)];
    lines.extend(made.iter().map(|(name, images)| (*name, images)));
    save(&args.out, &rows(&lines, COLUMNS, args.scale)?)?;
    let networks: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
    say!(
        "{} images, as they are and as {} makes them again: {}",
        images.count(),
        networks.join(" and "),
        args.out.display()
    );
    Ok(match left_out {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Images from the whole of a set, at equal distances, so that sorted sets show every class.
pub(crate) fn spread(images: &Images, count: usize) -> Images {
    let count = count.min(images.count());
    let mut few = Images {
        pixels: Pixels::default(),
        labels: Vec::new(),
        ..*images
    };
    for i in 0..count {
        let at = i * images.count() / count;
        few.pixels.extend_from_slice(images.image(at));
        few.labels.push(images.labels[at]);
    }
    few
}
