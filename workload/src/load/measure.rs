//! [`Measure`]: times of one step of all operations, with those that have no end; [`Measures`]: one for each step.
//!
//! It must never drop an operation because it took too long: what has not ended counts with the time that it has taken so
//! far, and every figure that this touches is a lower bound.

use core::time::Duration;

use crate::latency::Latency;

/// The times that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// From the call to connect to the SYN-ACK.
    Connect,
    /// From the request to the first byte of the reply.
    FirstByte,
    /// From the request to the last byte of the reply.
    Response,
    /// From our closing to the end of the connection.
    Close,
    /// A whole operation, from when it was begun.
    Operation,
    /// A whole operation, from when it was due: free of coordinated omission. Open loop only.
    Scheduled,
    /// From when an operation was due, and a connection free for it, to when it was begun: what the generator is late. Open loop
    /// only.
    Lag,
    /// Between the beginnings of two operations.
    Gap,
    /// From the call to connect to the first byte of the first reply; [`crate::load::LoadPlan::times_from_syn`] only.
    SynToFirstByte,
    /// The same, to its last byte.
    SynToLastByte,
}

/// How many steps there are.
pub const STEPS: usize = 10;

impl Step {
    /// In the order of their numbers.
    pub const ALL: [Self; STEPS] = [
        Self::Connect,
        Self::FirstByte,
        Self::Response,
        Self::Close,
        Self::Operation,
        Self::Scheduled,
        Self::Lag,
        Self::Gap,
        Self::SynToFirstByte,
        Self::SynToLastByte,
    ];

    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Response => "response",
            Self::Close => "close",
            Self::Operation => "operation",
            Self::Scheduled => "scheduled",
            Self::Lag => "lag",
            Self::Gap => "gap",
            Self::SynToFirstByte => "syn_to_first_byte",
            Self::SynToLastByte => "syn_to_last_byte",
        }
    }
}

/// A time, or the least that it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// The time.
    pub time: Duration,
    /// Whether operations that have not ended may make it longer.
    pub is_lower_bound: bool,
}

/// Times of one step.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    times: Latency,
    censored: u64,
    /// The least time of those that have not ended.
    shortest_censored_ns: Option<u64>,
}

impl Measure {
    /// Adds one that has ended.
    #[inline]
    pub fn record(&mut self, time_ns: u64) {
        self.times.record(time_ns);
    }

    /// Adds one that has not ended after this time.
    pub(crate) fn record_censored(&mut self, so_far_ns: u64) {
        self.times.record(so_far_ns);
        self.censored += 1;
        let shortest = self.shortest_censored_ns.unwrap_or(u64::MAX);
        self.shortest_censored_ns = Some(shortest.min(so_far_ns));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.times.merge(&other.times);
        self.censored += other.censored;
        let both = self
            .shortest_censored_ns
            .into_iter()
            .chain(other.shortest_censored_ns);
        self.shortest_censored_ns = both.min();
    }

    /// How many there are, and how many of them have not ended.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.times.samples(), self.censored)
    }

    /// The times as a histogram; those without an end count with what they have taken so far.
    #[must_use]
    pub fn times(&self) -> &Latency {
        &self.times
    }

    /// The time that `percent` of all stay within; `None` when fewer than ten lie beyond it.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Bounded> {
        self.times
            .percentile(percent)
            .map(|time| self.bounded(time))
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<Bounded> {
        self.times.max().map(|time| self.bounded(time))
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Option<Bounded> {
        let is_lower_bound = self.censored > 0;
        let mean = self.times.mean()?;
        Some(Bounded {
            time: mean,
            is_lower_bound,
        })
    }

    /// A percentile below the shortest time without an end is exact: that one lies above it, however long it takes.
    fn bounded(&self, time: Duration) -> Bounded {
        let shortest = self.shortest_censored_ns.map(Duration::from_nanos);
        Bounded {
            time,
            is_lower_bound: shortest.is_some_and(|shortest| time >= shortest),
        }
    }
}

/// Times of all steps.
#[derive(Debug, Clone, Default)]
pub struct Measures([Measure; STEPS]);

impl Measures {
    /// The times of one step.
    #[must_use]
    pub fn get(&self, step: Step) -> &Measure {
        &self.0[step as usize]
    }

    /// The times of one step, to add to.
    #[inline]
    pub fn of(&mut self, step: Step) -> &mut Measure {
        &mut self.0[step as usize]
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(&other.0) {
            mine.merge(others);
        }
    }

    /// Adds the whole operations of a part of the run.
    pub(super) fn add(&mut self, part: &Interval) {
        self.of(Step::Operation).merge(&part.operation);
        self.of(Step::Scheduled).merge(&part.scheduled);
    }
}

/// Times of whole operations within a part of a run.
#[derive(Debug, Clone, Default)]
pub struct Interval {
    /// From when they were begun.
    pub operation: Measure,
    /// From when they were due; empty in a closed loop.
    pub scheduled: Measure,
}

impl Interval {
    /// The times of this step, if they are kept here.
    #[inline]
    pub(super) fn of(&mut self, step: Step) -> Option<&mut Measure> {
        match step {
            Step::Operation => Some(&mut self.operation),
            Step::Scheduled => Some(&mut self.scheduled),
            _ => None,
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.operation.merge(&other.operation);
        self.scheduled.merge(&other.scheduled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_ended_bounds_the_percentiles_above_it() {
        let mut measure = Measure::default();
        for _ in 0..980 {
            measure.record(1_000_000);
        }
        for _ in 0..20 {
            measure.record_censored(5_000_000);
        }
        assert_eq!(measure.counts(), (1000, 20));
        let p50 = measure.percentile(50.0).expect("many samples");
        assert!(!p50.is_lower_bound && p50.time.as_micros().abs_diff(1000) <= 1);
        let p99 = measure.percentile(99.0).expect("ten beyond");
        assert!(p99.is_lower_bound && p99.time >= Duration::from_micros(4995));
        assert!(measure.max().is_some_and(|max| max.is_lower_bound));
        assert!(measure.mean().is_some_and(|mean| mean.is_lower_bound));
        assert_eq!(measure.percentile(99.9), None);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (mut whole, mut even, mut odd) = <(Measure, Measure, Measure)>::default();
        for k in 0..10_000_u64 {
            let time_ns = k * k;
            let part = if k % 2 == 0 { &mut even } else { &mut odd };
            if k % 100 == 7 {
                whole.record_censored(time_ns);
                part.record_censored(time_ns);
            } else {
                whole.record(time_ns);
                part.record(time_ns);
            }
        }
        even.merge(&odd);
        assert_eq!(even.counts(), whole.counts());
        for percent in [0.0, 50.0, 90.0, 99.0, 99.9] {
            assert_eq!(even.percentile(percent), whole.percentile(percent));
        }
        assert_eq!((even.max(), even.mean()), (whole.max(), whole.mean()));
    }
}
