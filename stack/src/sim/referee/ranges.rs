//! [`Ranges`]: a set of numbers of a byte stream, as few ranges.
//!
//! It must never hold two ranges that touch.

use core::ops::Range;

/// Disjoint ranges in ascending order.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges(Vec<Range<u32>>);

impl Ranges {
    /// Adds a range.
    pub(super) fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        // The usual case: right behind all that is there.
        if let [only] = self.0.as_mut_slice()
            && (only.start..=only.end).contains(&range.start)
        {
            only.end = only.end.max(range.end);
            return;
        }
        let first = self.0.partition_point(|known| known.end < range.start);
        let behind = self.0.partition_point(|known| known.start <= range.end);
        let merged = match self.0.get(first..behind) {
            Some([touched, .., last]) => touched.start.min(range.start)..last.end.max(range.end),
            Some([touched]) => touched.start.min(range.start)..touched.end.max(range.end),
            _ => range,
        };
        self.0.splice(first..behind, [merged]);
    }

    /// Whether all of the range is in the set.
    pub(super) fn contains(&self, range: &Range<u32>) -> bool {
        let at = self.0.partition_point(|known| known.end < range.end);
        let within = |known: &Range<u32>| known.start <= range.start && range.end <= known.end;
        range.is_empty() || self.0.get(at).is_some_and(within)
    }

    /// The first number that is missing from 0 on.
    pub(super) fn gapless(&self) -> u32 {
        match self.0.first() {
            Some(first) if first.start == 0 => first.end,
            _ => 0,
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_of_single_numbers_holds_the_same(
            ranges in prop::collection::vec((0u32..60, 0u32..12), 0..20)
        ) {
            let mut set = Ranges::default();
            let mut naive = [false; 80];
            for (start, len) in ranges {
                set.insert(start..start + len);
                naive[start as usize..(start + len) as usize].fill(true);
                for pair in set.0.windows(2) {
                    prop_assert!(pair[0].end < pair[1].start);
                }
                let gapless = naive.iter().take_while(|held| **held).count() as u32;
                prop_assert_eq!(set.gapless(), gapless);
                for at in 0..70 {
                    for len in 0..9 {
                        let all = naive[at..at + len].iter().all(|held| *held);
                        prop_assert_eq!(set.contains(&(at as u32..(at + len) as u32)), all);
                    }
                }
            }
        }
    }
}
