//! Whether an adapter's subgroups are what the subgroup core needs.

use super::matrix::LANES;
use super::{Gpu, GpuError};

const TEST: &str = include_str!("../../shaders/shared/subgroup_test.wgsl");
const GROUPS: usize = 5;

/// Whether an adapter says that all its subgroups have the lanes that the subgroup core takes for granted.
pub(super) fn are_offered(adapter: &wgpu::Adapter) -> bool {
    let info = adapter.get_info();
    let sizes = [info.subgroup_min_size, info.subgroup_max_size];
    adapter.features().contains(wgpu::Features::SUBGROUP)
        && sizes.iter().all(|size| *size as usize == LANES)
}

impl Gpu {
    /// Whether threads number lanes in order and broadcasts bring what was asked for: run, not believed.
    pub(super) async fn broadcasts_work(&self) -> Result<bool, GpuError> {
        let numbers = GROUPS * LANES * LANES;
        let seen = self.buffer("subgroup test", numbers)?;
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("subgroup_test"),
                source: wgpu::ShaderSource::Wgsl(TEST.into()),
            });
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("subgroup_test"),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("subgroup_test"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: seen.raw().as_entire_binding(),
            }],
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bindings, &[]);
            pass.dispatch_workgroups(GROUPS as u32, 1, 1);
        }
        self.queue.submit([encoder.finish()]);
        let seen = self.read_integers(&seen, 0, numbers).await?;
        // Thread t asked for each lane of its workgroup.
        let expected = |at: usize| at / (LANES * LANES) * LANES + at % LANES;
        Ok((0..numbers).all(|at| seen[at] == expected(at) as i32))
    }
}
