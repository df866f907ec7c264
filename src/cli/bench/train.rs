//! `gtc bench train`

use std::time::{Duration, Instant};

use pollster::block_on;
use serde::Serialize;

use super::plot::Bar;
use super::{Times, random_images, time};
use crate::cli::output::say;
use crate::cli::train::print_profile;
use crate::cli::{CliError, human_bytes};
use crate::gpu::Gpu;
use crate::train::{Objective, Precision, TrainOptions, Trainer};

#[derive(Serialize)]
pub(super) struct TrainRow {
    model: String,
    objective: String,
    precision: String,
    batch_size: usize,
    first_step_seconds: f64,
    times: Times,
    images_per_second: f64,
    buffer_bytes: u64,
}

/// What is measured.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub model: &'a str,
    pub objective: &'a str,
    pub precision: &'a str,
    /// Images in a step.
    pub batch: usize,
}

/// The precision of this name.
pub(super) fn precision_of(name: &str) -> Result<Precision, CliError> {
    Ok(serde_json::from_value(name.into())?)
}

pub(super) fn train(
    gpu: &Gpu,
    setup: Setup<'_>,
    least: Duration,
    started: Instant,
    profile: bool,
) -> Result<TrainRow, CliError> {
    let Setup {
        model: name,
        objective,
        precision,
        batch,
    } = setup;
    let model = super::super::model_files::find_model_alone(name)?;
    let images = random_images(&model, batch);
    let options = TrainOptions {
        batch_size: batch,
        objective: serde_json::from_value::<Objective>(objective.into())?,
        precision: precision_of(precision)?,
        // Enough that the schedule never ends.
        epochs: u32::MAX,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::for_count(gpu, model, batch, options)?;
    let mut step = || -> Result<(), CliError> {
        trainer.train_step(&images);
        gpu.wait();
        Ok(gpu.check()?)
    };
    step()?;
    let first_step_seconds = started.elapsed().as_secs_f64();
    let times = time(least, step)?;
    if profile {
        let timings = block_on(trainer.profile_step(&images))?;
        say!("{name}, {objective}, batch {batch}");
        print_profile(&timings);
    }
    Ok(TrainRow {
        model: name.to_owned(),
        objective: objective.to_owned(),
        precision: precision.to_owned(),
        batch_size: batch,
        first_step_seconds,
        images_per_second: 1e3 * batch as f64 / times.milliseconds,
        buffer_bytes: trainer.memory_bytes(),
        times,
    })
}

pub(super) const TRAIN_HEADS: [&str; 9] = [
    "model",
    "objective",
    "precision",
    "batch",
    "first step s",
    "step ms",
    "spread ms",
    "images/s",
    "buffers",
];

pub(super) fn train_cells(r: &TrainRow) -> [String; 9] {
    [
        r.model.clone(),
        r.objective.clone(),
        r.precision.clone(),
        r.batch_size.to_string(),
        format!("{:.2}", r.first_step_seconds),
        format!("{:.1}", r.times.milliseconds),
        format!("{:.1}-{:.1}", r.times.fastest, r.times.slowest),
        format!("{:.1}", r.images_per_second),
        human_bytes(r.buffer_bytes),
    ]
}

pub(super) fn train_bar(r: &TrainRow) -> Bar {
    Bar {
        group: format!("{} {}", r.model, r.objective),
        name: match r.precision.as_str() {
            "full" => format!("batch {}", r.batch_size),
            precision => format!("batch {}, {precision}", r.batch_size),
        },
        value: r.images_per_second,
    }
}
