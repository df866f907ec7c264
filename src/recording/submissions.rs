//! Where a list is too long for one submission.

use std::ops::Range;

use super::Call;
use super::copies::Step;

/// Cuts the list before each call that would make a submission hold more than `most` floating-point operations, and around
/// each exchange with other processes.
pub(crate) fn split(steps: &[Step], calls: &[&Call], most: u64) -> Vec<Range<usize>> {
    let mut submissions = Vec::new();
    let (mut first, mut flops) = (0, 0);
    for (at, step) in steps.iter().enumerate() {
        let more = match step {
            Step::Call(number) => calls[*number].all_flops(),
            Step::Exchange(_) => {
                submissions.extend((first < at).then_some(first..at));
                submissions.push(at..at + 1);
                (first, flops) = (at + 1, 0);
                continue;
            }
            Step::Copy(_) | Step::Clear(_) => continue,
        };
        if flops + more > most && flops > 0 {
            submissions.push(first..at);
            (first, flops) = (at, 0);
        }
        flops += more;
    }
    if first < steps.len() || submissions.is_empty() {
        submissions.push(first..steps.len());
    }
    submissions
}
