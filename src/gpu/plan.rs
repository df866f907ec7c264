//! The complete, fixed list of dispatches of one step, and the ways to walk it.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::kernel::{Kernel, Numbers, Pipeline, WORKGROUP};
use super::{Buffer, Gpu, GpuError, Path, Pool, TEXEL_BYTES, TEXELS_PER_ROW};
use crate::tensor::Tensor;

/// Uniform offsets must be multiples of this in WebGPU.
const SLOT: usize = 256;
/// Room for the numbers that change from step to step.
const SCHEDULE_BYTES: usize = 64;
/// Bindings: 0 params, 1 to 4 inputs, 5 to 8 outputs, 9 to 12 mirrors of outputs.
const SCHEDULE_BINDING: u32 = 13;
const MAX_GROUPS: u32 = 65_535;

/// An output of a dispatch.
#[derive(Clone, Copy)]
pub enum Write<'a> {
    /// Overwritten without looking.
    New(&'a Tensor),
    /// Two ranges of one buffer, both overwritten without looking.
    Both(&'a Tensor, &'a Tensor),
    /// Read as `previous_N` and then overwritten.
    Update(&'a Tensor),
}

impl<'a> Write<'a> {
    fn tensor(self) -> &'a Tensor {
        match self {
            Write::New(tensor) | Write::Both(tensor, _) | Write::Update(tensor) => tensor,
        }
    }

    fn tensors(self) -> impl Iterator<Item = &'a Tensor> {
        let second = match self {
            Write::Both(_, second) => Some(second),
            _ => None,
        };
        [self.tensor()].into_iter().chain(second)
    }
}

/// How many threads run.
#[derive(Clone, Copy, Debug)]
pub enum Grid {
    /// At least this many threads in workgroups of [`WORKGROUP`]; a large number is folded into
    /// y, and the kernel's `thread_index` unfolds it.
    Threads(u32),
    /// Exactly these workgroups.
    Groups([u32; 3]),
}

impl Grid {
    fn groups(self) -> [u32; 3] {
        match self {
            Grid::Groups(groups) => groups,
            Grid::Threads(threads) => {
                let groups = threads.div_ceil(WORKGROUP).max(1);
                let y = groups.div_ceil(MAX_GROUPS);
                [groups.div_ceil(y), y, 1]
            }
        }
    }
}

/// One kernel call, as data.
pub struct Dispatch<'a> {
    /// The shader.
    pub kernel: &'static Kernel,
    /// What it does here: the layer's name.
    pub label: &'a str,
    /// Values of `override` constants.
    pub constants: &'a [(&'static str, f64)],
    /// The uniform block, a `#[repr(C)]` twin of the shader's `Params`.
    pub params: &'a [u8],
    /// Inputs `a`, `b`, `c`, `d`.
    pub reads: &'a [&'a Tensor],
    /// Outputs 0 to 3.
    pub writes: &'a [Write<'a>],
    /// Whether the kernel reads the block of numbers that change from step to step.
    pub schedule: bool,
    /// Threads.
    pub grid: Grid,
    /// Floating-point operations, for reports.
    pub flops: u64,
}

/// One line of `gtc plan`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PlanRow {
    /// Layer and purpose.
    pub label: String,
    /// Shader.
    pub kernel: &'static str,
    /// Shapes read.
    pub reads: Vec<Vec<usize>>,
    /// Shapes written.
    pub writes: Vec<Vec<usize>>,
    /// Workgroups.
    pub grid: [u32; 3],
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes that must move at least once.
    pub bytes: u64,
}

pub(super) enum Command {
    Dispatch {
        pipeline: Arc<Pipeline>,
        bind_group: wgpu::BindGroup,
        row: usize,
        outputs: Vec<Tensor>,
    },
    /// Copies a buffer to its texture, so that the next kernels can read it fast.
    Mirror(Buffer, Range<u32>, Numbers),
    /// Sets a buffer to zero.
    Clear(Buffer),
}

/// What every dispatch wrote: its name and its outputs, in order.
pub type Trace = Vec<(String, Vec<Vec<f32>>)>;

/// A list of dispatches, compiled, bound and placed in memory.
pub struct Plan {
    pub(super) commands: Vec<Command>,
    pub(super) rows: Vec<PlanRow>,
    schedule: wgpu::Buffer,
    buffers: Vec<Buffer>,
    /// What goes into each submission.
    submissions: Vec<Range<usize>>,
}

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
        }
    }

    /// Says that a buffer holds now what it will hold in every run of this plan, that no kernel
    /// writes it and that no other plan uses it. Where kernels read mirrors, the mirror is made
    /// once and the buffer given up.
    pub fn constant(&mut self, buffer: &Buffer) {
        self.constants.push(buffer.clone());
    }

    /// The device the plan is for.
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Appends one kernel call. On the paths for CPU drivers the inputs are mirrored into textures first,
    /// unless their mirrors are still true.
    pub fn dispatch(&mut self, call: Dispatch<'_>) {
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
            grid: call.grid.groups(),
            flops: call.flops,
            bytes: moved as u64 * 4,
        });
        self.pending.push(Pending::Dispatch {
            pipeline: self.gpu.pipeline(call.kernel, call.constants, path),
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
        match call.kernel.reads_buffers(texels) && !inputs.iter().any(is_constant) {
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
            let (pipeline, offset, size, resources, row, outputs) = match pending {
                Pending::Mirror(buffer, rows, numbers) => {
                    buffer.mirror(self.gpu, numbers);
                    commands.push(Command::Mirror(buffer, rows, numbers));
                    continue;
                }
                Pending::Clear(buffer) => {
                    commands.push(Command::Clear(buffer));
                    continue;
                }
                Pending::Dispatch {
                    pipeline,
                    params_offset,
                    params_size,
                    resources,
                    row,
                    outputs,
                } => (
                    pipeline,
                    params_offset,
                    params_size,
                    resources,
                    row,
                    outputs,
                ),
            };
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &params,
                    offset,
                    size: std::num::NonZeroU64::new(size.next_multiple_of(16)),
                }),
            }];
            for (binding, resource) in &resources {
                entries.push(wgpu::BindGroupEntry {
                    binding: *binding,
                    resource: match resource {
                        Resource::Buffer(buffer) => buffer.raw().as_entire_binding(),
                        Resource::Mirror(buffer, numbers) => {
                            let mirror = buffer.mirror(self.gpu, *numbers);
                            wgpu::BindingResource::TextureView(&mirror.view)
                        }
                        Resource::Schedule => schedule.as_entire_binding(),
                    },
                });
            }
            let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&self.rows[row].label),
                layout: &pipeline.layout,
                entries: &entries,
            });
            commands.push(Command::Dispatch {
                pipeline,
                bind_group,
                row,
                outputs,
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

impl Plan {
    /// Replays the whole list, in one submission unless that would hold too much work. `schedule`
    /// holds the numbers that change from step to step.
    pub fn run(&self, gpu: &Gpu, schedule: &[u8]) {
        self.write_schedule(gpu, schedule);
        for range in &self.submissions {
            self.submit(gpu, &self.commands[range.clone()]);
        }
    }

    fn submit(&self, gpu: &Gpu, commands: &[Command]) {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut commands = commands.iter().peekable();
        while let Some(command) = commands.next() {
            match command {
                Command::Mirror(buffer, rows, numbers) => {
                    copy_to_mirror(gpu, &mut encoder, buffer, rows, *numbers);
                }
                Command::Clear(buffer) => encoder.clear_buffer(buffer.raw(), 0, None),
                Command::Dispatch { .. } => {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    self.encode(&mut pass, command);
                    while let Some(next) =
                        commands.next_if(|next| matches!(next, Command::Dispatch { .. }))
                    {
                        self.encode(&mut pass, next);
                    }
                }
            }
        }
        gpu.queue.submit([encoder.finish()]);
        // Finished submissions are freed only when somebody polls.
        gpu.poll();
    }

    pub(super) fn write_schedule(&self, gpu: &Gpu, schedule: &[u8]) {
        assert!(
            schedule.len() <= SCHEDULE_BYTES,
            "the schedule outgrew its block"
        );
        if !schedule.is_empty() {
            gpu.queue.write_buffer(&self.schedule, 0, schedule);
        }
    }

    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>, command: &Command) {
        if let Command::Dispatch {
            pipeline,
            bind_group,
            row,
            ..
        } = command
        {
            let [x, y, z] = self.rows[*row].grid;
            pass.set_pipeline(&pipeline.raw);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// The list as data.
    pub fn rows(&self) -> &[PlanRow] {
        &self.rows
    }

    /// How many compute passes a run is: copies to mirrors end one.
    pub fn passes(&self) -> usize {
        let is_dispatch = |command: &Command| matches!(command, Command::Dispatch { .. });
        let starts = |commands: &[Command]| {
            let firsts = commands
                .windows(2)
                .filter(|pair| !is_dispatch(&pair[0]) && is_dispatch(&pair[1]));
            firsts.count() + usize::from(commands.first().is_some_and(is_dispatch))
        };
        self.submissions
            .iter()
            .map(|range| starts(&self.commands[range.clone()]))
            .sum()
    }

    /// How many submissions a run is.
    pub fn submissions(&self) -> usize {
        self.submissions.len()
    }

    /// Every buffer the list touches, in order of first use.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Runs the list one dispatch at a time and reads every output: for finding the first wrong
    /// number.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn trace(&self, gpu: &Gpu, schedule: &[u8]) -> Result<Trace, GpuError> {
        self.write_schedule(gpu, schedule);
        let mut trace = Vec::new();
        for command in &self.commands {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            match command {
                Command::Mirror(buffer, rows, numbers) => {
                    copy_to_mirror(gpu, &mut encoder, buffer, rows, *numbers);
                    gpu.queue.submit([encoder.finish()]);
                }
                Command::Clear(buffer) => {
                    encoder.clear_buffer(buffer.raw(), 0, None);
                    gpu.queue.submit([encoder.finish()]);
                }
                Command::Dispatch { row, outputs, .. } => {
                    self.encode(
                        &mut encoder.begin_compute_pass(&Default::default()),
                        command,
                    );
                    gpu.queue.submit([encoder.finish()]);
                    let mut values = Vec::new();
                    for output in outputs {
                        values.push(output.read(gpu).await?);
                    }
                    let row = &self.rows[*row];
                    trace.push((format!("{} {}", row.label, row.kernel), values));
                }
            }
        }
        Ok(trace)
    }
}

/// The rows of the mirror texture that a tensor lies in.
fn mirror_rows(tensor: &Tensor) -> Range<u32> {
    let end = tensor.base() + tensor.texels().max(1);
    tensor.base() / TEXELS_PER_ROW..end.div_ceil(TEXELS_PER_ROW)
}

pub(super) fn copy_to_mirror(
    gpu: &Gpu,
    encoder: &mut wgpu::CommandEncoder,
    buffer: &Buffer,
    rows: &Range<u32>,
    numbers: Numbers,
) {
    let bytes_per_row = TEXELS_PER_ROW * TEXEL_BYTES as u32;
    let mut texture = buffer.mirror(gpu, numbers).texture.as_image_copy();
    texture.origin.y = rows.start;
    encoder.copy_buffer_to_texture(
        wgpu::TexelCopyBufferInfo {
            buffer: buffer.raw(),
            layout: wgpu::TexelCopyBufferLayout {
                offset: u64::from(rows.start) * u64::from(bytes_per_row),
                bytes_per_row: Some(bytes_per_row),
                rows_per_image: Some(rows.len() as u32),
            },
        },
        texture,
        wgpu::Extent3d {
            width: TEXELS_PER_ROW,
            height: rows.len() as u32,
            depth_or_array_layers: 1,
        },
    );
}
