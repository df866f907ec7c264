//! Cases of `packed_window_max_pool`.

use super::{PACKED_WINDOW_MAX_POOL, packed_reference, packed_window_max_pool};
use crate::op::WindowShape;
use crate::op::packed_windows::{CASES, case_name};
use crate::verify::Case;
use crate::verify::packed::{integer_case, padded_integers};

pub(crate) fn cases() -> Vec<Case> {
    let signed = CASES.into_iter().map(|shape| case(shape, false));
    // Padding, which is not read, must not win over negative numbers.
    let negative = [CASES[1], CASES[2]].map(|shape| case(shape, true));
    signed.chain(negative).collect()
}

fn case(shape: WindowShape, negative: bool) -> Case {
    let mut x = padded_integers("x", &shape.x(), shape.channels, 32_767);
    if negative {
        x.iter_mut().for_each(|v| *v = -v.abs());
    }
    let sign = if negative { ", negative" } else { "" };
    integer_case(
        &PACKED_WINDOW_MAX_POOL,
        format!("{}{sign}", case_name(&shape)),
        vec![(shape.x().to_vec(), x)],
        shape.y().to_vec(),
        move |recording, i, y| packed_window_max_pool(recording, "case", &shape, &i[0], y),
        move |i| packed_reference::packed_window_max_pool(&shape, &i[0]),
    )
}
