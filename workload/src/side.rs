//! [`Side`]: the four apps of this crate under one type, so that a program holds one worker for all of them.
//!
//! It must never decide anything.

use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{App, Cx};
use stack::nic::Nic;

use crate::ConnState;
use crate::connect::{ConnectClient, ConnectServer};
use crate::latency::Latency;
use crate::request::{RequestClient, RequestServer};
use crate::tally::Tally;

/// One side of a benchmark.
#[derive(Debug)]
pub enum Side {
    /// Opens complete connections.
    ConnectClient(Box<ConnectClient>),
    /// Serves complete connections.
    ConnectServer(Box<ConnectServer>),
    /// Asks over connections that stay.
    RequestClient(Box<RequestClient>),
    /// Answers over connections that stay.
    RequestServer(Box<RequestServer>),
}

impl Side {
    /// A client starts something new from now on, or nothing more. A server has nothing to start.
    pub fn set_running(&mut self, running: bool) {
        match self {
            Self::ConnectClient(app) => app.running = running,
            Self::RequestClient(app) => app.running = running,
            Self::ConnectServer(_) | Self::RequestServer(_) => {}
        }
    }

    /// Forgets all times.
    pub fn clear_latency(&mut self) {
        match self {
            Self::ConnectClient(app) => app.latency.clear(),
            Self::RequestClient(app) => app.latency.clear(),
            Self::ConnectServer(_) | Self::RequestServer(_) => {}
        }
    }

    /// The times that a client measures; `None` for a server.
    #[must_use]
    pub fn latency(&self) -> Option<&Latency> {
        match self {
            Self::ConnectClient(app) => Some(&app.latency),
            Self::RequestClient(app) => Some(&app.latency),
            Self::ConnectServer(_) | Self::RequestServer(_) => None,
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        match self {
            Self::ConnectClient(app) => &app.tally,
            Self::ConnectServer(app) => &app.tally,
            Self::RequestClient(app) => &app.tally,
            Self::RequestServer(app) => &app.tally,
        }
    }

    /// Operations that a client has begun and not ended; 0 for a server.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        match self {
            Self::ConnectClient(app) => app.under_way,
            Self::RequestClient(app) => app.under_way(),
            Self::ConnectServer(_) | Self::RequestServer(_) => 0,
        }
    }
}

impl App for Side {
    type Conn = ConnState;

    const ACCEPTS_ALL: bool = true;

    fn on_open<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut ConnState,
    ) {
        match self {
            Self::ConnectClient(app) => app.on_open(cx, conn),
            Self::ConnectServer(app) => app.on_open(),
            Self::RequestClient(app) => app.on_open(conn, state),
            Self::RequestServer(app) => app.on_open(),
        }
    }

    fn on_data<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut ConnState,
    ) {
        match self {
            Self::ConnectClient(app) => app.on_data(cx, conn, state),
            Self::ConnectServer(app) => app.on_data(cx, conn, state),
            Self::RequestClient(app) => app.on_data(cx, conn, state),
            Self::RequestServer(app) => app.on_data(cx, conn, state),
        }
    }

    /// No side leaves bytes unread. The default would call `on_data` from a second place, which keeps the compiler from taking it
    /// into the packet loop: 2 % of a request.
    fn on_writable<N: Nic>(&mut self, _: &mut Cx<'_, N, Self::Conn>, _: ConnId, _: &mut ConnState) {
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut ConnState,
    ) {
        match self {
            Self::ConnectClient(app) => app.on_peer_closed(cx, conn, state),
            Self::ConnectServer(app) => app.on_peer_closed(conn),
            // An unexpected end: on_close counts it as a fault.
            Self::RequestClient(_) | Self::RequestServer(_) => cx.close(conn),
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut ConnState,
        reason: CloseReason,
    ) {
        match self {
            Self::ConnectClient(app) => app.on_close(cx, conn, state, reason),
            Self::ConnectServer(app) => app.on_close(state, reason),
            Self::RequestClient(app) => app.on_close(state, reason),
            Self::RequestServer(app) => app.on_close(reason),
        }
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        match self {
            Self::ConnectClient(app) => app.on_tick(cx),
            Self::ConnectServer(app) => app.on_tick(cx),
            Self::RequestClient(app) => app.on_tick(cx),
            Self::RequestServer(app) => app.on_tick(cx),
        }
    }
}
