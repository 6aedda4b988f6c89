//! NewReno: slow start, congestion avoidance, fast retransmit and fast recovery (RFC 5681), partial ACKs (RFC 6582),
//! limited transmit (RFC 3042).
//!
//! It must never send, never grow a window that isn't used, and never take the number of ACKs for a measure of what left
//! the network: a peer sends as many as it likes.

use super::{Ack, Reaction};
use crate::seq::SeqNum;

/// Where the connection stands after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No loss is being repaired.
    Open,
    /// Fast recovery, before its first partial ACK.
    Recovery,
    /// Fast recovery, after a partial ACK.
    PartialRecovery,
}

/// The state of NewReno. 20 bytes, since it lives in the hot line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reno {
    /// cwnd in bytes.
    pub cwnd: u32,
    /// ssthresh in bytes.
    pub ssthresh: u32,
    /// SND.NXT when the last loss was seen: recovery ends when this is acknowledged, and while `guarded` no second one
    /// starts before more than this is. Between the first and the third duplicate: SND.NXT at the first.
    recover: SeqNum,
    /// Congestion avoidance: bytes acknowledged since cwnd grew last. Fast recovery: bytes that were in flight when the
    /// oldest hole showed and that no duplicate ACK has accounted for yet.
    counted: u32,
    duplicate_acks: u8,
    phase: Phase,
    guarded: bool,
}

impl Reno {
    /// Starts with this cwnd in bytes, and ssthresh arbitrarily high (§3.1).
    #[must_use]
    pub const fn new(cwnd: u32) -> Self {
        Self {
            cwnd,
            ssthresh: u32::MAX,
            recover: SeqNum(0),
            counted: 0,
            duplicate_acks: 0,
            phase: Phase::Open,
            guarded: false,
        }
    }

    /// Whether fast recovery is going on.
    #[must_use]
    pub const fn is_recovering(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    /// 0 unless fast recovery is going on, or duplicate ACKs have come since new data was acknowledged.
    #[must_use]
    #[inline(always)]
    pub const fn signs_of_loss(&self) -> u8 {
        self.phase as u8 | self.duplicate_acks
    }

    /// cwnd, and a segment for each of the first two duplicate ACKs (RFC 3042).
    #[must_use]
    #[inline]
    pub const fn send_limit(&self, mss: u32) -> u32 {
        if self.is_recovering() {
            return self.cwnd;
        }
        let limited = if self.duplicate_acks < 2 {
            self.duplicate_acks
        } else {
            2
        };
        //~ Limited transmit: `limited as u32 * mss` -> `0 * (limited as u32 * mss)`;
        //~   three_duplicates_start_recovery_and_the_full_ack_ends_it
        self.cwnd.saturating_add(limited as u32 * mss)
    }

    /// New data was acknowledged.
    #[inline(always)]
    pub fn on_ack(&mut self, ack: Ack) -> Reaction {
        //~ New data starts the count of duplicates anew; a_timeout_leaves_one_segment_and_halves_once
        self.duplicate_acks = 0;
        if self.is_recovering() {
            let is_full = !ack.ack.before(self.recover);
            return if is_full {
                self.leave(ack)
            } else {
                self.partial(ack)
            };
        }
        self.guarded &= !ack.ack.after(self.recover);
        // A window that isn't used says nothing about the path.
        //~ A window that isn't used does not grow: -> `if false {`; an_unused_window_does_not_grow
        if self.cwnd / 2 >= ack.flight {
            return Reaction::None;
        }
        //~ Congestion avoidance begins at ssthresh: -> `if true {`; congestion_avoidance_adds_a_segment_per_window
        if self.cwnd < self.ssthresh {
            // §3.1, equation 2
            //~ Slow start grows cwnd: `ack.acked.min(ack.mss)` -> `0`; slow_start_adds_at_most_a_segment_per_ack
            //~ Slow start grows cwnd by a segment an ACK at most: `ack.acked.min(ack.mss)` -> `ack.acked`;
            //~   slow_start_adds_at_most_a_segment_per_ack
            self.cwnd = self.cwnd.saturating_add(ack.acked.min(ack.mss));
            return Reaction::None;
        }
        // §3.1: a segment for each window of bytes that is acknowledged (RFC 3465 §2.1), in however many ACKs.
        //~ Congestion avoidance counts bytes, not ACKs: `self.counted.saturating_add(ack.acked)`
        //~   -> `self.counted.saturating_add(ack.mss)`; ack_division_gains_nothing_in_congestion_avoidance
        self.counted = self.counted.saturating_add(ack.acked);
        //~ Congestion avoidance grows cwnd: -> `if false {`; congestion_avoidance_adds_a_segment_per_window
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(ack.mss);
        }
        Reaction::None
    }

    /// Nothing was sent for a while: cwnd is the restart window in bytes (§4.1), unless it is less.
    pub fn restart(&mut self, window: u32) {
        if window < self.cwnd {
            self.cwnd = window;
            //~ Counted bytes do not outlast a restart; congestion_avoidance_adds_a_segment_per_window
            self.counted = 0;
        }
    }

    /// A duplicate ACK came.
    pub const fn on_duplicate_ack(&mut self, una: SeqNum, nxt: SeqNum, mss: u32) -> Reaction {
        if self.is_recovering() {
            //~ Further duplicates inflate cwnd; three_duplicates_start_recovery_and_the_full_ack_ends_it
            self.inflate(mss); // §3.2 step 4
            return Reaction::None;
        }
        self.duplicate_acks = self.duplicate_acks.saturating_add(1);
        // RFC 6582 §3.2 step 2: not again for losses of the window that `recover` closes.
        //~ No second fast retransmit for one window: -> `if false {`; a_timeout_leaves_one_segment_and_halves_once
        if self.guarded && !una.after(self.recover) {
            return Reaction::None;
        }
        if self.duplicate_acks == 1 {
            self.guarded = false;
            self.recover = nxt;
        }
        //~ The third duplicate ACK retransmits: -> `if self.duplicate_acks != 4 {`;
        //~   three_duplicate_acks_bring_the_segment_again_without_waiting
        if self.duplicate_acks != 3 {
            return Reaction::None;
        }
        // Segments that limited transmit added since the first duplicate do not count as flight (§3.2 step 2).
        //~ Fast retransmit halves the window; three_duplicates_start_recovery_and_the_full_ack_ends_it
        //~ Segments of limited transmit aren't flight: `self.recover.since(una)` -> `nxt.since(una)`;
        //~   three_duplicates_start_recovery_and_the_full_ack_ends_it
        self.halve(self.recover.since(una), mss);
        self.cwnd = self.ssthresh;
        self.counted = nxt.since(una);
        self.inflate(3 * mss);
        self.recover = nxt;
        self.guarded = true;
        self.phase = Phase::Recovery;
        Reaction::FastRetransmit
    }

    /// So many bytes have left the network, says a duplicate ACK; of what is there only. Else 200 forged ones would release
    /// a whole window (§3.2 asks that the limit be the number of outstanding segments).
    const fn inflate(&mut self, bytes: u32) {
        //~ No more duplicates count than segments are in flight: `if bytes < self.counted {` -> `if true {`;
        //~   two_hundred_duplicates_release_no_more_than_was_in_flight
        let bytes = if bytes < self.counted {
            bytes
        } else {
            self.counted
        };
        self.counted -= bytes;
        self.cwnd = self.cwnd.saturating_add(bytes);
    }

    /// The retransmission timer expired.
    pub const fn on_timeout(&mut self, una: SeqNum, nxt: SeqNum, mss: u32, is_first: bool) {
        //~ ssthresh is halved once for the same octet: -> `if is_first || true {`;
        //~   ssthresh_is_two_segments_at_least_and_stays_for_the_same_octet
        if is_first {
            //~ A timeout halves ssthresh; a_timeout_leaves_one_segment_and_halves_once
            self.halve(nxt.since(una), mss);
        }
        //~ A timeout leaves cwnd at one segment; a_timeout_leaves_one_segment_and_halves_once
        self.cwnd = mss; // the loss window
        self.counted = 0;
        self.duplicate_acks = 0;
        //~ A timeout ends recovery; a_timeout_ends_recovery
        self.phase = Phase::Open;
        self.recover = nxt; // RFC 6582 §4.1: no fast retransmit for what go-back-N makes the peer repeat

        //~ No fast retransmit for what go-back-N makes the peer repeat; a_timeout_leaves_one_segment_and_halves_once
        self.guarded = true;
    }

    /// Equation 4.
    const fn halve(&mut self, flight: u32, mss: u32) {
        let half = flight / 2;
        //~ ssthresh is two segments at least: `if half > 2 * mss { half } else { 2 * mss }` -> `half`;
        //~   ssthresh_is_two_segments_at_least_and_stays_for_the_same_octet
        self.ssthresh = if half > 2 * mss { half } else { 2 * mss };
    }

    /// RFC 6582 §3.2 step 3, full acknowledgment: option 1, which bursts least.
    fn leave(&mut self, ack: Ack) -> Reaction {
        let left = ack.flight.saturating_sub(ack.acked);
        //~ The full ACK deflates cwnd: -> `let _ = left;`; three_duplicates_start_recovery_and_the_full_ack_ends_it
        self.cwnd = self.ssthresh.min(left.max(ack.mss).saturating_add(ack.mss));
        self.counted = 0;
        //~ The full ACK ends recovery; three_duplicates_start_recovery_and_the_full_ack_ends_it
        self.phase = Phase::Open;
        Reaction::None
    }

    /// RFC 6582 §3.2 step 3, partial acknowledgment: deflate by what left, give back one segment.
    fn partial(&mut self, ack: Ack) -> Reaction {
        //~ A partial ACK deflates cwnd; three_duplicates_start_recovery_and_the_full_ack_ends_it
        self.cwnd = self.cwnd.saturating_sub(ack.acked);
        if ack.acked >= ack.mss {
            self.cwnd = self.cwnd.saturating_add(ack.mss);
        }
        self.cwnd = self.cwnd.max(ack.mss);
        // Another hole shows, under what is in flight now. What lies beyond ssthresh in cwnd is accounted for already.
        let left = ack.flight.saturating_sub(ack.acked);
        //~ After a partial ACK no more duplicates count than are in flight: `.saturating_sub(self.cwnd);`
        //~   -> `.saturating_sub(0);`; forged_duplicates_release_what_is_in_flight_and_no_more
        self.counted = left.saturating_add(self.ssthresh).saturating_sub(self.cwnd);
        if self.phase == Phase::Recovery {
            self.phase = Phase::PartialRecovery;
            Reaction::PartialAck
        } else {
            Reaction::LaterPartialAck
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn ack(ack: u32, acked: u32, flight: u32) -> Ack {
        Ack {
            ack: SeqNum(ack),
            acked,
            flight,
            mss: MSS,
        }
    }

    #[test]
    fn slow_start_adds_at_most_a_segment_per_ack() {
        let mut reno = Reno::new(4 * MSS);
        reno.on_ack(ack(2000, 2000, 4000));
        assert_eq!(reno.cwnd, 5 * MSS, "a stretch ACK counts once");
        reno.on_ack(ack(2100, 100, 4000));
        assert_eq!(reno.cwnd, 5100, "ACK division gains nothing");
    }

    #[test]
    fn congestion_avoidance_adds_a_segment_per_window() {
        let mut reno = Reno {
            ssthresh: 10 * MSS,
            ..Reno::new(10 * MSS)
        };
        for i in 1..=10 {
            assert_eq!(reno.cwnd, 10 * MSS);
            reno.on_ack(ack(i * MSS, MSS, 10 * MSS));
        }
        assert_eq!(reno.cwnd, 11 * MSS);
        // Bytes that were counted in a larger window do not count in a smaller one.
        reno.on_ack(ack(20 * MSS, 10 * MSS, 11 * MSS));
        reno.restart(5 * MSS);
        reno.ssthresh = 5 * MSS;
        reno.on_ack(ack(21 * MSS, MSS, 5 * MSS));
        assert_eq!(reno.cwnd, 5 * MSS);
    }

    /// §3.1: "MUST NOT" grow by more than a segment in a round trip, however many ACKs acknowledge its bytes.
    #[test]
    fn ack_division_gains_nothing_in_congestion_avoidance() {
        for pieces in [1, 2, 3, 10, 1000] {
            let mut reno = Reno {
                ssthresh: 10 * MSS,
                ..Reno::new(10 * MSS)
            };
            let len = 10 * MSS / pieces;
            for i in 1..=pieces {
                reno.on_ack(ack(i * len, len, 10 * MSS));
            }
            let grown = reno.cwnd - 10 * MSS;
            assert!(grown <= MSS, "{grown} by {pieces} ACKs");
            assert!(pieces == 3 || grown == MSS, "{grown} by {pieces} ACKs");
        }
    }

    /// §3.2: an ACK more than there are segments stands for none.
    #[test]
    fn forged_duplicates_release_what_is_in_flight_and_no_more() {
        let mut reno = Reno::new(10 * MSS);
        let una = SeqNum(0);
        for _ in 0..200 {
            reno.on_duplicate_ack(una, SeqNum(10 * MSS), MSS);
        }
        assert_eq!(reno.ssthresh, 5 * MSS);
        assert_eq!(reno.cwnd, 15 * MSS, "ssthresh, and the flight");
        // The next hole: of the 13 segments behind it, 9 are accounted for.
        reno.on_ack(ack(2 * MSS, 2 * MSS, 15 * MSS));
        assert_eq!(reno.cwnd, 14 * MSS);
        for _ in 0..200 {
            reno.on_duplicate_ack(SeqNum(2 * MSS), SeqNum(15 * MSS), MSS);
        }
        assert_eq!(reno.cwnd, 18 * MSS);
        // Nor do three duplicates of one segment stand for three.
        let mut reno = Reno::new(10 * MSS);
        for _ in 0..3 {
            reno.on_duplicate_ack(una, SeqNum(MSS), MSS);
        }
        assert_eq!(reno.cwnd, 3 * MSS);
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut reno = Reno::new(10 * MSS);
        reno.on_ack(ack(100, 100, 100));
        assert_eq!(reno.cwnd, 10 * MSS);
    }

    #[test]
    fn three_duplicates_start_recovery_and_the_full_ack_ends_it() {
        let mut reno = Reno::new(10 * MSS);
        let (una, nxt) = (SeqNum(0), SeqNum(10 * MSS));
        assert_eq!(reno.on_duplicate_ack(una, nxt, MSS), Reaction::None);
        assert_eq!(reno.send_limit(MSS), 11 * MSS, "limited transmit");
        assert_eq!(
            reno.on_duplicate_ack(una, SeqNum(11 * MSS), MSS),
            Reaction::None
        );
        assert_eq!(reno.send_limit(MSS), 12 * MSS);
        assert_eq!(
            reno.on_duplicate_ack(una, SeqNum(12 * MSS), MSS),
            Reaction::FastRetransmit
        );
        assert_eq!((reno.ssthresh, reno.cwnd), (5 * MSS, 8 * MSS));
        reno.on_duplicate_ack(una, SeqNum(12 * MSS), MSS);
        assert_eq!(reno.cwnd, 9 * MSS, "inflated");
        assert_eq!(
            reno.on_ack(ack(2 * MSS, 2 * MSS, 12 * MSS)),
            Reaction::PartialAck
        );
        assert_eq!(reno.cwnd, 8 * MSS, "deflated by 2, given back 1");
        assert_eq!(
            reno.on_ack(ack(3 * MSS, MSS, 10 * MSS)),
            Reaction::LaterPartialAck
        );
        assert_eq!(reno.on_ack(ack(12 * MSS, 9 * MSS, 9 * MSS)), Reaction::None);
        assert!(!reno.is_recovering());
        assert_eq!(reno.cwnd, 2 * MSS, "min(ssthresh, flight + a segment)");
    }

    #[test]
    fn a_timeout_leaves_one_segment_and_halves_once() {
        let mut reno = Reno::new(20 * MSS);
        reno.on_timeout(SeqNum(0), SeqNum(20 * MSS), MSS, true);
        assert_eq!((reno.cwnd, reno.ssthresh), (MSS, 10 * MSS));
        reno.on_timeout(SeqNum(0), SeqNum(20 * MSS), MSS, false);
        assert_eq!(
            reno.ssthresh,
            10 * MSS,
            "not for a repeated timeout of the same octet"
        );
        // Duplicates that go-back-N itself causes start no recovery.
        for _ in 0..5 {
            assert_eq!(
                reno.on_duplicate_ack(SeqNum(MSS), SeqNum(20 * MSS), MSS),
                Reaction::None
            );
        }
        reno.on_ack(ack(20 * MSS, 19 * MSS, 19 * MSS));
        let three = |reno: &mut Reno, una: u32| {
            (0..3)
                .map(|_| reno.on_duplicate_ack(SeqNum(una), SeqNum(una + 4 * MSS), MSS))
                .last()
        };
        assert_eq!(
            three(&mut reno, 20 * MSS),
            Some(Reaction::None),
            "nothing newer is acknowledged"
        );
        reno.on_ack(ack(21 * MSS, MSS, 4 * MSS));
        assert_eq!(three(&mut reno, 21 * MSS), Some(Reaction::FastRetransmit));
    }

    #[test]
    fn ssthresh_is_two_segments_at_least_and_stays_for_the_same_octet() {
        let mut reno = Reno::new(10 * MSS);
        reno.on_timeout(SeqNum(0), SeqNum(3 * MSS), MSS, true);
        assert_eq!(reno.ssthresh, 2 * MSS);
        reno.on_timeout(SeqNum(0), SeqNum(9 * MSS), MSS, false);
        assert_eq!(reno.ssthresh, 2 * MSS);
    }

    #[test]
    fn a_timeout_ends_recovery() {
        let mut reno = Reno::new(10 * MSS);
        let (una, nxt) = (SeqNum(0), SeqNum(10 * MSS));
        for _ in 0..3 {
            reno.on_duplicate_ack(una, nxt, MSS);
        }
        assert!(reno.is_recovering());
        reno.on_timeout(una, nxt, MSS, true);
        assert!(!reno.is_recovering());
    }
}
