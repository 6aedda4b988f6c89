//! [`Permutation`]: a keyed order of the numbers below any limit, both ways, without a table.
//!
//! It must never serve as a cipher: it spreads neighbours apart and hides nothing.

/// Bits of an index space at most.
const BITS_MAX: u32 = 63;
/// Rounds of the network. Two would leave patterns that a hash table of the target could see; from four on each half has
/// passed through the other twice.
const ROUNDS: usize = 4;
/// The golden ratio in 64 bits: an odd number without a pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A Feistel network over the smallest power of two that holds the space, with cycle walking for what lies beyond it
/// (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): fewer than two walks on the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    low_bits: u32,
    low_mask: u64,
    high_mask: u64,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// An order of the numbers below `len` (1 to 2^63, clamped) that follows from `key` alone.
    #[must_use]
    pub(crate) fn new(len: u64, key: u64) -> Self {
        let len = len.clamp(1, 1 << BITS_MAX);
        // At least one bit for each half.
        let bits = (u64::BITS - (len - 1).leading_zeros()).max(2);
        let low_bits = bits / 2;
        let mut random = stack::rng::Random::new(key);
        Self {
            len,
            low_bits,
            low_mask: (1 << low_bits) - 1,
            high_mask: (1 << (bits - low_bits)) - 1,
            keys: core::array::from_fn(|_| random.next_u64()),
        }
    }

    /// The number at `place`, which is below the length.
    #[must_use]
    #[inline]
    pub(crate) fn at(&self, place: u64) -> u64 {
        let mut number = self.forwards(place);
        while number >= self.len {
            number = self.forwards(number);
        }
        number
    }

    /// The place of `number`, which is below the length.
    #[must_use]
    #[inline]
    pub(crate) fn place_of(&self, number: u64) -> u64 {
        let mut place = self.backwards(number);
        while place >= self.len {
            place = self.backwards(place);
        }
        place
    }

    #[inline]
    fn forwards(&self, number: u64) -> u64 {
        let (mut high, mut low) = self.halves(number);
        for pair in self.keys.chunks_exact(2) {
            high ^= mixed(low, pair[0]) & self.high_mask;
            low ^= mixed(high, pair[1]) & self.low_mask;
        }
        high << self.low_bits | low
    }

    #[inline]
    fn backwards(&self, number: u64) -> u64 {
        let (mut high, mut low) = self.halves(number);
        for pair in self.keys.chunks_exact(2).rev() {
            low ^= mixed(high, pair[1]) & self.low_mask;
            high ^= mixed(low, pair[0]) & self.high_mask;
        }
        high << self.low_bits | low
    }

    #[inline]
    const fn halves(&self, number: u64) -> (u64, u64) {
        (
            (number >> self.low_bits) & self.high_mask,
            number & self.low_mask,
        )
    }
}

/// One multiplication, both halves of its product.
#[inline]
const fn mixed(half: u64, key: u64) -> u64 {
    let product = (half ^ key) as u128 * GOLDEN as u128;
    (product >> 64) as u64 ^ product as u64
}
