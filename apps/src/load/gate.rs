//! [`Gates`]: what a run must hold to be good, as `--gate` says it: `failed=0,p99=5ms`.
//!
//! It must never pass a percentile that too few operations lie beyond.

use std::str::FromStr;
use std::time::Duration;

use workload::load::{Measures, Step};

use crate::units;

/// A percentile, and the longest that it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
struct TimeGate {
    percent: f64,
    most: Duration,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Gates {
    /// Operations that may fail, or not end.
    failed: u64,
    times: Vec<TimeGate>,
}

impl Gates {
    /// Operations that may fail.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Percentiles that are too long, in words; from schedule in an open loop.
    pub(super) fn late(&self, measures: &Measures, is_open_loop: bool) -> Vec<String> {
        let step = if is_open_loop {
            Step::Scheduled
        } else {
            Step::Operation
        };
        let measure = measures.get(step);
        let judge = |gate: &TimeGate| {
            let TimeGate { percent, most } = *gate;
            match measure.percentile(percent) {
                Some(found) if found.time <= most => None,
                Some(found) => Some(format!(
                    "p{percent} of operations is {:?}, and --gate allows {most:?}",
                    found.time
                )),
                None => Some(format!(
                    "--gate p{percent}: fewer than 10 operations lie beyond it; let the run last longer"
                )),
            }
        };
        self.times.iter().filter_map(judge).collect()
    }
}

impl FromStr for Gates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut gates = Self::default();
        for word in text.split(',') {
            let wrong = || {
                format!("unknown gate `{word}`: expected failed=N or a percentile such as p99=5ms")
            };
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            if name == "failed" {
                gates.failed = units::count(value)?;
                continue;
            }
            let percent = name.strip_prefix('p').and_then(|n| n.parse::<f64>().ok());
            let percent = percent.filter(|p| (0.0..100.0).contains(p) && *p > 0.0);
            gates.times.push(TimeGate {
                percent: percent.ok_or_else(wrong)?,
                most: units::duration(value)?,
            });
        }
        Ok(gates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(text: &str) -> Gates {
        text.parse().expect(text)
    }

    #[test]
    fn gates_are_failures_and_percentiles() {
        let both = gates("failed=3,p99=5ms,p99.9=1s");
        assert_eq!(both.failed(), 3);
        assert_eq!(both.times.len(), 2);
        assert_eq!(Gates::default().failed(), 0);
        for text in ["", "p99", "p100=1s", "p0=1s", "q=1", "failed=x", "p99=x"] {
            assert!(text.parse::<Gates>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_percentile_that_is_too_long_is_said_and_so_is_one_that_is_not_known() {
        let mut measures = Measures::default();
        assert!(gates("p50=1ms").late(&measures, false)[0].contains("fewer than 10"));
        for _ in 0..100 {
            measures.of(Step::Operation).record(2_000_000);
        }
        assert!(gates("p50=1ms").late(&measures, false)[0].contains("allows 1ms"));
        assert!(gates("p50=3ms").late(&measures, false).is_empty());
        assert!(!gates("p50=3ms").late(&measures, true).is_empty());
    }
}
