//! `gtc data cache`

use crate::cli::output::say;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::data_args::cache_folder;
use crate::cli::{CliError, human_bytes, print_json};
use crate::data::folder::{CacheEntry, clear_cache, list_cache};

#[derive(clap::Args)]
pub(crate) struct CacheArgs {
    /// Remove all of them; they are made again when they are needed
    #[arg(long)]
    clear: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct CacheReport {
    folder: String,
    bytes: u64,
    /// The last used first.
    files: Vec<CacheEntry>,
}

pub(super) fn run(args: &CacheArgs) -> Result<ExitCode, CliError> {
    let folder =
        cache_folder().ok_or("this user has no cache folder; name one in GTC_CACHE_DIR")?;
    let shown = folder.display();
    if args.clear {
        let cleared = clear_cache(&folder).map_err(|e| format!("{shown}: {e}"))?;
        if !args.json {
            say!(
                "{shown}: {} file(s) removed, {}",
                cleared.0,
                human_bytes(cleared.1)
            );
            return Ok(ExitCode::SUCCESS);
        }
    }
    let files = list_cache(&folder);
    let bytes = files.iter().map(|file| file.bytes).sum();
    if args.json {
        print_json(&CacheReport {
            folder: shown.to_string(),
            bytes,
            files,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("{shown}: {} file(s), {}", files.len(), human_bytes(bytes));
    for file in &files {
        let [height, width, channels] = file.size;
        let what = match &file.source {
            Some(source) => format!(
                "{:8} images of {height}x{width}x{channels} from {source}",
                file.images
            ),
            None => "unfinished or damaged; it is replaced when its data are read again".to_owned(),
        };
        say!("  {:>10}  {what}", human_bytes(file.bytes));
    }
    if !files.is_empty() {
        say!("remove  gtc data cache --clear");
    }
    Ok(ExitCode::SUCCESS)
}
