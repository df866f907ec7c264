//! Where decoded pictures go: into a file as long as its disk takes them, else into memory.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// Takes bytes one after another. When a write fails, what the file has already is read back into
/// memory, and everything else goes there too.
pub(super) struct Sink<F> {
    file: Option<F>,
    /// Where the bytes begin in the file.
    start: u64,
    written: u64,
    memory: Vec<u8>,
    checksum: flate2::Crc,
    /// Why the file was given up.
    pub failure: Option<io::Error>,
}

/// Where the bytes are in the end.
pub(super) enum Content<F> {
    File(F),
    Memory(Vec<u8>),
}

impl<F: Read + Write + Seek> Sink<F> {
    /// Into memory, without a file.
    pub fn in_memory() -> Self {
        Self {
            file: None,
            start: 0,
            written: 0,
            memory: Vec::new(),
            checksum: flate2::Crc::new(),
            failure: None,
        }
    }

    /// Into a file, from byte `start` on.
    pub fn in_file(mut file: F, start: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            file: Some(file),
            start,
            ..Self::in_memory()
        })
    }

    /// Adds bytes. It fails only if the file neither takes bytes nor gives back those that it has.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        if let Some(file) = &mut self.file {
            match file.write_all(bytes) {
                Ok(()) => {
                    self.written += bytes.len() as u64;
                    return Ok(());
                }
                Err(error) => self.give_up(error)?,
            }
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Gives the file up for `reason` and reads its bytes back.
    pub fn give_up(&mut self, reason: io::Error) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.seek(SeekFrom::Start(self.start))?;
            self.memory = vec![0; usize::try_from(self.written).map_err(io::Error::other)?];
            file.read_exact(&mut self.memory)?;
        }
        self.failure = Some(reason);
        Ok(())
    }

    /// CRC-32 of all bytes so far.
    pub fn checksum(&self) -> u32 {
        self.checksum.sum()
    }

    /// The file, unless it was given up.
    pub fn file(&mut self) -> Option<&mut F> {
        self.file.as_mut()
    }

    /// The end.
    pub fn finish(self) -> Content<F> {
        match self.file {
            Some(file) => Content::File(file),
            None => Content::Memory(self.memory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for a number of bytes.
    struct Small(io::Cursor<Vec<u8>>, usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1.saturating_sub(self.0.position() as usize);
            match room.min(bytes.len()) {
                0 => Err(io::Error::other("disk full")),
                fits => self.0.write(&bytes[..fits]),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Small {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(bytes)
        }
    }

    impl Seek for Small {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_disk_that_fills_up_loses_nothing() {
        let bytes: Vec<u8> = (0..100).collect();
        for room in [0, 4, 5, 33, 64, 90] {
            let disk = Small(io::Cursor::new(Vec::new()), room);
            let mut sink = Sink::in_file(disk, 4).unwrap();
            for part in bytes.chunks(7) {
                sink.push(part).unwrap();
            }
            let mut whole = flate2::Crc::new();
            whole.update(&bytes);
            assert_eq!(sink.checksum(), whole.sum());
            let failure = sink.failure.as_ref().map(ToString::to_string);
            assert_eq!(failure.as_deref(), Some("disk full"), "{room}");
            match sink.finish() {
                Content::Memory(kept) => assert_eq!(kept, bytes, "{room}"),
                Content::File(_) => panic!("the disk is full"),
            }
        }
    }

    #[test]
    fn a_disk_with_room_gets_everything() {
        let disk = Small(io::Cursor::new(Vec::new()), 1000);
        let mut sink = Sink::in_file(disk, 4).unwrap();
        sink.push(&[1, 2]).unwrap();
        sink.push(&[3]).unwrap();
        match sink.finish() {
            Content::File(disk) => assert_eq!(disk.0.into_inner(), [0, 0, 0, 0, 1, 2, 3]),
            Content::Memory(_) => panic!("nothing was full"),
        }
    }
}
