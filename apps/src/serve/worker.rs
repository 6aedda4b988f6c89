//! The thread of one worker: turns until told to drain, drains until told to stop, tells what it counted when asked.
//!
//! Called by: `run`. It must never lock, allocate or call the system while frames come; asked, it copies its counters once.

use dpdk::{DpdkNic, FaultTotals};
use stack::counters::Counters;
use stack::worker::{Cycles, Worker};

use super::idle::BackOff;
use crate::clock::Clock;
use crate::mailbox::{Mailbox, Order, Orders};

/// What a worker has done so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// What happened.
    pub(super) counters: Counters,
    /// Where its time went.
    pub(super) cycles: Cycles,
    /// It receives nothing more from the NIC.
    pub(super) drains: bool,
    /// Its last turn had something to do.
    pub(super) moved: bool,
    /// What `--fault` did; known at the end.
    pub(super) faults: Option<FaultTotals>,
}

impl Progress {
    fn of(worker: &Worker<DpdkNic>, order: Order, moved: bool) -> Self {
        Self {
            counters: worker.counters().clone(),
            cycles: *worker.cycles(),
            drains: order != Order::Run,
            moved,
            faults: None,
        }
    }
}

/// Turns the worker until told to stop. Gives its buffers back, and says what it has done.
pub(super) fn turn_until_told(
    mut worker: Worker<DpdkNic>,
    mut back_off: BackOff,
    clock: Clock,
    orders: &Orders,
    mailbox: &Mailbox<Progress>,
) -> Progress {
    let (mut served, mut moved) = (0, false);
    loop {
        let order = orders.current();
        let now = clock.at(dpdk::cycles());
        moved = match order {
            Order::Run => worker.turn(now) > 0,
            Order::Drain => worker.drain_turn(now),
            Order::Stop => break,
        };
        mailbox.serve(&mut served, || Progress::of(&worker, order, moved));
        back_off.rest(moved);
    }
    let mut progress = Progress::of(&worker, Order::Stop, moved);
    progress.faults = worker.into_nic().fault_totals();
    progress
}
