//! The library in ten lines: teach LeNet-5 the digits inside the crate and print what its weights
//! became.
//!
//! `cargo run --release --example train_digits`

use gtc::{data, gpu, inspect, model, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(async {
        let gpu = gpu::Gpu::open(&gpu::GpuOptions::default()).await?;
        let digits = data::embedded_digits()?;
        let options = train::TrainOptions {
            epochs: 2,
            ..Default::default()
        };
        let lenet = model::lenet5();
        let mut trainer = train::Trainer::new(&gpu, lenet, &digits.train, options)?;
        while trainer.steps_done() < trainer.total_steps() {
            trainer.train_step(&digits.train);
            // Looking now and then also keeps the queue short.
            if trainer.steps_done().is_multiple_of(31) {
                let so_far = trainer.progress().await?;
                println!(
                    "step {:3}: LP loss {:.3}",
                    trainer.steps_done(),
                    so_far.lp.mean_loss()
                );
            }
        }
        let (result, _) = trainer.test(&digits.test, |_| ()).await?;
        println!(
            "LP reads {:.1} % of the test digits",
            100.0 * result.lp.accuracy()
        );
        let weights = trainer.snapshot().await?.weights;
        for layer in inspect::inspect(trainer.parameters(), &weights) {
            let (low, high) = (layer.exponent_min, layer.exponent_max);
            println!(
                "{}: {} bits, exponents {low} to {high}",
                layer.name, layer.bits
            );
        }
        Ok(())
    })
}
