//! The control thread while workers turn: a line a second, then the end.
//!
//! It must never touch a frame or wait for ever: a worker that does not answer is said, and its last answer counts.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::FloodArgs;
use super::phase::{Phase, Phases};
use super::probe_watch::{ProbeLine, ProbeWatch};
use super::worker::{ProbeEnd, WorkerEnd, WorkerLine};
use crate::clock;
use crate::console;
use crate::report::NdjsonFile;
use crate::rig::{self, link::LinkWatch};
use crate::stop::Stop;
use crate::traffic::{FloodPlan, Tally};

/// How often the control thread looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);
/// A line this often.
const LINE: Duration = Duration::from_secs(1);
/// How much longer than a tuple's time verdicts may take.
const SETTLE_SLACK: Duration = Duration::from_secs(2);
/// After a signal, how long replies on their way are waited for.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// The reason why the sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndedBy {
    /// The time was over.
    Duration,
    /// As many frames as were asked for were sent.
    Count,
    /// A signal came.
    Signal,
    /// No probe was verified for as long as `--stop-after`.
    Probe,
    /// A worker did not answer.
    Worker,
}

/// The rates of one second. Field names are stable (docs/reference/flood-json.md).
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Interval {
    /// Its end, in seconds from the start.
    end_s: f64,
    /// Frames a second that the NIC took, repeats among them.
    sent_pps: f64,
    /// Those of them that repeated an earlier one.
    resent_pps: f64,
    /// Tuples a second that got a first reply.
    answered_pps: f64,
    /// Tuples a second whose silence became final.
    silent_pps: f64,
}

/// The record of the control thread, and the results of the workers.
#[derive(Debug)]
pub(super) struct FloodRun {
    /// How long frames were sent.
    pub(super) seconds: f64,
    /// The frames sent in that time, of all workers.
    pub(super) sending: Tally,
    /// Second by second.
    pub(super) intervals: Vec<Interval>,
    /// Where each second is written.
    pub(super) ndjson: NdjsonFile,
    /// The reason why the sending ended.
    pub(super) ended_by: EndedBy,
    /// The workers.
    pub(super) ends: Vec<WorkerEnd>,
    /// The probe.
    pub(super) probe: Option<ProbeEnd>,
    /// Frames that found the ring between flood and probe full.
    pub(super) handover_dropped: u64,
    /// The faults of the run.
    pub(super) faults: Vec<String>,
}

impl FloodRun {
    /// Frames that the driver took; `None` when a worker did not end well.
    pub(super) fn frames_taken(&self) -> Option<u64> {
        let is_whole = self.ended_by != EndedBy::Worker && !self.ends.is_empty();
        let of_probe = self.probe.as_ref().map_or(0, |end| end.frames_taken);
        let of_flood = self.ends.iter().map(|end| end.frames_taken);
        is_whole.then(|| of_flood.sum::<u64>() + of_probe)
    }
}

/// The other parts that the control thread rules.
pub(super) struct Controls<'a> {
    /// The phase of all threads.
    pub(super) phases: &'a Phases,
    /// The line to the probe.
    pub(super) probe: Option<&'a ProbeLine>,
    /// Whether the flood can go into a sink on this link.
    pub(super) has_sink: bool,
}

/// Watches the workers through all phases: the probe alone, the flood into a sink, the flood until time or count are over or a
/// signal comes, the wait for verdicts. They still wait for the order to stop when this returns.
pub(super) fn until_the_end(
    args: &FloodArgs,
    lines: &[WorkerLine],
    controls: &Controls<'_>,
    (plan, link, stop): (&FloodPlan, &mut LinkWatch<'_>, &Stop),
    ndjson: NdjsonFile,
) -> FloodRun {
    let mut run = FloodRun {
        seconds: 0.0,
        sending: Tally::default(),
        intervals: Vec::new(),
        ndjson,
        ended_by: EndedBy::Worker,
        ends: Vec::new(),
        probe: None,
        handover_dropped: 0,
        faults: Vec::new(),
    };
    let mut probe = controls.probe.map(ProbeWatch::new);
    let has_sink = controls.has_sink && probe.is_some();
    // The sink before the flood: afterwards the victim still has what the flood left behind.
    let mut goes_on = control(args, Phase::Baseline, (&mut probe, &mut run), stop);
    if goes_on && has_sink {
        controls.phases.enter(Phase::Sink);
        goes_on = control(args, Phase::Sink, (&mut probe, &mut run), stop);
    }
    if goes_on {
        controls.phases.enter(Phase::Flood);
        flood(
            args,
            lines,
            (&mut run, &mut probe),
            (controls, plan, link, stop),
        );
    }
    // Connections that were due in a phase have their time.
    controls.phases.enter(Phase::Settle);
    let patience = if run.ended_by == EndedBy::Signal {
        Duration::ZERO
    } else {
        args.probe_timeout
    };
    let since = Instant::now();
    while let Some(watch) = &mut probe
        && watch.has_open()
        && since.elapsed() < patience
        && !stop.is_asked()
    {
        clock::sleep(LOOK * 5);
    }
    controls.phases.enter(Phase::Quiet);
    if probe.is_some() {
        clock::sleep(LOOK * 5);
    }
    run
}

/// The probe alone, or beside a flood into a sink, for `--control`. False when the run must end.
fn control(
    args: &FloodArgs,
    phase: Phase,
    (probe, run): (&mut Option<ProbeWatch<'_>>, &mut FloodRun),
    stop: &Stop,
) -> bool {
    let Some(watch) = probe else {
        return true;
    };
    let started = Instant::now();
    let mut next = LINE;
    while started.elapsed() < args.control {
        if stop.is_asked() {
            run.ended_by = EndedBy::Signal;
            return false;
        }
        if started.elapsed() >= next {
            next += LINE;
            if watch.look(phase).is_none() {
                run.ended_by = EndedBy::Worker;
                run.faults.push(rig::silent("the probe"));
                return false;
            }
        }
        clock::sleep(LOOK);
    }
    true
}

/// The flood, and the wait for its verdicts.
fn flood(
    args: &FloodArgs,
    lines: &[WorkerLine],
    (run, probe): (&mut FloodRun, &mut Option<ProbeWatch<'_>>),
    (controls, plan, link, stop): (&Controls<'_>, &FloodPlan, &mut LinkWatch<'_>, &Stop),
) {
    let started = Instant::now();
    run.ended_by = EndedBy::Worker;
    let Some(first) = ask(lines, run) else {
        return;
    };
    if let Some(watch) = probe {
        watch.begin();
    }
    let mut last = first;
    while let Some(ended_by) = wait(args, started, run, (lines, stop)) {
        let Some(now) = ask(lines, run) else {
            return;
        };
        last = line(run, (now, last), (started, plan));
        let ended_by = ended_by.or_else(|| probe_ends(args, run, probe));
        if let Some(ended_by) = ended_by {
            run.ended_by = ended_by;
            break;
        }
        link.look();
    }
    if run.ended_by == EndedBy::Worker {
        return;
    }
    controls.phases.enter(if run.ended_by == EndedBy::Signal {
        Phase::Quiet
    } else {
        Phase::Settle
    });
    run.seconds = plan.clock.seconds(first.at_ticks, last.at_ticks);
    run.sending = last.since(&first);
    settle(plan, lines, (run, last), (started, stop));
}

/// Looks at the probe, once a second: why the flood must end for it.
fn probe_ends(
    args: &FloodArgs,
    run: &mut FloodRun,
    probe: &mut Option<ProbeWatch<'_>>,
) -> Option<EndedBy> {
    let watch = probe.as_mut()?;
    if watch.look(Phase::Flood).is_none() {
        run.faults.push(rig::silent("the probe"));
        return Some(EndedBy::Worker);
    }
    (!args.expect_outage && watch.failing_for() >= args.stop_after).then(|| {
        console::log(format_args!(
            "no probe was verified for {:?}: the flood ends (change this with --stop-after or --expect-outage)",
            args.stop_after
        ));
        run.faults.push(format!(
            "no probe was verified for {:?}: the flood ended",
            args.stop_after
        ));
        EndedBy::Probe
    })
}

/// Waits for the next line, or the end of sending: what ended it. The outer `None`: a worker did not answer.
fn wait(
    args: &FloodArgs,
    started: Instant,
    run: &FloodRun,
    (lines, stop): (&[WorkerLine], &Stop),
) -> Option<Option<EndedBy>> {
    let next = LINE * (run.intervals.len() as u32 + 1);
    loop {
        if stop.is_asked() {
            return Some(Some(EndedBy::Signal));
        }
        if let Some(count) = args.count
            && total(lines)?.sent >= count
        {
            return Some(Some(EndedBy::Count));
        }
        let elapsed = started.elapsed();
        if elapsed >= args.duration {
            return Some(Some(EndedBy::Duration));
        }
        if elapsed >= next {
            return Some(None);
        }
        let left = next.min(args.duration).saturating_sub(elapsed);
        // A count is looked at often, or too many frames would leave.
        let look = if args.count.is_some() {
            LOOK / 20
        } else {
            LOOK
        };
        clock::sleep(left.min(look));
    }
}

/// Until the verdict on every tuple is known, or replies would have come. A signal ends it, too.
fn settle(
    plan: &FloodPlan,
    lines: &[WorkerLine],
    (run, mut last): (&mut FloodRun, Tally),
    (started, stop): (Instant, &Stop),
) {
    let horizon = Duration::from_micros(plan.horizon_us().into());
    let is_interrupted = run.ended_by == EndedBy::Signal;
    let patience = if is_interrupted {
        horizon.min(DRAIN_MAX)
    } else {
        horizon + SETTLE_SLACK
    };
    let since = Instant::now();
    let mut next_line = LINE;
    loop {
        let Some(now) = ask(lines, run) else {
            return;
        };
        let is_over = since.elapsed() >= patience || (!is_interrupted && stop.is_asked());
        if now.is_settled || is_over {
            if stop.is_asked() {
                run.ended_by = EndedBy::Signal;
            }
            return;
        }
        if since.elapsed() >= next_line {
            next_line += LINE;
            last = line(run, (now, last), (started, plan));
        }
        clock::sleep(LOOK);
    }
}

/// All workers together; what is missing is a fault.
fn ask(lines: &[WorkerLine], run: &mut FloodRun) -> Option<Tally> {
    let total = total(lines);
    if total.is_none() {
        run.ended_by = EndedBy::Worker;
        run.faults.push(rig::silent("a worker"));
    }
    total
}

fn total(lines: &[WorkerLine]) -> Option<Tally> {
    let mut total: Option<Tally> = None;
    for line in lines {
        let tally = line.mailbox.ask()?;
        total = Some(total.map_or(tally, |total| total.and(&tally)));
    }
    total
}

/// Prints and keeps what happened since `last`; returns `now`.
fn line(
    run: &mut FloodRun,
    (now, last): (Tally, Tally),
    (started, plan): (Instant, &FloodPlan),
) -> Tally {
    let moved = now.since(&last);
    let seconds = plan.clock.seconds(last.at_ticks, now.at_ticks).max(1e-9);
    let rate = |count: u64| (count as f64 / seconds).round();
    let interval = Interval {
        end_s: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        sent_pps: rate(moved.sent),
        resent_pps: rate(moved.resent),
        answered_pps: rate(moved.answered),
        silent_pps: rate(moved.silent),
    };
    console::log(format_args!(
        "{:6.1} s  sent {:>9.0}/s  answered {:>9.0}/s  silent {:>9.0}/s  busy {:>3.0} %{}",
        interval.end_s,
        interval.sent_pps,
        interval.answered_pps,
        interval.silent_pps,
        moved.busy_share() * 100.0,
        if moved.damaged > 0 {
            format!("  DAMAGED {}", moved.damaged)
        } else {
            String::new()
        }
    ));
    run.faults.extend(run.ndjson.write(&interval));
    run.intervals.push(interval);
    now
}
