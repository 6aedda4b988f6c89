//! [`LoadCounts`]: what happened, counted once each.
//!
//! It must never count an operation under two ends: begun = completed + failed + unfinished, and the same for connections.

use stack::tcp::verdict::CloseReason;

use crate::tally::{FAULTS, Fault};

/// How connections ended that had been established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// What happened so far. All counts only grow but `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Whole replies.
    pub replies: u64,
    /// Connections that brought bytes which no request asked for. They were reset.
    pub unasked: u64,
    /// HTTP responses by the first digit of their status.
    pub status_classes: [u64; 6],
    /// Bytes of replies, heads included.
    pub bytes_in: u64,
    /// Bytes of requests.
    pub bytes_out: u64,
    /// Connections that were asked for.
    pub connects: u64,
    /// Connections that the stack could not begin.
    pub not_begun: u64,
    /// Of those asked for, the ones that ended before they were established.
    pub not_established: u64,
    /// Connections that were established.
    pub established: u64,
    /// How those ended.
    pub ends: Ends,
}

impl LoadCounts {
    /// An operation failed.
    pub fn fail(&mut self, fault: Fault) {
        self.failed[fault as usize] += 1;
    }

    /// An established connection ended.
    pub fn end(&mut self, reason: CloseReason) {
        let ends = &mut self.ends;
        *match reason {
            CloseReason::Graceful | CloseReason::BackToListen => &mut ends.graceful,
            CloseReason::Refused | CloseReason::Reset => &mut ends.reset_by_peer,
            CloseReason::TimedOut { .. }
            | CloseReason::KeepaliveTimedOut
            | CloseReason::FinWait2TimedOut
            | CloseReason::Unreachable(_) => &mut ends.timed_out,
            CloseReason::Aborted
            | CloseReason::UnreadData
            | CloseReason::DataAfterClose
            | CloseReason::Evicted => &mut ends.reset_by_us,
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

    /// Operations under way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.begun - self.completed - self.failed_total() - self.unfinished
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
            replies,
            unasked,
            status_classes,
            bytes_in,
            bytes_out,
            connects,
            not_begun,
            not_established,
            established,
            ends,
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
            (&mut self.replies, replies),
            (&mut self.unasked, unasked),
            (&mut self.bytes_in, bytes_in),
            (&mut self.bytes_out, bytes_out),
            (&mut self.connects, connects),
            (&mut self.not_begun, not_begun),
            (&mut self.not_established, not_established),
            (&mut self.established, established),
            (&mut self.ends.graceful, &ends.graceful),
            (&mut self.ends.reset_by_us, &ends.reset_by_us),
            (&mut self.ends.reset_by_peer, &ends.reset_by_peer),
            (&mut self.ends.timed_out, &ends.timed_out),
        ] {
            *mine += others;
        }
        let arrays = self.failed.iter_mut().zip(failed);
        let classes = self.status_classes.iter_mut().zip(status_classes);
        for (mine, others) in arrays.chain(classes) {
            *mine += others;
        }
    }
}
