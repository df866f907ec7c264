//! Which buffers of working memory can lie in the same place.

use std::ops::RangeInclusive;

use super::copies::Step;
use super::{Call, Resource};
use crate::gpu::{Buffer, Path};

/// From the first to the last step that touches a buffer.
pub(crate) type Life = RangeInclusive<usize>;

/// The life of every transient buffer.
pub(crate) fn lives(steps: &[Step], calls: &[&Call], forms: &[Path]) -> Vec<(Buffer, Life)> {
    let mut lives: Vec<(Buffer, Life)> = Vec::new();
    let mut touch = |buffer: &Buffer, at: usize| {
        if !buffer.is_transient() {
            return;
        }
        match lives.iter_mut().find(|(known, _)| known.same(buffer)) {
            Some((_, life)) => *life = *life.start()..=at,
            None => lives.push((buffer.clone(), at..=at)),
        }
    };
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Copy(copy) => touch(&copy.buffer, at),
            Step::Clear(buffer) => touch(buffer, at),
            Step::Exchange(_) => {}
            Step::Call(number) => {
                for (_, resource) in calls[*number].bindings(forms[*number]) {
                    if let Resource::Buffer(buffer) | Resource::Mirror(buffer) = resource {
                        touch(&buffer, at);
                    }
                }
            }
        }
    }
    lives
}

/// Places every buffer in one of `slabs` (rows of each) for as long as it lives, and appends slabs where none is free.
/// The largest go first, each into the smallest slab that holds it and is free all that time ("greedy by size":
/// Pisarchyk, Lee 2020, arXiv 2001.03288). Returns the number of the slab of each buffer.
pub(crate) fn place(slabs: &mut Vec<u32>, lives: &[(Buffer, Life)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(lives[*at].0.rows()));
    let mut taken: Vec<Vec<&Life>> = vec![Vec::new(); slabs.len()];
    let mut places = vec![0; lives.len()];
    for number in order {
        let (buffer, life) = &lives[number];
        let free = |at: &usize| {
            let apart = |other: &&Life| other.end() < life.start() || life.end() < other.start();
            slabs[*at] >= buffer.rows() && taken[*at].iter().all(apart)
        };
        let found = (0..slabs.len()).filter(free).min_by_key(|at| slabs[*at]);
        let at = found.unwrap_or_else(|| {
            slabs.push(buffer.rows());
            taken.push(Vec::new());
            slabs.len() - 1
        });
        taken[at].push(life);
        places[number] = at;
    }
    places
}
