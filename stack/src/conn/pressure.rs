//! `Pressure`: which connections give way while others wait for places in the queues that all share
//! (docs/decisions/0022).
//!
//! Called by: the worker's timer stage, once per turn, and whoever is refused a place. It must never look at more than a
//! bounded number of connections in a turn, and never end or empty one: it names it, and the worker acts.

use core::time::Duration;

use super::chunks::{Chunks, Claim};
use super::connections::{Conn, Connections, Slot};
use super::record::TickMs;
use crate::tcp::seq::SeqNum;
use crate::tcp::state::State;
use crate::time::Instant;

/// Connections looked at per turn while somebody waits for a place.
pub const VISITS_PER_TURN: u32 = 256;

/// Connections looked at per turn while places are scarce and nobody waits.
const QUIET_VISITS_PER_TURN: u32 = 32;

/// Between the starts of two rounds while nobody waits.
const ROUND: Duration = Duration::from_secs(1);

/// Between two rounds that found nobody who could give way.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes ahead of a gap that has not moved for so long may be dropped under pressure, in ms: they were never acknowledged.
const PRUNE_AFTER_MS: u32 = 1_000;

/// How long a connection has to stand still to give way, in multiples of the limit: those that did longest go first.
const LADDER: [u32; 4] = [12, 6, 3, 1];

/// What somebody waits for: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lack(u8);

impl Lack {
    /// A first place to send from.
    pub const SEND_FIRST: Self = Self(1);
    /// Another place to send from.
    pub const SEND_MORE: Self = Self(1 << 1);
    /// A first place to receive into.
    pub const RECEIVE_FIRST: Self = Self(1 << 2);
    /// Another place to receive into.
    pub const RECEIVE_MORE: Self = Self(1 << 3);
    /// A place for bytes ahead of a gap.
    pub const AHEAD: Self = Self(1 << 4);

    const SEND: Self = Self(Self::SEND_FIRST.0 | Self::SEND_MORE.0);
    const RECEIVE: Self = Self(Self::RECEIVE_FIRST.0 | Self::RECEIVE_MORE.0);

    /// What a refused claim to send lacks.
    #[must_use]
    pub const fn to_send(claim: Claim) -> Self {
        match claim {
            Claim::First => Self::SEND_FIRST,
            Claim::More | Claim::Ahead => Self::SEND_MORE,
        }
    }

    /// What a refused claim to receive lacks.
    #[must_use]
    pub const fn to_receive(claim: Claim) -> Self {
        match claim {
            Claim::First => Self::RECEIVE_FIRST,
            Claim::More => Self::RECEIVE_MORE,
            Claim::Ahead => Self::AHEAD,
        }
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The last step of the ladder that this allows. Who has no place at all can't go on, and without places ahead of gaps every
    /// loss is a timeout; who has one place goes on with that.
    const fn last_step(self) -> usize {
        if self.has(Self(
            Self::SEND_FIRST.0 | Self::RECEIVE_FIRST.0 | Self::AHEAD.0,
        )) {
            3
        } else {
            2
        }
    }
}

/// What a connection gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesWay {
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
    /// Whose mark this is, and of which time of scarcity.
    generation: u32,
    period: u32,
}

/// A walk over the connections in rounds, while places are scarce.
#[derive(Debug)]
pub(super) struct Pressure {
    is_on: bool,
    period: u32,
    /// The walk goes on here: IPv4 places first, then IPv6 places.
    hand: usize,
    is_walking: bool,
    /// Nobody waited in the last round.
    is_quiet: bool,
    step: usize,
    started_at: Instant,
    next_at: Instant,
    marks: [Vec<Mark>; 2],
}

impl Pressure {
    pub(super) fn new(v4: u32, v6: u32) -> Self {
        Self {
            is_on: false,
            period: 0,
            hand: 0,
            is_walking: false,
            is_quiet: true,
            step: 0,
            started_at: Instant::ZERO,
            next_at: Instant::ZERO,
            marks: [v4, v6].map(|places| Vec::with_capacity(places as usize)),
        }
    }

    /// The mark of a place.
    fn mark(&mut self, is_v6: bool, index: usize) -> &mut Mark {
        let marks = &mut self.marks[usize::from(is_v6)];
        while marks.len() <= index {
            marks.push(Mark::default());
        }
        &mut marks[index]
    }

    /// Whether a round is under way; begins one when it is time, or when somebody waits and the last one was for nobody.
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
        } else if self.step < lack.last_step() {
            self.step += 1;
            self.next_at = now;
        } else {
            self.next_at = now + PAUSE;
        }
    }
}

impl Mark {
    /// Looks at the connection, and says for how long it has not moved, in ms: its sending, its reading.
    fn see(&mut self, conn: &Conn, period: u32, now: TickMs) -> (u32, u32) {
        let (una, _, rcv_nxt) = conn.tcb.numbers();
        let read = rcv_nxt.sub(conn.rx.len());
        let generation = conn.found.generation.get();
        let is_new = (self.generation, self.period) != (generation, period);
        if is_new || conn.tx.is_empty() || !una.before(self.goal) {
            // A segment, or all that is queued: a byte at a time would be no progress.
            let wanted = conn.tx.len().min(conn.tcb.mss().into());
            self.goal = una.add(wanted as u32);
            self.sent_at = now;
        }
        if is_new || read != self.read || (conn.rx.is_empty() && conn.ahead.is_empty()) {
            self.read = read;
            self.read_at = now;
        }
        (self.generation, self.period) = (generation, period);
        (now.since(self.sent_at), now.since(self.read_at))
    }
}

impl<F> Chunks<F> {
    /// A claim was refused.
    pub fn refuse(&mut self, lack: Lack) {
        self.lack.0 |= lack.0;
    }

    /// Forgets what nobody lacks any more.
    fn relieve(&mut self) {
        for (lack, is_over) in [
            (Lack::SEND, self.has_send_margin()),
            (Lack::RECEIVE, self.has_receive_margin(Claim::More)),
            (Lack::AHEAD, self.has_receive_margin(Claim::Ahead)),
        ] {
            if is_over {
                self.lack.0 &= !lack.0;
            }
        }
    }
}

impl<F> Connections<F> {
    /// Whether so few places are taken that nobody need give way.
    #[inline]
    pub fn is_calm(&mut self) -> bool {
        let calm = !self.chunks.is_scarce();
        if calm && self.pressure.is_on {
            self.pressure.is_on = false;
            self.chunks.lack = Lack::default();
        }
        calm
    }

    /// The next connection that has to give way, if one of the next `budget` has to. Only to be called while places are scarce.
    pub fn next_to_give_way(
        &mut self,
        limit: Duration,
        now: Instant,
        budget: &mut u32,
    ) -> Option<(Slot, GivesWay)> {
        let places = self.v4.len() + self.v6.len();
        if !self.pressure.is_on {
            self.pressure.is_on = true;
            self.pressure.period = self.pressure.period.wrapping_add(1);
            self.pressure.is_walking = false;
            self.pressure.step = 0;
            self.pressure.next_at = now;
        }
        self.chunks.relieve();
        if !self.pressure.starts(self.chunks.lack, now) {
            return None;
        }
        if self.chunks.lack.is_none() {
            *budget = (*budget).min(QUIET_VISITS_PER_TURN);
        }
        while *budget > 0 {
            if self.pressure.hand >= places {
                self.pressure.end_round(self.chunks.lack, now);
                if self.pressure.starts(self.chunks.lack, now) && places > 0 {
                    continue;
                }
                return None;
            }
            *budget -= 1;
            let hand = self.pressure.hand;
            self.pressure.hand += 1;
            if let Some(found) = self.visit(hand, limit, now) {
                return Some(found);
            }
        }
        None
    }

    fn visit(&mut self, hand: usize, limit: Duration, now: Instant) -> Option<(Slot, GivesWay)> {
        let (places, is_v6, index) = match hand.checked_sub(self.v4.len()) {
            None => (&self.v4, false, hand),
            Some(index) => (&self.v6, true, index),
        };
        let conn = places.get(index).filter(|conn| conn.has(Conn::LIVE))?;
        let slot = self.slot_of(conn.found.entry);
        let pressure = &mut self.pressure;
        let (lack, period) = (self.chunks.lack, pressure.period);
        let step = LADDER[pressure.step];
        let stood = pressure
            .mark(is_v6, index)
            .see(conn, period, TickMs::at(now));
        let limit_ms = limit.as_millis().saturating_mul(step.into());
        gives_way(conn, lack, limit_ms, stood).map(|gives| (slot, gives))
    }
}

/// What a connection gives that has not moved for `stood` (sending, reading), in ms.
fn gives_way(conn: &Conn, lack: Lack, limit_ms: u128, stood: (u32, u32)) -> Option<GivesWay> {
    let (sent_ms, read_ms) = stood;
    let receives = lack.has(Lack::RECEIVE) || lack.has(Lack::AHEAD);
    if receives && !conn.ahead.is_empty() && read_ms >= PRUNE_AFTER_MS {
        return Some(GivesWay::Ahead);
    }
    let is_over = |ms: u32| u128::from(ms) >= limit_ms;
    let never_opened = conn.tcb.state() == State::SynSent;
    let holds_sent = !conn.tx.is_empty() && !never_opened && is_over(sent_ms);
    // One that is refused a place itself can't be blamed for not reading.
    let is_waiting = conn.has(Conn::WANTS_ROOM) && conn.tx.is_empty();
    let holds_unread = !conn.rx.is_empty() && !is_waiting && is_over(read_ms);
    let gives = lack.has(Lack::SEND) && holds_sent || receives && holds_unread;
    gives.then_some(GivesWay::Everything)
}
