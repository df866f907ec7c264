//! `gtc models`

use crate::cli::output::{say, say_part};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::data_args::{PictureArgs, load_data};
use super::model_files::{ASSUMED, find_model, find_model_alone, input_of, read_description};
use super::{AnyModel, CliError, facts_of, load_any, print_json};
use crate::graph::{Description, INPUT, Model, NAMES, Shape, Value};
use crate::model::Parameters;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: Option<ModelsCommand>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum ModelsCommand {
    /// Print the description of a model, to be edited and trained
    Show(ShowArgs),
    /// Explain a description layer by layer, or say what is wrong with it
    Check(CheckArgs),
}

#[derive(clap::Args)]
struct ShowArgs {
    /// Name of a model, a description that ends in .toml, or a trained or packed model
    #[arg(value_name = "MODEL")]
    model: String,
}

#[derive(clap::Args)]
struct CheckArgs {
    /// Name of a model or a description that ends in .toml
    #[arg(value_name = "MODEL")]
    model: String,
    /// Data set whose sizes and classes the description takes [default: 10 classes of 32 x 32 pixels in colour]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ModelsArgs) -> Result<ExitCode, CliError> {
    match &args.command {
        None => list(args.json)?,
        Some(ModelsCommand::Show(args)) => say_part!("{}", describe(&args.model)?.to_toml()),
        Some(ModelsCommand::Check(args)) => check(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The description of a model by name, of a description, run, checkpoint, packed or ONNX file.
fn describe(name: &str) -> Result<Description, CliError> {
    let path = PathBuf::from(name);
    if name.ends_with(".toml") {
        return read_description(&path);
    }
    if name.ends_with(".onnx") {
        return Ok(Description::of(&find_model_alone(name)?));
    }
    // A folder may be called like a model and have nothing to do with it.
    let holds_none = path.is_dir() && !path.join("model.safetensors").exists();
    if !path.exists() || holds_none && Model::by_name(name).is_ok() {
        return Ok(Description::of(&Model::by_name(name)?));
    }
    Ok(Description::of(&match load_any(&path)? {
        AnyModel::Trained(checkpoint) => checkpoint.header.model()?,
        AnyModel::Packed(packed) => packed.model,
    }))
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// (height, width, channels)
    input: [usize; 3],
    /// With weights.
    layers: usize,
    weights: usize,
    multiply_adds: u64,
    summary: String,
}

fn list(json: bool) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for name in NAMES {
        let model = Model::by_name(name)?;
        let parameters = Parameters::new(&model);
        rows.push(Row {
            name: model.name.clone(),
            input: model.input,
            layers: parameters.layers.len(),
            weights: parameters.weights(),
            multiply_adds: model.multiply_adds(),
            summary: model.summary.clone(),
        });
    }
    if json {
        return print_json(&rows);
    }
    say!("  name         input       layers     weights  multiply-adds  for");
    for row in &rows {
        let [height, width, channels] = row.input;
        say!(
            "  {:12} {:11} {:6}  {:>10}  {:>13}  {}",
            row.name,
            format!("{height}x{width}x{channels}"),
            row.layers,
            count(row.weights as u64),
            count(row.multiply_adds),
            row.summary
        );
    }
    say!(
        "\nClassifiers take the size and the classes of their data set. mobilenet-0.5 is mobilenet at half of its\n\
         width. One of your own: gtc models show resnet20 > mine.toml, edit it, gtc models check mine.toml,\n\
         gtc train mine.toml --data DIR"
    );
    Ok(())
}

/// A number in the unit people read.
fn count(number: u64) -> String {
    match number as f64 {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        _ => number.to_string(),
    }
}

/// One node of a model.
#[derive(Serialize)]
struct NodeRow {
    name: String,
    op: String,
    /// Names of what it reads, if that is not the node before.
    reads: Vec<String>,
    /// (height, width, channels)
    output: [usize; 3],
    /// What it learns: weights, biases, gammas and betas.
    learns: usize,
    multiply_adds: u64,
    /// Settings that are not as by default.
    settings: String,
}

#[derive(Serialize)]
struct Checked {
    model: String,
    /// (height, width, channels)
    input: [usize; 3],
    outputs: usize,
    nodes: Vec<NodeRow>,
    weights: usize,
    multiply_adds: u64,
    /// Bytes of the weights as 32-bit floats.
    float_bytes: usize,
    notes: Vec<String>,
}

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let mut notes = Vec::new();
    let data = match &args.data {
        Some(folder) => {
            let takes = input_of(&args.model)?;
            Some(load_data(
                Some(folder),
                &PictureArgs::default(),
                takes,
                None,
            )?)
        }
        None => None,
    };
    let needs_data =
        args.model.ends_with(".toml") && read_description(args.model.as_ref())?.needs_data();
    if needs_data && data.is_none() {
        notes.push(
            "the description takes sizes from a data set; without --data, 10 classes of 32 x 32 pixels in colour are \
             assumed"
                .to_owned(),
        );
    }
    let facts = match &data {
        Some(data) => Some(facts_of(data)),
        None => needs_data.then_some(ASSUMED),
    };
    let model = find_model(&args.model, facts.as_ref())?;
    let mut checked = explain(&model);
    checked.notes.splice(0..0, notes);
    if args.json {
        return print_json(&checked);
    }
    print_checked(&checked);
    Ok(())
}

fn explain(model: &Model) -> Checked {
    let shapes = model.shapes();
    let parameters = Parameters::new(model);
    let named = |value: Value| match value {
        INPUT => "input".to_owned(),
        _ => model.graph.nodes[value - 1].name.clone(),
    };
    let mut notes = Vec::new();
    let mut nodes = Vec::new();
    for (number, node) in model.graph.nodes.iter().enumerate() {
        let inputs: Vec<Shape> = node.inputs.iter().map(|value| shapes[*value]).collect();
        let output = shapes[number + 1];
        let layer = parameters.layer_of(number);
        let norm = parameters.norm_of(number);
        let weights = layer.map_or(0, |layer| {
            layer.weights() + if layer.has_bias() { layer.shape[0] } else { 0 }
        });
        if layer.is_some_and(|layer| !layer.is_quantised()) {
            notes.push(format!(
                "'{}' stays in float, so this model cannot be packed",
                node.name
            ));
        }
        if layer.is_some_and(|layer| layer.has_bias() && layer.is_normalised()) {
            notes.push(format!(
                "'{}' has a bias that the batch normalisation behind it takes away again: bias = false saves it",
                node.name
            ));
        }
        let (word, settings) = node.op.to_table();
        let settings: Vec<String> = settings
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        nodes.push(NodeRow {
            name: node.name.clone(),
            op: word,
            reads: match node.inputs == [number] {
                true => Vec::new(),
                false => node.inputs.iter().map(|value| named(*value)).collect(),
            },
            output: output.sides(),
            learns: weights + norm.map_or(0, |norm| 2 * norm.channels),
            multiply_adds: node.op.operation().multiply_adds(&inputs, output),
            settings: settings.join(", "),
        });
    }
    Checked {
        model: model.name.clone(),
        input: model.input,
        outputs: model.output_shape().len(),
        nodes,
        weights: parameters.weights(),
        multiply_adds: model.multiply_adds(),
        float_bytes: 4 * parameters.weights(),
        notes,
    }
}

fn print_checked(checked: &Checked) {
    let [height, width, channels] = checked.input;
    say!(
        "{}: images of {height} x {width} x {channels}, {} outputs",
        checked.model,
        checked.outputs
    );
    say!(
        "  node                 operation              output            learns  multiply-adds  settings"
    );
    for row in &checked.nodes {
        let [height, width, channels] = row.output;
        let reads = match row.reads.is_empty() {
            true => String::new(),
            false => format!("  reads {}", row.reads.join(", ")),
        };
        let number = |n: u64| if n == 0 { String::new() } else { count(n) };
        let line = format!(
            "  {:20} {:20} {:>15} {:>9}  {:>13}  {}{reads}",
            row.name,
            row.op,
            format!("{height} x {width} x {channels}"),
            number(row.learns as u64),
            number(row.multiply_adds),
            row.settings
        );
        say!("{}", line.trim_end());
    }
    say!(
        "\n  {} weights, {} as 32-bit floats, {} with one bit each; {} multiply-adds an image",
        count(checked.weights as u64),
        super::human_bytes(checked.float_bytes as u64),
        super::human_bytes(checked.weights.div_ceil(8) as u64),
        count(checked.multiply_adds)
    );
    for note in &checked.notes {
        say!("  note: {note}");
    }
}
