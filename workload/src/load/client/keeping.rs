//! Connections that are kept: how fast they are opened and closed, and which of them broke.
//!
//! It must never open more than the plan allows, and never count one that we close as broken.

use stack::app::ConnId;
use stack::app::Cx;
use stack::nic::Nic;

use super::LoadClient;
use crate::load::LoadConn;
use crate::load::plan::Work;
use crate::load::under_way::{Reading, Stage};
use crate::tally::Fault;

/// Without a rate the next connection is opened so long after one that failed: a peer that refuses all is not flooded.
const AFTER_FAILURE_NS: u64 = 10_000_000;
/// A generator that comes late opens at most what was due in so long: more would be a burst.
const CATCH_UP_NS: u64 = 10_000_000;

/// When the next connection that is kept may be opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OpeningClock {
    /// Not before.
    next_ns: f64,
}

impl LoadClient {
    /// How many connections may be opened now.
    pub(super) fn may_open(&mut self, now_ns: u64) -> u32 {
        let burst = u32::from(self.plan.burst);
        let Some(opening) = self.plan.opening else {
            let may = now_ns as f64 >= self.opening.next_ns;
            return if may { burst } else { 0 };
        };
        let under_way = u32::try_from(self.counts.opening()).unwrap_or(u32::MAX);
        let room = opening.under_way_max.saturating_sub(under_way).min(burst);
        let now = now_ns as f64;
        let Some(rate_rps) = opening.rate_rps else {
            return if now >= self.opening.next_ns { room } else { 0 };
        };
        let gap_ns = 1e9 / rate_rps;
        let next_ns = &mut self.opening.next_ns;
        *next_ns = next_ns.max(now - (CATCH_UP_NS as f64).max(gap_ns));
        let due = if now < *next_ns {
            0
        } else {
            ((now - *next_ns) / gap_ns) as u32 + 1
        };
        let count = due.min(room);
        *next_ns += gap_ns * f64::from(count);
        count
    }

    /// A connection could not be opened.
    pub(super) fn on_failed_opening(&mut self, now_ns: u64) {
        let opening = self.plan.opening;
        if opening.is_none_or(|opening| opening.rate_rps.is_none()) {
            self.opening.next_ns = now_ns.saturating_add(AFTER_FAILURE_NS) as f64;
        }
    }

    /// A connection that was to be kept ends, or is about to, because of `fault`.
    pub(super) fn note_broken(&mut self, index: u32, fault: Fault) {
        if !self.plan.work.keeps() {
            return;
        }
        let is_kept = self
            .connections
            .get(index)
            .is_some_and(|conn| conn.was_established && conn.stage == Stage::Open);
        if is_kept {
            self.counts.broken[fault as usize] += 1;
        }
    }

    /// How long a connection has been kept without a verified reply, from the start of the clock on.
    pub(super) fn note_unasked(&mut self, heard_ns: u64, now_ns: u64) {
        let from_ns = heard_ns.max(self.origin_ns);
        let longest = &mut self.counts.longest_unasked_ns;
        *longest = (*longest).max(now_ns.saturating_sub(from_ns));
    }

    /// The same for all connections, at the end.
    pub(super) fn note_all_unasked(&mut self, now_ns: u64) {
        if self.plan.work != Work::Hold || self.plan.requests.is_empty() {
            return;
        }
        for index in 0..self.connections.places() {
            let kept = self.connections.get(index);
            if let Some(heard_ns) = kept
                .filter(|conn| conn.stage == Stage::Open)
                .map(|conn| conn.heard_ns)
            {
                self.note_unasked(heard_ns, now_ns);
            }
        }
    }

    /// The peer has closed: what was asked and not answered failed; a connection that was kept broke.
    pub(super) fn on_peer_end<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        let conn = self.connections.get(index);
        let Some((stage, first)) = conn.map(|conn| (conn.stage, conn.first)) else {
            return;
        };
        if stage == Stage::Closing {
            return;
        }
        let first = self.operations.get(first);
        let is_over = first.is_none_or(|first| matches!(first.reading, Reading::Over));
        if is_over {
            self.note_broken(index, Fault::EndedEarly);
            self.close(cx, index);
        } else {
            self.fail(cx, index, Fault::EndedEarly);
        }
    }

    /// A connection from a tuple that was used before is established.
    pub(super) fn note_reopened<N: Nic>(&mut self, cx: &Cx<'_, N, LoadConn>, id: ConnId) {
        let was_late = cx.info(id).is_some_and(|info| info.tcp.retransmissions > 0);
        let reused = &mut self.counts.reused;
        *if was_late {
            &mut reused.retried
        } else {
            &mut reused.at_once
        } += 1;
    }
}
