//! The reset that answers a segment for which there is no connection: RFC 9293 3.10.7.1, and the LISTEN rules of 3.10.7.2.
//!
//! It must never answer a RST, and never look at addresses: whether the segment may be answered at all (group addresses,
//! bad sources) is decided before.

use crate::seq::SeqNum;
use crate::wire::tcp::Flags;

/// The numbers and flags of a reset to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// SEQ of the reset.
    pub seq: SeqNum,
    /// ACK of the reset; means something only when `flags` holds ACK, and is 0 otherwise.
    pub ack: SeqNum,
    /// RST, or RST and ACK.
    pub flags: Flags,
}

/// The reset for a segment to a closed port (RFC 9293 3.10.7.1), or `None` when it is itself a reset.
///
/// With ACK: `<SEQ=SEG.ACK><CTL=RST>`. Without: `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`, where SEG.LEN counts the
/// payload, SYN and FIN.
#[must_use]
#[inline]
pub fn answer_closed(seq: SeqNum, ack: SeqNum, flags: Flags, payload_len: u32) -> Option<Reset> {
    //~ A reset is never answered: -> `if false {`; every_flag_combination_with_and_without_payload_follows_3_10_7_1
    if flags.rst() {
        return None;
    }
    Some(if flags.ack() {
        Reset {
            seq: ack,
            ack: SeqNum(0),
            flags: Flags::RST,
        }
    } else {
        let seg_len = payload_len.wrapping_add(flags.seq_len());
        Reset {
            seq: SeqNum(0),
            ack: seq.add(seg_len),
            flags: Flags::RST_ACK,
        }
    })
}

/// The reaction of a listener to a segment that belongs to no connection (RFC 9293 3.10.7.2, in its order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenStep {
    /// First: a RST can't be for anything sent by this incarnation.
    IgnoreRst,
    /// Second: an ACK acknowledges nothing of ours; reset, unless it turns out to bring a valid cookie.
    ResetAck(Reset),
    /// Third: the SYN of a new connection.
    Syn,
    /// Third, with FIN: no real peer sends it; dropped before it costs an embryo (as Linux does).
    DropSynFin,
    /// Fourth: anything else is dropped.
    Drop,
}

/// The step of RFC 9293 3.10.7.2 that applies.
#[must_use]
#[inline]
pub fn listen_step(ack: SeqNum, flags: Flags) -> ListenStep {
    if flags.rst() {
        ListenStep::IgnoreRst
    } else if flags.ack() {
        ListenStep::ResetAck(Reset {
            seq: ack,
            ack: SeqNum(0),
            flags: Flags::RST,
        })
    } else if flags.syn() {
        if flags.fin() {
            ListenStep::DropSynFin
        } else {
            ListenStep::Syn
        }
    } else {
        ListenStep::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules as RFC 9293 words them, written a second time and on purpose differently: by bit, not by branch.
    fn model(seq: u32, ack: u32, flags: u8, payload: u32) -> Option<(u32, Option<u32>)> {
        let bit = |n: u8| u32::from(flags >> n & 1);
        match (bit(2), bit(4)) {
            (1, _) => None,
            (_, 1) => Some((ack, None)),
            _ => Some((
                0,
                Some(
                    seq.wrapping_add(payload)
                        .wrapping_add(bit(1))
                        .wrapping_add(bit(0)),
                ),
            )),
        }
    }

    #[test]
    fn every_flag_combination_with_and_without_payload_follows_3_10_7_1() {
        for flags in 0..=255u8 {
            for payload in [0u32, 1, 3, 1460] {
                for seq in [0u32, 1, u32::MAX - 1, u32::MAX] {
                    let got = answer_closed(SeqNum(seq), SeqNum(77), Flags(flags), payload);
                    let got = got.map(|reset| {
                        assert!(reset.flags.rst());
                        (reset.seq.0, reset.flags.ack().then_some(reset.ack.0))
                    });
                    assert_eq!(
                        got,
                        model(seq, 77, flags, payload),
                        "{} +{payload}",
                        Flags(flags)
                    );
                }
            }
        }
    }

    #[test]
    fn a_listener_takes_exactly_the_pure_syns() {
        for flags in 0..=255u8 {
            let flags = Flags(flags);
            let step = listen_step(SeqNum(9), flags);
            let only_syn =
                flags & (Flags::SYN | Flags::ACK | Flags::RST | Flags::FIN) == Flags::SYN;
            assert_eq!(step == ListenStep::Syn, only_syn, "{flags}");
            assert_eq!(step == ListenStep::IgnoreRst, flags.rst(), "{flags}");
            if let ListenStep::ResetAck(reset) = step {
                assert_eq!((reset.seq, reset.flags), (SeqNum(9), Flags::RST));
                assert!(flags.ack() && !flags.rst());
            }
        }
    }
}
