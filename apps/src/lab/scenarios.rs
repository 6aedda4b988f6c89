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
    ("reboot.lab", include_str!("scenarios/reboot.lab")),
    (
        "machine-frozen.lab",
        include_str!("scenarios/machine-frozen.lab"),
    ),
    (
        "process-crash.lab",
        include_str!("scenarios/process-crash.lab"),
    ),
    (
        "reset-by-state.lab",
        include_str!("scenarios/reset-by-state.lab"),
    ),
    (
        "closed-port-answers.lab",
        include_str!("scenarios/closed-port-answers.lab"),
    ),
    (
        "filtered-port.lab",
        include_str!("scenarios/filtered-port.lab"),
    ),
    (
        "connect-timeout.lab",
        include_str!("scenarios/connect-timeout.lab"),
    ),
    (
        "neighbour-changes.lab",
        include_str!("scenarios/neighbour-changes.lab"),
    ),
    ("lossy-link.lab", include_str!("scenarios/lossy-link.lab")),
    (
        "one-way-outage.lab",
        include_str!("scenarios/one-way-outage.lab"),
    ),
    (
        "mtu-black-hole.lab",
        include_str!("scenarios/mtu-black-hole.lab"),
    ),
    (
        "forgetful-firewall.lab",
        include_str!("scenarios/forgetful-firewall.lab"),
    ),
    (
        "injected-segments.lab",
        include_str!("scenarios/injected-segments.lab"),
    ),
    ("syn-flood.lab", include_str!("scenarios/syn-flood.lab")),
    (
        "cookie-lost-ack.lab",
        include_str!("scenarios/cookie-lost-ack.lab"),
    ),
    (
        "close-wait-leak.lab",
        include_str!("scenarios/close-wait-leak.lab"),
    ),
    (
        "no-ports-left.lab",
        include_str!("scenarios/no-ports-left.lab"),
    ),
    (
        "address-in-use.lab",
        include_str!("scenarios/address-in-use.lab"),
    ),
    (
        "nagle-delayed-ack.lab",
        include_str!("scenarios/nagle-delayed-ack.lab"),
    ),
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
