//! Files that a user names for a command to write: checked before the work begins.

use std::path::Path;

use super::CliError;
use super::run_folder::RunFolder;
use crate::files::{self, Destination};

/// What a command writes.
pub(crate) struct Format {
    /// In words, for messages.
    pub what: &'static str,
    /// Suffixes that a file of it may have, the usual one first; it may also have none.
    pub suffixes: &'static [&'static str],
}

/// Weights in the safetensors format.
pub(crate) const SAFETENSORS: Format = Format {
    what: "a safetensors file",
    suffixes: &["safetensors"],
};
/// A packed model.
pub(crate) const PACKED: Format = Format {
    what: "a packed model",
    suffixes: &["gtc"],
};
/// A model for ONNX runtimes.
pub(crate) const ONNX: Format = Format {
    what: "an ONNX model",
    suffixes: &["onnx"],
};
/// A JSON document.
pub(crate) const JSON: Format = Format {
    what: "a JSON document",
    suffixes: &["json"],
};
/// A picture: its suffix was read with the arguments.
pub(crate) const PICTURE: Format = Format {
    what: "a picture",
    suffixes: &[],
};

/// Refuses a path that would destroy something, or that cannot be written, before the work begins.
///
/// # Errors
/// If the file would replace one of `inputs` or a file that a run lives from, if its suffix belongs to another format, and
/// if there is no folder for it.
pub(crate) fn check(path: &Path, format: &Format, inputs: &[&Path]) -> Result<(), CliError> {
    let shown = path.display();
    let file = match files::destination(path).map_err(|e| format!("{shown}: {e}"))? {
        Destination::Stream(stream) => {
            if stream.file_name() == Some("1".as_ref()) {
                super::output::give_away();
            }
            return Ok(());
        }
        Destination::File(file) => file,
    };
    let suffix = file.extension().map(|s| s.to_string_lossy().to_lowercase());
    if let (Some(suffix), Some(usual)) = (&suffix, format.suffixes.first())
        && !format.suffixes.contains(&suffix.as_str())
    {
        return Err(format!(
            "{shown}: what is written is {}, and .{suffix} says otherwise. Call it {}",
            format.what,
            path.with_extension(usual).display()
        )
        .into());
    }
    if inputs.iter().any(|input| files::same(&file, input)) {
        return Err(format!(
            "{shown}: this file is read, and would be replaced by {}. Name another file",
            format.what
        )
        .into());
    }
    if RunFolder::owns(&file) {
        return Err(format!(
            "{shown}: a run keeps its state in this file; without it the run could not be continued or \
             shown. Name another file"
        )
        .into());
    }
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(format!("{shown}: there is no folder {}", folder.display()).into());
    }
    Ok(())
}

/// Refuses a file among the data that a command reads.
///
/// # Errors
/// If the path lies in the folder `data`.
pub(crate) fn check_outside(path: &Path, data: &Path) -> Result<(), CliError> {
    let whole = |path: &Path| std::path::absolute(path).ok()?.canonicalize().ok();
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = whole(folder.unwrap_or(Path::new(".")));
    let lies_within = folder
        .zip(whole(data))
        .is_some_and(|(folder, data)| folder.starts_with(data));
    match data.is_dir() && lies_within {
        true => Err(format!(
            "{}: it would lie among the data in {}. Name a file outside of that folder with -o",
            path.display(),
            data.display()
        )
        .into()),
        false => Ok(()),
    }
}
