//! How workgroups share the weights of all layers: one dispatch quantises them all.

use std::ops::Range;

use super::Quantiser;
use crate::recording::Grid;
use crate::tensor::Tensor;

/// Texels that a workgroup of the quantiser's kernels walks.
const SPAN: usize = 1024;

/// Where the numbers of one layer lie in the arenas.
#[derive(Clone, Debug)]
pub struct LayerRanges {
    /// Weights, in floats.
    pub weights: Range<usize>,
    /// Whether a batch normalisation follows: the gradient of the intercept is then zero.
    pub normalised: bool,
    /// Whether only the slope pays for the layer's bits, not the weights of its extreme exponents.
    pub slope_pays: bool,
    /// Exponents that it need not pay for; none: as many as the schedule says.
    pub free_exponents: Option<f32>,
}

/// What each workgroup of the quantiser's kernels walks: one dispatch does all layers.
#[derive(Clone, Debug)]
pub struct Spans {
    /// First span, spans, 1 if a normalisation follows, 0 or one more than the exponents that are free.
    layers: Vec<[f32; 4]>,
    /// First texel, texels, layer, 1 if they are weights, 2 if these do not pay for bits; those of weights come first.
    spans: Vec<[f32; 4]>,
    /// How many spans are of weights.
    of_weights: usize,
    /// Floats of weights, for reports.
    weights: usize,
}

impl Spans {
    /// Cuts the layers into spans, and what both networks share: biases, gammas, betas, and layers that stay in
    /// float.
    ///
    /// # Panics
    /// If ranges do not lie on whole texels, or so far behind that a float cannot say where.
    pub fn new(layers: &[LayerRanges], shared: &[Range<usize>]) -> Self {
        let mut spans = Vec::new();
        let mut rows = Vec::new();
        let mut cut = |range: &Range<usize>, layer: usize, kind: usize| {
            let texels = range.start / 4..range.end / 4;
            let whole = range.start.is_multiple_of(4) && range.end.is_multiple_of(4);
            let exact = whole && texels.end <= 1 << 24;
            assert!(exact, "{range:?} cannot be cut into spans");
            for first in texels.clone().step_by(SPAN) {
                let count = SPAN.min(texels.end - first);
                spans.push([first, count, layer, kind].map(|v| v as f32));
            }
            spans.len()
        };
        let mut first = 0;
        for (number, layer) in layers.iter().enumerate() {
            let end = cut(&layer.weights, number, 1 + usize::from(layer.slope_pays));
            let [first_span, spans] = [first, end - first].map(|v| v as f32);
            let normalised = f32::from(u8::from(layer.normalised));
            let free = layer.free_exponents.map_or(0.0, |free| free + 1.0);
            rows.push([first_span, spans, normalised, free]);
            first = end;
        }
        for range in shared {
            cut(range, 0, 0);
        }
        Self {
            layers: rows,
            spans,
            of_weights: first,
            weights: layers.iter().map(|layer| layer.weights.len()).sum(),
        }
    }

    /// The same for a method without a price of bits: of every layer the third number is 0 and the fourth how many weights
    /// it has, without what fills them up to whole texels.
    #[must_use]
    pub fn counting(mut self, weights: impl Iterator<Item = usize>) -> Self {
        for (row, count) in self.layers.iter_mut().zip(weights) {
            (row[2], row[3]) = (0.0, count as f32);
        }
        self
    }

    /// How many spans there are.
    pub(super) fn count(&self) -> usize {
        self.spans.len()
    }

    /// How many spans are of weights.
    pub(crate) fn of_weights(&self) -> usize {
        self.of_weights
    }

    /// Floats of weights.
    pub(super) fn weights(&self) -> usize {
        self.weights
    }

    /// What the kernels read of it, (layers + spans, 4).
    pub fn table(&self) -> Vec<f32> {
        [&self.layers[..], &self.spans].concat().concat()
    }
}

/// Where a model's numbers live. Arenas are alike.
pub struct Quantised<'a> {
    /// How weights are quantised.
    pub quantiser: Quantiser,
    /// How workgroups share them.
    pub spans: &'a Spans,
    /// [`Spans::table`] on the device, (layers + spans, 4).
    pub table: &'a Tensor,
    /// Arena of all that is learned.
    pub parameters: &'a Tensor,
    /// (layers, 4) in it: intercept and slope, or what another method learns; then, with centred slopes, log2 of the size that
    /// weights begin with, else 0; and an unused number.
    pub quantisers: &'a Tensor,
    /// Arena of Q(w).
    pub values: &'a Tensor,
    /// (layers, 3, 4), see `shaders/quantiser/levels.wgsl`.
    pub levels: &'a Tensor,
}

impl Quantised<'_> {
    pub(super) fn layers(&self) -> Tensor {
        self.table.range(0..self.spans.layers.len())
    }

    pub(super) fn spans(&self) -> Tensor {
        self.table
            .range(self.spans.layers.len()..self.table.shape[0])
    }

    pub(super) fn for_layers(&self) -> Grid {
        Grid::Groups([self.spans.layers.len() as u32, 1, 1])
    }
}
