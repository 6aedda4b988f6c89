//! The endpoint's thread: builds a worker, fills its table, and turns it until told to stop. And what it tells:
//! [`Ready`], [`Progress`], [`Stopped`], which also travel between the two processes of a memif run.
//!
//! Called by: `ring` (as a thread beside the generator), `child` (as the thread of its own process). It must never read
//! a clock or a lock per frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use dpdk::{DpdkNic, Mempool, QueuePair};
use serde::{Deserialize, Serialize};
use stack::memory::{PageOptions, process_memory};
use stack::worker::{Cycles, RingEnd, Secrets, Worker};

use super::args::Args;
use super::plan;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::{Mailbox, Order, Orders};

/// The endpoint is there and answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Its link-layer address.
    pub(super) mac: [u8; 6],
    /// Its DPDK memory, in one line.
    pub(super) memory_line: String,
    /// Connections in its table.
    pub(super) connections: u32,
    /// By how much the process grew while the table was made and filled, per connection; `None` without connections or
    /// where the system does not tell.
    pub(super) bytes_per_connection: Option<f64>,
    /// The room in its table, in words.
    pub(super) room: String,
}

/// Where cycles went: [`Cycles`] in a form that travels. All but the first three are in TSC ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    pub(super) frames: u64,
    pub(super) bursts: u64,
    pub(super) stage_frames: u64,
    pub(super) rx: u64,
    pub(super) own: u64,
    pub(super) tx: u64,
    pub(super) idle: u64,
    pub(super) classify: u64,
    pub(super) look_up: u64,
    pub(super) process: u64,
    pub(super) timers: u64,
}

/// What the endpoint has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) spent: Spent,
    /// All counters that aren't zero, by name.
    pub(super) counters: BTreeMap<String, u64>,
    /// Frames received minus frames that ended in a counter; 0, or a bug.
    pub(super) unaccounted: i64,
}

/// The endpoint's last word.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Stopped {
    pub(super) progress: Progress,
    /// Frames of its pools that did not come back.
    pub(super) mbufs_in_use: u32,
}

impl Spent {
    fn of(cycles: &Cycles) -> Self {
        Self {
            frames: cycles.frames,
            bursts: cycles.bursts,
            stage_frames: cycles.stages.frames,
            rx: cycles.rx,
            own: cycles.own,
            tx: cycles.tx,
            idle: cycles.idle,
            classify: cycles.stages.classify,
            look_up: cycles.stages.look_up,
            process: cycles.stages.process,
            timers: cycles.stages.timers,
        }
    }

    /// What happened since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            frames: self.frames - earlier.frames,
            bursts: self.bursts - earlier.bursts,
            stage_frames: self.stage_frames - earlier.stage_frames,
            rx: self.rx - earlier.rx,
            own: self.own - earlier.own,
            tx: self.tx - earlier.tx,
            idle: self.idle - earlier.idle,
            classify: self.classify - earlier.classify,
            look_up: self.look_up - earlier.look_up,
            process: self.process - earlier.process,
            timers: self.timers - earlier.timers,
        }
    }

    /// Mean frames of a burst.
    pub(super) fn mean_burst(&self) -> f64 {
        self.frames as f64 / self.bursts.max(1) as f64
    }

    /// Share of its cycles in turns that received something, 0 to 1.
    pub(super) fn busy_share(&self) -> f64 {
        let busy = self.rx + self.own + self.tx;
        busy as f64 / (busy + self.idle).max(1) as f64
    }
}

impl Progress {
    fn of<N: stack::nic::Nic>(worker: &Worker<N>) -> Self {
        let counters = worker.counters();
        Self {
            spent: Spent::of(worker.cycles()),
            counters: counters
                .non_zero()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            unaccounted: counters.unaccounted(),
        }
    }
}

/// An endpoint on its queue pair, its table filled.
pub(super) struct Endpoint {
    worker: Worker<DpdkNic>,
    pools: [Mempool; 2],
    clock: Clock,
}

impl Endpoint {
    /// Builds the worker and fills its table.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is not enough memory.
    pub(super) fn new(
        queues: QueuePair,
        args: &Args,
        memory_line: &str,
        clock: Clock,
    ) -> Result<(Self, Ready), Failure> {
        let config = Arc::new(plan::config(args).map_err(|error| Failure::Run(error.to_string()))?);
        let (mac, pools) = (queues.mac, [queues.control.clone(), queues.data.clone()]);
        let before = process_memory();
        let mut worker = Worker::new(
            DpdkNic::new(queues),
            Arc::clone(&config),
            &secrets()?,
            RingEnd::single(),
            PageOptions::default(),
        )
        .map_err(|error| Failure::Run(error.to_string()))?;
        let connections = args.connections;
        for (key, parked) in plan::connections(&config).take(connections as usize) {
            if !worker.preload(&key, &parked) {
                return Err(Failure::Run(format!(
                    "the table takes only {} of {connections} connections; lower --connections",
                    worker.table().total()
                )));
            }
        }
        let bytes_per_connection = match (before, process_memory()) {
            (Some(before), Some(after)) if connections > 0 => {
                let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
                Some(grown as f64 / f64::from(connections))
            }
            _ => None,
        };
        let ready = Ready {
            mac,
            memory_line: memory_line.to_owned(),
            connections,
            bytes_per_connection,
            room: plan::room(args),
        };
        Ok((
            Self {
                worker,
                pools,
                clock,
            },
            ready,
        ))
    }

    /// Turns the worker until told to stop, and gives back what must outlive it: its last progress, and the pools that
    /// are to be counted once everything is closed.
    pub(super) fn run(
        mut self,
        orders: &Orders,
        mailbox: &Mailbox<Progress>,
    ) -> (Progress, [Mempool; 2]) {
        let mut served = 0;
        while orders.current() != Order::Stop {
            let now = self.clock.at(dpdk::cycles());
            if self.worker.turn(now) == 0 {
                dpdk::pause();
            }
            mailbox.serve(&mut served, || Progress::of(&self.worker));
        }
        let progress = Progress::of(&self.worker);
        drop(self.worker.into_nic());
        (progress, self.pools)
    }
}

/// Fresh secrets, as every start of an endpoint draws them.
fn secrets() -> Result<Secrets, Failure> {
    let mut bytes = [0; 48];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Run(format!("the system has no randomness: {error}")))?;
    let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
    Ok(Secrets {
        flow: [word(0), word(8)],
        isn: core::array::from_fn(|i| bytes[16 + i]),
        cookie: core::array::from_fn(|i| bytes[32 + i]),
    })
}
