//! Numbers that are known before any image is: what shapes, reshapes and limits are computed from.

use std::borrow::Cow;

use super::super::read::Numbers;

/// Stands for the number of images in a shape: it may be moved about, but not calculated with.
pub const BATCH: i64 = i64::MIN;

/// An array of floats or whole numbers, rows last.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

/// Elements of a result, at most, other than those of stored tensors.
const MOST: usize = 1 << 26;

impl Constant {
    pub fn whole(values: Vec<i64>) -> Self {
        Self {
            shape: vec![values.len()],
            numbers: Numbers::Whole(values),
        }
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Its whole numbers, if it has some.
    pub fn as_whole(&self) -> Option<&[i64]> {
        match &self.numbers {
            Numbers::Whole(values) => Some(values),
            Numbers::Floats(_) => None,
        }
    }

    /// Its numbers as floats.
    pub fn floats(&self) -> Cow<'_, [f32]> {
        match &self.numbers {
            Numbers::Floats(values) => values.into(),
            Numbers::Whole(values) => values.iter().map(|v| *v as f32).collect(),
        }
    }

    /// A copy of its numbers as floats.
    pub fn to_floats(&self) -> Vec<f32> {
        self.floats().into_owned()
    }

    /// Its number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match (&self.numbers, self.len()) {
            (Numbers::Floats(values), 1) => Some(f64::from(values[0])),
            (Numbers::Whole(values), 1) => Some(values[0] as f64),
            _ => None,
        }
    }

    /// The element that stands at `index` after numbers were spread over `shape`, by the rules of NumPy.
    fn spread(&self, shape: &[usize], index: usize) -> usize {
        let (mut rest, mut at, mut step) = (index, 0, 1);
        for (place, side) in shape.iter().enumerate().rev() {
            let position = rest % side;
            rest /= side;
            let Some(own) = (place + self.shape.len()).checked_sub(shape.len()) else {
                break;
            };
            if self.shape[own] != 1 {
                at += position * step;
            }
            step *= self.shape[own];
        }
        at
    }

    /// Whether it can be spread over `shape`.
    pub fn spreads_over(&self, shape: &[usize]) -> bool {
        let tail = shape.len().checked_sub(self.shape.len());
        tail.is_some_and(|tail| {
            let pairs = self.shape.iter().zip(&shape[tail..]);
            pairs
                .into_iter()
                .all(|(own, side)| own == side || *own == 1)
        })
    }

    /// Spread over `shape`, which it must fit.
    pub fn spread_over(&self, shape: &[usize]) -> Result<Self, String> {
        let count = checked_len(shape)?;
        if !self.spreads_over(shape) {
            return Err(format!(
                "a constant of shape {:?} does not fit {shape:?}",
                self.shape
            ));
        }
        Ok(self.picked(shape.to_vec(), (0..count).map(|i| self.spread(shape, i))))
    }

    /// Of the same kind, from elements at these places.
    fn picked(&self, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Self {
        let numbers = match &self.numbers {
            Numbers::Floats(values) => Numbers::Floats(places.map(|at| values[at]).collect()),
            Numbers::Whole(values) => Numbers::Whole(places.map(|at| values[at]).collect()),
        };
        Self { shape, numbers }
    }

    pub fn reshaped(&self, sides: &[i64], zero_is_size: bool) -> Result<Self, String> {
        let mut shape = Vec::new();
        let mut open = None;
        for (place, side) in sides.iter().enumerate() {
            shape.push(match *side {
                -1 if open.is_none() => {
                    open = Some(place);
                    1
                }
                0 if !zero_is_size => *self.shape.get(place).ok_or("a shape of too many sides")?,
                side => usize::try_from(side).map_err(|_| format!("a side of {side}"))?,
            });
        }
        let known = checked_len(&shape)?;
        if let Some(place) = open {
            shape[place] = self.len().checked_div(known).unwrap_or_default();
        }
        match checked_len(&shape)? == self.len() {
            true => Ok(Self {
                shape,
                numbers: self.numbers.clone(),
            }),
            false => Err(format!(
                "a constant of shape {:?} cannot take the shape {sides:?}",
                self.shape
            )),
        }
    }

    pub fn transposed(&self, order: &[usize]) -> Result<Self, String> {
        let rank = self.shape.len();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() {
            return Err(format!("perm {order:?} for a constant with {rank} axes"));
        }
        let mut strides = vec![1; rank];
        for axis in (1..rank).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        let shape: Vec<usize> = order.iter().map(|axis| self.shape[*axis]).collect();
        let place = |index: usize| {
            let (mut rest, mut at) = (index, 0);
            for (axis, side) in order.iter().zip(&shape).rev() {
                at += rest % side * strides[*axis];
                rest /= side;
            }
            at
        };
        Ok(self.picked(shape.clone(), (0..self.len()).map(place)))
    }

    /// Some slices along an axis; indices below zero count from the end.
    pub fn gathered(&self, indices: &Self, axis: i64) -> Result<Self, String> {
        let axis = axis_of(axis, self.shape.len())?;
        let which = indices
            .as_whole()
            .ok_or("indices that are no whole numbers")?;
        let side = self.shape[axis] as i64;
        let which: Vec<usize> = which
            .iter()
            .map(|index| {
                let from_start = if *index < 0 {
                    index.saturating_add(side)
                } else {
                    *index
                };
                let fits = (0..side).contains(&from_start);
                fits.then_some(from_start as usize)
                    .ok_or_else(|| format!("index {index} of a side of {side}"))
            })
            .collect::<Result<_, String>>()?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let mut shape = self.shape[..axis].to_vec();
        shape.extend(&indices.shape);
        shape.extend(&self.shape[axis + 1..]);
        checked_len(&shape)?;
        let mut places = Vec::new();
        for block in 0..outer {
            for index in &which {
                let first = (block * self.shape[axis] + index) * inner;
                places.extend(first..first + inner);
            }
        }
        Ok(self.picked(shape, places.into_iter()))
    }

    /// The constants one behind the other along the first axis.
    pub fn joined(parts: &[&Self]) -> Result<Self, String> {
        if parts.iter().any(|part| part.shape.len() != 1) {
            return Err("constants with more than one axis cannot be joined here".to_owned());
        }
        let lengths = parts.iter().map(|part| part.len());
        checked_len(&[lengths.fold(0, usize::saturating_add)])?;
        let whole: Option<Vec<&[i64]>> = parts.iter().map(|part| part.as_whole()).collect();
        let numbers = match whole {
            Some(whole) => Numbers::Whole(whole.concat()),
            None => Numbers::Floats(parts.iter().flat_map(|part| part.to_floats()).collect()),
        };
        Ok(Self {
            shape: vec![numbers.len()],
            numbers,
        })
    }

    /// `operator` of two constants, spread over each other.
    pub fn combined(operator: &str, a: &Self, b: &Self) -> Result<Self, String> {
        let shape = common_shape(&a.shape, &b.shape);
        let (a, b) = (a.spread_over(&shape)?, b.spread_over(&shape)?);
        let numbers = match (&a.numbers, &b.numbers) {
            (Numbers::Whole(a), Numbers::Whole(b)) => {
                let pairs = a.iter().zip(b);
                let each = pairs.map(|(a, b)| {
                    if [*a, *b].contains(&BATCH) {
                        return Err("a calculation with the number of images".to_owned());
                    }
                    let result = match operator {
                        "Add" => a.checked_add(*b),
                        "Sub" => a.checked_sub(*b),
                        "Mul" => a.checked_mul(*b),
                        _ => a.checked_div(*b),
                    };
                    result.ok_or_else(|| format!("{operator} of {a} and {b} has no result"))
                });
                Numbers::Whole(each.collect::<Result<_, String>>()?)
            }
            _ => {
                let pairs = a.to_floats().into_iter().zip(b.to_floats());
                let each = pairs.map(|(a, b)| match operator {
                    "Add" => a + b,
                    "Sub" => a - b,
                    "Mul" => a * b,
                    _ => a / b,
                });
                Numbers::Floats(each.collect())
            }
        };
        Ok(Self { shape, numbers })
    }

    /// As whole numbers or as floats.
    pub fn cast(&self, whole: bool) -> Self {
        let numbers = match (&self.numbers, whole) {
            (Numbers::Floats(values), true) => {
                Numbers::Whole(values.iter().map(|v| *v as i64).collect())
            }
            (Numbers::Whole(_), false) => Numbers::Floats(self.to_floats()),
            _ => self.numbers.clone(),
        };
        Self {
            shape: self.shape.clone(),
            numbers,
        }
    }

    pub fn sliced(&self, start: i64, end: i64, axis: i64, step: i64) -> Result<Self, String> {
        let axis = axis_of(axis, self.shape.len())?;
        let side = self.shape[axis] as i64;
        let from_start = |at: i64| if at < 0 { at.saturating_add(side) } else { at };
        let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        let which: Vec<i64> = match step {
            0 => return Err("a slice with step 0".to_owned()),
            1.. => {
                let bound = |at: i64| from_start(at).clamp(0, side);
                (bound(start)..bound(end)).step_by(stride).collect()
            }
            _ => {
                let bound = |at: i64| from_start(at).clamp(-1, side - 1);
                let between = bound(end) + 1..bound(start) + 1;
                between.rev().step_by(stride).collect()
            }
        };
        self.gathered(&Self::whole(which), axis as i64)
    }
}

/// The shape that two are spread over, if they fit.
pub fn common_shape(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let side = |shape: &[usize], place: usize| {
        let own = (place + shape.len()).checked_sub(rank);
        own.map_or(1, |own| shape[own])
    };
    let sides = (0..rank).map(|place| match side(a, place) {
        1 => side(b, place),
        other => other,
    });
    sides.collect()
}

/// The number of elements, if it is possible.
pub(super) fn checked_len(shape: &[usize]) -> Result<usize, String> {
    let count = shape
        .iter()
        .try_fold(1usize, |count, side| count.checked_mul(*side));
    count
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("a shape of {shape:?} is too large"))
}

/// An axis that may count from the end.
pub fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    usize::try_from(from_start)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} of {rank}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[usize], values: &[f32]) -> Constant {
        Constant {
            shape: shape.to_vec(),
            numbers: Numbers::Floats(values.to_vec()),
        }
    }

    #[test]
    fn constants_move_like_arrays_of_numpy() {
        let a = floats(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
        let turned = floats(&[3, 2], &[1., 4., 2., 5., 3., 6.]);
        assert_eq!(a.transposed(&[1, 0]), Ok(turned));
        let row = floats(&[3], &[10., 20., 30.]);
        let sum = floats(&[2, 3], &[11., 22., 33., 14., 25., 36.]);
        assert_eq!(Constant::combined("Add", &a, &row), Ok(sum));
        let last = Constant::whole(vec![-1]);
        assert_eq!(a.gathered(&last, 1), Ok(floats(&[2, 1], &[3., 6.])));
        assert_eq!(
            a.sliced(1, i64::MAX, 0, 1),
            Ok(floats(&[1, 3], &[4., 5., 6.]))
        );
        let back = Constant::whole(vec![1, 2, 3, 4]);
        let whole = |values: &[i64]| Ok(Constant::whole(values.to_vec()));
        assert_eq!(back.sliced(-1, i64::MIN + 1, 0, -1), whole(&[4, 3, 2, 1]));
        assert_eq!(back.sliced(2, 0, 0, -2), whole(&[3]));
        assert_eq!(back.sliced(9, 1, 0, -1), whole(&[4, 3]));
        assert_eq!(a.reshaped(&[3, -1], false).map(|a| a.shape), Ok(vec![3, 2]));
        assert!(a.reshaped(&[4, -1], false).is_err());
        assert!(a.reshaped(&[i64::MAX, i64::MAX], false).is_err());
    }

    #[test]
    fn the_number_of_images_is_no_number() {
        let shape = Constant::whole(vec![BATCH, 3]);
        let first = shape.gathered(&Constant::whole(vec![0]), 0).unwrap();
        let two = Constant::whole(vec![2]);
        assert!(Constant::combined("Mul", &first, &two).is_err());
        assert_eq!(
            Constant::joined(&[&first, &two]),
            Ok(Constant::whole(vec![BATCH, 2]))
        );
    }
}
