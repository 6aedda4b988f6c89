//! The result of a run, as text and as JSON, and whether it is good.
//!
//! It must never leave out an operation, a connection or a frame: what does not add up is said, and fails the run.

// As text.
mod text;
// Times of each step.
mod times;
// Connections that did not stay.
mod broken;
// Connections that were held.
mod hold;
// The servers behind a header of responses.
mod backends;
// The pool of sources.
mod sources;
// Bulk transfer.
mod stream;
// Whether everything adds up.
mod account;
// The log of HdrHistogram.
mod hdr_log;

use diagnose::counted;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stack::counters::Counters;
use stack::tcp::verdict::Outcome;
use workload::load::{Interval, LoadCounts, Measures, Work};

use self::account::Account;
use self::backends::BackendRow;
use self::hold::Hold;
use self::sources::SourcesReport;
use self::stream::Stream;
pub(super) use self::text::connections;
use self::times::Times;
use super::args::LoadArgs;
use super::arms::ArmsReport;
use super::failures::FailuresReport;
use super::gate::{Measured, connections_since};
use super::limit::{self, LimitEvidence, LoadLimit, LoadVerdict};
use super::own_server::ServerTotals;
use super::plan::RunPlan;
use super::second::Second;
use super::watch::{Found, LoadEnd, LoadWatched, ProfileReport, total};
use super::worker::{LoadProgress, LoadTotals, rss, tcp};
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::report::Envelope;
use crate::rig::{NicReport, RssReport};

/// Everything that a report is made of.
pub(super) struct LoadReportParts<'a> {
    pub(super) args: &'a LoadArgs,
    pub(super) plan: &'a RunPlan,
    pub(super) envelope: Envelope,
    pub(super) watched: LoadWatched,
    /// Of all workers that ended well.
    pub(super) totals: &'a [LoadTotals],
    /// Of our own server's workers.
    pub(super) servers: &'a [ServerTotals],
    pub(super) nic: Option<NicReport>,
    /// With --server-nic.
    pub(super) arms: Option<ArmsReport>,
    /// With --pcap-failures.
    pub(super) pcap: Option<FailuresReport>,
    pub(super) mbufs_in_use: u32,
    pub(super) fault: Option<FaultReport>,
    /// The errors of threads.
    pub(super) thread_faults: Vec<String>,
}

/// The result. Field names are stable: scripts rely on them (docs/guide/load.md).
#[derive(Debug, Serialize)]
pub(super) struct LoadReport {
    #[serde(flatten)]
    envelope: Envelope,
    plan: PlanReport,
    ended_by: LoadEnd,
    /// How long operations were begun.
    duration_s: f64,
    operations: Operations,
    /// Times by step; absent where nothing was timed.
    times: BTreeMap<&'static str, Times>,
    /// HTTP responses by class.
    statuses: BTreeMap<String, u64>,
    /// With --count-by.
    backends: Vec<BackendRow>,
    connections: Connections,
    /// With --workload hold.
    hold: Option<Hold>,
    /// With --workload stream.
    stream: Option<Stream>,
    /// With --sources or a flag that belongs to it.
    sources: Option<SourcesReport>,
    bytes_in: u64,
    bytes_out: u64,
    limit: LoadLimit,
    account: Account,
    series: Vec<Second>,
    nic: Option<NicReport>,
    /// Whether the NIC brings replies to the worker that opened the connection; `null` with one worker.
    rss: Option<RssReport>,
    /// With --server-nic.
    arms: Option<ArmsReport>,
    /// With --pcap-failures.
    pcap_failures: Option<FailuresReport>,
    /// The counters of TCP that are not 0.
    tcp: BTreeMap<&'static str, u64>,
    /// All counters that aren't zero.
    counters: BTreeMap<&'static str, u64>,
    fault_injection: Option<FaultReport>,
    /// With --find; operations and times are those of the last trial.
    find: Option<Found>,
    /// With --profile; operations and times are those of the last trial.
    profile: Option<ProfileReport>,
    /// The faults that fail the run, in words.
    faults: Vec<String>,
    #[serde(skip)]
    intervals: Vec<(Duration, Interval)>,
    #[serde(skip)]
    started: std::time::SystemTime,
}

/// The request.
#[derive(Debug, Serialize)]
struct PlanReport {
    targets: Vec<String>,
    workload: &'static str,
    /// Operations a second, the most where there are steps; `null` in a closed loop. With --workload hold: connections opened a
    /// second.
    rate: Option<u64>,
    /// The rate as it was asked for, with its steps.
    rate_steps: Option<String>,
    connections: u32,
    workers: u16,
    duration_s: f64,
    timeout_s: f64,
    /// 2 MSL, our own.
    time_wait_s: f64,
}

/// The outcomes of the operations.
#[derive(Debug, Serialize)]
struct Operations {
    /// By the schedule; 0 in a closed loop.
    due: u64,
    begun: u64,
    completed: u64,
    failed: u64,
    failed_by: BTreeMap<&'static str, u64>,
    /// Due while all connections were busy, with --when-busy drop.
    dropped: u64,
    /// Due and not begun at the end.
    never_begun: u64,
    /// Begun and not ended when the run did.
    unfinished: u64,
    /// Within the timed part, a second.
    completed_per_s: f64,
    /// Of the operations that were due in the timed part, the share that was begun.
    achieved_share: Option<f64>,
}

/// The outcomes of the connections.
#[derive(Debug, Serialize)]
struct Connections {
    asked_for: u64,
    established: u64,
    not_established: u64,
    closed: u64,
    reset_by_us: u64,
    reset_by_peer: u64,
    timed_out: u64,
    open: u64,
}

/// The counters of all workers.
pub(super) fn all_counters(workers: &[LoadProgress]) -> Counters {
    let mut counters = Counters::new();
    for worker in workers {
        counters.merge(&worker.counters);
    }
    counters
}

/// The times of all workers.
fn all_measures(totals: &[LoadTotals]) -> Measures {
    let mut measures = Measures::default();
    for of_worker in totals {
        measures.merge(&of_worker.measures);
    }
    measures
}

impl LoadReport {
    /// The report of a run.
    pub(super) fn new(parts: LoadReportParts<'_>) -> Self {
        let LoadReportParts { args, plan, .. } = parts;
        let measures = all_measures(parts.totals);
        let workers = last_progress(&parts);
        let all = total(&workers);
        let counts = all.operations_since(&parts.watched.base);
        let counters = all_counters(&workers);
        let offered = (counts.window_due > 0 || plan.rate.is_some()).then_some(counts.window_due);
        let hold = Hold::new(plan, &parts.watched, &counts);
        let server = parts.servers.first().map(|server| &server.cycles);
        let evidence = LimitEvidence::new(
            &counts,
            (&measures, offered),
            (&parts.watched.spent, server),
            (&counters, &tcp(&workers)),
            parts.watched.connections,
        )
        .holding(hold.as_ref().map(Hold::wanted_and_least))
        .answering(parts.watched.is_answering())
        .waiting(
            parts.totals.iter().map(|totals| totals.cpu_wait),
            parts.watched.duration,
        );
        let limit = limit::judge(&evidence);
        let sources = SourcesReport::new(&plan.plans, &counts, acks_reset(&workers));
        let account = Account::new(&all, &ends(&counters, parts.servers), parts.mbufs_in_use);
        let timed = timed_seconds(args, parts.watched.duration);
        let mut report = Self {
            envelope: parts.envelope,
            plan: PlanReport::new(args, plan),
            ended_by: parts.watched.ended_by,
            duration_s: rounded(parts.watched.duration.as_secs_f64()),
            operations: Operations::new(&counts, timed, &evidence),
            times: times::by_step(&measures),
            statuses: statuses(&counts),
            backends: backends::rows(parts.totals),
            connections: Connections::new(&counts),
            hold,
            stream: Stream::new(plan.work, &parts.watched, &counts),
            sources,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            limit,
            account,
            series: parts.watched.series,
            nic: parts.nic,
            rss: rss(&workers),
            arms: parts.arms,
            pcap_failures: parts.pcap,
            tcp: tcp(&workers),
            counters: counters.non_zero().collect(),
            fault_injection: parts.fault,
            find: parts.watched.found,
            profile: parts.watched.profile,
            faults: parts.watched.faults,
            intervals: parts.watched.intervals,
            started: std::time::SystemTime::now(),
        };
        report.add_last_interval(parts.totals);
        report.faults.extend(parts.thread_faults);
        let pcap = report.pcap_failures.as_ref();
        report.faults.extend(pcap.and_then(FailuresReport::fault));
        let is_stuck = report.nic.as_ref().is_some_and(|nic| !nic.link_is_up());
        report.faults.extend(report.account.faults(is_stuck));
        let connections = connections_since(&all, &parts.watched.base);
        report.add_gates((args, plan), (&counts, connections), &measures);
        report.add_faults(&counts, &evidence);
        report
    }

    /// The gates that do not hold.
    fn add_gates(
        &mut self,
        (args, plan): (&LoadArgs, &RunPlan),
        (counts, connections): (&LoadCounts, (u64, u64)),
        measures: &Measures,
    ) {
        let mut counts = *counts;
        if self.ended_by == LoadEnd::Signal {
            // An operation that a signal ended did not fail.
            counts.unfinished = 0;
        }
        self.faults.extend(args.gate.faults(&Measured {
            counts: &counts,
            connections,
            measures,
            is_open_loop: plan.is_open_loop(),
            seconds: &self.series,
            timed_s: timed_s(args, self.duration_s),
        }));
    }

    /// Operations that ended after the last second.
    fn add_last_interval(&mut self, totals: &[LoadTotals]) {
        let mut last = Interval::default();
        for totals in totals {
            last.merge(&totals.last_interval);
        }
        if let Some(&(ended, _)) = self.intervals.last() {
            self.intervals.push((ended, last));
            self.started -= ended;
        }
    }

    /// Faults of a run beside its gates: operations that were due and not begun, times that say more about the generator.
    fn add_faults(&mut self, counts: &LoadCounts, evidence: &LimitEvidence) {
        let faults = &mut self.faults;
        if let Some(profile) = &self.profile {
            faults.extend(profile.faults());
        }
        if let Some(found) = self.find.as_ref().filter(|found| !found.confirmed) {
            faults.push(match found.rate {
                None => found.nothing().to_owned(),
                Some(_) => "the rate that was found is not confirmed".to_owned(),
            });
        }
        if counts.unasked > 0 {
            faults.push(format!(
                "{} received bytes that no request asked for",
                counted(counts.unasked, "connection")
            ));
        }
        if let Some(hold) = &self.hold {
            faults.extend(hold.faults(self.ended_by == LoadEnd::Signal));
        }
        if let Some(stream) = &self.stream {
            faults.extend(stream.faults());
        }
        let is_idle = self.stream.is_some() || self.hold.is_some() && counts.due == 0;
        if counts.begun == 0 && !is_idle && faults.is_empty() && self.ended_by != LoadEnd::Signal {
            faults.push(match counts.not_established {
                0 => "no operation was begun".to_owned(),
                n => format!(
                    "no operation was begun: {n} of {} not established, {} of them refused by the target; does it listen on that port?",
                    counted(counts.connects, "connection"),
                    counts.refused
                ),
            });
        }
        let achieved = evidence.achieved();
        if let Some(share) = achieved.filter(|share| *share < limit::ACHIEVED_SHARE) {
            let who = match self.limit.verdict {
                LoadVerdict::Target => "the target was the limit",
                LoadVerdict::Link => "the link was the limit",
                LoadVerdict::Ports => "local ports were the limit",
                _ => "the generator was the limit, so the run is invalid",
            };
            faults.push(format!(
                "{:.1} % of the due operations were begun: {who}",
                share * 100.0
            ));
        } else if evidence.is_late() {
            let who = match self.limit.verdict {
                LoadVerdict::Link => "the link was the limit",
                LoadVerdict::Ports => "local ports were the limit",
                _ => "the generator was the limit",
            };
            faults.push(format!(
                "{who}, so the run is invalid: the schedule lag spoils the times; {}",
                self.limit.change
            ));
        }
    }

    /// Whether the result is good.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] when a signal ended the run, [`Failure::Gate`] with everything that is not good.
    pub(super) fn gate(&self) -> Result<(), Failure> {
        if self.ended_by == LoadEnd::Signal {
            return Err(Failure::Interrupted(if self.faults.is_empty() {
                "ended by a signal; the result is what came until then".to_owned()
            } else {
                format!("ended by a signal; {}", self.faults.join("; "))
            }));
        }
        Failure::unless_good(&self.faults)
    }

    /// Writes the log of `--hdr-log`, if it is asked for.
    ///
    /// # Errors
    /// [`Failure::Run`] when the file does not take it.
    pub(super) fn write_hdr_log(&self, args: &LoadArgs) -> Result<(), Failure> {
        match &args.hdr_log {
            Some(path) => hdr_log::write(path, self.started, &self.intervals),
            None => Ok(()),
        }
    }
}

impl PlanReport {
    fn new(args: &LoadArgs, plan: &RunPlan) -> Self {
        Self {
            targets: plan.targets.clone(),
            workload: match plan.work {
                Work::Connect(_) => "connect",
                Work::Request => "request",
                Work::Hold => "hold",
                Work::Stream(_) => "stream",
            },
            rate: plan.ramp_rate.or(plan.peak_rate()),
            rate_steps: plan.rate.as_ref().map(ToString::to_string),
            connections: plan.connections,
            workers: plan.workers,
            duration_s: args.lasts().as_secs_f64(),
            timeout_s: args.timeout.as_secs_f64(),
            time_wait_s: args.time_wait.as_secs_f64(),
        }
    }
}

impl Operations {
    fn new(counts: &LoadCounts, timed_s: f64, evidence: &LimitEvidence) -> Self {
        Self {
            due: counts.due,
            begun: counts.begun,
            completed: counts.completed,
            failed: counts.failed_total(),
            failed_by: counts
                .by_fault()
                .map(|(fault, n)| (fault.name(), n))
                .collect(),
            dropped: counts.dropped,
            never_begun: counts.never_begun,
            unfinished: counts.unfinished,
            completed_per_s: rounded(counts.window_completed as f64 / timed_s.max(1e-9)),
            achieved_share: evidence.achieved().map(rounded),
        }
    }
}

impl Connections {
    fn new(counts: &LoadCounts) -> Self {
        Self {
            asked_for: counts.connects,
            established: counts.established,
            not_established: counts.not_established + counts.not_begun,
            closed: counts.ends.graceful,
            reset_by_us: counts.ends.reset_by_us,
            reset_by_peer: counts.ends.reset_by_peer,
            timed_out: counts.ends.timed_out,
            open: counts.open(),
        }
    }
}

/// The result of each worker. The results that the threads return are newer than their last answers.
fn last_progress(parts: &LoadReportParts<'_>) -> Vec<LoadProgress> {
    match parts.totals {
        [] => parts.watched.workers.clone(),
        totals => totals
            .iter()
            .map(|totals| totals.progress.clone())
            .collect(),
    }
}

/// The counters of each end of the link that is ours.
fn ends(ours: &Counters, servers: &[ServerTotals]) -> [Counters; 2] {
    let mut of_servers = Counters::new();
    for server in servers {
        of_servers.merge(&server.counters);
    }
    [ours.clone(), of_servers]
}

/// ACKs that answered a SYN and did not acknowledge it (RFC 9293 §3.10.7.3, first): the peer has the tuple still.
fn acks_reset(workers: &[LoadProgress]) -> u64 {
    let of = |worker: &LoadProgress| worker.tcp.outcome(Outcome::HandshakeBadAck);
    workers.iter().map(of).sum()
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The timed part of the run, or of its last trial, in seconds from the start.
fn timed_s(args: &LoadArgs, duration_s: f64) -> (f64, f64) {
    if args.find && args.profile.is_none() {
        return (0.0, duration_s);
    }
    let until = args.lasts().saturating_sub(args.ramp_down);
    (args.ramp_up.as_secs_f64(), until.as_secs_f64())
}

/// The seconds of the run whose operations were timed.
fn timed_seconds(args: &LoadArgs, duration: Duration) -> f64 {
    if args.find && args.profile.is_none() {
        return duration.as_secs_f64();
    }
    let until = (args.lasts() - args.ramp_down).min(duration);
    until.saturating_sub(args.ramp_up).as_secs_f64()
}

fn statuses(counts: &LoadCounts) -> BTreeMap<String, u64> {
    let classes = (0..).zip(counts.status_classes);
    classes
        .filter(|(_, n)| *n > 0)
        .map(|(class, n): (u32, u64)| (format!("{class}xx"), n))
        .collect()
}
