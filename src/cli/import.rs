//! `gtc import`

use std::path::PathBuf;
use std::process::ExitCode;

use super::elsewhere::{ScalingArgs, read_float_aloud, scaling_text};
use super::output::say;
use super::{CliError, human_bytes, outputs, quoted};
use crate::checkpoint::encode_weights;
use crate::files;
use crate::graph::Scaling;
use crate::model::Parameters;

#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// A network in ONNX, with the file of its weights beside it if it has one; or a .safetensors file in PyTorch's layout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The model to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// What a file in PyTorch's layout is: a name, see `gtc models`, or a description that ends in .toml
    /// [default: the one that fits]
    #[arg(long = "model", value_name = "NAME|FILE.toml")]
    described: Option<String>,
    #[command(flatten)]
    scaling: ScalingArgs,
}

pub(super) fn run(args: &ImportArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::SAFETENSORS, &[&args.file])?;
    let scaling = args.scaling.scaling()?;
    let checkpoint = read_float_aloud(&args.file, args.described.as_deref(), scaling)?;
    let model = checkpoint.header.model()?;
    let file = encode_weights(&checkpoint, false)?;
    files::write(&args.out, &file)?;
    let parameters = Parameters::new(&model);
    let [height, width, channels] = model.input;
    let out = quoted(&args.out);
    say!(
        "{}: {} layers with {} weights, {} batch normalisations, {} multiply-adds an image",
        model.name,
        parameters.layers.len(),
        parameters.weights(),
        parameters.norms.len(),
        model.multiply_adds()
    );
    say!("  images   {height} x {width} pixels, {channels} channel(s)");
    let unsaid = match model.scaling {
        Scaling::NONE => {
            "; if it was trained on others, say so here: --range, or --mean and --deviation"
        }
        _ => "",
    };
    say!("  pixels   {}{unsaid}", scaling_text(&model.scaling));
    say!("  classes  {}", model.classes);
    say!("model   {out} ({})", human_bytes(file.len() as u64));
    say!(
        "next    gtc quantise {out} --data DIR -o quantised.safetensors     powers of two without training"
    );
    say!("        gtc train --from {out} --data DIR                         or with");
    Ok(ExitCode::SUCCESS)
}
