//! [`Cx`]: what an application can do, within a callback.
//!
//! Called by: applications; made by the worker for each callback. It must never send and never call the application
//! back: what it changes is acted on when the callback has returned, and leaves at the end of the turn.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::{Chunk, ConnInfo, Connect, ConnectError, StaticId, TxItem};
use crate::config::Config;
use crate::conn::accept_queue::AcceptQueues;
use crate::conn::connections::{Conn, Connections, Parts, Slot};
use crate::conn::listener::ListenerId;
use crate::conn::local::LocalId;
use crate::conn::opening::Opening;
use crate::conn::ports::LocalPorts;
use crate::conn::{ConnId, ConnTable, FlowHash, FlowHasher, FlowKey, Kind};
use crate::counters::{Counter, Counters};
use crate::nic::{Burst, Nic, PoolClass};
use crate::tcp::isn::IsnKey;
use crate::tcp::settings::ConnectionOptions;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;

/// Local ports tried for one connection at most; the next attempt goes on behind them.
const PORT_TRIES: u16 = 4096;

/// What the worker lends for a callback.
pub(crate) struct CxParts<'a, N: Nic> {
    pub(crate) nic: &'a mut N,
    pub(crate) config: &'a Config,
    pub(crate) table: &'a mut ConnTable,
    pub(crate) hasher: &'a FlowHasher,
    pub(crate) isn: &'a IsnKey,
    pub(crate) counters: &'a mut Counters,
    pub(crate) conns: &'a mut Connections<N::Frame>,
    pub(crate) accept_queues: &'a mut AcceptQueues,
    pub(crate) ports: &'a mut LocalPorts,
    /// Buffers to return in bulk.
    pub(crate) freed: &'a mut Burst<N::Frame>,
    pub(crate) mtu: u16,
    /// This worker's number, and how many there are: local ports are chosen so that replies come back here.
    pub(crate) worker: u16,
    pub(crate) workers: u16,
    pub(crate) now: Instant,
}

/// What an app can do, within a callback. Everything that takes a [`ConnId`] ignores one that has ended.
pub struct Cx<'a, N: Nic> {
    parts: CxParts<'a, N>,
}

impl<N: Nic> fmt::Debug for Cx<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("now", &self.parts.now)
            .finish_non_exhaustive()
    }
}

impl<'a, N: Nic> Cx<'a, N> {
    #[inline]
    pub(crate) fn new(parts: CxParts<'a, N>) -> Self {
        Self { parts }
    }

    /// The time of this turn.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        self.parts.now
    }

    /// What the endpoint was configured to be.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.parts.config
    }
}

/// Opening.
impl<N: Nic> Cx<'_, N> {
    /// The oldest connection of a listener's accept queue; [`super::App::on_open`] follows this callback, then
    /// [`super::App::on_data`] if bytes have arrived before. `None` when the queue is empty.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        let conns = &mut *self.parts.conns;
        while let Some(id) = self.parts.accept_queues.pop(listener) {
            // One that the peer has reset while it waited is gone.
            let Some(found) = self.parts.table.resolve(id) else {
                continue;
            };
            let slot = conns.slot_of(found.entry());
            if let Some(conn) = conns.get_mut(slot) {
                conn.set(Conn::OWNED);
                conns.opened.push_back(id);
                conns.mark_dirty(slot);
                return Some(id);
            }
        }
        None
    }

    /// Connections that wait in a listener's accept queue.
    #[must_use]
    pub fn accept_queue_len(&self, listener: ListenerId) -> usize {
        self.parts.accept_queues.len(listener)
    }

    /// Opens a connection: the SYN leaves at the end of this turn.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent then.
    pub fn connect(&mut self, remote: SocketAddr, how: &Connect) -> Result<ConnId, ConnectError> {
        let (local, address) = self.source(remote, how)?;
        let parts = &mut self.parts;
        let hasher = parts.hasher;
        let key_with = |port| FlowKey::new(local, port, remote.ip(), remote.port());
        let table = &*parts.table;
        let (worker, workers) = (parts.worker, parts.workers);
        let is_free = |port: u16| {
            let key = key_with(port);
            let hash = hasher.hash(&key);
            hash.owner(workers) == worker && table.lookup(&key, hash).is_none()
        };
        let listens = |port| parts.config.listeners.find(local, port).is_some();
        let port = match how.local_port {
            Some(port) => Some(port).filter(|&port| port != 0 && is_free(port)),
            None => parts.ports.pick(
                local,
                remote,
                |port| is_free(port) && !listens(port),
                PORT_TRIES,
            ),
        };
        let port = port.ok_or(ConnectError::NoPort)?;
        if address == remote.ip() && port == remote.port() {
            return Err(ConnectError::BadAddress);
        }
        let key = key_with(port);
        let hash = hasher.hash(&key);
        let slot = self
            .opening()
            .connect(key, hash, how.options)
            .map_err(|_| ConnectError::TableFull)?;
        self.parts.counters.bump(Counter::ActiveOpens);
        self.parts.conns.mark_dirty(slot);
        let conn = self.parts.conns.get(slot);
        conn.map(|conn| conn.id).ok_or(ConnectError::TableFull)
    }

    /// The source address of a new connection.
    fn source(&self, remote: SocketAddr, how: &Connect) -> Result<(LocalId, IpAddr), ConnectError> {
        let config = self.parts.config;
        let group = match remote.ip() {
            IpAddr::V4(remote) => remote.is_multicast() || remote.is_broadcast(),
            IpAddr::V6(remote) => remote.is_multicast(),
        };
        let group = group || config.is_broadcast(remote.ip());
        if group || remote.ip().is_unspecified() || remote.port() == 0 {
            return Err(ConnectError::BadAddress);
        }
        let next_hop = config.next_hop(remote.ip()).ok_or(ConnectError::NoRoute)?;
        let address = match how.local {
            Some(address) => address,
            None => config.source_for(next_hop).ok_or(ConnectError::NoRoute)?,
        };
        if address.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::NotLocal);
        }
        let local = config.locals.find(address).ok_or(ConnectError::NotLocal)?;
        Ok((local, address))
    }

    fn opening(&mut self) -> Opening<'_, N::Frame> {
        let parts = &mut self.parts;
        Opening {
            config: parts.config,
            isn: parts.isn,
            table: parts.table,
            conns: parts.conns,
            mtu: parts.mtu,
            now: parts.now,
        }
    }
}

/// Reading.
impl<N: Nic> Cx<'_, N> {
    /// The oldest bytes that wait to be read, as far as they lie in one frame; empty when there are none.
    #[must_use]
    pub fn peek(&mut self, conn: ConnId) -> &[u8] {
        let Some(slot) = self.awake_slot(conn) else {
            return &[];
        };
        let conns = &*self.parts.conns;
        conns
            .get(slot)
            .map_or(&[], |conn| conn.rx.front(&conns.chunks))
    }

    /// Bytes that wait to be read.
    #[must_use]
    pub fn unread_len(&self, conn: ConnId) -> u32 {
        self.look(conn, |conn| conn.rx.len()).unwrap_or(0)
    }

    /// Whether the peer's FIN has arrived: nothing follows what waits to be read.
    #[must_use]
    pub fn peer_closed(&self, conn: ConnId) -> bool {
        let closed = |conn: &Conn| conn.tcb.state().peer_has_closed();
        self.look(conn, closed).unwrap_or(false)
    }

    /// Marks the oldest `len` bytes as read (at most those that wait); the window may open.
    pub fn consume(&mut self, conn: ConnId, len: u32) {
        let Some(slot) = self.awake_slot(conn) else {
            return;
        };
        let freed = &mut *self.parts.freed;
        let Some(Parts { conn, chunks, .. }) = self.parts.conns.parts(slot) else {
            return;
        };
        let len = len.min(conn.rx.len());
        conn.rx
            .consume(chunks, len, |frame| drop(freed.push(frame)));
        conn.tcb.on_read(len);
        self.parts.conns.mark_dirty(slot);
    }

    /// Takes the oldest bytes with the frame that brought them: they count as read.
    pub fn take(&mut self, conn: ConnId) -> Option<Chunk<N::Frame>> {
        let slot = self.awake_slot(conn)?;
        let Parts { conn, chunks, .. } = self.parts.conns.parts(slot)?;
        let chunk = conn.rx.take(chunks)?;
        conn.tcb.on_read(chunk.len);
        self.parts.conns.mark_dirty(slot);
        Some(chunk)
    }
}

/// Sending.
impl<N: Nic> Cx<'_, N> {
    /// Whether the next [`Cx::send`] would be taken; while bytes wait to be read, whether it would be taken once
    /// [`Cx::take`] has made a place. When it is false only for want of room, [`super::App::on_writable`] follows.
    pub fn has_room(&mut self, conn: ConnId) -> bool {
        let limit = u32::from(self.parts.config.limits.send_queue_items);
        let Some(slot) = self.open_slot(conn) else {
            return false;
        };
        let Some(Parts { conn, chunks, .. }) = self.parts.conns.parts(slot) else {
            return false;
        };
        if !conn.tcb.may_queue() {
            return false;
        }
        if !conn.tx.may_grow(chunks) {
            self.parts.conns.refuse_room(slot);
            return false;
        }
        if conn.tx.items() >= limit {
            conn.set(Conn::WANTS_ROOM);
            return false;
        }
        true
    }

    /// Queues something to send.
    ///
    /// # Errors
    /// The item, when the send queue is full ([`super::App::on_writable`] follows), the connection has ended or its
    /// sending direction is closed.
    pub fn send(&mut self, conn: ConnId, item: TxItem<N::Frame>) -> Result<(), TxItem<N::Frame>> {
        let limit = self.parts.config.limits.send_queue_items;
        let Some(slot) = self.open_slot(conn) else {
            return Err(item);
        };
        let Some(Parts { conn, chunks, .. }) = self.parts.conns.parts(slot) else {
            return Err(item);
        };
        if !conn.tcb.may_queue() {
            return Err(item);
        }
        if !conn.tx.may_grow(chunks) {
            self.parts.conns.refuse_room(slot);
            return Err(item);
        }
        if conn.tx.items() >= u32::from(limit) {
            conn.set(Conn::WANTS_ROOM);
            return Err(item);
        }
        // Refused now is only what names no byte.
        conn.tx.push(chunks, item)?;
        self.parts.conns.mark_dirty(slot);
        Ok(())
    }

    /// Copies bytes into the NIC's memory and queues them. Says how many: fewer than all when the send queue or the
    /// memory is full ([`super::App::on_writable`] follows).
    pub fn send_bytes(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let limit = u32::from(self.parts.config.limits.send_queue_items);
        let Some(slot) = self.open_slot(conn) else {
            return 0;
        };
        let nic = &mut *self.parts.nic;
        let Some(Parts { conn, chunks, .. }) = self.parts.conns.parts(slot) else {
            return 0;
        };
        if !conn.tcb.may_queue() {
            return 0;
        }
        if !conn.tx.may_grow(chunks) {
            self.parts.conns.refuse_room(slot);
            return 0;
        }
        let places = limit.saturating_sub(conn.tx.items()) as usize;
        let room = places.saturating_mul(chunks.buffer_len() as usize);
        let wanted = &bytes[..bytes.len().min(room)];
        let sent = conn.tx.push_bytes(chunks, wanted, || data_frame(nic));
        if sent < wanted.len() {
            // The NIC's memory is used up: acknowledgments of any connection set some free.
            self.parts.conns.refuse_room(slot);
        } else if sent < bytes.len() {
            conn.set(Conn::WANTS_ROOM);
        }
        self.parts.conns.mark_dirty(slot);
        sent
    }

    /// Copies `bytes` into the NIC's memory for [`TxItem::Static`]. `None` when there is no memory. Meant for the start.
    pub fn register_static(&mut self, bytes: &[u8]) -> Option<StaticId> {
        let nic = &mut *self.parts.nic;
        self.parts.conns.statics.add(bytes, || data_frame(nic))
    }

    /// Bytes queued for sending and not acknowledged yet; in [`super::App::on_close`] those that never were.
    #[must_use]
    pub fn unacked_len(&self, conn: ConnId) -> u64 {
        self.look(conn, |conn| conn.tx.len())
            .unwrap_or_else(|| self.parts.conns.unacked_at_end(conn))
    }
}

/// Closing, choices, views.
impl<N: Nic> Cx<'_, N> {
    /// Sends no more, reads on: a FIN follows what is queued.
    pub fn shutdown(&mut self, conn: ConnId) {
        self.command(conn, |tcb, env| {
            tcb.shutdown(env);
        });
    }

    /// Neither sends nor reads any more: a FIN follows what is queued; a reset when bytes wait unread.
    pub fn close(&mut self, conn: ConnId) {
        self.command(conn, |tcb, env| {
            tcb.close(env);
        });
    }

    /// Ends the connection at once with a reset.
    pub fn abort(&mut self, conn: ConnId) {
        self.command(conn, |tcb, env| {
            tcb.abort(env);
        });
    }

    /// Other choices for this connection.
    pub fn set_options(&mut self, conn: ConnId, options: ConnectionOptions) {
        self.command(conn, |tcb, env| tcb.set_options(options, env));
    }

    fn command(&mut self, conn: ConnId, act: impl FnOnce(&mut Tcb, &mut crate::tcp::env::Env<'_>)) {
        let Some(slot) = self.open_slot(conn) else {
            return;
        };
        let (config, now) = (self.parts.config, self.parts.now);
        let Some(mut parts) = self.parts.conns.parts(slot) else {
            return;
        };
        let (tcb, mut env) = parts.protocol(config, now);
        act(tcb, &mut env);
        self.parts.conns.mark_dirty(slot);
    }

    /// What the connection looks like; `None` when it has ended.
    #[must_use]
    pub fn info(&self, conn: ConnId) -> Option<ConnInfo> {
        let found = self.parts.table.resolve(conn)?;
        let key = self.parts.table.key(found)?;
        let local = self.parts.config.locals.address(key.local())?;
        let blank = ConnInfo {
            state: State::Established,
            local: SocketAddr::new(local, key.local_port()),
            remote: SocketAddr::new(key.remote(), key.remote_port()),
            listener: self.listener(conn),
            unread_len: 0,
            unacked_len: 0,
            snd_wnd: 0,
            rcv_wnd: 0,
            peer_closed: false,
        };
        if found.kind() == Kind::Parked {
            let parked = self.parts.table.parked(found)?;
            return Some(ConnInfo {
                snd_wnd: u32::from(parked.peer_window) << parked.shifts.send(),
                rcv_wnd: parked.rcv_wnd,
                ..blank
            });
        }
        let info = |conn: &Conn| ConnInfo {
            state: conn.tcb.state(),
            unread_len: conn.rx.len(),
            unacked_len: conn.tx.len(),
            snd_wnd: conn.tcb.send_window(),
            rcv_wnd: conn.tcb.receive_window(),
            peer_closed: conn.tcb.state().peer_has_closed(),
            ..blank
        };
        self.look(conn, info)
    }

    /// The listener that a connection came from.
    #[must_use]
    pub fn listener(&self, conn: ConnId) -> Option<ListenerId> {
        let table = &*self.parts.table;
        let found = table.resolve(conn)?;
        let number = match found.kind() {
            Kind::Open => table.open(found)?.listener,
            Kind::Parked => table.parked(found)?.listener,
            Kind::Embryo | Kind::TimeWait => return None,
        };
        (number != crate::conn::Open::NO_LISTENER).then_some(ListenerId(number))
    }

    /// The connection that follows `after` in the order of handle numbers (the first one for `None`): for walks over all
    /// that this app has, in parts. Looks at most at 4096 numbers, and says where it stopped.
    #[must_use]
    pub fn next_conn(&self, after: u32) -> (Option<ConnId>, u32) {
        let end = self.parts.table.handles();
        let stop = after.saturating_add(4096).min(end);
        for handle in after..stop {
            let Some(id) = self.parts.table.by_handle(handle) else {
                continue;
            };
            let owned = match self.parts.table.resolve(id) {
                Some(found) if found.kind() == Kind::Open => self.look(id, |c| c.has(Conn::OWNED)),
                found => found.map(|_| true),
            };
            if owned == Some(true) {
                return (Some(id), handle + 1);
            }
        }
        (None, stop)
    }

    /// Reads from an open connection; `None` for a parked one and one that has ended.
    #[inline]
    fn look<T>(&self, conn: ConnId, read: impl FnOnce(&Conn) -> T) -> Option<T> {
        let slot = self.awake_slot(conn)?;
        self.parts.conns.get(slot).map(read)
    }

    /// The slot of a connection that isn't at rest.
    #[inline]
    fn awake_slot(&self, conn: ConnId) -> Option<Slot> {
        let found = self.parts.table.resolve(conn)?;
        (found.kind() == Kind::Open).then(|| self.parts.conns.slot_of(found.entry()))
    }

    /// The slot of a connection, which wakes if it is at rest. `None` when it has ended, or no record is free.
    #[inline]
    fn open_slot(&mut self, conn: ConnId) -> Option<Slot> {
        let found = self.parts.table.resolve(conn)?;
        if found.kind() == Kind::Open {
            return Some(self.parts.conns.slot_of(found.entry()));
        }
        let key = self.parts.table.key(found)?;
        let hash: FlowHash = self.parts.hasher.hash(&key);
        let slot = self.opening().wake(found, hash).ok()?;
        self.parts.conns.mark_dirty(slot);
        Some(slot)
    }
}

/// An empty buffer for payload.
fn data_frame<N: Nic>(nic: &mut N) -> Option<N::Frame> {
    let mut fresh = Burst::new();
    nic.alloc(PoolClass::Data, &mut fresh, 1);
    fresh.take_front(1).next()
}
