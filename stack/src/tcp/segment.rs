//! One segment in numbers, as TCP needs it: [`Segment`] in, [`SendPlan`] out, [`SegmentOptions`] in both.
//!
//! It must never hold or borrow bytes: a segment is Copy and says nothing about the frame that carried it.

use crate::seq::SeqNum;
pub use crate::wire::tcp::Flags;
pub use crate::wire::tcp_options::{SegmentOptions, Timestamps as TimestampOption};

/// Whether our SYNs carry SACK-permitted. Not before SACK is built: a connection remembers it only if both SYNs did.
pub const OFFERS_SACK: bool = false;

/// One received segment. Fields are host byte order; legality (checksum, lengths) was checked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK, meaningful only with [`Flags::ACK`].
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as on the wire, not scaled.
    pub window: u16,
    /// SEG.UP, meaningful only with [`Flags::URG`].
    pub urgent: u16,
    /// Bytes of payload.
    pub payload_len: u32,
    /// Parsed options.
    pub options: SegmentOptions,
    /// Text (and a FIN) that it had was taken off for want of room: it counts as lost, but the segment was no pure ACK.
    pub is_stripped: bool,
}

impl Segment {
    /// SEG.LEN: payload plus one each for SYN and FIN (RFC 9293 §3.3.1). Wraps like every peer-given number.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> u32 {
        self.payload_len.wrapping_add(self.flags.seq_len())
    }

    /// Whether the segment occupies no sequence space.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// TSval of the timestamps option, if there is one.
    #[must_use]
    #[inline]
    pub fn tsval(&self) -> Option<u32> {
        self.options.timestamps.map(|option| option.tsval)
    }

    /// The first sequence number behind the segment.
    #[must_use]
    #[inline]
    pub const fn end(&self) -> SeqNum {
        self.seq.add(self.len())
    }
}

/// One segment that the connection wants on the wire, in numbers. The caller of `poll_output` builds the frame;
/// a frame that can't be built counts as lost on the way and is retransmitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendPlan {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number, 0 without [`Flags::ACK`].
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// The window field, scaled already.
    pub window: u16,
    /// The urgent pointer, 0 without [`Flags::URG`].
    pub urgent: u16,
    /// Bytes of payload: at most the effective MSS.
    pub payload_len: u32,
    /// Where the payload starts: bytes behind the oldest byte that is not acknowledged yet (the front of the TX queue).
    pub payload_offset: u32,
    /// Options to write.
    pub options: SegmentOptions,
    /// Whether these sequence numbers were sent before.
    pub is_retransmission: bool,
}

impl SendPlan {
    /// The same segment as its receiver sees it (tests, the simulated world, packet ladders).
    #[must_use]
    pub const fn as_segment(&self) -> Segment {
        Segment {
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: self.urgent,
            payload_len: self.payload_len,
            options: self.options,
            is_stripped: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syn_and_fin_each_occupy_one_number() {
        let mut seg = Segment {
            payload_len: 3,
            ..Segment::default()
        };
        assert_eq!(seg.len(), 3);
        seg.flags = Flags::SYN.with(Flags::FIN).with(Flags::ACK);
        assert_eq!(seg.len(), 5);
        seg.seq = SeqNum(u32::MAX);
        assert_eq!(seg.end(), SeqNum(4));
    }

    #[test]
    fn options_are_read_as_they_were_written() {
        let options = SegmentOptions {
            timestamps: Some(TimestampOption { tsval: 1, tsecr: 2 }),
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: false,
        };
        let bytes = options.to_bytes();
        assert_eq!(SegmentOptions::parse(bytes.as_padded()), options);
        let only_timestamps = SegmentOptions {
            mss: None,
            window_scale: None,
            ..options
        };
        assert_eq!(only_timestamps.to_bytes().as_padded().len(), 12);
    }
}
