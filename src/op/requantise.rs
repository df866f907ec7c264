//! What every integer operation asks of the shift and the limits it ends with.

/// Checks, in debug builds, what the integer kernels rely on. `shift` is the number of places to the right, or, if
/// negative, to the left. The limits must contain zero, because the padding of channels is computed like any other
/// channel and must stay zero.
pub(super) fn check(shifts: &[i32], [low, high]: [i32; 2]) {
    debug_assert!(shifts.iter().all(|shift| (-31..=31).contains(shift)));
    debug_assert!(low <= 0 && 0 <= high, "limits {low} to {high} without zero");
}
