//! [`Actor`]: the application of an end that is ours. It does its acts when they are due and notes what it sees.
//!
//! It must never act on its own: an application that hangs is one whose scene has no order for it. It is no puppet, because it notes calls of sockets, by the
//! numbers of a scene.

use diagnose::counted;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stack::app::{App, Connect, Cx, TxItem};
use stack::conn::ConnId;
use stack::local::listener::{ListenerConfig, ListenerId};
use stack::nic::Nic;
use stack::queue::pattern;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;

use super::endpoint::listener;
use super::errno::Errno;
use super::recording::RecordedEvent;
use super::scenario::{Act, CLIENT_PORT, End, Observation, SERVER_PORT, Scene, SceneAction};

/// An application that does as a scene says.
#[derive(Debug)]
pub(crate) struct Actor {
    side: End,
    /// Client and server.
    addresses: (IpAddr, IpAddr),
    /// The port that `listen()` opens, and whether it is open.
    listener: Option<ListenerConfig>,
    listening: Option<ListenerId>,
    /// `None` until the scene begins.
    starts_at: Option<Instant>,
    script: VecDeque<Act>,
    conns: Vec<Open>,
    /// How many `accept()` calls wait for a connection.
    accepts: u32,
    notes: Vec<(Instant, RecordedEvent)>,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    number: u16,
    id: Option<ConnId>,
    is_open: bool,
    /// The application has closed it, and hears no more of it.
    is_closed: bool,
    /// The peer has closed: a reset then breaks the pipe.
    peer_has_closed: bool,
    /// It is closed as soon as the peer has closed.
    closes_at_eof: bool,
    /// Bytes that the application wants to read, in all.
    wanted: u64,
    received: u64,
    /// Bytes that were given to send, and bytes that the stack took.
    to_send: u64,
    sent: u64,
}

impl Actor {
    /// The application of `side`, between the addresses of client and server: it does what is written for it from `since_ms` on,
    /// and nothing until [`Actor::begin`].
    pub(crate) fn new(
        side: End,
        addresses: (IpAddr, IpAddr),
        scene: &Scene,
        since_ms: u64,
    ) -> Self {
        let is_mine = |act: &&Act| act.who == side && act.at_ms >= since_ms;
        let mine = scene.acts.iter().filter(is_mine).copied();
        let mut script: Vec<Act> = mine.filter(|act| act.what.is_of_application()).collect();
        script.sort_by_key(|act| act.at_ms);
        Self {
            side,
            addresses,
            listener: listener(scene),
            listening: (side == End::Server && scene.backlog.is_some()).then_some(ListenerId(0)),
            starts_at: None,
            script: script.into(),
            conns: Vec::new(),
            accepts: 0,
            notes: Vec::new(),
        }
    }

    /// The scene begins then: its acts are due that much later.
    pub(crate) fn begin(&mut self, at: Instant) {
        self.starts_at = Some(at);
    }

    /// The time at which its next act is due.
    #[cfg(feature = "dpdk")]
    pub(crate) fn next_act(&self) -> Option<Instant> {
        let (start, act) = (self.starts_at?, self.script.front()?);
        Some(start + Duration::from_millis(act.at_ms))
    }

    /// Its notes since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<(Instant, RecordedEvent)> {
        std::mem::take(&mut self.notes)
    }

    fn calls(&mut self, now: Instant, conn: u16, call: String) {
        let side = self.side;
        self.notes
            .push((now, RecordedEvent::Calls { side, conn, call }));
    }

    fn sees(&mut self, now: Instant, conn: u16, seen: Observation) {
        let side = self.side;
        self.notes
            .push((now, RecordedEvent::Sees { side, conn, seen }));
    }

    fn conn(&mut self, number: u16) -> &mut Open {
        let place = match self.conns.iter().position(|open| open.number == number) {
            Some(place) => place,
            None => {
                self.conns.push(Open {
                    number,
                    ..Open::default()
                });
                self.conns.len() - 1
            }
        };
        &mut self.conns[place]
    }

    fn perform<N: Nic>(&mut self, cx: &mut Cx<'_, N, u16>, what: SceneAction) {
        let now = cx.now();
        match what {
            SceneAction::Connect(number) => self.connect(cx, number, true),
            SceneAction::ConnectAnyPort(number) => self.connect(cx, number, false),
            SceneAction::StopWaiting(number) => {
                self.sees(now, number, Observation::Failed(Errno::EINPROGRESS));
            }
            SceneAction::Listen => self.listen(cx),
            SceneAction::StopListening => {
                self.calls(now, 0, "close() of the listening socket".into());
                self.stop_listening(cx);
            }
            SceneAction::Crash => self.crash(cx),
            SceneAction::Accept => {
                self.calls(now, 0, "accept()".into());
                self.accepts += 1;
                if let Some(listener) = self.listening {
                    self.accept_as_wanted(cx, listener);
                }
            }
            SceneAction::Send(number, len) => {
                self.calls(now, number, format!("send({})", counted(len, "byte")));
                self.conn(number).to_send += u64::from(len);
                self.send_as_given(cx, number);
            }
            SceneAction::Read(number, len) => {
                self.calls(now, number, format!("recv({})", counted(len, "byte")));
                self.conn(number).wanted += u64::from(len);
                self.read_as_wanted(cx, number);
            }
            SceneAction::Close(number) => {
                self.calls(now, number, "close()".into());
                let open = self.conn(number);
                open.is_closed = true;
                if let Some(id) = open.id {
                    cx.close(id);
                }
            }
            SceneAction::CloseAtEof(number) => self.conn(number).closes_at_eof = true,
            SceneAction::Shutdown(number) => {
                self.calls(now, number, "shutdown(SHUT_WR)".into());
                if let Some(id) = self.conn(number).id {
                    cx.shutdown(id);
                }
            }
            SceneAction::Abort(number) => {
                self.calls(now, number, "close() with linger zero".into());
                let open = self.conn(number);
                open.is_closed = true;
                if let Some(id) = open.id {
                    cx.abort(id);
                }
            }
            // Actions on the host are the stage's.
            SceneAction::PowerOff
            | SceneAction::PowerOn
            | SceneAction::CableOut
            | SceneAction::CableIn
            | SceneAction::Freeze
            | SceneAction::Thaw
            | SceneAction::PowerOnElsewhere
            | SceneAction::Network(_) => {}
        }
    }

    /// The process dies: the system closes its sockets.
    fn crash<N: Nic>(&mut self, cx: &mut Cx<'_, N, u16>) {
        self.calls(cx.now(), 0, "the process dies".into());
        self.accepts = 0;
        self.stop_listening(cx);
        for open in &mut self.conns {
            open.is_closed = true;
            if let Some(id) = open.id {
                cx.close(id);
            }
        }
    }

    fn connect<N: Nic>(&mut self, cx: &mut Cx<'_, N, u16>, number: u16, from_its_port: bool) {
        let now = cx.now();
        let client = SocketAddr::new(self.addresses.0, CLIENT_PORT + number);
        let server = SocketAddr::new(self.addresses.1, SERVER_PORT);
        let (local, remote) = match self.side {
            End::Client => (client, server),
            End::Server => (server, client),
        };
        let call = format!("connect({remote})");
        let how = Connect {
            local_port: from_its_port.then_some(local.port()),
            ..Connect::default()
        };
        match cx.connect(remote, &how, number) {
            Ok(id) => {
                // Of ports that were chosen for it, each has its number.
                let port = cx.info(id).map_or(local.port(), |info| info.local.port());
                let number = match self.side {
                    End::Client => port.saturating_sub(CLIENT_PORT),
                    End::Server => number,
                };
                self.calls(now, number, call);
                *self.conn(number) = Open {
                    number,
                    id: Some(id),
                    ..Open::default()
                };
            }
            Err(error) => {
                self.calls(now, number, call);
                self.sees(now, number, Observation::Failed(Errno::of_connect(error)));
            }
        }
    }

    fn listen<N: Nic>(&mut self, cx: &mut Cx<'_, N, u16>) {
        let now = cx.now();
        self.calls(now, 0, "listen()".into());
        let Some(config) = self.listener else { return };
        match cx.listen(config) {
            Ok(id) => {
                self.listening = Some(id);
                self.notes.push((now, RecordedEvent::Listening(true)));
            }
            Err(_) => self.sees(now, 0, Observation::Failed(Errno::EADDRINUSE)),
        }
    }

    fn stop_listening<N: Nic>(&mut self, cx: &mut Cx<'_, N, u16>) {
        if let Some(listener) = self.listening.take() {
            cx.unlisten(listener);
            self.notes.push((cx.now(), RecordedEvent::Listening(false)));
        }
    }

    fn accept_as_wanted<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, listener: ListenerId) {
        while self.accepts > 0 && cx.accept(listener).is_some() {
            self.accepts -= 1;
        }
    }

    fn send_as_given<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, number: u16) {
        let open = self.conn(number);
        let (Some(id), len) = (open.id, open.to_send - open.sent) else {
            return;
        };
        let item = TxItem::Pattern {
            start: open.sent,
            len,
        };
        if len > 0 && open.is_open && cx.send(id, item).is_ok() {
            open.sent += len;
        }
    }

    fn read_as_wanted<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, number: u16) {
        let now = cx.now();
        let open = self.conn(number);
        let Some(id) = open.id else {
            return;
        };
        let before = open.received;
        while open.received < open.wanted {
            let ready = cx.peek(id);
            let len = (ready.len() as u64).min(open.wanted - open.received);
            // Bytes other than those that were sent are not counted, so the scene fails.
            if len == 0 || !pattern::matches(open.received, &ready[..len as usize]) {
                break;
            }
            cx.consume(id, len as u32);
            open.received += len;
        }
        let received = open.received;
        if received > before {
            self.sees(now, number, Observation::Received(received));
        }
    }
}

impl App for Actor {
    /// The number of the connection.
    type Conn = u16;

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        self.accept_as_wanted(cx, listener);
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut u16) {
        let Some(info) = cx.info(conn) else { return };
        let client = match self.side {
            End::Client => info.local,
            End::Server => info.remote,
        };
        let number = client.port().saturating_sub(CLIENT_PORT);
        // Only what was connected to is known before it opens.
        let seen = if self.conn(number).id == Some(conn) {
            Observation::Connected
        } else {
            Observation::Accepted
        };
        *state = number;
        self.sees(cx.now(), number, seen);
        let open = self.conn(number);
        if open.is_closed {
            // Another one on the same port.
            *open = Open {
                number,
                ..Open::default()
            };
        }
        open.id = Some(conn);
        open.is_open = true;
        self.send_as_given(cx, number);
        self.read_as_wanted(cx, number);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, _conn: ConnId, state: &mut u16) {
        self.read_as_wanted(cx, *state);
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        state: &mut u16,
    ) {
        self.send_as_given(cx, *state);
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        state: &mut u16,
    ) {
        self.conn(*state).peer_has_closed = true;
        if !self.conn(*state).is_closed {
            self.sees(cx.now(), *state, Observation::Eof);
        }
        if self.conn(*state).closes_at_eof {
            self.perform(cx, SceneAction::Close(*state));
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut u16,
        reason: CloseReason,
    ) {
        // By its id: an attempt that failed was never opened, and its state knows no number.
        let Some(place) = self.conns.iter().position(|open| open.id == Some(conn)) else {
            return;
        };
        let open = &mut self.conns[place];
        (open.id, open.is_open) = (None, false);
        let (number, is_closed) = (open.number, open.is_closed);
        let errno = match (Errno::of_close(reason), open.peer_has_closed) {
            (Some(Errno::ECONNRESET), true) => Some(Errno::EPIPE),
            (errno, _) => errno,
        };
        // An application that has closed makes no call that could fail.
        if let Some(errno) = errno.filter(|_| !is_closed) {
            self.sees(cx.now(), number, Observation::Failed(errno));
        }
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        while let (Some(act), Some(start)) = (self.script.front(), self.starts_at)
            && start + Duration::from_millis(act.at_ms) <= cx.now()
        {
            let what = act.what;
            self.script.pop_front();
            self.perform(cx, what);
        }
    }
}
