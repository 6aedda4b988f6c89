//! The endpoint's thread: builds a worker, fills its table, and turns it until it is to stop. And what it reports:
//! [`Ready`], [`Progress`], [`EndpointTotals`], which also travel between the two processes of a memif run.
//!
//! It must never read a clock or a lock per frame.

use diagnose::counted;
use std::collections::BTreeMap;
use std::sync::Arc;

use dpdk::{DpdkNic, Mempool, QueuePair};
use serde::{Deserialize, Serialize};
use stack::app::{App, NoApp};
use stack::config::{Config, ConfigError};
use stack::counters::Counter;
use stack::memory::PageOptions;
use stack::worker::{Cycles, RingEnd, Worker};
use syncline::turning::turn_until_stopped;
use workload::{Side, Tally};

use super::args::BenchArgs;
use super::plan;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::load::LoadProgress;
use crate::mailbox::{Mailbox, Orders};
use crate::rig::idle::{BackOff, Idle};
use crate::rig::resident_bytes;
use crate::secrets;
use crate::serve::Services;

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
    /// Resident memory of the process before the table was made.
    pub(super) resident_before_bytes: Option<u64>,
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

/// The progress of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) spent: Spent,
    /// All counters that aren't zero, by name.
    pub(super) counters: BTreeMap<String, u64>,
    /// Frames received minus frames that ended in a counter; 0, or a bug.
    pub(super) unaccounted: i64,
    /// The progress of its app.
    pub(super) app: AppProgress,
    /// The resident memory of the process, in bytes; the caller that passes the progress on fills it in: the polling thread reads no
    /// file.
    pub(super) resident_bytes: Option<u64>,
}

/// The progress of an app: [`Tally`] in a form that travels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct AppProgress {
    pub(super) opened: u64,
    pub(super) completed: u64,
    pub(super) requests: u64,
    pub(super) replies: u64,
    /// Faults that happened, by name.
    pub(super) faults: BTreeMap<String, u64>,
}

impl From<&Tally> for AppProgress {
    fn from(tally: &Tally) -> Self {
        Self {
            opened: tally.opened,
            completed: tally.completed,
            requests: tally.requests,
            replies: tally.replies,
            faults: tally
                .by_fault()
                .map(|(fault, n)| (fault.name().to_owned(), n))
                .collect(),
        }
    }
}

/// An app that can say what it has done.
pub(super) trait ReportsProgress: App {
    /// Its progress.
    fn progress(&self) -> AppProgress;
}

impl ReportsProgress for NoApp {
    fn progress(&self) -> AppProgress {
        AppProgress::default()
    }
}

impl ReportsProgress for Services {
    fn progress(&self) -> AppProgress {
        let mut progress = AppProgress::default();
        for site in self.stats() {
            progress.opened += site.accepted;
            progress.completed += site.completed();
            progress.requests += site.requests;
            progress.replies += site.requests;
            for (fault, n) in site.faults() {
                *progress.faults.entry(fault.name().to_owned()).or_default() += n;
            }
        }
        progress
    }
}

impl ReportsProgress for Side {
    fn progress(&self) -> AppProgress {
        self.tally().into()
    }
}

/// The endpoint's last word.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct EndpointTotals {
    pub(super) progress: Progress,
    /// Frames of its pools that did not come back.
    pub(super) mbufs_in_use: u32,
}

impl Spent {
    pub(super) fn of(cycles: &Cycles) -> Self {
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

    /// The counts since `earlier`.
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
    /// One of its counters.
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter.name()).copied().unwrap_or(0)
    }

    pub(super) fn of<N: stack::nic::Nic, A: ReportsProgress>(worker: &Worker<N, A>) -> Self {
        let counters = worker.counters();
        Self {
            spent: Spent::of(worker.cycles()),
            counters: counters
                .non_zero()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            unaccounted: counters.unaccounted(),
            app: worker.app().progress(),
            resident_bytes: None,
        }
    }

    /// Of a client of `load`, whose operations are counted in `ClientProgress`.
    pub(super) fn of_load(progress: &LoadProgress) -> Self {
        let counters = &progress.counters;
        Self {
            spent: Spent::of(&progress.cycles),
            counters: counters
                .non_zero()
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
            unaccounted: counters.unaccounted(),
            app: AppProgress::default(),
            resident_bytes: None,
        }
    }

    /// With what this process has resident, for the control thread to fill in.
    pub(super) fn with_memory(self) -> Self {
        Self {
            resident_bytes: resident_bytes(),
            ..self
        }
    }
}

/// An endpoint on its queue pair, its table filled.
pub(super) struct Endpoint<A: App> {
    worker: Worker<DpdkNic, A>,
    config: Arc<Config>,
    pools: [Mempool; 2],
    clock: Clock,
}

/// How the endpoint of a mode is made: on these queues, for these flags, with DPDK's memory in a line, by this clock.
pub(super) type MakeEndpoint<A> =
    fn(QueuePair, &BenchArgs, &str, Clock) -> Result<(Endpoint<A>, Ready), Failure>;

/// The endpoint of `bench rst` and `bench syn`: a worker without an app, its table filled.
///
/// # Errors
/// [`Failure::Run`] when there is not enough memory.
pub(super) fn without_app(
    queues: QueuePair,
    args: &BenchArgs,
    memory_line: &str,
    clock: Clock,
) -> Result<(Endpoint<NoApp>, Ready), Failure> {
    let (mut endpoint, mut ready) =
        Endpoint::new(queues, NoApp, plan::config(args), memory_line, clock)?;
    endpoint.fill(args.fill)?;
    ready.room = plan::room(args);
    ready.connections = args.fill;
    ready.bytes_per_connection = match (ready.resident_before_bytes, resident_bytes()) {
        (Some(before), Some(after)) if args.fill > 0 => {
            Some(after.saturating_sub(before) as f64 / f64::from(args.fill))
        }
        _ => None,
    };
    Ok((endpoint, ready))
}

impl Endpoint<NoApp> {
    /// Fills the table with established connections.
    fn fill(&mut self, connections: u32) -> Result<(), Failure> {
        for (key, parked) in plan::connections(&self.config).take(connections as usize) {
            if !self.worker.preload(&key, &parked) {
                return Err(Failure::Run(format!(
                    "the table takes only {} of {}; lower --fill",
                    self.worker.table().total(),
                    counted(connections, "connection")
                )));
            }
        }
        Ok(())
    }
}

impl<A: ReportsProgress> Endpoint<A> {
    /// A worker with `app` on these queues, its table empty.
    ///
    /// # Errors
    /// [`Failure::Run`] when `config` is none, or there is not enough memory or randomness.
    pub(super) fn new(
        queues: QueuePair,
        app: A,
        config: Result<Config, ConfigError>,
        memory_line: &str,
        clock: Clock,
    ) -> Result<(Self, Ready), Failure> {
        let config = Arc::new(config.map_err(|error| Failure::Run(error.to_string()))?);
        let (mac, pools) = (queues.mac, [queues.control.clone(), queues.data.clone()]);
        let resident_before_bytes = resident_bytes();
        let worker = Worker::with_app(
            DpdkNic::new(queues),
            app,
            Arc::clone(&config),
            &secrets::fresh()?,
            RingEnd::single(),
            PageOptions::default(),
        )
        .map_err(|error| Failure::Run(error.to_string()))?;
        let ready = Ready {
            mac,
            memory_line: memory_line.to_owned(),
            connections: 0,
            bytes_per_connection: None,
            resident_before_bytes,
            room: String::new(),
        };
        Ok((
            Self {
                worker,
                config,
                pools,
                clock,
            },
            ready,
        ))
    }

    /// Turns the worker until it is to stop, and gives back what must outlive it: its last progress, and the pools that
    /// are to be counted once everything is closed.
    pub(super) fn run(
        self,
        orders: &Orders,
        mailbox: &Mailbox<Progress>,
    ) -> (Progress, [Mempool; 2]) {
        let worker = turn_until_stopped(
            self.worker,
            BackOff::new(Idle::Spin),
            (self.clock, orders),
            mailbox,
            |worker, _, _| Progress::of(worker),
        );
        let progress = Progress::of(&worker);
        drop(worker.into_nic());
        (progress, self.pools)
    }
}
