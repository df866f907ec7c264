//! Timing a plan: the same list, one pass a dispatch, a timestamp at either end.

use super::plan::{Command, copy_to_texture};
use super::{Gpu, GpuError, Plan};

/// Timestamps that WebGPU allows in a set.
const QUERIES: u32 = wgpu::QUERY_SET_MAX_QUERIES;

/// Time of one dispatch. The copies before it are a timing of their own, `copies`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Timing {
    /// Layer and purpose.
    pub label: String,
    /// Shader; `copies` for copies from buffers to textures, or `gap` where there are no such copies.
    pub kernel: &'static str,
    /// Microseconds.
    pub microseconds: f64,
    /// Floating-point operations done in that time.
    pub flops: u64,
    /// Bytes that had to move.
    pub bytes: u64,
}

impl Plan {
    /// Runs the list once and returns the time of every dispatch; the copies between two
    /// dispatches are listed as `copies`, or the time between them as `gap`. Empty where the adapter has no timestamps.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn profile(&self, gpu: &Gpu, schedule: &[u8]) -> Result<Vec<Timing>, GpuError> {
        if !gpu.has_timestamps() {
            return Ok(Vec::new());
        }
        self.write_schedule(gpu, schedule);
        let count = 2 * self.rows.len() as u32;
        let in_sets: Vec<u32> = (0..count)
            .step_by(QUERIES as usize)
            .map(|first| QUERIES.min(count - first))
            .collect();
        let set = |count: &u32| {
            gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("profile"),
                ty: wgpu::QueryType::Timestamp,
                count: *count,
            })
        };
        let sets: Vec<wgpu::QuerySet> = in_sets.iter().map(set).collect();
        let bytes = u64::from(count) * 8;
        let buffer = |usage| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for command in &self.commands {
            match command {
                Command::Copy(buffer, rows, numbers) => {
                    copy_to_texture(gpu, &mut encoder, buffer, rows, *numbers);
                }
                Command::Clear(buffer) => buffer.clear(&mut encoder),
                Command::Exchange(_) => panic!("this plan waits for other processes"),
                Command::Dispatch { row, .. } => {
                    let first = 2 * *row as u32 % QUERIES;
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: &sets[2 * *row / QUERIES as usize],
                            beginning_of_pass_write_index: Some(first),
                            end_of_pass_write_index: Some(first + 1),
                        }),
                    });
                    self.encode(&mut pass, command);
                }
            }
        }
        for (number, (set, count)) in sets.iter().zip(in_sets).enumerate() {
            let offset = number as u64 * u64::from(QUERIES) * 8;
            encoder.resolve_query_set(set, 0..count, &resolved, offset);
        }
        gpu.queue.submit([encoder.finish()]);
        let ticks = gpu.read_u64(&resolved, count as usize).await?;
        let period = f64::from(gpu.queue.get_timestamp_period()) / 1000.0;
        let microseconds = |from: u64, to: u64| to.saturating_sub(from) as f64 * period;
        let between = if gpu.path().reads_textures() {
            "copies"
        } else {
            "gap"
        };
        let mut timings: Vec<Timing> = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            if i > 0 {
                timings.push(Timing {
                    label: row.label.clone(),
                    kernel: between,
                    microseconds: microseconds(ticks[2 * i - 1], ticks[2 * i]),
                    flops: 0,
                    bytes: 0,
                });
            }
            timings.push(Timing {
                label: row.label.clone(),
                kernel: row.kernel,
                microseconds: microseconds(ticks[2 * i], ticks[2 * i + 1]),
                flops: row.flops,
                bytes: row.bytes,
            });
        }
        Ok(timings)
    }
}
