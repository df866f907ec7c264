//! From what was published to the files of a data folder: find them, unpack them, check them, and
//! only then give the folder its name.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use md5::{Digest, Md5};

use super::beside;
use super::published::{DataSet, File};
use crate::cli::{CliError, archives};
use crate::data::{CIFAR10_TEST, CIFAR10_TRAIN, encode_cifar10};

/// No file of these data sets is larger, packed or not; more is refused before it is held.
const LARGEST: u64 = 64 << 20;
/// All files of a data set together with what packages add to them.
const LARGEST_UNPACKED: u64 = 2 << 30;
/// How far down a source folder is searched.
const DEPTH: usize = 4;

/// One picture per batch, a row per image, with labels beside them.
const SHEETS: [&str; 6] = [
    "data_batch_1.png",
    "data_batch_2.png",
    "data_batch_3.png",
    "data_batch_4.png",
    "data_batch_5.png",
    "test_batch.png",
];
/// The package spells its label files so.
const SHEET_LABELS: [&str; 2] = ["train_lables.json", "test_lables.json"];

/// MD5 as hexadecimal digits.
pub(super) fn md5(bytes: &[u8]) -> String {
    let digest = Md5::digest(bytes);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes the data folder `to` out of a folder or an archive.
///
/// # Errors
/// Whatever is missing, damaged or unsafe, by name; nothing is left behind then.
pub(super) fn import(set: &DataSet, source: &Path, to: &Path) -> Result<(), CliError> {
    let bar = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {wide_msg}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let mut found = Found {
        wanted: set.files.iter().map(|f| f.name.clone()).collect(),
        files: BTreeMap::new(),
        others: Vec::new(),
    };
    if set.files[0].name == CIFAR10_TRAIN[0] {
        let sheets = SHEETS.iter().chain(&SHEET_LABELS);
        found.wanted.extend(sheets.map(|name| (*name).to_owned()));
    }
    gather(source, DEPTH, &mut found, &bar)?;
    if !found.files.contains_key(&set.files[0].name) && found.files.contains_key(SHEETS[0]) {
        from_sheets(source, &mut found, &bar)?;
    }
    let partial = beside(to, "partial")?;
    let _ = std::fs::remove_dir_all(&partial);
    let written = write_checked(set, source, &found, &partial, &bar).and_then(|()| {
        // An empty folder may be in the way of the rename on some systems.
        let _ = std::fs::remove_dir(to);
        std::fs::rename(&partial, to).map_err(|e| format!("{}: {e}", to.display()).into())
    });
    bar.finish_and_clear();
    if written.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    written
}

struct Found {
    /// Names of files, as in a data folder or as sheets.
    wanted: Vec<String>,
    /// Their bytes, unpacked.
    files: BTreeMap<String, Vec<u8>>,
    /// Names of the first other files, for messages.
    others: Vec<String>,
}

impl Found {
    /// Keeps a file if its name is wanted: `a.gz` counts as `a`, `x.idx3-ubyte` as `x-idx3-ubyte`.
    fn offer(&mut self, name: &str, place: &str, bytes: impl Read) -> Result<(), CliError> {
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        let plain = plain.replace(".idx", "-idx");
        if !self.wanted.contains(&plain) {
            if self.others.len() < 6 {
                self.others.push(name.to_owned());
            }
            return Ok(());
        }
        let bytes = if name.ends_with(".gz") {
            read_capped(MultiGzDecoder::new(bytes), place)?
        } else {
            read_capped(bytes, place)?
        };
        self.files.insert(plain, bytes);
        Ok(())
    }
}

fn read_capped(bytes: impl Read, place: &str) -> Result<Vec<u8>, CliError> {
    let mut all = Vec::new();
    bytes
        .take(LARGEST + 1)
        .read_to_end(&mut all)
        .map_err(|e| damaged(place, &e))?;
    if all.len() as u64 > LARGEST {
        return Err(format!("{place}: larger than any file of this data set").into());
    }
    Ok(all)
}

fn damaged(place: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => format!("{place}: ends too early. Fetch it again."),
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other => {
            format!("{place}: damaged: {error}. Fetch it again.")
        }
        _ => format!("{place}: {error}"),
    }
}

/// Looks through a file, an archive or a folder.
fn gather(
    source: &Path,
    depth: usize,
    found: &mut Found,
    bar: &ProgressBar,
) -> Result<(), CliError> {
    let place = source.display().to_string();
    let failed = |e: std::io::Error| format!("{place}: {e}");
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    if source.is_dir() {
        let entries: Result<Vec<_>, _> = std::fs::read_dir(source).map_err(failed)?.collect();
        let mut paths: Vec<_> = entries.map_err(failed)?.iter().map(|e| e.path()).collect();
        paths.sort();
        for path in paths {
            if !path.is_dir() || depth > 0 {
                gather(&path, depth.saturating_sub(1), found, bar)?;
            }
        }
        return Ok(());
    }
    bar.set_message(format!("reading {place}"));
    if archives::is_archive(source) {
        let draft = archives::Draft::of(source)?;
        let folder = draft.folder("files").map_err(failed)?;
        archives::unpack(source, &folder, bar, LARGEST_UNPACKED)?;
        let unpacked = folder.display().to_string();
        let found = gather(&folder, DEPTH, found, bar);
        return found.map_err(|error| error.to_string().replace(&unpacked, &place).into());
    }
    let file = std::fs::File::open(source).map_err(failed)?;
    found.offer(&name, &place, std::io::BufReader::new(file))
}

/// Turns sheets, (images, 32·32·3) bytes each, into the files of CIFAR-10's binary version.
fn from_sheets(source: &Path, found: &mut Found, bar: &ProgressBar) -> Result<(), CliError> {
    let place = source.display();
    let mut labels = Vec::new();
    for name in SHEET_LABELS {
        let bytes = found.files.get(name);
        let bytes = bytes.ok_or_else(|| format!("{place}: {name} is missing"))?;
        let part: Vec<u8> =
            serde_json::from_slice(bytes).map_err(|e| format!("{place}: {name}: {e}"))?;
        labels.push(part.into_iter());
    }
    for (i, sheet) in SHEETS.iter().enumerate() {
        bar.set_message(format!("converting {sheet}"));
        let bytes = found.files.remove(*sheet);
        let bytes = bytes.ok_or_else(|| format!("{place}: {sheet} is missing"))?;
        let picture = image::load_from_memory(&bytes)
            .map_err(|e| format!("{place}: {sheet}: {e}"))?
            .into_rgb8();
        if picture.width() != 1024 {
            let width = picture.width();
            return Err(format!(
                "{place}: {sheet}: rows of {width} pixels; an image has 1024, 32x32"
            )
            .into());
        }
        let (labels, name) = match SHEETS.len() - 1 - i {
            0 => (&mut labels[1], CIFAR10_TEST),
            _ => (&mut labels[0], CIFAR10_TRAIN[i]),
        };
        let mut records = Vec::new();
        for pixels in picture.as_raw().chunks(3 * 1024) {
            let label = labels.next();
            let label = label.ok_or_else(|| format!("{place}: fewer labels than images"))?;
            records.extend(encode_cifar10(label, pixels));
        }
        found.files.insert(name.to_owned(), records);
    }
    Ok(())
}

fn write_checked(
    set: &DataSet,
    source: &Path,
    found: &Found,
    folder: &Path,
    bar: &ProgressBar,
) -> Result<(), CliError> {
    let missing: Vec<&str> = (set.files.iter().map(|f| f.name.as_str()))
        .filter(|name| !found.files.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        let others = match found.others.as_slice() {
            [] => String::new(),
            names => format!(" Other files there: {}.", names.join(", ")),
        };
        return Err(format!(
            "{}: {} needs {}, not found there.{others}",
            source.display(),
            set.title,
            missing.join(", ")
        )
        .into());
    }
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    for file in &set.files {
        bar.set_message(format!("checking {}", file.name));
        let bytes = &found.files[&file.name];
        check(source, file, bytes)?;
        let path = folder.join(&file.name);
        std::fs::write(&path, bytes).map_err(|e| failed(&path, e))?;
        let written = std::fs::File::open(&path).and_then(|f| f.sync_all());
        written.map_err(|e| failed(&path, e))?;
    }
    Ok(())
}

fn check(source: &Path, file: &File, bytes: &[u8]) -> Result<(), CliError> {
    let (source, name) = (source.display(), &file.name);
    if bytes.len() as u64 != file.bytes {
        return Err(format!(
            "{source}: {name} has {} bytes, the published file {}. It is cut or another file.",
            bytes.len(),
            file.bytes
        )
        .into());
    }
    let sum = md5(bytes);
    if sum != file.md5 {
        return Err(format!(
            "{source}: {name} has the checksum {sum}, the published file {}. It is damaged or \
             another file.",
            file.md5
        )
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::cli::data::published::data_set;

    /// MNIST's four names with contents of a few bytes.
    fn small() -> DataSet {
        let mut set = data_set("mnist");
        for file in &mut set.files {
            let bytes = contents(&file.name);
            (file.bytes, file.md5) = (bytes.len() as u64, md5(&bytes));
        }
        set
    }

    fn contents(name: &str) -> Vec<u8> {
        format!("what {name} holds").into_bytes()
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Names are set byte by byte: the safe way refuses those that climb.
    fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder.append(&header, bytes.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn zipped(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn assert_imported(set: &DataSet, to: &Path) {
        for file in &set.files {
            let bytes = std::fs::read(to.join(&file.name)).unwrap();
            assert_eq!(md5(&bytes), file.md5, "{}", file.name);
        }
        assert!(!beside(to, "partial").unwrap().exists());
    }

    fn refused(set: &DataSet, source: &Path) -> String {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        let error = import(set, source, &to).unwrap_err().to_string();
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "something was left behind after: {error}");
        error
    }

    #[test]
    fn plain_zipped_and_archived_files_are_found() {
        let set = small();
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("deep/down");
        std::fs::create_dir_all(&source).unwrap();
        for (i, file) in set.files.iter().enumerate() {
            let bytes = contents(&file.name);
            match i % 2 {
                0 => std::fs::write(source.join(&file.name), bytes).unwrap(),
                _ => {
                    let name = format!("{}.gz", file.name.replace("-idx", ".idx"));
                    std::fs::write(source.join(name), gzipped(&bytes)).unwrap();
                }
            }
        }
        let to = folder.path().join("a");
        import(&set, folder.path(), &to).unwrap();
        assert_imported(&set, &to);

        let entries: Vec<(String, Vec<u8>)> = (set.files.iter())
            .map(|f| (format!("package/data/{}", f.name), contents(&f.name)))
            .collect();
        let entries: Vec<(&str, Vec<u8>)> = entries
            .iter()
            .map(|(n, b)| (n.as_str(), b.clone()))
            .collect();
        for (name, bytes) in [
            ("b.tar", archive(&entries)),
            ("c.tgz", gzipped(&archive(&entries))),
            ("d.zip", zipped(&entries)),
        ] {
            let source = folder.path().join(name);
            std::fs::write(&source, bytes).unwrap();
            let to = folder.path().join(format!("from-{name}"));
            import(&set, &source, &to).unwrap();
            assert_imported(&set, &to);
        }
    }

    #[test]
    fn sheets_of_pixels_become_the_binary_version() {
        let mut set = data_set("cifar10");
        let folder = tempfile::tempdir().unwrap();
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (i, sheet) in SHEETS.iter().enumerate() {
            let mut records = Vec::new();
            let mut picture = image::RgbImage::new(1024, 2);
            for y in 0..2_u32 {
                let label = (i as u32 * 2 + y) as u8 % 10;
                if i == 5 { &mut test } else { &mut train }.push(label);
                for x in 0..1024 {
                    let pixel = [x as u8, (x / 5) as u8 ^ label, y as u8];
                    picture.put_pixel(x, y, image::Rgb(pixel));
                }
                let row = &picture.as_raw()[y as usize * 3072..][..3072];
                records.extend(encode_cifar10(label, row));
            }
            picture.save(folder.path().join(sheet)).unwrap();
            let file = &mut set.files[i];
            (file.bytes, file.md5) = (records.len() as u64, md5(&records));
        }
        for (name, labels) in SHEET_LABELS.iter().zip([&train, &test]) {
            let text = serde_json::to_vec(labels).unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let to = folder.path().join("to");
        import(&set, folder.path(), &to).unwrap();
        assert_imported(&set, &to);

        let _ = std::fs::remove_dir_all(&to);
        std::fs::rename(folder.path().join(SHEETS[3]), folder.path().join("x")).unwrap();
        assert!(refused(&set, folder.path()).contains("data_batch_4.png is missing"));
        std::fs::rename(folder.path().join("x"), folder.path().join(SHEETS[3])).unwrap();
        std::fs::write(folder.path().join(SHEET_LABELS[0]), b"[1, 2]").unwrap();
        assert!(refused(&set, folder.path()).contains("fewer labels"));
    }

    #[test]
    fn wrong_contents_are_refused_and_nothing_is_left() {
        let set = small();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for file in &set.files[1..] {
            std::fs::write(at(&file.name), contents(&file.name)).unwrap();
        }
        std::fs::write(at("notes.txt"), b"").unwrap();
        let first = &set.files[0];
        let error = refused(&set, folder.path());
        assert!(
            error.contains(&first.name) && error.contains("notes.txt"),
            "{error}"
        );

        std::fs::write(at(&first.name), b"short").unwrap();
        let error = refused(&set, folder.path());
        assert!(error.contains("has 5 bytes"), "{error}");

        let mut flipped = contents(&first.name);
        flipped[3] ^= 1;
        std::fs::write(at(&first.name), &flipped).unwrap();
        let error = refused(&set, folder.path());
        assert!(
            error.contains("checksum") && error.contains(&first.md5),
            "{error}"
        );
    }

    #[test]
    fn archives_that_climb_or_end_early_are_refused() {
        let set = small();
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.tar.gz");
        for name in ["../train-images-idx3-ubyte", "/etc/passwd", "a/../../b"] {
            let bytes = archive(&[(name, b"x".to_vec())]);
            std::fs::write(&source, gzipped(&bytes)).unwrap();
            let error = refused(&set, &source);
            assert!(error.contains("climbs out"), "{name}: {error}");
        }
        let name = set.files[0].name.as_str();
        let whole = gzipped(&archive(&[(
            name,
            (0..100_000u64).map(|i| (i * i % 251) as u8).collect(),
        )]));
        for cut in [0, 10, whole.len() / 2, whole.len() - 9] {
            std::fs::write(&source, &whole[..cut]).unwrap();
            let error = refused(&set, &source);
            assert!(error.contains("a.tar.gz"), "{cut}: {error}");
        }
        std::fs::write(&source, b"not an archive at all").unwrap();
        assert!(refused(&set, &source).contains("damaged"));
    }
}
