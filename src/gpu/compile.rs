//! From a recording to a [`Plan`]: its passes, then memory, pipelines and bind groups. Nothing is decided after this.

use super::kernel::{Blueprint, BoundKernel, Kind};
use super::plan::{Command, Plan, PlanRow, SCHEDULE_BYTES, copy_to_mirror};
use super::{Buffer, Cooperative, Gpu, GpuError, Pool, Tiles};
use crate::recording::copies::{self, Step, WithCopies};
use crate::recording::cores::{self, Shared};
use crate::recording::{Call, Recording, Resource, memory, submissions};

/// Uniform offsets must be multiples of this in WebGPU.
const SLOT: usize = 256;

/// A recording with all that its passes decided.
pub(super) struct Compiled<'r> {
    calls: Vec<&'r Call>,
    shared: Vec<Shared>,
    copies: WithCopies,
}

impl<'r> Compiled<'r> {
    pub fn new(recording: &'r Recording, tiles: &Tiles, matrices: Option<Cooperative>) -> Self {
        Self {
            calls: recording.calls().collect(),
            shared: cores::choose(recording, tiles, matrices),
            copies: copies::insert(recording),
        }
    }

    /// All that the pipeline of every call is made of.
    pub fn kernels(&self) -> impl Iterator<Item = BoundKernel> + '_ {
        (0..self.calls.len()).map(|number| {
            let (call, form) = (self.calls[number], self.copies.forms[number]);
            let kind = |resource: &Resource| match resource {
                Resource::Buffer(_) => Kind::Buffer,
                Resource::Mirror(_) => Kind::Mirror(call.kernel.numbers),
                Resource::Schedule => Kind::Uniform,
            };
            let behind = call.bindings(form);
            let behind = behind
                .iter()
                .map(|(binding, found)| (*binding, kind(found)));
            BoundKernel {
                blueprint: Blueprint {
                    kernel: call.kernel,
                    constants: call.constants.clone(),
                    path: form,
                    core: self.shared[number].core,
                    operands: call.operands(),
                },
                bindings: [(0, Kind::Uniform)].into_iter().chain(behind).collect(),
            }
        })
    }

    fn rows(&self) -> Vec<PlanRow> {
        let shapes = |tensor: &crate::tensor::Tensor| tensor.shape.clone();
        let row = |(call, shared): (&&Call, &Shared)| PlanRow {
            label: call.label.clone(),
            kernel: call.kernel.name,
            reads: call.reads.iter().map(shapes).collect(),
            writes: call.outputs().map(shapes).collect(),
            grid: shared.groups,
            flops: call.flops,
            bytes: call.bytes(),
        };
        self.calls.iter().zip(&self.shared).map(row).collect()
    }
}

impl Gpu {
    /// Makes a plan of a recording, with working memory of its own.
    ///
    /// # Errors
    /// As [`Gpu::plan_in`].
    pub fn plan(&self, recording: Recording) -> Result<Plan, GpuError> {
        self.plan_in(recording, &mut Pool::default())
    }

    /// Makes a plan of a recording: places transient buffers in the pool and gives others memory of their own, uploads
    /// parameters and constants, and binds everything.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when a buffer exceeds one binding, [`GpuError::Lost`] when the driver
    /// refused a kernel, a binding or memory.
    pub fn plan_in(&self, recording: Recording, pool: &mut Pool) -> Result<Plan, GpuError> {
        let compiled = Compiled::new(&recording, &self.tiles, self.matrices);
        let (calls, steps) = (&compiled.calls, &compiled.copies.steps);
        let mut pipelines = Vec::with_capacity(calls.len());
        let mut new_kernels = Vec::new();
        for kernel in compiled.kernels() {
            let (pipeline, new) = self.pipeline(&kernel.blueprint);
            pipelines.push(pipeline);
            new_kernels.extend(new.then_some(kernel));
        }
        self.compile_ahead(new_kernels);
        pool.place(self, &memory::lives(steps, calls, &compiled.copies.forms))?;
        let buffers = recording.buffers();
        for buffer in &buffers {
            buffer.allocate(self)?;
        }
        for constant in &recording.constants {
            if !constant.words.is_empty() {
                constant.buffer.allocate(self)?;
                self.write(&constant.buffer, 0, &constant.words);
            }
        }
        let uniform = |label, size: usize| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size.max(SLOT) as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let mut params = Vec::new();
        let mut offsets = Vec::with_capacity(calls.len());
        for call in calls {
            offsets.push(params.len() as u64);
            params.extend_from_slice(&call.params);
            params.resize(params.len().next_multiple_of(SLOT), 0);
        }
        let params_buffer = uniform("params", params.len());
        self.queue.write_buffer(&params_buffer, 0, &params);
        let schedule = uniform("schedule", SCHEDULE_BYTES);
        let bind = |number: usize| {
            let call = calls[number];
            let uniform = wgpu::BufferBinding {
                buffer: &params_buffer,
                offset: offsets[number],
                size: std::num::NonZeroU64::new((call.params.len() as u64).next_multiple_of(16)),
            };
            let behind = call.bindings(compiled.copies.forms[number]);
            let resource = |found| self.resource(found, call.kernel.numbers, &schedule);
            let behind = behind
                .iter()
                .map(|(binding, found)| (*binding, resource(found)));
            let entries = [(0, wgpu::BindingResource::Buffer(uniform))];
            let entries = entries.into_iter().chain(behind);
            let entries =
                entries.map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource });
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&call.label),
                layout: &pipelines[number].layout,
                entries: &entries.collect::<Vec<_>>(),
            })
        };
        let command = |step: &Step| match step {
            Step::Copy(copy) => {
                copy.buffer.mirror(self, copy.numbers);
                Command::Mirror(copy.buffer.clone(), copy.rows.clone(), copy.numbers)
            }
            Step::Clear(buffer) => Command::Clear(buffer.clone()),
            Step::Exchange(exchange) => Command::Exchange(exchange.clone()),
            Step::Call(number) => Command::Dispatch {
                pipeline: pipelines[*number].clone(),
                bind_group: bind(*number),
                row: *number,
                outputs: calls[*number].outputs().cloned().collect(),
            },
        };
        let commands = steps.iter().map(command).collect();
        self.copy_constants(&compiled.copies.once);
        self.check()?;
        Ok(Plan {
            commands,
            rows: compiled.rows(),
            schedule,
            submissions: submissions::split(steps, calls, self.submission_flops()),
            buffers,
        })
    }

    fn resource<'a>(
        &self,
        resource: &'a Resource,
        numbers: super::Numbers,
        schedule: &'a wgpu::Buffer,
    ) -> wgpu::BindingResource<'a> {
        match resource {
            Resource::Buffer(buffer) => buffer.raw().as_entire_binding(),
            Resource::Mirror(buffer) => {
                wgpu::BindingResource::TextureView(&buffer.mirror(self, numbers).view)
            }
            Resource::Schedule => schedule.as_entire_binding(),
        }
    }

    /// Copies what never changes into its mirrors, and gives up the buffers.
    fn copy_constants(&self, copies: &[copies::Copy]) {
        if copies.is_empty() {
            return;
        }
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for copy in copies {
            copy_to_mirror(self, &mut encoder, &copy.buffer, &copy.rows, copy.numbers);
        }
        self.queue.submit([encoder.finish()]);
        copies
            .iter()
            .map(|copy| &copy.buffer)
            .for_each(Buffer::release);
    }
}
