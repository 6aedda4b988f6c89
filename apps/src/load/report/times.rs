//! [`Times`]: how long a step took, as far as it can be said.
//!
//! It must never print a percentile with fewer than ten samples beyond it, nor a figure without its bound where operations did
//! not end.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use workload::load::{Bounded, Measure, Measures, Step};

use crate::page::step_title;
use crate::units;

/// Percentiles, with their names in JSON.
const PERCENTILES: [(&str, f64); 6] = [
    ("p50", 50.0),
    ("p75", 75.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
];

/// Times of one step, in us.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    samples: u64,
    /// Of those, the ones that did not end: they count with the time that they had taken.
    unended: u64,
    mean_us: Option<TimeUs>,
    percentiles_us: BTreeMap<&'static str, TimeUs>,
    max_us: Option<TimeUs>,
    /// From, to (exclusive), both in us, and how many: buckets at most an eighth of their times wide, those without any left out.
    histogram: Vec<(f64, f64, u64)>,
}

/// A time in us.
#[derive(Debug, Clone, Copy, Serialize)]
struct TimeUs {
    us: f64,
    /// It may be longer: operations that did not end lie here.
    at_least: bool,
}

impl From<Bounded> for TimeUs {
    fn from(bounded: Bounded) -> Self {
        Self {
            us: (bounded.time.as_nanos() as f64 / 100.0).round() / 10.0,
            at_least: bounded.is_lower_bound,
        }
    }
}

impl Times {
    fn new(measure: &Measure) -> Self {
        let (samples, unended) = measure.counts();
        let percentile = |(name, percent)| Some((name, TimeUs::from(measure.percentile(percent)?)));
        Self {
            samples,
            unended,
            mean_us: measure.mean().map(TimeUs::from),
            percentiles_us: PERCENTILES.into_iter().filter_map(percentile).collect(),
            max_us: measure.max().map(TimeUs::from),
            histogram: measure
                .times()
                .buckets()
                .into_iter()
                .map(|(from, to, count)| (from as f64 / 1000.0, to as f64 / 1000.0, count))
                .collect(),
        }
    }
}

/// All steps that were timed.
pub(super) fn by_step(measures: &Measures) -> BTreeMap<&'static str, Times> {
    Step::ALL
        .into_iter()
        .filter(|&step| measures.get(step).counts().0 > 0)
        .map(|step| (step.name(), Times::new(measures.get(step))))
        .collect()
}

/// A table: one line a step.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    times: &BTreeMap<&'static str, Times>,
) -> fmt::Result {
    if times.is_empty() {
        return Ok(());
    }
    write!(f, "  {:<26}{:>9}", "time from, to", "mean")?;
    for (name, _) in PERCENTILES {
        write!(f, "{name:>10}")?;
    }
    writeln!(f, "{:>10}", "max")?;
    for step in Step::ALL {
        let Some(times) = times.get(step.name()) else {
            continue;
        };
        write!(
            f,
            "  {:<26}{:>9}",
            step_title(step.name()).unwrap_or(step.name()),
            text(times.mean_us)
        )?;
        for (name, _) in PERCENTILES {
            write!(f, "{:>10}", text(times.percentiles_us.get(name).copied()))?;
        }
        writeln!(f, "{:>10}", text(times.max_us))?;
    }
    Ok(())
}

fn text(time: Option<TimeUs>) -> String {
    let Some(TimeUs { us, at_least }) = time else {
        return "-".to_owned();
    };
    let bound = if at_least { "≥" } else { "" };
    format!("{bound}{}", units::short_time(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_title() {
        for step in Step::ALL {
            assert!(step_title(step.name()).is_some(), "{}", step.name());
        }
    }

    #[test]
    fn times_have_units_and_bounds() {
        let time = |us, at_least| Some(TimeUs { us, at_least });
        assert_eq!(text(time(412.4, false)), "412us");
        assert_eq!(text(time(1_234.0, false)), "1.23ms");
        assert_eq!(text(time(2_000_000.0, true)), "≥2.00s");
        assert_eq!(text(None), "-");
    }
}
