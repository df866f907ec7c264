//! Names out of strangers' files, made fit for a terminal and a picture, and numbers in few characters.

/// A name's first `longest` characters, with `?` for those that steer a terminal, and dots where more follow.
pub(crate) fn printable(name: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    let mut text: String = name.chars().take(longest).map(plain).collect();
    if name.chars().nth(longest).is_some() {
        text.push_str("...");
    }
    text
}

/// A number with four digits behind the point, or two significant ones where those would all be zero.
pub(crate) fn short(number: f64) -> String {
    match number.abs() < 1e-3 && number != 0.0 {
        true => format!("{number:.1e}"),
        false => format!("{number:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn small_numbers_keep_digits() {
        let texts = [0.0, 0.25, -1.5, 0.00123, 4.2e-5, -7e-9].map(short);
        assert_eq!(
            texts,
            ["0.0000", "0.2500", "-1.5000", "0.0012", "4.2e-5", "-7.0e-9"]
        );
    }
}
