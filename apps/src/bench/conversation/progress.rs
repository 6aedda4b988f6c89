//! [`ClientProgress`]: what the client of `load` has done, as a benchmark counts it.
//!
//! It must never take a connection for complete that `load` does not.

use stack::counters::Counter;
use stack::time::Instant;
use workload::load::LoadCounts;
use workload::{Fault, Tally};

use super::super::endpoint::Spent;
use crate::load::LoadProgress;

/// The progress of the client.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClientProgress {
    pub(super) tally: Tally,
    /// Operations under way.
    pub(super) under_way: u32,
    pub(super) spent: Spent,
    pub(super) tx_frames: u64,
    /// When it was asked.
    pub(super) at: Instant,
}

impl ClientProgress {
    /// Of a client whose connections are to stay, or end with their operation.
    pub(super) fn of(progress: &LoadProgress, stays: bool) -> Self {
        let counts = &progress.counts;
        let under_way = if stays {
            // At most as many as --concurrency.
            u32::try_from(counts.under_way()).unwrap_or(u32::MAX)
        } else {
            progress.connections
        };
        Self {
            tally: tally(counts, stays),
            under_way,
            spent: Spent::of(&progress.cycles),
            tx_frames: progress.counters.get(Counter::TxFrames),
            at: progress.at,
        }
    }
}

fn tally(counts: &LoadCounts, stays: bool) -> Tally {
    let mut tally = Tally::default();
    tally.started = counts.connects - counts.not_begun;
    tally.opened = counts.established;
    tally.completed = counts.completed;
    tally.requests = counts.requests;
    tally.replies = counts.replies;
    tally.waited = counts.waited;
    tally.faults = counts.failed;
    tally.faults[Fault::WrongConnection as usize] += counts.unasked;
    if stays {
        add_ends(&mut tally, counts);
    }
    tally
}

/// Every end of a connection that is to stay is a fault, also of one that waited for nothing. Those with an operation have been
/// counted under it.
fn add_ends(tally: &mut Tally, counts: &LoadCounts) {
    let ours = counts.ends.reset_by_us;
    let ends = [
        (Fault::Reset, counts.ends.reset_by_peer + counts.refused),
        (
            Fault::TimedOut,
            counts.ends.timed_out + counts.not_established - counts.refused,
        ),
        (Fault::EndedEarly, counts.ends.graceful),
    ];
    let mut explained = 0;
    for (fault, ended) in ends {
        let n = &mut tally.faults[fault as usize];
        *n = (*n).max(ended);
        explained += *n;
    }
    // We reset those whose operation failed for any other reason.
    let others = tally.faults_total() - explained;
    tally.faults[Fault::Aborted as usize] += ours.saturating_sub(others);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_should_have_stayed_are_faults_counted_once() {
        let mut counts = LoadCounts::default();
        counts.connects = 10;
        counts.established = 8;
        counts.not_established = 2;
        counts.refused = 1;
        counts.begun = 100;
        counts.completed = 97;
        counts.failed[Fault::Reset as usize] = 1;
        counts.failed[Fault::NoReply as usize] = 2;
        counts.ends.reset_by_peer = 2;
        counts.ends.reset_by_us = 3;
        let by_fault: Vec<_> = tally(&counts, true).by_fault().collect();
        assert_eq!(
            by_fault,
            [
                // Two by the peer, of which one had a request, and a refused one.
                (Fault::Reset, 3),
                (Fault::TimedOut, 1),
                // The third reset of ours is of no failed operation.
                (Fault::Aborted, 1),
                (Fault::NoReply, 2),
            ]
        );
        let ends_are_right = tally(&counts, false);
        assert_eq!(ends_are_right.faults_total(), 3);
    }
}
