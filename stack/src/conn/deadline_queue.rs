//! [`DeadlineQueue`]: records in the order of their deadlines, a list through the records themselves.
//!
//! It must never hold a record that is neither an embryo nor in TIME-WAIT: others keep something else in these words.

use super::index::Entry;
use super::layout::Record;
use super::record::TickMs;
use super::slab::{NONE, Slabs};

/// Records in the order in which they were put in, both families together.
///
/// Each record waits equally long from its entry into the queue, so the order is that of the deadlines too.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineQueue {
    /// Bits of the oldest entry, or [`NONE`].
    oldest: u32,
    youngest: u32,
}

/// Between which two a record stands in its queue: bits of their entries, or [`NONE`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbors {
    previous: u32,
    next: u32,
}

impl Neighbors {
    /// Those of this record, which stands in a queue.
    #[inline(always)]
    pub(super) const fn of(record: &Record) -> Self {
        Self {
            previous: record.previous(),
            next: record.link,
        }
    }
}

impl DeadlineQueue {
    pub(super) const EMPTY: Self = Self {
        oldest: NONE,
        youngest: NONE,
    };

    #[inline]
    pub(super) fn oldest(&self) -> Option<Entry> {
        (self.oldest != NONE).then(|| Entry::from_bits(self.oldest))
    }

    /// All entries, the oldest first.
    pub(super) fn entries(&self, slabs: &Slabs) -> impl Iterator<Item = Entry> {
        core::iter::successors(self.oldest(), |&entry| {
            let next = slabs.get(entry).link;
            (next != NONE).then(|| Entry::from_bits(next))
        })
    }

    /// Puts an entry that stands in no queue behind the youngest.
    #[inline]
    pub(super) fn push(&mut self, slabs: &mut Slabs, entry: Entry, deadline: TickMs) {
        self.prepare(slabs.get_mut(entry), deadline);
        self.append(slabs, entry);
    }

    /// The first half of [`DeadlineQueue::push`]: what the record is to say.
    #[inline(always)]
    pub(super) const fn prepare(&self, record: &mut Record, deadline: TickMs) {
        record.set_deadline(deadline);
        record.set_previous(self.youngest);
        record.link = NONE;
    }

    /// The second half: what the others say.
    #[inline(always)]
    pub(super) fn append(&mut self, slabs: &mut Slabs, entry: Entry) {
        if self.youngest == NONE {
            self.oldest = entry.bits();
        } else {
            slabs.get_mut(Entry::from_bits(self.youngest)).link = entry.bits();
        }
        self.youngest = entry.bits();
    }

    /// Closes the gap that a record leaves which stood in this queue, between these two.
    #[inline]
    pub(super) fn unlink(&mut self, slabs: &mut Slabs, Neighbors { previous, next }: Neighbors) {
        if previous == NONE {
            self.oldest = next;
        } else {
            slabs.get_mut(Entry::from_bits(previous)).link = next;
        }
        if next == NONE {
            self.youngest = previous;
        } else {
            slabs.get_mut(Entry::from_bits(next)).set_previous(previous);
        }
    }
}
