//! [`Side`]: what is kept of one sender of a connection: numbers, what was sent again, windows, how it ended.
//!
//! It must never grow with the number of segments.

use stack::seq::SeqNum;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Sent the first SYN; without one, the end whose port is the less likely to be a server's.
    Client = 0,
    /// The other.
    Server = 1,
}

impl End {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The other end.
    #[must_use]
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The facts about one sender.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Side {
    /// Segments that it sent, doubles of the capture left out.
    pub frames: u64,
    /// Segments with payload.
    pub(crate) data_frames: u64,
    /// Bytes of payload that were new.
    pub new_bytes: u64,
    /// Bytes that were new since the other end last sent payload: what may be unread or unanswered.
    pub(crate) bytes_unanswered: u64,
    /// When it sent something last, in ns since 1970.
    pub(crate) last_ns: u64,
    /// When it sent payload last.
    pub(crate) last_data_ns: Option<u64>,
    /// The initial sequence number; without its SYN, one below the first number seen.
    pub(crate) iss: Option<SeqNum>,
    /// The number behind all that it sent.
    pub(crate) next: Option<SeqNum>,
    /// The highest number that it acknowledged.
    pub(crate) acked: Option<SeqNum>,
    /// Handshake segments.
    pub(crate) syn: Handshake,
    /// MSS that it announced, in bytes.
    pub(crate) mss: Option<u16>,
    /// Window scale that it announced.
    pub(crate) window_scale: Option<u8>,
    /// Its window field, as it stood last.
    pub window: u16,
    /// Times that its window was closed.
    pub closed_window: ClosedWindow,
    /// Its retransmissions.
    pub again: Again,
    /// Its latest retransmissions without an answer.
    pub(crate) stall: Option<Stall>,
    /// The longest stall that ended.
    pub(crate) longest_stall: Option<Stall>,
    /// Since when anything is unacknowledged.
    pub(crate) outstanding_since_ns: Option<u64>,
    /// The largest segment that was acknowledged, in bytes of payload.
    pub(crate) delivered_len: u32,
    /// A segment larger than that which isn't acknowledged yet: the number behind it, and its length.
    pub(crate) pending_len: Option<(SeqNum, u32)>,
    /// The largest SACK block behind a gap since the other end last acknowledged something new, in bytes.
    pub(crate) sacked_len: u32,
    /// Segment lengths before and after it began to send smaller ones to get through.
    pub(crate) shrunk: Option<(u32, u32)>,
    /// Numbers that were passed over, and when.
    pub(crate) hole: Option<(SeqNum, SeqNum, u64)>,
    /// Segments that another one had overtaken.
    pub(crate) overtaken: u32,
    /// Its FIN: when.
    pub(crate) fin_ns: Option<u64>,
    /// When its FIN was acknowledged.
    pub(crate) fin_acked_ns: Option<u64>,
    /// When it first sent new payload after the other end's FIN.
    pub(crate) data_after_fin_ns: Option<u64>,
    /// Keepalive segments.
    pub(crate) keepalives: u32,
    /// Keepalive segments since the other end last sent anything.
    pub(crate) keepalives_unanswered: u32,
    /// Its TTL or hop limit in segments without RST: least and most.
    pub(crate) hops: Option<(u8, u8)>,
    /// The verdicts on checksums.
    pub(crate) checksums: Checksums,
    /// Segments larger than the MSS: packets that the sender's NIC was to cut.
    pub(crate) oversized: u64,
    /// Times that numbers were acknowledged and never shown: the capture lost them.
    pub(crate) acked_unseen: u32,
}

/// SYNs or SYN-ACKs of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Handshake {
    /// How many.
    pub(crate) count: u32,
    /// The first, in ns since 1970.
    pub(crate) first_ns: u64,
    /// The last.
    pub(crate) last_ns: u64,
    /// They had ACK as well.
    pub(crate) with_ack: bool,
    /// SYN-ACKs since the other end acknowledged the first of them.
    pub(crate) again_after_ack: u32,
    /// When the last of those was sent.
    pub(crate) again_after_ack_ns: u64,
}

/// When and for how long a receive window was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClosedWindow {
    /// Since when it is closed now, in ns since 1970.
    pub(crate) since_ns: Option<u64>,
    /// The latest word that it is still closed.
    pub(crate) last_word_ns: u64,
    /// The longest time, in ns.
    pub(crate) longest_ns: u64,
    /// How often it closed.
    pub(crate) count: u32,
    /// Probes of the other end.
    pub(crate) probes: u32,
    /// Segments that said again that it is closed, after a probe.
    pub(crate) answered_probes: u32,
}

impl ClosedWindow {
    /// The longest time, the present one included, in ns.
    #[must_use]
    pub(crate) fn longest_ns(&self) -> u64 {
        let now = self
            .since_ns
            .map_or(0, |since| self.last_word_ns.saturating_sub(since));
        self.longest_ns.max(now)
    }
}

/// Retransmissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Again {
    /// Segments with payload or FIN.
    pub count: u32,
    /// The first, in ns since 1970.
    pub(crate) first_ns: u64,
    /// The last.
    pub(crate) last_ns: u64,
}

/// A time in which nothing was acknowledged, although it was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// When the oldest number that isn't acknowledged was sent, in ns since 1970.
    pub(crate) since_ns: u64,
    /// When it was last sent again.
    pub(crate) last_ns: u64,
    /// When it ended; the same as `last_ns` while it lasts.
    pub(crate) end_ns: u64,
    /// How often something was sent again.
    pub(crate) count: u32,
    /// The length of the largest segment that was sent again, in bytes.
    pub(crate) largest: u32,
    /// The length of the smallest.
    pub(crate) smallest: u32,
    /// Segments that the other end sent meanwhile, before something was sent again: it is there, and has no word for this end.
    pub(crate) peer_frames: u32,
    /// Segments of the other end since something was last sent again.
    pub(crate) peer_frames_since: u32,
}

impl Stall {
    /// How long, in ns.
    #[must_use]
    pub(crate) const fn lasted_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.since_ns)
    }
}

/// The verdicts on checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checksums {
    /// Right ones.
    pub(crate) right: u64,
    /// Wrong ones.
    pub(crate) wrong: u64,
    /// Those left to a NIC.
    pub(crate) offloaded: u64,
}

impl Checksums {
    /// Wrong ones that no offload explains: a NIC that is to fill in checksums gets all of them wrong.
    #[must_use]
    pub(crate) const fn corrupted(&self) -> u64 {
        if self.right > self.wrong && self.offloaded == 0 {
            self.wrong
        } else {
            0
        }
    }
}
