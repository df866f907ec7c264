//! `gtc bench kernels`

use std::time::Duration;

use pollster::block_on;
use serde::Serialize;

use super::plot::Bar;
use super::{RUNS_ON_GPU, Times, bar, time, warm_up};
use crate::cli::CliError;
use crate::gpu::{Gpu, Path};
use crate::model::{Model, Network};
use crate::op::conv::entries::CONV_FORWARD;
use crate::op::{
    ConvShape, Epilogue, OutputGradient, PoolShape, Windows, conv_backward_input,
    conv_backward_weight, conv_forward, sum_partials,
};
use crate::recording::{Grid, Recording, cores};
use crate::rng::Philox;
use crate::tensor::Tensor;
use crate::verify::{matrix_cases, run_case};

#[derive(Serialize)]
pub(super) struct KernelRow {
    layer: String,
    kernel: &'static str,
    shape: String,
    /// Rows and columns of the tiles that the product is made of.
    tile: String,
    /// Ranges that its depth is cut into.
    splits: usize,
    gflop: f64,
    megabytes: f64,
    times: Times,
    /// By the wall clock.
    gflops: f64,
    /// By processor time: the rate of one core on a CPU driver.
    gflops_per_core: f64,
    /// Share of the matrix product's rate in the same run.
    of_matrix_product: f64,
    /// Share of the rate of multiply-adds in registers, measured in the same run.
    of_peak: f64,
}

/// Times every product of a model. `peak` is the device's measured peak in GFLOP/s.
pub(super) fn kernels(
    gpu: &Gpu,
    model: &Model,
    batch: usize,
    tiles: &[String],
    peak: f64,
    least: Duration,
) -> Result<Vec<KernelRow>, CliError> {
    let cores = cores_of(gpu, tiles)?;
    let product = ConvShape::dense(512, 512, 512);
    let mut shapes = vec![(
        "matrix product".to_owned(),
        product,
        (None, None),
        matrix_cases(product).into(),
    )];
    let (full, small) = (Network::new(model, batch), Network::new(model, 2));
    for (step, small) in full.steps().iter().zip(small.steps()) {
        let Some(product) = step.recorder.product() else {
            continue;
        };
        if !shapes.iter().any(|(_, known, ..)| *known == product.shape) {
            shapes.push((
                step.name.clone(),
                product.shape,
                (product.shifts, product.pool),
                small.recorder.cases(),
            ));
        }
    }
    let bar = bar((3 * shapes.len() * cores.len()) as u64)?;
    let mut rows: Vec<KernelRow> = Vec::new();
    for (name, shape, (shifts, pool), cases) in shapes {
        bar.set_message(format!("checking {name}"));
        for case in cases {
            let report = block_on(run_case(gpu, &case))?;
            if let Some(failure) = report.failure {
                let (kernel, case) = (report.kernel, report.case);
                return Err(format!("{kernel} [{case}] is wrong: {failure}").into());
            }
        }
        for kernel in ["forward", "backward input", "backward weight"] {
            let windows = shifts
                .as_ref()
                .map_or(Windows::Plain(&shape), Windows::Shifts);
            let what = (&shape, windows, pool);
            for core in &cores {
                bar.set_message(format!("{name} {kernel}"));
                rows.push(kernel_row(gpu, &name, kernel, what, *core, least)?);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let best = rows[0].gflops;
    for row in &mut rows {
        row.of_matrix_product = row.gflops / best;
        row.of_peak = row.gflops / peak;
    }
    Ok(rows)
}

/// The numbers of the cores that have these tiles; without any, the choice for each product.
fn cores_of(gpu: &Gpu, tiles: &[String]) -> Result<Vec<Option<usize>>, CliError> {
    if tiles.is_empty() {
        return Ok(vec![None]);
    }
    let cores = CONV_FORWARD.cores(gpu.path(), 16);
    let known: Vec<String> = cores.iter().map(|core| core.tile_name()).collect();
    let number = |tile: &String| {
        let found = known.iter().position(|name| name == tile);
        let hint = format!(
            "--tile {tile}: products on this adapter have tiles of {}",
            known.join(", ")
        );
        found.map(Some).ok_or_else(|| hint.into())
    };
    tiles.iter().map(number).collect()
}

fn kernel_row(
    gpu: &Gpu,
    layer: &str,
    kernel: &'static str,
    (shape, windows, pool): (&ConvShape, Windows<'_>, Option<PoolShape>),
    core: Option<usize>,
    least: Duration,
) -> Result<KernelRow, CliError> {
    let mut rng = Philox::new(1, 0);
    let mut random = |label: &str, shape: &[usize]| -> Result<Tensor, CliError> {
        let tensor = Tensor::new(gpu, label, shape)?;
        let values: Vec<f32> = (0..tensor.len())
            .map(|_| rng.below(2049) as f32 / 1024.0 - 1.0)
            .collect();
        tensor.write(gpu, &values);
        Ok(tensor)
    };
    let input = match windows {
        Windows::Shifts(shape) if kernel != "backward input" => shape.shifts(),
        _ => shape.x(),
    };
    let output = pool.map_or_else(|| shape.y(), |pool| pool.y());
    let length: usize = output.iter().product();
    // Of a layer with a max pool also where its results come from.
    let both = random("y", &[2 * length])?;
    let [y, argmax] = [0..length, length..2 * length].map(|range| both.range(range));
    let argmax = pool.map(|_| &argmax);
    let d_y = OutputGradient { d_y: &y, argmax };
    let x = random("x", &input)?;
    let (w, bias) = (random("w", &shape.w())?, random("bias", &shape.w()[..1])?);
    let mut plan = match core {
        Some(core) => Recording::new(gpu.path()).with_core(core),
        None => Recording::new(gpu.path()),
    };
    match kernel {
        "forward" => {
            let epilogue = match pool {
                Some(_) => Epilogue::MaxPool { argmax },
                None => Epilogue::Relu,
            };
            conv_forward(&mut plan, layer, windows, [&x, &w, &bias], epilogue, &y);
        }
        "backward input" => {
            let d_x = Tensor::transient("d_x", &shape.x());
            // What the pool's gradient was spread to.
            let d_y = random("d_y", &shape.y())?;
            conv_backward_input(&mut plan, layer, shape, [&d_y, &w, &x], false, &d_x);
        }
        _ => {
            let splits = shape.weight_splits(gpu.path(), 1);
            if splits == 1 {
                let w = w.view(&[1, w.len()]);
                conv_backward_weight(&mut plan, layer, windows, d_y, &x, false, &w);
            } else {
                let partial = Tensor::transient("partial", &[splits, w.len()]);
                conv_backward_weight(&mut plan, layer, windows, d_y, &x, false, &partial);
                sum_partials(&mut plan, layer, &partial, &w);
            }
        }
    }
    let product = plan.calls().find_map(|call| match call.grid {
        Grid::Product { splits, .. } => Some(splits),
        Grid::Threads(_) | Grid::Groups(_) => None,
    });
    let shared = cores::choose(&plan, &gpu.tiles(), gpu.matrices());
    let tile = shared.iter().find_map(|shared| shared.core);
    let plan = gpu.plan(plan)?;
    let bytes: u64 = plan.rows().iter().map(|r| r.bytes).sum();
    let runs = match gpu.path() {
        Path::Gpu => RUNS_ON_GPU,
        Path::CpuSampled | Path::CpuStorage | Path::CpuSubgroup => 1,
    };
    if runs > 1 {
        warm_up(|| plan.run(gpu, &[]), || gpu.wait());
    }
    let times = time(least, || {
        (0..runs).for_each(|_| plan.run(gpu, &[]));
        gpu.wait();
        Ok(gpu.check()?)
    })?;
    let times = times.each(runs);
    let gflop = shape.flops() as f64 / 1e9;
    Ok(KernelRow {
        layer: layer.to_owned(),
        kernel,
        shape: format!(
            "{}x{}x{}x{} -> {}, {}x{}",
            shape.batch,
            shape.input_height,
            shape.input_width,
            shape.input_channels,
            shape.output_channels,
            shape.kernel_height,
            shape.kernel_width
        ),
        tile: tile.map_or_else(String::new, |core| core.tile_name()),
        splits: product.unwrap_or(1),
        gflop,
        megabytes: bytes as f64 / 1e6,
        gflops: 1e3 * gflop / times.milliseconds,
        gflops_per_core: 1e3 * gflop / times.cpu_milliseconds,
        of_matrix_product: 0.0,
        of_peak: 0.0,
        times,
    })
}

pub(super) const KERNEL_HEADS: [&str; 11] = [
    "layer",
    "kernel",
    "shape",
    "tile",
    "splits",
    "GFLOP",
    "ms",
    "spread ms",
    "GFLOP/s",
    "per core",
    "of peak",
];

pub(super) fn kernel_cells(r: &KernelRow) -> [String; 11] {
    [
        r.layer.clone(),
        r.kernel.to_owned(),
        r.shape.clone(),
        r.tile.clone(),
        r.splits.to_string(),
        format!("{:.3}", r.gflop),
        format!("{:.3}", r.times.milliseconds),
        format!("{:.3}-{:.3}", r.times.fastest, r.times.slowest),
        format!("{:.1}", r.gflops),
        format!("{:.1}", r.gflops_per_core),
        format!("{:.0} %", 100.0 * r.of_peak),
    ]
}

pub(super) fn kernel_bar(r: &KernelRow) -> Bar {
    Bar {
        group: format!("{}, {}", r.layer, r.shape),
        name: r.kernel.to_owned(),
        value: r.gflops,
    }
}
