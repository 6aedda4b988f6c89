//! [`Reset`]: a segment with RST, where its number lay, and what it answers.
//!
//! It must never take a number on trust: a reset outside of the window changes nothing.

use stack::tcp::segment::Segment;

use crate::side::{End, Side};

/// A reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reset {
    /// By whom.
    pub(crate) from: End,
    /// When, in ns since 1970.
    pub(crate) at_ns: u64,
    /// Whether ACK was set: a deliberate abort, or an answer to a SYN; without it, an answer to a segment with ACK.
    pub(crate) with_ack: bool,
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// Where its number lay.
    pub(crate) fit: Fit,
    /// The segment that it answers.
    pub(crate) cause: ResetCause,
    /// New bytes of the other end since its sender last sent payload.
    pub(crate) bytes_unanswered: u64,
}

/// Where the number of a reset lay in its receiver's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Exactly at the next number: it counts.
    Exact,
    /// In the window, but not exact: RFC 5961 draws a challenge ACK.
    InWindow,
    /// Outside: it is ignored.
    Outside,
    /// The capture doesn't say.
    Unknown,
}

/// The segment that a reset answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum ResetCause {
    /// A SYN.
    Syn,
    /// A SYN-ACK that the sender of the reset never acknowledged.
    SynAck,
    /// Payload that came after its sender's FIN.
    DataAfterFin,
    /// A segment with ACK: the reset's number is that segment's acknowledgment.
    Segment,
    /// Nothing: its sender's own decision.
    Nothing,
}

/// Where the number of a reset lies.
pub(crate) fn fit(own: &Side, peer: &Side, segment: &Segment) -> Fit {
    if segment.flags.ack() && own.next.is_none() {
        // To a SYN, only the acknowledgment counts (RFC 9293 §3.10.7.3).
        return match peer.next {
            Some(next) if next == segment.ack => Fit::Exact,
            Some(_) if peer.syn.count > 0 => Fit::Outside,
            _ => Fit::Unknown,
        };
    }
    let expected = peer.acked.or(own.next);
    let Some(expected) = expected else {
        return Fit::Unknown;
    };
    let scale = peer
        .window_scale
        .unwrap_or(if peer.syn.count > 0 { 0 } else { 14 });
    let window = u32::from(peer.window) << scale.min(14);
    if segment.seq == expected || Some(segment.seq) == own.next {
        Fit::Exact
    } else if segment.seq.in_window(expected, window.max(1)) {
        Fit::InWindow
    } else {
        Fit::Outside
    }
}

/// The segment that a reset answers; `last` is the other end's latest segment.
pub(crate) fn cause(
    own: &Side,
    peer: &Side,
    last: Option<Segment>,
    segment: &Segment,
) -> ResetCause {
    let flags = segment.flags;
    if flags.ack() {
        // Without the SYN in the capture, its shape shows it: a closed port's reset has the number and the window 0.
        let has_its_shape = segment.seq.0 == 0 && segment.window == 0;
        let answers_syn = if peer.syn.count > 0 {
            own.next.is_none() && !peer.syn.with_ack
        } else {
            own.frames <= 1 && peer.frames == 0 && has_its_shape
        };
        return if answers_syn {
            ResetCause::Syn
        } else {
            ResetCause::Nothing
        };
    }
    let Some(last) = last else {
        return ResetCause::Nothing;
    };
    if last.ack != segment.seq || !last.flags.ack() {
        return ResetCause::Nothing;
    }
    if last.flags.syn() && own.acked.is_none() {
        ResetCause::SynAck
    } else if own.fin_ns.is_some() && peer.data_after_fin_ns.is_some() {
        ResetCause::DataAfterFin
    } else {
        ResetCause::Segment
    }
}
