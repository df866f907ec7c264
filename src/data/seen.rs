//! What training images look like on the whole, so that a picture that is nothing like them can be told.

use serde::{Deserialize, Serialize};

use super::Images;

/// Images that are looked at, at equal distances.
const LOOKED_AT: usize = 2000;
/// Deviations from the mean at which a picture counts as far away.
const FAR: f32 = 6.0;
/// Least deviation: data sets may be made of images of one brightness.
const LEAST: f32 = 0.02;

/// How a picture of any shape becomes one of the wanted height and width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Scaled until it covers the wanted size, then the middle of it is cut out.
    #[default]
    Crop,
    /// Scaled to the wanted height and width, whatever its shape was.
    Stretch,
    /// Scaled until it fits into the wanted size, with the background around it.
    Pad,
}

impl Resize {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Crop, Self::Stretch, Self::Pad];

    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Stretch => "stretch",
            Self::Pad => "pad",
        }
    }
}

/// How the pictures of a folder became images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// How they got their size.
    pub resize: Resize,
    /// What shows through transparent pixels and around padded pictures: red, green, blue.
    pub background: [u8; 3],
    /// Whether they were turned the way their EXIF orientation says.
    pub exif: bool,
    /// Part of each class that became test images, where the folder had no test images of its own. Unknown of older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
}

/// Mean and standard deviation, over images, of what is said of each image. Pixels count from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Of the mean of an image's pixels.
    pub brightness: [f32; 2],
    /// Of their standard deviation.
    pub contrast: [f32; 2],
    /// How they were made of pictures; `None` if they came as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
}

impl Seen {
    /// Looks at training images; `None` if there are none.
    pub fn of(images: &Images) -> Option<Self> {
        let count = images.count().min(LOOKED_AT);
        if count == 0 {
            return None;
        }
        let looks = (0..count).map(|i| look(images.image(i * images.count() / count)));
        let (brightness, contrast): (Vec<f64>, Vec<f64>) = looks.unzip();
        let summary = |values: Vec<f64>| {
            let (mean, deviation) = moments(values.into_iter());
            [mean as f32, deviation as f32]
        };
        Some(Self {
            brightness: summary(brightness),
            contrast: summary(contrast),
            reading: None,
        })
    }

    /// Whether the images are light on dark, as MNIST's are.
    pub fn is_dark(&self) -> bool {
        self.brightness[0] < 0.5
    }

    /// What is unusual about an image, as a model reads it: `None` if nothing is.
    pub fn unlike(&self, image: &[u8]) -> Option<&'static str> {
        let (brightness, contrast) = look(image);
        let distance =
            |value: f64, [mean, deviation]: [f32; 2]| (value as f32 - mean) / deviation.max(LEAST);
        let bright = distance(brightness, self.brightness);
        let contrasted = distance(contrast, self.contrast);
        match (bright, contrasted) {
            (far, _) if far > FAR => Some("far brighter than what the model learned from"),
            (far, _) if far < -FAR => Some("far darker than what the model learned from"),
            (_, far) if far > FAR => Some("of far more contrast than what the model learned from"),
            (_, far) if far < -FAR => Some("of far less contrast than what the model learned from"),
            _ => None,
        }
    }
}

/// Mean and standard deviation of an image's pixels.
fn look(image: &[u8]) -> (f64, f64) {
    moments(image.iter().map(|byte| f64::from(*byte) / 255.0))
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::embedded_digits;

    #[test]
    fn digits_are_like_digits_and_their_opposite_is_not() {
        let digits = embedded_digits().unwrap();
        let seen = Seen::of(&digits.train).unwrap();
        for i in 0..digits.test.count() {
            assert_eq!(seen.unlike(digits.test.image(i)), None, "digit {i}");
        }
        let inverted: Vec<u8> = digits.test.image(0).iter().map(|v| 255 - v).collect();
        assert!(seen.unlike(&inverted).unwrap().contains("brighter"));
        let noise: Vec<u8> = (0..784).map(|i| (i * 89 % 251) as u8).collect();
        assert!(seen.unlike(&noise).is_some());
        assert_eq!(Seen::of(&Images::default()), None);
    }
}
