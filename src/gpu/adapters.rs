//! Which adapters there are, and opening one.

use super::backend::Facts;
use super::{Cooperative, GpuError, GpuOptions, Path, cooperative, subgroups};

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
    /// Its cooperative matrices of 16-bit numbers with sums of 32 bits, if kernels can use them.
    pub matrices: Option<Cooperative>,
    /// Whether it is taken when none is named.
    pub default: bool,
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
pub(super) fn facts<'a>(adapter: &wgpu::Adapter, info: &'a wgpu::AdapterInfo) -> Facts<'a> {
    Facts {
        info,
        has_subgroups: subgroups::are_offered(adapter),
    }
}

pub(super) fn path_of(adapter: &wgpu::Adapter) -> Path {
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

/// A device for kernels of one form, or for those with cooperative matrices too.
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
