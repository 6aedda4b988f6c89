//! Fields of records that keep numbers of `tcp` in fewer bits: [`AnswerTicks`] and [`ParkedWindows`].
//!
//! It must never lose what a rule of `tcp` decides by: each type says what it rounds, and in which direction.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::tcp::answer_limits::AnswerLimits;
use crate::time::Instant;

/// The two budgets of [`AnswerLimits`], each as a time in steps of 4 ms, rounded up, modulo 131 s; and one bit that is the
/// owner's.
///
/// A time that is over may look like one ahead again, once in 131 s: an answer is then held back for as long as a full
/// budget would be ([`AnswerLimits::admit`]), 0.5 s by default.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AnswerTicks {
    /// With [`AnswerTicks::FLAG`].
    challenge: u16,
    old: u16,
}

impl AnswerTicks {
    const STEP_MS: u64 = 4;
    /// Steps are counted modulo this, from 1: 0 means that nothing was answered.
    const STEPS: u64 = 0x7fff;
    /// The owner's bit.
    const FLAG: u16 = 0x8000;
    /// A limit is never further ahead than this, so what looks so is over: 65 s.
    const AHEAD_MAX: u64 = 0x3fff;

    /// Keeps the limits; `flag` is kept beside them.
    #[must_use]
    pub fn new(limits: AnswerLimits, flag: bool) -> Self {
        Self {
            challenge: Self::tick(limits.challenge) | if flag { Self::FLAG } else { 0 },
            old: Self::tick(limits.old),
        }
    }

    /// The bit that was kept beside the limits.
    #[must_use]
    #[inline]
    pub const fn flag(self) -> bool {
        self.challenge & Self::FLAG != 0
    }

    /// The limits as they stand at `now`.
    #[must_use]
    pub fn limits(self, now: Instant) -> AnswerLimits {
        AnswerLimits {
            challenge: Self::instant(self.challenge & !Self::FLAG, now),
            old: Self::instant(self.old, now),
        }
    }

    fn tick(paid: Instant) -> u16 {
        if paid == Instant::ZERO {
            return 0;
        }
        let steps = paid.as_ns().div_ceil(Self::STEP_MS * 1_000_000);
        (steps % Self::STEPS) as u16 + 1
    }

    fn instant(tick: u16, now: Instant) -> Instant {
        let Some(steps) = u64::from(tick).checked_sub(1) else {
            return Instant::ZERO;
        };
        let now_steps = now.as_ms() / Self::STEP_MS;
        let ahead = (steps + Self::STEPS - now_steps % Self::STEPS) % Self::STEPS;
        if ahead == 0 || ahead > Self::AHEAD_MAX {
            return Instant::ZERO;
        }
        Instant::from_ms((now_steps + ahead) * Self::STEP_MS)
    }
}

/// cwnd and ssthresh of a parked connection, in segments of its MSS: 4 bits and 12 bits.
///
/// cwnd is rounded down to 1 to 15 segments, and no restart window is larger (RFC 5681 §4.1, RFC 6928). ssthresh is
/// rounded down to 2 to 4,094 segments; what is above counts as not yet set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ParkedWindows(u16);

impl ParkedWindows {
    /// Of a connection that never lost anything: the initial window, and no ssthresh.
    pub const FRESH: Self = Self(u16::MAX);
    const CWND_MAX: u32 = 15;
    const NO_SSTHRESH: u32 = 0xfff;

    /// `cwnd` and `ssthresh` in bytes; an MSS of 0 counts as 1.
    #[must_use]
    pub fn new(cwnd: u32, ssthresh: u32, mss: u16) -> Self {
        let mss = u32::from(mss).max(1);
        let cwnd = (cwnd / mss).clamp(1, Self::CWND_MAX);
        let ssthresh = (ssthresh / mss).clamp(2, Self::NO_SSTHRESH);
        Self((ssthresh << 4 | cwnd) as u16)
    }

    /// cwnd in bytes: at most 15 segments.
    #[must_use]
    pub fn cwnd(self, mss: u16) -> u32 {
        u32::from(self.0 & 15) * u32::from(mss)
    }

    /// ssthresh in bytes; `u32::MAX` when it was never set.
    #[must_use]
    pub fn ssthresh(self, mss: u16) -> u32 {
        match u32::from(self.0 >> 4) {
            Self::NO_SSTHRESH => u32::MAX,
            segments => segments * u32::from(mss),
        }
    }
}

impl Default for ParkedWindows {
    fn default() -> Self {
        Self::FRESH
    }
}
