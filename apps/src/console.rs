//! The two streams: results to stdout, logs to stderr.
//!
//! It must never panic because a pipe was closed.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

#[cfg(feature = "dpdk")]
use serde::Serialize;

use crate::failure::Failure;

/// One line to stderr. A closed stderr is no reason to stop.
pub(crate) fn log(line: impl Display) {
    // One write for the line, so that lines of two processes on one terminal don't mix.
    let text = format!("{line}\n");
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The one line of a failure to stderr, and the status with which the process ends.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    log(format_args!("error: {failure}"));
    ExitCode::from(failure.exit_status())
}

/// One result (which may have several lines) to stdout, flushed.
///
/// # Errors
/// [`Failure::Run`] when stdout takes no more: then the result is lost, and that must show.
pub(crate) fn result(text: impl Display) -> Result<(), Failure> {
    to_stdout(text).map_err(|error| {
        Failure::Run(format!(
            "stdout does not take the result ({error}); is its reader gone?"
        ))
    })
}

/// Text that can be asked for again to stdout: a reader that closes its pipe (`| head`) has read enough.
///
/// # Errors
/// [`Failure::Run`] as for [`result`], but for a closed pipe.
pub(crate) fn text(text: impl Display) -> Result<(), Failure> {
    match to_stdout(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Run(format!(
            "stdout does not take the text: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Text and the end of its last line to stdout, flushed.
fn to_stdout(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// A report to stdout: as it displays itself, or as JSON with its fields' names as keys.
///
/// # Errors
/// [`Failure::Run`] as for [`result`].
#[cfg(feature = "dpdk")]
pub(crate) fn report(report: &(impl Display + Serialize), as_json: bool) -> Result<(), Failure> {
    if !as_json {
        return result(report);
    }
    result(json(report)?)
}

/// A report as JSON.
///
/// # Errors
/// [`Failure::Run`] for a value that JSON can't hold.
#[cfg(feature = "dpdk")]
pub(crate) fn json(report: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(report)
        .map_err(|error| Failure::Run(format!("cannot write the result as JSON: {error}")))
}
