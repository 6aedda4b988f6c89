//! [`RateSteps`]: the rate of `-R` over time, as users write it: `1k`, or `1k:10s,2k:10s`.
//!
//! It must never know what comes at the rate.

use std::str::FromStr;
use std::time::Duration;

use workload::load::RatePiece;

use crate::units;

/// One rate, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RateStep {
    per_second: u64,
    /// `None` for the rest of the run.
    lasts: Option<Duration>,
}

/// Rates that follow each other, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RateSteps(Vec<RateStep>);

impl RateSteps {
    /// One rate for the whole run.
    pub(super) fn constant(per_second: u64) -> Self {
        Self(vec![RateStep {
            per_second,
            lasts: None,
        }])
    }

    /// The only rate; `None` when there are steps.
    pub(super) fn only(&self) -> Option<u64> {
        match self.0.as_slice() {
            [only] if only.lasts.is_none() => Some(only.per_second),
            _ => None,
        }
    }

    /// The highest rate.
    pub(super) fn peak(&self) -> u64 {
        self.0.iter().map(|step| step.per_second).max().unwrap_or(0)
    }

    /// How long all steps take, if each has its time.
    pub(super) fn lasts(&self) -> Option<Duration> {
        self.0.iter().map(|step| step.lasts).sum()
    }

    /// Whether the steps fill `level`: exactly where each has its time, else with time left for the last one.
    pub(super) fn fills(&self, level: Duration) -> bool {
        let timed: Duration = self.0.iter().filter_map(|step| step.lasts).sum();
        match self.lasts() {
            Some(_) => timed == level,
            None => timed < level,
        }
    }

    /// The steps as pieces of a schedule, the last one without a time taking what is left of `level`.
    pub(super) fn pieces(&self, level: Duration) -> Vec<RatePiece> {
        let mut left = level;
        let piece = |step: &RateStep| {
            let lasts = step.lasts.unwrap_or(left).min(left);
            left -= lasts;
            RatePiece {
                for_ns: u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX),
                from_rps: step.per_second as f64,
                to_rps: step.per_second as f64,
            }
        };
        self.0.iter().map(piece).collect()
    }
}

impl FromStr for RateSteps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let mut steps = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let (rate, time) = match part.split_once(':') {
                Some((rate, time)) => (rate, Some(time)),
                None => (*part, None),
            };
            let lasts = time.map(units::duration).transpose()?;
            let is_last = index + 1 == parts.len();
            if lasts.is_none() && !is_last {
                return Err(format!(
                    "`{part}`: only the last step may last as long as the run; write it like 1k:10s,2k:10s"
                ));
            }
            if lasts.is_some_and(|lasts| lasts.is_zero()) {
                return Err(format!("`{part}`: a step must last longer than 0"));
            }
            let per_second = units::count(rate)?;
            if per_second == 0 {
                return Err(format!("`{part}`: a rate must be at least 1"));
            }
            steps.push(RateStep { per_second, lasts });
        }
        Ok(Self(steps))
    }
}

/// As it stands on a command line.
impl std::fmt::Display for RateSteps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", step.per_second)?;
            if let Some(lasts) = step.lasts {
                write!(f, ":{}ms", lasts.as_millis())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> RateSteps {
        text.parse().expect(text)
    }

    #[test]
    fn a_rate_or_steps() {
        assert_eq!(steps("1k").only(), Some(1000));
        assert_eq!(steps("1k").lasts(), None);
        let two = steps("1k:10s,2.5k:500ms");
        assert_eq!((two.only(), two.peak()), (None, 2500));
        assert_eq!(two.lasts(), Some(Duration::from_millis(10_500)));
        assert_eq!(two.to_string(), "1000:10000ms,2500:500ms");
        assert!(two.fills(Duration::from_millis(10_500)) && !two.fills(Duration::from_secs(10)));
        assert!(!steps("1k:10s,2k").fills(Duration::from_secs(10)));
        let pieces = steps("1k:10s,2k").pieces(Duration::from_secs(15));
        let ends: Vec<_> = pieces.iter().map(|p| (p.for_ns, p.to_rps)).collect();
        assert_eq!(ends, [(10_000_000_000, 1000.0), (5_000_000_000, 2000.0)]);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for (text, part) in [
            ("1k,2k", "only the last step"),
            ("1k:0s", "longer than 0"),
            ("0", "at least 1"),
            ("1k:x", "invalid time"),
            ("", "invalid number"),
        ] {
            let error = text.parse::<RateSteps>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
