//! What happens to a training image before a network sees it: the same in every run with a seed, so
//! that a resumed run sees what an uninterrupted one sees.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::rng::Philox;

/// Height over width of a random crop lies between this and its inverse, as of torchvision's
/// RandomResizedCrop.
const LEAST_ASPECT: f64 = 0.75;
/// Crops that are drawn before the middle of the image is taken instead.
const TRIES: usize = 10;
/// Shares of red, green and blue in the grey of a colour (ITU-R BT.709).
const GREY: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// Which images are mirrored, left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FlipWord", into = "FlipWord")]
pub enum Flip {
    /// None.
    #[default]
    Never,
    /// Each with probability one half.
    Random,
    /// Half of them in the first epoch, drawn by the seed; in every later one those that were not in the one before. So a
    /// pair of epochs shows every image both ways (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a single GPU").
    Alternate,
}

/// [`Flip`] in files: false, true or "alternate".
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum FlipWord {
    Known(bool),
    Word(String),
}

impl TryFrom<FlipWord> for Flip {
    type Error = String;

    fn try_from(word: FlipWord) -> Result<Self, String> {
        match word {
            FlipWord::Known(true) => Ok(Self::Random),
            FlipWord::Known(false) => Ok(Self::Never),
            FlipWord::Word(word) => match word.as_str() {
                "true" => Ok(Self::Random),
                "false" => Ok(Self::Never),
                "alternate" => Ok(Self::Alternate),
                _ => Err(format!(
                    "flip is true, false or \"alternate\", not \"{word}\""
                )),
            },
        }
    }
}

impl From<Flip> for FlipWord {
    fn from(flip: Flip) -> Self {
        match flip {
            Flip::Never => Self::Known(false),
            Flip::Random => Self::Known(true),
            Flip::Alternate => Self::Word("alternate".to_owned()),
        }
    }
}

/// What may happen to a training image. The default: nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// Largest shift in pixels, up or down and left or right.
    pub shift: u32,
    /// Which images are mirrored, left to right.
    pub flip: Flip,
    /// Smallest part of an image's area that a random crop shows, scaled to the full size; 1: none is
    /// cropped.
    pub crop: f64,
    /// Side of a square that is blanked at a random place, in pixels; 0: none.
    pub cutout: u32,
    /// How far brightness, contrast and saturation change at random: each by a factor between
    /// 1 - `jitter` and 1 + `jitter`.
    pub jitter: f64,
    /// An image becomes a sum of itself and another one of its batch, with shares of a beta distribution with both
    /// parameters equal to this; 0: none does.
    pub mix_up: f64,
    /// Part of a label that is spread evenly over all classes.
    pub label_smoothing: f64,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            shift: 0,
            flip: Flip::Never,
            crop: 1.0,
            cutout: 0,
            jitter: 0.0,
            mix_up: 0.0,
            label_smoothing: 0.0,
        }
    }
}

/// A part of an image, as shares of its height and width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Where it begins: top, left.
    pub start: [f64; 2],
    /// Height, width.
    pub size: [f64; 2],
}

/// A square without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutout {
    /// Random numbers that stand for the row and the column of its middle, over the whole image.
    pub middle: [u32; 2],
    /// Pixels.
    pub side: u32,
}

/// What happens to one image in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Pixels down and right.
    pub shift: [i32; 2],
    /// Mirrored, left to right.
    pub flip: bool,
    /// The part that is shown, before it is mirrored and moved.
    pub crop: Option<Crop>,
    /// Blanked last.
    pub cutout: Option<Cutout>,
    /// Factors of brightness, contrast and saturation.
    pub colour: Option<[f32; 3]>,
    /// Its own share, where another image of the batch is mixed in.
    pub share: Option<f32>,
    /// Part of its label that is spread evenly over all classes.
    pub label_smoothing: f32,
}

impl Augment {
    /// What happens to image `i` in an epoch: a function of the arguments alone. Shifts are uniform in
    /// `-shift..=shift`. Every kind draws its numbers after the ones before it, so that one that is
    /// switched off changes none of those.
    pub fn draw(self, seed: u64, epoch: u32, i: u32) -> Augmentation {
        const STREAM: u64 = 2 << 32;
        const FLIPS: u64 = 3 << 32;
        if self == Self::default() {
            return Augmentation::default();
        }
        let mut rng = Philox::new(seed, STREAM + u64::from(epoch) + (u64::from(i) << 34));
        let most = self.shift;
        let shift = [(); 2].map(|()| rng.below(2 * most + 1) as i32 - most as i32);
        let flip = match self.flip {
            Flip::Never => false,
            Flip::Random => rng.below(2) == 1,
            // The image's own number of no epoch, so that epochs differ by their parity alone.
            Flip::Alternate => {
                let first = Philox::new(seed, FLIPS + u64::from(i)).below(2) == 1;
                first ^ (epoch % 2 == 1)
            }
        };
        let crop = (self.crop < 1.0).then(|| draw_crop(&mut rng, self.crop));
        let cutout = (self.cutout > 0).then(|| Cutout {
            middle: [(); 2].map(|()| rng.next_u32()),
            side: self.cutout,
        });
        let colour = (self.jitter > 0.0)
            .then(|| [(); 3].map(|()| (1.0 + self.jitter * (2.0 * rng.uniform() - 1.0)) as f32));
        let share = (self.mix_up > 0.0).then(|| draw_beta(&mut rng, self.mix_up) as f32);
        Augmentation {
            shift,
            flip,
            crop,
            cutout,
            colour,
            share,
            label_smoothing: self.label_smoothing as f32,
        }
    }
}

/// Label smoothing (Szegedy et al. 2016): takes a part of the probabilities of a row and spreads it evenly.
pub fn smooth(row: &mut [f32], part: f32) {
    let even = part / row.len() as f32;
    for value in row {
        *value = (1.0 - part) * *value + even;
    }
}

/// A number of the beta distribution with both parameters equal to `shape`, 0 (excluded) to 1 (Jöhnk 1964).
fn draw_beta(rng: &mut Philox, shape: f64) -> f64 {
    loop {
        let uniform = [(); 2].map(|()| rng.uniform());
        let [a, b] = uniform.map(|u| u.powf(1.0 / shape));
        if a + b > 1.0 {
            continue;
        }
        if a + b > 0.0 {
            return a / (a + b);
        }
        // Powers for a small shape are zero in f64; the ratio of both is not.
        let [a, b] = uniform.map(f64::ln);
        if a.is_finite() && b.is_finite() {
            return 1.0 / (1.0 + ((b - a) / shape).exp());
        }
    }
}

/// Mix-up (Zhang et al. 2018): row i of a batch becomes `shares[i]` of itself and the rest of the row behind it; behind
/// the last comes the first. Rows are images or labels, `width` numbers each.
pub fn mix_up(rows: &mut [f32], width: usize, shares: &[f32]) {
    let before = rows.to_vec();
    for (i, share) in shares.iter().enumerate() {
        let other = (i + 1) % shares.len() * width;
        let other = &before[other..other + width];
        for (value, other) in rows[i * width..].iter_mut().zip(other) {
            *value = *other + share * (*value - *other);
        }
    }
}

/// A part of an image of at least `least` of its area; the whole image if no try fits into it.
fn draw_crop(rng: &mut Philox, least: f64) -> Crop {
    let widest = -LEAST_ASPECT.ln();
    for _ in 0..TRIES {
        let area = least + (1.0 - least) * rng.uniform();
        let aspect = (widest * (2.0 * rng.uniform() - 1.0)).exp();
        let size = [(area * aspect).sqrt(), (area / aspect).sqrt()];
        if size[0] <= 1.0 && size[1] <= 1.0 {
            let start = size.map(|side| (1.0 - side) * rng.uniform());
            return Crop { start, size };
        }
    }
    Crop {
        start: [0.0; 2],
        size: [1.0; 2],
    }
}

impl Augmentation {
    /// Changes the colours of an image of bytes (height, width, channels): brightness is a factor of
    /// every value, contrast one of the distance from the mean grey, saturation one of the distance from
    /// the pixel's own grey.
    pub fn recolour<'i>(&self, image: &'i [u8], channels: usize) -> Cow<'i, [u8]> {
        let Some([brightness, contrast, saturation]) = self.colour else {
            return Cow::Borrowed(image);
        };
        let grey = |pixel: &[u8]| match pixel {
            [r, g, b] => [r, g, b]
                .into_iter()
                .zip(GREY)
                .map(|(v, s)| f32::from(*v) * s)
                .sum(),
            _ => f32::from(pixel[0]),
        };
        let pixels = (image.len() / channels).max(1);
        let mean = image
            .chunks(channels)
            .map(|pixel| f64::from(grey(pixel)))
            .sum::<f64>();
        let mean = (mean / pixels as f64) as f32;
        let recoloured = image.chunks(channels).flat_map(|pixel| {
            let own = grey(pixel);
            pixel.iter().map(move |value| {
                let saturated = own + saturation * (f32::from(*value) - own);
                let contrasted = mean + contrast * (saturated - mean);
                (brightness * contrasted).round().clamp(0.0, 255.0) as u8
            })
        });
        Cow::Owned(recoloured.collect())
    }

    /// Crops, mirrors, moves and blanks an image; what comes in from outside, and what is blanked, is
    /// zero. `image` and `target` are (height, width, channels).
    pub fn apply(self, image: &[f32], size: [usize; 3], target: &mut [f32]) {
        match self.crop {
            Some(crop) => self.place(&crop.scaled(image, size), size, target),
            None => self.place(image, size, target),
        }
        if let Some(cutout) = self.cutout {
            cutout.blank(size, target);
        }
    }

    fn place(self, image: &[f32], [height, width, channels]: [usize; 3], target: &mut [f32]) {
        let [down, right] = self.shift;
        for y in 0..height {
            for x in 0..width {
                let from = [y as i32 - down, x as i32 - right];
                let inside =
                    (0..height as i32).contains(&from[0]) && (0..width as i32).contains(&from[1]);
                let at = (y * width + x) * channels;
                if inside {
                    let row = from[0] as usize;
                    let column = match self.flip {
                        true => width - 1 - from[1] as usize,
                        false => from[1] as usize,
                    };
                    let source = (row * width + column) * channels;
                    target[at..at + channels].copy_from_slice(&image[source..source + channels]);
                } else {
                    target[at..at + channels].fill(0.0);
                }
            }
        }
    }
}

/// Two neighbours of a place on a line, and the share of the second.
fn neighbours(place: f64, length: usize) -> (usize, usize, f32) {
    let place = place.clamp(0.0, (length - 1) as f64);
    let first = place.floor() as usize;
    (
        first,
        (first + 1).min(length - 1),
        (place - first as f64) as f32,
    )
}

impl Crop {
    /// The part at the full size of the image, bilinear.
    fn scaled(self, image: &[f32], [height, width, channels]: [usize; 3]) -> Vec<f32> {
        let along = |i: usize, axis: usize, length: usize| {
            let place = self.start[axis] + self.size[axis] * (i as f64 + 0.5) / length as f64;
            neighbours(place * length as f64 - 0.5, length)
        };
        let columns: Vec<_> = (0..width).map(|x| along(x, 1, width)).collect();
        let mut scaled = Vec::with_capacity(image.len());
        for y in 0..height {
            let (top, bottom, lower) = along(y, 0, height);
            for &(left, right, further) in &columns {
                for c in 0..channels {
                    let at =
                        |row: usize, column: usize| image[(row * width + column) * channels + c];
                    let mix = |a: f32, b: f32, share: f32| a + share * (b - a);
                    let above = mix(at(top, left), at(top, right), further);
                    let below = mix(at(bottom, left), at(bottom, right), further);
                    scaled.push(mix(above, below, lower));
                }
            }
        }
        scaled
    }
}

impl Cutout {
    fn blank(self, [height, width, channels]: [usize; 3], target: &mut [f32]) {
        let range = |random: u32, length: usize| {
            let middle = ((u64::from(random) * length as u64) >> 32) as usize;
            let half = self.side as usize / 2;
            let end = (middle + self.side as usize - half).min(length);
            middle.saturating_sub(half)..end
        };
        let columns = range(self.middle[1], width);
        for y in range(self.middle[0], height) {
            let row = y * width;
            target[(row + columns.start) * channels..(row + columns.end) * channels].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(augment: Augment, epoch: u32) -> Vec<Augmentation> {
        (0..200).map(|i| augment.draw(1, epoch, i)).collect()
    }

    #[test]
    fn shares_of_the_smallest_shapes_are_drawn_too() {
        let mut rng = Philox::new(1, 2);
        for shape in [1.0, 1e-2, 1e-10, 1e-30, 1e-320] {
            let shares: Vec<f64> = (0..200).map(|_| draw_beta(&mut rng, shape)).collect();
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let low = shares.iter().filter(|share| **share < 0.5).count();
            assert!((60..140).contains(&low), "{shape}: {low} of 200");
        }
    }

    #[test]
    fn a_shift_moves_every_pixel_and_leaves_zeros_behind() {
        let image: Vec<f32> = (1..=12).map(|v| v as f32).collect();
        let mut moved = vec![9.0; 12];
        let mut augmentation = Augmentation {
            shift: [1, -1],
            ..Augmentation::default()
        };
        augmentation.apply(&image, [3, 2, 2], &mut moved);
        assert_eq!(
            moved,
            [0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 7.0, 8.0, 0.0, 0.0]
        );
        augmentation.flip = true;
        augmentation.apply(&image, [3, 2, 2], &mut moved);
        assert_eq!(
            moved,
            [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]
        );
    }

    #[test]
    fn draws_reach_both_ends_and_depend_on_image_and_epoch() {
        let augment = Augment {
            shift: 2,
            flip: Flip::Random,
            ..Augment::default()
        };
        let first = draws(augment, 0);
        for axis in [0, 1] {
            for value in -2..=2 {
                assert!(first.iter().any(|d| d.shift[axis] == value));
            }
        }
        let flipped = first.iter().filter(|d| d.flip).count();
        assert!((60..140).contains(&flipped), "{flipped} of 200 mirrored");
        assert_ne!(first, draws(augment, 1));
        assert_eq!(Augment::default().draw(1, 0, 7), Augmentation::default());
    }

    #[test]
    fn alternating_mirrors_show_every_image_both_ways_in_two_epochs() {
        let augment = Augment {
            flip: Flip::Alternate,
            ..Augment::default()
        };
        let first = draws(augment, 0);
        let flipped = first.iter().filter(|d| d.flip).count();
        assert!((60..140).contains(&flipped), "{flipped} of 200 mirrored");
        let pairs = first.iter().zip(draws(augment, 1));
        assert!(pairs.into_iter().all(|(a, b)| a.flip != b.flip));
        assert_eq!(first, draws(augment, 2));
        for (word, flip) in [
            ("flip = true", Flip::Random),
            ("flip = false", Flip::Never),
            ("flip = 'alternate'", Flip::Alternate),
        ] {
            let table: toml::Table = word.parse().unwrap();
            assert_eq!(table["flip"].clone().try_into(), Ok(flip));
        }
        let wrong: toml::Table = "flip = 'sideways'".parse().unwrap();
        assert!(Flip::deserialize(wrong["flip"].clone()).is_err());
    }

    #[test]
    fn another_kind_leaves_shifts_and_mirrors_as_they_were() {
        let plain = Augment {
            shift: 2,
            flip: Flip::Random,
            ..Augment::default()
        };
        let all = Augment {
            crop: 0.3,
            cutout: 4,
            jitter: 0.4,
            mix_up: 0.2,
            ..plain
        };
        for (a, b) in draws(plain, 3).iter().zip(draws(all, 3)) {
            assert_eq!((a.shift, a.flip), (b.shift, b.flip));
            assert!(b.crop.is_some() && b.cutout.is_some() && b.colour.is_some());
            assert!(b.share.is_some());
        }
        assert_eq!(draws(all, 3), draws(all, 3));
    }

    #[test]
    fn crops_lie_inside_and_have_the_area_and_shape_that_were_asked_for() {
        let augment = Augment {
            crop: 0.25,
            ..Augment::default()
        };
        let crops: Vec<Crop> = draws(augment, 0).iter().filter_map(|d| d.crop).collect();
        assert_eq!(crops.len(), 200);
        for crop in &crops {
            let [height, width] = crop.size;
            assert!((0.2499..1.0001).contains(&(height * width)), "{crop:?}");
            assert!((0.749..1.335).contains(&(height / width)), "{crop:?}");
            for axis in [0, 1] {
                assert!(
                    crop.start[axis] >= 0.0 && crop.start[axis] + crop.size[axis] <= 1.0 + 1e-12
                );
            }
        }
        let small = crops.iter().filter(|c| c.size[0] * c.size[1] < 0.4).count();
        assert!((10..120).contains(&small), "{small}");
    }

    #[test]
    fn a_crop_of_everything_changes_nothing_and_a_half_is_enlarged() {
        let image: Vec<f32> = (0..32).map(|v| v as f32).collect();
        let with = |start, size| {
            let mut target = vec![-1.0; 32];
            let augmentation = Augmentation {
                crop: Some(Crop { start, size }),
                ..Augmentation::default()
            };
            augmentation.apply(&image, [4, 8, 1], &mut target);
            target
        };
        assert_eq!(with([0.0; 2], [1.0; 2]), image);
        // The right half: columns 4 to 7, each twice, in between where they meet.
        let right = with([0.0, 0.5], [1.0, 0.5]);
        assert_eq!(right[..8], [3.75, 4.25, 4.75, 5.25, 5.75, 6.25, 6.75, 7.0]);
    }

    #[test]
    fn a_cutout_blanks_a_square_that_may_reach_over_the_edge() {
        let blanked = |middle, side| {
            let mut target = vec![0.0; 8 * 8 * 3];
            let augmentation = Augmentation {
                cutout: Some(Cutout { middle, side }),
                ..Augmentation::default()
            };
            augmentation.apply(&[1.0; 8 * 8 * 3], [8, 8, 3], &mut target);
            target.iter().filter(|v| **v == 0.0).count() / 3
        };
        assert_eq!(blanked([1 << 31; 2], 4), 16);
        assert_eq!(blanked([1 << 31; 2], 3), 9);
        assert_eq!(
            blanked([0, 0], 4),
            4,
            "a quarter is left of it in the corner"
        );
        assert_eq!(blanked([u32::MAX; 2], 4), 9);
        assert_eq!(blanked([7, 7], 100), 8 * 8);
    }

    #[test]
    fn rows_are_mixed_with_the_row_behind_and_labels_smoothed() {
        let mut rows = [0.0, 4.0, 8.0, 0.0, 1.0, 1.0];
        mix_up(&mut rows, 2, &[0.75, 0.5, 1.0]);
        assert_eq!(rows, [2.0, 3.0, 4.5, 0.5, 1.0, 1.0]);
        let mut label = [0.0, 1.0, 0.0, 0.0];
        smooth(&mut label, 0.2);
        assert_eq!(label, [0.05, 0.85, 0.05, 0.05]);
    }

    #[test]
    fn shares_have_the_spread_of_their_beta_distribution() {
        for shape in [0.2, 1.0] {
            let mut rng = Philox::new(1, 0);
            let shares: Vec<f64> = (0..20_000).map(|_| draw_beta(&mut rng, shape)).collect();
            let mean = shares.iter().sum::<f64>() / 2e4;
            let variance = shares.iter().map(|s| (s - 0.5).powi(2)).sum::<f64>() / 2e4;
            assert!((mean - 0.5).abs() < 0.01, "{mean}");
            let want = 0.25 / (2.0 * shape + 1.0);
            assert!((variance - want).abs() < 0.004, "{variance}, not {want}");
        }
    }

    #[test]
    fn colours_change_by_their_factors() {
        let with = |colour, image: &[u8], channels| {
            let augmentation = Augmentation {
                colour: Some(colour),
                ..Augmentation::default()
            };
            augmentation.recolour(image, channels).into_owned()
        };
        let image = [10, 20, 30, 200, 100, 0];
        assert_eq!(with([1.0; 3], &image, 3), image);
        assert_eq!(with([2.0, 1.0, 1.0], &image, 3), [20, 40, 60, 255, 200, 0]);
        let grey = with([1.0, 1.0, 0.0], &image, 3);
        assert!(
            grey[0] == grey[1] && grey[1] == grey[2] && grey[3] == grey[5],
            "{grey:?}"
        );
        assert_eq!(with([1.0, 0.0, 1.0], &[0, 100, 50], 1), [50; 3]);
        assert_eq!(with([0.5, 1.0, 0.0], &[0, 100, 51], 1), [0, 50, 26]);
        let none = Augmentation::default();
        assert!(matches!(none.recolour(&image, 3), Cow::Borrowed(_)));
    }
}
