//! [`TimerWheel`]: a hierarchical timing wheel, one node per timer, intrusive by index (Varghese and Lauck, 1987).
//!
//! It must never allocate after creation, never fire early, and never walk what isn't due.
//!
//! Eight levels of 64 slots; a slot of level n spans 64^n ticks, and together they span every [`Instant`]. A node sits in
//! the level of the highest digit (base 64) in which its tick differs from the wheel's, and moves down when the wheel's
//! time reaches its slot. So all slots of a level come before all those of the next, and none wraps around. Slots are
//! circular lists with a sentinel each, so a node is unlinked without knowing where it is.

use zerocopy::{FromBytes, FromZeros};

use crate::memory::MemoryError;
use crate::time::Instant;

/// One tick in nanoseconds: 2^16, about 66 us. Deadlines are rounded up to it.
pub const TICK_NS: u64 = 1 << TICK_BITS;

const TICK_BITS: u32 = 16;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 48 bits of ticks: all that 64 bits of nanoseconds have.
const LEVELS: usize = 8;
const TICK_MAX: u64 = u64::MAX >> TICK_BITS;
const SENTINELS: usize = LEVELS * SLOTS + 1;
/// The list of what is due, behind the slots.
const DUE: u32 = (LEVELS * SLOTS) as u32;

/// A list node. All zero while it is new, so that memory which no timer has used isn't there.
#[derive(Debug, Clone, Copy, FromBytes)]
#[repr(C)]
struct Node {
    next: u32,
    prev: u32,
    /// One more than its tick; [`OFF`] while it is in no list.
    after: u64,
}

const OFF: u64 = 0;

/// The wheel. Timers are named by index, 0 up to the capacity.
#[derive(Debug)]
pub struct TimerWheel {
    /// The sentinels, then a node per timer.
    nodes: Box<[Node]>,
    /// A bit per slot that may hold something (a cancelled timer leaves its bit); none behind the wheel's time.
    occupied: [u64; LEVELS],
    /// The tick up to which everything was handled.
    elapsed: u64,
    /// No occupied slot begins before this tick; it may be too early, never too late.
    next_tick: u64,
    armed: u32,
}

impl TimerWheel {
    /// The largest capacity.
    pub const CAPACITY_MAX: u32 = u32::MAX - SENTINELS as u32;
    /// Bytes of one timer.
    pub const TIMER_BYTES: usize = size_of::<Node>();

    /// A wheel for `capacity` timers, none armed, whose time starts at `now`. The only allocation: [`TimerWheel::TIMER_BYTES`] a
    /// timer, which become resident when it is armed for the first time.
    ///
    /// # Errors
    /// [`MemoryError`] when `capacity` exceeds [`TimerWheel::CAPACITY_MAX`], or the system hasn't got the memory.
    pub fn new(capacity: u32, now: Instant) -> Result<Self, MemoryError> {
        let len = SENTINELS + capacity as usize;
        if capacity > Self::CAPACITY_MAX {
            return Err(MemoryError::TooLarge {
                elements: capacity as usize,
                element_bytes: Self::TIMER_BYTES,
            });
        }
        let mut nodes = Node::new_vec_zeroed(len).map_err(|_| MemoryError::Refused {
            bytes: len * Self::TIMER_BYTES,
            source: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        for (i, node) in (0..SENTINELS as u32).zip(&mut nodes) {
            (node.next, node.prev) = (i, i);
        }
        Ok(Self {
            nodes: nodes.into_boxed_slice(),
            occupied: [0; LEVELS],
            elapsed: now.as_ns() >> TICK_BITS,
            next_tick: u64::MAX,
            armed: 0,
        })
    }

    /// How many timers there can be.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        (self.nodes.len() - SENTINELS) as u32
    }

    /// How many are armed.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.armed
    }

    /// Whether none is armed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Whether this timer is armed.
    ///
    /// # Panics
    /// If `index` is not below the capacity; so do [`TimerWheel::arm`] and [`TimerWheel::cancel`].
    #[must_use]
    pub fn is_armed(&self, index: u32) -> bool {
        self.nodes[Self::node(index) as usize].after != OFF
    }

    /// Arms a timer, or moves it. A deadline that has passed fires at the next poll. O(1).
    #[inline]
    pub fn arm(&mut self, index: u32, deadline: Instant) {
        let node = Self::node(index);
        let tick = Self::tick(deadline);
        let old = self.nodes[node as usize].after;
        if old == tick + 1 {
            return;
        }
        if old != OFF {
            self.unlink(node);
        } else {
            self.armed += 1;
        }
        self.nodes[node as usize].after = tick + 1;
        self.link(node, tick);
    }

    /// Makes sure that a timer fires by `deadline`: one that fires earlier already stays. O(1).
    #[inline]
    pub fn arm_by(&mut self, index: u32, deadline: Instant) {
        let after = self.nodes[Self::node(index) as usize].after;
        let fires_by = after != OFF && after <= Self::tick(deadline) + 1;
        if !fires_by {
            self.arm(index, deadline);
        }
    }

    /// Whether a timer with this deadline fires at `now`.
    #[must_use]
    #[inline]
    pub fn is_due(deadline: Instant, now: Instant) -> bool {
        Self::tick(deadline) <= now.as_ns() >> TICK_BITS
    }

    #[inline]
    fn tick(deadline: Instant) -> u64 {
        deadline.as_ns().div_ceil(TICK_NS).min(TICK_MAX)
    }

    /// Disarms a timer; nothing happens if it isn't armed. O(1).
    #[inline]
    pub fn cancel(&mut self, index: u32) {
        let node = Self::node(index);
        if self.nodes[node as usize].after != OFF {
            self.disarm(node);
        }
    }

    /// Takes one timer that is due at `now`, disarmed; `None` when there is none. Between two calls timers may be armed
    /// and cancelled at will. A clock that goes back finds nothing due.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.advance(now.as_ns() >> TICK_BITS);
        let node = self.nodes[DUE as usize].next;
        if node == DUE {
            return None;
        }
        self.disarm(node);
        Some(node - SENTINELS as u32)
    }

    /// Calls `fire` for every timer that is due at `now`, disarmed already, in no particular order within a tick.
    pub fn poll(&mut self, now: Instant, mut fire: impl FnMut(u32)) {
        while let Some(index) = self.pop_due(now) {
            fire(index);
        }
    }

    /// When [`TimerWheel::pop_due`] is worth calling next, for loops that sleep: no later than the earliest deadline
    /// (rounded up to a tick), perhaps earlier. `None` when nothing is armed.
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        if self.armed == 0 {
            return None;
        }
        let due = self.nodes[DUE as usize].next != DUE;
        let tick = if due {
            self.elapsed
        } else {
            self.next_slot().map_or(self.elapsed, |s| s.tick)
        };
        Some(Instant::from_ns(tick.saturating_mul(TICK_NS)))
    }

    const fn node(index: u32) -> u32 {
        SENTINELS as u32 + index
    }

    fn disarm(&mut self, node: u32) {
        self.unlink(node);
        self.nodes[node as usize].after = OFF;
        self.armed -= 1;
    }

    fn unlink(&mut self, node: u32) {
        let Node { next, prev, .. } = self.nodes[node as usize];
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
    }

    /// Appends the node to the list where its tick belongs, as seen from `elapsed`.
    fn link(&mut self, node: u32, tick: u64) {
        let list = if tick <= self.elapsed {
            DUE
        } else {
            let (level, slot) = place(self.elapsed, tick);
            self.occupied[level] |= 1 << slot;
            let begins = tick & (u64::MAX << (level as u32 * SLOT_BITS));
            //~ A timer brings the wheel's next look at its slots forward; fires_within_a_tick_and_never_early
            self.next_tick = self.next_tick.min(begins);
            (level * SLOTS + slot) as u32
        };
        let prev = self.nodes[list as usize].prev;
        self.nodes[node as usize].next = list;
        self.nodes[node as usize].prev = prev;
        self.nodes[prev as usize].next = node;
        self.nodes[list as usize].prev = node;
    }

    /// Moves the wheel's time to `tick`. Mostly no slot begins on the way.
    #[inline]
    fn advance(&mut self, tick: u64) {
        if tick < self.next_tick {
            self.elapsed = self.elapsed.max(tick);
        } else {
            self.advance_by_slots(tick);
        }
    }

    /// Slot by occupied slot: what is due goes to the due list, the rest a level down.
    #[inline(never)]
    fn advance_by_slots(&mut self, tick: u64) {
        while self.elapsed < tick {
            let next = self.next_slot();
            let Some(slot) = next.filter(|slot| slot.tick <= tick) else {
                self.next_tick = next.map_or(u64::MAX, |slot| slot.tick);
                self.elapsed = tick;
                return;
            };
            self.elapsed = slot.tick;
            self.occupied[slot.level] &= !(1 << slot.index);
            let list = (slot.level * SLOTS + slot.index) as u32;
            let first = self.nodes[list as usize].next;
            let last = self.nodes[list as usize].prev;
            self.nodes[list as usize] = Node {
                next: list,
                prev: list,
                after: OFF,
            };
            if slot.level == 0 {
                self.splice_due(first, last, list); // one tick: all of it is due
                continue;
            }
            let mut node = first;
            while node != list {
                let Node { next, after, .. } = self.nodes[node as usize];
                self.link(node, after - 1); // never into this list: the digit of its level is reached
                node = next;
            }
        }
    }

    /// Appends what was the list `first..=last` of sentinel `list` to the due list, without walking it.
    fn splice_due(&mut self, first: u32, last: u32, list: u32) {
        if first == list {
            return; // its timers were cancelled
        }
        let end = self.nodes[DUE as usize].prev;
        self.nodes[end as usize].next = first;
        self.nodes[first as usize].prev = end;
        self.nodes[last as usize].next = DUE;
        self.nodes[DUE as usize].prev = last;
    }

    /// The occupied slot whose time comes first.
    fn next_slot(&self) -> Option<Slot> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let index = self.occupied[level].trailing_zeros() as usize;
        let shift = SLOT_BITS * level as u32;
        let above = (self.elapsed >> shift >> SLOT_BITS) << SLOT_BITS;
        Some(Slot {
            tick: (above + index as u64) << shift,
            level,
            index,
        })
    }
}

/// A slot and the tick at which it begins.
#[derive(Debug, Clone, Copy)]
struct Slot {
    tick: u64,
    level: usize,
    index: usize,
}

/// The level of the highest digit (base 64) in which `tick` differs from `elapsed`, and that digit of `tick`.
const fn place(elapsed: u64, tick: u64) -> (usize, usize) {
    let bit = 63 - (elapsed ^ tick).leading_zeros();
    let level = bit / SLOT_BITS;
    (
        level as usize,
        (tick >> (level * SLOT_BITS)) as usize % SLOTS,
    )
}

#[cfg(test)]
mod tests;
