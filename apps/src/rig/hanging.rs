//! The end of a process whose thread hangs: it can't be ended from outside.
//!
//! It must never run what libraries do at exit.

use std::convert::Infallible;
use std::fmt::Display;

use serde::Serialize;

use crate::console;
use crate::failure::Failure;
use crate::report::OutputArgs;

/// The fault of a run whose thread hangs.
pub(crate) const HANGS: &str = "a worker does not end: the port was not closed and buffers were not counted; the figures are \
                                its last report";

/// The fault of a run in which `who` does not answer its control thread.
pub(crate) fn silent(who: impl Display) -> String {
    format!(
        "{who} does not answer: another program may hold its CPU; give it one of its own (--cpus)"
    )
}

/// Prints the result so far and ends the process, whatever its threads do.
pub(crate) fn leave(
    report: &(impl Display + Serialize),
    output: &OutputArgs,
    gate: Result<(), Failure>,
) -> Infallible {
    if let Err(failure) = output.print(report).and(gate) {
        console::failure(&failure);
    }
    // Without what libraries do at exit: a thread is still inside one.
    signal_hook::low_level::exit(1)
}
