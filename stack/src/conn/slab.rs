//! [`Slabs`]: all records, in a slab for each family, with O(1) alloc and free, a free list inside the free records, and
//! generations.
//!
//! It must never hand out a record that is in use, and never let an index outlive its record unnoticed: each allocation
//! and each release changes the record's generation.

use core::num::NonZeroU32;

use crate::memory::{MemoryError, PageOptions, Pages, prefetch_read};

use super::index::{Entry, MAX_SLAB_RECORDS};
use super::key::FlowKey;
use super::layout::{Family, Record, RecordV4, RecordV6};

/// No record: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// The generation of a record in use, which is odd; `None` for that of a free one.
#[inline(always)]
pub(super) fn in_use(generation: u32) -> Option<NonZeroU32> {
    if generation & 1 == 1 {
        NonZeroU32::new(generation)
    } else {
        None
    }
}

/// A fixed number of records of one family.
#[derive(Debug)]
struct Slab<R: Family> {
    records: Pages<R>,
    capacity: u32,
    /// Head of the free list: the record released last, which is likely still in the cache.
    free: u32,
    /// Records from here on have never been used: nothing was written there, so they cost no memory yet.
    fresh: u32,
}

impl<R: Family> Slab<R> {
    fn new(capacity: u64, options: PageOptions) -> Result<Self, MemoryError> {
        let small = u32::try_from(capacity).ok();
        let capacity = small
            .filter(|&capacity| capacity < MAX_SLAB_RECORDS)
            .ok_or(MemoryError::TooLarge {
                elements: usize::try_from(capacity).unwrap_or(usize::MAX),
                element_bytes: size_of::<R>(),
            })?;
        let records = Pages::zeroed(capacity as usize, options)?;
        Ok(Self {
            records,
            capacity,
            free: NONE,
            fresh: 0,
        })
    }

    /// Takes a record for `key`; all but key, generation and link hold what they held before. `None` when all are in use.
    #[inline(always)]
    fn alloc(&mut self, key: &FlowKey) -> Option<(u32, &mut Record)> {
        let index = if self.free != NONE {
            self.free
        } else if self.fresh < self.capacity {
            self.fresh
        } else {
            return None;
        };
        let place = self.records.get_mut(index as usize);
        place.set_key(key);
        let record = place.record_mut();
        if self.free != NONE {
            self.free = record.link;
        } else {
            self.fresh += 1;
        }
        record.generation = record.generation.wrapping_add(1);
        record.link = NONE;
        Some((index, record))
    }

    #[inline]
    fn free(&mut self, index: u32) {
        let record = self.records.get_mut(index as usize).record_mut();
        debug_assert!(record.generation & 1 == 1, "record {index} freed twice");
        record.generation = record.generation.wrapping_add(1);
        record.link = self.free;
        self.free = index;
    }

    #[inline(always)]
    fn get(&self, index: u32) -> &R {
        self.records.get(index as usize)
    }
}

/// All records, for a burst of look-ups.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    v4: &'a [RecordV4],
    v6: &'a [RecordV6],
}

impl View<'_> {
    /// As [`Slabs::get`].
    #[inline(always)]
    pub(super) fn get(&self, entry: Entry) -> &Record {
        let index = entry.index() as usize;
        if entry.is_v6() {
            self.v6[index].record()
        } else {
            self.v4[index].record()
        }
    }

    /// As [`Slabs::prefetch`].
    #[inline(always)]
    pub(super) fn prefetch(&self, entry: Entry) {
        let index = entry.index() as usize;
        if entry.is_v6() {
            prefetch_read(&self.v6[index]);
        } else {
            prefetch_read(&self.v4[index]);
        }
    }
}

/// All records.
#[derive(Debug)]
pub(super) struct Slabs {
    v4: Slab<RecordV4>,
    v6: Slab<RecordV6>,
}

impl Slabs {
    /// So many records of IPv4 and of IPv6.
    pub(super) fn new([v4, v6]: [u64; 2], options: PageOptions) -> Result<Self, MemoryError> {
        Ok(Self {
            v4: Slab::new(v4, options)?,
            v6: Slab::new(v6, options)?,
        })
    }

    #[inline(always)]
    pub(super) fn view(&self) -> View<'_> {
        View {
            v4: self.v4.records.as_slice(),
            v6: self.v6.records.as_slice(),
        }
    }

    /// Takes a record for `key`. Its body is the caller's to fill. `None` when all of that family are in use.
    #[inline(always)]
    pub(super) fn alloc(&mut self, key: &FlowKey) -> Option<(Entry, &mut Record)> {
        let v6 = key.is_v6();
        let (index, record) = if v6 {
            self.v6.alloc(key)?
        } else {
            self.v4.alloc(key)?
        };
        Some((Entry::new(v6, index), record))
    }

    /// Gives a record back. The caller has seen that it is in use.
    #[inline]
    pub(super) fn free(&mut self, entry: Entry) {
        if entry.is_v6() {
            self.v6.free(entry.index());
        } else {
            self.v4.free(entry.index());
        }
    }

    /// The record at `entry`.
    ///
    /// # Panics
    /// When `entry` is beyond the capacity: entries of our own index never are.
    #[inline(always)]
    pub(super) fn get(&self, entry: Entry) -> &Record {
        if entry.is_v6() {
            self.v6.get(entry.index()).record()
        } else {
            self.v4.get(entry.index()).record()
        }
    }

    /// The record at `entry`, for writing.
    ///
    /// # Panics
    /// As for [`Slabs::get`].
    #[inline(always)]
    pub(super) fn get_mut(&mut self, entry: Entry) -> &mut Record {
        let index = entry.index() as usize;
        if entry.is_v6() {
            self.v6.records.get_mut(index).record_mut()
        } else {
            self.v4.records.get_mut(index).record_mut()
        }
    }

    /// The record at `entry` if it is that of `key`; perhaps it is a free one.
    #[inline(always)]
    pub(super) fn check(&self, entry: Entry, key: &FlowKey) -> Option<&Record> {
        if entry.is_v6() != key.is_v6() {
            return None;
        }
        if entry.is_v6() {
            let place = self.v6.get(entry.index());
            place.is(key).then(|| place.record())
        } else {
            let place = self.v4.get(entry.index());
            place.is(key).then(|| place.record())
        }
    }

    #[inline]
    pub(super) fn key(&self, entry: Entry) -> FlowKey {
        if entry.is_v6() {
            self.v6.get(entry.index()).key()
        } else {
            self.v4.get(entry.index()).key()
        }
    }

    /// Starts loading a record. Its second line, where it has one, follows by the hardware's own prefetch.
    #[inline(always)]
    pub(super) fn prefetch(&self, entry: Entry) {
        self.view().prefetch(entry);
    }

    /// The number of a record among those of both families.
    #[inline(always)]
    pub(super) const fn number(&self, entry: Entry) -> u32 {
        if entry.is_v6() {
            self.v4.capacity + entry.index()
        } else {
            entry.index()
        }
    }

    /// The record of this number; `None` for one that was never used, which stays untouched.
    #[inline]
    pub(super) fn numbered(&self, number: u32) -> Option<Entry> {
        let (v6, index, fresh) = match number.checked_sub(self.v4.capacity) {
            None => (false, number, self.v4.fresh),
            Some(index) => (true, index, self.v6.fresh),
        };
        (index < fresh).then(|| Entry::new(v6, index))
    }

    /// The first number from this one on whose record was ever used; `None` behind the last.
    pub(super) fn used_from(&self, number: u32) -> Option<u32> {
        if number < self.v4.fresh {
            return Some(number);
        }
        let number = number.max(self.v4.capacity);
        (number - self.v4.capacity < self.v6.fresh).then_some(number)
    }

    /// One past the highest number of a record.
    pub(super) const fn numbers(&self) -> u32 {
        self.v4.capacity + self.v6.capacity
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.v4.records.reserved_bytes() + self.v6.records.reserved_bytes()
    }
}
