//! The trials of `--profile`: at a tenth of the target, at the target, and with `--find` at what lies between and beyond.
//!
//! It must never call a load reached in a trial whose criteria did not hold.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use workload::load::{Measures, Step};

use super::find::Trial;
use super::{Control, LoadEnd, LoadWatched, Silent};
use crate::load::profile::{ProfileName, SUSTAIN_LEAST};
use crate::load::search::Search;
use crate::load::second::Second;
use crate::load::trial::TrialShape;

/// The first trial is at this part of the target.
const INITIAL_PART: u64 = 10;
/// How often a load is lowered that is not confirmed.
const CONFIRMATIONS_MAX: usize = 4;

/// Which trial of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum StepName {
    /// At a tenth of the target.
    Initial,
    /// At the target.
    Target,
    /// On the way to the highest load.
    Search,
    /// Once more at the highest load.
    Confirm,
    /// At half of the highest load: latency.
    Half,
}

/// The least, the mean and the most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    min: f64,
    mean: f64,
    max: f64,
}

/// The figures that the standard asks for (its key performance indicators, §6.3). Field names are stable.
#[derive(Debug, Clone, Serialize)]
struct Indicators {
    /// Of the whole seconds of the timed phase.
    operations_per_s: Option<Spread>,
    open_connections: Option<Spread>,
    /// Payload of both directions.
    payload_bit_per_s: f64,
    /// From the SYN to the first and last byte of the first reply of a connection, in us; `null` where connections stay.
    syn_to_first_byte_us: Option<Spread>,
    syn_to_last_byte_us: Option<Spread>,
    /// From the request, in us.
    first_byte_us: Option<Spread>,
    response_us: Option<Spread>,
}

/// One trial of a profile.
#[derive(Debug, Clone, Serialize)]
struct ProfileStep {
    step: StepName,
    /// The offered load, in the unit of the profile.
    load: u64,
    #[serde(flatten)]
    trial: Trial,
    indicators: Indicators,
}

/// The result of a profile. Field names are stable.
#[derive(Debug, Clone, Serialize)]
pub(in crate::load) struct ProfileReport {
    name: &'static str,
    /// Where it is described.
    standard: &'static str,
    /// The unit of loads.
    unit: &'static str,
    target: u64,
    /// The highest load at which all criteria held; `null` when they held at none.
    reached: Option<u64>,
    /// The device may take more: no higher load was tried, or the generator, its sources or the link was the limit there.
    is_lower_bound: bool,
    sustain_s: f64,
    steps: Vec<ProfileStep>,
}

/// A profile under way.
struct Running {
    name: ProfileName,
    target: u64,
    steps: Vec<ProfileStep>,
    search: Search,
}

impl Control<'_> {
    /// Goes through the trials of a profile, and leaves the last one's counts for the report.
    pub(super) fn run_profile(
        &mut self,
        watched: &mut LoadWatched,
        name: ProfileName,
    ) -> Result<(), Silent> {
        let rate = self.plan.peak_rate().unwrap_or(0);
        let target = match name {
            ProfileName::Cc => self.plan.connections.into(),
            _ => rate,
        };
        let mut run = Running {
            name,
            target,
            steps: Vec::new(),
            search: Search::new(target, 1),
        };
        self.profile_trials(watched, &mut run)?;
        watched.profile = Some(run.report(self.shape(name, target).level));
        Ok(())
    }

    fn profile_trials(
        &mut self,
        watched: &mut LoadWatched,
        run: &mut Running,
    ) -> Result<(), Silent> {
        let is_searched = self.args.find;
        if run.name == ProfileName::Latency && !is_searched {
            self.step(watched, run, (StepName::Half, (run.target / 2).max(1)))?;
            return Ok(());
        }
        let initial = (run.target / INITIAL_PART).max(1);
        for (step, load) in [(StepName::Initial, initial), (StepName::Target, run.target)] {
            let has_passed = self.step(watched, run, (step, load))?;
            if has_passed.is_none() || has_passed == Some(false) && !is_searched {
                return Ok(());
            }
        }
        if !is_searched {
            return Ok(());
        }
        // A device is never asked for more connections than there are places for.
        let most = match run.name {
            ProfileName::Cc => run.target,
            _ => u64::MAX,
        };
        while let Some(load) = run.search.next().filter(|&load| load <= most) {
            if self.step(watched, run, (StepName::Search, load))?.is_none() {
                return Ok(());
            }
        }
        let mut load = run.search.found();
        if run.name == ProfileName::Latency {
            load = load.map(|found| (found / 2).max(1));
        }
        self.confirm(watched, run, load)
    }

    /// The load that was found must hold once more, unless the last trial was it; that of latency is half of it.
    fn confirm(
        &mut self,
        watched: &mut LoadWatched,
        run: &mut Running,
        found: Option<u64>,
    ) -> Result<(), Silent> {
        let name = match run.name {
            ProfileName::Latency => StepName::Half,
            _ => StepName::Confirm,
        };
        let mut next = found;
        for _ in 0..CONFIRMATIONS_MAX {
            let Some(load) = next else {
                return Ok(());
            };
            let last = run.steps.last();
            if last.is_some_and(|step| step.load == load && step.trial.passed) {
                return Ok(());
            }
            match self.step(watched, run, (name, load))? {
                Some(false) => next = Some(Search::lower(load)),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// One trial: whether its criteria held; `None` when it could not begin, or was ended by a signal.
    fn step(
        &mut self,
        watched: &mut LoadWatched,
        run: &mut Running,
        (step, load): (StepName, u64),
    ) -> Result<Option<bool>, Silent> {
        let shape = self.shape(run.name, load);
        let bytes = |watched: &LoadWatched| {
            let counts = super::total(&watched.workers);
            counts.bytes_in + counts.bytes_out
        };
        let before = bytes(watched);
        let Some((trial, measures)) = self.trial(watched, shape)? else {
            return Ok(None);
        };
        let indicators = Indicators::new(
            (&watched.series, shape.timed_s()),
            &measures,
            bytes(watched) - before,
        );
        let passed = trial.passed;
        run.search.learn(load, passed);
        run.steps.push(ProfileStep {
            step,
            load,
            trial,
            indicators,
        });
        let was_interrupted = watched.ended_by == LoadEnd::Signal;
        Ok((!was_interrupted).then_some(passed))
    }

    fn shape(&self, name: ProfileName, load: u64) -> TrialShape {
        let (up, down) = (self.args.ramp_up, self.args.ramp_down);
        let level = self.args.lasts() - up - down;
        let connections = match name {
            ProfileName::Cc => u32::try_from(load).unwrap_or(u32::MAX),
            _ => self.plan.connections,
        };
        let rate_rps = match (name, self.plan.verify_every) {
            (ProfileName::Cc, Some(interval)) => load as f64 / interval.as_secs_f64(),
            _ => load as f64,
        };
        TrialShape {
            rate_rps,
            connections,
            up,
            level,
            down,
        }
    }
}

impl Running {
    fn report(self, sustain: Duration) -> ProfileReport {
        let passed = self.steps.iter().filter(|step| step.trial.passed);
        let reached = passed.map(|step| step.load).max();
        // A load that passed and then failed is not reached.
        let failed = self.steps.iter().filter(|step| !step.trial.passed);
        let least_failed = failed.min_by_key(|step| step.load);
        let reached = match least_failed {
            Some(step) if reached >= Some(step.load) => {
                let below = self
                    .steps
                    .iter()
                    .filter(|s| s.trial.passed && s.load < step.load);
                below.map(|step| step.load).max()
            }
            _ => reached,
        };
        ProfileReport {
            name: self.name.name(),
            standard: self.name.standard(),
            unit: self.name.unit(),
            target: self.target,
            reached,
            is_lower_bound: least_failed.is_none_or(|step| step.trial.limited_by_us),
            sustain_s: (sustain.as_secs_f64() * 1000.0).round() / 1000.0,
            steps: self.steps,
        }
    }
}

impl Indicators {
    /// Of one trial, in which `bytes` of payload went both ways.
    fn new((series, timed_s): (&[Second], (f64, f64)), measures: &Measures, bytes: u64) -> Self {
        let seconds = series.iter();
        let timed = seconds.filter(|second| second.is_whole_within(timed_s));
        let lasted_s = series.last().map_or(0.0, |second| second.at_s);
        let times = |step| {
            let measure = measures.get(step);
            let us = |ns: u64| (ns as f64 / 100.0).round() / 10.0;
            let mean = measure.mean()?.time;
            let histogram = measure.times().histogram();
            Some(Spread {
                min: us(histogram.min()),
                mean: us(u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX)),
                max: us(histogram.max()),
            })
        };
        Self {
            operations_per_s: Spread::of(timed.clone().map(Second::completed_per_s)),
            open_connections: Spread::of(timed.map(|second| second.open as f64)),
            payload_bit_per_s: (bytes as f64 * 8.0 / lasted_s.max(1e-3)).round(),
            syn_to_first_byte_us: times(Step::SynToFirstByte),
            syn_to_last_byte_us: times(Step::SynToLastByte),
            first_byte_us: times(Step::FirstByte),
            response_us: times(Step::Response),
        }
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.collect();
        if values.is_empty() {
            return None;
        }
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        Some(Self {
            min: rounded(values.iter().copied().fold(f64::INFINITY, f64::min)),
            mean: rounded(values.iter().sum::<f64>() / values.len() as f64),
            max: rounded(values.iter().copied().fold(0.0, f64::max)),
        })
    }
}

impl ProfileReport {
    /// The faults that fail the run, in words.
    pub(in crate::load) fn faults(&self) -> Vec<String> {
        match (self.reached, self.steps.last()) {
            (None, Some(step)) if step.step == StepName::Half => {
                vec![format!("the criteria of {} do not hold", self.standard)]
            }
            (None, _) => vec![format!(
                "the criteria of {} hold at no load that was tried",
                self.standard
            )],
            (Some(reached), _) if reached < self.target && self.is_short_of_target() => {
                vec![format!(
                    "the criteria of {} hold at {reached} {}, not at the target of {}",
                    self.standard, self.unit, self.target
                )]
            }
            _ => Vec::new(),
        }
    }

    /// Whether the target was tried, and no search was asked for.
    fn is_short_of_target(&self) -> bool {
        self.steps
            .last()
            .is_some_and(|step| step.step == StepName::Target)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} / {:.0} / {:.0}", self.min, self.mean, self.max)
    }
}

impl fmt::Display for ProfileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = match self.reached {
            Some(load) => format!(
                "held at {load} {}{}",
                self.unit,
                if self.is_lower_bound { " at least" } else { "" }
            ),
            None => "held at no load that was tried".to_owned(),
        };
        writeln!(
            f,
            "  profile      {} ({}): the criteria {reached}; target {} {}",
            self.name, self.standard, self.target, self.unit
        )?;
        if self.sustain_s < SUSTAIN_LEAST.as_secs_f64() {
            writeln!(
                f,
                "    the timed phase of {:.1} s is shorter than the {} s of RFC 9411 §4.3.4",
                self.sustain_s,
                SUSTAIN_LEAST.as_secs()
            )?;
        }
        for step in &self.steps {
            writeln!(f, "    {:?}: {}", step.step, step.trial)?;
            write!(f, "{}", step.indicators)?;
        }
        Ok(())
    }
}

impl fmt::Display for Indicators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "      payload {:.3} Mbit/s; least / mean / most:",
            self.payload_bit_per_s / 1e6
        )?;
        for (name, spread) in [
            ("operations/s", self.operations_per_s),
            ("open connections", self.open_connections),
            ("SYN to first byte, us", self.syn_to_first_byte_us),
            ("SYN to last byte, us", self.syn_to_last_byte_us),
            ("request to first byte, us", self.first_byte_us),
            ("request to last byte, us", self.response_us),
        ] {
            if let Some(spread) = spread {
                writeln!(f, "        {name:<26}{spread}")?;
            }
        }
        Ok(())
    }
}
