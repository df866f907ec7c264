//! Reading results: the one place that waits for the GPU.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{Buffer, Gpu, GpuError};
use crate::tensor::Tensor;

/// A staging buffer of fixed size, reused for every read of the same few numbers.
pub struct Readback {
    staging: wgpu::Buffer,
}

/// As with [`super::buffer::Memory`].
#[cfg(target_arch = "wasm32")]
impl Drop for Readback {
    fn drop(&mut self) {
        self.staging.destroy();
    }
}

#[derive(Default)]
struct Answer {
    result: Option<Result<(), String>>,
    waker: Option<Waker>,
}

/// Completes when the driver has answered.
#[derive(Clone, Default)]
struct Answered(Arc<Mutex<Answer>>);

impl Answered {
    fn answer(&self, result: Result<(), String>) {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        state.result = Some(result);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Answered {
    type Output = Result<(), String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Readback {
    /// Room for `elements` floats.
    pub fn new(gpu: &Gpu, elements: usize) -> Self {
        let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: (elements.max(1) * 4) as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { staging }
    }

    /// Reads floats from an element offset, after all work submitted so far.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn read(
        &self,
        gpu: &Gpu,
        buffer: &Buffer,
        offset: usize,
    ) -> Result<Vec<f32>, GpuError> {
        self.copy(gpu, buffer.raw(), buffer.first_byte() + offset as u64 * 4)
            .await
    }

    async fn copy<T: bytemuck::Pod>(
        &self,
        gpu: &Gpu,
        source: &wgpu::Buffer,
        offset: u64,
    ) -> Result<Vec<T>, GpuError> {
        let bytes = self.staging.size();
        self.copy_all(gpu, &[(source, offset, bytes)]).await
    }

    /// Reads several tensors, one behind the other, after all work submitted so far. Together they have as many floats as
    /// there is room for.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn read_tensors(&self, gpu: &Gpu, tensors: &[Tensor]) -> Result<Vec<f32>, GpuError> {
        let mut sources = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let [offset, bytes] = [tensor.offset, tensor.len()].map(|floats| 4 * floats as u64);
            let buffer = &tensor.buffer;
            sources.push((buffer.raw(), buffer.first_byte() + offset, bytes));
        }
        self.copy_all(gpu, &sources).await
    }

    async fn copy_all<T: bytemuck::Pod>(
        &self,
        gpu: &Gpu,
        sources: &[(&wgpu::Buffer, u64, u64)],
    ) -> Result<Vec<T>, GpuError> {
        let bytes = self.staging.size();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut end = 0;
        for (source, offset, length) in sources {
            encoder.copy_buffer_to_buffer(source, *offset, &self.staging, end, *length);
            end += length;
        }
        gpu.queue.submit([encoder.finish()]);
        let mapped = Answered::default();
        let shared = mapped.clone();
        self.staging
            .map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
                shared.answer(result.map_err(|e| e.to_string()));
            });
        #[cfg(not(target_arch = "wasm32"))]
        gpu.wait();
        mapped.await.map_err(GpuError::Lost)?;
        let values = {
            let view = self
                .staging
                .get_mapped_range(0..bytes)
                .map_err(|e| GpuError::Lost(e.to_string()))?;
            bytemuck::pod_collect_to_vec(&view)
        };
        self.staging.unmap();
        gpu.check()?;
        Ok(values)
    }
}

impl Gpu {
    /// Waits until everything submitted is done, in a browser too.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub(crate) async fn finish(&self) -> Result<(), GpuError> {
        // A device that is lost may never answer, and waiting notices that.
        #[cfg(not(target_arch = "wasm32"))]
        self.wait();
        #[cfg(target_arch = "wasm32")]
        {
            let done = Answered::default();
            let shared = done.clone();
            self.queue
                .on_submitted_work_done(move || shared.answer(Ok(())));
            done.await.map_err(GpuError::Lost)?;
        }
        self.check()
    }

    /// Reads `elements` numbers at an element offset through a staging buffer of its own.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn read(
        &self,
        buffer: &Buffer,
        offset: usize,
        elements: usize,
    ) -> Result<Vec<f32>, GpuError> {
        let storage = buffer.storage();
        let [first, bytes] = [offset, elements].map(|count| count as u64 * storage.bytes());
        let words: Vec<u32> = Readback::new(self, bytes.div_ceil(4) as usize)
            .copy(self, buffer.raw(), buffer.first_byte() + first)
            .await?;
        Ok(storage.decode(&words, elements))
    }

    /// [`Gpu::read`] of integers.
    ///
    /// # Errors
    /// As there.
    pub async fn read_integers(
        &self,
        buffer: &Buffer,
        offset: usize,
        elements: usize,
    ) -> Result<Vec<i32>, GpuError> {
        Readback::new(self, elements)
            .copy(self, buffer.raw(), buffer.first_byte() + offset as u64 * 4)
            .await
    }

    pub(super) async fn read_u64(
        &self,
        source: &wgpu::Buffer,
        count: usize,
    ) -> Result<Vec<u64>, GpuError> {
        Readback::new(self, 2 * count).copy(self, source, 0).await
    }
}
