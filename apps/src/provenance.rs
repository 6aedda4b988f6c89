//! [`Versions`] and the command line: what a result must say about where it comes from.
//!
//! It must never guess: what is not known is left out.

use std::fmt;

use serde::Serialize;

/// Versions of what ran.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Versions {
    syncline: &'static str,
    dpdk: String,
}

impl Versions {
    /// This program's, and DPDK's as it names itself.
    pub(crate) fn with_dpdk(dpdk: String) -> Self {
        Self {
            syncline: env!("CARGO_PKG_VERSION"),
            dpdk,
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syncline {}, {}", self.syncline, self.dpdk)
    }
}

/// The command line as it was given.
pub(crate) fn command() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}
