//! Pictures of any size made into what a model reads: one preparation for every front end.
//!
//! Data sets of grey images are light on dark: ink is 255, paper 0. Pictures that people make are mostly the
//! other way round, have transparent grounds, other sizes and grey paper. [`prepare`] mends all of that.

use crate::data::centre_drawing;

mod levels;
mod resize;

use levels::Levels;
use resize::{Size, resized};

/// An upright picture, (height, width, 4) bytes: red, green, blue and opacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// What the images of a model look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Digits as in MNIST: light ink in a box of 20 x 20 pixels, its centre of mass in the middle of 28 x 28.
    Digits,
    /// Grey images on a dark ground.
    Grey,
    /// Colour photographs that fill their frame.
    Colour,
}

impl Look {
    /// The look of the images that a model reads, from their size (height, width, channels) and the names of
    /// the classes.
    pub fn of(input: [usize; 3], classes: &[String]) -> Self {
        let digits = (0..10).map(|digit| digit.to_string());
        match input {
            [28, 28, 1] if classes.iter().cloned().eq(digits) => Self::Digits,
            [_, _, 1] => Self::Grey,
            _ => Self::Colour,
        }
    }
}

/// A picture as a model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// (height, width, channels) bytes of the model's input.
    pub pixels: Vec<u8>,
    /// Whether the picture was dark on light and was inverted.
    pub inverted: bool,
    /// Whether there is nothing on the picture.
    pub blank: bool,
}

impl Picture {
    /// A picture of `width` columns from (height, width, 4) bytes; `None` unless they are whole rows, at least
    /// one.
    pub fn new(width: usize, pixels: Vec<u8>) -> Option<Self> {
        let row = 4 * width;
        let whole = row > 0 && !pixels.is_empty() && pixels.len().is_multiple_of(row);
        whole.then(|| Self {
            width,
            height: pixels.len() / row,
            pixels,
        })
    }

    /// Every pixel over a ground of one grey: (red, green, blue).
    fn over(&self, ground: u8) -> impl Iterator<Item = [u8; 3]> + '_ {
        self.pixels.chunks_exact(4).map(move |pixel| {
            let opacity = u32::from(pixel[3]);
            let mixed = |value: u8| {
                let sum = u32::from(value) * opacity + u32::from(ground) * (255 - opacity);
                ((sum + 127) / 255) as u8
            };
            [mixed(pixel[0]), mixed(pixel[1]), mixed(pixel[2])]
        })
    }

    /// Brightness of every pixel over a ground.
    fn grey(&self, ground: u8) -> Vec<u8> {
        let luma = |[r, g, b]: [u8; 3]| {
            let sum = 2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b);
            ((sum + 5000) / 10_000) as u8
        };
        self.over(ground).map(luma).collect()
    }

    fn is_transparent(&self) -> bool {
        self.pixels.chunks_exact(4).any(|pixel| pixel[3] < 255)
    }

    /// Brightness over white, as paper is; over black if the ink is white too.
    fn brightness(&self) -> (Vec<u8>, Levels) {
        let over = |ground| {
            let grey = self.grey(ground);
            let levels = Levels::of(&grey, self.width);
            (grey, levels)
        };
        let white = over(255);
        if !white.1.is_blank() || !self.is_transparent() {
            return white;
        }
        let black = over(0);
        if black.1.is_blank() { white } else { black }
    }
}

/// Makes a picture into an image of `input` (height, width, channels).
///
/// A picture of the model's own size keeps its pixels, inverted if it is dark on light. Others are fitted: a
/// digit's ink is cut out and centred, grey images keep their proportions on a dark ground, colour images
/// are cut to the middle.
pub fn prepare(picture: &Picture, look: Look, input: [usize; 3]) -> Prepared {
    let size = Size {
        height: input[0],
        width: input[1],
    };
    match look {
        Look::Colour => colour(picture, size),
        Look::Digits | Look::Grey => grey(picture, look, size),
    }
}

/// Makes 28 x 28 bytes of a drawing of `width` columns, 0 without ink and 255 for full ink: as it is if it has
/// that size, else scaled and centred as MNIST's digits are.
///
/// # Panics
/// If the drawing is no whole number of rows.
pub fn digit_from_ink(ink: &[u8], width: usize) -> Vec<u8> {
    match (width, ink.len()) {
        (28, 784) => ink.to_vec(),
        _ => centre_drawing(ink, width),
    }
}

fn grey(picture: &Picture, look: Look, size: Size) -> Prepared {
    let (grey, levels) = picture.brightness();
    let found = Size {
        height: picture.height,
        width: picture.width,
    };
    let same = found == size;
    let blank = levels.is_blank();
    // An image of a data set may be bright nearly everywhere: there the border alone decides.
    let inverted = match same || blank {
        true => levels.border > 128,
        false => levels.is_dark_on_light(),
    };
    let stretch = look == Look::Digits && !blank && (!same || (inverted && levels.is_dull(true)));
    let ink = match (stretch, inverted) {
        (true, _) => levels.ink(&grey, inverted),
        (false, true) => grey.iter().map(|v| 255 - v).collect(),
        (false, false) => grey,
    };
    let pixels = match (same, blank, look) {
        (true, _, _) => ink,
        (false, true, _) => vec![0; size.count()],
        (false, false, Look::Digits) => digit_from_ink(&ink, picture.width),
        (false, false, _) => fitted(&ink, found, size),
    };
    Prepared {
        pixels,
        inverted,
        blank,
    }
}

/// A grey image with its proportions, in the middle of a dark one.
fn fitted(pixels: &[u8], from: Size, to: Size) -> Vec<u8> {
    let scale = (to.width as f64 / from.width as f64).min(to.height as f64 / from.height as f64);
    let inner = from.scaled(scale);
    let inner = Size {
        height: inner.height.min(to.height),
        width: inner.width.min(to.width),
    };
    let small = resized(pixels, from, inner, 1);
    let (top, left) = ((to.height - inner.height) / 2, (to.width - inner.width) / 2);
    let mut image = vec![0; to.count()];
    for (row, line) in small.chunks(inner.width).enumerate() {
        let at = (top + row) * to.width + left;
        image[at..at + inner.width].copy_from_slice(line);
    }
    image
}

/// The middle of a colour picture whose shorter side fills the image; transparent parts are white.
fn colour(picture: &Picture, to: Size) -> Prepared {
    let from = Size {
        height: picture.height,
        width: picture.width,
    };
    let pixels: Vec<u8> = picture.over(255).flatten().collect();
    let scale = (to.width as f64 / from.width as f64).max(to.height as f64 / from.height as f64);
    let outer = from.scaled(scale);
    let outer = Size {
        height: outer.height.max(to.height),
        width: outer.width.max(to.width),
    };
    let small = resized(&pixels, from, outer, 3);
    let (top, left) = ((outer.height - to.height) / 2, (outer.width - to.width) / 2);
    let rows = (top..top + to.height).map(|row| {
        let at = 3 * (row * outer.width + left);
        &small[at..at + 3 * to.width]
    });
    let pixels: Vec<u8> = rows.flatten().copied().collect();
    let blank = pixels.chunks(3).all(|pixel| pixel == &pixels[..3]);
    Prepared {
        pixels,
        inverted: false,
        blank,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opaque(width: usize, grey: &[u8]) -> Picture {
        let pixels = grey.iter().flat_map(|v| [*v, *v, *v, 255]).collect();
        Picture::new(width, pixels).unwrap()
    }

    #[test]
    fn images_of_a_data_set_stay_what_they_are() {
        let digits = crate::data::embedded_digits().unwrap().test;
        for i in 0..digits.count() {
            let plain = prepare(&opaque(28, digits.image(i)), Look::Digits, [28, 28, 1]);
            assert_eq!(plain.pixels, digits.image(i), "digit {i}");
            assert!(!plain.inverted && !plain.blank);
            let dark: Vec<u8> = digits.image(i).iter().map(|v| 255 - v).collect();
            let turned = prepare(&opaque(28, &dark), Look::Digits, [28, 28, 1]);
            assert_eq!(turned.pixels, digits.image(i), "digit {i}, dark on light");
            assert!(turned.inverted);
        }
        let colours: Vec<u8> = (0..32 * 32 * 4).map(|i| (i * 7 % 251) as u8 | 3).collect();
        let mut pixels = colours;
        pixels.iter_mut().skip(3).step_by(4).for_each(|v| *v = 255);
        let wanted: Vec<u8> = pixels.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
        let picture = Picture::new(32, pixels).unwrap();
        let found = prepare(&picture, Look::Colour, [32, 32, 3]);
        assert_eq!(found.pixels, wanted);
    }

    #[test]
    fn what_is_empty_is_called_blank() {
        for grey in [0, 90, 255] {
            let found = prepare(&opaque(100, &[grey; 5000]), Look::Digits, [28, 28, 1]);
            assert!(found.blank, "all {grey}");
            assert_eq!(found.pixels, [0; 784]);
        }
        let clear = Picture::new(50, vec![0; 50 * 50 * 4]).unwrap();
        assert!(prepare(&clear, Look::Digits, [28, 28, 1]).blank);
    }

    #[test]
    fn proportions_are_kept() {
        // A white square in the middle of a wide black picture.
        let inside = |i: usize| (80..120).contains(&(i % 200)) && (30..70).contains(&(i / 200));
        let grey: Vec<u8> = (0..200 * 100).map(|i| 255 * u8::from(inside(i))).collect();
        let found = prepare(&opaque(200, &grey), Look::Grey, [28, 28, 1]).pixels;
        let lit = |i: &usize| found[*i] > 128;
        let columns = (0..784).filter(lit).map(|i| i % 28);
        let rows = (0..784).filter(lit).map(|i| i / 28);
        let wide = columns.clone().max().unwrap() - columns.min().unwrap();
        let tall = rows.clone().max().unwrap() - rows.min().unwrap();
        assert!(wide.abs_diff(tall) <= 1, "{wide} x {tall}");
        // A colour picture loses its sides.
        let pixels = (0..64 * 32).flat_map(|i| match (16..48).contains(&(i % 64)) {
            true => [200, 10, 10, 255],
            false => [10, 10, 200, 255],
        });
        let picture = Picture::new(64, pixels.collect()).unwrap();
        let found = prepare(&picture, Look::Colour, [32, 32, 3]).pixels;
        assert!(found.chunks(3).all(|pixel| pixel == [200, 10, 10]));
    }

    #[test]
    fn looks_are_known_by_size_and_classes() {
        let digits: Vec<String> = (0..10).map(|d| d.to_string()).collect();
        assert_eq!(Look::of([28, 28, 1], &digits), Look::Digits);
        assert_eq!(Look::of([28, 28, 1], &["shirt".into()]), Look::Grey);
        assert_eq!(Look::of([32, 32, 3], &digits), Look::Colour);
    }

    #[test]
    fn bytes_that_are_no_rows_are_no_picture() {
        assert!(Picture::new(0, vec![1; 8]).is_none());
        assert!(Picture::new(3, vec![1; 8]).is_none());
        assert!(Picture::new(3, Vec::new()).is_none());
    }
}
