//! [`Bucket`]: one cache line of the index: ten tags that are compared at once, their entries, and overflow counts.
//!
//! It must never span two lines, and what it says about overflow must never be less than the truth: a lookup stops where
//! it says zero.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::memory::paged;

/// Entries of one bucket: with 2 + 4 bytes each and 4 bytes of overflow counts they fill the line exactly.
pub const BUCKET_ENTRIES: usize = 10;

/// Low bits of a match mask that stand for entries.
const ENTRY_MASK: u16 = (1 << BUCKET_ENTRIES) - 1;

/// An overflow count that is no longer counted: from here on the class counts as overflowing for ever.
const OVERFLOW_STUCK: u32 = 15;

/// One line of the index. All zero bytes are an empty bucket.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Bucket {
    /// [`BUCKET_ENTRIES`] tags, 0 where the slot is empty; then two halves of eight 4-bit overflow counts.
    tags: [u16; 12],
    /// The place behind each tag; the index alone knows the meaning.
    entries: [u32; BUCKET_ENTRIES],
}

paged!(Bucket);

const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

impl Bucket {
    /// Which slots hold `tag`, as a bit mask. With tag 0: which slots are empty.
    #[must_use]
    #[inline(always)]
    pub fn matches(&self, tag: u16) -> u16 {
        #[cfg(target_arch = "x86_64")]
        return self.matches_sse2(tag);
        #[cfg(not(target_arch = "x86_64"))]
        return self.matches_portable(tag);
    }

    /// Two compares of eight tags; the overflow counts that the second one takes along are masked off.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn matches_sse2(&self, tag: u16) -> u16 {
        use safe_arch::{
            cmp_eq_mask_i16_m128i, m128i, move_mask_i8_m128i, pack_i16_to_i8_m128i,
            set_splat_i16_m128i,
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.tags;
        let wanted = set_splat_i16_m128i(tag.cast_signed());
        let low = cmp_eq_mask_i16_m128i(m128i::from([a, b, c, d, e, f, g, h]), wanted);
        let high = cmp_eq_mask_i16_m128i(m128i::from([i, j, k, l, 0, 0, 0, 0]), wanted);
        move_mask_i8_m128i(pack_i16_to_i8_m128i(low, high)) as u16 & ENTRY_MASK
    }

    /// The same for targets without SSE2; tested against it.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn matches_portable(&self, tag: u16) -> u16 {
        (0..BUCKET_ENTRIES).fold(0, |mask, slot| {
            mask | u16::from(self.tags[slot] == tag) << slot
        })
    }

    /// The entry in `slot`.
    ///
    /// # Panics
    /// When `slot` is not below [`BUCKET_ENTRIES`].
    #[must_use]
    #[inline(always)]
    pub fn entry(&self, slot: usize) -> u32 {
        self.entries[slot]
    }

    /// A slot without an entry.
    #[inline]
    pub(super) fn empty_slot(&self) -> Option<usize> {
        let empty = self.matches(0);
        (empty != 0).then(|| empty.trailing_zeros() as usize)
    }

    /// The slot that holds exactly this tag and entry.
    #[inline]
    pub(super) fn slot_of(&self, tag: u16, entry: u32) -> Option<usize> {
        slots(self.matches(tag)).find(|&slot| self.entries[slot] == entry)
    }

    #[inline]
    pub(super) fn fill(&mut self, slot: usize, tag: u16, entry: u32) {
        self.tags[slot] = tag;
        self.entries[slot] = entry;
    }

    #[inline]
    pub(super) fn clear(&mut self, slot: usize) {
        self.tags[slot] = 0;
        self.entries[slot] = 0;
    }

    /// Whether an entry of this class may stand in a later bucket.
    #[inline(always)]
    pub(super) fn overflows(&self, class: u32) -> bool {
        // All eight counts are the upper half of one word.
        let [_, _, last]: [[u8; 8]; 3] = zerocopy::transmute!(self.tags);
        let counts = (u64::from_le_bytes(last) >> 32) as u32;
        counts >> ((class & 7) * 4) & 15 != 0
    }

    #[inline(always)]
    fn overflow_count(&self, class: u32) -> u32 {
        let (word, shift) = overflow_place(class);
        u32::from(self.tags[word]) >> shift & 15
    }

    /// Counts an entry of this class that passed on to a later bucket. Says whether the count just stuck.
    pub(super) fn overflow_add(&mut self, class: u32) -> bool {
        let count = self.overflow_count(class);
        if count == OVERFLOW_STUCK {
            return false;
        }
        let (word, shift) = overflow_place(class);
        self.tags[word] += 1 << shift;
        count + 1 == OVERFLOW_STUCK
    }

    /// Takes back one [`Bucket::overflow_add`]. A stuck count stays: how many it stands for is not known any more.
    pub(super) fn overflow_remove(&mut self, class: u32) {
        let count = self.overflow_count(class);
        if count != 0 && count != OVERFLOW_STUCK {
            let (word, shift) = overflow_place(class);
            self.tags[word] -= 1 << shift;
        }
    }
}

/// Where the count of a class 0–7 stands: index into `tags`, and shift.
#[inline(always)]
fn overflow_place(class: u32) -> (usize, u32) {
    (BUCKET_ENTRIES + (class >> 2 & 1) as usize, (class & 3) * 4)
}

/// The slots of a match mask, lowest first.
#[inline(always)]
pub(super) fn slots(mut mask: u16) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let slot = mask.trailing_zeros() as usize;
        (mask != 0).then(|| {
            mask &= mask - 1;
            slot
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bucket(tags: [u16; 12]) -> Bucket {
        Bucket {
            tags,
            entries: [0; BUCKET_ENTRIES],
        }
    }

    proptest! {
        // Few distinct tags, so that matches are common; the last two words are overflow counts that must not match.
        #[test]
        #[cfg(target_arch = "x86_64")]
        fn both_comparisons_agree(
            tags in proptest::array::uniform12(prop_oneof![0u16..4, Just(0xffffu16), Just(0x8000), Just(0x7fff)]),
            tag in prop_oneof![0u16..4, Just(0xffffu16), Just(0x8000), Just(0x7fff)],
        ) {
            let bucket = bucket(tags);
            prop_assert_eq!(bucket.matches_sse2(tag), bucket.matches_portable(tag));
        }

        #[test]
        fn slots_of_a_mask_are_its_bits(mask in 0u16..=ENTRY_MASK) {
            let rebuilt = slots(mask).fold(0u16, |rebuilt, slot| rebuilt | 1 << slot);
            prop_assert_eq!(rebuilt, mask);
        }
    }

    #[test]
    fn each_tag_is_found_in_each_slot() {
        for slot in 0..BUCKET_ENTRIES {
            let mut bucket = bucket([0; 12]);
            bucket.fill(slot, 0xabcd, 7);
            assert_eq!(bucket.matches(0xabcd), 1 << slot);
            assert_eq!(bucket.matches_portable(0xabcd), 1 << slot);
            assert_eq!(bucket.slot_of(0xabcd, 7), Some(slot));
            assert_eq!(bucket.slot_of(0xabcd, 8), None);
            bucket.clear(slot);
            assert_eq!(bucket.matches(0), ENTRY_MASK);
        }
    }

    #[test]
    fn overflow_counts_are_apart_go_back_to_zero_and_stick_at_fifteen() {
        let mut bucket = bucket([0; 12]);
        for class in 0..8 {
            for _ in 0..14 {
                assert!(!bucket.overflow_add(class));
            }
            let flagged = (0..8).filter(|&other| bucket.overflows(other)).count() as u32;
            assert_eq!(flagged, class + 1);
        }
        assert_eq!(bucket.matches(0), ENTRY_MASK, "counts are no tags");
        for class in 1..8 {
            for _ in 0..14 {
                assert!(bucket.overflows(class));
                bucket.overflow_remove(class);
            }
            assert!(!bucket.overflows(class));
            bucket.overflow_remove(class);
            assert!(!bucket.overflows(class));
        }
        assert!(bucket.overflow_add(0));
        assert!(!bucket.overflow_add(0));
        for _ in 0..100 {
            bucket.overflow_remove(0);
        }
        assert!(bucket.overflows(0));
    }
}
