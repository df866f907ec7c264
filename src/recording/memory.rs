//! Which buffers of working memory can lie in the same place.

use std::ops::RangeInclusive;

use super::copies::Step;
use super::{Call, Resource};
use crate::gpu::{Buffer, Path};

/// From the first to the last step that touches a buffer.
pub(crate) type Life = RangeInclusive<usize>;

/// A transient buffer, or two that lie side by side, and when they live.
pub(crate) struct Block {
    pub buffers: Vec<Buffer>,
    pub life: Life,
}

impl Block {
    pub fn rows(&self) -> u32 {
        self.buffers.iter().map(Buffer::rows).sum()
    }

    pub fn has(&self, buffer: &Buffer) -> bool {
        self.buffers.iter().any(|known| known.same(buffer))
    }
}

/// All transient buffers, with the `twins` among them in blocks of two.
pub(crate) fn blocks(
    steps: &[Step],
    calls: &[&Call],
    forms: &[Path],
    twins: &[[Buffer; 2]],
) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut touch = |buffer: &Buffer, at: usize| {
        if !buffer.is_transient() {
            return;
        }
        if let Some(block) = blocks.iter_mut().find(|block| block.has(buffer)) {
            block.life = *block.life.start()..=at;
            return;
        }
        let twins = twins
            .iter()
            .find(|pair| pair.iter().any(|half| half.same(buffer)));
        blocks.push(Block {
            buffers: twins.map_or_else(|| vec![buffer.clone()], |pair| pair.to_vec()),
            life: at..=at,
        });
    };
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Copy(copy) => touch(&copy.buffer, at),
            Step::Clear(buffer) => touch(buffer, at),
            Step::Exchange(_) => {}
            Step::Call(number) => {
                for (_, resource) in calls[*number].bindings(forms[*number]) {
                    match resource {
                        Resource::Buffer(buffer) | Resource::Texture(buffer) => touch(&buffer, at),
                        Resource::Both(pair) => pair.iter().for_each(|half| touch(half, at)),
                        Resource::Schedule => {}
                    }
                }
            }
        }
    }
    blocks
}

/// Places every block in one of `slabs` (rows of each) for as long as it lives, and appends slabs where none is free.
/// The largest go first, each into the smallest slab that holds it and is free all that time ("greedy by size":
/// Pisarchyk, Lee 2020, arXiv 2001.03288). Returns the number of the slab of each block.
pub(crate) fn place(slabs: &mut Vec<u32>, blocks: &[Block]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(blocks[*at].rows()));
    let mut taken: Vec<Vec<&Life>> = vec![Vec::new(); slabs.len()];
    let mut places = vec![0; blocks.len()];
    for number in order {
        let (rows, life) = (blocks[number].rows(), &blocks[number].life);
        let free = |at: &usize| {
            let apart = |other: &&Life| other.end() < life.start() || life.end() < other.start();
            slabs[*at] >= rows && taken[*at].iter().all(apart)
        };
        let found = (0..slabs.len()).filter(free).min_by_key(|at| slabs[*at]);
        let at = found.unwrap_or_else(|| {
            slabs.push(rows);
            taken.push(Vec::new());
            slabs.len() - 1
        });
        taken[at].push(life);
        places[number] = at;
    }
    places
}
