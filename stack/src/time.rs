//! [`Instant`]: the stack's only notion of time, always passed in as an argument.
//!
//! It must never read a clock: the loop's owner does, once per turn, and the simulated world makes time up.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Nanoseconds since an epoch that the caller chose (start of the process, or of a simulated world). Wraps after 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self { ns: 0 };

    /// `ns` nanoseconds after the epoch.
    #[must_use]
    #[inline]
    pub const fn from_ns(ns: u64) -> Self {
        Self { ns }
    }

    /// `ms` milliseconds after the epoch.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self {
            ns: ms.wrapping_mul(1_000_000),
        }
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn as_ns(self) -> u64 {
        self.ns
    }

    /// Whole microseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn as_us(self) -> u64 {
        self.ns / 1_000
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn as_ms(self) -> u64 {
        self.ns / 1_000_000
    }

    /// Time since `earlier`, zero when `earlier` is later.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time; a `Duration` of more than 584 years counts as 584.
    #[inline]
    fn add(self, rhs: Duration) -> Self {
        // In 64 bits: a detour over `Duration::as_nanos` takes 128.
        let whole_s_ns = rhs.as_secs().saturating_mul(1_000_000_000);
        let ns = whole_s_ns.saturating_add(rhs.subsec_nanos().into());
        Self {
            ns: self.ns.saturating_add(ns),
        }
    }
}

impl Sub for Instant {
    type Output = Duration;

    #[inline]
    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}
