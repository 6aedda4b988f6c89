//! The thread of one worker: turns until it is ordered to stop, and answers for its counts when asked.
//!
//! It must never lock, allocate or call the system while frames come.

use dpdk::DpdkNic;

use super::neighbors::LinkHost;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::rig::idle::BackOff;
use crate::traffic::{Generator, Matrix, ObservedExchange, Sending, Tally};

/// One worker's part.
pub(super) type Flooder = Generator<DpdkNic, ObservedExchange<LinkHost>>;

/// What a worker came to.
#[derive(Debug)]
pub(super) struct WorkerEnd {
    /// Its counts.
    pub(super) tally: Tally,
    /// What its frames met, and what it received of others' frames.
    pub(super) matrix: Matrix,
    /// Frames that the driver took.
    pub(super) frames_taken: u64,
}

/// The control thread's line to a worker.
#[derive(Debug)]
pub(super) struct WorkerLine {
    /// Where it answers.
    pub(super) mailbox: Mailbox<Tally>,
}

impl WorkerLine {
    pub(super) const fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
        }
    }
}

/// A worker's thread: turns until it is ordered to stop.
pub(super) fn turn_until_stopped(
    mut flooder: Flooder,
    mut back_off: BackOff,
    orders: &Orders,
    line: &WorkerLine,
) -> WorkerEnd {
    let mut served = 0;
    let mut now_ticks = dpdk::cycles();
    loop {
        let sending = match orders.current() {
            Order::Run => Sending::All,
            Order::Finish => Sending::Repeats,
            Order::Abort | Order::Drain => {
                flooder.discard_unsent();
                Sending::Answers
            }
            Order::Stop => break,
        };
        let moved;
        (now_ticks, moved) = flooder.turn(sending, now_ticks);
        line.mailbox.serve(&mut served, || flooder.tally());
        back_off.rest(moved);
        if !moved {
            let rested = dpdk::cycles();
            flooder.rested(rested.wrapping_sub(now_ticks));
            now_ticks = rested;
        }
    }
    flooder.discard_unsent();
    let tally = flooder.tally();
    let (nic, exchange) = flooder.into_parts();
    WorkerEnd {
        tally,
        matrix: exchange.into_matrix(),
        frames_taken: nic.frames_taken(),
    }
}
