//! How the numbers of a sender advance: what is new, what comes again, what gets through.
//!
//! It must never judge: a stall may be loss, a dead host or a small MTU.

use stack::seq::SeqNum;
use stack::tcp::segment::Segment;

use crate::rows::Mark;
use crate::side::{Side, Stall};

/// A segment that fills a gap within this time was overtaken; later it was sent again.
const OVERTAKEN_NS: u64 = 3_000_000;
/// Bytes that timestamps take off the MSS.
const TIMESTAMPS_LEN: u32 = 12;

/// The length of a segment when it leaves the NIC, which cuts what is larger than the MSS.
pub(crate) fn on_the_wire(payload_len: u32, mss: Option<u16>) -> u32 {
    match mss {
        Some(mss) if payload_len > mss.into() => u32::from(mss).saturating_sub(TIMESTAMPS_LEN),
        _ => payload_len,
    }
}

impl Side {
    /// A segment below the next number.
    pub(crate) fn take_again(&mut self, at_ns: u64, segment: &Segment, len: u32) -> Mark {
        if let Some((start, end, since)) = self.hole
            && !segment.seq.before(start)
            && !end.before(segment.end())
            && at_ns.saturating_sub(since) < OVERTAKEN_NS
        {
            self.overtaken += 1;
            return Mark::Overtaken;
        }
        if self.again.count == 0 {
            self.again.first_ns = at_ns;
        }
        self.again.count += 1;
        self.again.last_ns = at_ns;
        let since_ns = self.outstanding_since_ns.unwrap_or(at_ns);
        let stall = self.stall.get_or_insert(Stall {
            since_ns,
            last_ns: at_ns,
            end_ns: at_ns,
            count: 0,
            largest: len,
            smallest: len,
            peer_frames: 0,
            peer_frames_since: 0,
        });
        stall.peer_frames += core::mem::take(&mut stall.peer_frames_since);
        stall.count += 1;
        stall.last_ns = at_ns;
        stall.end_ns = at_ns;
        stall.largest = stall.largest.max(len);
        stall.smallest = stall.smallest.min(len);
        if let Some((end, pending)) = self.pending_len
            && pending > len
            && !end.before(segment.seq)
        {
            self.pending_len = Some((segment.end(), len));
        }
        Mark::Again
    }

    pub(crate) fn take_new(
        &mut self,
        at_ns: u64,
        end: SeqNum,
        len: u32,
        new: u32,
        segment: &Segment,
    ) {
        self.next = Some(end);
        let payload = new.min(segment.payload_len);
        self.new_bytes += u64::from(payload);
        self.bytes_unanswered += u64::from(payload);
        if len > self.delivered_len && self.pending_len.is_none() {
            self.pending_len = Some((end, len));
        }
        if segment.flags.fin() {
            self.fin_ns.get_or_insert(at_ns);
        }
    }

    /// The other end acknowledged up to `ack`.
    pub(crate) fn acknowledged(&mut self, at_ns: u64, ack: SeqNum) {
        let is_all = self.next.is_none_or(|next| !ack.before(next));
        self.outstanding_since_ns = (!is_all).then_some(at_ns);
        self.sacked_len = 0;
        if let Some((end, len)) = self.pending_len
            && !ack.before(end)
        {
            self.delivered_len = self.delivered_len.max(len);
            self.pending_len = None;
        }
        if let Some(mut stall) = self.stall.take() {
            stall.end_ns = at_ns;
            // Behind this, a frame of that length may be one that a NIC cuts into smaller ones.
            let is_first = self.delivered_len < stall.largest;
            if stall.smallest < stall.largest && stall.count >= 3 && is_first {
                self.shrunk.get_or_insert((stall.largest, stall.smallest));
            }
            if self
                .longest_stall
                .is_none_or(|longest| longest.lasted_ns() < stall.lasted_ns())
            {
                self.longest_stall = Some(stall);
            }
        }
    }
}
