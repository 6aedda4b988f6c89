//! [`Bits`]: sixteen single bits of a connection.
//!
//! It must never be read or written as one word: setting a bit is a store of one byte, and a wider load soon after waits until
//! that store has reached the cache (Intel Optimization Reference Manual, "Store Forwarding").

/// Sixteen single bits, named by their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bits([u8; 2]);

impl Bits {
    /// None is set.
    pub const NONE: Self = Self([0; 2]);

    /// Only these are set.
    #[must_use]
    #[inline(always)]
    pub const fn only(bits: u16) -> Self {
        Self(bits.to_le_bytes())
    }

    /// Whether the bit is set; of several, whether any is.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, bit: u16) -> bool {
        let [low, high] = bit.to_le_bytes();
        (self.0[0] & low) | (self.0[1] & high) != 0
    }

    /// Sets a bit, or several.
    #[inline(always)]
    pub const fn set(&mut self, bit: u16) {
        let [low, high] = bit.to_le_bytes();
        self.0[0] |= low;
        self.0[1] |= high;
    }

    /// Sets those that are set in `other`.
    #[inline(always)]
    pub const fn set_all(&mut self, other: Self) {
        self.0[0] |= other.0[0];
        self.0[1] |= other.0[1];
    }

    /// Clears a bit, or several.
    #[inline(always)]
    pub const fn clear(&mut self, bit: u16) {
        let [low, high] = bit.to_le_bytes();
        self.0[0] &= !low;
        self.0[1] &= !high;
    }

    /// Clears the bit and says whether it was set.
    #[inline(always)]
    pub const fn take(&mut self, bit: u16) -> bool {
        let had = self.has(bit);
        self.clear(bit);
        had
    }
}
