//! What a quantisation method says of itself, and how any of them is recorded.

use bytemuck::{Pod, Zeroable};

use super::Quantised;
use super::gtc::levels_backward;
use crate::gpu::Kernel;
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Two numbers that a layer learns besides its weights. A method that learns fewer leaves them at zero.
pub type Learned = [f64; 2];

/// Up to four numbers of a layer, computed from all of its weights before any is quantised; each method defines what they mean.
pub type Scales = [f64; 4];

/// Gradients with respect to a weight, and what it adds to those of the two learned numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Through {
    /// ∂L/∂w
    pub weight: f64,
    /// A share of ∂L/∂ of the two learned numbers.
    pub learned: [f64; 2],
}

/// Kernels of a method, which share its text.
#[derive(Clone, Copy, Debug)]
pub struct MethodKernels {
    /// Scales of every layer.
    pub scales: &'static Kernel,
    /// Q(w)
    pub forward: &'static Kernel,
    /// Gradients.
    pub backward: &'static Kernel,
}

/// A way to quantise weights. Every number that it learns is a logarithm to base two: a step of an optimiser is then as
/// large for small scales as for large ones.
pub trait Method {
    /// Bits of a weight's code.
    fn bits(&self) -> u32;

    /// The most values that a layer's weights take.
    fn values(&self) -> u32 {
        1 << self.bits()
    }

    /// Factors that sums of a layer are multiplied by: none if every value is zero or a power of two.
    fn factors(&self) -> u32 {
        1
    }

    /// Whether weights need no multiplier and no factor behind the sum.
    fn is_shift(&self) -> bool {
        self.factors() == 0
    }

    /// The most non-zero digits ±2^k of a weight in units of its layer's scale: additions that take the place of a
    /// multiplication; `None` where that is no use.
    fn digits(&self) -> Option<u32>;

    /// Where the learned numbers of a layer start.
    fn start(&self, weights: &[f64]) -> Learned {
        let _ = weights;
        [0.0; 2]
    }

    /// The learned numbers that quantise weights `factor` times as large to values `factor` times as large; `None` where values
    /// do not scale with weights.
    fn rescaled(&self, learned: Learned, factor: f64) -> Option<Learned> {
        let _ = factor;
        Some(learned)
    }

    /// The scales of a layer.
    fn scales(&self, weights: &[f64], learned: Learned) -> Scales;

    /// Q(w)
    fn quantise(&self, w: f64, scales: &Scales) -> f64;

    /// How ∂L/∂Q = `d_q` goes through.
    fn through(&self, w: f64, d_q: f64, scales: &Scales) -> Through {
        let _ = (w, scales);
        Through {
            weight: d_q,
            learned: [0.0; 2],
        }
    }

    /// Whether the scales take a second look at the weights.
    fn looks_twice(&self) -> bool {
        false
    }

    /// Numbers for the kernels.
    fn settings(&self) -> [f32; 2] {
        [0.0; 2]
    }

    /// The kernels that hold its text.
    fn kernels(&self) -> MethodKernels;
}

/// Q(w) of a layer in `f64`.
pub(crate) fn quantise_layer(method: &dyn Method, weights: &[f64], learned: Learned) -> Vec<f64> {
    let scales = method.scales(weights, learned);
    let quantise = |w: &f64| method.quantise(*w, &scales);
    weights.iter().map(quantise).collect()
}

/// The mean of |w|.
pub(super) fn mean_size(weights: &[f64]) -> f64 {
    weights.iter().map(|w| w.abs()).sum::<f64>() / weights.len().max(1) as f64
}

/// The sign, and 0 of an exact zero: what fills weights up to whole texels is zero and stays it.
pub(super) fn sign_or_zero(w: f64) -> f64 {
    if w == 0.0 { 0.0 } else { w.signum() }
}

/// The entries of a method's kernels.
macro_rules! kernels_of {
    ($($file:literal),+) => {{
        use $crate::kernels::{METHOD, QUANTISER, elementwise};
        const TEXTS: &[&str] = &[METHOD, QUANTISER, $(include_str!(concat!("../../shaders/shared/", $file))),+];
        static SCALES: $crate::gpu::Kernel = elementwise(
            "method_scales",
            "MethodScalesParams",
            include_str!("../../shaders/quantiser/method_scales.wgsl"),
            TEXTS,
        );
        static FORWARD: $crate::gpu::Kernel = elementwise(
            "method_forward",
            "MethodForwardParams",
            include_str!("../../shaders/quantiser/method_forward.wgsl"),
            TEXTS,
        );
        static BACKWARD: $crate::gpu::Kernel = elementwise(
            "method_backward",
            "MethodBackwardParams",
            include_str!("../../shaders/quantiser/method_backward.wgsl"),
            TEXTS,
        );
        $crate::quantiser::method::MethodKernels {
            scales: &SCALES,
            forward: &FORWARD,
            backward: &BACKWARD,
        }
    }};
}
pub(super) use kernels_of;

/// Kernels of all methods.
pub fn method_kernels() -> Vec<&'static Kernel> {
    let mut found: Vec<&'static Kernel> = vec![&kernels::METHOD_STATISTICS];
    let methods = super::Quantiser::all().into_iter();
    for method in methods.filter_map(super::Quantiser::method) {
        let MethodKernels {
            scales,
            forward,
            backward,
        } = method.kernels();
        for kernel in [scales, forward, backward] {
            if !found.iter().any(|known| std::ptr::eq(*known, kernel)) {
                found.push(kernel);
            }
        }
    }
    found
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MethodStatisticsParams {
    w_base: u32,
    spans_base: u32,
    levels_base: u32,
    partial_base: u32,
    second: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MethodScalesParams {
    partial_base: u32,
    quantisers_base: u32,
    layers_base: u32,
    levels_base: u32,
    second: u32,
    values: f32,
    bits: f32,
    setting_0: f32,
    setting_1: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MethodForwardParams {
    w_base: u32,
    spans_base: u32,
    levels_base: u32,
    q_base: u32,
    setting_0: f32,
    setting_1: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MethodBackwardParams {
    w_base: u32,
    lp_gradients_base: u32,
    levels_base: u32,
    spans_base: u32,
    gradients_base: u32,
    partial_base: u32,
    lambda_l2: f32,
    setting_0: f32,
    setting_1: f32,
}

/// The scales of every layer, by one look at the weights or two.
pub(crate) fn method_scales(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    method: &dyn Method,
) {
    for second in 0..=u32::from(method.looks_twice()) {
        let partial = method_statistics(recording, label, model, second);
        let layers = model.layers();
        let params = MethodScalesParams {
            partial_base: partial.base(),
            quantisers_base: model.quantisers.base(),
            layers_base: layers.base(),
            levels_base: model.levels.base(),
            second,
            values: method.values() as f32,
            bits: method.bits() as f32,
            setting_0: method.settings()[0],
            setting_1: method.settings()[1],
        };
        recording.dispatch(Dispatch {
            kernel: method.kernels().scales,
            label,
            constants: &[],
            params: bytemuck::bytes_of(&params),
            reads: &[&partial, model.parameters, &layers],
            writes: &[Write::Update(model.levels)],
            schedule: false,
            grid: model.for_layers(),
            flops: partial.len() as u64,
        });
    }
}

/// Sums over the weights of every span, (spans, 4); `second`: over those above the threshold that the scales hold.
fn method_statistics(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    second: u32,
) -> Tensor {
    let partial = Tensor::transient("partial", &[model.spans.of_weights(), 4]);
    method_statistics_to(recording, label, model, second, &partial);
    partial
}

/// The same into a tensor of the caller's.
pub(crate) fn method_statistics_to(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    second: u32,
    partial: &Tensor,
) {
    let spans = model.spans();
    let params = MethodStatisticsParams {
        w_base: model.parameters.base(),
        spans_base: spans.base(),
        levels_base: model.levels.base(),
        partial_base: partial.base(),
        second,
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::METHOD_STATISTICS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[model.parameters, &spans, model.levels],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Groups([model.spans.of_weights() as u32, 1, 1]),
        flops: 5 * model.spans.weights() as u64,
    });
}

/// The scales of every layer, then Q(w).
pub(super) fn method_forward(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    method: &dyn Method,
) {
    method_scales(recording, label, model, method);
    method_values(recording, label, model, method);
}

/// Q(w) with the scales that `model.levels` holds.
pub(crate) fn method_values(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    method: &dyn Method,
) {
    let spans = model.spans();
    let params = MethodForwardParams {
        w_base: model.parameters.base(),
        spans_base: spans.base(),
        levels_base: model.levels.base(),
        q_base: model.values.base(),
        setting_0: method.settings()[0],
        setting_1: method.settings()[1],
    };
    recording.dispatch(Dispatch {
        kernel: method.kernels().forward,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[model.parameters, &spans, model.levels],
        writes: &[Write::New(model.values)],
        schedule: false,
        grid: Grid::Groups([model.spans.of_weights() as u32, 1, 1]),
        flops: 10 * model.spans.weights() as u64,
    });
}

/// The gradients of weights and of what layers learn besides.
pub(crate) fn method_backward(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    method: &dyn Method,
    lp_gradients: &Tensor,
    lambda_l2: f32,
    [gradients, d_quantisers]: [&Tensor; 2],
) {
    let spans = model.spans();
    let count = model.spans.count();
    let partial = Tensor::transient("partial", &[count, 4]);
    let params = MethodBackwardParams {
        w_base: model.parameters.base(),
        lp_gradients_base: lp_gradients.base(),
        levels_base: model.levels.base(),
        spans_base: spans.base(),
        gradients_base: gradients.base(),
        partial_base: partial.base(),
        lambda_l2,
        setting_0: method.settings()[0],
        setting_1: method.settings()[1],
    };
    recording.dispatch(Dispatch {
        kernel: method.kernels().backward,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[model.parameters, lp_gradients, model.levels, &spans],
        writes: &[Write::Update(gradients), Write::New(&partial)],
        schedule: false,
        grid: Grid::Groups([count as u32, 1, 1]),
        flops: 15 * model.spans.weights() as u64,
    });
    levels_backward(recording, label, model, &partial, d_quantisers);
}
