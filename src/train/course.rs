//! How settings change in the course of a run.

use super::{Decay, Objective, QuantiserRate, TrainOptions};
use crate::data::Augment;
use crate::optimiser::Schedule;

/// How far a slope can travel with [`QuantiserRate::Auto`].
const SLOPE_TRAVEL: f64 = 1.5;

impl TrainOptions {
    /// What happens to training images when `done` of the run, 0 to 1, is over.
    pub fn augment(&self, done: f64) -> Augment {
        let label_smoothing = self.label_smoothing;
        if done >= self.augment_until {
            return Augment {
                label_smoothing,
                ..Augment::default()
            };
        }
        Augment {
            mix_up: self.mix_up,
            label_smoothing,
            shift: self.shift,
            flip: self.flip,
            crop: self.random_crop,
            cutout: self.cutout,
            jitter: self.jitter,
        }
    }

    /// Whether LP learns in step `t` of `total`, counted from 1. It joins in the last step at the latest.
    pub fn low_precision_at(&self, t: u64, total: u64) -> bool {
        let early = t < total && done_before(t, total) < self.lp_start;
        let waits = self.objective == Objective::Gtc && early;
        self.objective.low_precision() && !waits
    }

    /// The part of a run of `epochs` epochs after which LP has joined, if it joined within the first `done` steps of this
    /// run: what has joined does not leave when a run becomes longer. Else `lp_start` as it is.
    pub fn joined_as_before(&self, done: u64, steps_per_epoch: u64, epochs: u32) -> f64 {
        let total = u64::from(self.epochs) * steps_per_epoch;
        let joined = done > 0 && self.low_precision_at(done, total);
        if self.lp_start == 0.0 || !joined || epochs == self.epochs {
            return self.lp_start;
        }
        let before = (self.lp_start * total as f64)
            .ceil()
            .min((total - 1) as f64);
        before / (u64::from(epochs) * steps_per_epoch) as f64
    }

    /// Whether a run of `epochs` epochs has ended with the first `done` steps of this one, in which LP was to learn and
    /// has not yet.
    pub fn ends_without_low_precision(&self, done: u64, steps_per_epoch: u64, epochs: u32) -> bool {
        let total = u64::from(self.epochs) * steps_per_epoch;
        let over = done > 0 && done >= u64::from(epochs) * steps_per_epoch;
        over && self.objective.low_precision() && !self.low_precision_at(done, total)
    }

    /// How many times dearer bits have become because of a target size.
    fn pressure(&self, done: f64) -> f64 {
        /// Part of a run in which the price doubles.
        const DOUBLES_IN: f64 = 0.05;
        match self.target_size > 0 {
            true => ((done - self.bits_ramp).max(0.0) / DOUBLES_IN).exp2(),
            false => 1.0,
        }
    }

    /// What all step sizes are multiplied by in step `t` of `total`, counted from 1.
    fn rate(&self, t: u64, total: u64) -> f64 {
        let done = done_before(t, total);
        let falls = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::Linear => 1.0 - done,
            Decay::Constant => 1.0,
        };
        // The first step counts too: it is one step of the rise above zero.
        let rises = match self.warm_up > 0.0 {
            true => (t as f64 / total.max(1) as f64 / self.warm_up).min(1.0),
            false => 1.0,
        };
        falls * rises
    }

    /// Whether intercepts and slopes learn in step `t` of `total`.
    fn levels_move(&self, t: u64, total: u64) -> bool {
        self.low_precision_at(t, total) && done_before(t, total) < self.freeze_levels
    }

    /// The multiple of the learning rate for intercepts and slopes.
    fn level_rate(&self, total: u64) -> f64 {
        match self.quantiser_rate {
            QuantiserRate::Times(times) => times,
            QuantiserRate::Auto => {
                // Of a long run these steps stand for all: the whole way is asked for in every step.
                let points = total.min(1000);
                let steps = (0..points).map(|point| 1 + point * total / points);
                let moving = steps.filter(|t| self.levels_move(*t, total));
                let way: f64 = moving
                    .map(|t| self.learning_rate * self.rate(t, total))
                    .sum();
                let way = way * total as f64 / points as f64;
                if way > 0.0 { SLOPE_TRAVEL / way } else { 0.0 }
            }
        }
    }

    /// Learning rates, λ_bits and λ_norm of step `t` of `total`, counted from 1.
    pub fn schedule(&self, t: u64, total: u64) -> Schedule {
        let done = done_before(t, total);
        let rate = self.rate(t, total);
        let ramp = |part: f64| match part > 0.0 {
            true => (done / part).min(1.0),
            false => 1.0,
        };
        let quantised = self.low_precision_at(t, total);
        let moves = self.levels_move(t, total);
        let lambda_bits = match quantised {
            true => self.lambda_bits * ramp(self.bits_ramp) * self.pressure(done),
            false => 0.0,
        };
        Schedule::new(
            t,
            self.learning_rate * rate,
            lambda_bits / self.shards as f64,
        )
        .with_muon_rate(self.muon_rate * rate)
        .with_sgd_rate(self.sgd_rate * rate)
        // What is not a mean over images is in the gradient of every shard.
        .with_lambda_norm(self.lambda_norm * ramp(self.bits_ramp) / self.shards as f64)
        .with_target_bits(self.target_bits)
        .with_quantiser_rate(if moves { self.level_rate(total) } else { 0.0 })
        .with_noise(ramp(self.kl_warmup), self.seed, t)
    }
}

/// The part of a run of `total` steps that is over before step `t`.
fn done_before(t: u64, total: u64) -> f64 {
    (t - 1) as f64 / total.max(1) as f64
}
