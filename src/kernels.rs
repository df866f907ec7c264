//! The list of all shaders. A new kernel is one line here, and in the folder of its operation in
//! [`crate::op`] its entry, its reference function and its cases. Entries of older operations are in this file,
//! their reference functions in [`crate::reference`], their cases in [`crate::verify`].

use crate::gpu::{Family, Kernel, Mirrors, Numbers, Operand};
use crate::op;

const BLOCKS_FLOAT: &str = include_str!("../shaders/shared/blocks_float.wgsl");
const CONV_SHAPE: &str = include_str!("../shaders/shared/conv_shape.wgsl");
pub(crate) const CODES: &str = include_str!("../shaders/shared/codes.wgsl");
pub(crate) const DIVIDE: &str = include_str!("../shaders/shared/divide.wgsl");
const EXTREMES: &str = include_str!("../shaders/shared/extremes.wgsl");
const IMAGE_LOSS: &str = include_str!("../shaders/shared/image_loss.wgsl");
const NOISE_SHAPE: &str = include_str!("../shaders/shared/noise_shape.wgsl");
const NORM: &str = include_str!("../shaders/shared/norm.wgsl");
const PACKED_BLOCKS: &str = include_str!("../shaders/shared/packed_bytes_blocks.wgsl");
const PACKED_DOT4: &str = include_str!("../shaders/shared/packed_dot4.wgsl");
const PACKED_FLOAT: &str = include_str!("../shaders/shared/packed_float.wgsl");
const PACKED_LANES: &str = include_str!("../shaders/shared/packed_lanes.wgsl");
const PACKED_SHIFT: &str = include_str!("../shaders/shared/packed_shift.wgsl");
pub(crate) const PHILOX_BITS: &str = include_str!("../shaders/shared/philox.wgsl");
const POOL_SHAPE: &str = include_str!("../shaders/shared/pool_shape.wgsl");
const POSTERIOR: &str = include_str!("../shaders/shared/posterior.wgsl");
const QUANTISER: &str = include_str!("../shaders/shared/quantiser.wgsl");
pub(crate) const REQUANTISE: &str = include_str!("../shaders/shared/requantise.wgsl");
pub(crate) const SCHEDULE: &str = include_str!("../shaders/shared/schedule.wgsl");
const UPSAMPLE_SHAPE: &str = include_str!("../shaders/shared/upsample_shape.wgsl");
const PLACES: &str = include_str!("../shaders/shared/places.wgsl");
const SHIFT_WINDOWS: &str = include_str!("../shaders/shared/shift_windows.wgsl");
const SQUARES: &str = include_str!("../shaders/shared/squares.wgsl");
const WINDOWS: &str = include_str!("../shaders/shared/windows.wgsl");

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
        mirrors: Mirrors::Always,
        shared,
        params: "ConvParams",
    }
}

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
        mirrors: Mirrors::OfMany,
        shared,
        params,
    }
}

/// y = x * w + bias, ReLU.
pub static CONV_FORWARD: Kernel = matrix(
    "conv_forward",
    include_str!("../shaders/conv/conv_forward.wgsl"),
    &[
        CONV_SHAPE,
        DIVIDE,
        PLACES,
        WINDOWS,
        SHIFT_WINDOWS,
        SQUARES,
        BLOCKS_FLOAT,
    ],
);
/// Gradient of x.
pub static CONV_BACKWARD_INPUT: Kernel = matrix(
    "conv_backward_input",
    include_str!("../shaders/conv/conv_backward_input.wgsl"),
    &[CONV_SHAPE, DIVIDE, PLACES, BLOCKS_FLOAT],
);
/// Gradients of w and of a bias, in partial sums.
pub static CONV_BACKWARD_WEIGHT: Kernel = Kernel {
    family: Family::Matrix(Operand::Columns),
    ..matrix(
        "conv_backward_weight",
        include_str!("../shaders/conv/conv_backward_weight.wgsl"),
        &[CONV_SHAPE, DIVIDE, SHIFT_WINDOWS, SQUARES, BLOCKS_FLOAT],
    )
};
/// Windows as rows.
pub static IM2COL: Kernel = Kernel {
    mirrors: Mirrors::Always,
    ..elementwise(
        "im2col",
        "Im2colParams",
        include_str!("../shaders/conv/im2col.wgsl"),
        &[DIVIDE],
    )
};
/// Shifted copies of images.
pub static SHIFTS: Kernel = Kernel {
    mirrors: Mirrors::Always,
    ..elementwise(
        "shifts",
        "ShiftsParams",
        include_str!("../shaders/conv/shifts.wgsl"),
        &[DIVIDE],
    )
};
/// The sum of partial sums.
pub static SUM_PARTIALS: Kernel = Kernel {
    mirrors: Mirrors::Never,
    ..elementwise(
        "sum_partials",
        "SumParams",
        include_str!("../shaders/conv/sum_partials.wgsl"),
        &[],
    )
};
/// Largest of each window.
pub static MAX_POOL_FORWARD: Kernel = elementwise(
    "max_pool_forward",
    "PoolParams",
    include_str!("../shaders/max_pool/max_pool_forward.wgsl"),
    &[POOL_SHAPE, DIVIDE],
);
/// Gradient of a max pool and of the ReLU before it.
pub static MAX_UNPOOL: Kernel = elementwise(
    "max_unpool",
    "PoolParams",
    include_str!("../shaders/max_pool/max_unpool.wgsl"),
    &[POOL_SHAPE, DIVIDE],
);
/// Gradient of a ReLU.
pub static RELU_BACKWARD: Kernel = elementwise(
    "relu_backward",
    "ReluParams",
    include_str!("../shaders/activation/relu_backward.wgsl"),
    &[],
);
/// Mean and squared differences over ranges of rows.
pub static NORM_STATISTICS: Kernel = elementwise(
    "norm_statistics",
    "NormStatisticsParams",
    include_str!("../shaders/norm/norm_statistics.wgsl"),
    &[],
);
/// Statistics of a batch, and the running ones.
pub static NORM_COMBINE: Kernel = elementwise(
    "norm_combine",
    "NormCombineParams",
    include_str!("../shaders/norm/norm_combine.wgsl"),
    &[NORM, QUANTISER],
);
/// Statistics for a test.
pub static NORM_RUNNING: Kernel = elementwise(
    "norm_running",
    "NormRunningParams",
    include_str!("../shaders/norm/norm_running.wgsl"),
    &[NORM, QUANTISER],
);
/// Normalisation and ReLU.
pub static NORM_FORWARD: Kernel = elementwise(
    "norm_forward",
    "NormForwardParams",
    include_str!("../shaders/norm/norm_forward.wgsl"),
    &[],
);
/// What the gradient of a normalisation sums over a batch, in partial sums.
pub static NORM_BACKWARD_SUMS: Kernel = elementwise(
    "norm_backward_sums",
    "NormBackwardSumsParams",
    include_str!("../shaders/norm/norm_backward_sums.wgsl"),
    &[],
);
/// Gradients of γ and β.
pub static NORM_GRADIENTS: Kernel = elementwise(
    "norm_gradients",
    "NormGradientsParams",
    include_str!("../shaders/norm/norm_gradients.wgsl"),
    &[SCHEDULE],
);
/// Gradient of the input of a normalisation.
pub static NORM_BACKWARD: Kernel = elementwise(
    "norm_backward",
    "NormBackwardParams",
    include_str!("../shaders/norm/norm_backward.wgsl"),
    &[],
);
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
/// One optimiser step.
pub static ADAM: Kernel = Kernel {
    mirrors: Mirrors::Never,
    ..elementwise(
        "adam",
        "AdamParams",
        include_str!("../shaders/optimiser/adam.wgsl"),
        &[SCHEDULE],
    )
};

/// Every number as a square of equal ones.
pub static UPSAMPLE_FORWARD: Kernel = Kernel {
    mirrors: Mirrors::Always,
    ..elementwise(
        "upsample_forward",
        "UpsampleParams",
        include_str!("../shaders/upsample/upsample_forward.wgsl"),
        &[UPSAMPLE_SHAPE, DIVIDE],
    )
};
/// Gradient of an upsampling.
pub static UPSAMPLE_BACKWARD: Kernel = elementwise(
    "upsample_backward",
    "UpsampleParams",
    include_str!("../shaders/upsample/upsample_backward.wgsl"),
    &[UPSAMPLE_SHAPE, DIVIDE],
);
/// Random bits.
pub static PHILOX: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..elementwise(
        "philox",
        "NoiseParams",
        include_str!("../shaders/latent/philox.wgsl"),
        &[NOISE_SHAPE, PHILOX_BITS, SCHEDULE],
    )
};
/// Noise of N(0, 1).
pub static STANDARD_NORMAL: Kernel = elementwise(
    "standard_normal",
    "NoiseParams",
    include_str!("../shaders/latent/standard_normal.wgsl"),
    &[NOISE_SHAPE, PHILOX_BITS, QUANTISER, SCHEDULE],
);
/// A sample of a normal distribution.
pub static REPARAMETERISE_FORWARD: Kernel = elementwise(
    "reparameterise_forward",
    "ReparameteriseForwardParams",
    include_str!("../shaders/latent/reparameterise_forward.wgsl"),
    &[POSTERIOR],
);
/// Gradient of a distribution through its sample.
pub static REPARAMETERISE_BACKWARD: Kernel = elementwise(
    "reparameterise_backward",
    "ReparameteriseBackwardParams",
    include_str!("../shaders/latent/reparameterise_backward.wgsl"),
    &[POSTERIOR],
);
/// Divergence of normal distributions, and its gradient.
pub static GAUSSIAN_KL: Kernel = elementwise(
    "gaussian_kl",
    "GaussianKlParams",
    include_str!("../shaders/latent/gaussian_kl.wgsl"),
    &[POSTERIOR, SCHEDULE],
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

const fn packed(family: Family, shared: &'static [&'static str]) -> Kernel {
    Kernel {
        name: "packed_conv",
        text: include_str!("../shaders/conv/packed_conv.wgsl"),
        family,
        numbers: Numbers::Integer,
        mirrors: Mirrors::Always,
        shared,
        params: "PackedConvParams",
    }
}

const BYTES_FLOAT: &[&str] = &[
    DIVIDE,
    PLACES,
    WINDOWS,
    SQUARES,
    CODES,
    PACKED_BLOCKS,
    PACKED_FLOAT,
    REQUANTISE,
];
const BYTES_DOT4: &[&str] = &[
    DIVIDE,
    PLACES,
    WINDOWS,
    SQUARES,
    CODES,
    PACKED_BLOCKS,
    PACKED_DOT4,
    REQUANTISE,
];

/// y = x * w, shifted, over packed weights, in floats.
pub static PACKED_FLOAT_TILE: Kernel = packed(Family::MatrixBytes, BYTES_FLOAT);
/// The same where lanes share a product.
pub static PACKED_FLOAT_LANES: Kernel = packed(
    Family::Matrix(Operand::Columns),
    &[
        DIVIDE,
        PLACES,
        WINDOWS,
        SQUARES,
        CODES,
        PACKED_LANES,
        BLOCKS_FLOAT,
        REQUANTISE,
    ],
);
/// The same for few positions.
pub static PACKED_FLOAT_VECTOR: Kernel = packed(Family::MatrixVector, BYTES_FLOAT);
/// The same with products of packed bytes.
pub static PACKED_DOT4_TILE: Kernel = packed(Family::MatrixBytes, BYTES_DOT4);
/// The same for few positions.
pub static PACKED_DOT4_VECTOR: Kernel = packed(Family::MatrixVector, BYTES_DOT4);
/// The same with shifts and adds.
pub static PACKED_SHIFT_TILE: Kernel = packed(
    Family::MatrixRegister,
    &[
        DIVIDE,
        PLACES,
        WINDOWS,
        SQUARES,
        CODES,
        PACKED_SHIFT,
        REQUANTISE,
    ],
);
/// The same for few positions.
pub static PACKED_SHIFT_VECTOR: Kernel = packed(
    Family::MatrixVector,
    &[
        DIVIDE,
        PLACES,
        WINDOWS,
        SQUARES,
        CODES,
        PACKED_SHIFT,
        REQUANTISE,
    ],
);
/// Whole numbers as bytes.
pub static PACKED_BYTES: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..elementwise(
        "packed_bytes",
        "PackedBytesParams",
        include_str!("../shaders/conv/packed_bytes.wgsl"),
        &[DIVIDE],
    )
};
/// [`IM2COL`] of integers.
pub static PACKED_IM2COL: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..IM2COL
};
/// [`MAX_POOL_FORWARD`] of integers.
pub static PACKED_MAX_POOL: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..MAX_POOL_FORWARD
};

/// [`UPSAMPLE_FORWARD`] of integers.
pub static PACKED_UPSAMPLE: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..UPSAMPLE_FORWARD
};

/// All of them, in the order a training step meets them, then those of packed models.
pub static ALL: [&Kernel; 63] = [
    &QUANTISER_FORWARD,
    &LEVELS,
    &IM2COL,
    &SHIFTS,
    &CONV_FORWARD,
    &NORM_STATISTICS,
    &NORM_COMBINE,
    &NORM_RUNNING,
    &NORM_FORWARD,
    &MAX_POOL_FORWARD,
    &UPSAMPLE_FORWARD,
    &SOFTMAX_CROSS_ENTROPY,
    &PHILOX,
    &STANDARD_NORMAL,
    &REPARAMETERISE_FORWARD,
    &GAUSSIAN_KL,
    &BERNOULLI_LOSS,
    &GAUSSIAN_LOSS,
    &METRICS,
    &RELU_BACKWARD,
    &NORM_BACKWARD_SUMS,
    &NORM_GRADIENTS,
    &NORM_BACKWARD,
    &SUM_PARTIALS,
    &CONV_BACKWARD_WEIGHT,
    &CONV_BACKWARD_INPUT,
    &MAX_UNPOOL,
    &UPSAMPLE_BACKWARD,
    &REPARAMETERISE_BACKWARD,
    &QUANTISER_BACKWARD,
    &LEVELS_BACKWARD,
    &ADAM,
    &PACKED_BYTES,
    &PACKED_IM2COL,
    &PACKED_FLOAT_TILE,
    &PACKED_FLOAT_LANES,
    &PACKED_FLOAT_VECTOR,
    &PACKED_DOT4_TILE,
    &PACKED_DOT4_VECTOR,
    &PACKED_SHIFT_TILE,
    &PACKED_SHIFT_VECTOR,
    &PACKED_MAX_POOL,
    &PACKED_UPSAMPLE,
    &op::add::ADD,
    &op::activation::ACTIVATION_FORWARD,
    &op::activation::ACTIVATION_BACKWARD,
    &op::average_pool::AVERAGE_POOL_FORWARD,
    &op::average_pool::AVERAGE_POOL_BACKWARD,
    &op::window_max_pool::WINDOW_MAX_POOL_FORWARD,
    &op::window_max_pool::WINDOW_MAX_POOL_ARGMAX,
    &op::window_max_pool::WINDOW_MAX_POOL_BACKWARD,
    &op::group_conv::GROUP_CONV_FORWARD,
    &op::group_conv::GROUP_CONV_BACKWARD_INPUT,
    &op::group_conv::GROUP_CONV_BACKWARD_WEIGHT,
    &op::concat::CONCAT,
    &op::concat::CHANNELS,
    &op::dropout::DROPOUT,
    &op::add::PACKED_ADD,
    &op::activation::PACKED_ACTIVATION,
    &op::average_pool::PACKED_AVERAGE_POOL,
    &op::window_max_pool::PACKED_WINDOW_MAX_POOL,
    &op::concat::PACKED_CONCAT,
    &op::group_conv::PACKED_GROUP_CONV,
];
