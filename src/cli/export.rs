//! `gtc export`

use crate::cli::output::say;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::data_args::seen_by;
use super::model_files::packed_of;
use super::verilog::{self, VerilogArgs};
use super::{CliError, human_bytes, load_trained, outputs, quoted};
use crate::checkpoint::{Checkpoint, encode_weights};
use crate::export::{Program, c};
use crate::files;
use crate::foreign::{self, WeightPrecision};
use crate::onnx;
use crate::pack::{PackedModel, is_packed};
use crate::verify::known_answers;

/// Known answers that a C program is tested with.
const VECTORS: usize = 10;

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    /// The folder of a run or a .safetensors file; for --to c, verilog and onnx a packed .gtc file, or a run with one in its folder
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The file to write, or for --to c and verilog the folder
    #[arg(short, long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// For whom. pytorch: names and layouts of PyTorch, for load_state_dict, and for `gtc quantise`; gtc: this program's own,
    /// with levels, classes and the model itself; c: C99 for microcontrollers, integers without a multiplication; onnx: of a
    /// packed model a graph that gives the same integers in onnxruntime, of a trained one an ordinary float graph;
    /// verilog: an engine that shifts and adds, for FPGAs and chips, with tests and synthesis
    #[arg(long, value_name = "FORMAT", default_value = "pytorch", value_parser = ["pytorch", "gtc", "c", "onnx", "verilog"])]
    to: String,
    /// Which network, of --to pytorch and onnx: hp, float weights; lp, powers of two; integer, the packed one, of --to onnx
    /// alone; --to gtc has hp and lp [default: hp, or lp where that alone learned; of --to onnx integer, if there is a packed
    /// model]
    #[arg(long, value_name = "hp|lp|integer", value_parser = ["hp", "lp", "integer"])]
    network: Option<String>,
    /// Numbers of 16 bits (f16): half the size. With --to gtc every weight keeps its level
    #[arg(long)]
    half: bool,
    /// What names of files, macros and the function begin with, of --to c
    /// [default: the model's name]
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    #[command(flatten)]
    verilog: VerilogArgs,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, CliError> {
    refuse_idle_flags(args)?;
    match (args.to.as_str(), args.network.as_deref()) {
        ("c", _) => return run_c(args),
        ("verilog", _) => return verilog::run(&packed(&args.model)?, &args.out, &args.verilog),
        ("onnx", Some("integer")) => return run_integers(args),
        ("onnx", None) if has_packed(&args.model) => return run_integers(args),
        ("onnx", _) => return run_float(args),
        ("pytorch", Some("integer")) => {
            return Err("--network integer: PyTorch's layout holds float weights. Write it with --to onnx or --to c".into());
        }
        _ => (),
    }
    outputs::check(&args.out, &outputs::SAFETENSORS, &[&args.model])?;
    let mut checkpoint = load_trained(
        &args.model,
        "has none left to export, only integers: --to c or --to onnx",
    )?;
    // What the folder of the run says, because the file leaves it.
    checkpoint.header.seen = seen_by(&args.model, &checkpoint.header);
    let (file, what) = match args.to.as_str() {
        "gtc" => (encode_weights(&checkpoint, args.half)?, "HP and LP"),
        _ => {
            let network = network_of(args, &checkpoint)?;
            let what = match network {
                WeightPrecision::High => "HP",
                WeightPrecision::Low => "LP",
            };
            (foreign::encode(&checkpoint, network, args.half)?, what)
        }
    };
    files::write(&args.out, &file)?;
    let size = human_bytes(file.len() as u64);
    say!(
        "weights of {} ({what}): {} ({size})",
        checkpoint.header.model,
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The network that is asked for, or the one that learned.
fn network_of(args: &ExportArgs, checkpoint: &Checkpoint) -> Result<WeightPrecision, CliError> {
    let [hp, lp] = checkpoint.learned(&checkpoint.header.model()?);
    let refused = |network: &str, why: &str| {
        let model = args.model.display();
        Err(format!("--network {network}: {model}: {why}").into())
    };
    match args.network.as_deref() {
        Some("lp") if !lp => refused(
            "lp",
            "only its floats have learned. `gtc quantise` and `gtc train --from` give them levels",
        ),
        Some("hp") if !hp => refused("hp", "only low precision has learned"),
        Some("lp") => Ok(WeightPrecision::Low),
        None if !hp => Ok(WeightPrecision::Low),
        _ => Ok(WeightPrecision::High),
    }
}

/// A flag that would change nothing is a mistake.
fn refuse_idle_flags(args: &ExportArgs) -> Result<(), CliError> {
    let to = args.to.as_str();
    let given = [
        (
            "--network",
            args.network.is_some(),
            to == "pytorch" || to == "onnx",
        ),
        ("--half", args.half, to == "pytorch" || to == "gtc"),
        ("--prefix", args.prefix.is_some(), to == "c"),
    ];
    let hardware = args
        .verilog
        .given()
        .map(|(flag, given)| (flag, given, to == "verilog"));
    match given
        .into_iter()
        .chain(hardware)
        .find(|(_, given, used)| *given && !used)
    {
        Some((flag, ..)) => {
            Err(format!("{flag} means nothing with --to {to}. Leave it away").into())
        }
        None => Ok(()),
    }
}

/// The packed model that is exported.
fn packed(path: &Path) -> Result<PackedModel, CliError> {
    packed_of(path, "this is written from integers")
}

fn run_c(args: &ExportArgs) -> Result<ExitCode, CliError> {
    let model = packed(&args.model)?;
    let network = model.network();
    let prefix = c::identifier(args.prefix.as_deref().unwrap_or(&model.model.name))?;
    let program = Program::new(&model, &network)?;
    let shown = args.out.display();
    if args.out.exists() && !args.out.is_dir() {
        return Err(format!("{shown}: C is written as several files; name a folder").into());
    }
    let source = c::write(&program, &prefix, &known_answers(&model, VECTORS)?)?;
    // The Makefile of this network names its header.
    let own = format!(" {prefix}.h\n");
    write_all(&args.out, &source.files, (c::MARK, &own))?;
    let operations = model.operations();
    let upper = prefix.to_ascii_uppercase();
    say!(
        "{} in C99, {} files in {shown}",
        model.model.name,
        source.files.len()
    );
    say!(
        "  working memory  {:>9} bytes, {upper}_ARENA_BYTES",
        source.arena_bytes
    );
    say!(
        "  tables          {:>9} bytes, {upper}_TABLE_BYTES, can stay in flash",
        source.table_bytes
    );
    say!(
        "  additions       {:>9} an image; no multiplication",
        operations.additions
    );
    say!("test    make -C {} test", quoted(&args.out));
    Ok(ExitCode::SUCCESS)
}

/// Writes files into a folder, unless one would replace a file that the program did not write, or the Makefile of another
/// export: one that does not hold the text `own`.
pub(super) fn write_all(
    folder: &Path,
    texts: &[(String, String)],
    (mark, own): (&str, &str),
) -> Result<(), CliError> {
    for (name, _) in texts {
        let file = folder.join(name);
        let lacks = |file: &Path| std::fs::read_to_string(file).is_ok_and(|t| !t.contains(own));
        if name == "Makefile" && is_ours(&file, mark) && lacks(&file) {
            return Err(format!(
                "{}: it belongs to another network, or to one in another language, and would be replaced. Name a folder for each",
                file.display()
            )
            .into());
        }
        if file.exists() && !is_ours(&file, mark) {
            return Err(format!(
                "{}: this file was not written by `gtc export`, and would be replaced. Name another folder",
                file.display()
            )
            .into());
        }
    }
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (name, text) in texts {
        files::write(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Whether a file was written before: it says so itself, or, a file of numbers, the Makefile beside it does.
fn is_ours(file: &Path, mark: &str) -> bool {
    let says = |file: &Path| std::fs::read_to_string(file).is_ok_and(|text| text.contains(mark));
    let numbers = file.extension().is_some_and(|suffix| suffix == "hex");
    says(file) || numbers && says(&file.with_file_name("Makefile"))
}

/// Whether a path names a packed model, or a run with one in its folder.
fn has_packed(path: &Path) -> bool {
    let packed = |path: &Path| std::fs::read(path).is_ok_and(|data| is_packed(&data));
    path.extension().is_some_and(|suffix| suffix == "gtc")
        || path.join("model.gtc").is_file()
        || path.is_file() && packed(path)
}

fn run_float(args: &ExportArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::ONNX, &[&args.model])?;
    let checkpoint = load_trained(
        &args.model,
        "has none left to export, only integers: --network integer",
    )?;
    let network = network_of(args, &checkpoint)?;
    let file = onnx::write_float(&checkpoint, network)?;
    files::write(&args.out, &file)?;
    let model = checkpoint.header.model()?;
    let what = match network {
        WeightPrecision::High => "float weights (HP)".to_owned(),
        WeightPrecision::Low => format!("{} (LP)", model.quantiser.weights_in_words()),
    };
    let size = human_bytes(file.len() as u64);
    say!(
        "{} in ONNX, {what}: {} ({size})",
        model.name,
        args.out.display()
    );
    match model.latent() {
        Some(latent) => {
            say!("  latent: float32 (batch, {latent}) -> logits: float32, its decoder alone")
        }
        None => {
            let [height, width, channels] = model.input;
            say!(
                "  image: float32 (batch, {channels}, {height}, {width}) of 0 to 1 -> logits: float32 (batch, {})",
                model.classes
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_integers(args: &ExportArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::ONNX, &[&args.model])?;
    let model = packed(&args.model)?;
    let network = model.network();
    let program = Program::new(&model, &network)?;
    let file = onnx::write_packed(&program)?;
    files::write(&args.out, &file)?;
    let size = human_bytes(file.len() as u64);
    say!(
        "{} in ONNX: {} ({size})",
        model.model.name,
        args.out.display()
    );
    say!(
        "  {}, in units of 2^{}",
        onnx::interface(&program),
        model.logit_scale()
    );
    Ok(ExitCode::SUCCESS)
}
