//! Where a list is too long for one submission.

use std::ops::Range;

use super::Call;
use super::copies::Step;

/// Cuts the list before each call that would make a submission hold more than `most` floating-point operations.
pub(crate) fn split(steps: &[Step], calls: &[&Call], most: u64) -> Vec<Range<usize>> {
    let mut submissions = Vec::new();
    let (mut first, mut flops) = (0, 0);
    for (at, step) in steps.iter().enumerate() {
        let Step::Call(number) = step else {
            continue;
        };
        let more = calls[*number].flops;
        if flops + more > most && flops > 0 {
            submissions.push(first..at);
            (first, flops) = (at, 0);
        }
        flops += more;
    }
    submissions.push(first..steps.len());
    submissions
}
