//! [`Clock`]: the stack's notion of time from the cycle counter, cheap enough for every turn of a loop.
//!
//! It must never be compared between machines: its epoch is its own making.

use std::time::Duration;

use stack::time::Instant;

/// Bits behind the binary point of [`Clock::ns_per_tick`].
const FRACTION_BITS: u32 = 32;

/// Turns ticks of [`dpdk::cycles`] into instants. Copies share the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch_ticks: u64,
    hz: u64,
    /// Fixed point, [`FRACTION_BITS`] behind the point.
    ns_per_tick: u64,
}

impl Clock {
    /// A clock whose epoch is now; `hz` are the ticks of a second, at least 1.
    pub fn start(hz: u64) -> Self {
        let hz = hz.max(1);
        Self {
            epoch_ticks: dpdk::cycles(),
            hz,
            ns_per_tick: (1_000_000_000 << FRACTION_BITS) / hz,
        }
    }

    /// A clock whose epoch is tick 0, for tests.
    #[must_use]
    pub fn of_ticks(hz: u64) -> Self {
        Self {
            epoch_ticks: 0,
            ..Self::start(hz)
        }
    }

    /// The time at `ticks`, a reading of [`dpdk::cycles`].
    #[inline]
    pub fn at(&self, ticks: u64) -> Instant {
        let passed = u128::from(ticks.wrapping_sub(self.epoch_ticks));
        Instant::from_ns(((passed * u128::from(self.ns_per_tick)) >> FRACTION_BITS) as u64)
    }

    /// Seconds between two readings.
    pub fn seconds(&self, from_ticks: u64, to_ticks: u64) -> f64 {
        to_ticks.wrapping_sub(from_ticks) as f64 / self.hz as f64
    }

    /// Ticks of a second.
    pub fn hz(&self) -> u64 {
        self.hz
    }
}

/// Sleeps until then, to the moment: a signal may interrupt it, but doesn't move its end. (The sleep of std goes on with
/// what was left, and what is left grows by the slack of the timer each time: with a signal every 20 µs it never ends.)
fn sleep_until(deadline: std::time::Instant) {
    while let Some(left) = deadline.checked_duration_since(std::time::Instant::now())
        && !left.is_zero()
    {
        // Waits for a point in time, and a thread that sleeps here is not unparked.
        std::thread::park_timeout(left);
    }
}

/// Sleeps for `time`, to the moment: a signal may interrupt it, but doesn't move its end.
pub fn sleep(time: Duration) {
    sleep_until(std::time::Instant::now() + time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_time() {
        let clock = Clock {
            epoch_ticks: u64::MAX - 9,
            ..Clock::start(2_500_000_000)
        };
        let second_later = clock.epoch_ticks.wrapping_add(2_500_000_000);
        let ns = clock.at(second_later).as_ns();
        assert!((999_999_990..=1_000_000_000).contains(&ns), "{ns}");
        assert!((clock.seconds(clock.epoch_ticks, second_later) - 1.0).abs() < 1e-9);
    }
}
