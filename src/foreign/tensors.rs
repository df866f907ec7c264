//! The tensors of safetensors files, whatever their types, their wrappers' prefixes and the number of files.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::other_format;
use crate::checkpoint::{CheckpointError, check_finite};

/// The file that names the files of a network in several.
#[cfg(not(target_arch = "wasm32"))]
const INDEX: &str = "model.safetensors.index.json";
/// Prefixes that wrappers of networks put before the names of all tensors.
const WRAPPERS: [&str; 9] = [
    "module.",
    "_orig_mod.",
    "model.",
    "ema.",
    "ema_model.",
    "state_dict.",
    "net.",
    "network.",
    "backbone.",
];
/// Ends of the names of tensors without any meaning for a trained network.
const HARMLESS: [&str; 2] = ["num_batches_tracked", "n_averaged"];

/// A tensor of floats.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A part of a network, with weights of rank 1 (a normalisation), 2 (dense) or 4 (a convolution).
#[derive(Clone, Debug)]
pub(super) struct Module {
    pub path: String,
    /// The shape of its weights.
    pub weight: Vec<usize>,
}

/// All tensors of a network.
#[derive(Clone, Debug)]
pub struct Tensors {
    file: String,
    arrays: BTreeMap<String, Array>,
    /// Tensors of numbers that are not read, with their types.
    unread: BTreeMap<String, Dtype>,
}

impl Tensors {
    /// Reads the bytes of one file; `file` is its name for messages.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] or [`CheckpointError::Foreign`].
    pub fn new(file: &str, data: &[u8]) -> Result<Self, CheckpointError> {
        let mut tensors = Self {
            file: file.to_owned(),
            arrays: BTreeMap::new(),
            unread: BTreeMap::new(),
        };
        tensors.add(file, data)?;
        Ok(tensors)
    }

    /// Whether a path is an index of several files, or a folder with one, for [`Tensors::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn is_index(path: &std::path::Path) -> bool {
        path.join(INDEX).exists() || path.to_string_lossy().ends_with(".index.json")
    }

    /// Reads a file, or all files that an index (`model.safetensors.index.json`) or the folder with one names.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], naming the file, and those of [`Tensors::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: &std::path::Path) -> Result<Self, CheckpointError> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| CheckpointError::Io {
                file: path.display().to_string(),
                reason: error.to_string(),
            })
        };
        let index = match path.is_dir() {
            true => path.join(INDEX),
            false => path.to_owned(),
        };
        let shown = index.display().to_string();
        let data = read(&index)?;
        if !shown.ends_with(".index.json") {
            return Self::new(&shown, &data);
        }
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index_of: Index =
            serde_json::from_slice(&data).map_err(|error| CheckpointError::Foreign {
                file: shown.clone(),
                reason: format!("no index of safetensors files: {error}"),
            })?;
        let mut files: Vec<&String> = index_of.weight_map.values().collect();
        files.sort_unstable();
        files.dedup();
        let mut tensors = Self {
            file: shown,
            arrays: BTreeMap::new(),
            unread: BTreeMap::new(),
        };
        for file in files {
            // Beside the index, wherever its text points.
            let name = std::path::Path::new(file).file_name().unwrap_or_default();
            let part = index.with_file_name(name);
            tensors.add(&part.display().to_string(), &read(&part)?)?;
        }
        let names = index_of.weight_map.keys();
        let missing = names.into_iter().find(|name| {
            !tensors.arrays.contains_key(*name)
                && !tensors.unread.contains_key(*name)
                && !is_harmless(name)
        });
        match missing {
            Some(name) => {
                Err(tensors.foreign(format!("tensor '{name}' is in none of the files it names")))
            }
            None => Ok(tensors),
        }
    }

    fn add(&mut self, file: &str, data: &[u8]) -> Result<(), CheckpointError> {
        let found = SafeTensors::deserialize(data).map_err(|error| match other_format(data) {
            Some(reason) => CheckpointError::Foreign {
                file: file.to_owned(),
                reason,
            },
            None => CheckpointError::Damaged {
                file: file.to_owned(),
                reason: error.to_string(),
            },
        })?;
        for (name, view) in found.iter() {
            if is_harmless(name) {
                continue;
            }
            let shape = view.shape().to_vec();
            match floats(&view) {
                Some(values) => {
                    let array = Array { shape, values };
                    self.arrays.insert(name.to_owned(), array);
                }
                None => {
                    self.unread.insert(name.to_owned(), view.dtype());
                }
            }
        }
        Ok(())
    }

    /// Takes off the prefixes of wrappers that all names share, and returns them.
    ///
    /// # Errors
    /// [`CheckpointError::Foreign`] if different wrappers hold a network each.
    pub(super) fn take_prefix(&mut self) -> Result<Option<String>, CheckpointError> {
        let mut taken = String::new();
        loop {
            let wrapper = |name: &String| {
                let mut wrappers = WRAPPERS.into_iter();
                wrappers.find(|wrapper| name.starts_with(wrapper))
            };
            let mut found: Vec<Option<&str>> = self.names().map(wrapper).collect();
            found.sort_unstable();
            found.dedup();
            match found[..] {
                [Some(prefix)] => {
                    let rest = |name: &String| name[prefix.len()..].to_owned();
                    let arrays = std::mem::take(&mut self.arrays).into_iter();
                    self.arrays = arrays.map(|(name, array)| (rest(&name), array)).collect();
                    let unread = std::mem::take(&mut self.unread).into_iter();
                    self.unread = unread.map(|(name, dtype)| (rest(&name), dtype)).collect();
                    taken += prefix;
                }
                [Some(first), Some(second), ..] => {
                    return Err(self.foreign(format!(
                        "it holds several networks, '{first}' and '{second}': save the state dict of one of them"
                    )));
                }
                _ => break,
            }
        }
        Ok((!taken.is_empty()).then_some(taken))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.arrays.keys().chain(self.unread.keys())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// All modules in the natural order of their paths: convolutions, then dense layers, and among them normalisations.
    pub(super) fn modules(&self) -> Vec<Module> {
        let mut modules: Vec<Module> = self
            .arrays
            .iter()
            .filter_map(|(name, array)| {
                Some(Module {
                    path: name.strip_suffix(".weight")?.to_owned(),
                    weight: array.shape.clone(),
                })
            })
            .collect();
        // The part of a network that a module belongs to, such as `features`; a dense part comes behind the convolutions.
        let part = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
        let ranks: Vec<(String, usize)> = modules
            .iter()
            .map(|module| (part(&module.path), module.weight.len()))
            .collect();
        let is_dense = |path: &str| {
            let holds = |rank: usize| ranks.contains(&(part(path), rank));
            holds(2) && !holds(4)
        };
        modules.sort_by_cached_key(|module| (is_dense(&module.path), natural(&module.path)));
        modules
    }

    /// Tensors that are not among those used.
    pub(super) fn unused(&self, used: &[String]) -> Vec<String> {
        let left = self.names().filter(|name| !used.contains(name));
        let left = left.map(|name| match self.unread.get(name) {
            Some(dtype) => format!("{name} ({dtype:?})"),
            None => name.clone(),
        });
        left.collect()
    }

    pub(super) fn check_finite(&self, name: &str, values: &[f32]) -> Result<(), CheckpointError> {
        check_finite(&self.file, name, values)
    }

    pub(super) fn foreign(&self, reason: String) -> CheckpointError {
        CheckpointError::Foreign {
            file: self.file.clone(),
            reason,
        }
    }
}

fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().any(|end| name.ends_with(end))
}

/// A path cut at its dots and around its numbers, which count as numbers: `features.2` comes before `features.10`, and `conv2d`
/// before `conv2d_1`.
fn natural(path: &str) -> Vec<Vec<(String, u64)>> {
    let part = |mut rest: &str| {
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let word = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (word, behind) = rest.split_at(word);
            let digits = behind.find(|c: char| !c.is_ascii_digit());
            let (digits, behind) = behind.split_at(digits.unwrap_or(behind.len()));
            pieces.push((word.to_owned(), digits.parse().unwrap_or(0)));
            rest = behind;
        }
        pieces
    };
    path.split('.').map(part).collect()
}

/// The numbers of a tensor, if they are floats.
fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    let of = |width: usize, read: fn(&[u8]) -> f32| data.chunks_exact(width).map(read).collect();
    Some(match view.dtype() {
        Dtype::F32 => of(4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Dtype::F16 => of(2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32()),
        Dtype::BF16 => of(2, |b| bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        Dtype::F64 => of(8, |b| {
            let bytes = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
            f64::from_le_bytes(bytes) as f32
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_as_people_count() {
        let mut paths = [
            "layer1.1.conv1",
            "features.10",
            "conv1",
            "features.2",
            "layer1.0.conv2",
            "layer10.0.conv1",
            "layer2.0.conv1",
            "layer1.0.conv1",
            "conv2d_10",
            "conv2d",
            "conv2d_2",
            "b10_conv",
            "b2_conv",
            "conv1_10",
            "conv1_2",
        ];
        paths.sort_by_key(|path| natural(path));
        assert_eq!(
            paths,
            [
                "b2_conv",
                "b10_conv",
                "conv1",
                "conv1_2",
                "conv1_10",
                "conv2d",
                "conv2d_2",
                "conv2d_10",
                "features.2",
                "features.10",
                "layer1.0.conv1",
                "layer1.0.conv2",
                "layer1.1.conv1",
                "layer2.0.conv1",
                "layer10.0.conv1",
            ]
        );
    }
}
