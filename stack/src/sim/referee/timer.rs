//! [`Timer`]: the retransmission timer of a stream, as far as frames show it.
//!
//! It must never take for a timeout what a hint explains: three duplicate ACKs, a partial ACK, a window that opens, a SYN that
//! comes again.

use core::time::Duration;

use crate::time::Instant;

/// How much later than it is delivered a worker notices a frame, at most: polling, and the way from one worker to another.
pub(super) const NOTICED: Duration = Duration::from_micros(100);

/// The retransmission timer of a stream, as far as frames show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    /// The oldest number that wasn't acknowledged when the timer was started last.
    pub(super) left: u32,
    /// When that was, at the earliest.
    pub(super) started_at: Instant,
    /// The TSval of the segment that did it, which was built then but may have waited for its neighbour's address.
    pub(super) started_tsval: Option<u32>,
    /// An acknowledgment did that.
    pub(super) by_ack: bool,
    /// When text last repeated the acknowledgment: to an endpoint that has lost the first one it is new.
    pub(super) repeated_at: Instant,
    /// Timeouts since then.
    pub(super) timeouts: u32,
    /// Things that came since, each of which lets the left edge be sent again at once.
    pub(super) excuses: u32,
    /// That was used up by what duplicate ACKs explain.
    pub(super) is_resent: bool,
    /// A loss that is being repaired.
    pub(super) recover: Option<Loss>,
    /// Numbers that were sent since a timeout; `None` when something was acknowledged since.
    pub(super) since_timeout: Option<u32>,
}

/// A loss, as frames show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// It is repaired when all below this is acknowledged.
    pub(super) until: u32,
    /// By fast recovery, and not after a timeout.
    pub(super) is_fast: bool,
    /// Something was acknowledged meanwhile.
    pub(super) is_partial: bool,
    /// When it showed.
    pub(super) since: Instant,
}

impl Loss {
    /// By fast recovery, until all below this is acknowledged.
    pub(super) const fn fast(until: u32, since: Instant) -> Self {
        Self {
            until,
            is_fast: true,
            is_partial: false,
            since,
        }
    }

    /// Whether its sender may not have noticed it yet.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now - self.since < NOTICED
    }
}

impl Timer {
    /// Nothing is on its way.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: 0,
            started_at: now,
            started_tsval: None,
            by_ack: false,
            repeated_at: Instant::ZERO,
            timeouts: 0,
            excuses: 0,
            is_resent: false,
            recover: None,
            since_timeout: None,
        }
    }

    /// Something lets the sender send again at once, so many times.
    pub(super) fn excuse(&mut self, times: u32) {
        self.excuses += times;
        self.since_timeout = None;
    }

    /// Everything below `ack` is acknowledged: if that is new, the timer is started again (RFC 6298 §5.3), in fast recovery only
    /// once (RFC 6582 §4). What is repaired goes on at once.
    pub(super) fn on_ack(&mut self, ack: u32, now: Instant) {
        if ack <= self.left {
            return;
        }
        let is_later = self
            .recover
            .is_some_and(|loss| loss.is_fast && loss.is_partial);
        self.recover = self
            .recover
            .filter(|loss| ack < loss.until || loss.is_fresh(now));
        if let Some(loss) = &mut self.recover {
            loss.is_partial = true;
        }
        self.left = ack;
        if !(is_later && self.recover.is_some()) {
            self.started_at = now;
            self.started_tsval = None;
        }
        self.by_ack = true;
        self.timeouts = 0;
        self.is_resent = false;
        self.excuses = self.recover.is_some().into();
        self.since_timeout = None;
    }

    /// Text came with an acknowledgment of nothing new: no duplicate ACK.
    pub(super) fn on_repeated(&mut self, now: Instant) {
        self.repeated_at = now;
    }

    /// So many duplicate ACKs came, and all below `next` was sent: the third lets the left edge be sent again, once.
    pub(super) fn on_duplicate(&mut self, count: u32, next: u32, now: Instant) {
        self.since_timeout = None;
        //~ Three duplicate ACKs explain a repetition: -> `if count >= 4 && !self.is_resent {`;
        //~   three_duplicate_acks_bring_a_segment_again_at_once_and_two_do_not
        if count >= 3 && !self.is_resent {
            self.is_resent = true;
            self.excuses += 1;
            match &mut self.recover {
                Some(loss) if loss.is_fast => {
                    loss.until = loss.until.max(next);
                    loss.since = now;
                }
                _ => self.recover = Some(Loss::fast(next, now)),
            }
        }
    }
}
