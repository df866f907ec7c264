//! Which data a command reads, and how: the options that all commands with `--data` share.

use crate::cli::output::say_error;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use md5::{Digest, Md5};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{CliError, archives};
use crate::checkpoint::Header;
use crate::data::folder::{FolderOptions, Loaded, holds_pictures, open_folder};
use crate::data::{
    Dataset, EMBEDDED_DIGITS, Images, Reading, Resize, Seen, embedded_digits, holds_files,
};
use crate::graph::Model;
use crate::picture::Look;

/// Images whose pixels tell data sets apart.
const HASHED: usize = 10_000;

/// How a folder of pictures is read. All other data come as they are.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[command(next_help_heading = "Folders of pictures (--data with one folder for each class)")]
pub(crate) struct PictureArgs {
    /// Size that every picture gets, in pixels: N or HEIGHTxWIDTH [default: what the model takes]
    #[arg(long, value_name = "N|HxW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<String>,
    /// How it gets that size: crop cuts out the middle, stretch changes the shape, pad adds a border
    /// [default: crop]
    #[arg(long, value_parser = Resize::ALL.map(Resize::name))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<String>,
    /// Part of each class that becomes test images where the folder has no train and test in it
    /// [default: 0.2]
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// What shows through transparent pixels and around padded pictures: white, black or #rrggbb
    /// [default: white]
    #[arg(long, value_name = "COLOUR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
    /// Leave broken pictures out instead of stopping
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_broken: bool,
    /// Do not turn pictures the way their EXIF orientation says
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_exif: bool,
    /// Make all pictures grey [default: what the model takes]
    #[arg(long, visible_alias = "gray", conflicts_with = "colour")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grey: bool,
    /// Make all pictures coloured
    #[arg(long, visible_alias = "color")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub colour: bool,
}

impl PictureArgs {
    /// Names of all options, as arguments and as keys of a file.
    pub const NAMES: [&str; 8] = [
        "image_size",
        "resize",
        "test_fraction",
        "background",
        "skip_broken",
        "no_exif",
        "grey",
        "colour",
    ];

    /// These options, and where one is not given, that of `other`.
    pub fn or(&self, other: &Self) -> Self {
        let free = !self.grey && !self.colour;
        Self {
            image_size: self.image_size.clone().or(other.image_size.clone()),
            resize: self.resize.clone().or(other.resize.clone()),
            test_fraction: self.test_fraction.or(other.test_fraction),
            background: self.background.clone().or(other.background.clone()),
            skip_broken: self.skip_broken || other.skip_broken,
            no_exif: self.no_exif || other.no_exif,
            grey: self.grey || (free && other.grey),
            colour: self.colour || (free && other.colour),
        }
    }

    /// The options that read pictures in this way.
    fn of(reading: Reading) -> Self {
        let [red, green, blue] = reading.background;
        Self {
            resize: Some(reading.resize.name().to_owned()),
            test_fraction: reading.test_fraction,
            background: Some(format!("#{red:02x}{green:02x}{blue:02x}")),
            no_exif: !reading.exif,
            ..Self::default()
        }
    }

    /// Refuses options that were given for data that are no pictures: of the folder, or the digits inside the program.
    pub fn refuse_idle(&self, folder: Option<&Path>) -> Result<(), CliError> {
        let given = [
            ("--image-size", self.image_size.is_some()),
            ("--resize", self.resize.is_some()),
            ("--test-fraction", self.test_fraction.is_some()),
            ("--background", self.background.is_some()),
            ("--skip-broken", self.skip_broken),
            ("--no-exif", self.no_exif),
            ("--grey", self.grey),
            ("--colour", self.colour),
        ];
        let Some((flag, _)) = given.into_iter().find(|(_, is_given)| *is_given) else {
            return Ok(());
        };
        let what = match folder {
            // Whoever reads the data says that they are missing.
            Some(folder) if !archives::is_there(folder) => return Ok(()),
            // Nor is it said of a folder in which pictures are looked for and not found.
            Some(folder) if !holds_files(&archives::open(folder)?.path) => return Ok(()),
            Some(folder) => format!("the files in {}", folder.display()),
            None => "the digits inside the program".to_owned(),
        };
        Err(format!(
            "{flag} is for folders of pictures, and means nothing with {what}. Leave it away"
        )
        .into())
    }

    /// These options over those of the run that a model is of, so that its test pictures are the ones
    /// that it did not learn from.
    pub fn or_of_run(&self, model: &Path) -> Self {
        self.or(&of_run(model).unwrap_or_default())
    }

    /// What the library takes. `input`: (height, width, channels) that a model takes.
    pub fn options(&self, input: Option<[usize; 3]>) -> Result<FolderOptions, CliError> {
        let plain = FolderOptions::default();
        let options = FolderOptions {
            size: match (&self.image_size, input) {
                (Some(text), _) => parse_size(text)?,
                (None, Some([height, width, _])) => [height, width],
                (None, None) => plain.size,
            },
            channels: match (self.grey, self.colour) {
                (true, _) => Some(1),
                (_, true) => Some(3),
                _ => input.map(|[_, _, channels]| channels),
            },
            resize: match &self.resize {
                Some(name) => parse_resize(name)?,
                None => plain.resize,
            },
            background: match &self.background {
                Some(text) => parse_colour(text)?,
                None => plain.background,
            },
            exif: !self.no_exif,
            test_fraction: self.test_fraction.unwrap_or(plain.test_fraction),
            skip_broken: self.skip_broken,
            cache: cache_folder(),
            ..plain
        };
        options.check()?;
        Ok(options)
    }
}

fn parse_size(text: &str) -> Result<[usize; 2], CliError> {
    let numbers: Result<Vec<usize>, _> = text.split(['x', 'X']).map(str::parse).collect();
    match numbers.as_deref() {
        Ok([side]) => Ok([*side; 2]),
        Ok([height, width]) => Ok([*height, *width]),
        _ => Err(format!(
            "--image-size {text}: give one number of pixels, such as 64, or height and width, such as 48x64"
        )
        .into()),
    }
}

fn parse_resize(name: &str) -> Result<Resize, CliError> {
    let found = Resize::ALL.into_iter().find(|resize| resize.name() == name);
    let known = Resize::ALL.map(Resize::name).join(", ");
    Ok(found.ok_or_else(|| format!("--resize {name}: one of {known}"))?)
}

fn parse_colour(text: &str) -> Result<[u8; 3], CliError> {
    match text {
        "white" => return Ok([255; 3]),
        "black" => return Ok([0; 3]),
        "grey" | "gray" => return Ok([128; 3]),
        _ => {}
    }
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match number {
        Some(number) => Ok([16, 8, 0].map(|shift| (number >> shift) as u8)),
        None => Err(
            format!("--background {text}: white, black, grey, or #rrggbb such as #ff8800").into(),
        ),
    }
}

/// A folder that an environment variable names; an empty one names none.
fn named_by(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// Where this program keeps what it can make again: GTC_CACHE, else its part of the user's cache.
pub(crate) fn own_cache() -> Option<PathBuf> {
    named_by("GTC_CACHE").or_else(|| Some(dirs::cache_dir()?.join("gtc")))
}

/// Where decoded pictures and unpacked archives are kept: GTC_CACHE_DIR, else `pictures` in [`own_cache`].
pub(crate) fn cache_folder() -> Option<PathBuf> {
    named_by("GTC_CACHE_DIR").or_else(|| Some(own_cache()?.join("pictures")))
}

/// The data of `--data`, or the digits inside the program. `takes`: (height, width, channels) that a model takes;
/// `classes`: those of a trained model.
pub(crate) fn load_data(
    folder: Option<&Path>,
    pictures: &PictureArgs,
    takes: Option<[usize; 3]>,
    classes: Option<&[String]>,
) -> Result<Dataset, CliError> {
    let Some(folder) = folder else {
        return Ok(embedded_digits()?);
    };
    let mut options = pictures.options(takes)?;
    options.classes = classes.map(<[String]>::to_vec);
    let place = archives::open(folder)?;
    let bar = progress();
    let tick = |done, total| show(&bar, done, total);
    let mut loaded =
        open_folder(&place.path, &options, &tick).map_err(|error| place.explain(error))?;
    bar.finish_and_clear();
    mention(folder, &loaded);
    if place.is_archive() {
        loaded.data.name = place.name();
    }
    Ok(loaded.data)
}

/// What a trained model says of the data it learned from.
pub(crate) struct Learned<'l> {
    /// The model as it was named: the folder of a run, or a file.
    pub path: &'l Path,
    /// Name of the data set; empty if nothing is known.
    pub data: &'l str,
    /// Names of the classes.
    pub classes: &'l [String],
    /// (height, width, channels) of its images.
    pub input: [usize; 3],
    /// How they were made of pictures, if its file says so.
    pub reading: Option<Reading>,
}

impl<'l> Learned<'l> {
    /// What a checkpoint says.
    pub fn of(path: &'l Path, header: &'l Header, model: &Model) -> Self {
        Self {
            path,
            data: &header.data,
            classes: &header.classes,
            input: model.input,
            reading: header.seen.and_then(|seen| seen.reading),
        }
    }

    /// The data to use with the model: those of `given`, the value of the option `--flag`; or those of the run that it
    /// lies in; or the digits inside the program, if it learned from them.
    ///
    /// # Errors
    /// If the model learned from data that are not known to be anywhere, and if the data cannot be read.
    pub fn load(
        &self,
        flag: &str,
        given: Option<&Path>,
        pictures: &PictureArgs,
    ) -> Result<Dataset, CliError> {
        let folder = self.folder(flag, given)?;
        pictures.refuse_idle(folder.as_deref())?;
        let of_file = self.reading.map(PictureArgs::of).unwrap_or_default();
        let pictures = pictures.or_of_run(self.path).or(&of_file);
        let classes = (!self.classes.is_empty()).then_some(self.classes);
        let data = load_data(folder.as_deref(), &pictures, Some(self.input), classes)?;
        // Of a network from elsewhere only the number of classes is known.
        let unnamed = self.data.is_empty() && data.classes.len() == self.classes.len();
        if !self.classes.is_empty() && data.classes != self.classes && !unnamed {
            let few = |classes: &[String]| {
                let dots = if classes.len() > 3 { ", ..." } else { "" };
                format!("{}{dots}", classes[..classes.len().min(3)].join(", "))
            };
            let from = match self.data {
                "" => String::new(),
                data => format!(" from {data}"),
            };
            say_error!(
                "note: the classes of {} are {}; this model learned {}{from}. Are these the right data?",
                data.name,
                few(&data.classes),
                few(self.classes),
            );
        }
        Ok(data)
    }

    /// The folder that is given, or else the one of the data that the model learned from; `None` for the digits inside the
    /// program.
    ///
    /// # Errors
    /// If nobody knows where the data are.
    pub fn folder(&self, flag: &str, given: Option<&Path>) -> Result<Option<PathBuf>, CliError> {
        match given {
            Some(folder) => Ok(Some(folder.to_owned())),
            None => self.own_data(flag),
        }
    }

    /// The folder of the data that the model learned from; `None` for the digits inside the program.
    fn own_data(&self, flag: &str) -> Result<Option<PathBuf>, CliError> {
        let shown = self.path.display();
        let config: toml::Table = of_run(self.path).unwrap_or_default();
        if let Some(data) = config.get("data").and_then(toml::Value::as_str) {
            return match archives::is_there(Path::new(data)) {
                true => Ok(Some(data.into())),
                false => Err(format!(
                    "{data}: the data that {shown} learned from are not there any more. Name them with {flag} DIR"
                )
                .into()),
            };
        }
        if self.data == EMBEDDED_DIGITS {
            return Ok(None);
        }
        // Nothing is known of a network from elsewhere, and digits are digits.
        let may_be_digits = self.data.is_empty() && self.input == [28, 28, 1];
        if may_be_digits || Look::of(self.input, self.classes) == Look::Digits {
            let what = match self.data {
                "" => "nothing is known of the data that it learned from".to_owned(),
                data => format!("it learned digits from '{data}', which is not beside it"),
            };
            say_error!(
                "note: {shown}: {what}; using the digits inside this program. {flag} DIR names others"
            );
            return Ok(None);
        }
        let what = match self.data {
            "" => "nothing is known of the data that it learned from".to_owned(),
            data => format!("it learned from {data}"),
        };
        Err(format!("{shown}: {what}. Name a folder of such data with {flag} DIR").into())
    }
}

/// How pictures become images, if the data are a folder of pictures.
pub(crate) fn reading(
    folder: Option<&Path>,
    pictures: &PictureArgs,
) -> Result<Option<Reading>, CliError> {
    let place = folder.map(archives::open).transpose()?;
    match place.is_some_and(|place| holds_pictures(&place.path)) {
        true => Ok(Some(pictures.options(None)?.reading())),
        false => Ok(None),
    }
}

/// What is known of the images that a trained model learned from: from its file, and from the run that it lies in.
pub(crate) fn seen_by(model: &Path, header: &Header) -> Option<Seen> {
    #[derive(Default, Deserialize)]
    struct OfRun {
        reading: Option<Reading>,
    }
    let run: OfRun = of_run(model).unwrap_or_default();
    header.seen.map(|seen| Seen {
        reading: seen.reading.or(run.reading),
        ..seen
    })
}

/// What the settings of the run say that a model lies in, a folder or a file in one. Nothing without such a run, and nothing but a
/// note if they cannot be read: the file may be somebody else's.
fn of_run<T: DeserializeOwned>(model: &Path) -> Option<T> {
    let folder = match model.is_dir() {
        true => Some(model),
        false => model.parent(),
    };
    let file = folder.unwrap_or(Path::new("")).join("config.toml");
    let text = std::fs::read_to_string(&file).ok()?;
    match toml::from_str(&text) {
        Ok(settings) => Some(settings),
        Err(error) => {
            let (file, reason) = (file.display(), error.message());
            say_error!("note: {file}: {reason}; what it says of data and pictures is not used");
            None
        }
    }
}

/// A name for images that goes by what they are, not by where they lie: a hash of their size, of all labels, and of the
/// pixels of up to [`HASHED`] of them at equal distances.
pub(crate) fn fingerprint(images: &Images) -> String {
    let mut hash = Md5::new();
    for number in images.size().into_iter().chain([images.count()]) {
        hash.update((number as u64).to_le_bytes());
    }
    for label in &images.labels {
        hash.update(label.to_le_bytes());
    }
    let hashed = images.count().min(HASHED);
    for i in 0..hashed {
        hash.update(images.image(i * images.count() / hashed));
    }
    hex(hash)
}

/// A hash of a text.
pub(crate) fn text_hash(text: &str) -> String {
    let mut hash = Md5::new();
    hash.update(text);
    hex(hash)
}

fn hex(hash: Md5) -> String {
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A bar that appears with the first picture.
pub(crate) fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("reading pictures {bar:24} {pos}/{len}");
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Moves the bar.
pub(crate) fn show(bar: &ProgressBar, done: usize, total: usize) {
    if done.is_multiple_of(16) || done == total {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }
}

/// Says what a person should know about a folder of pictures.
fn mention(folder: &Path, loaded: &Loaded) {
    for warning in &loaded.warnings {
        say_error!("note: {warning}");
    }
    if loaded.skipped.count() > 0 {
        let shown = folder.display();
        say_error!(
            "note: {shown}: files that are no pictures were left alone: {}.",
            loaded.skipped
        );
    }
    if !loaded.broken.is_empty() {
        let first = &loaded.broken[0];
        say_error!(
            "note: {}: {} broken picture(s) left out, the first is {} ({}). `gtc data check` names all.",
            folder.display(),
            loaded.broken.len(),
            first.file,
            first.reason
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_colours_are_read_or_refused() {
        assert_eq!(parse_size("64").unwrap(), [64, 64]);
        assert_eq!(parse_size("48x64").unwrap(), [48, 64]);
        for wrong in ["", "x", "4x", "1x2x3", "-4", "big"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_colour("#ff8001").unwrap(), [255, 128, 1]);
        assert_eq!(parse_colour("black").unwrap(), [0; 3]);
        for wrong in ["", "red ", "#ff80", "ff8001", "#gggggg"] {
            assert!(parse_colour(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_given_option_wins_over_the_run_and_the_run_over_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = "model = \"lenet5\"\nimage_size = \"32\"\ntest_fraction = 0.5\ngrey = true\n";
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let given = PictureArgs {
            colour: true,
            test_fraction: Some(0.1),
            ..PictureArgs::default()
        };
        let both = given.or_of_run(folder.path());
        assert_eq!(both.image_size.as_deref(), Some("32"));
        assert_eq!(
            (both.test_fraction, both.grey, both.colour),
            (Some(0.1), false, true)
        );
        let beside = PictureArgs::default().or_of_run(&folder.path().join("model.safetensors"));
        assert!(beside.grey);
        let options = beside.options(Some([28, 28, 3])).unwrap();
        assert_eq!((options.size, options.channels), ([32, 32], Some(1)));
    }
}
