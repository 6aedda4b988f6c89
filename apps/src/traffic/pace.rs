//! [`Rate`] and [`Window`]: how many frames may leave now, by time and by how many are unanswered.
//!
//! They must never wait for a reply that was lost: after a while the window gives it up.

/// A gap between two turns of more than 1/this of a second is the scheduler's doing: nothing could have been received.
const GAP_PARTS: u64 = 100;

/// Frames a second, kept on the long run: what a stall delayed is made up for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Ticks per frame in 1/65536; 0 for no limit.
    ticks_per_frame_16: u64,
    /// Frames are released in multiples of this, at least 1.
    quantum: usize,
    started_ticks: Option<u64>,
    released: u64,
}

impl Rate {
    /// `rate_pps` frames a second (`None` for as many as are taken) by a clock of `hz` ticks a second, released in multiples
    /// of `quantum`.
    pub(crate) fn new(rate_pps: Option<u64>, hz: u64, quantum: usize) -> Self {
        Self::per_second(rate_pps.map(|rate| rate as f64), hz, quantum)
    }

    /// As [`Rate::new`], for a part of a rate.
    pub(crate) fn per_second(rate_pps: Option<f64>, hz: u64, quantum: usize) -> Self {
        let per_frame = |rate: f64| ((hz as f64 * 65_536.0 / rate) as u64).max(1);
        Self {
            ticks_per_frame_16: rate_pps.map_or(0, per_frame),
            quantum: quantum.max(1),
            started_ticks: None,
            released: 0,
        }
    }

    /// From the next release on: what was due before is forgotten.
    pub(super) fn restart(&mut self) {
        self.started_ticks = None;
        self.released = 0;
    }

    /// How many of up to `wanted` frames are due. They count as released.
    #[inline]
    pub(super) fn release(&mut self, wanted: usize, now_ticks: u64) -> usize {
        if self.ticks_per_frame_16 == 0 {
            return wanted;
        }
        let started = *self.started_ticks.get_or_insert(now_ticks);
        let passed = u128::from(now_ticks.wrapping_sub(started)) << 16;
        let due = (passed / u128::from(self.ticks_per_frame_16)) as u64;
        let due = due.saturating_sub(self.released).min(wanted as u64) as usize;
        let n = if due < wanted {
            due - due % self.quantum
        } else {
            due
        };
        self.released += n as u64;
        n
    }
}

/// A bound on frames without a reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    frames: u64,
    /// Replies that did not come for so long (a second) while the window is full are given up.
    silence_ticks: u64,
    turned_ticks: u64,
    replies: u64,
    replied_ticks: u64,
    given_up: u64,
}

impl Window {
    /// At most `frames` without a reply (`None`: any number), by a clock of `hz` ticks a second.
    pub(super) fn new(frames: Option<u32>, hz: u64) -> Self {
        Self {
            frames: frames.map_or(u64::MAX, |frames| frames.max(1).into()),
            silence_ticks: hz,
            turned_ticks: 0,
            replies: 0,
            replied_ticks: 0,
            given_up: 0,
        }
    }

    /// How many more there is room for, after `sent` of them and `replies` to them.
    #[inline]
    pub(super) fn room(&mut self, sent: u64, replies: u64, now_ticks: u64) -> usize {
        let gap = now_ticks.wrapping_sub(core::mem::replace(&mut self.turned_ticks, now_ticks));
        if replies != self.replies || gap > self.silence_ticks / GAP_PARTS {
            self.replies = replies;
            self.replied_ticks = now_ticks;
        }
        let unanswered = sent.saturating_sub(replies + self.given_up);
        if unanswered >= self.frames
            && now_ticks.wrapping_sub(self.replied_ticks) > self.silence_ticks
        {
            self.given_up += unanswered;
            self.replied_ticks = now_ticks;
        }
        let room = self.frames.saturating_sub(unanswered);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Frames that were given up, so far.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 1_000_000;

    #[test]
    fn without_rate_and_window_everything_may_leave() {
        assert!(Window::new(None, HZ).room(1 << 40, 0, 0) >= 64);
        assert_eq!(Rate::new(None, HZ, 8).release(63, 0), 63);
    }

    #[test]
    fn a_rate_releases_what_is_due_and_makes_up_for_a_stall() {
        let mut rate = Rate::new(Some(1000), HZ, 1);
        assert_eq!(rate.release(64, 5), 0);
        assert_eq!(rate.release(64, 5 + 3000), 3);
        assert_eq!(rate.release(64, 5 + 3999), 0);
        assert_eq!(rate.release(64, 5 + 203_000), 64);
        assert_eq!(rate.release(500, 5 + 203_000), 136);
    }

    #[test]
    fn a_quantum_keeps_groups_whole_and_the_rate_on_the_long_run() {
        let mut rate = Rate::new(Some(1000), HZ, 8);
        assert_eq!(rate.release(64, 5), 0);
        assert_eq!(rate.release(64, 5 + 7000), 0);
        assert_eq!(rate.release(64, 5 + 15_000), 8);
        assert_eq!(rate.release(64, 5 + 16_000), 8);
        // Frames without room are no part of a group that could be waited for.
        assert_eq!(rate.release(3, 5 + 24_000), 3);
    }

    #[test]
    fn a_window_holds_back_until_replies_come_or_are_given_up() {
        let mut window = Window::new(Some(100), HZ);
        assert_eq!(window.room(0, 0, 0), 100);
        assert_eq!(window.room(90, 10, 10), 20);
        // A second without a reply, turn by turn.
        for turn in 1..=1000 {
            assert_eq!(window.room(110, 10, 10 + turn * 1000), 0);
        }
        assert_eq!(window.room(110, 10, 1_000_900), 0);
        window.room(110, 10, 1_000_950);
        assert_eq!(
            (window.given_up(), window.room(110, 10, 1_000_951)),
            (100, 100)
        );
        // A reply that was given up and comes after all makes no room twice.
        assert_eq!(window.room(110, 60, 1_000_952), 100);
    }

    #[test]
    fn a_generator_that_lost_its_cpu_gives_nothing_up() {
        let mut window = Window::new(Some(100), HZ);
        window.room(100, 0, 10);
        assert_eq!(window.room(100, 0, 5_000_000), 0);
        assert_eq!(window.room(100, 0, 5_000_010), 0);
        assert_eq!(window.given_up(), 0);
    }
}
