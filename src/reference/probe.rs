//! The chains of the probe.

/// y (threads, 4): the sums of three numbers, each after 16 `rounds` of x = x * factor + term.
pub fn multiply_add(threads: usize, rounds: usize, [factor, term]: [f64; 2]) -> Vec<f64> {
    let chain = |first: f64| (0..16 * rounds).fold(first, |x, _| x * factor + term);
    let number = |i: usize| {
        let first = (i % 4) as f64 / 4.0 + (i / 4 % 64) as f64 / 64.0;
        chain(first) + chain(first + 1.0) + chain(first + 2.0)
    };
    (0..4 * threads).map(number).collect()
}
