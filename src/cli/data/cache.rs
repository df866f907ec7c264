//! `gtc data cache`

use crate::cli::output::say;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::data_args::cache_folder;
use crate::cli::{CliError, archives, human_bytes, print_json};
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
    /// What archives were unpacked to, the last used first.
    archives: Vec<archives::Kept>,
}

pub(super) fn run(args: &CacheArgs) -> Result<ExitCode, CliError> {
    let folder =
        cache_folder().ok_or("this user has no cache folder; name one in GTC_CACHE_DIR")?;
    let shown = folder.display();
    if args.clear {
        let files = clear_cache(&folder).map_err(|e| format!("{shown}: {e}"))?;
        let unpacked = archives::clear().map_err(|e| format!("{shown}: {e}"))?;
        let cleared = (files.0 + unpacked.0, files.1 + unpacked.1);
        if !args.json {
            say!(
                "{shown}: {} data set(s) removed, {}",
                cleared.0,
                human_bytes(cleared.1)
            );
            return Ok(ExitCode::SUCCESS);
        }
    }
    let files = list_cache(&folder);
    let archives = archives::list();
    let of_archives: u64 = archives.iter().map(|kept| kept.bytes).sum();
    let bytes = of_archives + files.iter().map(|file| file.bytes).sum::<u64>();
    if args.json {
        print_json(&CacheReport {
            folder: shown.to_string(),
            bytes,
            files,
            archives,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{shown}: {} data set(s), {}",
        files.len() + archives.len(),
        human_bytes(bytes)
    );
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
    for kept in &archives {
        let what = match &kept.source {
            Some(source) => format!("unpacked from {}", source.display()),
            None => "unfinished; it is replaced when its archive is read again".to_owned(),
        };
        say!("  {:>10}  {what}", human_bytes(kept.bytes));
    }
    if !files.is_empty() || !archives.is_empty() {
        say!("remove  gtc data cache --clear");
    }
    Ok(ExitCode::SUCCESS)
}
