//! Dispatches as data: what a step does, recorded without a device.
//!
//! A [`Recording`] is a list of kernel calls over buffers that need no memory yet. Each of five passes reads it and decides
//! one thing:
//!
//! - `twins`: which calls of two networks one dispatch does;
//! - `cores`: how threads share every matrix product;
//! - `copies`: which calls read textures, and where buffers are copied into them;
//! - `memory`: which buffers of working memory can lie in the same place;
//! - `submissions`: where a list is too long for one submission.
//!
//! [`Gpu::plan`](crate::gpu::Gpu::plan) runs them and binds the result to a device.

mod call;
pub(crate) mod copies;
pub(crate) mod cores;
pub(crate) mod memory;
pub(crate) mod submissions;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod twins;

pub(crate) use call::Resource;
pub use call::{Call, Dispatch, Grid, Output, Write};

use std::ops::Range;

use crate::gpu::{Buffer, Path};
use crate::tensor::Tensor;

/// Something that a step does.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Calls a kernel.
    Call(Call),
    /// Sets a whole buffer to zero.
    Clear(Buffer),
    /// Waits until other processes have come to the same place.
    Exchange(Exchange),
}

/// Numbers that the processes of a run tell each other between two kernel calls. Everything lies in memory that stays.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Become the sums over all processes.
    pub sums: Vec<Tensor>,
    /// (shards, ...): every process has the rows of its own shards, and gets those of the others.
    pub gathers: Vec<Tensor>,
}

impl Exchange {
    /// All that it reads and writes.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.sums.iter().chain(&self.gathers)
    }

    pub(crate) fn touches(&self, buffer: &Buffer) -> bool {
        self.tensors().any(|tensor| tensor.buffer.same(buffer))
    }
}

/// A buffer whose content stays.
pub(crate) struct Constant {
    pub buffer: Buffer,
    /// What is written into it when the plan is made; nothing if it is there already.
    pub words: Vec<u32>,
}

/// A list of kernel calls for one form of kernels.
pub struct Recording {
    path: Path,
    pub(crate) commands: Vec<Command>,
    pub(crate) constants: Vec<Constant>,
    /// Whether kernels with few inputs read texture copies too.
    pub(crate) all_in_textures: bool,
    /// Which of its cores every product has; else what should be fastest.
    pub(crate) core: Option<usize>,
    /// The commands of two networks, see [`Recording::side_by_side`].
    pub(crate) sides: Vec<[Range<usize>; 2]>,
    /// Buffers of working memory that lie side by side.
    pub(crate) twins: Vec<[Buffer; 2]>,
}

impl Recording {
    /// An empty list.
    pub fn new(path: Path) -> Self {
        Self {
            path,
            commands: Vec::new(),
            constants: Vec::new(),
            all_in_textures: false,
            core: None,
            sides: Vec::new(),
            twins: Vec::new(),
        }
    }

    /// Appends what two functions record: the same calls for two networks, most of which need nothing of the other one. The
    /// second function gets what the first one returns.
    pub fn side_by_side<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> T,
        second: impl FnOnce(&mut Self, T),
    ) {
        let start = self.commands.len();
        let made = first(self);
        let middle = self.commands.len();
        second(self, made);
        self.sides
            .push([start..middle, middle..self.commands.len()]);
    }

    /// The same list without dispatches for two networks, which need working memory for both.
    pub(crate) fn one_after_the_other(mut self) -> Self {
        self.sides.clear();
        self
    }

    /// The form of the kernels.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Says that a buffer holds now what it will hold in every run of what is recorded, that no kernel
    /// writes it and that no other plan uses it. Where kernels read texture copies, the texture copy is made
    /// once and the buffer given up.
    pub fn constant(&mut self, buffer: &Buffer) {
        self.constants.push(Constant {
            buffer: buffer.clone(),
            words: Vec::new(),
        });
    }

    /// A tensor of these words, which no kernel writes.
    pub fn constant_of(&mut self, label: &str, shape: &[usize], words: &[u32]) -> Tensor {
        let tensor = Tensor::kept(label, shape);
        assert_eq!(words.len(), tensor.len(), "{label}: {shape:?}");
        self.constants.push(Constant {
            buffer: tensor.buffer.clone(),
            words: words.to_vec(),
        });
        tensor
    }

    pub(crate) fn is_constant(&self, buffer: &Buffer) -> bool {
        self.constants.iter().any(|known| known.buffer.same(buffer))
    }

    /// Lets kernels with few inputs read texture copies too: for tests of that form.
    pub(crate) fn all_in_textures(mut self) -> Self {
        self.all_in_textures = true;
        self
    }

    /// Lets threads share every product in way number `core` of [`Kernel::cores`](crate::gpu::Kernel::cores), or in the
    /// last: for tests of each.
    pub(crate) fn with_core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// Appends one kernel call.
    pub fn dispatch(&mut self, call: Dispatch<'_>) {
        self.commands.push(Command::Call(call.into()));
    }

    /// Appends setting a whole buffer to zero.
    pub fn clear(&mut self, buffer: &Buffer) {
        self.commands.push(Command::Clear(buffer.clone()));
    }

    /// Appends an exchange with other processes.
    ///
    /// # Panics
    /// If its tensors lie in working memory.
    pub fn exchange(&mut self, exchange: Exchange) {
        let stays = |tensor: &Tensor| !tensor.buffer.is_transient();
        assert!(exchange.tensors().all(stays), "{exchange:?}");
        self.commands.push(Command::Exchange(exchange));
    }

    /// The kernel calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.commands.iter().filter_map(|command| match command {
            Command::Call(call) => Some(call),
            Command::Clear(_) | Command::Exchange(_) => None,
        })
    }

    /// Every buffer it touches, in order of first use.
    pub fn buffers(&self) -> Vec<Buffer> {
        let mut buffers: Vec<Buffer> = Vec::new();
        let mut note = |buffer: &Buffer| {
            if !buffers.iter().any(|known| known.same(buffer)) {
                buffers.push(buffer.clone());
            }
        };
        for command in &self.commands {
            match command {
                Command::Clear(buffer) => note(buffer),
                Command::Exchange(exchange) => {
                    exchange.tensors().for_each(|tensor| note(&tensor.buffer));
                }
                Command::Call(call) => call.networks().flat_map(Call::slots).for_each(&mut note),
            }
        }
        buffers
    }
}
