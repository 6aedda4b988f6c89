//! The control thread while workers turn: one phase after the other, a line a second, then the end.
//!
//! It must never wait for ever: each phase has its time, and a worker that does not answer is said.

// Opening the connections that are kept.
mod ramp;
// Trials, on the way to the highest rate.
mod find;
// The trials of a profile.
mod profile;

use std::time::{Duration, Instant};

use serde::Serialize;
use stack::app::ConnectError;
use stack::worker::Cycles;
use workload::load::{Interval, LoadCounts, Work};

pub(super) use self::find::Found;
pub(super) use self::profile::ProfileReport;
pub(super) use self::ramp::Ramp;
use super::args::LoadArgs;
use super::plan::RunPlan;
use super::second::Second;
use super::worker::{LoadLine, LoadPhase, LoadPhases, LoadProgress, rss};
use crate::clock::{self, Clock};
use crate::console;
use crate::report::NdjsonFile;
use crate::rig::{self, link::LinkWatch};
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

/// The result of the control thread.
#[derive(Debug)]
pub(super) struct LoadWatched {
    pub(super) ended_by: LoadEnd,
    /// How long operations were begun.
    pub(super) duration: Duration,
    /// How connections that are kept were opened; `None` when not all were.
    pub(super) ramp: Option<Ramp>,
    /// The counts when the last trial of a search began.
    pub(super) base: LoadCounts,
    /// The result of --find.
    pub(super) found: Option<Found>,
    /// The result of --profile.
    pub(super) profile: Option<ProfileReport>,
    /// Connections at a time at most, in the last trial.
    pub(super) connections: u32,
    /// The last answer of each worker.
    pub(super) workers: Vec<LoadProgress>,
    pub(super) series: Vec<Second>,
    /// Times of each second, for the log.
    pub(super) intervals: Vec<(Duration, Interval)>,
    /// Where the cycles of each worker went while it loaded.
    pub(super) spent: Vec<Cycles>,
    pub(super) faults: Vec<String>,
}

impl LoadWatched {
    /// Whether operations were completed in the last second of a run that ended by itself.
    pub(super) fn is_answering(&self) -> bool {
        let last = self.series.last();
        self.ended_by == LoadEnd::Duration && last.is_some_and(|second| second.completed > 0)
    }
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
    /// Resident memory of the process before the tables were made, in bytes.
    pub(super) resident_before: Option<u64>,
    /// How long operations are begun.
    pub(super) lasts: Duration,
    /// Whether it was said how the NIC steers.
    pub(super) is_rss_said: bool,
    /// Connections at a time at most.
    pub(super) connections: u32,
}

/// A worker that does not answer.
struct Silent(usize);

impl Control<'_> {
    /// Goes through all phases. The workers still wait for the order to stop when this returns.
    pub(super) fn conduct(mut self) -> LoadWatched {
        let mut watched = LoadWatched {
            ended_by: LoadEnd::Fault,
            duration: Duration::ZERO,
            ramp: None,
            base: LoadCounts::default(),
            found: None,
            profile: None,
            connections: self.connections,
            workers: vec![LoadProgress::default(); self.lines.len()],
            series: Vec::new(),
            intervals: Vec::new(),
            spent: Vec::new(),
            faults: Vec::new(),
        };
        if let Err(Silent(worker)) = self.all_phases(&mut watched) {
            watched.ended_by = LoadEnd::Fault;
            let who = format!("worker {worker}");
            watched.faults.push(rig::silent(who));
        }
        watched.connections = self.connections;
        watched
    }

    fn all_phases(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
        if self.reach(watched)? {
            if let Some(profile) = self.args.profile {
                self.run_profile(watched, profile)?;
            } else if self.args.find {
                self.search(watched)?;
            } else if self.fill(watched)? {
                self.load(watched)?;
            }
        }
        self.settle(watched)?;
        self.drain(watched)
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
                    "no route to {}: it is on no link of --ip; give --gateway, the router on one of them",
                    target.ip()
                ),
                Some((target, Err(error))) => {
                    format!("{} can't be reached: {error}", target.ip())
                }
                Some((target, Ok(_))) if started.elapsed() >= REACH_MAX => format!(
                    "{} can't be reached: {} answered no {} for {} s; is its interface up, and is the address right?",
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

    fn load(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
        let origin = self.clock.at(dpdk::cycles()) + COUNTDOWN;
        self.phases.start(origin);
        let started = Instant::now() + COUNTDOWN;
        let mut last = total(&watched.workers);
        let before: Vec<Cycles> = watched.workers.iter().map(|worker| worker.cycles).collect();
        let (mut said_at, mut last_again) = (Duration::ZERO, sent_again(watched));
        let mut next_line = LINE;
        let lasts = self.lasts;
        let ended_by = loop {
            clock::sleep(LOOK.min(lasts));
            let elapsed = started.elapsed();
            self.ask(watched)?;
            let counts = total(&watched.workers);
            let is_spent = watched.workers.iter().all(|worker| worker.is_spent);
            let ended_by = if self.stop.is_asked() {
                Some(LoadEnd::Signal)
            } else if elapsed >= lasts
                && (!self.plan.is_open_loop() || is_spent || elapsed >= lasts + SETTLE)
            {
                Some(LoadEnd::Duration)
            } else if is_spent && counts.under_way() == 0 && self.args.count.is_some() {
                Some(LoadEnd::Count)
            } else {
                None
            };
            // The last line comes with the end of the run: between the two lies no second of its own.
            let is_line_due = elapsed >= next_line && elapsed < lasts;
            if is_line_due || ended_by.is_some() {
                while next_line <= elapsed {
                    next_line += LINE;
                }
                self.link.look();
                let interval = self.intervals()?;
                let at = (elapsed, elapsed.saturating_sub(said_at), self.plan.work);
                let again = sent_again(watched);
                let second = Second::new(
                    at,
                    (&counts, &last),
                    again.saturating_sub(last_again),
                    &interval,
                );
                (said_at, last_again) = (elapsed, again);
                self.say(&second, watched);
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
        watched.duration = started.elapsed().min(lasts);
        watched.ended_by = ended_by;
        Ok(())
    }

    fn say(&mut self, second: &Second, watched: &mut LoadWatched) {
        console::log(second);
        if !self.is_rss_said
            && let Some(line) = rss(&watched.workers).and_then(|rss| rss.verdict_line())
        {
            console::log(line);
            self.is_rss_said = true;
        }
        watched.faults.extend(self.ndjson.write(second));
        watched.series.push(second.clone());
    }

    /// Operations under way may finish; the connections of the others are reset.
    fn settle(&mut self, watched: &mut LoadWatched) -> Result<(), Silent> {
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
        Ok(())
    }

    /// The workers empty what they hold.
    fn drain(&self, watched: &mut LoadWatched) -> Result<(), Silent> {
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

    /// Waits until every worker has heard of `phase` and no connection is there. False when time was up: where connections are held
    /// it begins again with each that ends, for there may be millions.
    fn until_closed(
        &self,
        watched: &mut LoadWatched,
        phase: LoadPhase,
        patience: Duration,
    ) -> Result<bool, Silent> {
        let mut since = Instant::now();
        let mut left = u64::MAX;
        while since.elapsed() < patience && !self.stop.is_asked_again() {
            self.ask(watched)?;
            let connections = watched
                .workers
                .iter()
                .map(|worker| u64::from(worker.connections));
            let now_left = connections.sum();
            if self.plan.work == Work::Hold && now_left < left {
                (left, since) = (now_left, Instant::now());
            }
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

/// Segments that all workers sent again.
fn sent_again(watched: &LoadWatched) -> u64 {
    let workers = watched.workers.iter();
    workers
        .map(|worker| worker.tcp.retransmitted_segments)
        .sum()
}

/// All workers together.
pub(super) fn total(workers: &[LoadProgress]) -> LoadCounts {
    let mut sum = LoadCounts::default();
    for worker in workers {
        sum.merge(&worker.counts);
    }
    sum
}
