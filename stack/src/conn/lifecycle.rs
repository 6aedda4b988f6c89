//! Birth, change and end of records: the methods of [`ConnTable`] that insert, move and remove, and its queues.
//!
//! Each must leave index, slabs, queues and handles agreeing with each other on every path, errors included.
//!
//! Every method that touches the index takes the hash of the record's key: a frame has it at hand, a timer computes it
//! again from [`ConnTable::key`].

use crate::time::Instant;

use super::index::IndexStats;
use super::layout::Body;
use super::pair::Queue;
use super::slab::NONE;
use super::{
    ConnId, ConnTable, EMBRYO_LEVELS, Embryo, Entry, FlowHash, FlowKey, Found, Kind, MoveError,
    NEVER, Open, Parked, Records, TableFull, TickMs, TimeWait,
};

/// Insertion. The caller has looked the key up: a key that is in the table already would get a second record.
impl ConnTable {
    /// Adds an embryo that is due at `deadline` for its first retransmission.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert_embryo(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        embryo: &Embryo,
        deadline: Instant,
    ) -> Result<Found, TableFull> {
        let entry = self.embryos.alloc(key, embryo).ok_or(full::<Embryo>(key))?;
        self.queue_embryo(entry, 0, deadline);
        self.enter(hash, entry)
    }

    /// Adds an open connection: an active open, or the final ACK of a cookie.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert_open(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        open: &Open,
    ) -> Result<Found, TableFull> {
        self.admit::<Open>(key)?;
        let entry = self.open.alloc(key, open).ok_or(full::<Open>(key))?;
        self.name(entry);
        self.enter(hash, entry)
    }

    /// Adds a parked connection.
    ///
    /// # Errors
    /// [`TableFull`].
    pub fn insert_parked(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        parked: &Parked,
    ) -> Result<Found, TableFull> {
        self.admit::<Parked>(key)?;
        let entry = self.parked.alloc(key, parked).ok_or(full::<Parked>(key))?;
        self.name(entry);
        self.enter(hash, entry)
    }

    /// Adds a connection in TIME-WAIT that ends at `deadline`.
    ///
    /// # Errors
    /// [`TableFull`].
    #[cfg(test)]
    pub(super) fn insert_time_wait(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        time_wait: &TimeWait,
        deadline: Instant,
    ) -> Result<Found, TableFull> {
        let entry = self
            .time_wait
            .alloc(key, time_wait)
            .ok_or(full::<TimeWait>(key))?;
        self.queue_time_wait(entry, deadline);
        self.enter(hash, entry)
    }

    /// Whether there may be one more connection of this family.
    fn admit<B: Body>(&self, key: &FlowKey) -> Result<(), TableFull> {
        let (open, parked, most) = (self.open.len(), self.parked.len(), self.connections);
        let has_room = if key.is_v6() {
            open.v6 + parked.v6 < most.v6
        } else {
            //~ No more connections than the limit says: -> `{ let _ = (open.v4, parked.v4, most.v4); true }`;
            //~   there_are_never_more_connections_than_the_limit_says
            open.v4 + parked.v4 < most.v4
        };
        has_room.then_some(()).ok_or(full::<B>(key))
    }

    /// Enters a record into the index. That holds as many entries as there are records, so it always has room.
    fn enter(&mut self, hash: FlowHash, entry: Entry) -> Result<Found, TableFull> {
        let full = TableFull {
            kind: entry.kind(),
            v6: entry.is_v6(),
        };
        if !self.index.insert(hash, entry) {
            self.release(entry);
            return Err(full);
        }
        self.inserted += 1;
        self.found(entry).ok_or(full)
    }
}

/// Moves between kinds. On error nothing has changed. On success the old [`Found`] is stale.
impl ConnTable {
    /// The final ACK came: an embryo becomes an open connection.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn promote(
        &mut self,
        embryo: Found,
        hash: FlowHash,
        open: &Open,
    ) -> Result<Found, MoveError> {
        let key = self.key_of(embryo, Kind::Embryo)?;
        self.admit::<Open>(&key)?;
        let entry = self.open.alloc(&key, open).ok_or(full::<Open>(&key))?;
        self.name(entry);
        self.replace(embryo, hash, entry)
    }

    /// An open connection parks. Its [`ConnId`] stays good.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn park(
        &mut self,
        open: Found,
        hash: FlowHash,
        parked: &Parked,
    ) -> Result<Found, MoveError> {
        let key = self.key_of(open, Kind::Open)?;
        let entry = self
            .parked
            .alloc(&key, parked)
            .ok_or(full::<Parked>(&key))?;
        self.inherit(open.entry, entry);
        self.replace(open, hash, entry)
    }

    /// A parked connection has something to do again. Its [`ConnId`] stays good.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn unpark(
        &mut self,
        parked: Found,
        hash: FlowHash,
        open: &Open,
    ) -> Result<Found, MoveError> {
        let key = self.key_of(parked, Kind::Parked)?;
        let entry = self.open.alloc(&key, open).ok_or(full::<Open>(&key))?;
        self.inherit(parked.entry, entry);
        self.replace(parked, hash, entry)
    }

    /// An open connection enters TIME-WAIT until `deadline`. Its [`ConnId`] ends.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn linger(
        &mut self,
        open: Found,
        hash: FlowHash,
        time_wait: &TimeWait,
        deadline: Instant,
    ) -> Result<Found, MoveError> {
        let key = self.key_of(open, Kind::Open)?;
        let entry = self
            .time_wait
            .alloc(&key, time_wait)
            .ok_or(full::<TimeWait>(&key))?;
        self.queue_time_wait(entry, deadline);
        self.replace(open, hash, entry)
    }

    fn key_of(&self, found: Found, kind: Kind) -> Result<FlowKey, MoveError> {
        let key = self.key(found).filter(|_| found.kind() == kind);
        key.ok_or(MoveError::Stale)
    }

    /// Puts `new` in the place of `old` in the index and releases `old`; or the other way round when `old` isn't there.
    fn replace(&mut self, old: Found, hash: FlowHash, new: Entry) -> Result<Found, MoveError> {
        let replaced = self.index.replace(hash, old.entry, new);
        let (gone, stays) = if replaced {
            (old.entry, new)
        } else {
            (new, old.entry)
        };
        if let Some(handle) = self.handle_of(stays) {
            // A handle that both records name follows the one that stays.
            self.handles.get_mut(handle).location = stays.bits();
            if self.handle_of(gone) == Some(handle) {
                self.link_of(gone, NONE);
            }
        }
        self.release(gone);
        self.inserted += u64::from(replaced);
        let found = if replaced { self.found(new) } else { None };
        found.ok_or(MoveError::Stale)
    }
}

/// Ends.
impl ConnTable {
    /// Removes a record, and ends its [`ConnId`] where it has one. False for a stale reference or a hash that isn't that
    /// of the record's key: nothing changes then.
    pub fn remove(&mut self, found: Found, hash: FlowHash) -> bool {
        let removed = self.is_current(found) && self.index.remove(hash, found.entry);
        if removed {
            self.release(found.entry);
        }
        removed
    }

    /// Gives a record back that the index doesn't know (any more).
    fn release(&mut self, entry: Entry) {
        match entry.kind() {
            Kind::Embryo => {
                let level = usize::from(self.embryos.level(entry));
                self.embryo_queues[level].unlink(&mut self.embryos, entry);
                self.embryos.free(entry);
            }
            Kind::Open | Kind::Parked => {
                if let Some(handle) = self.handle_of(entry) {
                    self.handles.free(handle);
                }
                if entry.kind() == Kind::Open {
                    self.open.free(entry);
                } else {
                    self.parked.free(entry);
                }
            }
            Kind::TimeWait => {
                self.time_wait_queues[family(entry)].unlink(&mut self.time_wait, entry);
                self.time_wait.free(entry);
            }
        }
    }
}

/// Names that survive a move.
impl ConnTable {
    /// The name of an open or parked connection; `None` for other kinds and stale references.
    #[must_use]
    pub fn conn_id(&self, found: Found) -> Option<ConnId> {
        let handle = self.handle(found)?;
        let generation = self.handles.generation(handle)?;
        Some(ConnId { handle, generation })
    }

    /// The handle of an open or parked connection; `None` for other kinds and stale references. Read from the record
    /// itself, so it costs no line beyond that.
    #[must_use]
    #[inline]
    pub fn handle(&self, found: Found) -> Option<u32> {
        self.is_current(found)
            .then(|| self.handle_of(found.entry))?
    }

    /// Starts loading where the name of the connection at `entry` is kept, and says its handle; `None` for other kinds. The
    /// record itself is read.
    #[inline(always)]
    pub fn prefetch_name(&self, entry: Entry) -> Option<u32> {
        let handle = self.handle_of(entry)?;
        self.handles.prefetch(handle);
        Some(handle)
    }

    /// Where a connection is now; `None` when it has ended.
    #[must_use]
    #[inline]
    pub fn locate(&self, id: ConnId) -> Option<Entry> {
        let is_current = self.handles.generation(id.handle) == Some(id.generation);
        is_current.then(|| Entry::from_bits(self.handles.get(id.handle).location))
    }

    /// The record of a connection; `None` when it has ended.
    #[must_use]
    #[inline]
    pub fn resolve(&self, id: ConnId) -> Option<Found> {
        self.found(self.locate(id)?)
    }

    /// The connection under a handle number, with its current name: for timers and lists, which keep only the number and
    /// are disarmed when the connection ends.
    #[must_use]
    pub fn by_handle(&self, handle: u32) -> Option<ConnId> {
        let generation = self.handles.generation(handle)?;
        Some(ConnId { handle, generation })
    }

    /// One past the highest handle number: as many as there may be connections.
    #[must_use]
    pub fn handles(&self) -> u32 {
        self.handles.capacity()
    }

    /// Gives a new open or parked connection its handle. There are as many handles as such records.
    fn name(&mut self, entry: Entry) {
        let handle = self.handles.alloc();
        debug_assert!(handle.is_some(), "fewer handles than connections");
        if let Some(handle) = handle {
            self.handles.get_mut(handle).location = entry.bits();
        }
        self.link_of(entry, handle.unwrap_or(NONE));
    }

    /// Lets the record at `to` share the handle of the one at `from`, until [`ConnTable::replace`] decides.
    fn inherit(&mut self, from: Entry, to: Entry) {
        let handle = self.handle_of(from);
        self.link_of(to, handle.unwrap_or(NONE));
    }

    #[inline]
    fn handle_of(&self, entry: Entry) -> Option<u32> {
        let handle = match entry.kind() {
            Kind::Open => self.open.link(entry),
            Kind::Parked => self.parked.link(entry),
            Kind::Embryo | Kind::TimeWait => NONE,
        };
        (handle != NONE).then_some(handle)
    }

    fn link_of(&mut self, entry: Entry, handle: u32) {
        match entry.kind() {
            Kind::Open => self.open.set_link(entry, handle),
            Kind::Parked => self.parked.set_link(entry, handle),
            Kind::Embryo | Kind::TimeWait => {}
        }
    }
}

/// Queues: what is due, and what is oldest.
impl ConnTable {
    /// An embryo whose deadline has come. The caller retransmits and calls [`ConnTable::requeue_embryo`], or removes it.
    #[must_use]
    #[inline]
    pub fn due_embryo(&mut self, now: Instant) -> Option<Found> {
        if now < self.embryos_due {
            return None;
        }
        self.find_due_embryo(now)
    }

    #[inline(never)]
    fn find_due_embryo(&mut self, now: Instant) -> Option<Found> {
        let tick = TickMs::at(now);
        let mut oldest = self.embryo_queues.iter().filter_map(|queue| queue.oldest());
        match oldest.find(|&entry| self.embryos.deadline(entry).is_due(tick)) {
            Some(due) => self.found(due),
            None => {
                self.embryos_due = self.first_embryo(now).unwrap_or(NEVER);
                None
            }
        }
    }

    fn queue_embryo(&mut self, entry: Entry, level: u16, deadline: Instant) {
        //~ An embryo brings the next look at the queues of embryos forward;
        //~   embryos_fall_due_in_order_and_move_from_queue_to_queue
        self.embryos_due = self.embryos_due.min(deadline);
        let queue = &mut self.embryo_queues[usize::from(level)];
        queue.push(&mut self.embryos, entry, TickMs::deadline(deadline));
    }

    fn queue_time_wait(&mut self, entry: Entry, deadline: Instant) {
        //~ A record of TIME-WAIT brings the next look at their queues forward;
        //~   time_wait_ends_oldest_first_and_a_retransmitted_fin_begins_it_anew
        self.time_waits_due = self.time_waits_due.min(deadline);
        let queue = &mut self.time_wait_queues[family(entry)];
        queue.push(&mut self.time_wait, entry, TickMs::deadline(deadline));
    }

    /// The embryo that has waited longest, more or less: of those retransmitted most often, the first to be so.
    #[cfg(test)]
    pub(super) fn oldest_embryo(&self) -> Option<Found> {
        let oldest = self
            .embryo_queues
            .iter()
            .rev()
            .find_map(|queue| queue.oldest())?;
        self.found(oldest)
    }

    /// SYN-ACK retransmissions of an embryo so far.
    #[must_use]
    pub fn embryo_retransmits(&self, found: Found) -> Option<u16> {
        self.is_live(found, Kind::Embryo)
            .then(|| self.embryos.level(found.entry))
    }

    /// Counts a SYN-ACK retransmission and sets the next deadline. Deadlines of embryos with the same count must come in
    /// the order of these calls (they do when the waiting time depends on the count alone). From
    /// [`EMBRYO_LEVELS`] − 1 on the count stays. False for a stale reference.
    pub fn requeue_embryo(&mut self, found: Found, deadline: Instant) -> bool {
        let Some(level) = self.embryo_retransmits(found) else {
            return false;
        };
        self.embryo_queues[usize::from(level)].unlink(&mut self.embryos, found.entry);
        let level = (level + 1).min(EMBRYO_LEVELS - 1);
        self.embryos.set_level(found.entry, level);
        self.queue_embryo(found.entry, level, deadline);
        true
    }

    /// Whether the time of a connection in TIME-WAIT is over. One compare while the last answer holds.
    #[must_use]
    #[inline]
    pub fn has_due_time_wait(&mut self, now: Instant) -> bool {
        if now >= self.time_waits_due {
            self.time_waits_due = self.first_time_wait(now).unwrap_or(NEVER);
        }
        now >= self.time_waits_due
    }

    /// The connections in TIME-WAIT whose time is over, of each family the oldest first; the caller removes them.
    pub fn due_time_waits(&self, now: Instant) -> impl Iterator<Item = Found> {
        let now = TickMs::at(now);
        let is_due = move |entry: &Entry| self.time_wait.deadline(*entry).is_due(now);
        self.time_wait_queues
            .iter()
            .flat_map(move |queue| queue.entries(&self.time_wait).take_while(is_due))
            .filter_map(|entry| self.found(entry))
    }

    /// The connection of a family that ends its TIME-WAIT first: the one to recycle when all records of that family are in
    /// use.
    #[must_use]
    pub fn oldest_time_wait(&self, v6: bool) -> Option<Found> {
        let oldest = self.time_wait_queues[usize::from(v6)].oldest()?;
        self.found(oldest)
    }

    /// When the first embryo or connection in TIME-WAIT is due.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let first = [self.first_embryo(now), self.first_time_wait(now)];
        first.into_iter().flatten().min()
    }

    fn first_embryo(&self, now: Instant) -> Option<Instant> {
        let oldest = self.embryo_queues.iter().filter_map(Queue::oldest);
        let deadlines = oldest.map(|entry| self.embryos.deadline(entry).instant(now));
        deadlines.min()
    }

    #[inline(never)]
    fn first_time_wait(&self, now: Instant) -> Option<Instant> {
        let oldest = self.time_wait_queues.iter().filter_map(Queue::oldest);
        let deadlines = oldest.map(|entry| self.time_wait.deadline(entry).instant(now));
        deadlines.min()
    }

    /// A FIN was retransmitted: 2MSL begins anew (RFC 9293 §3.10.7.4). False for a stale reference.
    pub fn restart_time_wait(&mut self, found: Found, deadline: Instant) -> bool {
        if !self.is_live(found, Kind::TimeWait) {
            return false;
        }
        self.time_wait_queues[family(found.entry)].unlink(&mut self.time_wait, found.entry);
        self.queue_time_wait(found.entry, deadline);
        true
    }

    /// When an embryo or a connection in TIME-WAIT is due; `None` for other kinds and stale references.
    #[must_use]
    pub fn deadline(&self, found: Found) -> Option<TickMs> {
        match found.kind() {
            _ if !self.is_current(found) => None,
            Kind::Embryo => Some(self.embryos.deadline(found.entry)),
            Kind::TimeWait => Some(self.time_wait.deadline(found.entry)),
            Kind::Open | Kind::Parked => None,
        }
    }
}

/// Counts and sizes, for limits and reports.
impl ConnTable {
    /// Records of a kind in use.
    #[must_use]
    pub fn len(&self, kind: Kind) -> Records {
        match kind {
            Kind::Embryo => self.embryos.len(),
            Kind::Open => self.open.len(),
            Kind::Parked => self.parked.len(),
            Kind::TimeWait => self.time_wait.len(),
        }
    }

    /// Records of a kind that can be in use.
    #[must_use]
    pub fn capacity(&self, kind: Kind) -> Records {
        match kind {
            Kind::Embryo => self.embryos.capacity(),
            Kind::Open => self.open.capacity(),
            Kind::Parked => self.parked.capacity(),
            Kind::TimeWait => self.time_wait.capacity(),
        }
    }

    /// Records of all kinds in use.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.index.len()
    }

    /// How full the index is. Walks all buckets: for reports.
    #[must_use]
    pub fn index_stats(&self) -> IndexStats {
        self.index.stats()
    }

    /// The index itself, read-only: for benchmarks.
    #[must_use]
    pub fn index(&self) -> &super::index::Index {
        &self.index
    }

    /// Address space taken for index, records and handles, in bytes. What is resident grows towards it with use.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.index.reserved_bytes()
            + self.embryos.reserved_bytes()
            + self.open.reserved_bytes()
            + self.parked.reserved_bytes()
            + self.time_wait.reserved_bytes()
            + self.handles.reserved_bytes()
    }
}

/// The place of an entry's family among two.
fn family(entry: Entry) -> usize {
    usize::from(entry.is_v6())
}

/// What to say when the slab for `key` has no record of kind `B` left.
fn full<B: Body>(key: &FlowKey) -> TableFull {
    TableFull {
        kind: B::KIND,
        v6: key.is_v6(),
    }
}
