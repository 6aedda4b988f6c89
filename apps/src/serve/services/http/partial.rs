//! [`Partials`]: heads that arrive in pieces, put together. A head that comes whole in one frame never gets here.
//!
//! It must never hold more than its slots: with none free the oldest head gives way, so that peers who never finish
//! can't keep others out.

use std::time::Duration;

use stack::time::Instant;

/// Bytes of a head at most.
pub(super) const HEAD_MAX: usize = 8192;
/// Heads in pieces at once, on one worker: 8 MB, which the system gives when they are used.
const SLOTS: u16 = 1024;
/// How long a head may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// No slot.
const NONE: u16 = u16::MAX;

/// A slot, as long as it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartialId {
    slot: u16,
    generation: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot<C> {
    owner: Option<C>,
    deadline: Instant,
    generation: u32,
    len: u16,
    /// Neighbours in the order of age; `newer` also links free slots.
    older: u16,
    newer: u16,
}

/// All of one worker, each held by a `C`.
#[derive(Debug)]
pub(super) struct Partials<C> {
    bytes: Vec<u8>,
    slots: Vec<Slot<C>>,
    free: u16,
    oldest: u16,
    newest: u16,
}

impl<C: Copy> Partials<C> {
    pub(super) fn new() -> Self {
        let slot = |index: u16| Slot {
            owner: None,
            deadline: Instant::from_ns(0),
            generation: 0,
            len: 0,
            older: NONE,
            newer: if index + 1 == SLOTS { NONE } else { index + 1 },
        };
        Self {
            bytes: vec![0; usize::from(SLOTS) * HEAD_MAX],
            slots: (0..SLOTS).map(slot).collect(),
            free: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// A slot for a head of `owner`. `None` when none is free: [`Partials::make_room`] first.
    pub(super) fn start(&mut self, owner: C, now: Instant) -> Option<PartialId> {
        let index = self.free;
        let newest = self.newest;
        let slot = self.slots.get_mut(usize::from(index))?;
        self.free = slot.newer;
        slot.owner = Some(owner);
        slot.deadline = now + PATIENCE;
        slot.len = 0;
        slot.older = newest;
        slot.newer = NONE;
        let generation = slot.generation;
        match self.slots.get_mut(usize::from(newest)) {
            Some(before) => before.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        Some(PartialId {
            slot: index,
            generation,
        })
    }

    /// Takes the oldest head away from its connection when no slot is free, and says whose it was.
    pub(super) fn make_room(&mut self) -> Option<C> {
        if self.free != NONE {
            return None;
        }
        let oldest = *self.slots.get(usize::from(self.oldest))?;
        self.end(PartialId {
            slot: self.oldest,
            generation: oldest.generation,
        });
        oldest.owner
    }

    /// Appends what fits, and says how much that was; `None` when the slot was taken away.
    pub(super) fn append(&mut self, id: PartialId, piece: &[u8]) -> Option<usize> {
        let slot = self.held(id)?;
        let len = usize::from(slot.len);
        let take = piece.len().min(HEAD_MAX - len);
        // At most HEAD_MAX.
        slot.len += take as u16;
        let start = usize::from(id.slot) * HEAD_MAX + len;
        self.bytes[start..start + take].copy_from_slice(&piece[..take]);
        Some(take)
    }

    /// The bytes received so far.
    pub(super) fn bytes(&self, id: PartialId) -> &[u8] {
        let start = usize::from(id.slot) * HEAD_MAX;
        match self.slots.get(usize::from(id.slot)) {
            Some(slot) if slot.generation == id.generation => {
                &self.bytes[start..start + usize::from(slot.len)]
            }
            _ => &[],
        }
    }

    /// Gives the slot back.
    pub(super) fn end(&mut self, id: PartialId) {
        let Some(&mut Slot { older, newer, .. }) = self.held(id) else {
            return;
        };
        match self.slots.get_mut(usize::from(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(usize::from(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        let slot = &mut self.slots[usize::from(id.slot)];
        slot.owner = None;
        slot.generation = slot.generation.wrapping_add(1);
        slot.newer = self.free;
        self.free = id.slot;
    }

    /// When the time of a head is up; `None` when the slot was taken away.
    pub(super) fn deadline(&self, id: PartialId) -> Option<Instant> {
        let slot = self.slots.get(usize::from(id.slot))?;
        let is_held = slot.generation == id.generation && slot.owner.is_some();
        is_held.then_some(slot.deadline)
    }

    fn held(&mut self, id: PartialId) -> Option<&mut Slot<C>> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        (slot.generation == id.generation && slot.owner.is_some()).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_ms(1);

    #[test]
    fn pieces_come_together_and_slots_come_back() {
        let mut partials = Partials::new();
        let id = partials.start('a', START).expect("a slot");
        assert_eq!(partials.append(id, b"GET / "), Some(6));
        assert_eq!(partials.append(id, b"HTTP"), Some(4));
        assert_eq!(partials.bytes(id), b"GET / HTTP");
        assert_eq!(partials.append(id, &[b'a'; HEAD_MAX]), Some(HEAD_MAX - 10));
        partials.end(id);
        assert_eq!(
            (partials.append(id, b"x"), partials.bytes(id)),
            (None, &b""[..])
        );
        let again = partials.start('a', START).expect("a slot");
        assert!(again != id && partials.bytes(again).is_empty());
        for _ in 1..SLOTS {
            assert!(partials.start('a', START).is_some());
        }
        assert_eq!(partials.start('a', START), None);
    }

    #[test]
    fn the_oldest_gives_way_when_all_are_held() {
        let mut partials = Partials::new();
        let start = |at_ms| {
            partials
                .start(at_ms, Instant::from_ms(at_ms))
                .expect("a slot")
        };
        let ids: Vec<PartialId> = (0..u64::from(SLOTS)).map(start).collect();
        // One in the middle ends by itself: then there is room without force.
        partials.end(ids[500]);
        assert_eq!(partials.make_room(), None);
        partials
            .start(5000, Instant::from_ms(5000))
            .expect("a slot");
        assert_eq!(partials.make_room(), Some(0));
        assert_eq!(partials.append(ids[0], b"x"), None);
        assert_eq!(partials.append(ids[1], b"x"), Some(1));
        let late_at = Instant::from_ms(1) + PATIENCE;
        assert_eq!(partials.deadline(ids[0]), None);
        assert_eq!(partials.deadline(ids[1]), Some(late_at));
        assert_eq!(partials.append(ids[2], b"x"), Some(1));
    }
}
