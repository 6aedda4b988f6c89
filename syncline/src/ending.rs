//! [`end`]: the end of a run, step by step: apps finish what they are at, what takes
//! too long is reset, the workers empty what they hold.
//!
//! It must never wait for ever: each step has its time, and a user who asks again goes on to the next.

use std::time::{Duration, Instant};

use crate::clock;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::stop::Stop;

/// How often the control thread looks.
const LOOK: Duration = Duration::from_millis(5);
/// Resets leave within this time, or not at all.
const ABORT_MAX: Duration = Duration::from_secs(1);
/// The workers are empty after this at the latest.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// The progress of a worker, as far as the end of a run needs it.
pub trait DrainState {
    /// The order that it was given last.
    fn order(&self) -> Order;
    /// Whether its last turn had something to do.
    fn moved(&self) -> bool;
    /// Connections that have not ended.
    fn open(&self) -> u64;
}

/// How connections ended that were open when the run was to end.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// Connections that were open then.
    pub open: u64,
    /// Of those, the ones that were reset because they took too long, or because the user asked again.
    pub reset: u64,
    /// How long finishing and resetting took.
    pub duration: Duration,
    /// Whether the NIC took everything that waited to be sent.
    pub drained: bool,
}

/// Asks all workers. `Err` names the first that does not answer: what it states before stays.
///
/// # Errors
/// The number of a worker that does not answer.
pub fn ask<P>(states: &mut [P], lines: &[Mailbox<P>]) -> Result<(), usize> {
    for (worker, (line, place)) in lines.iter().zip(states).enumerate() {
        *place = line.ask().ok_or(worker)?;
    }
    Ok(())
}

/// Ends the run: `patience` for what is at work, then resets, then an empty NIC. `announce` hears how many connections are open.
/// The workers still wait for [`Order::Stop`] when this returns.
///
/// # Errors
/// The number of a worker that does not answer, with how far the end came.
pub fn end<P: DrainState>(
    (states, lines): (&mut [P], &[Mailbox<P>]),
    orders: &Orders,
    patience: Duration,
    stop: &Stop,
    announce: impl FnOnce(u64),
) -> (Ended, Result<(), usize>) {
    let started = Instant::now();
    let mut ended = Ended::default();
    let finished = finish(
        (states, lines),
        orders,
        patience,
        stop,
        (&mut ended, announce),
    );
    ended.duration = started.elapsed();
    orders.give(Order::Drain);
    let drained = finished.and_then(|()| drain(states, lines));
    ended.drained = drained.unwrap_or(false);
    (ended, drained.map(drop))
}

/// Apps finish, and what does not finish is reset.
fn finish<P: DrainState>(
    (states, lines): (&mut [P], &[Mailbox<P>]),
    orders: &Orders,
    patience: Duration,
    stop: &Stop,
    (ended, announce): (&mut Ended, impl FnOnce(u64)),
) -> Result<(), usize> {
    ask(states, lines)?;
    ended.open = open(states);
    if ended.open > 0 {
        announce(ended.open);
    }
    stop.heed();
    orders.give(Order::Finish);
    if until_closed((states, lines), Order::Finish, patience, || {
        stop.is_asked_again()
    })? {
        return Ok(());
    }
    ended.reset = open(states);
    orders.give(Order::Abort);
    until_closed((states, lines), Order::Abort, ABORT_MAX, || false).map(drop)
}

fn open<P: DrainState>(states: &[P]) -> u64 {
    states.iter().map(DrainState::open).sum()
}

/// Waits until every worker has heard `order` and no connection is open. False when time was up, or `enough` says so.
fn until_closed<P: DrainState>(
    (states, lines): (&mut [P], &[Mailbox<P>]),
    order: Order,
    patience: Duration,
    enough: impl Fn() -> bool,
) -> Result<bool, usize> {
    let started = Instant::now();
    while started.elapsed() < patience && !enough() {
        ask(states, lines)?;
        if states.iter().all(|worker| worker.order() == order) && open(states) == 0 {
            return Ok(true);
        }
        clock::sleep(LOOK);
    }
    Ok(false)
}

/// Waits until every worker has stopped receiving, and then until none has anything to do. False when time was up.
fn drain<P: DrainState>(states: &mut [P], lines: &[Mailbox<P>]) -> Result<bool, usize> {
    let started = Instant::now();
    // A worker that still receives hands over: the first round that finds all draining only says that nothing more comes.
    let mut all_drain = false;
    while started.elapsed() < DRAIN_MAX {
        ask(states, lines)?;
        if all_drain && states.iter().all(|worker| !worker.moved()) {
            return Ok(true);
        }
        all_drain = states.iter().all(|worker| worker.order() == Order::Drain);
    }
    Ok(false)
}
