//! The end of a run, as `serve` says and reports it.
//!
//! It must never wait for ever: each step has its time.

use diagnose::counted;
use std::time::Duration;

use super::run_outcome::{Ending, RunOutcome, WorkerLine};
use crate::console;
use crate::mailbox::Orders;
use crate::stop::Stop;

/// Goes through all steps. `Err` names a worker that does not answer.
pub(super) fn run(
    watched: &mut RunOutcome,
    lines: &[WorkerLine],
    orders: &Orders,
    patience: Duration,
    stop: &Stop,
) -> Result<(), usize> {
    let announce = |open| {
        console::log(format_args!(
            "ending: {} open; those at work have {:.0} s (ask again to reset them)",
            counted(open, "connection"),
            patience.as_secs_f64()
        ));
    };
    let told = (watched.workers.as_mut_slice(), lines);
    let (ended, outcome) = syncline::ending::end(told, orders, patience, stop, announce);
    watched.ending = Ending {
        open: ended.open,
        reset: ended.reset,
        duration_s: (ended.duration.as_secs_f64() * 1000.0).round() / 1000.0,
    };
    outcome?;
    if !ended.drained {
        watched.faults.push(
            "the NIC did not take all replies before the end; those that it left were given up"
                .to_owned(),
        );
    }
    Ok(())
}
