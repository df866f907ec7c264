//! Times kernels at the shapes the models use; each answer is checked before it is timed.
//!
//! `cargo bench --bench kernels`, with `-- --test` to run everything once.

use criterion::{Criterion, Throughput};
use gtc::gpu::{Gpu, GpuOptions};
use gtc::op::{
    ConvShape, Epilogue, OutputGradient, Windows, conv_backward_input, conv_backward_weight,
    conv_forward,
};
use gtc::recording::Recording;
use gtc::tensor::Tensor;
use gtc::verify;
use pollster::block_on;

/// (name, shape): the matrix product that GEMM tables quote, LeNet-5 at batch 64, 3x3
/// convolutions as VGG has them.
fn shapes() -> Vec<(&'static str, ConvShape)> {
    let conv = |batch, side, inputs, outputs, kernel, padding| ConvShape {
        batch,
        input_height: side,
        input_width: side,
        input_channels: inputs,
        output_channels: outputs,
        kernel_height: kernel,
        kernel_width: kernel,
        stride: 1,
        padding: [padding, padding],
    };
    vec![
        ("matrix 512", ConvShape::dense(512, 512, 512)),
        ("lenet5 conv1", ConvShape::dense(64 * 576, 25, 20)),
        ("lenet5 conv2", conv(64, 12, 20, 50, 5, 0)),
        ("lenet5 fc1", ConvShape::dense(64, 832, 500)),
        ("3x3 32x32x64", conv(8, 32, 64, 64, 3, 1)),
        ("3x3 16x16x128", conv(8, 16, 128, 128, 3, 1)),
        ("3x3 4x4x512", conv(8, 4, 512, 512, 3, 1)),
    ]
}

fn check(gpu: &Gpu) {
    for case in verify::cases() {
        let report = block_on(verify::run_case(gpu, &case)).expect("the device works");
        assert!(
            report.failure.is_none(),
            "{} [{}]: {:?}",
            report.kernel,
            report.case,
            report.failure
        );
    }
}

fn main() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    println!(
        "{} ({}), {} kernels",
        gpu.name(),
        gpu.driver(),
        gpu.path().name()
    );
    check(&gpu);
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    for (name, shape) in shapes() {
        let tensor = |label, shape: &[usize]| {
            let tensor = Tensor::new(&gpu, label, shape).expect("it fits");
            tensor.write(&gpu, &vec![0.25f32; tensor.len()]);
            tensor
        };
        let (x, y) = (tensor("x", &shape.x()), tensor("y", &shape.y()));
        let d_x = tensor("d_x", &shape.x());
        let (w, bias) = (tensor("w", &shape.w()), tensor("bias", &shape.w()[..1]));
        let splits = shape.weight_splits(gpu.path(), 1);
        let partial = tensor("partial", &[splits, w.len()]);
        let mut group = criterion.benchmark_group(name);
        // Criterion speaks of elements per second; here an element is a floating-point operation.
        group.throughput(Throughput::Elements(shape.flops()));
        for kernel in ["forward", "backward input", "backward weight"] {
            let mut recording = Recording::new(gpu.path());
            let d_y = OutputGradient::from(&y);
            match kernel {
                "forward" => {
                    let windows = Windows::Plain(&shape);
                    conv_forward(
                        &mut recording,
                        name,
                        windows,
                        [&x, &w, &bias],
                        Epilogue::Relu,
                        &y,
                    )
                }
                "backward input" => {
                    conv_backward_input(&mut recording, name, &shape, [&y, &w, &x], false, &d_x)
                }
                _ => conv_backward_weight(
                    &mut recording,
                    name,
                    Windows::Plain(&shape),
                    d_y,
                    &x,
                    false,
                    &partial,
                ),
            }
            let plan = gpu.plan(recording).expect("the kernels compile");
            group.bench_function(kernel, |b| {
                b.iter(|| {
                    plan.run(&gpu, &[]);
                    gpu.wait();
                });
            });
        }
    }
    criterion.final_summary();
}
