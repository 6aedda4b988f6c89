//! [`Deadline`]: one moment at which a connection wants to be called, or none.
//!
//! It must never read a clock.

use core::time::Duration;

use crate::time::Instant;

/// A moment, or off. Eight bytes: off is the end of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// No deadline.
    pub const OFF: Self = Self(Instant::from_ns(u64::MAX));

    /// At `now + delay`.
    #[must_use]
    #[inline]
    pub fn after(now: Instant, delay: Duration) -> Self {
        Self(now + delay)
    }

    /// `delay_us` microseconds after `now`: the cheap way for each segment, without the detour over [`Duration`].
    #[must_use]
    #[inline]
    pub const fn after_us(now: Instant, delay_us: u32) -> Self {
        let delay_ns = delay_us as u64 * 1_000;
        Self(Instant::from_ns(now.as_ns().saturating_add(delay_ns)))
    }

    /// At this moment.
    #[must_use]
    #[inline]
    pub const fn at(at: Instant) -> Self {
        Self(at)
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_off(self) -> bool {
        self.0.as_ns() == u64::MAX
    }

    /// Whether it was reached.
    #[must_use]
    #[inline]
    pub fn is_due(self, now: Instant) -> bool {
        !self.is_off() && self.0 <= now
    }

    /// The moment, if there is one.
    #[must_use]
    #[inline]
    pub fn instant(self) -> Option<Instant> {
        (!self.is_off()).then_some(self.0)
    }

    /// The earlier of both.
    #[must_use]
    #[inline]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_never_due_and_never_earlier() {
        let soon = Deadline::after(Instant::from_ms(1), Duration::from_millis(2));
        assert!(!Deadline::OFF.is_due(Instant::from_ns(u64::MAX)));
        assert_eq!(Deadline::OFF.instant(), None);
        assert_eq!(Deadline::OFF.earlier(soon), soon);
        assert_eq!(Deadline::after_us(Instant::from_ms(1), 2_000), soon);
        assert!(!soon.is_due(Instant::from_ms(2)) && soon.is_due(Instant::from_ms(3)));
    }
}
