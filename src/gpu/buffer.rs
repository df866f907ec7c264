//! GPU memory: a storage buffer and, on drivers that read textures faster, its mirror.

use std::sync::{Arc, OnceLock};

use super::Gpu;

/// Bytes of a texel: four `f32`, the unit every kernel loads and stores.
pub const TEXEL_BYTES: u64 = 16;
/// Width of a mirror texture. A row is 16 KiB, which satisfies the 256-byte rule of buffer to
/// texture copies, and 8,192 rows hold 128 MiB, the largest binding WebGPU guarantees.
pub const TEXELS_PER_ROW: u32 = 1024;

/// A range of GPU memory, a whole number of mirror rows long. Clones share the memory.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

struct Inner {
    raw: wgpu::Buffer,
    label: String,
    mirror: OnceLock<Mirror>,
}

pub(super) struct Mirror {
    pub texture: wgpu::Texture,
    pub view: wgpu::TextureView,
}

impl Buffer {
    /// Allocates zeroed memory for `texels` texels, rounded up to whole rows of
    /// [`TEXELS_PER_ROW`].
    pub(super) fn new(gpu: &Gpu, label: &str, texels: u32) -> Self {
        let rows = texels.div_ceil(TEXELS_PER_ROW).max(1);
        let raw = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: u64::from(rows) * u64::from(TEXELS_PER_ROW) * TEXEL_BYTES,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self(Arc::new(Inner {
            raw,
            label: label.to_owned(),
            mirror: OnceLock::new(),
        }))
    }

    /// What the memory holds, for listings.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Allocated bytes, without the mirror.
    pub fn bytes(&self) -> u64 {
        self.0.raw.size()
    }

    /// Allocated bytes of the mirror texture; zero while there is none.
    pub fn mirror_bytes(&self) -> u64 {
        self.0.mirror.get().map_or(0, |_| self.bytes())
    }

    /// Whether both handles name the same memory.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.0.raw
    }

    /// The texture that holds a copy of this buffer, made on first use.
    pub(super) fn mirror(&self, gpu: &Gpu) -> &Mirror {
        self.0.mirror.get_or_init(|| {
            let rows = (self.bytes() / (u64::from(TEXELS_PER_ROW) * TEXEL_BYTES)) as u32;
            let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
                label: Some(&self.0.label),
                size: wgpu::Extent3d {
                    width: TEXELS_PER_ROW,
                    height: rows,
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Float,
                usage: wgpu::TextureUsages::TEXTURE_BINDING
                    | wgpu::TextureUsages::STORAGE_BINDING
                    | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
            Mirror { texture, view }
        })
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({}, {} bytes)", self.label(), self.bytes())
    }
}
