//! One kernel call, as data.

use std::ops::Range;

use crate::gpu::{
    Buffer, Kernel, MAX_GROUPS, Operands, Path, Storage, TEXELS_PER_ROW, Twins, WORKGROUP,
};
use crate::tensor::Tensor;

/// An output of a dispatch.
#[derive(Clone, Copy)]
pub enum Write<'a> {
    /// Overwritten without looking.
    New(&'a Tensor),
    /// Two ranges of one buffer, both overwritten without looking.
    Both(&'a Tensor, &'a Tensor),
    /// Read as `previous_N` and then overwritten.
    Update(&'a Tensor),
}

/// How many threads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// At least this many threads in workgroups of [`WORKGROUP`]; a large number is folded into
    /// y, and the kernel's `thread_index` unfolds it.
    Threads(u32),
    /// Exactly these workgroups.
    Groups([u32; 3]),
    /// A matrix product; the pass `cores` chooses its workgroups.
    Product {
        /// Rows and columns.
        size: [usize; 2],
        /// Ranges that its depth is cut into, for a product each.
        splits: usize,
    },
}

/// Workgroups for so many threads, see [`Grid::Threads`].
pub(super) fn groups_of(threads: u32) -> [u32; 3] {
    let groups = threads.div_ceil(WORKGROUP).max(1);
    let y = groups.div_ceil(MAX_GROUPS);
    [groups.div_ceil(y), y, 1]
}

/// What is said of a kernel call when it is recorded.
pub struct Dispatch<'a> {
    /// The shader.
    pub kernel: &'static Kernel,
    /// What it does here: the layer's name.
    pub label: &'a str,
    /// Values of `override` constants.
    pub constants: &'a [(&'static str, f64)],
    /// The uniform block, a `#[repr(C)]` twin of the shader's `Params`.
    pub params: &'a [u8],
    /// Inputs `a`, `b`, `c`, `d`.
    pub reads: &'a [&'a Tensor],
    /// Outputs 0 to 3.
    pub writes: &'a [Write<'a>],
    /// Whether the kernel reads the block of numbers that change from step to step.
    pub schedule: bool,
    /// Threads.
    pub grid: Grid,
    /// Floating-point operations, for reports.
    pub flops: u64,
}

/// A recorded kernel call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The shader.
    pub kernel: &'static Kernel,
    /// What it does here.
    pub label: String,
    /// Values of `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// The uniform block.
    pub params: Vec<u8>,
    /// Inputs `a`, `b`, `c`, `d`.
    pub reads: Vec<Tensor>,
    /// Outputs 0 to 3.
    pub writes: Vec<Output>,
    /// Whether the kernel reads the schedule.
    pub schedule: bool,
    /// Threads.
    pub grid: Grid,
    /// Floating-point operations, without those of the twin.
    pub flops: u64,
    /// The same call of the other network, if one dispatch does both, see the pass `twins`.
    pub twin: Option<Box<Call>>,
}

/// An output of a recorded call.
#[derive(Clone, Debug)]
pub struct Output {
    /// What is written; both lie in one buffer.
    pub tensors: Vec<Tensor>,
    /// Whether the old values are read.
    pub update: bool,
}

impl From<&Write<'_>> for Output {
    fn from(write: &Write<'_>) -> Self {
        let (tensors, update) = match write {
            Write::New(tensor) => (vec![(*tensor).clone()], false),
            Write::Both(first, second) => (vec![(*first).clone(), (*second).clone()], false),
            Write::Update(tensor) => (vec![(*tensor).clone()], true),
        };
        Self { tensors, update }
    }
}

impl From<Dispatch<'_>> for Call {
    fn from(dispatch: Dispatch<'_>) -> Self {
        Self {
            kernel: dispatch.kernel,
            label: dispatch.label.to_owned(),
            constants: dispatch.constants.to_vec(),
            params: dispatch.params.to_vec(),
            reads: dispatch
                .reads
                .iter()
                .map(|tensor| (*tensor).clone())
                .collect(),
            writes: dispatch.writes.iter().map(Output::from).collect(),
            schedule: dispatch.schedule,
            grid: dispatch.grid,
            flops: dispatch.flops,
            twin: None,
        }
    }
}

/// What a binding of a call is.
#[derive(Clone, Debug)]
pub(crate) enum Resource {
    /// A buffer.
    Buffer(Buffer),
    /// A buffer and the one behind it, which is its twin's.
    Both([Buffer; 2]),
    /// The texture copy of a buffer.
    Texture(Buffer),
    /// The numbers that change from step to step.
    Schedule,
}

/// Bindings: 0 params, 1 to 4 inputs, 5 to 8 outputs, 9 to 12 texture copies of outputs.
const SCHEDULE_BINDING: u32 = 13;

impl Call {
    /// Name of a product, under which its fastest tile is kept: kernel, size, depth, into how many ranges that is cut, and
    /// constants that are not zero. Products of the same name run alike, in whatever way their operands are
    /// stored, but for those that use cooperative matrices, whose tiles are not tuned.
    pub fn product_name(&self) -> Option<String> {
        let Grid::Product { size, splits } = self.grid else {
            return None;
        };
        let [rows, columns] = size;
        let depth = self.flops / (2 * rows * columns).max(1) as u64;
        let mut name = format!("{} {rows}x{columns}, depth {depth}", self.kernel.name);
        if splits > 1 {
            name += &format!(" in {splits} ranges");
        }
        for (constant, value) in &self.constants {
            match (*constant, *value) {
                (_, 0.0) => {}
                ("STRIDE", stride) => name += &format!(", stride {stride}"),
                (constant, _) => name += &format!(", {}", constant.to_lowercase()),
            }
        }
        Some(name)
    }

    /// The calls that the dispatch does: this one, and its twin.
    pub fn networks(&self) -> impl Iterator<Item = &Call> {
        [Some(self), self.twin.as_deref()].into_iter().flatten()
    }

    /// Floating-point operations of the dispatch.
    pub fn all_flops(&self) -> u64 {
        self.networks().map(|call| call.flops).sum()
    }

    /// What the dispatch reads: inputs, and old values of outputs.
    pub fn inputs(&self) -> impl Iterator<Item = &Tensor> {
        self.networks().flat_map(|call| {
            let updates = call.writes.iter().filter(|output| output.update);
            let updates = updates.map(|output| &output.tensors[0]);
            call.reads.iter().chain(updates)
        })
    }

    /// What the dispatch writes.
    pub fn outputs(&self) -> impl Iterator<Item = &Tensor> {
        let writes = self.networks().flat_map(|call| &call.writes);
        writes.flat_map(|output| &output.tensors)
    }

    /// The buffers that are bound: inputs, then outputs.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Buffer> {
        let outputs = self.writes.iter().map(|output| &output.tensors[0]);
        let tensors = self.reads.iter().chain(outputs);
        tensors.map(|tensor| &tensor.buffer)
    }

    /// Which operands are others of the twin; the uniform block is if it is not the same.
    pub(crate) fn twins(&self) -> Option<Twins> {
        let twin = self.twin.as_deref()?;
        let mut twins = Twins {
            params: self.params != twin.params,
            ..Twins::default()
        };
        let apart: Vec<bool> = self
            .slots()
            .zip(twin.slots())
            .map(|(own, other)| !own.same(other))
            .collect();
        let (inputs, outputs) = apart.split_at(self.reads.len());
        twins.inputs[..inputs.len()].copy_from_slice(inputs);
        twins.outputs[..outputs.len()].copy_from_slice(outputs);
        Some(twins)
    }

    /// Bytes that must move at least once.
    pub fn bytes(&self) -> u64 {
        let mut inputs: Vec<&Tensor> = Vec::new();
        let same = |a: &Tensor, b: &Tensor| {
            a.buffer.same(&b.buffer) && (a.offset, a.len()) == (b.offset, b.len())
        };
        for tensor in self.inputs() {
            if !inputs.iter().any(|known| same(known, tensor)) {
                inputs.push(tensor);
            }
        }
        let tensors = inputs.into_iter().chain(self.outputs());
        let bytes = |tensor: &Tensor| tensor.buffer.storage().bytes() * tensor.len() as u64;
        tensors.map(bytes).sum()
    }

    /// How its operands are stored.
    pub(crate) fn operands(&self) -> Operands {
        let mut operands = Operands::default();
        let reads = self.reads.iter();
        for (to, read) in operands.inputs.iter_mut().zip(reads) {
            *to = read.buffer.storage();
        }
        let outputs = self.writes.iter().map(|output| &output.tensors[0]);
        for (to, output) in operands.outputs.iter_mut().zip(outputs) {
            *to = output.buffer.storage();
        }
        operands
    }

    /// Its bindings behind the parameters where kernels have this form.
    pub(crate) fn bindings(&self, form: Path) -> Vec<(u32, Resource)> {
        let others: Vec<&Buffer> = self.twin.iter().flat_map(|twin| twin.slots()).collect();
        let buffer = |slot: usize, buffer: &Buffer| match others.get(slot) {
            Some(other) if !other.same(buffer) => {
                Resource::Both([buffer, other].map(Buffer::clone))
            }
            _ => Resource::Buffer(buffer.clone()),
        };
        let copy = |tensor: &Tensor| Resource::Texture(tensor.buffer.clone());
        let reads = self.reads.iter().enumerate();
        let mut bindings: Vec<_> = reads
            .map(|(slot, tensor)| match form.reads_textures() {
                true => (1 + slot as u32, copy(tensor)),
                false => (1 + slot as u32, buffer(slot, &tensor.buffer)),
            })
            .collect();
        for (slot, output) in self.writes.iter().enumerate() {
            let tensor = &output.tensors[0];
            if output.update && form.reads_textures() {
                bindings.push((9 + slot as u32, copy(tensor)));
            }
            let resource = buffer(self.reads.len() + slot, &tensor.buffer);
            bindings.push((5 + slot as u32, resource));
        }
        if self.schedule {
            bindings.push((SCHEDULE_BINDING, Resource::Schedule));
        }
        bindings
    }
}

/// The rows of its buffer, and of its texture copy, that a tensor lies in.
pub(super) fn rows_of(tensor: &Tensor) -> Range<u32> {
    // Rows have one number of bytes, so that they hold twice as many texels of halves.
    let floats = u64::from(TEXELS_PER_ROW) * Storage::Float.bytes();
    let texels = (floats / tensor.buffer.storage().bytes()) as u32;
    let end = tensor.base() + tensor.texels().max(1);
    tensor.base() / texels..end.div_ceil(texels)
}
