//! The command line: one file per command.

mod adapters;
mod archives;
mod bench;
mod charts;
mod classify;
mod compare;
mod config;
mod data;
mod data_args;
mod elsewhere;
mod eval;
mod export;
mod import;
mod inspect;
mod interpolate;
mod model_files;
mod models;
mod output;
mod outputs;
mod pack_model;
mod picture_files;
mod pictures;
mod plan;
mod quantise;
mod ranks;
mod reconstruct;
mod report;
mod run_folder;
mod sample;
mod series;
mod signals;
mod simulate;
mod sweep;
mod train;
mod tune;
mod tuning;
mod verify;
mod verilog;

use crate::cli::output::{say, say_error};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::checkpoint::{self, Checkpoint};
use crate::data::Dataset;
use crate::generate::Generator;
use crate::gpu::{self, Gpu, GpuOptions};
use crate::graph::DataFacts;
use crate::op::Arithmetic;
use crate::pack::{self, PackedModel};
use crate::train::Precision;

/// Anything a person can mend: shown as one message, exit code 2.
pub(crate) type CliError = Box<dyn std::error::Error>;

const EXAMPLES: &str = "\
Examples:
  gtc train                          LeNet-5 on the digits inside the program
  gtc data get mnist                 download MNIST into data/mnist
  gtc train lenet5 --data data/mnist --preset mnist
  gtc data check photos              what is in a folder of pictures, one folder a class?
  gtc train --resume runs/lenet5-1   continue an interrupted run
  gtc inspect runs/lenet5-1          which powers of two each layer uses
  gtc eval runs/lenet5-1 --data data/mnist
  gtc classify runs/lenet5-1 digit.png
  gtc classify runs/lenet5-1 FOLDER --top 3
  gtc pack runs/lenet5-1             into runs/lenet5-1/model.gtc: integers, shifts and adds
  gtc verify                         is every kernel right on this machine?

Exit codes: 0 done, 1 a check failed, 2 something to mend (the message says what).";

/// Train neural networks whose weights are powers of two, on GPUs of every vendor.
#[derive(Parser)]
#[command(name = "gtc", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Teach a model, its levels and its weights together.
    #[command(after_help = config::defaults())]
    Train(Box<train::TrainArgs>),
    /// Train a model at several prices of bits, and draw accuracy against bits.
    Sweep(sweep::SweepArgs),
    /// Train a model with GTC and with other published quantisers, and compare accuracy, bits and operations.
    Compare(compare::CompareArgs),
    /// List the models of the program, print one as a description, or check a description.
    Models(models::ModelsArgs),
    /// Measure a trained model on test images.
    Eval(eval::EvalArgs),
    /// Name what is on pictures.
    Classify(classify::ClassifyArgs),
    /// Let an auto-encoder draw.
    Sample(sample::SampleArgs),
    /// Show pictures beside what an auto-encoder makes of them.
    Reconstruct(reconstruct::ReconstructArgs),
    /// Walk from one picture to another through an auto-encoder's latent space.
    Interpolate(interpolate::InterpolateArgs),
    /// Make a trained model into integers: mostly 1 to 4 bits a weight, shifts and adds only.
    Pack(pack_model::PackArgs),
    /// Write a model for PyTorch, for ONNX runtimes, in C for microcontrollers, or without the state of training.
    Export(export::ExportArgs),
    /// Work out energy, cycles and memory traffic of a packed model in hardware.
    Simulate(Box<simulate::SimulateArgs>),
    /// Read a float network from ONNX, or weights from PyTorch, as a model of this program.
    Import(import::ImportArgs),
    /// Give a float model levels without training: one of this program's, from ONNX or in PyTorch's layout.
    Quantise(quantise::QuantiseArgs),
    /// Show a model's levels, exponents, bits and sizes.
    Inspect(inspect::InspectArgs),
    /// Fetch MNIST, Fashion-MNIST or CIFAR-10; check a folder of your own pictures.
    Data(data::DataArgs),
    /// List the graphics adapters of this machine.
    Adapters(adapters::AdaptersArgs),
    /// List the dispatches of a training step, and the memory they need.
    Plan(plan::PlanArgs),
    /// Find the fastest kernel on this adapter for each matrix product of a model. No result changes by it.
    Tune(tune::TuneArgs),
    /// Time kernels and training steps on this machine.
    Bench(bench::BenchArgs),
    /// Check every kernel against its reference on an adapter.
    Verify(verify::VerifyArgs),
}

/// Which device, and how carefully.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DeviceArgs {
    /// Adapter to use: its index in `gtc adapters` or a part of its name [default: the fastest]
    #[arg(long, global = true, value_name = "X")]
    adapter: Option<String>,
    /// Keep all shader checks on: bounds, endless loops, uninitialised memory
    #[arg(long, global = true)]
    checked: bool,
    /// Form of the kernels to run [default: the one for the adapter's kind, see `gtc adapters`]
    #[arg(long, global = true, value_name = "FORM", value_parser = forms())]
    path: Option<gpu::Path>,
    /// On GPUs, run the kernels of both networks one after the other, where one dispatch could do both: to see what that
    /// gains. No result changes by it
    #[arg(long, global = true)]
    no_twins: bool,
}

/// Reads one of the forms of the kernels.
fn forms() -> impl TypedValueParser<Value = gpu::Path> {
    let named = |name: String| gpu::Path::ALL.into_iter().find(|path| path.name() == name);
    PossibleValuesParser::new(gpu::Path::ALL.map(gpu::Path::name))
        .map(move |name| named(name).expect("one of them"))
}

impl DeviceArgs {
    fn open(&self) -> Result<Gpu, CliError> {
        self.open_for(0, Precision::Full)
    }

    /// The same to train with this precision, for process number `turn` of several that share the adapters of a machine.
    fn open_for(&self, turn: usize, precision: Precision) -> Result<Gpu, CliError> {
        let options = GpuOptions {
            adapter: self.adapter.clone(),
            turn,
            checked: self.checked,
            path: self.path,
            no_twins: self.no_twins,
            cooperative: precision.needs_matrices(),
            ..GpuOptions::default()
        };
        let gpu = pollster::block_on(Gpu::open(&options))?;
        let tiles = tuning::tiles(&gpu);
        Ok(gpu.with_tiles(tiles))
    }
}

/// Runs the program and turns its outcome into an exit code.
pub fn main() -> ExitCode {
    // A reader that has seen enough, such as `head`, ends the program instead of making it panic.
    #[cfg(unix)]
    // SAFETY: the first thing the process does; no thread and no handler exists yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    // A library below the Vulkan loader complains on standard error if this is not set, though all is well without.
    #[cfg(target_os = "linux")]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: as above, no other thread reads the environment yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(*args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Reconstruct(args) => reconstruct::run(&args),
        Command::Interpolate(args) => interpolate::run(&args),
        Command::Pack(args) => pack_model::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Quantise(args) => quantise::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Verify(args) => verify::run(&args),
    };
    let code = match result {
        Ok(code) => code,
        Err(error) => {
            say_error!("error: {error}");
            ExitCode::from(2)
        }
    };
    match output::failure() {
        Some(error) => {
            say_error!(
                "error: standard output: {error}. What is missing there was done all the same."
            );
            ExitCode::from(2)
        }
        None => code,
    }
}

/// How a packed model is to run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KernelArgs {
    /// Arithmetic of a packed model: shift, dot4 or float; all give the same integers [default: the
    /// fastest that is exact, for each layer]
    #[arg(long, value_name = "KERNEL", value_parser = Arithmetic::ALL.map(Arithmetic::name))]
    kernel: Option<String>,
}

impl KernelArgs {
    fn arithmetic(&self) -> Option<Arithmetic> {
        let wanted = self.kernel.as_deref()?;
        Arithmetic::ALL.into_iter().find(|a| a.name() == wanted)
    }
}

/// What a model takes from a data set.
pub(crate) fn facts_of(data: &Dataset) -> DataFacts {
    DataFacts {
        size: data.train.size(),
        classes: data.classes.len(),
    }
}

/// Prints one JSON document.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A path argument that names a checkpoint or a run folder.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelArg {
    /// A model: a .safetensors file, the folder of a run, or a packed .gtc file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
}

/// A path argument that names a trained model with its float weights, which a packed one has no more.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrainedArg {
    /// A trained model: the folder of a run or a .safetensors file, not a packed .gtc file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
}

impl TrainedArg {
    /// Reads it; refuses packed models. `reason` says why this command takes none.
    fn load(&self, reason: &str) -> Result<Checkpoint, CliError> {
        load_trained(&self.model, reason)
    }
}

/// Reads a trained model; refuses packed ones. `reason` says why the command takes none, after "it".
fn load_trained(path: &Path, reason: &str) -> Result<Checkpoint, CliError> {
    match load_any(path)? {
        AnyModel::Trained(checkpoint) => Ok(*checkpoint),
        AnyModel::Packed(packed) => Err(packed_already(path, &packed, reason).into()),
    }
}

/// What to tell someone who names a packed model where float weights are needed.
fn packed_already(path: &Path, packed: &PackedModel, reason: &str) -> String {
    let (what, uses) = match packed.model.latent() {
        Some(_) => ("the decoder of ", "`gtc sample` and `gtc inspect`"),
        None => ("", "`gtc eval`, `gtc classify` and `gtc inspect`"),
    };
    format!(
        "{}: packed already: {what}{} as integer codes, without its float weights. It {reason}. Name the \
         run's folder or the .safetensors file that it was packed from. A packed model is for {uses}",
        path.display(),
        packed.model.name
    )
}

/// A path argument that names a trained auto-encoder, or where its decoder suffices a packed one.
#[derive(Args, Clone, Debug)]
pub(crate) struct AutoEncoderArg {
    /// An auto-encoder: a .safetensors file or the folder of a run
    #[arg(value_name = "MODEL")]
    model: PathBuf,
}

impl AutoEncoderArg {
    /// Reads whichever it is; refuses classifiers.
    fn any(&self) -> Result<AnyModel, CliError> {
        let any = load_any(&self.model)?;
        let model = match &any {
            AnyModel::Trained(checkpoint) => checkpoint.header.model()?,
            AnyModel::Packed(packed) => packed.model.clone(),
        };
        match model.latent() {
            Some(_) => Ok(any),
            None => Err(not_an_auto_encoder(&self.model, &model.name).into()),
        }
    }

    /// Reads a trained one; refuses classifiers and decoders.
    fn load(&self) -> Result<Checkpoint, CliError> {
        match self.any()? {
            AnyModel::Trained(checkpoint) => Ok(*checkpoint),
            AnyModel::Packed(packed) => Err(format!(
                "{}: the packed decoder of {}, and this needs its encoder too. Name the model it was \
                 packed from; a decoder alone draws: `gtc sample`",
                self.model.display(),
                packed.model.name
            )
            .into()),
        }
    }

    /// What makes images with it.
    fn generator<'g>(
        &self,
        gpu: &'g Gpu,
        checkpoint: &Checkpoint,
        batch: usize,
    ) -> Result<Generator<'g>, CliError> {
        let model = checkpoint.header.model()?;
        let generator = Generator::new(gpu, model, batch)?
            .ok_or_else(|| not_an_auto_encoder(&self.model, &checkpoint.header.model))?;
        generator.set_weights(&checkpoint.snapshot.weights);
        Ok(generator)
    }
}

fn not_an_auto_encoder(path: &Path, model: &str) -> String {
    format!(
        "{}: {model} is a classifier and makes no pictures; train an auto-encoder with `gtc train vae-mlp`",
        path.display()
    )
}

/// What a model argument turned out to name.
pub(crate) enum AnyModel {
    /// A trained model with all its state.
    Trained(Box<Checkpoint>),
    /// A packed one.
    Packed(Box<PackedModel>),
}

/// Reads whichever it is.
fn load_any(path: &Path) -> Result<AnyModel, CliError> {
    if path.is_file() {
        let file = path.display().to_string();
        let data = std::fs::read(path).map_err(|e| format!("{file}: {e}"))?;
        let named = path.extension().is_some_and(|e| e == "gtc");
        if named || pack::is_packed(&data) {
            return Ok(AnyModel::Packed(Box::new(pack::decode(&file, &data)?)));
        }
    }
    Ok(AnyModel::Trained(Box::new(checkpoint::load(path)?)))
}

impl ModelArg {
    /// Reads whichever it is.
    fn load(&self) -> Result<AnyModel, CliError> {
        load_any(&self.model)
    }

    /// Refuses a packed decoder, which reads no images.
    fn refuse_decoder(&self, packed: &PackedModel) -> Result<(), CliError> {
        if packed.model.latent().is_none() {
            return Ok(());
        }
        let shown = self.model.display();
        Err(format!(
            "{shown}: the packed decoder of {}, which draws pictures and reads none. Let it draw with \
             `gtc sample {}`",
            packed.model.name,
            quoted(&self.model)
        )
        .into())
    }
}

/// A path as a word of a shell: in quotes if it needs them.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c) || (cfg!(windows) && c == '\\');
    match !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        true => text,
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Bytes in the unit people read.
fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
