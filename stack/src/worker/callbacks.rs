//! The callbacks of the application: [`Hosted`] is the app with what it keeps for each connection.
//!
//! It must never call an app while one of its callbacks runs: what a callback starts (accepted connections) is reported
//! after it has returned.

use super::Core;
use super::cx::Cx;
use super::new_states::NewStates;
use crate::conn::connections::{Conn, Parts, RemovedConn, Slot};
use crate::conn::{ConnId, StateNumber};
use crate::counters::Counter;
use crate::local::listener::ListenerId;
use crate::nic::Nic;
use crate::queue::claim::Claim;
use crate::tcp::verdict::CloseReason;
use crate::time::Instant;
use crate::worker::accept_queue::Established;
use crate::worker::app::App;

/// Connections that hear of new room per turn at most.
const STARVED_PER_TURN: u32 = 16;

/// Connections whose ICMP errors are reported per turn at most.
const SOFT_ERRORS_PER_TURN: u32 = 16;

/// An app and its state of each connection, by its number in the record.
pub(super) struct Hosted<A: App> {
    pub(super) app: A,
    states: Vec<A::Conn>,
    pub(super) new_states: NewStates<A::Conn>,
    has_started: bool,
}

impl<A: App> Hosted<A> {
    /// Reserves memory for the state of `connections` connections, of which `open` may be open; it becomes resident with use.
    pub(super) fn new(app: A, connections: usize, open: usize) -> Self {
        Self {
            app,
            states: Vec::with_capacity(connections),
            new_states: NewStates::new(open),
            has_started: false,
        }
    }

    /// The app, its state of a connection, and where states of new ones wait. States that are not in use are defaults.
    #[inline]
    pub(super) fn parts(
        &mut self,
        state: StateNumber,
    ) -> (&mut A, &mut A::Conn, &mut NewStates<A::Conn>) {
        //~ A new connection's state outlives the callback that opened it: -> `if false {`;
        //~   a_connection_opened_in_the_last_callback_of_another_keeps_its_state
        if !self.new_states.is_empty() {
            self.place_new_states();
        }
        let state = state_at(&mut self.states, state);
        (&mut self.app, state, &mut self.new_states)
    }

    /// No callback runs: the states of new connections go where they belong.
    #[inline(never)]
    fn place_new_states(&mut self) {
        for (number, state) in self.new_states.drain() {
            *state_at(&mut self.states, number) = state;
        }
    }

    /// The app's states of connections by number, for loading some ahead.
    #[inline(always)]
    pub(super) fn states(&self) -> &[A::Conn] {
        &self.states
    }
}

/// The state of this number, made where there is none yet.
#[inline]
fn state_at<S: Default>(states: &mut Vec<S>, number: StateNumber) -> &mut S {
    let index = number.0 as usize;
    if index >= states.len() {
        grow(states, index);
    }
    &mut states[index]
}

#[cold]
#[inline(never)]
fn grow<S: Default>(states: &mut Vec<S>, index: usize) {
    states.resize_with(index + 1, S::default);
}

impl<N: Nic> Core<N> {
    /// A listener's connection is established: it waits to be accepted.
    #[inline(always)]
    pub(super) fn offer<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        listener: ListenerId,
        established: Established,
        now: Instant,
    ) {
        self.endpoint.accept_queues.offer(listener, established);
        let cx = &mut Cx::new(self, &mut hosted.new_states, now);
        hosted.app.on_accept_ready(cx, listener);
        self.endpoint.accept_queues.keep_newest();
        self.announce(hosted, now);
    }

    /// Reports to the app the connections that it has accepted, with all that happened to them before.
    #[inline(always)]
    pub(super) fn announce<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        if self.conns.has_opened() {
            self.announce_opened(hosted, now);
        }
    }

    #[inline(never)]
    fn announce_opened<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        while let Some((id, slot)) = self.conns.pop_opened() {
            self.opened(hosted, slot, id, now);
        }
    }

    /// Where an open connection stands; `None` when it is parked or has ended.
    #[inline]
    pub(super) fn slot_named(&self, id: ConnId) -> Option<Slot> {
        self.endpoint.table.slot_of(id)
    }

    /// The connection is the app's now. One that has ended meanwhile is not announced.
    #[inline(always)]
    fn opened<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, id: ConnId, now: Instant) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.id != id {
            return;
        }
        conn.set(Conn::ANNOUNCED);
        let (app, state, new_states) = hosted.parts(conn.state);
        app.on_open(&mut Cx::about(self, new_states, id, slot, now), id, state);
        self.deliver(hosted, slot, id, now);
    }

    /// The same of one that the app has opened itself.
    #[inline(never)]
    pub(super) fn opened_at_once<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: ConnId,
        now: Instant,
    ) {
        self.opened(hosted, slot, id, now);
    }

    /// Reports to the app what it has not heard yet: bytes, room, the peer's end.
    #[inline]
    pub(super) fn deliver<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: ConnId,
        now: Instant,
    ) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if !conn.has(Conn::ANNOUNCED) {
            return;
        }
        let (app, state, new_states) = hosted.parts(conn.state);
        if conn.take(Conn::NEWS) {
            app.on_data(&mut Cx::about(self, new_states, id, slot, now), id, state);
        }
        let more = Conn::WANTS_ROOM | Conn::PEER_CLOSED;
        let Some(conn) = self.conns.get(slot).filter(|conn| conn.has(more)) else {
            return;
        };
        if conn.has(Conn::WANTS_ROOM) && self.takes_room(slot) {
            app.on_writable(&mut Cx::about(self, new_states, id, slot, now), id, state);
        }
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.take(Conn::PEER_CLOSED) {
            app.on_peer_closed(&mut Cx::about(self, new_states, id, slot, now), id, state);
        }
    }

    /// Whether a send was refused before and there is room now; the app hears of it once. One whose queue is empty, and
    /// so hears of no acknowledgment, stands in line for the room of all.
    #[inline(never)]
    fn takes_room(&mut self, slot: Slot) -> bool {
        let limit = self.endpoint.config.limits.send_queue_items;
        let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot) else {
            return false;
        };
        if !conn.has(Conn::WANTS_ROOM) || conn.tx.items() >= u32::from(limit) {
            return false;
        }
        if chunks.is_send_scarce() {
            if !conn.tx.may_grow(chunks) {
                self.conns.refuse_place(slot);
                return false;
            }
            if conn.tx.items() >= conn.earned_places() {
                return false;
            }
        }
        conn.take(Conn::WANTS_ROOM)
    }

    /// An open connection is over: its application hears of it, if it has one.
    pub(super) fn ended<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        conn: &RemovedConn,
        state: Option<StateNumber>,
        reason: CloseReason,
        now: Instant,
    ) {
        self.endpoint.counters.bump(Counter::ConnectionsClosed);
        match state {
            Some(state) if conn.was_owned => self.closed(hosted, (conn.id, state), reason, now),
            //~ One that was never accepted leaves no state: -> `Some(state) => drop(state),`;
            //~   one_that_ends_before_it_is_accepted_leaves_no_state
            Some(state) => self.endpoint.table.free_state(state),
            // Not reached: every open connection has its record.
            None => {}
        }
    }

    /// The connection is over, and its name gone: the last that the app hears of it. Then its state is another's to use.
    pub(super) fn closed<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        (id, number): (ConnId, StateNumber),
        reason: CloseReason,
        now: Instant,
    ) {
        //~ The app's timer ends with its connection; it_ends_with_its_connection
        self.conns.clear_app_timer(id);
        let (app, state, new_states) = hosted.parts(number);
        app.on_close(&mut Cx::new(self, new_states, now), id, state, reason);
        *state = A::Conn::default();
        //~ The state of an ended connection is free again: -> nothing; the_state_of_an_ended_connection_is_free_again
        self.endpoint.table.free_state(number);
        //~ An ended connection is forgotten after its last callback; the_last_callback_sees_the_connection_as_it_ended
        self.conns.forget_ended();
        self.announce(hosted, now);
    }

    /// The app's timer of a connection has fired. It runs down while the connection is parked, and doesn't unpark it.
    #[cold]
    #[inline(never)]
    pub(super) fn app_timer<A: App>(&mut self, hosted: &mut Hosted<A>, handle: u32, now: Instant) {
        // Timers end with their connections, so this is the one that it was set for.
        let table = &self.endpoint.table;
        let Some(id) = table.by_handle(handle) else {
            return;
        };
        let Some(state) = table.resolve(id).and_then(|found| table.state(found)) else {
            return;
        };
        let (app, state, new_states) = hosted.parts(state);
        let slot = self.slot_named(id);
        let mut cx = match slot.filter(|slot| slot.rest_number().is_none()) {
            Some(slot) => Cx::about(self, new_states, id, slot, now),
            None => Cx::new(self, new_states, now),
        };
        app.on_timer(&mut cx, id, state);
        self.announce(hosted, now);
    }

    /// Applications hear of ICMP errors that their connections have survived.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_soft_errors<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        for _ in 0..SOFT_ERRORS_PER_TURN {
            let Some((slot, id, state, error)) = self.conns.pop_soft_error() else {
                return;
            };
            let (app, state, new_states) = hosted.parts(state);
            let mut cx = Cx::about(self, new_states, id, slot, now);
            app.on_soft_error(&mut cx, id, state, error);
            self.announce(hosted, now);
        }
    }

    /// The peer has announced urgent data: the application hears of it before it gets the bytes. One that has not heard of
    /// the connection yet finds out by asking.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_urgent<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: ConnId,
        now: Instant,
    ) {
        if let Some(conn) = self.conns.get(slot)
            && conn.has(Conn::ANNOUNCED)
        {
            let (app, state, new_states) = hosted.parts(conn.state);
            app.on_urgent(&mut Cx::about(self, new_states, id, slot, now), id, state);
        }
    }

    /// Connections that waited for places in the queues hear that there are some, a few per turn.
    #[inline]
    pub(super) fn feed_starved<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        if !self.conns.has_starved() {
            return;
        }
        for _ in 0..STARVED_PER_TURN {
            if !self.conns.chunks.has_send_room(Claim::First) {
                return;
            }
            let Some(slot) = self.conns.pop_starved() else {
                return;
            };
            if let Some(id) = self.conns.get(slot).map(|conn| conn.id) {
                self.deliver(hosted, slot, id, now);
                // It may park again.
                self.conns.mark_dirty(slot);
            }
        }
    }

    /// Once per turn.
    #[inline]
    pub(super) fn tick<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        let cx = &mut Cx::new(self, &mut hosted.new_states, now);
        //~ An app starts once: -> `if true {`; an_app_starts_once
        if !hosted.has_started {
            hosted.has_started = true;
            hosted.app.on_start(cx);
        }
        hosted.app.on_tick(cx);
        self.announce(hosted, now);
    }
}
