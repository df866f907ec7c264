//! Names out of strangers' files, made fit for a terminal and a picture.

/// A name's first `longest` characters, with `?` for those that steer a terminal, and dots where more follow.
pub(crate) fn printable(name: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    let mut text: String = name.chars().take(longest).map(plain).collect();
    if name.chars().nth(longest).is_some() {
        text.push_str("...");
    }
    text
}
