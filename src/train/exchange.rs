//! What the ranks of a run tell each other within a step.

use std::cell::RefCell;
use std::collections::HashMap;

use pollster::block_on;

use crate::gpu::{Gpu, GpuError, Readback};
use crate::ranks::{Communicator, gather_numbers, sum_over};
use crate::recording::Exchange;
use crate::tensor::Tensor;

/// Carries numbers between a device and the other ranks.
pub(super) struct Exchanger<'g> {
    gpu: &'g Gpu,
    pub ranks: &'g dyn Communicator,
    /// Memory that gradients are read back into, by the number of their floats.
    staging: RefCell<HashMap<usize, Readback>>,
}

impl<'g> Exchanger<'g> {
    pub fn new(gpu: &'g Gpu, ranks: &'g dyn Communicator) -> Self {
        Self {
            gpu,
            ranks,
            staging: RefCell::default(),
        }
    }

    /// Waits for what was submitted, for all other ranks, and writes what they know.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub fn run(&self, exchange: &Exchange) -> Result<(), GpuError> {
        // Rows of this rank's shards.
        let own = exchange.gathers.iter().map(|tensor| {
            let rows = tensor.shape[0] / self.ranks.count();
            tensor.range(self.ranks.rank() * rows..(self.ranks.rank() + 1) * rows)
        });
        let read: Vec<Tensor> = exchange.sums.iter().cloned().chain(own).collect();
        let mut numbers = self.read(&read)?;
        let summed = exchange.sums.iter().map(Tensor::len).sum();
        let (sums, own) = numbers.split_at_mut(summed);
        if !sums.is_empty() {
            sum_over(self.ranks, sums);
        }
        self.write(&exchange.sums, sums);
        if !own.is_empty() {
            let all = gather_numbers(self.ranks, own);
            self.write_gathered(&exchange.gathers, &all);
        }
        Ok(())
    }

    fn read(&self, tensors: &[Tensor]) -> Result<Vec<f32>, GpuError> {
        let floats = tensors.iter().map(Tensor::len).sum();
        let mut staging = self.staging.borrow_mut();
        let room = staging
            .entry(floats)
            .or_insert_with(|| Readback::new(self.gpu, floats));
        block_on(room.read_tensors(self.gpu, tensors))
    }

    fn write(&self, tensors: &[Tensor], numbers: &[f32]) {
        let mut rest = numbers;
        for tensor in tensors {
            let (values, behind) = rest.split_at(tensor.len());
            tensor.write(self.gpu, values);
            rest = behind;
        }
    }

    /// `all` has of each rank its rows of all tensors; a tensor has the rows of all ranks.
    fn write_gathered(&self, tensors: &[Tensor], all: &[f32]) {
        let count = self.ranks.count();
        let of_rank = all.len() / count;
        let mut first = 0;
        for tensor in tensors {
            let part = tensor.len() / count;
            let rows = (0..count).flat_map(|rank| &all[rank * of_rank + first..][..part]);
            tensor.write(self.gpu, &rows.copied().collect::<Vec<f32>>());
            first += part;
        }
    }
}
