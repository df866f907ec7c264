//! Cases of `packed_group_conv`.

use super::{GroupCodes, PACKED_GROUP_CONV, packed_group_conv, packed_reference};
use crate::op::ConvShape;
use crate::op::GroupShape;
use crate::reference::packed_unpack;
use crate::verify::Case;
use crate::verify::packed::{codes, integer_case, integers, padded_integers};

/// A layer with random weights.
#[derive(Clone, Copy)]
struct Layer {
    /// Batch, height, width, inputs, outputs, groups.
    sizes: [usize; 6],
    /// Kernel height and width, stride, padding.
    window: [usize; 4],
    /// Bits of a code.
    bits: u32,
    /// Whether there are zeros.
    zero: bool,
    /// The largest exponent, counted from the smallest.
    top: u32,
    /// Places to the right.
    shift: i32,
}

const fn layer(
    sizes: [usize; 6],
    window: [usize; 4],
    (bits, zero, top): (u32, bool, u32),
    shift: i32,
) -> Layer {
    Layer {
        sizes,
        window,
        bits,
        zero,
        top,
        shift,
    }
}

const LAYERS: [Layer; 17] = [
    // Depthwise.
    layer([1, 1, 1, 1, 1, 1], [1, 1, 1, 0], (1, false, 0), 0),
    layer([2, 5, 7, 6, 6, 6], [3, 3, 1, 1], (4, true, 6), 9),
    layer([3, 9, 6, 5, 5, 5], [3, 3, 2, 1], (2, true, 0), -1),
    layer([1, 8, 11, 131, 131, 131], [5, 3, 2, 2], (5, true, 12), 14),
    layer([2, 4, 4, 8, 8, 8], [2, 2, 3, 0], (6, false, 20), 18),
    // Groups of whole texels.
    layer([2, 5, 6, 8, 12, 1], [3, 3, 1, 1], (3, true, 2), 6),
    layer([1, 7, 9, 24, 16, 2], [3, 2, 2, 1], (4, false, 7), 12),
    layer([3, 3, 5, 64, 128, 8], [1, 1, 1, 0], (1, false, 0), 3),
    // Groups of any size: two outputs for each input, one output for each group, neither a texel.
    layer([2, 5, 6, 3, 6, 3], [3, 3, 1, 1], (3, true, 2), 5),
    layer([1, 6, 5, 12, 3, 3], [3, 3, 2, 1], (2, false, 1), 5),
    layer([2, 4, 9, 10, 14, 2], [3, 3, 1, 1], (5, true, 9), 11),
    layer([1, 3, 3, 7, 5, 1], [2, 3, 1, 2], (2, true, 0), 3),
    layer([65, 1, 1, 70, 33, 1], [1, 1, 1, 0], (3, false, 3), -2),
    layer([1, 5, 5, 18, 8, 2], [3, 3, 1, 1], (8, true, 11), 12),
    // MobileNetV2's first and a later depthwise layer, ResNeXt's first of 32 groups.
    layer([1, 112, 112, 32, 32, 32], [3, 3, 1, 1], (3, true, 2), 4),
    layer([2, 14, 14, 576, 576, 576], [3, 3, 2, 1], (4, true, 6), 8),
    layer([1, 56, 56, 128, 128, 32], [3, 3, 1, 1], (3, false, 3), 7),
];

pub(crate) fn cases() -> Vec<Case> {
    let numbered = LAYERS.into_iter().enumerate();
    numbered
        .map(|(number, layer)| case(layer, [127, 32_767][number % 2]))
        .collect()
}

fn case(layer: Layer, most: i32) -> Case {
    let [batch, height, width, inputs, outputs, groups] = layer.sizes;
    let [kernel_height, kernel_width, stride, padding] = layer.window;
    let conv = ConvShape {
        batch,
        input_height: height,
        input_width: width,
        input_channels: inputs,
        output_channels: outputs,
        kernel_height,
        kernel_width,
        stride,
        padding: [padding; 2],
    };
    let s = GroupShape { conv, groups };
    let window = kernel_height * kernel_width * s.inputs_per_group();
    // Inputs so small that no sum leaves 32 bits.
    let room = i64::from(i32::MAX / 4) >> layer.top >> (2 - layer.shift).max(0);
    let most = i64::from(most).min(room / window as i64) as i32;
    let form = GroupCodes::new(&s, layer.bits, layer.zero);
    let random = codes(
        "codes",
        outputs * window,
        layer.bits,
        (layer.zero, layer.top),
    );
    let words = form.store(&s, &random);
    let w = packed_unpack(&random, layer.bits, layer.zero);
    let stored = conv.y()[3];
    let bias = integers("bias", stored, 5000);
    let shifts: Vec<i32> = (0..stored as i32)
        .map(|o| layer.shift + o % 3 - 1)
        .collect();
    let limits = [if stored % 8 == 4 { 0 } else { -most }, most];
    integer_case(
        &PACKED_GROUP_CONV,
        format!(
            "{batch}x{height}x{width}x{inputs} to {outputs} in {groups} groups, {kernel_height}x{kernel_width}, stride {stride}, \
             padding {padding}, {} bits{}, exponents to {}, |x| <= {most}",
            layer.bits,
            if layer.zero { " with zero" } else { "" },
            layer.top,
        ),
        vec![
            (
                conv.x().to_vec(),
                padded_integers("x", &conv.x(), inputs, most),
            ),
            (form.shape().to_vec(), bytemuck::cast_vec(words)),
            (vec![2, stored], [bias, shifts].concat()),
        ],
        conv.y().to_vec(),
        move |recording, i, y| {
            packed_group_conv(
                recording,
                "case",
                &s,
                &form,
                [&i[0], &i[1], &i[2]],
                limits,
                y,
            );
        },
        move |i| {
            let table = i[2].split_at(stored);
            let limits = limits.map(i64::from);
            packed_reference::packed_group_conv(&s, &i[0], &w, [table.0, table.1], limits)
        },
    )
}
