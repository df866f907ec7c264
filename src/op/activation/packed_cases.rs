//! Cases of `packed_activation`.

use super::{PACKED_ACTIVATION, packed_activation, packed_reference};
use crate::tensor::pad4;
use crate::verify::Case;
use crate::verify::packed::{integer_case, padded_integers};

pub(crate) fn cases() -> Vec<Case> {
    let (eight, sixteen) = ([-127, 127], [-32_767, 32_767]);
    vec![
        // ReLU, and ReLU6 in units of a sixteenth.
        case([1, 1], 0, 0, [0, 127]),
        case([67, 5], 0, 2, [0, 96]),
        case([1, 10], 0, -2, [0, 32_767]),
        // Leaky ReLU of slope a half and an eighth.
        case([1, 1], 1, 1, eight),
        case([67, 5], 3, 3, eight),
        case([49, 131], 3, 6, sixteen),
        // A clip on both sides.
        case([130, 6], 0, 1, [-50, 20]),
        // The first activation of MobileNetV2.
        case([112 * 112, 32], 0, 0, [0, 96]),
    ]
}

fn case([pixels, channels]: [usize; 2], leak: u32, shift: i32, limits: [i32; 2]) -> Case {
    let shape = vec![pixels, pad4(channels)];
    let most = if limits[1] > 127 { 32_767 } else { 127 };
    integer_case(
        &PACKED_ACTIVATION,
        format!("{pixels} pixels of {channels}, leak {leak}, shift {shift}, to {limits:?}"),
        vec![(shape.clone(), padded_integers("x", &shape, channels, most))],
        shape,
        move |recording, i, y| packed_activation(recording, "case", &i[0], leak, shift, limits, y),
        move |i| packed_reference::packed_activation(&i[0], leak, shift, limits),
    )
}
