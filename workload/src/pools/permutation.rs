//! [`Permutation`]: a keyed order of the numbers below any limit, both ways, without a table.
//!
//! It must never serve as a cipher: it spreads neighbours apart and hides nothing.

/// Bits of an index space at most.
const BITS_MAX: u32 = 63;
/// Rounds of the network. Two would leave patterns that a hash table of the target could see; from four on each half has
/// passed through the other twice.
const ROUNDS: usize = 4;
/// Numbers that are replaced at a time.
const BATCH: usize = 64;
/// The golden ratio in 32 bits: an odd number without a pattern.
const GOLDEN: u32 = 0x9e37_79b1;

/// A Feistel network over the smallest power of two that holds the space, with cycle walking for what lies beyond it
/// (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002): fewer than two walks on the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    low_bits: u32,
    low_mask: u32,
    high_mask: u32,
    keys: [u32; ROUNDS],
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
            // At most 32 bits: BITS_MAX is odd.
            high_mask: ((1u64 << (bits - low_bits)) - 1) as u32,
            keys: core::array::from_fn(|_| random.next_u64() as u32),
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

    /// Replaces each place, which is below the length, by the number at it: [`Permutation::at`] of many at a time, without a
    /// branch for each, so that the compiler does several in one vector.
    #[inline]
    pub(crate) fn replace(&self, places: &mut [u64]) {
        let mut are_beyond = false;
        let (batches, rest) = places.as_chunks_mut::<BATCH>();
        for batch in batches {
            self.forwards_batch(batch);
            are_beyond |= batch.iter().fold(false, |any, &n| any | (n >= self.len));
        }
        for place in rest {
            *place = self.forwards(*place);
            are_beyond |= *place >= self.len;
        }
        if are_beyond {
            for number in places {
                while *number >= self.len {
                    *number = self.forwards(*number);
                }
            }
        }
    }

    /// [`Permutation::forwards`] of a batch. The halves stand apart, because a vector takes twice as many of 32 bits.
    #[inline]
    fn forwards_batch(&self, numbers: &mut [u64; BATCH]) {
        let (mut highs, mut lows) = ([0; BATCH], [0; BATCH]);
        for (&number, (high, low)) in numbers.iter().zip(highs.iter_mut().zip(&mut lows)) {
            (*high, *low) = self.halves(number);
        }
        for (high, low) in highs.iter_mut().zip(&mut lows) {
            for pair in self.keys.chunks_exact(2) {
                *high ^= mixed(*low, pair[0]) & self.high_mask;
                *low ^= mixed(*high, pair[1]) & self.low_mask;
            }
        }
        for (number, (&high, &low)) in numbers.iter_mut().zip(highs.iter().zip(&lows)) {
            *number = u64::from(high) << self.low_bits | u64::from(low);
        }
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
        u64::from(high) << self.low_bits | u64::from(low)
    }

    #[inline]
    fn backwards(&self, number: u64) -> u64 {
        let (mut high, mut low) = self.halves(number);
        for pair in self.keys.chunks_exact(2).rev() {
            low ^= mixed(high, pair[1]) & self.low_mask;
            high ^= mixed(low, pair[0]) & self.high_mask;
        }
        u64::from(high) << self.low_bits | u64::from(low)
    }

    #[inline]
    const fn halves(&self, number: u64) -> (u32, u32) {
        (
            (number >> self.low_bits) as u32 & self.high_mask,
            number as u32 & self.low_mask,
        )
    }
}

/// One multiplication in 32 bits, which a vector unit has, its high half folded into the low one, which the masks keep.
#[inline]
const fn mixed(half: u32, key: u32) -> u32 {
    let product = (half ^ key).wrapping_mul(GOLDEN);
    product >> 16 ^ product
}
