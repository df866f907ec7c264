//! What each kind of device wants: how kernels read, how threads share a matrix product, what costs how much. Nothing
//! else in the crate says anything about kinds of devices.

mod cpu_sampled;
mod cpu_storage;
mod cpu_subgroup;
mod gpu;

pub(super) use gpu::steps;

use super::{Core, Family};

/// Which form of every kernel an adapter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// Storage buffers and workgroup tiles: what a GPU wants.
    Gpu,
    /// Sampled textures and register tiles: for SwiftShader and other drivers on a CPU.
    CpuSampled,
    /// Storage textures and register tiles: for lavapipe, where these reads are twice as fast.
    CpuStorage,
    /// The same, with products shared by the lanes of subgroups of eight.
    CpuSubgroup,
}

impl Path {
    /// All of them.
    pub const ALL: [Path; 4] = [
        Path::Gpu,
        Path::CpuSampled,
        Path::CpuStorage,
        Path::CpuSubgroup,
    ];

    /// What devices of this kind want.
    pub fn backend(self) -> &'static Backend {
        match self {
            Path::Gpu => &gpu::BACKEND,
            Path::CpuSampled => &cpu_sampled::BACKEND,
            Path::CpuStorage => &cpu_storage::BACKEND,
            Path::CpuSubgroup => &cpu_subgroup::BACKEND,
        }
    }

    /// The word used on the command line and in reports.
    pub fn name(self) -> &'static str {
        self.backend().name
    }

    /// Whether kernels read textures that hold copies of the buffers.
    pub fn reads_textures(self) -> bool {
        self.backend().texts.textures
    }

    /// The form that suits an adapter: the first whose backend recognises it, special ones first.
    pub(super) fn of(adapter: &Facts<'_>) -> Self {
        let special_first = [
            Path::CpuSubgroup,
            Path::CpuStorage,
            Path::CpuSampled,
            Path::Gpu,
        ];
        let mut known = special_first.into_iter();
        let found = known.find(|path| (path.backend().recognises)(adapter));
        found.unwrap_or(Path::Gpu)
    }
}

/// What tells kinds of adapters apart.
pub(super) struct Facts<'a> {
    pub info: &'a wgpu::AdapterInfo,
    /// Whether kernels can bring numbers from lane to lane of subgroups of eight.
    pub has_subgroups: bool,
}

impl Facts<'_> {
    /// Whether the adapter or its driver has one of these names. A browser hides the kind of its adapter, so names
    /// count too.
    fn is_named(&self, names: &[&str]) -> bool {
        let info = self.info;
        let text = format!("{} {} {}", info.name, info.driver, info.driver_info).to_lowercase();
        names.iter().any(|name| text.contains(name))
    }

    /// Mesa's driver for CPUs. It compiles a kernel when it first runs.
    pub fn is_lavapipe(&self) -> bool {
        self.is_named(&["llvmpipe", "lavapipe"])
    }
}

/// The texts through which a kernel reads.
pub(super) struct Texts {
    /// Whether inputs are textures that hold copies of buffers.
    pub textures: bool,
    /// Defines `read_a` to `read_d`.
    pub inputs: &'static str,
    /// Whether textures are storage textures, whose format a text of its own says.
    pub storage: bool,
    /// Defines `previous_0` to `previous_3`, if `inputs` does not; the second for kernels that read so little that
    /// storage textures do for old values too.
    pub previous: Option<[&'static str; 2]>,
}

/// How many partial sums a weight gradient is made of.
#[derive(Clone, Copy, Debug)]
pub struct WeightSums {
    /// Rows and columns of weights that a thread or workgroup sums. Not the tiles of the matrix cores: the order of a
    /// sum decides its last bits, and those should not change with a core. Near edges they do, because tiles leave out
    /// different positions.
    pub tile: [usize; 2],
    /// Tiles times partial sums that keep the device busy.
    pub busy: usize,
    /// Blocks of four positions whose inputs stay in a cache until the next tile reads them again.
    pub cached: usize,
}

/// Into how many ranges the depth of a product is cut, forward and backward to the input.
#[derive(Clone, Copy, Debug)]
pub struct DepthSplits {
    /// Tiles of 64 x 64 numbers times ranges that keep the device busy. A product with as many tiles is not cut.
    pub busy: usize,
    /// Steps of the depth that a range has at least: partial sums are written and read again.
    pub least: usize,
    /// Tiles times ranges below which most of a GPU is idle, so that shorter ranges pay.
    pub few: usize,
    /// Steps that a range has at least then.
    pub short: usize,
}

/// How sums over the rows of a batch, for each channel, are cut into ranges, and who adds those of the ranges.
#[derive(Clone, Copy, Debug)]
pub struct RowRanges {
    /// Rows of a range at least.
    pub least: usize,
    /// Ranges at most.
    pub most: usize,
    /// Whether the threads of a workgroup add them together, or one thread in order.
    pub together: bool,
}

/// A kind of devices.
pub struct Backend {
    /// The word used on the command line and in reports.
    pub name: &'static str,
    pub(super) recognises: fn(&Facts<'_>) -> bool,
    pub(super) texts: Texts,
    /// What is asked for beyond WebGPU's core, where it is offered.
    pub(super) features: wgpu::Features,
    /// Whether buffers may be larger than WebGPU's defaults. Textures do not grow.
    pub(super) large_buffers: bool,
    /// The ways in which threads can share products of such a kernel, and so many blocks of rows for a thread.
    pub(super) cores: fn(Family, u32) -> Vec<Core>,
    /// Floating-point operations that one submission may hold: well below a second of work on the slowest adapters of
    /// the kind. Windows ends a submission that takes two. The second for discrete GPUs.
    pub(super) submission_flops: [u64; 2],
    /// How other products are cut, if they are.
    pub depth_splits: Option<DepthSplits>,
    /// How weight gradients are summed.
    pub weight_sums: WeightSums,
    /// How batch normalisations sum over rows.
    pub row_ranges: RowRanges,
    /// Whether positions of a tile should lie in many images where edges are many and tiles small, see
    /// `shaders/shared/places.wgsl`.
    pub images_first: bool,
    /// Whether a block of four positions is one place of four images, where the batch comes in fours: its place is
    /// found once, but what it reads lies far apart, which makes steps on CPU drivers up to a third slower.
    pub fours: bool,
    /// Whether packed products are faster with dot products of four bytes than with floats.
    pub dot4_is_fast: bool,
    /// Whether packed products in floats are shared by the lanes of subgroups.
    pub packed_lanes: bool,
    /// Whether all cores of a float product give the same bits, so that one may be chosen by measured time.
    pub tiles_keep_bits: bool,
    /// Threads of the kernel that measures the device's peak: enough to fill it, few enough that what they write takes no
    /// part of the time.
    pub probe_threads: usize,
}

impl Backend {
    /// Into how many ranges the depth of a product of so many rows and columns is cut. It decides the last bits of sums,
    /// so it depends on nothing but the product and the kind of device.
    pub fn splits(&self, [rows, columns]: [usize; 2], depth: usize) -> usize {
        let Some(cut) = self.depth_splits else {
            return 1;
        };
        let tiles = (rows.div_ceil(64) * columns.div_ceil(64)).max(1);
        let splits = (cut.busy / tiles).clamp(1, (depth / cut.least).max(1));
        // Two short ranges instead of one take as long: what their dispatch saves, that of the sum costs.
        match (depth / cut.short).min(cut.few / tiles) {
            shorter if shorter > 2 => splits.max(shorter),
            _ => splits,
        }
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str, device_type: wgpu::DeviceType, has_subgroups: bool) -> Path {
        let info = wgpu::AdapterInfo {
            name: name.to_owned(),
            ..wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan)
        };
        Path::of(&Facts {
            info: &info,
            has_subgroups,
        })
    }

    #[test]
    fn adapters_are_recognised() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other};
        let lavapipe = "llvmpipe (LLVM 15.0.6, 256 bits)";
        assert_eq!(path(lavapipe, Cpu, true), Path::CpuSubgroup);
        assert_eq!(path(lavapipe, Cpu, false), Path::CpuStorage);
        assert_eq!(path("SwiftShader Device", Other, true), Path::CpuSampled);
        assert_eq!(path("Microsoft WARP", Other, false), Path::CpuSampled);
        assert_eq!(path("someone's", Cpu, true), Path::CpuSampled);
        assert_eq!(path("AMD Radeon", IntegratedGpu, true), Path::Gpu);
        assert_eq!(path("NVIDIA", DiscreteGpu, true), Path::Gpu);
    }

    #[test]
    fn the_depth_is_cut_until_a_gpu_is_busy() {
        let splits = |size, depth| Path::Gpu.backend().splits(size, depth);
        // 3 x 3 convolutions of vgg16 at batch 128: enough tiles, and the most ranges of 512 steps.
        assert_eq!(splits([131_072, 64], 576), 1);
        assert_eq!(splits([8192, 512], 4608), 1);
        assert_eq!(splits([512, 512], 4608), 9);
        // Its last layer, and dense layers of LeNet-5: a few tiles, so short ranges.
        assert_eq!(splits([128, 12], 512), 4);
        assert_eq!(splits([64, 500], 832), 6);
        assert_eq!(splits([64, 12], 500), 3);
        // Too shallow, and enough tiles for ranges of 512.
        assert_eq!(splits([64, 128], 192), 1);
        assert_eq!(splits([64, 4096], 512), 1);
        assert_eq!(Path::CpuSubgroup.backend().splits([128, 12], 512), 1);
    }

    #[test]
    fn every_form_has_a_name_of_its_own() {
        for path in Path::ALL {
            let word = serde_json::to_value(path).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(word, path.name());
        }
    }
}
