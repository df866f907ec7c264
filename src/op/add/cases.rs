//! Cases of sums.

use super::{ADD, add, reference};
use crate::verify::{Case, Expected, noise};

/// One texel, sizes off a workgroup, an activation of a residual network.
const SHAPES: [[usize; 4]; 4] = [[1, 1, 1, 4], [3, 5, 7, 12], [1, 1, 65, 4], [4, 8, 8, 64]];

pub(crate) fn cases() -> Vec<Case> {
    let both = |shape| [of_shape(shape, false), of_shape(shape, true)];
    SHAPES.into_iter().flat_map(both).collect()
}

pub(crate) fn of_shape(shape: [usize; 4], relu: bool) -> Case {
    let count = shape.iter().product();
    let name = format!("{shape:?}{}", if relu { ", ReLU" } else { "" });
    Case::new(
        &ADD,
        name,
        vec![
            (noise("a", count), shape.to_vec()),
            (noise("b", count), shape.to_vec()),
        ],
        vec![shape.to_vec()],
        Box::new(move |recording, i, o| add(recording, "case", [&i[0], &i[1]], relu, &o[0])),
        Box::new(move |i, _| vec![Expected::exact(reference::add(&i[0], &i[1], relu))]),
    )
}
