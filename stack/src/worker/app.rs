//! [`App`]: what runs on top of TCP, on the worker's own core; and [`Cx`], through which it acts.
//!
//! An app must never block, and nothing is sent from inside a callback: calls change state, and the connection is asked
//! for its segments at the end of the turn.
//!
//! The life of a connection as an app sees it:
//!
//! * passive: [`App::on_accept_ready`] (the app may call [`Cx::accept`], now or later) → [`App::on_open`];
//! * active: [`Cx::connect`] → [`App::on_open`], or [`App::on_close`] with the reason;
//! * [`App::on_data`] whenever bytes arrived: take them ([`Cx::take`], zero-copy) or look at them ([`Cx::peek`],
//!   [`Cx::consume`]); what is left stays queued and the receive window shrinks by it. What was taken can be sent, or kept
//!   beyond the callback ([`Cx::keep`]); [`Cx::forward`] takes and sends what there is room for;
//! * [`App::on_timer`] at the time that the app has set ([`Cx::set_timer`]);
//! * [`App::on_peer_closed`] after the last byte; [`App::on_writable`] when a refused send has room again;
//! * [`App::on_close`], last, always, once for each connection that the app has accepted or connected.

use crate::nic::Nic;

pub use super::connect::{ConnInfo, Connect, ConnectError, SendError};
pub use super::cx::Cx;
pub use super::reaching::Reachability;
pub use super::reading::Line;
pub use crate::conn::ConnId;
pub use crate::local::listener::ListenerId;
pub use crate::queue::item::{StaticId, TxItem};
pub use crate::queue::pattern;
pub use crate::queue::rx_queue::Chunk;
pub use crate::tcp::info::{ConnectionEnd, TcpInfo};
pub use crate::tcp::state::State;
pub use crate::tcp::verdict::{CloseReason, IcmpErrorKind};

/// An application of this endpoint: one value per worker.
pub trait App: Sized + Send {
    /// The app's state of each connection; it stays with the connection while it is parked, so its size is part
    /// of the price of an idle connection.
    type Conn: Default + Send;

    /// Whether each connection of this listener is accepted as soon as it is established, without [`App::on_accept_ready`]: what that
    /// does as it is, for less.
    fn accepts_all(&self, listener: ListenerId) -> bool {
        let _ = listener;
        false
    }

    /// Once, in the first turn of the worker, before the first [`App::on_tick`]: for connecting.
    fn on_start<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        let _ = cx;
    }

    /// Connections wait in a listener's accept queue. An app that doesn't call [`Cx::accept`] lets the queue fill.
    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        while cx.accept(listener).is_some() {}
    }

    /// The connection is established, and the app's.
    fn on_open<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        let _ = (cx, conn, state);
    }

    /// Bytes wait to be read.
    fn on_data<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    );

    /// The peer has closed its direction; all that it sent has arrived (and may still wait to be read).
    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        let _ = state;
        cx.close(conn);
    }

    /// A send was refused before, and there is room now. By default [`App::on_data`] where bytes wait to be read: an app that left
    /// them unread, because it had no room for its answer, goes on.
    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        if cx.unread_len(conn) > 0 {
            self.on_data(cx, conn, state);
        }
    }

    /// An ICMP error came about something that this connection has in flight, and it goes on (RFC 9293 MUST-47, SHLD-25): the
    /// destination is unreachable now, a hop limit was exceeded. [`TcpInfo::soft_error`] keeps the last one.
    fn on_soft_error<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
        error: IcmpErrorKind,
    ) {
        let _ = (cx, conn, state, error);
    }

    /// The peer has announced urgent data, or more of it (RFC 9293 MUST-32): [`Cx::urgent_left`] says where it ends
    /// (MUST-33). Its bytes come in line with all others, after this call. We send none ourselves (RFC 6093 §5).
    fn on_urgent<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        let _ = (cx, conn, state);
    }

    /// The time has come that [`Cx::set_timer`] named. The connection may be parked: asking it something unparks it.
    fn on_timer<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        let _ = (cx, conn, state);
    }

    /// The connection is over; `state` is dropped afterwards and `conn` means nothing any more. [`Cx::info`] still says what it
    /// looked like, until another one is opened in this callback. A connection that we
    /// closed first ends here when it enters TIME-WAIT.
    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
        reason: CloseReason,
    ) {
        let _ = (cx, conn, state, reason);
    }

    /// The run is to end ([`crate::worker::Worker::finish`]); once for each connection of the app that is still there.
    /// Close what is idle, finish what is under way.
    fn on_drain<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        let _ = state;
        cx.close(conn);
    }

    /// Once per turn of the loop, after frames and timers: for pacing, connecting, closing by time.
    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        let _ = cx;
    }
}

/// The app of an endpoint that serves nothing: it accepts every connection, and resets it at the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoApp;

impl App for NoApp {
    type Conn = ();

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        cx.abort(conn);
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut (),
    ) {
        cx.abort(conn);
    }
}
