//! The course of a run, the same for every link: warm-up, measurement with a line a second, drain.
//!
//! It must never touch a frame: it orders, asks and subtracts.

use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, QueuePair};

use super::args::BenchArgs;
use super::endpoint::{Progress, Ready, Spent};
use crate::clock::{self, Clock};
use crate::console;
use crate::failure::Failure;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::rig;
use crate::stop::Stop;
use crate::traffic::{Generator, Sending, StrictExchange, Tally};

/// How often the control thread looks whether it should stop.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// A line this often.
pub(super) const LINE: Duration = Duration::from_secs(1);
/// Replies that did not come for this long will not come.
pub(super) const SILENCE: Duration = Duration::from_millis(200);
/// The drain ends after this at the latest.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(3);

/// The control thread's line to the generator's thread.
#[derive(Debug)]
pub(super) struct GeneratorLine {
    pub(super) orders: Orders,
    pub(super) mailbox: Mailbox<Tally>,
}

impl GeneratorLine {
    /// A line to a generator that waits until it is to run.
    pub(super) const fn new() -> Self {
        Self {
            orders: Orders::new(Order::Drain),
            mailbox: Mailbox::new(),
        }
    }

    fn tally(&self) -> Result<Tally, Failure> {
        self.mailbox
            .ask()
            .ok_or_else(|| Failure::Run(rig::silent("the generator")))
    }
}

/// The side that knows what the endpoint has done so far.
pub(super) trait Watch {
    /// The endpoint's progress; `None` when the endpoint is not ours to ask.
    ///
    /// # Errors
    /// [`Failure::Run`] when it should answer and does not.
    fn progress(&mut self) -> Result<Option<Progress>, Failure>;
}

/// The near side of a link whose far side stands ready.
pub(super) struct NearSide<'a> {
    pub(super) eal: &'a Eal,
    pub(super) queues: QueuePair,
    /// The CPU of the thread that polls here.
    pub(super) cpu: usize,
    pub(super) clock: Clock,
    /// The endpoint; `None` when it is not ours.
    pub(super) endpoint: Option<&'a Ready>,
    pub(super) far: &'a mut dyn Watch,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub(super) struct StatelessRun {
    /// The counts while it was measured.
    pub(super) measured: Tally,
    /// How long that was.
    pub(super) seconds: f64,
    /// Where the endpoint's cycles went meanwhile; `None` when the endpoint is not ours to ask.
    pub(super) spent: Option<Spent>,
    /// Everything from the first SYN to the end of the drain.
    pub(super) whole: Tally,
    /// Ctrl-C ended it early.
    pub(super) interrupted: bool,
}

/// The generator's thread: turns until it is to stop. Returns the dumps of wrong replies.
pub(super) fn generate(
    mut generator: Generator<DpdkNic, StrictExchange>,
    line: &GeneratorLine,
) -> Vec<String> {
    let mut served = 0;
    let mut now_ticks = dpdk::cycles();
    loop {
        let order = line.orders.current();
        match order {
            Order::Stop => return generator.exchange().dumps().to_vec(),
            Order::Drain => generator.discard_unsent(),
            Order::Run | Order::Finish | Order::Abort => {}
        }
        let sending = if order == Order::Run {
            Sending::All
        } else {
            Sending::Answers
        };
        let moved;
        (now_ticks, moved) = generator.turn(sending, now_ticks);
        if !moved {
            core::hint::spin_loop();
        }
        line.mailbox.serve(&mut served, || generator.tally());
    }
}

/// Runs the course. The generator's thread stands ready and goes on draining when this returns.
///
/// # Errors
/// [`Failure::Run`] when one of the sides does not answer.
pub(super) fn conduct(
    args: &BenchArgs,
    line: &GeneratorLine,
    endpoint: &mut dyn Watch,
    clock: Clock,
    stop: &Stop,
) -> Result<StatelessRun, Failure> {
    line.orders.give(Order::Run);
    rest(Duration::from_millis(args.warmup_ms), stop);
    let (first, first_progress) = (line.tally()?, endpoint.progress()?);
    let (mut last, mut last_progress) = (first, first_progress.clone());
    let started = Instant::now();
    while started.elapsed() < args.duration && !stop.is_asked() {
        rest(
            args.duration.saturating_sub(started.elapsed()).min(LINE),
            stop,
        );
        let (tally, progress) = (line.tally()?, endpoint.progress()?);
        let spent = progress.as_ref().zip(last_progress.as_ref());
        let spent = spent.map(|(now, before)| now.spent.since(&before.spent));
        let seconds = clock.seconds(last.at_ticks, tally.at_ticks);
        print_line(
            started.elapsed(),
            &tally.since(&last),
            seconds,
            spent.as_ref(),
        );
        (last, last_progress) = (tally, progress);
    }
    let interrupted = stop.is_asked();
    let spent = last_progress.as_ref().zip(first_progress.as_ref());
    let whole = drain(line, last)?;
    Ok(StatelessRun {
        measured: last.since(&first),
        seconds: clock.seconds(first.at_ticks, last.at_ticks),
        spent: spent.map(|(now, before)| now.spent.since(&before.spent)),
        whole,
        interrupted,
    })
}

/// Sleeps, but not through a Ctrl-C.
pub(super) fn rest(time: Duration, stop: &Stop) {
    let started = Instant::now();
    while let Some(left) = time.checked_sub(started.elapsed())
        && !left.is_zero()
        && !stop.is_asked()
    {
        clock::sleep(left.min(LOOK));
    }
}

/// Ends sending and waits for the replies that are on their way.
fn drain(line: &GeneratorLine, mut last: Tally) -> Result<Tally, Failure> {
    line.orders.give(Order::Drain);
    let started = Instant::now();
    let mut moved_at = started;
    loop {
        clock::sleep(LOOK);
        let tally = line.tally()?;
        if tally.rx_frames != last.rx_frames || tally.answers_sent != last.answers_sent {
            moved_at = Instant::now();
        }
        last = tally;
        let silent = moved_at.elapsed() >= SILENCE;
        // Even with every reply there: the last resets are still on their way to the endpoint.
        if silent || started.elapsed() >= DRAIN_MAX {
            return Ok(last);
        }
    }
}

/// The line of one second, on stderr.
fn print_line(at: Duration, tally: &Tally, seconds: f64, spent: Option<&Spent>) {
    let per_second = |count: u64| count as f64 / seconds.max(1e-9) / 1e6;
    let wrong = tally.wrong_total();
    let loud = if wrong > 0 { "  <-- WRONG REPLIES" } else { "" };
    let endpoint = spent.map_or_else(String::new, |spent| {
        format!(
            "  endpoint: mean burst {:.1}, {:.1} cycles a packet, busy {:.0} %",
            spent.mean_burst(),
            spent.own as f64 / spent.frames.max(1) as f64,
            spent.busy_share() * 100.0
        )
    });
    console::log(format_args!(
        "{:5.1} s  {:7.3} Mpps verified  {:7.3} Mpps sent  wrong {wrong}{endpoint}{loud}",
        at.as_secs_f64(),
        per_second(tally.verified),
        per_second(tally.sent),
    ));
}
