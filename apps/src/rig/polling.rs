//! Polling threads, from start to stop: one for each queue pair, registered with DPDK, ready together, joined on every way
//! out.
//!
//! It must never leave a thread polling, and never wait for ever for one that hangs.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use dpdk::Eal;
use serde::Serialize;

use crate::clock;
use crate::console;
use crate::failure::Failure;
use crate::mailbox::{Order, Orders};
use crate::threads::join;

/// How long a thread that was told to stop may take: one turn, on a machine that gives it no CPU.
const END_MAX: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(2);

/// The fault of a run whose thread hangs.
pub(crate) const HANGS: &str = "a worker does not end: the port was not closed and buffers were not counted; the figures are \
                                what it told last";

/// What a thread calls once it has all that it needs; the run begins when all have.
#[derive(Debug)]
pub(crate) struct Ready(mpsc::Sender<()>);

impl Ready {
    /// This thread is ready.
    pub(crate) fn announce(self) {
        // The receiver waits for exactly this; and it hears of another thread's failure only when all senders are gone.
        let _ = self.0.send(());
    }
}

/// How the threads of a run ended.
#[derive(Debug)]
pub(crate) struct Polled<C, T> {
    /// What the control thread came to.
    pub(crate) control: C,
    /// What each thread came to, in order.
    pub(crate) threads: Vec<Result<T, Failure>>,
}

/// Runs each of `bodies` on a thread of its own, pinned to the CPU beside it, and `control` on this one once all are ready.
/// When `control` returns, the threads are stopped and joined. A thread that does not stop is given to `hangs`, which
/// must end the process: it can't be ended from outside.
///
/// # Errors
/// The first failure of a thread that did not become ready.
pub(crate) fn poll_all<B, T, C>(
    (eal, orders): (&Eal, &Orders),
    bodies: Vec<(Option<usize>, B)>,
    control: impl FnOnce() -> C,
    hangs: impl FnOnce(C) -> Infallible,
) -> Result<Polled<C, T>, Failure>
where
    B: FnOnce(Ready) -> Result<T, Failure> + Send,
    T: Send,
{
    let wanted = bodies.len();
    std::thread::scope(|scope| {
        let (ready_tx, ready_rx) = mpsc::channel();
        let mut threads = Vec::with_capacity(wanted);
        for (cpu, body) in bodies {
            let ready = Ready(ready_tx.clone());
            let spawned = std::thread::Builder::new()
                .name(format!("worker{}", threads.len()))
                .spawn_scoped(scope, move || {
                    let _lcore = eal.register_thread(cpu)?;
                    body(ready)
                });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    orders.give(Order::Stop);
                    return Err(Failure::Run(format!("no thread for a worker: {error}")));
                }
            }
        }
        drop(ready_tx);
        if ready_rx.iter().take(wanted).count() < wanted {
            orders.give(Order::Stop);
            return Err(why_not_ready(threads));
        }
        let outcome = control();
        orders.give(Order::Stop);
        if !all_end(&threads) {
            // The scope around them would wait for it for ever.
            match hangs(outcome) {}
        }
        Ok(Polled {
            control: outcome,
            threads: threads.into_iter().map(join).collect(),
        })
    })
}

/// Waits until all threads have ended. False when one has not in time.
fn all_end<T>(threads: &[ScopedJoinHandle<'_, T>]) -> bool {
    let started = Instant::now();
    while !threads.iter().all(ScopedJoinHandle::is_finished) {
        if started.elapsed() >= END_MAX {
            return false;
        }
        clock::sleep(LOOK);
    }
    true
}

/// The first error of a thread; one of them has ended before it was told to.
fn why_not_ready<T>(threads: Vec<ScopedJoinHandle<'_, Result<T, Failure>>>) -> Failure {
    let mut outcomes = threads.into_iter().map(join);
    let failure = outcomes.find_map(Result::err);
    outcomes.for_each(drop);
    failure.unwrap_or_else(|| Failure::Run("a worker ended before it was told to".into()))
}

/// Prints the result so far and ends the process, whatever its threads do.
pub(crate) fn leave(
    report: &(impl Display + Serialize),
    json: bool,
    gate: Result<(), Failure>,
) -> Infallible {
    if let Err(failure) = console::report(report, json).and(gate) {
        console::failure(&failure);
    }
    // Without what libraries do at exit: a thread is still inside one.
    signal_hook::low_level::exit(1)
}
