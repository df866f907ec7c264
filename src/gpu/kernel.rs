//! A kernel is one WGSL file; this is how its text becomes a pipeline.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::twins::read_write;
use super::{Core, Gpu, Operand, Operands, Path, Twins, cooperative};

/// Threads in a workgroup of every kernel that does not set its own: small enough that two cores
/// share even a small grid, a multiple of every common SIMD width.
pub const WORKGROUP: u32 = 64;

/// Workgroups along one axis of a grid that WebGPU allows.
pub const MAX_GROUPS: u32 = 65_535;

/// What is included after a kernel's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `main` is in the file: one thread makes one or more texels.
    Elementwise,
    /// `main` is the matrix core; the file says how blocks are loaded and stored. The operand is the one that
    /// takes more to load: lanes of a subgroup had best share it.
    Matrix(Operand),
    /// The matrix core over packed weights.
    MatrixPacked,
    /// The same for few rows.
    MatrixVector,
}

/// What a kernel's operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// `f32`
    Float,
    /// `i32`: packed models, whose results are the same bits everywhere.
    Integer,
}

/// When a kernel reads its inputs from texture copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsTextures {
    /// Threads read the same numbers again and again.
    Always,
    /// If there are many: a texture copy ends a pass, which costs lavapipe some 50 us; a load from a buffer takes 1 ns
    /// more than one from a texture.
    OfMany,
    /// Every number is read once: to copy many would cost as much as it saves, and memory.
    Never,
}

/// One file of `shaders/`, and what surrounds it.
#[derive(Debug)]
pub struct Kernel {
    /// The file's stem, also the name of its reference function.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
    /// What surrounds it.
    pub family: Family,
    /// What its operands hold.
    pub numbers: Numbers,
    /// When it reads texture copies of its inputs, where there are texture copies.
    pub textures: ReadsTextures,
    /// Further files of `shaders/shared/` it uses.
    pub shared: &'static [&'static str],
    /// The Rust struct whose bytes are its uniform block.
    pub params: &'static str,
}

const STORAGE_FLOAT: &str = include_str!("../../shaders/shared/storage_float.wgsl");
const STORAGE_INTEGER: &str = include_str!("../../shaders/shared/storage_integer.wgsl");
const NUMBERS_FLOAT: &str = include_str!("../../shaders/shared/numbers_float.wgsl");
const NUMBERS_INTEGER: &str = include_str!("../../shaders/shared/numbers_integer.wgsl");

impl Kernel {
    /// The whole WGSL module for one path and, of a product, one of its cores there, over floats as they are.
    pub fn source(&self, path: Path, core: Option<Core>) -> String {
        self.source_for(path, core, &Operands::default())
    }

    /// The same for operands stored in other ways. The kernel's own text comes first, so that line numbers in messages
    /// are those of its file.
    pub fn source_for(&self, path: Path, core: Option<Core>, operands: &Operands) -> String {
        let texts = &path.backend().texts;
        let raw = matches!(core, Some(Core::Cooperative { .. }));
        let inputs = operands.text(texts.inputs, raw);
        let (numbers, storage) = match self.numbers {
            Numbers::Float => (NUMBERS_FLOAT, STORAGE_FLOAT),
            Numbers::Integer => (NUMBERS_INTEGER, STORAGE_INTEGER),
        };
        let mut parts = vec![self.text, numbers, &inputs];
        parts.extend(texts.storage.then_some(storage));
        if let Some([many, few]) = texts.previous {
            parts.push(if self.has_few_operands() { few } else { many });
        }
        let product = core.map(|core| core.text(self.family, operands));
        parts.extend(product.as_deref());
        parts.extend(self.shared);
        let text = parts.join("\n");
        match core {
            Some(Core::Cooperative { .. }) => cooperative::enabled(text),
            _ => text,
        }
    }

    /// Whether all it reads, old values of outputs included, fits into the storage textures that WebGPU
    /// grants.
    fn has_few_operands(&self) -> bool {
        let texts = self.shared.iter().chain([&self.text]);
        let names = ["read_a(", "read_b(", "read_c(", "read_d("];
        let old = ["previous_0(", "previous_1(", "previous_2(", "previous_3("];
        let names = names.iter().chain(&old);
        let used = names.filter(|name| texts.clone().any(|text| text.contains(**name)));
        used.count() <= 4 && self.numbers == Numbers::Float
    }

    /// Whether it should read `texels` texels of inputs, none of them constant, from buffers where others
    /// are copied into textures.
    pub(crate) fn reads_buffers(&self, texels: u32) -> bool {
        match self.textures {
            ReadsTextures::Always => false,
            ReadsTextures::OfMany => texels <= 65_536,
            ReadsTextures::Never => true,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct PipelineKey {
    /// Its address: several kernels may be made of one file.
    kernel: usize,
    /// Override names and the bits of their values.
    constants: Vec<(&'static str, u64)>,
    path: Path,
    core: Option<Core>,
    operands: Operands,
    twins: Option<Twins>,
    reads_written: bool,
}

pub(super) struct Pipeline {
    pub raw: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// The compiled kernel, and whether it is new: otherwise it was asked for before.
    pub(super) fn pipeline(&self, blueprint: &Blueprint) -> (Arc<Pipeline>, bool) {
        let mut cache = self.pipelines.lock().unwrap_or_else(|e| e.into_inner());
        match cache.entry(blueprint.key()) {
            Entry::Occupied(known) => (known.get().clone(), false),
            Entry::Vacant(place) => {
                let made = Arc::new(blueprint.compile(&self.device, self.checked(), self.steps()));
                (place.insert(made).clone(), true)
            }
        }
    }
}

/// All that a pipeline is made of, but its device.
pub(super) struct Blueprint {
    pub kernel: &'static Kernel,
    pub constants: Vec<(&'static str, f64)>,
    pub path: Path,
    pub core: Option<Core>,
    pub operands: Operands,
    /// Set in a dispatch that works for two networks.
    pub twins: Option<Twins>,
    /// Whether it reads one half of a piece of memory and writes the other.
    pub reads_written: bool,
}

impl Blueprint {
    fn key(&self) -> PipelineKey {
        let constants = self.constants.iter();
        PipelineKey {
            kernel: std::ptr::from_ref(self.kernel).addr(),
            constants: constants.map(|(n, v)| (*n, v.to_bits())).collect(),
            path: self.path,
            core: self.core,
            operands: self.operands,
            twins: self.twins,
            reads_written: self.reads_written,
        }
    }

    /// The whole WGSL module.
    fn text(&self) -> String {
        let mut text = self.kernel.source_for(self.path, self.core, &self.operands);
        if let Some(twins) = &self.twins {
            text = twins.text(&text);
        }
        match self.reads_written {
            true => read_write(&text),
            false => text,
        }
    }

    /// Compiles it, with `checked` with all of WebGPU's checks. Products take `steps` of their depth at once, where their
    /// core has the choice.
    pub fn compile(&self, device: &wgpu::Device, checked: bool, steps: u32) -> Pipeline {
        let family = self.kernel.family;
        let more = self.core.map(|core| core.constants(family, steps));
        let more = more.unwrap_or_default();
        let constants = [&self.constants[..], &more].concat();
        let label = Some(self.kernel.name);
        let text = self.text();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        let checks = if checked {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            // SAFETY: every module is text of this crate. `gtc verify --checked` and the tests
            // run each of them with all checks on as well, over sizes that meet every edge.
            unsafe { wgpu::ShaderRuntimeChecks::all(false) }
        };
        // SAFETY: as above.
        let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
        let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: checked,
            },
            cache: None,
        });
        let layout = raw.get_bind_group_layout(0);
        Pipeline { raw, layout }
    }
}

/// What a binding of a kernel holds.
#[derive(Clone, Copy)]
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "see BoundKernel"))]
pub(super) enum Kind {
    Buffer,
    Texture(Numbers),
    Uniform,
}

/// A kernel with the kinds of its bindings: all that compiling takes where a driver does it when the kernel runs.
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "no such driver"))]
pub(super) struct BoundKernel {
    pub blueprint: Blueprint,
    pub bindings: Vec<(u32, Kind)>,
}

impl BoundKernel {
    /// Whether it is a product, whose kernels are the largest.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn is_product(&self) -> bool {
        self.blueprint.core.is_some()
    }
}
