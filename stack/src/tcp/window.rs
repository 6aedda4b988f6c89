//! The two windows: [`SendWindow`] (what the peer lets us send) and [`ReceiveWindow`] (what we let it send),
//! RFC 9293 §3.8.6 and §3.10.7.4; scaling by RFC 7323 §2.
//!
//! It must never take back what was offered (SHLD-14).

use crate::seq::SeqNum;
use crate::tcp::segment::Segment;

/// The largest shift count of RFC 7323 §2.3; a larger one received counts as this.
pub const SCALE_MAX: u8 = 14;

/// The smallest shift that lets a 16-bit field offer `buf` bytes.
#[must_use]
pub const fn scale_for(buf: u32) -> u8 {
    let scale = (u32::BITS - (buf >> 16).leading_zeros()) as u8;
    if scale < SCALE_MAX { scale } else { SCALE_MAX }
}

/// The window that the sender of a segment offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowUpdate {
    /// SEG.WND as on the wire, not scaled.
    pub field: u16,
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK.
    pub ack: SeqNum,
}

impl WindowUpdate {
    /// That of `seg`.
    #[must_use]
    #[inline]
    pub const fn of(seg: &Segment) -> Self {
        Self {
            field: seg.window,
            seq: seg.seq,
            ack: seg.ack,
        }
    }
}

/// SND.WND and what decides about its update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendWindow {
    /// SND.WND in bytes, scaled.
    pub size: u32,
    /// MAX.SND.WND: the largest that it ever was (RFC 5961 §5.2, sender silly-window avoidance).
    pub max: u32,
    wl1: SeqNum,
    wl2: SeqNum,
}

impl SendWindow {
    /// A window of `size` bytes that a record kept: it takes what is new by `seq` and `ack`, and nothing older.
    #[must_use]
    pub const fn resume(size: u32, seq: SeqNum, ack: SeqNum) -> Self {
        Self {
            size,
            max: size,
            wl1: seq,
            wl2: ack,
        }
    }

    /// The window of a handshake segment, taken whatever came before.
    #[inline(always)]
    pub const fn set(&mut self, seg: WindowUpdate, scale: u8) {
        self.size = (seg.field as u32) << scale;
        if self.size > self.max {
            self.max = self.size;
        }
        self.wl1 = seg.seq;
        self.wl2 = seg.ack;
    }

    /// Takes the segment's window unless the segment is older than the one that set it (fifth step, "the send
    /// window should be updated"). The caller made sure that its ACK is acceptable. Says whether it was taken.
    ///
    /// A greater ACK is newer whatever the sequence number: it moves SND.UNA, and with an older window beside it the right
    /// edge would move beyond what was offered. The RFC asks for the sequence number first, which text that was sent again
    /// has a smaller one of than text that arrived behind the gap.
    #[inline(always)]
    pub const fn update(&mut self, seg: WindowUpdate, scale: u8) -> bool {
        //~ A newer ACK brings its window: `self.wl2.before(seg.ack)` -> `false`;
        //~   a_newer_ack_brings_its_window_whatever_its_sequence_number
        let newer =
            self.wl2.before(seg.ack) || (self.wl2.0 == seg.ack.0 && !self.wl1.after(seg.seq));
        //~ An older segment does not move the send window: -> `if true {`;
        //~   an_older_segment_does_not_move_the_send_window
        if newer {
            self.set(seg, scale);
        }
        newer
    }
}

/// Whether a segment of `seq_len` numbers overlaps the receive window: the four cases of RFC 9293 §3.10.7.4, first step
/// (Table 6). One rule for open connections, embryos and parked connections.
#[must_use]
#[inline]
pub const fn acceptable(seq: SeqNum, seq_len: u32, rcv_nxt: SeqNum, rcv_wnd: u32) -> bool {
    match (seq_len, rcv_wnd) {
        (0, 0) => seq.0 == rcv_nxt.0,
        (0, _) => seq.in_window(rcv_nxt, rcv_wnd),
        (_, 0) => false,
        _ => seq.in_window(rcv_nxt, rcv_wnd) || seq.add(seq_len).sub(1).in_window(rcv_nxt, rcv_wnd),
    }
}

/// Whether a segment without text, SYN or RST comes from exactly the right edge of the receive window: where a peer stands
/// that has sent all that the window takes. When that got lost, its ACKs and its answers to probes come from there, and
/// count, as in other stacks. One rule for open connections and parked connections.
#[must_use]
#[inline]
pub const fn is_ack_at_edge(seg: &Segment, rcv_nxt: SeqNum, rcv_wnd: u32) -> bool {
    seg.seq.0 == rcv_nxt.add(rcv_wnd).0 && seg.is_empty() && !seg.flags.rst()
}

/// RCV.NXT, RCV.WND and the buffer behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveWindow {
    /// RCV.NXT.
    pub nxt: SeqNum,
    /// The first number behind what was ever offered: RCV.NXT + RCV.WND. Never moves back.
    edge: SeqNum,
    /// Bytes that may wait for the application.
    buf: u32,
    /// Bytes that do.
    queued: u32,
}

impl ReceiveWindow {
    /// A window that nothing was offered of yet.
    #[must_use]
    pub const fn new(nxt: SeqNum, buf: u32) -> Self {
        Self {
            nxt,
            edge: nxt,
            buf,
            queued: 0,
        }
    }

    /// A window of which `offered` bytes were offered already, by the SYN-ACK of an embryo
    /// or before it was parked.
    #[must_use]
    pub const fn resume(nxt: SeqNum, offered: u32, buf: u32) -> Self {
        Self {
            nxt,
            edge: nxt.add(offered),
            buf,
            queued: 0,
        }
    }

    /// The peer's SYN was at `irs`: RCV.NXT is behind it.
    pub const fn start(&mut self, irs: SeqNum) {
        let offered = self.size();
        self.nxt = irs.add(1);
        self.edge = self.nxt.add(offered);
    }

    /// RCV.WND as the peer knows it, in bytes.
    #[must_use]
    #[inline]
    pub const fn size(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    /// The largest window that the peer can have been offered, in bytes: what is older than that below RCV.NXT it can't send.
    #[must_use]
    pub const fn largest(&self) -> u32 {
        let size = self.size();
        if size > self.buf { size } else { self.buf }
    }

    /// RCV.NXT + RCV.WND.
    #[must_use]
    #[inline]
    pub const fn edge(&self) -> SeqNum {
        self.edge
    }

    /// Bytes received in order that the application has not taken.
    #[must_use]
    pub const fn queued(&self) -> u32 {
        self.queued
    }

    /// The four cases of the acceptability test, first step of RFC 9293 §3.10.7.4 (Table 6).
    #[must_use]
    #[inline]
    pub const fn accepts(&self, seq: SeqNum, len: u32) -> bool {
        acceptable(seq, len, self.nxt, self.size())
    }

    /// `len` bytes came in order and wait for the application.
    #[inline]
    pub const fn take(&mut self, len: u32) {
        self.nxt = self.nxt.add(len);
        self.queued = self.queued.saturating_add(len);
        self.cover();
    }

    /// The peer's FIN was reached: it takes a number, but no room.
    pub const fn take_fin(&mut self) {
        self.nxt = self.nxt.add(1);
        self.cover();
    }

    /// The application took `len` bytes.
    #[inline]
    pub const fn read(&mut self, len: u32) {
        self.queued = self.queued.saturating_sub(len);
    }

    /// Bytes that may wait for the application.
    #[must_use]
    pub const fn buf(&self) -> u32 {
        self.buf
    }

    /// Another size of the buffer. What was offered stays offered.
    pub const fn set_buf(&mut self, buf: u32) {
        self.buf = buf;
    }

    /// Whether the window has opened enough to be worth a segment of its own: two segments or half the buffer, one
    /// segment when the peer is down to less.
    #[must_use]
    #[inline]
    pub fn wants_update(&self, mss: u32, scale: u8) -> bool {
        let step = if self.size() < mss { mss } else { 2 * mss };
        let gain = self.free(scale).saturating_sub(self.size());
        //~ Less than two segments or half the buffer are no update: -> `gain > 0`;
        //~   the_edge_waits_for_a_segment_or_half_the_buffer
        gain > 0 && gain >= step.min(self.buf / 2)
    }

    /// The window field of a segment that goes out now, and with it the edge that we are bound to: receiver
    /// silly-window avoidance (MUST-39) lets it move only by min(half the buffer, a segment).
    #[inline(always)]
    pub fn offer(&mut self, mss: u32, scale: u8) -> u16 {
        // Without a scale the result is known when compiling.
        if scale == 0 {
            self.offer_by(mss, 0)
        } else {
            self.offer_scaled(mss, scale)
        }
    }

    #[inline(never)]
    fn offer_scaled(&mut self, mss: u32, scale: u8) -> u16 {
        self.offer_by(mss, scale)
    }

    #[inline(always)]
    fn offer_by(&mut self, mss: u32, scale: u8) -> u16 {
        let mask = (1u32 << scale) - 1;
        let current = self.size();
        let free = self.free(scale);
        // Rounded up: rounding down would take back up to 2^scale - 1 bytes (RFC 7323 §2.4). But not again and again beyond
        // the buffer: a peer that sends less than that at a time would never see the window close. What it was shown
        // before is taken all the same: the edge stays.
        let mut size = current.saturating_add(mask) & !mask;
        if self.queued.saturating_add(size) > self.buf.saturating_add(mask) {
            //~ Rounding up does not pass the buffer; single_bytes_close_a_scaled_window_too
            size = current & !mask;
        }
        //~ The offered edge moves by a segment at least: -> `if free > current {`;
        //~   the_edge_waits_for_a_segment_or_half_the_buffer
        if free.saturating_sub(current) >= mss.min(self.buf / 2) && free > current {
            size = size.max(free & !mask);
        }
        let field = (size >> scale).min(0xffff);
        //~ An offered window is never taken back: `(field << scale).max(current)` -> `free`;
        //~   the_edge_waits_for_a_segment_or_half_the_buffer
        self.edge = self.nxt.add((field << scale).max(current));
        field as u16
    }

    /// The window field that says again what was offered, and binds to nothing new.
    #[must_use]
    pub fn offered(&self, scale: u8) -> u16 {
        //~ A probe offers nothing new: `(self.size() >> scale)` -> `(self.free(scale) >> scale)`;
        //~   a_probe_leaves_last_ack_sent_and_the_offered_edge
        (self.size() >> scale).min(0xffff) as u16
    }

    /// The window field of a SYN or SYN-ACK: never scaled (RFC 7323 §2.2).
    pub fn offer_unscaled(&mut self) -> u16 {
        let size = self.free(0).max(self.size()).min(0xffff);
        self.edge = self.nxt.add(size.max(self.size()));
        size as u16
    }

    const fn free(&self, scale: u8) -> u32 {
        let free = self.buf.saturating_sub(self.queued);
        let max = 0xffff << scale;
        if free < max { free } else { max }
    }

    /// Accepting may pass the edge only by a FIN in front of a closed window.
    const fn cover(&mut self) {
        if self.nxt.after(self.edge) {
            self.edge = self.nxt;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seg(seq: u32, ack: u32, field: u16) -> WindowUpdate {
        WindowUpdate {
            field,
            seq: SeqNum(seq),
            ack: SeqNum(ack),
        }
    }

    #[test]
    fn an_older_segment_does_not_move_the_send_window() {
        let mut wnd = SendWindow::default();
        wnd.set(seg(100, 50, 1000), 0);
        assert!(!wnd.update(seg(99, 50, 1), 0), "older by SEQ");
        assert!(!wnd.update(seg(100, 49, 1), 0), "older by ACK");
        assert!(wnd.update(seg(100, 50, 10), 2) && wnd.size == 40 && wnd.max == 1000);
        assert!(wnd.update(seg(101, 50, 0), 0) && wnd.size == 0);
        assert!(
            wnd.update(seg(99, 51, 7), 0) && wnd.size == 7,
            "newer by ACK"
        );
    }

    #[test]
    fn acceptability_is_table_6() {
        let open = ReceiveWindow {
            nxt: SeqNum(0),
            edge: SeqNum(10),
            buf: 10,
            queued: 0,
        };
        let shut = ReceiveWindow {
            edge: SeqNum(0),
            ..open
        };
        assert!(shut.accepts(SeqNum(0), 0));
        assert!(!shut.accepts(SeqNum(1), 0) && !shut.accepts(SeqNum(0), 1));
        assert!(open.accepts(SeqNum(9), 0) && !open.accepts(SeqNum(10), 0));
        assert!(!open.accepts(SeqNum(0).sub(1), 0));
        assert!(open.accepts(SeqNum(0).sub(5), 6) && !open.accepts(SeqNum(0).sub(5), 5));
        assert!(open.accepts(SeqNum(9), 100) && !open.accepts(SeqNum(10), 1));
    }

    #[test]
    fn the_edge_waits_for_a_segment_or_half_the_buffer() {
        let mut wnd = ReceiveWindow::new(SeqNum(0), 10_000);
        assert_eq!(wnd.offer(1000, 0), 10_000);
        wnd.take(10_000);
        assert_eq!(wnd.offer(1000, 0), 0);
        wnd.read(999);
        assert!(!wnd.wants_update(1000, 0));
        assert_eq!(
            wnd.offer(1000, 0),
            0,
            "999 bytes would invite a silly window"
        );
        wnd.read(1);
        assert!(wnd.wants_update(1000, 0));
        assert_eq!(wnd.offer(1000, 0), 1000);
        wnd.read(1999);
        assert!(
            !wnd.wants_update(1000, 0),
            "an open window is not updated for one segment"
        );
        wnd.read(1);
        assert!(wnd.wants_update(1000, 0));
    }

    #[test]
    fn single_bytes_close_a_scaled_window_too() {
        let buf = 100_000;
        let mut wnd = ReceiveWindow::new(SeqNum(0), buf);
        let scale = scale_for(buf);
        while wnd.offer(1000, scale) > 0 && wnd.queued() < 2 * buf {
            wnd.take(1);
        }
        assert!((buf - 2..=buf).contains(&wnd.queued()), "{}", wnd.queued());
    }

    #[test]
    fn the_scale_covers_the_buffer() {
        assert_eq!(scale_for(65_535), 0);
        assert_eq!(scale_for(65_536), 1);
        assert_eq!(scale_for(u32::MAX), SCALE_MAX);
    }

    proptest! {
        #[test]
        fn what_was_offered_is_never_taken_back(
            start: u32,
            buf in 1u32..2_000_000,
            mss in 1u32..9000,
            steps in prop::collection::vec((0u32..4000, 0u32..4000), 1..200),
        ) {
            let scale = scale_for(buf);
            let mut wnd = ReceiveWindow::new(SeqNum(start), buf);
            wnd.offer_unscaled();
            for (arrive, read) in steps {
                wnd.take(arrive.min(wnd.size()));
                wnd.read(read);
                let before = wnd.edge();
                let field = wnd.offer(mss, scale);
                prop_assert!(!wnd.edge().before(before));
                // The window that the peer is shown is ours, or short of it by less than one scale unit; and so much at most
                // lies beyond the buffer.
                let shown = wnd.nxt.add(u32::from(field) << scale);
                prop_assert!(wnd.edge().since(shown) < 1 << scale);
                prop_assert!(wnd.queued() + wnd.size() < buf + (1 << scale));
            }
        }
    }
}
