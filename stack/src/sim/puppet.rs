//! [`Puppet`]: an application of tests, which does what its switches say and remembers what it hears.
//!
//! It must never do anything that its switches don't name. What it remembers grows, so it is for runs that end.

use crate::conn::ConnId;
use crate::local::listener::ListenerId;
use crate::nic::Nic;
use crate::queue::item::TxItem;
use crate::queue::pattern;
use crate::queue::rx_queue::Chunk;
use crate::tcp::verdict::{CloseReason, IcmpErrorKind};
use crate::time::Instant;
use crate::worker::app::ConnInfo;
use crate::worker::app::{App, Cx};

/// The callbacks of a puppet, as events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppEvent {
    /// Connections wait to be accepted.
    Ready,
    /// The connection is established.
    Open,
    /// So many bytes wait.
    Data(u32),
    /// There is room again.
    Writable,
    /// The timer of this connection fired.
    Timer(ConnId),
    /// An ICMP error that the connection survives.
    SoftError(IcmpErrorKind),
    /// So many bytes up to the end of urgent data.
    Urgent(Option<u32>),
    /// The peer has closed its direction.
    PeerClosed,
    /// The run is to end.
    Drain,
    /// The connection is over.
    Closed(CloseReason),
}

/// An application on strings: as it is made, it accepts, reads, and closes when the peer has.
#[derive(Debug)]
pub struct Puppet {
    /// Accepts at once.
    pub accepts: bool,
    /// Reads at once.
    pub reads: bool,
    /// Sends back what comes, in the frames that brought it, instead of reading it.
    pub echoes: bool,
    /// Closes when the peer has, and nothing is left to echo.
    pub closes: bool,
    /// When data comes on any connection, sends on these until it is refused.
    pub fills: Vec<ConnId>,
    /// Connections, in the order in which they opened.
    pub conns: Vec<ConnId>,
    /// When it heard what, in order, and of which connection.
    pub heard: Vec<(Instant, Option<ConnId>, AppEvent)>,
    /// Bytes that it read, of all connections together.
    pub received: u64,
    /// How many of them differ from the chargen pattern, by their place among all.
    pub wrong: u64,
    /// The report on the connection that ended last.
    pub ended: Option<ConnInfo>,
}

impl Default for Puppet {
    fn default() -> Self {
        Self {
            accepts: true,
            reads: true,
            echoes: false,
            closes: true,
            fills: Vec::new(),
            conns: Vec::new(),
            heard: Vec::new(),
            received: 0,
            wrong: 0,
            ended: None,
        }
    }
}

impl Puppet {
    /// How connections ended, and when, in order.
    pub fn ends(&self) -> impl Iterator<Item = (Instant, CloseReason)> {
        self.heard.iter().filter_map(|(at, _, heard)| match heard {
            AppEvent::Closed(reason) => Some((*at, *reason)),
            _ => None,
        })
    }

    /// How the first of them ended.
    #[must_use]
    pub fn reason(&self) -> Option<CloseReason> {
        self.ends().next().map(|(_, reason)| reason)
    }

    /// How often it heard this, of all connections together.
    #[must_use]
    pub fn count(&self, what: AppEvent) -> usize {
        self.heard.iter().filter(|heard| heard.2 == what).count()
    }

    /// Reads all that waits.
    pub fn read<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        loop {
            let bytes = cx.peek(conn);
            if bytes.is_empty() {
                return;
            }
            let expected = (self.received..).map(pattern::byte_at);
            let differ = bytes.iter().zip(expected).filter(|(a, b)| **a != *b);
            self.wrong += differ.count() as u64;
            let len = bytes.len() as u32;
            self.received += u64::from(len);
            cx.consume(conn, len);
        }
    }

    fn echo<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        while cx.has_room(conn)
            && let Some(Chunk { frame, start, len }) = cx.take(conn)
        {
            let item = TxItem::Owned { frame, start, len };
            assert!(cx.send(conn, item).is_ok(), "no room in the send queue");
        }
        if cx.peer_closed(conn) {
            self.close(cx, conn);
        }
    }

    fn close<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        if self.closes && !(self.echoes && cx.unread_len(conn) > 0) {
            cx.close(conn);
        }
    }

    fn hear<N: Nic, S>(&mut self, cx: &Cx<'_, N, S>, conn: ConnId, heard: AppEvent) {
        self.heard.push((cx.now(), Some(conn), heard));
    }
}

impl App for Puppet {
    /// Whether it has opened: a new connection must find the default, whatever its handle was used for before.
    type Conn = bool;

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, listener: ListenerId) {
        self.heard.push((cx.now(), None, AppEvent::Ready));
        while self.accepts && cx.accept(listener).is_some() {}
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, is_open: &mut bool) {
        assert!(!*is_open, "opened twice, or another connection's state");
        *is_open = true;
        self.conns.push(conn);
        self.hear(cx, conn, AppEvent::Open);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, is_open: &mut bool) {
        assert!(*is_open, "data before open");
        self.hear(cx, conn, AppEvent::Data(cx.unread_len(conn)));
        if self.echoes {
            self.echo(cx, conn);
        } else if self.reads {
            self.read(cx, conn);
        }
        for &other in &self.fills {
            while cx.send(other, TxItem::Pattern { start: 0, len: 1 }).is_ok() {}
        }
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, _: &mut bool) {
        self.hear(cx, conn, AppEvent::Writable);
        if self.echoes {
            self.echo(cx, conn);
        }
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, _: &mut bool) {
        self.hear(cx, conn, AppEvent::PeerClosed);
        self.close(cx, conn);
    }

    fn on_soft_error<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, bool>,
        conn: ConnId,
        _: &mut bool,
        error: IcmpErrorKind,
    ) {
        self.hear(cx, conn, AppEvent::SoftError(error));
    }

    fn on_urgent<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, _: &mut bool) {
        self.hear(cx, conn, AppEvent::Urgent(cx.urgent_left(conn)));
    }

    fn on_timer<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, _: &mut bool) {
        self.hear(cx, conn, AppEvent::Timer(conn));
    }

    fn on_drain<N: Nic>(&mut self, cx: &mut Cx<'_, N, bool>, conn: ConnId, _: &mut bool) {
        self.hear(cx, conn, AppEvent::Drain);
        self.close(cx, conn);
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, bool>,
        conn: ConnId,
        _: &mut bool,
        reason: CloseReason,
    ) {
        self.ended = cx.info(conn);
        let said = self.ended.and_then(|info| info.tcp.close_reason);
        assert_eq!(said, Some(reason), "as it looked at its end");
        self.hear(cx, conn, AppEvent::Closed(reason));
    }
}
