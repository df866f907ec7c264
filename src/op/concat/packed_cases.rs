//! Cases of `packed_concat`.

use super::{PACKED_CONCAT, packed_concat, packed_reference};
use crate::tensor::pad4;
use crate::verify::Case;
use crate::verify::packed::{integer_case, padded_integers};

pub(crate) fn cases() -> Vec<Case> {
    let (eight, sixteen) = ([-127, 127], [-32_767, 32_767]);
    let mut cases = vec![
        case(1, [1, 1], [0, 0], eight),
        case(67, [5, 131], [2, 0], sixteen),
        case(130, [4, 6], [-2, 3], eight),
        case(3, [131, 1], [1, -1], [0, 127]),
        // A skip of a U-Net, and a block of DenseNet-121.
        case(32 * 32, [64, 64], [1, 0], [0, 127]),
        case(2 * 7 * 7, [992, 32], [0, 1], [0, 127]),
    ];
    // Every place of the first channel of b within four, with every width of its last four.
    for a in 1..=8 {
        for b in 1..=5 {
            cases.push(case(5, [a, b], [1, 2], eight));
        }
    }
    cases
}

fn case(pixels: usize, channels: [usize; 2], shifts: [i32; 2], limits: [i32; 2]) -> Case {
    let of = |name, channels| {
        let shape = vec![pixels, pad4(channels)];
        let numbers = padded_integers(name, &shape, channels, limits[1]);
        (shape, numbers)
    };
    let ([a, b], [a_shift, b_shift]) = (channels, shifts);
    integer_case(
        &PACKED_CONCAT,
        format!("{pixels} pixels of {a} and {b}, shifts {shifts:?}, to {limits:?}"),
        vec![of("a", a), of("b", b)],
        vec![pixels, pad4(a + b)],
        move |recording, i, y| {
            let inputs = [(&i[0], a, a_shift), (&i[1], b, b_shift)];
            packed_concat(recording, "case", inputs, limits, y);
        },
        move |i| {
            packed_reference::packed_concat([(&i[0], a, a_shift), (&i[1], b, b_shift)], limits)
        },
    )
}
