//! [`Pace`]: how many SYNs may leave now, by rate and by how many are unanswered.
//!
//! It must never wait for a reply that was lost: after a while it gives it up.

/// A gap between two turns of more than 1/this of a second is the scheduler's doing: nobody could have received anything.
const GAP_PARTS: u64 = 100;

/// When SYNs may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PaceConfig {
    /// SYNs a second; `None` for as many as are taken.
    pub(crate) rate_pps: Option<u64>,
    /// SYNs that may be unanswered at a time; `None` for any number (replies are not expected).
    pub(crate) window: Option<u32>,
    /// Ticks of a second of the clock that `now_ticks` are readings of, at least 1.
    pub(crate) hz: u64,
}

/// The state of a pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Ticks per SYN in 1/65536; 0 for no rate.
    ticks_per_syn_16: u64,
    window: u64,
    /// Replies that did not come for so long (a second) while the window is full are given up.
    silence_ticks: u64,
    turned_ticks: u64,
    started_ticks: Option<u64>,
    released: u64,
    replies: u64,
    replied_ticks: u64,
    given_up: u64,
}

impl Pace {
    pub(super) fn new(config: PaceConfig) -> Self {
        let per_syn = |rate: u64| ((config.hz << 16) / rate.max(1)).max(1);
        Self {
            ticks_per_syn_16: config.rate_pps.map_or(0, per_syn),
            window: config
                .window
                .map_or(u64::MAX, |window| window.max(1).into()),
            silence_ticks: config.hz,
            turned_ticks: 0,
            started_ticks: None,
            released: 0,
            replies: 0,
            replied_ticks: 0,
            given_up: 0,
        }
    }

    /// How many SYNs the window has room for, after `sent` of them and `replies` to them.
    #[inline]
    pub(super) fn window_room(&mut self, sent: u64, replies: u64, now_ticks: u64) -> usize {
        let gap = now_ticks.wrapping_sub(core::mem::replace(&mut self.turned_ticks, now_ticks));
        if replies != self.replies || gap > self.silence_ticks / GAP_PARTS {
            self.replies = replies;
            self.replied_ticks = now_ticks;
        }
        let unanswered = sent.saturating_sub(replies + self.given_up);
        if unanswered >= self.window
            && now_ticks.wrapping_sub(self.replied_ticks) > self.silence_ticks
        {
            self.given_up += unanswered;
            self.replied_ticks = now_ticks;
        }
        let room = self.window.saturating_sub(unanswered);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// How many of up to `wanted` SYNs are due by the rate. They count as released.
    #[inline]
    pub(super) fn release(&mut self, wanted: usize, now_ticks: u64) -> usize {
        if self.ticks_per_syn_16 == 0 {
            return wanted;
        }
        let started = *self.started_ticks.get_or_insert(now_ticks);
        let passed = u128::from(now_ticks.wrapping_sub(started)) << 16;
        let due = (passed / u128::from(self.ticks_per_syn_16)) as u64;
        let n = due.saturating_sub(self.released).min(wanted as u64);
        self.released += n;
        n as usize
    }

    /// SYNs that were given up, so far.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: PaceConfig = PaceConfig {
        rate_pps: None,
        window: None,
        hz: 1_000_000,
    };

    #[test]
    fn without_rate_and_window_everything_may_leave() {
        let mut pace = Pace::new(CONFIG);
        assert!(pace.window_room(1 << 40, 0, 0) >= 64);
        assert_eq!(pace.release(64, 0), 64);
    }

    #[test]
    fn a_rate_releases_what_is_due_and_makes_up_for_a_stall() {
        let mut pace = Pace::new(PaceConfig {
            rate_pps: Some(1000),
            ..CONFIG
        });
        assert_eq!(pace.release(64, 5), 0);
        assert_eq!(pace.release(64, 5 + 3000), 3);
        assert_eq!(pace.release(64, 5 + 3999), 0);
        assert_eq!(pace.release(64, 5 + 203_000), 64);
        assert_eq!(pace.release(500, 5 + 203_000), 136);
    }

    #[test]
    fn a_window_holds_back_until_replies_come_or_are_given_up() {
        let mut pace = Pace::new(PaceConfig {
            window: Some(100),
            ..CONFIG
        });
        assert_eq!(pace.window_room(0, 0, 0), 100);
        assert_eq!(pace.window_room(90, 10, 10), 20);
        // A second without a reply, turn by turn.
        for turn in 1..=1000 {
            assert_eq!(pace.window_room(110, 10, 10 + turn * 1000), 0);
        }
        assert_eq!(pace.window_room(110, 10, 1_000_900), 0);
        pace.window_room(110, 10, 1_000_950);
        assert_eq!(
            (pace.given_up(), pace.window_room(110, 10, 1_000_951)),
            (100, 100)
        );
        // What was given up and comes after all makes no room twice.
        assert_eq!(pace.window_room(110, 60, 1_000_952), 100);
    }

    #[test]
    fn a_generator_that_lost_its_cpu_gives_nothing_up() {
        let mut pace = Pace::new(PaceConfig {
            window: Some(100),
            ..CONFIG
        });
        pace.window_room(100, 0, 10);
        assert_eq!(pace.window_room(100, 0, 5_000_000), 0);
        assert_eq!(pace.window_room(100, 0, 5_000_010), 0);
        assert_eq!(pace.given_up(), 0);
    }
}
