//! [`Stream`]: the bytes of one side of two connections that talk to each other. What it sends follows from the place in its
//! stream; what it hears it keeps and puts in order as a connection record would.
//!
//! The fuzz target `tcb_pair` has this file too, by its path.

use std::collections::BTreeMap;

use crate::seq::SeqNum;
use crate::tcp::segment::SendPlan;
use crate::tcp::verdict::Payload;

/// The byte at this place of what this side writes.
pub(crate) fn byte(side: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8) ^ (side as u64 * 0x55)) as u8
}

pub(crate) struct Stream {
    /// Which side it is.
    pub(crate) index: usize,
    pub(crate) acked: u64,
    pub(crate) sent: u64,
    /// The peer's ISS.
    pub(crate) irs: SeqNum,
    /// All that came in order.
    pub(crate) read: Vec<u8>,
    pub(crate) unread: u32,
    /// Bytes behind gaps, by their place.
    ahead: BTreeMap<u64, Vec<u8>>,
}

impl Stream {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            acked: 0,
            sent: 0,
            irs: SeqNum(0),
            read: Vec::new(),
            unread: 0,
            ahead: BTreeMap::new(),
        }
    }

    /// The treatment of a segment's payload by a connection record.
    pub(crate) fn take(&mut self, payload: Payload, bytes: &[u8]) {
        match payload {
            Payload::None => {}
            Payload::InOrder {
                skip,
                len,
                released,
            } => {
                self.read
                    .extend_from_slice(&bytes[skip as usize..][..len as usize]);
                self.unread += len + released;
                let end = self.read.len() as u64 + u64::from(released);
                while let Some(entry) = self.ahead.first_entry() {
                    let (at, have) = (*entry.key(), self.read.len() as u64);
                    if at > have {
                        break;
                    }
                    let piece = entry.remove();
                    let old = ((have - at) as usize).min(piece.len());
                    self.read.extend_from_slice(&piece[old..]);
                }
                let have = self.read.len() as u64;
                assert_eq!(have, end, "as much was kept as is released");
            }
            Payload::OutOfOrder { seq, skip, len } => {
                let at = u64::from(seq.since(self.irs.add(1)));
                let piece = bytes[skip as usize..][..len as usize].to_vec();
                let up_to = at + u64::from(len);
                self.ahead.retain(|&other, kept| {
                    let end = other + kept.len() as u64;
                    let is_covered = at <= other && end <= up_to;
                    let is_apart = up_to <= other || end <= at;
                    assert!(is_apart || is_covered, "kept pieces overlap");
                    !is_covered
                });
                self.ahead.insert(at, piece);
            }
        }
    }

    /// The bytes of a segment; a first transmission moves `sent`.
    pub(crate) fn bytes_of(&mut self, plan: &SendPlan) -> Vec<u8> {
        let start = self.acked + u64::from(plan.payload_offset);
        let end = start + u64::from(plan.payload_len);
        if !plan.is_retransmission && plan.payload_len > 0 {
            assert_eq!(start, self.sent, "new data doesn't follow what was sent");
            self.sent = end;
        }
        assert!(end <= self.sent, "a retransmission of what was never sent");
        let byte = |offset| byte(self.index, offset);
        (start..end).map(byte).collect()
    }
}
