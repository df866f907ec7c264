//! Large batches: worked through in parts, and refused where even that is not enough.

use crate::common::{refuse, run};
use gtc::data::embedded_digits;
use gtc::gpu::{Gpu, GpuOptions, Path};
use gtc::model::Model;
use gtc::op::{ConvShape, UpsampleShape, upsample_forward};
use gtc::recording::Recording;
use gtc::tensor::Tensor;
use gtc::train::{TrainError, TrainOptions, Trainer};
use pollster::block_on;

#[test]
fn a_batch_larger_than_a_binding_is_worked_through_in_parts() {
    // What the first max pool gives, 144 x 20 floats an image and as many for the argmax, and the largest
    // binding that every device has.
    let batch = (128 << 20) / (2 * 144 * 20 * 4) + 1;
    let (code, stdout, stderr) = run(&["plan", "lenet5", "--batch-size", &batch.to_string()]);
    assert_eq!(code, 0, "{stderr}");
    if !stdout.contains(&format!("[{batch}, 12, 12, 20]")) {
        for images in [2916, 2910] {
            let pooled = format!("[{images}, 12, 12, 20]");
            assert!(stdout.contains(&pooled), "no {pooled} in {stdout}");
        }
    }
}

/// Partial sums grow with the batch, and must not be what makes it too large.
#[test]
fn partial_sums_of_large_batches_stay_small() {
    let conv4 = |batch| ConvShape {
        batch,
        input_height: 4,
        input_width: 4,
        input_channels: 512,
        output_channels: 512,
        kernel_height: 3,
        kernel_width: 3,
        stride: 1,
        padding: [1, 1],
    };
    for path in Path::ALL {
        for parts in [1, 2, 12] {
            let shape = conv4(6000 / parts);
            let partial = parts * shape.weight_splits(path, parts) * 512 * 9 * 512 * 4;
            let one_each = parts * 512 * 9 * 512 * 4;
            assert!(
                partial <= one_each.max(32 << 20),
                "{partial} bytes in {parts} parts on {}",
                path.name()
            );
        }
    }
}

#[test]
fn a_batch_whose_images_exceed_a_binding_is_refused_with_one_that_fits() {
    let words = ["--batch-size 50000", "'images' would take", " fits"];
    refuse(&["plan", "lenet5", "--batch-size", "50000"], &words);
}

#[test]
fn a_batch_that_fills_all_memory_is_refused_with_one_that_fits() {
    let gpu = block_on(Gpu::open(&GpuOptions {
        memory_bytes: Some(100 << 20),
        ..GpuOptions::default()
    }))
    .unwrap_or_else(|e| panic!("{e}"));
    let trainer = |batch_size| {
        let options = TrainOptions {
            batch_size,
            ..TrainOptions::default()
        };
        let model = Model::by_name("lenet5").unwrap();
        Trainer::for_count(&gpu, model, 60_000, options).map(|trainer| trainer.memory_bytes())
    };
    let Err(TrainError::BatchTooLarge { reason, fits, .. }) = trainer(4096) else {
        panic!("4,096 images fit into 100 MiB");
    };
    assert!(reason.contains("104857600 that are free"), "{reason}");
    let taken = trainer(fits).unwrap();
    assert!(taken <= 100 << 20, "{fits} images take {taken} bytes");
    assert!(
        trainer(2 * fits).is_err(),
        "{fits} is not the largest power of two"
    );
}

/// What two steps make of a model, with a binding as large as the device's or as `part_bytes`.
fn two_steps(model: &Model, part_bytes: Option<u64>) -> (usize, [f64; 2], Vec<f32>, Vec<f32>) {
    let gpu = block_on(Gpu::open(&GpuOptions {
        part_bytes,
        ..GpuOptions::default()
    }))
    .unwrap_or_else(|e| panic!("{e}"));
    let options = TrainOptions {
        batch_size: 10,
        lambda_bits: 1e-2,
        kl_warmup: 0.0,
        ..TrainOptions::default()
    };
    let data = embedded_digits().unwrap();
    let mut trainer = Trainer::new(&gpu, model.clone(), &data.train, options).unwrap();
    for _ in 0..2 {
        trainer.train_step(&data.train);
    }
    let progress = block_on(trainer.progress()).unwrap();
    (
        trainer.parts(),
        [progress.hp.mean_loss(), progress.lp.mean_loss()],
        block_on(trainer.gradients()).unwrap(),
        block_on(trainer.snapshot()).unwrap().running[1].clone(),
    )
}

#[test]
fn parts_teach_what_a_whole_batch_teaches() {
    for (name, image) in [("vae", 28 * 28 * 32), ("lenet5", 2 * 144 * 20)] {
        let model = Model::by_name(name).unwrap();
        let whole = two_steps(&model, None);
        let parts = two_steps(&model, Some(image * 4 * 4));
        assert_eq!((whole.0, parts.0), (1, 3), "{name}");
        for (got, want) in parts.1.iter().zip(whole.1) {
            assert!(
                (got - want).abs() < 1e-5 * want,
                "{name}: {got}, not {want}"
            );
        }
        for (what, got, want) in [
            ("gradients", &parts.2, &whole.2),
            ("running statistics", &parts.3, &whole.3),
        ] {
            let square = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            let differences: Vec<f32> = got.iter().zip(want).map(|(g, w)| g - w).collect();
            let error = (square(&differences) / square(want).max(1e-30)).sqrt();
            assert!(error < 1e-3, "{name}: {what} are off by {error:.1e}");
        }
    }
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
    let mut recording = Recording::new(gpu.path());
    upsample_forward(&mut recording, "upsample", &shape, &x, &y);
    gpu.plan(recording).unwrap().run(&gpu, &[0; 64]);
    let found = block_on(y.read(&gpu)).unwrap();
    for (i, pixel) in found.chunks(60).enumerate() {
        let (line, column) = (i / 20, i % 20);
        let from = ((line / 20) * 10 + (line % 20) / 2) * 10 + column / 2;
        assert_eq!(pixel, &pixels[from * 60..(from + 1) * 60], "pixel {i}");
    }
}
