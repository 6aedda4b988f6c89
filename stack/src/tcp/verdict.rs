//! The outcome of a segment or a timer: [`Verdict`], [`Outcome`], [`Events`], [`CloseReason`].
//!
//! They must never hold bytes.

use crate::seq::SeqNum;

/// How one segment ended. Every segment has exactly one, and each is a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Payload or FIN accepted in order.
    InOrder,
    /// Payload accepted ahead of a gap.
    OutOfOrder,
    /// Payload ahead of a gap, nothing of it new.
    OutOfOrderDuplicate,
    /// Payload ahead of a gap, and no room to remember another range.
    OutOfOrderNoRoom,
    /// No payload: the acknowledgment or the window moved, or nothing did.
    PureAck,
    /// A duplicate ACK in the sense of RFC 5681 §2.
    DuplicateAck,
    /// The handshake made a step.
    Handshake,
    /// In SYN-SENT: a SYN that acknowledges nothing (simultaneous open, MUST-10). Nothing in it was checked.
    SynCrossed,
    /// All of it was received before.
    Duplicate,
    /// Not within the receive window.
    OutOfWindow,
    /// Payload for a closed receive window; its ACK was used.
    WindowProbe,
    /// An old timestamp (PAWS, RFC 7323 §5).
    Paws,
    /// No timestamp where one was negotiated (RFC 7323 §3.2).
    TimestampMissing,
    /// No ACK bit in a synchronised state.
    AckMissing,
    /// Acknowledges what was never sent.
    AckOfUnsent,
    /// Acknowledges what is older than any window ever was (RFC 5961 §5).
    AckTooOld,
    /// A handshake segment with a wrong acknowledgment.
    HandshakeBadAck,
    /// In SYN-SENT: neither SYN nor RST, or a RST without an acknowledgment of our SYN.
    HandshakeIgnored,
    /// A RST that ended the connection.
    RstAccepted,
    /// A RST outside the window.
    RstOutOfWindow,
    /// A RST in the window, not at its left edge (RFC 5961 §3.2).
    RstChallenged,
    /// A RST that TIME-WAIT ignores (RFC 1337).
    RstInTimeWait,
    /// A SYN in a synchronised state (RFC 5961 §4.2).
    SynChallenged,
    /// A SYN that took a passive SYN-RECEIVED back to LISTEN.
    SynRestart,
    /// A SYN again, before our SYN-ACK was acknowledged.
    SynRetransmitted,
    /// A SYN that may reopen a connection in TIME-WAIT (RFC 6191).
    TimeWaitReopen,
    /// A SYN in TIME-WAIT that may not.
    TimeWaitSyn,
    /// The peer's FIN again, in TIME-WAIT.
    TimeWaitFin,
    /// Payload for an application that closed (RFC 9293 §3.6.1).
    AfterClose,
    /// Payload behind the peer's own FIN.
    AfterFin,
    /// There is no connection any more.
    NoConnection,
}

impl Outcome {
    /// All outcomes, in the order of their numbers.
    pub const ALL: [Self; OUTCOME_COUNT] = [
        Self::InOrder,
        Self::OutOfOrder,
        Self::OutOfOrderDuplicate,
        Self::OutOfOrderNoRoom,
        Self::PureAck,
        Self::DuplicateAck,
        Self::Handshake,
        Self::SynCrossed,
        Self::Duplicate,
        Self::OutOfWindow,
        Self::WindowProbe,
        Self::Paws,
        Self::TimestampMissing,
        Self::AckMissing,
        Self::AckOfUnsent,
        Self::AckTooOld,
        Self::HandshakeBadAck,
        Self::HandshakeIgnored,
        Self::RstAccepted,
        Self::RstOutOfWindow,
        Self::RstChallenged,
        Self::RstInTimeWait,
        Self::SynChallenged,
        Self::SynRestart,
        Self::SynRetransmitted,
        Self::TimeWaitReopen,
        Self::TimeWaitSyn,
        Self::TimeWaitFin,
        Self::AfterClose,
        Self::AfterFin,
        Self::NoConnection,
    ];

    /// The stable name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InOrder => "in_order",
            Self::OutOfOrder => "out_of_order",
            Self::OutOfOrderDuplicate => "out_of_order_duplicate",
            Self::OutOfOrderNoRoom => "out_of_order_no_room",
            Self::PureAck => "pure_ack",
            Self::DuplicateAck => "duplicate_ack",
            Self::Handshake => "handshake",
            Self::SynCrossed => "syn_crossed",
            Self::Duplicate => "duplicate",
            Self::OutOfWindow => "out_of_window",
            Self::WindowProbe => "window_probe",
            Self::Paws => "paws",
            Self::TimestampMissing => "timestamp_missing",
            Self::AckMissing => "ack_missing",
            Self::AckOfUnsent => "ack_of_unsent",
            Self::AckTooOld => "ack_too_old",
            Self::HandshakeBadAck => "handshake_bad_ack",
            Self::HandshakeIgnored => "handshake_ignored",
            Self::RstAccepted => "rst_accepted",
            Self::RstOutOfWindow => "rst_out_of_window",
            Self::RstChallenged => "rst_challenged",
            Self::RstInTimeWait => "rst_in_time_wait",
            Self::SynChallenged => "syn_challenged",
            Self::SynRestart => "syn_restart",
            Self::SynRetransmitted => "syn_retransmitted",
            Self::TimeWaitReopen => "time_wait_reopen",
            Self::TimeWaitSyn => "time_wait_syn",
            Self::TimeWaitFin => "time_wait_fin",
            Self::AfterClose => "after_close",
            Self::AfterFin => "after_fin",
            Self::NoConnection => "no_connection",
        }
    }
}

/// How many outcomes there are.
pub const OUTCOME_COUNT: usize = Outcome::NoConnection as usize + 1;

/// The events of the connection, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(pub u8);

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The handshake is complete.
    pub const OPENED: Self = Self(1);
    /// The peer's FIN was reached: all its data was received.
    pub const PEER_CLOSED: Self = Self(2);
    /// The connection is over; [`CloseReason`] says why. The record goes once `poll_output` has nothing left.
    pub const CLOSED: Self = Self(4);
    /// TIME-WAIT was entered: after the next output the record can be replaced by a `TimeWait`.
    pub const TIME_WAIT: Self = Self(8);
    /// New urgent data was announced (MUST-32).
    pub const URGENT: Self = Self(16);
    /// R1 was reached: advise the IP layer to look for another way (MUST-20), tell the application (SHLD-9).
    pub const R1: Self = Self(32);
    /// An ACK should not wait for the end of the burst.
    pub const ACK_NOW: Self = Self(64);
    /// Full segments vanish where small ones pass, and no ICMP error says so: the path carries no more than the least MTU
    /// of its family.
    pub const BLACK_HOLE: Self = Self(128);

    /// Whether any of `other` is in the set.
    #[must_use]
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The events that are not in `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds the events of `other`.
    #[inline]
    pub const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// How to treat the payload of the segment just judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    /// Nothing of it is wanted.
    #[default]
    None,
    /// Hand these bytes to the application.
    InOrder {
        /// Bytes to leave out at the front of the payload.
        skip: u32,
        /// Bytes to take behind them.
        len: u32,
        /// How many bytes that were stored out of order are in order now, right behind these. Stored bytes below
        /// that point which these bytes overlap are to be dropped.
        released: u32,
    },
    /// Store these bytes: they belong behind a gap. What is stored already lies outside of them, or wholly within them and
    /// is to be let go.
    OutOfOrder {
        /// The sequence number of the first byte taken.
        seq: SeqNum,
        /// Bytes to leave out at the front of the payload.
        skip: u32,
        /// Bytes to take behind them.
        len: u32,
    },
}

/// The reply that is due at once, written into the received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    /// Nothing; ACKs come out of `poll_output`.
    #[default]
    None,
    /// A reset by the rules of RFC 9293 §3.10.7.1, made from the segment that drew it.
    Reset,
}

/// The outcome of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How the segment ended; counted already.
    pub outcome: Outcome,
    /// The events of the connection.
    pub events: Events,
    /// The reply that is due at once.
    pub reply: Reply,
    /// Bytes of payload newly acknowledged: they leave the front of the TX queue.
    pub acked_len: u32,
    /// How to treat the payload.
    pub payload: Payload,
}

impl Verdict {
    pub(super) const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            events: Events::NONE,
            reply: Reply::None,
            acked_len: 0,
            payload: Payload::None,
        }
    }
}

/// An ICMP error that the connection heard of, by what it says (RFC 9293 §3.9.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IcmpErrorKind {
    /// Destination unreachable: net, host or source route failed (codes 0, 1, 5), or IPv6 no route / address.
    /// A soft error.
    Unreachable,
    /// Time exceeded. A soft error.
    TimeExceeded,
    /// Parameter problem. A soft error.
    ParameterProblem,
    /// Destination unreachable: protocol or port (codes 2, 3). Hard before the connection is synchronised.
    PortUnreachable,
    /// Administratively prohibited. Treated as soft.
    Prohibited,
}

/// Why a connection ended, as the application learns it: a normal close differs from an abort (MUST-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both directions ended with an acknowledged FIN, or the open was withdrawn by a close in SYN-SENT.
    Graceful,
    /// RST in answer to our SYN: ECONNREFUSED.
    Refused,
    /// RST from the peer: ECONNRESET.
    Reset,
    /// A passive embryo went back to LISTEN; the application never heard of it.
    BackToListen,
    /// R2: no acknowledgment in time. ETIMEDOUT, or what the last soft error suggests (EHOSTUNREACH).
    TimedOut {
        /// The last ICMP error heard meanwhile.
        soft: Option<IcmpErrorKind>,
    },
    /// Keepalive probes went unanswered.
    KeepaliveTimedOut,
    /// A hard ICMP error before the connection was synchronised (RFC 5927 §5.2).
    Unreachable(IcmpErrorKind),
    /// The application aborted.
    Aborted,
    /// The application closed while received data was unread: the peer was reset (RFC 1122 §4.2.2.13).
    UnreadData,
    /// Data arrived after the application closed: the peer was reset (SHLD-3).
    DataAfterClose,
    /// The peer never closed its direction after we closed for good.
    FinWait2TimedOut,
    /// The peer took nothing, or the application read nothing, for too long while others waited for the places that the
    /// connection held in the queues: the peer was reset (RFC 6429). ENOBUFS.
    Evicted,
}

impl CloseReason {
    /// The names of all reasons, in the order in which they are declared: words of reports, stable.
    pub const NAMES: [&'static str; 12] = [
        "graceful",
        "refused",
        "reset",
        "back_to_listen",
        "timed_out",
        "keepalive_timed_out",
        "unreachable",
        "aborted",
        "unread_data",
        "data_after_close",
        "fin_wait_2_timed_out",
        "evicted",
    ];

    /// The place of this reason in [`Self::NAMES`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Graceful => 0,
            Self::Refused => 1,
            Self::Reset => 2,
            Self::BackToListen => 3,
            Self::TimedOut { .. } => 4,
            Self::KeepaliveTimedOut => 5,
            Self::Unreachable(_) => 6,
            Self::Aborted => 7,
            Self::UnreadData => 8,
            Self::DataAfterClose => 9,
            Self::FinWait2TimedOut => 10,
            Self::Evicted => 11,
        }
    }
}
