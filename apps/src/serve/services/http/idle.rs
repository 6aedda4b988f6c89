//! [`Silence`]: whether a connection has been silent for longer than its place allows.
//!
//! It must never move a timer for every request: what happens on a connection is only noted, and looked at when its
//! timer fires.

use std::time::Duration;

use stack::time::Instant;

/// The note of a connection that was ended because it was silent.
const ENDED: u32 = u32::MAX;

/// The part that a connection keeps.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Silence {
    /// When it was heard of last, in ms, modulo 2^32: 49 days, and no place allows more than one.
    heard_ms: u32,
    /// Bytes that its peer had still to take when it was looked at last; [`ENDED`].
    note: u32,
}

/// The action for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing: it was heard of, or its peer goes on taking.
    Wait,
    /// It has been silent for too long.
    Close,
    /// It takes nothing of what it asked for, and would not take our FIN either.
    Abort,
}

impl Silence {
    /// Something has happened on it: what was noted is over, unless it was ended.
    #[inline]
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard_ms = ms(now);
        if self.note != ENDED {
            self.note = 0;
        }
    }

    /// Whether it was ended because it was silent.
    pub(super) const fn has_ended(&self) -> bool {
        self.note == ENDED
    }

    /// Looks at it, whose peer has `unacked` bytes still to take; and says when to look again.
    pub(super) fn look(&mut self, idle: Duration, unacked: u64, now: Instant) -> (Look, Instant) {
        let silent = Duration::from_millis(ms(now).wrapping_sub(self.heard_ms).into());
        // A timer is never early, but a millisecond was rounded down when it was heard.
        if silent < idle {
            return (Look::Wait, now + (idle - silent));
        }
        self.heard_ms = ms(now);
        // The highest bit is for ENDED.
        let unacked = unacked as u32 & (ENDED >> 1);
        let look = if unacked == 0 {
            self.note = ENDED;
            Look::Close
        } else if unacked == self.note || self.note == ENDED {
            self.note = ENDED;
            Look::Abort
        } else {
            self.note = unacked;
            Look::Wait
        };
        (look, now + idle)
    }
}

const fn ms(now: Instant) -> u32 {
    now.as_ms() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(4);

    fn at(ms: u64) -> Instant {
        Instant::from_ms((1 << 32) - 2_000 + ms)
    }

    #[test]
    fn who_is_heard_of_has_all_its_time_again() {
        let mut silence = Silence::default();
        silence.hear(at(0));
        silence.hear(at(3_000));
        assert_eq!(silence.look(IDLE, 0, at(4_000)), (Look::Wait, at(7_000)));
        assert_eq!(silence.look(IDLE, 0, at(7_000)), (Look::Close, at(11_000)));
        assert!(silence.has_ended());
    }

    #[test]
    fn who_takes_is_waited_for_and_who_takes_nothing_is_not() {
        let mut silence = Silence::default();
        silence.hear(at(0));
        for (round, unacked) in [(1, 900), (2, 800), (3, 700)] {
            let now = at(4_000 * round);
            assert_eq!(silence.look(IDLE, unacked, now), (Look::Wait, now + IDLE));
        }
        assert!(!silence.has_ended());
        assert_eq!(silence.look(IDLE, 700, at(16_000)).0, Look::Abort);
        assert!(silence.has_ended());
    }

    #[test]
    fn who_was_ended_and_takes_not_even_the_fin_is_reset() {
        let mut silence = Silence::default();
        silence.hear(at(0));
        assert_eq!(silence.look(IDLE, 0, at(4_000)).0, Look::Close);
        silence.hear(at(5_000));
        assert!(silence.has_ended(), "that stays");
        assert_eq!(silence.look(IDLE, 1, at(9_000)).0, Look::Abort);
    }
}
