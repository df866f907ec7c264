//! Descriptions to change, and what it means that one is refused.

use std::panic::catch_unwind;

use gtc::graph::{Description, Model, ModelError};

/// A description with nothing wrong.
pub const GOOD: &str = r#"
name = "mine"
input = [8, 8, 3]
nodes = [
  { name = "stem", op = "conv", outputs = 8, kernel = 3, padding = 1 },
  { op = "relu" },
  { name = "pool", op = "max-pool", size = 2 },
  { name = "deep", op = "conv", outputs = 8, kernel = 3, padding = 1, groups = 2 },
  { name = "sum", op = "add", inputs = ["deep", "pool"] },
  { name = "fc", op = "dense", outputs = 10 },
]
"#;

/// The smallest auto-encoder.
pub const AUTO_ENCODER: &str = r#"
name = "small"
input = [4, 4, 1]
likelihood = "bernoulli"
nodes = [
  { name = "posterior", op = "dense", outputs = 6 },
  { name = "sample", op = "latent", size = 3 },
  { name = "pixels", op = "dense", outputs = 16 },
]
"#;

pub fn read(text: &str) -> Result<Model, ModelError> {
    Description::from_toml(text)?.model(None)
}

/// A text with one change, which must be in it.
pub fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "'{from}' does not occur in:\n{text}");
    text.replace(from, to)
}

/// Checks that a text is refused with words that name what is wrong.
pub fn refuse(text: &str, words: &[&str]) {
    let short: String = text.chars().take(2000).collect();
    match catch_unwind(|| read(text)) {
        Err(_) => panic!("a panic, not an error, for:\n{short}"),
        Ok(Ok(_)) => panic!("accepted, but it should say {words:?}:\n{short}"),
        Ok(Err(error)) => {
            let said = error.to_string();
            for word in words {
                assert!(
                    said.contains(word),
                    "'{word}' is not in \"{said}\", of:\n{short}"
                );
            }
            assert!(
                said.len() < 1000,
                "an error of {} bytes for:\n{short}",
                said.len()
            );
        }
    }
}
