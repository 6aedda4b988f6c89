//! Connections that give way while others wait for places in the queues: bytes ahead of gaps, connections that stand still.
//!
//! It must never take anything from a connection while no other waits for it.

use super::Core;
use super::callbacks::Hosted;
use crate::conn::connections::{Parts, Slot};
use crate::conn::pressure::{Concession, VISITS_PER_TURN};
use crate::counters::Counter;
use crate::nic::Nic;
use crate::time::Instant;
use crate::worker::app::App;

impl<N: Nic> Core<N> {
    /// Once per turn.
    #[inline]
    pub(super) fn relieve_pressure<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        //~ A connection that stands still gives way: -> `if !self.pressure.is_calm(&mut self.conns) && false {`;
        //~   who_takes_nothing_gives_way_when_others_wait_for_places
        if !self.pressure.is_calm(&mut self.conns) {
            self.let_give_way(hosted, now);
        }
    }

    #[cold]
    fn let_give_way<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        let limit = self.endpoint.config.limits.stall_limit;
        let mut budget = VISITS_PER_TURN;
        while let Some((slot, gives)) =
            self.pressure
                .next_to_give_way(&mut self.conns, limit, now, &mut budget)
        {
            match gives {
                Concession::Ahead => self.prune_ahead(slot),
                Concession::Everything => self.evict(hosted, slot, now),
            }
        }
    }

    /// Drops what a connection received ahead of gaps: it was never acknowledged, so the peer sends it again.
    pub(super) fn prune_ahead(&mut self, slot: Slot) {
        let outbox = &mut self.outbox;
        if let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot) {
            conn.ahead.clear(chunks, |frame| outbox.free(frame));
            conn.tcb.forget_ahead();
            self.endpoint.counters.bump(Counter::AheadPruned);
        }
    }

    /// Ends a connection with a reset (RFC 6429). Without room for that now, it ends when there is.
    fn evict<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, now: Instant) {
        self.endpoint.counters.bump(Counter::ConnectionsEvicted);
        self.command(slot, now, |tcb, env| {
            tcb.evict(env);
        });
        self.transmit(slot, now);
        self.settle(hosted, slot, now);
    }
}
