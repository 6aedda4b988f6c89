//! Every scenario, one file each. To add one: write the file, list it here; see docs/guide/lab.md.
//!
//! It must never hold anything but scenarios.

mod app_blocked;
mod closed_port;
mod host_down;

use super::scenario::{Pace, Scenario};

/// All of them, in the order in which `lab list` shows them.
pub(crate) fn all(pace: Pace) -> Vec<Scenario> {
    vec![
        closed_port::scenario(),
        host_down::scenario(pace),
        app_blocked::scenario(),
    ]
}
