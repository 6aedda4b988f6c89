//! [`App`]: what runs on top of TCP, on the worker's own core; and [`Cx`], through which it acts.
//!
//! Called by: the worker, between the stages of its turn. An app must never block, and nothing is sent from inside a
//! callback: calls change state, and the connection is asked for its segments at the end of the turn.
//!
//! The life of a connection as an app sees it:
//!
//! * passive: [`App::on_accept_ready`] (the app may call [`Cx::accept`], now or later) → [`App::on_open`];
//! * active: [`Cx::connect`] → [`App::on_open`], or [`App::on_close`] with the reason;
//! * [`App::on_data`] whenever bytes arrived: take them ([`Cx::take`], zero-copy) or look at them ([`Cx::peek`],
//!   [`Cx::consume`]); what is left stays queued and the receive window shrinks by it;
//! * [`App::on_timer`] at the time that the app has set ([`Cx::set_timer`]);
//! * [`App::on_peer_closed`] after the last byte; [`App::on_writable`] when a refused send has room again;
//! * [`App::on_close`], last, always, once for each connection that the app has accepted or connected.

use core::net::{IpAddr, SocketAddr};

use crate::conn::ConnId;
use crate::conn::listener::ListenerId;
use crate::nic::Nic;
use crate::tcp::settings::ConnectionOptions;
use crate::tcp::state::State;
use crate::tcp::verdict::{CloseReason, IcmpError};
use crate::wire::vlan::VlanId;

pub use crate::conn::rx_queue::Chunk;
pub use crate::conn::tx_queue::{StaticId, TxItem};
pub use crate::tcp::info::{Side, TcpInfo};
pub use crate::worker::Cx;

/// An application of this endpoint: one value per worker.
pub trait App: Sized + Send {
    /// What the app remembers of each connection; it stays with the connection while it is parked, so its size is part
    /// of the price of an idle connection.
    type Conn: Default + Send;

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

    /// A send was refused before, and there is room now.
    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
    ) {
        let _ = (cx, conn, state);
    }

    /// An ICMP error came about something that this connection has in flight, and it goes on (RFC 9293 MUST-47, SHLD-25): the
    /// destination is unreachable now, a hop limit was exceeded. [`TcpInfo::soft_error`] keeps the last one.
    fn on_soft_error<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Self::Conn,
        error: IcmpError,
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

    /// The time has come that [`Cx::set_timer`] named. The connection may rest: asking it something wakes it.
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

/// How to open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connect {
    /// The source address, which must be ours; `None` takes the interface's on the way to the peer.
    pub local: Option<IpAddr>,
    /// The VLAN, which must be ours ([`VlanId::UNTAGGED`] for none); `None` takes untagged frames where they are ours, else
    /// the first VLAN of the configuration.
    pub vlan: Option<VlanId>,
    /// The source port; `None` (and 0) chooses one by RFC 6056 whose replies come back to this worker.
    pub local_port: Option<u16>,
    /// The application's choices.
    pub options: ConnectionOptions,
}

/// A connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// The source address or the VLAN isn't ours, or the address is of another family than the peer's.
    NotLocal,
    /// The local port that was asked for is in use towards this peer, perhaps by a connection in TIME-WAIT (EADDRINUSE).
    PortInUse,
    /// Replies to the local port that was asked for go to another worker: that one can open this connection.
    OtherWorker,
    /// No local port of those that were tried is free towards this peer (EADDRNOTAVAIL).
    NoPort,
    /// All records for connections are in use.
    TableFull,
    /// No interface and no gateway leads there (ENETUNREACH).
    NoRoute,
    /// The peer's address is no host's (multicast, broadcast, unspecified; RFC 9293 MUST-46).
    BadAddress,
}

/// What [`Cx::read_line`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line of so many bytes, its line feed included, is read and stands at the front.
    Whole(usize),
    /// Its line feed has not come. Nothing was read.
    Partial,
    /// The line is longer than the place for it. Nothing was read.
    TooLong,
}

/// Something was not queued for sending. It comes back in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError<T = ()> {
    /// The send queue is full, or the memory that all connections share: [`App::on_writable`] follows.
    Full(T),
    /// The connection has ended, or its sending direction is closed: nothing more can be sent on it.
    Ended(T),
    /// It names no byte.
    Empty(T),
}

/// What a connection looks like from outside, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnInfo {
    /// State.
    pub state: State,
    /// The VLAN that its frames are in.
    pub vlan: VlanId,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The listener that it came from; `None` for one that we opened.
    pub listener: Option<ListenerId>,
    /// Bytes received that wait to be read.
    pub unread_len: u32,
    /// Bytes queued for sending that aren't acknowledged yet.
    pub unacked_len: u64,
    /// SND.WND in bytes: what the peer lets us send.
    pub snd_wnd: u32,
    /// RCV.WND in bytes: what we let the peer send.
    pub rcv_wnd: u32,
    /// Whether the peer's FIN has arrived.
    pub peer_closed: bool,
    /// What TCP knows: times, windows, segment sizes, what was negotiated, how it ended.
    pub tcp: TcpInfo,
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
