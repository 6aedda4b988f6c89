//! A worker that hangs, in a driver or in a bug of ours, takes nothing of the result with it.
//!
//! It must never wait for such a worker: a thread can't be ended from outside, only the process.

use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use super::report::Report;
use super::watched::Watched;
use crate::clock;
use crate::console;

/// How long a worker that was told to stop may take: one turn, on a machine that gives it no CPU.
const END_MAX: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(2);

impl Watched {
    /// Waits until all workers have ended. False, and a fault of the run, when one has not in time.
    pub(super) fn all_end<T>(&mut self, threads: &[ScopedJoinHandle<'_, T>]) -> bool {
        let started = Instant::now();
        while !threads.iter().all(ScopedJoinHandle::is_finished) {
            if started.elapsed() >= END_MAX {
                self.faults.push(
                    "a worker does not end: the port was not closed and buffers were not counted; the figures are what it \
                     told last"
                        .to_owned(),
                );
                return false;
            }
            clock::sleep(LOOK);
        }
        true
    }
}

/// Prints the result so far and ends the process, whatever its threads do.
pub(super) fn leave(report: &Report, json: bool) -> ! {
    let outcome = console::report(report, json).and_then(|()| report.gate());
    if let Err(failure) = outcome {
        console::failure(&failure);
    }
    // Without what libraries do at exit: a thread is still inside one.
    signal_hook::low_level::exit(1)
}
