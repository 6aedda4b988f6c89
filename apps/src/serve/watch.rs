//! The control thread while workers turn: a line a second, then the end.
//!
//! It must never touch a frame or wait for ever: a worker that does not answer is reported, and its last answer counts.

use std::time::{Duration, Instant};

use stack::counters::{Class, Counter, Counters};
use stack::worker::Cycles;

use super::args::ServeArgs;
use super::ending;
use super::notes;
use super::run_outcome::{EndedBy, Ending, RunOutcome, WorkerLine};
use super::services::SiteStats;
use super::wall::WallClock;
use super::worker::Progress;
use crate::clock::{self, Clock};
use crate::console;
use crate::mailbox::Orders;
use crate::rig::RssReport;
use crate::rig::link::LinkWatch;
use crate::stop::Stop;

/// How often the control thread looks whether it should stop.
const LOOK: Duration = Duration::from_millis(20);
/// A line this often.
const LINE: Duration = Duration::from_secs(1);

/// Events that mean that something could not be done as it should.
const TROUBLE: &[Counter] = &[
    Counter::HandoffFull,
    Counter::ChainedNoBuffer,
    Counter::ChainedTooLong,
    Counter::CookieNoRecord,
    Counter::EmbryoAckNoRecord,
    Counter::SynDroppedFull,
    Counter::SynDroppedNoRecord,
    Counter::TxRefused,
    Counter::TxRepliesDropped,
    Counter::TxNoRoute,
    Counter::TxNeighborDropped,
    Counter::TxNoBuffer,
    Counter::TxNoRoom,
];

/// Before the first second.
const NOTHING: SiteStats = SiteStats::new();

/// Watches the workers until a signal or the end of `--duration`, and then until they are drained. They still wait for
/// the order to stop when this returns.
pub(super) fn until_the_end(
    args: &ServeArgs,
    lines: &[WorkerLine],
    orders: &Orders,
    (clock, wall): (Clock, &WallClock),
    (link, stop): (&mut LinkWatch<'_>, &Stop),
) -> RunOutcome {
    let started = Instant::now();
    let mut watched = RunOutcome {
        duration: Duration::ZERO,
        ended_by: EndedBy::Signal,
        workers: lines.iter().map(|_| Progress::default()).collect(),
        ending: Ending::default(),
        faults: Vec::new(),
    };
    let mut last = Moment::of(&watched.workers);
    let (mut said, mut rss_verdict): (Vec<String>, _) = (Vec::new(), None);
    let outcome = loop {
        rest(started, args.duration, stop);
        if stop.is_asked() {
            break Ok(EndedBy::Signal);
        }
        if let Err(worker) = watched.ask(lines) {
            break Err(worker);
        }
        wall.set(clock.at(dpdk::cycles()));
        link.look();
        let now = Moment::of(&watched.workers);
        console::log(now.line(&last, started.elapsed(), clock));
        let notes = notes::of(&now.counters);
        for note in notes {
            if !said.contains(&note) {
                console::log(format_args!("note: {note}"));
                said.push(note);
            }
        }
        if rss_verdict.is_none() {
            rss_verdict = rss(&watched.workers).and_then(|rss| rss.verdict_line());
            if let Some(line) = &rss_verdict {
                console::log(line);
            }
        }
        last = now;
        if args
            .duration
            .is_some_and(|duration| started.elapsed() >= duration)
        {
            break Ok(EndedBy::Duration);
        }
    };
    let patience = args.drain_timeout;
    let ended = outcome.and_then(|ended_by| {
        watched.ended_by = ended_by;
        ending::run(&mut watched, lines, orders, patience, stop)
    });
    if let Err(worker) = ended {
        watched.silent(worker);
    }
    watched.duration = started.elapsed();
    watched
}

/// Sleeps until the next line is due, but not through a signal or past the end of the run.
fn rest(started: Instant, duration: Option<Duration>, stop: &Stop) {
    let elapsed = started.elapsed();
    let lines = (elapsed.as_millis() / LINE.as_millis()) as u32 + 1;
    let next = LINE * lines;
    let until = duration.map_or(next, |duration| next.min(duration));
    while let Some(left) = until.checked_sub(started.elapsed())
        && !left.is_zero()
        && !stop.is_asked()
    {
        clock::sleep(left.min(LOOK));
    }
}

/// All workers together at one time.
struct Moment {
    at_ticks: u64,
    counters: Counters,
    cycles: Vec<Cycles>,
    /// All places of `--listen` together; `None` when there is none.
    sites: Option<SiteStats>,
}

impl Moment {
    fn of(workers: &[Progress]) -> Self {
        Self {
            at_ticks: dpdk::cycles(),
            counters: total(workers),
            cycles: workers.iter().map(|worker| worker.cycles).collect(),
            sites: workers
                .iter()
                .flat_map(|worker| &worker.sites)
                .copied()
                .reduce(|mut sum, site| {
                    sum.merge(&site);
                    sum
                }),
        }
    }

    /// The counts of services since `last`.
    fn services(&self, last: &Self, seconds: f64) -> String {
        let (Some(now), Some(before)) = (&self.sites, last.sites.as_ref().or(Some(&NOTHING)))
        else {
            return String::new();
        };
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round();
        let mut text = format!(
            "  open {}  new {:.0}/s  in {:.1} MB/s  out {:.1} MB/s",
            now.open,
            rate(now.accepted, before.accepted),
            rate(now.bytes_in, before.bytes_in) / 1e6,
            rate(now.bytes_out, before.bytes_out) / 1e6,
        );
        if now.requests > before.requests {
            text += &format!("  requests {:.0}/s", rate(now.requests, before.requests));
        }
        text
    }

    /// The events since `last`, as one line: rates, busy share, every end of frames that moved, trouble at the end.
    fn line(&self, last: &Self, at: Duration, clock: Clock) -> String {
        let seconds = clock.seconds(last.at_ticks, self.at_ticks).max(1e-9);
        let since = |counter| {
            self.counters
                .get(counter)
                .wrapping_sub(last.counters.get(counter))
        };
        let rate = |counter| (since(counter) as f64 / seconds).round();
        let spent = self
            .cycles
            .iter()
            .zip(&last.cycles)
            .map(|(now, before)| now.since(before));
        let busy: u64 = spent.map(|spent| spent.rx + spent.own + spent.tx).sum();
        let ticks = self.at_ticks.wrapping_sub(last.at_ticks).max(1);
        let mut line = format!(
            "{:6.1} s  rx {:.0}/s  tx {:.0}/s  busy {:.1} %",
            at.as_secs_f64(),
            rate(Counter::RxFrames),
            rate(Counter::TxFrames),
            busy as f64 * 100.0 / ticks as f64 / self.cycles.len().max(1) as f64,
        );
        line += &self.services(last, seconds);
        let mut trouble = String::new();
        for (name, value) in self.counters.non_zero() {
            let known = Counter::ALL.iter().find(|counter| counter.name() == name);
            let before = match known {
                Some(&counter) => last.counters.get(counter),
                None => value_of(&last.counters, name),
            };
            let moved = value.wrapping_sub(before);
            let is_trouble = known.is_none_or(|counter| TROUBLE.contains(counter));
            let is_end = known.is_some_and(|counter| counter.class() == Class::End);
            if moved > 0 && is_trouble {
                trouble += &format!("  !! {name} {moved}");
            } else if moved > 0 && is_end {
                line += &format!("  {name} {moved}");
            }
        }
        line + &trouble
    }
}

fn value_of(counters: &Counters, name: &str) -> u64 {
    counters
        .non_zero()
        .find_map(|(other, value)| (other == name).then_some(value))
        .unwrap_or(0)
}

/// How the NIC steers new flows; `None` with one worker.
pub(super) fn rss(workers: &[Progress]) -> Option<RssReport> {
    let total = total(workers);
    let frames = (total.get(Counter::HandedOff), total.get(Counter::RxFrames));
    let steered = workers.iter().map(|worker| worker.steered);
    let follows_the_nic = workers.iter().any(|worker| worker.follows_the_nic);
    (workers.len() > 1).then(|| RssReport::new(steered, follows_the_nic, frames))
}

/// The counters of all workers, added.
pub(super) fn total(workers: &[Progress]) -> Counters {
    let mut total = Counters::new();
    for worker in workers {
        total.merge(&worker.counters);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn progress(counts: &[(Counter, u64)]) -> Progress {
        let mut progress = Progress::default();
        for &(counter, n) in counts {
            progress.counters.add(counter, n);
        }
        progress
    }

    #[test]
    fn the_line_has_what_moved_and_trouble_stands_out() {
        let clock = Clock::start(1_000_000);
        let moment = |at_ticks, counts: &[(Counter, u64)]| Moment {
            at_ticks,
            ..Moment::of(&[progress(counts)])
        };
        let before = moment(0, &[(Counter::RxFrames, 5), (Counter::EchoAnswered, 5)]);
        let mut now = moment(
            2_000_000,
            &[
                (Counter::RxFrames, 25),
                (Counter::EchoAnswered, 5),
                (Counter::RstSent, 18),
                (Counter::HandoffFull, 1),
            ],
        );
        now.counters.defect(stack::wire::Defect::ALL[0]);
        let line = now.line(&before, Duration::from_secs(2), clock);
        let defect = stack::wire::Defect::ALL[0].name();
        assert_eq!(
            line,
            format!(
                "   2.0 s  rx 10/s  tx 0/s  busy 0.0 %  rst_sent 18  !! handoff_full 1  !! {defect} 1"
            )
        );
    }

    #[test]
    fn a_worker_that_fails_keeps_what_it_told_last() {
        let mut watched = RunOutcome {
            duration: Duration::ZERO,
            ended_by: EndedBy::Signal,
            workers: vec![progress(&[(Counter::RxFrames, 3)]), Progress::default()],
            ending: Ending::default(),
            faults: Vec::new(),
        };
        watched.take(0, Err(Failure::Run("broke".into())));
        watched.take(1, Ok(progress(&[(Counter::RxFrames, 4)])));
        assert_eq!(total(&watched.workers).get(Counter::RxFrames), 7);
        assert_eq!(watched.faults, ["worker 0: broke"]);
    }
}
