//! Data sets: bytes in memory, a seeded order, one batch at a time.

mod embedded;
mod idx;

pub use embedded::embedded_digits;
#[cfg(not(target_arch = "wasm32"))]
pub use idx::read_folder;
pub use idx::{MAX_SIDE, encode_images, encode_labels, parse_images, parse_labels};

use crate::rng::Philox;

/// Why a data set could not be read. Every message names the file, the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A folder without one of the four files.
    #[error(
        "{folder}: none of {wanted} is here{present}. Give --data a folder with the four files of MNIST's format."
    )]
    Missing {
        /// The folder.
        folder: String,
        /// The names looked for.
        wanted: String,
        /// What is there instead.
        present: String,
    },
    /// The operating system refused.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Its words.
        reason: String,
    },
    /// Not an IDX file of the wanted kind.
    #[error(
        "{file}: byte 0: {found}; {wanted} begin with {magic:#010x}. Is it the right file, and complete?"
    )]
    WrongType {
        /// The file.
        file: String,
        /// What the first bytes say.
        found: String,
        /// What was wanted.
        wanted: &'static str,
        /// Its first four bytes.
        magic: u32,
    },
    /// Shorter or longer than its header says.
    #[error(
        "{file}: the header at byte 4 promises {expected} bytes in all, the file has {found}. Fetch it again."
    )]
    WrongSize {
        /// The file.
        file: String,
        /// Bytes by the header.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A header no sensible file has.
    #[error("{file}: byte 4: {what}. Is this a data set of small images?")]
    Absurd {
        /// The file.
        file: String,
        /// What is absurd.
        what: String,
    },
    /// A compressed file that does not unpack.
    #[error("{file}: damaged gzip data: {reason}. Fetch it again.")]
    BadGzip {
        /// The file.
        file: String,
        /// The decoder's words.
        reason: String,
    },
    /// Counts that differ.
    #[error(
        "{images_file} holds {images} images, {labels_file} {labels} labels. They must come in pairs."
    )]
    CountMismatch {
        /// The image file.
        images_file: String,
        /// Images in it.
        images: usize,
        /// The label file.
        labels_file: String,
        /// Labels in it.
        labels: usize,
    },
    /// A label no class has.
    #[error("{file}: byte {offset}: label {label} of image {image} is outside the {classes} classes 0 to {}", classes - 1)]
    BadLabel {
        /// The file.
        file: String,
        /// Where.
        offset: usize,
        /// Its value.
        label: u8,
        /// Whose.
        image: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// Training and test images of different sizes.
    #[error("{0}: training images are {1}, test images {2}. Both must have one size.")]
    SizesDiffer(String, String, String),
}

/// Images with their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// (count, height, width, channels)
    pub pixels: Vec<u8>,
    /// (count), each below the number of classes
    pub labels: Vec<u8>,
}

impl Images {
    /// How many.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// (height, width, channels)
    pub fn size(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Bytes of one image, (height, width, channels).
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.height * self.width * self.channels;
        &self.pixels[i * size..(i + 1) * size]
    }

    /// Pixels of image `i` as the networks take them: 0 to 1.
    pub fn scaled(&self, i: usize) -> impl Iterator<Item = f32> + '_ {
        self.image(i).iter().map(|b| f32::from(*b) / 255.0)
    }
}

/// Images to learn from and images to be tested on.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// For reports.
    pub name: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// To learn from.
    pub train: Images,
    /// To be tested on, never learned from.
    pub test: Images,
}

/// Moves an image by whole pixels, down and right; what comes in from outside is zero.
/// `image` and `target` are (height, width, channels).
pub fn shift_image(
    image: &[f32],
    [height, width, channels]: [usize; 3],
    [down, right]: [i32; 2],
    target: &mut [f32],
) {
    for y in 0..height {
        for x in 0..width {
            let from = [y as i32 - down, x as i32 - right];
            let inside =
                (0..height as i32).contains(&from[0]) && (0..width as i32).contains(&from[1]);
            let at = (y * width + x) * channels;
            if inside {
                let source = (from[0] as usize * width + from[1] as usize) * channels;
                target[at..at + channels].copy_from_slice(&image[source..source + channels]);
            } else {
                target[at..at + channels].fill(0.0);
            }
        }
    }
}

/// How far image `i` is moved (down, right) in an epoch: each uniform in `-most..=most`, a function
/// of its arguments alone, so that a resumed run moves images as an uninterrupted one.
pub fn random_shift(seed: u64, epoch: u32, i: u32, most: u32) -> [i32; 2] {
    const SHIFT_STREAM: u64 = 2 << 32;
    if most == 0 {
        return [0, 0];
    }
    let mut rng = Philox::new(seed, SHIFT_STREAM + u64::from(epoch) + (u64::from(i) << 34));
    [(); 2].map(|()| rng.below(2 * most + 1) as i32 - most as i32)
}

/// The order in which an epoch visits the images: a function of seed and epoch alone, so that a
/// resumed run visits them as an uninterrupted one.
pub fn epoch_order(seed: u64, epoch: u32, count: usize) -> Vec<u32> {
    const ORDER_STREAM: u64 = 1 << 32;
    Philox::new(seed, ORDER_STREAM + u64::from(epoch)).permutation(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_every_pixel_and_leaves_zeros_behind() {
        let image: Vec<f32> = (1..=12).map(|v| v as f32).collect();
        let mut moved = vec![9.0; 12];
        shift_image(&image, [3, 2, 2], [1, -1], &mut moved);
        assert_eq!(
            moved,
            [0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 7.0, 8.0, 0.0, 0.0]
        );
    }

    #[test]
    fn shifts_reach_both_ends_and_depend_on_image_and_epoch() {
        let shifts: Vec<[i32; 2]> = (0..200).map(|i| random_shift(1, 0, i, 2)).collect();
        for axis in [0, 1] {
            for value in -2..=2 {
                assert!(shifts.iter().any(|s| s[axis] == value));
            }
        }
        let other: Vec<[i32; 2]> = (0..200).map(|i| random_shift(1, 1, i, 2)).collect();
        assert_ne!(shifts, other);
        assert_eq!(random_shift(1, 0, 7, 0), [0, 0]);
    }
}
