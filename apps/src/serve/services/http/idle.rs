//! [`IdleTimers`]: which connections have been silent for longer than their place allows.
//!
//! It must never walk all connections, nor move a timer for every request: what happens on a connection is only noted,
//! and looked at when its timer comes round.
//!
//! Each place has a wheel of its own: slots of a 64th of the time that it allows, each a circular list with a sentinel,
//! intrusive by the connection's handle. A connection that has said something meanwhile goes into a later slot; so each is
//! looked at about once in the time that it may be silent, and a turn looks at a bounded number.

use std::time::Duration;

use stack::time::Instant;

use crate::serve::listen::IDLE_MAX;

/// Slots into which the time of a place is divided.
const PARTS: u64 = 64;
/// One more for the part that has begun, one for a deadline at its end.
const SLOTS: u64 = PARTS + 2;
/// A tick in ns, as a power of two: about 1 ms, so that 32 bits of ticks hold 52 days.
const TICK_BITS: u32 = 20;

/// The note of a connection that was ended because it was silent.
pub(super) const ENDED: u32 = u32::MAX;

/// A list node, one per connection and per slot.
#[derive(Debug, Clone, Copy)]
struct Node<C> {
    next: u32,
    prev: u32,
    /// The connection; `None` when there is none, and of a slot.
    owner: Option<C>,
    /// When it was heard of last, in ticks.
    heard: u32,
    note: u32,
}

/// The wheel of one place.
#[derive(Debug, Clone, Copy)]
struct Wheel {
    /// How long its connections may be silent, in ticks.
    idle: u32,
    /// Ticks of a slot.
    slot_ticks: u32,
    /// The first slot that may hold something, counted from the beginning of time.
    cursor: u64,
    /// The first sentinel.
    first: u32,
}

/// All of one worker, each held by a `C`.
#[derive(Debug)]
pub(super) struct IdleTimers<C> {
    /// By the handle of the connection; the sentinels behind them.
    nodes: Box<[Node<C>]>,
    wheels: Vec<Wheel>,
    /// The tick at which there is something to look at, so that most turns need no more than a comparison.
    next_look: u64,
}

impl<C: Copy> IdleTimers<C> {
    /// Timers for connections with handles below `handles`, in places that allow so much silence each (up to
    /// [`IDLE_MAX`]). The only allocation: 24 bytes a handle, none when there is no place.
    pub(super) fn new(handles: u32, idle: &[Duration], now: Instant) -> Self {
        let handles = if idle.is_empty() { 0 } else { handles };
        let sentinels = idle.len() as u32 * SLOTS as u32;
        let node = |i: u32| Node {
            next: i,
            prev: i,
            owner: None,
            heard: 0,
            note: 0,
        };
        let wheel = |(place, idle): (u32, &Duration)| {
            let ticks = (idle.min(&IDLE_MAX).as_nanos() >> TICK_BITS).max(1) as u32;
            let slot_ticks = ticks.div_ceil(PARTS as u32);
            Wheel {
                idle: ticks,
                slot_ticks,
                cursor: tick(now) / u64::from(slot_ticks),
                first: handles + place * SLOTS as u32,
            }
        };
        Self {
            nodes: (0..handles + sentinels).map(node).collect(),
            wheels: (0..).zip(idle).map(wheel).collect(),
            next_look: 0,
        }
    }

    /// A connection of a place has begun.
    pub(super) fn begin(&mut self, place: u16, handle: u32, owner: C, now: Instant) {
        let Some(&wheel) = self.wheels.get(usize::from(place)) else {
            return;
        };
        self.end(handle);
        let node = &mut self.nodes[handle as usize];
        (node.owner, node.heard, node.note) = (Some(owner), tick(now) as u32, 0);
        self.link(handle, &wheel, tick(now) + u64::from(wheel.idle));
    }

    /// Something has happened on it: what was noted is over, unless that was [`ENDED`].
    #[inline]
    pub(super) fn hear(&mut self, handle: u32, now: Instant) {
        if let Some(node) = self.nodes.get_mut(handle as usize) {
            node.heard = tick(now) as u32;
            if node.note != ENDED {
                node.note = 0;
            }
        }
    }

    /// It is over: what was noted of it last, 0 for nothing.
    pub(super) fn end(&mut self, handle: u32) -> u32 {
        let Some(node) = self.nodes.get_mut(handle as usize) else {
            return 0;
        };
        if node.owner.take().is_none() {
            return 0;
        }
        let note = node.note;
        self.unlink(handle);
        note
    }

    /// A connection that has been silent for as long as it may be, and what was noted of it last, to be noted anew; it has
    /// as much time again. `None` when there is none, or `looks` are used up.
    #[inline]
    pub(super) fn take_due(&mut self, now: Instant, looks: &mut u32) -> Option<(C, &mut u32)> {
        let now = tick(now);
        if now < self.next_look {
            return None;
        }
        let mut next_look = u64::MAX;
        for place in 0..self.wheels.len() {
            let wheel = self.wheels[place];
            let now_slot = now / u64::from(wheel.slot_ticks);
            while self.wheels[place].cursor < now_slot {
                *looks = looks.checked_sub(1)?;
                let wheel = self.wheels[place];
                let sentinel = wheel.sentinel(wheel.cursor);
                let handle = self.nodes[sentinel as usize].next;
                if handle == sentinel {
                    self.wheels[place].cursor += 1;
                    continue;
                }
                self.unlink(handle);
                let node = &mut self.nodes[handle as usize];
                let silent = (now as u32).wrapping_sub(node.heard);
                let left = wheel.idle.saturating_sub(silent);
                if left > 0 {
                    self.link(handle, &wheel, now + u64::from(left));
                    continue;
                }
                node.heard = now as u32;
                self.link(handle, &wheel, now + u64::from(wheel.idle));
                let node = &mut self.nodes[handle as usize];
                return node.owner.map(|owner| (owner, &mut node.note));
            }
            next_look = next_look.min((now_slot + 1) * u64::from(wheel.slot_ticks));
        }
        self.next_look = next_look;
        None
    }

    /// Appends a node to the slot of its deadline, which is reached when all of the slot's time is over.
    fn link(&mut self, handle: u32, wheel: &Wheel, deadline: u64) {
        // A worker that stood still finds the hand of its wheel behind; what would lap it is looked at early.
        let last = wheel.cursor + SLOTS - 1;
        let slot = (deadline / u64::from(wheel.slot_ticks)).min(last);
        let sentinel = wheel.sentinel(slot);
        let prev = self.nodes[sentinel as usize].prev;
        self.nodes[handle as usize].next = sentinel;
        self.nodes[handle as usize].prev = prev;
        self.nodes[prev as usize].next = handle;
        self.nodes[sentinel as usize].prev = handle;
    }

    fn unlink(&mut self, handle: u32) {
        let Node { next, prev, .. } = self.nodes[handle as usize];
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
    }
}

impl Wheel {
    const fn sentinel(&self, slot: u64) -> u32 {
        self.first + (slot % SLOTS) as u32
    }
}

const fn tick(now: Instant) -> u64 {
    now.as_ns() >> TICK_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 5_000_000_000;
    const IDLE: Duration = Duration::from_secs(64);

    fn at(ms: u64) -> Instant {
        Instant::from_ms(START_MS + ms)
    }

    fn due(timers: &mut IdleTimers<u32>, ms: u64) -> Vec<u32> {
        let mut looks = u32::MAX;
        let next = || timers.take_due(at(ms), &mut looks).map(|(owner, _)| owner);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn silence_is_noticed_within_a_part_of_its_time() {
        let mut timers = IdleTimers::new(10, &[IDLE, IDLE / 8], at(0));
        timers.begin(0, 3, 33, at(500));
        timers.begin(1, 4, 44, at(500));
        assert_eq!(due(&mut timers, 8_400), [0; 0]);
        assert_eq!(due(&mut timers, 8_800), [44]);
        assert_eq!(due(&mut timers, 64_300), [44]);
        assert_eq!(due(&mut timers, 66_600), [33]);
        assert_eq!(
            due(&mut timers, 66_700),
            [0; 0],
            "it has as much time again"
        );
        timers.end(4);
        assert_eq!(due(&mut timers, 140_000), [33]);
        timers.end(3);
        assert_eq!(due(&mut timers, 300_000), [0; 0]);
    }

    #[test]
    fn who_is_heard_of_is_left_alone() {
        let mut timers = IdleTimers::new(10, &[IDLE], at(0));
        timers.begin(0, 0, 0, at(0));
        timers.begin(0, 1, 1, at(0));
        for ms in (0..64_000).step_by(1000) {
            timers.hear(0, at(ms));
            assert_eq!(due(&mut timers, ms), [0; 0], "{ms}");
        }
        assert_eq!(due(&mut timers, 66_000), [1]);
        assert_eq!(due(&mut timers, 127_000), [0; 0]);
        assert_eq!(due(&mut timers, 129_000), [0]);
    }

    #[test]
    fn a_turn_looks_at_no_more_than_it_may_and_none_is_forgotten() {
        let mut timers = IdleTimers::new(1000, &[IDLE], at(0));
        for handle in 0..1000 {
            timers.begin(0, handle, handle, at(u64::from(handle)));
        }
        // The worker stands still for much longer than the wheel goes round, and more begin while it lags.
        let (mut all, mut turns) = (Vec::new(), 0);
        while all.len() < 1000 {
            let mut looks = 10;
            while let Some((owner, _)) = timers.take_due(at(1_000_000), &mut looks) {
                all.push(owner);
                timers.end(owner);
                timers.begin(0, owner, owner, at(1_000_000));
            }
            turns += 1;
        }
        assert!(turns >= 100, "{turns}");
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        assert_eq!(due(&mut timers, 1_063_000), [0; 0]);
        assert_eq!(due(&mut timers, 1_066_000).len(), 1000);
    }

    #[test]
    fn a_note_stays_until_the_connection_is_heard_of_or_ends() {
        let mut timers = IdleTimers::new(1, &[IDLE], at(0));
        assert_eq!(timers.end(0), 0);
        timers.begin(0, 0, 0, at(0));
        let (_, note) = timers.take_due(at(70_000), &mut 100).expect("due");
        *note = 7;
        assert_eq!((timers.end(0), timers.end(0)), (7, 0));
        timers.begin(0, 0, 0, at(70_000));
        let (_, note) = timers.take_due(at(140_000), &mut 100).expect("due");
        *note = 7;
        timers.hear(0, at(140_001));
        assert_eq!(timers.end(0), 0);
        timers.begin(0, 0, 0, at(140_001));
        let (_, note) = timers.take_due(at(210_000), &mut 100).expect("due");
        *note = ENDED;
        timers.hear(0, at(210_001));
        assert_eq!(timers.end(0), ENDED);
        let mut none = IdleTimers::<u32>::new(1000, &[], at(0));
        none.begin(0, 5, 5, at(0));
        assert_eq!((none.nodes.len(), due(&mut none, 1_000_000)), (0, vec![]));
    }
}
