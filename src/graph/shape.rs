//! Shapes of values, for one image.

use std::fmt;

/// Rows or columns of an image, at most.
pub(crate) const MOST_SIDE: usize = 1 << 14;
/// Channels of a value, at most.
const MOST_CHANNELS: usize = 1 << 20;
/// Numbers of a value for one image, at most.
const MOST_NUMBERS: usize = 1 << 26;

/// The shape of a value for one image, without the padding of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Numbers of a pixel.
    pub channels: usize,
    /// Whether the numbers count as one long row, in the order (row, column, channel): only operations over
    /// plain rows, such as dense layers, read such a value.
    pub flat: bool,
}

impl Shape {
    /// The shape of an image: (height, width, channels).
    pub fn image([height, width, channels]: [usize; 3]) -> Self {
        Self {
            height,
            width,
            channels,
            flat: false,
        }
    }

    /// The shape of a row of numbers, which is an image of one pixel.
    pub fn row(numbers: usize) -> Self {
        Self::image([1, 1, numbers])
    }

    /// (height, width, channels)
    pub fn sides(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether it holds nothing; never the case in a checked graph.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels in it.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The shape itself, if it is not flat.
    ///
    /// # Errors
    /// A sentence for a person.
    pub fn as_image(&self) -> Result<Self, String> {
        match self.flat {
            true => Err(format!(
                "it reads images, and {self} is a flattened row of numbers"
            )),
            false => Ok(*self),
        }
    }

    /// The shape itself, if its size is possible.
    ///
    /// # Errors
    /// A sentence for a person.
    pub fn checked(self) -> Result<Self, String> {
        let [height, width, channels] = self.sides();
        if height == 0 || width == 0 || channels == 0 {
            return Err(format!(
                "its output would be empty ({height} x {width} x {channels})"
            ));
        }
        let numbers = height.saturating_mul(width).saturating_mul(channels);
        if height.max(width) > MOST_SIDE || channels > MOST_CHANNELS || numbers > MOST_NUMBERS {
            return Err(format!(
                "its output of {height} x {width} x {channels} is too large: at most {MOST_SIDE} pixels a side, \
                 {MOST_CHANNELS} channels and {MOST_NUMBERS} numbers"
            ));
        }
        Ok(self)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width, channels] = self.sides();
        match (self.flat, height * width) {
            (true, _) => write!(f, "{}", self.len()),
            (false, 1) => write!(f, "{channels}"),
            (false, _) => write!(f, "{height} x {width} x {channels}"),
        }
    }
}
