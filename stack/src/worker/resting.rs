//! Connections that come to rest at the end of a turn, and go on when a segment or their app wants something of them.
//!
//! It must never let a connection rest while a callback runs, and never show a peer that it did.

use super::Core;
use super::callbacks::Hosted;
use super::classify::Meta;
use super::endpoint::Endpoint;
use crate::conn::Kind;
use crate::conn::connections::{Conn, NewConn, Slot};
use crate::conn::resting::RestingConn;
use crate::counters::Counter;
use crate::nic::Nic;
use crate::tcp::env::{Env, TcpCounters};
use crate::time::Instant;
use crate::worker::app::App;
use crate::worker::opening::{asks_way, default_peer_mss};

impl<N: Nic> Core<N> {
    /// The last stage of a turn: connections that have nothing to do rest, where they don't park before they would
    /// ([`crate::config::Rest`]); and those that have rested for long enough park.
    #[inline]
    pub(super) fn rest_idle(&mut self, now: Instant) {
        //~ Idle connections rest: `let are_many = ` -> `let are_many = false && `; idle_connections_rest_and_go_on
        //~ What parks soon does not rest: `if park_after > rest.after` -> `if true`; what_parks_soon_does_not_rest
        //~ No connection comes to rest while places are scarce: `&& !self.conns.chunks.is_scarce()` -> nothing;
        //~   whatever_happens_a_rest_changes_nothing
        let (rest, park_after) = (self.endpoint.config.rest, self.endpoint.config.park_after);
        let are_many = self.conns.awake_len() > rest.above as usize;
        // The walk over those that stand still has its marks by slot.
        if are_many && !self.conns.chunks.is_scarce() {
            let records = &self.endpoint.config.limits.records;
            //~ Where each connection may be open, none parks before its time:
            //~   `records.open.total() < records.parked.total()` -> `{ let _ = records; true }`;
            //~   where_each_may_be_open_none_parks_before_its_time
            if park_after > rest.after {
                self.rest_some(now);
            } else if records.open.total() < records.parked.total() {
                self.park_unused(now);
            }
        }
        if self.conns.resting_len() > 0 {
            self.park_resting(now);
        }
    }

    /// Connections that have carried nothing park without waiting, where not all may be open at a time: they have no congestion window to
    /// lose, and where many are opened to be used later, each would keep its `Conn` for nothing.
    #[inline(never)]
    fn park_unused(&mut self, now: Instant) {
        let rest = self.endpoint.config.rest;
        let mut looks = self.conns.take_looks(rest, now);
        while let Some(slot) = self.conns.next_unused(rest, &mut looks) {
            //~ Beyond a number, what has carried nothing parks at once; what_has_carried_nothing_parks_at_once
            self.park_now(slot, now);
        }
    }

    #[inline(never)]
    fn rest_some(&mut self, now: Instant) {
        let Core {
            conns, endpoint, ..
        } = self;
        let Endpoint {
            config,
            profiles,
            table,
            ..
        } = endpoint;
        conns.rest_some(config.rest, profiles, now, |entry, slot| {
            if let Some(found) = table.found(entry) {
                table.move_to(found, slot);
            }
        });
    }

    /// One that has rested for long enough parks, as an open one does.
    #[inline(never)]
    fn park_resting(&mut self, now: Instant) {
        let park_after = self.endpoint.config.park_after;
        //~ What rests for long enough parks: `next_idle(park_after, now)`
        //~   -> `next_idle(core::time::Duration::MAX, now)`; what_rests_for_long_enough_parks
        let Some(slot) = self.conns.next_idle(park_after, now) else {
            return;
        };
        let is_v6 = (self.conns.resting(slot)).is_some_and(|resting| resting.entry.is_v6());
        if self.endpoint.table.has_room(Kind::Parked, is_v6)
            && let Some(slot) = self.wake(slot, now)
        {
            self.park(slot, now);
        }
    }

    /// A segment of a connection at rest: it goes on.
    #[cold]
    #[inline(never)]
    pub(super) fn on_resting<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        resting: Slot,
        now: Instant,
    ) {
        match self.wake(resting, now) {
            Some(slot) => self.on_open_segment(hosted, frame, meta, slot, now),
            // Not reached: every open record has its connection, or a place where it rests.
            None => self.end(frame, Counter::UnparkNoRecord),
        }
    }

    /// Gives a connection at rest its `Conn` again, and says in which slot. `None` where none rests.
    #[cold]
    #[inline(never)]
    pub(super) fn wake(&mut self, resting: Slot, now: Instant) -> Option<Slot> {
        let Core {
            conns, endpoint, ..
        } = self;
        let (resting, slot) = conns.wake(resting)?;
        let (conn, counters) = conns.vacate(slot);
        endpoint.revive(&resting, conn, counters, now)?;
        let found = conn.found;
        endpoint.table.move_to(found, slot);
        let parks_at = now + self.endpoint.config.park_after;
        //~ A connection that goes on after a rest has its timer: -> `let _ = parks_at;`;
        //~   what_rests_for_long_enough_parks
        self.conns.fire_by(slot, parks_at);
        Some(slot)
    }

    /// The slot of an open connection, which rests no longer.
    #[inline(always)]
    pub(super) fn awake(&mut self, slot: Slot, now: Instant) -> Option<Slot> {
        match slot.rest_number() {
            None => Some(slot),
            Some(_) => self.wake(slot, now),
        }
    }

    /// A copy of the connection at rest as it would be if it went on now: for looking at it.
    #[cold]
    pub(super) fn copy_of_resting(&self, resting: Slot, now: Instant) -> Option<Conn> {
        let resting = self.conns.resting(resting)?;
        let mut conn = self.conns.vacant().clone();
        let counters = &mut TcpCounters::default();
        self.endpoint.revive(resting, &mut conn, counters, now)?;
        Some(conn)
    }
}

impl Endpoint {
    /// The connection at rest, in this place. `None` when its record is gone, which it never is.
    fn revive(
        &self,
        resting: &RestingConn,
        conn: &mut Conn,
        counters: &mut TcpCounters,
        now: Instant,
    ) -> Option<()> {
        let found = self.table.found(resting.entry)?;
        let (id, state) = self.table.named(found)?;
        let key = self.table.key(found)?;
        let env = Env {
            now,
            settings: self.profiles.get(resting.profile),
            counters,
        };
        conn.begin(&NewConn {
            id,
            state,
            found,
            key,
            hash: self.hasher.hash(&key),
            profile: resting.profile,
            local: self.config.locals.locate(key.local()),
            path_epoch: resting.path_epoch,
        });
        conn.tcb.resume(&resting.tcb, default_peer_mss(&key), &env);
        let listener = self.table.open(found)?.listener;
        conn.set(Conn::OWNED | Conn::ANNOUNCED | asks_way(&key, listener, &self.config));
        conn.link = Some(resting.link);
        Some(())
    }
}
