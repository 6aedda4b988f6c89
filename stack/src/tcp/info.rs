//! [`TcpInfo`]: what a connection knows, for applications and reports: what Linux calls TCP_INFO.
//!
//! It must never be kept beside the connection: every field is computed.

use core::time::Duration;

use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::{CloseReason, IcmpErrorKind};

/// The state of a connection: its path, its peer and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The smoothed round-trip time (RFC 6298 §2), once there was a sample.
    pub srtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Duration,
    /// The retransmission timeout, backoff included.
    pub rto: Duration,
    /// cwnd in bytes.
    pub cwnd: u32,
    /// ssthresh in bytes; `None` before the first loss.
    pub ssthresh: Option<u32>,
    /// Payload bytes of a full segment that we send: what the peer takes and the path carries, less the options.
    pub snd_mss: u16,
    /// The MSS that we have announced, options included (RFC 6691).
    pub rcv_mss: u16,
    /// Segments sent again since the connection opened or was last unparked, SYN and SYN-ACK included; 65,535 at most.
    pub retransmissions: u32,
    /// Whether timestamps were negotiated (RFC 7323 §3).
    pub timestamps: bool,
    /// The shifts of the peer's windows and of ours, if window scaling was negotiated (RFC 7323 §2).
    pub window_scales: Option<(u8, u8)>,
    /// Whether both SYNs permitted SACK (RFC 2018).
    pub sack_permitted: bool,
    /// Sequence numbers that the peer has acknowledged since the connection opened or was last unparked, modulo 2^32: bytes, and one
    /// each for SYN and FIN.
    pub acked_len: u32,
    /// Sequence numbers received in order since then, modulo 2^32: bytes, and one for FIN.
    pub received_len: u32,
    /// The last ICMP error that the connection survived (RFC 9293 MUST-47).
    pub soft_error: Option<IcmpErrorKind>,
    /// Which side's FIN came first, once one has come; ours where they crossed.
    pub closed_first: Option<ConnectionEnd>,
    /// Why the connection ended, once it has: what [`crate::worker::app::App::on_close`] was called with.
    pub close_reason: Option<CloseReason>,
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// Ours.
    Local,
    /// The peer's.
    Remote,
}

impl Tcb {
    /// The state of the connection.
    #[must_use]
    pub fn info(&self) -> TcpInfo {
        let rtt = &self.cold.rtt;
        let us = |us: u32| Duration::from_micros(us.into());
        let negotiated = self.negotiated();
        let (_, _, rcv_nxt) = self.numbers();
        TcpInfo {
            srtt: rtt.srtt_us().map(us),
            rttvar: us(rtt.rttvar_us()),
            rto: self.rto(),
            cwnd: self.congestion.window(),
            ssthresh: Some(self.congestion.threshold()).filter(|&bytes| bytes != u32::MAX),
            snd_mss: self.mss,
            rcv_mss: self.cold.params.local_mss,
            retransmissions: self.cold.retransmissions.into(),
            timestamps: negotiated.timestamps,
            window_scales: negotiated.window_scale.map(|send| (send, self.rcv_scale())),
            sack_permitted: negotiated.sack_permitted,
            acked_len: self.acked_len(),
            received_len: match self.state {
                State::SynSent | State::Listen => 0,
                _ => rcv_nxt.since(self.cold.irs.add(1)),
            },
            soft_error: self.soft_error(),
            closed_first: self.closed_first(),
            close_reason: self.close_reason(),
        }
    }

    /// Which FIN came first, by the way that the states took.
    fn closed_first(&self) -> Option<ConnectionEnd> {
        match self.state {
            State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait => {
                Some(ConnectionEnd::Local)
            }
            State::CloseWait | State::LastAck => Some(ConnectionEnd::Remote),
            // By way of LAST-ACK, unless the open was withdrawn before the peer had said anything.
            State::Closed if self.close_reason() == Some(CloseReason::Graceful) => {
                (self.acked_len() > 0).then_some(ConnectionEnd::Remote)
            }
            _ => None,
        }
    }
}
