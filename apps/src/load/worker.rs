//! The thread of one worker: turns, changes its phase when ordered, reports what it counted when asked; and [`LoadLine`], over
//! which it is ordered and asked.
//!
//! It must never lock, allocate or call the system while frames come; asked, it copies its counters once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dpdk::{DpdkNic, FaultTotals};
use stack::app::{ConnectError, Reachability};
use stack::config::Config;
use stack::counters::{Counter, Counters};
use stack::memory::PageOptions;
use stack::tcp::env::TcpCounters;
use stack::time::Instant;
use stack::worker::{Cycles, RingEnd, Secrets, Steered, Worker};
use workload::load::{Backends, Interval, LoadClient, LoadCounts, LoadPlan, Measures};

use super::failures::FrameRecording;
use super::trial::TrialShape;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::Mailbox;
use crate::rig::idle::BackOff;
use crate::rig::{self, RssReport};

/// The orders of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum LoadPhase {
    /// Find the way to the targets.
    #[default]
    Reach,
    /// Get ready for a trial, with times of its own.
    Prepare,
    /// Open the connections that are to be kept.
    Fill,
    /// Load.
    Run,
    /// Begin nothing new, and keep the connections that there are.
    Pause,
    /// Begin nothing new.
    Finish,
    /// Reset what is open.
    GiveUp,
    /// Receive only.
    Drain,
    /// Leave the loop.
    Stop,
}

impl LoadPhase {
    const ALL: [Self; 9] = [
        Self::Reach,
        Self::Prepare,
        Self::Fill,
        Self::Run,
        Self::Pause,
        Self::Finish,
        Self::GiveUp,
        Self::Drain,
        Self::Stop,
    ];
}

/// The phase of all workers, and when the clock of the run starts.
#[derive(Debug, Default)]
pub(crate) struct LoadPhases {
    phase: AtomicU8,
    origin_ns: AtomicU64,
    /// Of the trial that is prepared. A worker takes it where it has nothing to do.
    trial: Mutex<TrialShape>,
}

impl LoadPhases {
    /// From now on, this.
    pub(crate) fn enter(&self, phase: LoadPhase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The load starts at `origin`, for all workers.
    pub(crate) fn start(&self, origin: Instant) {
        self.origin_ns.store(origin.as_ns(), Ordering::Relaxed);
        self.enter(LoadPhase::Run);
    }

    /// The next trial is like this.
    pub(super) fn prepare(&self, trial: TrialShape) {
        *self.trial.lock().unwrap_or_else(PoisonError::into_inner) = trial;
        self.enter(LoadPhase::Prepare);
    }

    fn trial(&self) -> TrialShape {
        *self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn current(&self) -> LoadPhase {
        let phase = self.phase.load(Ordering::Acquire);
        let known = LoadPhase::ALL
            .into_iter()
            .find(|&known| known as u8 == phase);
        known.unwrap_or(LoadPhase::Stop)
    }

    fn origin(&self) -> Instant {
        Instant::from_ns(self.origin_ns.load(Ordering::Relaxed))
    }
}

/// The control thread's line to one worker.
#[derive(Debug)]
pub(crate) struct LoadLine {
    /// Its progress.
    pub(crate) progress: Mailbox<LoadProgress>,
    /// Times since the last question.
    pub(crate) interval: Mailbox<Interval>,
    /// All times of the trial.
    pub(super) measures: Mailbox<Measures>,
}

impl LoadLine {
    pub(crate) const fn new() -> Self {
        Self {
            progress: Mailbox::new(),
            interval: Mailbox::new(),
            measures: Mailbox::new(),
        }
    }
}

/// The progress of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadProgress {
    pub(crate) counts: LoadCounts,
    pub(crate) counters: Counters,
    pub(super) tcp: TcpCounters,
    pub(crate) cycles: Cycles,
    /// Connections that there are, opening and closing ones included.
    pub(crate) connections: u32,
    /// A target that was not reached yet.
    pub(crate) unreached: Option<(std::net::SocketAddr, Result<Reachability, ConnectError>)>,
    /// All connections that are to be kept are established.
    pub(super) is_full: bool,
    /// Nothing more will begin.
    pub(super) is_spent: bool,
    /// Flows by where the NIC delivered them; ours are those that were established.
    pub(super) steered: Steered,
    /// The NIC's hash decides who owns a flow.
    pub(super) follows_the_nic: bool,
    /// The phase that it was in last.
    pub(super) phase: LoadPhase,
    /// Its last turn had something to do.
    pub(super) moved: bool,
    /// The time of that turn.
    pub(crate) at: Instant,
}

/// The results of a worker.
#[derive(Debug)]
pub(crate) struct LoadTotals {
    pub(crate) progress: LoadProgress,
    pub(super) measures: Measures,
    /// Times since the last question.
    pub(crate) last_interval: Interval,
    /// The counts of `--fault`.
    pub(crate) faults: Option<FaultTotals>,
    /// Frames that the driver took.
    pub(super) frames_taken: u64,
    /// With --count-by.
    pub(super) backends: Backends,
    /// How long its thread was ready to run and had no CPU; `None` where the kernel doesn't say.
    pub(super) cpu_wait: Option<Duration>,
}

/// The worker with its client.
pub(crate) struct LoadWorker {
    worker: Worker<DpdkNic, LoadClient>,
    clock: Clock,
    /// The frames of its connections, to be kept of those that fail.
    recording: Option<Arc<Mutex<FrameRecording>>>,
}

impl LoadWorker {
    /// Takes all memory.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is too little.
    pub(crate) fn new(
        nic: DpdkNic,
        plan: LoadPlan,
        (config, secrets): (Arc<Config>, &Secrets),
        (end, steered): (RingEnd<dpdk::Mbuf>, Steered),
        (clock, recording): (Clock, Option<Arc<Mutex<FrameRecording>>>),
    ) -> Result<Self, Failure> {
        let client = LoadClient::new(plan);
        let mut worker = Worker::with_app(
            nic,
            client,
            config,
            secrets,
            end,
            PageOptions::default(),
        )
        .map_err(|error| {
            Failure::Run(format!(
                "a worker's table does not fit into memory: {error}; lower --connections or --rate"
            ))
        })?;
        worker.start_steered(steered);
        Ok(Self {
            worker,
            clock,
            recording,
        })
    }

    /// Turns until ordered to stop. Gives its buffers back, and says what it has done.
    pub(crate) fn run(
        mut self,
        phases: &LoadPhases,
        line: &LoadLine,
        mut back_off: BackOff,
    ) -> LoadTotals {
        let (mut served, mut served_interval, mut served_measures) = (0, 0, 0);
        let mut phase = LoadPhase::Reach;
        loop {
            let now = self.clock.at(dpdk::cycles());
            let ordered = phases.current();
            if ordered != phase {
                phase = ordered;
                self.enter(phase, now, phases);
            }
            let moved = match phase {
                LoadPhase::Stop => break,
                LoadPhase::Drain => self.worker.drain_turn(now),
                _ => self.worker.turn(now) > 0,
            };
            self.keep_failures();
            line.progress
                .serve(&mut served, || self.progress(phase, (now, moved)));
            let app = self.worker.app_mut();
            line.interval
                .serve(&mut served_interval, || app.take_interval());
            line.measures.serve(&mut served_measures, || app.measures());
            back_off.rest(moved);
        }
        let now = self.clock.at(dpdk::cycles());
        let progress = self.progress(phase, (now, false));
        let last_interval = self.worker.app_mut().take_interval();
        let measures = self.worker.app().measures();
        let backends = self.worker.app().backends().clone();
        let nic = self.worker.into_nic();
        LoadTotals {
            progress,
            measures,
            last_interval,
            faults: nic.fault_totals(),
            frames_taken: nic.frames_taken(),
            backends,
            cpu_wait: rig::thread_cpu_wait(),
        }
    }

    /// Keeps the operations that failed in the last turn, with their frames.
    fn keep_failures(&mut self) {
        if !self.worker.app().has_marks() {
            return;
        }
        let marks = self.worker.app_mut().take_marks();
        if let Some(recording) = &self.recording {
            let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
            marks.into_iter().for_each(|mark| recording.keep(mark));
        }
    }

    fn enter(&mut self, phase: LoadPhase, now: Instant, phases: &LoadPhases) {
        match phase {
            LoadPhase::Fill => self.worker.app_mut().fill(),
            LoadPhase::Prepare => {
                let trial = phases.trial();
                let times = (&trial.pieces()[..], trial.window());
                self.worker.app_mut().prepare(times, trial.connections);
            }
            LoadPhase::Run => self.worker.app_mut().start(phases.origin()),
            LoadPhase::Pause => self.worker.app_mut().pause(),
            LoadPhase::Finish => self.worker.app_mut().finish(now),
            LoadPhase::GiveUp => self.worker.with_cx(now, |app, cx| app.give_up(cx)),
            LoadPhase::Reach | LoadPhase::Drain | LoadPhase::Stop => {}
        }
    }

    fn progress(&self, phase: LoadPhase, (at, moved): (Instant, bool)) -> LoadProgress {
        let app = self.worker.app();
        let (mut steered, follows_the_nic) = self.worker.steered();
        steered.owned += app.counts().established;
        LoadProgress {
            steered,
            follows_the_nic,
            counts: *app.counts(),
            counters: self.worker.counters().clone(),
            tcp: self.worker.tcp_counters().clone(),
            cycles: *self.worker.cycles(),
            connections: app.connections(),
            unreached: app.unreached(),
            is_full: app.is_full(),
            is_spent: app.is_spent(),
            phase,
            moved,
            at,
        }
    }
}

/// How the NIC steers flows; `None` with one worker.
pub(super) fn rss(workers: &[LoadProgress]) -> Option<RssReport> {
    let frames = workers.iter().fold((0, 0), |(handed, received), worker| {
        (
            handed + worker.counters.get(Counter::HandedOff),
            received + worker.counters.get(Counter::RxFrames),
        )
    });
    let steered = workers.iter().map(|worker| worker.steered);
    let follows_the_nic = workers.iter().any(|worker| worker.follows_the_nic);
    (workers.len() > 1).then(|| RssReport::new(steered, follows_the_nic, frames))
}

/// The counters of TCP that are not 0.
pub(super) fn tcp(workers: &[LoadProgress]) -> BTreeMap<&'static str, u64> {
    let mut tcp = BTreeMap::new();
    for worker in workers {
        for (name, n) in worker.tcp.named().filter(|(_, n)| *n > 0) {
            *tcp.entry(name).or_insert(0) += n;
        }
    }
    tcp
}
