//! [`Progress`]: what a worker of `serve` answers when it is asked, and its thread's part in a run.
//!
//! It must never lock, allocate or call the system while frames come; asked, it copies its counters once.

use dpdk::{DpdkNic, FaultTotals};
use stack::counters::Counters;
use stack::tcp::env::TcpCounters;
use stack::worker::{Cycles, Steered, Worker};
use syncline::ending::DrainState;
use syncline::turning::turn_until_stopped;

use super::services::{Services, SiteStats};
use crate::clock::Clock;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::rig::idle::BackOff;

/// The progress of a worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The counters.
    pub(super) counters: Counters,
    /// The counters of TCP.
    pub(super) tcp: TcpCounters,
    /// The counts of each place of `--listen`.
    pub(super) sites: Vec<SiteStats>,
    /// Segments of handshakes that each place refused for want of room.
    pub(super) refused: Vec<u64>,
    /// Where its time went.
    pub(super) cycles: Cycles,
    /// Where the NIC delivered new flows.
    pub(super) steered: Steered,
    /// Whether the NIC's hash decides who owns a flow.
    pub(super) follows_the_nic: bool,
    /// The last order that it was given.
    pub(super) order: Order,
    /// Its last turn had something to do.
    pub(super) moved: bool,
    /// The counts of `--fault`; known at the end.
    pub(super) faults: Option<FaultTotals>,
    /// Frames that the driver took; known at the end.
    pub(super) frames_taken: Option<u64>,
}

impl Progress {
    fn of(worker: &Worker<DpdkNic, Services>, order: Order, moved: bool) -> Self {
        let (steered, follows_the_nic) = worker.steered();
        Self {
            steered,
            follows_the_nic,
            counters: worker.counters().clone(),
            tcp: worker.tcp_counters().clone(),
            sites: worker.app().stats().collect(),
            refused: worker
                .app()
                .by_site(|listener| worker.refused_handshakes(listener)),
            cycles: *worker.cycles(),
            order,
            moved,
            faults: None,
            frames_taken: None,
        }
    }
}

impl DrainState for Progress {
    fn order(&self) -> Order {
        self.order
    }

    fn moved(&self) -> bool {
        self.moved
    }

    /// Connections that services have and that have not ended.
    fn open(&self) -> u64 {
        self.sites.iter().map(|site| site.open).sum()
    }
}

/// Turns the worker until Order::Stop. Gives its buffers back, and says what it has done.
pub(super) fn turn(
    worker: Worker<DpdkNic, Services>,
    back_off: BackOff,
    clock_and_orders: (Clock, &Orders),
    mailbox: &Mailbox<Progress>,
) -> Progress {
    let worker = turn_until_stopped(worker, back_off, clock_and_orders, mailbox, Progress::of);
    let mut progress = Progress::of(&worker, Order::Stop, false);
    let nic = worker.into_nic();
    progress.faults = nic.fault_totals();
    progress.frames_taken = Some(nic.frames_taken());
    progress
}
