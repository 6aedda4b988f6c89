//! The control thread while workers turn: one phase after the other, a line a second, then the end.
//!
//! It must never wait for ever: each phase has its time, and a worker that does not answer is said.

use std::time::{Duration, Instant};

use serde::Serialize;
use stack::app::ConnectError;
use stack::worker::Cycles;
use workload::load::{Interval, LoadCounts, Measure};

use super::args::LoadArgs;
use super::plan::RunPlan;
use super::worker::{LoadLine, LoadPhase, LoadPhases, LoadProgress};
use crate::clock::{self, Clock};
use crate::console;
use crate::report::NdjsonFile;
use crate::rig::link::LinkWatch;
use crate::stop::Stop;

/// How often the control thread looks.
const LOOK: Duration = Duration::from_millis(10);
/// A line this often.
const LINE: Duration = Duration::from_secs(1);
/// How long it may take until all targets are reached.
const REACH_MAX: Duration = Duration::from_secs(4);
/// From the order to start to the start.
const COUNTDOWN: Duration = Duration::from_millis(5);
/// How long after its end the last operations that are due may be begun.
const SETTLE: Duration = Duration::from_millis(50);
/// How long operations may take that are under way at the end, at most.
const GRACE_MAX: Duration = Duration::from_secs(5);
/// The same after a signal.
const GRACE_AFTER_SIGNAL: Duration = Duration::from_millis(500);
/// Resets leave within this time, or not at all.
const ABORT_MAX: Duration = Duration::from_secs(1);
/// The workers are empty after this at the latest.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Why the load ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LoadEnd {
    /// `--duration` is over.
    Duration,
    /// `--count` is reached.
    Count,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Signal,
    /// It could not begin, or a worker did not answer.
    Fault,
}

/// One second of a run. Field names are stable.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Second {
    /// Its end, in seconds from the start.
    pub(super) at_s: f64,
    pub(super) begun: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    /// Connections that are established at its end.
    pub(super) open: u64,
    pub(super) bytes_in: u64,
    /// From the beginning of operations, in us.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    /// From when they were due, in us; open loop only.
    pub(super) scheduled_p99_us: Option<f64>,
}

/// What the control thread came to.
#[derive(Debug)]
pub(super) struct LoadWatched {
    pub(super) ended_by: LoadEnd,
    /// How long operations were begun.
    pub(super) duration: Duration,
    /// What each worker said last.
    pub(super) workers: Vec<LoadProgress>,
    pub(super) series: Vec<Second>,
    /// Times of each second, for the log.
    pub(super) intervals: Vec<(Duration, Interval)>,
    /// Where the cycles of each worker went while it loaded.
    pub(super) spent: Vec<Cycles>,
    pub(super) faults: Vec<String>,
}

/// Everything that the control thread needs.
pub(super) struct Control<'a> {
    pub(super) args: &'a LoadArgs,
    pub(super) plan: &'a RunPlan,
    pub(super) lines: &'a [LoadLine],
    pub(super) phases: &'a LoadPhases,
    pub(super) clock: Clock,
    pub(super) link: LinkWatch<'a>,
    pub(super) stop: &'a Stop,
    pub(super) ndjson: NdjsonFile,
}

/// A worker that does not answer.
struct Silent(usize);

impl Control<'_> {
    /// Goes through all phases. The workers still wait for the order to stop when this returns.
    pub(super) fn conduct(mut self) -> LoadWatched {
        let mut watched = LoadWatched {
            ended_by: LoadEnd::Fault,
            duration: Duration::ZERO,
            workers: vec![LoadProgress::default(); self.lines.len()],
            series: Vec::new(),
            intervals: Vec::new(),
            spent: Vec::new(),
            faults: Vec::new(),
        };
        if let Err(Silent(worker)) = self.all_phases(&mut watched) {
            watched.ended_by = LoadEnd::Fault;
            watched.faults.push(format!(
                "worker {worker} does not answer; is its CPU taken?"
            ));
        }
        watched
    }

    fn all_phases(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
        let can_begin = self.reach(watched)? && self.fill(watched)?;
        if can_begin {
            self.load(watched)?;
        }
        self.end(watched)
    }

    fn ask(&self, watched: &mut LoadWatched) -> Result<(), Silent> {
        for (worker, (line, place)) in self.lines.iter().zip(&mut watched.workers).enumerate() {
            *place = line.progress.ask().ok_or(Silent(worker))?;
        }
        Ok(())
    }

    fn intervals(&self) -> Result<Interval, Silent> {
        let mut sum = Interval::default();
        for (worker, line) in self.lines.iter().enumerate() {
            sum.merge(&line.interval.ask().ok_or(Silent(worker))?);
        }
        Ok(sum)
    }

    /// Waits until the next hops of all targets are known. False, and a fault, when one is not in time.
    fn reach(&self, watched: &mut LoadWatched) -> Result<bool, Silent> {
        let started = Instant::now();
        loop {
            self.ask(watched)?;
            // Worker 0 keeps the neighbours of all.
            let unreached = watched.workers.first().and_then(|worker| worker.unreached);
            let fault = match unreached {
                None => return Ok(true),
                Some((target, Err(ConnectError::NoRoute))) => format!(
                    "no route to {}: it lies on none of our links, so --gateway is needed",
                    target.ip()
                ),
                Some((target, Err(error))) => {
                    format!("{} can't be reached: {error:?}", target.ip())
                }
                Some((target, Ok(_))) if started.elapsed() >= REACH_MAX => format!(
                    "the way to {} is silent: {} answered no {} for {} s; is its interface up, and is the address right?",
                    target.ip(),
                    next_hop(self.plan, target.ip()),
                    if target.is_ipv4() {
                        "ARP request"
                    } else {
                        "neighbour solicitation"
                    },
                    REACH_MAX.as_secs()
                ),
                Some(_) if self.stop.is_asked() => {
                    watched.ended_by = LoadEnd::Signal;
                    return Ok(false);
                }
                Some(_) => {
                    clock::sleep(LOOK);
                    continue;
                }
            };
            watched.faults.push(fault);
            return Ok(false);
        }
    }

    /// Opens the connections that are to be kept. False, and a fault, when they can't all be opened.
    fn fill(&self, watched: &mut LoadWatched) -> Result<bool, Silent> {
        // In a closed loop connections open while the clock runs.
        let keeps_all = self.plan.plans.iter().all(|plan| plan.keeps_all);
        if !keeps_all || self.plan.rate.is_none() {
            return Ok(true);
        }
        self.phases.enter(LoadPhase::Fill);
        let started = Instant::now();
        loop {
            self.ask(watched)?;
            if watched.workers.iter().all(|worker| worker.is_full) {
                return Ok(true);
            }
            if self.stop.is_asked() {
                watched.ended_by = LoadEnd::Signal;
                return Ok(false);
            }
            if started.elapsed() >= self.args.timeout {
                let counts = total(&watched.workers);
                watched.faults.push(format!(
                    "{} of {} connections could be opened in {:.0} s ({} ended before they were established)",
                    counts.open(),
                    self.plan.connections,
                    self.args.timeout.as_secs_f64(),
                    counts.not_established
                ));
                return Ok(false);
            }
            clock::sleep(LOOK);
        }
    }

    fn load(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
        let origin = self.clock.at(dpdk::cycles()) + COUNTDOWN;
        self.phases.start(origin);
        let started = Instant::now() + COUNTDOWN;
        let mut last = total(&watched.workers);
        let before: Vec<Cycles> = watched.workers.iter().map(|worker| worker.cycles).collect();
        let mut next_line = LINE;
        let ended_by = loop {
            clock::sleep(LOOK.min(self.args.duration));
            let elapsed = started.elapsed();
            self.ask(watched)?;
            let counts = total(&watched.workers);
            let is_spent = watched.workers.iter().all(|worker| worker.is_spent);
            let ended_by = if self.stop.is_asked() {
                Some(LoadEnd::Signal)
            } else if elapsed >= self.args.duration
                && (self.plan.rate.is_none() || is_spent || elapsed >= self.args.duration + SETTLE)
            {
                Some(LoadEnd::Duration)
            } else if is_spent && counts.under_way() == 0 && self.args.count.is_some() {
                Some(LoadEnd::Count)
            } else {
                None
            };
            if elapsed >= next_line || ended_by.is_some() {
                next_line += LINE;
                self.link.look();
                let interval = self.intervals()?;
                self.say(&Second::new(elapsed, &counts, &last, &interval), watched);
                watched.intervals.push((elapsed, interval));
                last = counts;
            }
            if let Some(ended_by) = ended_by {
                break ended_by;
            }
        };
        let pairs = watched.workers.iter().zip(&before);
        watched.spent = pairs
            .map(|(worker, before)| worker.cycles.since(before))
            .collect();
        watched.duration = started.elapsed().min(self.args.duration);
        watched.ended_by = ended_by;
        Ok(())
    }

    fn say(&mut self, second: &Second, watched: &mut LoadWatched) {
        console::log(second);
        watched.faults.extend(self.ndjson.write(second));
        watched.series.push(second.clone());
    }

    /// What is under way may end, what does not is reset, then the workers empty what they hold.
    fn end(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
        let grace = if watched.ended_by == LoadEnd::Signal {
            self.stop.heed();
            GRACE_AFTER_SIGNAL
        } else {
            self.args.timeout.min(GRACE_MAX)
        };
        self.phases.enter(LoadPhase::Finish);
        if !self.until_closed(watched, LoadPhase::Finish, grace)? {
            self.phases.enter(LoadPhase::GiveUp);
            self.until_closed(watched, LoadPhase::GiveUp, ABORT_MAX)?;
        }
        self.phases.enter(LoadPhase::Drain);
        let started = Instant::now();
        let mut all_drain = false;
        while started.elapsed() < DRAIN_MAX {
            self.ask(watched)?;
            if all_drain && watched.workers.iter().all(|worker| !worker.moved) {
                break;
            }
            let mut workers = watched.workers.iter();
            all_drain = workers.all(|worker| worker.phase == LoadPhase::Drain);
        }
        Ok(())
    }

    /// Waits until every worker has heard of `phase` and no connection is there. False when time was up.
    fn until_closed(
        &self,
        watched: &mut LoadWatched,
        phase: LoadPhase,
        patience: Duration,
    ) -> Result<bool, Silent> {
        let started = Instant::now();
        while started.elapsed() < patience && !self.stop.is_asked_again() {
            self.ask(watched)?;
            let heard = watched.workers.iter().all(|worker| worker.phase == phase);
            if heard && watched.workers.iter().all(|worker| worker.connections == 0) {
                return Ok(true);
            }
            clock::sleep(LOOK);
        }
        Ok(false)
    }
}

fn next_hop(plan: &RunPlan, target: std::net::IpAddr) -> String {
    let hop = plan
        .configs
        .first()
        .and_then(|config| config.next_hop(target));
    match hop {
        Some(hop) if hop != target => format!("the gateway {hop}"),
        _ => "it".to_owned(),
    }
}

/// All workers together.
pub(super) fn total(workers: &[LoadProgress]) -> LoadCounts {
    let mut sum = LoadCounts::default();
    for worker in workers {
        sum.merge(&worker.counts);
    }
    sum
}

/// A percentile in us, to tenths.
pub(super) fn percentile_us(measure: &Measure, percent: f64) -> Option<f64> {
    let time = measure.percentile(percent)?.time;
    Some((time.as_nanos() as f64 / 100.0).round() / 10.0)
}

impl Second {
    fn new(at: Duration, now: &LoadCounts, last: &LoadCounts, interval: &Interval) -> Self {
        Self {
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
        let us = |time: Option<f64>| time.map_or("-".to_owned(), |us| format!("{us:.0} us"));
        write!(
            f,
            "{:6.1} s  begun {}  completed {}  open {}  p50 {}  p99 {}",
            self.at_s,
            self.begun,
            self.completed,
            self.open,
            us(self.p50_us),
            us(self.p99_us)
        )?;
        if self.scheduled_p99_us.is_some() {
            write!(f, "  from schedule {}", us(self.scheduled_p99_us))?;
        }
        for (name, n) in [("dropped", self.dropped), ("failed", self.failed)] {
            if n > 0 {
                write!(f, "  !! {name} {n}")?;
            }
        }
        Ok(())
    }
}
