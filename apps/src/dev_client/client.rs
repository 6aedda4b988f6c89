//! [`Client`]: the app that opens connections, talks on them as its plan says, and checks every byte that comes back.
//!
//! It must never believe a peer: what arrives is compared with what must.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use stack::app::{App, Connect, ConnectError, Cx, TxItem};
use stack::conn::ConnId;
use stack::nic::Nic;
use stack::queue::pattern;
use stack::tcp::verdict::CloseReason;

/// The end of an HTTP head.
const HEAD_END: &[u8; 4] = b"\r\n\r\n";
/// How a response must begin.
const OK: &[u8] = b"HTTP/1.1 200 ";
/// Connections that begin in one turn at most.
const CONNECTS_PER_TURN: u32 = 16;

/// Conversation on each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Talk {
    /// Sends bytes, closes its direction, and gets the same bytes back
    Echo,
    /// Asks once by HTTP, and gets the pattern as the body; the server closes
    Get,
    /// Sends nothing, and gets the pattern until the server closes
    Read,
    /// Sends bytes and closes; what comes is counted
    Send,
    /// Sends bytes if there are any, and stays until its time is over; then it closes
    Hold,
}

/// The command.
#[derive(Debug, Clone)]
pub(super) struct ClientPlan {
    pub(super) to: SocketAddr,
    pub(super) talk: Talk,
    /// Bytes of each connection: to send, or to get.
    pub(super) bytes: u64,
    /// The HTTP request.
    pub(super) request: Vec<u8>,
    pub(super) connections: u32,
    /// At a time.
    pub(super) concurrent: u32,
    /// Of each connection, from connecting on.
    pub(super) timeout: Duration,
}

/// The result.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientTally {
    pub(super) started: u32,
    pub(super) opened: u32,
    pub(super) ended: u32,
    /// Connections on which everything came that had to.
    pub(super) complete: u32,
    /// Connections that got other bytes than they had to.
    pub(super) wrong: u32,
    /// Connections that were at work when their time was over.
    pub(super) timed_out: u32,
    pub(super) bytes_received: u64,
    /// How connections ended.
    pub(super) endings: BTreeMap<&'static str, u32>,
    /// Why some could not begin at first.
    pub(super) refused_by_us: BTreeMap<&'static str, u32>,
}

/// A connection as the client remembers it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Where its pattern begins, so that bytes of another connection are noticed.
    base: u64,
    received: u64,
    /// Bytes of [`HEAD_END`] seen in a row; all four: the body has begun.
    head_end: usize,
    head_len: u64,
    is_open: bool,
    is_wrong: bool,
    /// Its time was over before, and it was asked to close.
    is_closing: bool,
}

/// The app.
#[derive(Debug)]
pub(super) struct Client {
    order: ClientPlan,
    tally: ClientTally,
    gives_up: bool,
    /// The walk over all connections goes on here.
    next_to_end: u32,
}

impl Client {
    pub(super) fn new(order: ClientPlan) -> Self {
        Self {
            order,
            tally: ClientTally::default(),
            gives_up: false,
            next_to_end: 0,
        }
    }

    pub(super) fn tally(&self) -> &ClientTally {
        &self.tally
    }

    /// Whether every connection has ended.
    pub(super) fn is_done(&self) -> bool {
        self.tally.ended == self.order.connections
    }

    /// No more connections begin, and those that there are have no time left.
    pub(super) fn give_up(&mut self) {
        self.order.connections = self.tally.started;
        self.gives_up = true;
    }

    fn connect_some<N: Nic>(&mut self, cx: &mut Cx<'_, N, Conversation>) {
        for _ in 0..CONNECTS_PER_TURN {
            let active = self.tally.started - self.tally.ended;
            if self.tally.started == self.order.connections || active >= self.order.concurrent {
                break;
            }
            match cx.connect(self.order.to, &Connect::default(), Conversation::default()) {
                Ok(conn) => {
                    self.tally.started += 1;
                    let at = cx.now() + self.order.timeout;
                    cx.set_timer(conn, at);
                }
                Err(error) => {
                    *self
                        .tally
                        .refused_by_us
                        .entry(connect_error(error))
                        .or_default() += 1;
                    break;
                }
            }
        }
    }

    /// Ends all connections that there are, some in each turn.
    fn end_all<N: Nic>(&mut self, cx: &mut Cx<'_, N, Conversation>) {
        let (conn, next) = cx.next_conn(self.next_to_end);
        self.next_to_end = next;
        if let Some(conn) = conn {
            self.tally.timed_out += 1;
            cx.abort(conn);
        }
    }

    /// Judges bytes that arrived.
    fn check(&mut self, state: &mut Conversation, bytes: &[u8]) {
        self.tally.bytes_received += bytes.len() as u64;
        let body = match self.order.talk {
            Talk::Get => state.skip_head(bytes),
            Talk::Echo | Talk::Read | Talk::Send | Talk::Hold => bytes,
        };
        let at = state.base + state.received;
        state.received += body.len() as u64;
        let is_expected = match self.order.talk {
            Talk::Echo | Talk::Get | Talk::Read => {
                pattern::matches(at, body) && state.received <= self.order.bytes
            }
            Talk::Send | Talk::Hold => true,
        };
        state.is_wrong |= !is_expected;
    }
}

impl Conversation {
    /// The part of `bytes` that is body. The status is checked on the way.
    fn skip_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (i, &byte) in bytes.iter().enumerate() {
            if self.head_end == HEAD_END.len() {
                return &bytes[i..];
            }
            let at = usize::try_from(self.head_len).unwrap_or(usize::MAX);
            self.is_wrong |= OK.get(at).is_some_and(|&expected| expected != byte);
            self.head_len += 1;
            self.head_end = if byte == HEAD_END[self.head_end] {
                self.head_end + 1
            } else {
                usize::from(byte == HEAD_END[0])
            };
        }
        &[]
    }
}

impl App for Client {
    type Conn = Conversation;

    fn on_open<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conversation,
    ) {
        let (talk, len) = (self.order.talk, self.order.bytes);
        state.is_open = true;
        self.tally.opened += 1;
        if matches!(talk, Talk::Echo | Talk::Send | Talk::Hold) {
            state.base = u64::from(self.tally.opened) * 17;
            let start = state.base;
            if len > 0 && cx.send(conn, TxItem::Pattern { start, len }).is_err() {
                state.is_wrong = true;
            }
        }
        match talk {
            Talk::Echo => cx.shutdown(conn),
            Talk::Send => cx.close(conn),
            Talk::Get => {
                let sent = cx.send_bytes(conn, &self.order.request);
                state.is_wrong |= sent != Ok(self.order.request.len());
            }
            Talk::Read | Talk::Hold => {}
        }
    }

    fn on_data<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conversation,
    ) {
        loop {
            let bytes = cx.peek(conn);
            let len = bytes.len();
            if len == 0 {
                break;
            }
            self.check(state, bytes);
            // A frame is shorter than that.
            cx.consume(conn, u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    /// The time of a connection is over.
    fn on_timer<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conversation,
    ) {
        if self.order.talk == Talk::Hold && !state.is_closing {
            state.is_closing = true;
            cx.close(conn);
            let at = cx.now() + self.order.timeout;
            cx.set_timer(conn, at);
        } else {
            self.tally.timed_out += 1;
            cx.abort(conn);
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conversation,
        reason: CloseReason,
    ) {
        let _ = (cx, conn);
        self.tally.ended += 1;
        *self
            .tally
            .endings
            .entry(CloseReason::NAMES[reason.index()])
            .or_default() += 1;
        let is_whole = match self.order.talk {
            Talk::Echo | Talk::Get | Talk::Read => state.received == self.order.bytes,
            Talk::Send | Talk::Hold => true,
        };
        self.tally.wrong += u32::from(state.is_wrong);
        let is_complete =
            state.is_open && is_whole && !state.is_wrong && reason == CloseReason::Graceful;
        self.tally.complete += u32::from(is_complete);
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        if self.gives_up {
            self.end_all(cx);
        }
        self.connect_some(cx);
    }
}

fn connect_error(error: ConnectError) -> &'static str {
    match error {
        ConnectError::NotLocal => "not_local",
        ConnectError::PortInUse => "port_in_use",
        ConnectError::OtherWorker => "other_worker",
        ConnectError::NoPort => "no_port",
        ConnectError::TableFull => "table_full",
        ConnectError::NoRoute => "no_route",
        ConnectError::BadAddress => "bad_address",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_pieces_is_skipped_and_its_status_read() {
        let response = b"HTTP/1.1 200 OK\r\nA: b\r\r\n\r\nbody\r\n\r\n";
        for cut in 0..response.len() {
            let mut state = Conversation::default();
            let mut body = state.skip_head(&response[..cut]).to_vec();
            body.extend(state.skip_head(&response[cut..]));
            assert_eq!(body, b"body\r\n\r\n", "{cut}");
            assert!(!state.is_wrong);
        }
        let mut state = Conversation::default();
        state.skip_head(b"HTTP/1.1 404 Not Found\r\n");
        assert!(state.is_wrong);
    }
}
