//! [`ConnTable`]: every connection of one worker, found by its flow with one or two cache misses.
//!
//! It must never allocate after construction, never rehash, and never give access to a record through a reference that
//! has become stale.
//!
//! An [`index`] of 64-byte buckets leads from a keyed hash to an entry: kind, family and slab index. Behind it stand four
//! kinds of record (embryo, open, parked, TIME-WAIT), each with a slab for either family. A record that changes its kind
//! moves to another slab and its entry changes in place. Who holds on to a record holds
//!
//! * a [`Found`] (entry and generation) within a turn of the loop: it goes stale when the record moves or ends;
//! * a [`ConnId`] for longer: it stays good while the connection is open or parked.
//!
//! Looking up a burst, in the order that hides the misses: [`ConnTable::prefetch_bucket`] for all frames, then
//! [`ConnTable::probe`] for all (it prefetches the record), then [`ConnTable::confirm`] for all.

// What names a flow, and its hash.
pub mod key;
// One line of the index.
pub mod bucket;
// From hash to entry.
pub mod index;
// What each kind remembers.
pub mod record;
// Fields of records that keep a number rounded.
pub mod rounded;
// Between those and the numbers of `tcp`.
pub mod condense;
// How that lies in memory.
mod layout;
// Records of one layout.
mod slab;
// Records of one kind, and their order by deadline.
mod pair;
// Birth, change and end of records.
mod lifecycle;
// Which cookies have opened a connection.
pub mod spent_cookies;
// The open connections: protocol, queues, timers.
pub mod connection;
pub mod connections;
// Who gives way while places in the queues are scarce.
pub mod pressure;

#[cfg(test)]
mod tests;

use core::fmt;
use core::num::NonZeroU32;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::local::listener::ListenerId;
use crate::memory::{MemoryError, PageOptions, paged};
use crate::time::Instant;

pub use index::{Entry, Kind, Probe};
pub use key::{FlowHash, FlowHasher, FlowKey};
pub use record::{
    ConnFlags, Embryo, EndDue, Open, Parked, ShortUs, TickMs, TimeWait, WindowShifts,
};
pub use rounded::{AnswerTicks, ParkedWindows};

use index::Index;
use pair::{Pair, Queue};
use slab::{Slab, SlabRecord};

/// Queues of embryos: one for each number of SYN-ACK retransmissions, 0 to 7. Few are sent anyway: each one is a
/// reflection if the SYN was spoofed.
pub const EMBRYO_LEVELS: u16 = 8;

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

/// How many records of each kind a table holds at most. Each number, and the connections of both families together, is
/// below 2^29 ([`index::MAX_SLAB_RECORDS`]); all together are below 2^32.
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

    /// All records together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.embryos.total() + self.open.total() + self.parked.total() + self.time_wait.total()
    }
}

/// No record of that kind and family is free. What to do about it (recycle, cookie, drop) is policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFull {
    /// The kind that is full.
    pub kind: Kind,
    /// Whether it is the IPv6 slab.
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
pub enum MoveError {
    /// The kind that it should become has no free record.
    Full(TableFull),
    /// The reference is stale, or the record is of another kind, or the hash isn't that of its key.
    Stale,
}

impl From<TableFull> for MoveError {
    fn from(full: TableFull) -> Self {
        Self::Full(full)
    }
}

/// A record that was found: good until it moves or ends, and checked wherever it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Found {
    entry: Entry,
    generation: NonZeroU32,
}

impl Found {
    /// The kind of the record.
    #[must_use]
    #[inline]
    pub const fn kind(self) -> Kind {
        self.entry.kind()
    }

    /// Where the record stands.
    #[must_use]
    #[inline]
    pub const fn entry(self) -> Entry {
        self.entry
    }
}

/// A connection, open or parked, under a name that survives its moves between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    handle: u32,
    generation: NonZeroU32,
}

impl ConnId {
    /// The number of the connection, below [`Capacity::connections`] of both families: an index for timers and the dirty list,
    /// reused after the connection's end.
    #[must_use]
    #[inline]
    pub const fn handle(self) -> u32 {
        self.handle
    }
}

/// Where a connection stands now.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct HandleSlot {
    /// Bits of the entry; the next free handle while the handle is free.
    location: u32,
    generation: u32,
}

paged!(HandleSlot);

const _: () = assert!(size_of::<HandleSlot>() == 8 && size_of::<Option<Found>>() == 8);

impl SlabRecord for HandleSlot {
    #[inline]
    fn generation(&self) -> u32 {
        self.generation
    }
    #[inline]
    fn set_generation(&mut self, generation: u32) {
        self.generation = generation;
    }
    #[inline]
    fn link(&self) -> u32 {
        self.location
    }
    #[inline]
    fn set_link(&mut self, link: u32) {
        self.location = link;
    }
}

/// All connections of one worker.
///
/// Lookup and access stand here; insertion, moves, removal, names and queues in `conn/lifecycle.rs`.
#[derive(Debug)]
pub struct ConnTable {
    index: Index,
    embryos: Pair<Embryo>,
    open: Pair<Open>,
    parked: Pair<Parked>,
    time_wait: Pair<TimeWait>,
    handles: Slab<HandleSlot>,
    /// Connections at most, see [`Capacity::connections`].
    connections: Records,
    embryo_queues: [Queue; EMBRYO_LEVELS as usize],
    /// IPv4, IPv6: a family that is out of records recycles its own.
    time_wait_queues: [Queue; 2],
    /// No embryo is due before; it may be too early, never too late. So most turns ask no queue.
    embryos_due: Instant,
    /// The same of connections in TIME-WAIT.
    time_waits_due: Instant,
    inserted: u64,
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
        let too_large = |records: u64, element_bytes| MemoryError::TooLarge {
            elements: usize::try_from(records).unwrap_or(usize::MAX),
            element_bytes,
        };
        let total = u32::try_from(capacity.total()).map_err(|_| too_large(capacity.total(), 8))?;
        let connections = capacity.connections();
        let handles =
            u32::try_from(connections.total()).map_err(|_| too_large(connections.total(), 8))?;
        Ok(Self {
            index: Index::new(total, options)?,
            embryos: Pair::new(capacity.embryos, options)?,
            open: Pair::new(capacity.open, options)?,
            parked: Pair::new(capacity.parked, options)?,
            time_wait: Pair::new(capacity.time_wait, options)?,
            handles: Slab::new(handles, options)?,
            connections,
            embryo_queues: [Queue::new(); EMBRYO_LEVELS as usize],
            time_wait_queues: [Queue::new(); 2],
            embryos_due: NEVER,
            time_waits_due: NEVER,
            inserted: 0,
        })
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
        let probe = self.index.view().probe(hash);
        if let Some(entry) = probe.candidate() {
            self.prefetch_record(entry);
        }
        probe
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
        match entry.kind() {
            Kind::Embryo => self.embryos.prefetch(entry),
            Kind::Open => self.open.prefetch(entry),
            Kind::Parked => self.parked.prefetch(entry),
            Kind::TimeWait => self.time_wait.prefetch(entry),
        }
    }

    /// The record at `entry`, if it is that of `key`.
    #[inline(always)]
    fn check(&self, entry: Entry, key: &FlowKey) -> Option<Found> {
        let generation = match entry.kind() {
            Kind::Embryo => self.embryos.check(entry, key),
            Kind::Open => self.open.check(entry, key),
            Kind::Parked => self.parked.check(entry, key),
            Kind::TimeWait => self.time_wait.check(entry, key),
        };
        generation.map(|generation| Found { entry, generation })
    }

    /// The record that stands at `entry` now, whoever's it is; `None` when none does.
    ///
    /// # Panics
    /// When `entry` is not one of this table.
    #[inline(always)]
    #[must_use]
    pub fn found(&self, entry: Entry) -> Option<Found> {
        let generation = match entry.kind() {
            Kind::Embryo => self.embryos.generation(entry),
            Kind::Open => self.open.generation(entry),
            Kind::Parked => self.parked.generation(entry),
            Kind::TimeWait => self.time_wait.generation(entry),
        };
        generation.map(|generation| Found { entry, generation })
    }

    /// Whether the record is still there, unmoved.
    #[must_use]
    #[inline]
    pub fn is_current(&self, found: Found) -> bool {
        self.found(found.entry) == Some(found)
    }

    /// Records put in place since the start, by insertion or by a move to another kind: a `None` must be looked up again
    /// when this has changed since its probe.
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
    pub fn key(&self, found: Found) -> Option<FlowKey> {
        self.is_current(found).then(|| match found.kind() {
            Kind::Embryo => self.embryos.key(found.entry),
            Kind::Open => self.open.key(found.entry),
            Kind::Parked => self.parked.key(found.entry),
            Kind::TimeWait => self.time_wait.key(found.entry),
        })
    }

    /// An embryo.
    #[must_use]
    #[inline]
    pub fn embryo(&self, found: Found) -> Option<&Embryo> {
        self.is_live(found, Kind::Embryo)
            .then(|| self.embryos.body(found.entry))
    }

    /// An embryo, for writing.
    #[must_use]
    #[inline]
    pub fn embryo_mut(&mut self, found: Found) -> Option<&mut Embryo> {
        self.is_live(found, Kind::Embryo)
            .then(|| self.embryos.body_mut(found.entry))
    }

    /// An open connection.
    #[must_use]
    #[inline]
    pub fn open(&self, found: Found) -> Option<&Open> {
        self.is_live(found, Kind::Open)
            .then(|| self.open.body(found.entry))
    }

    /// The listener that an open or parked connection came from; `None` when we opened it.
    #[must_use]
    pub fn listener(&self, found: Found) -> Option<ListenerId> {
        let number = match found.kind() {
            Kind::Open => self.open(found)?.listener,
            Kind::Parked => self.parked(found)?.listener,
            Kind::Embryo | Kind::TimeWait => return None,
        };
        (number != Open::NO_LISTENER).then_some(ListenerId(number))
    }

    /// A parked connection.
    #[must_use]
    #[inline]
    pub fn parked(&self, found: Found) -> Option<&Parked> {
        self.is_live(found, Kind::Parked)
            .then(|| self.parked.body(found.entry))
    }

    /// A parked connection, for writing.
    #[must_use]
    #[inline]
    pub fn parked_mut(&mut self, found: Found) -> Option<&mut Parked> {
        self.is_live(found, Kind::Parked)
            .then(|| self.parked.body_mut(found.entry))
    }

    /// A connection in TIME-WAIT.
    #[must_use]
    #[inline]
    pub fn time_wait(&self, found: Found) -> Option<&TimeWait> {
        self.is_live(found, Kind::TimeWait)
            .then(|| self.time_wait.body(found.entry))
    }

    /// A connection in TIME-WAIT, for writing.
    #[must_use]
    #[inline]
    pub fn time_wait_mut(&mut self, found: Found) -> Option<&mut TimeWait> {
        self.is_live(found, Kind::TimeWait)
            .then(|| self.time_wait.body_mut(found.entry))
    }

    #[inline]
    fn is_live(&self, found: Found, kind: Kind) -> bool {
        found.kind() == kind && self.is_current(found)
    }
}
