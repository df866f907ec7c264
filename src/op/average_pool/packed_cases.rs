//! Cases of `packed_average_pool`.

use super::{PACKED_AVERAGE_POOL, packed_average_pool, packed_reference};
use crate::op::WindowShape;
use crate::op::packed_windows::{CASES, case_name};
use crate::verify::Case;
use crate::verify::packed::{integer_case, padded_integers};

pub(crate) fn cases() -> Vec<Case> {
    let (eight, sixteen) = ([-127, 127], [-32_767, 32_767]);
    let mut cases = Vec::new();
    for (number, shape) in CASES.into_iter().enumerate() {
        let shift = shape.window.iter().product::<usize>().ilog2() as i32;
        cases.push(case(shape, shift, [eight, sixteen][number % 2]));
    }
    cases.push(case(CASES[2], -1, sixteen));
    cases.push(case(CASES[3], 1, [0, 127]));
    cases
}

fn case(shape: WindowShape, shift: i32, limits: [i32; 2]) -> Case {
    let x = padded_integers("x", &shape.x(), shape.channels, limits[1]);
    integer_case(
        &PACKED_AVERAGE_POOL,
        format!("{}, shift {shift}, to {limits:?}", case_name(&shape)),
        vec![(shape.x().to_vec(), x)],
        shape.y().to_vec(),
        move |recording, i, y| {
            packed_average_pool(recording, "case", &shape, shift, limits, &i[0], y)
        },
        move |i| packed_reference::packed_average_pool(&shape, shift, limits, &i[0]),
    )
}
