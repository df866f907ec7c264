//! 6,000 training and 1,000 test digits of MNIST inside the library, so that everything runs
//! without a download. `examples/make_digits.rs` made them.

use super::{DataError, Dataset, Images, parse_images, parse_labels};

const TRAIN_IMAGES: &[u8] = include_bytes!("../../assets/digits/train-images.idx.gz");
const TRAIN_LABELS: &[u8] = include_bytes!("../../assets/digits/train-labels.idx.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../../assets/digits/test-images.idx.gz");
const TEST_LABELS: &[u8] = include_bytes!("../../assets/digits/test-labels.idx.gz");

/// Their name, as of a data set.
pub const EMBEDDED_DIGITS: &str = "embedded digits";

/// The embedded digits: 600 and 100 of each class, 28 x 28 pixels, grey.
///
/// # Errors
/// None unless the crate's own assets are damaged.
pub fn embedded_digits() -> Result<Dataset, DataError> {
    let images = |images: &[u8], labels: &[u8]| -> Result<Images, DataError> {
        let ([_, height, width], pixels) = parse_images(EMBEDDED_DIGITS, images)?;
        Ok(Images {
            height,
            width,
            channels: 1,
            pixels: pixels.into(),
            labels: parse_labels(EMBEDDED_DIGITS, labels, 10)?,
        })
    };
    Ok(Dataset {
        name: EMBEDDED_DIGITS.to_owned(),
        classes: (0..10).map(|digit: u8| digit.to_string()).collect(),
        train: images(TRAIN_IMAGES, TRAIN_LABELS)?,
        test: images(TEST_IMAGES, TEST_LABELS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_balanced_and_drawn() {
        let digits = embedded_digits().unwrap();
        for (images, each) in [(&digits.train, 600), (&digits.test, 100)] {
            assert_eq!(images.size(), [28, 28, 1]);
            for class in 0..10 {
                let count = images.labels.iter().filter(|l| **l == class).count();
                assert_eq!(count, each, "class {class}");
            }
            let ink = images.pixels.iter().map(|p| f64::from(*p)).sum::<f64>();
            let mean = ink / images.pixels.len() as f64 / 255.0;
            // The published mean of MNIST is 0.1307.
            assert!((mean - 0.1307).abs() < 0.01, "mean {mean}");
        }
    }

    /// With the folder of the complete MNIST in `GTC_MNIST`: every embedded digit is one of it.
    #[test]
    #[ignore = "needs the complete MNIST: GTC_MNIST=folder cargo test -- --ignored"]
    fn digits_are_those_of_mnist() {
        let folder = std::env::var("GTC_MNIST").expect("GTC_MNIST names the folder");
        let all = super::super::read_folder(folder.as_ref()).unwrap();
        let digits = embedded_digits().unwrap();
        for (part, whole) in [(&digits.train, &all.train), (&digits.test, &all.test)] {
            let mut at = 0;
            for i in 0..part.count() {
                at = (at..whole.count())
                    .find(|&j| part.labels[i] == whole.labels[j] && part.image(i) == whole.image(j))
                    .unwrap_or_else(|| panic!("digit {i} is not in MNIST after {at}"))
                    + 1;
            }
        }
    }
}
