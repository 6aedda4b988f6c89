//! [`SourcesReport`]: the pool that connections came from, and what became of those from tuples that were used before.
//!
//! It must never say more of a peer's TIME-WAIT than its answers to SYNs show.

use diagnose::counted;
use std::fmt;

use serde::Serialize;
use workload::load::{LoadCounts, LoadPlan, LocalTuples};

/// The pool, and how its tuples did.
#[derive(Debug, Serialize)]
pub(super) struct SourcesReport {
    addresses: u64,
    /// Tuples towards each target, of this shard.
    tuples: u64,
    /// Times that a tuple was passed over because a connection of ours still had it, in TIME-WAIT too.
    passed_over: u64,
    /// SYNs from tuples that were used before.
    reused: u64,
    /// Of those, established by the first SYN: the peer had no TIME-WAIT, or reopened it (RFC 6191).
    reopened: u64,
    /// Of those, established by a later SYN: the first one met a TIME-WAIT that answered with an ACK, which we reset, or with silence.
    retried: u64,
    /// Of those, never established.
    failed: u64,
    /// ACKs of something else that came in answer to SYNs, of all connections; each was answered with a RST, and the SYN retried.
    acks_reset: u64,
}

impl SourcesReport {
    /// `None` where the stack chose addresses and ports. `acks_reset` are the ACKs that answered a SYN and did not acknowledge it.
    pub(super) fn new(plans: &[LoadPlan], counts: &LoadCounts, acks_reset: u64) -> Option<Self> {
        let tuples: &LocalTuples = plans.first()?.tuples.as_ref()?;
        let reused = counts.reused;
        Some(Self {
            addresses: tuples.addresses(),
            tuples: tuples.tuples(),
            passed_over: counts.tuples_in_use,
            reused: reused.begun,
            reopened: reused.at_once,
            retried: reused.retried,
            failed: reused.failed,
            acks_reset,
        })
    }
}

impl fmt::Display for SourcesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  sources      {}, {} for each target; {} passed over as still in use",
            counted(self.addresses, "address"),
            counted(self.tuples, "tuple"),
            self.passed_over
        )?;
        if self.reused == 0 {
            return Ok(());
        }
        let late = self.retried + self.failed;
        writeln!(
            f,
            "  reused       {}: {} opened at once, {} by a later SYN, {} not; {} met an ACK and got a reset, {} silence",
            counted(self.reused, "tuple"),
            self.reopened,
            self.retried,
            self.failed,
            counted(self.acks_reset.min(late), "first SYN"),
            late.saturating_sub(self.acks_reset)
        )
    }
}
