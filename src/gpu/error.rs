//! What can go wrong on a device.

use std::sync::Mutex;

/// Why a device could not be opened, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// There is no Vulkan, Metal, DX12 or WebGPU driver at all.
    #[error(
        "no graphics adapter found: no Vulkan, Metal or DX12 driver answered.\n\
         On Debian or Ubuntu without a GPU: apt-get install mesa-vulkan-drivers libvulkan1\n\
         On Fedora: dnf install mesa-vulkan-drivers vulkan-loader\n\
         With a GPU: install its vendor's driver, then look at `gtc adapters`."
    )]
    NoAdapter,
    /// `--adapter` named none of those present.
    #[error("no adapter matches '{wanted}'{hint}. Adapters present:\n{present}")]
    UnknownAdapter {
        /// What was asked for.
        wanted: String,
        /// The nearest name, as a sentence, or nothing.
        hint: String,
        /// One line for each adapter.
        present: String,
    },
    /// The driver refused to give a device with WebGPU's default limits.
    #[error(
        "adapter '{adapter}' gives no device with WebGPU's default limits: {reason}. Try another one with --adapter."
    )]
    NoDevice {
        /// Its name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// `cpu-subgroup` kernels were asked for.
    #[error(
        "adapter '{adapter}' cannot run cpu-subgroup kernels: it has no subgroups of eight lanes, or they failed the test of \
         their broadcasts. Choose another --path or --adapter."
    )]
    NoSubgroups {
        /// Its name.
        adapter: String,
    },
    /// Cooperative matrices were asked for with kernels that read textures.
    #[error(
        "{path} kernels have no cooperative matrices: only those for GPUs (--path gpu) do, on a device that offers them"
    )]
    NoMatricesOnPath {
        /// The form of the kernels.
        path: &'static str,
    },
    /// Cooperative matrices were asked for, and the adapter offers none that kernels can use.
    #[error(
        "adapter '{adapter}' has no cooperative matrices of 16-bit numbers with sums of 32 bits that kernels can use. On Vulkan that takes \
         VK_KHR_cooperative_matrix with matrices of 8 x 8 or 16 x 16 (NVIDIA from Turing on, AMD from RDNA3 on, with a recent \
         driver), on Metal an Apple GPU (M1 and later), and 32 KiB of workgroup memory. Begin a run with `--precision mixed` instead: it needs none of \
         that. A run that began with cooperative needs such a device."
    )]
    NoMatrices {
        /// Its name.
        adapter: String,
    },
    /// The device stopped answering, or reported an error it could not attach to a call.
    #[error(
        "the GPU device failed: {0}. Try again, or choose another adapter with --adapter. A training run goes on from its last \
         checkpoint: `gtc train --resume DIR`."
    )]
    Lost(String),
    /// The device has no more memory.
    #[error("the GPU has not enough memory: {0}. Use a smaller --batch-size.")]
    OutOfMemory(String),
    /// More positions than kernels can count.
    #[error(
        "a batch has {positions} positions in one layer, more than the {limit} that kernels count exactly. Use a \
         smaller --batch-size or smaller images."
    )]
    TooManyPositions {
        /// Images x rows x columns.
        positions: usize,
        /// The most.
        limit: usize,
    },
    /// A kernel would need more workgroups than a dispatch may have.
    #[error(
        "'{what}' needs {groups} workgroups, more than the {limit} that WebGPU allows along one axis. Use a smaller --batch-size."
    )]
    TooManyGroups {
        /// Layer and kernel.
        what: String,
        /// Workgroups along the longest axis.
        groups: u32,
        /// The most.
        limit: u32,
    },
    /// A buffer larger than one binding of this device.
    #[error(
        "'{what}' needs {bytes} bytes, more than the {limit} that one binding holds here. Use a smaller --batch-size."
    )]
    TooLarge {
        /// The tensor.
        what: String,
        /// Its size.
        bytes: u64,
        /// The largest binding.
        limit: u64,
    },
}

impl GpuError {
    /// Whether a smaller batch would help.
    pub(crate) fn is_about_size(&self) -> bool {
        matches!(
            self,
            Self::OutOfMemory(_)
                | Self::TooLarge { .. }
                | Self::TooManyPositions { .. }
                | Self::TooManyGroups { .. }
        )
    }

    /// What is short, without a remedy.
    pub(crate) fn shortage(&self) -> String {
        match self {
            Self::TooLarge { what, bytes, limit } => {
                format!("'{what}' would take {bytes} bytes, and one binding holds {limit}.")
            }
            Self::TooManyPositions { positions, limit } => {
                format!("one layer would have {positions} positions, and kernels count {limit}.")
            }
            Self::TooManyGroups {
                what,
                groups,
                limit,
            } => {
                format!("'{what}' would need {groups} workgroups, and {limit} are allowed.")
            }
            Self::OutOfMemory(message) => format!("its memory is full ({message})."),
            other => other.to_string(),
        }
    }
}

/// An error that the device reported outside any call.
pub(super) enum Failure {
    OutOfMemory(String),
    Other(String),
}

impl Failure {
    pub fn error(&self) -> GpuError {
        match self {
            Failure::OutOfMemory(message) => GpuError::OutOfMemory(message.clone()),
            Failure::Other(message) => GpuError::Lost(message.clone()),
        }
    }
}

pub(super) fn remember(sink: &Mutex<Option<Failure>>, failure: Failure) {
    sink.lock()
        .unwrap_or_else(|e| e.into_inner())
        .get_or_insert(failure);
}
