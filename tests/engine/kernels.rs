//! Every shader: present in the tables, sound, and equal to its reference on every path.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};
use std::sync::OnceLock;

use gtc::gpu::{Core, Gpu, GpuOptions, Kernel, Path, Storage};
use gtc::op::add;
use gtc::recording::Recording;
use gtc::tensor::Tensor;
use gtc::{kernels, verify};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use pollster::block_on;

fn root() -> &'static FilePath {
    FilePath::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a folder and of the folders in it, except those of a folder called `shared`.
fn files(folder: &FilePath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if path.file_name().is_none_or(|name| name != "shared") {
            found.extend(files(&path));
        }
    }
    found
}

/// Names of all shader files, without their endings.
fn shader_stems() -> BTreeSet<String> {
    files(&root().join("shaders"))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wgsl"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// The text of all Rust files of a folder.
fn sources(folder: &str) -> String {
    let paths = files(&root().join(folder));
    let rust = |path: &&PathBuf| path.extension().is_some_and(|e| e == "rs");
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    paths.iter().filter(rust).map(text).collect()
}

/// The text of all reference functions: those of `src/reference`, and `reference.rs` of every operation.
fn references() -> String {
    let operations = files(&root().join("src/op"));
    let of_operations = operations
        .iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name == "reference.rs" || name == "packed_reference.rs")
        })
        .map(|path| std::fs::read_to_string(path).unwrap());
    sources("src/reference") + &of_operations.collect::<String>()
}

/// A shader file without a kernel, a reference function or a case fails here.
#[test]
fn every_shader_has_a_kernel_a_reference_and_cases() {
    let known: BTreeSet<String> = kernels::all().iter().map(|k| k.name.to_owned()).collect();
    assert_eq!(
        shader_stems(),
        known,
        "files in shaders/ and entries of kernels::all()"
    );
    let references = references();
    let cases = verify::cases();
    for kernel in kernels::all() {
        let function = format!("pub fn {}(", kernel.name);
        assert!(
            references.contains(&function),
            "no reference function {}",
            kernel.name
        );
        assert!(
            cases.iter().any(|case| case.kernel.name == kernel.name),
            "no cases for {}",
            kernel.name
        );
    }
}

/// Ways in which threads share a kernel's work on a path.
fn cores(kernel: &Kernel, path: Path) -> Vec<Option<Core>> {
    match kernel.cores(path, 16) {
        cores if cores.is_empty() => vec![None],
        cores => cores.into_iter().map(Some).collect(),
    }
}

fn parse(kernel: &Kernel, path: Path, core: Option<Core>) -> naga::Module {
    naga::front::wgsl::parse_str(&kernel.source(path, core)).unwrap_or_else(|e| {
        panic!(
            "{} ({}, {core:?}): {}",
            kernel.name,
            path.name(),
            e.emit_to_string(kernel.text)
        )
    })
}

/// WebGPU core: no capability beyond what every browser has, but for the core that is named after one.
#[test]
fn every_shader_is_valid_webgpu_on_every_path() {
    let forms = |kernel, path| {
        cores(kernel, path)
            .into_iter()
            .map(move |core| (path, core))
    };
    for kernel in kernels::all() {
        for (path, core) in Path::ALL.into_iter().flat_map(|path| forms(kernel, path)) {
            let module = parse(kernel, path, core);
            let needs = match core {
                Some(Core::Subgroup { .. }) => Capabilities::SUBGROUP,
                _ => Capabilities::empty(),
            };
            Validator::new(ValidationFlags::all(), needs)
                .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
                .subgroup_operations(naga::valid::SubgroupOperationSet::SHUFFLE)
                .validate(&module)
                .unwrap_or_else(|e| panic!("{} ({}, {core:?}): {e:?}", kernel.name, path.name()));
            assert!(
                module.entry_points.iter().any(|e| e.name == "main"),
                "{}",
                kernel.name
            );
        }
    }
}

/// Names and types of the fields of a `#[repr(C)]` struct, from its text. All are four bytes, so
/// names in order are offsets in order.
fn rust_fields(text: &str, name: &str) -> Vec<(String, String)> {
    let start = text
        .find(&format!("struct {name} {{"))
        .unwrap_or_else(|| panic!("no Rust struct {name}"));
    let before = &text[..start];
    let attributes = &before[before.trim_end().rfind("\n\n").unwrap_or(0)..];
    assert!(
        attributes.contains("#[repr(C)]"),
        "{name} is not #[repr(C)]"
    );
    let body = &text[start..start + text[start..].find("\n}").unwrap()];
    body.lines()
        .skip(1)
        .map(|line| line.trim().trim_start_matches("pub "))
        .filter(|line| !line.starts_with("//"))
        .map(|line| {
            let (field, kind) = line.trim_end_matches(',').split_once(": ").unwrap();
            (field.to_owned(), kind.to_owned())
        })
        .collect()
}

#[test]
fn uniform_blocks_match_their_rust_twins() {
    let rust = sources("src");
    for kernel in kernels::all() {
        let module = parse(kernel, Path::Gpu, cores(kernel, Path::Gpu)[0]);
        let mut twins = vec![("Params", kernel.params)];
        if kernel
            .shared
            .iter()
            .any(|text| text.contains("struct Schedule"))
        {
            twins.push(("Schedule", "Schedule"));
        }
        for (wgsl, twin) in twins {
            let (_, kind) = module
                .types
                .iter()
                .find(|(_, t)| t.name.as_deref() == Some(wgsl))
                .unwrap_or_else(|| panic!("{}: no struct {wgsl}", kernel.name));
            let naga::TypeInner::Struct { members, .. } = &kind.inner else {
                panic!("{}: {wgsl} is no struct", kernel.name)
            };
            let fields = rust_fields(&rust, twin);
            assert_eq!(
                members.len(),
                fields.len(),
                "{}: {wgsl} and {twin}",
                kernel.name
            );
            for (i, (member, (field, kind))) in members.iter().zip(&fields).enumerate() {
                assert_eq!(
                    member.name.as_deref(),
                    Some(field.as_str()),
                    "{}",
                    kernel.name
                );
                assert_eq!(member.offset as usize, 4 * i, "{}: {field}", kernel.name);
                let naga::TypeInner::Scalar(scalar) = module.types[member.ty].inner else {
                    panic!("{}: {field} is no scalar", kernel.name)
                };
                let expected = match scalar.kind {
                    naga::ScalarKind::Uint => "u32",
                    naga::ScalarKind::Sint => "i32",
                    naga::ScalarKind::Float => "f32",
                    other => panic!("{}: {field} is {other:?}", kernel.name),
                };
                assert_eq!(
                    (kind.as_str(), scalar.width),
                    (expected, 4),
                    "{}: {field}",
                    kernel.name
                );
            }
        }
    }
}

fn default_gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    let open = || block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    GPU.get_or_init(open)
}

fn gpu(path: Path, checked: bool, cooperative: bool) -> Gpu {
    block_on(Gpu::open(&GpuOptions {
        path: Some(path),
        checked,
        cooperative,
        ..GpuOptions::default()
    }))
    .unwrap_or_else(|e| panic!("{e}"))
}

fn all_cases_agree(path: Path, checked: bool) {
    let device = default_gpu();
    if !device.can_run(path) {
        eprintln!("SKIPPED: {} has no {} kernels", device.name(), path.name());
        return;
    }
    agree(&verify::cases(), (path, checked, false));
}

#[test]
fn every_layer_of_vgg16_agrees_at_its_real_shape() {
    let model = gtc::model::vgg16();
    let path = match default_gpu().can_run(Path::CpuSubgroup) {
        true => Path::CpuSubgroup, // and the cores of CpuStorage
        false => Path::CpuStorage,
    };
    agree(&verify::model_cases(&model, 2), (path, false, false));
}

/// Runs cases on a device opened for a path, with checks or without, and for cooperative matrices or not.
fn agree(cases: &[verify::Case], (path, checked, cooperative): (Path, bool, bool)) {
    // One device at a time: CPU drivers share two cores, and devices are never freed whole.
    static TURN: OnceLock<std::sync::Mutex<()>> = OnceLock::new();
    let turn = TURN.get_or_init(Default::default);
    let _turn = turn.lock().unwrap_or_else(|e| e.into_inner());
    let gpu = gpu(path, checked, cooperative);
    let mut reports = Vec::new();
    for case in cases {
        reports.push(block_on(verify::run_case(&gpu, case)).unwrap());
    }
    if !path.reads_textures() {
        for case in &verify::half_cases() {
            reports.push(block_on(verify::run_case_in_halves(&gpu, case)).unwrap());
        }
    }
    for report in reports {
        assert!(
            report.failure.is_none(),
            "{} [{}] on {} ({}, checked {checked}): {}",
            report.kernel,
            report.case,
            gpu.name(),
            path.name(),
            report.failure.unwrap()
        );
    }
    let text = std::fs::read_to_string(root().join("assets/golden/quantiser.json")).unwrap();
    let layers: Vec<verify::GoldenLayer> = serde_json::from_str(&text).unwrap();
    let golden = block_on(verify::check_golden(&gpu, &layers)).unwrap();
    assert!(golden.failures.is_empty(), "{:?}", golden.failures);
    assert!(golden.values > 1000);
}

#[test]
#[ignore = "needs a device with cooperative matrices: scripts/test-cooperative"]
fn products_with_cooperative_matrices_agree() {
    for checked in [false, true] {
        agree(&[], (Path::Gpu, checked, true));
    }
}

#[test]
fn gpu_kernels_agree_unchecked() {
    all_cases_agree(Path::Gpu, false);
}

#[test]
fn gpu_kernels_agree_checked() {
    all_cases_agree(Path::Gpu, true);
}

#[test]
fn cpu_sampled_kernels_agree_unchecked() {
    all_cases_agree(Path::CpuSampled, false);
}

#[test]
fn cpu_sampled_kernels_agree_checked() {
    all_cases_agree(Path::CpuSampled, true);
}

#[test]
fn cpu_storage_kernels_agree_unchecked() {
    all_cases_agree(Path::CpuStorage, false);
}

#[test]
fn cpu_storage_kernels_agree_checked() {
    all_cases_agree(Path::CpuStorage, true);
}

#[test]
fn cpu_subgroup_kernels_agree_unchecked() {
    all_cases_agree(Path::CpuSubgroup, false);
}

#[test]
fn cpu_subgroup_kernels_agree_checked() {
    all_cases_agree(Path::CpuSubgroup, true);
}

/// Through a kernel that adds nothing: what the device packs and unpacks is what the host does.
#[test]
fn a_device_stores_16_bits_as_the_host_does() {
    let gpu = gpu(Path::Gpu, false, false);
    let storage = Storage::Half { exponent: 3 };
    let one = 1.0 / 8.0;
    let ulp = one / 1024.0;
    let mut numbers = vec![1e6, -1e6, 8190.0, -8188.1, 1e-3, -1e-3, 0.0, -0.0];
    // Rounded down, up, and from half way to the even one, up and down.
    numbers.extend([0.4, 0.6, 0.5, 1.5].map(|part| one + part * ulp));
    numbers.extend([f32::NAN, 1.0, 1.0, f32::INFINITY]);
    let shape = [numbers.len()];
    let [x, zeros] = ["x", "zeros"].map(|label| Tensor::new(&gpu, label, &shape).unwrap());
    x.write(&gpu, &numbers);
    let (half, back) = (
        Tensor::kept_of("half", &shape, storage),
        Tensor::kept("back", &shape),
    );
    let mut recording = Recording::new(Path::Gpu);
    add(&mut recording, "store", [&x, &zeros], false, &half);
    add(&mut recording, "load", [&half, &zeros], false, &back);
    let plan = gpu.plan(recording).unwrap();
    plan.run(&gpu, &[]);
    let want = storage.decode(&storage.encode(&numbers), numbers.len());
    for got in [&half, &back] {
        let got = block_on(got.read(&gpu)).unwrap();
        assert_eq!(got[..12], want[..12]);
        // Numbers share a word in pairs, and become NaN together.
        assert!(got[12..].iter().all(|number| number.is_nan()), "{got:?}");
    }
}
