//! GPU memory: a storage buffer and, on drivers that read textures faster, its texture copy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Gpu, GpuError, Numbers, Storage};

/// Bytes of a texel of floats: four of them, the unit every kernel loads and stores.
pub const TEXEL_BYTES: u64 = 16;
/// Texels in a row of a texture copy. A row is 16 KiB, which satisfies the 256-byte rule of buffer to
/// texture copies, and 8,192 rows hold 128 MiB, the largest binding WebGPU guarantees.
pub const TEXELS_PER_ROW: u32 = 1024;
/// A texture copy is wider by a cache line that nothing uses. Without it texels whose distance is a large power of
/// two, such as those of neighbouring outputs of a layer's weights, fall into the same few lines of a cache,
/// and products of 512 channels run at two thirds of their speed.
const TEXTURE_WIDTH: u32 = TEXELS_PER_ROW + 4;
/// What every device allows.
const TEXTURE_HEIGHT: u32 = 8192;

/// A range of GPU memory, a whole number of texture rows long. Clones share the memory.
///
/// A *transient* buffer has no memory of its own: the plan that uses it places it, together with
/// others that live at other times. Its content means nothing before the first write of a run.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

struct Inner {
    label: String,
    rows: u32,
    storage: Storage,
    transient: bool,
    place: OnceLock<Place>,
    /// Which half it is, if it may lie in one memory with another, see [`Buffer::kept_pair`].
    half: Option<Half>,
}

/// Where a buffer lies.
struct Place {
    memory: Arc<Memory>,
    first_row: u32,
    /// Whether it is one half of the memory's first rows, and another buffer the other.
    is_half: bool,
}

/// One of two buffers that lie in one memory.
struct Half {
    /// The memory of both, once one of them was allocated.
    memory: Arc<OnceLock<Arc<Memory>>>,
    is_second: bool,
}

/// What a buffer lies in; transient buffers of one plan share it.
pub(super) struct Memory {
    label: String,
    pub rows: u32,
    raw: wgpu::Buffer,
    /// As floats, as integers.
    textures: [OnceLock<TextureCopy>; 2],
    /// Set once only the texture copies are left.
    released: OnceLock<()>,
    _share: Share,
}

pub(super) struct TextureCopy {
    pub texture: wgpu::Texture,
    pub view: wgpu::TextureView,
}

fn bytes_of(rows: u32) -> u64 {
    u64::from(rows) * u64::from(TEXELS_PER_ROW) * TEXEL_BYTES
}

/// How much memory all buffers of a device may take, texture copies included, and how much they take.
pub(super) struct Budget {
    most: Option<u64>,
    taken: AtomicU64,
}

impl Budget {
    pub fn new(most: Option<u64>) -> Self {
        Self {
            most,
            taken: AtomicU64::new(0),
        }
    }

    fn take(self: &Arc<Self>, bytes: u64) -> Result<Share, GpuError> {
        let taken = bytes + self.taken.fetch_add(bytes, Ordering::Relaxed);
        let share = Share {
            budget: self.clone(),
            bytes,
        };
        match self.most {
            Some(most) if taken > most => Err(GpuError::OutOfMemory(format!(
                "{taken} bytes and more for tensors, of {most} that are free"
            ))),
            _ => Ok(share),
        }
    }
}

/// A part of a [`Budget`], given back when it is dropped.
struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Memory {
    /// Allocates zeroed memory.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`] when it would exceed the budget of the device.
    pub fn new(gpu: &Gpu, label: &str, rows: u32) -> Result<Self, GpuError> {
        // Most memory is copied into textures sooner or later.
        let copies = if gpu.path().reads_textures() { 2 } else { 1 };
        let share = gpu.budget.take(copies * bytes_of(rows))?;
        let raw = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes_of(rows),
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Self {
            label: label.to_owned(),
            rows,
            raw,
            textures: Default::default(),
            released: OnceLock::new(),
            _share: share,
        })
    }

    pub fn bytes(&self) -> u64 {
        match self.released.get() {
            None => bytes_of(self.rows),
            Some(()) => 0,
        }
    }

    pub fn texture_bytes(&self) -> u64 {
        let made = self.textures.iter().filter(|m| m.get().is_some());
        made.count() as u64 * bytes_of(self.rows)
    }

    fn texture_copy(&self, gpu: &Gpu, numbers: Numbers) -> &TextureCopy {
        self.textures[numbers as usize]
            .get_or_init(|| new_texture(&gpu.device, &self.label, self.rows, numbers))
    }
}

/// A browser frees what nobody refers to only when it collects garbage, and it does not see that the memory of the GPU is
/// full.
#[cfg(target_arch = "wasm32")]
impl Drop for Memory {
    fn drop(&mut self) {
        self.raw.destroy();
        for copy in self.textures.iter().filter_map(OnceLock::get) {
            copy.texture.destroy();
        }
    }
}

/// A texture that can hold a copy of so many rows.
pub(super) fn new_texture(
    device: &wgpu::Device,
    label: &str,
    rows: u32,
    numbers: Numbers,
) -> TextureCopy {
    let texture = device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: wgpu::Extent3d {
            width: TEXTURE_WIDTH,
            height: texture_height(rows),
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: match numbers {
            Numbers::Float => wgpu::TextureFormat::Rgba32Float,
            Numbers::Integer => wgpu::TextureFormat::Rgba32Sint,
        },
        usage: wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
    TextureCopy { texture, view }
}

/// Rows of a texture copy of so many rows: never a power of two, because lavapipe compiles every kernel anew for each
/// combination of textures whose height is one and textures whose height is not.
fn texture_height(rows: u32) -> u32 {
    match rows {
        1 => 3,
        rows if rows.is_power_of_two() && rows < TEXTURE_HEIGHT => rows + 1,
        rows => rows,
    }
}

impl Buffer {
    fn unplaced(label: &str, elements: usize, transient: bool, storage: Storage) -> Self {
        let bytes = elements as u64 * storage.bytes();
        let rows = bytes.div_ceil(bytes_of(1)).max(1);
        Self(Arc::new(Inner {
            label: label.to_owned(),
            rows: rows as u32,
            storage,
            transient,
            place: OnceLock::new(),
            half: None,
        }))
    }

    /// A buffer for this many floats that the plan using it places.
    pub fn transient(label: &str, elements: usize) -> Self {
        Self::unplaced(label, elements, true, Storage::Float)
    }

    /// The same for numbers stored in this way.
    pub fn transient_of(label: &str, elements: usize, storage: Storage) -> Self {
        Self::unplaced(label, elements, true, storage)
    }

    /// A buffer for this many floats that gets memory of its own with the first plan that uses it, and keeps what
    /// is written into it.
    pub fn kept(label: &str, elements: usize) -> Self {
        Self::unplaced(label, elements, false, Storage::Float)
    }

    /// The same for numbers stored in this way.
    pub fn kept_of(label: &str, elements: usize, storage: Storage) -> Self {
        Self::unplaced(label, elements, false, storage)
    }

    /// Two buffers as [`Buffer::kept`] gives them, for the same of both networks. Where one binding holds both they lie side
    /// by side, so that one dispatch can read or write both, see the pass `twins` of recordings.
    pub fn kept_pair(labels: [&str; 2], elements: usize) -> [Self; 2] {
        let memory = Arc::new(OnceLock::new());
        [(labels[0], false), (labels[1], true)].map(|(label, is_second)| {
            let Self(inner) = Self::kept(label, elements);
            let half = Some(Half {
                memory: memory.clone(),
                is_second,
            });
            let inner = Arc::into_inner(inner).expect("nobody else has it yet");
            Self(Arc::new(Inner { half, ..inner }))
        })
    }

    /// Whether both were made by one call of [`Buffer::kept_pair`], this one as the first.
    pub(crate) fn is_kept_beside(&self, second: &Self) -> bool {
        match (&self.0.half, &second.0.half) {
            (Some(own), Some(other)) => {
                Arc::ptr_eq(&own.memory, &other.memory) && !own.is_second && other.is_second
            }
            _ => false,
        }
    }

    /// A buffer of zeros with memory of its own.
    pub(super) fn new(gpu: &Gpu, label: &str, elements: usize) -> Result<Self, GpuError> {
        let buffer = Self::kept(label, elements);
        buffer.allocate(gpu)?;
        Ok(buffer)
    }

    /// Gives it zeroed memory of its own, if it has none yet.
    pub(crate) fn allocate(&self, gpu: &Gpu) -> Result<(), GpuError> {
        if self.memory().is_some() {
            return Ok(());
        }
        self.check_size(gpu)?;
        let rows = self.0.rows;
        match &self.0.half {
            Some(half) if 2 * rows <= gpu.most_rows_of_twins() => {
                let memory = match half.memory.get() {
                    Some(memory) => memory.clone(),
                    None => {
                        let new = Arc::new(Memory::new(gpu, self.label(), 2 * rows)?);
                        half.memory.get_or_init(|| new).clone()
                    }
                };
                let first_row = if half.is_second { rows } else { 0 };
                self.place_half(memory, first_row);
            }
            _ => self.place(Arc::new(Memory::new(gpu, self.label(), rows)?)),
        }
        Ok(())
    }

    /// Whether one binding can hold it.
    pub(super) fn check_size(&self, gpu: &Gpu) -> Result<(), GpuError> {
        let limit = gpu.device.limits().max_storage_buffer_binding_size;
        let bytes = bytes_of(self.0.rows);
        if bytes > limit {
            return Err(GpuError::TooLarge {
                what: self.label().to_owned(),
                bytes,
                limit,
            });
        }
        Ok(())
    }

    /// Puts it at the start of a piece of memory.
    pub(super) fn place(&self, memory: Arc<Memory>) {
        self.place_at(Place {
            memory,
            first_row: 0,
            is_half: false,
        });
    }

    /// Puts it into a piece of memory as one of two that lie side by side.
    pub(super) fn place_half(&self, memory: Arc<Memory>, first_row: u32) {
        self.place_at(Place {
            memory,
            first_row,
            is_half: true,
        });
    }

    fn place_at(&self, place: Place) {
        let placed = self.0.place.set(place);
        assert!(placed.is_ok(), "{self:?} is in a second plan");
    }

    /// Its memory, if it has any yet.
    pub(super) fn memory(&self) -> Option<&Arc<Memory>> {
        self.0.place.get().map(|place| &place.memory)
    }

    fn placed(&self) -> &Place {
        let place = self.0.place.get();
        place.expect("finishing the plan places its buffers")
    }

    /// Whether both lie in one piece of memory, as far as they lie anywhere yet.
    pub(super) fn lies_with(&self, other: &Self) -> bool {
        match (self.memory(), other.memory()) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// Where in [`Buffer::raw`] it begins.
    pub(super) fn first_byte(&self) -> u64 {
        bytes_of(self.placed().first_row)
    }

    /// What kernels see of it.
    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        match self.placed().is_half {
            true => self.range(self.0.rows),
            false => self.raw().as_entire_binding(),
        }
    }

    /// What kernels see of it and of the buffer behind it, of the same size.
    pub(super) fn binding_of_both(&self) -> wgpu::BindingResource<'_> {
        assert!(self.placed().is_half, "{self:?} lies alone");
        self.range(2 * self.0.rows)
    }

    fn range(&self, rows: u32) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.raw(),
            offset: self.first_byte(),
            size: std::num::NonZeroU64::new(bytes_of(rows)),
        })
    }

    /// Records setting all of it to zero.
    pub(super) fn clear(&self, encoder: &mut wgpu::CommandEncoder) {
        match self.placed().is_half {
            true => {
                encoder.clear_buffer(self.raw(), self.first_byte(), Some(bytes_of(self.0.rows)))
            }
            false => encoder.clear_buffer(self.raw(), 0, None),
        }
    }

    /// What the memory holds, for listings.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// How its numbers are stored.
    pub fn storage(&self) -> Storage {
        self.0.storage
    }

    pub(crate) fn rows(&self) -> u32 {
        self.0.rows
    }

    /// Its bytes, without the texture copy.
    pub fn bytes(&self) -> u64 {
        match self.0.place.get() {
            Some(place) if !place.is_half => place.memory.bytes(),
            _ => bytes_of(self.0.rows),
        }
    }

    /// Gives up everything but the texture copies, which hold the content from now on.
    pub(super) fn release(&self) {
        if let Some(memory) = self.memory() {
            memory.released.get_or_init(|| memory.raw.destroy());
        }
    }

    /// Bytes of its texture copy; zero while there is none.
    pub fn texture_bytes(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.texture_bytes())
    }

    /// Whether it lies in the working memory of a plan.
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// Whether both handles name the same memory.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.placed().memory.raw
    }

    /// The texture that holds a copy of this buffer, made on first use.
    pub(super) fn texture_copy(&self, gpu: &Gpu, numbers: Numbers) -> &TextureCopy {
        self.placed().memory.texture_copy(gpu, numbers)
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({}, {} bytes)", self.label(), self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_texture_is_a_power_of_two_high() {
        for rows in 1..TEXTURE_HEIGHT {
            let height = texture_height(rows);
            assert!(
                height >= rows && !height.is_power_of_two(),
                "{rows}: {height}"
            );
        }
        assert_eq!(
            texture_height(TEXTURE_HEIGHT),
            TEXTURE_HEIGHT,
            "the most there is"
        );
    }
}
