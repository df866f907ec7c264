//! Which settings a run may have: by themselves, for a model, and on a device.

use super::options::{MAX_BITS, MAX_LATENT, MAX_SHARDS};
use super::{Precision, QuantiserRate, TrainError, TrainOptions};
use crate::gpu::Gpu;
use crate::graph::Model;

impl TrainOptions {
    /// Checks every number against what makes sense for `images` training images.
    ///
    /// # Errors
    /// [`TrainError::BadOption`], naming option, value and remedy.
    pub fn check(&self, images: usize) -> Result<(), TrainError> {
        let bad = |option: &'static str, value: String, remedy: String| {
            Err(TrainError::BadOption {
                option,
                value,
                remedy,
            })
        };
        if self.batch_size == 0 || self.batch_size > images {
            let remedy = format!("it must be 1 to {images}, the number of training images");
            return bad("batch-size", self.batch_size.to_string(), remedy);
        }
        if !self.shards.is_power_of_two() || self.shards > MAX_SHARDS {
            let remedy = format!("it must be a power of two, at most {MAX_SHARDS}");
            return bad("shards", self.shards.to_string(), remedy);
        }
        if !self.batch_size.is_multiple_of(self.shards) {
            let (size, shards) = (self.batch_size, self.shards);
            let near = (size / shards * shards).max(shards);
            let remedy = format!(
                "a batch of {size} images cannot be cut into {shards} equal shards. Use --batch-size {near}, or fewer shards"
            );
            return bad("shards", shards.to_string(), remedy);
        }
        if self.shift > 16 {
            let remedy = "it must be 0 to 16 pixels".to_owned();
            return bad("shift", self.shift.to_string(), remedy);
        }
        if !(0.05..=1.0).contains(&self.random_crop) {
            let remedy =
                "it must be 0.05 to 1, the smallest part of the area that is shown".to_owned();
            return bad("random-crop", self.random_crop.to_string(), remedy);
        }
        if self.cutout > 512 {
            let remedy = "it must be 0 to 512 pixels".to_owned();
            return bad("cutout", self.cutout.to_string(), remedy);
        }
        if self.latent == 0 || self.latent > MAX_LATENT {
            let remedy = format!("it must be at least 1 and at most {MAX_LATENT} numbers");
            return bad("latent", self.latent.to_string(), remedy);
        }
        if !(1..=MAX_BITS).contains(&self.target_bits) {
            let remedy = format!("it must be 1 to {MAX_BITS} bits");
            return bad("target-bits", self.target_bits.to_string(), remedy);
        }
        if let QuantiserRate::Times(times) = self.quantiser_rate
            && !(0.0..=1e4).contains(&times)
        {
            let remedy = "it must be 0 to 10000, or auto".to_owned();
            return bad("quantiser-rate", times.to_string(), remedy);
        }
        if !(0.1..=100.0).contains(&self.temperature) {
            let remedy = "it must be 0.1 to 100".to_owned();
            return bad("temperature", self.temperature.to_string(), remedy);
        }
        for (layer, bits) in &self.layer_bits {
            if !(1..=MAX_BITS).contains(bits) {
                let remedy = format!("it must be 1 to {MAX_BITS} bits");
                return bad("target-bits", format!("{layer}={bits}"), remedy);
            }
        }
        if self.epochs == 0 {
            return bad("epochs", "0".to_owned(), "it must be at least 1".to_owned());
        }
        for (option, value, limit) in [
            ("learning-rate", self.learning_rate, 1e30),
            ("muon-rate", self.muon_rate, 1e30),
            ("sgd-rate", self.sgd_rate, 1e30),
            ("warm-up", self.warm_up, 1.0),
            ("lambda-bits", self.lambda_bits, 1e6),
            ("lambda-distill", self.lambda_distill, 1e6),
            ("lp-labels", self.lp_labels, 1.0),
            ("lambda-l2", self.lambda_l2, 1e6),
            ("weight-decay", self.weight_decay, 1e3),
            ("lp-start", self.lp_start, 0.99),
            ("lambda-norm", self.lambda_norm, 1e6),
            ("freeze-levels", self.freeze_levels, 1.0),
            ("bits-ramp", self.bits_ramp, 1.0),
            ("augment-until", self.augment_until, 1.0),
            ("jitter", self.jitter, 1.0),
            ("mix-up", self.mix_up, 1.0),
            ("label-smoothing", self.label_smoothing, 1.0),
            ("kl-warmup", self.kl_warmup, 1.0),
        ] {
            if !(0.0..=limit).contains(&value) {
                return bad(
                    option,
                    value.to_string(),
                    format!("it must be 0 to {limit}"),
                );
            }
        }
        Ok(())
    }
}

/// Checks what depends on the model or on the device.
///
/// # Errors
/// [`TrainError::BadOption`], naming option, value and remedy.
pub(super) fn check_for(
    options: &TrainOptions,
    model: &Model,
    gpu: &Gpu,
) -> Result<(), TrainError> {
    if options.precision != Precision::Full {
        let cooperative = options.precision.needs_matrices();
        let wrong = |remedy: String| TrainError::BadOption {
            option: "precision",
            value: if cooperative { "cooperative" } else { "mixed" }.to_owned(),
            remedy,
        };
        if gpu.path().reads_textures() {
            return Err(wrong(format!(
                "it is for GPUs: kernels of the path {} read textures of 32 bits a number. Leave it out; --path gpu runs \
                     here what a GPU would, slowly",
                gpu.path().name()
            )));
        }
        if cooperative != gpu.matrices().is_some() {
            let remedy = match cooperative {
                true => {
                    "the device was not opened for it (GpuOptions::cooperative; browsers cannot)"
                }
                false => "the device was opened for cooperative",
            };
            return Err(wrong(remedy.to_owned()));
        }
    }
    for (option, value, usual) in [
        ("mix-up", options.mix_up, 0.0),
        ("label-smoothing", options.label_smoothing, 0.0),
        ("lp-labels", options.lp_labels, 0.0),
        ("temperature", options.temperature, 1.0),
    ] {
        if value != usual && model.likelihood.is_some() {
            return Err(TrainError::BadOption {
                option,
                value: value.to_string(),
                remedy: "it is about labels, and an auto-encoder learns none".to_owned(),
            });
        }
    }
    Ok(())
}
