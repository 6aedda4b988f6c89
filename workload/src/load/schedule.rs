//! [`Schedule`]: when each operation of an open loop is due, by arithmetic, whatever the target does.
//!
//! It must never look at what became of earlier operations: that is what makes the loop an open one.

use stack::rng::Random;

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// With exponentially distributed gaps, as independent users arrive.
    Poisson,
}

/// A piece of the profile: the rate goes evenly from one value to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePiece {
    /// How long it takes, in ns.
    pub for_ns: u64,
    /// Operations a second at its beginning.
    pub from_rps: f64,
    /// Operations a second at its end.
    pub to_rps: f64,
}

impl RatePiece {
    /// Operations that are due within it.
    fn operations(&self) -> f64 {
        (self.from_rps + self.to_rps) / 2.0 * self.seconds()
    }

    fn seconds(&self) -> f64 {
        self.for_ns as f64 / 1e9
    }

    /// When so many operations of this piece have become due, in ns from its beginning.
    fn time_of(&self, operations: f64) -> u64 {
        let (a, d) = (self.from_rps, self.seconds());
        let slope = (self.to_rps - a) / d;
        let seconds = if slope.abs() < 1e-9 {
            operations / a
        } else {
            // a·t + slope/2·t² = operations, in the form that loses no digits for small slopes.
            let root = slope.mul_add(2.0 * operations, a * a).max(0.0).sqrt();
            2.0 * operations / (a + root)
        };
        (seconds * 1e9).round() as u64
    }
}

/// The arrivals of one worker.
#[derive(Debug, Clone)]
pub struct Schedule {
    pieces: Vec<RatePiece>,
    arrivals: Arrivals,
    random: Random,
    /// The piece that the next arrival lies in, when it begins, and what was due before it.
    piece: usize,
    begins_ns: u64,
    due_before: f64,
    /// Operations at which the next one is due, counted from the start.
    next_operations: f64,
    next_ns: Option<u64>,
}

impl Schedule {
    /// The share of worker `worker` of `workers` in arrivals with these rates (of all workers together). Seeds count for
    /// Poisson arrivals only.
    #[must_use]
    pub fn new(
        pieces: &[RatePiece],
        arrivals: Arrivals,
        (worker, workers): (u16, u16),
        seed: u64,
    ) -> Self {
        let share = 1.0 / f64::from(workers.max(1));
        let own = |piece: &RatePiece| RatePiece {
            for_ns: piece.for_ns,
            from_rps: piece.from_rps * share,
            to_rps: piece.to_rps * share,
        };
        let mut schedule = Self {
            pieces: pieces.iter().map(own).filter(|p| p.for_ns > 0).collect(),
            arrivals,
            random: Random::new(seed),
            piece: 0,
            begins_ns: 0,
            due_before: 0.0,
            // Evenly spread over all workers: the first operation of each a share later than that of the one before.
            next_operations: match arrivals {
                Arrivals::Constant => f64::from(worker) * share,
                Arrivals::Poisson => 0.0,
            },
            next_ns: None,
        };
        if arrivals == Arrivals::Poisson {
            schedule.next_operations = schedule.gap();
        }
        schedule.find();
        schedule
    }

    /// Other rates, with arrivals of the same law, from the start.
    #[must_use]
    pub(crate) fn again(&mut self, pieces: &[RatePiece], share: (u16, u16)) -> Self {
        Self::new(pieces, self.arrivals, share, self.random.next_u64())
    }

    /// When the next operation is due, in ns from the start; `None` when there is none any more.
    #[must_use]
    #[inline]
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// Goes on to the operation after the next one.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.next_operations += self.gap();
        self.find();
    }

    /// How many operations are due up to `until_ns` that were not taken, at most `max`.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn due_until(&self, until_ns: u64, max: u64) -> u64 {
        let mut ahead = self.clone();
        let mut due = 0;
        while due < max && ahead.next_ns.is_some_and(|at| at <= until_ns) {
            ahead.advance();
            due += 1;
        }
        due
    }

    #[inline]
    fn gap(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => {
                // In (0, 1]: the logarithm is finite.
                let uniform = ((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                -uniform.ln()
            }
        }
    }

    #[inline]
    fn find(&mut self) {
        while let Some(piece) = self.pieces.get(self.piece) {
            let within = self.next_operations - self.due_before;
            if within < piece.operations() {
                self.next_ns = Some(self.begins_ns + piece.time_of(within.max(0.0)));
                return;
            }
            self.due_before += piece.operations();
            self.begins_ns += piece.for_ns;
            self.piece += 1;
        }
        self.next_ns = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn all(pieces: &[RatePiece], arrivals: Arrivals, share: (u16, u16)) -> Vec<u64> {
        let mut schedule = Schedule::new(pieces, arrivals, share, 7);
        let mut times = Vec::new();
        while let Some(at) = schedule.next_ns() {
            times.push(at);
            schedule.advance();
        }
        times
    }

    fn constant(rps: f64, seconds: u64) -> [RatePiece; 1] {
        [RatePiece {
            for_ns: seconds * S,
            from_rps: rps,
            to_rps: rps,
        }]
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        let times = all(&constant(1000.0, 2), Arrivals::Constant, (0, 1));
        assert_eq!(times.len(), 2000);
        for (k, &at) in times.iter().enumerate() {
            assert!(at.abs_diff(k as u64 * 1_000_000) <= 1, "{k}: {at}");
        }
    }

    #[test]
    fn workers_share_one_even_sequence() {
        let whole = all(&constant(3000.0, 1), Arrivals::Constant, (0, 1));
        let mut parts: Vec<u64> = (0..3)
            .flat_map(|worker| all(&constant(3000.0, 1), Arrivals::Constant, (worker, 3)))
            .collect();
        parts.sort_unstable();
        assert_eq!(parts.len(), whole.len());
        assert!(parts.iter().zip(&whole).all(|(a, b)| a.abs_diff(*b) <= 1));
    }

    #[test]
    fn a_ramp_is_the_inverse_of_its_integral() {
        let ramp = [RatePiece {
            for_ns: 10 * S,
            from_rps: 0.0,
            to_rps: 1000.0,
        }];
        let times = all(&ramp, Arrivals::Constant, (0, 1));
        assert_eq!(times.len(), 5000);
        // 50·t² operations by t: the 1250th is due at 5 s.
        assert!(times[1250].abs_diff(5 * S) <= 2, "{}", times[1250]);
        assert!(times.is_sorted());
    }

    #[test]
    fn steps_follow_each_other_without_a_gap() {
        let steps = [constant(10.0, 1)[0], constant(100.0, 1)[0]];
        let times = all(&steps, Arrivals::Constant, (0, 1));
        assert_eq!(times.len(), 110);
        assert_eq!(
            (times[9], times[10], times[11]),
            (S * 9 / 10, S, S + S / 100)
        );
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_their_law() {
        let times = all(&constant(10_000.0, 10), Arrivals::Poisson, (0, 1));
        let count = times.len() as f64;
        // Four standard deviations of a Poisson count of 100,000.
        assert!((count - 1e5).abs() < 4.0 * 1e5_f64.sqrt(), "{count}");
        let gaps = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64 / 1e5);
        let (sum, squares) = gaps.fold((0.0, 0.0), |(s, q), gap| (s + gap, q + gap * gap));
        let variance = squares / count - (sum / count) * (sum / count);
        assert!((0.95..1.05).contains(&variance), "{variance}");
    }

    #[test]
    fn what_was_not_taken_is_counted() {
        let schedule = Schedule::new(&constant(100.0, 10), Arrivals::Constant, (0, 1), 0);
        assert_eq!(schedule.due_until(S, u64::MAX), 101);
        assert_eq!(schedule.due_until(S, 5), 5);
    }
}
