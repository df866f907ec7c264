//! Large batches: what is refused, and that positions are counted exactly up to there.

mod common;

use common::{refuse, run};
use gtc::gpu::{Gpu, GpuOptions, PlanBuilder};
use gtc::layer::{UpsampleShape, upsample_forward};
use gtc::tensor::Tensor;
use pollster::block_on;

#[test]
fn a_batch_too_large_for_a_binding_is_refused_with_one_that_fits() {
    // The first activation of 2,000 images: 2000 x 32 x 32 x 64 floats.
    let (code, stdout, stderr) = run(&["plan", "vgg16", "--batch-size", "2000"]);
    if code == 0 {
        assert!(
            stdout.contains("[2000, 32, 32, 64]"),
            "a device with larger bindings"
        );
        return;
    }
    assert_eq!(code, 2, "{stderr}");
    for word in ["--batch-size 2000", "524288000 bytes", " fits"] {
        assert!(stderr.contains(word), "no '{word}' in {stderr}");
    }
}

#[test]
fn a_batch_of_more_positions_than_kernels_count_is_refused_with_one_that_fits() {
    let words = ["--batch-size 6000", "4704000 positions", " fits"];
    refuse(&["plan", "vae", "--batch-size", "6000"], &words);
}

/// More than 2^22 texels, fifteen to a pixel: a quotient by multiplication alone is off by one
/// for some of them.
#[test]
fn places_beyond_two_to_the_22nd_are_found() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let shape = UpsampleShape {
        batch: 870,
        input_height: 10,
        input_width: 10,
        channels: 60,
        size: 2,
    };
    let x = Tensor::new(&gpu, "x", &shape.x()).unwrap();
    let y = Tensor::new(&gpu, "y", &shape.y()).unwrap();
    let pixels: Vec<f32> = (0..x.len()).map(|i| i as f32).collect();
    x.write(&gpu, &pixels);
    let mut plan = PlanBuilder::new(&gpu);
    upsample_forward(&mut plan, "upsample", &shape, &x, &y);
    plan.finish().unwrap().run(&gpu, &[0; 64]);
    let found = block_on(y.read(&gpu)).unwrap();
    for (i, pixel) in found.chunks(60).enumerate() {
        let (line, column) = (i / 20, i % 20);
        let from = ((line / 20) * 10 + (line % 20) / 2) * 10 + column / 2;
        assert_eq!(pixel, &pixels[from * 60..(from + 1) * 60], "pixel {i}");
    }
}
