//! Working memory: transient buffers that live at different times share it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::buffer::Memory;
use super::{Buffer, Gpu, GpuError};

/// Memory for the transient buffers of plans that never run at the same time: they all place
/// theirs in it.
#[derive(Default)]
pub struct Pool {
    slabs: Vec<Arc<Memory>>,
    /// Buffers placed so far, and their bytes.
    placed: (usize, u64),
}

impl Pool {
    /// Places every buffer for the commands in which it lives. The largest go first, each into the
    /// smallest slab that holds it and is free all that time ("greedy by size": Pisarchyk, Lee
    /// 2020, arXiv 2001.03288).
    pub(super) fn place(
        &mut self,
        gpu: &Gpu,
        mut lives: Vec<(Buffer, RangeInclusive<usize>)>,
    ) -> Result<(), GpuError> {
        lives.sort_by_key(|(buffer, _)| std::cmp::Reverse(buffer.rows()));
        let mut taken: Vec<Vec<RangeInclusive<usize>>> = vec![Vec::new(); self.slabs.len()];
        for (buffer, life) in lives {
            buffer.check_size(gpu)?;
            let free = |at: &usize| {
                self.slabs[*at].rows >= buffer.rows()
                    && taken[*at]
                        .iter()
                        .all(|other| other.end() < life.start() || life.end() < other.start())
            };
            let found = (0..self.slabs.len())
                .filter(free)
                .min_by_key(|at| self.slabs[*at].rows);
            let at = match found {
                Some(at) => at,
                None => {
                    let label = format!("working memory {}", self.slabs.len() + 1);
                    let slab = Memory::new(gpu, &label, buffer.rows())?;
                    self.slabs.push(Arc::new(slab));
                    taken.push(Vec::new());
                    self.slabs.len() - 1
                }
            };
            self.placed = (self.placed.0 + 1, self.placed.1 + buffer.bytes());
            buffer.place(self.slabs[at].clone());
            taken[at].push(life);
        }
        Ok(())
    }

    /// Bytes of every piece, largest first, and of its mirror texture.
    pub fn slabs(&self) -> Vec<[u64; 2]> {
        let mut slabs: Vec<[u64; 2]> = self
            .slabs
            .iter()
            .map(|slab| [slab.bytes(), slab.mirror_bytes()])
            .collect();
        slabs.sort_by_key(|slab| std::cmp::Reverse(slab[0]));
        slabs
    }

    /// How many buffers were placed, and how many bytes they would take one beside the other.
    pub fn placed(&self) -> (usize, u64) {
        self.placed
    }
}
