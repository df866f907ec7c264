//! `gtc simulate`

mod charts;
mod engines;
mod page;
mod tables;

use crate::cli::output::{say, say_error, say_part};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::data_args::{Learned, PictureArgs};
use super::model_files::packed_of;
use super::{CliError, outputs};
use crate::export::Program;
use crate::files;
use crate::generate::draw_latents;
use crate::pack::{Operations, PackedModel};
use crate::simulate::{
    Accelerator, Activity, Dataflow, Format, FormatCost, Meter, NODES, Node, Point, Sensitivity,
    Synthesis, Workload, cost, node_text, point, sensitivity, sram_sweep,
};

/// Multiply-accumulates that zeros are counted over if nothing else is asked for: some seconds.
const COUNTED_MACS: u64 = 1_000_000_000;
/// Images that zeros are counted over then, at least and at most.
const COUNTED: [u64; 2] = [4, 100];

/// A page for a browser.
const HTML: outputs::Format = outputs::Format {
    what: "an HTML page",
    suffixes: &["html", "htm"],
};

#[derive(clap::Args)]
pub(crate) struct SimulateArgs {
    /// A packed .gtc file, or a run with one in its folder
    #[arg(value_name = "MODEL", required_unless_present = "print_node")]
    model: Option<PathBuf>,
    /// Images that go through each layer together, where that spares reading weights again
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    batch: u64,
    /// Energies of operations: 45nm, 7nm, or a table of your own in TOML
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "45nm")]
    node: String,
    /// Print the table of a process, to begin one of your own with, and do nothing else
    #[arg(long, value_name = "NAME", exclusive = true)]
    print_node: Option<String>,
    /// Multiply-accumulates side by side, of --dataflow lanes [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    lanes: Option<u64>,
    /// Rows and columns of the array of the other dataflows [default: 16x16]
    #[arg(long, value_name = "RxC")]
    array: Option<String>,
    /// What stays where. lanes: an activation goes to all lanes, each of which sums up one output; the others are
    /// systolic arrays whose elements keep a sum or a weight
    #[arg(long, default_value = "lanes", value_parser = dataflows())]
    dataflow: Dataflow,
    /// On-chip memory in KiB, at most: for weights, and as much again for activations. What does not fit lies off-chip
    #[arg(long, value_name = "KIB", default_value_t = 1024.0)]
    sram: f64,
    /// Data whose test images zeros are counted on [default: those that the model learned from]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Test images, or latents of a decoder, that zeros are counted on; 0 counts none
    /// [default: 4 to 100, the fewer the larger the network]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    images: Option<u64>,
    /// Results of synthesis to show beside the model: docs/HARDWARE.md describes the file
    #[arg(long, value_name = "FILE.json")]
    synthesis: Option<PathBuf>,
    /// Write everything that was worked out, layer by layer, into a JSON document
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Write a report
    #[arg(short, long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// Reads a dataflow.
fn dataflows() -> impl TypedValueParser<Value = Dataflow> {
    let named = |name: String| Dataflow::ALL.into_iter().find(|flow| flow.name() == name);
    PossibleValuesParser::new(Dataflow::ALL.map(Dataflow::name))
        .map(move |name| named(name).expect("one of them"))
}

/// Totals of another process.
#[derive(Serialize)]
struct OtherNode {
    title: String,
    point: Point,
    float32_ratio: f64,
}

/// Everything that was worked out.
#[derive(Serialize)]
struct Results {
    version: &'static str,
    model: String,
    weights: u64,
    macs: u64,
    operations: Operations,
    activation_bits: u32,
    /// Bytes of the packed file's codes, biases and shifts.
    packed_bytes: u64,
    accelerator: Accelerator,
    node: Node,
    /// What zeros were counted on, in words.
    counted_on: Option<String>,
    activity: Option<Activity>,
    /// The packed network first.
    formats: Vec<FormatCost>,
    sensitivity: Vec<Sensitivity>,
    /// KiB of on-chip memory, and pJ in the formats of [`SWEPT`].
    sram_sweep: Vec<(f64, Vec<f64>)>,
    other_nodes: Vec<OtherNode>,
    /// pJ of a multiply-accumulate of the largest layer if its weights had two bits: linear, and powers of two.
    two_bits: Option<[f64; 2]>,
    synthesis: Vec<Joined>,
}

impl Results {
    /// What was worked out for a format.
    fn of(&self, format: Format) -> &FormatCost {
        let place = Format::ALL.iter().position(|known| *known == format);
        &self.formats[place.expect("all formats are worked out")]
    }
}

/// Formats whose energy is shown for growing memories.
const SWEPT: [Format; 5] = [
    Format::Packed,
    Format::SameBits,
    Format::Linear(4),
    Format::Linear(8),
    Format::Float32,
];

/// A result of synthesis with what the model says of the same engine.
#[derive(Serialize)]
struct Joined {
    #[serde(flatten)]
    synthesis: Synthesis,
    /// Cycles of an image: simulated ones if they are known.
    cycles_of_image: f64,
    /// pJ of an image by the model; of engines in a format that it knows.
    modelled_pj: Option<f64>,
}

pub(super) fn run(args: &SimulateArgs) -> Result<ExitCode, CliError> {
    if let Some(name) = &args.print_node {
        say_part!("{}", node_text(name)?);
        return Ok(ExitCode::SUCCESS);
    }
    let path = args.model.as_deref().expect("clap asks for it");
    let accelerator = accelerator(args)?;
    let node = read_node(&args.node)?;
    let synthesis = match &args.synthesis {
        Some(file) => Synthesis::parse(&file.display().to_string(), &read(file)?)?,
        None => Vec::new(),
    };
    let mut inputs = vec![path];
    inputs.extend(args.synthesis.as_deref());
    if args.node.ends_with(".toml") {
        inputs.push(Path::new(&args.node));
    }
    for (file, format) in [(&args.out, &HTML), (&args.json, &outputs::JSON)] {
        if let Some(file) = file {
            outputs::check(file, format, &inputs)?;
        }
    }
    let model = packed_of(path, "hardware runs on integers")?;
    let network = model.network();
    let program = Program::new(&model, &network)?;
    let workload = Workload::new(&program);
    let (activity, counted_on) = count_zeros(args, path, &model, &program, &workload)?;
    let on = &accelerator;
    let of = |format: Format| cost(&workload, format, on, &node, activity.as_ref());
    let formats: Vec<FormatCost> = Format::ALL.into_iter().map(of).collect();
    let results = Results {
        version: env!("CARGO_PKG_VERSION"),
        model: workload.name.clone(),
        weights: workload.weights(),
        macs: workload.macs(),
        operations: workload.operations(),
        activation_bits: workload.activation_bits,
        packed_bytes: formats[0].weight_bytes + formats[0].table_bytes,
        accelerator,
        counted_on,
        sensitivity: sensitivity(&workload, on, &node, activity.as_ref()),
        sram_sweep: sram_sweep(&workload, &SWEPT, on, &node),
        other_nodes: other_nodes(&workload, on, &node)?,
        two_bits: two_bits(&workload, &node),
        synthesis: join(synthesis, &workload, on, &node),
        activity,
        formats,
        node,
    };
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&results)?;
        files::write(file, text.as_bytes())?;
    }
    if let Some(file) = &args.out {
        files::write(file, page::render(&results)?.as_bytes())?;
    }
    print(&results);
    if let Some(file) = &args.out {
        say!("report  {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String, CliError> {
    let shown = file.display();
    Ok(std::fs::read_to_string(file).map_err(|e| format!("{shown}: {e}"))?)
}

fn read_node(name: &str) -> Result<Node, CliError> {
    match name.ends_with(".toml") {
        true => Ok(Node::parse(name, &read(Path::new(name))?)?),
        false => Ok(Node::by_name(name)?),
    }
}

fn accelerator(args: &SimulateArgs) -> Result<Accelerator, CliError> {
    let plain = Accelerator::default();
    let lanes = args.dataflow == Dataflow::Lanes;
    if args.array.is_some() && lanes {
        return Err(
            "--array means nothing with --dataflow lanes. Give --lanes, or --dataflow output-stationary or \
             weight-stationary"
                .into(),
        );
    }
    if args.lanes.is_some() && !lanes {
        return Err(format!(
            "--lanes means nothing with --dataflow {}. Give --array",
            args.dataflow.name()
        )
        .into());
    }
    let [rows, columns] = match &args.array {
        Some(text) => parse_array(text)?,
        None => [plain.rows, plain.columns],
    };
    if !(args.sram.is_finite() && args.sram > 0.0 && args.sram <= 1e9) {
        return Err(format!("--sram {}: a size in KiB above 0, up to 1e9", args.sram).into());
    }
    Ok(Accelerator {
        dataflow: args.dataflow,
        lanes: args.lanes.unwrap_or(plain.lanes),
        rows,
        columns,
        sram_kib: args.sram,
        batch: args.batch,
    })
}

fn parse_array(text: &str) -> Result<[u64; 2], CliError> {
    let numbers: Result<Vec<u64>, _> = text.split(['x', 'X']).map(str::parse).collect();
    match numbers.as_deref() {
        Ok([rows, columns]) if [rows, columns].iter().all(|n| (1..=65536).contains(*n)) => {
            Ok([*rows, *columns])
        }
        _ => Err(format!(
            "--array {text}: rows and columns are expected, such as 16x16, each from 1 to 65536"
        )
        .into()),
    }
}

/// Counts zeros among activations, and says on what.
fn count_zeros(
    args: &SimulateArgs,
    path: &Path,
    model: &PackedModel,
    program: &Program<'_>,
    workload: &Workload,
) -> Result<(Option<Activity>, Option<String>), CliError> {
    let usual = (COUNTED_MACS / workload.macs().max(1)).clamp(COUNTED[0], COUNTED[1]);
    let wanted = args.images.unwrap_or(usual) as usize;
    if let (Some(_), Some(data)) = (model.model.latent(), &args.data) {
        return Err(format!(
            "--data {}: {} is the packed decoder of {}, which reads no images; zeros are counted on latents. Leave \
             --data away",
            data.display(),
            path.display(),
            model.model.name
        )
        .into());
    }
    if wanted == 0 {
        return Ok((None, None));
    }
    let mut meter = Meter::new(program, workload);
    if let Some(latent) = model.model.latent() {
        let bar = progress(wanted);
        for latent in draw_latents(1, wanted, latent) {
            meter.add(&model.latent_input(&latent));
            bar.inc(1);
        }
        bar.finish_and_clear();
        return Ok((
            Some(meter.finish()),
            Some(format!("{wanted} latents drawn from the prior")),
        ));
    }
    let learned = Learned {
        path,
        data: &model.data,
        classes: &model.classes,
        input: model.model.input,
        reading: model.seen.and_then(|seen| seen.reading),
    };
    let data = match learned.load("--data", args.data.as_deref(), &args.pictures) {
        Ok(data) => data,
        Err(error) if args.data.is_none() && args.images.is_none() => {
            say_error!("note: zeros are not counted: {error}");
            return Ok((None, None));
        }
        Err(error) => return Err(error),
    };
    model.model.check_images(&data.test)?;
    let count = wanted.min(data.test.count());
    if count == 0 {
        return Err(format!("{}: there are no test images to count zeros on", data.name).into());
    }
    let bar = progress(count);
    for image in 0..count {
        meter.add(&model.image_input(data.test.image(image)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((
        Some(meter.finish()),
        Some(format!("{count} test images of {}", data.name)),
    ))
}

fn progress(count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("counting zeros {bar:30} {pos}/{len} inputs, {eta}");
    let bar = ProgressBar::new(count as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The same accelerator in the program's other processes.
fn other_nodes(
    workload: &Workload,
    on: &Accelerator,
    node: &Node,
) -> Result<Vec<OtherNode>, CliError> {
    let mut others = Vec::new();
    for (name, _) in NODES.iter().filter(|(name, _)| *name != node.name) {
        let other = Node::by_name(name)?;
        let point = point(String::new(), workload, on, &other, None, false);
        let float32 = cost(workload, Format::Float32, on, &other, None);
        others.push(OtherNode {
            title: other.title,
            float32_ratio: float32.energy.total() / point.packed,
            point,
        });
    }
    Ok(others)
}

/// pJ of a multiply-accumulate of the layer with the most of them if weights had two bits: linear, and ±1 and ±2.
fn two_bits(workload: &Workload, node: &Node) -> Option<[f64; 2]> {
    let products = workload.works.iter().filter_map(|work| work.product);
    let mut largest = products.max_by_key(|product| product.macs)?;
    (largest.bits, largest.span) = (2, 1);
    Some(
        [Format::SameBits, Format::Packed]
            .map(|format| format.multiply_add(&largest, workload.activation_bits, node)),
    )
}

/// What the model says of engines that were synthesised, which compute as [`Dataflow::Lanes`].
fn join(
    synthesis: Vec<Synthesis>,
    workload: &Workload,
    on: &Accelerator,
    node: &Node,
) -> Vec<Joined> {
    let joined = |synthesis: Synthesis| {
        let engine = Accelerator {
            dataflow: Dataflow::Lanes,
            lanes: synthesis.lanes,
            ..*on
        };
        let format = match (synthesis.engine.as_str(), synthesis.linear_bits()) {
            ("shift-add", _) => Some(Format::Packed),
            (_, Some(bits @ 2..=16)) => Some(Format::Linear(bits)),
            _ => None,
        };
        let modelled = |format: Format| cost(workload, format, &engine, node, None);
        Joined {
            cycles_of_image: synthesis
                .cycles
                .unwrap_or_else(|| modelled(Format::Packed).cycles),
            modelled_pj: format.map(|format| modelled(format).energy.total()),
            synthesis,
        }
    };
    synthesis.into_iter().map(joined).collect()
}

/// The short table on the terminal.
fn print(results: &Results) {
    let packed = results.of(Format::Packed);
    say!(
        "{}: {} multiply-accumulates an image, {} weights in {} bytes, {:.2} bits a weight",
        results.model,
        tables::count(results.macs),
        tables::count(results.weights),
        tables::count(packed.weight_bytes),
        8.0 * packed.weight_bytes as f64 / results.weights as f64
    );
    say!(
        "{}; {}; a model, not silicon",
        tables::machine(&results.accelerator),
        results.node.title
    );
    let unit = tables::Unit::of(packed.energy.total());
    let name = unit.name;
    say!("{name} an image");
    say!(
        "  {:<18} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "",
        "compute",
        "on-chip",
        "off-chip",
        "total",
        "bound",
        "no zeros",
        "/ packed"
    );
    for format in &results.formats {
        let energy = &format.energy;
        let skipping = format.skipping.map(|skipping| skipping.energy.total());
        say!(
            "  {:<18} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10.2}",
            format.format,
            unit.show(energy.arithmetic + energy.registers),
            unit.show(energy.on_chip()),
            unit.show(energy.off_chip),
            unit.show(energy.total()),
            unit.show(format.bound.total()),
            skipping.map_or("-".to_owned(), |pj| unit.show(pj)),
            energy.total() / packed.energy.total()
        );
    }
    say!(
        "{} cycles an image, {} images a second at {} MHz",
        tables::count(packed.cycles.round() as u64),
        tables::significant(1e6 * results.node.clock.mhz / packed.cycles),
        results.node.clock.mhz
    );
    for line in tables::control(results) {
        say!("{line}");
    }
}
