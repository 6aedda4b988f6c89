//! Every scenario, one text file each. To add one: copy a file, list it here; see docs/guide/lab.md.
//!
//! It must never hold anything but names of files.

use super::format;
use super::scenario::{Pace, Scenario};
use crate::failure::Failure;

/// The files, in the order in which they are read first.
const FILES: &[(&str, &str)] = &[
    ("closed-port.lab", include_str!("scenarios/closed-port.lab")),
    ("host-down.lab", include_str!("scenarios/host-down.lab")),
    ("app-blocked.lab", include_str!("scenarios/app-blocked.lab")),
    (
        "as-it-should-be.lab",
        include_str!("scenarios/as-it-should-be.lab"),
    ),
    ("early-close.lab", include_str!("scenarios/early-close.lab")),
    (
        "keep-alive-race.lab",
        include_str!("scenarios/keep-alive-race.lab"),
    ),
    (
        "cable-pulled.lab",
        include_str!("scenarios/cable-pulled.lab"),
    ),
    ("power-loss.lab", include_str!("scenarios/power-loss.lab")),
];

/// All of them, in the order in which `lab list` shows them.
///
/// # Errors
/// [`Failure::Run`] with the file and the line that can't be read.
pub(crate) fn all(pace: Pace) -> Result<Vec<Scenario>, Failure> {
    let read = |(file, text): &(&str, &'static str)| {
        format::parse(text, pace).map_err(|error| Failure::Run(format!("{file}: {error}")))
    };
    FILES.iter().map(read).collect()
}
