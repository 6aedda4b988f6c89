//! [`Connections`]: the open connections of one worker, each a [`Tcb`] with its queues; which of them to ask for output,
//! and when which timer is due.
//!
//! It must never send, never call an application, and never allocate after construction: its memory is reserved at the
//! start and becomes resident with use.

use std::collections::VecDeque;

pub use super::connection::{Conn, LinkPeer, NewConn};
use super::key::FlowHash;
use super::numbers::Numbers;
use super::output_list::OutputList;
pub use super::record::Slot;
use super::record::StateNumber;
use super::resting::RestPlaces;
use super::{Capacity, ConnId, Found};
use crate::memory::MemoryError;
use crate::nic::Frame;
use crate::queue::chunks::Chunks;
use crate::queue::claim::{Claim, Lack};
use crate::queue::statics::Statics;
use crate::tcp::env::{Env, TcpCounters};
use crate::tcp::profiles::Profiles;
use crate::tcp::settings::Settings;
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::IcmpErrorKind;
use crate::time::Instant;
use crate::timer::TimerWheel;

/// The remains of a connection that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedConn {
    /// Its name.
    pub id: ConnId,
    /// Where its record stands in the table.
    pub found: Found,
    /// The hash of its flow.
    pub hash: FlowHash,
    /// Whether an application had accepted or opened it.
    pub was_owned: bool,
}

/// All open connections of one worker.
#[derive(Debug)]
pub struct Connections<F> {
    /// By slot, both families together; grows within what was reserved.
    pub(super) conns: Vec<Conn>,
    /// Which slots are free.
    pub(super) slots: Numbers,
    /// Open connections without a slot.
    pub(super) resting: RestPlaces,
    /// Open IPv4 and IPv6 connections, those at rest included.
    taken: [u32; 2],
    /// And how many each may take.
    limits: [u32; 2],
    open_capacity: u32,
    /// The contents of a place before its first use.
    vacant: Conn,
    /// The contents of all queues.
    pub chunks: Chunks<F>,
    /// Byte strings that applications send again and again.
    pub statics: Statics<F>,
    /// The timers of slots, then the app's, by handle.
    wheel: TimerWheel,
    /// Timers of the app that run.
    app_timers: u32,
    dirty: OutputList,
    /// Connections without anything queued whose send was refused for want of places in the queues of all, each slot once:
    /// it may have changed its owner since, who hears nothing that it didn't ask for.
    starved: VecDeque<Slot>,
    /// Whether a slot stands in `starved`.
    is_starved: Box<[bool]>,
    /// Connections whose application is to hear of an ICMP error.
    soft_errors: VecDeque<Slot>,
    /// Connections that an application has taken over and not heard of yet: the first of them, and those behind it. Mostly
    /// there is one.
    first_opened: Option<(ConnId, Slot)>,
    more_opened: VecDeque<(ConnId, Slot)>,
    /// TCP's own counters.
    pub counters: TcpCounters,
    /// The connection that ended last, where it stood, and what of its text was never acknowledged, in bytes.
    last_ended: Option<(ConnId, Slot, u64)>,
}

/// Places in the list of output for slots whose connection ended while it stood there.
const STALE_DIRTY: usize = 1024;

/// Whose timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// An open connection's.
    Slot(Slot),
    /// The app's, of the connection with this handle.
    App {
        /// [`ConnId::handle`].
        handle: u32,
    },
    /// One that an ended connection left behind: there is nothing to do.
    Nothing,
}

impl<F: Frame> Connections<F> {
    /// Room for as many connections as `records` says, which share `queue_items` places; time starts at `now`. `buffer_len` is
    /// what an empty frame of the NIC can hold, in bytes.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got the memory, or there are more connections than timers can be named.
    pub fn new(
        records: Capacity,
        queue_items: u32,
        buffer_len: u32,
        settings: &Settings,
        now: Instant,
    ) -> Result<Self, MemoryError> {
        let open = records.open;
        let too_many = || MemoryError::TooLarge {
            elements: usize::try_from(open.total()).unwrap_or(usize::MAX),
            element_bytes: size_of::<Conn>(),
        };
        let total = u32::try_from(open.total()).map_err(|_| too_many())?;
        let timers = u32::try_from(open.total() + records.total()).map_err(|_| too_many())?;
        Ok(Self {
            conns: Vec::with_capacity(total as usize),
            slots: Numbers::new(total),
            resting: RestPlaces::new(total),
            taken: [0; 2],
            limits: [open.v4, open.v6],
            open_capacity: total,
            vacant: Conn::vacant(settings, now),
            chunks: Chunks::new(queue_items, buffer_len)?,
            statics: Statics::new(buffer_len),
            wheel: TimerWheel::new(timers, now)?,
            app_timers: 0,
            dirty: OutputList::new(total as usize + STALE_DIRTY),
            starved: VecDeque::with_capacity(total as usize),
            is_starved: vec![false; total as usize].into_boxed_slice(),
            soft_errors: VecDeque::with_capacity(total as usize + STALE_DIRTY),
            first_opened: None,
            more_opened: VecDeque::with_capacity(total as usize),
            counters: TcpCounters::default(),
            last_ended: None,
        })
    }
}

impl<F> Connections<F> {
    /// Takes a slot for a new connection of this family; `None` when it has as many as it may. There are as many as there may be
    /// open records, so that is when those are all in use. [`Connections::vacate`] follows, or [`Connections::release_slot`].
    #[must_use]
    #[inline]
    pub fn take_slot(&mut self, is_v6: bool) -> Option<Slot> {
        let family = usize::from(is_v6);
        if self.taken[family] == self.limits[family] {
            return None;
        }
        self.taken[family] += 1;
        self.resting.on_slot_taken();
        self.slots.take().map(Slot)
    }

    /// Whether all slots of this family are taken. Never where there are none: such an endpoint opens no connections.
    #[must_use]
    #[inline]
    pub fn are_all_taken(&self, is_v6: bool) -> bool {
        let family = usize::from(is_v6);
        let taken = self.taken[family];
        taken > 0 && taken == self.limits[family]
    }

    /// Gives back a slot of this family that no connection stands in.
    #[inline]
    pub fn release_slot(&mut self, slot: Slot, is_v6: bool) {
        self.taken[usize::from(is_v6)] -= 1;
        self.slots.give_back(slot.0);
    }

    #[inline]
    fn place(&self, slot: Slot) -> Option<&Conn> {
        self.conns.get(slot.0 as usize)
    }

    /// The connection in a slot.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Conn> {
        self.place(slot).filter(|conn| conn.has(Conn::LIVE))
    }

    /// The connection in a slot, for writing.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Conn> {
        Some(self.parts(slot)?.conn)
    }

    /// The connection in a slot together with what its queues are kept in and what counts for it.
    #[must_use]
    #[inline]
    pub fn parts(&mut self, slot: Slot) -> Option<Parts<'_, F>> {
        let conn = self
            .conns
            .get_mut(slot.0 as usize)
            .filter(|conn| conn.has(Conn::LIVE))?;
        Some(Parts {
            conn,
            chunks: &mut self.chunks,
            statics: &mut self.statics,
            counters: &mut self.counters,
            dirty: &mut self.dirty,
            wheel: &mut self.wheel,
            slot,
        })
    }

    /// A place without a connection.
    #[must_use]
    pub const fn vacant(&self) -> &Conn {
        &self.vacant
    }

    /// The places of connections by slot, for loading some ahead.
    #[must_use]
    #[inline(always)]
    pub fn places(&self) -> &[Conn] {
        &self.conns
    }

    /// Starts loading what a segment of the connection in this slot touches, which may be a place at rest.
    #[inline(always)]
    pub fn prefetch(&self, slot: Slot) {
        match self.place(slot) {
            Some(conn) => conn.prefetch(),
            None => self.prefetch_resting(slot),
        }
    }

    /// The place of a new connection in a slot that was taken for it, for [`Conn::begin`], and TCP's counters. It is built there:
    /// moving one costs as much as making it.
    #[inline(always)]
    pub fn vacate(&mut self, slot: Slot) -> (&mut Conn, &mut TcpCounters) {
        let index = slot.0 as usize;
        if self.conns.len() <= index {
            self.grow(index);
        }
        (&mut self.conns[index], &mut self.counters)
    }

    /// Slots are first used in the order of their numbers, so this grows by one, within what was reserved.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, index: usize) {
        while self.conns.len() <= index {
            self.conns.push(self.vacant.clone());
        }
    }

    /// Ends a connection: its queues are emptied into `freed`.
    #[inline(always)]
    pub fn remove(&mut self, slot: Slot, freed: impl FnMut(F)) -> Option<RemovedConn> {
        let Parts { conn, chunks, .. } = self.parts(slot)?;
        let unacked = (conn.id, slot, conn.tx.len());
        let is_v6 = conn.key.is_v6();
        if conn.has_queued() {
            conn.clear_queues(chunks, freed);
        }
        let removed = RemovedConn {
            id: conn.id,
            found: conn.found,
            hash: conn.hash,
            was_owned: conn.has(Conn::OWNED),
        };
        // A place in the list of output that is left behind finds the slot empty, or asks its next owner for nothing; and so does
        // a timer: most connections end before theirs fires, and the next owner of the slot seldom wants an earlier one.
        conn.end();
        self.last_ended = Some(unacked);
        self.release_slot(slot, is_v6);
        Some(removed)
    }

    /// Bytes of a connection that were never acknowledged, if it was the last one to end: for its farewell.
    #[must_use]
    pub fn unacked_at_end(&self, id: ConnId) -> u64 {
        match self.last_ended {
            Some((ended, _, len)) if ended == id => len,
            _ => 0,
        }
    }
}

impl<F> Connections<F> {
    /// The application has heard of the end: what has ended means nothing any more.
    #[inline]
    pub const fn forget_ended(&mut self) {
        self.last_ended = None;
    }

    /// The connection that ended last, if it is this one and its place has no other yet, and its bytes that were never
    /// acknowledged.
    #[must_use]
    pub fn ended(&self, id: ConnId) -> Option<(&Conn, u64)> {
        let (ended, slot, len) = self.last_ended?;
        let conn = self.place(slot)?;
        (ended == id && conn.id == id).then_some((conn, len))
    }
}

/// A connection and what it is kept in.
pub struct Parts<'a, F> {
    /// The connection.
    pub conn: &'a mut Conn,
    /// The contents of its queues.
    pub chunks: &'a mut Chunks<F>,
    /// Byte strings that applications send again and again.
    pub statics: &'a mut Statics<F>,
    /// TCP's counters.
    pub counters: &'a mut TcpCounters,
    dirty: &'a mut OutputList,
    wheel: &'a mut TimerWheel,
    slot: Slot,
}

impl<F> Parts<'_, F> {
    /// Where the connection stands.
    #[must_use]
    #[inline]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Asks this connection for output at the end of the turn.
    #[inline(always)]
    pub fn mark_dirty(&mut self) {
        if !self.conn.has(Conn::DIRTY) {
            self.conn.set(Conn::DIRTY);
            self.dirty.push(self.slot);
        }
    }

    /// The connection does not stand in the list of those to be asked any more.
    #[inline(always)]
    pub const fn leave_list(&mut self) {
        self.conn.take(Conn::DIRTY);
    }

    /// [`Connections::fire_by`] for this connection. The wheel may still hold what the slot's last owner wanted, and a connection
    /// that wants less leaves it there: what fires too early is armed again.
    #[inline]
    pub fn fire_by(&mut self, deadline: Instant) {
        if deadline.as_ns() < self.conn.fires_ns {
            self.conn.fires_ns = deadline.as_ns();
            self.wheel.arm_by(self.slot.0, deadline);
        }
    }

    /// The connection's protocol and what its calls bring along.
    pub fn protocol<'b>(
        &'b mut self,
        profiles: &'b Profiles,
        now: Instant,
    ) -> (&'b mut Tcb, Env<'b>) {
        let env = Env {
            now,
            //~ A connection goes by the settings of its profile: `profiles.get(self.conn.profile)`
            //~   -> `profiles.get(crate::tcp::profile::ProfileId::DEFAULT)`; it_outlasts_parking
            settings: profiles.get(self.conn.profile),
            counters: self.counters,
        };
        (&mut self.conn.tcb, env)
    }
}

/// The connections to ask for output.
impl<F> Connections<F> {
    /// Asks this connection for output at the end of the turn.
    #[inline]
    pub fn mark_dirty(&mut self, slot: Slot) {
        if let Some(mut parts) = self.parts(slot) {
            parts.mark_dirty();
        }
    }

    /// How many are to be asked.
    #[must_use]
    #[inline]
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// The next one to be asked; it leaves the list, and [`Parts::leave_list`] is to follow where there is a connection.
    #[inline(always)]
    pub fn pop_dirty(&mut self) -> Option<Slot> {
        self.dirty.pop()
    }

    /// Puts one that couldn't say all back to the front.
    pub fn unpop_dirty(&mut self, slot: Slot) {
        if let Some(conn) = self.get_mut(slot)
            && !conn.has(Conn::DIRTY)
        {
            conn.set(Conn::DIRTY);
            self.dirty.unpop(slot);
        }
    }
}

/// Whose application is to hear that it has them.
impl<F> Connections<F> {
    /// An application has taken over this connection. It stays where it is until [`Connections::pop_opened`] gives it, unless it
    /// ends before.
    #[inline(always)]
    pub fn push_opened(&mut self, id: ConnId, slot: Slot) {
        if self.first_opened.is_none() {
            self.first_opened = Some((id, slot));
        } else {
            self.more_opened.push_back((id, slot));
        }
    }

    /// The next one, which may have ended.
    #[inline(always)]
    pub fn pop_opened(&mut self) -> Option<(ConnId, Slot)> {
        let first = self.first_opened.take();
        if !self.more_opened.is_empty() {
            self.first_opened = self.more_opened.pop_front();
        }
        first
    }

    /// Whether there is one.
    #[must_use]
    #[inline(always)]
    pub const fn has_opened(&self) -> bool {
        self.first_opened.is_some()
    }
}

/// Whose application is to hear of an ICMP error.
impl<F> Connections<F> {
    /// A connection has survived an ICMP error. It is listed once, so that the list needs no more places than there are slots.
    pub fn on_soft_error(&mut self, slot: Slot) {
        let Some(conn) = self.get_mut(slot) else {
            return;
        };
        //~ A connection is listed once for its errors: `!conn.has(Conn::HAS_ERROR) &&` -> nothing;
        //~   a_connection_is_listed_once_for_its_errors
        if !conn.has(Conn::HAS_ERROR) && conn.has(Conn::OWNED) {
            conn.set(Conn::HAS_ERROR);
            self.soft_errors.push_back(slot);
        }
    }

    /// Whether there is one to hear.
    #[must_use]
    #[inline]
    pub fn has_soft_errors(&self) -> bool {
        !self.soft_errors.is_empty()
    }

    /// The next one whose application is to hear, and of what; `None` when there is none.
    pub fn pop_soft_error(&mut self) -> Option<(Slot, ConnId, StateNumber, IcmpErrorKind)> {
        while let Some(slot) = self.soft_errors.pop_front() {
            //~ Several errors at once reach the app once: `conn.take(Conn::HAS_ERROR)` -> `conn.has(Conn::LIVE)`;
            //~   several_at_once_are_told_once_with_the_last_one
            if let Some(conn) = self.get_mut(slot)
                && conn.take(Conn::HAS_ERROR)
                && let Some(error) = conn.tcb.soft_error()
            {
                return Some((slot, conn.id, conn.state, error));
            }
        }
        None
    }
}

/// The connections that wait for places in the queues of all.
impl<F> Connections<F> {
    /// Remembers that this connection's application wanted to send and there was no place. Acknowledgments of what it has
    /// queued will tell it of new ones; with nothing queued it stands in line for those that others set free.
    pub fn refuse_room(&mut self, slot: Slot) {
        let Some(conn) = self.get_mut(slot) else {
            return;
        };
        conn.set(Conn::WANTS_ROOM);
        if !conn.tx.is_empty() {
            return;
        }
        if let Some(is_starved) = self.is_starved.get_mut(slot.0 as usize)
            && !*is_starved
        {
            *is_starved = true;
            self.starved.push_back(slot);
        }
    }

    /// [`Connections::refuse_room`] because all places are taken: who stands still gives way.
    pub fn refuse_place(&mut self, slot: Slot) {
        if let Some(conn) = self.get(slot) {
            let lack = Lack::to_send(Claim::of(conn.tx.is_empty()));
            self.chunks.refuse(lack);
        }
        self.refuse_room(slot);
    }

    /// Slots in the list.
    #[cfg(test)]
    pub(crate) fn starved_len(&self) -> usize {
        self.starved.len()
    }

    /// Whether one waits.
    #[must_use]
    #[inline]
    pub fn has_starved(&self) -> bool {
        !self.starved.is_empty()
    }

    /// The one that has waited longest.
    #[inline]
    pub fn pop_starved(&mut self) -> Option<Slot> {
        let slot = self.starved.pop_front()?;
        if let Some(is_starved) = self.is_starved.get_mut(slot.0 as usize) {
            *is_starved = false;
        }
        Some(slot)
    }
}

/// Timers: one node per connection, which fires no later than the connection's earliest deadline and is rechecked then.
impl<F> Connections<F> {
    /// Makes sure that the connection's timer fires by `deadline`. One that fires earlier already stays: most deadlines
    /// move back with each segment, and the wheel need not hear of it.
    #[inline]
    pub fn fire_by(&mut self, slot: Slot, deadline: Instant) {
        if let Some(mut parts) = self.parts(slot) {
            parts.fire_by(deadline);
        }
    }

    /// A timer that fires. It is armed no more.
    #[inline]
    pub fn pop_fired(&mut self, now: Instant) -> Option<Fired> {
        let index = self.wheel.pop_due(now)?;
        //~ The app's timer is distinguished from a connection's: `index.checked_sub(self.open_capacity)`
        //~   -> `index.checked_sub(u32::MAX)`; it_fires_while_the_connection_is_parked
        if let Some(handle) = index.checked_sub(self.open_capacity) {
            self.app_timers -= 1;
            return Some(Fired::App { handle });
        }
        let slot = Slot(index);
        if let Some(conn) = self.get_mut(slot)
            && conn.fires_ns != u64::MAX
        {
            let wanted = Instant::from_ns(conn.fires_ns);
            if TimerWheel::is_due(wanted, now) {
                conn.fires_ns = u64::MAX;
                return Some(Fired::Slot(slot));
            }
            //~ A timer that an earlier owner of the slot left behind is armed again;
            //~   the_next_owner_of_a_slot_keeps_its_own_time
            self.wheel.arm(index, wanted);
        }
        //~ What ended connections left in the wheel counts as timers of a turn: -> `self.pop_fired(now)`;
        //~   what_ended_connections_left_behind_takes_its_share_of_turns
        Some(Fired::Nothing)
    }

    /// Starts the app's timer of a connection, or moves it.
    pub fn set_app_timer(&mut self, id: ConnId, at: Instant) {
        let timer = self.open_capacity + id.handle();
        self.app_timers += u32::from(!self.wheel.is_armed(timer));
        self.wheel.arm(timer, at);
    }

    /// Stops the app's timer of a connection. While no such timer runs at all, nothing is touched.
    #[inline]
    pub fn clear_app_timer(&mut self, id: ConnId) {
        if self.app_timers > 0 {
            self.stop_app_timer(id);
        }
    }

    #[cold]
    fn stop_app_timer(&mut self, id: ConnId) {
        let timer = self.open_capacity + id.handle();
        self.app_timers -= u32::from(self.wheel.is_armed(timer));
        //~ The app's timer stops; it_is_moved_and_stopped
        self.wheel.cancel(timer);
    }

    /// When the next timer fires, at the earliest.
    #[must_use]
    pub fn next_fire(&self) -> Option<Instant> {
        self.wheel.next_poll()
    }
}
