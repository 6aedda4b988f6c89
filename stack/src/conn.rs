//! [`ConnTable`]: every connection of one worker, found by its flow with one or two cache misses.
//!
//! It must never allocate after construction, never rehash, and never give access to a record through a reference that
//! has become stale.
//!
//! An [`index`] of 64-byte buckets leads from a keyed hash to an entry: family and index of a record. The record stays there
//! from the SYN, or our connect, to the end of TIME-WAIT; what changes is its kind (embryo, open, parked, TIME-WAIT) and the
//! body that goes with it. A holder of a record has
//!
//! * a [`Found`] (entry, generation and kind) within a turn of the loop: it goes stale when the kind changes or the record ends;
//! * a [`ConnId`] for longer: it stays good while the connection is open or parked.
//!
//! Looking up a burst, in the order that hides the misses: [`ConnTable::prefetch_bucket`] for all frames, then
//! [`ConnTable::probe`] for all (it prefetches the record), then [`ConnTable::confirm`] for all.

// The key of a flow, and its hash.
pub mod key;
// One line of the index.
pub mod bucket;
// From hash to entry.
pub mod index;
// The contents of each kind.
pub mod record;
// Fields of records that keep a number rounded.
pub mod rounded;
// Between those and the numbers of `tcp`.
pub mod condense;
// How that lies in memory.
mod layout;
// All records.
mod slab;
// Their order by deadline.
mod deadline_queue;
// Which places of an array are free.
mod numbers;
mod output_list;
// How many records of each kind there may be.
mod places;
// Birth, change and end of records.
pub(crate) mod lifecycle;
// Which cookies have opened a connection.
pub mod spent_cookies;
// The open connections: protocol, queues, timers.
pub mod connection;
pub mod connections;
// Which connections give way while places in the queues are scarce.
pub mod pressure;
/// Which open connections rest.
mod rest;
/// Open connections that have nothing to do.
pub mod resting;

#[cfg(test)]
mod tests;

use core::fmt;
use core::num::NonZeroU32;

use crate::local::listener::ListenerId;
use crate::memory::{MemoryError, PageOptions};
use crate::time::Instant;

pub use index::{Entry, Probe};
pub use key::{FlowHash, FlowHasher, FlowKey};
pub use record::{
    ConnFlags, Embryo, EndDue, Kind, Open, Parked, ShortUs, StateNumber, TickMs, TimeWait,
    WindowShifts,
};
pub use resting::Rest;
pub use rounded::{AnswerTicks, ParkedWindows};

use deadline_queue::DeadlineQueue;
use index::Index;
use layout::{Body, Record};
use places::Places;
use record::Slot;
use slab::{Slabs, in_use};

/// Queues of embryos: one for each number of SYN-ACK retransmissions, 0 to 7. Few are sent anyway: each one is a
/// reflection if the SYN was spoofed.
pub const EMBRYO_LEVELS: u8 = 8;

/// A number of records for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Records {
    /// IPv4 records.
    pub v4: u32,
    /// IPv6 records.
    pub v6: u32,
}

impl Records {
    /// Both families together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.v4 as u64 + self.v6 as u64
    }
}

/// How many records of each kind a table holds at most. The records of each family are fewer than 2^29
/// (`MAX_SLAB_RECORDS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// Embryos.
    pub embryos: Records,
    /// Open connections.
    pub open: Records,
    /// Parked connections. Of each family there are never more connections, open and parked together, than the larger of
    /// these two numbers says.
    pub parked: Records,
    /// Connections in TIME-WAIT.
    pub time_wait: Records,
}

impl Capacity {
    /// So many of each kind.
    #[must_use]
    pub const fn of_each(records: Records) -> Self {
        Self {
            embryos: records,
            open: records,
            parked: records,
            time_wait: records,
        }
    }

    /// Connections of each family at most, open and parked together. An open one that parks, or a parked one that is unparked, is the
    /// same connection.
    #[must_use]
    pub const fn connections(&self) -> Records {
        const fn larger(a: u32, b: u32) -> u32 {
            if a > b { a } else { b }
        }
        Records {
            v4: larger(self.open.v4, self.parked.v4),
            v6: larger(self.open.v6, self.parked.v6),
        }
    }

    /// Records of IPv4 and of IPv6: so many that no kind takes a place from another.
    const fn families(&self) -> [u64; 2] {
        let connections = self.connections();
        let (embryos, time_wait) = (self.embryos, self.time_wait);
        [
            embryos.v4 as u64 + connections.v4 as u64 + time_wait.v4 as u64,
            embryos.v6 as u64 + connections.v6 as u64 + time_wait.v6 as u64,
        ]
    }

    /// All records together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let [v4, v6] = self.families();
        v4 + v6
    }
}

/// No record of that kind and family is free. What to do about it (recycle, cookie, drop) is policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFull {
    /// The kind that is full.
    pub kind: Kind,
    /// Whether it is of IPv6.
    pub v6: bool,
}

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        write!(f, "all {family} records of kind {:?} are in use", self.kind)
    }
}

impl core::error::Error for TableFull {}

/// A record could not change its kind; it is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveError {
    /// The kind that it should become has no free record.
    Full(TableFull),
    /// The reference is stale, or the record is of another kind.
    Stale,
}

impl From<TableFull> for MoveError {
    fn from(full: TableFull) -> Self {
        Self::Full(full)
    }
}

/// A record that was found: good until its kind changes or it ends, and checked wherever it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Found {
    /// The entry, and the kind above it.
    place: u32,
    generation: NonZeroU32,
}

const _: () = assert!(size_of::<Option<Found>>() == 8);

impl Found {
    #[inline(always)]
    const fn new(entry: Entry, kind: Kind, generation: NonZeroU32) -> Self {
        Self {
            place: (kind as u32) << Entry::BITS | entry.bits(),
            generation,
        }
    }

    /// The kind of the record when it was found.
    #[must_use]
    #[inline]
    pub const fn kind(self) -> Kind {
        Kind::from_bits((self.place >> Entry::BITS) as u8)
    }

    /// Where the record stands.
    #[must_use]
    #[inline]
    pub const fn entry(self) -> Entry {
        Entry::from_bits(self.place & ((1 << Entry::BITS) - 1))
    }

    /// Whether the record that stands there now is still what was found.
    #[inline(always)]
    const fn is_of(self, record: &Record) -> bool {
        record.generation == self.generation.get() && record.kind() as u8 == self.kind() as u8
    }
}

/// The owner of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// An open connection, whose `Tcb` stands there.
    Open(Slot),
    /// A record of another kind.
    Other(Found),
    /// No record where it was looked for first.
    Nothing,
}

/// The name of a connection for as long as it is open or parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    handle: u32,
    generation: NonZeroU32,
}

impl ConnId {
    /// The number of the connection's record, below [`Capacity::total`]: an index for timers and lists, reused after the
    /// connection's end.
    #[must_use]
    #[inline]
    pub const fn handle(self) -> u32 {
        self.handle
    }
}

/// All connections of one worker.
///
/// Lookup and access stand here; insertion, changes, removal, names and queues in `conn/lifecycle.rs`.
#[derive(Debug)]
pub struct ConnTable {
    index: Index,
    slabs: Slabs,
    places: Places,
    embryo_queues: [DeadlineQueue; EMBRYO_LEVELS as usize],
    /// IPv4, IPv6: a family that is out of records recycles its own.
    time_wait_queues: [DeadlineQueue; 2],
    /// No embryo is due before; it may be too early, never too late. So most turns ask no queue.
    embryos_due: Instant,
    /// The same of connections in TIME-WAIT.
    time_waits_due: Instant,
    inserted: u64,
}

/// A table as the look-up stage reads it: where its parts begin is read once for a burst.
#[derive(Clone, Copy)]
pub(crate) struct TableView<'a> {
    index: index::View<'a>,
    records: slab::View<'a>,
}

impl TableView<'_> {
    /// [`ConnTable::probe`].
    #[inline(always)]
    pub(crate) fn probe(&self, hash: FlowHash) -> Probe {
        let probe = self.index.probe(hash);
        if let Some(entry) = probe.candidate() {
            self.records.prefetch(entry);
        }
        probe
    }

    /// The parts of the connection at `entry`: the app's state, and the place of its `Tcb`, which has none while it is
    /// parked. `None` for other kinds. The record itself is read.
    #[inline(always)]
    pub(crate) fn belongings(&self, entry: Entry) -> Option<(StateNumber, Slot)> {
        const NOWHERE: Slot = Slot(u32::MAX);
        let record = self.records.get(entry);
        let kind = record.kind() as u8;
        if kind == Kind::Open as u8 {
            return Some((StateNumber(record.link), Open::of(record).slot));
        }
        (kind == Kind::Parked as u8).then_some((StateNumber(record.link), NOWHERE))
    }
}

/// Nothing is due.
const NEVER: Instant = Instant::from_ns(u64::MAX);

/// Construction and the look-up stage.
impl ConnTable {
    /// A table with room for `capacity` records. All memory is taken here.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got that much, or a capacity exceeds what an entry can address.
    pub fn new(capacity: &Capacity, options: PageOptions) -> Result<Self, MemoryError> {
        let slabs = Slabs::new(capacity.families(), options)?;
        Ok(Self {
            index: Index::new(slabs.numbers(), options)?,
            slabs,
            places: Places::new(capacity),
            embryo_queues: [DeadlineQueue::EMPTY; EMBRYO_LEVELS as usize],
            time_wait_queues: [DeadlineQueue::EMPTY; 2],
            embryos_due: NEVER,
            time_waits_due: NEVER,
            inserted: 0,
        })
    }

    /// The table for a burst of look-ups.
    #[inline(always)]
    pub(crate) fn view(&self) -> TableView<'_> {
        TableView {
            index: self.index.view(),
            records: self.slabs.view(),
        }
    }

    /// First pass over a burst: starts loading the bucket of `hash`.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: FlowHash) {
        self.index.view().prefetch(hash);
    }

    /// Second pass: reads the bucket, and starts loading the record that its tag points to, if any.
    #[inline(always)]
    #[must_use]
    pub fn probe(&self, hash: FlowHash) -> Probe {
        self.view().probe(hash)
    }

    /// Third pass: compares the key. Looks further only where the bucket says that there may be more.
    ///
    /// The answer is that of [`ConnTable::lookup`] as long as the table hasn't changed since the probe. Within a burst
    /// it may have: check a `Found` by using it (every access does), and look a `None` up again when
    /// [`ConnTable::inserted`] has changed since the probe.
    #[inline(always)]
    #[must_use]
    pub fn confirm(&self, key: &FlowKey, hash: FlowHash, probe: Probe) -> Option<Found> {
        if let Some(entry) = probe.candidate()
            && let Some(found) = self.check(entry, key)
        {
            return Some(found);
        }
        if probe.more() {
            self.search(key, hash)
        } else {
            None
        }
    }

    /// The record where `probe` points first, if that is the one of `key`, and the place of an open connection's `Tcb`:
    /// its record is at hand. Where it is nothing, [`ConnTable::lookup_further`] says the last word.
    #[inline(always)]
    #[must_use]
    pub(crate) fn meet(&self, key: &FlowKey, probe: Probe) -> Met {
        if let Some(entry) = probe.candidate()
            && let Some(record) = self.slabs.check(entry, key)
            && let Some(generation) = in_use(record.generation)
        {
            return match record.kind() {
                Kind::Open => Met::Open(Open::of(record).slot),
                kind => Met::Other(Found::new(entry, kind, generation)),
            };
        }
        Met::Nothing
    }

    /// [`ConnTable::lookup`] where there mostly is nothing.
    #[inline(always)]
    #[must_use]
    pub(crate) fn lookup_further(&self, key: &FlowKey, hash: FlowHash) -> Option<Found> {
        if self.index.view().probe(hash).is_miss() {
            return None;
        }
        self.search(key, hash)
    }

    /// The record of `key`, whose hash is `hash`, without any batching.
    #[must_use]
    #[inline]
    pub fn lookup(&self, key: &FlowKey, hash: FlowHash) -> Option<Found> {
        self.confirm(key, hash, self.index.view().probe(hash))
    }

    /// Every entry that may be the key's, in every bucket where it may be.
    #[cold]
    #[inline(never)]
    fn search(&self, key: &FlowKey, hash: FlowHash) -> Option<Found> {
        self.index.find(hash, |entry| self.check(entry, key))
    }

    /// Starts loading a record.
    #[inline(always)]
    pub fn prefetch_record(&self, entry: Entry) {
        self.slabs.prefetch(entry);
    }

    /// The record at `entry`, if it is that of `key`.
    #[inline(always)]
    fn check(&self, entry: Entry, key: &FlowKey) -> Option<Found> {
        let record = self.slabs.check(entry, key)?;
        in_use(record.generation).map(|generation| Found::new(entry, record.kind(), generation))
    }

    /// The record that stands at `entry` now, whichever flow it belongs to; `None` when none does.
    ///
    /// # Panics
    /// When `entry` is not one of this table.
    #[inline(always)]
    #[must_use]
    pub fn found(&self, entry: Entry) -> Option<Found> {
        let record = self.slabs.get(entry);
        in_use(record.generation).map(|generation| Found::new(entry, record.kind(), generation))
    }

    /// Whether the record is still there, and of the same kind.
    #[must_use]
    #[inline]
    pub fn is_current(&self, found: Found) -> bool {
        self.record(found).is_some()
    }

    /// The record, unless the reference is stale.
    #[inline(always)]
    fn record(&self, found: Found) -> Option<&Record> {
        let record = self.slabs.get(found.entry());
        found.is_of(record).then_some(record)
    }

    #[inline(always)]
    fn body<B: Body>(&self, found: Found) -> Option<&B> {
        let record = self.record(found)?;
        (found.kind() == B::KIND).then(|| B::of(record))
    }

    #[inline(always)]
    fn body_mut<B: Body>(&mut self, found: Found) -> Option<&mut B> {
        let record = self.slabs.get_mut(found.entry());
        (found.kind() == B::KIND && found.is_of(record)).then(|| B::of_mut(record))
    }

    /// Records inserted since the start: a `None` must be looked up again when this has changed since its probe.
    #[must_use]
    #[inline]
    pub fn inserted(&self) -> u64 {
        self.inserted
    }
}

/// Access to records. Each method answers `None` to a stale reference, and to a record of another kind.
impl ConnTable {
    /// The flow of a record.
    #[must_use]
    #[inline]
    pub fn key(&self, found: Found) -> Option<FlowKey> {
        self.is_current(found)
            .then(|| self.slabs.key(found.entry()))
    }

    /// An embryo.
    #[must_use]
    #[inline]
    pub fn embryo(&self, found: Found) -> Option<&Embryo> {
        self.body(found)
    }

    /// An embryo, for writing.
    #[must_use]
    #[inline]
    pub fn embryo_mut(&mut self, found: Found) -> Option<&mut Embryo> {
        self.body_mut(found)
    }

    /// An open connection.
    #[must_use]
    #[inline]
    pub fn open(&self, found: Found) -> Option<&Open> {
        self.body(found)
    }

    /// The listener that an open or parked connection came from; `None` when we opened it.
    #[must_use]
    pub fn listener(&self, found: Found) -> Option<ListenerId> {
        let number = match found.kind() {
            Kind::Open => return self.opener(found),
            Kind::Parked => self.parked(found)?.listener,
            Kind::Embryo | Kind::TimeWait => return None,
        };
        (number != Open::NO_LISTENER).then_some(ListenerId(number))
    }

    /// The listener that an open connection came from; `None` when we opened it.
    #[must_use]
    #[inline(always)]
    pub fn opener(&self, found: Found) -> Option<ListenerId> {
        let number = self.open(found)?.listener;
        (number != Open::NO_LISTENER).then_some(ListenerId(number))
    }

    /// A parked connection.
    #[must_use]
    #[inline]
    pub fn parked(&self, found: Found) -> Option<&Parked> {
        self.body(found)
    }

    /// A parked connection, for writing.
    #[must_use]
    #[inline]
    pub fn parked_mut(&mut self, found: Found) -> Option<&mut Parked> {
        self.body_mut(found)
    }

    /// A connection in TIME-WAIT.
    #[must_use]
    #[inline]
    pub fn time_wait(&self, found: Found) -> Option<&TimeWait> {
        self.body(found)
    }

    /// A connection in TIME-WAIT, for writing.
    #[must_use]
    #[inline]
    pub fn time_wait_mut(&mut self, found: Found) -> Option<&mut TimeWait> {
        self.body_mut(found)
    }
}
