//! THE HOT PATH: one worker is one core, one queue pair, one connection table. [`Worker::turn`] is the whole loop.
//!
//! Called by: the threads of `apps`, the one-core loop of the benchmarks, tests. It must never allocate, lock, format,
//! call the system or share a written cache line while it handles packets (the rings between workers excepted, for
//! frames that the NIC gave to the wrong core).

mod classify;
mod cycles;
mod endpoint;
mod established;
mod handoff;
mod handshake;
mod neighborhood;
mod output;
mod process;
pub mod reply;
mod slow;
mod token_bucket;

use std::sync::Arc;

use crate::config::Config;
use crate::conn::{FlowKey, Parked, Probe};
use crate::counters::{Counter, Counters};
use crate::memory::{MemoryError, PageOptions};
use crate::nic::{BURST_FRAMES, Burst, Caps, Nic};
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

use classify::{Classifier, Lane, Meta};
use endpoint::Endpoint;
use handoff::Message;
use output::Outbox;
use neighborhood::Neighborhood;

pub use cycles::{Cycles, StageCycles};
pub use endpoint::Secrets;
pub use handoff::{RingEnd, Rings};

/// Frames taken from the hand-off ring per turn at most, so that the NIC's ring keeps its half of the burst.
const HANDOFF_FRAMES_PER_TURN: usize = BURST_FRAMES / 2;

/// Everything that one core needs to be a TCP endpoint on one queue pair.
pub struct Worker<N: Nic> {
    nic: N,
    caps: Caps,
    mac: MacAddr,
    broadcasts: Vec<[u8; 4]>,
    rx: Burst<N::Frame>,
    metas: Box<[Meta; BURST_FRAMES]>,
    probes: Box<[Probe; BURST_FRAMES]>,
    endpoint: Endpoint,
    neighborhood: Neighborhood<N::Frame>,
    outbox: Outbox<N::Frame>,
    ring: RingEnd<N::Frame>,
    cycles: Cycles,
}

impl<N: Nic> Worker<N> {
    /// A worker on `nic`, with its own table. All its memory is taken here.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got the memory that the limits ask for.
    pub fn new(
        nic: N,
        config: Arc<Config>,
        secrets: &Secrets,
        ring: RingEnd<N::Frame>,
        memory: PageOptions,
    ) -> Result<Self, MemoryError> {
        let caps = nic.caps().clone();
        let mac = MacAddr(nic.mac());
        Ok(Self {
            mac,
            broadcasts: config.broadcasts(),
            rx: Burst::new(),
            metas: Box::new([Meta::ENDED; BURST_FRAMES]),
            probes: Box::new([Probe::MISS; BURST_FRAMES]),
            neighborhood: Neighborhood::new(&config, mac, ring.is_first()),
            endpoint: Endpoint::new(config, secrets, caps.mtu, memory)?,
            outbox: Outbox::new(),
            ring,
            cycles: Cycles::default(),
            caps,
            nic,
        })
    }

    /// One turn of the loop: a burst in, a burst out. Says how many frames came in; 0 means that the core may rest.
    ///
    /// `now` must never go back.
    pub fn turn(&mut self, now: Instant) -> usize {
        let started = self.nic.cycles();
        let received = self.receive();
        let after_rx = self.nic.cycles();
        if received == 0 {
            self.run_timers(now);
            self.send();
            self.cycles.idle_turn(started, self.nic.cycles());
            return 0;
        }
        if self.cycles.samples_now() {
            self.run_stages_stamped(now, after_rx);
        } else {
            self.classify();
            self.look_up();
            self.process(now);
            self.run_timers(now);
        }
        let before_tx = self.nic.cycles();
        self.send();
        let ended = self.nic.cycles();
        self.cycles.busy_turn([started, after_rx, before_tx, ended], received);
        received
    }

    /// The same stages with a stamp between each two: every so many bursts, for the report by stage.
    fn run_stages_stamped(&mut self, now: Instant, started: u64) {
        let frames = self.rx.len();
        self.classify();
        let classified = self.nic.cycles();
        self.look_up();
        let looked_up = self.nic.cycles();
        self.process(now);
        let processed = self.nic.cycles();
        self.run_timers(now);
        let timed = self.nic.cycles();
        self.cycles.stages.add([started, classified, looked_up, processed, timed], frames);
    }

    /// Fills the burst: first what other workers handed over, then the NIC's ring.
    #[inline]
    fn receive(&mut self) -> usize {
        if self.ring.workers() > 1 {
            self.take_handed_over();
        }
        let handed_over = self.rx.len();
        // Our own frames can't leave: what comes in now would only make more of them.
        if self.outbox.is_blocked() {
            return handed_over;
        }
        let received = self.nic.rx(&mut self.rx);
        self.endpoint.counters.add(Counter::RxFrames, received as u64);
        handed_over + received
    }

    fn take_handed_over(&mut self) {
        for _ in 0..HANDOFF_FRAMES_PER_TURN {
            match self.ring.pop() {
                None => break,
                Some(Message::Received(frame)) => {
                    self.endpoint.counters.bump(Counter::HandoffIn);
                    if let Err(frame) = self.rx.push(frame) {
                        // Not reached: the burst is empty here and twice as long as this loop.
                        self.endpoint.counters.bump(Counter::HandoffFull);
                        drop(frame);
                    }
                }
                Some(Message::Resolve(frame)) => self.neighborhood.hold_for_resolution(frame),
            }
        }
    }

    /// Stage 1: what each frame is.
    #[inline]
    fn classify(&mut self) {
        self.linearize();
        let classifier = Classifier {
            locals: &self.endpoint.config.locals,
            broadcasts: &self.broadcasts,
            hasher: &self.endpoint.hasher,
            mac: self.mac,
        };
        classifier.run(self.rx.as_slice(), &mut self.metas, &mut self.endpoint.counters);
    }

    /// Stage 2: prefetch all buckets, then match all tags and prefetch the records that they point to.
    #[inline]
    fn look_up(&mut self) {
        let metas = &self.metas[..self.rx.len()];
        let table = &self.endpoint.table;
        for meta in metas {
            if meta.lane == Lane::Tcp {
                table.prefetch_bucket(meta.hash);
            }
        }
        for (meta, probe) in metas.iter().zip(self.probes.iter_mut()) {
            *probe = if meta.lane == Lane::Tcp { table.probe(meta.hash) } else { Probe::MISS };
        }
    }

    /// The counters so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.endpoint.counters
    }

    /// Where the cycles went so far.
    #[must_use]
    pub fn cycles(&self) -> &Cycles {
        &self.cycles
    }

    /// Adds an established connection at rest, as if its handshake had just been completed; for benchmarks, which fill
    /// the table before they measure. False when no record is free or the flow exists.
    pub fn preload(&mut self, key: &FlowKey, parked: &Parked) -> bool {
        self.endpoint.preload(key, parked)
    }

    /// Read access to the connection table, for reports and benchmarks.
    #[must_use]
    pub fn table(&self) -> &crate::conn::ConnTable {
        &self.endpoint.table
    }

    /// Returns every frame that is still held and gives the NIC back. What was sent stays sent.
    pub fn into_nic(self) -> N {
        while let Some(Message::Received(frame) | Message::Resolve(frame)) = self.ring.pop() {
            drop(frame);
        }
        self.nic
    }
}

#[cfg(test)]
mod tests;
