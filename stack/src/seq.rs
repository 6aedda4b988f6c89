//! [`SeqNum`]: a TCP sequence number, RFC 9293 §3.4.
//!
//! It must never implement `Ord`: before and after are only defined within half the circle, so sorting by them is a bug
//! that compiles.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A position in the 32-bit sequence space. Arithmetic is modulo 2^32 and never panics.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The number `n` positions further on.
    #[must_use]
    #[inline]
    #[allow(clippy::should_implement_trait)] // wrapping by design; `+` would look like arithmetic that can overflow
    pub const fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// The number `n` positions back.
    #[must_use]
    #[inline]
    #[allow(clippy::should_implement_trait)] // as for `add`
    pub const fn sub(self, n: u32) -> Self {
        Self(self.0.wrapping_sub(n))
    }

    /// Positions from `earlier` up to this number, modulo 2^32.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this number comes before `other` (closer going forward than back; half the circle counts as before).
    #[must_use]
    #[inline]
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this number comes after `other`.
    #[must_use]
    #[inline]
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Whether this number lies in the window of `len` positions that starts at `start`.
    #[must_use]
    #[inline]
    pub const fn in_window(self, start: Self, len: u32) -> bool {
        self.since(start) < len
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn before_and_after_are_opposites_within_half_the_circle(a: u32, d in 1u32..0x8000_0000) {
            let (a, b) = (SeqNum(a), SeqNum(a).add(d));
            prop_assert!(a.before(b) && b.after(a) && !b.before(a) && !a.after(b));
        }

        #[test]
        fn window_membership_matches_the_naive_walk(start: u32, len in 0u32..70, step in 0u32..80) {
            let member = (0..len).any(|i| start.wrapping_add(i) == start.wrapping_add(step));
            prop_assert_eq!(SeqNum(start).add(step).in_window(SeqNum(start), len), member);
        }
    }

    #[test]
    fn the_wrap_is_no_edge() {
        assert!(SeqNum(u32::MAX).before(SeqNum(0)));
        assert!(SeqNum(0).after(SeqNum(u32::MAX)));
        assert_eq!(SeqNum(2).since(SeqNum(u32::MAX)), 3);
        assert!(SeqNum(0).in_window(SeqNum(u32::MAX), 2));
    }
}
