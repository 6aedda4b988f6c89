//! [`BackendRow`]: a server that answered, by the header that `--count-by` names.
//!
//! It must never leave a response out: those for whose names there was no place stand together.

use diagnose::counted;
use serde::Serialize;
use workload::load::{Backend, Backends};

use crate::load::worker::LoadTotals;

/// A server that answered. Field names are stable.
#[derive(Debug, Serialize)]
pub(super) struct BackendRow {
    /// The value of the header; `null` where responses had none.
    name: Option<String>,
    /// Names beyond those that there was room for, together.
    is_rest: bool,
    /// Connections whose first response was its own.
    connections: u64,
    responses: u64,
}

impl BackendRow {
    fn new(backend: &Backend, is_rest: bool) -> Self {
        let name = backend.name.as_deref().map(String::from_utf8_lossy);
        Self {
            name: name.map(|name| name.escape_debug().to_string()),
            is_rest,
            connections: backend.connections,
            responses: backend.responses,
        }
    }
}

/// All servers that answered any worker, those with the most responses first.
pub(super) fn rows(totals: &[LoadTotals]) -> Vec<BackendRow> {
    let mut all = Backends::default();
    for totals in totals {
        all.merge(&totals.backends);
    }
    let mut rows: Vec<BackendRow> = all
        .all()
        .iter()
        .map(|backend| BackendRow::new(backend, false))
        .collect();
    rows.sort_by(|one, other| (other.responses, &one.name).cmp(&(one.responses, &other.name)));
    let others = all.others();
    rows.extend((others.responses > 0).then(|| BackendRow::new(others, true)));
    rows
}

impl std::fmt::Display for BackendRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match (&self.name, self.is_rest) {
            (_, true) => "all others",
            (Some(name), _) => name,
            (None, _) => "(no such header)",
        };
        writeln!(
            f,
            "  backend      {name}: {}, {}",
            counted(self.connections, "connection"),
            counted(self.responses, "response")
        )
    }
}
