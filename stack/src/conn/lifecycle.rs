//! Birth, change and end of records: the methods of [`ConnTable`] that insert, change and remove, and its queues.
//!
//! Each must leave index, slabs, queues, counts and states agreeing with each other on every path, errors included.
//!
//! Every method that touches the index takes the hash of the record's key: a frame has it at hand, a timer computes it
//! again from [`ConnTable::key`].

use crate::time::Instant;

use super::deadline_queue::{DeadlineQueue, Neighbors};
use super::index::IndexStats;
use super::layout::{Body, Record};
use super::places::Places;
use super::slab::Slabs;
use super::{
    ConnId, ConnTable, EMBRYO_LEVELS, Embryo, Entry, FlowHash, FlowKey, Found, Kind, MoveError,
    NEVER, Open, Parked, Records, StateNumber, TableFull, TickMs, TimeWait,
};
use crate::conn::record::Slot;

/// Insertion. The caller has looked the key up: a key that is in the table already would get a second record.
impl ConnTable {
    /// Adds an embryo that is due at `deadline` for its first retransmission.
    ///
    /// # Errors
    /// [`TableFull`].
    #[inline(always)]
    pub fn insert_embryo(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        embryo: &Embryo,
        deadline: Instant,
    ) -> Result<Found, TableFull> {
        self.places.has_room(Kind::Embryo, key.is_v6())?;
        let [queue, ..] = self.embryo_queues;
        let found = self.insert(key, hash, embryo, |record| {
            record.level = 0;
            queue.prepare(record, TickMs::deadline(deadline));
        })?;
        self.embryo_queues[0].append(&mut self.slabs, found.entry());
        self.look_at_embryos_by(deadline);
        Ok(found)
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
        self.insert_connection(key, hash, open)
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
        self.insert_connection(key, hash, parked)
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
        self.places.has_room(Kind::TimeWait, key.is_v6())?;
        let found = self.insert(key, hash, time_wait, |_| {})?;
        self.queue_time_wait(found.entry(), deadline);
        Ok(found)
    }

    #[inline]
    fn insert_connection<B: Body>(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        body: &B,
    ) -> Result<Found, TableFull> {
        let state = self.places.admit(B::KIND, key.is_v6())?;
        let inserted = self.insert(key, hash, body, |record| record.link = state.0);
        if inserted.is_err() {
            self.places.free_state(state);
        }
        inserted
    }

    /// Adds a record, for which there is a place. Its slab and the index hold as many as all kinds together.
    #[inline(always)]
    fn insert<B: Body>(
        &mut self,
        key: &FlowKey,
        hash: FlowHash,
        body: &B,
        prepare: impl FnOnce(&mut Record),
    ) -> Result<Found, TableFull> {
        let (kind, v6) = (B::KIND, key.is_v6());
        let full = TableFull { kind, v6 };
        let (entry, record) = self.slabs.alloc(key).ok_or(full)?;
        record.fill(body);
        prepare(record);
        let found = Found::new(entry, kind, record.generation_in_use());
        if !self.index.insert(hash, entry) {
            self.slabs.free(entry);
            return Err(full);
        }
        self.inserted += 1;
        self.places.add(kind, v6);
        Ok(found)
    }
}

/// A connection that was an embryo.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promoted {
    /// Its record.
    pub(crate) found: Found,
    /// Its name.
    pub(crate) id: ConnId,
    /// The application's own state for it.
    pub(crate) state: StateNumber,
    /// The fields of the embryo.
    pub(crate) kept: Embryo,
    /// How often its SYN-ACK was sent again.
    pub(crate) retransmits: u8,
    /// When it was due.
    pub(crate) deadline: TickMs,
}

/// Changes of kind, in place. On error nothing has changed. On success the old [`Found`] is stale.
impl ConnTable {
    /// The final ACK came: an embryo becomes an open connection, and gets its [`ConnId`].
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn promote(&mut self, embryo: Found, open: &Open) -> Result<Found, MoveError> {
        let promoted = self.promote_as(embryo, |_| *open)?;
        Ok(promoted.found)
    }

    /// The same, with what the embryo kept.
    #[inline(always)]
    pub(crate) fn promote_as(
        &mut self,
        embryo: Found,
        open: impl FnOnce(&Embryo) -> Open,
    ) -> Result<Promoted, MoveError> {
        let record = current(&mut self.slabs, embryo, Kind::Embryo)?;
        let state = self.places.admit(Kind::Open, embryo.entry().is_v6())?;
        let (level, neighbors) = (record.level, Neighbors::of(record));
        let (kept, deadline) = (*Embryo::of(record), record.deadline());
        let found = change(record, &mut self.places, embryo, &open(&kept));
        record.link = state.0;
        self.embryo_queues[usize::from(level)].unlink(&mut self.slabs, neighbors);
        let id = ConnId {
            handle: self.slabs.number(found.entry()),
            generation: found.generation,
        };
        Ok(Promoted {
            found,
            id,
            state,
            kept,
            retransmits: level,
            deadline,
        })
    }

    /// An open connection parks. Its [`ConnId`] stays good.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn park(&mut self, open: Found, parked: &Parked) -> Result<Found, MoveError> {
        let record = current(&mut self.slabs, open, Kind::Open)?;
        self.places.has_room(Kind::Parked, open.entry().is_v6())?;
        Ok(change(record, &mut self.places, open, parked))
    }

    /// A parked connection has something to do again. Its [`ConnId`] stays good.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn unpark(&mut self, parked: Found, open: &Open) -> Result<Found, MoveError> {
        let record = current(&mut self.slabs, parked, Kind::Parked)?;
        self.places.has_room(Kind::Open, parked.entry().is_v6())?;
        Ok(change(record, &mut self.places, parked, open))
    }

    /// An open connection enters TIME-WAIT until `deadline`. Its [`ConnId`] ends; the state that the app keeps of it stays
    /// taken until [`ConnTable::free_state`].
    ///
    /// # Errors
    /// [`MoveError`].
    #[inline(always)]
    pub fn linger(
        &mut self,
        open: Found,
        time_wait: &TimeWait,
        deadline: Instant,
    ) -> Result<(Found, StateNumber), MoveError> {
        let record = current(&mut self.slabs, open, Kind::Open)?;
        self.places.has_room(Kind::TimeWait, open.entry().is_v6())?;
        let state = StateNumber(record.link);
        //~ A name ends with TIME-WAIT: -> nothing; commands_to_what_is_neither_open_nor_parked_are_stale
        record.end_name();
        let found = change(record, &mut self.places, open, time_wait);
        let queue = &mut self.time_wait_queues[usize::from(found.entry().is_v6())];
        queue.prepare(record, TickMs::deadline(deadline));
        queue.append(&mut self.slabs, found.entry());
        self.look_at_time_waits_by(deadline);
        Ok((found, state))
    }

    /// A SYN ends TIME-WAIT: the record becomes an embryo that is due at `deadline` for its first retransmission.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn reopen(
        &mut self,
        time_wait: Found,
        embryo: &Embryo,
        deadline: Instant,
    ) -> Result<Found, MoveError> {
        let v6 = time_wait.entry().is_v6();
        let record = current(&mut self.slabs, time_wait, Kind::TimeWait)?;
        //~ A SYN reopens TIME-WAIT only if there is a place for an embryo: -> nothing;
        //~   no_kind_takes_a_place_from_another
        self.places.has_room(Kind::Embryo, v6)?;
        let neighbors = Neighbors::of(record);
        //~ TIME-WAIT that is reopened is another record: -> nothing;
        //~   commands_to_what_is_neither_open_nor_parked_are_stale
        record.end_name();
        let found = change(record, &mut self.places, time_wait, embryo);
        self.time_wait_queues[usize::from(v6)].unlink(&mut self.slabs, neighbors);
        self.queue_embryo(found.entry(), 0, deadline);
        Ok(found)
    }
}

/// The record that was found, if it is still there and of this kind.
#[inline(always)]
fn current(slabs: &mut Slabs, found: Found, kind: Kind) -> Result<&mut Record, MoveError> {
    let record = slabs.get_mut(found.entry());
    if found.kind() == kind && found.is_of(record) {
        Ok(record)
    } else {
        Err(MoveError::Stale)
    }
}

/// Makes a record one of another kind, for which there is a place.
#[inline(always)]
fn change<B: Body>(record: &mut Record, places: &mut Places, old: Found, body: &B) -> Found {
    let v6 = old.entry().is_v6();
    places.remove(old.kind(), v6);
    places.add(B::KIND, v6);
    record.fill(body);
    Found::new(old.entry(), B::KIND, record.generation_in_use())
}

/// Ends.
impl ConnTable {
    /// Removes a record, and ends its [`ConnId`] where it has one. False for a stale reference or a hash that isn't that
    /// of the record's key: nothing changes then.
    pub fn remove(&mut self, found: Found, hash: FlowHash) -> bool {
        if found.kind().is_connection() {
            let state = self.end(found, hash);
            return state.map(|state| self.free_state(state)).is_some();
        }
        let removed = self.is_current(found) && self.index.remove(hash, found.entry());
        if removed {
            self.leave_queue(found);
            self.release(found);
        }
        removed
    }

    /// Removes an open or parked connection, and ends its [`ConnId`]; the state that the app keeps of it stays taken until
    /// [`ConnTable::free_state`]. `None` for other kinds, a stale reference or a hash that isn't that of the record's key:
    /// nothing changes then.
    pub fn end(&mut self, found: Found, hash: FlowHash) -> Option<StateNumber> {
        let state = self.state(found)?;
        self.index.remove(hash, found.entry()).then(|| {
            self.release(found);
            state
        })
    }

    /// The app remembers nothing more of a connection that has ended.
    #[inline]
    pub fn free_state(&mut self, state: StateNumber) {
        self.places.free_state(state);
    }

    /// Gives a record back that is in no queue and no more in the index.
    fn release(&mut self, found: Found) {
        let entry = found.entry();
        self.places.remove(found.kind(), entry.is_v6());
        self.slabs.free(entry);
    }
}

/// Names that survive parking. Only what is open or parked has one.
impl ConnTable {
    /// The name of an open or parked connection; `None` for other kinds and stale references.
    #[must_use]
    #[inline]
    pub fn conn_id(&self, found: Found) -> Option<ConnId> {
        self.named(found).map(|(id, _)| id)
    }

    /// The name of an open or parked connection and the state that the app keeps of it; `None` for other kinds and stale
    /// references.
    #[must_use]
    #[inline]
    pub fn named(&self, found: Found) -> Option<(ConnId, StateNumber)> {
        let state = self.state(found)?;
        let id = ConnId {
            handle: self.slabs.number(found.entry()),
            generation: found.generation,
        };
        Some((id, state))
    }

    /// The same of an open connection that was made just now: nothing is checked again.
    #[must_use]
    #[inline(always)]
    pub(crate) fn named_found(&self, found: Found) -> (ConnId, StateNumber) {
        debug_assert!(
            self.open(found).is_some(),
            "{found:?} is stale, or not open"
        );
        let id = ConnId {
            handle: self.slabs.number(found.entry()),
            generation: found.generation,
        };
        (id, StateNumber(self.slabs.get(found.entry()).link))
    }

    /// The state that the app keeps of an open or parked connection; `None` for other kinds and stale references.
    #[must_use]
    #[inline]
    pub fn state(&self, found: Found) -> Option<StateNumber> {
        let record = self.record(found)?;
        let is_connection = found.kind().is_connection();
        is_connection.then_some(StateNumber(record.link))
    }

    /// Where an open connection stands, which may be a place of connections at rest; `None` for other kinds and stale references.
    #[must_use]
    #[inline(always)]
    pub fn slot(&self, found: Found) -> Option<Slot> {
        self.open(found).map(|open| open.slot)
    }

    /// An open connection stands elsewhere from now on.
    pub fn move_to(&mut self, found: Found, slot: Slot) {
        if let Some(open) = self.body_mut::<Open>(found) {
            open.slot = slot;
        }
    }

    /// Starts loading the record of a connection.
    #[inline]
    pub fn prefetch_named(&self, id: ConnId) {
        if let Some(entry) = self.slabs.numbered(id.handle) {
            self.slabs.prefetch(entry);
        }
    }

    /// Where a connection stands, which may be a place of connections at rest; `None` when it is parked or has ended.
    #[must_use]
    #[inline]
    pub fn slot_of(&self, id: ConnId) -> Option<Slot> {
        let record = self.slabs.get(self.slabs.numbered(id.handle)?);
        let is_open = record.generation == id.generation.get() && record.kind() == Kind::Open;
        is_open.then(|| Open::of(record).slot)
    }

    /// The record of a connection; `None` when it has ended.
    #[must_use]
    #[inline]
    pub fn resolve(&self, id: ConnId) -> Option<Found> {
        let found = self.numbered(id.handle)?;
        (found.generation == id.generation).then_some(found)
    }

    /// The connection under a handle number, with its current name: for timers and lists, which keep only the number and
    /// are disarmed when the connection ends.
    #[must_use]
    pub fn by_handle(&self, handle: u32) -> Option<ConnId> {
        let generation = self.numbered(handle)?.generation;
        Some(ConnId { handle, generation })
    }

    /// The first handle number from this one on whose record was ever used; `None` behind the last.
    #[must_use]
    pub fn used_from(&self, handle: u32) -> Option<u32> {
        self.slabs.used_from(handle)
    }

    #[inline]
    fn numbered(&self, handle: u32) -> Option<Found> {
        let found = self.found(self.slabs.numbered(handle)?)?;
        //~ A half-open connection and one in TIME-WAIT have no name: `found.kind().is_connection()` -> `true`;
        //~   commands_to_what_is_neither_open_nor_parked_are_stale
        found.kind().is_connection().then_some(found)
    }

    /// One past the highest handle number: as many as there may be records.
    #[must_use]
    pub const fn handles(&self) -> u32 {
        self.slabs.numbers()
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
        let mut oldest = self.embryo_queues.iter().filter_map(DeadlineQueue::oldest);
        match oldest.find(|&entry| self.slabs.get(entry).deadline().is_due(tick)) {
            Some(due) => self.found(due),
            None => {
                self.embryos_due = self.first_embryo(now).unwrap_or(NEVER);
                None
            }
        }
    }

    #[inline(always)]
    fn look_at_embryos_by(&mut self, deadline: Instant) {
        //~ An embryo brings the next look at the queues of embryos forward;
        //~   embryos_fall_due_in_order_and_move_from_queue_to_queue
        self.embryos_due = self.embryos_due.min(deadline);
    }

    #[inline(always)]
    fn look_at_time_waits_by(&mut self, deadline: Instant) {
        //~ A record of TIME-WAIT brings the next look at their queues forward;
        //~   time_wait_ends_oldest_first_and_a_retransmitted_fin_begins_it_anew
        self.time_waits_due = self.time_waits_due.min(deadline);
    }

    fn queue_embryo(&mut self, entry: Entry, level: u8, deadline: Instant) {
        self.look_at_embryos_by(deadline);
        self.slabs.get_mut(entry).level = level;
        let queue = &mut self.embryo_queues[usize::from(level)];
        queue.push(&mut self.slabs, entry, TickMs::deadline(deadline));
    }

    #[inline]
    fn queue_time_wait(&mut self, entry: Entry, deadline: Instant) {
        self.look_at_time_waits_by(deadline);
        let queue = &mut self.time_wait_queues[usize::from(entry.is_v6())];
        queue.push(&mut self.slabs, entry, TickMs::deadline(deadline));
    }

    /// Takes an embryo or a connection in TIME-WAIT out of its queue.
    #[inline]
    fn leave_queue(&mut self, found: Found) {
        let record = self.slabs.get(found.entry());
        let (level, neighbors) = (usize::from(record.level), Neighbors::of(record));
        let queue = if found.kind() == Kind::Embryo {
            &mut self.embryo_queues[level]
        } else {
            &mut self.time_wait_queues[usize::from(found.entry().is_v6())]
        };
        queue.unlink(&mut self.slabs, neighbors);
    }

    /// The embryo that has waited longest, more or less: of those retransmitted most often, the first to be so.
    #[cfg(test)]
    pub(super) fn oldest_embryo(&self) -> Option<Found> {
        let oldest = self
            .embryo_queues
            .iter()
            .rev()
            .find_map(DeadlineQueue::oldest)?;
        self.found(oldest)
    }

    /// SYN-ACK retransmissions of an embryo so far.
    #[must_use]
    #[inline]
    pub fn embryo_retransmits(&self, found: Found) -> Option<u8> {
        let record = self.record(found)?;
        (found.kind() == Kind::Embryo).then_some(record.level)
    }

    /// Counts a SYN-ACK retransmission and sets the next deadline. Deadlines of embryos with the same count must come in
    /// the order of these calls (they do when the waiting time depends on the count alone). From
    /// [`EMBRYO_LEVELS`] − 1 on the count stays. False for a stale reference.
    pub fn requeue_embryo(&mut self, found: Found, deadline: Instant) -> bool {
        let Some(level) = self.embryo_retransmits(found) else {
            return false;
        };
        self.leave_queue(found);
        self.queue_embryo(found.entry(), (level + 1).min(EMBRYO_LEVELS - 1), deadline);
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
        let is_due = move |entry: &Entry| self.slabs.get(*entry).deadline().is_due(now);
        self.time_wait_queues
            .iter()
            .flat_map(move |queue| queue.entries(&self.slabs).take_while(is_due))
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
        self.first_due(&self.embryo_queues, now)
    }

    #[inline(never)]
    fn first_time_wait(&self, now: Instant) -> Option<Instant> {
        self.first_due(&self.time_wait_queues, now)
    }

    fn first_due(&self, queues: &[DeadlineQueue], now: Instant) -> Option<Instant> {
        let oldest = queues.iter().filter_map(DeadlineQueue::oldest);
        let deadlines = oldest.map(|entry| self.slabs.get(entry).deadline().instant(now));
        deadlines.min()
    }

    /// A FIN was retransmitted: 2MSL begins anew (RFC 9293 §3.10.7.4). False for a stale reference.
    pub fn restart_time_wait(&mut self, found: Found, deadline: Instant) -> bool {
        let is_there = self.time_wait(found).is_some();
        if is_there {
            self.leave_queue(found);
            self.queue_time_wait(found.entry(), deadline);
        }
        is_there
    }

    /// When an embryo or a connection in TIME-WAIT is due; `None` for other kinds and stale references.
    #[must_use]
    #[inline]
    pub fn deadline(&self, found: Found) -> Option<TickMs> {
        let record = self.record(found)?;
        (!found.kind().is_connection()).then(|| record.deadline())
    }
}

/// Counts and sizes, for limits and reports.
impl ConnTable {
    /// Records of a kind in use.
    #[must_use]
    pub fn len(&self, kind: Kind) -> Records {
        self.places.len(kind)
    }

    /// Records of a kind that can be in use.
    #[must_use]
    pub fn capacity(&self, kind: Kind) -> Records {
        self.places.capacity(kind)
    }

    /// Whether there may be one more record of this kind and family.
    #[must_use]
    pub fn has_room(&self, kind: Kind, is_v6: bool) -> bool {
        self.places.has_room(kind, is_v6).is_ok()
    }

    /// Records of all kinds in use.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.index.len()
    }

    /// States of the app that are taken.
    #[cfg(test)]
    pub(crate) fn states_taken(&self) -> usize {
        self.places.states_taken()
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

    /// Address space taken for index and records, in bytes. What is resident grows towards it with use.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.index.reserved_bytes() + self.slabs.reserved_bytes()
    }
}
