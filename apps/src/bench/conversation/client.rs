//! The client's thread: a worker with a client app, turned until it is to stop; and the line on which it is ordered.
//!
//! It must never read a clock or a lock per frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dpdk::{DpdkNic, FaultTotals, QueuePair};
use stack::counters::Counter;
use stack::memory::PageOptions;
use stack::nic::fault::FaultSpec;
use stack::worker::{RingEnd, Worker};
use workload::{Latency, Side, Tally};

use super::super::args::BenchArgs;
use super::super::endpoint::{Progress, Spent};
use super::plan;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::Mailbox;
use crate::rig;
use crate::secrets;

/// The orders of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Open the connections that must be there before anything is measured, and nothing else.
    SetUp,
    /// As in the measurement, but nothing counts yet.
    WarmUp,
    /// Measure: times before it are forgotten.
    Measure,
    /// Start nothing new.
    Drain,
    /// Leave the loop.
    Stop,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::SetUp,
        Self::WarmUp,
        Self::Measure,
        Self::Drain,
        Self::Stop,
    ];
}

/// The progress of the client.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClientProgress {
    pub(super) tally: Tally,
    /// Operations under way.
    pub(super) under_way: u32,
    pub(super) spent: Spent,
    pub(super) tx_frames: u64,
    /// When it was asked, in ticks.
    pub(super) at_ticks: u64,
}

/// The control thread's line to the client's thread.
#[derive(Debug)]
pub(super) struct ClientLine {
    phase: AtomicU8,
    mailbox: Mailbox<ClientProgress>,
}

impl ClientLine {
    /// A line to a client that sets up.
    pub(super) const fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::SetUp as u8),
            mailbox: Mailbox::new(),
        }
    }

    /// From now on, this.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The progress of the client.
    ///
    /// # Errors
    /// [`Failure::Run`] when it does not answer.
    pub(super) fn seen(&self) -> Result<ClientProgress, Failure> {
        self.mailbox
            .ask()
            .ok_or_else(|| Failure::Run(rig::silent("the client")))
    }

    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed);
        Phase::ALL
            .into_iter()
            .find(|&known| known as u8 == phase)
            .unwrap_or(Phase::Stop)
    }
}

/// The results of the client.
pub(super) struct ClientTotals {
    /// Times of the measurement.
    pub(super) latency: Latency,
    /// Counters, for a run that went wrong.
    pub(super) progress: Progress,
    /// The counts of `--fault`.
    pub(super) faults: Option<FaultTotals>,
}

/// A client on its queue pair.
pub(super) struct Client {
    worker: Worker<DpdkNic, Side>,
    clock: Clock,
}

impl Client {
    /// Builds the worker, on a link with these faults.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is not enough memory or randomness.
    pub(super) fn new(
        args: &BenchArgs,
        queues: QueuePair,
        fault: Option<&FaultSpec>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let mut nic = DpdkNic::new(queues);
        nic.set_faults(fault, clock.hz());
        let cannot = |error: &dyn std::error::Error| Failure::Run(error.to_string());
        let config = plan::client_config(args).map_err(|error| cannot(&error))?;
        let worker = Worker::with_app(
            nic,
            plan::client_app(args, secrets::seed()?[0]),
            Arc::new(config),
            &secrets::fresh()?,
            RingEnd::single(),
            PageOptions::default(),
        )
        .map_err(|error| cannot(&error))?;
        Ok(Self { worker, clock })
    }

    /// Turns the worker until it is to stop.
    pub(super) fn run(mut self, line: &ClientLine) -> ClientTotals {
        let mut served = 0;
        let mut last = Phase::SetUp;
        while last != Phase::Stop {
            let phase = line.phase();
            if phase != last {
                self.enter(phase);
                last = phase;
            }
            let ticks = dpdk::cycles();
            if self.worker.turn(self.clock.at(ticks)) == 0 {
                dpdk::pause();
            }
            line.mailbox.serve(&mut served, || self.seen(ticks));
        }
        let latency = self.worker.app().latency().cloned().unwrap_or_default();
        let progress = Progress::of(&self.worker);
        ClientTotals {
            latency,
            progress,
            faults: self.worker.into_nic().fault_totals(),
        }
    }

    fn enter(&mut self, phase: Phase) {
        let app = self.worker.app_mut();
        app.set_running(matches!(phase, Phase::WarmUp | Phase::Measure));
        if phase == Phase::Measure {
            app.clear_latency();
        }
    }

    fn seen(&self, at_ticks: u64) -> ClientProgress {
        let (app, counters) = (self.worker.app(), self.worker.counters());
        ClientProgress {
            tally: *app.tally(),
            under_way: app.under_way(),
            spent: Spent::of(self.worker.cycles()),
            tx_frames: counters.get(Counter::TxFrames),
            at_ticks,
        }
    }
}
