//! [`Probe`]: an app that does what a test says, and remembers what it hears.
//!
//! It must never do anything that its switches don't name.

use super::super::RingEnd;
use super::host::Host;
use crate::config::ConfigSpec;
use crate::conn::ConnId;
use crate::local::listener::ListenerId;
use crate::nic::Nic;
use crate::nic::memory::MemoryNic;
use crate::queue::item::TxItem;
use crate::tcp::profile::Profile;
use crate::tcp::verdict::{CloseReason, IcmpErrorKind};
use crate::worker::app::{App, Cx};
use crate::worker::connect::ConnInfo;

/// What an app heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody waits to be accepted.
    Ready,
    Open,
    /// So many bytes wait.
    Data(u32),
    Writable,
    Timer(ConnId),
    SoftError(IcmpErrorKind),
    /// So many bytes up to its end.
    Urgent(Option<u32>),
    PeerClosed,
    Closed(CloseReason),
}

#[derive(Debug)]
pub(super) struct Probe {
    /// Accepts at once.
    pub(super) accepts: bool,
    /// Reads at once.
    pub(super) reads: bool,
    /// Closes when the peer has.
    pub(super) closes: bool,
    /// When data comes on any connection, sends on these until it is refused.
    pub(super) fills: Vec<ConnId>,
    /// Connections, in the order in which they opened.
    pub(super) conns: Vec<ConnId>,
    pub(super) heard: Vec<Heard>,
    /// What the connection that ended last looked like.
    pub(super) ended: Option<ConnInfo>,
}

impl App for Probe {
    /// Whether it has opened: a new connection must find the default, whatever its handle was used for before.
    type Conn = bool;

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        self.heard.push(Heard::Ready);
        while self.accepts && cx.accept(listener).is_some() {}
    }

    fn on_open<N: Nic>(&mut self, _cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut bool) {
        assert!(!*state, "opened twice, or the state of another connection");
        *state = true;
        self.conns.push(conn);
        self.heard.push(Heard::Open);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut bool) {
        assert!(*state, "data before open");
        self.heard.push(Heard::Data(cx.unread_len(conn)));
        if self.reads {
            cx.consume(conn, u32::MAX);
        }
        for &other in &self.fills {
            while cx.send(other, TxItem::Pattern { start: 0, len: 1 }).is_ok() {}
        }
    }

    fn on_writable<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        _state: &mut bool,
    ) {
        self.heard.push(Heard::Writable);
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut bool,
    ) {
        self.heard.push(Heard::PeerClosed);
        if self.closes {
            cx.close(conn);
        }
    }

    fn on_soft_error<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        _state: &mut bool,
        error: IcmpErrorKind,
    ) {
        self.heard.push(Heard::SoftError(error));
    }

    fn on_urgent<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut bool,
    ) {
        self.heard.push(Heard::Urgent(cx.urgent_left(conn)));
    }

    fn on_timer<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut bool,
    ) {
        self.heard.push(Heard::Timer(conn));
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut bool,
        reason: CloseReason,
    ) {
        self.ended = cx.info(conn);
        let told = self.ended.and_then(|info| info.tcp.close_reason);
        assert_eq!(told, Some(reason), "as it looked at its end");
        self.heard.push(Heard::Closed(reason));
    }
}

impl Host<Probe> {
    /// A host whose app accepts, reads, and closes when the peer does; connections park after a second.
    pub(super) fn probing(change: impl FnOnce(&mut ConfigSpec)) -> Self {
        Self::probing_on(change, |_| {})
    }

    pub(super) fn probing_on(
        change: impl FnOnce(&mut ConfigSpec),
        change_nic: impl FnOnce(&mut MemoryNic),
    ) -> Self {
        let probe = Probe {
            accepts: true,
            reads: true,
            closes: true,
            fills: Vec::new(),
            conns: Vec::new(),
            heard: Vec::new(),
            ended: None,
        };
        let parked = |spec: &mut ConfigSpec| {
            spec.park_after = core::time::Duration::from_secs(1);
            change(spec);
        };
        Self::build(probe, parked, change_nic, RingEnd::single())
    }

    pub(super) fn app(&mut self) -> &mut Probe {
        self.worker().app_mut()
    }

    /// The connection that opened last.
    pub(super) fn conn(&mut self) -> ConnId {
        *self.app().conns.last().expect("a connection")
    }

    /// What the app heard since the last call is this, and no more.
    #[track_caller]
    pub(super) fn hears(&mut self, expected: &[Heard]) -> &mut Self {
        let heard = core::mem::take(&mut self.app().heard);
        assert_eq!(heard, expected);
        self
    }
}

impl<A: App> Host<A> {
    /// Lets a connection go by another profile.
    #[track_caller]
    pub(super) fn choose(&mut self, conn: ConnId, profile: Profile) {
        self.act(|_, cx| {
            let id = cx.profile(profile).expect("a profile that can be");
            cx.set_profile(conn, id);
        });
    }

    /// Lets the app act, and the worker take a turn.
    pub(super) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut A, &mut Cx<'_, MemoryNic, A::Conn>) -> T,
    ) -> T {
        let now = self.now;
        let result = self.worker().with_cx(now, act);
        self.turn();
        result
    }
}
