//! The texts that the compilers of Metal and Direct3D 12 get: naga translates every kernel, and products do without
//! what those compilers make slow code of.

use std::collections::{BTreeMap, BTreeSet};

use gtc::gpu::{Cooperative, Core, Kernel, Numbers, Operands, Path, Storage, Twins};
use gtc::model::{Model, NAMES};
use gtc::recording::{Grid, Recording};
use gtc::tensor::Tensor;
use gtc::{kernels, verify};
use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ResourceBinding, ShaderStage, StorageAccess};

/// Versions of Metal's language, the oldest and the newest that wgpu chooses on the systems that it runs on.
const METAL: [(u8, u8); 2] = [(2, 2), (4, 0)];
/// Shader models of Direct3D 12: the oldest of its own compiler, and the first with dot products of four bytes.
const DIRECT3D: [hlsl::ShaderModel; 2] = [hlsl::ShaderModel::V6_0, hlsl::ShaderModel::V6_4];

/// All that a pipeline is made of.
struct Form {
    kernel: &'static Kernel,
    core: Option<Core>,
    constants: BTreeMap<&'static str, f64>,
    operands: Operands,
    /// Of one dispatch for two networks.
    twins: Option<Twins>,
}

/// All in 16 bits.
const HALVES: Operands = Operands {
    inputs: [Storage::Half { exponent: 15 }; 4],
    outputs: [Storage::Half { exponent: -2 }; 4],
};

impl Form {
    fn name(&self) -> String {
        let Self { kernel, core, .. } = self;
        let halves = match self.operands == HALVES {
            true => ", in halves",
            false => "",
        };
        let twins = match self.twins {
            Some(_) => ", of two networks",
            None => "",
        };
        format!(
            "{} {core:?} {:?}{halves}{twins}",
            kernel.name, self.constants
        )
    }
}

/// Every pipeline of a path that the cases of all kernels and of all models of the program open, products in every core;
/// of every kernel over floats that reads buffers, one with operands in 16 bits too, and those for two networks at once.
fn forms(path: Path) -> Vec<Form> {
    let mut cases = verify::cases();
    for name in NAMES {
        cases.extend(verify::model_cases(&Model::by_name(name).unwrap(), 2));
    }
    let (mut forms, mut known) = (Vec::new(), BTreeSet::new());
    for case in &cases {
        let operands = |shapes: &[Vec<usize>]| -> Vec<Tensor> {
            let operand = |shape: &Vec<usize>| Tensor::kept("operand", shape);
            shapes.iter().map(operand).collect()
        };
        let mut recording = Recording::new(path);
        (case.record)(
            &mut recording,
            &operands(&case.input_shapes),
            &operands(&case.output_shapes),
        );
        for call in recording.calls() {
            let cores = match call.grid {
                Grid::Product { size, .. } => call.kernel.cores(path, size[0]),
                Grid::Threads(_) | Grid::Groups(_) => Vec::new(),
            };
            let of_core = |core: Option<Core>, steps| {
                let more = core.map(|core| core.constants(call.kernel.family, steps));
                let constants = call.constants.iter().copied();
                Form {
                    kernel: call.kernel,
                    core,
                    constants: constants.chain(more.into_iter().flatten()).collect(),
                    operands: Operands::default(),
                    twins: None,
                }
            };
            let cores = cores.into_iter().map(Some).collect::<Vec<_>>();
            let cores = if cores.is_empty() { vec![None] } else { cores };
            for form in cores
                .into_iter()
                .flat_map(|core| [1, 4].map(|steps| of_core(core, steps)))
            {
                // Several kernels are made of one file.
                let address = std::ptr::from_ref(form.kernel).addr();
                if form.kernel.numbers == Numbers::Float
                    && !path.reads_textures()
                    && known.insert((address, String::new()))
                {
                    forms.push(Form {
                        operands: HALVES,
                        constants: form.constants.clone(),
                        ..form
                    });
                }
                let twins = Form {
                    twins: kernels::twins_of(form.kernel, path),
                    constants: form.constants.clone(),
                    ..form
                };
                if twins.twins.is_some() && known.insert((address, twins.name())) {
                    forms.push(twins);
                }
                if known.insert((address, form.name())) {
                    forms.push(form);
                }
            }
        }
    }
    forms
}

/// A form as naga sees it, its overrides replaced by their values.
fn module(form: &Form, path: Path) -> (naga::Module, ModuleInfo) {
    let text = form.kernel.source_for(path, form.core, &form.operands);
    let text = form.twins.map_or(text.clone(), |twins| twins.text(&text));
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| panic!("{}: {}", form.name(), e.emit_to_string(&text)));
    // WebGPU grants it to all; naga asks because OpenGL does not.
    let capabilities = match form.operands == HALVES {
        true => Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        false => Capabilities::empty(),
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {e:?}", form.name()));
    let constants = form.constants.iter();
    let constants = constants.map(|(name, value)| ((*name).to_owned(), *value));
    let main = Some((ShaderStage::Compute, "main"));
    let (module, info) = process_overrides(&module, &info, main, &constants.collect())
        .unwrap_or_else(|e| panic!("{}: {e:?}", form.name()));
    (module.into_owned(), info.into_owned())
}

/// What a binding is.
enum Kind {
    Uniform,
    Storage { written: bool },
    Texture,
}

fn bindings(module: &naga::Module) -> Vec<(ResourceBinding, Kind)> {
    let kind = |variable: &naga::GlobalVariable| match variable.space {
        AddressSpace::Uniform => Kind::Uniform,
        AddressSpace::Storage { access } => Kind::Storage {
            written: access.contains(StorageAccess::STORE),
        },
        AddressSpace::Handle => Kind::Texture,
        ref other => panic!("no binding has {other:?}"),
    };
    let globals = module.global_variables.iter();
    globals
        .filter_map(|(_, variable)| Some((variable.binding?, kind(variable))))
        .collect()
}

/// As wgpu translates for Metal: unchecked, kernels are what a trusted shader is.
fn metal((module, info): &(naga::Module, ModuleInfo), version: (u8, u8), checked: bool) -> String {
    let (mut buffers, mut textures) = (0, 0);
    let next = |count: &mut u8| Some(std::mem::replace(count, *count + 1));
    let mut resources = msl::BindingMap::default();
    for (binding, kind) in bindings(module) {
        let target = match kind {
            Kind::Uniform | Kind::Storage { .. } => msl::BindTarget {
                buffer: next(&mut buffers),
                mutable: matches!(kind, Kind::Storage { written: true }),
                ..Default::default()
            },
            Kind::Texture => msl::BindTarget {
                texture: next(&mut textures),
                ..Default::default()
            },
        };
        resources.insert(binding, target);
    }
    let resources = msl::EntryPointResources {
        resources,
        sizes_buffer: next(&mut buffers),
        ..Default::default()
    };
    let policy = match checked {
        true => BoundsCheckPolicy::Restrict,
        false => BoundsCheckPolicy::Unchecked,
    };
    let options = msl::Options {
        lang_version: version,
        per_entry_point_map: [("main".to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: checked,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let main = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".to_owned())),
        ..Default::default()
    };
    let (text, translated) = msl::write_string(module, info, &options, &main)
        .unwrap_or_else(|e| panic!("to Metal {version:?}, checked {checked}: {e:?}"));
    if let Err(e) = &translated.entry_point_names[0] {
        panic!("to Metal {version:?}, checked {checked}: {e:?}");
    }
    text
}

/// As wgpu translates for Direct3D 12.
fn direct3d(
    (module, info): &(naga::Module, ModuleInfo),
    shader_model: hlsl::ShaderModel,
    checked: bool,
) -> String {
    let mut registers = [0; 3];
    let mut binding_map = hlsl::BindingMap::default();
    let mut next = |which: usize| {
        registers[which] += 1;
        hlsl::BindTarget {
            register: registers[which] - 1,
            restrict_indexing: true,
            ..Default::default()
        }
    };
    for (binding, kind) in bindings(module) {
        let target = match kind {
            Kind::Uniform => next(0),
            Kind::Texture | Kind::Storage { written: false } => next(1),
            Kind::Storage { written: true } => next(2),
        };
        binding_map.insert(binding, target);
    }
    let options = hlsl::Options {
        shader_model,
        binding_map,
        fake_missing_bindings: false,
        special_constants_binding: Some(next(0)),
        zero_initialize_workgroup_memory: checked,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let main = hlsl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".to_owned())),
    };
    let mut text = String::new();
    let translated = hlsl::Writer::new(&mut text, &options, &main)
        .write(module, info, None)
        .unwrap_or_else(|e| panic!("to {shader_model:?}, checked {checked}: {e:?}"));
    if let Err(e) = &translated.entry_point_names[0] {
        panic!("to {shader_model:?}, checked {checked}: {e:?}");
    }
    text
}

/// A function of a translated text: its lines, from the first of its signature to its closing brace.
struct Function<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

/// The functions of a text in MSL or HLSL, as naga lays them out: only they end in a brace alone at the margin, except
/// blocks of Direct3D's constants.
fn functions(text: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let inside = lines.iter().any(|line| line.ends_with('{'));
        if !inside && (line.is_empty() || line.ends_with(';')) {
            lines.clear();
            continue;
        }
        lines.push(line);
        if inside && line.starts_with('}') {
            let lines = std::mem::take(&mut lines);
            let name = name_of(&lines).filter(|_| line == "}");
            found.extend(name.map(|name| Function { name, lines }));
        }
    }
    found
}

/// The name before the arguments of a function's first lines; attributes may stand before it.
fn name_of<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let head = lines.iter().find(|line| !line.starts_with("[numthreads"))?;
    let head = head.rsplit("]] ").next()?;
    let (before, _) = head.split_once('(')?;
    (!before.starts_with("cbuffer")).then(|| last_word(before))
}

/// How far a line is indented.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The lines between one that opens a block and the one that closes it.
fn block<'a, 'b>(lines: &'b [&'a str], opening: usize) -> &'b [&'a str] {
    let rest = &lines[opening + 1..];
    let closes = |line: &&str| !line.is_empty() && indent(line) <= indent(lines[opening]);
    &rest[..rest.iter().position(closes).unwrap_or(rest.len())]
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The name at the end of a text.
fn last_word(text: &str) -> &str {
    let start = text.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
    &text[start..]
}

/// Multiplications of a block, of numbers, vectors or words of four bytes, with those of the functions that it calls and
/// without those that overrides leave out.
fn multiplications(lines: &[&str], functions: &[Function<'_>]) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < lines.len() {
        let line = lines[at];
        if line.trim() == "if (false) {" {
            at += block(lines, at).len();
        }
        count += [" * ", " << ", "dot4add_i8packed("]
            .map(|word| line.matches(word).count())
            .iter()
            .sum::<usize>();
        let called = line
            .match_indices('(')
            .map(|(open, _)| last_word(&line[..open]));
        let called = called.filter_map(|name| functions.iter().find(|f| f.name == name));
        count += called
            .map(|f| multiplications(&f.lines[1..], functions))
            .sum::<usize>();
        at += 1;
    }
    count
}

/// Loops within loops that do too little a round, by their multiplications.
fn short_loops(function: &Function<'_>, functions: &[Function<'_>]) -> Vec<String> {
    const LEAST: usize = 16;
    let mut found = Vec::new();
    let loops = |lines: &[&str]| -> Vec<usize> {
        let is_loop = |at: &usize| lines[*at].trim() == "while(true) {";
        (0..lines.len()).filter(is_loop).collect()
    };
    for outer in loops(&function.lines) {
        let body = block(&function.lines, outer);
        for inner in loops(body) {
            let count = multiplications(block(body, inner), functions);
            if count < LEAST {
                found.push(format!(
                    "a round of the inner loop of {} has {count} multiplications",
                    function.name
                ));
            }
        }
    }
    found
}

/// Whether a function has a variable or an argument of this name whose memory is its own.
fn owns(function: &Function<'_>, name: &str) -> bool {
    let names = |text: &str, name: &str| text.split(|c| !is_word(c)).any(|word| word == name);
    let opening = function.lines.iter().position(|line| line.ends_with('{'));
    let (head, body) = function.lines.split_at(opening.unwrap_or(0) + 1);
    let arguments = head.join(" ");
    let is_shared = |argument: &str| {
        ["threadgroup", "device", "constant"]
            .iter()
            .any(|space| names(argument, space))
    };
    let is_argument = arguments
        .split(',')
        .any(|argument| names(argument, name) && !is_shared(argument));
    // A type and the name behind it; `return` is no type.
    let declares = |line: &&str| {
        let declared = line.trim().trim_start_matches("const ");
        let (kind, rest) = declared.split_once(' ').unwrap_or_default();
        kind.starts_with(|c: char| c.is_alphabetic())
            && kind != "return"
            && rest
                .strip_prefix(name)
                .is_some_and(|rest| !rest.starts_with(is_word))
    };
    is_argument || body.iter().any(declares)
}

/// Where a function reads or writes a matrix, an array or a vector of its own at a place that is not a constant: few
/// compilers keep it in registers then.
fn variable_places(function: &Function<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for line in &function.lines[1..] {
        for (at, _) in line.match_indices('[') {
            let place = line[at + 1..].split(']').next().unwrap_or("");
            let is_constant = place
                .trim_end_matches('u')
                .chars()
                .all(|c| c.is_ascii_digit());
            let before = &line[..at];
            let start = before
                .rfind(|c| !is_word(c) && c != '.')
                .map_or(0, |i| i + 1);
            let root = before[start..].split('.').next().unwrap_or("");
            if !is_constant && !root.is_empty() && owns(function, root) {
                found.push(format!("{}: {}", function.name, line.trim()));
            }
        }
    }
    found
}

/// Whether it is a matrix product, or one for each group of channels.
fn is_product(form: &Form) -> bool {
    form.core.is_some() || form.kernel.name.contains("group_conv")
}

/// What compilers would make slow code of in the text of a product.
fn traps(form: &Form, text: &str) -> Vec<String> {
    let functions = functions(text);
    let mut found: Vec<String> = functions.iter().flat_map(variable_places).collect();
    // naga writes `while(true)` for every loop. Of one with a last statement of its own, as `for` has, it also keeps a
    // flag for whether this is the first round, and asks it in each.
    let flags = text.lines().filter(|line| line.contains("loop_init"));
    found.extend(flags.map(|line| format!("a flag of a loop: {}", line.trim())));
    if form.core.is_some() {
        found.extend(functions.iter().flat_map(|f| short_loops(f, &functions)));
    }
    found
}

#[test]
fn every_kernel_is_translated_for_metal_and_direct3d() {
    let (mut translated, mut found) = (BTreeSet::new(), BTreeSet::new());
    for form in forms(Path::Gpu) {
        let module = module(&form, Path::Gpu);
        let mut texts = Vec::new();
        for checked in [true, false] {
            texts.extend(METAL.map(|version| metal(&module, version, checked)));
            texts.extend(DIRECT3D.map(|model| direct3d(&module, model, checked)));
        }
        let (checked, trusted) = texts.split_at(texts.len() / 2);
        for text in trusted {
            let names = functions(text);
            let main = names.iter().filter(|f| ["main", "main_"].contains(&f.name));
            assert_eq!(main.count(), 1, "{}", form.name());
            for check in ["loop_bound", "__local_invocation_id"] {
                assert!(!text.contains(check), "{}: {check} in {text}", form.name());
            }
            if is_product(&form) {
                let traps = traps(&form, text).into_iter();
                found.extend(traps.map(|trap| format!("{}: {trap}", form.kernel.name)));
            }
        }
        if form.core.is_some() {
            let bounded = checked.iter().filter(|text| text.contains("loop_bound"));
            assert_eq!(bounded.count(), checked.len(), "{}", form.name());
        }
        translated.insert(form.kernel.name);
    }
    assert!(found.is_empty(), "{found:#?}");
    let all: BTreeSet<&str> = kernels::all().iter().map(|kernel| kernel.name).collect();
    assert_eq!(translated, all);
}

/// Products with cooperative matrices, which are no WGSL that WebGPU knows: for Vulkan, and in the size that Apple's GPUs have, for
/// Metal. Direct3D has none.
#[test]
fn products_with_cooperative_matrices_are_translated_for_vulkan_and_metal() {
    let capabilities = Capabilities::COOPERATIVE_MATRIX
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP;
    let mut products = BTreeSet::new();
    for (size, lanes) in [(8, 8), (8, 32), (8, 64), (16, 32), (16, 64)] {
        for (name, text) in kernels::cooperative_texts(Cooperative { size, lanes }) {
            let module = naga::front::wgsl::parse_str(&text)
                .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
            let info = Validator::new(ValidationFlags::all(), capabilities)
                .validate(&module)
                .unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let main = Some((ShaderStage::Compute, "main"));
            let (module, info) = process_overrides(&module, &info, main, &Default::default())
                .unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let words = spv::write_vec(&module, &info, &spv::Options::default(), None)
                .unwrap_or_else(|e| panic!("{name}: {e:?}"));
            // The number of the instruction in SPV_KHR_cooperative_matrix.
            const MULTIPLY_ADD: u32 = 4459;
            let count = instructions(&words, MULTIPLY_ADD);
            assert!(count > 0, "{name}");
            if size == 8 {
                let both = (module.into_owned(), info.into_owned());
                let text = metal(&both, (4, 0), false);
                let found = text.matches(" = NagaCooperativeMultiplyAdd(").count();
                assert_eq!(found, count, "{name}");
            }
            products.insert(name);
        }
    }
    let wanted = [
        "conv_backward_input",
        "conv_backward_weight",
        "conv_forward",
    ];
    assert_eq!(products, BTreeSet::from(wanted));
}

/// How many instructions of a kind a module in SPIR-V has.
fn instructions(words: &[u32], kind: u32) -> usize {
    // Behind five words of a header, the first word of each instruction has its length in its upper half.
    let (mut at, mut count) = (5, 0);
    while at < words.len() {
        count += usize::from(words[at] & 0xffff == kind);
        at += (words[at] >> 16) as usize;
    }
    count
}

/// The driver of Direct3D 12 for the CPU, WARP, runs these.
#[test]
fn kernels_that_sample_textures_are_translated_for_direct3d() {
    for form in forms(Path::CpuSampled) {
        let module = module(&form, Path::CpuSampled);
        for checked in [true, false] {
            direct3d(&module, DIRECT3D[0], checked);
        }
    }
}

/// What this program links is what translates on other systems.
#[test]
fn there_is_one_naga() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    assert_eq!(lock.matches("name = \"naga\"\n").count(), 1);
}

#[test]
fn traps_are_found() {
    let form = |core| Form {
        kernel: kernels::all()[0],
        core,
        constants: BTreeMap::new(),
        operands: Operands::default(),
        twins: None,
    };
    let product = form(Some(Core::Vector {
        threads: 64,
        columns: 1,
    }));
    let metal = "float kept(\n    metal::float4x4 a,\n    threadgroup type_1& tile,\n    uint q\n) {\n    \
        metal::float4 b = a[1];\n    return b.x * tile.inner[q];\n}\n";
    assert!(traps(&product, metal).is_empty());
    let of_argument = metal.replace("a[1]", "a[q]");
    assert_eq!(
        traps(&product, &of_argument),
        ["kept: metal::float4 b = a[q];"]
    );
    let direct3d = "int4 kept(int4 sums[4], uint q)\n{\n    const int4 x[4] = sums;\n\n    return x[3] + sums[0];\n}\n";
    assert!(traps(&product, direct3d).is_empty());
    assert_eq!(traps(&product, &direct3d.replace("x[3]", "x[q]")).len(), 1);
    assert_eq!(
        traps(&product, &direct3d.replace("sums[0]", "sums[q + 1u]")).len(),
        1
    );
    let rounds = |products: usize| {
        let products = "            c = c + a * b;\n".repeat(products);
        format!(
            "void main(uint3 id)\n{{\n    while(true) {{\n        while(true) {{\n{products}        }}\n    }}\n}}\n"
        )
    };
    assert!(traps(&product, &rounds(16)).is_empty());
    let short = traps(&product, &rounds(15));
    assert_eq!(
        short,
        ["a round of the inner loop of main has 15 multiplications"]
    );
    let flag = rounds(16).replace(
        "    while(true) {\n        w",
        "    bool loop_init = true;\n    while(true) {\n        w",
    );
    assert_eq!(
        traps(&product, &flag),
        ["a flag of a loop: bool loop_init = true;"]
    );
}
