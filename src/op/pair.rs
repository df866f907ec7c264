//! Settings of one number for both axes, or of one for each.

use serde::{Deserialize, Serialize};

/// Numbers for rows and for columns. Written as one number where they are equal, else as `[rows, columns]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Pair(pub [usize; 2]);

impl Pair {
    /// The same number for both.
    pub const fn both(number: usize) -> Self {
        Self([number; 2])
    }

    /// The number, if it is the same for both.
    pub fn square(&self) -> Option<usize> {
        (self.0[0] == self.0[1]).then_some(self.0[0])
    }
}

impl From<usize> for Pair {
    fn from(number: usize) -> Self {
        Self::both(number)
    }
}

impl From<[usize; 2]> for Pair {
    fn from(numbers: [usize; 2]) -> Self {
        Self(numbers)
    }
}

/// How a [`Pair`] stands in a description.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be a whole number, or two of them: [rows, columns]"
)]
enum Written {
    Both(usize),
    Each([usize; 2]),
}

impl From<Written> for Pair {
    fn from(written: Written) -> Self {
        match written {
            Written::Both(number) => Self::both(number),
            Written::Each(numbers) => Self(numbers),
        }
    }
}

impl From<Pair> for Written {
    fn from(pair: Pair) -> Self {
        pair.square().map_or(Self::Each(pair.0), Self::Both)
    }
}
