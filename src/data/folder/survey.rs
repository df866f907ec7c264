//! A look at every file of a folder: what `gtc data check` shows.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::decode::{self, Kind};
use super::load::{channels, in_parallel};
use super::scan::{Picture, Skipped, scan};
use super::split::hash;
use super::{Broken, FolderError, FolderOptions, Tick};
use crate::data::Images;

/// Pictures that are looked at before their samples are kept.
const CHUNK: usize = 1024;

/// How many pictures a class has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class.
    pub name: String,
    /// Pictures to learn from that can be read.
    pub train: usize,
    /// Pictures to be tested on that can be read.
    pub test: usize,
}

/// How many pictures are of which kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Modes {
    /// Without colours.
    pub grey: usize,
    /// With colours.
    pub colour: usize,
    /// With transparent pixels, which get the background.
    pub transparent: usize,
    /// With 16 bits a channel, of which 8 are kept.
    pub deep: usize,
}

/// Two files with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// One, by its path inside the folder of its class folders.
    pub first: String,
    /// The other.
    pub second: String,
}

/// What a folder of pictures holds.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// By label.
    pub classes: Vec<ClassCount>,
    /// (height, width) of the picture with the fewest pixels.
    pub smallest: [usize; 2],
    /// (height, width) of the picture in the middle by its number of pixels.
    pub median: [usize; 2],
    /// (height, width) of the picture with the most pixels.
    pub largest: [usize; 2],
    /// Kinds of pictures.
    pub modes: Modes,
    /// Files that are no pictures.
    pub skipped: Skipped,
    /// Pictures that cannot be read.
    pub broken: Vec<Broken>,
    /// Test pictures that are learned from too: (training, test).
    pub learned_and_tested: Vec<Copy>,
    /// The same picture in two classes.
    pub in_two_classes: Vec<Copy>,
    /// Whole sentences, each of which names a class or a folder.
    pub warnings: Vec<String>,
    /// The first pictures of each class as a network sees them.
    #[serde(skip)]
    pub samples: Vec<Images>,
}

/// What one file turned out to be.
struct Look {
    kind: Kind,
    pixels: Vec<u8>,
    /// Of the bytes of the file.
    hash: u64,
}

/// Reads every picture of a folder, however many are broken, and keeps the first `samples` of each
/// class.
///
/// # Errors
/// [`FolderError`] for a folder that is no data set.
pub fn survey(
    folder: &Path,
    options: &FolderOptions,
    samples: usize,
    tick: Tick<'_>,
) -> Result<Survey, FolderError> {
    options.check()?;
    let listing = scan(folder, options)?;
    let channels = channels(&listing, options);
    let total = listing.train.len() + listing.test.len();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let look = |picture: &Picture| -> Result<Look, String> {
        let result = decode::read(&picture.path).and_then(|bytes| {
            let (pixels, kind) = decode::picture(&bytes, options, channels)?;
            let hash = hash(bytes.len() as u64, &bytes);
            Ok(Look { kind, pixels, hash })
        });
        tick(
            done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1,
            total,
        );
        result
    };
    let classes = listing.classes.iter();
    let mut survey = Survey {
        classes: classes
            .map(|name| ClassCount {
                name: name.clone(),
                train: 0,
                test: 0,
            })
            .collect(),
        smallest: [0; 2],
        median: [0; 2],
        largest: [0; 2],
        modes: Modes::default(),
        skipped: listing.skipped.clone(),
        broken: Vec::new(),
        learned_and_tested: Vec::new(),
        in_two_classes: Vec::new(),
        warnings: listing.warnings.clone(),
        samples: vec![
            Images {
                height: options.size[0],
                width: options.size[1],
                channels,
                ..Images::default()
            };
            listing.classes.len()
        ],
    };
    let mut sizes = Vec::new();
    let mut known: HashMap<u64, Vec<(bool, &Picture)>> = HashMap::new();
    for (tested, pictures) in [(false, &listing.train), (true, &listing.test)] {
        for chunk in pictures.chunks(CHUNK) {
            for (picture, look) in chunk.iter().zip(in_parallel(chunk, look)) {
                match look {
                    Err(reason) => survey.broken.push(Broken {
                        file: shown(picture),
                        reason,
                    }),
                    Ok(look) => {
                        survey.count(picture, tested, &look, samples);
                        sizes.push(look.kind.size);
                        known.entry(look.hash).or_default().push((tested, picture));
                    }
                }
            }
        }
    }
    sizes.sort_by_key(|[height, width]| height * width);
    if let [smallest, .., largest] | [smallest @ largest] = sizes[..] {
        (survey.smallest, survey.largest) = (smallest, largest);
        survey.median = sizes[sizes.len() / 2];
    }
    let mut groups: Vec<_> = known
        .into_values()
        .filter(|group| group.len() > 1)
        .collect();
    groups.sort_by(|a, b| a[0].1.key.cmp(&b[0].1.key));
    for group in groups {
        survey.compare(&group);
    }
    Ok(survey)
}

fn shown(picture: &Picture) -> String {
    String::from_utf8_lossy(&picture.key).into_owned()
}

impl Survey {
    fn count(&mut self, picture: &Picture, tested: bool, look: &Look, samples: usize) {
        let class = usize::from(picture.label);
        match tested {
            true => self.classes[class].test += 1,
            false => self.classes[class].train += 1,
        }
        match look.kind.colour {
            true => self.modes.colour += 1,
            false => self.modes.grey += 1,
        }
        self.modes.transparent += usize::from(look.kind.transparent);
        self.modes.deep += usize::from(look.kind.deep);
        let images = &mut self.samples[class];
        if images.count() < samples {
            images.pixels.extend_from_slice(&look.pixels);
            images.labels.push(picture.label);
        }
    }

    /// Files whose bytes have the same hash, each with whether it is for testing.
    fn compare(&mut self, group: &[(bool, &Picture)]) {
        let (first_tested, first) = group[0];
        let bytes = std::fs::read(&first.path).ok();
        for (tested, other) in &group[1..] {
            if bytes.is_none() || std::fs::read(&other.path).ok() != bytes {
                continue;
            }
            let copy = Copy {
                first: shown(first),
                second: shown(other),
            };
            if other.label != first.label {
                self.in_two_classes.push(copy.clone());
            }
            if *tested != first_tested {
                self.learned_and_tested.push(copy);
            }
        }
    }
}
