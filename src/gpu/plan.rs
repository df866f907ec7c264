//! The complete, fixed list of dispatches of one step, and the ways to walk it.

use std::ops::Range;
use std::sync::Arc;

use super::kernel::{Numbers, Pipeline};
use super::{Buffer, Gpu, GpuError, TEXEL_BYTES, TEXELS_PER_ROW};
use crate::recording::Exchange;
use crate::tensor::Tensor;

/// Room for the numbers that change from step to step.
pub(super) const SCHEDULE_BYTES: usize = 64;

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
        /// What a trace calls the dispatch and what it writes, one entry for each network.
        outputs: Vec<(String, Vec<Tensor>)>,
    },
    /// Copies a buffer to its texture, so that the next kernels can read it fast.
    Copy(Buffer, Range<u32>, Numbers),
    /// Sets a buffer to zero.
    Clear(Buffer),
    /// Waits for other processes.
    Exchange(Exchange),
}

/// What every dispatch wrote: its name and its outputs, in order.
pub type Trace = Vec<(String, Vec<Vec<f32>>)>;

/// A list of dispatches, compiled, bound and placed in memory.
pub struct Plan {
    pub(super) commands: Vec<Command>,
    pub(super) rows: Vec<PlanRow>,
    pub(super) schedule: wgpu::Buffer,
    pub(super) buffers: Vec<Buffer>,
    /// What goes into each submission.
    pub(super) submissions: Vec<Range<usize>>,
}

impl Plan {
    /// Replays the whole list, in one submission unless that would hold too much work. `schedule`
    /// holds the numbers that change from step to step.
    ///
    /// # Panics
    /// If it waits for other processes, see [`Plan::run_with`].
    pub fn run(&self, gpu: &Gpu, schedule: &[u8]) {
        let alone = |_: &Exchange| -> Result<(), std::convert::Infallible> {
            panic!("this plan waits for other processes")
        };
        let Ok(()) = self.run_with(gpu, schedule, alone);
    }

    /// The same, calling `exchange` wherever the list waits for other processes, when everything before is submitted.
    ///
    /// # Errors
    /// The first one of `exchange`.
    pub fn run_with<E>(
        &self,
        gpu: &Gpu,
        schedule: &[u8],
        mut exchange: impl FnMut(&Exchange) -> Result<(), E>,
    ) -> Result<(), E> {
        self.write_schedule(gpu, schedule);
        for range in &self.submissions {
            match &self.commands[range.clone()] {
                [Command::Exchange(what)] => exchange(what)?,
                commands => self.submit(gpu, commands),
            }
        }
        Ok(())
    }

    fn submit(&self, gpu: &Gpu, commands: &[Command]) {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut commands = commands.iter().peekable();
        while let Some(command) = commands.next() {
            match command {
                Command::Copy(buffer, rows, numbers) => {
                    copy_to_texture(gpu, &mut encoder, buffer, rows, *numbers);
                }
                Command::Clear(buffer) => buffer.clear(&mut encoder),
                Command::Exchange(_) => unreachable!("it is a submission of its own"),
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

    /// How many compute passes a run is: copies to textures end one.
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
    /// # Panics
    /// If it waits for other processes.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn trace(&self, gpu: &Gpu, schedule: &[u8]) -> Result<Trace, GpuError> {
        self.write_schedule(gpu, schedule);
        let mut trace = Vec::new();
        for command in &self.commands {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            match command {
                Command::Copy(buffer, rows, numbers) => {
                    copy_to_texture(gpu, &mut encoder, buffer, rows, *numbers);
                    gpu.queue.submit([encoder.finish()]);
                }
                Command::Clear(buffer) => {
                    buffer.clear(&mut encoder);
                    gpu.queue.submit([encoder.finish()]);
                }
                Command::Exchange(_) => panic!("this plan waits for other processes"),
                Command::Dispatch { outputs, .. } => {
                    self.encode(
                        &mut encoder.begin_compute_pass(&Default::default()),
                        command,
                    );
                    gpu.queue.submit([encoder.finish()]);
                    for (name, tensors) in outputs {
                        let mut values = Vec::new();
                        for tensor in tensors {
                            values.push(tensor.read(gpu).await?);
                        }
                        trace.push((name.clone(), values));
                    }
                }
            }
        }
        Ok(trace)
    }
}

pub(super) fn copy_to_texture(
    gpu: &Gpu,
    encoder: &mut wgpu::CommandEncoder,
    buffer: &Buffer,
    rows: &Range<u32>,
    numbers: Numbers,
) {
    let bytes_per_row = TEXELS_PER_ROW * TEXEL_BYTES as u32;
    let mut texture = buffer.texture_copy(gpu, numbers).texture.as_image_copy();
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
