//! A model that learns in the page.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::{Engine, failed, json, lost, named};
use crate::checkpoint::{self, Checkpoint, Header, VERSION};
use crate::data::Dataset;
use crate::evaluate::{Tested, Totals};
use crate::graph::Description;
use crate::inspect::{LayerReport, inspect};
use crate::model::{Model, Parameters};
use crate::pack::{self, Activations, Trained};
use crate::train::{TrainError, TrainOptions, Trainer};

/// Bars of a layer's histogram of weights.
const BINS: usize = 81;

/// How training stands.
#[derive(Serialize)]
struct Report {
    step: u64,
    total_steps: u64,
    epoch: u64,
    /// Over the images since the last report; absent of a network that does not learn yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    hp: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lp: Option<Part>,
    bits: Vec<u32>,
    learning_rate: f64,
    lambda_bits: f64,
    images_per_second: f64,
}

#[derive(Serialize)]
struct Part {
    loss: f64,
    accuracy: f64,
}

impl Part {
    /// Of the images between two totals.
    fn between(before: &Totals, now: &Totals) -> Self {
        let images = (now.images - before.images).max(1.0);
        Self {
            loss: (now.loss - before.loss) / images,
            accuracy: (now.correct - before.correct) / images,
        }
    }
}

/// Accuracy and loss on the held-out digits after a step.
#[derive(Serialize)]
struct TestedAt {
    step: u64,
    #[serde(flatten)]
    tested: Tested,
}

/// Weights of a layer as floats and as levels.
#[derive(Serialize)]
struct LayerPicture {
    report: LayerReport,
    /// Largest size in the picture.
    most: f64,
    /// Shares of the float weights, in equal steps from -most to most.
    bins: Vec<f64>,
}

/// Trains one model on the embedded digits.
#[wasm_bindgen]
pub struct Learner {
    digits: &'static Dataset,
    trainer: Trainer<'static>,
    /// Totals at the last report.
    last: [Totals; 2],
}

#[wasm_bindgen]
impl Learner {
    /// A new LeNet-5. `options` is JSON, what it leaves away has its default.
    ///
    /// # Errors
    /// When an option makes no sense or the device refuses.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: &Engine, options: &str) -> Result<Learner, js_sys::Error> {
        let options: TrainOptions =
            serde_json::from_str(options).map_err(|e| named("GtcError", &e.to_string()))?;
        Self::build(engine, crate::model::lenet5(), options)
    }

    /// Continues from a checkpoint: the file that `gtc train` writes; `name` is for messages.
    ///
    /// # Errors
    /// When it is damaged, or of a model or data of another kind.
    pub fn open(engine: &Engine, name: &str, file: &[u8]) -> Result<Learner, js_sys::Error> {
        let bad = |e: &dyn std::fmt::Display| named("GtcError", &e.to_string());
        let checkpoint = checkpoint::decode(name, file).map_err(|e| bad(&e))?;
        if !checkpoint.snapshot.is_whole() {
            let message = format!("{name}: holds weights alone, from which no training continues");
            return Err(named("GtcError", &message));
        }
        let header = checkpoint.header;
        let model = header.model().map_err(|e| bad(&e))?;
        let digits = engine.digits;
        model
            .check_input(digits.train.size())
            .map_err(|e| bad(&e))?;
        if header.classes != digits.classes {
            let message = format!("{name}: its classes are not the ten digits");
            return Err(named("GtcError", &message));
        }
        let mut learner = Self::build(engine, model, header.options)?;
        learner.trainer.restore(&checkpoint.snapshot);
        // Its totals are those of its own epoch.
        learner.trainer.reset_totals();
        Ok(learner)
    }

    fn build(
        engine: &Engine,
        model: Model,
        options: TrainOptions,
    ) -> Result<Learner, js_sys::Error> {
        let (gpu, digits) = (engine.gpu, engine.digits);
        let trainer = Trainer::new(gpu, model, &digits.train, options);
        Ok(Learner {
            digits,
            trainer: trainer.map_err(|e| failed(gpu, e))?,
            last: Default::default(),
        })
    }

    fn error(&self, error: impl Into<TrainError>) -> js_sys::Error {
        match error.into() {
            TrainError::NotFinite { step } => named(
                "GtcError",
                &format!(
                    "the loss stopped being a number at step {step}: the learning rate or λ is too \
                     large. Press Reset and try smaller ones."
                ),
            ),
            // Nothing but the device fails here.
            error => lost(error),
        }
    }

    /// Changes learning rate and λ_bits from the next step on.
    pub fn adjust(&mut self, learning_rate: f64, lambda_bits: f64) {
        self.trainer.adjust(learning_rate, lambda_bits);
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.trainer.total_steps()
    }

    /// Adam's step size, before its decay.
    pub fn learning_rate(&self) -> f64 {
        self.trainer.options().learning_rate
    }

    /// The price of bits.
    pub fn lambda_bits(&self) -> f64 {
        self.trainer.options().lambda_bits
    }

    /// Does up to `count` steps, not beyond the end of an epoch, and reports.
    ///
    /// # Errors
    /// When the loss is no number any more, or the device fails.
    pub async fn advance(&mut self, count: u64) -> Result<String, js_sys::Error> {
        let started = super::milliseconds();
        let per_epoch = self.trainer.steps_per_epoch();
        let first = self.trainer.steps_done();
        let until = (first / per_epoch + 1) * per_epoch;
        let until = until.min(self.trainer.total_steps()).min(first + count);
        if first.is_multiple_of(per_epoch) {
            self.trainer.reset_totals();
            self.last = Default::default();
        }
        while self.trainer.steps_done() < until {
            self.trainer.train_step(&self.digits.train);
        }
        let progress = self.trainer.progress().await;
        let now = progress.map_err(|e| self.error(e))?;
        let step = self.trainer.steps_done();
        let options = self.trainer.options();
        let images = (step - first) as f64 * options.batch_size as f64;
        let seconds = (super::milliseconds() - started) / 1e3;
        let [of_hp, of_lp] = self.trainer.learned();
        let report = Report {
            step,
            total_steps: self.trainer.total_steps(),
            epoch: step / per_epoch,
            hp: of_hp.then(|| Part::between(&self.last[0], &now.hp)),
            lp: of_lp.then(|| Part::between(&self.last[1], &now.lp)),
            bits: now.layers.iter().map(|l| l.bits).collect(),
            learning_rate: options.learning_rate,
            lambda_bits: options.lambda_bits,
            images_per_second: images / seconds.max(1e-9),
        };
        self.last = [now.hp, now.lp];
        json(&report)
    }

    /// Whether an epoch has just ended.
    pub fn epoch_ends(&self) -> bool {
        let (step, per_epoch) = (self.trainer.steps_done(), self.trainer.steps_per_epoch());
        step > 0 && step.is_multiple_of(per_epoch)
    }

    /// Whether the last step is done.
    pub fn finished(&self) -> bool {
        self.trainer.steps_done() >= self.trainer.total_steps()
    }

    /// Tests both networks on the held-out digits.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn test(&mut self) -> Result<String, js_sys::Error> {
        let tested = self.trainer.test(&self.digits.test, |_| ()).await;
        let (progress, _) = tested.map_err(|e| self.error(e))?;
        json(&TestedAt {
            step: self.trainer.steps_done(),
            tested: progress.tested(self.trainer.learned()),
        })
    }

    /// Every layer's weights: a histogram of the floats, and the levels they become.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn layers(&self) -> Result<String, js_sys::Error> {
        let arena = self.trainer.weights().await;
        let arena = arena.map_err(|e| self.error(e))?;
        pictures(self.trainer.parameters(), &arena)
    }

    /// The checkpoint: the file that `gtc train` writes.
    ///
    /// # Errors
    /// When the device fails, or the model has diverged.
    pub async fn checkpoint(&self) -> Result<Vec<u8>, js_sys::Error> {
        let checkpoint = self.save().await?;
        checkpoint::encode(&checkpoint).map_err(|e| named("GtcError", &e.to_string()))
    }

    async fn save(&self) -> Result<Checkpoint, js_sys::Error> {
        let snapshot = self.trainer.snapshot().await;
        let snapshot = snapshot.map_err(|e| self.error(e))?;
        Ok(Checkpoint {
            header: Header {
                version: VERSION,
                model: self.trainer.model().name.clone(),
                graph: Some(Description::of(self.trainer.model())),
                data: self.digits.name.clone(),
                classes: self.digits.classes.clone(),
                images: self.digits.train.count(),
                data_hash: None,
                seen: crate::data::Seen::of(&self.digits.train),
                step: snapshot.step,
                learned: Some(self.trainer.learned()),
                options: self.trainer.options().clone(),
            },
            snapshot,
        })
    }

    /// The model as integers: the file that `gtc pack` writes.
    ///
    /// # Errors
    /// Before LP has joined, when its sums could leave 32 bits, or the device fails.
    pub async fn pack(&mut self) -> Result<Vec<u8>, js_sys::Error> {
        if !self.trainer.learned()[1] {
            let message = "only floats have learned so far: there are no levels to pack yet";
            return Err(named("GtcError", message));
        }
        let calibration = self.trainer.calibrate(&self.digits.train).await;
        let calibration = calibration.map_err(|e| self.error(e))?;
        let Checkpoint { header, snapshot } = self.save().await?;
        let trained = Trained {
            model: self.trainer.model(),
            data: &header.data,
            classes: &header.classes,
            seen: header.seen,
            weights: &snapshot.weights,
            running: &snapshot.running[1],
            exact_norm: header.options.exact_norm,
        };
        let packed = pack::pack(&trained, Activations::Eight, &calibration);
        packed
            .and_then(|packed| pack::encode(&packed))
            .map_err(|e| named("GtcError", &e.to_string()))
    }
}

/// What [`Learner::layers`] says of a LeNet-5 before its first step.
///
/// # Errors
/// None.
#[wasm_bindgen]
pub fn fresh_layers() -> Result<String, js_sys::Error> {
    let parameters = Parameters::new(&crate::model::lenet5());
    let arena = parameters.initial(TrainOptions::default().seed);
    pictures(&parameters, &arena)
}

fn pictures(parameters: &Parameters, arena: &[f32]) -> Result<String, js_sys::Error> {
    let layers = parameters.quantised().zip(inspect(parameters, arena));
    let pictures = layers.map(|(layer, report)| picture(&layer.weight_values(arena), report));
    json(&pictures.collect::<Vec<_>>())
}

fn picture(weights: &[f32], report: LayerReport) -> LayerPicture {
    // Wide enough for the largest level; what lies farther out is counted at the edge.
    let most = 1.25 * f64::from(report.exponent_max).exp2();
    let mut bins = vec![0.0; BINS];
    for w in weights {
        let place = (f64::from(*w) / most + 1.0) / 2.0 * BINS as f64;
        bins[(place.max(0.0) as usize).min(BINS - 1)] += 1.0 / weights.len() as f64;
    }
    LayerPicture { report, most, bins }
}
