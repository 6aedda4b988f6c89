//! [`Gates`]: what a run must hold to be good, as `--gate` says it: `failed=0,p99=5ms`, or relative to what the run itself measured:
//! `failed=0.001%,rate=5%`.
//!
//! It must never pass what the run has measured too little of.

use std::str::FromStr;
use std::time::Duration;

use diagnose::counted;
use serde::Serialize;
use workload::load::{LoadCounts, Measures, Step};

use super::second::Second;
use crate::report::reasons;
use crate::units;

/// Samples beyond a percentile without which it is not known.
const SAMPLES_BEYOND: f64 = 10.0;
/// Whole seconds without which nothing is known of how steady a run was.
const SECONDS_LEAST: usize = 2;

/// How many may be: a number, or a share of all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Allowance {
    Count(u64),
    /// In per cent.
    Percent(f64),
}

/// One thing that must hold.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gate {
    /// Operations that fail, or do not end, of those that were begun.
    Failed(Allowance),
    /// Connections that the peer resets or refuses, of those that were asked for.
    Resets(Allowance),
    /// How far the completed operations of a second may be from the mean second, in per cent of the mean.
    Rate(f64),
    /// The same for the connections that are open at the end of a second.
    Open(f64),
    /// A percentile of operations and the longest that it may be.
    Time { percent: f64, most: Duration },
}

/// The gates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gates(Vec<Gate>);

/// Gates without `--gate`: no operation fails.
impl Default for Gates {
    fn default() -> Self {
        Self(vec![Gate::Failed(Allowance::Count(0))])
    }
}

/// The measurements that gates are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured<'a> {
    /// Operations of the run, or of one trial.
    pub(super) counts: &'a LoadCounts,
    /// Connections that were asked for, and those of them that the peer reset or refused.
    pub(super) connections: (u64, u64),
    pub(super) measures: &'a Measures,
    /// Operations have a schedule: times count from it.
    pub(super) is_open_loop: bool,
    pub(super) seconds: &'a [Second],
    /// The timed part, in seconds from the start.
    pub(super) timed_s: (f64, f64),
}

/// A gate and what the run measured. Field names are stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Judged {
    /// As `--gate` has it.
    pub(super) gate: String,
    /// The measured value, in the unit of the gate; `null` when there were too few samples.
    pub(super) measured: Option<f64>,
    pub(super) held: bool,
    /// Why not, in words.
    #[serde(skip)]
    pub(super) fault: Option<String>,
}

impl Gates {
    /// Each gate, judged.
    pub(super) fn judge(&self, seen: &Measured<'_>) -> Vec<Judged> {
        self.0.iter().map(|gate| gate.judge(seen)).collect()
    }

    /// Of how many operations at least a trial must consist, so that each percentile is known: ten lie beyond it.
    pub(super) fn least_operations(&self) -> u64 {
        let each = self.0.iter().map(|gate| match gate {
            Gate::Time { percent, .. } => {
                (SAMPLES_BEYOND * 100.0 / (100.0 - percent)).ceil() as u64
            }
            _ => 0,
        });
        each.max().unwrap_or(0)
    }

    /// The gates that do not hold, in words.
    pub(super) fn faults(&self, seen: &Measured<'_>) -> Vec<String> {
        let judged = self.judge(seen).into_iter();
        judged.filter_map(|judged| judged.fault).collect()
    }
}

impl Gate {
    fn judge(&self, seen: &Measured<'_>) -> Judged {
        let (measured, fault) = match *self {
            Self::Failed(allowed) => {
                let counts = seen.counts;
                let lost = counts.failed_total() + counts.unfinished;
                let fault = || {
                    let unfinished = ("unfinished", counts.unfinished);
                    let by = counts
                        .by_fault()
                        .map(|(fault, n)| (fault.name(), n))
                        .chain((counts.unfinished > 0).then_some(unfinished));
                    format!("{} failed ({})", counted(lost, "operation"), reasons(by))
                };
                allowed.judge((lost, counts.begun), fault)
            }
            Self::Resets(allowed) => {
                let (all, resets) = seen.connections;
                allowed.judge((resets, all), || {
                    let all = counted(all, "connection");
                    format!("{resets} of {all} reset or refused by the peer")
                })
            }
            Self::Rate(most) => {
                let rates = seen.whole_seconds().map(Second::completed_per_s).collect();
                // A second's last operations may end within the next one.
                steady((rates, most), |_| 3.0, "completed operations")
            }
            Self::Open(most) => {
                let open = seen.whole_seconds().map(|second| second.open as f64);
                // How many are open at one moment is a matter of chance where they come and go.
                let chance = |mean: f64| 3.0 * mean.sqrt() + 1.0;
                steady((open.collect(), most), chance, "open connections")
            }
            Self::Time { percent, most } => seen.time(percent, most),
        };
        Judged {
            gate: self.to_string(),
            measured,
            held: fault.is_none(),
            fault,
        }
    }
}

impl Allowance {
    /// The count in the unit of the allowance, and the fault where that is too many.
    fn judge(
        self,
        (n, all): (u64, u64),
        fault: impl Fn() -> String,
    ) -> (Option<f64>, Option<String>) {
        match self {
            Self::Count(most) => (Some(n as f64), (n > most).then(fault)),
            Self::Percent(most) => {
                let percent = n as f64 * 100.0 / all.max(1) as f64;
                let fault = (percent >= most && n > 0).then(|| {
                    format!(
                        "{}: {percent:.4} %, and --gate allows less than {most} %",
                        fault()
                    )
                });
                (Some(percent), fault)
            }
        }
    }
}

/// The largest distance of one of the values from their mean, in per cent of it, and the fault where it reaches `most`. A distance
/// that `chance` explains, by the mean, is none.
fn steady(
    (values, most): (Vec<f64>, f64),
    chance: impl Fn(f64) -> f64,
    what: &str,
) -> (Option<f64>, Option<String>) {
    if values.len() < SECONDS_LEAST {
        let fault = format!(
            "too few whole seconds ({}) to judge how steady {what} were: let the run last longer",
            values.len()
        );
        return (None, Some(fault));
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let farthest = values
        .iter()
        .map(|value| (value - mean).abs())
        .filter(|distance| *distance > chance(mean))
        .map(|distance| distance * 100.0 / mean.max(1e-9))
        .fold(0.0, f64::max);
    let fault = (farthest >= most).then(|| {
        format!(
            "a second's {what} were {farthest:.1} % from the mean of {mean:.0}, and --gate allows less than {most} %"
        )
    });
    (Some(farthest), fault)
}

impl Measured<'_> {
    /// The seconds that lie within the timed part.
    fn whole_seconds(&self) -> impl Iterator<Item = &Second> {
        let seconds = self.seconds.iter();
        seconds.filter(|second| second.is_whole_within(self.timed_s))
    }

    fn time(&self, percent: f64, most: Duration) -> (Option<f64>, Option<String>) {
        let step = if self.is_open_loop {
            Step::Scheduled
        } else {
            Step::Operation
        };
        match self.measures.get(step).percentile(percent) {
            Some(found) => {
                let fault = (found.time > most).then(|| {
                    format!(
                        "p{percent} of operations is {}, more than the {most:?} that --gate allows",
                        units::short_duration(found.time)
                    )
                });
                (Some(found.time.as_nanos() as f64 / 1e3), fault)
            }
            None => {
                let fault = format!(
                    "--gate p{percent}: fewer than 10 operations lie beyond it; let the run last longer"
                );
                (None, Some(fault))
            }
        }
    }
}

/// Connections that were asked for since `base`, and those of them that the peer reset or refused.
pub(super) fn connections_since(now: &LoadCounts, base: &LoadCounts) -> (u64, u64) {
    let resets = |counts: &LoadCounts| counts.ends.reset_by_peer + counts.refused;
    (now.connects - base.connects, resets(now) - resets(base))
}

impl std::fmt::Display for Allowance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(allowed) => write!(f, "failed={allowed}"),
            Self::Resets(allowed) => write!(f, "resets={allowed}"),
            Self::Rate(percent) => write!(f, "rate={percent}%"),
            Self::Open(percent) => write!(f, "open={percent}%"),
            Self::Time { percent, most } => write!(f, "p{percent}={most:?}"),
        }
    }
}

/// As it stands on a command line.
impl std::fmt::Display for Gates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gates: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&gates.join(","))
    }
}

/// `0.001%`, more than 0 and at most 100.
fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim_end().parse::<f64>().ok()?;
    (number > 0.0 && number <= 100.0).then_some(number)
}

fn allowance(text: &str) -> Result<Allowance, String> {
    match percent(text) {
        Some(percent) => Ok(Allowance::Percent(percent)),
        None => units::count(text).map(Allowance::Count),
    }
}

impl FromStr for Gates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut gates = Vec::new();
        for word in text.split(',') {
            let wrong = || {
                format!(
                    "unknown gate `{word}`: expected failed=N, failed=0.1%, resets=N, rate=5%, open=10%, or a percentile such as \
                     p99=5ms"
                )
            };
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            gates.push(match name {
                "failed" => Gate::Failed(allowance(value)?),
                "resets" => Gate::Resets(allowance(value)?),
                "rate" => Gate::Rate(percent(value).ok_or_else(wrong)?),
                "open" => Gate::Open(percent(value).ok_or_else(wrong)?),
                _ => {
                    let number = name.strip_prefix('p').and_then(|n| n.parse::<f64>().ok());
                    let number = number.filter(|p| (0.0..100.0).contains(p) && *p > 0.0);
                    Gate::Time {
                        percent: number.ok_or_else(wrong)?,
                        most: units::duration(value)?,
                    }
                }
            });
        }
        if !gates.iter().any(|gate| matches!(gate, Gate::Failed(_))) {
            gates.insert(0, Gate::Failed(Allowance::Count(0)));
        }
        Ok(Self(gates))
    }
}

#[cfg(test)]
mod tests {
    use workload::tally::Fault;

    use super::*;

    fn gates(text: &str) -> Gates {
        text.parse().expect(text)
    }

    /// A run of four seconds, with these completed operations and open connections each.
    fn seconds(each: [(u64, u64); 4]) -> Vec<Second> {
        let second = |(index, (completed, open))| Second::of(index as f64 + 1.0, completed, open);
        each.into_iter().enumerate().map(second).collect()
    }

    fn faults(text: &str, (counts, seconds): (&LoadCounts, &[Second])) -> Vec<String> {
        let measures = Measures::default();
        gates(text).faults(&Measured {
            counts,
            connections: (counts.connects, counts.ends.reset_by_peer),
            measures: &measures,
            is_open_loop: true,
            seconds,
            timed_s: (0.0, 4.0),
        })
    }

    #[test]
    fn gates_are_failures_resets_steadiness_and_percentiles() {
        let both = gates("failed=3,p99=5ms,p99.9=1s");
        assert_eq!(both.to_string(), "failed=3,p99=5ms,p99.9=1s");
        assert_eq!(gates("p99=5ms").to_string(), "failed=0,p99=5ms");
        assert_eq!(Gates::default().to_string(), "failed=0");
        let relative = "failed=0.001%,resets=0.001%,rate=5%,open=10%";
        assert_eq!(gates(relative).to_string(), relative);
        for text in [
            "",
            "p99",
            "p100=1s",
            "p0=1s",
            "q=1",
            "failed=x",
            "p99=x",
            "rate=5",
            "open=0%",
            "rate=101%",
        ] {
            assert!(text.parse::<Gates>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_of_what_was_begun_and_must_stay_below() {
        let mut counts = LoadCounts::default();
        counts.begun = 100_000;
        counts.connects = 1000;
        let steady = seconds([(10, 5); 4]);
        assert!(faults("failed=0.001%", (&counts, &steady)).is_empty());
        counts.fail(Fault::NoReply);
        let said = faults("failed=0.001%", (&counts, &steady));
        assert!(
            said[0].contains("1 × no_reply") && said[0].contains("0.0010 %"),
            "{said:?}"
        );
        assert!(faults("failed=0.002%", (&counts, &steady)).is_empty());
        counts.ends.reset_by_peer = 2;
        let said = faults("failed=1,resets=1", (&counts, &steady));
        assert!(said[0].contains("2 of 1000 connections"), "{said:?}");
        assert!(faults("failed=1,resets=0.3%", (&counts, &steady)).is_empty());
    }

    #[test]
    fn a_second_far_from_the_mean_of_all_fails_and_so_do_too_few() {
        let counts = LoadCounts::default();
        let even = seconds([(100, 10), (104, 10), (96, 10), (100, 10)]);
        assert!(faults("rate=5%,open=10%", (&counts, &even)).is_empty());
        let uneven = seconds([(100, 10), (110, 10), (90, 10), (100, 10)]);
        let slow = seconds([(10, 0), (12, 0), (8, 0), (10, 0)]);
        assert!(faults("rate=5%", (&counts, &slow)).is_empty());
        let said = faults("rate=5%", (&counts, &uneven));
        assert!(said[0].contains("10.0 % from the mean of 100"), "{said:?}");
        let piled = seconds([(100, 1000), (100, 1000), (100, 1000), (100, 1400)]);
        assert_eq!(faults("rate=5%,open=10%", (&counts, &piled)).len(), 1);
        let few = seconds([(100, 0), (100, 1), (100, 0), (100, 2)]);
        assert!(faults("rate=5%,open=10%", (&counts, &few)).is_empty());
        let said = faults("rate=5%", (&counts, &even[..1]));
        assert!(said[0].contains("too few whole seconds (1)"), "{said:?}");
    }

    #[test]
    fn a_percentile_that_is_too_long_is_said_and_so_is_one_that_is_not_known() {
        let (mut measures, counts) = (Measures::default(), LoadCounts::default());
        let said = |text: &str, measures: &Measures, is_open_loop| {
            gates(text).faults(&Measured {
                counts: &counts,
                connections: (0, 0),
                measures,
                is_open_loop,
                seconds: &[],
                timed_s: (0.0, 1.0),
            })
        };
        assert!(said("p50=1ms", &measures, false)[0].contains("fewer than 10"));
        for _ in 0..100 {
            measures.of(Step::Operation).record(2_000_000);
        }
        assert!(
            said("p50=1ms", &measures, false)[0].contains("more than the 1ms that --gate allows")
        );
        assert!(said("p50=3ms", &measures, false).is_empty());
        assert!(!said("p50=3ms", &measures, true).is_empty());
    }
}
