//! The server of complete connections: handshake, an HTTP request, its response, close; each byte of the request compared.
//!
//! It must never count a connection as complete that did not end in good order with all of its bytes right.
//!
//! Which data shares a segment with which flag:
//!
//! | [`Shape::Piggyback`] | sent by | [`Shape::Plain`] | sent by |
//! |---|---|---|---|
//! | SYN | client | SYN | client |
//! | SYN,ACK | server | SYN,ACK | server |
//! | ACK of it, with the request | client | ACK of it | client |
//! | response, with the ACK of the request and the server's FIN | server | request | client |
//! | FIN, with the ACK of both | client | ACK of the request | server |
//! | ACK | server | response | server |
//! | | | ACK of the response | client |
//! | | | FIN | client |
//! | | | ACK of it | server |
//! | | | FIN | server |
//! | | | ACK of it | client |
//!
//! So the server closes first with `Piggyback`, as a server that received `Connection: close` does, and keeps TIME-WAIT;
//! with `Plain` the client closes first. `Plain` wants a stack that acknowledges at once (`ack_delay` zero).

use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{Cx, StaticId, TxItem};
use stack::nic::Nic;

use crate::next_turn::NextTurn;
use crate::tally::{Fault, Tally};
use crate::{ConnState, http};

/// Which data shares a segment with which flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As much as can: 6 segments when request and response fit one each.
    Piggyback,
    /// Nothing: 11 segments when request and response fit one each.
    Plain,
}

/// Bytes that are sent again and again, registered in the first turn.
#[derive(Debug)]
struct Message {
    bytes: Box<[u8]>,
    id: Option<StaticId>,
}

impl Message {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            id: None,
        }
    }

    /// Whether it can be sent; registers it the first time.
    fn is_ready<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) -> bool {
        if self.id.is_none() {
            self.id = cx.register_static(&self.bytes);
        }
        self.id.is_some()
    }

    /// Sends all of it.
    fn send<N: Nic, S>(&self, cx: &mut Cx<'_, N, S>, conn: ConnId) -> Result<(), Fault> {
        let item = TxItem::Static {
            id: self.id.ok_or(Fault::NoMemory)?,
            start: 0,
            len: self.bytes.len() as u32,
        };
        cx.send(conn, item).map_err(|_| Fault::SendRefused)
    }
}

/// Reads what waits and compares it with `wanted` from where `state` stands. Says whether the last byte was among it.
fn compare<N: Nic, S>(
    cx: &mut Cx<'_, N, S>,
    conn: ConnId,
    state: &mut ConnState,
    wanted: &[u8],
) -> Result<bool, Fault> {
    let was_complete = state.complete;
    loop {
        let left = wanted.get(usize::from(state.received)..).unwrap_or(&[]);
        let bytes = cx.peek(conn);
        let len = bytes.len();
        if len == 0 {
            return Ok(false);
        }
        match left.get(..len) {
            None => return Err(Fault::WrongLength),
            Some(part) if part != bytes => return Err(Fault::WrongContent),
            Some(_) => {}
        }
        state.received += len as u16;
        state.complete = len == left.len();
        if cx.consume(conn, len as u32) == 0 {
            return Ok(state.complete && !was_complete);
        }
    }
}

/// Accepts, compares the request, answers, closes.
#[derive(Debug)]
pub struct ConnectServer {
    shape: Shape,
    request: Box<[u8]>,
    response: Message,
    to_answer: NextTurn<ConnId>,
    to_close: NextTurn<ConnId>,
    pub(crate) tally: Tally,
}

impl ConnectServer {
    /// A server with room for `connections` under way.
    #[must_use]
    pub fn new(shape: Shape, body_len: u32, connections: u32) -> Self {
        Self {
            shape,
            request: http::request().into(),
            response: Message::new(http::response(body_len)),
            to_answer: NextTurn::new(connections),
            to_close: NextTurn::new(connections),
            tally: Tally::default(),
        }
    }

    pub(crate) fn on_tick<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        self.response.is_ready(cx);
        for i in 0.. {
            let Some(conn) = self.to_answer.get(i) else {
                break;
            };
            self.answer(cx, conn);
        }
        self.to_answer.turn();
        for i in 0.. {
            let Some(conn) = self.to_close.get(i) else {
                break;
            };
            cx.close(conn);
        }
        self.to_close.turn();
    }

    fn answer<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        match self.response.send(cx, conn) {
            Ok(()) => self.tally.replies += 1,
            Err(fault) => {
                self.tally.fault(fault);
                cx.abort(conn);
            }
        }
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
        match compare(cx, conn, state, &self.request) {
            Ok(false) => {}
            Ok(true) => {
                self.tally.requests += 1;
                match self.shape {
                    Shape::Piggyback => {
                        self.answer(cx, conn);
                        cx.close(conn);
                    }
                    Shape::Plain => self.to_answer.push(conn),
                }
            }
            Err(fault) => {
                state.complete = false;
                self.tally.fault(fault);
                cx.abort(conn);
            }
        }
    }

    pub(crate) fn on_peer_closed(&mut self, conn: ConnId) {
        if self.shape == Shape::Plain {
            self.to_close.push(conn);
        }
    }

    pub(crate) fn on_close(&mut self, state: &ConnState, reason: CloseReason) {
        match Fault::of_close(reason, state.complete) {
            Some(fault) => self.tally.fault(fault),
            None => self.tally.completed += 1,
        }
    }
}
