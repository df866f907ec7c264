//! Cases of packed convolutions. Integers agree exactly or not at all.

use super::cases::{name as name_of, shape};
use super::entries;
use crate::op::{self, Arithmetic, CodeShape, ConvShape, Sharing};
use crate::optimiser::Schedule;
use crate::reference;
use crate::tensor::pad4;
use crate::verify::packed::{codes, exactly, integers};
use crate::verify::{Case, Expected, Tolerance, bits};

/// (shape, bits of a code, zeros, largest exponent, places to the right)
const LAYERS: [([usize; 9], u32, bool, u32, i32); 13] = [
    ([1, 1, 1, 1, 1, 1, 1, 1, 0], 1, false, 0, 0),
    ([1, 1, 1, 5, 3, 1, 1, 1, 0], 2, true, 0, 3),
    ([3, 1, 1, 131, 70, 1, 1, 1, 0], 2, false, 1, 6),
    ([65, 1, 1, 67, 10, 1, 1, 1, 0], 3, true, 2, -2),
    ([1, 1, 1, 800, 50, 1, 1, 1, 0], 1, false, 0, 7),
    ([2, 5, 7, 3, 6, 3, 3, 1, 1], 4, true, 6, 9),
    ([3, 9, 6, 4, 9, 3, 3, 2, 1], 4, false, 7, 8),
    ([1, 7, 7, 6, 5, 5, 3, 3, 2], 5, true, 12, 16),
    ([2, 2, 2, 130, 33, 3, 3, 1, 1], 2, true, 0, 5),
    ([5, 8, 8, 20, 64, 5, 5, 1, 0], 3, false, 3, 10),
    ([17, 4, 3, 20, 36, 3, 3, 1, 1], 2, true, 0, 5),
    ([19, 7, 6, 4, 9, 4, 4, 2, 1], 3, true, 2, 6),
    ([16, 2, 2, 130, 8, 3, 3, 1, 1], 1, false, 0, 4),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, (sizes, bits, zero, top, shift)) in LAYERS.into_iter().enumerate() {
        let most = [127, 32_767][number % 2];
        cases.extend(of_layer(shape(sizes), bits, (zero, top), shift, most));
    }
    let rectangular = ConvShape {
        padding: [0, 2],
        ..shape([17, 5, 4, 20, 9, 3, 5, 1, 0])
    };
    cases.extend(of_layer(rectangular, 3, (true, 2), 6, 127));
    for (rows, channels) in [(1, 4), (3, 16), (67, 20), (5, 128)] {
        cases.push(to_bytes(rows, channels));
    }
    cases.push(im2col(shape([3, 9, 9, 3, 1, 3, 3, 2, 1])));
    cases
}

/// Logical weights put where a stored shape has them.
fn stored(shape: &ConvShape, weights: &[i64]) -> Vec<i64> {
    let [outputs, height, width, inputs] = shape.w();
    let mut stored = vec![0; outputs * height * width * inputs];
    for (i, w) in weights.iter().enumerate() {
        let row = i / shape.input_channels;
        stored[row * inputs + i % shape.input_channels] = *w;
    }
    stored
}

/// A layer in every arithmetic that may be asked of it, in both sharings.
pub(crate) fn of_layer(
    s: ConvShape,
    code_bits: u32,
    (zero, top): (bool, u32),
    shift: i32,
    most: i32,
) -> Vec<Case> {
    let mut cases = Vec::new();
    let [outputs, height, width, inputs] = s.w();
    let largest = ((height * width * inputs) as i64 * i64::from(most)) << top;
    if (largest << (1 - shift).max(0)) + 5000 > i64::from(i32::MAX) {
        return cases;
    }
    for arithmetic in Arithmetic::ALL {
        let allowed = match arithmetic {
            Arithmetic::Shift => true,
            Arithmetic::Dot4 => most == 127 && top <= 6,
            Arithmetic::Float => most == 127 && top <= 6 && largest < 1 << 24,
        };
        for sharing in Sharing::ALL.into_iter().filter(|_| allowed) {
            let name = format!(
                "{}, {}, {}, {code_bits} bits{}, exponents to {top}, |x| <= {most}",
                arithmetic.name(),
                sharing.name(),
                name_of(&s),
                if zero { " with zero" } else { "" },
            );
            let mut x = integers("x", s.x().iter().product(), most);
            for (i, v) in x.iter_mut().enumerate() {
                if i % s.x()[3] >= s.input_channels {
                    *v = 0;
                }
            }
            let count = s.output_channels * height * width * s.input_channels;
            let codes = codes("codes", count, code_bits, (zero, top));
            let w = stored(&s, &reference::packed_unpack(&codes, code_bits, zero));
            let form = CodeShape::new(&s, code_bits, zero, arithmetic);
            let words = form.store(&s, &codes, code_bits);
            let bias = integers("bias", outputs, 5000);
            let shifts: Vec<i32> = (0..outputs as i32).map(|o| shift + o % 3 - 1).collect();
            let limits = [if outputs % 8 == 4 { 0 } else { -most }, most];
            let kernel = match (arithmetic, sharing) {
                (Arithmetic::Shift, Sharing::Tile) => &entries::PACKED_SHIFT_TILE,
                (Arithmetic::Shift, Sharing::Vector) => &entries::PACKED_SHIFT_VECTOR,
                (Arithmetic::Dot4, Sharing::Tile) => &entries::PACKED_DOT4_TILE,
                (Arithmetic::Dot4, Sharing::Vector) => &entries::PACKED_DOT4_VECTOR,
                (Arithmetic::Float, Sharing::Tile) => &entries::PACKED_FLOAT_TILE,
                (Arithmetic::Float, Sharing::Vector) => &entries::PACKED_FLOAT_VECTOR,
            };
            cases.push(Case {
                kernel,
                name,
                inputs: vec![
                    bits(x),
                    bits(bytemuck::cast_vec(words)),
                    bits([bias, shifts].concat()),
                ],
                input_shapes: vec![s.x().to_vec(), form.codes(&s).to_vec(), vec![2, outputs]],
                output_shapes: vec![s.y().to_vec()],
                initial: vec![None],
                schedule: Schedule::default(),
                record: Box::new(move |recording, i, o| {
                    let how = (arithmetic, sharing, form);
                    let operands = [&i[0], &i[1], &i[2]];
                    op::packed_conv(recording, "case", &s, how, operands, limits, &o[0]);
                }),
                expected: Box::new(move |i, _| {
                    let whole = |v: &[f64]| v.iter().map(|v| *v as i64).collect::<Vec<i64>>();
                    let (x, table) = (whole(&i[0]), whole(&i[2]));
                    let (bias, shift) = table.split_at(outputs);
                    let limits = limits.map(i64::from);
                    let y = reference::packed_conv(&s, &x, &w, [bias, shift], limits);
                    vec![exactly(&y)]
                }),
            });
        }
    }
    cases
}

fn to_bytes(rows: usize, channels: usize) -> Case {
    let words = channels.div_ceil(16) * 4;
    Case {
        kernel: &entries::PACKED_BYTES,
        name: format!("{rows} rows of {channels}"),
        inputs: vec![bits(integers("x", rows * channels, 127))],
        input_shapes: vec![vec![rows, channels]],
        output_shapes: vec![vec![rows, words]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(|recording, i, o| op::packed_bytes(recording, "case", &i[0], &o[0])),
        expected: Box::new(move |i, _| {
            let x: Vec<i64> = i[0].iter().map(|v| *v as i64).collect();
            let bytes = reference::packed_bytes(&x, channels, words);
            let wide: Vec<i64> = bytes.iter().map(|v| i64::from(*v)).collect();
            vec![exactly(&wide)]
        }),
    }
}

fn im2col(s: ConvShape) -> Case {
    let x = pad4(s.batch * s.input_height * s.input_width * s.input_channels);
    let rows = s.as_rows();
    let shape = [rows.batch, pad4(rows.input_channels)];
    Case {
        kernel: &entries::PACKED_IM2COL,
        name: "integers".to_owned(),
        inputs: vec![bits(integers("x", x, 127))],
        input_shapes: vec![vec![x]],
        output_shapes: vec![shape.to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::packed_im2col(recording, "case", &s, &i[0], &o[0])
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::im2col(&s, &i[0], shape[1]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}
