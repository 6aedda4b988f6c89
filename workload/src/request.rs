//! One byte there and back over connections that stay: the client asks on connections chosen uniformly at random.
//!
//! It must never take a reply for right that came over another connection: the reply is the byte of the request plus the
//! number of requests that the connection has served, which both sides count.

use core::net::SocketAddr;

use arrayvec::ArrayVec;
use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{Cx, StaticId, TxItem};
use stack::nic::Nic;

use crate::ConnState;
use crate::latency::Latency;
use crate::sources::Sources;
use crate::tally::{Fault, Tally};

/// Connections opened or requests sent per turn at most.
const STARTED_PER_TURN: u32 = 32;

/// All bytes that there are, registered in the first turn: the byte to send is where its value says.
#[derive(Debug, Default)]
struct Bytes(Option<StaticId>);

impl Bytes {
    /// Whether they can be sent; registers them the first time.
    fn are_ready<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) -> bool {
        if self.0.is_none() {
            let all: [u8; 256] = core::array::from_fn(|value| value as u8);
            self.0 = cx.register_static(&all);
        }
        self.0.is_some()
    }

    fn send<N: Nic, S>(&self, cx: &mut Cx<'_, N, S>, conn: ConnId, byte: u8) -> Result<(), Fault> {
        let item = TxItem::Static {
            id: self.0.ok_or(Fault::NoMemory)?,
            start: byte.into(),
            len: 1,
        };
        cx.send(conn, item).map_err(|_| Fault::SendRefused)
    }
}

/// The client's state of each connection.
#[derive(Debug, Clone, Copy)]
struct ClientConn {
    conn: ConnId,
    /// When it asked, in units of 256 ns, modulo 2^32 (18 min).
    at: u32,
    /// Requests answered so far, modulo 256.
    served: u8,
    /// The reply that is awaited.
    reply: Option<u8>,
}

const _: () = assert!(size_of::<ClientConn>() == 16);

const fn ticks(ns: u64) -> u32 {
    (ns >> 8) as u32
}

/// Opens connections, then asks over them.
#[derive(Debug)]
pub struct RequestClient {
    server: SocketAddr,
    sources: Sources,
    /// Connections to have.
    wanted: u32,
    /// Handshakes under way at most, and requests under way at most.
    window: u32,
    opening: u32,
    awaited: u32,
    /// Asks.
    pub(crate) running: bool,
    bytes: Bytes,
    connections: Vec<ClientConn>,
    random: u64,
    pub(crate) tally: Tally,
    /// From request to reply.
    pub(crate) latency: Latency,
}

impl RequestClient {
    /// A client of `server` that opens `connections`, and keeps `window` requests under way once it runs and they are all
    /// there. `seed` decides the order.
    #[must_use]
    pub fn new(
        server: SocketAddr,
        sources: Sources,
        connections: u32,
        window: u32,
        seed: u64,
    ) -> Self {
        Self {
            server,
            sources,
            wanted: connections,
            window,
            opening: 0,
            awaited: 0,
            running: false,
            bytes: Bytes::default(),
            connections: Vec::with_capacity(connections as usize),
            random: seed | 1,
            tally: Tally::default(),
            latency: Latency::new(),
        }
    }

    /// Bytes of this app's own list per connection, which are no part of the stack's.
    pub const LIST_BYTES: usize = size_of::<ClientConn>();

    /// Connections that are there.
    fn established(&self) -> u32 {
        self.connections.len() as u32
    }

    /// Requests without a reply, and handshakes without an end.
    pub(crate) fn under_way(&self) -> u32 {
        self.awaited + self.opening
    }

    pub(crate) fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, ConnState>) {
        if !self.bytes.are_ready(cx) {
            self.tally.fault(Fault::NoMemory);
            return;
        }
        let missing = self.wanted - self.established().min(self.wanted);
        if missing > self.opening && self.tally.faults_total() == 0 {
            // The first one alone: it finds the neighbour, and SYNs that have to wait for that are soon too many.
            let window = if self.tally.opened == 0 {
                1
            } else {
                self.window
            };
            let room = window.saturating_sub(self.opening);
            self.open_more(cx, room.min(missing - self.opening));
        }
        if self.running && missing == 0 {
            self.ask_many(
                cx,
                STARTED_PER_TURN.min(self.window.saturating_sub(self.awaited)),
            );
        }
    }

    fn open_more<N: Nic>(&mut self, cx: &mut Cx<'_, N, ConnState>, count: u32) {
        let opening = &mut self.opening;
        let count = count.min(STARTED_PER_TURN);
        let opened = |_| *opening += 1;
        self.sources
            .open(cx, self.server, count, &mut self.tally, opened);
    }

    /// Asks on connections chosen at random; where one still waits for a reply, on one fewer.
    fn ask_many<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, count: u32) {
        let mut chosen = ArrayVec::<_, { STARTED_PER_TURN as usize }>::new();
        let mut conns = ArrayVec::<_, { STARTED_PER_TURN as usize }>::new();
        for _ in 0..count {
            let random = self.next_random();
            // The upper half of the product with a number below 2^32: uniform to 1 in 2^32 / connections.
            let index = ((random >> 32) * u64::from(self.established())) >> 32;
            if let Some(asked) = self.connections.get(index as usize) {
                chosen.push((index as usize, random as u8));
                conns.push(asked.conn);
            }
        }
        cx.prefetch(&conns);
        for (index, byte) in chosen {
            self.ask(cx, index, byte);
        }
    }

    /// Asks on a connection, unless that still waits for a reply.
    fn ask<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, index: usize, byte: u8) {
        let Some(asked) = self.connections.get_mut(index) else {
            return;
        };
        if asked.reply.is_some() {
            return;
        }
        match self.bytes.send(cx, asked.conn, byte) {
            Ok(()) => {
                asked.reply = Some(byte.wrapping_add(asked.served));
                asked.at = ticks(cx.now().as_ns());
                self.awaited += 1;
                self.tally.requests += 1;
            }
            Err(fault) => self.tally.fault(fault),
        }
    }

    /// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
    fn next_random(&mut self) -> u64 {
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn on_open(&mut self, conn: ConnId, state: &mut ConnState) {
        self.opening -= 1;
        self.tally.opened += 1;
        state.complete = true;
        state.index = self.established();
        self.connections.push(ClientConn {
            conn,
            at: 0,
            served: 0,
            reply: None,
        });
    }

    pub(crate) fn on_data<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        conn: ConnId,
        state: &mut ConnState,
    ) {
        let (first, len) = {
            let bytes = cx.peek(conn);
            (bytes.first().copied(), bytes.len())
        };
        cx.consume(conn, len as u32);
        let Some(asked) = self.connections.get_mut(state.index as usize) else {
            return;
        };
        let fault = match asked.reply.take() {
            None => Some(Fault::WrongConnection),
            Some(wanted) => {
                self.awaited -= 1;
                if asked.conn != conn {
                    Some(Fault::WrongConnection)
                } else if len != 1 {
                    Some(Fault::WrongLength)
                } else if first != Some(wanted) {
                    Some(Fault::WrongContent)
                } else {
                    None
                }
            }
        };
        if let Some(fault) = fault {
            self.tally.fault(fault);
            return;
        }
        asked.served = asked.served.wrapping_add(1);
        self.tally.replies += 1;
        let took = ticks(cx.now().as_ns()).wrapping_sub(asked.at);
        self.latency.record(u64::from(took) << 8);
    }

    /// No connection of this benchmark ends before it does, unless the link is a bad one: then it is asked no more.
    pub(crate) fn on_close(&mut self, state: &ConnState, reason: CloseReason) {
        self.opening -= u32::from(!state.complete);
        if state.complete
            && let Some(asked) = self.connections.get_mut(state.index as usize)
        {
            // A reply that will not come keeps it from being asked.
            self.awaited -= u32::from(asked.reply.replace(0).is_some());
        }
        self.tally
            .fault(Fault::of_close(reason, false).unwrap_or(Fault::EndedEarly));
    }
}

/// Accepts, and answers each byte with one byte.
#[derive(Debug, Default)]
pub struct RequestServer {
    bytes: Bytes,
    pub(crate) tally: Tally,
}

impl RequestServer {
    /// A server.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn on_tick<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        self.bytes.are_ready(cx);
    }

    pub(crate) fn on_open(&mut self) {
        self.tally.opened += 1;
    }

    pub(crate) fn on_data<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        conn: ConnId,
        state: &mut ConnState,
    ) {
        loop {
            let bytes = cx.peek(conn);
            let (Some(&byte), len) = (bytes.first(), bytes.len()) else {
                return;
            };
            let unread = cx.consume(conn, len as u32);
            if len != 1 {
                self.tally.fault(Fault::WrongLength);
            }
            self.tally.requests += 1;
            match self.bytes.send(cx, conn, byte.wrapping_add(state.served)) {
                Ok(()) => self.tally.replies += 1,
                Err(fault) => self.tally.fault(fault),
            }
            state.served = state.served.wrapping_add(1);
            if unread == 0 {
                return;
            }
        }
    }

    /// No connection of this benchmark ends before it does.
    pub(crate) fn on_close(&mut self, reason: CloseReason) {
        self.tally
            .fault(Fault::of_close(reason, false).unwrap_or(Fault::EndedEarly));
    }
}
