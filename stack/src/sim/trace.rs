//! [`Crossing`]: what became of each frame that was put on a wire, for packet ladders, captures and failed seeds.
//!
//! It must never influence what happens: a world that is recorded runs as one that isn't.

use std::sync::Arc;

use super::host::HostId;
use super::link::Fate;
use crate::time::Instant;

/// One frame on its way from one host to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// How many frames were put on wires before it: the order of those that left at the same time.
    pub number: u64,
    /// When it left its sender.
    pub sent_at: Instant,
    /// When it reached its receiver; `None` when it didn't.
    pub arrives_at: Option<Instant>,
    /// The sender; a router that isn't a host is [`ROUTER`](super::router::ROUTER).
    pub from: HostId,
    /// The receiver; `None` when it was lost before the switch, or no host is there.
    pub to: Option<HostId>,
    /// Ethernet frame without FCS, as it arrives (or as it was when it got lost).
    pub bytes: Arc<[u8]>,
    /// Its fate.
    pub fate: Fate,
}

/// The record, in the order of sending; arrivals may be in another order.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) on: bool,
    pub(super) crossings: Vec<Crossing>,
}

impl Trace {
    pub(super) fn record(&mut self, crossing: impl FnOnce() -> Crossing) {
        if self.on {
            self.crossings.push(crossing());
        }
    }
}
