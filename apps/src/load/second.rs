//! [`Second`]: the counts of one second of a run, as a line and as JSON.
//!
//! It must never leave out a failure, or show a part of a second as a whole one.

use std::time::Duration;

use serde::Serialize;
use workload::load::{Interval, LoadCounts, Measure, Work};

use crate::units;

/// One second of a run. Field names are stable.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Second {
    /// Its end, in seconds from the start.
    pub(super) at_s: f64,
    /// Its length, in seconds: less than 1 where the run ended within it.
    lasted_s: f64,
    pub(super) begun: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    /// Connections that were to be kept and ended all the same.
    pub(super) broken: u64,
    /// Connections that are established at its end.
    pub(super) open: u64,
    pub(super) bytes_in: u64,
    /// Of the bytes that were sent, those that are acknowledged; with --workload stream.
    pub(super) bytes_acked: u64,
    /// Segments sent again.
    pub(super) retransmitted: u64,
    /// From the beginning of operations, in us.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    /// From when they were due, in us; open loop only.
    pub(super) scheduled_p99_us: Option<f64>,
    #[serde(skip)]
    work: Work,
    /// Its exact length, in seconds.
    #[serde(skip)]
    took_s: f64,
}

/// A second lies within a part of a run when it overlaps the rest by no more than this, in seconds: the last one of an open loop ends
/// when the operations that were due are begun.
const OVERLAP_S: f64 = 0.1;

/// A percentile in us, to tenths.
pub(super) fn percentile_us(measure: &Measure, percent: f64) -> Option<f64> {
    let time = measure.percentile(percent)?.time;
    Some((time.as_nanos() as f64 / 100.0).round() / 10.0)
}

impl Second {
    /// Whether it is a whole second, from `from` to `until`.
    pub(super) fn is_whole_within(&self, (from, until): (f64, f64)) -> bool {
        self.at_s - self.took_s >= from - OVERLAP_S
            && self.at_s <= until + OVERLAP_S
            && self.took_s >= 1.0 - OVERLAP_S
    }

    /// Its end, and its length where that isn't a second.
    fn write_time(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:6.1} s", self.at_s)?;
        if (self.took_s - 1.0).abs() > OVERLAP_S {
            write!(f, "  (last {:.2} s)", self.took_s)?;
        }
        Ok(())
    }

    /// Operations that were completed in it, a second.
    pub(super) fn completed_per_s(&self) -> f64 {
        self.completed as f64 / self.took_s
    }

    /// One that ended at `at_s`.
    #[cfg(test)]
    pub(super) fn of(at_s: f64, completed: u64, open: u64) -> Self {
        let mut counts = LoadCounts::default();
        counts.completed = completed;
        counts.established = open;
        let at = (
            Duration::from_secs_f64(at_s),
            Duration::from_secs(1),
            Work::Request,
        );
        let base = LoadCounts::default();
        Self::new(at, (&counts, &base), 0, &Interval::default())
    }

    /// From what was counted until now and until the second began.
    pub(super) fn new(
        (at, took, work): (Duration, Duration, Work),
        (now, last): (&LoadCounts, &LoadCounts),
        retransmitted: u64,
        interval: &Interval,
    ) -> Self {
        Self {
            work,
            retransmitted,
            bytes_acked: match work {
                // Not relied on to grow: it is made of what connections say of themselves while some of them end.
                Work::Stream(_) => now.bytes_acked().saturating_sub(last.bytes_acked()),
                _ => 0,
            },
            broken: now.broken_total() - last.broken_total(),
            took_s: took.as_secs_f64().max(1e-3),
            lasted_s: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            at_s: (at.as_secs_f64() * 1000.0).round() / 1000.0,
            begun: now.begun - last.begun,
            completed: now.completed - last.completed,
            failed: now.failed_total() - last.failed_total(),
            dropped: now.dropped - last.dropped,
            open: now.open(),
            bytes_in: now.bytes_in - last.bytes_in,
            p50_us: percentile_us(&interval.operation, 50.0),
            p99_us: percentile_us(&interval.operation, 99.0),
            scheduled_p99_us: percentile_us(&interval.scheduled, 99.0),
        }
    }
}

impl std::fmt::Display for Second {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |time: Option<f64>| time.map_or("-".to_owned(), units::short_time);
        self.write_time(f)?;
        match self.work {
            Work::Hold => write!(f, "  held {}", self.open)?,
            Work::Stream(_) => {
                let mbit = |bytes: u64| bytes as f64 * 8.0 / 1e6 / self.took_s;
                write!(
                    f,
                    "  open {}  up {:.1} Mbit/s  down {:.1} Mbit/s  sent again {}",
                    self.open,
                    mbit(self.bytes_acked),
                    mbit(self.bytes_in),
                    self.retransmitted
                )?;
            }
            _ => write!(
                f,
                "  begun {}  completed {}  open {}",
                self.begun, self.completed, self.open
            )?,
        }
        if self.work == Work::Hold && self.begun > 0 {
            write!(f, "  verified {}", self.completed)?;
        }
        if !self.work.keeps() || self.begun > 0 {
            write!(f, "  p50 {}  p99 {}", us(self.p50_us), us(self.p99_us))?;
        }
        if self.scheduled_p99_us.is_some() {
            write!(f, "  from schedule {}", us(self.scheduled_p99_us))?;
        }
        for (name, n) in [
            ("dropped", self.dropped),
            ("failed", self.failed),
            ("broken", self.broken),
        ] {
            if n > 0 {
                write!(f, "  !! {n} {name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(took: Duration) -> Second {
        let mut counts = LoadCounts::default();
        counts.begun = 50;
        let at = (Duration::from_millis(2500), took, Work::Request);
        let base = LoadCounts::default();
        Second::new(at, (&counts, &base), 0, &Interval::default())
    }

    #[test]
    fn a_part_of_a_second_says_how_long_it_lasted() {
        let part = lasting(Duration::from_millis(500));
        let line = part.to_string();
        assert!(
            line.starts_with("   2.5 s  (last 0.50 s)  begun 50"),
            "{line}"
        );
        let json = serde_json::to_value(&part).expect("JSON");
        assert_eq!(json["lasted_s"], 0.5);
        let whole = lasting(Duration::from_millis(1020)).to_string();
        assert!(whole.starts_with("   2.5 s  begun 50"), "{whole}");
    }
}
