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
        let slots = self.conns.len();
        let mut looks = self.resting.take_looks(slots, rest.after, now);
        while looks > 0 && self.awake_len() > rest.above as usize {
            looks -= 1;
            let hand = self.resting.hand;
            let Some(conn) = self.conns.get(hand) else {
                return;
            };
            self.resting.hand += 1;
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

/// The connection in the form for a rest; `None` unless it has been idle for long enough, nothing is under way, neither for the
/// protocol nor for its app, and its queues are empty.
fn at_rest(conn: &Conn, rest_after: Duration, env: &Env<'_>) -> Option<RestingConn> {
    //~ A connection that its app has not heard of does not rest: `!conn.is_quiet()` -> `!conn.has(Conn::LIVE)`;
    //~   who_is_not_accepted_does_not_rest
    //~ A connection with something queued does not rest: `|| conn.has_queued()` -> nothing;
    //~   what_is_kept_or_corked_keeps_a_connection_awake
    if !conn.is_quiet() || conn.has_queued() {
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
