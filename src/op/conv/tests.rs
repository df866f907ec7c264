//! What the tiles of a product may decide, and what not.

use pollster::block_on;

use super::cases::shape;
use super::kernels::{conv_backward_input_in, conv_forward_in};
use super::{
    ConvShape, Epilogue, Windows, conv_backward_input, conv_backward_weight, conv_forward,
};
use crate::gpu::{Gpu, GpuOptions, Path};
use crate::recording::{Grid, Recording};
use crate::tensor::Tensor;
use crate::verify::noise;

/// Images with and without edges, a stride, a dense layer; rows and columns that fill no tile, depths that fill no step.
const SHAPES: [[usize; 9]; 4] = [
    [9, 2, 2, 20, 36, 3, 3, 1, 1],
    [3, 12, 12, 20, 70, 5, 5, 1, 0],
    [2, 9, 6, 68, 132, 3, 3, 2, 1],
    [70, 1, 1, 300, 140, 1, 1, 1, 0],
];

fn open(checked: bool) -> Gpu {
    let options = GpuOptions {
        path: Some(Path::Gpu),
        checked,
        ..GpuOptions::default()
    };
    block_on(Gpu::open(&options)).unwrap_or_else(|e| panic!("{e}"))
}

/// The bits of y, d_x and d_w when products run in core number `core`, and the tile of that core.
fn results(gpu: &Gpu, s: &ConvShape, core: usize) -> (Vec<Vec<u32>>, Vec<String>) {
    let tensor = |label: &str, shape: &[usize]| {
        Tensor::new(gpu, label, shape).unwrap_or_else(|e| panic!("{e}"))
    };
    let filled = |label: &str, shape: &[usize]| {
        let tensor = tensor(label, shape);
        tensor.write(gpu, &noise(label, tensor.len()));
        tensor
    };
    let [x, w, d_y] = [("x", s.x()), ("w", s.w()), ("d_y", s.y())].map(|(l, s)| filled(l, &s));
    let bias = filled("bias", &s.w()[..1]);
    let [y, d_x] = [("y", s.y()), ("d_x", s.x())].map(|(l, s)| tensor(l, &s));
    let d_w = tensor("d_w", &[1, w.len()]);
    let mut recording = Recording::new(Path::Gpu).with_core(core);
    let (windows, inputs) = (Windows::Plain(s), [&x, &w, &bias]);
    conv_forward_in(1, &mut recording, "y", windows, inputs, Epilogue::Relu, &y);
    conv_backward_input_in(1, &mut recording, "d_x", s, [&d_y, &w, &x], true, &d_x);
    conv_backward_weight(
        &mut recording,
        "d_w",
        windows,
        (&d_y).into(),
        &x,
        false,
        &d_w,
    );
    let cores = crate::recording::cores::choose(&recording, &gpu.tiles(), None);
    let tiles = cores.iter().filter_map(|shared| shared.core);
    let tiles = tiles.map(|core| core.tile_name()).collect();
    let plan = gpu.plan(recording).unwrap_or_else(|e| panic!("{e}"));
    plan.run(gpu, &[]);
    let bits = |tensor: &Tensor| {
        let numbers = block_on(tensor.read(gpu)).unwrap_or_else(|e| panic!("{e}"));
        numbers.into_iter().map(f32::to_bits).collect()
    };
    ([&y, &d_x, &d_w].map(bits).into(), tiles)
}

/// So that tiles may be chosen for speed alone, and steps of the depth by the kind of GPU.
#[test]
fn tiles_of_gpus_decide_no_bits() {
    let gpus = [open(false), open(true)];
    for s in SHAPES.map(shape) {
        let (first, _) = results(&gpus[0], &s, 0);
        assert!(first.iter().flatten().any(|bits| *bits != 0), "{s:?}");
        for gpu in &gpus {
            for (core, tile) in ["64x64", "128x64", "128x128"].iter().enumerate() {
                let (bits, tiles) = results(gpu, &s, core);
                assert_eq!(tiles, [*tile; 3]);
                let same = bits == first;
                assert!(same, "{s:?}, {tile}, checked {}", gpu.checked());
            }
        }
    }
}

/// Kernels and splits of what a layer of this shape records, forward and backward to the input.
fn recorded(path: Path, s: &ConvShape) -> Vec<(&'static str, usize)> {
    let [x, w, y] = [("x", s.x()), ("w", s.w()), ("y", s.y())].map(|(l, s)| Tensor::kept(l, &s));
    let bias = Tensor::kept("bias", &s.w()[..1]);
    let mut recording = Recording::new(path);
    let (windows, inputs) = (Windows::Plain(s), [&x, &w, &bias]);
    conv_forward(&mut recording, "y", windows, inputs, Epilogue::Relu, &y);
    conv_backward_input(&mut recording, "d_x", s, [&y, &w, &x], true, &x);
    let splits = |grid| match grid {
        Grid::Product { splits, .. } => splits,
        Grid::Threads(_) | Grid::Groups(_) => 1,
    };
    let calls = recording.calls();
    calls
        .map(|call| (call.kernel.name, splits(call.grid)))
        .collect()
}

#[test]
fn gpus_cut_deep_products_of_few_tiles() {
    let few = shape([128, 2, 2, 512, 512, 3, 3, 1, 1]);
    let many = shape([128, 32, 32, 64, 64, 3, 3, 1, 1]);
    let row = shape([64, 1, 1, 500, 10, 1, 1, 1, 0]);
    let whole = [("conv_forward", 1), ("conv_backward_input", 1)];
    let cut = [
        ("conv_forward", 9),
        ("sum_partials", 1),
        ("conv_backward_input", 9),
        ("sum_partials", 1),
    ];
    assert_eq!(recorded(Path::Gpu, &few), cut);
    assert_eq!(recorded(Path::Gpu, &many), whole);
    let forward = [
        ("conv_forward", 3),
        ("sum_partials", 1),
        ("conv_backward_input", 1),
    ];
    assert_eq!(recorded(Path::Gpu, &row), forward);
    assert_eq!(recorded(Path::CpuSubgroup, &few), whole);
}
