//! The exchange that two applications agree on: [`Plan`], and the bytes that they exchange.
//!
//! It must never depend on anything but its arguments: both sides compute the same bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stack::queue::pattern;
use stack::wire::vlan::VlanId;

/// Port of the listener of plan 0; plan `n` has the `n`th port after it.
pub(crate) const FIRST_PORT: u16 = 1000;

/// Bytes of [`Content::Static`], after which it repeats.
pub(crate) const STATIC_LEN: u64 = 5_003;

/// The bytes of a stream, by how they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// `send_bytes`, a hash of the offset and this key.
    Bytes(u8),
    /// `TxItem::Pattern`.
    Chargen,
    /// `TxItem::Static`.
    Static,
    /// Whatever was received, in the frames that brought it.
    Echo,
}

impl Content {
    /// The byte at this offset; an echo's is that of what it echoes.
    pub(crate) fn byte_at(self, offset: u64) -> u8 {
        match self {
            Self::Bytes(key) => (((offset as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8) ^ key,
            Self::Chargen => pattern::byte_at(offset),
            Self::Static | Self::Echo => {
                let at = offset % STATIC_LEN;
                (at ^ (at >> 8)) as u8 ^ 0x5a
            }
        }
    }

    /// `len` bytes from `offset` on.
    pub(crate) fn bytes(self, offset: u64, len: usize) -> Vec<u8> {
        (offset..offset + len as u64)
            .map(|at| self.byte_at(at))
            .collect()
    }
}

/// How one side ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Half-closes when all is sent, and reads on.
    Shutdown,
    /// Closes when all is sent and all that will come is read.
    Close,
    /// Closes when the peer has closed and all is sent.
    AfterPeer,
    /// Resets the connection once so many bytes were sent and received.
    Abort(u64),
    /// Closes without reading on, once it has received so many bytes.
    CloseUnread(u64),
}

impl End {
    /// Whether all bytes arrive at both sides.
    pub(crate) fn is_orderly(self) -> bool {
        !matches!(self, Self::Abort(_) | Self::CloseUnread(_))
    }
}

/// One side of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    /// The bytes that it sends.
    pub(crate) content: Content,
    /// How much.
    pub(crate) len: u64,
    /// Bytes handed over at once.
    pub(crate) chunk_len: u32,
    /// Bytes read per look at most; the next look is a millisecond later when there is more.
    pub(crate) read_len: u32,
    /// Takes frames over instead of looking at them.
    pub(crate) takes: bool,
    /// Reads nothing for a while once it has received so many bytes.
    pub(crate) pause: Option<(u64, Duration)>,
    pub(crate) end: End,
    /// Nagle's algorithm.
    pub(crate) nagle: bool,
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the client runs: host, worker.
    pub(crate) client_at: (u16, u16),
    pub(crate) client_address: IpAddr,
    pub(crate) client_port: Option<u16>,
    /// The server's host.
    pub(crate) server_host: u16,
    pub(crate) server: SocketAddr,
    /// The VLAN of both.
    pub(crate) vlan: VlanId,
    /// When the client opens, after the start of the world.
    pub(crate) starts_after: Duration,
    /// How long after the start the server begins to accept.
    pub(crate) accepts_after: Duration,
    /// The server keeps nothing of a SYN: when the client's ACK is lost and data comes first, that data is reset, as
    /// everywhere where cookies are used (RFC 4987 §3.6).
    pub(crate) may_be_refused: bool,
    /// It may stand still while others wait for places: then it is reset (RFC 6429).
    pub(crate) may_be_evicted: bool,
    /// Frames get lost on the way: a neighbour may not answer three times in a row, and the last ACK of all may never
    /// arrive.
    pub(crate) is_lossy: bool,
    /// Frames overtake each other, or arrive twice: a reset may arrive before an ACK that was sent first.
    pub(crate) is_reordered: bool,
    /// Client, server.
    pub(crate) sides: [Side; 2],
}

impl Plan {
    /// Whether all bytes arrive at both sides.
    pub(crate) fn is_orderly(&self) -> bool {
        self.sides.iter().all(|side| side.end.is_orderly())
    }

    /// The bytes that `side` (0 client, 1 server) receives, when all goes well.
    pub(crate) fn expected(&self, side: usize) -> (Content, u64) {
        let peer = &self.sides[1 - side];
        if peer.content == Content::Echo {
            (self.sides[side].content, self.sides[side].len)
        } else {
            (peer.content, peer.len)
        }
    }

    /// The bytes that `side` sends, when all goes well.
    pub(crate) fn sends(&self, side: usize) -> u64 {
        if self.sides[side].content == Content::Echo {
            self.sides[1 - side].len
        } else {
            self.sides[side].len
        }
    }
}
