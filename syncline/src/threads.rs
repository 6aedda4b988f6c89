//! Polling threads, from start to stop: one for each queue pair, registered with DPDK, ready together, joined on every way
//! out.
//!
//! It must never leave a thread polling, and never wait for ever for one that hangs.

use std::convert::Infallible;
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use dpdk::Eal;

use crate::Error;
use crate::clock;
use crate::mailbox::{Order, Orders};

/// How long a thread may take after Order::Stop: one turn, on a machine that gives it no CPU.
const END_MAX: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(2);

/// Announces that a thread has all that it needs; the run begins when all threads have.
#[derive(Debug)]
pub struct Ready(mpsc::Sender<()>);

impl Ready {
    /// This thread is ready.
    pub fn announce(self) {
        // The receiver waits for exactly this; and it hears of another thread's failure only when all senders are gone.
        let _ = self.0.send(());
    }
}

/// How the threads of a run ended.
#[derive(Debug)]
pub struct Polled<C, T, E> {
    /// The result of the control thread.
    pub control: C,
    /// The result of each thread, in order.
    pub threads: Vec<Result<T, E>>,
}

/// Runs each of `bodies` on a thread of its own, pinned to the CPU beside it, and `control` on this one once all are ready.
/// When `control` returns, the threads are stopped and joined. A thread that does not stop is given to `hangs`, which
/// must end the process: it can't be ended from outside.
///
/// # Errors
/// The first failure of a thread that did not become ready.
pub fn poll_all<B, T, C, E>(
    (eal, orders): (&Eal, &Orders),
    bodies: Vec<(Option<usize>, B)>,
    control: impl FnOnce() -> C,
    hangs: impl FnOnce(C) -> Infallible,
) -> Result<Polled<C, T, E>, E>
where
    B: FnOnce(Ready) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
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
                    let _lcore = eal.register_thread(cpu).map_err(Error::from)?;
                    body(ready)
                });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    orders.give(Order::Stop);
                    return Err(Error::Worker(format!(
                        "cannot start a thread for a worker: {error}"
                    ))
                    .into());
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

/// The first error of a thread; one of them has ended too early.
fn why_not_ready<T, E: From<Error>>(threads: Vec<ScopedJoinHandle<'_, Result<T, E>>>) -> E {
    let mut outcomes = threads.into_iter().map(join);
    let failure = outcomes.find_map(Result::err);
    outcomes.for_each(drop);
    failure.unwrap_or_else(|| Error::Worker("a worker ended before the run did".into()).into())
}

/// The result of a thread. A thread that panicked is a bug, and says so.
///
/// # Errors
/// The thread's own, or [`Error::Worker`] when it panicked.
pub fn join<T, E: From<Error>>(thread: ScopedJoinHandle<'_, Result<T, E>>) -> Result<T, E> {
    let panicked =
        |_| Error::Worker("a thread panicked; that is a bug, please report it".to_owned());
    thread.join().map_err(panicked)?
}
