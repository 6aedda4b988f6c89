//! The places of connections at rest, which are open and have nothing under way; and which of them to look at in a turn.
//!
//! It must never look at more than a bounded number of them.

use core::time::Duration;

use super::Entry;
use super::connection::LinkPeer;
use super::numbers::Numbers;
use crate::tcp::profile::ProfileId;
use crate::tcp::rest::RestTcb;
use crate::time::Instant;

/// Connections looked at for each one that has taken a slot: of those that are looked at, half may be busy.
const LOOKS_PER_SLOT: u32 = 2;

/// Connections looked at in a turn in which none has taken a slot.
const QUIET_LOOKS: u32 = 1;

/// Connections looked at in a turn at most.
const LOOKS_MAX: u32 = 256;

/// Between the starts of two rounds over the slots at least: what could not rest is not asked again at once.
const ROUND: Duration = Duration::from_millis(5);

/// The part of [`Rest::after`] after which a round begins while no connection takes a slot.
const QUIET_ROUNDS: u32 = 4;

/// Places looked at in a turn, for connections that rest for long enough to be parked.
const IDLE_LOOKS: usize = 4;

/// The part of [`crate::config::ConfigSpec::park_after`] after which a new round over the places begins.
const IDLE_ROUNDS: u32 = 4;

/// When open connections rest that have nothing under way: in 128 bytes instead of 576, and nothing of them is forgotten. To go on costs
/// some 300 cycles. Of use where [`crate::config::ConfigSpec::park_after`] is long: what parks before it would rest never does. Where
/// that is so, and fewer may be open than parked, those that have carried nothing since they opened park at once instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// So many of a worker never do, and never park before their time.
    pub above: u32,
    /// How long one has to be idle. One that has carried nothing since it opened doesn't wait.
    pub after: Duration,
}

impl Default for Rest {
    /// 16,384 connections, 5 seconds.
    fn default() -> Self {
        Self {
            above: 16_384,
            after: Duration::from_secs(5),
        }
    }
}

/// A connection at rest, without what its record says.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct RestingConn {
    /// The protocol's numbers.
    pub tcb: RestTcb,
    /// Where its record stands.
    pub entry: Entry,
    /// As [`super::connections::Conn::path_epoch`].
    pub path_epoch: u32,
    /// As [`super::connections::Conn::link`].
    pub link: LinkPeer,
    /// As [`super::connections::Conn::profile`].
    pub profile: ProfileId,
    pub(super) is_there: bool,
}

// Two lines, and nothing to spare.
const _: () = assert!(size_of::<RestingConn>() == 128);

/// The places of connections at rest, and the walks over those that may rest and those that may be parked.
#[derive(Debug)]
pub(super) struct RestPlaces {
    /// Grows within what was reserved.
    pub(super) places: Vec<RestingConn>,
    pub(super) numbers: Numbers,
    /// The walk over slots goes on here.
    pub(super) hand: usize,
    /// When its round began.
    round_at: Instant,
    /// Looks that are still due for slots taken.
    looks: u32,
    /// The walk over places goes on here, and when it begins anew.
    idle_hand: usize,
    idle_round_at: Instant,
}

impl RestPlaces {
    /// For so many open connections.
    pub(super) fn new(open: u32) -> Self {
        Self {
            places: Vec::with_capacity(open as usize),
            numbers: Numbers::new(open),
            hand: 0,
            round_at: Instant::ZERO,
            looks: 0,
            idle_hand: 0,
            idle_round_at: Instant::ZERO,
        }
    }

    /// A connection has taken a slot.
    #[inline(always)]
    pub(super) const fn on_slot_taken(&mut self) {
        let looks = self.looks + LOOKS_PER_SLOT;
        self.looks = if looks < LOOKS_MAX { looks } else { LOOKS_MAX };
    }

    pub(super) fn get(&self, number: u32) -> Option<&RestingConn> {
        let place = self.places.get(number as usize)?;
        place.is_there.then_some(place)
    }

    pub(super) fn put(&mut self, conn: RestingConn) -> Option<u32> {
        let number = self.numbers.take()?;
        match self.places.get_mut(number as usize) {
            Some(place) => *place = conn,
            // Numbers are first taken in their order, within what was reserved.
            None => self.places.push(conn),
        }
        Some(number)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<RestingConn> {
        let place = self.places.get_mut(number as usize)?;
        if !place.is_there {
            return None;
        }
        place.is_there = false;
        self.numbers.give_back(number);
        Some(*place)
    }

    /// How many connections a turn may look at for some that can rest; 0 when the round is over and the next one is not due.
    pub(super) fn take_looks(&mut self, slots: usize, rest_after: Duration, now: Instant) -> u32 {
        if self.hand >= slots {
            let is_quiet = self.looks == 0;
            let pause = if is_quiet {
                rest_after / QUIET_ROUNDS
            } else {
                ROUND
            };
            if now < self.round_at + pause {
                return 0;
            }
            self.hand = 0;
            self.round_at = now;
        }
        core::mem::take(&mut self.looks).max(QUIET_LOOKS)
    }

    /// The next one that has rested for `park_after`. A few are looked at in each turn, in their order.
    pub(super) fn next_idle(&mut self, park_after: Duration, now: Instant) -> Option<u32> {
        if self.idle_hand >= self.places.len() {
            if now < self.idle_round_at || self.places.is_empty() {
                return None;
            }
            self.idle_hand = 0;
            self.idle_round_at = now + park_after / IDLE_ROUNDS;
        }
        let idle_ms = u32::try_from(park_after.as_millis()).unwrap_or(u32::MAX);
        let first = self.idle_hand;
        let rest = self.places.iter().skip(first).take(IDLE_LOOKS);
        let is_idle = |place: &RestingConn| place.is_there && place.tcb.idle_ms(now) >= idle_ms;
        let at = rest.map(is_idle).position(|is_idle| is_idle);
        self.idle_hand = first + at.map_or(IDLE_LOOKS, |at| at + 1);
        // Fits: there are no more than numbers.
        at.map(|at| (first + at) as u32)
    }

    /// When `next_idle` has something to look at again; `None` while no connection rests.
    pub(super) fn next_idle_look(&self, now: Instant) -> Option<Instant> {
        if self.numbers.taken() == 0 {
            None
        } else if self.idle_hand < self.places.len() {
            Some(now)
        } else {
            Some(self.idle_round_at)
        }
    }
}
