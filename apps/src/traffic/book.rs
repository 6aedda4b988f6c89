//! [`Book`]: what one worker's frames in flight have met so far: a byte of bits for each tuple, and when each was sent.
//!
//! It must never grow: a place is used again only after the verdict on the tuple that had it.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Bits of [`Book::mark`] that say that the tuple's frame was sent again.
pub(super) const REPEATED: u8 = 1 << 7;
/// The verdict was silence: whatever comes now is late.
const SILENT: u8 = u8::MAX;

/// The frames of one worker in the order in which they were made: 0, 1, … Each has a slot in a ring until the verdict.
/// The worker that sends writes places and times, any worker that receives marks.
#[derive(Debug)]
pub(crate) struct Book {
    marks: Vec<AtomicU8>,
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
            marks: (0..len).map(|_| AtomicU8::new(0)).collect(),
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
        self.marks.len() as u64 + 4 * self.times.len() as u64
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

    /// The next `frames` (at most as many as there is room for) are made at `now_us`: the number of the first. Their times are
    /// those of their groups: a group that an earlier call began keeps its time.
    #[inline]
    pub(super) fn make(&self, frames: usize, now_us: u32) -> u64 {
        let first = self.made.load(Ordering::Relaxed);
        let end = first + frames as u64;
        let begun = first.next_multiple_of(1 << self.group_bits);
        for number in (begun..end).step_by(1 << self.group_bits) {
            let place = ((number & self.mask) >> self.group_bits) as usize;
            self.times[place].store(now_us, Ordering::Relaxed);
        }
        for number in first..end {
            self.marks[(number & self.mask) as usize].store(0, Ordering::Relaxed);
        }
        // With it goes what was written for these frames.
        self.made.store(end, Ordering::Release);
        first
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
        self.marks[(number & self.mask) as usize].load(Ordering::Relaxed)
    }

    /// Sets a bit of a frame in flight and returns those that were set before; `None` when the verdict was silence.
    #[inline]
    pub(super) fn mark(&self, number: u64, bit: u8) -> Option<u8> {
        let before = self.marks[(number & self.mask) as usize].fetch_or(bit, Ordering::Relaxed);
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
        let marks = &self.marks[(number & self.mask) as usize];
        let mut bits = marks.load(Ordering::Relaxed);
        // An exchange takes as long as all else that a frame costs here.
        if !self.is_shared {
            if bits & !REPEATED == 0 {
                marks.store(SILENT, Ordering::Relaxed);
            }
            return bits & !REPEATED;
        }
        while bits & !REPEATED == 0 {
            // A reply may be marked by another worker in this moment.
            match marks.compare_exchange(bits, SILENT, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    bits = 0;
                    break;
                }
                Err(now) => bits = now,
            }
        }
        bits & !REPEATED
    }

    /// The verdicts on all frames below `end` are known: their places are free.
    #[inline]
    pub(super) fn settle_below(&self, end: u64) {
        self.settled.store(end, Ordering::Release);
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
                assert_eq!(book.make(1, 100 + n as u32), n);
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
