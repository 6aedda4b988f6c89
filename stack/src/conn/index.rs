//! [`Index`]: from the hash of a flow to its [`Entry`] (family and slab index) with one cache line read.
//!
//! It must never allocate, rehash or move an entry after construction, and never refuse an entry below its capacity.
//!
//! A bucket of ten slots is chosen by the hash. When it is full, the entry goes to the first later bucket with room
//! (the next line in memory), and each full bucket on the way counts it under one of eight classes of its hash. A
//! lookup that finds no match goes on only where the count of its class isn't zero, so a miss reads one line nearly
//! always (the idea is that of F14's outbound overflow counts; the classes are what makes high loads cheap).

use crate::memory::{MemoryError, PageOptions, Pages, prefetch_read};

use super::bucket::{BUCKET_ENTRIES, Bucket, slots};
use super::key::FlowHash;

/// Share of slots in use at full capacity, in percent.
///
/// Measured at 10 M entries: a burst of misses costs 20.5 ns a lookup at 60, 22 at 70, 26 at 80, and no less at 50; after
/// churn at full capacity 5 % of the misses read a second line at 60, 13 % at 70. An entry costs 10.7 bytes here, 9.1 at
/// 70: little beside its record.
pub const LOAD_PERCENT: u64 = 60;

/// Where a record stands, for its whole life: IPv6 in bit 29, index into the slab of its family below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry(u32);

/// Records of one family that an [`Entry`] can tell apart.
pub const MAX_SLAB_RECORDS: u32 = 1 << 29;

impl Entry {
    /// Bits that an entry has.
    pub(super) const BITS: u32 = 30;

    const V6_BIT: u32 = 1 << 29;

    /// `index` must be below [`MAX_SLAB_RECORDS`]: the slab's capacity sees to it.
    #[inline]
    pub(super) const fn new(v6: bool, index: u32) -> Self {
        Self((v6 as u32) << 29 | index)
    }

    /// The entry with these bits, as a [`Bucket`] keeps them.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the record has the IPv6 layout.
    #[must_use]
    #[inline]
    pub const fn is_v6(self) -> bool {
        self.0 & Self::V6_BIT != 0
    }

    /// Index into the slab of that family.
    #[must_use]
    #[inline]
    pub const fn index(self) -> u32 {
        self.0 & (Self::V6_BIT - 1)
    }
}

/// The answer of the home bucket about a hash, before any record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The first entry whose tag matches; meaningless unless `state` says so.
    first: Entry,
    /// [`Probe::MATCHED`] and [`Probe::MORE`].
    state: u32,
}

impl Probe {
    /// A probe that found nothing: what a frame without a key carries.
    pub const MISS: Self = Self {
        first: Entry(0),
        state: 0,
    };

    /// `first` is an entry.
    const MATCHED: u32 = 1;
    /// Others may match, here or where entries of this class overflowed to: a lookup can't stop at `first`.
    const MORE: u32 = 2;

    /// The first record whose tag matches; whether its key does is for `confirm` to say.
    #[must_use]
    #[inline(always)]
    pub const fn candidate(&self) -> Option<Entry> {
        if self.state & Self::MATCHED != 0 {
            Some(self.first)
        } else {
            None
        }
    }

    /// Whether the key is nowhere, as far as the table has been the same since.
    #[must_use]
    #[inline(always)]
    pub const fn is_miss(&self) -> bool {
        self.state == 0
    }

    /// Whether the key may be elsewhere when it isn't the candidate's.
    #[inline(always)]
    pub(super) const fn more(&self) -> bool {
        self.state & Self::MORE != 0
    }
}

/// How full the index is and what that costs. For reports and tests: it walks all buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexStats {
    /// Buckets, of 64 bytes each.
    pub buckets: u32,
    /// Entries in use.
    pub entries: u32,
    /// Buckets whose slots are all in use.
    pub full_buckets: u32,
    /// Of eight classes per bucket, those under which a miss goes on to the next line.
    pub overflowing_classes: u32,
    /// Overflow counts that stuck at their maximum since start.
    pub stuck_counts: u64,
}

/// The buckets as one slice, for a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    buckets: &'a [Bucket],
}

impl View<'_> {
    #[inline(always)]
    fn home(&self, hash: FlowHash) -> usize {
        hash.bucket(self.buckets.len() as u32) as usize
    }

    /// Starts loading the home bucket of `hash`.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: FlowHash) {
        prefetch_read(&self.buckets[self.home(hash)]);
    }

    /// Compares the tags of the home bucket; reads nothing else.
    #[inline(always)]
    pub(super) fn probe(&self, hash: FlowHash) -> Probe {
        let home = self.home(hash);
        let bucket = &self.buckets[home];
        let matches = bucket.matches(hash.tag());
        if matches == 0 {
            let overflows = bucket.overflows(hash.overflow_class());
            if overflows {
                // The walk will go there; by then it should have come.
                prefetch_read(&self.buckets[next(home, self.buckets.len())]);
            }
            return Probe {
                first: Entry(0),
                state: if overflows { Probe::MORE } else { 0 },
            };
        }
        let first = Entry(bucket.entry(matches.trailing_zeros() as usize));
        // Whether there can be more is asked only where this isn't it, which is rare.
        Probe {
            first,
            state: Probe::MATCHED | Probe::MORE,
        }
    }
}

/// The index proper.
#[derive(Debug)]
pub struct Index {
    buckets: Pages<Bucket>,
    bucket_count: u32,
    len: u32,
    capacity: u32,
    stuck_counts: u64,
}

impl Index {
    /// An index for at least `capacity` entries.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got that much.
    pub fn new(capacity: u32, options: PageOptions) -> Result<Self, MemoryError> {
        let slots = u64::from(capacity) * 100 / LOAD_PERCENT + 1;
        let bucket_count = slots.div_ceil(BUCKET_ENTRIES as u64) as u32;
        let buckets = Pages::zeroed(bucket_count as usize, options)?;
        Ok(Self {
            buckets,
            bucket_count,
            len: 0,
            capacity,
            stuck_counts: 0,
        })
    }

    /// The buckets for a burst of probes: the slice is taken once.
    #[inline(always)]
    pub(super) fn view(&self) -> View<'_> {
        View {
            buckets: self.buckets.as_slice(),
        }
    }

    /// The result of `accept` for the first entry of `hash` that it accepts.
    #[inline]
    pub fn find<T>(&self, hash: FlowHash, mut accept: impl FnMut(Entry) -> Option<T>) -> Option<T> {
        let buckets = self.buckets.as_slice();
        let (tag, class) = (hash.tag(), hash.overflow_class());
        let mut at = hash.bucket(self.bucket_count) as usize;
        for _ in 0..self.bucket_count {
            let bucket = &buckets[at];
            for slot in slots(bucket.matches(tag)) {
                if let Some(accepted) = accept(Entry(bucket.entry(slot))) {
                    return Some(accepted);
                }
            }
            if !bucket.overflows(class) {
                return None;
            }
            at = next(at, buckets.len());
        }
        None
    }

    /// Adds an entry, or says false when the index is at capacity. The caller knows that it isn't in there yet.
    #[inline(always)]
    pub(super) fn insert(&mut self, hash: FlowHash, entry: Entry) -> bool {
        if self.len == self.capacity {
            return false;
        }
        let bucket = self
            .buckets
            .get_mut(hash.bucket(self.bucket_count) as usize);
        let Some(slot) = bucket.empty_slot() else {
            return self.insert_beyond(hash, entry);
        };
        bucket.fill(slot, hash.tag(), entry.0);
        self.len += 1;
        true
    }

    /// The same where the first bucket may be full.
    #[inline(never)]
    fn insert_beyond(&mut self, hash: FlowHash, entry: Entry) -> bool {
        let buckets = self.buckets.as_mut_slice();
        let count = buckets.len();
        let mut at = hash.bucket(self.bucket_count) as usize;
        // Ends: fewer entries than slots, and the walk comes by every bucket.
        loop {
            let bucket = &mut buckets[at];
            if let Some(slot) = bucket.empty_slot() {
                bucket.fill(slot, hash.tag(), entry.0);
                self.len += 1;
                return true;
            }
            self.stuck_counts += u64::from(bucket.overflow_add(hash.overflow_class()));
            at = next(at, count);
        }
    }

    /// Removes exactly this entry, or says false when it isn't there under this hash.
    pub(super) fn remove(&mut self, hash: FlowHash, entry: Entry) -> bool {
        let Some((end, slot)) = self.locate(hash, entry) else {
            return false;
        };
        let buckets = self.buckets.as_mut_slice();
        let count = buckets.len();
        let mut at = hash.bucket(self.bucket_count) as usize;
        while at != end {
            buckets[at].overflow_remove(hash.overflow_class());
            at = next(at, count);
        }
        buckets[end].clear(slot);
        self.len -= 1;
        true
    }

    /// Bucket and slot of exactly this entry.
    fn locate(&self, hash: FlowHash, entry: Entry) -> Option<(usize, usize)> {
        let buckets = self.buckets.as_slice();
        let mut at = hash.bucket(self.bucket_count) as usize;
        for _ in 0..self.bucket_count {
            if let Some(slot) = buckets[at].slot_of(hash.tag(), entry.0) {
                return Some((at, slot));
            }
            if !buckets[at].overflows(hash.overflow_class()) {
                return None;
            }
            at = next(at, buckets.len());
        }
        None
    }

    /// Entries in use.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory itself: for benchmarks that measure what the bare lines cost.
    #[must_use]
    #[inline]
    pub fn buckets(&self) -> &[Bucket] {
        self.buckets.as_slice()
    }

    /// Counts what is where. Walks all buckets.
    #[must_use]
    pub fn stats(&self) -> IndexStats {
        let mut stats = IndexStats {
            buckets: self.bucket_count,
            entries: self.len,
            stuck_counts: self.stuck_counts,
            ..IndexStats::default()
        };
        for bucket in self.buckets.as_slice() {
            stats.full_buckets += u32::from(bucket.matches(0) == 0);
            stats.overflowing_classes +=
                (0..8).map(|c| u32::from(bucket.overflows(c))).sum::<u32>();
        }
        stats
    }

    /// Address space taken, in bytes.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.buckets.reserved_bytes()
    }
}

/// The bucket after `at`; the last is followed by the first.
#[inline]
const fn next(at: usize, count: usize) -> usize {
    if at + 1 == count { 0 } else { at + 1 }
}
