//! Which classes there are, and in which order.

use std::path::Path;

use super::scan::{Classes, unreadable};
use super::{FolderError, FolderOptions};

/// The file with the classes in the order of their labels.
pub(super) const CLASS_LIST: &str = "classes.txt";

/// The classes in the order of their labels: the model's, those of `classes.txt`, or the names of the
/// folders that are not empty.
pub(super) fn names(
    folder: &Path,
    train: &Path,
    found: &Classes,
    options: &FolderOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, FolderError> {
    let full = |class: &&String| !found[*class].is_empty();
    let shown = train.display();
    if let Some(known) = &options.classes {
        return of_model(folder, known, found, warnings);
    }
    for class in found.keys().filter(|class| !full(class)) {
        warnings.push(format!(
            "{shown}: the class folder '{class}' holds no picture."
        ));
    }
    if let Some(listed) = class_list(folder)? {
        for class in &listed {
            if !found.contains_key(class) {
                return Err(FolderError::BadClassList {
                    file: folder.join(CLASS_LIST).display().to_string(),
                    what: format!("it names the class '{class}', but {shown} has no such folder"),
                });
            }
        }
        for class in found.keys().filter(|class| !listed.contains(class)) {
            warnings.push(format!(
                "{shown}: the folder '{class}' is not read, because {CLASS_LIST} does not name it."
            ));
        }
        return Ok(listed);
    }
    Ok(found.keys().filter(full).cloned().collect())
}

/// The classes of a trained model. Where no folder has the name of any, but there are as many
/// folders as classes, they stand for them in their order.
fn of_model(
    folder: &Path,
    known: &[String],
    found: &Classes,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, FolderError> {
    let full: Vec<&String> = found
        .keys()
        .filter(|class| !found[*class].is_empty())
        .collect();
    let strange = full.iter().find(|class| !known.contains(class));
    let Some(strange) = strange else {
        return Ok(known.to_vec());
    };
    let none_known = full.iter().all(|class| !known.contains(class));
    if none_known && full.len() == known.len() {
        warnings.push(format!(
            "{}: the class folders have other names than the model's classes; '{}' is taken for '{}', and so \
             on in order.",
            folder.display(),
            full[0],
            known[0]
        ));
        return Ok(full.into_iter().cloned().collect());
    }
    let mut shown = known
        .iter()
        .take(10)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if known.len() > 10 {
        shown += ", ...";
    }
    Err(FolderError::UnknownClass {
        folder: folder.display().to_string(),
        class: (*strange).clone(),
        known: shown,
    })
}

/// The lines of `classes.txt`, if there is one.
fn class_list(folder: &Path) -> Result<Option<Vec<String>>, FolderError> {
    let path = folder.join(CLASS_LIST);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
        Ok(text) => text,
    };
    let bad = |what: String| FolderError::BadClassList {
        file: path.display().to_string(),
        what,
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut names: Vec<String> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() {
            continue;
        }
        if names.iter().any(|known| known == name) {
            return Err(bad(format!(
                "line {}: '{name}' for the second time",
                number + 1
            )));
        }
        names.push(name.to_owned());
    }
    if names.is_empty() {
        return Err(bad("it names no class".to_owned()));
    }
    Ok(Some(names))
}
