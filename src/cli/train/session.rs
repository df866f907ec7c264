//! The run that `gtc train` makes: epoch after epoch, with all that it says and writes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;

use super::print_profile;
use super::shared::Stop;
use crate::checkpoint::{Checkpoint, Header};
use crate::cli::output::{say, say_error};
use crate::cli::pictures::{self, Grid, side_by_side};
use crate::cli::ranks::Line;
use crate::cli::reconstruct::spread;
use crate::cli::report::{AutoEncoderPage, ReportData, render};
use crate::cli::run_folder::{ElboTerms, EpochMetrics, RunFolder};
use crate::cli::{CliError, human_bytes, quoted};
use crate::data::Dataset;
use crate::evaluate::{Predictions, Progress, Totals};
use crate::generate::{Generator, Which, draw_latents};
use crate::gpu::Gpu;
use crate::inspect::{LayerReport, inspect};
use crate::pack::PackedSize;
use crate::train::{Objective, Snapshot, TrainError, Trainer, initial};

/// Longest time between two checkpoints: what a killed process costs at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Images that an auto-encoder draws for a report.
pub(super) const DRAWN: usize = 64;
/// Steps between two looks at the losses.
pub(super) const LOOK_EVERY: u64 = 4;

/// Something that is done after an epoch, unless less than ten times what it took has passed since: on a fast GPU the files
/// of a large model take longer than an epoch.
struct Paced {
    last: Instant,
    cost: Duration,
}

impl Paced {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            cost: Duration::ZERO,
        }
    }

    fn is_due(&self) -> bool {
        self.last.elapsed() >= 10 * self.cost
    }

    /// Notes that it was begun at `started` and is done now.
    fn done_since(&mut self, started: Instant) {
        self.cost = started.elapsed();
        self.last = Instant::now();
    }
}

/// A run on its way: its steps, its tests, and what it writes.
pub(super) struct Session<'a> {
    trainer: Trainer<'a>,
    /// Draws what an auto-encoder has learned.
    generator: Option<Generator<'a>>,
    header: Header,
    data: &'a Dataset,
    folder: RunFolder,
    stop: Stop<'a>,
    saved: Paced,
    reported: Paced,
    /// The layers before the run, once they are known.
    at_start: Option<Vec<LayerReport>>,
    history: Vec<EpochMetrics>,
    /// Of the packed file, if it has a target.
    size: Option<PackedSize>,
}

impl<'a> Session<'a> {
    /// Reads what a run that goes on has measured so far, and forgets epochs after its checkpoint: a process may be killed
    /// between the two, even before the first checkpoint that is not of the start.
    pub(super) fn new(
        trainer: Trainer<'a>,
        generator: Option<Generator<'a>>,
        header: Header,
        data: &'a Dataset,
        stop: Stop<'a>,
        (folder, size): (RunFolder, Option<PackedSize>),
    ) -> Result<Self, CliError> {
        let epochs = trainer.steps_done() / trainer.steps_per_epoch();
        let history = folder.metrics_until(epochs as u32)?;
        let at_start = folder.start();
        Ok(Self {
            trainer,
            generator,
            header,
            data,
            folder,
            stop,
            saved: Paced::new(),
            reported: Paced::new(),
            at_start,
            history,
            size,
        })
    }

    pub(super) fn introduce(&self, gpu: &Gpu) {
        let o = self.trainer.options();
        say!(
            "{} ({} weights) on {}: {} training and {} test images",
            self.header.model,
            self.trainer.parameters().weights(),
            self.data.name,
            self.data.train.count(),
            self.data.test.count()
        );
        say!("device: {} ({} kernels)", gpu.name(), gpu.path().name());
        say!(
            "{} epochs of {} steps of {} images, seed {}; results go to {}",
            o.epochs,
            self.trainer.steps_per_epoch(),
            o.batch_size,
            o.seed,
            self.folder.path().display()
        );
        if o.shards > 1 {
            let ranks = self.stop.ranks.count();
            let together = if o.sync_norm {
                ", with common statistics"
            } else {
                ""
            };
            say!(
                "{ranks} {} {} shards of {} images{together}",
                if ranks > 1 {
                    "ranks share"
                } else {
                    "process works through"
                },
                o.shards,
                o.shard_size()
            );
        }
        if o.objective == Objective::Gtc && o.lp_start > 0.0 && o.freeze_levels <= o.lp_start {
            say_error!(
                "note: low precision joins after {} of the run (--lp-start), and levels stay from {} on (--freeze-levels): it \
                 never learns them",
                o.lp_start,
                o.freeze_levels
            );
        }
        let left = self.data.train.count() % o.batch_size;
        if left > 0 {
            say!(
                "{left} images of each epoch, others every time, are left out: they do not fill a batch."
            );
        }
        say!("Ctrl-C stops after the step and saves.\n");
    }

    /// Trains to the end, or until somebody asks to stop.
    pub(super) async fn train(&mut self) -> Result<ExitCode, CliError> {
        let steps = self.trainer.steps_per_epoch();
        let total = self.trainer.total_steps();
        let first = (self.trainer.steps_done() / steps) as u32;
        let mut predictions = Predictions::default();
        let mut tested_once = false;
        let mut line = Line::new();
        if self.trainer.steps_done() == 0 {
            self.save(self.trainer.snapshot().await?)?;
        }
        for epoch in first..self.trainer.options().epochs {
            let end = steps * u64::from(epoch + 1);
            let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template(
                "epoch {prefix} {bar:24} {pos}/{len} {msg}",
            )?);
            bar.set_prefix((epoch + 1).to_string());
            let started = (Instant::now(), self.trainer.steps_done());
            let mut stopping = false;
            while self.trainer.steps_done() < end {
                self.trainer.train_step(&self.data.train);
                self.trainer.check()?;
                let done = self.trainer.steps_done();
                stopping = self.stop.is_asked();
                if done.is_multiple_of(LOOK_EVERY) || stopping || done == end {
                    let progress = self.trainer.progress().await?;
                    bar.set_position(done - (end - steps));
                    let message = self.line(&progress, self.speed(started));
                    line.show(|| {
                        let step = done - (end - steps);
                        format!("epoch {} step {step}/{steps} {message}", epoch + 1)
                    });
                    bar.set_message(message);
                    // Behind the last step of an epoch comes its test.
                    if stopping && done < end {
                        line.clear();
                        bar.abandon();
                        return self.interrupted().await;
                    }
                    if done < end && self.saved.last.elapsed() > CHECKPOINT_EVERY {
                        self.save(self.trainer.snapshot().await?)?;
                    }
                }
            }
            let speed = self.speed(started);
            let trained = self.trainer.progress().await?;
            self.trainer.reset_totals();
            bar.set_message("testing");
            let (tested, predicted) = self.trainer.test(&self.data.test, |_| bar.tick()).await?;
            line.clear();
            bar.finish_and_clear();
            // The last step may have been the one that went wrong. A network that does not learn may compute what it likes.
            let mut lost = tested.not_finite.iter().zip(self.trainer.learned());
            if lost.any(|(batches, learns)| learns && *batches > 0) {
                let step = self.trainer.steps_done();
                return Err(TrainError::NotFinite { step }.into());
            }
            (predictions, tested_once) = (predicted, true);
            self.finish_epoch(epoch + 1, &trained, &tested, speed)?;
            let last = self.trainer.steps_done() == total;
            if stopping && !last {
                let snapshot = self.trainer.snapshot().await?;
                self.draw(epoch + 1, &snapshot)?;
                return self.interrupted().await;
            }
            let (save, report) = (self.saved.is_due() || last, self.reported.is_due());
            if !save && !report && self.generator.is_none() {
                continue;
            }
            let snapshot = self.trainer.snapshot().await?;
            if save {
                self.save(snapshot.clone())?;
            }
            self.draw(epoch + 1, &snapshot)?;
            if report && !last {
                self.report(&snapshot, &predictions)?;
            }
        }
        if !tested_once {
            say!("This run was finished already; making its report again.");
            predictions = self.trainer.test(&self.data.test, |_| ()).await?.1;
        }
        let snapshot = self.trainer.snapshot().await?;
        let page = self.report(&snapshot, &predictions)?;
        self.judge_size();
        say!("\nmodel   {}", self.folder.model().display());
        say!("report  {} (open it in a browser)", page.display());
        say!("next    gtc inspect {}", quoted(self.folder.path()));
        Ok(ExitCode::SUCCESS)
    }

    fn speed(&self, (since, first): (Instant, u64)) -> f64 {
        let images =
            (self.trainer.steps_done() - first) as usize * self.trainer.options().batch_size;
        images as f64 / since.elapsed().as_secs_f64()
    }

    fn line(&self, p: &Progress, speed: f64) -> String {
        let bits: Vec<String> = p.layers.iter().map(|l| l.bits.to_string()).collect();
        let network = |name: &str, totals: &Totals| match self.trainer.model().likelihood {
            Some(_) => format!("{name} -ELBO {:.1}", totals.negative_elbo()),
            None => format!(
                "{name} loss {:.3} acc {:.1} %",
                totals.mean_loss(),
                100.0 * totals.accuracy()
            ),
        };
        let (hp, lp) = (network("HP", &p.hp), network("LP", &p.lp));
        let bits = format!("bits {}", bits.join(" "));
        let speed = format!("{speed:.0} images/s");
        let mut parts = Vec::new();
        let [of_hp, of_lp] = self.trainer.learned();
        parts.extend(of_hp.then_some(hp));
        parts.extend(of_lp.then_some([lp, bits]).into_iter().flatten());
        parts.push(speed);
        parts.join(" | ")
    }

    fn finish_epoch(
        &mut self,
        epoch: u32,
        trained: &Progress,
        tested: &Progress,
        images_per_second: f64,
    ) -> Result<(), CliError> {
        let makes_images = self.trainer.model().likelihood.is_some();
        let loss = |totals: &Totals| match makes_images {
            true => totals.negative_elbo(),
            false => totals.mean_label_loss(),
        };
        let accuracy = |totals: &Totals| (!makes_images).then(|| totals.accuracy());
        let learned = self.trainer.learned();
        let of_hp = |value: f64| learned[0].then_some(value);
        let of_lp = |value: f64| learned[1].then_some(value);
        let metrics = EpochMetrics {
            epoch,
            step: self.trainer.steps_done(),
            train_hp_loss: of_hp(trained.hp.mean_loss()),
            train_lp_loss: of_lp(trained.lp.mean_loss()),
            hp_loss: of_hp(loss(&tested.hp)),
            lp_loss: of_lp(loss(&tested.lp)),
            hp_accuracy: accuracy(&tested.hp).and_then(of_hp),
            lp_accuracy: accuracy(&tested.lp).and_then(of_lp),
            elbo: makes_images.then(|| ElboTerms::new(tested, learned)),
            bit_loss: tested.bit_loss(),
            bits: tested.layers.iter().map(|l| l.bits).collect(),
            levels: tested.layers.iter().map(|l| l.range).collect(),
            images_per_second,
        };
        let (what, [hp, lp]) = match makes_images {
            false => {
                let shares = [metrics.hp_accuracy, metrics.lp_accuracy];
                let shown =
                    shares.map(|share| share.map(|share| format!("{:.2} %", 100.0 * share)));
                ("accuracy", shown)
            }
            true => {
                let losses = [metrics.hp_loss, metrics.lp_loss];
                let shown = losses.map(|loss| loss.map(|loss| format!("{loss:.2} nats")));
                ("-ELBO", shown)
            }
        };
        let named = [
            hp.map(|hp| format!("HP {hp}")),
            lp.map(|lp| format!("LP {lp}")),
        ];
        let networks: Vec<String> = named.into_iter().flatten().collect();
        let networks = networks.join(", ");
        let rest = match self.trainer.options().objective {
            _ if learned[1] => format!(
                "; bits {:?} (mean {:.2}{})",
                metrics.bits,
                tested.mean_bits(),
                self.shown_size(&metrics.bits)
            ),
            Objective::Float => String::new(),
            _ => "; LP joins later".to_owned(),
        };
        say!("epoch {epoch:3}: test {what} {networks}{rest}; {images_per_second:.0} images/s");
        self.folder.append(&metrics)?;
        self.history.push(metrics);
        Ok(())
    }

    /// What the packed file will have, where that has a target.
    fn shown_size(&self, bits: &[u32]) -> String {
        match &self.size {
            Some(size) => {
                let bytes = size.bytes(bits.iter().copied()) as u64;
                format!(", packed about {}", human_bytes(bytes))
            }
            None => String::new(),
        }
    }

    /// Says whether the packed file fits, where it should.
    fn judge_size(&self) {
        let target = self.trainer.options().target_size;
        let (Some(size), Some(last)) = (&self.size, self.history.last()) else {
            return;
        };
        let bytes = size.bytes(last.bits.iter().copied()) as u64;
        let [about, wanted] = [bytes, target].map(human_bytes);
        if bytes > target {
            say!(
                "note: the packed file will have about {about}, more than --target-size {wanted}: \
                 a larger --lambda-bits or --quantiser-rate, or more epochs, bring it down"
            );
        }
    }

    fn save(&mut self, snapshot: Snapshot) -> Result<(), CliError> {
        let started = Instant::now();
        if snapshot.weights.iter().any(|weight| !weight.is_finite()) {
            let step = snapshot.step;
            return Err(TrainError::NotFinite { step }.into());
        }
        self.header.step = snapshot.step;
        self.header.learned = Some(self.trainer.learned());
        self.folder.save(&Checkpoint {
            header: self.header.clone(),
            snapshot,
        })?;
        self.saved.done_since(started);
        Ok(())
    }

    /// Keeps samples of both networks from the same noise in every epoch.
    fn draw(&mut self, epoch: u32, snapshot: &Snapshot) -> Result<(), CliError> {
        let Some(generator) = &self.generator else {
            return Ok(());
        };
        generator.set_weights(&snapshot.weights);
        let latents = draw_latents(1, DRAWN, generator.latent());
        let mut drawn = Vec::new();
        for which in Which::of(self.trainer.learned()) {
            let images = block_on(generator.decode(which, &latents))?;
            drawn.push((which, images));
        }
        let panels = drawn.iter().map(|(which, images)| {
            let grid = Grid {
                images,
                columns: 8,
                scale: 2,
            };
            (which.name().to_owned(), grid)
        });
        let panels: Vec<_> = panels.collect();
        self.folder
            .save_samples(epoch, &pictures::png(&side_by_side(&panels)?)?)
    }

    fn auto_encoder_page(
        &mut self,
        snapshot: &Snapshot,
    ) -> Result<Option<AutoEncoderPage>, CliError> {
        let Some(generator) = &mut self.generator else {
            return Ok(None);
        };
        generator.set_weights(&snapshot.weights);
        let shown = spread(&self.data.test, DRAWN);
        let learned = Which::of(self.trainer.learned());
        let best = learned.last().copied().unwrap_or(Which::HighPrecision);
        let mut made = Vec::new();
        for which in learned {
            let means = block_on(generator.encode(which, &shown))?;
            made.push((which.name(), block_on(generator.decode(which, &means))?));
        }
        let mut lines = vec![("original", &shown)];
        lines.extend(made.iter().map(|(name, images)| (*name, images)));
        let placed = spread(&self.data.test, 1000);
        let last = self.history.last().map_or(0, |m| m.epoch);
        let mut epochs = vec![1, last.div_ceil(4), last.div_ceil(2), last];
        epochs.dedup();
        let samples = epochs.into_iter();
        Ok(Some(AutoEncoderPage {
            samples: samples
                .filter_map(|epoch| Some((epoch, self.folder.samples(epoch)?)))
                .collect(),
            reconstructions: pictures::png(&pictures::rows(&lines, 16, 2)?)?,
            network: best.name(),
            means: block_on(generator.encode(best, &placed))?,
            labels: placed.labels,
            classes: self.header.classes.clone(),
        }))
    }

    fn report(
        &mut self,
        snapshot: &Snapshot,
        predictions: &Predictions,
    ) -> Result<PathBuf, CliError> {
        let started = Instant::now();
        let auto_encoder = self.auto_encoder_page(snapshot)?;
        let (model, parameters) = (self.trainer.model(), self.trainer.parameters());
        let options = &self.header.options;
        let initial = || inspect(parameters, &initial(model, parameters, options));
        let start = self.at_start.get_or_insert_with(initial).clone();
        let page = render(&ReportData {
            header: &self.header,
            history: &self.history,
            start,
            end: inspect(parameters, &snapshot.weights),
            test: &self.data.test,
            predictions,
            auto_encoder,
        })?;
        let path = self.folder.save_report(&page)?;
        self.reported.done_since(started);
        Ok(path)
    }

    async fn interrupted(&mut self) -> Result<ExitCode, CliError> {
        self.save(self.trainer.snapshot().await?)?;
        say!(
            "stopped and saved after step {} of {}. Continue with: gtc train --resume {}",
            self.trainer.steps_done(),
            self.trainer.total_steps(),
            quoted(self.folder.path())
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Profiles one step on a copy of the state, so that the run is the same with and without.
    pub(super) fn profile(&mut self) -> Result<(), CliError> {
        let before = block_on(self.trainer.snapshot())?;
        // Kernels are compiled and memory is touched on first use: not what a profile is about.
        self.trainer.train_step(&self.data.train);
        block_on(self.trainer.progress())?;
        let timings = block_on(self.trainer.profile_step(&self.data.train))?;
        self.trainer.restore(&before);
        if timings.is_empty() {
            say!("this adapter has no timestamps; no profile\n");
            return Ok(());
        }
        print_profile(&timings);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_waits_and_what_takes_no_time_does_not() {
        let after = |cost| Paced {
            last: Instant::now(),
            cost,
        };
        assert!(Paced::new().is_due());
        assert!(!after(Duration::from_secs(3600)).is_due());
    }
}
