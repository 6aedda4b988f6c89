//! What waits to leave: connection output first, stateless replies behind it, and the buffers that go back to their pool.
//!
//! Called by: the process and timer stages (push), the end of the turn (send). It must never hold more than two bursts,
//! and never drop connection output: the worker stops receiving instead.

use super::Core;
use crate::counters::{Counter, Counters};
use crate::nic::{Burst, Nic};

/// Frames on their way out, bounded.
pub(super) struct Outbox<F> {
    /// Answers that need no connection: dropped first when the NIC refuses.
    replies: Burst<F>,
    /// Frames of connections and of the neighbour table: kept until the NIC takes them.
    connections: Burst<F>,
    /// Buffers to return in bulk.
    freed: Burst<F>,
}

impl<F> Outbox<F> {
    pub(super) const fn new() -> Self {
        Self {
            replies: Burst::new(),
            connections: Burst::new(),
            freed: Burst::new(),
        }
    }

    /// A stateless reply. When a whole burst waits already it is dropped, and counted.
    #[inline]
    pub(super) fn reply(&mut self, frame: F, counters: &mut Counters) {
        if let Err(frame) = self.replies.push(frame) {
            counters.bump(Counter::TxRepliesDropped);
            self.free(frame);
        }
    }

    /// Frames of connections that can still be taken this turn.
    pub(super) fn connection_room(&self) -> usize {
        self.connections.room()
    }

    /// A frame of a connection; the caller has asked for room. Without any it is dropped and counted.
    pub(super) fn connection(&mut self, frame: F, counters: &mut Counters) {
        if let Err(frame) = self.connections.push(frame) {
            counters.bump(Counter::TxNoRoom);
            self.free(frame);
        }
    }

    /// A buffer that nobody needs any more.
    #[inline]
    pub(super) fn free(&mut self, frame: F) {
        // A full burst of freed buffers means more than one burst in this turn: this one goes back alone.
        drop(self.freed.push(frame));
    }

    /// Whether nothing waits to leave.
    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.connections.is_empty()
    }

    /// Whether connection output is stuck: receiving would only add to it.
    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        self.connections.room() == 0
    }
}

impl<N: Nic> Core<N> {
    /// Stage 6: everything that waits goes to the NIC, connections first; what it refuses stays.
    #[inline]
    pub(super) fn send(&mut self) {
        let Outbox {
            replies,
            connections,
            freed,
        } = &mut self.outbox;
        for burst in [connections, replies] {
            if burst.is_empty() {
                continue;
            }
            let sent = self.nic.tx(burst);
            self.endpoint.counters.add(Counter::TxFrames, sent as u64);
            if !burst.is_empty() {
                self.endpoint.counters.bump(Counter::TxRefused);
            }
        }
        if !freed.is_empty() {
            self.nic.free(freed);
        }
    }
}
