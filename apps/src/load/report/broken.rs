//! [`Broken`]: connections that were to stay and did not, by reason.
//!
//! It must never judge: what a broken connection means is the report's to say.

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use workload::Fault;
use workload::load::LoadCounts;

use crate::report::reasons;

/// Connections that were to stay and did not. Field names are stable (docs/reference/load-json.md).
#[derive(Debug, Serialize)]
pub(super) struct Broken {
    /// How many.
    #[serde(rename = "broken")]
    pub(super) total: u64,
    /// By the name of the fault.
    #[serde(rename = "broken_by")]
    by_fault: BTreeMap<&'static str, u64>,
}

impl Broken {
    /// Those of these counts.
    pub(super) fn of(counts: &LoadCounts) -> Self {
        let by_fault = counts.broken_by().map(|(fault, n)| (fault.name(), n));
        Self {
            total: counts.broken_total(),
            by_fault: by_fault.collect(),
        }
    }

    /// Whether some broke for this reason.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.by_fault.contains_key(fault.name())
    }

    /// The fault that they are, in words, when there is one.
    pub(super) fn fault(&self) -> Option<String> {
        let by = reasons(&self.by_fault);
        (self.total > 0).then(|| format!("{} broke ({by})", counted(self.total, "connection")))
    }
}

/// A line for each reason.
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, n) in &self.by_fault {
            writeln!(f, "    !! {n} × {name}")?;
        }
        Ok(())
    }
}
