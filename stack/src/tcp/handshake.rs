//! The passive handshake between SYN and ESTABLISHED: what an embryo does with a segment (RFC 9293 3.10.7.4, SYN-RECEIVED).
//!
//! It must never change a record itself: it returns the step, the caller owns record, timer and reply.

use super::answer_limits::Answer;
use super::negotiated::Negotiated;
use super::reset::Reset;
use super::segment::Segment;
use super::timestamps::is_older;
use super::window::acceptable;
use crate::seq::SeqNum;
use crate::wire::tcp::Flags;

/// The numbers that SYN-RECEIVED keeps for judging segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbryoNumbers {
    /// IRS: the SYN's sequence number.
    pub irs: SeqNum,
    /// ISS: our SYN-ACK's sequence number.
    pub iss: SeqNum,
    /// RCV.WND in bytes.
    pub rcv_wnd: u32,
    /// TS.Recent when timestamps are in use.
    pub ts_recent: Option<u32>,
    /// Whether a segment must have a timestamp when they are (RFC 7323 §3.2).
    pub requires_timestamp: bool,
}

/// A peer's SYN that an embryo or a cookie has answered, as far as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredSyn {
    /// IRS: its sequence number.
    pub irs: SeqNum,
    /// Its window in bytes; never scaled (RFC 7323 §2.2).
    pub window: u16,
    /// TS.Recent; meaningless without timestamps.
    pub ts_recent: u32,
    /// The options that its SYN and our SYN-ACK agreed on.
    pub negotiated: Negotiated,
}

/// The reaction of an embryo to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbryoStep {
    /// The SYN again: the SYN-ACK was lost or is late; send it again, within the budget for old segments with text.
    SynAckAgain,
    /// Send `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>` within this budget and drop the segment.
    Answer(Answer),
    /// A valid reset: the embryo ends, the listener listens on.
    Reset,
    /// A SYN in the window: back to LISTEN without an answer (fourth step, passive open).
    BackToListen,
    /// Drop without an answer.
    Drop,
    /// An ACK of something never sent: answer with this reset, the embryo stays.
    BadAck(Reset),
    /// The handshake is complete.
    Establish,
}

/// Whether PAWS rejects a segment with `tsval` (RFC 7323 §5.3 R1); resets are exempt (§5.2).
#[must_use]
#[inline]
pub fn paws_rejects(ts_recent: Option<u32>, tsval: Option<u32>, flags: Flags) -> bool {
    match (ts_recent, tsval) {
        (Some(recent), Some(tsval)) => !flags.rst() && is_older(tsval, recent),
        _ => false,
    }
}

/// The step of RFC 9293 3.10.7.4 for SYN-RECEIVED after a passive open, in the RFC's order.
#[must_use]
pub fn embryo_step(embryo: &EmbryoNumbers, segment: &Segment) -> EmbryoStep {
    let flags = segment.flags;
    let rcv_nxt = embryo.irs.add(1);
    let only_syn = flags.syn() && !flags.intersects(Flags::ACK | Flags::RST | Flags::FIN);
    if only_syn && segment.seq == embryo.irs {
        //~ The peer's SYN again gets the same SYN-ACK: -> `return EmbryoStep::Drop;`;
        //~   the_syn_again_gets_its_syn_ack_again
        return EmbryoStep::SynAckAgain;
    }
    // RFC 7323 §3.2. The connection that it becomes judges so too: what it would drop mustn't make one.
    let is_stamped = embryo.ts_recent.is_none() || segment.tsval().is_some();
    if embryo.requires_timestamp && !is_stamped && !flags.rst() {
        return EmbryoStep::Drop;
    }
    // First: sequence number, and PAWS before it (RFC 7323 §5.3).
    let in_window = acceptable(segment.seq, segment.len(), rcv_nxt, embryo.rcv_wnd);
    //~ PAWS for embryos: `|| paws_rejects(embryo.ts_recent, segment.tsval(), flags)` -> nothing;
    //~   paws_challenges_old_segments_but_never_resets
    if !in_window || paws_rejects(embryo.ts_recent, segment.tsval(), flags) {
        return if flags.rst() {
            EmbryoStep::Drop
        } else {
            EmbryoStep::Answer(Answer::to(segment, rcv_nxt, embryo.rcv_wnd))
        };
    }
    // Second: RST, exact or challenged (RFC 5961 §3.2).
    if flags.rst() {
        //~ A RST of an embryo must be exact: -> `let exact = true;`; tests::a_reset_must_be_exact
        let exact = segment.seq == rcv_nxt;
        return if exact {
            EmbryoStep::Reset
        } else {
            EmbryoStep::Answer(Answer::Challenge)
        };
    }
    // Fourth: SYN.
    if flags.syn() {
        return EmbryoStep::BackToListen;
    }
    // Fifth: ACK. SND.UNA < SEG.ACK =< SND.NXT leaves one number.
    if !flags.ack() {
        return EmbryoStep::Drop;
    }
    if segment.ack != embryo.iss.add(1) {
        return EmbryoStep::BadAck(Reset {
            seq: segment.ack,
            ack: SeqNum(0),
            flags: Flags::RST,
        });
    }
    EmbryoStep::Establish
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::segment::TimestampOption;
    use proptest::prelude::*;

    const EMBRYO: EmbryoNumbers = EmbryoNumbers {
        irs: SeqNum(u32::MAX),
        iss: SeqNum(1000),
        rcv_wnd: 100,
        ts_recent: Some(50),
        requires_timestamp: false,
    };

    fn segment(seq: u32, ack: u32, flags: Flags) -> Segment {
        Segment {
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags,
            ..Segment::default()
        }
    }

    fn stamped(tsval: u32, flags: Flags) -> Segment {
        let mut segment = segment(0, 1001, flags);
        segment.options.timestamps = Some(TimestampOption { tsval, tsecr: 0 });
        segment
    }

    fn step(segment: Segment) -> EmbryoStep {
        embryo_step(&EMBRYO, &segment)
    }

    proptest! {
        #[test]
        fn acceptability_matches_the_naive_walk(
            rcv_nxt: u32, rcv_wnd in 0u32..20, offset in -25i32..25, len in 0u32..25,
        ) {
            let seq = rcv_nxt.wrapping_add_signed(offset);
            let in_window = |s: u32| (0..rcv_wnd).any(|i| rcv_nxt.wrapping_add(i) == s);
            // The RFC tests the first and the last number only; a segment that covers the window whole fails both.
            let expected = match (len, rcv_wnd) {
                (0, 0) => seq == rcv_nxt,
                (0, _) => in_window(seq),
                (_, 0) => false,
                _ => in_window(seq) || in_window(seq.wrapping_add(len - 1)),
            };
            prop_assert_eq!(acceptable(SeqNum(seq), len, SeqNum(rcv_nxt), rcv_wnd), expected);
        }
    }

    #[test]
    fn the_final_ack_establishes_and_only_with_the_one_right_number() {
        assert_eq!(step(segment(0, 1001, Flags::ACK)), EmbryoStep::Establish);
        for wrong in [1000, 1002, 0] {
            let reset = Reset {
                seq: SeqNum(wrong),
                ack: SeqNum(0),
                flags: Flags::RST,
            };
            assert_eq!(
                step(segment(0, wrong, Flags::ACK)),
                EmbryoStep::BadAck(reset)
            );
        }
        assert_eq!(step(segment(0, 1001, Flags::NONE)), EmbryoStep::Drop);
    }

    #[test]
    fn the_syn_again_gets_its_syn_ack_again() {
        assert_eq!(
            step(segment(u32::MAX, 0, Flags::SYN)),
            EmbryoStep::SynAckAgain
        );
        assert_eq!(
            step(segment(u32::MAX, 0, Flags::SYN | Flags::ACK)),
            EmbryoStep::Answer(Answer::OldText)
        );
        assert_eq!(
            step(segment(u32::MAX - 1, 0, Flags::SYN)),
            EmbryoStep::Answer(Answer::OldText)
        );
        assert_eq!(
            step(segment(u32::MAX - 200, 0, Flags::SYN)),
            EmbryoStep::Answer(Answer::Challenge)
        );
        assert_eq!(step(segment(5, 0, Flags::SYN)), EmbryoStep::BackToListen);
    }

    #[test]
    fn a_reset_must_be_exact() {
        assert_eq!(step(segment(0, 0, Flags::RST)), EmbryoStep::Reset);
        assert_eq!(
            step(segment(1, 0, Flags::RST)),
            EmbryoStep::Answer(Answer::Challenge)
        );
        assert_eq!(
            step(segment(99, 0, Flags::RST | Flags::ACK)),
            EmbryoStep::Answer(Answer::Challenge)
        );
        assert_eq!(step(segment(100, 0, Flags::RST)), EmbryoStep::Drop);
        assert_eq!(step(segment(u32::MAX, 0, Flags::RST)), EmbryoStep::Drop);
    }

    #[test]
    fn paws_challenges_old_segments_but_never_resets() {
        assert_eq!(
            step(stamped(49, Flags::ACK)),
            EmbryoStep::Answer(Answer::Challenge)
        );
        assert_eq!(step(stamped(50, Flags::ACK)), EmbryoStep::Establish);
        assert_eq!(step(stamped(49, Flags::RST)), EmbryoStep::Reset);
    }
}
