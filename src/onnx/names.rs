//! Unique names for the values of an ONNX file.

use std::collections::{HashMap, HashSet};

/// Names that are taken, and the last number behind each that was wanted again.
#[derive(Default)]
pub struct Names {
    taken: HashSet<String>,
    numbers: HashMap<String, usize>,
}

impl Names {
    /// With these taken.
    pub fn new(taken: &[&str]) -> Self {
        Self {
            taken: taken.iter().map(|name| (*name).to_owned()).collect(),
            numbers: HashMap::new(),
        }
    }

    /// Takes a name, if it is free.
    pub fn take(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_owned())
    }

    /// Takes the next free name of a word and a number behind it.
    pub fn numbered(&mut self, word: &str) -> String {
        let number = self.numbers.entry(word.to_owned()).or_default();
        loop {
            *number += 1;
            let name = format!("{word}_{number}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
