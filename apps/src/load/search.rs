//! [`Search`]: which rate is tried next, on the way to the highest one at which the gates hold.
//!
//! It must never call a rate found that no trial has passed.

/// The search ends when the lowest rate that failed is at most this much above the highest one that passed.
const PRECISION: f64 = 1.05;
/// Trials at most, confirmations left out.
const TRIALS_MAX: usize = 30;
/// A rate whose confirmation failed is lowered to this share.
const LOWER: f64 = 0.95;

/// The bounds known so far.
#[derive(Debug, Clone)]
pub(super) struct Search {
    passed: Option<u64>,
    failed: Option<u64>,
    next: Option<u64>,
    trials: usize,
    least: u64,
}

impl Search {
    /// The first trial is at `start` operations a second, and none is below `least`.
    pub(super) fn new(start: u64, least: u64) -> Self {
        Self {
            least: least.max(1),
            passed: None,
            failed: None,
            next: Some(start.max(1)),
            trials: 0,
        }
    }

    /// The rate of the next trial; `None` when the search is over.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// The highest rate that passed, below all that failed.
    pub(super) fn found(&self) -> Option<u64> {
        self.passed
    }

    /// The trial at `rate` has passed, or has not.
    pub(super) fn learn(&mut self, rate: u64, has_passed: bool) {
        self.trials += 1;
        if has_passed {
            self.passed = Some(self.passed.map_or(rate, |passed| passed.max(rate)));
        } else {
            self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate)));
        }
        self.next = match (self.passed, self.failed) {
            _ if self.trials >= TRIALS_MAX => None,
            (Some(passed), None) => Some(passed.saturating_mul(2)),
            (None, Some(failed)) => Some(failed / 2).filter(|&rate| rate >= self.least),
            (Some(passed), Some(failed)) => {
                let is_near = failed as f64 <= passed as f64 * PRECISION || failed <= passed + 1;
                (!is_near).then(|| passed.midpoint(failed))
            }
            (None, None) => None,
        };
    }

    /// The confirmation at `rate` failed: a lower one, to be confirmed instead.
    pub(super) fn lower(rate: u64) -> u64 {
        ((rate as f64 * LOWER) as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a target that takes up to `limit`.
    fn found(start: u64, limit: u64) -> (Option<u64>, usize) {
        let mut search = Search::new(start, 1);
        let mut trials = 0;
        while let Some(rate) = search.next() {
            search.learn(rate, rate <= limit);
            trials += 1;
        }
        (search.found(), trials)
    }

    #[test]
    fn the_highest_rate_is_found_to_a_twentieth_from_below_and_from_above() {
        for (start, limit) in [
            (1000, 77_000),
            (1_000_000, 1234),
            (1, 1),
            (50, 51),
            (1000, 999),
        ] {
            let (rate, trials) = found(start, limit);
            let rate = rate.expect("a rate");
            assert!(rate <= limit && rate as f64 * PRECISION >= limit as f64 - 1.0);
            assert!(trials < TRIALS_MAX, "{trials}");
        }
    }

    #[test]
    fn no_rate_is_tried_at_which_a_gate_has_too_few_samples() {
        let mut search = Search::new(1000, 400);
        search.learn(1000, false);
        assert_eq!(search.next(), Some(500));
        search.learn(500, false);
        assert_eq!(search.next(), None);
    }

    #[test]
    fn a_target_that_takes_nothing_has_no_rate_and_one_without_a_limit_ends() {
        assert_eq!(found(1000, 0).0, None);
        assert_eq!(found(1000, u64::MAX).1, TRIALS_MAX);
        assert_eq!(Search::lower(1000), 950);
        assert_eq!(Search::lower(1), 1);
    }
}
