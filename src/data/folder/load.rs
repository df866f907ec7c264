//! All pictures of a folder, decoded by all cores.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cache::{Draft, Header, Store};
use super::scan::{Listing, Picture};
use super::sink::{Content, Sink};
use super::{Broken, FolderError, FolderOptions, Loaded, Tick, decode};
use crate::data::{Dataset, Images, Pixels, folder_name};

/// Pictures that are decoded before their pixels are written.
const CHUNK: usize = 256;

/// Calls a function for every item, on all cores, and returns the results in order.
pub(super) fn in_parallel<T: Sync, R: Send + Sync>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { break };
                    results[i].set(work(item)).ok();
                }
            });
        }
    });
    let results = results.into_iter().filter_map(OnceLock::into_inner);
    results.collect()
}

/// The channels that were asked for; else colour, unless every picture is a grey one.
pub(super) fn channels(listing: &Listing, options: &FolderOptions) -> usize {
    if let Some(channels) = options.channels {
        return channels;
    }
    let all: Vec<&Picture> = listing.train.iter().chain(&listing.test).collect();
    // Broken pictures are found when they are decoded.
    let colour = in_parallel(&all, |picture| {
        decode::has_colour(&picture.path) == Ok(true)
    });
    if colour.contains(&true) { 3 } else { 1 }
}

/// What the pictures of one part became.
#[derive(Default)]
struct Part {
    labels: Vec<u16>,
    broken: Vec<Broken>,
}

/// Decodes everything, and keeps it in the cache if there is one.
pub(super) fn load(
    folder: &Path,
    mut listing: Listing,
    options: &FolderOptions,
    store: Option<&Store>,
    tick: Tick<'_>,
) -> Result<Loaded, FolderError> {
    let channels = channels(&listing, options);
    let size = [options.size[0], options.size[1], channels];
    let total = listing.train.len() + listing.test.len();
    let bytes = total as u64 * size.iter().product::<usize>() as u64;
    let (draft, mut sink) = begin(store, bytes, &mut listing.warnings);
    let done = AtomicUsize::new(0);
    let report = || tick(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let mut parts = Vec::new();
    for pictures in [&listing.train, &listing.test] {
        let mut part = Part::default();
        for chunk in pictures.chunks(CHUNK) {
            let decoded = in_parallel(chunk, |picture| {
                let bytes = decode::read(&picture.path);
                let result = bytes.and_then(|bytes| decode::picture(&bytes, options, channels));
                report();
                result.map(|(pixels, _)| pixels)
            });
            for (picture, result) in chunk.iter().zip(decoded) {
                match result {
                    Ok(pixels) => {
                        sink.push(&pixels).map_err(|e| unreadable(folder, &e))?;
                        part.labels.push(picture.label);
                    }
                    Err(reason) => part.broken.push(Broken {
                        file: String::from_utf8_lossy(&picture.key).into_owned(),
                        reason,
                    }),
                }
            }
        }
        parts.push(part);
    }
    let (test, train) = (
        parts.pop().unwrap_or_default(),
        parts.pop().unwrap_or_default(),
    );
    let broken = [train.broken, test.broken].concat();
    if !broken.is_empty() && !options.skip_broken {
        return Err(FolderError::broken(folder, &broken));
    }
    for (part, labels) in [("training", &train.labels), ("test", &test.labels)] {
        if labels.is_empty() {
            return Err(FolderError::NothingLeft {
                folder: folder.display().to_string(),
                part,
            });
        }
    }
    for (part, pictures, labels, what) in [
        (
            "training",
            &listing.train,
            &train.labels,
            "nothing of it can be learned",
        ),
        (
            "test",
            &listing.test,
            &test.labels,
            "nothing can be said about it",
        ),
    ] {
        for (class, name) in listing.classes.iter().enumerate() {
            let had = pictures
                .iter()
                .any(|picture| usize::from(picture.label) == class);
            if had && !labels.iter().any(|label| usize::from(*label) == class) {
                listing.warnings.push(format!(
                    "{}: no {part} picture of the class '{name}' could be read, so that {what}.",
                    folder.display()
                ));
            }
        }
    }
    let header = Header {
        version: 0,
        key: String::new(),
        source: folder.display().to_string(),
        classes: listing.classes.clone(),
        size,
        train_labels: train.labels,
        test_labels: test.labels,
        broken,
        checksum: sink.checksum(),
    };
    finish(folder, listing, header, store, draft, sink)
}

fn unreadable(folder: &Path, error: &std::io::Error) -> FolderError {
    FolderError::Unreadable {
        path: folder.display().to_string(),
        reason: format!("its decoded pictures were lost on a disk that failed: {error}"),
    }
}

fn no_cache(reason: &std::io::Error) -> String {
    format!("The decoded pictures could not be kept for the next time: {reason}.")
}

/// A file of the cache to write into, or memory.
fn begin(
    store: Option<&Store>,
    bytes: u64,
    warnings: &mut Vec<String>,
) -> (Option<Draft>, Sink<File>) {
    let Some(store) = store else {
        return (None, Sink::in_memory());
    };
    let opened = store
        .begin(bytes)
        .and_then(|(draft, file)| Ok((draft, Sink::in_file(file, Store::start())?)));
    match opened {
        Ok((draft, sink)) => (Some(draft), sink),
        Err(error) => {
            warnings.push(no_cache(&error));
            (None, Sink::in_memory())
        }
    }
}

/// Completes the file of the cache and reads it, or takes what is in memory.
fn finish(
    folder: &Path,
    mut listing: Listing,
    header: Header,
    store: Option<&Store>,
    draft: Option<Draft>,
    mut sink: Sink<File>,
) -> Result<Loaded, FolderError> {
    if let (Some(store), Some(draft), Some(file)) = (store, &draft, sink.file()) {
        let kept = store.finish(draft, file, header.clone());
        let found = kept.and_then(|()| {
            let damaged = || std::io::Error::other("the disk gave back other bytes");
            store.read(file).ok_or_else(damaged)
        });
        match found {
            Ok(found) => {
                let mut loaded = found.into_loaded(folder, listing);
                loaded.from_cache = false;
                return Ok(loaded);
            }
            Err(error) => sink.give_up(error).map_err(|e| unreadable(folder, &e))?,
        }
    }
    if let Some(reason) = &sink.failure {
        listing.warnings.push(no_cache(reason));
    }
    let mut train = match sink.finish() {
        Content::Memory(pixels) => pixels,
        Content::File(_) => unreachable!("a file was read or given up above"),
    };
    let [height, width, channels] = header.size;
    let test = train.split_off(header.train_labels.len() * height * width * channels);
    let images = |pixels: Vec<u8>, labels| Images {
        height,
        width,
        channels,
        pixels: Pixels::from(pixels),
        labels,
    };
    Ok(Loaded {
        data: Dataset {
            name: folder_name(folder),
            classes: header.classes,
            train: images(train, header.train_labels),
            test: images(test, header.test_labels),
        },
        warnings: listing.warnings,
        skipped: listing.skipped,
        broken: header.broken,
        from_cache: false,
    })
}
