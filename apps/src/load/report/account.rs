//! [`Account`]: whether operations, connections, frames and buffers add up.
//!
//! It must never be silent about a difference.

use std::fmt;

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

    /// What does not add up, in words.
    pub(super) fn faults(&self) -> impl Iterator<Item = String> {
        let wrong = self.named().into_iter().filter(|(_, n)| *n != 0);
        wrong.map(|(name, n)| {
            format!("{n} {name} are unaccounted for: that is a bug, please report it")
        })
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
        let mut counts = LoadCounts {
            begun: 5,
            completed: 4,
            unfinished: 1,
            connects: 2,
            established: 2,
            ..LoadCounts::default()
        };
        counts.ends.graceful = 2;
        let account = Account::new(&counts, &[Counters::new()], 0);
        assert_eq!(account.faults().count(), 0, "{account}");
        counts.completed = 3;
        counts.ends.graceful = 1;
        let account = Account::new(&counts, &[Counters::new()], 1);
        let faults: Vec<String> = account.faults().collect();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
