//! The plain values of an app's calls and callbacks: [`Connect`], [`ConnectError`],
//! [`SendError`], [`ConnInfo`].
//!
//! It must never name the worker: a reader of a connection's numbers needs no more than these.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::local::listener::ListenerId;
use crate::tcp::info::TcpInfo;
use crate::tcp::profile::ProfileId;
use crate::tcp::state::State;
use crate::wire::vlan::VlanId;

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
    pub profile: ProfileId,
}

/// A connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLocal => {
                "the source address or VLAN is not one of ours, or is of another family"
            }
            Self::PortInUse => "the local port is in use, perhaps by a connection in TIME-WAIT",
            Self::OtherWorker => "replies to the local port go to another worker",
            Self::NoPort => "no local port is free",
            Self::TableFull => "the table of connections is full",
            Self::NoRoute => "no interface and no gateway leads there",
            Self::BadAddress => "a multicast, broadcast or unspecified address is not a host",
        })
    }
}

impl core::error::Error for ConnectError {}

/// Something was not queued for sending. It comes back in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T = ()> {
    /// The send queue is full, or the memory that all connections share: [`super::app::App::on_writable`] follows.
    Full(T),
    /// The connection has ended, or its sending direction is closed: nothing more can be sent on it.
    Ended(T),
    /// It names no byte.
    Empty(T),
}

impl SendError {
    /// The same about `item`, which comes back.
    pub(super) fn with<T>(self, item: T) -> SendError<T> {
        match self {
            Self::Full(()) => SendError::Full(item),
            Self::Ended(()) => SendError::Ended(item),
            Self::Empty(()) => SendError::Empty(item),
        }
    }
}

/// A report on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The state of TCP: times, windows, segment sizes, negotiated options, how it ended.
    pub tcp: TcpInfo,
}
