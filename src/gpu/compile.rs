//! From a recording to a [`Plan`]: its passes, then memory, pipelines and bind groups. Nothing is decided after this.

use super::kernel::{Blueprint, BoundKernel, Kind};
use super::plan::{Command, Plan, PlanRow, SCHEDULE_BYTES, copy_to_texture};
use super::{Buffer, Cooperative, Gpu, GpuError, MAX_GROUPS, Pool, Tiles};
use crate::recording::copies::{self, Step, WithCopies};
use crate::recording::cores::{self, Shared};
use crate::recording::{Call, Recording, Resource, memory, submissions};
use crate::tensor::Tensor;

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

    /// Refuses calls that need more workgroups than WebGPU allows.
    fn check_groups(&self) -> Result<(), GpuError> {
        for (call, shared) in self.calls.iter().zip(&self.shared) {
            let groups = shared.groups.into_iter().max().unwrap_or(1);
            if groups > MAX_GROUPS {
                return Err(GpuError::TooManyGroups {
                    what: format!("{} {}", call.label, call.kernel.name),
                    groups,
                    limit: MAX_GROUPS,
                });
            }
        }
        Ok(())
    }

    /// All that the pipeline of every call is made of.
    pub fn kernels(&self) -> impl Iterator<Item = BoundKernel> + '_ {
        (0..self.calls.len()).map(|number| {
            let (call, form) = (self.calls[number], self.copies.forms[number]);
            let kind = |resource: &Resource| match resource {
                Resource::Buffer(_) | Resource::Both(_) => Kind::Buffer,
                Resource::Texture(_) => Kind::Texture(call.kernel.numbers),
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
                    twins: call.twins(),
                    reads_written: reads_written(call),
                },
                bindings: [(0, Kind::Uniform)].into_iter().chain(behind).collect(),
            }
        })
    }

    fn rows(&self) -> Vec<PlanRow> {
        let shapes = |tensor: &Tensor| tensor.shape.clone();
        let row = |(call, shared): (&&Call, &Shared)| PlanRow {
            label: label_of(call),
            kernel: call.kernel.name,
            reads: call.reads.iter().map(shapes).collect(),
            writes: call
                .writes
                .iter()
                .flat_map(|w| &w.tensors)
                .map(shapes)
                .collect(),
            grid: shared.groups,
            flops: call.all_flops(),
            bytes: call.bytes(),
        };
        self.calls.iter().zip(&self.shared).map(row).collect()
    }
}

/// The uniform block, of two networks both if they differ, each in a multiple of 16 bytes.
fn params_of(call: &Call) -> Vec<u8> {
    let twin = call.twin.as_deref();
    let twin = twin.filter(|twin| twin.params != call.params);
    let mut params = Vec::new();
    for block in [Some(call), twin].into_iter().flatten() {
        params.extend_from_slice(&block.params);
        params.resize(params.len().next_multiple_of(16), 0);
    }
    params
}

/// What a trace names, and what is written.
fn named_outputs(call: &Call) -> (String, Vec<Tensor>) {
    let outputs = call.writes.iter().flat_map(|output| &output.tensors);
    let name = format!("{} {}", call.label, call.kernel.name);
    (name, outputs.cloned().collect())
}

/// The label of a dispatch: `HP conv1`, or of two networks `HP, LP conv1`.
fn label_of(call: &Call) -> String {
    let Some(twin) = &call.twin else {
        return call.label.clone();
    };
    match call.label.split_once(' ') {
        Some((network, what)) if twin.label.ends_with(what) => {
            let other = twin.label.split(' ').next().unwrap_or_default();
            format!("{network}, {other} {what}")
        }
        _ => format!("{}, {}", call.label, twin.label),
    }
}

/// Whether a call reads one half of a piece of memory and writes the other.
fn reads_written(call: &Call) -> bool {
    let outputs = || call.outputs().map(|output| &output.buffer);
    // Old values of outputs are read through the outputs' own bindings.
    let mut read = call.networks().flat_map(|call| &call.reads);
    read.any(|input| {
        let read = &input.buffer;
        outputs().any(|written| !written.same(read) && written.lies_with(read))
    })
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
    /// [`GpuError::TooLarge`] when a buffer exceeds one binding, [`GpuError::TooManyGroups`], [`GpuError::Lost`] when the driver
    /// refused a kernel, a binding or memory.
    pub fn plan_in(&self, recording: Recording, pool: &mut Pool) -> Result<Plan, GpuError> {
        let recording = match self.most_rows_of_twins() {
            0 => recording,
            most_rows => recording.with_twins(most_rows),
        };
        let compiled = Compiled::new(&recording, &self.tiles(), self.matrices);
        compiled.check_groups()?;
        let (calls, steps) = (&compiled.calls, &compiled.copies.steps);
        let blocks = memory::blocks(steps, calls, &compiled.copies.forms, &recording.twins);
        pool.place(self, &blocks)?;
        let buffers = recording.buffers();
        for buffer in &buffers {
            buffer.allocate(self)?;
        }
        let mut pipelines = Vec::with_capacity(calls.len());
        let mut new_kernels = Vec::new();
        for kernel in compiled.kernels() {
            let (pipeline, new) = self.pipeline(&kernel.blueprint);
            pipelines.push(pipeline);
            new_kernels.extend(new.then_some(kernel));
        }
        self.compile_ahead(new_kernels);
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
            params.extend(params_of(call));
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
                size: std::num::NonZeroU64::new(params_of(call).len() as u64),
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
                copy.buffer.texture_copy(self, copy.numbers);
                Command::Copy(copy.buffer.clone(), copy.rows.clone(), copy.numbers)
            }
            Step::Clear(buffer) => Command::Clear(buffer.clone()),
            Step::Exchange(exchange) => Command::Exchange(exchange.clone()),
            Step::Call(number) => Command::Dispatch {
                pipeline: pipelines[*number].clone(),
                bind_group: bind(*number),
                row: *number,
                outputs: calls[*number].networks().map(named_outputs).collect(),
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
            Resource::Buffer(buffer) => buffer.binding(),
            Resource::Both([first, second]) => {
                debug_assert!(first.lies_with(second));
                first.binding_of_both()
            }
            Resource::Texture(buffer) => {
                wgpu::BindingResource::TextureView(&buffer.texture_copy(self, numbers).view)
            }
            Resource::Schedule => schedule.as_entire_binding(),
        }
    }

    /// Copies what never changes into its texture copies, and gives up the buffers.
    fn copy_constants(&self, copies: &[copies::Copy]) {
        if copies.is_empty() {
            return;
        }
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for copy in copies {
            copy_to_texture(self, &mut encoder, &copy.buffer, &copy.rows, copy.numbers);
        }
        self.queue.submit([encoder.finish()]);
        copies
            .iter()
            .map(|copy| &copy.buffer)
            .for_each(Buffer::release);
    }
}
