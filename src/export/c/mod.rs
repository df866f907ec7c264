//! A packed network in C99: a header, a source file, a test and a Makefile. Nothing is allocated, no library is called,
//! and nothing is multiplied.

mod files;
mod layout;
mod writer;

use writer::Writer;

use super::{ExportError, Program, pooled};
use crate::verify::KnownAnswer;

/// What every file says of itself, so that no other is ever replaced.
pub const MARK: &str = "Made by gtc";
/// Headers of the language and its library: another one of such a name would be read in their place.
const HEADERS: &str = "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg \
                       stdbool stddef stdint stdio stdlib string tgmath time wchar wctype";

/// What is written.
#[derive(Clone, Debug)]
pub struct Source {
    /// Names of files and what stands in them.
    pub files: Vec<(String, String)>,
    /// Bytes of working memory.
    pub arena_bytes: usize,
    /// Bytes of constant tables: codes, biases, shifts, and what bytes of an image become.
    pub table_bytes: usize,
}

/// A name that files and identifiers can begin with: lower-case letters, digits and underscores, not beginning with a
/// digit.
///
/// # Errors
/// [`ExportError::Name`] if nothing is left of it, and for the name of a header of the language.
pub fn identifier(name: &str) -> Result<String, ExportError> {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut word: String = name.to_ascii_lowercase().chars().map(allowed).collect();
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        word.insert(0, 'n');
    }
    if word.chars().all(|c| c == '_') || HEADERS.split_whitespace().any(|header| header == word) {
        return Err(ExportError::Name(format!(
            "'{name}' cannot begin the names of files and functions in C. Choose another with --prefix, such as \
             --prefix my_network"
        )));
    }
    Ok(word)
}

/// Writes a packed network in C. `prefix` begins the names of files, macros and the function.
///
/// # Errors
/// [`ExportError::Layer`] if a size does not fit into the numbers that the C code counts with.
pub fn write(
    program: &Program<'_>,
    prefix: &str,
    answers: &[KnownAnswer],
) -> Result<Source, ExportError> {
    let windows = |shape: &_, groups, _| writer::way(shape, groups) == writer::Way::Windows;
    let (program, pools) = pooled(program, windows);
    let writer = Writer::write(&program, pools)?;
    let files = vec![
        (format!("{prefix}.h"), files::header(&writer, prefix)),
        (format!("{prefix}.c"), files::source(&writer, prefix)),
        (
            format!("{prefix}_test.c"),
            files::test(&writer, prefix, answers),
        ),
        ("Makefile".to_owned(), files::makefile(prefix)),
    ];
    Ok(Source {
        files,
        arena_bytes: writer.arena_bytes(),
        table_bytes: writer.table_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        let name = |text: &str| identifier(text).ok();
        assert_eq!(name("mobilenet-0.5").as_deref(), Some("mobilenet_0_5"));
        assert_eq!(name("3layers").as_deref(), Some("n3layers"));
        assert_eq!(name("Mein Netz").as_deref(), Some("mein_netz"));
        for refused in ["", "--", "stdint", "Time"] {
            let error = identifier(refused).unwrap_err().to_string();
            assert!(error.contains("--prefix"), "{error}");
        }
    }
}
