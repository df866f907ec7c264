//! The entries of the kernels.

use crate::gpu::{Family, Kernel, Numbers, Operand, ReadsTextures};
use crate::kernels::{
    BLOCKS_FLOAT, CODES, CONV_SHAPE, DIVIDE, PACKED_BLOCKS, PACKED_DOT4, PACKED_FLOAT,
    PACKED_LANES, PACKED_SHIFT, PLACES, REQUANTISE, SHIFT_WINDOWS, SPLITS, SQUARES, WINDOWS,
    elementwise, matrix,
};

/// y = x * w + bias, ReLU.
pub static CONV_FORWARD: Kernel = matrix(
    "conv_forward",
    include_str!("../../../shaders/conv/conv_forward.wgsl"),
    &[
        CONV_SHAPE,
        DIVIDE,
        PLACES,
        SPLITS,
        WINDOWS,
        SHIFT_WINDOWS,
        SQUARES,
        BLOCKS_FLOAT,
    ],
);
/// Gradient of x.
pub static CONV_BACKWARD_INPUT: Kernel = matrix(
    "conv_backward_input",
    include_str!("../../../shaders/conv/conv_backward_input.wgsl"),
    &[CONV_SHAPE, DIVIDE, PLACES, SPLITS, BLOCKS_FLOAT],
);
/// Gradients of w and of a bias, in partial sums.
pub static CONV_BACKWARD_WEIGHT: Kernel = Kernel {
    family: Family::Matrix(Operand::Columns),
    ..matrix(
        "conv_backward_weight",
        include_str!("../../../shaders/conv/conv_backward_weight.wgsl"),
        &[CONV_SHAPE, DIVIDE, SHIFT_WINDOWS, SQUARES, BLOCKS_FLOAT],
    )
};
/// Windows as rows.
pub static IM2COL: Kernel = Kernel {
    textures: ReadsTextures::Always,
    ..elementwise(
        "im2col",
        "Im2colParams",
        include_str!("../../../shaders/conv/im2col.wgsl"),
        &[DIVIDE],
    )
};
/// Shifted copies of images.
pub static SHIFTS: Kernel = Kernel {
    textures: ReadsTextures::Always,
    ..elementwise(
        "shifts",
        "ShiftsParams",
        include_str!("../../../shaders/conv/shifts.wgsl"),
        &[DIVIDE],
    )
};
/// The sum of partial sums.
pub static SUM_PARTIALS: Kernel = Kernel {
    textures: ReadsTextures::Never,
    ..elementwise(
        "sum_partials",
        "SumParams",
        include_str!("../../../shaders/conv/sum_partials.wgsl"),
        &[],
    )
};
const fn packed(family: Family, shared: &'static [&'static str]) -> Kernel {
    Kernel {
        name: "packed_conv",
        text: include_str!("../../../shaders/conv/packed_conv.wgsl"),
        family,
        numbers: Numbers::Integer,
        textures: ReadsTextures::Always,
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
pub static PACKED_FLOAT_TILE: Kernel = packed(Family::MatrixPacked, BYTES_FLOAT);
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
pub static PACKED_DOT4_TILE: Kernel = packed(Family::MatrixPacked, BYTES_DOT4);
/// The same for few positions.
pub static PACKED_DOT4_VECTOR: Kernel = packed(Family::MatrixVector, BYTES_DOT4);
/// The same with shifts and adds.
pub static PACKED_SHIFT_TILE: Kernel = packed(
    Family::MatrixPacked,
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
        include_str!("../../../shaders/conv/packed_bytes.wgsl"),
        &[DIVIDE],
    )
};
/// [`IM2COL`] of integers.
pub static PACKED_IM2COL: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..IM2COL
};
