//! `--find`: one trial after the other, each from connections that are new, until the highest rate is known at which the gates hold;
//! then a longer trial that confirms it.
//!
//! It must never call a rate the target's limit where the generator or the link was it.

use std::time::Duration;

use serde::Serialize;
use workload::load::{Measures, Step, Work};
use workload::tally::Fault;

use super::{Control, LoadEnd, LoadWatched, Silent, total};
use crate::clock;
use crate::console;
use crate::load::gate::{Judged, Measured, connections_since};
use crate::load::limit::{self, LimitEvidence, LoadVerdict};
use crate::load::report::all_counters;
use crate::load::search::Search;
use crate::load::second::percentile_us;
use crate::load::trial::TrialShape;
use crate::load::worker::{LoadPhase, tcp};
use crate::units;

/// Between two trials: what the target has left to do is done.
const REST: Duration = Duration::from_secs(1);
/// How often a rate is lowered that is not confirmed.
const CONFIRMATIONS_MAX: usize = 4;

/// One trial. Field names are stable.
#[derive(Debug, Clone, Serialize)]
pub(in crate::load) struct Trial {
    /// Operations a second.
    rate: u64,
    duration_s: f64,
    pub(super) passed: bool,
    /// Each gate, and what was measured.
    gates: Vec<Judged>,
    /// Why not.
    pub(super) faults: Vec<String>,
    completed: u64,
    /// From when operations were due, in us.
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    limit: LoadVerdict,
    /// The trial failed, and the target was not why.
    pub(super) limited_by_us: bool,
}

/// The result of a search. Field names are stable.
#[derive(Debug, Clone, Serialize)]
pub(in crate::load) struct Found {
    /// The highest rate at which the gates held; `null` when they held at none.
    pub(in crate::load) rate: Option<u64>,
    /// A trial of the length of --confirm has passed at that rate.
    pub(in crate::load) confirmed: bool,
    /// The target may take more: at the next higher rate that was tried the generator, its sources or the link was the limit.
    pub(in crate::load) is_lower_bound: bool,
    pub(in crate::load) trials: Vec<Trial>,
}

impl Control<'_> {
    /// Searches, and leaves the last trial's counts for the report. The workers hold no connection afterwards.
    pub(super) fn search(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
        let start = self.plan.peak_rate().unwrap_or(1);
        let trial_time = self.args.lasts();
        let least = self.args.gate.least_operations() as f64 / trial_time.as_secs_f64();
        let mut search = Search::new(start, least.ceil() as u64);
        let mut trials: Vec<Trial> = Vec::new();
        while let Some(rate) = search.next() {
            if let Err(fault) = self.plan.check_tuples(self.args, Some(rate)) {
                let trial = Trial::not_begun(rate, fault);
                console::log(&trial);
                search.learn(rate, false);
                trials.push(trial);
                continue;
            }
            let Some((trial, _)) = self.trial(watched, self.flat(rate, trial_time))? else {
                break;
            };
            search.learn(rate, trial.passed);
            trials.push(trial);
        }
        let mut found = Found {
            rate: search.found(),
            confirmed: false,
            is_lower_bound: false,
            trials,
        };
        while let Some(rate) = found.rate {
            let is_over = found.confirmed || watched.ended_by == LoadEnd::Signal;
            let confirmations = found
                .trials
                .iter()
                .filter(|t| t.duration_s > trial_time.as_secs_f64());
            if is_over || confirmations.count() >= CONFIRMATIONS_MAX {
                break;
            }
            let shape = self.flat(rate, self.args.confirm);
            let Some((trial, _)) = self.trial(watched, shape)? else {
                break;
            };
            found.confirmed = trial.passed;
            if !trial.passed {
                found.rate = Some(Search::lower(rate));
            }
            found.trials.push(trial);
        }
        let above = found
            .trials
            .iter()
            .filter(|trial| !trial.passed && Some(trial.rate) > found.rate);
        let next_above = above.min_by_key(|trial| trial.rate);
        found.is_lower_bound = next_above.is_none_or(|trial| trial.limited_by_us);
        watched.found = Some(found);
        Ok(())
    }

    /// A trial at one rate from its beginning to its end.
    fn flat(&self, rate: u64, level: Duration) -> TrialShape {
        TrialShape {
            rate_rps: rate as f64,
            connections: self.plan.connections,
            level,
            ..TrialShape::default()
        }
    }

    /// One trial and its times; `None` when it could not begin, or was ended by a signal.
    pub(super) fn trial(
        &mut self,
        watched: &mut LoadWatched,
        shape: TrialShape,
    ) -> Result<Option<(Trial, Measures)>, Silent> {
        self.lasts = shape.lasts();
        self.connections = shape.connections;
        self.phases.prepare(shape);
        loop {
            self.ask(watched)?;
            let mut workers = watched.workers.iter();
            if workers.all(|worker| worker.phase == LoadPhase::Prepare) {
                break;
            }
        }
        watched.base = total(&watched.workers);
        watched.series.clear();
        watched.intervals.clear();
        let unfilled = if self.fill(watched)? {
            self.load(watched)?;
            None
        } else if self.plan.work == Work::Hold && watched.ended_by != LoadEnd::Signal {
            watched.faults.pop()
        } else {
            return Ok(None);
        };
        if watched.ended_by == LoadEnd::Signal {
            return Ok(None);
        }
        self.settle(watched)?;
        clock::sleep(REST.min(self.lasts));
        self.ask(watched)?;
        let mut measures = Measures::default();
        for (worker, line) in self.lines.iter().enumerate() {
            measures.merge(&line.measures.ask().ok_or(Silent(worker))?);
        }
        let mut trial = self.judged(watched, &measures, &shape);
        if let Some(fault) = unfilled {
            trial.passed = false;
            trial.faults = vec![fault];
        }
        console::log(&trial);
        Ok(Some((trial, measures)))
    }

    fn judged(&self, watched: &LoadWatched, measures: &Measures, shape: &TrialShape) -> Trial {
        let all = total(&watched.workers);
        let counts = all.operations_since(&watched.base);
        let counters = all_counters(&watched.workers);
        let evidence = LimitEvidence::new(
            &counts,
            (measures, Some(counts.window_due)),
            (&watched.spent, None),
            (&counters, &tcp(&watched.workers)),
            shape.connections,
        )
        .holding((self.plan.work == Work::Hold).then(|| {
            let open = watched.series.iter().map(|second| second.open);
            (shape.connections, open.min().unwrap_or(0))
        }));
        let verdict = limit::judge(&evidence).verdict;
        let gates = self.args.gate.judge(&Measured {
            counts: &counts,
            connections: connections_since(&all, &watched.base),
            measures,
            is_open_loop: true,
            seconds: &watched.series,
            timed_s: shape.timed_s(),
        });
        let faults = gates.iter().filter_map(|gate| gate.fault.clone());
        let mut faults: Vec<String> = faults.collect();
        let achieved = evidence.achieved().unwrap_or(0.0);
        if achieved < limit::ACHIEVED_SHARE {
            faults.push(format!("{:.1} % of the rate was reached", achieved * 100.0));
        }
        if evidence.is_late() {
            faults.push("the generator was late".to_owned());
        }
        let ours = [
            Fault::NoPort,
            Fault::PortInUse,
            Fault::TableFull,
            Fault::NoMemory,
            Fault::SendRefused,
        ];
        let is_ours = matches!(
            verdict,
            LoadVerdict::Generator | LoadVerdict::Link | LoadVerdict::Ports
        ) || evidence.is_late()
            || counts.by_fault().any(|(fault, _)| ours.contains(&fault));
        Trial {
            rate: shape.rate_rps.round() as u64,
            duration_s: self.lasts.as_secs_f64(),
            gates,
            passed: faults.is_empty(),
            limited_by_us: !faults.is_empty() && is_ours,
            faults,
            completed: counts.completed,
            p50_us: percentile_us(measures.get(Step::Scheduled), 50.0),
            p99_us: percentile_us(measures.get(Step::Scheduled), 99.0),
            limit: verdict,
        }
    }
}

impl Trial {
    /// A rate for which there are too few tuples.
    fn not_begun(rate: u64, fault: String) -> Self {
        Self {
            rate,
            duration_s: 0.0,
            passed: false,
            gates: Vec::new(),
            faults: vec![fault],
            completed: 0,
            p50_us: None,
            p99_us: None,
            limit: LoadVerdict::Ports,
            limited_by_us: true,
        }
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |time: Option<f64>| time.map_or("-".to_owned(), units::short_time);
        write!(
            f,
            "trial {}/s for {:.1} s: {}, p50 {}  p99 {}",
            self.rate,
            self.duration_s,
            if self.passed {
                "the gates held"
            } else {
                "the gates did not hold"
            },
            us(self.p50_us),
            us(self.p99_us)
        )?;
        if !self.passed {
            let ours = if self.limited_by_us {
                "; not the target's limit"
            } else {
                ""
            };
            write!(f, " ({}{ours})", self.faults.join("; "))?;
        }
        Ok(())
    }
}

impl Found {
    /// What it means that the gates held at no rate.
    pub(in crate::load) fn nothing(&self) -> &'static str {
        if self.is_lower_bound {
            "the gates hold at no rate that was tried, and the generator, its sources or the link was the limit: this says nothing of \
             the target"
        } else {
            "the gates hold at no rate that was tried"
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rate {
            None => writeln!(f, "  found        {}", self.nothing())?,
            Some(rate) => writeln!(
                f,
                "  found        {rate} operations/s{}, {}",
                if self.is_lower_bound {
                    " at least: above that the generator, its sources or the link was the limit"
                } else {
                    ""
                },
                if self.confirmed {
                    "confirmed"
                } else {
                    "not confirmed"
                }
            )?,
        }
        for trial in &self.trials {
            writeln!(f, "    {trial}")?;
        }
        Ok(())
    }
}
