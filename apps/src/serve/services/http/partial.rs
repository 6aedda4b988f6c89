//! [`Partials`]: heads that arrive in pieces, put together. A head that comes whole in one frame never gets here.
//!
//! Called by: `http`. It must never hold more than its slots: with none free the oldest head gives way, so that peers who
//! never finish can't keep others out.

use std::time::Duration;

use stack::conn::ConnId;
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
struct Slot {
    conn: Option<ConnId>,
    deadline: Instant,
    generation: u32,
    len: u16,
    /// Neighbours in the order of age; `newer` also links free slots.
    older: u16,
    newer: u16,
}

/// All of one worker.
#[derive(Debug)]
pub(super) struct Partials {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    free: u16,
    oldest: u16,
    newest: u16,
}

impl Partials {
    pub(super) fn new() -> Self {
        let slot = |index: u16| Slot {
            conn: None,
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

    /// A slot for the head of `conn`. `None` when none is free: [`Partials::make_room`] first.
    pub(super) fn start(&mut self, conn: ConnId, now: Instant) -> Option<PartialId> {
        let index = self.free;
        let newest = self.newest;
        let slot = self.slots.get_mut(usize::from(index))?;
        self.free = slot.newer;
        slot.conn = Some(conn);
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
    pub(super) fn make_room(&mut self) -> Option<ConnId> {
        (self.free == NONE)
            .then(|| self.take_oldest(None))
            .flatten()
    }

    /// Takes the oldest head away from its connection when its time is up, and says whose it was.
    #[inline]
    pub(super) fn take_late(&mut self, now: Instant) -> Option<ConnId> {
        self.take_oldest(Some(now))
    }

    fn take_oldest(&mut self, at: Option<Instant>) -> Option<ConnId> {
        let oldest = *self.slots.get(usize::from(self.oldest))?;
        if at.is_some_and(|now| now < oldest.deadline) {
            return None;
        }
        self.end(PartialId {
            slot: self.oldest,
            generation: oldest.generation,
        });
        oldest.conn
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

    /// What has come so far.
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
        slot.conn = None;
        slot.generation = slot.generation.wrapping_add(1);
        slot.newer = self.free;
        self.free = id.slot;
    }

    fn held(&mut self, id: PartialId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        (slot.generation == id.generation && slot.conn.is_some()).then_some(slot)
    }
}
