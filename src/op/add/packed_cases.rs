//! Cases of `packed_add`.

use super::{PACKED_ADD, packed_add, packed_reference};
use crate::tensor::pad4;
use crate::verify::Case;
use crate::verify::packed::{integer_case, padded_integers};

pub(crate) fn cases() -> Vec<Case> {
    let (ramp, eight, sixteen) = ([0, 127], [-127, 127], [-32_767, 32_767]);
    vec![
        case([1, 1], [0, 0], 0, eight),
        case([1, 1], [0, 3], 4, ramp),
        case([67, 5], [4, 0], 5, eight),
        case([49, 131], [0, 1], 1, sixteen),
        case([130, 6], [2, 0], -3, sixteen),
        // The last addition of ResNet-50, for two images.
        case([2 * 7 * 7, 2048], [0, 2], 3, ramp),
    ]
}

fn case([pixels, channels]: [usize; 2], ups: [u32; 2], shift: i32, limits: [i32; 2]) -> Case {
    let shape = vec![pixels, pad4(channels)];
    let of = |name| {
        (
            shape.clone(),
            padded_integers(name, &shape, channels, limits[1]),
        )
    };
    integer_case(
        &PACKED_ADD,
        format!("{pixels} pixels of {channels}, up {ups:?}, shift {shift}, to {limits:?}"),
        vec![of("a"), of("b")],
        shape.clone(),
        move |recording, i, y| packed_add(recording, "case", [&i[0], &i[1]], ups, shift, limits, y),
        move |i| packed_reference::packed_add([&i[0], &i[1]], ups, shift, limits),
    )
}
