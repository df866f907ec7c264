//! Codes of packed weights: a sign above an index, whose 0 stands for zero in a layer that has zeros.

/// Weights in units of the layer's smallest, from codes of `bits` bits (1 to 7), in their order.
pub fn unpacked(codes: &[u8], bits: u32, zero: bool) -> Vec<i64> {
    let weights = code_table(bits, zero);
    let highest = weights.len() - 1;
    codes
        .iter()
        .map(|code| weights[usize::from(*code) & highest])
        .collect()
}

/// The weight that every code of `bits` bits stands for: first those of positive weights.
fn code_table(bits: u32, zero: bool) -> Vec<i64> {
    let indices = 1 << (bits - 1);
    // Codes of a file that was accepted stay far below 2^62.
    let powers = (0..indices).map(|exponent| 1i64 << exponent.min(62));
    let sizes: Vec<i64> = zero.then_some(0).into_iter().chain(powers).collect();
    let sizes = &sizes[..indices];
    let negative: Vec<i64> = sizes.iter().map(|size| -size).collect();
    [sizes, &negative].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_is_a_sign_and_two_bits_may_be_ternary() {
        assert_eq!(unpacked(&[0, 1], 1, false), [1, -1]);
        assert_eq!(unpacked(&[0, 1, 2, 3], 2, true), [0, 1, 0, -1]);
        assert_eq!(unpacked(&[0, 1, 2, 3], 2, false), [1, 2, -1, -2]);
    }
}
