//! Challenge ACKs, limited per connection, RFC 5961 §7.
//!
//! Called by: `tcp::input` for everything that an attacker could send blindly. It must never share its budget between
//! connections: a global one tells an attacker what the others do (CVE-2016-5696).

use core::time::Duration;

use crate::tcp::deadline::Deadline;
use crate::time::Instant;

/// When this connection may challenge again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChallengeLimit {
    next: Deadline,
}

impl ChallengeLimit {
    /// Nothing was challenged yet.
    pub const NEW: Self = Self {
        next: Deadline::OFF,
    };

    /// No challenge before `next`: a limit that a record kept.
    #[must_use]
    pub const fn until(next: Deadline) -> Self {
        Self { next }
    }

    /// When the next challenge ACK may be sent; off when none was sent yet.
    #[must_use]
    pub const fn next(&self) -> Deadline {
        self.next
    }

    /// Whether a challenge ACK may be sent now; if so, the next is `interval` away.
    pub fn admit(&mut self, now: Instant, interval: Duration) -> bool {
        let admitted = self.next.is_off() || self.next.is_due(now);
        if admitted {
            self.next = Deadline::after(now, interval);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_in_two_seconds_draw_four() {
        let mut limit = ChallengeLimit::NEW;
        let admitted = (0..40)
            .filter(|i| limit.admit(Instant::from_ms(i * 50), Duration::from_millis(500)))
            .count();
        assert_eq!(admitted, 4);
    }
}
