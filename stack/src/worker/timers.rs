//! The timer stage: what is due by time, and when a worker without frames has something to do again.
//!
//! It must never do more in one turn than its budgets say, and never name a time that is later than the truth; earlier costs
//! a turn.

use core::time::Duration;

use super::Worker;
use crate::conn::connections::{Fired, Slot};
use crate::nic::Nic;
use crate::tcp::verdict::Events;
use crate::time::Instant;
use crate::worker::app::App;
use crate::worker::callbacks::Hosted;
use crate::worker::held::is_held;
use crate::worker::{Core, neighborhood};

/// Embryos looked at per turn at most.
const EMBRYOS_PER_TURN: u32 = 32;

/// How often there is a turn while connections wait for places in the queues: to serve more of them than one turn does, and to
/// find one that gives way.
const STARVED_PERIOD: Duration = Duration::from_millis(1);

/// Timers that fire per turn at most.
pub(super) const TIMERS_PER_TURN: u32 = 256;

impl<N: Nic> Core<N> {
    /// The timer stage: what is due by time, bounded per turn. What it makes leaves at the end of this turn.
    #[inline]
    pub(super) fn run_timers<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        let mut budget = EMBRYOS_PER_TURN;
        while self.outbox.connection_room() > neighborhood::FRAMES_PER_RESOLUTION
            && let Some((key, dst, reply)) = self.endpoint.due_syn_ack(now, &mut budget)
        {
            self.originate(&key, dst, &reply);
        }
        self.run_neighborhood(now);
        self.run_paths(now);
        self.run_fragments(now);
        self.run_connection_timers(hosted, now);
    }

    /// Lets the deadlines of connections pass, bounded per turn.
    #[inline]
    pub(super) fn run_connection_timers<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        for _ in 0..TIMERS_PER_TURN {
            match self.conns.pop_fired(now) {
                Some(Fired::Slot(slot)) => self.on_timer(hosted, slot, now),
                Some(Fired::App { handle }) => self.app_timer(hosted, handle, now),
                Some(Fired::Nothing) => {}
                None => break,
            }
        }
        if self.conns.has_soft_errors() {
            self.tell_soft_errors(hosted, now);
        }
        self.relieve_pressure(hosted, now);
        self.feed_starved(hosted, now);
        //~ Connections that wait for a record get the next one; without_a_record_shutdown_is_remembered_and_it_reads_on
        self.serve_waiting(hosted, now);
        self.expire_time_waits(now);
    }

    fn on_timer<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, now: Instant) {
        let Some(mut parts) = self.conns.parts(slot) else {
            return;
        };
        match parts.conn.tcb.deadline() {
            Some(deadline) if deadline > now => self.conns.fire_by(slot, deadline),
            Some(_) => {
                let events = {
                    let (tcb, mut env) = parts.protocol(&self.endpoint.profiles, now);
                    tcb.on_timer(&mut env)
                };
                self.conns.mark_dirty(slot);
                if events.has(Events::BLACK_HOLE) {
                    //~ A black hole is remembered for its destination; a_black_hole_is_remembered_for_its_destination
                    self.on_black_hole(slot, now);
                }
                if events.has(Events::CLOSED) {
                    self.settle(hosted, slot, now);
                }
            }
            None if is_held(parts.conn) => parts.mark_dirty(),
            //~ An idle connection parks: -> `None => {}`; parking_begins_when_it_is_idle_for_long_enough
            None => self.park(slot, now),
        }
    }
}

impl<N: Nic, A: App> Worker<N, A> {
    /// When the next timer of this worker is due, at the earliest: of a connection, an embryo, TIME-WAIT, a neighbour or a
    /// path.
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
            //~ While connections wait for places, a turn follows soon: -> `None,`;
            //~   who_waits_for_places_is_looked_after_without_a_frame
            core.conns.has_starved().then(|| now + STARVED_PERIOD),
            core.conns.next_fire(),
            core.conns.next_idle_look(now),
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
