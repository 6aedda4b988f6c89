//! Which bytes beyond RCV.NXT were received: ranges only, the bytes lie with the connection record. SHLD-31.
//!
//! It must never grow beyond [`RANGES_MAX`], whatever a peer sends: what finds no room is dropped and comes again.

use arrayvec::ArrayVec;

use crate::seq::SeqNum;

/// Gaps that one connection may have at once.
pub const RANGES_MAX: usize = 16;

/// Received numbers from `start` up to, not including, `end`. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first number.
    pub start: SeqNum,
    /// The first number behind.
    pub end: SeqNum,
}

/// The fate of a segment ahead of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertOutcome {
    /// Keep the numbers of this range. What was kept before lies outside of it, or wholly within it and is to be let go:
    /// a segment's bytes stay in one piece.
    New(Range),
    /// All of it is there already.
    Duplicate,
    /// Another gap can't be remembered.
    NoRoom,
}

/// The ranges, in order, none touching another. All within half the circle of each other, since all were within the
/// receive window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reassembly {
    ranges: ArrayVec<Range, RANGES_MAX>,
}

impl Reassembly {
    /// Whether nothing is out of order.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, lowest first.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The first number behind everything received, if something is out of order.
    #[must_use]
    pub fn end(&self) -> Option<SeqNum> {
        self.ranges.last().map(|range| range.end)
    }

    /// Adds the numbers of `new` (not empty, beyond RCV.NXT, within the window). Of ranges that reach across one of its
    /// ends, what was received first stays; those that it covers, it takes the place of.
    pub fn insert(&mut self, new: Range) -> InsertOutcome {
        // The first range that ends at or behind the new start: it may touch, overlap or follow.
        let at = self
            .ranges
            .iter()
            .position(|r| !r.end.before(new.start))
            .unwrap_or(self.ranges.len());
        // Where that range and the last one that starts no later than the new end reach beyond it.
        let mut whole = new;
        let mut kept = new;
        let mut behind = at;
        while let Some(range) = self.ranges.get(behind)
            && !range.start.after(new.end)
        {
            if !range.start.after(new.start) {
                whole.start = range.start;
                kept.start = range.end;
            }
            if !range.end.before(new.end) {
                whole.end = range.end;
                //~ A segment around what is held keeps all that is new: -> `kept.end = range.start; break;`;
                //~   a_segment_over_kept_ranges_takes_their_place
                kept.end = range.start;
            }
            behind += 1;
        }
        if !kept.start.before(kept.end) {
            return InsertOutcome::Duplicate;
        }
        if behind == at {
            if self.ranges.is_full() {
                //~ Ranges ahead of gaps have a limit: -> `return Inserted::New(kept);`;
                //~   a_full_table_still_takes_what_touches_a_range
                return InsertOutcome::NoRoom;
            }
            self.ranges.insert(at, whole);
        } else {
            self.ranges[at] = whole;
            self.ranges.drain(at + 1..behind);
        }
        InsertOutcome::New(kept)
    }

    /// RCV.NXT moved to `nxt` by data in order: forgets what lies before it and says how many numbers of a kept range
    /// follow right behind.
    pub fn advance(&mut self, nxt: SeqNum) -> u32 {
        while let Some(range) = self.ranges.first().copied() {
            if range.start.after(nxt) {
                return 0;
            }
            self.ranges.remove(0);
            if range.end.after(nxt) {
                return range.end.since(nxt);
            }
        }
        0
    }

    /// Forgets everything (the peer's FIN came first).
    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u32, end: u32) -> Range {
        Range {
            start: SeqNum(start),
            end: SeqNum(end),
        }
    }

    #[test]
    fn a_segment_over_kept_ranges_takes_their_place() {
        let mut r = Reassembly::default();
        assert_eq!(
            r.insert(range(200, 300)),
            InsertOutcome::New(range(200, 300))
        );
        assert_eq!(
            r.insert(range(100, 400)),
            InsertOutcome::New(range(100, 400))
        );
        assert_eq!(r.ranges(), [range(100, 400)]);
        assert_eq!(r.insert(range(100, 400)), InsertOutcome::Duplicate);
        assert_eq!(
            r.insert(range(350, 500)),
            InsertOutcome::New(range(400, 500))
        );
        assert_eq!(
            r.insert(range(900, 950)),
            InsertOutcome::New(range(900, 950))
        );
        assert_eq!(
            r.insert(range(600, 700)),
            InsertOutcome::New(range(600, 700))
        );
        // Across the end of the first, over the second, up to the start of the third, which stays what it is.
        assert_eq!(
            r.insert(range(450, 920)),
            InsertOutcome::New(range(500, 900))
        );
        assert_eq!(r.ranges(), [range(100, 950)]);
    }

    #[test]
    fn a_range_with_the_same_start_or_end_stays() {
        let mut r = Reassembly::default();
        r.insert(range(100, 200));
        assert_eq!(
            r.insert(range(100, 250)),
            InsertOutcome::New(range(200, 250))
        );
        assert_eq!(r.insert(range(50, 250)), InsertOutcome::New(range(50, 100)));
        assert_eq!(r.ranges(), [range(50, 250)]);
    }

    #[test]
    fn a_full_table_still_takes_what_touches_a_range() {
        let mut r = Reassembly::default();
        for i in 0..RANGES_MAX as u32 {
            assert!(matches!(
                r.insert(range(10 * i, 10 * i + 5)),
                InsertOutcome::New(_)
            ));
        }
        assert_eq!(r.insert(range(10_000, 10_001)), InsertOutcome::NoRoom);
        assert_eq!(r.insert(range(5, 10)), InsertOutcome::New(range(5, 10)));
        assert_eq!(r.ranges().len(), RANGES_MAX - 1);
    }

    proptest! {
        /// The naive model is a set of single numbers.
        #[test]
        fn agrees_with_a_set_of_bytes(
            base: u32,
            segments in prop::collection::vec((1u32..300, 1u32..40, any::<bool>()), 1..120),
        ) {
            let mut r = Reassembly::default();
            let mut model = std::collections::BTreeSet::new();
            let mut nxt = 0u32; // relative to base
            for (offset, len, in_order) in segments {
                if in_order {
                    nxt += len;
                    let released = r.advance(SeqNum(base).add(nxt));
                    model.retain(|&n| n >= nxt);
                    let mut expected = 0;
                    while model.remove(&(nxt + expected)) {
                        expected += 1;
                    }
                    prop_assert_eq!(released, expected);
                    nxt += released;
                } else {
                    let (start, end) = (nxt + offset, nxt + offset + len);
                    match r.insert(range(base.wrapping_add(start), base.wrapping_add(end))) {
                        InsertOutcome::New(taken) => {
                            let from = taken.start.0.wrapping_sub(base);
                            let to = taken.end.0.wrapping_sub(base);
                            prop_assert!(start <= from && from < to && to <= end);
                            // Something of it is new, and nothing new is left out.
                            prop_assert!((from..to).any(|n| !model.contains(&n)));
                            prop_assert!((start..from).chain(to..end).all(|n| model.contains(&n)));
                            // Kept data is taken whole or not at all.
                            for n in [from, to] {
                                let cut = model.contains(&(n - 1)) && model.contains(&n);
                                prop_assert!(!cut, "a kept range is cut at {}", n);
                            }
                            model.extend(from..to);
                        }
                        InsertOutcome::Duplicate => prop_assert!((start..end).all(|n| model.contains(&n))),
                        InsertOutcome::NoRoom => prop_assert_eq!(r.ranges().len(), RANGES_MAX),
                    }
                }
                let kept: u32 = r.ranges().iter().map(|x| x.end.since(x.start)).sum();
                prop_assert_eq!(kept as usize, model.len());
                for pair in r.ranges().windows(2) {
                    prop_assert!(pair[0].end.before(pair[1].start), "ranges touch");
                }
            }
        }
    }
}
