//! [`SiteStats`]: what one place of `--listen` has done on one worker.
//!
//! It must never be shared: each worker has its own, and they are added afterwards.

use std::collections::BTreeMap;

use serde::Serialize;
use stack::tcp::verdict::CloseReason;
use workload::Fault;

use super::proxy::ProxyStats;

/// Counts of one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SiteStats {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Of those, the ones that have not ended.
    pub(crate) open: u64,
    /// Bytes read.
    pub(in crate::serve) bytes_in: u64,
    /// Bytes sent: queued, and not lost by an end before they were acknowledged.
    pub(in crate::serve) bytes_out: u64,
    /// Requests answered, of services that have requests.
    pub(crate) requests: u64,
    /// Of those, the ones that were not as they should be.
    pub(in crate::serve) refused_requests: u64,
    /// Connections that we ended because their peer was silent; each has its reason below, too.
    pub(in crate::serve) idle_closed: u64,
    /// Headers of the PROXY protocol, where connections begin with one.
    pub(in crate::serve) proxy: ProxyStats,
    closed: [u64; CloseReason::NAMES.len()],
}

impl SiteStats {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            accepted: 0,
            open: 0,
            bytes_in: 0,
            bytes_out: 0,
            requests: 0,
            refused_requests: 0,
            idle_closed: 0,
            proxy: ProxyStats::new(),
            closed: [0; CloseReason::NAMES.len()],
        }
    }

    /// A connection was accepted.
    pub(super) fn opened(&mut self) {
        self.accepted += 1;
        self.open += 1;
    }

    /// One has ended, and `lost_len` bytes of what it was to send were not acknowledged.
    pub(super) fn closed(&mut self, reason: CloseReason, lost_len: u64) {
        self.open = self.open.saturating_sub(1);
        self.bytes_out = self.bytes_out.saturating_sub(lost_len);
        self.closed[reason.index()] += 1;
    }

    /// Adds what another worker counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.open += other.open;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.requests += other.requests;
        self.refused_requests += other.refused_requests;
        self.idle_closed += other.idle_closed;
        self.proxy.merge(&other.proxy);
        for (sum, n) in self.closed.iter_mut().zip(other.closed) {
            *sum += n;
        }
    }

    /// Connections that ended by FIN of both sides.
    pub(crate) fn completed(&self) -> u64 {
        self.closed[CloseReason::Graceful.index()]
    }

    /// Requests that were not as they should be, and connections that ended in another way, by what a benchmark calls that.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (Fault, u64)> {
        let ended = CloseReason::NAMES.into_iter().zip(self.closed);
        let faults = ended.filter_map(|(reason, n)| {
            let fault = match reason {
                "graceful" | "back_to_listen" => return None,
                "refused" => Fault::Refused,
                "reset" => Fault::Reset,
                "timed_out" | "keepalive_timed_out" | "fin_wait_2_timed_out" => Fault::TimedOut,
                "unreachable" => Fault::Unreachable,
                _ => Fault::Aborted,
            };
            Some((fault, n))
        });
        let refused = (Fault::Malformed, self.refused_requests);
        faults.chain([refused]).filter(|&(_, n)| n > 0)
    }

    /// How many connections ended for each reason that there was.
    pub(in crate::serve) fn closed_by_reason(&self) -> Closed {
        let named = CloseReason::NAMES.into_iter().zip(self.closed);
        Closed(named.filter(|&(_, n)| n > 0).collect())
    }
}

/// Reasons and how many connections ended for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::serve) struct Closed(pub(in crate::serve) BTreeMap<&'static str, u64>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_was_not_sent_and_each_reason_has_its_name() {
        let mut stats = SiteStats::default();
        stats.opened();
        stats.opened();
        stats.bytes_out = 100;
        stats.closed(CloseReason::Reset, 30);
        let mut sum = stats;
        stats.closed(CloseReason::FinWait2TimedOut, 0);
        sum.merge(&stats);
        assert_eq!((sum.accepted, sum.open, sum.bytes_out), (4, 1, 140));
        let closed = sum.closed_by_reason().0;
        assert_eq!(closed["reset"], 2);
        assert_eq!(closed["fin_wait_2_timed_out"], 1);
        assert_eq!(closed.len(), 2);
    }
}
