//! [`Pressure`]: which connections give way while others wait for places in the queues that all share
//! (docs/decisions/0022).
//!
//! It must never look at more than a bounded number of connections in a turn, and never end or empty one: it names it,
//! and the worker acts.

use core::time::Duration;

use super::connections::{Conn, Connections, Slot};
use super::record::TickMs;
use crate::queue::claim::Lack;
use crate::seq::SeqNum;
use crate::tcp::state::State;
use crate::time::Instant;

/// Connections looked at per turn while a connection waits for a place.
pub const VISITS_PER_TURN: u32 = 256;

/// Connections looked at per turn while places are scarce and none waits.
const QUIET_VISITS_PER_TURN: u32 = 32;

/// Between the starts of two rounds while none waits.
const ROUND: Duration = Duration::from_secs(1);

/// Between two rounds that found no connection that could give way.
const PAUSE: Duration = Duration::from_millis(100);

/// A worker that did not look for longer than that (its process was stopped, its machine had no CPU) can't say that connections stood
/// still meanwhile: nothing of what they did reached it.
const ABSENCE: Duration = Duration::from_secs(2);

/// Bytes ahead of a gap that has not moved for so long may be dropped under pressure, in ms: they were never acknowledged.
const PRUNE_AFTER_MS: u32 = 1_000;

/// How long a connection has to stand still to give way, in multiples of the limit: those that did longest go first.
const LADDER: [u32; 4] = [12, 6, 3, 1];

/// The way in which a connection gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concession {
    /// Its bytes ahead of gaps.
    Ahead,
    /// All: it ends.
    Everything,
}

/// How far a connection was when it was last seen to move.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// Up to which number the peer has to acknowledge to have moved.
    goal: SeqNum,
    sent_at: TickMs,
    /// The next number to be read by the application.
    read: SeqNum,
    read_at: TickMs,
    /// Of which time of scarcity.
    period: u32,
}

/// A walk over the connections in rounds, while places are scarce.
#[derive(Debug)]
pub struct Pressure {
    is_on: bool,
    period: u32,
    /// The walk goes on at this slot.
    hand: usize,
    is_walking: bool,
    /// None waited in the last round.
    is_quiet: bool,
    step: usize,
    started_at: Instant,
    next_at: Instant,
    /// When the worker looked last.
    looked_at: Instant,
    /// By slot.
    marks: Vec<Mark>,
}

impl Pressure {
    /// For so many open connections.
    #[must_use]
    pub fn new(open: usize) -> Self {
        Self {
            is_on: false,
            period: 0,
            hand: 0,
            is_walking: false,
            is_quiet: true,
            step: 0,
            started_at: Instant::ZERO,
            next_at: Instant::ZERO,
            looked_at: Instant::ZERO,
            marks: Vec::with_capacity(open),
        }
    }

    /// The mark of a slot.
    fn mark(&mut self, slot: usize) -> &mut Mark {
        while self.marks.len() <= slot {
            self.marks.push(Mark::default());
        }
        &mut self.marks[slot]
    }

    /// Whether a round is under way; begins one when it is time, or when a connection waits and the last one was for none.
    fn starts(&mut self, lack: Lack, now: Instant) -> bool {
        if !self.is_walking && (now >= self.next_at || (self.is_quiet && !lack.is_none())) {
            self.is_walking = true;
            self.hand = 0;
            self.started_at = now;
        }
        self.is_walking
    }

    fn end_round(&mut self, lack: Lack, now: Instant) {
        self.is_walking = false;
        self.is_quiet = lack.is_none();
        if lack.is_none() {
            self.step = 0;
            self.next_at = self.started_at + ROUND;
        } else if self.step < last_step(lack) {
            self.step += 1;
            self.next_at = now;
        } else {
            self.next_at = now + PAUSE;
        }
    }
}

impl Mark {
    /// Looks at the connection, and says for how long it has not moved, in ms: its sending, its reading.
    fn see(&mut self, conn: &mut Conn, period: u32, now: TickMs) -> (u32, u32) {
        let (una, _, rcv_nxt) = conn.tcb.numbers();
        let read = rcv_nxt.sub(conn.rx.len());
        //~ A connection begins anew in the slot of another: `!conn.has(Conn::MARKED)` -> `false`;
        //~   a_mark_is_not_taken_over_with_the_slot
        let is_new = !conn.has(Conn::MARKED) || self.period != period;
        //~ A segment is progress: `!una.before(self.goal)` -> `false`; who_takes_a_byte_at_a_time_stands_still
        if is_new || conn.tx.is_empty() || !una.before(self.goal) {
            // A segment, or all that is queued: a byte at a time would be no progress.
            //~ A byte at a time is no progress: `conn.tx.len().min(conn.tcb.mss().into())` -> `1u64`;
            //~   who_takes_a_byte_at_a_time_stands_still
            let wanted = conn.tx.len().min(conn.tcb.mss().into());
            self.goal = una.add(wanted as u32);
            self.sent_at = now;
        }
        if is_new || read != self.read || (conn.rx.is_empty() && conn.ahead.is_empty()) {
            self.read = read;
            self.read_at = now;
        }
        conn.set(Conn::MARKED);
        self.period = period;
        (now.since(self.sent_at), now.since(self.read_at))
    }
}

impl Pressure {
    /// Whether so few places are taken that no connection need give way.
    #[inline]
    pub fn is_calm<F>(&mut self, conns: &mut Connections<F>) -> bool {
        let calm = !conns.chunks.is_scarce();
        if calm && self.is_on {
            self.is_on = false;
            conns.chunks.forget_lack();
        }
        calm
    }

    /// The next connection that has to give way, if one of the next `budget` has to. Only to be called while places are scarce.
    pub fn next_to_give_way<F>(
        &mut self,
        conns: &mut Connections<F>,
        limit: Duration,
        now: Instant,
        budget: &mut u32,
    ) -> Option<(Slot, Concession)> {
        let slots = conns.conns.len();
        //~ The absence of the worker is no standstill of its connections: `now > self.looked_at + ABSENCE` -> `false`;
        //~   an_absence_of_the_worker_is_no_standstill
        let was_absent = now > self.looked_at + ABSENCE;
        self.looked_at = now;
        if !self.is_on || was_absent {
            self.is_on = true;
            self.period = self.period.wrapping_add(1);
            self.is_walking = false;
            self.step = 0;
            self.next_at = now;
        }
        conns.chunks.relieve();
        let lack = conns.chunks.lack();
        if !self.starts(lack, now) {
            return None;
        }
        if lack.is_none() {
            *budget = (*budget).min(QUIET_VISITS_PER_TURN);
        }
        while *budget > 0 {
            if self.hand >= slots {
                self.end_round(lack, now);
                if self.starts(lack, now) && slots > 0 {
                    continue;
                }
                return None;
            }
            *budget -= 1;
            let hand = self.hand;
            self.hand += 1;
            if let Some(found) = self.visit(conns, hand, limit, now) {
                return Some(found);
            }
        }
        None
    }

    fn visit<F>(
        &mut self,
        conns: &mut Connections<F>,
        hand: usize,
        limit: Duration,
        now: Instant,
    ) -> Option<(Slot, Concession)> {
        let conn = conns.conns.get_mut(hand);
        let conn = conn.filter(|conn| conn.has(Conn::LIVE))?;
        //~ The connection that stood still longest gives way: `LADDER[self.step]` -> `1u32`;
        //~   who_has_stood_still_longest_goes_first
        let (period, step) = (self.period, LADDER[self.step]);
        let stood = self.mark(hand).see(conn, period, TickMs::at(now));
        let limit_ms = limit.as_millis().saturating_mul(step.into());
        let gives = gives_way(conn, conns.chunks.lack(), limit_ms, stood)?;
        // Fits: there are no more connections than numbers of slots.
        Some((Slot(hand as u32), gives))
    }
}

/// The memory that a connection gives back that has not moved for `stood` (sending, reading), in ms.
fn gives_way(conn: &Conn, lack: Lack, limit_ms: u128, stood: (u32, u32)) -> Option<Concession> {
    let (sent_ms, read_ms) = stood;
    let receives = lack.has(Lack::RECEIVE) || lack.has(Lack::AHEAD);
    //~ Bytes ahead of old gaps give way: `read_ms >= PRUNE_AFTER_MS` -> `read_ms >= u32::MAX`;
    //~   bytes_ahead_of_old_gaps_give_way_to_those_ahead_of_new_ones
    if receives && !conn.ahead.is_empty() && read_ms >= PRUNE_AFTER_MS {
        return Some(Concession::Ahead);
    }
    //~ No connection gives way before the limit: `u128::from(ms) >= limit_ms` -> `{ let _ = (ms, limit_ms); true }`;
    //~   who_waits_for_a_first_place_waits_as_long_as_the_limit_says
    let is_over = |ms: u32| u128::from(ms) >= limit_ms;
    let never_opened = conn.tcb.state() == State::SynSent;
    let holds_sent = !conn.tx.is_empty() && !never_opened && is_over(sent_ms);
    // One that is refused a place itself can't be blamed for not reading.
    let is_waiting = conn.has(Conn::WANTS_ROOM) && conn.tx.is_empty();
    let holds_unread = !conn.rx.is_empty() && !is_waiting && is_over(read_ms);
    //~ No connection gives way while none waits: `lack.has(Lack::SEND) && holds_sent` -> `holds_sent`;
    //~   who_takes_nothing_gives_way_when_others_wait_for_places
    //~ Unread bytes give way: `receives && holds_unread` -> `receives && holds_unread && false`;
    //~   who_is_not_read_gives_way_when_others_wait_for_places
    let gives = lack.has(Lack::SEND) && holds_sent || receives && holds_unread;
    gives.then_some(Concession::Everything)
}

/// The last step of the ladder that a lack allows. A connection without any place can't go on, and without places ahead of gaps
/// each loss is a timeout; one that has a place goes on with that.
const fn last_step(lack: Lack) -> usize {
    let first = lack.has(Lack::SEND_FIRST) || lack.has(Lack::RECEIVE_FIRST);
    if first || lack.has(Lack::AHEAD) { 3 } else { 2 }
}
