//! Compiling ahead, for lavapipe: it compiles a kernel when it first runs, one after the other, a fraction of a
//! second for every product, and keeps the result in Mesa's cache on the disk, where another device finds it too.
//!
//! A second device runs the kernels of a plan on no workgroups at all, the last first, while the plan runs from
//! its beginning. Where both meet, what is left is in the cache. A device that is dropped waits for the kernel that is
//! being compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Path;
use super::adapters::request_device;
use super::buffer::{TEXEL_BYTES, TextureCopy, new_texture};
use super::kernel::{BoundKernel, Kind, Numbers};

/// A product that takes longer was compiled, one that is faster came out of the cache. On a busy machine the thread
/// may take the second for the first; then it looks at more kernels than it need.
const FROM_CACHE: Duration = Duration::from_millis(60);

/// Products that are worth a second thread.
const ENOUGH: usize = 3;
/// More than any kernel has.
const BINDINGS: u32 = 16;
/// More than any block of parameters has.
const UNIFORM_BYTES: u64 = 1024;

/// The thread that compiles ahead; it ends with this.
pub(super) struct Ahead {
    calls: Option<Sender<Vec<BoundKernel>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Ahead {
    /// Starts the thread; its device is opened with the first calls.
    pub fn new(adapter: wgpu::Adapter, path: Path) -> Self {
        let (sender, receiver) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::Builder::new()
            .name("compiler".to_owned())
            .spawn(move || work(&adapter, path, &receiver, &flag));
        Self {
            calls: Some(sender),
            stop,
            thread: thread.ok(),
        }
    }

    /// Has a plan's kernels compiled, from the last to the first, if there is enough to do for two.
    pub fn compile(&self, calls: Vec<BoundKernel>) {
        let products = calls.iter().filter(|call| call.is_product()).count();
        if let Some(sender) = self.calls.as_ref().filter(|_| products >= ENOUGH) {
            // Without the thread kernels are compiled when they run.
            let _ = sender.send(calls);
        }
    }
}

impl Ahead {
    /// Ends the thread after the kernel in hand, and returns how many it has compiled.
    fn end(&mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.calls = None;
        let thread = self.thread.take();
        thread.and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(
    adapter: &wgpu::Adapter,
    path: Path,
    plans: &Receiver<Vec<BoundKernel>>,
    stop: &AtomicBool,
) -> usize {
    let mut compiled = 0;
    let mut workshop = None;
    while let Ok(calls) = plans.recv() {
        if workshop.is_none() {
            workshop = Workshop::open(adapter, path);
        }
        let Some(workshop) = &workshop else {
            break;
        };
        for call in calls.iter().rev() {
            if stop.load(Ordering::Relaxed) {
                return compiled;
            }
            let start = Instant::now();
            workshop.compile(call);
            compiled += 1;
            if workshop.failed.load(Ordering::Relaxed) {
                return compiled;
            }
            if call.is_product() && start.elapsed() < FROM_CACHE {
                break;
            }
        }
    }
    compiled
}

/// A device, and something for every binding.
struct Workshop {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// A buffer for each binding, because none may be written under two names.
    storage: Vec<wgpu::Buffer>,
    uniform: wgpu::Buffer,
    /// As floats, as integers.
    textures: [TextureCopy; 2],
    failed: Arc<AtomicBool>,
}

impl Workshop {
    fn open(adapter: &wgpu::Adapter, path: Path) -> Option<Self> {
        let (device, queue) = pollster::block_on(request_device(adapter, path, false)).ok()?;
        let failed = Arc::new(AtomicBool::new(false));
        let flag = failed.clone();
        // Whatever goes wrong goes wrong again where somebody looks.
        device.on_uncaptured_error(Arc::new(move |_| flag.store(true, Ordering::Relaxed)));
        let buffer = |size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let storage = (0..BINDINGS).map(|_| buffer(TEXEL_BYTES, wgpu::BufferUsages::STORAGE));
        let texture = |numbers| new_texture(&device, "", 1, numbers);
        Some(Self {
            storage: storage.collect(),
            uniform: buffer(UNIFORM_BYTES, wgpu::BufferUsages::UNIFORM),
            textures: [Numbers::Float, Numbers::Integer].map(texture),
            device,
            queue,
            failed,
        })
    }

    /// Runs a kernel on no workgroups, which makes the driver compile it.
    fn compile(&self, call: &BoundKernel) {
        let pipeline = call.blueprint.compile(&self.device, false, 1);
        let resource = |binding: u32, kind| match kind {
            Kind::Buffer => self.storage[binding as usize].as_entire_binding(),
            Kind::Texture(numbers) => {
                wgpu::BindingResource::TextureView(&self.textures[numbers as usize].view)
            }
            Kind::Uniform => self.uniform.as_entire_binding(),
        };
        let entries = call.bindings.iter();
        let entries = entries.map(|&(binding, kind)| wgpu::BindGroupEntry {
            binding,
            resource: resource(binding, kind),
        });
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries.collect::<Vec<_>>(),
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(0, 0, 0);
        drop(pass);
        self.queue.submit([encoder.finish()]);
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::adapters::choose_adapter;
    use crate::gpu::compile::Compiled;
    use crate::gpu::{Gpu, GpuOptions, Kernel};
    use crate::recording::Recording;
    use crate::{kernels, verify};

    #[test]
    fn every_kernel_can_run_on_nothing() {
        let options = GpuOptions::default();
        let gpu = pollster::block_on(Gpu::open(&options)).unwrap_or_else(|e| panic!("{e}"));
        if gpu.ahead.is_none() {
            eprintln!("SKIPPED: {} compiles with the pipeline", gpu.name());
            return;
        }
        let adapter =
            pollster::block_on(choose_adapter(&options)).unwrap_or_else(|e| panic!("{e}"));
        let workshop = Workshop::open(&adapter, gpu.path());
        let workshop = workshop.unwrap_or_else(|| panic!("no second device"));
        let mut known: Vec<&Kernel> = Vec::new();
        for case in verify::cases() {
            if known
                .iter()
                .any(|kernel| std::ptr::eq(*kernel, case.kernel))
            {
                continue;
            }
            known.push(case.kernel);
            let path = gpu.path();
            for mut recording in [Recording::new(path), Recording::new(path).all_in_textures()] {
                verify::record_into(&gpu, &case, &mut recording).unwrap_or_else(|e| panic!("{e}"));
                for call in Compiled::new(&recording, &gpu.tiles(), None).kernels() {
                    workshop.compile(&call);
                    let failed = workshop.failed.load(Ordering::Relaxed);
                    assert!(!failed, "{}", call.blueprint.kernel.name);
                }
            }
        }
        for kernel in kernels::all() {
            assert!(
                known.iter().any(|k| k.name == kernel.name),
                "{}",
                kernel.name
            );
        }
    }

    #[test]
    fn what_is_dropped_at_work_ends() {
        let options = GpuOptions::default();
        let gpu = pollster::block_on(Gpu::open(&options)).unwrap_or_else(|e| panic!("{e}"));
        let adapter =
            pollster::block_on(choose_adapter(&options)).unwrap_or_else(|e| panic!("{e}"));
        let mut calls = Vec::new();
        for case in verify::cases().iter().take(200) {
            let mut recording = Recording::new(gpu.path());
            verify::record_into(&gpu, case, &mut recording).unwrap_or_else(|e| panic!("{e}"));
            calls.extend(Compiled::new(&recording, &gpu.tiles(), None).kernels());
        }
        assert!(calls.iter().filter(|call| call.is_product()).count() >= ENOUGH);
        let all = calls.len();
        let mut ahead = Ahead::new(adapter, gpu.path());
        ahead.compile(calls);
        let compiled = ahead.end();
        assert!(compiled < all, "{compiled} of {all} kernels");
    }
}
