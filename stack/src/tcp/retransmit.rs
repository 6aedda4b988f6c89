//! The retransmission timer's memory: what it stands for, and since when an answer is overdue (R2, RFC 9293
//! §3.8.3). The timeout itself is `rtt`'s.
//!
//! Called by: `tcp::timers` at each expiry, `tcp::output` at each probe, `tcp::input` at each answer. It must never decide what is
//! sent: that is `tcp::output`'s.

use core::time::Duration;

use crate::tcp::deadline::Deadline;
use crate::time::Instant;

/// What the timer in front of the send queue stands for. There is one: these exclude each other.
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

/// Since when an answer is overdue, for R2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    since: Deadline,
}

impl Overdue {
    /// Nothing is overdue.
    pub const NOTHING: Self = Self {
        since: Deadline::OFF,
    };

    /// An answer came.
    pub const fn answered(&mut self) {
        self.since = Deadline::OFF;
    }

    /// What was sent `ago` has no answer yet. Only the first call after an answer counts.
    pub fn waiting(&mut self, now: Instant, ago: Duration) {
        if self.since.is_off() {
            let ago_ns = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
            self.since = Deadline::at(Instant::from_ns(now.as_ns().saturating_sub(ago_ns)));
        }
    }

    /// Whether R2 is reached: the answer is overdue for at least `r2`.
    #[must_use]
    pub fn is_over(&self, now: Instant, r2: Duration) -> bool {
        self.since
            .instant()
            .is_some_and(|since| now.since(since) >= r2)
    }

    /// How long the timer may run next: `wanted`, but no longer than to R2.
    #[must_use]
    pub fn limit(&self, now: Instant, wanted: Duration, r2: Duration) -> Duration {
        match self.since.instant() {
            Some(since) => wanted.min(r2.saturating_sub(now.since(since))),
            None => wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_counts_from_the_first_transmission_without_an_answer() {
        let s = Duration::from_secs;
        let at = |s: u64| Instant::from_ms(s * 1000);
        let mut overdue = Overdue::NOTHING;
        assert!(!overdue.is_over(at(1000), s(1)), "nothing is overdue");
        overdue.waiting(at(11), s(1));
        overdue.waiting(at(13), s(2));
        assert!(!overdue.is_over(at(109), s(100)) && overdue.is_over(at(110), s(100)));
        assert_eq!(overdue.limit(at(73), s(64), s(100)), s(37));
        assert_eq!(overdue.limit(at(13), s(4), s(100)), s(4));
        overdue.answered();
        assert!(!overdue.is_over(at(110), s(100)));
        assert_eq!(overdue.limit(at(110), s(64), s(100)), s(64));
    }
}
