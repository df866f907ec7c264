//! Shapes in GPU memory: a [`Tensor`] is a range of a buffer, an [`ArenaLayout`] places many in one.

use std::ops::Range;

use crate::gpu::{Buffer, Gpu, GpuError, Storage};

/// Rounds up to whole texels of four floats. Channel counts are stored padded like this; the
/// padding is zero and stays zero, because a zero weight has a zero gradient and a zero code.
pub fn pad4(channels: usize) -> usize {
    channels.div_ceil(4) * 4
}

/// A range of GPU memory with a shape. The last axis is contiguous and a multiple of four.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Where it lives.
    pub buffer: Buffer,
    /// First number, a multiple of four.
    pub offset: usize,
    /// Stored shape, padding included.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// A tensor in a buffer of its own.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when one binding cannot hold it.
    pub fn new(gpu: &Gpu, label: &str, shape: &[usize]) -> Result<Self, GpuError> {
        debug_assert!(
            shape.last().is_none_or(|last| last.is_multiple_of(4)),
            "{label}: {shape:?}"
        );
        let buffer = gpu.buffer(label, shape.iter().product())?;
        Ok(Self {
            buffer,
            offset: 0,
            shape: shape.to_vec(),
        })
    }

    /// A tensor that the plan using it places, see [`Buffer::transient`].
    pub fn transient(label: &str, shape: &[usize]) -> Self {
        Self::transient_of(label, shape, Storage::Float)
    }

    /// The same for numbers stored in this way.
    pub fn transient_of(label: &str, shape: &[usize], storage: Storage) -> Self {
        Self {
            buffer: Buffer::transient_of(label, shape.iter().product(), storage),
            offset: 0,
            shape: shape.to_vec(),
        }
    }

    /// A tensor with memory of its own that the plan using it allocates, see [`Buffer::kept`].
    pub fn kept(label: &str, shape: &[usize]) -> Self {
        Self::kept_of(label, shape, Storage::Float)
    }

    /// The same for numbers stored in this way.
    pub fn kept_of(label: &str, shape: &[usize], storage: Storage) -> Self {
        Self {
            buffer: Buffer::kept_of(label, shape.iter().product(), storage),
            offset: 0,
            shape: shape.to_vec(),
        }
    }

    /// Two tensors as [`Tensor::kept`] gives them, for the same of both networks, see [`Buffer::kept_pair`].
    pub fn kept_pair(labels: [&str; 2], shape: &[usize]) -> [Self; 2] {
        let buffers = Buffer::kept_pair(labels, shape.iter().product());
        buffers.map(|buffer| Self {
            buffer,
            offset: 0,
            shape: shape.to_vec(),
        })
    }

    /// Gives it zeroed memory, if it has none yet.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when one binding cannot hold it, [`GpuError::OutOfMemory`].
    pub(crate) fn allocate(&self, gpu: &Gpu) -> Result<(), GpuError> {
        self.buffer.allocate(gpu)
    }

    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Texels of four numbers in it.
    pub fn texels(&self) -> u32 {
        self.len().div_ceil(4) as u32
    }

    /// Its first texel within the buffer: what kernels call a base.
    pub fn base(&self) -> u32 {
        (self.offset / 4) as u32
    }

    /// The same memory seen with another shape of equal length.
    pub fn view(&self, shape: &[usize]) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            self.len(),
            "view of {self:?}"
        );
        Self {
            shape: shape.to_vec(),
            ..self.clone()
        }
    }

    /// The part of it whose first index lies in `range`.
    pub fn range(&self, range: Range<usize>) -> Self {
        let stride = self.len() / self.shape[0].max(1);
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        Self {
            buffer: self.buffer.clone(),
            offset: self.offset + range.start * stride,
            shape,
        }
    }

    /// Reads all of it back.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, GpuError> {
        gpu.read(&self.buffer, self.offset, self.len()).await
    }

    /// Reads all of it back as integers.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn read_integers(&self, gpu: &Gpu) -> Result<Vec<i32>, GpuError> {
        gpu.read_integers(&self.buffer, self.offset, self.len())
            .await
    }

    /// Overwrites all of it with numbers in the way it stores them; takes effect before the next submission.
    pub(crate) fn store(&self, gpu: &Gpu, values: &[f32]) {
        assert_eq!(values.len(), self.len(), "write to {self:?}");
        let storage = self.buffer.storage();
        let word = self.offset as u64 * storage.bytes() / 4;
        gpu.write(&self.buffer, word as usize, &storage.encode(values));
    }

    /// Overwrites all of it, which is stored as floats or integers; takes effect before the next submission.
    pub fn write<T: bytemuck::NoUninit>(&self, gpu: &Gpu, values: &[T]) {
        const { assert!(size_of::<T>() == 4) };
        assert_eq!(values.len(), self.len(), "write to {self:?}");
        assert_eq!(self.buffer.storage(), Storage::Float, "write to {self:?}");
        gpu.write(&self.buffer, self.offset, values);
    }
}

/// The offsets of named ranges. Buffers made from one layout are parallel: weights, gradients
/// and Adam's moments keep each parameter at the same place, so one dispatch updates them all.
#[derive(Clone, Debug, Default)]
pub struct ArenaLayout {
    floats: usize,
}

impl ArenaLayout {
    /// Reserves room for a stored shape and returns its offset in floats.
    pub fn reserve(&mut self, shape: &[usize]) -> usize {
        let offset = self.floats;
        self.floats += pad4(shape.iter().product());
        offset
    }

    /// Floats reserved so far.
    pub fn len(&self) -> usize {
        self.floats
    }

    /// Whether nothing was reserved.
    pub fn is_empty(&self) -> bool {
        self.floats == 0
    }

    /// Room for everything reserved, see [`Tensor::kept`].
    pub fn tensor(&self, label: &str) -> Tensor {
        Tensor::kept(label, &[pad4(self.floats)])
    }

    /// The same of both networks, see [`Tensor::kept_pair`].
    pub fn pair(&self, labels: [&str; 2]) -> [Tensor; 2] {
        Tensor::kept_pair(labels, &[pad4(self.floats)])
    }

    /// A zeroed buffer with room for everything reserved.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when one binding cannot hold it.
    pub fn allocate(&self, gpu: &Gpu, label: &str) -> Result<Tensor, GpuError> {
        let tensor = self.tensor(label);
        tensor.allocate(gpu)?;
        Ok(tensor)
    }
}
