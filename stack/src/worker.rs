//! THE HOT PATH: one worker is one core, one queue pair, one connection table. [`Worker::turn`] is the whole loop.
//!
//! It must never allocate, lock, format, call the system or share a written cache line while it handles packets (the
//! rings between workers excepted, for frames that the NIC gave to the wrong core).

mod accept_queue;
pub mod app;
mod callbacks;
mod classify;
mod connect;
mod connecting;
mod connection;
mod cx;
mod cycles;
mod ending;
mod endpoint;
mod fast_output;
mod fast_path;
mod forwarding;
mod fragments;
#[cfg(not(feature = "internals"))]
mod frame_writer;
#[cfg(feature = "internals")]
pub mod frame_writer;
mod handoff;
mod handshake;
mod held;
mod icmp_errors;
mod info;
mod keeping;
mod large_frames;
mod large_segment;
mod look;
mod neighborhood;
mod new_states;
mod opening;
mod outbox;
mod output;
mod ownership;
mod parked;
mod paths;
mod plain_frame;
mod plain_reply;
mod plain_writer;
mod pressure;
mod process;
mod reaching;
mod reading;
mod reply;
mod resting;
mod segment_headers;
mod settling;
mod slow;
mod syn;
mod time_wait;
mod timers;
mod token_bucket;
mod waiting;
mod way;

use std::sync::Arc;

use crate::config::Config;
use crate::conn::connections::Connections;
use crate::conn::pressure::Pressure;
use crate::conn::{ConnId, FlowHasher, FlowKey, Probe, Records};
#[cfg(feature = "internals")]
use crate::conn::{ConnTable, Parked};
use crate::counters::{Counter, Counters};
use crate::local::ports::LocalPorts;
use crate::memory::{MemoryError, PageOptions, prefetch_read};
use crate::nic::{BURST_FRAMES, Burst, Caps, Nic};
use crate::path::Paths;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::worker::app::ConnInfo;
use crate::worker::app::{App, NoApp};

use callbacks::Hosted;
use classify::{Classifier, Lane, Meta};
use ending::Ending;
use endpoint::Endpoint;
use fast_path::{FastPathSwitch, LentFrame};
use fragments::Fragments;
use frame_writer::SegmentWriter;
use handoff::Message;
use held::Held;
use large_frames::LargeFrames;
use neighborhood::Neighborhood;
use outbox::Outbox;
use ownership::Owners;
use waiting::Waiting;

pub use cx::Cx;
pub use cycles::{Cycles, StageCycles};
pub use endpoint::Secrets;
pub use handoff::{RingEnd, Rings};
pub use ownership::Steered;

pub use crate::conn::Kind;
pub use crate::neighbor::NeighborState;

/// Frames taken from the hand-off ring per turn at most, so that the NIC's ring keeps its half of the burst.
const HANDOFF_FRAMES_PER_TURN: usize = BURST_FRAMES / 2;

/// Everything that one core needs to be a TCP endpoint on one queue pair.
pub struct Worker<N: Nic, A: App = NoApp> {
    hosted: Hosted<A>,
    rx: Burst<N::Frame>,
    scratch: Scratch,
    core: Core<N>,
    cycles: Cycles,
    ending: Ending,
}

/// Facts that the stages tell each other about the frames of the burst, one place per frame.
struct Scratch {
    metas: Box<[Meta; BURST_FRAMES]>,
    probes: Box<[Probe; BURST_FRAMES]>,
}

/// The parts that a stage may touch besides the burst that it works on.
struct Core<N: Nic> {
    nic: N,
    caps: Caps,
    mac: MacAddr,
    classifier: Classifier,
    endpoint: Endpoint,
    neighborhood: Neighborhood<N::Frame>,
    paths: Paths,
    outbox: Outbox<N::Frame>,
    ring: RingEnd<N::Frame>,
    owners: Owners,
    conns: Connections<N::Frame>,
    /// Which connections give way while places in the queues are scarce.
    pressure: Pressure,
    /// Parked connections of which the app wants something that takes a record.
    waiting: Waiting,
    /// Connections whose first SYN waits for its neighbour.
    held: Held,
    /// The connection that ends while it is parked, as it looked then: for its last callback.
    last_parked: Option<(ConnId, ConnInfo)>,
    ports: LocalPorts,
    writer: SegmentWriter<N::Frame>,
    fast_path: FastPathSwitch,
    /// The bytes that the callbacks of a connection may read before they are queued.
    lent: Option<LentFrame<N::Frame>>,
    /// Large segments that are being taken apart.
    large: LargeFrames<N::Frame>,
    /// Datagrams of which fragments are missing.
    fragments: Fragments,
}

impl<N: Nic> Worker<N> {
    /// [`Worker::with_app`] for an endpoint that serves nothing.
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
        Self::with_app(nic, NoApp, config, secrets, ring, memory)
    }
}

impl<N: Nic, A: App> Worker<N, A> {
    /// A worker on `nic` with its own table and `app` on top. All its memory is taken here.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got the memory that the limits ask for.
    pub fn with_app(
        nic: N,
        app: A,
        config: Arc<Config>,
        secrets: &Secrets,
        ring: RingEnd<N::Frame>,
        memory: PageOptions,
    ) -> Result<Self, MemoryError> {
        let open = config.limits.records.open;
        let conns = Connections::new(
            config.limits.records,
            config.limits.queue_items,
            u32::from(nic.caps().mtu),
            &config.tcp,
            Instant::ZERO,
        )?;
        let writer = SegmentWriter::new(MacAddr(nic.mac()), config.ttl, nic.caps());
        // One more: an app that hears of a connection's end may open another one meanwhile.
        let connections = config.limits.records.connections().total() + 1;
        let caps = nic.caps().clone();
        let ports = LocalPorts::new(&secrets.ports, config.local_ports);
        let mac = MacAddr(nic.mac());
        Ok(Self {
            hosted: Hosted::new(app, connections as usize, open.total() as usize),
            rx: Burst::new(),
            scratch: Scratch {
                metas: Box::new([Meta::ENDED; BURST_FRAMES]),
                probes: Box::new([Probe::MISS; BURST_FRAMES]),
            },
            core: Core {
                mac,
                owners: Owners::new(ring.workers(), caps.steering.as_ref()),
                classifier: Classifier::new(mac, &caps, &config, FlowHasher::new(secrets.flow)),
                large: LargeFrames::new(),
                fragments: Fragments::new(config.limits.fragmented_datagrams, caps.mtu),
                waiting: Waiting::new(config.limits.records.parked),
                held: Held::new(config.limits.records.open),
                fast_path: FastPathSwitch::new(config.fast_path),
                lent: None,
                last_parked: None,
                neighborhood: Neighborhood::new(&config, ring.is_first(), secrets.flow[0]),
                paths: Paths::new(config.limits.paths, caps.mtu, FlowHasher::new(secrets.flow)),
                endpoint: Endpoint::new(config, secrets, caps.mtu, memory)?,
                outbox: Outbox::new(),
                conns,
                pressure: Pressure::new(open.total() as usize),
                ports,
                writer,
                ring,
                caps,
                nic,
            },
            cycles: Cycles::default(),
            ending: Ending::default(),
        })
    }

    /// One turn of the loop: a burst in, a burst out. Says how many frames came in; 0 means that the core may rest.
    ///
    /// `now` must never go back.
    pub fn turn(&mut self, now: Instant) -> usize {
        let started = self.core.nic.cycles();
        let received = self.core.receive(&mut self.rx, now);
        let after_rx = self.core.nic.cycles();
        if received == 0 {
            self.run_later_stages(now);
            self.core.send();
            self.cycles.idle_turn(started, self.core.nic.cycles());
            return 0;
        }
        if self.cycles.samples_now() {
            self.run_stages_stamped(now, after_rx);
        } else {
            self.core.classify(&mut self.rx, &mut self.scratch);
            self.core.look_up(&self.hosted, &self.rx, &mut self.scratch);
            self.core
                .process(&mut self.hosted, &mut self.rx, &self.scratch, now);
            self.run_later_stages(now);
        }
        let before_tx = self.core.nic.cycles();
        self.core.send();
        let ended = self.core.nic.cycles();
        self.cycles
            .busy_turn([started, after_rx, before_tx, ended], received);
        received
    }

    /// A turn of the end of a run: nothing new is taken from the NIC; what other workers handed over is processed, and what
    /// waits is sent. Says whether there was something to do: false means that this worker is drained, unless another one
    /// still receives and hands over. Frames that wait for a neighbour stay with it.
    ///
    /// `now` must never go back.
    pub fn drain_turn(&mut self, now: Instant) -> bool {
        self.core.take_handed_over(&mut self.rx, now);
        self.core.resume_large(&mut self.rx);
        let frames = self.rx.len();
        self.core.classify(&mut self.rx, &mut self.scratch);
        self.core.look_up(&self.hosted, &self.rx, &mut self.scratch);
        self.core
            .process(&mut self.hosted, &mut self.rx, &self.scratch, now);
        self.core.output(&mut self.hosted, now);
        self.core.send();
        frames > 0 || self.core.large.is_waiting() || !self.core.outbox.is_empty()
    }

    /// The stages that a turn has with and without frames.
    #[inline(always)]
    fn run_later_stages(&mut self, now: Instant) {
        self.core.run_timers(&mut self.hosted, now);
        self.core.tick(&mut self.hosted, now);
        self.core.output(&mut self.hosted, now);
        self.core.rest_idle(now);
    }

    /// The same stages with a stamp between each two: every so many bursts, for the report by stage.
    fn run_stages_stamped(&mut self, now: Instant, started: u64) {
        self.core.classify(&mut self.rx, &mut self.scratch);
        let frames = self.rx.len();
        let classified = self.core.nic.cycles();
        self.core.look_up(&self.hosted, &self.rx, &mut self.scratch);
        let looked_up = self.core.nic.cycles();
        self.core
            .process(&mut self.hosted, &mut self.rx, &self.scratch, now);
        let processed = self.core.nic.cycles();
        self.run_later_stages(now);
        let timed = self.core.nic.cycles();
        self.cycles
            .stages
            .add([started, classified, looked_up, processed, timed], frames);
    }

    /// The counters so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.endpoint.counters
    }

    /// Where the cycles went so far.
    #[must_use]
    pub fn cycles(&self) -> &Cycles {
        &self.cycles
    }

    /// Adds a parked connection, as if its handshake had just been completed; for benchmarks, which fill
    /// the table before they measure. False when no record is free or the flow exists.
    #[cfg(feature = "internals")]
    pub fn preload(&mut self, key: &FlowKey, parked: &Parked) -> bool {
        self.core.endpoint.preload(key, parked)
    }

    /// Connections of one kind.
    #[must_use]
    pub fn records(&self, kind: Kind) -> Records {
        self.core.endpoint.table.len(kind)
    }

    /// Read access to the connection table, for tests and benchmarks.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn table(&self) -> &ConnTable {
        &self.core.endpoint.table
    }

    /// The app, for reports.
    #[must_use]
    pub fn app(&self) -> &A {
        &self.hosted.app
    }

    /// The app, for orders to it between turns.
    #[must_use]
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.hosted.app
    }

    /// Lets the app act between turns, as in a callback: what it starts leaves with the next turn.
    pub fn with_cx<T>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut A, &mut Cx<'_, N, A::Conn>) -> T,
    ) -> T {
        let Hosted {
            app, new_states, ..
        } = &mut self.hosted;
        let result = act(app, &mut Cx::new(&mut self.core, new_states, now));
        self.core.announce(&mut self.hosted, now);
        result
    }

    /// TCP's own counters.
    #[must_use]
    pub fn tcp_counters(&self) -> &crate::tcp::env::TcpCounters {
        &self.core.conns.counters
    }

    /// Segments of handshakes that a listener refused for want of a place: SYNs that were dropped because its backlog was
    /// full, ACKs that found its accept queue full.
    #[must_use]
    pub fn refused_handshakes(&self, listener: crate::local::listener::ListenerId) -> u64 {
        self.core.endpoint.accept_queues.refused(listener)
    }

    /// Where the NIC delivered new flows, and whether its own hash names their owners.
    #[must_use]
    pub fn steered(&self) -> (Steered, bool) {
        let owners = &self.core.owners;
        (owners.steered, owners.follows_the_nic())
    }

    /// Begins with flows whose queue was seen before there was a worker.
    pub fn start_steered(&mut self, steered: Steered) {
        self.core.owners.steered = steered;
    }

    /// Places in use in the queues of all connections: 0 when nothing is kept.
    #[must_use]
    pub fn queued_items(&self) -> u32 {
        self.core.conns.chunks.len()
    }

    /// The NIC, for tests that are its wire.
    #[must_use]
    pub fn nic_mut(&mut self) -> &mut N {
        &mut self.core.nic
    }

    /// Returns every frame that is still held and gives the NIC back. What was sent stays sent.
    pub fn into_nic(self) -> N {
        self.into_parts().0
    }

    /// As [`Worker::into_nic`], with the app.
    pub fn into_parts(self) -> (N, A) {
        self.core.ring.clear();
        (self.core.nic, self.hosted.app)
    }
}

impl<N: Nic> Core<N> {
    /// Fills the burst: first what other workers handed over, then the NIC's ring.
    #[inline]
    fn receive(&mut self, rx: &mut Burst<N::Frame>, now: Instant) -> usize {
        if self.ring.workers() > 1 {
            self.take_handed_over(rx, now);
        }
        let handed_over = rx.len();
        if !self.outbox.may_receive() {
            return handed_over;
        }
        if self.large.is_waiting() {
            return handed_over + self.resume_large(rx);
        }
        let received = self.nic.rx(rx);
        self.endpoint
            .counters
            .add(Counter::RxFrames, received as u64);
        handed_over + received
    }

    fn take_handed_over(&mut self, rx: &mut Burst<N::Frame>, now: Instant) {
        for _ in 0..HANDOFF_FRAMES_PER_TURN {
            match self.ring.pop() {
                None => break,
                Some(Message::Received(frame)) => {
                    self.endpoint.counters.bump(Counter::HandoffIn);
                    if let Err(frame) = rx.push(frame) {
                        // Not reached: the burst is empty here and twice as long as this loop.
                        self.endpoint.counters.bump(Counter::HandoffFull);
                        drop(frame);
                    }
                }
                Some(Message::NoRoute(frame)) => self.no_route(frame, now),
                Some(Message::Moved(moved)) => {
                    self.endpoint.counters.bump(Counter::NeighborUpdates);
                    self.on_move(moved);
                }
                Some(Message::Ask { neighbor, worker }) => self.ask_for(neighbor, worker, now),
                Some(Message::Doubt(neighbor)) => self.doubt_neighbor(neighbor, now),
                Some(Message::Neighbor { neighbor, mac }) => self.wake_held(neighbor, mac, now),
                Some(Message::Resolve(frame)) => {
                    if let Err(frame) = self.neighborhood.hold_for_resolution(frame) {
                        self.endpoint.counters.bump(Counter::TxNeighborDropped);
                        self.outbox.free(frame);
                    }
                }
            }
        }
    }

    /// The classify stage: what each frame is.
    #[inline]
    fn classify(&mut self, rx: &mut Burst<N::Frame>, scratch: &mut Scratch) {
        self.linearize(rx);
        self.classifier.run(
            rx.as_slice(),
            self.endpoint.table.index().buckets(),
            &mut scratch.metas,
            &mut self.endpoint.counters,
        );
    }

    /// The look-up stage: the buckets are on their way since classify; match all tags and prefetch the records that they point to.
    #[inline]
    fn look_up<A: App>(&mut self, hosted: &Hosted<A>, rx: &Burst<N::Frame>, scratch: &mut Scratch) {
        // As many as classify has left: a large segment has become several frames there. A frame with the probe of an earlier
        // burst would miss its connection.
        //~ Each part of a large segment is looked up: `let frames = rx.len();` -> `let frames = rx.len().min(1);`;
        //~   each_part_of_a_large_segment_finds_its_connection
        let frames = rx.len();
        let metas = &scratch.metas[..frames];
        let table = self.endpoint.table.view();
        let mut has_records = false;
        for (meta, probe) in metas.iter().zip(scratch.probes.iter_mut()) {
            *probe = if meta.lane == Lane::Tcp {
                table.probe(meta.hash)
            } else {
                Probe::MISS
            };
            has_records |= probe.candidate().is_some();
        }
        if has_records {
            // The records have arrived, or are about to: they say where the connection and the app's state are.
            let (states, conns) = (hosted.states(), self.conns.places());
            for probe in &scratch.probes[..frames] {
                if let Some(entry) = probe.candidate()
                    && let Some((state, slot)) = table.belongings(entry)
                {
                    if let Some(state) = states.get(state.0 as usize) {
                        prefetch_read(state);
                    }
                    match conns.get(slot.0 as usize) {
                        Some(conn) => conn.prefetch(),
                        None => self.conns.prefetch_resting(slot),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
