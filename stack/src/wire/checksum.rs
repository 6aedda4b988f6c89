//! The Internet checksum: RFC 1071 sums, pseudo-headers of both families, RFC 1624 incremental update.
//!
//! It must never swap bytes on the way: sums are taken over words as the machine loads them (RFC 1071 §2 (B)), and only
//! the result is stored.

use core::ops::Add;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, native_endian};

use super::U16;

/// A partial one's complement sum over 16-bit words in the machine's own byte order.
///
/// Sums of parts add up to the sum of the whole when every part but the last has an even length. One sum may cover up
/// to 16 GiB; packets end at 64 KiB, so it can't overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

/// The inverse of 0xffff modulo 2^64.
const INVERSE_OF_FFFF: u64 = 0xfffe_fffe_fffe_ffff;

const _: () = assert!(INVERSE_OF_FFFF.wrapping_mul(0xffff) == 1);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of one 16-bit word that stands in network byte order on the wire, given by its value.
    #[must_use]
    #[inline]
    pub const fn word(value: u16) -> Self {
        Self(value.to_be() as u64)
    }

    /// The sum of four bytes as they stand on the wire.
    #[must_use]
    #[inline]
    pub const fn bytes4(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes) as u64)
    }

    /// The sum of the same bytes when they begin at an odd offset (RFC 1071 §2 (B)): what a part counts for that stands
    /// behind an odd number of bytes.
    #[must_use]
    #[inline]
    pub const fn at_odd_offset(self) -> Self {
        // Times 256 modulo 0xffff swaps the bytes.
        Self((self.fold() as u64) << 8)
    }

    /// Folded to 16 bits and not complemented, as stored on the wire: what a NIC that fills in the TCP checksum
    /// expects in the field (DPDK Programmer's Guide, mbuf library).
    #[must_use]
    #[inline]
    pub const fn folded(self) -> U16 {
        U16::from_bytes(self.fold().to_ne_bytes())
    }

    /// Folded and complemented: the value of a checksum field.
    #[must_use]
    #[inline]
    pub const fn finish(self) -> U16 {
        U16::from_bytes((!self.fold()).to_ne_bytes())
    }

    /// Whether data with this sum, its checksum field included, is intact (RFC 1071 §1 (3)).
    ///
    /// Sums of all-zero data are refused too: no IP header and no pseudo-header is all zero.
    #[must_use]
    #[inline]
    pub const fn is_valid(self) -> bool {
        // A sum folds to 0xffff when it is a multiple of 0xffff other than 0. Multiplying by the inverse of an odd number
        // gives the quotient exactly when it divides, and something larger otherwise (Granlund and Montgomery, "Division
        // by Invariant Integers using Multiplication", section 9): half the instructions of folding twice.
        self.0.wrapping_mul(INVERSE_OF_FFFF).wrapping_sub(1) < u64::MAX / 0xffff
    }

    #[inline]
    const fn fold(self) -> u16 {
        // Adding the halves to each other both ways leaves the end-around sum in the upper half, carry included.
        let x = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (x.wrapping_add(x.rotate_left(16)) >> 16) as u16
    }
}

impl Add for Sum {
    type Output = Self;

    #[inline]
    fn add(self, rhs: Self) -> Self {
        Self(self.0 + rhs.0)
    }
}

/// A one's complement sum over words of 64 bits, which takes half the additions of a [`Sum`] over headers: a carry out of the
/// top comes in again at the bottom (RFC 1071 §2 (B) and (C)). Only for verifying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WideSum(u64);

/// A header of IPv4 or TCP without options, in the words in which it is summed.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Words20 {
    wide: [native_endian::U64; 2],
    last: native_endian::U32,
}

impl WideSum {
    /// The sum of a header of IPv4 or TCP without options.
    #[must_use]
    #[inline(always)]
    pub fn header(header: &[u8; 20]) -> Self {
        Self::header_and(header, [])
    }

    /// The same and words that belong to it, as they were loaded.
    #[must_use]
    #[inline(always)]
    pub fn header_and<const N: usize>(header: &[u8; 20], more: [u64; N]) -> Self {
        let words: &Words20 = zerocopy::transmute_ref!(header);
        let [a, b] = words.wide;
        let start = end_around(a.get(), [b.get(), words.last.get().into()]);
        Self(end_around(start, more))
    }

    /// This sum and another one.
    #[must_use]
    #[inline(always)]
    pub fn and(self, sum: Sum) -> Self {
        Self(end_around(self.0, [sum.0]))
    }

    /// This sum and two words, as they were loaded.
    #[must_use]
    #[inline(always)]
    pub const fn and_two(self, wide: u64, narrow: u32) -> Self {
        // In 128 bits, which is an addition with carry and no comparison of what was known when compiling.
        let total = self.0 as u128 + wide as u128 + narrow as u128;
        let (low, high) = (total as u64, (total >> 64) as u64);
        let (sum, carry) = low.overflowing_add(high);
        Self(sum.wrapping_add(carry as u64))
    }

    /// As [`Sum::is_valid`] for data that isn't all zero, as no IPv4 header and no pseudo-header is; what is all zero counts as
    /// intact.
    #[must_use]
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        self.0.wrapping_mul(INVERSE_OF_FFFF) <= u64::MAX / 0xffff
    }
}

/// A carry goes into the next addition and at last into the bottom. That can't carry again: the top carries into a sum of all
/// ones only if it did so before, and at first it didn't.
#[inline(always)]
fn end_around<const N: usize>(start: u64, words: [u64; N]) -> u64 {
    let (mut sum, mut carry) = (start, false);
    for word in words {
        let (partial, over) = sum.overflowing_add(word);
        let (total, over_again) = partial.overflowing_add(carry.into());
        (sum, carry) = (total, over | over_again);
    }
    sum.wrapping_add(carry.into())
}

/// The sum of `bytes` of any length and alignment; an odd last byte counts as the upper half of a word whose other half
/// is zero (RFC 1071 §4.1).
#[must_use]
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    if bytes.len() < size_of::<u64>() {
        sum_rest(0, bytes)
    } else if bytes.len() < SHORT {
        sum_short(bytes)
    } else {
        sum_long(bytes)
    }
}

/// Up to here, in bytes, preparing lanes costs more than they save.
const SHORT: usize = 256;

/// Word by word of 64 bits. What runs over weighs 2^64, which is 1 modulo 2^16 - 1.
#[inline(never)]
fn sum_short(bytes: &[u8]) -> Sum {
    let mut total = 0u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let (partial, is_over) = total.overflowing_add(u64::from_ne_bytes(*word));
        // Doesn't run over again: a sum that did is at most 2^64 - 2.
        total = partial + u64::from(is_over);
    }
    sum_rest((total & 0xffff_ffff) + (total >> 32), rest)
}

#[inline(never)]
fn sum_long(bytes: &[u8]) -> Sum {
    let (blocks, rest) = bytes.as_chunks::<32>();
    sum_rest(sum_blocks(blocks), rest)
}

/// `total` and what is left behind words or blocks.
#[inline(always)]
fn sum_rest(mut total: u64, rest: &[u8]) -> Sum {
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let (halves, rest) = rest.as_chunks::<2>();
    for half in halves {
        total += u64::from(u16::from_ne_bytes(*half));
    }
    if let [last] = rest {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    Sum(total)
}

/// The sum of an array whose length is known when compiling: no loop remains for headers.
#[must_use]
#[inline(always)]
pub fn sum_array<const N: usize>(bytes: &[u8; N]) -> Sum {
    let mut total = 0u64;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    sum_rest(total, rest)
}

/// The sum of a header whose length is a multiple of 4, as TCP and IPv4 headers are; a remainder is left out.
#[must_use]
#[inline]
pub fn sum_header(bytes: &[u8]) -> Sum {
    let (words, _) = bytes.as_chunks::<4>();
    Sum(words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum())
}

/// The sum of a TCP header's options. Those of nearly every segment (timestamps) and nearly every SYN have one length each, for
/// which no loop remains.
#[must_use]
#[inline(always)]
pub fn sum_options(bytes: &[u8]) -> Sum {
    if let Ok(timestamps) = <&[u8; 12]>::try_from(bytes) {
        sum_array(timestamps)
    } else if let Ok(syn) = <&[u8; 20]>::try_from(bytes) {
        sum_array(syn)
    } else {
        sum_header(bytes)
    }
}

/// Eight lanes of 64 bits, each fed by 32-bit words: LLVM turns the inner loop into widening vector additions.
fn sum_blocks(blocks: &[[u8; 32]]) -> u64 {
    let mut lanes = [0u64; 8];
    for block in blocks {
        let (words, _) = block.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    lanes.iter().sum()
}

/// The sum of the IPv4 pseudo-header of a segment of `len` bytes (RFC 9293 §3.1).
#[must_use]
#[inline]
pub fn pseudo_v4(src: [u8; 4], dst: [u8; 4], protocol: u8, len: u16) -> Sum {
    Sum(u64::from(u32::from_ne_bytes(src)) + u64::from(u32::from_ne_bytes(dst)))
        + Sum::word(u16::from(protocol))
        + Sum::word(len)
}

/// The sum of the IPv6 pseudo-header of an upper-layer packet of `len` bytes (RFC 8200 §8.1).
#[must_use]
#[inline]
pub fn pseudo_v6(src: &[u8; 16], dst: &[u8; 16], next_header: u8, len: u32) -> Sum {
    sum_array(src)
        + sum_array(dst)
        + Sum(u64::from(len.to_be()))
        + Sum::word(u16::from(next_header))
}

/// Whether the TCP (or UDP, ICMPv6…) bytes `segment`, checksum field included, are intact over IPv4.
/// Segments over 65,535 bytes don't exist and are refused.
#[must_use]
#[inline]
pub fn verify_v4(src: [u8; 4], dst: [u8; 4], protocol: u8, segment: &[u8]) -> bool {
    match u16::try_from(segment.len()) {
        Ok(len) => (pseudo_v4(src, dst, protocol, len) + sum(segment)).is_valid(),
        Err(_) => false,
    }
}

/// Whether the upper-layer bytes `segment`, checksum field included, are intact over IPv6.
/// Packets of 4 GiB and more don't exist and are refused.
#[must_use]
#[inline]
pub fn verify_v6(src: &[u8; 16], dst: &[u8; 16], next_header: u8, segment: &[u8]) -> bool {
    match u32::try_from(segment.len()) {
        Ok(len) => (pseudo_v6(src, dst, next_header, len) + sum(segment)).is_valid(),
        Err(_) => false,
    }
}

/// The checksum after one 16-bit word changed from `old` to `new` (RFC 1624 §3, equation 3).
#[must_use]
#[inline]
pub const fn update(checksum: U16, old: U16, new: U16) -> U16 {
    let checksum = u16::from_ne_bytes(checksum.to_bytes());
    let old = u16::from_ne_bytes(old.to_bytes());
    let new = u16::from_ne_bytes(new.to_bytes());
    Sum(!checksum as u64 + !old as u64 + new as u64).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §4.1 word by word, in network byte order, with a carry fold after each addition.
    fn naive(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u32::from(u16::from_be_bytes([pair[0], low]));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    proptest! {
        #[test]
        fn sum_matches_the_naive_one_at_every_alignment(
            bytes in proptest::collection::vec(any::<u8>(), 0..600), skip in 0usize..8,
        ) {
            let bytes = bytes.get(skip..).unwrap_or(&[]);
            prop_assert_eq!(sum(bytes).folded().get(), naive(bytes));
            prop_assert_eq!(sum(bytes).finish().get(), !naive(bytes));
            let theirs = etherparse::checksum::Sum16BitWords::new().add_slice(bytes);
            prop_assert_eq!(sum(bytes).finish().to_bytes(), theirs.ones_complement().to_ne_bytes());
        }

        #[test]
        fn a_wide_sum_is_valid_where_the_narrow_one_is(
            header: [u8; 20], more: (u64, u32), fill: u8, ones: bool,
        ) {
            // Ones all over carry as often as can be.
            let header = if ones { [fill | 0xf0; 20] } else { header };
            let (wide, narrow) = if ones { (u64::MAX - u64::from(fill), u32::MAX) } else { more };
            let rest = [&wide.to_ne_bytes()[..], &narrow.to_ne_bytes()].concat();
            let whole = sum(&header) + sum(&rest);
            for wide in [
                WideSum::header_and(&header, [wide, narrow.into()]),
                WideSum::header(&header).and_two(wide, narrow),
                WideSum::header(&header).and(sum(&rest)),
            ] {
                prop_assert_eq!(Sum(wide.0).folded(), whole.folded());
                prop_assert_eq!(wide.is_valid(), whole.is_valid() || whole.0 == 0);
                let check = u32::from(u16::from_ne_bytes(whole.finish().to_bytes()));
                prop_assert!(wide.and_two(0, check).is_valid());
            }
        }

        #[test]
        fn parts_of_even_length_add_up(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..100,
        ) {
            let (a, b) = bytes.split_at((cut * 2).min(bytes.len() & !1));
            prop_assert_eq!((sum(a) + sum(b)).folded().get(), naive(&bytes));
        }

        #[test]
        fn parts_of_any_length_add_up(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>(),
        ) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            let b = if a.len() % 2 == 0 { sum(b) } else { sum(b).at_odd_offset() };
            prop_assert_eq!((sum(a) + b).folded().get(), naive(&bytes));
        }

        #[test]
        fn fixed_and_header_sums_match(bytes: [u8; 20], odd: [u8; 23]) {
            prop_assert_eq!(sum_array(&bytes).folded().get(), naive(&bytes));
            prop_assert_eq!(sum_array(&odd).folded().get(), naive(&odd));
            prop_assert_eq!(sum_header(&bytes).folded().get(), naive(&bytes));
        }

        #[test]
        fn options_of_every_length_sum_alike(bytes: [u8; 40], words in 0usize..=10) {
            let options = &bytes[..4 * words];
            prop_assert_eq!(sum_options(options).folded().get(), naive(options));
        }

        #[test]
        fn a_stored_checksum_verifies_and_a_flipped_bit_does_not(
            mut bytes in proptest::collection::vec(any::<u8>(), 2..1600), bit in any::<prop::sample::Index>(),
        ) {
            bytes[0..2].fill(0);
            let stored = sum(&bytes).finish();
            bytes[0..2].copy_from_slice(&stored.to_bytes());
            prop_assert!(sum(&bytes).is_valid());
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!sum(&bytes).is_valid());
        }

        #[test]
        fn incremental_update_equals_a_new_sum(mut bytes: [u8; 40], word in 1usize..20, new: u16) {
            bytes[0..2].fill(0);
            bytes[2] = 1; // an all-zero packet has two representations of its sum; no header is all zero
            let old = U16::from_bytes([bytes[2 * word], bytes[2 * word + 1]]);
            let before = sum(&bytes).finish();
            bytes[2 * word..2 * word + 2].copy_from_slice(&new.to_be_bytes());
            prop_assume!(bytes.iter().any(|byte| *byte != 0));
            prop_assert_eq!(update(before, old, U16::new(new)), sum(&bytes).finish());
        }
    }

    proptest! {
        #[test]
        fn valid_is_what_folds_to_all_ones(sum: u64, multiple in 0u64..1 << 48) {
            for sum in [sum, multiple.wrapping_mul(0xffff), multiple] {
                // Sums of frames stay far below 2^64, where the end-around fold is exact.
                let sum = Sum(sum >> 8);
                prop_assert_eq!(sum.is_valid(), sum.fold() == 0xffff);
            }
        }
    }

    #[test]
    fn extremes_fold_without_losing_a_carry() {
        assert_eq!(sum(&[0xff; 65_535]).folded().get(), naive(&[0xff; 65_535]));
        assert_eq!(sum(&[0xff; 65_534]).folded().get(), 0xffff);
        assert_eq!(Sum(0xffff_ffff_ffff_ffff).fold(), 0xffff);
        assert_eq!(Sum(0xffff_ffff_0000_0001).fold(), 1);
        assert!(!sum(&[0; 20]).is_valid());
    }

    /// RFC 1624 §4: the example that equation 2 gets wrong (0xffff instead of 0x0000).
    #[test]
    fn the_corner_case_of_rfc_1624() {
        assert_eq!(
            update(U16::new(0xdd2f), U16::new(0x5555), U16::new(0x3285)).get(),
            0
        );
    }

    /// RFC 1071 §3.
    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])
                .folded()
                .get(),
            0xddf2
        );
    }
}
