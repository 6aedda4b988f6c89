//! [`Side`]: the servers of this crate under one type, so that a program holds one worker for both of them.
//!
//! It must never decide anything.

use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{App, Cx, ListenerId};
use stack::nic::Nic;

use crate::ConnState;
use crate::connect::ConnectServer;
use crate::request::RequestServer;
use crate::tally::Tally;

/// The serving side of a benchmark of the stack alone.
#[derive(Debug)]
pub enum Side {
    /// Serves complete connections.
    Connect(Box<ConnectServer>),
    /// Answers over connections that stay.
    Request(Box<RequestServer>),
}

impl Side {
    /// The counts so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        match self {
            Self::Connect(app) => &app.tally,
            Self::Request(app) => &app.tally,
        }
    }
}

impl App for Side {
    type Conn = ConnState;

    fn accepts_all(&self, _: ListenerId) -> bool {
        true
    }

    fn on_open<N: Nic>(&mut self, _: &mut Cx<'_, N, Self::Conn>, _: ConnId, _: &mut ConnState) {
        match self {
            Self::Connect(app) => app.on_open(),
            Self::Request(app) => app.on_open(),
        }
    }

    fn on_data<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut ConnState,
    ) {
        match self {
            Self::Connect(app) => app.on_data(cx, conn, state),
            Self::Request(app) => app.on_data(cx, conn),
        }
    }

    /// Neither leaves bytes unread. The default would call `on_data` from a second place, which keeps the compiler from taking it
    /// into the packet loop: 2 % of a request.
    fn on_writable<N: Nic>(&mut self, _: &mut Cx<'_, N, Self::Conn>, _: ConnId, _: &mut ConnState) {
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _: &mut ConnState,
    ) {
        match self {
            Self::Connect(app) => app.on_peer_closed(conn),
            // An unexpected end: on_close counts it as a fault.
            Self::Request(_) => cx.close(conn),
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        _: &mut Cx<'_, N, Self::Conn>,
        _: ConnId,
        state: &mut ConnState,
        reason: CloseReason,
    ) {
        match self {
            Self::Connect(app) => app.on_close(state, reason),
            Self::Request(app) => app.on_close(reason),
        }
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        match self {
            Self::Connect(app) => app.on_tick(cx),
            Self::Request(app) => app.on_tick(cx),
        }
    }
}
