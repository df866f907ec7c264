//! Text for people: standard output and standard error, of which each may be full or gone.
//!
//! `println!` panics there. Here a command that lost its output goes on, so that no work is lost with it, and the program
//! ends with a message and exit code 2.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether standard output belongs to a file that the user asked for, `-o /dev/stdout`: people then read standard error.
static GIVEN_AWAY: AtomicBool = AtomicBool::new(false);

/// Keeps words off standard output from now on.
pub(super) fn give_away() {
    GIVEN_AWAY.store(true, Ordering::Relaxed);
}

/// Whether this process says nothing, because another one says the same.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing from now on: on all ranks but the first.
#[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "there is one rank"))]
pub(super) fn keep_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Speaks again.
#[cfg_attr(not(feature = "mpi"), expect(dead_code, reason = "there is one rank"))]
pub(super) fn speak() {
    QUIET.store(false, Ordering::Relaxed);
}

/// Why standard output failed first.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to standard output, and keeps the first failure for [`failure`].
pub(super) fn write(text: Arguments<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    if GIVEN_AWAY.load(Ordering::Relaxed) {
        return write_error(text);
    }
    let mut out = io::stdout().lock();
    let text = harmless(text);
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && let Ok(mut failure) = FAILURE.lock()
    {
        failure.get_or_insert(error);
    }
}

/// Writes to standard error. Nobody can be told if that fails.
pub(super) fn write_error(text: Arguments<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    let _ = io::stderr().lock().write_all(harmless(text).as_bytes());
}

/// The text with `?` for characters that steer a terminal: it may hold names out of strangers' files. U+001E steers none; by it a
/// launcher knows the progress of its ranks.
fn harmless(text: Arguments<'_>) -> String {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\u{1e}');
    text.to_string().replace(steers, "?")
}

/// Why standard output failed, if it did; asked once.
pub(super) fn failure() -> Option<io::Error> {
    FAILURE.lock().ok().and_then(|mut failure| failure.take())
}

/// A line on standard output: `println!` without its panic.
macro_rules! say {
    () => { $crate::cli::output::write(format_args!("\n")) };
    ($($text:tt)*) => {
        $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// The same without the end of the line.
macro_rules! say_part {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

/// A line on standard error: `eprintln!` without its panic.
macro_rules! say_error {
    ($($text:tt)*) => {
        $crate::cli::output::write_error(format_args!("{}\n", format_args!($($text)*)))
    };
}

pub(crate) use {say, say_error, say_part};

/// A text that is safe in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// A number with four digits behind the point, or two significant ones where those would all be zero.
pub(super) fn short(number: f64) -> String {
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
