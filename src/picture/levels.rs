//! What is paper and what is ink on a grey picture.

/// Contrast below which nothing is on a picture, in steps of brightness.
const BLANK: u8 = 24;
/// White paper and black ink differ by more than this; less is stretched.
const FULL_CONTRAST: u8 = 160;
/// Paper darker than this is grey paper.
const WHITE_PAPER: u8 = 215;
/// Part of the contrast, of 255, that is no ink yet: the grain of paper and the traces of JPEG.
const GRAIN: f64 = 25.0;
/// One pixel in so many may lie beyond the darkest or the lightest brightness that counts.
const OUTLIERS: usize = 1000;

/// Brightness of a picture, 0 black to 255 white.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// Median of the border.
    pub border: u8,
    /// The darkest brightness, without outliers.
    pub darkest: u8,
    /// The lightest brightness, without outliers.
    pub lightest: u8,
}

impl Levels {
    /// Of a picture with `width` columns, at least one row of them.
    pub fn of(grey: &[u8], width: usize) -> Self {
        let height = grey.len() / width;
        let frame = 1.max(width.min(height) / 50);
        let (mut all, mut border) = ([0usize; 256], [0usize; 256]);
        for (i, value) in grey.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            all[usize::from(*value)] += 1;
            let far = |at: usize, side: usize| at >= frame && at + frame < side;
            if !(far(x, width) && far(y, height)) {
                border[usize::from(*value)] += 1;
            }
        }
        let few = grey.len() / OUTLIERS;
        Self {
            border: at_rank(&border, border.iter().sum::<usize>() / 2),
            darkest: at_rank(&all, few),
            lightest: at_rank(&all, grey.len() - 1 - few),
        }
    }

    /// Largest difference of anything from the border.
    fn contrast(&self) -> u8 {
        self.below().max(self.above())
    }

    fn below(&self) -> u8 {
        self.border.saturating_sub(self.darkest)
    }

    fn above(&self) -> u8 {
        self.lightest.saturating_sub(self.border)
    }

    /// Whether nothing stands out from the ground.
    pub fn is_blank(&self) -> bool {
        self.contrast() < BLANK
    }

    /// Whether what stands out most is darker than the ground.
    pub fn is_dark_on_light(&self) -> bool {
        self.below() > self.above()
    }

    /// Whether the paper is grey or the ink faint; `dark_on_light`: which of the two is paper.
    pub fn is_dull(&self, dark_on_light: bool) -> bool {
        let paper = match dark_on_light {
            true => self.border,
            false => 255 - self.border,
        };
        paper < WHITE_PAPER || self.contrast() < FULL_CONTRAST
    }

    /// Ink of every pixel: 0 for paper, 255 for the strongest ink.
    pub fn ink(&self, grey: &[u8], dark_on_light: bool) -> Vec<u8> {
        let full = match dark_on_light {
            true => self.below(),
            false => self.above(),
        };
        let full = f64::from(full.max(1));
        let paper = f64::from(self.border);
        let ink = |value: &u8| {
            let away = match dark_on_light {
                true => paper - f64::from(*value),
                false => f64::from(*value) - paper,
            };
            let share = 255.0 * away / full;
            let past = (share - GRAIN) * 255.0 / (255.0 - GRAIN);
            past.round().clamp(0.0, 255.0) as u8
        };
        grey.iter().map(ink).collect()
    }
}

/// The brightness at a place of the sorted pixels, which are given as counts.
fn at_rank(counts: &[usize; 256], rank: usize) -> u8 {
    let mut before = 0;
    for (value, count) in counts.iter().enumerate() {
        before += count;
        if before > rank {
            return value as u8;
        }
    }
    255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_paper_becomes_empty_and_grey_ink_full() {
        let mut grey = vec![170; 100 * 100];
        grey[4000..4300].fill(60);
        let levels = Levels::of(&grey, 100);
        assert_eq!((levels.border, levels.darkest), (170, 60));
        assert!(levels.is_dark_on_light() && levels.is_dull(true) && !levels.is_blank());
        let ink = levels.ink(&grey, true);
        assert_eq!((ink[0], ink[4100]), (0, 255));
    }

    #[test]
    fn a_few_specks_are_no_ink() {
        let mut grey = vec![250; 100 * 100];
        grey[5000..5008].fill(0);
        assert!(Levels::of(&grey, 100).is_blank());
    }
}
