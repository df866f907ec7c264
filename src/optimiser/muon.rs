//! Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
//! networks").
//!
//! A layer's weights are a matrix W (outputs, inputs of an output), G is its gradient, M its momentum:
//!
//! ```text
//! M ← μ M + G,  U = G + μ M,  X = U / ‖U‖
//! A = X Xᵀ,  X ← (a I + b A + c A A) X        three times: singular values come near to one
//! W ← W n / ‖W‖ − rate X
//! ```
//!
//! ‖·‖ is the Frobenius norm. Weights keep the norm n, so that the rate is one relative to their size, and need no decay.
//! The products are those of dense layers: X Xᵀ and A A (A is symmetric) forward, B X backward to the input.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, Storage};
use crate::kernels;
use crate::op::conv::{ConvShape, Epilogue, Windows, conv_backward_input, conv_forward};
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Decay of the momentum, μ.
pub const MOMENTUM: f64 = 0.6;
/// Iterations of Newton and Schulz.
pub const ITERATIONS: usize = 3;
/// a, b and c of the polynomial: they bring small singular values up fastest, and all into 0.7 to 1.2.
pub const NEWTON_SCHULZ: [f64; 3] = [3.4445, -4.775, 2.0315];
/// Keeps divisions by a norm finite. The twin of the constant in `shaders/shared/muon_norms.wgsl`.
pub const NORM_EPSILON: f64 = 1e-7;

/// Texels that a workgroup walks.
const SPAN: usize = 1024;

/// A matrix that Muon learns.
#[derive(Clone, Debug, PartialEq)]
pub struct MuonLayer {
    /// Its place in the arenas, in floats.
    pub weights: Range<usize>,
    /// Stored rows: outputs, padding included.
    pub rows: usize,
    /// The norm that its weights keep.
    pub norm: f64,
}

impl MuonLayer {
    fn columns(&self) -> usize {
        self.weights.len() / self.rows
    }
}

/// All matrices that Muon learns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Muon {
    /// The matrices.
    pub layers: Vec<MuonLayer>,
}

/// A row of a table that kernels read.
pub(crate) type Row = [usize; 4];

impl Muon {
    /// For each workgroup: first texel in the arenas, texels, layer, first texel in the updates.
    pub(crate) fn spans(&self) -> Vec<Row> {
        let mut before = 0;
        let mut spans = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let texels = layer.weights.start / 4..layer.weights.end / 4;
            let cut = |first: usize| {
                let count = SPAN.min(texels.end - first);
                [first, count, number, before + first - texels.start]
            };
            spans.extend(texels.clone().step_by(SPAN).map(cut));
            before += texels.len();
        }
        spans
    }

    /// For each workgroup over A, A A and B: first texel, texels, first texel of the layer, texels of a row.
    fn gram_spans(&self) -> Vec<Row> {
        let mut before = 0;
        let mut spans = Vec::new();
        for layer in &self.layers {
            let end = before + layer.rows * layer.rows / 4;
            let cut = |first: usize| [first, SPAN.min(end - first), before, layer.rows / 4];
            spans.extend((before..end).step_by(SPAN).map(cut));
            before = end;
        }
        spans
    }

    /// A row for each layer: first span, spans, norm, 0.
    fn layer_rows(&self) -> Vec<[f32; 4]> {
        let mut first = 0;
        let row = |layer: &MuonLayer| {
            let count = (layer.weights.len() / 4).div_ceil(SPAN);
            first += count;
            [(first - count) as f32, count as f32, layer.norm as f32, 0.0]
        };
        self.layers.iter().map(row).collect()
    }

    /// Floats of the updates of all layers.
    pub(crate) fn updates(&self) -> usize {
        self.layers.iter().map(|layer| layer.weights.len()).sum()
    }

    /// Floats of A of all layers.
    pub(crate) fn grams(&self) -> usize {
        self.layers
            .iter()
            .map(|layer| layer.rows * layer.rows)
            .sum()
    }

    /// What lies between the layers in arenas of `end` floats.
    pub fn others(&self, end: usize) -> Vec<Range<usize>> {
        let ends = [0]
            .into_iter()
            .chain(self.layers.iter().map(|layer| layer.weights.end));
        let starts = self
            .layers
            .iter()
            .map(|layer| layer.weights.start)
            .chain([end]);
        let between = ends.zip(starts).map(|(end, start)| end..start);
        between.filter(|range| !range.is_empty()).collect()
    }

    /// The layers' parts of the updates, (rows, columns) each.
    fn matrices(&self, updates: &Tensor) -> Vec<Tensor> {
        let sides = self
            .layers
            .iter()
            .map(|layer| [layer.rows, layer.columns()]);
        parts(updates, sides)
    }

    /// The layers' parts of A, A A or B, (rows, rows) each.
    fn squares(&self, grams: &Tensor) -> Vec<Tensor> {
        parts(grams, self.layers.iter().map(|layer| [layer.rows; 2]))
    }
}

/// Matrices that lie one behind the other.
fn parts(whole: &Tensor, sides: impl Iterator<Item = [usize; 2]>) -> Vec<Tensor> {
    let mut offset = whole.offset;
    let part = |sides: [usize; 2]| {
        let part = Tensor {
            buffer: whole.buffer.clone(),
            offset,
            shape: sides.to_vec(),
        };
        offset += sides[0] * sides[1];
        part
    };
    sides.map(part).collect()
}

/// What Muon's kernels read besides arenas, and what they leave for each other.
pub struct MuonMemory {
    /// (spans, 4)
    pub spans: Tensor,
    /// (spans over A, 4)
    pub gram_spans: Tensor,
    /// (layers, 4)
    pub layers: Tensor,
    /// Updates of all layers.
    pub updates: Tensor,
    /// (spans, 4)
    pub partial: Tensor,
}

impl MuonMemory {
    /// Tables of `muon` for a recording, and memory that lives as long as its steps need it.
    ///
    /// # Panics
    /// If arenas are so long that a float cannot say where a texel lies.
    pub fn new(recording: &mut Recording, muon: &Muon) -> Self {
        let mut table = |label: &str, rows: Vec<[f32; 4]>| {
            let words: Vec<u32> = rows.concat().into_iter().map(f32::to_bits).collect();
            recording.constant_of(label, &[rows.len(), 4], &words)
        };
        let floats = |rows: Vec<Row>| -> Vec<[f32; 4]> {
            let exact = |row: &Row| row.iter().all(|number| *number <= 1 << 24);
            assert!(rows.iter().all(exact), "too many weights for one arena");
            let float = |row: Row| row.map(|number| number as f32);
            rows.into_iter().map(float).collect()
        };
        let spans = table("Muon's spans", floats(muon.spans()));
        Self {
            gram_spans: table("Muon's products", floats(muon.gram_spans())),
            layers: table("Muon's layers", muon.layer_rows()),
            updates: Tensor::transient("updates", &[muon.updates()]),
            partial: Tensor::transient("partial", &spans.shape),
            spans,
        }
    }
}

/// How products of the iteration are stored where products of 16-bit numbers are fast: none is larger than 10, most are far below 1.
pub(crate) const HALF_PRODUCTS: Storage = Storage::Half { exponent: 8 };

/// Records a step for all layers. `zeros` has as many zeros as the widest layer outputs. Products are stored as `products`
/// says, the update that the first is made of in floats.
pub fn orthogonalise(
    recording: &mut Recording,
    label: &str,
    muon_layers: &Muon,
    [weights, gradients, momentum_of]: [&Tensor; 3],
    zeros: &Tensor,
    products: Storage,
) {
    if muon_layers.layers.is_empty() {
        return;
    }
    let memory = MuonMemory::new(recording, muon_layers);
    momentum(recording, label, &memory, [weights, gradients], momentum_of);
    unit_norm(recording, label, &memory);
    let grams = |name| Tensor::transient_of(name, &[muon_layers.grams()], products);
    let updates = || Tensor::transient_of("updates", &memory.updates.shape, products);
    let mut x = memory.updates.clone();
    let mut free = None;
    for _ in 0..ITERATIONS {
        let next = free.take().unwrap_or_else(updates);
        let [a, aa, b] = ["gram", "squared gram", "polynomial"].map(grams);
        let layers = muon_layers.matrices(&x).into_iter();
        let layers = layers
            .zip(muon_layers.squares(&a))
            .zip(muon_layers.squares(&aa));
        for ((x, a), aa) in layers {
            product(recording, label, [&x, &x], zeros, &a);
            product(recording, label, [&a, &a], zeros, &aa);
        }
        newton_schulz(recording, label, &memory.gram_spans, [&a, &aa], &b);
        let layers = muon_layers.matrices(&x).into_iter();
        let layers = layers
            .zip(muon_layers.squares(&b))
            .zip(muon_layers.matrices(&next));
        for ((x, b), next) in layers {
            let shape = ConvShape::dense(x.shape[0], x.shape[1], x.shape[0]);
            conv_backward_input(recording, label, &shape, [&b, &x, &x], false, &next);
        }
        let before = std::mem::replace(&mut x, next);
        free = (before.buffer.storage() == products).then_some(before);
    }
    muon(recording, label, &memory, &x, weights);
}

/// y = p qᵀ for p (rows, columns) and q (outputs, columns).
fn product(
    recording: &mut Recording,
    label: &str,
    [p, q]: [&Tensor; 2],
    zeros: &Tensor,
    y: &Tensor,
) {
    let shape = ConvShape::dense(p.shape[0], p.shape[1], q.shape[0]);
    let windows = Windows::Plain(&shape);
    conv_forward(
        recording,
        label,
        windows,
        [p, q, zeros],
        Epilogue::Linear,
        y,
    );
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MomentumParams {
    mu: f32,
    weight_base: u32,
    gradient_base: u32,
    spans_base: u32,
    momentum_base: u32,
    update_base: u32,
    partial_base: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct UnitNormParams {
    partial_base: u32,
    layers_base: u32,
    spans_base: u32,
    update_base: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NewtonSchulzParams {
    identity: f32,
    linear: f32,
    square: f32,
    gram_base: u32,
    squared_base: u32,
    spans_base: u32,
    polynomial_base: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MuonParams {
    partial_base: u32,
    layers_base: u32,
    spans_base: u32,
    update_base: u32,
    weight_base: u32,
}

/// What all calls have in common: a workgroup for each row of `spans`.
fn walk<'a>(
    kernel: &'static Kernel,
    label: &'a str,
    params: &'a [u8],
    spans: &Tensor,
    (reads, writes): (&'a [&'a Tensor], &'a [Write<'a>]),
) -> Dispatch<'a> {
    Dispatch {
        kernel,
        label,
        constants: &[],
        params,
        reads,
        writes,
        schedule: false,
        grid: Grid::Groups([spans.shape[0] as u32, 1, 1]),
        flops: 0,
    }
}

/// Momentum and updates; sums of squares of updates and weights.
pub fn momentum(
    recording: &mut Recording,
    label: &str,
    memory: &MuonMemory,
    [weights, gradients]: [&Tensor; 2],
    momentum: &Tensor,
) {
    let params = MomentumParams {
        mu: MOMENTUM as f32,
        weight_base: weights.base(),
        gradient_base: gradients.base(),
        spans_base: memory.spans.base(),
        momentum_base: momentum.base(),
        update_base: memory.updates.base(),
        partial_base: memory.partial.base(),
    };
    let reads = [weights, gradients, &memory.spans];
    let writes = [
        Write::Update(momentum),
        Write::New(&memory.updates),
        Write::New(&memory.partial),
    ];
    let params = bytemuck::bytes_of(&params);
    let data = (&reads[..], &writes[..]);
    recording.dispatch(Dispatch {
        flops: 8 * memory.updates.len() as u64,
        ..walk(&kernels::MOMENTUM, label, params, &memory.spans, data)
    });
}

/// Divides the update of each layer by its norm.
pub fn unit_norm(recording: &mut Recording, label: &str, memory: &MuonMemory) {
    let params = UnitNormParams {
        partial_base: memory.partial.base(),
        layers_base: memory.layers.base(),
        spans_base: memory.spans.base(),
        update_base: memory.updates.base(),
    };
    let reads = [&memory.partial, &memory.layers, &memory.spans];
    let writes = [Write::Update(&memory.updates)];
    let params = bytemuck::bytes_of(&params);
    let data = (&reads[..], &writes[..]);
    recording.dispatch(Dispatch {
        flops: memory.updates.len() as u64,
        ..walk(&kernels::UNIT_NORM, label, params, &memory.spans, data)
    });
}

/// B = a I + b A + c A A of all layers.
pub fn newton_schulz(
    recording: &mut Recording,
    label: &str,
    spans: &Tensor,
    [gram, squared]: [&Tensor; 2],
    polynomial: &Tensor,
) {
    let [identity, linear, square] = NEWTON_SCHULZ.map(|factor| factor as f32);
    let params = NewtonSchulzParams {
        identity,
        linear,
        square,
        gram_base: gram.base(),
        squared_base: squared.base(),
        spans_base: spans.base(),
        polynomial_base: polynomial.base(),
    };
    let reads = [gram, squared, spans];
    let writes = [Write::New(polynomial)];
    let params = bytemuck::bytes_of(&params);
    let data = (&reads[..], &writes[..]);
    recording.dispatch(Dispatch {
        flops: 4 * gram.len() as u64,
        ..walk(&kernels::NEWTON_SCHULZ, label, params, spans, data)
    });
}

/// Gives the weights of each layer their norm, and takes the schedule's rate times `x` from them.
pub fn muon(
    recording: &mut Recording,
    label: &str,
    memory: &MuonMemory,
    x: &Tensor,
    weights: &Tensor,
) {
    let params = MuonParams {
        partial_base: memory.partial.base(),
        layers_base: memory.layers.base(),
        spans_base: memory.spans.base(),
        update_base: x.base(),
        weight_base: weights.base(),
    };
    let reads = [&memory.partial, &memory.layers, &memory.spans, x];
    let writes = [Write::Update(weights)];
    let params = bytemuck::bytes_of(&params);
    let data = (&reads[..], &writes[..]);
    recording.dispatch(Dispatch {
        schedule: true,
        flops: 3 * x.len() as u64,
        ..walk(&kernels::MUON, label, params, &memory.spans, data)
    });
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::gpu::{Gpu, GpuOptions, Path};
    use crate::optimiser::Schedule;
    use crate::reference::muon_step;
    use crate::verify::noise;

    const RATE: f64 = 0.1;

    /// How far the updates of a step are from those of the plain one, as a part of their length.
    fn distance(gpu: &Gpu, [rows, columns]: [usize; 2], products: Storage) -> f64 {
        let count = rows * columns;
        let norm = (rows as f64).sqrt();
        let layer = MuonLayer {
            weights: 0..count,
            rows,
            norm,
        };
        let muon = Muon {
            layers: vec![layer],
        };
        let start = noise("weights", count);
        // Of the size that gradients have in the middle of a run.
        let gradient: Vec<f32> = noise("gradients", count).iter().map(|g| g * 1e-4).collect();
        let filled = |label: &str, values: &[f32]| {
            let tensor = Tensor::new(gpu, label, &[values.len()]);
            let tensor = tensor.unwrap_or_else(|e| panic!("{e}"));
            tensor.write(gpu, values);
            tensor
        };
        let (weights, gradients) = (filled("weights", &start), filled("gradients", &gradient));
        let momentum = filled("momentum", &vec![0.0; count]);
        let zeros = filled("zeros", &vec![0.0; columns.max(rows)]);
        let mut recording = Recording::new(Path::Gpu);
        let arenas = [&weights, &gradients, &momentum];
        orthogonalise(&mut recording, "muon", &muon, arenas, &zeros, products);
        let plan = gpu.plan(recording).unwrap_or_else(|e| panic!("{e}"));
        let schedule = Schedule::new(1, 0.0, 0.0).with_muon_rate(RATE);
        plan.run(gpu, bytemuck::bytes_of(&schedule));
        let got = block_on(weights.read(gpu)).unwrap_or_else(|e| panic!("{e}"));
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|v| f64::from(*v)).collect() };
        let (start, gradient) = (wide(&start), wide(&gradient));
        let [want, _] = muon_step(&gradient, [&start, &vec![0.0; count]], rows, [norm, RATE]);
        let length =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let kept = norm / length(&mut start.iter().copied());
        let update = length(&mut want.iter().zip(&start).map(|(w, s)| w - kept * s));
        length(&mut got.iter().zip(&want).map(|(g, w)| f64::from(*g) - w)) / update
    }

    /// The iteration forgives rounding: what brings singular values near to one does so from values a little off, too.
    #[test]
    fn products_in_halves_give_nearly_the_same_updates() {
        let options = GpuOptions {
            path: Some(Path::Gpu),
            ..GpuOptions::default()
        };
        let gpu = block_on(Gpu::open(&options)).unwrap_or_else(|e| panic!("{e}"));
        for sides in [[20, 12], [64, 576], [256, 288]] {
            let full = distance(&gpu, sides, Storage::Float);
            let half = distance(&gpu, sides, HALF_PRODUCTS);
            assert!(full < 1e-4, "{sides:?}: {full:.1e}");
            assert!(half > full && half < 5e-3, "{sides:?}: {half:.1e}");
        }
    }
}
