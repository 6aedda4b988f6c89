//! [`Pair`]: the two slabs of one kind, IPv4 and IPv6, behind one [`Entry`]; and [`Queue`], their order by deadline.
//!
//! It must never be given an entry of another kind.

use core::num::NonZeroU32;

use crate::memory::{MemoryError, PageOptions};

use super::Records;
use super::index::Entry;
use super::key::FlowKey;
use super::layout::{Body, Head, Queued, Record};
use super::record::TickMs;
use super::slab::{NONE, Slab, SlabRecord, in_use};

/// All records of one kind.
#[derive(Debug)]
pub(super) struct Pair<B: Body> {
    v4: Slab<B::V4>,
    v6: Slab<B::V6>,
}

/// Runs one expression on the slab of the entry's family.
macro_rules! on_family {
    ($entry:expr, $pair:ident, $slab:ident => $body:expr) => {
        if $entry.is_v6() {
            let $slab = &$pair.v6;
            $body
        } else {
            let $slab = &$pair.v4;
            $body
        }
    };
    ($entry:expr, mut $pair:ident, $slab:ident => $body:expr) => {
        if $entry.is_v6() {
            let $slab = &mut $pair.v6;
            $body
        } else {
            let $slab = &mut $pair.v4;
            $body
        }
    };
}

impl<B: Body> Pair<B> {
    pub(super) fn new(capacity: Records, options: PageOptions) -> Result<Self, MemoryError> {
        Ok(Self {
            v4: Slab::new(capacity.v4, options)?,
            v6: Slab::new(capacity.v6, options)?,
        })
    }

    /// Takes a record for `key` and fills it. `None` when the slab of that family is full.
    #[inline]
    pub(super) fn alloc(&mut self, key: &FlowKey, body: &B) -> Option<Entry> {
        let v6 = key.is_v6();
        let index = if v6 {
            self.v6.alloc()?
        } else {
            self.v4.alloc()?
        };
        let entry = Entry::new(B::KIND, v6, index);
        on_family!(entry, mut self, slab => {
            let record = slab.get_mut(index);
            record.head_mut().set_key(key);
            record.head_mut().set_level(0);
            *record.body_mut() = *body;
        });
        Some(entry)
    }

    #[inline]
    pub(super) fn free(&mut self, entry: Entry) {
        on_family!(entry, mut self, slab => slab.free(entry.index()));
    }

    /// The generation of the record if it is in use and that of `key`.
    #[inline(always)]
    pub(super) fn check(&self, entry: Entry, key: &FlowKey) -> Option<NonZeroU32> {
        if entry.is_v6() != key.is_v6() {
            return None;
        }
        on_family!(entry, self, slab => {
            let head = slab.get(entry.index()).head();
            if head.is(key) { in_use(head.generation()) } else { None }
        })
    }

    #[inline]
    pub(super) fn key(&self, entry: Entry) -> FlowKey {
        on_family!(entry, self, slab => slab.get(entry.index()).head().key())
    }

    /// The generation of a record in use.
    #[inline(always)]
    pub(super) fn generation(&self, entry: Entry) -> Option<NonZeroU32> {
        on_family!(entry, self, slab => slab.generation(entry.index()))
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, entry: Entry) {
        on_family!(entry, self, slab => slab.prefetch(entry.index()));
    }

    #[inline]
    pub(super) fn body(&self, entry: Entry) -> &B {
        on_family!(entry, self, slab => slab.get(entry.index()).body())
    }

    #[inline]
    pub(super) fn body_mut(&mut self, entry: Entry) -> &mut B {
        on_family!(entry, mut self, slab => slab.get_mut(entry.index()).body_mut())
    }

    #[inline]
    pub(super) fn link(&self, entry: Entry) -> u32 {
        on_family!(entry, self, slab => slab.get(entry.index()).link())
    }

    #[inline]
    pub(super) fn set_link(&mut self, entry: Entry, link: u32) {
        on_family!(entry, mut self, slab => slab.get_mut(entry.index()).set_link(link));
    }

    #[inline]
    pub(super) fn level(&self, entry: Entry) -> u16 {
        on_family!(entry, self, slab => slab.get(entry.index()).head().level())
    }

    #[inline]
    pub(super) fn set_level(&mut self, entry: Entry, level: u16) {
        on_family!(entry, mut self, slab => slab.get_mut(entry.index()).head_mut().set_level(level));
    }

    pub(super) fn len(&self) -> Records {
        Records {
            v4: self.v4.len(),
            v6: self.v6.len(),
        }
    }

    pub(super) fn capacity(&self) -> Records {
        Records {
            v4: self.v4.capacity(),
            v6: self.v6.capacity(),
        }
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.v4.reserved_bytes() + self.v6.reserved_bytes()
    }
}

impl<B: Body> Pair<B>
where
    B::V4: Queued,
    B::V6: Queued,
{
    #[inline]
    pub(super) fn deadline(&self, entry: Entry) -> TickMs {
        on_family!(entry, self, slab => slab.get(entry.index()).deadline())
    }

    fn set_deadline(&mut self, entry: Entry, deadline: TickMs) {
        on_family!(entry, mut self, slab => slab.get_mut(entry.index()).set_deadline(deadline));
    }

    fn previous(&self, entry: Entry) -> u32 {
        on_family!(entry, self, slab => slab.get(entry.index()).previous())
    }

    fn set_previous(&mut self, entry: Entry, previous: u32) {
        on_family!(entry, mut self, slab => slab.get_mut(entry.index()).set_previous(previous));
    }
}

/// Records of one kind in the order in which they were put in, both families together: a list through the records.
///
/// Each record waits equally long from its entry into the queue, so the order is that of the deadlines too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    /// Bits of the oldest entry, or [`NONE`].
    oldest: u32,
    youngest: u32,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            oldest: NONE,
            youngest: NONE,
        }
    }

    #[inline]
    pub(super) fn oldest(&self) -> Option<Entry> {
        (self.oldest != NONE).then(|| Entry::from_bits(self.oldest))
    }

    /// All entries, the oldest first.
    pub(super) fn entries<B: Body>(&self, pair: &Pair<B>) -> impl Iterator<Item = Entry>
    where
        B::V4: Queued,
        B::V6: Queued,
    {
        core::iter::successors(self.oldest(), |&entry| {
            let next = pair.link(entry);
            (next != NONE).then(|| Entry::from_bits(next))
        })
    }

    /// Puts an entry that stands in no queue behind the youngest.
    pub(super) fn push<B: Body>(&mut self, pair: &mut Pair<B>, entry: Entry, deadline: TickMs)
    where
        B::V4: Queued,
        B::V6: Queued,
    {
        pair.set_deadline(entry, deadline);
        pair.set_previous(entry, self.youngest);
        pair.set_link(entry, NONE);
        if self.youngest == NONE {
            self.oldest = entry.bits();
        } else {
            pair.set_link(Entry::from_bits(self.youngest), entry.bits());
        }
        self.youngest = entry.bits();
    }

    /// Takes an entry out of this queue, in which it stands.
    pub(super) fn unlink<B: Body>(&mut self, pair: &mut Pair<B>, entry: Entry)
    where
        B::V4: Queued,
        B::V6: Queued,
    {
        let (previous, next) = (pair.previous(entry), pair.link(entry));
        if previous == NONE {
            self.oldest = next;
        } else {
            pair.set_link(Entry::from_bits(previous), next);
        }
        if next == NONE {
            self.youngest = previous;
        } else {
            pair.set_previous(Entry::from_bits(next), previous);
        }
    }
}
