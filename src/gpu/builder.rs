//! From dispatches to a [`Plan`]: what is mirrored when, and where tensors lie.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::dispatch::{Dispatch, Write, groups_of};
use super::kernel::{Blueprint, Call, Kind, Numbers, Pipeline, PipelineKey};
use super::plan::{Command, Plan, PlanRow, SCHEDULE_BYTES, copy_to_mirror};
use super::{Buffer, Core, Gpu, GpuError, Grid, Path, Pool, TEXELS_PER_ROW};
use crate::tensor::Tensor;

/// Uniform offsets must be multiples of this in WebGPU.
const SLOT: usize = 256;
/// Bindings: 0 params, 1 to 4 inputs, 5 to 8 outputs, 9 to 12 mirrors of outputs.
const SCHEDULE_BINDING: u32 = 13;

/// Collects dispatches; [`PlanBuilder::finish`] makes the [`Plan`].
pub struct PlanBuilder<'g> {
    gpu: &'g Gpu,
    pending: Vec<Pending>,
    rows: Vec<PlanRow>,
    params: Vec<u8>,
    /// Rows of buffers whose mirrors hold what the buffer holds.
    fresh_mirrors: Vec<(Buffer, Range<u32>, Numbers)>,
    buffers: Vec<Buffer>,
    /// Buffers whose content stays, and what is copied of them when the plan is made.
    constants: Vec<Buffer>,
    prologue: Vec<(Buffer, Range<u32>, Numbers)>,
    /// Whether kernels with few inputs read mirrors too.
    mirror_all: bool,
    core: Option<usize>,
    most_cores: usize,
    /// How products of the plan are shared: by kernel and constants.
    cores: Vec<(PipelineKey, Core)>,
    /// Kernels that no plan before had: what the driver may compile ahead.
    pub(super) new_calls: Vec<Call>,
}

enum Pending {
    Dispatch {
        pipeline: Arc<Pipeline>,
        params_offset: u64,
        params_size: u64,
        resources: Vec<(u32, Resource)>,
        row: usize,
        outputs: Vec<Tensor>,
    },
    Mirror(Buffer, Range<u32>, Numbers),
    Clear(Buffer),
}

enum Resource {
    Buffer(Buffer),
    Mirror(Buffer, Numbers),
    Schedule,
}

impl Resource {
    fn kind(&self) -> Kind {
        match self {
            Resource::Buffer(_) => Kind::Buffer,
            Resource::Mirror(_, numbers) => Kind::Mirror(*numbers),
            Resource::Schedule => Kind::Uniform,
        }
    }

    fn binding<'a>(&'a self, gpu: &Gpu, schedule: &'a wgpu::Buffer) -> wgpu::BindingResource<'a> {
        match self {
            Resource::Buffer(buffer) => buffer.raw().as_entire_binding(),
            Resource::Mirror(buffer, numbers) => {
                wgpu::BindingResource::TextureView(&buffer.mirror(gpu, *numbers).view)
            }
            Resource::Schedule => schedule.as_entire_binding(),
        }
    }
}

impl<'g> PlanBuilder<'g> {
    /// An empty list.
    pub fn new(gpu: &'g Gpu) -> Self {
        Self {
            gpu,
            pending: Vec::new(),
            rows: Vec::new(),
            params: Vec::new(),
            fresh_mirrors: Vec::new(),
            buffers: Vec::new(),
            constants: Vec::new(),
            prologue: Vec::new(),
            mirror_all: false,
            core: None,
            most_cores: 0,
            cores: Vec::new(),
            new_calls: Vec::new(),
        }
    }

    /// Says that a buffer holds now what it will hold in every run of this plan, that no kernel
    /// writes it and that no other plan uses it. Where kernels read mirrors, the mirror is made
    /// once and the buffer given up.
    pub fn constant(&mut self, buffer: &Buffer) {
        self.constants.push(buffer.clone());
    }

    /// Lets kernels with few inputs read mirrors too: for tests of that form.
    pub(crate) fn mirror_all(mut self) -> Self {
        self.mirror_all = true;
        self
    }

    /// Lets threads share every product in way number `core` of [`Kernel::cores`], or in the last: for tests of
    /// each.
    pub(crate) fn with_core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// In how many ways threads can share a product of this plan.
    pub(crate) fn most_cores(&self) -> usize {
        self.most_cores
    }

    /// The device the plan is for.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// How threads share a call's product, if it is one, and its workgroups.
    fn share(&mut self, call: &Dispatch<'_>) -> (Option<Core>, [u32; 3]) {
        let (size, splits) = match call.grid {
            Grid::Threads(threads) => return (None, groups_of(threads)),
            Grid::Groups(groups) => return (None, groups),
            Grid::Product { size, splits } => (size, splits),
        };
        let path = self.gpu.path();
        let cores = call.kernel.cores(path, size[0]);
        self.most_cores = self.most_cores.max(cores.len());
        let key = PipelineKey::new(call.kernel, call.constants, path, None);
        let known = self.cores.iter().filter(|(known, _)| *known == key);
        let known: Vec<Core> = known.map(|(_, core)| *core).collect();
        let core = match self.core {
            Some(number) => cores.get(number).or(cores.last()).copied(),
            None => call.kernel.core(path, size, call.flops, &known),
        };
        let core = core.unwrap_or_else(|| panic!("{} is no product", call.kernel.name));
        if !known.contains(&core) {
            self.cores.push((key, core));
        }
        (Some(core), core.groups(size, splits))
    }

    /// Appends one kernel call. On the paths for CPU drivers the inputs are mirrored into textures first,
    /// unless their mirrors are still true.
    pub fn dispatch(&mut self, call: Dispatch<'_>) {
        let (core, groups) = self.share(&call);
        let numbers = call.kernel.numbers;
        let mut resources = Vec::new();
        let path = self.path_of(&call);
        for (slot, tensor) in call.reads.iter().enumerate() {
            resources.push((1 + slot as u32, self.input(tensor, numbers, path)));
        }
        for (slot, write) in call.writes.iter().enumerate() {
            let buffer = &write.tensor().buffer;
            self.note(buffer);
            if matches!(write, Write::Update(_)) && path.mirrors() {
                resources.push((9 + slot as u32, self.input(write.tensor(), numbers, path)));
            }
            resources.push((5 + slot as u32, Resource::Buffer(buffer.clone())));
        }
        if call.schedule {
            resources.push((SCHEDULE_BINDING, Resource::Schedule));
        }
        let outputs = call.writes.iter().flat_map(|write| write.tensors());
        let outputs: Vec<Tensor> = outputs.cloned().collect();
        for output in &outputs {
            let (rows, buffer) = (mirror_rows(output), &output.buffer);
            self.fresh_mirrors.retain(|(fresh, range, _)| {
                !fresh.same(buffer) || range.end <= rows.start || rows.end <= range.start
            });
        }
        let params_offset = self.params.len() as u64;
        self.params.extend_from_slice(call.params);
        self.params
            .resize(self.params.len().next_multiple_of(SLOT), 0);
        let updates = call.writes.iter().filter(|w| matches!(w, Write::Update(_)));
        let moved: usize = call.reads.iter().map(|t| t.len()).sum::<usize>()
            + outputs.iter().map(Tensor::len).sum::<usize>()
            + updates.map(|w| w.tensor().len()).sum::<usize>();
        self.rows.push(PlanRow {
            label: call.label.to_owned(),
            kernel: call.kernel.name,
            reads: call.reads.iter().map(|t| t.shape.clone()).collect(),
            writes: outputs.iter().map(|t| t.shape.clone()).collect(),
            grid: groups,
            flops: call.flops,
            bytes: moved as u64 * 4,
        });
        let blueprint = Blueprint {
            kernel: call.kernel,
            constants: call.constants.to_vec(),
            path,
            core,
        };
        let (pipeline, new) = self.gpu.pipeline(&blueprint);
        if new {
            let params = (0, Kind::Uniform);
            let bindings = resources
                .iter()
                .map(|(binding, resource)| (*binding, resource.kind()));
            self.new_calls.push(Call {
                blueprint,
                bindings: [params].into_iter().chain(bindings).collect(),
            });
        }
        self.pending.push(Pending::Dispatch {
            pipeline,
            params_offset,
            params_size: call.params.len() as u64,
            resources,
            row: self.rows.len() - 1,
            outputs,
        });
    }

    /// Appends setting a whole buffer to zero.
    pub fn clear(&mut self, buffer: &Buffer) {
        self.note(buffer);
        self.fresh_mirrors.retain(|(fresh, ..)| !fresh.same(buffer));
        self.pending.push(Pending::Clear(buffer.clone()));
    }

    /// The form of a call's kernel.
    fn path_of(&self, call: &Dispatch<'_>) -> Path {
        let updates = call.writes.iter().filter_map(|write| match write {
            Write::Update(tensor) => Some(tensor),
            _ => None,
        });
        let inputs: Vec<&Tensor> = call.reads.iter().chain(updates).copied().collect();
        let texels = inputs.iter().map(|tensor| tensor.texels()).sum();
        let is_constant = |tensor: &&Tensor| self.constants.iter().any(|c| c.same(&tensor.buffer));
        let mirrored = self.mirror_all || inputs.iter().any(is_constant);
        match !mirrored && call.kernel.reads_buffers(texels) {
            true => Path::Gpu,
            false => self.gpu.path(),
        }
    }

    fn input(&mut self, tensor: &Tensor, numbers: Numbers, path: Path) -> Resource {
        let buffer = &tensor.buffer;
        self.note(buffer);
        if !path.mirrors() {
            return Resource::Buffer(buffer.clone());
        }
        let rows = mirror_rows(tensor);
        let fresh = self.fresh_mirrors.iter().any(|(known, range, form)| {
            known.same(buffer)
                && *form == numbers
                && range.start <= rows.start
                && rows.end <= range.end
        });
        if !fresh {
            let mirror = (buffer.clone(), rows.clone(), numbers);
            if self.constants.iter().any(|known| known.same(buffer)) {
                self.prologue.push(mirror.clone());
            } else {
                let (buffer, rows, numbers) = mirror.clone();
                self.pending.push(Pending::Mirror(buffer, rows, numbers));
            }
            self.fresh_mirrors.push(mirror);
        }
        Resource::Mirror(buffer.clone(), numbers)
    }

    fn note(&mut self, buffer: &Buffer) {
        if !self.buffers.iter().any(|known| known.same(buffer)) {
            self.buffers.push(buffer.clone());
        }
    }

    /// [`PlanBuilder::finish_in`] with working memory of its own.
    ///
    /// # Errors
    /// As there.
    pub fn finish(self) -> Result<Plan, GpuError> {
        self.finish_in(&mut Pool::default())
    }

    /// Moves copies to mirrors up to the first copies after the last write of what they copy. Every
    /// group of copies ends a compute pass, which costs a CPU driver more than the copies do.
    fn gather_mirrors(&mut self) {
        let after_write: Vec<usize> = (0..self.pending.len())
            .map(|at| self.mirror_is_true_from(at))
            .collect();
        let mut commands: Vec<Option<Pending>> = self.pending.drain(..).map(Some).collect();
        let is_mirror = |command: &Option<Pending>| matches!(command, Some(Pending::Mirror(..)));
        for at in 0..commands.len() {
            if is_mirror(&commands[at]) {
                for later in at + 1..commands.len() {
                    if is_mirror(&commands[later]) && after_write[later] <= at {
                        self.pending.extend(commands[later].take());
                    }
                }
            }
            self.pending.extend(commands[at].take());
        }
    }

    /// The first place where a copy to a mirror copies what it does at `at`.
    fn mirror_is_true_from(&self, at: usize) -> usize {
        let Pending::Mirror(buffer, rows, _) = &self.pending[at] else {
            return at;
        };
        let writes = |command: &Pending| match command {
            Pending::Mirror(..) => false,
            Pending::Clear(cleared) => cleared.same(buffer),
            Pending::Dispatch { outputs, .. } => outputs.iter().any(|output| {
                let written = mirror_rows(output);
                output.buffer.same(buffer) && written.start < rows.end && rows.start < written.end
            }),
        };
        let last = self.pending[..at].iter().rposition(writes);
        last.map_or(0, |last| last + 1)
    }

    /// First and last command that touch each transient buffer.
    fn lives(&self) -> Vec<(Buffer, RangeInclusive<usize>)> {
        let mut lives: Vec<(Buffer, RangeInclusive<usize>)> = Vec::new();
        let mut touch = |buffer: &Buffer, at: usize| {
            if !buffer.is_transient() {
                return;
            }
            match lives.iter_mut().find(|(known, _)| known.same(buffer)) {
                Some((_, life)) => *life = *life.start()..=at,
                None => lives.push((buffer.clone(), at..=at)),
            }
        };
        for (at, command) in self.pending.iter().enumerate() {
            match command {
                Pending::Mirror(buffer, ..) | Pending::Clear(buffer) => touch(buffer, at),
                Pending::Dispatch { resources, .. } => {
                    for (_, resource) in resources {
                        if let Resource::Buffer(buffer) | Resource::Mirror(buffer, _) = resource {
                            touch(buffer, at);
                        }
                    }
                }
            }
        }
        lives
    }

    /// Cuts the list where a submission would grow too long.
    fn submissions(&self) -> Vec<Range<usize>> {
        let most = self.gpu.submission_flops();
        let mut submissions = Vec::new();
        let (mut first, mut flops) = (0, 0);
        for (at, command) in self.pending.iter().enumerate() {
            let Pending::Dispatch { row, .. } = command else {
                continue;
            };
            let more = self.rows[*row].flops;
            if flops + more > most && flops > 0 {
                submissions.push(first..at);
                (first, flops) = (at, 0);
            }
            flops += more;
        }
        submissions.push(first..self.pending.len());
        submissions
    }

    /// Places transient buffers in the pool, uploads the parameters and binds everything; nothing
    /// is decided after this.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when a buffer exceeds one binding, [`GpuError::Lost`] when the driver
    /// refused a kernel, a binding or memory.
    pub fn finish_in(mut self, pool: &mut Pool) -> Result<Plan, GpuError> {
        self.gpu.compile_ahead(std::mem::take(&mut self.new_calls));
        self.gather_mirrors();
        pool.place(self.gpu, self.lives())?;
        let submissions = self.submissions();
        let device = &self.gpu.device;
        let uniform = |label, size: usize| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size.max(SLOT) as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let params = uniform("params", self.params.len());
        self.gpu.queue.write_buffer(&params, 0, &self.params);
        let schedule = uniform("schedule", SCHEDULE_BYTES);
        let mut commands = Vec::with_capacity(self.pending.len());
        for pending in self.pending {
            commands.push(match pending {
                Pending::Mirror(buffer, rows, numbers) => {
                    buffer.mirror(self.gpu, numbers);
                    Command::Mirror(buffer, rows, numbers)
                }
                Pending::Clear(buffer) => Command::Clear(buffer),
                Pending::Dispatch {
                    pipeline,
                    params_offset,
                    params_size,
                    resources,
                    row,
                    outputs,
                } => {
                    let uniform = wgpu::BufferBinding {
                        buffer: &params,
                        offset: params_offset,
                        size: std::num::NonZeroU64::new(params_size.next_multiple_of(16)),
                    };
                    let uniform = (0, wgpu::BindingResource::Buffer(uniform));
                    let resources = resources.iter().map(|(binding, resource)| {
                        (*binding, resource.binding(self.gpu, &schedule))
                    });
                    let entries = [uniform].into_iter().chain(resources);
                    let entries = entries
                        .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource });
                    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some(&self.rows[row].label),
                        layout: &pipeline.layout,
                        entries: &entries.collect::<Vec<_>>(),
                    });
                    Command::Dispatch {
                        pipeline,
                        bind_group,
                        row,
                        outputs,
                    }
                }
            });
        }
        if !self.prologue.is_empty() {
            let mut encoder = device.create_command_encoder(&Default::default());
            for (buffer, rows, numbers) in &self.prologue {
                copy_to_mirror(self.gpu, &mut encoder, buffer, rows, *numbers);
            }
            self.gpu.queue.submit([encoder.finish()]);
            for (buffer, ..) in &self.prologue {
                buffer.release();
            }
        }
        self.gpu.check()?;
        Ok(Plan {
            commands,
            rows: self.rows,
            schedule,
            buffers: self.buffers,
            submissions,
        })
    }
}

/// The rows of the mirror texture that a tensor lies in.
fn mirror_rows(tensor: &Tensor) -> Range<u32> {
    let end = tensor.base() + tensor.texels().max(1);
    tensor.base() / TEXELS_PER_ROW..end.div_ceil(TEXELS_PER_ROW)
}
