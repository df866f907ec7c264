//! Drawings made like MNIST's digits: scaled into 20 x 20 pixels, the centre of mass in the middle
//! of 28 x 28 (LeCun et al., Gradient-based learning applied to document recognition, 1998).

/// Side of an image.
const SIDE: usize = 28;
/// Side of the box that the ink is scaled into.
const BOX: f64 = 20.0;
/// Ink from here on counts when the drawing's edges are looked for.
const VISIBLE: u8 = 1;

/// Makes a 28 x 28 image of a drawing of `width` columns, 0 without ink, 255 full. Without any
/// visible ink the image is empty.
///
/// # Panics
/// If the drawing is no whole number of rows.
pub fn centre_drawing(ink: &[u8], width: usize) -> Vec<u8> {
    assert!(
        width > 0 && ink.len().is_multiple_of(width),
        "{} pixels are no rows of {width}",
        ink.len()
    );
    let visible = || (0..ink.len()).filter(|i| ink[*i] >= VISIBLE);
    let Some(first) = visible().next() else {
        return vec![0; SIDE * SIDE];
    };
    let (top, bottom) = (
        first / width,
        visible().next_back().unwrap_or(first) / width,
    );
    let left = visible().map(|i| i % width).min().unwrap_or(0);
    let right = visible().map(|i| i % width).max().unwrap_or(0);
    // Pixels of the drawing in a pixel of the image.
    let step = (bottom - top + 1).max(right - left + 1) as f64 / BOX;
    let at = |row: usize, column: usize| f64::from(ink[row * width + column]);
    let (mut mass, mut x, mut y) = (0.0, 0.0, 0.0);
    for row in top..=bottom {
        for column in left..=right {
            mass += at(row, column);
            x += (column as f64 + 0.5) * at(row, column);
            y += (row as f64 + 0.5) * at(row, column);
        }
    }
    // Where the image begins, in pixels of the drawing; whole pixels of the image, as in MNIST.
    // There the centre of mass lies in the middle of pixel 14, not between pixels 13 and 14.
    let middle = SIDE as f64 / 2.0 + 0.5;
    let start = |centre: f64, edge: usize| {
        let offset = ((centre / mass - edge as f64) / step - middle + 0.5).floor();
        edge as f64 + offset * step
    };
    let (start_x, start_y) = (start(x, left), start(y, top));
    let rows = ink.len() / width;
    let mut image = vec![0; SIDE * SIDE];
    for (i, pixel) in image.iter_mut().enumerate() {
        let from_x = start_x + (i % SIDE) as f64 * step;
        let from_y = start_y + (i / SIDE) as f64 * step;
        let mut sum = 0.0;
        for (row, tall) in covered(from_y, step, rows) {
            for (column, wide) in covered(from_x, step, width) {
                sum += tall * wide * at(row, column);
            }
        }
        *pixel = (sum / (step * step)).round().min(255.0) as u8;
    }
    image
}

/// Pixels that an interval covers, each with the length it covers of it.
fn covered(from: f64, length: f64, end: usize) -> impl Iterator<Item = (usize, f64)> {
    let to = (from + length).min(end as f64);
    let from = from.max(0.0);
    (from as usize..to.ceil().max(0.0) as usize).map(move |i| {
        let covered = to.min(i as f64 + 1.0) - from.max(i as f64);
        (i, covered)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digits of MNIST are fixed points, but for rounding.
    #[test]
    fn mnist_stays_what_it_is() {
        let digits = crate::data::embedded_digits().unwrap().test;
        let mut far = 0;
        for i in 0..digits.count() {
            let image = centre_drawing(digits.image(i), SIDE);
            let apart = |a: &[u8], b: &[u8]| {
                let difference = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)));
                let ink: f64 = a.iter().map(|a| f64::from(*a)).sum();
                difference.sum::<f64>() / ink
            };
            far += usize::from(apart(digits.image(i), &image) > 0.5);
        }
        assert!(far * 10 < digits.count(), "{far} digits look different");
    }

    #[test]
    fn place_and_size_do_not_matter() {
        // A plus sign, large in a corner and small in another.
        let plus = |side: usize, corner: usize, arm: usize| {
            let mut ink = vec![0u8; side * side];
            for along in 0..3 * arm {
                for across in arm..2 * arm {
                    ink[(corner + along) * side + corner + across] = 255;
                    ink[(corner + across) * side + corner + along] = 255;
                }
            }
            ink
        };
        let large = centre_drawing(&plus(300, 10, 80), 300);
        let small = centre_drawing(&plus(300, 180, 20), 300);
        assert_eq!(large, small);
        let visible: Vec<usize> = (0..large.len()).filter(|i| large[*i] > 0).collect();
        let rows = (visible[0] / SIDE, visible[visible.len() - 1] / SIDE);
        assert_eq!(rows, (4, 23), "20 of 28 rows");
        assert_eq!(large[14 * SIDE + 14], 255);
        assert_eq!(large[5 * SIDE + 5], 0);
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(centre_drawing(&[0; 100], 10), vec![0; SIDE * SIDE]);
        assert_eq!(
            centre_drawing(&[VISIBLE - 1; 100], 10),
            vec![0; SIDE * SIDE]
        );
    }
}
