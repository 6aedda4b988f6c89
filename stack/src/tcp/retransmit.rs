//! The retransmission timer's memory: what it stands for, and since when an answer is overdue (R2, RFC 9293
//! §3.8.3). The timeout itself is `rtt`'s.
//!
//! It must never decide what is sent: that is `tcp::output`'s.

use core::time::Duration;

use crate::time::Instant;

/// The purpose of the timer in front of the send queue. There is one: these exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum TimerMode {
    /// Something is in flight; its expiry is a loss.
    #[default]
    Retransmit,
    /// The peer's window is closed; its expiry sends a probe (RFC 9293 §3.8.6.1).
    Persist,
    /// A partial segment waits in front of a small window; its expiry sends it (§3.8.6.2.1, case 4).
    SwsOverride,
}

/// The limit R2 of one connection: time, and within it as many tries as the timer makes there when it is not backed off.
///
/// A timer may be longer than R2: backed off in an outage that is over, or between two probes of a window that is closed
/// for long. By time alone one more loss would end a connection whose peer is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// R2.
    pub r2: Duration,
    /// The retransmission timeout without backoff.
    pub rto: Duration,
    /// R1: no more tries than this are waited for (SHLD-10).
    pub r1_expiries: u8,
}

impl Patience {
    /// Retransmissions or probes without an answer that must have been sent before R2 ends the connection: as many as fit
    /// into R2 from RTO on, doubling, and R1 at most.
    #[must_use]
    pub fn tries(&self) -> u8 {
        let (mut tries, mut at) = (0, self.rto);
        //~ No more tries than R1: `tries < self.r1_expiries &&` -> nothing; a_short_r2_asks_for_as_many_tries_as_fit
        //~ No more tries than fit into a short R2: `&& at <= self.r2` -> nothing; a_short_r2_ends_as_soon_as_it_says
        while tries < self.r1_expiries && at <= self.r2 {
            tries += 1;
            at = at.saturating_mul(2).saturating_add(self.rto);
        }
        tries
    }
}

/// Since when an answer is overdue, and how often it was asked for since then: for R2. Eight bytes, in the cold part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// In milliseconds, wrapping after 49 days; without meaning unless `is_waiting`.
    since_ms: u32,
    is_waiting: bool,
    tries: u8,
}

impl Overdue {
    /// Nothing is overdue.
    pub const NOTHING: Self = Self {
        since_ms: 0,
        is_waiting: false,
        tries: 0,
    };

    /// An answer came.
    pub const fn answered(&mut self) {
        //~ R2 counts from the last answer; r2_counts_from_the_first_transmission_without_an_answer
        *self = Self::NOTHING;
    }

    /// Notes that data sent `ago` has no answer yet. Only the first call after an answer counts.
    pub const fn waiting(&mut self, now: Instant, ago: Duration) {
        if !self.is_waiting {
            self.since_ms = (now.as_ms() as u32).wrapping_sub(ago.as_millis() as u32);
            self.is_waiting = true;
        }
    }

    /// A retransmission or a probe goes out.
    pub const fn tried(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }

    /// Whether there were enough tries, so that the timer may run to R2 only.
    #[must_use]
    pub fn is_last_try(&self, patience: &Patience) -> bool {
        //~ R2 waits for as many tries as fit into it: `&& self.tries >= patience.tries()` -> nothing;
        //~   a_loss_after_a_long_outage_is_sent_again_three_times
        self.is_waiting && self.tries >= patience.tries()
    }

    /// Whether R2 is reached, in time and in tries.
    #[must_use]
    pub fn is_over(&self, now: Instant, patience: &Patience) -> bool {
        let overdue_ms = u128::from(self.overdue_ms(now));
        self.is_last_try(patience) && overdue_ms >= patience.r2.as_millis()
    }

    /// How long the timer may run next: `wanted`, but once there were enough tries no longer than to R2, and no shorter
    /// than an answer to the last one takes.
    #[must_use]
    pub fn limit(&self, now: Instant, wanted: Duration, patience: &Patience) -> Duration {
        if !self.is_last_try(patience) {
            return wanted;
        }
        let overdue = Duration::from_millis(self.overdue_ms(now).into());
        let left = patience.r2.saturating_sub(overdue);
        //~ R2 is kept to the moment: -> `{ let _ = left; wanted }`;
        //~   r2_counts_from_the_first_transmission_without_an_answer
        //~ The last try has its RTO: `left.max(patience.rto)` -> `left`;
        //~   r2_counts_from_the_first_transmission_without_an_answer
        wanted.min(left.max(patience.rto))
    }

    const fn overdue_ms(&self, now: Instant) -> u32 {
        (now.as_ms() as u32).wrapping_sub(self.since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn at(s: u64) -> Instant {
        Instant::from_ms(s * 1000)
    }

    const PATIENCE: Patience = Patience {
        r2: Duration::from_secs(100),
        rto: Duration::from_secs(1),
        r1_expiries: 3,
    };

    #[test]
    fn r2_counts_from_the_first_transmission_without_an_answer() {
        let mut overdue = Overdue::NOTHING;
        assert!(!overdue.is_over(at(1000), &PATIENCE), "nothing is overdue");
        overdue.waiting(at(11), s(1));
        overdue.waiting(at(13), s(2));
        for _ in 0..3 {
            assert!(!overdue.is_over(at(110), &PATIENCE));
            assert_eq!(overdue.limit(at(73), s(64), &PATIENCE), s(64));
            overdue.tried();
        }
        assert!(!overdue.is_over(at(109), &PATIENCE) && overdue.is_over(at(110), &PATIENCE));
        assert_eq!(overdue.limit(at(73), s(64), &PATIENCE), s(37));
        assert_eq!(overdue.limit(at(13), s(4), &PATIENCE), s(4));
        let late = at(109) + Duration::from_millis(600);
        let last = overdue.limit(late, s(64), &PATIENCE);
        assert_eq!(last, s(1), "the last try has its RTO");
        overdue.answered();
        assert!(!overdue.is_over(at(110), &PATIENCE));
        assert_eq!(overdue.limit(at(110), s(64), &PATIENCE), s(64));
    }

    #[test]
    fn a_short_r2_asks_for_as_many_tries_as_fit() {
        let tries = |r2_ms| {
            let r2 = Duration::from_millis(r2_ms);
            Patience { r2, ..PATIENCE }.tries()
        };
        let some = [0, 999, 1_000, 2_999, 3_000, 6_999, 7_000, 100_000];
        assert_eq!(some.map(tries), [0, 0, 1, 1, 2, 2, 3, 3]);
        let slow = Patience {
            rto: s(60),
            ..PATIENCE
        };
        assert_eq!(slow.tries(), 1);
    }
}
