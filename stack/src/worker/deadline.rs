//! When a worker without frames has something to do again.
//!
//! It must never be later than the truth; earlier costs a turn.

use super::Worker;
use crate::nic::Nic;
use crate::time::Instant;
use crate::worker::app::App;

impl<N: Nic, A: App> Worker<N, A> {
    /// When the next timer of this worker is due, at the earliest: of a connection, an embryo, TIME-WAIT or a neighbour.
    /// `now` when something waits to be sent already; `None` when nothing will happen without a frame, another worker or
    /// the app.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let core = &self.core;
        if !core.outbox.is_empty()
            || core.conns.dirty_len() > 0
            || core.conns.has_soft_errors()
            || core.has_work_of_waiting()
        {
            return Some(now);
        }
        [
            core.conns.next_fire(),
            core.endpoint.table.next_due(now),
            core.neighborhood.next_deadline(),
            core.paths.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether other workers have handed something over that this one takes in its next turn.
    #[must_use]
    pub fn has_handovers(&self) -> bool {
        !self.core.ring.is_empty()
    }
}
