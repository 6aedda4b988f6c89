//! [`TrialShape`]: one trial of several in a run: how fast, over how many connections, for how long.
//!
//! It must never know what comes of it.

use std::time::Duration;

use workload::load::{RatePiece, Window};

/// The shape of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct TrialShape {
    /// Operations a second, of all workers, once the rate has risen.
    pub(super) rate_rps: f64,
    /// Connections at a time at most, of all workers.
    pub(super) connections: u32,
    /// How long the rate rises, stays and falls. What is due while it rises or falls is not timed.
    pub(super) up: Duration,
    pub(super) level: Duration,
    pub(super) down: Duration,
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl TrialShape {
    /// How long operations are begun.
    pub(super) fn lasts(&self) -> Duration {
        self.up + self.level + self.down
    }

    /// The timed part, in seconds from the start.
    pub(super) fn timed_s(&self) -> (f64, f64) {
        let from = self.up.as_secs_f64();
        (from, from + self.level.as_secs_f64())
    }

    /// The rate over time.
    pub(super) fn pieces(&self) -> Vec<RatePiece> {
        let piece = |time, from_rps, to_rps| RatePiece {
            for_ns: ns(time),
            from_rps,
            to_rps,
        };
        let rate = self.rate_rps;
        let all = [
            piece(self.up, 0.0, rate),
            piece(self.level, rate, rate),
            piece(self.down, rate, 0.0),
        ];
        all.into_iter().filter(|piece| piece.for_ns > 0).collect()
    }

    /// Which operations are timed.
    pub(super) fn window(&self) -> Window {
        Window {
            from_ns: ns(self.up),
            until_ns: ns(self.up + self.level),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_rises_stays_and_falls_and_is_timed_while_it_stays() {
        let shape = TrialShape {
            rate_rps: 100.0,
            connections: 1,
            up: Duration::from_secs(1),
            level: Duration::from_secs(3),
            down: Duration::from_secs(2),
        };
        assert_eq!(shape.lasts(), Duration::from_secs(6));
        let ends: Vec<_> = shape
            .pieces()
            .iter()
            .map(|p| (p.from_rps, p.to_rps))
            .collect();
        assert_eq!(ends, [(0.0, 100.0), (100.0, 100.0), (100.0, 0.0)]);
        assert!(shape.window().holds(1_000_000_000) && !shape.window().holds(4_000_000_000));
        assert_eq!(shape.timed_s(), (1.0, 4.0));
        let flat = TrialShape {
            up: Duration::ZERO,
            down: Duration::ZERO,
            ..shape
        };
        assert_eq!(flat.pieces().len(), 1);
    }
}
