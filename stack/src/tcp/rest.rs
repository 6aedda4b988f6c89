//! A connection at rest: established, nothing queued, nothing unacknowledged (RFC 9293 3.10.7.4, ESTABLISHED).
//!
//! Called by: the process stage, for segments whose tuple is a parked record's. It must never carry data: whatever
//! brings data or a FIN has to wake the connection first.

use super::handshake::{SegmentHead, paws_rejects};
use super::seq::SeqNum;
use super::window::acceptable;

/// What a connection at rest remembers for judging segments. SND.UNA equals SND.NXT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestNumbers {
    /// SND.NXT, and SND.UNA.
    pub snd_nxt: SeqNum,
    /// RCV.NXT.
    pub rcv_nxt: SeqNum,
    /// RCV.WND in bytes.
    pub rcv_wnd: u32,
    /// The largest window that the peer ever offered, in bytes (MAX.SND.WND of RFC 5961 §5.2).
    pub max_snd_wnd: u32,
    /// TS.Recent when timestamps are in use.
    pub ts_recent: Option<u32>,
}

/// What a connection at rest does with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestStep {
    /// Only acknowledgement, window or timestamp; nothing to answer.
    Ack,
    /// A valid reset: the connection ends.
    Reset,
    /// Answer `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>` (RFC 5961), drop the segment.
    Challenge,
    /// Drop without an answer.
    Drop,
    /// Data or FIN: the connection must wake to take it.
    Wake,
}

/// The step of RFC 9293 3.10.7.4 for ESTABLISHED, in the RFC's order, as far as a connection at rest can take it.
#[must_use]
pub fn rest_step(rest: &RestNumbers, segment: &SegmentHead) -> RestStep {
    let flags = segment.flags;
    let in_window = acceptable(segment.seq, segment.seq_len(), rest.rcv_nxt, rest.rcv_wnd);
    if !in_window || paws_rejects(rest.ts_recent, segment.tsval, flags) {
        // SYN in a synchronized state is challenged wherever it lies (RFC 5961 §4.2): so is all else but a reset.
        return if flags.rst() {
            RestStep::Drop
        } else {
            RestStep::Challenge
        };
    }
    if flags.rst() {
        return if segment.seq == rest.rcv_nxt {
            RestStep::Reset
        } else {
            RestStep::Challenge
        };
    }
    if flags.syn() {
        return RestStep::Challenge;
    }
    if !flags.ack() {
        return RestStep::Drop;
    }
    // RFC 5961 §5.2: SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT.
    if rest.snd_nxt.since(segment.ack) > rest.max_snd_wnd {
        return RestStep::Challenge;
    }
    if segment.seq_len() > 0 {
        RestStep::Wake
    } else {
        RestStep::Ack
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::Flags;

    const REST: RestNumbers = RestNumbers {
        snd_nxt: SeqNum(10),
        rcv_nxt: SeqNum(u32::MAX),
        rcv_wnd: 100,
        max_snd_wnd: 50,
        ts_recent: None,
    };

    fn step(seq: u32, ack: u32, flags: Flags, payload_len: u32) -> RestStep {
        let (seq, ack) = (SeqNum(seq), SeqNum(ack));
        rest_step(
            &REST,
            &SegmentHead {
                seq,
                ack,
                flags,
                payload_len,
                tsval: None,
            },
        )
    }

    #[test]
    fn resets_end_it_only_when_exact() {
        assert_eq!(step(u32::MAX, 0, Flags::RST, 0), RestStep::Reset);
        assert_eq!(step(0, 0, Flags::RST, 0), RestStep::Challenge);
        assert_eq!(step(99, 0, Flags::RST, 0), RestStep::Drop);
    }

    #[test]
    fn syns_are_challenged_wherever_they_lie() {
        for seq in [0, 50, 5_000, u32::MAX] {
            assert_eq!(step(seq, 10, Flags::SYN, 0), RestStep::Challenge);
            assert_eq!(step(seq, 10, Flags::SYN_ACK, 0), RestStep::Challenge);
        }
    }

    #[test]
    fn acknowledgements_of_the_future_or_the_distant_past_are_challenged() {
        assert_eq!(step(u32::MAX, 10, Flags::ACK, 0), RestStep::Ack);
        assert_eq!(
            step(u32::MAX, 10u32.wrapping_sub(50), Flags::ACK, 0),
            RestStep::Ack
        );
        assert_eq!(
            step(u32::MAX, 10u32.wrapping_sub(51), Flags::ACK, 0),
            RestStep::Challenge
        );
        assert_eq!(step(u32::MAX, 11, Flags::ACK, 0), RestStep::Challenge);
    }

    #[test]
    fn data_and_fin_wake_it_and_nothing_without_ack_does() {
        assert_eq!(step(u32::MAX, 10, Flags::ACK, 1), RestStep::Wake);
        assert_eq!(
            step(u32::MAX, 10, Flags::ACK | Flags::FIN, 0),
            RestStep::Wake
        );
        assert_eq!(step(u32::MAX, 10, Flags::NONE, 1), RestStep::Drop);
        assert_eq!(step(200, 10, Flags::ACK, 1), RestStep::Challenge);
    }
}
