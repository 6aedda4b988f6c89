//! The thread of one worker: turns until it is ordered to stop, and answers for its counts when asked.
//!
//! It must never lock, allocate or call the system while frames come.

use std::collections::BTreeMap;
use std::time::Duration;

use dpdk::{DpdkNic, Mbuf};
use stack::worker::Worker;

use super::door::{Attendant, SharedNic};
use super::phase::{Phase, Phases};
use super::probe::{Probe, ProbeProgress};
use super::probe_watch::ProbeLine;
use crate::clock::Clock;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::rig::idle::BackOff;
use crate::rig::vlan_nic::VlanNic;
use crate::traffic::{Generator, Matrix, ObservedExchange, Sending, Tally};

/// A queue pair of a flood, in its VLAN.
pub(super) type FloodNic = VlanNic<DpdkNic>;

/// One worker's part.
pub(super) type Flooder = Generator<SharedNic<FloodNic>, ObservedExchange<Attendant<Mbuf>>>;

/// The result of a worker.
#[derive(Debug)]
pub(super) struct WorkerEnd {
    /// Its counts.
    pub(super) tally: Tally,
    /// The outcomes of its frames, and the replies to others' frames that it received.
    pub(super) matrix: Matrix,
    /// Frames that the driver took.
    pub(super) frames_taken: u64,
}

/// How long the probe's last frames may take.
const DRAIN_MAX: Duration = Duration::from_millis(200);

/// The result of a probe.
#[derive(Debug)]
pub(super) struct ProbeEnd {
    /// Its counts.
    pub(super) progress: ProbeProgress,
    /// The counters of its stack that aren't zero.
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Frames that its stack lost track of.
    pub(super) unaccounted: i64,
    /// Frames that the driver took from it.
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

/// The result of a thread.
#[derive(Debug)]
pub(super) enum ThreadEnd {
    /// A worker of the flood.
    Flood(Box<WorkerEnd>),
    /// The probe.
    Probe(Box<ProbeEnd>),
}

/// A worker's thread: turns until it is ordered to stop.
pub(super) fn turn_until_stopped(
    mut flooder: Flooder,
    mut back_off: BackOff,
    (orders, phases): (&Orders, &Phases),
    line: &WorkerLine,
) -> WorkerEnd {
    let mut served = 0;
    let mut now_ticks = dpdk::cycles();
    let mut last = phases.current();
    while orders.current() != Order::Stop {
        let phase = phases.current();
        if phase != last {
            last = phase;
            // Made in one phase, not sent in another.
            flooder.discard_unsent();
        }
        let sending = match phase {
            Phase::Flood => Sending::All,
            Phase::Settle => Sending::Repeats,
            Phase::Sink => Sending::Sink,
            Phase::Baseline | Phase::Quiet => Sending::Answers,
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
        frames_taken: nic.into_inner().into_inner().frames_taken(),
    }
}

/// The probe's worker.
pub(super) type ProbeWorker = Worker<SharedNic<FloodNic>, Probe>;

/// The probe's thread: turns until it is ordered to stop; when all is quiet, it ends its connections.
pub(super) fn probe_until_stopped(
    mut worker: ProbeWorker,
    mut back_off: BackOff,
    (orders, phases, clock): (&Orders, &Phases, Clock),
    line: &ProbeLine,
) -> ProbeEnd {
    let mut served = 0;
    while orders.current() != Order::Stop {
        let now = clock.at(dpdk::cycles());
        let ends = phases.current() == Phase::Quiet && {
            worker.app_mut().stop();
            worker.abort(now)
        };
        let moved = worker.turn(now) > 0 || ends;
        line.mailbox.serve(&mut served, || worker.app().progress());
        back_off.rest(moved);
    }
    let drained = clock.at(dpdk::cycles()) + DRAIN_MAX;
    while clock.at(dpdk::cycles()) < drained && worker.drain_turn(clock.at(dpdk::cycles())) {}
    ProbeEnd {
        progress: worker.app().progress(),
        counters: worker.counters().non_zero().collect(),
        unaccounted: worker.counters().unaccounted(),
        frames_taken: worker.into_nic().into_inner().into_inner().frames_taken(),
    }
}
