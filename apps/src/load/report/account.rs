//! [`Account`]: whether operations, connections, frames and buffers add up.
//!
//! It must never be silent about a difference.

use std::fmt;

use diagnose::counted;
use serde::Serialize;
use stack::counters::{Counter, Counters};
use workload::load::LoadCounts;

/// Sums that must be zero.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    /// Operations: begun − completed − failed − unfinished.
    operations: i64,
    /// Operations: due − begun − dropped − never begun; 0 in a closed loop.
    schedule: i64,
    /// Connections: asked for − established − not established.
    connections: i64,
    /// Connections: established − ended; those that were open when the run ended.
    open: i64,
    /// Frames received that ended in no counter, hand-off rings included.
    frames: i64,
    /// Buffers that did not come back.
    mbufs_in_use: u32,
}

fn difference(whole: u64, parts: &[u64]) -> i64 {
    whole.wrapping_sub(parts.iter().sum()).cast_signed()
}

impl Account {
    /// From what was counted. `ends` are the counters of each end of the link that is ours.
    pub(super) fn new(counts: &LoadCounts, ends: &[Counters], mbufs_in_use: u32) -> Self {
        let lost = |end: &Counters| {
            let handed = end.get(Counter::HandedOff);
            end.unaccounted() + difference(handed, &[end.get(Counter::HandoffIn)])
        };
        let failed = counts.failed_total();
        let is_open_loop = counts.due > 0;
        Self {
            operations: difference(counts.begun, &[counts.completed, failed, counts.unfinished]),
            schedule: if is_open_loop {
                difference(
                    counts.due,
                    &[counts.begun, counts.dropped, counts.never_begun],
                )
            } else {
                0
            },
            connections: difference(
                counts.connects,
                &[counts.established, counts.not_established, counts.not_begun],
            ),
            open: counts.open().cast_signed(),
            frames: ends.iter().map(lost).sum(),
            mbufs_in_use,
        }
    }

    fn named(&self) -> [(&'static str, i64); 6] {
        [
            ("operations", self.operations),
            ("due operations", self.schedule),
            ("connections", self.connections),
            ("connections still open", self.open),
            ("frames", self.frames),
            ("buffers", self.mbufs_in_use.into()),
        ]
    }

    /// Sums that do not add up, in words. Where the link `is_down` connections can't be closed: their RSTs never leave.
    pub(super) fn faults(&self, is_down: bool) -> Vec<String> {
        let mut wrong = self.named().to_vec();
        wrong.retain(|(_, n)| *n != 0);
        let mut faults = Vec::new();
        let unclosed = self.connections.max(0) + self.open.max(0);
        if is_down && unclosed > 0 {
            faults.push(format!(
                "the link is down: {} could not be closed",
                counted(unclosed, "connection")
            ));
            wrong.retain(|(name, _)| !name.starts_with("connections"));
        }
        faults.extend(wrong.into_iter().map(|(name, n)| {
            format!("{n} {name} are unaccounted for: that is a bug, please report it")
        }));
        faults
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named();
        let wrong: Vec<String> = named
            .iter()
            .filter(|(_, n)| *n != 0)
            .map(|(name, n)| format!("{name} off by {n}"))
            .collect();
        if wrong.is_empty() {
            write!(f, "operations, connections, frames and buffers add up")
        } else {
            write!(f, "!! {}", wrong.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_add_up_is_a_fault() {
        let mut counts = LoadCounts::default();
        counts.begun = 5;
        counts.completed = 4;
        counts.unfinished = 1;
        counts.connects = 2;
        counts.established = 2;
        counts.ends.graceful = 2;
        let account = Account::new(&counts, &[Counters::new()], 0);
        assert!(account.faults(false).is_empty(), "{account}");
        counts.completed = 3;
        counts.ends.graceful = 1;
        let account = Account::new(&counts, &[Counters::new()], 1);
        let faults = account.faults(false);
        assert_eq!(faults.len(), 3, "{faults:?}");
        let faults = account.faults(true);
        assert!(
            faults[0].contains("the link is down: 1 connection could"),
            "{faults:?}"
        );
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
