//! Opening an adapter, and what can go wrong on the way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::backend::Facts;
use super::buffer::Budget;
use super::kernel::{BoundKernel, Pipeline, PipelineKey};
use super::{Buffer, Cooperative, Path, Tiles, cooperative, subgroups};

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Index in [`list_adapters`] or a part of an adapter's name; `None` takes the fastest.
    pub adapter: Option<String>,
    /// Of several equal adapters take the one of this number, and around: for processes that share a machine.
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
    /// Multiply whole matrices ("tensor cores") where operands have 16 bits a number. Needs extensions beyond WebGPU.
    pub cooperative: bool,
}

/// Why a device could not be opened, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// There is no Vulkan, Metal, DX12 or WebGPU driver at all.
    #[error(
        "no graphics adapter found: no Vulkan, Metal or DX12 driver answered.\n\
         On Debian or Ubuntu without a GPU: apt-get install mesa-vulkan-drivers libvulkan1\n\
         On Fedora: dnf install mesa-vulkan-drivers vulkan-loader\n\
         With a GPU: install its vendor's driver, then look at `gtc adapters`."
    )]
    NoAdapter,
    /// `--adapter` named none of those present.
    #[error("no adapter matches '{wanted}'{hint}. Adapters present:\n{present}")]
    UnknownAdapter {
        /// What was asked for.
        wanted: String,
        /// The nearest name, as a sentence, or nothing.
        hint: String,
        /// One line for each adapter.
        present: String,
    },
    /// The driver refused to give a device with WebGPU's default limits.
    #[error(
        "adapter '{adapter}' gives no device with WebGPU's default limits: {reason}. Try another one with --adapter."
    )]
    NoDevice {
        /// Its name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// `cpu-subgroup` kernels were asked for.
    #[error(
        "adapter '{adapter}' cannot run cpu-subgroup kernels: it has no subgroups of eight lanes, or they failed the test of \
         their broadcasts. Choose another --path or --adapter."
    )]
    NoSubgroups {
        /// Its name.
        adapter: String,
    },
    /// Products of whole matrices were asked for.
    #[error(
        "adapter '{adapter}' multiplies no matrices of 16-bit numbers with sums of 32 bits for {path} kernels. On Vulkan that takes \
         VK_KHR_cooperative_matrix (NVIDIA from Turing on, AMD from RDNA3 on, with a recent driver), on Metal an Apple GPU (M1 and \
         later). `--precision mixed` needs none of that."
    )]
    NoMatrices {
        /// Its name.
        adapter: String,
        /// The form of the kernels.
        path: &'static str,
    },
    /// The device stopped answering, or reported an error it could not attach to a call.
    #[error(
        "the GPU device failed: {0}. Work up to the last checkpoint is safe: continue with `gtc train --resume DIR`, \
         or choose another adapter with --adapter."
    )]
    Lost(String),
    /// The device has no more memory.
    #[error("the GPU has not enough memory: {0}. Use a smaller --batch-size.")]
    OutOfMemory(String),
    /// More positions than kernels can count.
    #[error(
        "a batch has {positions} positions in one layer, more than the {limit} that kernels count exactly. Use a \
         smaller --batch-size."
    )]
    TooManyPositions {
        /// Images x rows x columns.
        positions: usize,
        /// The most.
        limit: usize,
    },
    /// A buffer larger than one binding of this device.
    #[error(
        "'{what}' needs {bytes} bytes, more than the {limit} that one binding holds here. Use a smaller --batch-size."
    )]
    TooLarge {
        /// The tensor.
        what: String,
        /// Its size.
        bytes: u64,
        /// The largest binding.
        limit: u64,
    },
}

impl GpuError {
    /// Whether a smaller batch would help.
    pub(crate) fn is_about_size(&self) -> bool {
        matches!(
            self,
            Self::OutOfMemory(_) | Self::TooLarge { .. } | Self::TooManyPositions { .. }
        )
    }

    /// What is short, without a remedy.
    pub(crate) fn shortage(&self) -> String {
        match self {
            Self::TooLarge { what, bytes, limit } => {
                format!("'{what}' would take {bytes} bytes, and one binding holds {limit}.")
            }
            Self::TooManyPositions { positions, limit } => {
                format!("one layer would have {positions} positions, and kernels count {limit}.")
            }
            Self::OutOfMemory(message) => format!("its memory is full ({message})."),
            other => other.to_string(),
        }
    }
}

/// One line of `gtc adapters`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AdapterSummary {
    /// Number to give to `--adapter`.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// Discrete, integrated, virtual, CPU, other.
    pub kind: String,
    /// Vulkan, Metal, Dx12 or BrowserWebGpu.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// Form of the kernels it would run, see [`Path`].
    pub path: &'static str,
    /// The matrices of 16-bit numbers that it multiplies at once, with sums of 32 bits, if kernels can use that.
    pub matrices: Option<Cooperative>,
    /// Whether it is taken when none is named.
    pub default: bool,
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
    pub(super) budget: Arc<Budget>,
    pub(super) tiles: Tiles,
    pub(super) matrices: Option<Cooperative>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) ahead: Option<super::ahead::Ahead>,
}

/// An error that the device reported outside any call.
pub(super) enum Failure {
    OutOfMemory(String),
    Other(String),
}

impl Failure {
    pub fn error(&self) -> GpuError {
        match self {
            Failure::OutOfMemory(message) => GpuError::OutOfMemory(message.clone()),
            Failure::Other(message) => GpuError::Lost(message.clone()),
        }
    }
}

fn backends() -> wgpu::Backends {
    wgpu::Backends::VULKAN
        | wgpu::Backends::METAL
        | wgpu::Backends::DX12
        | wgpu::Backends::BROWSER_WEBGPU
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends();
    wgpu::Instance::new(descriptor)
}

/// Fastest first; the order of discovery decides between equals.
fn rank(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// What tells an adapter's kind.
fn facts<'a>(adapter: &wgpu::Adapter, info: &'a wgpu::AdapterInfo) -> Facts<'a> {
    Facts {
        info,
        has_subgroups: subgroups::are_offered(adapter),
    }
}

fn path_of(adapter: &wgpu::Adapter) -> Path {
    Path::of(&facts(adapter, &adapter.get_info()))
}

/// What is asked of an adapter.
fn limits(offered: &wgpu::Limits, path: Path, cooperative: bool) -> wgpu::Limits {
    let mut limits = wgpu::Limits::default();
    if cooperative {
        limits.max_compute_workgroup_storage_size = cooperative::WORKGROUP_BYTES;
    }
    if path.backend().large_buffers {
        limits.max_storage_buffer_binding_size = offered.max_storage_buffer_binding_size;
        limits.max_buffer_size = offered.max_buffer_size;
    }
    limits
}

/// Bytes that this process could still take. A driver of the CPU gives more, and the process is killed
/// when it uses them.
#[cfg(not(target_arch = "wasm32"))]
fn free_memory() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // Its own free memory would count files in the page cache as taken.
    let group = system.cgroup_limits();
    let group = group.map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let free = system.available_memory();
    let least = [group, address_space()]
        .into_iter()
        .flatten()
        .fold(free, u64::min);
    (free > 0).then_some(least)
}

/// What `ulimit -v` leaves this process for buffers: half of it, because a driver on the CPU compiles kernels too.
#[cfg(target_os = "linux")]
fn address_space() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes into the structure that it is given.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } != 0;
    if failed || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().next()?.parse().ok()?;
    // SAFETY: a question without arguments in memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    Some(limit.rlim_cur.saturating_sub(pages * page) / 2)
}

#[cfg(not(any(target_os = "linux", target_arch = "wasm32")))]
fn address_space() -> Option<u64> {
    None
}

#[cfg(target_arch = "wasm32")]
fn free_memory() -> Option<u64> {
    None
}

async fn adapters() -> Vec<wgpu::Adapter> {
    let instance = instance();
    let mut found = instance.enumerate_adapters(backends()).await;
    if found.is_empty() {
        // A browser enumerates nothing; it hands out one adapter on request.
        found.extend(instance.request_adapter(&Default::default()).await.ok());
    }
    found
}

fn default_index(adapters: &[wgpu::Adapter]) -> Option<usize> {
    (0..adapters.len()).min_by_key(|&i| (rank(adapters[i].get_info().device_type), i))
}

/// The adapters of this machine, in the order of their indices.
pub async fn list_adapters() -> Vec<AdapterSummary> {
    let adapters = adapters().await;
    let default = default_index(&adapters);
    adapters
        .iter()
        .enumerate()
        .map(|(index, adapter)| summary(index, adapter, default == Some(index)))
        .collect()
}

fn summary(index: usize, adapter: &wgpu::Adapter, default: bool) -> AdapterSummary {
    let info = adapter.get_info();
    AdapterSummary {
        index,
        name: info.name.clone(),
        kind: format!("{:?}", info.device_type),
        backend: format!("{:?}", info.backend),
        driver: format!("{} {}", info.driver, info.driver_info)
            .trim()
            .to_owned(),
        path: path_of(adapter).name(),
        matrices: Cooperative::of(adapter),
        default,
    }
}

fn choose(adapters: &[wgpu::Adapter], wanted: Option<&str>) -> Result<usize, GpuError> {
    let default = default_index(adapters).ok_or(GpuError::NoAdapter)?;
    let Some(wanted) = wanted else {
        return Ok(default);
    };
    let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
    let found = match wanted.parse::<usize>() {
        Ok(index) => (index < names.len()).then_some(index),
        Err(_) => names
            .iter()
            .position(|name| name.to_lowercase().contains(&wanted.to_lowercase())),
    };
    found.ok_or_else(|| GpuError::UnknownAdapter {
        wanted: wanted.to_owned(),
        hint: crate::suggest::did_you_mean(wanted, names.iter().map(String::as_str)),
        present: names
            .iter()
            .enumerate()
            .map(|(i, name)| format!("  {i}: {name}"))
            .collect::<Vec<_>>()
            .join("\n"),
    })
}

/// The adapter that options name.
pub(super) async fn choose_adapter(options: &GpuOptions) -> Result<wgpu::Adapter, GpuError> {
    let mut adapters = adapters().await;
    let wanted = options.adapter.as_deref();
    let mut index = choose(&adapters, wanted)?;
    // A number names one adapter, and a name all that have it.
    if wanted.is_none_or(|wanted| wanted.parse::<usize>().is_err()) {
        let kind = |adapter: &wgpu::Adapter| {
            let info = adapter.get_info();
            (
                info.name,
                info.device_type as u32,
                info.backend,
                info.driver,
            )
        };
        let first = kind(&adapters[index]);
        let equal: Vec<usize> = (0..adapters.len())
            .filter(|other| kind(&adapters[*other]) == first)
            .collect();
        index = equal[options.turn % equal.len()];
    }
    Ok(adapters.swap_remove(index))
}

/// A device for kernels of one form, or for those of whole matrices too.
pub(super) async fn request_device(
    adapter: &wgpu::Adapter,
    path: Path,
    cooperative: bool,
) -> Result<(wgpu::Device, wgpu::Queue), GpuError> {
    let mut descriptor = wgpu::DeviceDescriptor {
        label: Some("gtc"),
        required_features: adapter.features() & path.backend().features,
        required_limits: limits(&adapter.limits(), path, cooperative),
        ..Default::default()
    };
    if cooperative {
        descriptor.required_features |= cooperative::FEATURES;
        // SAFETY: what is experimental is how WGSL says it; `gtc verify` compares every kernel that does.
        descriptor.experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let device = adapter.request_device(&descriptor).await;
    device.map_err(|error| GpuError::NoDevice {
        adapter: adapter.get_info().name,
        reason: error.to_string(),
    })
}

impl Gpu {
    /// Opens one adapter with WebGPU's default limits, so that whatever runs here runs in a
    /// browser too. Only buffers may be larger where a real GPU allows it: large batches need that,
    /// and a batch that does not fit is refused with one that does.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`], [`GpuError::UnknownAdapter`] or [`GpuError::NoDevice`].
    pub async fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        let adapter = choose_adapter(options).await?;
        let adapter = &adapter;
        let info = adapter.get_info();
        let path = options.path.unwrap_or_else(|| path_of(adapter));
        if path == Path::CpuSubgroup && !subgroups::are_offered(adapter) {
            return Err(GpuError::NoSubgroups { adapter: info.name });
        }
        let matrices = match options.cooperative {
            true => {
                let offered = Cooperative::of(adapter).filter(|_| path == Path::Gpu);
                let refused = || GpuError::NoMatrices {
                    adapter: info.name.clone(),
                    path: path.name(),
                };
                Some(offered.ok_or_else(refused)?)
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
            budget: Arc::new(Budget::new(options.memory_bytes.or(free))),
            tiles: Tiles::default(),
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
        if facts(adapter, &gpu.info).is_lavapipe() && gpu.path.mirrors() && !gpu.checked {
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

    /// Gives float products these tiles from now on, instead of those of the engine's table. Has no effect where the tile
    /// decides bits.
    pub fn with_tiles(self, tiles: Tiles) -> Self {
        match self.path.backend().tiles_keep_bits {
            true => Self { tiles, ..self },
            false => self,
        }
    }

    /// The tiles of float products that were measured to be the fastest.
    pub fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// The matrices that products of 16-bit numbers multiply at once, if the device was opened for that.
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
            offset as u64 * 4,
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

    /// Lets the device be used again after memory that it had not was given up.
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

fn remember(sink: &Mutex<Option<Failure>>, failure: Failure) {
    sink.lock()
        .unwrap_or_else(|e| e.into_inner())
        .get_or_insert(failure);
}
