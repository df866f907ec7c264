//! Archives written out as folders.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Component, Path};
use std::time::SystemTime;

use indicatif::ProgressBar;

use crate::cli::human_bytes;
use crate::printable::printable;

/// More files than any data set has.
const MAX_FILES: usize = 5_000_000;

/// Writes what is in an archive into a folder.
pub(super) struct Unpacker<'u> {
    pub archive: &'u Path,
    pub folder: &'u Path,
    /// When the archive was changed, which its files get: decoded pictures are known by it.
    pub time: SystemTime,
    /// Counts bytes of the archive.
    pub bar: &'u ProgressBar,
    /// Most bytes that may come out of it.
    pub limit: u64,
    /// Bytes written.
    pub bytes: u64,
    pub files: usize,
}

impl Unpacker<'_> {
    pub fn zip(&mut self, file: impl Read + Seek) -> Result<(), String> {
        let shown = self.archive.display();
        let mut archive = zip::ZipArchive::new(file).map_err(|error| self.damaged("", &error))?;
        for i in 0..archive.len() {
            let entry = archive.by_index(i).map_err(|error| match error {
                zip::result::ZipError::UnsupportedArchive(
                    zip::result::ZipError::PASSWORD_REQUIRED,
                ) => format!("{shown}: it is protected by a password. Unpack it yourself"),
                error => self.damaged("", &error),
            })?;
            let name = entry
                .name()
                .map_err(|error| self.damaged("", &error))?
                .replace('\\', "/");
            let packed = entry.compressed_size();
            let is_link = entry.is_symlink();
            if !entry.is_dir() && !is_link {
                self.write(Path::new(&name), entry)?;
            }
            self.bar.inc(packed);
        }
        Ok(())
    }

    pub fn tar(&mut self, bytes: impl Read) -> Result<(), String> {
        let mut bytes = Ending { bytes, zeros: 0 };
        let mut archive = tar::Archive::new(&mut bytes);
        let entries = archive
            .entries()
            .map_err(|error| self.damaged("", &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.damaged("", &error))?;
            let path = entry
                .path()
                .map_err(|error| self.damaged("", &error))?
                .into_owned();
            if entry.header().entry_type().is_file() {
                self.write(&path, entry)?;
            }
        }
        // A block of zeros ends it; a file that was cut between two of its entries looks the same but for that.
        match bytes.zeros >= 512 {
            true => Ok(()),
            false => Err(self.damaged("", &"it ends too early")),
        }
    }

    /// Writes one file.
    fn write(&mut self, path: &Path, bytes: impl Read) -> Result<(), String> {
        let inside = printable(&path.display().to_string(), 200);
        let shown = self.archive.display();
        let fits = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
        if !path.components().all(fits) || path.file_name().is_none() {
            return Err(format!(
                "{shown}: {inside}: a path that climbs out of the folder. Do not trust it."
            ));
        }
        // What macOS adds to archives of its own accord.
        let added = |c: Component| c.as_os_str() == "__MACOSX" || c.as_os_str() == ".DS_Store";
        if path.components().any(added) {
            return Ok(());
        }
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(format!(
                "{shown}: more than {MAX_FILES} files. Is it a data set?"
            ));
        }
        let target = self.folder.join(path);
        let unwritten = |error: io::Error| match error.kind() {
            // A zero in a name, more than 255 bytes, a file where a folder was.
            io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists => format!(
                "{shown}: {inside}: no file can have this name here: {error}. Unpack the archive yourself, and name the folder \
                 that comes out of it"
            ),
            _ => format!(
                "{shown}: {inside}: cannot write {}: {error}",
                target.display()
            ),
        };
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder).map_err(unwritten)?;
        }
        let mut file = File::create(&target).map_err(unwritten)?;
        let mut bytes = bytes.take(self.limit - self.bytes + 1);
        let mut block = vec![0; 64 << 10];
        loop {
            let count = match bytes.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(&inside, &error)),
            };
            file.write_all(&block[..count]).map_err(unwritten)?;
            self.bytes += count as u64;
        }
        if self.bytes > self.limit {
            return Err(format!(
                "{shown}: it unpacks to more than {}, which is all that the cache may take. Unpack it yourself, and name \
                 the folder that comes out of it",
                human_bytes(self.limit)
            ));
        }
        file.set_modified(self.time).map_err(unwritten)
    }

    fn damaged(&self, inside: &str, error: &dyn std::fmt::Display) -> String {
        let between = if inside.is_empty() { "" } else { ": " };
        let shown = self.archive.display();
        format!("{shown}{between}{inside}: cut or damaged: {error}. Fetch it again.")
    }
}

/// What is read, and how many zeros it ended with so far.
struct Ending<R> {
    bytes: R,
    zeros: usize,
}

impl<R: Read> Read for Ending<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(block)?;
        let zeros = block[..count].iter().rev().take_while(|byte| **byte == 0);
        self.zeros = match zeros.count() {
            all if all == count => self.zeros + all,
            some => some,
        };
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::archives::{Kind, size_of, unpack};

    /// An archive of two small files.
    fn small(kind: Kind) -> Vec<u8> {
        let files = [("a/one", vec![7; 900]), ("b/two", (0..=255).collect())];
        if kind == Kind::Zip {
            let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
            for (name, bytes) in &files {
                let options = zip::write::SimpleFileOptions::default();
                writer.start_file(*name, options).unwrap();
                writer.write_all(bytes).unwrap();
            }
            return writer.finish().unwrap().into_inner();
        }
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        if kind == Kind::Tar {
            return bytes;
        }
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Whatever is changed in an archive, it is unpacked within the limit and the folder, or refused in words.
        #[test]
        fn damaged_archives_do_no_harm(
            number in 0usize..3,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let kind = [Kind::Zip, Kind::Tar, Kind::TarGz][number];
            let mut bytes = small(kind);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if is_cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let place = tempfile::tempdir().unwrap();
            let archive = place.path().join(["a.zip", "a.tar", "a.tgz"][number]);
            std::fs::write(&archive, &bytes).unwrap();
            let target = place.path().join("target");
            std::fs::create_dir(&target).unwrap();
            let result = unpack(&archive, &target, &ProgressBar::hidden(), 10_000);
            prop_assert!(size_of(&target) <= 10_001);
            prop_assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
            if let Err(words) = result {
                prop_assert!(words.contains(&archive.display().to_string()), "{}", words);
            }
        }
    }

    /// Names that no file system takes are an archive's fault, and the words name it.
    #[test]
    fn names_that_cannot_be_written_are_named() {
        let long = "n".repeat(300);
        for names in [
            &["a\0b/one"][..],
            &[&long],
            &["a", "a/one"],
            &["a/one", "a"],
        ] {
            let place = tempfile::tempdir().unwrap();
            let archive = place.path().join("a.zip");
            let mut writer = zip::ZipWriter::new(File::create(&archive).unwrap());
            for name in names {
                let options = zip::write::SimpleFileOptions::default();
                writer.start_file(name, options).unwrap();
                writer.write_all(b"bytes").unwrap();
            }
            writer.finish().unwrap();
            let target = place.path().join("target");
            std::fs::create_dir(&target).unwrap();
            let words = unpack(&archive, &target, &ProgressBar::hidden(), 10_000).unwrap_err();
            let named = archive.display().to_string();
            assert!(words.starts_with(&named), "{words}");
            assert!(words.contains("no file can have this name"), "{words}");
            assert!(!words.contains('\0'), "{words}");
        }
    }

    /// Parts that were packed apart, as some programs pack large files, belong together.
    #[test]
    fn a_gzip_of_several_parts_is_read_to_its_end() {
        let tar = small(Kind::Tar);
        let mut bytes = Vec::new();
        for part in [&tar[..1536], &tar[1536..]] {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(part).unwrap();
            bytes.extend(encoder.finish().unwrap());
        }
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("a.tgz");
        std::fs::write(&archive, bytes).unwrap();
        let target = tempfile::tempdir().unwrap();
        unpack(&archive, target.path(), &ProgressBar::hidden(), 10_000).unwrap();
        assert_eq!(size_of(target.path()), 900 + 256);
    }

    #[test]
    fn a_tar_that_was_cut_between_its_files_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("a.tar");
        // The first file: its header, and two blocks of 512 bytes.
        std::fs::write(&archive, &small(Kind::Tar)[..1536]).unwrap();
        let target = place.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let words = unpack(&archive, &target, &ProgressBar::hidden(), 10_000).unwrap_err();
        assert!(words.contains("ends too early"), "{words}");
    }

    /// A few bytes may stand for many.
    #[test]
    fn no_more_is_unpacked_than_the_cache_may_hold() {
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("zeros.zip");
        let mut writer = zip::ZipWriter::new(File::create(&zip).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        for name in ["a/1", "a/2"] {
            writer.start_file(name, options).unwrap();
            writer.write_all(&[0; 100_000]).unwrap();
        }
        writer.finish().unwrap();
        assert!(zip.metadata().unwrap().len() < 10_000);
        for (limit, fits) in [(200_000, true), (199_999, false), (50_000, false)] {
            let target = tempfile::tempdir().unwrap();
            let result = unpack(&zip, target.path(), &ProgressBar::hidden(), limit);
            assert_eq!(result.is_ok(), fits, "{limit}: {result:?}");
            assert!(size_of(target.path()) <= limit + 1);
        }
    }
}
