//! Progress that travels from the first rank to the process that the user has started.

use std::time::{Duration, Instant};

use crate::cli::output::say_error;

/// Set for ranks whose starter can draw on a terminal.
pub(super) const VARIABLE: &str = "GTC_PROGRESS_LINES";
/// What lines begin with that are to be drawn over one another: the character that separates records.
pub(super) const MARK: char = '\u{1e}';
/// Least time between two of them.
const EVERY: Duration = Duration::from_millis(250);

/// The line that shows how far the ranks are.
pub(in crate::cli) struct Line {
    last: Option<Instant>,
    wanted: bool,
}

impl Line {
    /// One that says nothing unless somebody draws it.
    pub fn new() -> Self {
        Self {
            last: None,
            wanted: cfg!(feature = "mpi") && std::env::var_os(VARIABLE).is_some(),
        }
    }

    /// Shows a text in the place of the one before.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if self.wanted && self.last.is_none_or(|last| last.elapsed() > EVERY) {
            self.last = Some(Instant::now());
            say_error!("{MARK}{}", text());
        }
    }

    /// Shows nothing any more.
    pub fn clear(&mut self) {
        if self.wanted && self.last.take().is_some() {
            say_error!("{MARK}");
        }
    }
}
