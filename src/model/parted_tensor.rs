//! What flows between the ops of a network, for a batch that may be too large for one binding.

use std::ops::Range;

use crate::gpu::Storage;
use crate::loss::Likelihood;
use crate::tensor::Tensor;

/// Consecutive ranges of the images of a batch. Every op is recorded once for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    batch: usize,
    ranges: Vec<Range<usize>>,
}

impl Parts {
    /// All images at once.
    pub fn one(batch: usize) -> Self {
        let all = 0..batch;
        Self {
            batch,
            ranges: vec![all],
        }
    }

    /// As few parts as hold at most `most` images each, all equally large but the last. A part must start where images of
    /// `pixels` numbers, one behind the other, start a texel.
    pub fn of(batch: usize, most: usize, pixels: usize) -> Self {
        let step = match pixels % 4 {
            0 if most < 4 => 1,
            2 if most < 4 => 2,
            _ => 4,
        };
        let most = most / step * step;
        if most == 0 || batch <= most {
            return Self::one(batch);
        }
        let size = batch.div_ceil(batch.div_ceil(most)).next_multiple_of(step);
        let starts = (0..batch).step_by(size);
        Self {
            batch,
            ranges: starts.map(|s| s..(s + size).min(batch)).collect(),
        }
    }

    /// The ranges.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Images of all.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Rows of a part (the last one may have fewer), of a tensor with `rows` rows for the whole batch.
    pub fn rows(&self, rows: usize) -> usize {
        rows / self.batch * self.ranges[0].len()
    }

    /// The shape of a part of a tensor whose first axis runs over images, or several rows of each.
    fn shape(&self, shape: &[usize], range: &Range<usize>) -> Vec<usize> {
        let mut shape = shape.to_vec();
        shape[0] = shape[0] / self.batch * range.len();
        shape
    }
}

/// How what flows through a network is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storages {
    /// What its operations give.
    pub values: Storage,
    /// The gradients of that.
    pub gradients: Storage,
}

impl Storages {
    /// Sixteen bits each. A loss is a mean over `batch` images, so a large gradient of a classifier is about 1 / batch. Times
    /// 2^8 batch it is stored as 2^8, and may be 2^8 times larger before it is more than sixteen bits hold. The loss of an
    /// auto-encoder is a sum over pixels, of a normal distribution divided by its variance: some 2^4 and 2^11 times as much.
    pub fn halves(batch: usize, likelihood: Option<Likelihood>) -> Self {
        let larger = match likelihood {
            None => 0,
            Some(Likelihood::Bernoulli) => 4,
            Some(Likelihood::Gaussian) => 11,
        };
        Self {
            values: Storage::Half { exponent: 0 },
            gradients: Storage::Half {
                exponent: 8 - larger + batch.next_power_of_two().ilog2() as i32,
            },
        }
    }
}

/// Numbers of every image of a batch, a tensor for each part.
#[derive(Clone, Debug)]
pub struct PartedTensor {
    parts: Vec<Tensor>,
    /// What all parts are ranges of, if they are.
    whole: Option<Tensor>,
}

impl PartedTensor {
    /// Memory in working memory, for each part apart.
    pub fn transient(label: &str, shape: &[usize], parts: &Parts, storage: Storage) -> Self {
        let tensors = |range| Tensor::transient_of(label, &parts.shape(shape, range), storage);
        let tensors: Vec<Tensor> = parts.ranges.iter().map(tensors).collect();
        Self {
            whole: (tensors.len() == 1).then(|| tensors[0].clone()),
            parts: tensors,
        }
    }

    /// `count` of a shape in working memory. Part by part all lie in one buffer, and if they are `whole` all
    /// parts do.
    pub fn several(
        label: &str,
        shape: &[usize],
        parts: &Parts,
        (count, whole): (usize, bool),
        storage: Storage,
    ) -> Vec<Self> {
        let together = |shape: &[usize]| -> Vec<Tensor> {
            let length: usize = shape.iter().product();
            let all = Tensor::transient_of(label, &[count * length], storage);
            let ranges = (0..count).map(|i| i * length..(i + 1) * length);
            ranges.map(|range| all.range(range).view(shape)).collect()
        };
        if whole {
            let tensors = together(shape);
            return tensors.iter().map(|t| Self::whole(t, parts)).collect();
        }
        let tensors = parts
            .ranges
            .iter()
            .map(|range| together(&parts.shape(shape, range)));
        let tensors: Vec<Vec<Tensor>> = tensors.collect();
        let of = |i: usize| Self {
            whole: (tensors.len() == 1).then(|| tensors[0][i].clone()),
            parts: tensors.iter().map(|part| part[i].clone()).collect(),
        };
        (0..count).map(of).collect()
    }

    /// All parts in one tensor, whose first axis runs over images, or several rows of each.
    pub fn whole(tensor: &Tensor, parts: &Parts) -> Self {
        let rows = tensor.shape[0] / parts.batch;
        let part = |r: &Range<usize>| tensor.range(r.start * rows..r.end * rows);
        Self {
            parts: parts.ranges.iter().map(part).collect(),
            whole: Some(tensor.clone()),
        }
    }

    /// The tensor that holds all parts, if one does.
    pub fn tensor(&self) -> Option<&Tensor> {
        self.whole.as_ref()
    }

    /// One part.
    pub fn part(&self, number: usize) -> &Tensor {
        &self.parts[number]
    }

    /// All parts.
    pub fn parts(&self) -> &[Tensor] {
        &self.parts
    }

    /// The same memory seen with another shape of equal length.
    pub fn view(&self, shape: &[usize], parts: &Parts) -> Self {
        let tensors = self.parts.iter().zip(&parts.ranges);
        Self {
            parts: tensors
                .map(|(tensor, range)| tensor.view(&parts.shape(shape, range)))
                .collect(),
            whole: self.whole.as_ref().map(|whole| whole.view(shape)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_but_the_last_and_start_at_whole_texels() {
        assert_eq!(Parts::of(64, 64, 27), Parts::one(64));
        assert_eq!(Parts::of(65, 64, 27).ranges(), [0..36, 36..65]);
        assert_eq!(
            Parts::of(100, 30, 27).ranges(),
            [0..28, 28..56, 56..84, 84..100]
        );
        assert_eq!(Parts::of(6, 5, 27).ranges(), [0..4, 4..6]);
        assert_eq!(Parts::of(7, 3, 27), Parts::one(7));
        assert_eq!(Parts::of(7, 3, 26).ranges(), [0..2, 2..4, 4..6, 6..7]);
        assert_eq!(Parts::of(7, 3, 28).ranges(), [0..3, 3..6, 6..7]);
        assert_eq!(Parts::of(2, 1, 28).ranges(), [0..1, 1..2]);
    }
}
