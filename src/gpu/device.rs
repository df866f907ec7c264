//! An open device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::adapters::{choose_adapter, path_of, request_device};
use super::buffer::Budget;
use super::error::{Failure, remember};
use super::free_memory::free_memory;
use super::kernel::{BoundKernel, Pipeline, PipelineKey};
use super::{Buffer, Cooperative, GpuError, Path, Tiles, subgroups};

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Index in [`list_adapters`](super::list_adapters) or a part of an adapter's name; `None` takes the fastest.
    pub adapter: Option<String>,
    /// Which of several equal adapters to take: this number modulo how many there are. For processes that share a machine.
    pub turn: usize,
    /// Keep bounds checks, loop bounding and zeroed workgroup memory.
    pub checked: bool,
    /// Force the kernel family instead of choosing it by the kind of adapter.
    pub path: Option<Path>,
    /// Work through a batch in parts whose tensors have at most so many bytes, where one binding
    /// would hold more. For tests.
    pub part_bytes: Option<u64>,
    /// The most memory that tensors may take; without it, on drivers of the CPU, what is free now.
    pub memory_bytes: Option<u64>,
    /// Give each call of a kernel a dispatch of its own, also where one could do those of both networks: to compare.
    pub no_twins: bool,
    /// Use cooperative matrices ("tensor cores") in products whose first operand is stored in 16 bits. Needs extensions beyond WebGPU.
    pub cooperative: bool,
}

/// An open device with its queue and its compiled kernels.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) pipelines: Mutex<HashMap<PipelineKey, Arc<Pipeline>>>,
    pub(super) failure: Arc<Mutex<Option<Failure>>>,
    info: wgpu::AdapterInfo,
    has_subgroups: bool,
    path: Path,
    checked: bool,
    part_bytes: Option<u64>,
    no_twins: bool,
    pub(super) budget: Arc<Budget>,
    tiles: Mutex<Arc<Tiles>>,
    pub(super) matrices: Option<Cooperative>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) ahead: Option<super::ahead::Ahead>,
}

impl Gpu {
    /// Opens one adapter with WebGPU's default limits, so that whatever runs here runs in a
    /// browser too. Only buffers may be larger where a real GPU allows it: large batches need that,
    /// and a batch that does not fit is refused with one that does.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`], [`GpuError::UnknownAdapter`], [`GpuError::NoDevice`], or one that says which of the options the adapter
    /// cannot do.
    pub async fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        let adapter = choose_adapter(options).await?;
        let adapter = &adapter;
        let info = adapter.get_info();
        let path = options.path.unwrap_or_else(|| path_of(adapter));
        if path == Path::CpuSubgroup && !subgroups::are_offered(adapter) {
            return Err(GpuError::NoSubgroups { adapter: info.name });
        }
        let matrices = match options.cooperative {
            true if path != Path::Gpu => {
                return Err(GpuError::NoMatricesOnPath { path: path.name() });
            }
            true => {
                let refused = || GpuError::NoMatrices {
                    adapter: info.name.clone(),
                };
                Some(Cooperative::of(adapter).ok_or_else(refused)?)
            }
            false => None,
        };
        let (device, queue) = request_device(adapter, path, matrices.is_some()).await?;
        let failure = Arc::new(Mutex::new(None));
        let sink = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let message = format!("device lost ({reason:?}): {message}");
                remember(&sink, Failure::Other(message));
            }
        });
        let sink = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let failure = match error {
                wgpu::Error::OutOfMemory { .. } => Failure::OutOfMemory(error.to_string()),
                // Some calls report it among their own errors.
                _ if error.to_string().to_lowercase().contains("memory") => {
                    Failure::OutOfMemory(error.to_string())
                }
                _ => Failure::Other(error.to_string()),
            };
            remember(&sink, failure);
        }));
        let free = match info.device_type {
            wgpu::DeviceType::Cpu => free_memory(),
            _ => None,
        };
        let mut gpu = Self {
            #[cfg(not(target_arch = "wasm32"))]
            ahead: None,
            path,
            checked: options.checked,
            part_bytes: options.part_bytes,
            no_twins: options.no_twins,
            budget: Arc::new(Budget::new(options.memory_bytes.or(free))),
            tiles: Mutex::default(),
            matrices,
            pipelines: Mutex::default(),
            failure,
            device,
            queue,
            has_subgroups: subgroups::are_offered(adapter),
            info,
        };
        if path == Path::CpuSubgroup && !gpu.broadcasts_work().await? {
            if options.path.is_some() {
                let adapter = gpu.info.name;
                return Err(GpuError::NoSubgroups { adapter });
            }
            gpu.path = Path::CpuStorage;
            gpu.has_subgroups = false;
        }
        #[cfg(not(target_arch = "wasm32"))]
        if super::adapters::facts(adapter, &gpu.info).is_lavapipe()
            && gpu.path.reads_textures()
            && !gpu.checked
        {
            gpu.ahead = Some(super::ahead::Ahead::new(adapter.clone(), gpu.path));
        }
        Ok(gpu)
    }

    /// Leaves all kernels to be compiled when they first run: for plans that are only looked at, and for devices that
    /// are never dropped.
    pub fn without_compiling_ahead(self) -> Self {
        Self {
            #[cfg(not(target_arch = "wasm32"))]
            ahead: None,
            ..self
        }
    }

    /// Gives float products these tiles in all plans from now on, instead of those of the engine's table. Has no effect where
    /// the tile decides bits.
    pub fn use_tiles(&self, tiles: Tiles) {
        if self.path.backend().tiles_keep_bits {
            *self.tiles.lock().unwrap_or_else(|e| e.into_inner()) = Arc::new(tiles);
        }
    }

    /// The device with these tiles, see [`Gpu::use_tiles`].
    pub fn with_tiles(self, tiles: Tiles) -> Self {
        self.use_tiles(tiles);
        self
    }

    /// The tiles of float products that were measured to be the fastest.
    pub fn tiles(&self) -> Arc<Tiles> {
        self.tiles.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The cooperative matrices that products use, if the device was opened for that.
    pub fn matrices(&self) -> Option<Cooperative> {
        self.matrices
    }

    /// Has kernels compiled before they run, where that is worth it.
    pub(super) fn compile_ahead(&self, calls: Vec<BoundKernel>) {
        #[cfg(target_arch = "wasm32")]
        drop(calls);
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(ahead) = &self.ahead {
            ahead.compile(calls);
        }
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Driver and version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.info.driver, self.info.driver_info)
            .trim()
            .to_owned()
    }

    /// The kernel family in use.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whether the adapter can run kernels in this form.
    pub fn can_run(&self, path: Path) -> bool {
        self.has_subgroups || path != Path::CpuSubgroup
    }

    /// Whether shader checks are on.
    pub fn checked(&self) -> bool {
        self.checked
    }

    /// Steps of the depth that a product in workgroup memory takes at once. With checks on one, so that tests run both.
    pub(super) fn steps(&self) -> u32 {
        match self.checked {
            true => 1,
            false => super::backend::steps(&self.info),
        }
    }

    /// Bytes that a tensor of a part of a batch may have: what one binding holds.
    pub(crate) fn part_bytes(&self) -> u64 {
        let limit = self.device.limits().max_storage_buffer_binding_size;
        self.part_bytes.map_or(limit, |bytes| bytes.min(limit))
    }

    /// Whether this is a piece of hardware, not a driver that computes on the CPU.
    pub fn is_hardware(&self) -> bool {
        use wgpu::DeviceType::{DiscreteGpu, IntegratedGpu, VirtualGpu};
        matches!(
            self.info.device_type,
            DiscreteGpu | IntegratedGpu | VirtualGpu
        )
    }

    /// Floating-point operations that one submission may hold.
    pub(super) fn submission_flops(&self) -> u64 {
        let [usual, discrete] = self.path.backend().submission_flops;
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => discrete,
            _ => usual,
        }
    }

    /// Whether [`super::Plan::profile`] can time dispatches here.
    pub fn has_timestamps(&self) -> bool {
        self.device
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Rows that two buffers may have together to lie side by side, see [`crate::recording::twins`]; none where
    /// kernels read texture copies or nobody wants twins.
    pub(crate) fn most_rows_of_twins(&self) -> u32 {
        if self.path.reads_textures() || self.no_twins {
            return 0;
        }
        let row = u64::from(super::TEXELS_PER_ROW) * super::TEXEL_BYTES;
        let rows = self.device.limits().max_storage_buffer_binding_size / row;
        u32::try_from(rows).unwrap_or(u32::MAX)
    }

    /// Allocates zeroed memory for `elements` floats.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when one binding cannot hold them.
    pub fn buffer(&self, label: &str, elements: usize) -> Result<Buffer, GpuError> {
        Buffer::new(self, label, elements)
    }

    /// Writes numbers of four bytes at an element offset; takes effect before the next submission.
    pub fn write<T: bytemuck::NoUninit>(&self, buffer: &Buffer, offset: usize, values: &[T]) {
        self.queue.write_buffer(
            buffer.raw(),
            buffer.first_byte() + offset as u64 * 4,
            bytemuck::cast_slice(values),
        );
    }

    /// The first error the device reported outside any call.
    ///
    /// # Errors
    /// [`GpuError::Lost`] or [`GpuError::OutOfMemory`] with the driver's message.
    pub fn check(&self) -> Result<(), GpuError> {
        match &*self.failure.lock().unwrap_or_else(|e| e.into_inner()) {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    /// Clears a remembered out-of-memory error, so that the device can be used again. Call it once what was too large is dropped.
    pub(crate) fn forget_out_of_memory(&self) {
        self.wait();
        let mut failure = self.failure.lock().unwrap_or_else(|e| e.into_inner());
        if matches!(*failure, Some(Failure::OutOfMemory(_))) {
            *failure = None;
        }
    }

    /// Waits until everything submitted is done. Returns at once in a browser, where waiting is
    /// the event loop's business.
    pub fn wait(&self) {
        if let Err(error) = self.device.poll(wgpu::PollType::wait_indefinitely()) {
            remember(&self.failure, Failure::Other(error.to_string()));
        }
    }

    /// Frees what finished submissions held, without waiting for others.
    pub(super) fn poll(&self) {
        if let Err(error) = self.device.poll(wgpu::PollType::Poll) {
            remember(&self.failure, Failure::Other(error.to_string()));
        }
    }
}
