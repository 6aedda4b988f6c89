//! Connections that come to rest, and go on: between a `Conn` and its place at rest.
//!
//! It must never forget anything of a connection.

use core::time::Duration;

use super::Entry;
use super::connection::Conn;
use super::connections::Connections;
use super::record::Slot;
use super::resting::{Rest, RestingConn};
use crate::memory::prefetch_read;
use crate::tcp::env::Env;
use crate::tcp::profiles::Profiles;
use crate::time::Instant;

/// Connections that come to rest, and go on.
impl<F> Connections<F> {
    /// How many connections have a `Conn`.
    #[must_use]
    #[inline]
    pub fn awake_len(&self) -> usize {
        self.slots.taken()
    }

    /// How many connections rest.
    #[must_use]
    #[inline]
    pub fn resting_len(&self) -> usize {
        self.resting.numbers.taken()
    }

    /// The connection that rests in the place that this slot says, if it does.
    #[must_use]
    pub fn resting(&self, slot: Slot) -> Option<&RestingConn> {
        self.resting.get(slot.rest_number()?)
    }

    /// Starts loading a connection at rest.
    #[inline(always)]
    pub fn prefetch_resting(&self, slot: Slot) {
        if let Some(number) = slot.rest_number()
            && let Some(place) = self.resting.places.get(number as usize)
        {
            prefetch_read(&place.tcb);
            prefetch_read(&place.is_there);
        }
    }

    /// Lets some of the connections rest that come next in the order of their slots, a bounded number of which it looks at. `moved`
    /// hears where the record of each stands, and where the connection does now.
    pub fn rest_some(
        &mut self,
        rest: Rest,
        profiles: &Profiles,
        now: Instant,
        mut moved: impl FnMut(Entry, Slot),
    ) {
        let mut looks = self.take_looks(rest, now);
        while let Some(hand) = self.look(rest, &mut looks) {
            let Some(conn) = self.conns.get(hand) else {
                return;
            };
            let env = Env {
                now,
                settings: profiles.get(conn.profile),
                counters: &mut self.counters,
            };
            let Some(resting) = at_rest(conn, rest.after, &env) else {
                continue;
            };
            let entry = resting.entry;
            // There is a place for each connection that may be open.
            let Some(number) = self.resting.put(resting) else {
                return;
            };
            // As with one that ends: lists and the wheel may still name the slot.
            if let Some(conn) = self.conns.get_mut(hand) {
                conn.end();
            }
            self.slots.give_back(hand as u32);
            moved(entry, Slot::at_rest(number));
        }
    }

    /// How many connections [`Connections::rest_some`] or [`Connections::next_unused`] may look at in this turn.
    pub fn take_looks(&mut self, rest: Rest, now: Instant) -> u32 {
        self.resting.take_looks(self.conns.len(), rest.after, now)
    }

    /// The next connection in the order of their slots that has carried nothing since it opened, and has nothing to do. Each one that
    /// it looks at takes one of `looks`. `None` when those are used up, the round is over, or no more than [`Rest::above`] are awake.
    pub fn next_unused(&mut self, rest: Rest, looks: &mut u32) -> Option<Slot> {
        loop {
            let hand = self.look(rest, looks)?;
            let conn = self.conns.get(hand)?;
            if is_idle(conn) && conn.tcb.is_unused() {
                return Some(Slot(hand as u32));
            }
        }
    }

    /// The slot that the walk over slots comes to next.
    fn look(&mut self, rest: Rest, looks: &mut u32) -> Option<usize> {
        let hand = self.resting.hand;
        if *looks == 0 || hand >= self.conns.len() || self.awake_len() <= rest.above as usize {
            return None;
        }
        *looks -= 1;
        self.resting.hand += 1;
        Some(hand)
    }

    /// Takes a slot for the connection that rests in the place that `slot` says, whose place is free then. `None` when there is
    /// none: there is always a slot.
    pub fn wake(&mut self, slot: Slot) -> Option<(RestingConn, Slot)> {
        let number = slot.rest_number()?;
        self.resting.get(number)?;
        let slot = Slot(self.slots.take()?);
        self.resting.on_slot_taken();
        let resting = self.resting.remove(number)?;
        Some((resting, slot))
    }

    /// A connection that has rested long enough to be parked: its place.
    pub fn next_idle(&mut self, park_after: Duration, now: Instant) -> Option<Slot> {
        let number = self.resting.next_idle(park_after, now)?;
        Some(Slot::at_rest(number))
    }

    /// When [`Connections::next_idle`] has something to look at again; `None` while no connection rests.
    #[must_use]
    pub fn next_idle_look(&self, now: Instant) -> Option<Instant> {
        self.resting.next_idle_look(now)
    }
}

/// Whether a connection has nothing to do for its app, which has heard of all that happened to it, and its queues are empty.
fn is_idle(conn: &Conn) -> bool {
    //~ A connection that its app has not heard of does not rest: `conn.is_quiet() &&` -> `conn.has(Conn::LIVE) &&`;
    //~   who_is_not_accepted_does_not_rest
    //~ A connection with something queued does not rest: `&& !conn.has_queued()` -> nothing;
    //~   what_is_kept_or_corked_keeps_a_connection_awake
    conn.is_quiet() && !conn.has_queued()
}

/// The connection in the form for a rest; `None` unless it has been idle for long enough, and nothing is under way, neither for the
/// protocol nor for its app.
fn at_rest(conn: &Conn, rest_after: Duration, env: &Env<'_>) -> Option<RestingConn> {
    if !is_idle(conn) {
        return None;
    }
    //~ A connection in use does not rest: `|| conn.tcb.is_unused()` -> `|| true`; what_is_in_use_stays_awake
    //~ A connection that has carried nothing rests at once: `|| conn.tcb.is_unused()` -> nothing;
    //~   what_is_in_use_stays_awake
    let idle = Duration::from_millis(conn.tcb.idle_ms(env.now).into());
    let may_rest = idle >= rest_after || conn.tcb.is_unused();
    if !may_rest {
        return None;
    }
    Some(RestingConn {
        tcb: conn.tcb.rest(env)?,
        entry: conn.found.entry(),
        path_epoch: conn.path_epoch,
        link: conn.link?,
        profile: conn.profile,
        is_there: true,
    })
}
