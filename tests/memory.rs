//! Nothing is allocated while training: resident memory stays flat over 5,000 steps.
#![cfg(target_os = "linux")]

use gtc::gpu::{Gpu, GpuOptions};
use gtc::train::{TrainOptions, Trainer};
use gtc::{data, model};
use pollster::block_on;

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn five_thousand_steps_take_no_more_memory_than_a_few() {
    let gpu = block_on(Gpu::open(&GpuOptions::default())).unwrap_or_else(|e| panic!("{e}"));
    let digits = data::embedded_digits().unwrap();
    let options = TrainOptions {
        batch_size: 4,
        epochs: 4,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(&gpu, model::lenet_small(), &digits.train, options).unwrap();
    let mut walk = |steps: u64| {
        let end = trainer.steps_done() + steps;
        while trainer.steps_done() < end {
            trainer.train_step(&digits.train);
            if trainer.steps_done().is_multiple_of(4) {
                block_on(trainer.progress()).unwrap();
            }
        }
    };
    walk(300);
    let before = resident_kib();
    walk(5000);
    let after = resident_kib();
    println!("{before} KiB after 300 steps, {after} KiB after 5,300");
    assert!(after < 1.05 * before, "{before} KiB grew to {after} KiB");
}
