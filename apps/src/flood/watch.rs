//! The control thread while workers turn: a line a second, then the end.
//!
//! It must never touch a frame or wait for ever: a worker that does not answer is said, and its last answer counts.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::FloodArgs;
use super::worker::{WorkerEnd, WorkerLine};
use crate::clock;
use crate::console;
use crate::mailbox::{Order, Orders};
use crate::rig::link::LinkWatch;
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

/// What ended the sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndedBy {
    /// The time was over.
    Duration,
    /// As many frames as were asked for were sent.
    Count,
    /// A signal came.
    Signal,
    /// A worker did not answer.
    Worker,
}

/// What happened in one second. Field names are stable (docs/reference/flood-json.md).
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

/// What the control thread saw, and what the workers came to.
#[derive(Debug)]
pub(super) struct FloodRun {
    /// How long frames were sent.
    pub(super) seconds: f64,
    /// What was sent in that time, of all workers.
    pub(super) sending: Tally,
    /// Second by second.
    pub(super) intervals: Vec<Interval>,
    /// What ended the sending.
    pub(super) ended_by: EndedBy,
    /// The workers.
    pub(super) ends: Vec<WorkerEnd>,
    /// What went wrong.
    pub(super) faults: Vec<String>,
}

impl FloodRun {
    /// Frames that the driver took; `None` when a worker did not end well.
    pub(super) fn frames_taken(&self) -> Option<u64> {
        let is_whole = self.ended_by != EndedBy::Worker && !self.ends.is_empty();
        is_whole.then(|| self.ends.iter().map(|end| end.frames_taken).sum())
    }
}

/// Watches the workers until time or count are over or a signal comes, and then until the verdict on every tuple is known.
/// They still wait for the order to stop when this returns.
pub(super) fn until_the_end(
    args: &FloodArgs,
    lines: &[WorkerLine],
    orders: &Orders,
    (plan, link, stop): (&FloodPlan, &mut LinkWatch<'_>, &Stop),
) -> FloodRun {
    let started = Instant::now();
    let mut run = FloodRun {
        seconds: 0.0,
        sending: Tally::default(),
        intervals: Vec::new(),
        ended_by: EndedBy::Worker,
        ends: Vec::new(),
        faults: Vec::new(),
    };
    let Some(first) = ask(lines, &mut run) else {
        return run;
    };
    let mut last = first;
    while let Some(ended_by) = wait(args, started, &run, (lines, stop)) {
        let Some(now) = ask(lines, &mut run) else {
            return run;
        };
        if let Some(ended_by) = ended_by {
            run.ended_by = ended_by;
            last = line(&mut run, (now, last), (started, plan));
            break;
        }
        link.look();
        last = line(&mut run, (now, last), (started, plan));
    }
    if run.ended_by == EndedBy::Worker {
        return run;
    }
    orders.give(if run.ended_by == EndedBy::Signal {
        Order::Drain
    } else {
        Order::Finish
    });
    run.seconds = plan.clock.seconds(first.at_ticks, last.at_ticks);
    run.sending = last.since(&first);
    settle(plan, lines, (&mut run, last), (started, stop));
    run
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
        run.faults
            .push("a worker does not answer; is its CPU taken?".to_owned());
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
    run.intervals.push(interval);
    now
}
