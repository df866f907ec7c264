//! Times Burn on the networks and convolutions that `gtc bench` times.
//!
//! `peer-burn wgpu|flex train vgg16|lenet5|lenet-small|vae-mlp BATCH` and
//! `peer-burn wgpu|flex conv BATCH` print one JSON object a line.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, DeviceKind, Distribution, Int, Tensor};

/// Convolutions, each with a batch normalisation or without, and dense layers.
#[derive(Module, Debug)]
struct Net {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    dense: Vec<Linear>,
}

/// What the module itself does not say.
struct Layout {
    /// (height and width, channels) of an image.
    input: (usize, usize),
    kernel: usize,
    padding: usize,
    norm: bool,
    /// Output channels, or 0 for a 2x2 maximum.
    stages: Vec<usize>,
    dense: Vec<usize>,
}

fn layout(name: &str) -> Layout {
    let lenet = |stages: [usize; 2], dense: &[usize]| Layout {
        input: (28, 1),
        kernel: 5,
        padding: 0,
        norm: false,
        stages: vec![stages[0], 0, stages[1], 0],
        dense: dense.to_vec(),
    };
    match name {
        "lenet5" => lenet([20, 50], &[500, 10]),
        "lenet-small" => lenet([6, 10], &[128, 128, 10]),
        "vgg16" => Layout {
            input: (32, 3),
            kernel: 3,
            padding: 1,
            norm: true,
            stages: vec![
                64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0,
            ],
            dense: vec![10],
        },
        other => panic!("no network '{other}'"),
    }
}

impl Net {
    fn new(layout: &Layout, device: &Device) -> Self {
        let (mut side, mut channels) = layout.input;
        let (mut convs, mut norms, mut dense) = (Vec::new(), Vec::new(), Vec::new());
        let pad = layout.padding;
        for &outputs in &layout.stages {
            if outputs == 0 {
                side /= 2;
                continue;
            }
            let conv = Conv2dConfig::new([channels, outputs], [layout.kernel; 2])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .with_bias(!layout.norm);
            convs.push(conv.init(device));
            if layout.norm {
                norms.push(BatchNormConfig::new(outputs).init(device));
            }
            side = side + 2 * pad + 1 - layout.kernel;
            channels = outputs;
        }
        let mut inputs = side * side * channels;
        for &outputs in &layout.dense {
            dense.push(LinearConfig::new(inputs, outputs).init(device));
            inputs = outputs;
        }
        Self {
            convs,
            norms,
            dense,
        }
    }

    fn forward(&self, layout: &Layout, images: Tensor<4>) -> Tensor<2> {
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let mut x = images;
        let mut convs = 0;
        for &outputs in &layout.stages {
            if outputs == 0 {
                x = pool.forward(x);
                continue;
            }
            x = self.convs[convs].forward(x);
            if let Some(norm) = self.norms.get(convs) {
                x = norm.forward(x);
            }
            x = relu(x);
            convs += 1;
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (i, dense) in self.dense.iter().enumerate() {
            x = dense.forward(x);
            if i + 1 < self.dense.len() {
                x = relu(x);
            }
        }
        x
    }
}

/// Warm-up first, then the median and the fastest of at least five runs and two seconds, in milliseconds.
fn time(mut once: impl FnMut()) -> [f64; 2] {
    for _ in 0..3 {
        once();
    }
    let (mut all, started) = (Vec::new(), Instant::now());
    while all.len() < 5 || started.elapsed() < Duration::from_secs(2) {
        let at = Instant::now();
        once();
        all.push(1e3 * at.elapsed().as_secs_f64());
    }
    all.sort_by(f64::total_cmp);
    [all[all.len() / 2], all[0]]
}

/// The largest resident size so far, in bytes; zero where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    digits.unwrap_or(0) * 1024
}

/// The multi-layer auto-encoder of `gtc train vae-mlp`: 784-400-20-400-784.
#[derive(Module, Debug)]
struct AutoEncoder {
    encode1: Linear,
    posterior: Linear,
    decode1: Linear,
    pixels: Linear,
}

const LATENT: usize = 20;

impl AutoEncoder {
    fn new(device: &Device) -> Self {
        let dense = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            encode1: dense(784, 400),
            posterior: dense(400, 2 * LATENT),
            decode1: dense(LATENT, 400),
            pixels: dense(400, 784),
        }
    }

    /// Minus the evidence lower bound, a mean over the images (Kingma, Welling 2013, Eq. 10).
    fn loss(&self, images: Tensor<2>, noise: Tensor<2>) -> Tensor<1> {
        let batch = images.dims()[0] as f64;
        let posterior = self.posterior.forward(relu(self.encode1.forward(images.clone())));
        let mean = posterior.clone().narrow(1, 0, LATENT);
        let log_variance = posterior.narrow(1, LATENT, LATENT);
        let latent = mean.clone() + (log_variance.clone() * 0.5).exp() * noise;
        let logits = self.pixels.forward(relu(self.decode1.forward(latent)));
        // From logits, so that nothing overflows.
        let pixels = relu(logits.clone()) - logits.clone() * images + (-logits.abs()).exp().log1p();
        let divergence = mean.powi_scalar(2) + log_variance.clone().exp() - log_variance - 1.0;
        (pixels.sum() + divergence.sum() * 0.5) / batch
    }
}

/// Adam on one batch, again and again; `loss` is what a network makes of it.
fn steps<M: Module>(
    device: &Device,
    module: M,
    loss: impl Fn(&M) -> Tensor<1>,
) -> impl FnMut() {
    let mut adam = AdamConfig::new().init();
    let mut module = Some(module);
    move || {
        if let Some(now) = module.take() {
            let gradients = GradientsParams::from_grads(loss(&now).backward(), &now);
            module = Some(adam.step(1e-3, now, gradients));
        }
        device.sync().expect("the device works");
    }
}

fn train(backend: &str, device: &Device, name: &str, batch: usize, started: Instant) {
    let device = device.clone().autodiff();
    let uniform = Distribution::Uniform(0.0, 1.0);
    if name == "vae-mlp" {
        let images = Tensor::<2>::random([batch, 784], uniform, &device);
        let loss = |net: &AutoEncoder| {
            let normal = Distribution::Normal(0.0, 1.0);
            net.loss(images.clone(), Tensor::random([batch, LATENT], normal, &device))
        };
        let step = steps(&device, AutoEncoder::new(&device), loss);
        return report(backend, name, batch, started, step);
    }
    let layout = layout(name);
    let (side, channels) = layout.input;
    let images = Tensor::<4>::random([batch, channels, side, side], uniform, &device);
    let labels: Vec<i64> = (0..batch as i64).map(|i| i % 10).collect();
    let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), &device);
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let loss = |net: &Net| {
        let logits = net.forward(&layout, images.clone());
        cross_entropy.forward(logits, labels.clone())
    };
    let step = steps(&device, Net::new(&layout, &device), loss);
    report(backend, name, batch, started, step);
}

fn report(backend: &str, name: &str, batch: usize, started: Instant, mut step: impl FnMut()) {
    step();
    let first = started.elapsed().as_secs_f64();
    let [milliseconds, fastest] = time(step);
    println!(
        "{{\"peer\": \"burn {backend}\", \"what\": \"{name}\", \"batch\": {batch}, \"ms\": {milliseconds:.2}, \"fastest_ms\": {fastest:.2}, \
         \"images_per_second\": {:.1}, \"first_step_seconds\": {first:.2}, \"peak_bytes\": {}}}",
        1e3 * batch as f64 / milliseconds,
        peak_memory()
    );
}

fn conv(backend: &str, device: &Device, batch: usize) {
    for (side, channels) in [(32, 64), (16, 128), (8, 256), (4, 512)] {
        let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let tensor = |shape: [usize; 4], device: &Device| {
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), device)
        };
        let (x_shape, w_shape) = ([batch, channels, side, side], [channels, channels, 3, 3]);
        let (x, w) = (tensor(x_shape, device), tensor(w_shape, device));
        let [forward, _] = time(|| {
            let _ = conv2d(x.clone(), w.clone(), None, options());
            device.sync().expect("the device works");
        });
        let tracked = device.clone().autodiff();
        let (x, w) = (tensor(x_shape, &tracked), tensor(w_shape, &tracked));
        let (x, w) = (x.require_grad(), w.require_grad());
        let [both, _] = time(|| {
            let y = conv2d(x.clone(), w.clone(), None, options());
            let gradients = y.sum().backward();
            let _ = (x.grad(&gradients), w.grad(&gradients));
            tracked.sync().expect("the device works");
        });
        let gflop = 2.0 * (batch * side * side * channels * channels * 9) as f64 / 1e9;
        println!(
            "{{\"peer\": \"burn {backend}\", \"what\": \"3x3 {side}x{side}x{channels}\", \"batch\": {batch}, \
             \"forward_ms\": {forward:.2}, \"forward_backward_ms\": {both:.2}, \"gflop\": {gflop:.3}}}"
        );
    }
}

fn main() {
    let started = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let device = |backend: &str| match backend {
        "flex" => Device::flex(),
        _ => Device::wgpu(DeviceKind::DefaultDevice),
    };
    let number = |text: &str| text.parse().expect("a number of images");
    match words.as_slice() {
        [backend, "train", name, batch] => {
            train(backend, &device(backend), name, number(batch), started)
        }
        [backend, "conv", batch] => conv(backend, &device(backend), number(batch)),
        _ => {
            eprintln!("peer-burn wgpu|flex train vgg16|lenet5|lenet-small|vae-mlp BATCH, or conv BATCH");
            std::process::exit(2);
        }
    }
}
