//! How much of the queue the next segment takes, if any: Nagle's algorithm (RFC 9293 §3.7.4) in Minshall's form, and
//! the sender's silly-window avoidance (§3.8.6.2.1, MUST-38).
//!
//! It must never split a segment because the congestion window ends inside it: the ACK that moves that window is on its
//! way.

/// The inputs of the decision. All lengths in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Effective MSS.
    pub mss: u32,
    /// D: queued and not sent.
    pub queued: u32,
    /// U: what the peer's window leaves.
    pub usable: u32,
    /// Bytes that the congestion window leaves.
    pub congestion: u32,
    /// MAX.SND.WND.
    pub window_max: u32,
    /// Nagle's algorithm is on, and no FIN waits behind the queue.
    pub nagle: bool,
    /// A segment below the MSS is in flight (Minshall: only that one holds back the next).
    pub small_in_flight: bool,
    /// The override timer expired: what the window takes goes.
    pub force: bool,
}

impl Question {
    /// Bytes of the next segment, or `None` when it must wait.
    #[must_use]
    #[inline]
    pub fn segment_len(self) -> Option<u32> {
        let len = self.mss.min(self.queued).min(self.usable);
        //~ cwnd holds new data back: `len == 0 || len > self.congestion` -> `len == 0`;
        //~   the_congestion_window_never_makes_a_runt
        if len == 0 || len > self.congestion {
            return None;
        }
        //~ A small segment in flight holds the next: `!self.nagle || !self.small_in_flight` -> `true`;
        //~   nagle_holds_the_second_small_segment
        let may_be_small = self.force || !self.nagle || !self.small_in_flight;
        let is_full = len == self.mss; // case 1
        let takes_all = self.queued <= self.usable; // case 2: each write counts as pushed
        let takes_much = len >= self.window_max / 2; // case 3, Fs = 1/2

        //~ A silly window is not filled: `takes_all || takes_much` -> `true`;
        //~   a_small_window_is_not_filled_before_the_override
        //~ Half of the largest window isn't silly: `takes_all || takes_much` -> `takes_all`;
        //~   a_small_window_is_not_filled_before_the_override
        let worth_it = is_full || (may_be_small && (takes_all || takes_much)) || self.force; // case 4
        worth_it.then_some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: Question = Question {
        mss: 1000,
        queued: 10,
        usable: 60_000,
        congestion: 10_000,
        window_max: 60_000,
        nagle: true,
        small_in_flight: false,
        force: false,
    };

    #[test]
    fn nagle_holds_the_second_small_segment() {
        assert_eq!(Q.segment_len(), Some(10));
        let second = Question {
            small_in_flight: true,
            ..Q
        };
        assert_eq!(second.segment_len(), None);
        assert_eq!(
            Question {
                nagle: false,
                ..second
            }
            .segment_len(),
            Some(10)
        );
        assert_eq!(
            Question {
                queued: 1000,
                ..second
            }
            .segment_len(),
            Some(1000)
        );
        // Minshall: full segments in flight do not hold back a small one.
        assert_eq!(Question { queued: 10, ..Q }.segment_len(), Some(10));
    }

    #[test]
    fn a_small_window_is_not_filled_before_the_override() {
        let silly = Question {
            queued: 5000,
            usable: 300,
            ..Q
        };
        assert_eq!(silly.segment_len(), None);
        assert_eq!(
            Question {
                nagle: false,
                ..silly
            }
            .segment_len(),
            None,
            "no matter of Nagle"
        );
        assert_eq!(
            Question {
                force: true,
                ..silly
            }
            .segment_len(),
            Some(300)
        );
        assert_eq!(
            Question {
                window_max: 600,
                ..silly
            }
            .segment_len(),
            Some(300),
            "half the peer's buffer"
        );
        assert_eq!(
            Question {
                usable: 0,
                force: true,
                ..silly
            }
            .segment_len(),
            None
        );
    }

    #[test]
    fn the_congestion_window_never_makes_a_runt() {
        assert_eq!(
            Question {
                queued: 5000,
                congestion: 999,
                ..Q
            }
            .segment_len(),
            None
        );
        assert_eq!(
            Question {
                queued: 5000,
                congestion: 1000,
                ..Q
            }
            .segment_len(),
            Some(1000)
        );
    }
}
