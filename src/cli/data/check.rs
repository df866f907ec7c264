//! `gtc data check`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::data_args::{PictureArgs, progress, show};
use crate::cli::pictures::{picture_path, rows, save};
use crate::cli::{CliError, archives, outputs, print_json};
use crate::data::folder::{Broken, Copy, Survey, is_picture_folder, survey};
use crate::data::{Images, Pixels};
use crate::printable::printable;

/// Pictures of a class on the sheet.
const SHOWN: usize = 8;
/// Classes on the sheet.
const SHOWN_CLASSES: usize = 100;
/// Broken files and copies that are printed.
const PRINTED: usize = 20;
/// A side of a picture on the sheet is at least this many pixels.
const LEAST_SIDE: usize = 64;

#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// A folder with one folder of pictures for each class, or with two such folders, train and test;
    /// or an archive of one
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A sheet with the first pictures of each class as a network sees them [default: the folder's
    /// name and .png, here]
    #[arg(short, long, value_name = "SHEET.png", value_parser = picture_path)]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct CheckReport<'s> {
    folder: String,
    sheet: String,
    #[serde(flatten)]
    survey: &'s Survey,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, CliError> {
    let place = archives::open(&args.folder)?;
    let folder = &args.folder;
    if !is_picture_folder(&place.path) {
        // Says what is wrong with a folder of any kind, and is content with one of another kind.
        let data = crate::data::read_folder(&place.path).map_err(|error| place.explain(error))?;
        say!(
            "{}: {} in the files of a published format: {} training and {} test images of {:?}, {} classes",
            folder.display(),
            data.name,
            data.train.count(),
            data.test.count(),
            data.train.size(),
            data.classes.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => free_name(&place.name()),
    };
    outputs::check(&out, &outputs::PICTURE, &[])?;
    outputs::check_outside(&out, folder)?;
    let options = args.pictures.options(None)?;
    let bar = progress();
    let tick = |done, total| show(&bar, done, total);
    let found =
        survey(&place.path, &options, SHOWN, &tick).map_err(|error| place.explain(error))?;
    bar.finish_and_clear();
    save(&out, &sheet(&found)?)?;
    if args.json {
        print_json(&CheckReport {
            folder: folder.display().to_string(),
            sheet: out.display().to_string(),
            survey: &found,
        })?;
    } else {
        print(&found);
        say!("sheet   {}", out.display());
    }
    // Broken pictures are to be mended before anything is trained.
    Ok(match found.broken.is_empty() || options.skip_broken {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// The first pictures of each class in a row, with the name of the class.
fn sheet(found: &Survey) -> Result<image::RgbImage, CliError> {
    let classes = found.classes.iter().zip(&found.samples).take(SHOWN_CLASSES);
    let lines: Vec<(String, Images)> = classes
        .map(|(class, samples)| (printable(&class.name, 32), filled(samples)))
        .collect();
    let lines: Vec<(&str, &Images)> = lines
        .iter()
        .map(|(name, images)| (&name[..], images))
        .collect();
    let side = found
        .samples
        .first()
        .map_or(LEAST_SIDE, |images| images.height.max(images.width));
    rows(
        &lines,
        SHOWN,
        LEAST_SIDE.div_ceil(side.max(1)).max(1) as u32,
    )
}

/// The same pictures with white ones after them, so that all rows have one length.
fn filled(samples: &Images) -> Images {
    let size: usize = samples.size().iter().product();
    let mut pixels = samples.pixels.to_vec();
    pixels.resize(SHOWN * size, 255);
    Images {
        pixels: Pixels::from(pixels),
        labels: vec![0; SHOWN],
        ..*samples
    }
}

fn print(found: &Survey) {
    let widest = found
        .classes
        .iter()
        .map(|class| class.name.chars().count())
        .max();
    let width = widest.unwrap_or(0).max("class".len());
    say!(
        "label  {:width$}  {:>8}  {:>8}",
        "class",
        "training",
        "test"
    );
    for (label, class) in found.classes.iter().enumerate() {
        say!(
            "{label:5}  {:width$}  {:8}  {:8}",
            class.name,
            class.train,
            class.test
        );
    }
    let sum = |of: fn(&crate::data::folder::ClassCount) -> usize| -> usize {
        found.classes.iter().map(of).sum()
    };
    say!(
        "{:5}  {:width$}  {:8}  {:8}",
        "",
        "all",
        sum(|c| c.train),
        sum(|c| c.test)
    );
    let size = |[height, width]: [usize; 2]| format!("{width}x{height}");
    say!(
        "sizes   smallest {}, median {}, largest {} pixels (width x height)",
        size(found.smallest),
        size(found.median),
        size(found.largest)
    );
    let modes = &found.modes;
    say!(
        "kinds   {} colour, {} grey; {} with transparent pixels, {} with 16 bits a channel",
        modes.colour,
        modes.grey,
        modes.transparent,
        modes.deep
    );
    if found.skipped.count() > 0 {
        say!("skipped {}", found.skipped);
    }
    for warning in &found.warnings {
        say!("warning {warning}");
    }
    list("broken", &found.broken, |b: &Broken| {
        format!("{}: {}", b.file, b.reason)
    });
    let copy = |copy: &Copy| format!("{} = {}", copy.first, copy.second);
    list(
        "learned from and tested on, the same bytes",
        &found.learned_and_tested,
        copy,
    );
    list(
        "in two classes, the same bytes",
        &found.in_two_classes,
        copy,
    );
}

/// The first items under a heading; nothing if there are none.
fn list<T>(heading: &str, items: &[T], text: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    say!("warning {} {heading}:", items.len());
    for item in items.iter().take(PRINTED) {
        say!("  {}", text(item));
    }
    if items.len() > PRINTED {
        say!("  and {} more", items.len() - PRINTED);
    }
}

/// `NAME.png`, or the first of `NAME-2.png`, `NAME-3.png`, ... that is not there yet: who names no file expects none to be replaced.
fn free_name(name: &str) -> PathBuf {
    let numbered = (2u32..).map(|number| format!("{name}-{number}.png"));
    let mut names = std::iter::once(format!("{name}.png")).chain(numbered);
    let free = names.find(|name| !std::path::Path::new(name).exists());
    PathBuf::from(free.unwrap_or_else(|| format!("{name}.png")))
}
