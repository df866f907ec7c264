//! Working memory: transient buffers that live at different times share it.

use std::sync::Arc;

use super::buffer::Memory;
use super::{Gpu, GpuError};
use crate::recording::memory::{self, Block};

/// Memory for the transient buffers of plans that never run at the same time: they all place
/// theirs in it.
#[derive(Default)]
pub struct Pool {
    slabs: Vec<Arc<Memory>>,
    /// Buffers placed so far, and their bytes.
    placed: (usize, u64),
}

impl Pool {
    /// Gives every buffer a place for the steps in which it lives, see [`memory::place`].
    pub(super) fn place(&mut self, gpu: &Gpu, blocks: &[Block]) -> Result<(), GpuError> {
        for buffer in blocks.iter().flat_map(|block| &block.buffers) {
            buffer.check_size(gpu)?;
        }
        let mut rows: Vec<u32> = self.slabs.iter().map(|slab| slab.rows).collect();
        let places = memory::place(&mut rows, blocks);
        for rows in &rows[self.slabs.len()..] {
            let label = format!("working memory {}", self.slabs.len() + 1);
            let slab = Memory::new(gpu, &label, *rows)?;
            self.slabs.push(Arc::new(slab));
        }
        for (block, at) in blocks.iter().zip(places) {
            let slab = || self.slabs[at].clone();
            for buffer in &block.buffers {
                self.placed = (self.placed.0 + 1, self.placed.1 + buffer.bytes());
            }
            match &block.buffers[..] {
                [first, second] => {
                    first.place_half(slab(), 0);
                    second.place_half(slab(), first.rows());
                }
                buffers => buffers.iter().for_each(|buffer| buffer.place(slab())),
            }
        }
        Ok(())
    }

    /// Bytes of every piece, largest first, and of its texture copy.
    pub fn slabs(&self) -> Vec<[u64; 2]> {
        let mut slabs: Vec<[u64; 2]> = self
            .slabs
            .iter()
            .map(|slab| [slab.bytes(), slab.texture_bytes()])
            .collect();
        slabs.sort_by_key(|slab| std::cmp::Reverse(slab[0]));
        slabs
    }

    /// How many buffers were placed, and how many bytes they would take one beside the other.
    pub fn placed(&self) -> (usize, u64) {
        self.placed
    }
}
