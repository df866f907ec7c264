//! Scaling of pictures: linear interpolation where they grow, a weighted mean of all pixels where they
//! shrink.

/// Sides in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub height: usize,
    pub width: usize,
}

impl Size {
    /// Pixels of it.
    pub fn count(self) -> usize {
        self.height * self.width
    }

    /// Both sides times a factor, at least one pixel.
    pub fn scaled(self, factor: f64) -> Self {
        let side = |pixels: usize| ((pixels as f64 * factor).round() as usize).max(1);
        Self {
            height: side(self.height),
            width: side(self.width),
        }
    }
}

/// Neighbours that one pixel of the result is a mean of.
struct Mean {
    first: usize,
    weights: Vec<f32>,
}

/// For each of `to` pixels in a row, which of `from` pixels it is a mean of: a triangle around its place.
fn means(from: usize, to: usize) -> Vec<Mean> {
    let ratio = from as f64 / to as f64;
    let reach = ratio.max(1.0);
    let mean = |i: usize| {
        let centre = (i as f64 + 0.5) * ratio - 0.5;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(from - 1);
        let weight = |j: usize| (1.0 - (j as f64 - centre).abs() / reach).max(0.0);
        let weights: Vec<f64> = (first..=last).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Mean {
            first,
            weights: weights.iter().map(|w| (w / sum) as f32).collect(),
        }
    };
    (0..to).map(mean).collect()
}

/// A picture (height, width, channels) of another size.
pub(super) fn resized(pixels: &[u8], from: Size, to: Size, channels: usize) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    let columns = means(from.width, to.width);
    // (height of the picture, width of the result, channels)
    let mut narrow = Vec::with_capacity(from.height * to.width * channels);
    for row in pixels.chunks(from.width * channels) {
        for mean in &columns {
            for c in 0..channels {
                let values = row[mean.first * channels + c..].iter().step_by(channels);
                let products = values.zip(&mean.weights).map(|(v, w)| f32::from(*v) * w);
                narrow.push(products.sum::<f32>());
            }
        }
    }
    let line = to.width * channels;
    let mut result = Vec::with_capacity(to.height * line);
    for mean in means(from.height, to.height) {
        for at in 0..line {
            let values = narrow[mean.first * line + at..].iter().step_by(line);
            let products = values.zip(&mean.weights).map(|(v, w)| v * w);
            result.push(products.sum::<f32>().round().clamp(0.0, 255.0) as u8);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_brightness_stays_that_at_every_size() {
        for (height, width) in [(1, 1), (3, 50), (40, 7), (100, 100)] {
            let to = Size { height, width };
            let from = Size {
                height: 13,
                width: 29,
            };
            assert_eq!(
                resized(&vec![77; 13 * 29 * 3], from, to, 3),
                vec![77; 3 * to.count()]
            );
        }
    }

    #[test]
    fn halves_are_means_of_neighbours() {
        let from = Size {
            height: 1,
            width: 4,
        };
        let to = Size {
            height: 1,
            width: 2,
        };
        let found = resized(&[0, 0, 200, 200], from, to, 1);
        assert!(found[0] < 40 && found[1] > 160, "{found:?}");
    }
}
