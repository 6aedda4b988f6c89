//! [`Cx`]: what an application can do, within a callback.
//!
//! It must never send and never call the application back: what it changes is acted on when the callback has returned,
//! and leaves at the end of the turn.

use core::fmt;

use super::Core;
use super::new_states::NewStates;
use crate::config::Config;
use crate::conn::connections::{Conn, Parts, Slot};
use crate::conn::{ConnFlags, ConnId, EndDue, Kind};
use crate::local::listener::{ListenerConfig, ListenerId, ListenersError};
use crate::nic::{Nic, PoolClass};
use crate::queue::item::{StaticId, TxItem};
use crate::queue::rx_queue::Chunk;
use crate::tcp::env::Env;
use crate::tcp::profile::{Profile, ProfileError, ProfileId};
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::worker::accept_queue::Established;
use crate::worker::connect::SendError;

/// The calls of an app, within a callback. Everything that takes a [`ConnId`] ignores one that has ended.
///
/// `S` is what the app remembers of each connection ([`crate::worker::app::App::Conn`]).
pub struct Cx<'a, N: Nic, S> {
    pub(super) core: &'a mut Core<N>,
    pub(super) new_states: &'a mut NewStates<S>,
    pub(super) now: Instant,
    /// The connection that the callback is about, and where it stands: it can't move while the callback runs.
    current: Option<(ConnId, Slot)>,
}

impl<N: Nic, S> fmt::Debug for Cx<'_, N, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'a, N: Nic, S> Cx<'a, N, S> {
    /// For a callback that is about no connection, or about one that is gone.
    #[inline]
    pub(super) fn new(
        core: &'a mut Core<N>,
        new_states: &'a mut NewStates<S>,
        now: Instant,
    ) -> Self {
        Self {
            core,
            new_states,
            now,
            current: None,
        }
    }

    /// For a callback about the open connection in `slot`.
    #[inline]
    pub(super) fn about(
        core: &'a mut Core<N>,
        new_states: &'a mut NewStates<S>,
        id: ConnId,
        slot: Slot,
        now: Instant,
    ) -> Self {
        Self {
            core,
            new_states,
            now,
            current: Some((id, slot)),
        }
    }

    /// The time of this turn.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The configuration of the endpoint.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.core.endpoint.config
    }
}

/// Listening. Each worker has listeners of its own: a port whose connections may come to any worker is to be opened by the app
/// of each.
impl<N: Nic, S> Cx<'_, N, S> {
    /// Opens a port on this worker. Its SYNs are answered from now on, [`crate::worker::app::App::on_accept_ready`] follows.
    ///
    /// # Errors
    /// [`ListenersError`]; nothing has changed then.
    pub fn listen(&mut self, config: ListenerConfig) -> Result<ListenerId, ListenersError> {
        self.core.endpoint.listen(config)
    }

    /// Closes a listener of this worker: SYNs get what closed ports answer, connections that wait to be accepted are reset, half-open
    /// ones when they complete. Those that were accepted go on. False when there is no listener of this number.
    pub fn unlisten(&mut self, listener: ListenerId) -> bool {
        if !self.core.endpoint.listeners.unlisten(listener) {
            return false;
        }
        //~ A listener that closes resets what waits to be accepted; what_waits_at_a_port_that_closes_is_reset
        self.empty_accept_queue(listener);
        self.core.endpoint.accept_queues.close(listener);
        true
    }

    /// The configuration of a listener; `None` when it was closed.
    #[must_use]
    pub fn listener_config(&self, listener: ListenerId) -> Option<&ListenerConfig> {
        self.core.endpoint.listeners.config(listener)
    }

    /// Resets what waits to be accepted.
    pub(super) fn empty_accept_queue(&mut self, listener: ListenerId) {
        while let Some(waiting) = self.core.endpoint.accept_queues.pop(listener) {
            self.abort(waiting.id);
        }
    }
}

/// Opening.
impl<N: Nic, S> Cx<'_, N, S> {
    /// The oldest connection of a listener's accept queue; [`crate::worker::app::App::on_open`] follows this callback, then
    /// [`crate::worker::app::App::on_data`] if bytes have arrived before. `None` when the queue is empty.
    #[inline(always)]
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        let Core {
            endpoint, conns, ..
        } = &mut *self.core;
        while let Some(Established { id, slot }) = endpoint.accept_queues.pop(listener) {
            // One that the peer has reset while it waited is gone.
            if let Some(mut parts) = conns.parts(slot)
                && parts.conn.id == id
            {
                parts.conn.set(Conn::OWNED);
                parts.mark_dirty();
                conns.push_opened(id, slot);
                return Some(id);
            }
        }
        None
    }

    /// Connections that wait in a listener's accept queue.
    #[must_use]
    pub fn accept_queue_len(&self, listener: ListenerId) -> usize {
        self.core.endpoint.accept_queues.len(listener)
    }
}

/// Reading.
impl<N: Nic, S> Cx<'_, N, S> {
    /// The oldest bytes that wait to be read, as far as they lie in one frame; empty when there are none.
    #[must_use]
    #[inline(always)]
    pub fn peek(&mut self, conn: ConnId) -> &[u8] {
        let Some(slot) = self.open_slot(conn) else {
            return &[];
        };
        if let Some(lent) = self.core.lent_to(slot) {
            return lent.bytes();
        }
        let conns = &self.core.conns;
        conns
            .get(slot)
            .map_or(&[], |conn| conn.rx.front(&conns.chunks))
    }

    /// Bytes that wait to be read.
    #[must_use]
    pub fn unread_len(&self, conn: ConnId) -> u32 {
        let Some(slot) = self.open_slot(conn) else {
            return 0;
        };
        match self.core.lent_to(slot) {
            Some(lent) => lent.unread_len(),
            None => self.core.conns.get(slot).map_or(0, |conn| conn.rx.len()),
        }
    }

    /// Whether the peer's FIN has arrived: nothing follows what waits to be read.
    #[must_use]
    pub fn peer_closed(&self, conn: ConnId) -> bool {
        let closed = |conn: &Conn| conn.tcb.state().peer_has_closed();
        self.look(conn, closed).unwrap_or(false)
    }

    /// How many bytes the application has still to read up to the end of the urgent data that was announced last; `None` when
    /// there is none (RFC 9293 MUST-33).
    #[must_use]
    pub fn urgent_left(&self, conn: ConnId) -> Option<u32> {
        self.look(conn, |conn| conn.tcb.urgent_left())?
    }

    /// Marks the oldest `len` bytes as read (at most those that wait); the window may open. Says how many wait still.
    #[inline(always)]
    pub fn consume(&mut self, conn: ConnId, len: u32) -> u32 {
        let Some(slot) = self.open_slot(conn) else {
            return 0;
        };
        let lent = self.core.lent_to_mut(slot);
        let lent = lent.map(|lent| (lent.consume(len), lent.unread_len()));
        let Core { conns, outbox, .. } = &mut *self.core;
        let Some(mut parts) = conns.parts(slot) else {
            return 0;
        };
        let Parts { conn, chunks, .. } = &mut parts;
        let (len, left) = lent.unwrap_or_else(|| {
            let len = len.min(conn.rx.len());
            let len = conn.rx.consume(chunks, len, |frame| outbox.free(frame));
            (len, conn.rx.len())
        });
        conn.tcb.on_read(len);
        parts.mark_dirty();
        left
    }

    /// Takes the oldest bytes with the frame that brought them: they count as read.
    pub fn take(&mut self, conn: ConnId) -> Option<Chunk<N::Frame>> {
        let slot = self.open_slot(conn)?;
        self.core.take_back_lent();
        let mut parts = self.core.conns.parts(slot)?;
        let chunk = parts.conn.rx.take(parts.chunks)?;
        parts.conn.tcb.on_read(chunk.len);
        parts.mark_dirty();
        Some(chunk)
    }
}

/// Sending.
impl<N: Nic, S> Cx<'_, N, S> {
    /// Starts loading connections that this callback is about to send on or to command: of many that are chosen at random, each
    /// costs its cache misses one after another otherwise. Nothing changes, and one that has ended is passed over.
    pub fn prefetch(&self, conns: &[ConnId]) {
        let Core {
            endpoint,
            conns: open,
            ..
        } = &*self.core;
        for &conn in conns {
            endpoint.table.prefetch_named(conn);
        }
        for &conn in conns {
            if let Some(slot) = endpoint.table.slot_of(conn) {
                open.prefetch(slot);
            }
        }
    }

    /// Whether the next [`Cx::send`] would be taken; while bytes wait to be read, whether it would be taken once
    /// [`Cx::take`] has made a place. When it is false only for want of room, [`crate::worker::app::App::on_writable`] follows.
    pub fn has_room(&mut self, conn: ConnId) -> bool {
        self.room(conn).is_ok()
    }

    /// Queues something to send.
    ///
    /// # Errors
    /// [`SendError`] says why not, and gives the item back.
    #[inline(always)]
    pub fn send(
        &mut self,
        conn: ConnId,
        item: TxItem<N::Frame>,
    ) -> Result<(), SendError<TxItem<N::Frame>>> {
        let mut parts = match self.room(conn) {
            Ok((parts, ..)) => parts,
            Err(why) => return Err(why.with(item)),
        };
        // Refused now is only what names no byte.
        let pushed = parts.conn.tx.push(parts.chunks, item);
        pushed.map_err(SendError::Empty)?;
        parts.mark_dirty();
        Ok(())
    }

    /// Copies bytes into the NIC's memory and queues them. Says how many: fewer than all when the send queue or the
    /// memory is full meanwhile, and [`crate::worker::app::App::on_writable`] follows.
    ///
    /// # Errors
    /// [`SendError`] says why none were taken.
    #[must_use = "what was not taken is to be sent again"]
    pub fn send_bytes(&mut self, conn: ConnId, bytes: &[u8]) -> Result<usize, SendError> {
        let (mut parts, nic, places) = self.room(conn)?;
        let Parts { conn, chunks, .. } = &mut parts;
        let room = (places as usize).saturating_mul(chunks.buffer_len() as usize);
        let wanted = &bytes[..bytes.len().min(room)];
        let fresh = || nic.alloc_one(PoolClass::Data);
        let sent = conn.tx.push_bytes(chunks, wanted, fresh);
        if sent < bytes.len() {
            conn.set(Conn::WANTS_ROOM);
        }
        parts.mark_dirty();
        if sent < wanted.len() {
            // The NIC's memory is used up: acknowledgments of any connection set some free.
            let slot = parts.slot();
            self.core.conns.refuse_room(slot);
            if sent == 0 {
                return Err(SendError::Full(()));
            }
        }
        Ok(sent)
    }

    /// The connection with the NIC's memory, and how many items it may still queue, at least one. When it is only for want
    /// of room that it may queue none, [`crate::worker::app::App::on_writable`] follows.
    #[inline(always)]
    fn room(&mut self, conn: ConnId) -> Result<(Parts<'_, N::Frame>, &mut N, u32), SendError> {
        let Some(slot) = self.unparked_slot(conn) else {
            return Err(self.core.want_record(conn));
        };
        let Core {
            conns,
            endpoint,
            nic,
            ..
        } = &mut *self.core;
        let mut limit = u32::from(endpoint.config.limits.send_queue_items);
        if conns.chunks.is_send_scarce() {
            // The rare case first: the parts are to be given away.
            let conn = conns.get(slot).ok_or(SendError::Ended(()))?;
            if !conn.tcb.may_queue() {
                return Err(SendError::Ended(()));
            }
            if !conn.tx.may_grow(&conns.chunks) {
                conns.refuse_place(slot);
                return Err(SendError::Full(()));
            }
            if !conn.tx.is_empty() {
                //~ Scarce places are earned: -> `let _ = conn;`;
                //~   who_takes_nothing_gets_few_places_while_they_are_scarce
                limit = limit.min(conn.earned_places());
            }
        }
        let parts = conns.parts(slot).ok_or(SendError::Ended(()))?;
        //~ A refused send says whether room may come: -> `if false {`;
        //~   a_refused_send_says_whether_it_is_worth_trying_again
        if !parts.conn.tcb.may_queue() {
            return Err(SendError::Ended(()));
        }
        let places = limit.saturating_sub(parts.conn.tx.items());
        if places == 0 {
            parts.conn.set(Conn::WANTS_ROOM);
            return Err(SendError::Full(()));
        }
        Ok((parts, nic, places))
    }

    /// Holds back what doesn't fill a segment, until [`Cx::uncork`], [`Cx::shutdown`] or [`Cx::close`] (Linux's TCP_CORK without its
    /// limit of 200 ms): header and body that are sent apart travel together. A corked connection never parks.
    ///
    /// # Errors
    /// [`SendError`], as [`Cx::send`] says it.
    pub fn cork(&mut self, conn: ConnId) -> Result<(), SendError> {
        let Some(slot) = self.unparked_slot(conn) else {
            return Err(self.core.want_record(conn));
        };
        self.sending(slot)?.set(Conn::CORKED);
        Ok(())
    }

    /// The connection in `slot`, if more may be queued on it.
    fn sending(&mut self, slot: Slot) -> Result<&mut Conn, SendError> {
        let conn = self.core.conns.get_mut(slot);
        conn.filter(|conn| conn.tcb.may_queue())
            .ok_or(SendError::Ended(()))
    }

    /// Lets go what [`Cx::cork`] held back.
    #[inline(always)]
    pub fn uncork(&mut self, conn: ConnId) {
        let slot = self.open_slot(conn);
        if let Some(mut parts) = slot.and_then(|slot| self.core.conns.parts(slot))
            && parts.conn.take(Conn::CORKED)
        {
            parts.mark_dirty();
        }
    }

    /// Marks what is queued so far as urgent: its last byte is the last urgent one, and what is sent from here on up to it
    /// carries URG and the pointer (RFC 9293 MUST-30, MUST-62). For tests of peers: RFC 6093 §5 advises applications
    /// against it. Without effect when nothing is queued.
    ///
    /// # Errors
    /// [`SendError::Ended`].
    pub fn mark_urgent(&mut self, conn: ConnId) -> Result<(), SendError> {
        let Some(slot) = self.awake_slot(conn) else {
            // A parked connection has nothing queued.
            let parked = self.core.endpoint.table.resolve(conn);
            return parked.map(drop).ok_or(SendError::Ended(()));
        };
        self.sending(slot)?.mark_urgent();
        Ok(())
    }

    /// Copies `bytes` into the NIC's memory for [`TxItem::Static`]. `None` when there is no memory. Meant for the start.
    #[must_use]
    pub fn register_static(&mut self, bytes: &[u8]) -> Option<StaticId> {
        let Core { conns, nic, .. } = &mut *self.core;
        let id = conns
            .statics
            .add(bytes, || nic.alloc_one(PoolClass::Data))?;
        conns.chunks.register_static();
        Some(id)
    }

    /// Puts other bytes in the place of registered ones: what is sent under this id from now on. False, and nothing has changed, while a
    /// connection has some of the old ones queued (unacknowledged ones too, which it may have to send again) or the NIC still reads them,
    /// and where either text takes more than one frame.
    #[must_use]
    pub fn rewrite_static(&mut self, id: StaticId, bytes: &[u8]) -> bool {
        let conns = &mut self.core.conns;
        //~ Registered bytes stay while a connection may send them again: `!conns.chunks.has_static(id) &&` -> nothing;
        //~   what_may_be_sent_again_is_not_rewritten
        !conns.chunks.has_static(id) && conns.statics.rewrite(id, bytes)
    }

    /// Bytes queued for sending and not acknowledged yet; in [`crate::worker::app::App::on_close`] those that never were.
    #[must_use]
    pub fn unacked_len(&self, conn: ConnId) -> u64 {
        self.look(conn, |conn| conn.tx.len())
            .unwrap_or_else(|| self.core.conns.unacked_at_end(conn))
    }
}

/// Closing, choices, views. None of these can fail: what a parked connection can't do for want of an open record is
/// remembered in its own, and done as soon as there is one.
impl<N: Nic, S> Cx<'_, N, S> {
    /// Sends no more, reads on: a FIN follows what is queued.
    pub fn shutdown(&mut self, conn: ConnId) {
        //~ The end of a direction takes the cork away; an_end_takes_the_cork_away
        self.uncork(conn);
        self.end(conn, EndDue::Shutdown, |tcb, env| {
            tcb.shutdown(env);
        });
    }

    /// Neither sends nor reads any more: a FIN follows what is queued; a reset when bytes wait unread.
    #[inline(always)]
    pub fn close(&mut self, conn: ConnId) {
        self.uncork(conn);
        self.end(conn, EndDue::Close, |tcb, env| {
            tcb.close(env);
        });
    }

    /// Ends the connection at once with a reset; what waits to be read is given up.
    pub fn abort(&mut self, conn: ConnId) {
        match self.awake_slot(conn) {
            Some(slot) => self.core.command(slot, self.now, |tcb, env| {
                tcb.abort(env);
            }),
            None => {
                let abort = |flags: ConnFlags| flags.with_end_due(EndDue::Abort);
                self.core.remember(conn, abort);
            }
        }
    }

    /// Starts the connection's timer, or moves it: [`crate::worker::app::App::on_timer`] follows at `at` or up to 66 us later, once.
    /// The timer goes on while the connection is parked, keeps none from parking, and ends with it.
    pub fn set_timer(&mut self, conn: ConnId, at: Instant) {
        let Some(found) = self.core.endpoint.table.resolve(conn) else {
            return;
        };
        // Whose end the app doesn't hear has no timer that would end then.
        let is_owned = self.look(conn, |conn| conn.has(Conn::OWNED));
        if is_owned.unwrap_or(found.kind() == Kind::Parked) {
            //~ The app's timer fires at its time: -> `let _ = at;`; it_fires_once_at_its_time
            self.core.conns.set_app_timer(conn, at);
        }
    }

    /// Stops the connection's timer.
    pub fn clear_timer(&mut self, conn: ConnId) {
        if self.core.endpoint.table.resolve(conn).is_some() {
            self.core.conns.clear_app_timer(conn);
        }
    }

    /// The number of a profile on this worker, old or new: for [`crate::worker::app::Connect::profile`], [`ListenerConfig::profile`] and
    /// [`Cx::set_profile`].
    ///
    /// # Errors
    /// [`ProfileError`], also when there are 256 others.
    pub fn profile(&mut self, profile: Profile) -> Result<ProfileId, ProfileError> {
        self.core.endpoint.profiles.intern(profile)
    }

    /// The profile of this number; the default one for a number that was never given.
    #[must_use]
    pub fn profile_of(&self, id: ProfileId) -> &Profile {
        &self.core.endpoint.profiles.get(id).profile
    }

    /// Another profile for this connection. A parked one stays parked, unless the profile has keepalive, whose timer needs
    /// an open record.
    pub fn set_profile(&mut self, conn: ConnId, profile: ProfileId) {
        let slot = match self.awake_slot(conn) {
            None if self.profile_of(profile).keepalive => self.unpark(conn),
            slot => slot,
        };
        match slot {
            Some(slot) => {
                if let Some(conn) = self.core.conns.get_mut(slot) {
                    conn.profile = profile;
                }
                let set = |tcb: &mut Tcb, env: &mut Env<'_>| tcb.on_profile(env);
                self.core.command(slot, self.now, set);
            }
            None => self.core.set_parked_profile(conn, profile),
        }
    }

    #[inline(always)]
    fn end(&mut self, conn: ConnId, end: EndDue, act: impl FnOnce(&mut Tcb, &mut Env<'_>)) {
        match self.unparked_slot(conn) {
            Some(slot) => self.core.command(slot, self.now, act),
            //~ Without a record close and shutdown are remembered: -> `None => drop(end),`;
            //~   without_a_record_close_is_remembered
            None => self.core.remember(conn, |flags| flags.with_end_due(end)),
        }
    }

    /// The connection that follows `after` in the order of handle numbers (the first one for `None`): for walks over all
    /// that this app has, in parts. Looks at most at 4096 numbers, and says where it stopped.
    #[must_use]
    pub fn next_conn(&self, after: u32) -> (Option<ConnId>, u32) {
        let table = &self.core.endpoint.table;
        let mut stop = after;
        for _ in 0..4096 {
            let Some(handle) = table.used_from(stop) else {
                return (None, table.handles());
            };
            stop = handle + 1;
            let Some(id) = table.by_handle(handle) else {
                continue;
            };
            let owned = match table.resolve(id) {
                Some(found) if found.kind() == Kind::Open => self.look(id, |c| c.has(Conn::OWNED)),
                found => found.map(|_| true),
            };
            if owned == Some(true) {
                return (Some(id), stop);
            }
        }
        (None, stop)
    }

    /// Reads from an open connection; `None` for a parked one and one that has ended.
    #[inline]
    pub(super) fn look<T>(&self, conn: ConnId, read: impl FnOnce(&Conn) -> T) -> Option<T> {
        let slot = self.open_slot(conn)?;
        match self.core.conns.get(slot) {
            Some(conn) => Some(read(conn)),
            None => self.core.copy_of_resting(slot, self.now).as_ref().map(read),
        }
    }

    /// Where a connection stands that isn't parked: one at rest has neither queues nor anything unread.
    #[inline(always)]
    pub(super) fn open_slot(&self, conn: ConnId) -> Option<Slot> {
        match self.current {
            Some((current, slot)) if current == conn => Some(slot),
            _ => self.core.slot_named(conn),
        }
    }

    /// The slot of a connection that isn't parked; one at rest goes on for it.
    #[inline(always)]
    pub(super) fn awake_slot(&mut self, conn: ConnId) -> Option<Slot> {
        let slot = self.open_slot(conn)?;
        self.core.awake(slot, self.now)
    }

    /// The slot of a connection; a parked one is unparked for it. `None` when it has ended, or no record is free.
    #[inline(always)]
    pub(super) fn unparked_slot(&mut self, conn: ConnId) -> Option<Slot> {
        match self.awake_slot(conn) {
            None => self.unpark(conn),
            slot => slot,
        }
    }

    #[inline(never)]
    fn unpark(&mut self, conn: ConnId) -> Option<Slot> {
        let endpoint = &self.core.endpoint;
        let found = endpoint.table.resolve(conn)?;
        let hash = endpoint.hasher.hash(&endpoint.table.key(found)?);
        let slot = self.core.opening(self.now).unpark(found, hash).ok()?;
        self.core.conns.mark_dirty(slot);
        Some(slot)
    }
}

impl<N: Nic> Core<N> {
    /// Remembers that a parked connection wants an open record in order to send; it hears of one, unless it has closed its
    /// direction. Says why it can't send now.
    #[cold]
    fn want_record(&mut self, conn: ConnId) -> SendError {
        let mut why = SendError::Ended(());
        self.remember(conn, |flags| match flags.end_due() {
            None => {
                why = SendError::Full(());
                //~ A send refused while parked hears of room: -> `flags`; without_a_record_a_refused_send_hears_of_room
                flags.with(ConnFlags::WANTS_ROOM)
            }
            Some(_) => flags,
        });
        why
    }
}
