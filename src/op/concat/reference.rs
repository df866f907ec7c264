//! The definition of a concatenation. A row is a pixel with its padded channels.

use crate::tensor::pad4;

/// The channels of a, then those of b, then zeros up to a multiple of four. Each input comes with its number of
/// channels without padding.
pub fn concat([(a, a_channels), (b, b_channels)]: [(&[f64], usize); 2]) -> Vec<f64> {
    let [a_row, b_row] = [pad4(a_channels), pad4(b_channels)];
    let row = pad4(a_channels + b_channels);
    let pixels = a.len() / a_row;
    let mut y = vec![0.0; pixels * row];
    for pixel in 0..pixels {
        for channel in 0..a_channels {
            y[pixel * row + channel] = a[pixel * a_row + channel];
        }
        for channel in 0..b_channels {
            y[pixel * row + a_channels + channel] = b[pixel * b_row + channel];
        }
    }
    y
}

/// `count` channels of x, (pixels, `x_row`), from channel `first` on, then zeros up to a multiple of four.
pub fn channels(x: &[f64], x_row: usize, (first, count): (usize, usize)) -> Vec<f64> {
    let (row, pixels) = (pad4(count), x.len() / x_row);
    let mut y = vec![0.0; pixels * row];
    for pixel in 0..pixels {
        for channel in 0..count {
            y[pixel * row + channel] = x[pixel * x_row + first + channel];
        }
    }
    y
}
