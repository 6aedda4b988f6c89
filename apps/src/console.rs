//! The two streams: results to stdout, logs to stderr.
//!
//! Called by: commands, never per packet. It must never panic because somebody closed a pipe.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::failure::Failure;

/// One line to stderr. A closed stderr is no reason to stop.
pub(crate) fn log(line: impl Display) {
    // One write for the line, so that lines of two processes on one terminal don't mix.
    let text = format!("{line}\n");
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// One result (which may have several lines) to stdout, flushed.
///
/// # Errors
/// [`Failure::Run`] when stdout takes no more: then the result is lost, and that must show.
pub(crate) fn result(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| {
        Failure::Run(format!(
            "stdout does not take the result ({error}); is its reader gone?"
        ))
    })
}
