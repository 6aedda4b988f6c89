//! The end of a run, step by step: services finish what they are at, what takes too long is reset, the workers empty what
//! they hold.
//!
//! It must never wait for ever: each step has its time, and a user who asks again goes on to the next.

use std::time::{Duration, Instant};

use super::watched::{Line, Watched};
use crate::clock;
use crate::console;
use crate::mailbox::{Order, Orders};
use crate::stop::Stop;

/// How often the control thread looks.
const LOOK: Duration = Duration::from_millis(5);
/// Resets leave within this time, or not at all.
const ABORT_MAX: Duration = Duration::from_secs(1);
/// The workers are empty after this at the latest.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Goes through all steps. `Err` names a worker that does not answer.
pub(super) fn run(
    watched: &mut Watched,
    lines: &[Line],
    orders: &Orders,
    patience: Duration,
    stop: &Stop,
) -> Result<(), usize> {
    let started = Instant::now();
    let ended = finish(watched, lines, orders, patience, stop);
    watched.ending.duration_s = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    orders.give(Order::Drain);
    ended?;
    if !drain(watched, lines)? {
        watched.faults.push(
            "the NIC did not take all replies before the end; those that it left were given up"
                .to_owned(),
        );
    }
    Ok(())
}

/// Services finish, and what does not finish is reset.
fn finish(
    watched: &mut Watched,
    lines: &[Line],
    orders: &Orders,
    patience: Duration,
    stop: &Stop,
) -> Result<(), usize> {
    watched.ask(lines)?;
    watched.ending.open = watched.open();
    if watched.ending.open > 0 {
        console::log(format_args!(
            "ending: {} connections are open; those at work have {:.0} s (ask again to reset them)",
            watched.ending.open,
            patience.as_secs_f64()
        ));
    }
    stop.heed();
    orders.give(Order::Finish);
    if until_closed(watched, lines, Order::Finish, patience, || {
        stop.is_asked_again()
    })? {
        return Ok(());
    }
    watched.ending.reset = watched.open();
    orders.give(Order::Abort);
    until_closed(watched, lines, Order::Abort, ABORT_MAX, || false).map(drop)
}

/// Waits until every worker has heard `order` and no connection is open. False when time was up, or `enough` says so.
fn until_closed(
    watched: &mut Watched,
    lines: &[Line],
    order: Order,
    patience: Duration,
    enough: impl Fn() -> bool,
) -> Result<bool, usize> {
    let started = Instant::now();
    while started.elapsed() < patience && !enough() {
        watched.ask(lines)?;
        let heard = watched.workers.iter().all(|worker| worker.order == order);
        if heard && watched.open() == 0 {
            return Ok(true);
        }
        clock::sleep(LOOK);
    }
    Ok(false)
}

/// Waits until every worker has stopped receiving, and then until none has anything to do. False when time was up.
fn drain(watched: &mut Watched, lines: &[Line]) -> Result<bool, usize> {
    let started = Instant::now();
    // Whoever still receives hands over: the first round that finds all draining only says that nothing more comes.
    let mut all_drain = false;
    while started.elapsed() < DRAIN_MAX {
        watched.ask(lines)?;
        if all_drain && watched.workers.iter().all(|worker| !worker.moved) {
            return Ok(true);
        }
        let mut workers = watched.workers.iter();
        all_drain = workers.all(|worker| worker.order == Order::Drain);
    }
    Ok(false)
}
