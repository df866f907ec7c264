//! The bytes of images: in memory, or mapped from a file that is larger than memory.

use std::ops::Deref;
#[cfg(feature = "pictures")]
use std::{ops::Range, sync::Arc};

/// Bytes of images, (count, height, width, channels). It reads as `[u8]`; a `Vec<u8>` becomes one by
/// `into()`. Bytes that are mapped from a file are read from the disk when they are needed, so that a
/// data set may be larger than memory.
#[derive(Clone)]
pub struct Pixels(Store);

#[derive(Clone)]
enum Store {
    Memory(Vec<u8>),
    /// A range of the bytes of a file that nobody changes: files of the cache are only ever
    /// replaced as a whole.
    #[cfg(feature = "pictures")]
    Mapped(Arc<memmap2::Mmap>, Range<usize>),
}

impl Pixels {
    /// A range of a mapped file.
    ///
    /// # Panics
    /// If the range reaches past the end of the file.
    #[cfg(feature = "pictures")]
    pub(crate) fn mapped(map: Arc<memmap2::Mmap>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= map.len());
        Self(Store::Mapped(map, range))
    }

    /// Whether the bytes lie in a mapped file and not in memory.
    pub fn is_mapped(&self) -> bool {
        !matches!(self.0, Store::Memory(_))
    }

    /// Keeps only the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        match &mut self.0 {
            Store::Memory(bytes) => bytes.truncate(length),
            #[cfg(feature = "pictures")]
            Store::Mapped(_, range) => range.end = range.end.min(range.start + length),
        }
    }

    /// Adds a byte at the end.
    pub fn push(&mut self, byte: u8) {
        self.memory().push(byte);
    }

    /// Adds bytes at the end.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.memory().extend_from_slice(bytes);
    }

    /// The bytes as a vector that can grow; mapped bytes are copied into memory first.
    fn memory(&mut self) -> &mut Vec<u8> {
        #[cfg(feature = "pictures")]
        if self.is_mapped() {
            self.0 = Store::Memory(self.to_vec());
        }
        match &mut self.0 {
            Store::Memory(bytes) => bytes,
            #[cfg(feature = "pictures")]
            Store::Mapped(..) => unreachable!("copied above"),
        }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Memory(bytes) => bytes,
            #[cfg(feature = "pictures")]
            Store::Mapped(map, range) => &map[range.clone()],
        }
    }
}

impl Default for Pixels {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Store::Memory(bytes))
    }
}

impl<'a> IntoIterator for &'a Pixels {
    type Item = &'a u8;
    type IntoIter = std::slice::Iter<'a, u8>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<u8> for Pixels {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        bytes.into_iter().collect::<Vec<u8>>().into()
    }
}

impl Extend<u8> for Pixels {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.memory().extend(bytes);
    }
}

impl<'a> Extend<&'a u8> for Pixels {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        self.memory().extend(bytes);
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl PartialEq<Vec<u8>> for Pixels {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self[..] == other[..]
    }
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.is_mapped() {
            "mapped"
        } else {
            "in memory"
        };
        write!(f, "Pixels({} bytes {place})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_memory_grow_and_shrink() {
        let mut pixels = Pixels::from(vec![1, 2, 3]);
        pixels.extend([4, 5]);
        pixels.extend_from_slice(&[6]);
        pixels.truncate(5);
        assert_eq!(pixels, vec![1, 2, 3, 4, 5]);
        assert!(!pixels.is_mapped());
    }

    #[cfg(feature = "pictures")]
    #[test]
    fn mapped_bytes_read_alike_and_move_into_memory_to_grow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, [9, 1, 2, 3, 9]).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        // SAFETY: nobody else has the file.
        let map = Arc::new(unsafe { memmap2::Mmap::map(&file) }.unwrap());
        let mut pixels = Pixels::mapped(map, 1..4);
        assert_eq!(pixels, vec![1, 2, 3]);
        pixels.truncate(2);
        assert!(pixels.is_mapped());
        pixels.extend([7]);
        assert_eq!(pixels, vec![1, 2, 7]);
        assert!(!pixels.is_mapped());
    }
}
