//! [`LoadCounts`]: what happened, counted once each.
//!
//! It must never count an operation under two ends: begun = completed + failed + unfinished, and the same for connections.

use stack::app::CloseReason;

use crate::tally::{FAULTS, Fault};

/// How connections ended that had been established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ends {
    /// In good order, by FIN of both sides.
    pub graceful: u64,
    /// By a reset of ours, on purpose or because of a failed operation.
    pub reset_by_us: u64,
    /// By a reset of the peer.
    pub reset_by_peer: u64,
    /// Without an answer of the peer.
    pub timed_out: u64,
}

impl Ends {
    fn merge(&mut self, other: &Self) {
        self.graceful += other.graceful;
        self.reset_by_us += other.reset_by_us;
        self.reset_by_peer += other.reset_by_peer;
        self.timed_out += other.timed_out;
    }
}

/// Outcomes of connections from a tuple that an earlier connection to the same target had: its peer may still have kept that in
/// TIME-WAIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reused {
    /// SYNs from such a tuple.
    pub begun: u64,
    /// Established by the first SYN: the peer had forgotten the earlier connection, or reopened its tuple (RFC 6191).
    pub at_once: u64,
    /// Established by a later SYN: the peer had answered the first one with an ACK, which we reset, or with silence.
    pub retried: u64,
    /// Not established.
    pub failed: u64,
}

impl Reused {
    fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.at_once += other.at_once;
        self.retried += other.retried;
        self.failed += other.failed;
    }
}

/// Outcomes of the bytes of bulk that were queued, and of transfers to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BulkCounts {
    /// Bytes that were acknowledged a moment ago. One number, counted at one time: what was queued since is not taken for
    /// acknowledged.
    pub(crate) acked: u64,
    /// Bytes that were not acknowledged when their connection ended.
    pub(crate) lost: u64,
    /// Transfers to us that the peer ended.
    pub transfers: u64,
}

impl BulkCounts {
    fn merge(&mut self, other: &Self) {
        self.acked += other.acked;
        self.lost += other.lost;
        self.transfers += other.transfers;
    }
}

/// The counts so far. All counts only grow but `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadCounts {
    /// Operations that were due by the schedule and were taken from it.
    pub due: u64,
    /// Of those, the ones that were dropped because every connection was busy.
    pub dropped: u64,
    /// Operations that were due at the end and had not been begun.
    pub never_begun: u64,
    /// Turns in which something was due and every connection was busy.
    pub blocked_turns: u64,
    /// Operations that were begun.
    pub begun: u64,
    /// Of those, the ones that ended well.
    pub completed: u64,
    /// Operations that had not ended when the run did.
    pub unfinished: u64,
    /// Operations that failed, in the order of [`Fault::ALL`].
    pub failed: [u64; FAULTS],
    /// Operations of the window that were due by the schedule.
    pub window_due: u64,
    /// Operations of the window that were begun, and those that ended well.
    pub window_begun: u64,
    /// See above.
    pub window_completed: u64,
    /// Requests sent.
    pub requests: u64,
    /// Times that a request found no room and waited: its connection was parked and no open record free, or its queue was full.
    pub waited: u64,
    /// Whole replies.
    pub replies: u64,
    /// Connections that brought bytes which no request asked for. They were reset.
    pub unasked: u64,
    /// HTTP responses by the first digit of their status.
    pub status_classes: [u64; 6],
    /// Bytes of replies, heads included.
    pub bytes_in: u64,
    /// Bytes of requests, and of bulk, that were queued.
    pub bytes_out: u64,
    /// Outcomes of bulk transfers.
    pub bulk: BulkCounts,
    /// Connections that were asked for.
    pub connects: u64,
    /// Connections that the stack could not begin.
    pub not_begun: u64,
    /// Of those asked for, the ones that ended before they were established.
    pub not_established: u64,
    /// Of those, the ones that the peer refused by a RST.
    pub refused: u64,
    /// Connections that were established.
    pub established: u64,
    /// How those ended.
    pub ends: Ends,
    /// Connections that were to be kept and ended all the same, in the order of [`Fault::ALL`].
    pub broken: [u64; FAULTS],
    /// The longest time that a connection was kept without a verified reply, in ns; [`crate::load::Work::Hold`] with requests only.
    pub longest_unasked_ns: u64,
    /// Tuples that were passed over because a connection of ours, in TIME-WAIT too, has them.
    pub tuples_in_use: u64,
    /// Connections from tuples that were used before.
    pub reused: Reused,
}

impl LoadCounts {
    /// An operation failed.
    pub fn fail(&mut self, fault: Fault) {
        self.failed[fault as usize] += 1;
    }

    /// An established connection ended.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        let ends = &mut self.ends;
        *match reason {
            CloseReason::Graceful | CloseReason::BackToListen => &mut ends.graceful,
            CloseReason::Refused | CloseReason::Reset => &mut ends.reset_by_peer,
            CloseReason::TimedOut { .. }
            | CloseReason::KeepaliveTimedOut
            | CloseReason::FinWait2TimedOut
            | CloseReason::Unreachable(_) => &mut ends.timed_out,
            // All others are ends by our side: aborted, unread data, data after close, evicted.
            _ => &mut ends.reset_by_us,
        } += 1;
    }

    /// Connections that are established and have not ended.
    #[must_use]
    pub const fn open(&self) -> u64 {
        let ends = &self.ends;
        self.established - ends.graceful - ends.reset_by_us - ends.reset_by_peer - ends.timed_out
    }

    /// Operations that failed.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// The faults of failed operations that happened, and how often.
    pub fn by_fault(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL
            .into_iter()
            .zip(self.failed)
            .filter(|&(_, n)| n > 0)
    }

    /// Connections that were to be kept and ended all the same.
    #[must_use]
    pub fn broken_total(&self) -> u64 {
        self.broken.iter().sum()
    }

    /// Why those ended, and how often.
    pub fn broken_by(&self) -> impl Iterator<Item = (Fault, u64)> {
        let all = Fault::ALL.into_iter().zip(self.broken);
        all.filter(|&(_, n)| n > 0)
    }

    /// Bytes of bulk that the peers have acknowledged, as counted at most 10 ms ago; in the end, all of them.
    #[must_use]
    pub const fn bytes_acked(&self) -> u64 {
        self.bulk.acked
    }

    /// Connections that were asked for and are neither established nor given up.
    #[must_use]
    pub(crate) const fn opening(&self) -> u64 {
        self.connects - self.not_begun - self.not_established - self.established
    }

    /// Operations under way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.begun - self.completed - self.failed_total() - self.unfinished
    }

    /// Operations, and connections that broke, since `earlier`; everything else as it is.
    #[must_use]
    pub fn operations_since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (mine, before) in [
            (&mut since.due, earlier.due),
            (&mut since.dropped, earlier.dropped),
            (&mut since.never_begun, earlier.never_begun),
            (&mut since.blocked_turns, earlier.blocked_turns),
            (&mut since.begun, earlier.begun),
            (&mut since.completed, earlier.completed),
            (&mut since.unfinished, earlier.unfinished),
            (&mut since.window_due, earlier.window_due),
            (&mut since.window_begun, earlier.window_begun),
            (&mut since.window_completed, earlier.window_completed),
        ] {
            *mine -= before;
        }
        let failed = since.failed.iter_mut().zip(earlier.failed);
        let broken = since.broken.iter_mut().zip(earlier.broken);
        for (mine, before) in failed.chain(broken) {
            *mine -= before;
        }
        since
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            due,
            dropped,
            never_begun,
            blocked_turns,
            begun,
            completed,
            unfinished,
            failed,
            window_due,
            window_begun,
            window_completed,
            requests,
            waited,
            replies,
            unasked,
            status_classes,
            bytes_in,
            bytes_out,
            bulk,
            connects,
            not_begun,
            not_established,
            refused,
            established,
            ends,
            broken,
            longest_unasked_ns,
            tuples_in_use,
            reused,
        } = other;
        for (mine, others) in [
            (&mut self.due, due),
            (&mut self.dropped, dropped),
            (&mut self.never_begun, never_begun),
            (&mut self.blocked_turns, blocked_turns),
            (&mut self.begun, begun),
            (&mut self.completed, completed),
            (&mut self.unfinished, unfinished),
            (&mut self.window_due, window_due),
            (&mut self.window_begun, window_begun),
            (&mut self.window_completed, window_completed),
            (&mut self.requests, requests),
            (&mut self.waited, waited),
            (&mut self.replies, replies),
            (&mut self.unasked, unasked),
            (&mut self.bytes_in, bytes_in),
            (&mut self.bytes_out, bytes_out),
            (&mut self.connects, connects),
            (&mut self.not_begun, not_begun),
            (&mut self.not_established, not_established),
            (&mut self.refused, refused),
            (&mut self.established, established),
            (&mut self.tuples_in_use, tuples_in_use),
        ] {
            *mine += others;
        }
        let arrays = self.failed.iter_mut().zip(failed);
        let classes = self.status_classes.iter_mut().zip(status_classes);
        let broken = self.broken.iter_mut().zip(broken);
        for (mine, others) in arrays.chain(classes).chain(broken) {
            *mine += others;
        }
        self.ends.merge(ends);
        self.reused.merge(reused);
        self.bulk.merge(bulk);
        self.longest_unasked_ns = self.longest_unasked_ns.max(*longest_unasked_ns);
    }
}
