//! [`Book`]: what one worker's frames in flight have met so far: a byte of bits for each tuple, and when each was sent.
//!
//! It must never grow: a place is used again only after the verdict on the tuple that had it.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bits of [`Book::mark`] that say that the tuple's frame was sent again.
pub(super) const REPEATED: u8 = 1 << 7;
/// The verdict was silence: whatever comes now is late.
const SILENT: u8 = u8::MAX;
/// [`REPEATED`] of each frame of a word.
const ALL_REPEATED: u64 = u64::from_ne_bytes([REPEATED; FRAMES_PER_WORD as usize]);
/// Frames whose bits share a word, so that what holds for all of them takes one step.
const FRAMES_PER_WORD: u64 = 8;

/// The frames of one worker in the order in which they were made: 0, 1, … Each has a slot in a ring until the verdict.
/// The worker that sends writes places and times, any worker that receives marks.
#[derive(Debug)]
pub(crate) struct Book {
    /// A byte for each frame: [`FRAMES_PER_WORD`] of them in a word, the first in its lowest bits.
    marks: Vec<AtomicU64>,
    /// When frames were made, one for each group, in µs of the run.
    times: Vec<AtomicU32>,
    mask: u64,
    group_bits: u32,
    /// Other workers than the one that sends mark as well.
    is_shared: bool,
    /// Frames that were made.
    made: AtomicU64,
    /// Frames of which the verdict is known: those below this number.
    settled: AtomicU64,
}

impl Book {
    /// Room for `frames` in flight (rounded up to a power of two, at least 64), of which each `1 << group_bits` in a row are
    /// made at the same time. `is_shared` says that replies may come to other workers than the one that sends.
    pub(crate) fn new(frames: u64, group_bits: u32, is_shared: bool) -> Self {
        let len = frames.max(64).next_power_of_two();
        Self {
            marks: (0..len / FRAMES_PER_WORD)
                .map(|_| AtomicU64::new(0))
                .collect(),
            times: (0..len >> group_bits).map(|_| AtomicU32::new(0)).collect(),
            mask: len - 1,
            group_bits,
            is_shared,
            made: AtomicU64::new(0),
            settled: AtomicU64::new(0),
        }
    }

    /// Frames that may be in flight.
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// Frames in a row that have the same time.
    pub(crate) fn group(&self) -> usize {
        1 << self.group_bits
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        8 * self.marks.len() as u64 + 4 * self.times.len() as u64
    }

    /// Frames that were made so far.
    #[inline]
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    /// Frames of which the verdict is known.
    #[inline]
    pub(super) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// The next `frames` (at most as many as there is room for) are made at `now_us`, but those at the beginning of a group that
    /// an earlier call began at the time of their group: how many these are, and the number of the first frame.
    #[inline]
    pub(super) fn make(&self, frames: usize, now_us: u32) -> (u64, usize) {
        let first = self.made.load(Ordering::Relaxed);
        let end = first + frames as u64;
        let begun = first.next_multiple_of(1 << self.group_bits);
        for number in (begun..end).step_by(1 << self.group_bits) {
            let place = ((number & self.mask) >> self.group_bits) as usize;
            self.times[place].store(now_us, Ordering::Relaxed);
        }
        let mut number = first;
        while number < end {
            let (word, shift) = self.word(number);
            let next = end.min((number + 1).next_multiple_of(FRAMES_PER_WORD));
            if next - number == FRAMES_PER_WORD {
                word.store(0, Ordering::Relaxed);
            } else {
                // The other frames of the word may be marked by another worker in this moment.
                let bits = u64::MAX >> (u64::BITS - 8 * (next - number) as u32) << shift;
                word.fetch_and(!bits, Ordering::Relaxed);
            }
            number = next;
        }
        // With it goes what was written for these frames.
        self.made.store(end, Ordering::Release);
        (first, (begun - first) as usize)
    }

    /// The last `frames` that were made never left, and are made again.
    pub(super) fn unmake(&self, frames: u64) {
        let made = self.made.load(Ordering::Relaxed);
        self.made.store(made - frames, Ordering::Release);
    }

    /// When a frame in flight was made, in µs of the run.
    #[inline]
    pub(super) fn time(&self, number: u64) -> u32 {
        self.times[((number & self.mask) >> self.group_bits) as usize].load(Ordering::Relaxed)
    }

    /// The bits of a frame in flight.
    #[inline]
    pub(super) fn marks(&self, number: u64) -> u8 {
        let (word, shift) = self.word(number);
        (word.load(Ordering::Relaxed) >> shift) as u8
    }

    /// Sets a bit of a frame in flight and returns those that were set before; `None` when the verdict was silence.
    #[inline]
    pub(super) fn mark(&self, number: u64, bit: u8) -> Option<u8> {
        let (word, shift) = self.word(number);
        let before = word.fetch_or(u64::from(bit) << shift, Ordering::Relaxed);
        let before = (before >> shift) as u8;
        (before != SILENT).then_some(before)
    }

    /// Below which number, at most `limit`, all frames without a verdict were made at least `age_us` before `now_us`.
    #[inline]
    pub(super) fn aged(&self, limit: u64, now_us: u32, age_us: u32) -> u64 {
        let mut end = self.settled.load(Ordering::Relaxed);
        while end < limit && now_us.wrapping_sub(self.time(end)) >= age_us {
            // All of a group have the same time.
            end = (end + 1).next_multiple_of(1 << self.group_bits);
        }
        end.min(limit)
    }

    /// The verdict on a frame: the bits of its replies, 0 for silence, which is final. It takes effect with
    /// [`Book::settle_below`], before which every frame must have been judged once.
    #[inline]
    pub(super) fn judge(&self, number: u64) -> u8 {
        let (word, shift) = self.word(number);
        let bits_of = |word: u64| (word >> shift) as u8 & !REPEATED;
        let silenced = self.change(word, |before| {
            (bits_of(before) == 0).then_some(before | u64::from(SILENT) << shift)
        });
        silenced.map_or_else(bits_of, |()| 0)
    }

    /// [`Book::judge`] of the frames from `first` to below `end`: how many met silence.
    #[inline]
    pub(super) fn judge_run(&self, first: u64, end: u64) -> u64 {
        let (mut number, mut silent) = (first, 0);
        while number < end {
            let (word, shift) = self.word(number);
            let is_whole = shift == 0 && end - number >= FRAMES_PER_WORD;
            let all_silent = |before: u64| (before & !ALL_REPEATED == 0).then_some(u64::MAX);
            if is_whole && self.change(word, all_silent).is_ok() {
                silent += FRAMES_PER_WORD;
                number += FRAMES_PER_WORD;
            } else {
                silent += u64::from(self.judge(number) == 0);
                number += 1;
            }
        }
        silent
    }

    /// Replaces a word as `change` says; the word as it is where `change` says nothing.
    #[inline]
    fn change(&self, word: &AtomicU64, change: impl Fn(u64) -> Option<u64>) -> Result<(), u64> {
        // An exchange takes as long as all else that a frame costs here.
        if !self.is_shared {
            let before = word.load(Ordering::Relaxed);
            word.store(change(before).ok_or(before)?, Ordering::Relaxed);
            return Ok(());
        }
        // A reply may be marked by another worker in this moment.
        word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .map(|_| ())
    }

    /// The verdicts on all frames below `end` are known: their places are free.
    #[inline]
    pub(super) fn settle_below(&self, end: u64) {
        self.settled.store(end, Ordering::Release);
    }

    /// The word with the bits of a frame, and by how much they are shifted in it.
    #[inline]
    fn word(&self, number: u64) -> (&AtomicU64, u32) {
        let place = number & self.mask;
        let shift = 8 * (place % FRAMES_PER_WORD) as u32;
        (&self.marks[(place / FRAMES_PER_WORD) as usize], shift)
    }

    /// The number of the frame in flight that stands at `place` of a sequence of `len` tuples which is used round and round;
    /// `None` when the verdict on the last one is known, or none was made yet.
    #[inline]
    pub(super) fn in_flight(&self, place: u64, len: u64) -> Option<u64> {
        let (settled, made) = (self.settled(), self.made());
        if made <= place {
            return None;
        }
        // The last one made that stands at this place. Rounds are long: a division is rare.
        let behind = (made - 1) - place;
        let number = if behind < len {
            place
        } else {
            (made - 1) - behind % len
        };
        (number >= settled).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_time_and_its_bits_until_the_verdict() {
        for is_shared in [false, true] {
            let book = Book::new(64, 0, is_shared);
            for n in 0..10 {
                assert_eq!(book.make(1, 100 + n as u32), (n, 0));
                assert_eq!(book.time(n), 100 + n as u32);
            }
            assert_eq!((book.made(), book.time(7)), (10, 107));
            assert_eq!(book.mark(3, 1), Some(0));
            assert_eq!(book.mark(3, 4), Some(1));
            assert_eq!(book.mark(2, REPEATED), Some(0));
            for n in 0..10 {
                assert_eq!(book.judge(n), if n == 3 { 5 } else { 0 });
            }
            book.settle_below(10);
            assert_eq!(book.settled(), 10);
            assert_eq!(book.mark(2, 1), None, "silence is final");
            assert_eq!(book.mark(3, 1), Some(5), "one more reply");
        }
    }

    #[test]
    fn a_run_is_judged_as_frame_by_frame() {
        let ends = [(0, 64), (3, 64), (8, 16), (5, 6), (9, 61), (0, 8), (7, 7)];
        for ((first, end), is_shared) in
            ends.into_iter().flat_map(|run| [(run, false), (run, true)])
        {
            let [run, single] = [(); 2].map(|()| {
                let book = Book::new(64, 0, is_shared);
                book.make(64, 0);
                for number in (0..64).filter(|number| number % 11 == 4) {
                    book.mark(number, REPEATED);
                    book.mark(number + 1, REPEATED);
                    book.mark(number, 2);
                }
                book
            });
            let silent = (first..end).filter(|&number| single.judge(number) == 0);
            assert_eq!(
                run.judge_run(first, end),
                silent.count() as u64,
                "{first}..{end}"
            );
            for number in 0..64 {
                assert_eq!(
                    run.marks(number),
                    single.marks(number),
                    "{first}..{end}: {number}"
                );
            }
        }
    }

    #[test]
    fn a_slot_that_is_used_again_begins_without_marks_and_its_neighbours_keep_theirs() {
        for frames in 1..=64 {
            let book = Book::new(64, 0, true);
            book.make(64, 0);
            (0..64).for_each(|number| assert_eq!(book.mark(number, 1), Some(0)));
            book.settle_below(64);
            book.make(5, 0);
            book.make(frames - 5.min(frames), 0);
            let made = book.made() - 64;
            for number in 0..64 {
                assert_eq!(
                    book.marks(number),
                    u8::from(number >= made),
                    "{made}: {number}"
                );
            }
        }
    }

    #[test]
    fn a_group_has_one_time() {
        let book = Book::new(64, 3, false);
        for (frames, now_us) in [(1, 0), (2, 1), (6, 3), (0, 8), (8, 9), (3, 17)] {
            book.make(frames, now_us);
        }
        let times: Vec<u32> = (0..20).map(|number| book.time(number)).collect();
        assert_eq!(times, [[0; 8].as_slice(), &[3; 8], &[9; 4]].concat());
        assert_eq!(book.bytes(), 64 + 4 * 8);
    }

    #[test]
    fn frames_age_group_by_group() {
        let book = Book::new(64, 3, false);
        for now_us in 0..3 {
            book.make(8, 10 * now_us);
        }
        assert_eq!(book.aged(24, 21, 12), 8);
        assert_eq!(book.aged(24, 22, 12), 16);
        assert_eq!(book.aged(24, 99, 12), 24);
        assert_eq!(book.aged(20, 99, 12), 20, "the limit is within a group");
        assert_eq!(book.aged(24, 22, 23), 0);
        book.settle_below(12);
        assert_eq!(book.aged(24, 22, 12), 16);
        assert_eq!(book.aged(24, 21, 12), 12, "never back");
    }

    #[test]
    fn a_place_stands_for_the_last_frame_made_there() {
        let book = Book::new(64, 0, false);
        assert_eq!(book.in_flight(0, 100), None);
        book.make(64, 0);
        assert_eq!(book.in_flight(63, 100), Some(63));
        assert_eq!(book.in_flight(64, 100), None);
        book.settle_below(60);
        assert_eq!(book.in_flight(59, 100), None, "its verdict is known");
        book.make(56, 0);
        // 120 were made: places 0 to 19 for the second time.
        assert_eq!(book.in_flight(19, 100), Some(119));
        assert_eq!(book.in_flight(20, 100), None);
        assert_eq!(book.in_flight(60, 100), Some(60));
    }
}
