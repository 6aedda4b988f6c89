//! [`Stream`]: one direction of one incarnation of a connection, as the frames show it. All numbers in it count from the ISS: the
//! SYN is 0, the first byte of text 1.
//!
//! It must never know less than the endpoint that it is about: what was delivered may have been dropped behind the wire, so each
//! bound in it is an upper one.

use std::collections::VecDeque;

use super::ranges::Ranges;
use super::recovery::Recovery;
use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::timer::{NOTICED, Timer};
use crate::time::Instant;

/// How far beyond what is known a forged segment may lie and still count as one of a stream.
const NEAR: u32 = 70_000;

/// Incarnations that are remembered. A SYN cookie is a new one each time, and an intruder's SYNs are many.
const INCARNATIONS: usize = 64;

/// Sent bytes that are kept for comparison with what is sent again, at least.
const KEPT_LEN: usize = 1 << 20;

/// The stream of one end in one incarnation, and its fate.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) iss: u32,
    /// Its SYN was forged.
    is_forged: bool,
    /// The MSS option of its SYN.
    pub(super) mss: Option<u16>,
    /// The window scale option of its SYN.
    pub(super) scale: Option<u8>,
    /// Whether its SYN had timestamps.
    pub(super) has_timestamps: bool,
    /// The first number that was never sent.
    pub(super) next: u32,
    /// The greatest number that a segment without text had: what lies below counts as sent, though it may never have left.
    pub(super) shown: u32,
    /// The number of its FIN.
    pub(super) fin: Option<u32>,
    /// Its sender has sent a segment that isn't its SYN.
    pub(super) is_synchronised: bool,
    /// Its sender has reset it.
    pub(super) is_reset: bool,
    /// Segments written before a bare reset may leave behind it until then: replies without a connection overtake what a NIC refused.
    pub(super) overtaken_until: Instant,
    pub(super) bytes: Bytes,
    /// The ranges delivered to its receiver.
    pub(super) delivered: Ranges,
    /// The greatest right edge that its receiver has offered, and with which acknowledgment.
    pub(super) offered: Option<Offer>,
    /// The greatest acknowledgment that was delivered to its sender.
    pub(super) acked: u32,
    /// The greatest right edge that was delivered to its sender.
    pub(super) edge: u32,
    /// The window that was delivered last was zero.
    pub(super) is_closed: bool,
    /// The ranges that SACK blocks delivered to its sender cover.
    pub(super) sacked: Ranges,
    pub(super) recovery: Recovery,
    pub(super) timing: Timer,
    /// Where segments ended that aren't acknowledged, as they were sent first.
    ends: VecDeque<u32>,
}

/// A right edge that a receiver offered, and the acknowledgment beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// The ISS of the receiver's own stream: a SYN that comes again opens another one after a reset.
    pub(super) by: u32,
    /// When it was sent.
    pub(super) at: Instant,
    pub(super) ack: u32,
    pub(super) edge: u32,
}

impl Stream {
    fn new(iss: u32, now: Instant) -> Self {
        Self {
            iss,
            is_forged: false,
            mss: None,
            scale: None,
            has_timestamps: false,
            next: 0,
            shown: 0,
            fin: None,
            is_synchronised: false,
            is_reset: false,
            overtaken_until: Instant::ZERO,
            bytes: Bytes::default(),
            delivered: Ranges::default(),
            offered: None,
            acked: 0,
            edge: 0,
            is_closed: false,
            sacked: Ranges::default(),
            recovery: Recovery::default(),
            timing: Timer::new(now),
            ends: VecDeque::new(),
        }
    }

    /// Whether a segment is less than what was sent first from there, though the window has room: its path takes less than before.
    pub(super) fn is_cut(&self, at: u32, len: u32) -> bool {
        let first = self.ends.partition_point(|end| *end <= at);
        let is_less = self.ends.get(first).is_some_and(|end| at + len < *end);
        at >= self.acked.max(1) && is_less && at + len < self.edge
    }

    /// The place of a sequence number in this stream.
    pub(super) const fn place(&self, number: u32) -> u32 {
        number.wrapping_sub(self.iss)
    }

    /// An acceptable segment of the other direction was delivered to its sender. `scale` is what its window is shifted by.
    pub(super) fn on_ack(&mut self, segment: &Segment<'_>, scale: u8, now: Instant) {
        let ack = self.place(segment.ack);
        // Its sender may not have heard of an acknowledgment that was delivered, and then of this one.
        self.timing.on_ack(ack, now);
        if ack > self.acked {
            self.acked = ack;
            self.recovery.on_progress(ack, segment.len() == 0);
        } else if ack == self.acked && segment.len() == 0 {
            // A segment that didn't leave for want of a buffer counts as sent.
            if self.next.max(self.shown) > self.acked {
                let count = self.recovery.on_duplicate(self.next);
                self.timing.on_duplicate(count, self.next, now);
            } else {
                self.recovery.on_early(now);
            }
        } else if ack == self.acked {
            self.timing.on_repeated(now);
        }
        if segment.window == 0 {
            self.is_closed = true;
        } else if self.is_closed {
            self.is_closed = false;
            self.timing.excuse(1);
        }
        let edge = ack.wrapping_add(u32::from(segment.window) << scale);
        self.edge = self.edge.max(edge);
        for [left, right] in segment.options.sacked() {
            let (left, right) = (self.place(*left), self.place(*right));
            if left < right && right <= self.next {
                self.sacked.insert(left..right);
            }
        }
    }
}

/// The text of a stream as it was sent first, from some place on.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    start: u32,
    bytes: Vec<u8>,
}

impl Bytes {
    /// Compares text at this place with what was sent there before, and keeps what is new. Gives the first place that differs.
    pub(super) fn compare(&mut self, at: u32, text: &[u8]) -> Option<u32> {
        let end = self.start + self.bytes.len() as u32;
        if at > end || self.bytes.is_empty() {
            self.start = at;
            self.bytes.clear();
        }
        let forgotten = self.start.saturating_sub(at).min(text.len() as u32);
        let (at, text) = (at + forgotten, &text[forgotten as usize..]);
        let from = at.saturating_sub(self.start) as usize;
        let known = self.bytes.get(from..).unwrap_or(&[]);
        let both = known.len().min(text.len());
        if known[..both] != text[..both] {
            let differs = known.iter().zip(text).position(|(a, b)| a != b);
            return differs.map(|after| at + after as u32);
        }
        self.bytes.extend_from_slice(&text[both..]);
        if self.bytes.len() > 2 * KEPT_LEN {
            self.bytes.drain(..KEPT_LEN);
            self.start += KEPT_LEN as u32;
        }
        None
    }
}

/// Its incarnations, the latest last.
#[derive(Debug, Default)]
pub(super) struct Streams {
    incarnations: Vec<Stream>,
    /// One of them was forgotten, so a number that belongs to none may be of that.
    has_forgotten: bool,
}

impl Streams {
    /// Whether its sender has never sent a SYN.
    pub(super) const fn is_empty(&self) -> bool {
        self.incarnations.is_empty()
    }

    /// Whether all incarnations are known that there ever were.
    pub(super) const fn is_complete(&self) -> bool {
        !self.has_forgotten
    }

    /// The stream that a sequence number of its sender belongs to. Incarnations may lie so close to each other that a number is in
    /// several: then it is of one that wasn't reset, and of the one whose SYN was acknowledged.
    fn position(&self, seq: u32) -> Option<usize> {
        let is_in = |stream: &Stream| stream.place(seq) <= stream.next;
        let is_near = |stream: &Stream| {
            stream.place(seq) <= stream.next.max(stream.edge).saturating_add(NEAR)
        };
        let streams = self.incarnations.iter();
        let of_acked = |stream: &Stream| stream.acked > 0 && is_in(stream);
        let of_live = |stream: &Stream| !stream.is_reset && is_in(stream);
        let of_live_acked = |stream: &Stream| !stream.is_reset && of_acked(stream);
        let last = |belongs: &dyn Fn(&Stream) -> bool| streams.clone().rposition(belongs);
        let is_own = |stream: &Stream| !stream.is_forged && is_near(stream);
        last(&of_live_acked)
            .or_else(|| last(&of_live))
            .or_else(|| last(&of_acked))
            .or_else(|| last(&is_in))
            .or_else(|| last(&is_own))
            .or_else(|| last(&is_near))
    }

    /// The stream that begins at this number.
    fn position_of_syn(&self, iss: u32) -> Option<usize> {
        self.incarnations.iter().position(|s| s.iss == iss)
    }

    /// The stream that a segment of its sender, which was delivered, belongs to. A SYN may lie within the numbers of another one.
    pub(super) fn of_delivered(&mut self, segment: &Segment<'_>) -> Option<&mut Stream> {
        let at = match segment.has(SYN) {
            true => self.position_of_syn(segment.seq)?,
            false => self.position(segment.seq)?,
        };
        self.incarnations.get_mut(at)
    }

    /// The same for a segment that its sender sends now: a SYN with a new number opens a stream, and what belongs to none is
    /// judged by the latest.
    pub(super) fn of_sent(&mut self, segment: &Segment<'_>, now: Instant) -> Option<&mut Stream> {
        if segment.has(SYN) {
            return Some(self.of_syn(segment, now));
        }
        match self.position(segment.seq) {
            Some(at) => self.incarnations.get_mut(at),
            None => self.incarnations.last_mut(),
        }
    }

    /// The stream of a SYN, new or again.
    pub(super) fn of_syn(&mut self, segment: &Segment<'_>, now: Instant) -> &mut Stream {
        let known = self.position_of_syn(segment.seq);
        let at = known.unwrap_or_else(|| {
            if self.incarnations.len() == INCARNATIONS {
                // Entries that were never sent go first: an intruder opens many.
                let oldest = self.incarnations.iter().position(|stream| stream.is_forged);
                self.incarnations.remove(oldest.unwrap_or(0));
                self.has_forgotten = true;
            }
            self.incarnations.push(Stream::new(segment.seq, now));
            self.incarnations.len() - 1
        });
        let stream = &mut self.incarnations[at];
        stream.mss = segment.options.mss;
        stream.scale = segment.options.scale;
        stream.has_timestamps = segment.options.timestamps.is_some();
        stream
    }

    /// The stream that an acknowledgment of its receiver belongs to: the SYN of it was sent, and all below `ack`.
    pub(super) fn of_ack(&mut self, ack: u32) -> Option<&mut Stream> {
        let belongs = |stream: &&mut Stream| (1..=stream.next).contains(&stream.place(ack));
        self.incarnations.iter_mut().rev().find(belongs)
    }

    /// A forged SYN was delivered: an answer to it is right, too.
    pub(super) fn forge(&mut self, segment: &Segment<'_>, now: Instant) {
        let stream = self.of_syn(segment, now);
        stream.is_forged |= stream.next == 0;
        stream.next = stream.next.max(1);
    }

    /// A SYN of the other direction was delivered: what answers it may go out again.
    pub(super) fn excuse_syns(&mut self) {
        let is_open = |stream: &&mut Stream| stream.acked == 0 || stream.timing.left == 0;
        let open = self.incarnations.iter_mut().filter(is_open);
        open.for_each(|stream| stream.timing.excuse(1));
    }

    /// Its sender sends a reset: of that incarnation which it has synchronised, if it is one of those. A bare one that stands
    /// behind the SYN says nothing: a listener that keeps no embryos answers so what overtook the segment with its cookie.
    pub(super) fn reset(&mut self, segment: &Segment<'_>, now: Instant) {
        if let Some(stream) = self.of_delivered(segment) {
            let is_known = segment.has(ACK) || stream.place(segment.seq) > 1;
            let resets = is_known && stream.is_synchronised;
            if resets && !stream.is_reset && !segment.has(ACK) {
                stream.overtaken_until = now + NOTICED;
            }
            stream.is_reset |= resets;
        }
    }
}

/// Notes what a segment has sent; the rules have judged it before.
pub(super) fn note(stream: &mut Stream, segment: &Segment<'_>) {
    let end = stream.place(segment.seq).wrapping_add(segment.len());
    // Bytes below SND.NXT may not have left for want of a buffer: an ACK from there doesn't say that it was sent.
    if segment.len() > 0 && end > stream.next {
        stream.next = end;
        let acked = stream.acked;
        let open = stream.ends.partition_point(|end| *end <= acked);
        stream.ends.drain(..open);
        stream.ends.push_back(end);
    }
    let at = stream.place(segment.seq);
    if at.saturating_sub(stream.next) < NEAR {
        stream.shown = stream.shown.max(at);
    }
    stream.is_synchronised |= !segment.has(SYN);
    if segment.has(FIN) {
        stream.fin.get_or_insert(end - 1);
    }
    debug_assert!(!segment.has(RST), "resets are noted apart");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_compared_wherever_they_were_sent_before() {
        let mut bytes = Bytes::default();
        assert_eq!(bytes.compare(1, b"abcdef"), None);
        assert_eq!(bytes.compare(3, b"cdefgh"), None, "overlaps and goes on");
        assert_eq!(bytes.compare(1, b"abcdefgh"), None);
        assert_eq!(bytes.compare(4, b"dXf"), Some(5));
        assert_eq!(bytes.compare(7, b"gh_"), None);
        assert_eq!(bytes.compare(9, b"i"), Some(9));
    }

    #[test]
    fn what_is_long_ago_is_forgotten_and_the_rest_is_not() {
        let mut bytes = Bytes::default();
        let part = vec![7; KEPT_LEN / 4];
        for n in 0..20 {
            assert_eq!(bytes.compare(1 + n * part.len() as u32, &part), None);
        }
        assert!(bytes.bytes.len() <= 2 * KEPT_LEN);
        assert_eq!(bytes.compare(1, b"other"), None, "forgotten");
        let last = 20 * part.len() as u32;
        assert_eq!(bytes.compare(last, b"other"), Some(last));
        let across = vec![7; part.len()];
        assert_eq!(bytes.compare(bytes.start - 10, &across), None);
    }
}
