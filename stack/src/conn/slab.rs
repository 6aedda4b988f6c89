//! [`Slab`]: records of one layout with O(1) alloc and free, a free list inside the free records, and generations.
//!
//! It must never hand out a record that is in use, and never let an index outlive its record unnoticed: each allocation
//! and each release changes the record's generation.

use core::num::NonZeroU32;

use crate::memory::{MemoryError, PageOptions, Paged, Pages, prefetch_read};

use super::index::MAX_SLAB_RECORDS;

/// No record: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A record that a slab can keep.
pub(super) trait SlabRecord: Paged {
    /// Odd while the record is in use, even while it is free. Written by the slab alone.
    fn generation(&self) -> u32;
    fn set_generation(&mut self, generation: u32);
    /// A word that holds the free list while the record is free, and is the owner's otherwise.
    fn link(&self) -> u32;
    fn set_link(&mut self, link: u32);
}

/// The generation of a record in use, which is odd; `None` for that of a free one.
#[inline(always)]
pub(super) fn in_use(generation: u32) -> Option<NonZeroU32> {
    if generation & 1 == 1 {
        NonZeroU32::new(generation)
    } else {
        None
    }
}

/// A fixed number of records.
#[derive(Debug)]
pub(super) struct Slab<R: SlabRecord> {
    records: Pages<R>,
    capacity: u32,
    /// Head of the free list: the record released last, which is likely still in the cache.
    free: u32,
    /// Records from here on have never been used: nothing was written there, so they cost no memory yet.
    fresh: u32,
    len: u32,
}

impl<R: SlabRecord> Slab<R> {
    /// `capacity` is at most [`MAX_SLAB_RECORDS`] − 1.
    pub(super) fn new(capacity: u32, options: PageOptions) -> Result<Self, MemoryError> {
        if capacity >= MAX_SLAB_RECORDS {
            return Err(MemoryError::TooLarge {
                elements: capacity as usize,
                element_bytes: size_of::<R>(),
            });
        }
        let records = Pages::zeroed(capacity as usize, options)?;
        Ok(Self {
            records,
            capacity,
            free: NONE,
            fresh: 0,
            len: 0,
        })
    }

    /// Takes a record; all but generation and link hold what they held before. `None` when all are in use.
    #[inline]
    pub(super) fn alloc(&mut self) -> Option<u32> {
        let index = if self.free != NONE {
            self.free
        } else if self.fresh < self.capacity {
            self.fresh
        } else {
            return None;
        };
        let record = self.records.get_mut(index as usize);
        if self.free != NONE {
            self.free = record.link();
        } else {
            self.fresh += 1;
        }
        record.set_generation(record.generation().wrapping_add(1));
        record.set_link(NONE);
        self.len += 1;
        Some(index)
    }

    /// Gives a record back. The caller has checked that it is in use.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        let free = self.free;
        let record = self.records.get_mut(index as usize);
        debug_assert!(record.generation() & 1 == 1, "record {index} freed twice");
        record.set_generation(record.generation().wrapping_add(1));
        record.set_link(free);
        self.free = index;
        self.len -= 1;
    }

    /// The generation of a record in use; `None` for a free one, or beyond the end.
    #[inline]
    pub(super) fn generation(&self, index: u32) -> Option<NonZeroU32> {
        if index >= self.capacity {
            return None;
        }
        in_use(self.get(index).generation())
    }

    /// The record at `index`.
    ///
    /// # Panics
    /// When `index` is beyond the capacity: entries of our own index never are.
    #[inline(always)]
    pub(super) fn get(&self, index: u32) -> &R {
        self.records.get(index as usize)
    }

    /// The record at `index`, for writing.
    ///
    /// # Panics
    /// As for [`Slab::get`].
    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut R {
        self.records.get_mut(index as usize)
    }

    /// Starts loading a record. Its second line, where it has one, follows by the hardware's own prefetch.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: u32) {
        prefetch_read(self.get(index));
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.records.reserved_bytes()
    }
}
