//! [`Divisor`]: division by a number that is known at start, by one multiplication.
//!
//! It must never be off by one: the property test compares it with the machine's division.

/// A divisor and its reciprocal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divisor {
    value: u64,
    /// The integer part of (2^64 - 1) / value.
    reciprocal: u64,
}

impl Divisor {
    /// Division by `value`; by 1 for 0.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        let value = if value == 0 { 1 } else { value };
        Self {
            value,
            reciprocal: u64::MAX / value,
        }
    }

    /// The divisor.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u64 {
        self.value
    }

    /// The quotient and the remainder of `dividend`.
    #[must_use]
    #[inline]
    pub const fn div_rem(self, dividend: u64) -> (u64, u64) {
        // The reciprocal is rounded down and so is the product: the guess is at most 2 too small.
        let guess = ((dividend as u128 * self.reciprocal as u128) >> 64) as u64;
        let rest = dividend - guess * self.value;
        if rest < self.value {
            return (guess, rest);
        }
        let (guess, rest) = (guess + 1, rest - self.value);
        if rest < self.value {
            return (guess, rest);
        }
        (guess + 1, rest - self.value)
    }
}

/// A [`Divisor`] of 32-bit numbers, by one multiplication that a vector unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortDivisor {
    value: u32,
    /// The integer part of (2^32 - 1) / value.
    reciprocal: u32,
}

impl ShortDivisor {
    /// Division by `value`; by 1 for 0.
    pub(super) const fn new(value: u32) -> Self {
        let value = if value == 0 { 1 } else { value };
        Self {
            value,
            reciprocal: u32::MAX / value,
        }
    }

    /// The quotient and the remainder of `dividend`, without a branch.
    #[inline]
    pub(super) const fn div_rem(self, dividend: u32) -> (u32, u32) {
        // The reciprocal is at least (2^32 - value) / value, so the guess is at most 1 too small.
        let guess = ((dividend as u64 * self.reciprocal as u64) >> 32) as u32;
        let rest = dividend.wrapping_sub(guess.wrapping_mul(self.value));
        let is_short = (rest >= self.value) as u32;
        (
            guess.wrapping_add(is_short),
            rest.wrapping_sub(self.value.wrapping_mul(is_short)),
        )
    }
}
