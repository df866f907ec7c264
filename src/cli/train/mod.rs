//! `gtc train`

mod args;
mod profile;
mod shared;
mod start;

pub(crate) use args::TrainArgs;
pub(in crate::cli) use profile::print_profile;
use shared::{Old, Stop, facts, follow, in_turns, share_state};
use start::{Prepared, prepare};

use crate::cli::output::{say, say_error};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;

use super::data_args::reading;
use super::pictures::{self, Grid, side_by_side};
use super::ranks::{Fact, Group, Line, Role, begin, launched, refuse_differences, together};
use super::reconstruct::spread;
use super::report::{ReportData, render};
use super::report_vae::AutoEncoderPage;
use super::run_folder::{ElboTerms, EpochMetrics, RunFolder};
use super::signals::{listen_to_launcher, on_stop};
use super::tuning::tuned_for;
use super::{CliError, DeviceArgs, human_bytes, quoted};
use crate::checkpoint::{Checkpoint, Header, VERSION};
use crate::data::{Dataset, Seen};
use crate::evaluate::{Predictions, Progress, Totals};
use crate::generate::{Generator, Which, draw_latents};
use crate::gpu::Gpu;
use crate::graph::Description;
use crate::inspect::{LayerReport, inspect};
use crate::pack::PackedSize;
use crate::train::{Objective, Snapshot, Trainer};

/// Longest time between two checkpoints: what a killed process costs at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Images that an auto-encoder draws for a report.
const DRAWN: usize = 64;
/// Steps between two looks at the losses.
const LOOK_EVERY: u64 = 4;

pub(super) fn run(args: TrainArgs) -> Result<ExitCode, CliError> {
    match begin(args.ranks)? {
        Role::Done(code) => Ok(code),
        Role::Train(group) => {
            let result = run_on(&args, &group);
            group.end(result)
        }
    }
}

/// Trains as one of the ranks.
fn run_on(args: &TrainArgs, group: &Group) -> Result<ExitCode, CliError> {
    let ranks = group.ranks();
    if args.profile && ranks.count() > 1 {
        let text = "--profile measures the kernels of one process: leave --ranks out";
        return together(ranks, Err(text.into()));
    }
    let old = Old::open(args, ranks)?;
    let place = launched(|name| std::env::var(name).ok())?;
    let turn = place.map_or(0, |place| place.local);
    let Prepared {
        mut config,
        model,
        data,
        data_hash,
        start,
    } = in_turns(ranks, turn, || prepare(args, old.as_ref(), ranks))?;
    let facts = facts(&config, &model, &data_hash)?;
    refuse_differences(ranks, &facts)?;
    let device = DeviceArgs {
        adapter: config.adapter.clone(),
        checked: config.checked,
        path: config.path,
        no_twins: args.device.no_twins,
    };
    let gpu = together(ranks, device.open_for(turn, config.options.precision))?;
    let mut kind = Fact::new(
        "the device",
        match gpu.matrices() {
            None => format!("{} ({})", gpu.name(), gpu.path().name()),
            Some(m) => format!("{} (matrices of {}, {} lanes)", gpu.name(), m.size, m.lanes),
        },
    );
    kind.may_differ = true;
    refuse_differences(ranks, &[kind])?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    on_stop(move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    if ranks.count() > 1 {
        listen_to_launcher();
    }
    let alone = ranks.count() == 1;
    let tuned = tuned_for(gpu, &model, &config.options, args.tune, alone);
    let gpu = together(ranks, tuned)?;
    let options = config.options.clone();
    let made = Trainer::with_ranks(&gpu, ranks, model, &data.train, options);
    let mut trainer = together(ranks, made.map_err(CliError::from))?;
    let stop = Stop { asked: stop, ranks };
    let resumed = old.as_ref().map(|old| &old.checkpoint);
    let (data_name, classes) = match resumed {
        // The same images under another name do not make another run.
        Some(checkpoint) => (&checkpoint.header.data, &checkpoint.header.classes),
        None => (&data.name, &data.classes),
    };
    let header = Header {
        version: VERSION,
        model: trainer.model().name.clone(),
        graph: Some(Description::of(trainer.model())),
        data: data_name.clone(),
        classes: classes.clone(),
        images: data.train.count(),
        data_hash: Some(data_hash),
        seen: Seen::of(&data.train),
        step: 0,
        options: config.options.clone(),
    };
    if let Some(checkpoint) = resumed {
        trainer.restore(&checkpoint.snapshot);
    }
    if let Some(snapshot) = &start {
        trainer.start_from(snapshot);
    }
    share_state(ranks, &mut trainer, &header)?;
    if !group.writes() {
        together(ranks, Ok(()))?;
        return block_on(follow(&mut trainer, &data, &stop));
    }
    let described = trainer.model().clone();
    let begin = || -> Result<_, CliError> {
        let generator = Generator::new(&gpu, described.clone(), DRAWN)?;
        let folder = match old {
            Some(old) => {
                let folder = old.folder.expect("the first rank holds the folder");
                (config.adapter, config.checked, config.path) = old.device;
                folder.save_config(&config)?;
                folder
            }
            None => {
                config.reading = reading(config.data.as_deref(), &config.pictures)?;
                RunFolder::create(args.out.as_deref(), &config, &described)?
            }
        };
        let size = match header.options.target_size {
            0 => None,
            _ => Some(PackedSize::of(&described)?),
        };
        Ok((generator, folder, size))
    };
    let (generator, folder, size) = together(ranks, begin())?;
    let mut session = Session {
        trainer,
        generator,
        header,
        data: &data,
        stop,
        saved: Paced::new(),
        reported: Paced::new(),
        at_start: None,
        history: Vec::new(),
        size,
        folder,
    };
    session.remember()?;
    session.introduce(&gpu);
    if args.profile {
        session.profile()?;
    }
    block_on(session.train())
}

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

struct Session<'a> {
    trainer: Trainer<'a>,
    /// Draws what an auto-encoder has learned.
    generator: Option<Generator<'a>>,
    header: Header,
    data: &'a Dataset,
    folder: RunFolder,
    stop: Stop<'a>,
    saved: Paced,
    reported: Paced,
    /// The layers before the run.
    at_start: Option<Vec<LayerReport>>,
    history: Vec<EpochMetrics>,
    /// Of the packed file, if it has a target.
    size: Option<PackedSize>,
}

impl Session<'_> {
    /// Reads what a run that goes on has measured so far, and forgets epochs after its checkpoint: a process may be killed
    /// between the two, even before the first checkpoint that is not of the start.
    fn remember(&mut self) -> Result<(), CliError> {
        let epochs = self.trainer.steps_done() / self.trainer.steps_per_epoch();
        self.history = self.folder.metrics_until(epochs as u32)?;
        Ok(())
    }

    fn introduce(&self, gpu: &Gpu) {
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

    async fn train(&mut self) -> Result<ExitCode, CliError> {
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
        match self.trainer.options().objective {
            Objective::Gtc if !self.trainer.has_low_precision() => [hp, speed].join(" | "),
            Objective::Gtc => [hp, lp, bits, speed].join(" | "),
            Objective::Direct => [lp, bits, speed].join(" | "),
            Objective::Float => [hp, speed].join(" | "),
        }
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
        let waits =
            self.trainer.options().objective == Objective::Gtc && !self.trainer.has_low_precision();
        let joined = |value: f64| (!waits).then_some(value);
        let metrics = EpochMetrics {
            epoch,
            step: self.trainer.steps_done(),
            train_hp_loss: trained.hp.mean_loss(),
            train_lp_loss: joined(trained.lp.mean_loss()),
            hp_loss: loss(&tested.hp),
            lp_loss: joined(loss(&tested.lp)),
            hp_accuracy: accuracy(&tested.hp),
            lp_accuracy: accuracy(&tested.lp).and_then(joined),
            elbo: makes_images.then(|| ElboTerms::new(tested, !waits)),
            bit_loss: tested.bit_loss(),
            bits: tested.layers.iter().map(|l| l.bits).collect(),
            levels: tested.layers.iter().map(|l| l.range).collect(),
            images_per_second,
        };
        let [hp, lp] = match metrics.hp_accuracy {
            Some(hp) => [Some(hp), metrics.lp_accuracy]
                .map(|share| share.map(|share| format!("{:.2} %", 100.0 * share))),
            None => [Some(metrics.hp_loss), metrics.lp_loss]
                .map(|loss| loss.map(|loss| format!("{loss:.2} nats"))),
        };
        let what = if makes_images { "-ELBO" } else { "accuracy" };
        let hp = hp.unwrap_or_default();
        let result = match lp {
            Some(lp) => format!(
                "HP {hp}, LP {lp}; bits {:?} (mean {:.2}{})",
                metrics.bits,
                tested.mean_bits(),
                self.shown_size(&metrics.bits)
            ),
            None => format!("HP {hp}; LP joins later"),
        };
        say!("epoch {epoch:3}: test {what} {result}; {images_per_second:.0} images/s");
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
        self.header.step = snapshot.step;
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
        let hp = block_on(generator.decode(Which::HighPrecision, &latents))?;
        let lp = block_on(generator.decode(Which::LowPrecision, &latents))?;
        let panel = |which: Which, images| {
            let grid = Grid {
                images,
                columns: 8,
                scale: 2,
            };
            (which.name().to_owned(), grid)
        };
        let panels = [
            panel(Which::HighPrecision, &hp),
            panel(Which::LowPrecision, &lp),
        ];
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
        let mut made = Vec::new();
        for which in Which::BOTH {
            let means = block_on(generator.encode(which, &shown))?;
            made.push(block_on(generator.decode(which, &means))?);
        }
        let lines = [("original", &shown), ("HP", &made[0]), ("LP", &made[1])];
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
            means: block_on(generator.encode(Which::LowPrecision, &placed))?,
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
        let parameters = self.trainer.parameters();
        let seed = self.header.options.seed;
        let initial = || inspect(parameters, &parameters.initial(seed));
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
    fn profile(&mut self) -> Result<(), CliError> {
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
