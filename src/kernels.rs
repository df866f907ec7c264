//! The list of all shaders. Those of an operation have their entry, their reference function and their cases in its
//! folder in [`crate::op`]. Entries of those that belong to none are in this file, their reference functions in
//! [`crate::reference`](mod@crate::reference), their cases in [`crate::verify`]. What several include is here too.

use crate::gpu::{
    Cooperative, Core, Family, Kernel, Numbers, Operand, Operands, Path, ReadsTextures, Storage,
    Twins, read_write,
};
use crate::op;
use crate::quantiser::method_kernels;

pub(crate) const BLOCKS_FLOAT: &str = include_str!("../shaders/shared/blocks_float.wgsl");
pub(crate) const CONV_SHAPE: &str = include_str!("../shaders/shared/conv_shape.wgsl");
pub(crate) const CHAN: &str = include_str!("../shaders/shared/chan.wgsl");
pub(crate) const RANGES: &str = include_str!("../shaders/shared/ranges.wgsl");
pub(crate) const CODES: &str = include_str!("../shaders/shared/codes.wgsl");
pub(crate) const DIVIDE: &str = include_str!("../shaders/shared/divide.wgsl");
pub(crate) const EXTREMES: &str = include_str!("../shaders/shared/extremes.wgsl");
pub(crate) const IMAGE_LOSS: &str = include_str!("../shaders/shared/image_loss.wgsl");
pub(crate) const METHOD: &str = include_str!("../shaders/shared/method.wgsl");
pub(crate) const MUON_NORMS: &str = include_str!("../shaders/shared/muon_norms.wgsl");
pub(crate) const NOISE_SHAPE: &str = include_str!("../shaders/shared/noise_shape.wgsl");
pub(crate) const NORM: &str = include_str!("../shaders/shared/norm.wgsl");
pub(crate) const NORM_SQUARES: &str = include_str!("../shaders/shared/norm_squares.wgsl");
pub(crate) const PACKED_BLOCKS: &str = include_str!("../shaders/shared/packed_bytes_blocks.wgsl");
pub(crate) const PACKED_DOT4: &str = include_str!("../shaders/shared/packed_dot4.wgsl");
pub(crate) const PACKED_FLOAT: &str = include_str!("../shaders/shared/packed_float.wgsl");
pub(crate) const PACKED_LANES: &str = include_str!("../shaders/shared/packed_lanes.wgsl");
pub(crate) const PACKED_SHIFT: &str = include_str!("../shaders/shared/packed_shift.wgsl");
pub(crate) const PHILOX_BITS: &str = include_str!("../shaders/shared/philox.wgsl");
pub(crate) const POOL_SHAPE: &str = include_str!("../shaders/shared/pool_shape.wgsl");
pub(crate) const POSTERIOR: &str = include_str!("../shaders/shared/posterior.wgsl");
pub(crate) const QUANTISER: &str = include_str!("../shaders/shared/quantiser.wgsl");
pub(crate) const REQUANTISE: &str = include_str!("../shaders/shared/requantise.wgsl");
pub(crate) const SCHEDULE: &str = include_str!("../shaders/shared/schedule.wgsl");
pub(crate) const UPSAMPLE_SHAPE: &str = include_str!("../shaders/shared/upsample_shape.wgsl");
pub(crate) const PLACES: &str = include_str!("../shaders/shared/places.wgsl");
pub(crate) const SHIFT_WINDOWS: &str = include_str!("../shaders/shared/shift_windows.wgsl");
pub(crate) const SPLITS: &str = include_str!("../shaders/shared/splits.wgsl");
pub(crate) const SQUARES: &str = include_str!("../shaders/shared/squares.wgsl");
pub(crate) const WINDOWS: &str = include_str!("../shaders/shared/windows.wgsl");

/// A matrix product over floats whose tile is staged or kept by a core. `name`: the stem of its file and the name of its reference
/// function; `text`: the file; `shared`: further texts.
pub(crate) const fn matrix(
    name: &'static str,
    text: &'static str,
    shared: &'static [&'static str],
) -> Kernel {
    Kernel {
        name,
        text,
        family: Family::Matrix(Operand::Rows),
        numbers: Numbers::Float,
        textures: ReadsTextures::Always,
        shared,
        params: "ConvParams",
    }
}

/// A kernel over floats with a `main` of its own. `params`: the name of the `#[repr(C)]` struct of its uniform block; the others as in
/// [`matrix`].
pub(crate) const fn elementwise(
    name: &'static str,
    params: &'static str,
    text: &'static str,
    shared: &'static [&'static str],
) -> Kernel {
    Kernel {
        name,
        text,
        family: Family::Elementwise,
        numbers: Numbers::Float,
        textures: ReadsTextures::OfMany,
        shared,
        params,
    }
}

/// A kernel that reads every number once.
const fn of_optimiser(
    name: &'static str,
    params: &'static str,
    text: &'static str,
    shared: &'static [&'static str],
) -> Kernel {
    Kernel {
        textures: ReadsTextures::Never,
        ..elementwise(name, params, text, shared)
    }
}

/// Loss and gradient of a classifier.
pub static SOFTMAX_CROSS_ENTROPY: Kernel = elementwise(
    "softmax_cross_entropy",
    "SoftmaxParams",
    include_str!("../shaders/loss/softmax_cross_entropy.wgsl"),
    &[],
);
/// Running totals of losses and hits.
pub static METRICS: Kernel = elementwise(
    "metrics",
    "MetricsParams",
    include_str!("../shaders/loss/metrics.wgsl"),
    &[],
);
/// Q(w) and partial extremes.
pub static QUANTISER_FORWARD: Kernel = elementwise(
    "quantiser_forward",
    "QuantiserForwardParams",
    include_str!("../shaders/quantiser/quantiser_forward.wgsl"),
    &[QUANTISER, EXTREMES],
);
/// Exponents in use, bits, bit loss.
pub static LEVELS: Kernel = elementwise(
    "levels",
    "LevelsParams",
    include_str!("../shaders/quantiser/levels.wgsl"),
    &[EXTREMES],
);
/// Whether all layers fit into a budget.
pub static BUDGET: Kernel = elementwise(
    "budget",
    "BudgetParams",
    include_str!("../shaders/quantiser/budget.wgsl"),
    &[],
);
/// Gradients of both networks together: through Q, with bit loss and L2.
pub static QUANTISER_BACKWARD: Kernel = elementwise(
    "quantiser_backward",
    "QuantiserBackwardParams",
    include_str!("../shaders/quantiser/quantiser_backward.wgsl"),
    &[QUANTISER, SCHEDULE],
);
/// Gradients of intercepts and slopes.
pub static LEVELS_BACKWARD: Kernel = elementwise(
    "levels_backward",
    "LevelsBackwardParams",
    include_str!("../shaders/quantiser/levels_backward.wgsl"),
    &[SCHEDULE],
);
/// What methods other than GTC need to know of weights.
pub static METHOD_STATISTICS: Kernel = elementwise(
    "method_statistics",
    "MethodStatisticsParams",
    include_str!("../shaders/quantiser/method_statistics.wgsl"),
    &[METHOD],
);
/// A step of Adam.
pub static ADAM: Kernel = of_optimiser(
    "adam",
    "AdamParams",
    include_str!("../shaders/optimiser/adam.wgsl"),
    &[SCHEDULE],
);
/// A step of stochastic gradient descent.
pub static SGD: Kernel = of_optimiser(
    "sgd",
    "SgdParams",
    include_str!("../shaders/optimiser/sgd.wgsl"),
    &[SCHEDULE],
);
/// The sum of the gradients of two shards.
pub static ADD_SHARDS: Kernel = of_optimiser(
    "add_shards",
    "AddShardsParams",
    include_str!("../shaders/optimiser/add_shards.wgsl"),
    &[],
);
/// Muon's momentum.
pub static MOMENTUM: Kernel = of_optimiser(
    "momentum",
    "MomentumParams",
    include_str!("../shaders/optimiser/momentum.wgsl"),
    &[],
);
/// Updates over their norms.
pub static UNIT_NORM: Kernel = of_optimiser(
    "unit_norm",
    "UnitNormParams",
    include_str!("../shaders/optimiser/unit_norm.wgsl"),
    &[MUON_NORMS],
);
/// The polynomial of an iteration of Newton and Schulz.
pub static NEWTON_SCHULZ: Kernel = of_optimiser(
    "newton_schulz",
    "NewtonSchulzParams",
    include_str!("../shaders/optimiser/newton_schulz.wgsl"),
    &[],
);
/// Muon's step.
pub static MUON: Kernel = of_optimiser(
    "muon",
    "MuonParams",
    include_str!("../shaders/optimiser/muon.wgsl"),
    &[MUON_NORMS, SCHEDULE],
);

/// Loss and gradient of pixels that are probabilities.
pub static BERNOULLI_LOSS: Kernel = elementwise(
    "bernoulli_loss",
    "ImageLossParams",
    include_str!("../shaders/loss/bernoulli_loss.wgsl"),
    &[IMAGE_LOSS],
);
/// Loss and gradient of pixels that are normally distributed.
pub static GAUSSIAN_LOSS: Kernel = elementwise(
    "gaussian_loss",
    "ImageLossParams",
    include_str!("../shaders/loss/gaussian_loss.wgsl"),
    &[IMAGE_LOSS],
);

/// Chains of multiply-adds, for measuring a device.
pub static MULTIPLY_ADD: Kernel = elementwise(
    "multiply_add",
    "MultiplyAddParams",
    include_str!("../shaders/probe/multiply_add.wgsl"),
    &[],
);

/// The kernels that belong to no operation.
const OWN: &[&Kernel] = &[
    &SOFTMAX_CROSS_ENTROPY,
    &METRICS,
    &QUANTISER_FORWARD,
    &LEVELS,
    &BUDGET,
    &QUANTISER_BACKWARD,
    &LEVELS_BACKWARD,
    &ADAM,
    &SGD,
    &ADD_SHARDS,
    &MOMENTUM,
    &UNIT_NORM,
    &NEWTON_SCHULZ,
    &MUON,
    &BERNOULLI_LOSS,
    &GAUSSIAN_LOSS,
    &MULTIPLY_ADD,
];

/// All of them.
pub fn all() -> Vec<&'static Kernel> {
    [OWN.to_vec(), method_kernels(), op::kernels()].concat()
}

/// Texts of all float products with such cooperative matrices, with their names: of 16-bit numbers with weights of 32 bits, and of two
/// operands of 16 bits.
pub fn cooperative_texts(matrices: Cooperative) -> Vec<(&'static str, String)> {
    const HALF: Storage = Storage::Half { exponent: 8 };
    let products = all().into_iter();
    let products = products.filter(|kernel| {
        matches!(kernel.family, Family::Matrix(_)) && kernel.numbers == Numbers::Float
    });
    let mut texts = Vec::new();
    for kernel in products {
        for b in [Storage::Float, Storage::Half { exponent: 0 }] {
            let operands = Operands {
                inputs: [HALF, b, HALF, HALF],
                outputs: [HALF; 4],
            };
            for core in matrices.cores() {
                let text = kernel.source_for(Path::Gpu, Some(core), &operands);
                texts.push((kernel.name, text));
            }
        }
    }
    texts
}

/// What may differ between the calls of two networks that one dispatch does; `None` if none can.
pub fn twins_of(kernel: &Kernel, path: Path) -> Option<Twins> {
    let possible = |same| !path.reads_textures() && Twins::are_possible(kernel, same);
    let params = possible(false);
    possible(true).then_some(Twins {
        params,
        ..Twins::ALL
    })
}

/// Texts of all kernels on a path, with their names: products in every core, and where kernels read buffers, those over
/// floats with all operands in 16 bits too, and those of one dispatch for two networks, and those that
/// write what lies beside what they read.
pub fn texts(path: Path) -> Vec<(&'static str, String)> {
    const HALF: Storage = Storage::Half { exponent: 8 };
    let halves = Operands {
        inputs: [HALF; 4],
        outputs: [HALF; 4],
    };
    let mut texts: Vec<(&'static str, String)> = Vec::new();
    for kernel in all() {
        let rows = [4, 8, 12, 16].into_iter();
        let cores: Vec<Core> = rows.flat_map(|rows| kernel.cores(path, rows)).collect();
        let cores = match cores.is_empty() {
            true => vec![None],
            false => cores.into_iter().map(Some).collect(),
        };
        let in_halves = !path.reads_textures() && kernel.numbers == Numbers::Float;
        let operands = [Some(Operands::default()), in_halves.then_some(halves)];
        for operands in operands.into_iter().flatten() {
            for core in &cores {
                let text = kernel.source_for(path, *core, &operands);
                let of_twins = twins_of(kernel, path).into_iter();
                let of_twins = of_twins.flat_map(|twins| {
                    let same = Twins {
                        params: false,
                        ..twins
                    };
                    [twins, same].map(|twins| twins.text(&text))
                });
                let read_write = (!path.reads_textures()).then(|| read_write(&text));
                let all: Vec<String> = of_twins.chain(read_write).collect();
                for text in all.into_iter().chain([text]) {
                    if !texts.iter().any(|(_, known)| *known == text) {
                        texts.push((kernel.name, text));
                    }
                }
            }
        }
    }
    texts
}
