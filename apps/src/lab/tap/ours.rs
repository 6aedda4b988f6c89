//! [`OurHost`]: Syncline as one end: a worker on a NIC in memory, whose frames go over the wire.
//!
//! It must never read a clock: its stage says what time it is.

use std::sync::Arc;

use stack::config::ConfigSpec;
use stack::memory::PageOptions;
use stack::neighbor::NeighborState;
use stack::nic::memory::MemoryNic;
use stack::sim::host::HostSpec;
use stack::tcp::state::State;
use stack::time::Instant;
use stack::worker::{Rings, Worker};

use super::Setting;
use crate::failure::Failure;
use crate::lab::actor::Actor;
use crate::lab::endpoint;
use crate::lab::recording::RecordedEvent;
use crate::lab::scenario::{End, Scene};
use crate::secrets;

/// A worker, and the application on it.
pub(super) struct OurHost {
    side: End,
    worker: Worker<MemoryNic, Actor>,
}

impl OurHost {
    /// Boots it; its application does what is written for it from `since_ms` on, once it knows when the scene begins.
    ///
    /// # Errors
    /// [`Failure::Run`] when the scene makes no endpoint, or memory is short.
    pub(super) fn boot(
        scene: &Scene,
        setting: &Setting,
        side: End,
        mac: [u8; 6],
        since_ms: u64,
    ) -> Result<Self, Failure> {
        let mut spec: ConfigSpec = HostSpec::new(super::HOSTS[side as usize]).config;
        endpoint::configure(&mut spec, scene, side);
        let config = spec
            .validate()
            .map_err(|error| Failure::Run(format!("the scene makes no endpoint: {error}")))?;
        let rings = Rings::new(1, config.limits.handoff_frames).into_ends();
        let Some(ring) = rings.into_iter().next() else {
            return Err(Failure::Run(
                "no ring is left for the worker: that is a bug, please report it".into(),
            ));
        };
        let addresses = (setting.address(End::Client), setting.address(End::Server));
        let worker = Worker::with_app(
            MemoryNic::new(mac),
            Actor::new(side, addresses, scene, since_ms),
            Arc::new(config),
            &secrets::fresh()?,
            ring,
            PageOptions::default(),
        )
        .map_err(|error| Failure::Run(format!("no memory for the worker's table: {error}")))?;
        Ok(Self { side, worker })
    }

    /// The scene begins then.
    pub(super) fn begin(&mut self, at: Instant) {
        self.worker.app_mut().begin(at);
    }

    /// Asks for the other's link address, before a scene in which it is known.
    pub(super) fn reach(&mut self, setting: &Setting, now: Instant) {
        let far = setting.address(self.side.other());
        // Whether it is known by then shows in the scene.
        let _ = self.worker.with_cx(now, |_, cx| cx.reach(far));
    }

    /// A frame arrives.
    pub(super) fn receive(&mut self, frame: &[u8], now: Instant) {
        self.worker.nic_mut().inject_bytes(frame);
        self.worker.turn(now);
    }

    /// The frames that it sends now, with the time.
    pub(super) fn sent(&mut self, now: Instant) -> Vec<(u64, Vec<u8>)> {
        self.worker.turn(now);
        let sent = self.worker.nic_mut().take_sent();
        let frames = sent.iter().map(|frame| (now.as_ns(), frame.to_vec()));
        frames.collect()
    }

    /// When its next timer or act is due, without a frame.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let act = self.worker.app().next_act();
        [self.worker.next_due(now), act].into_iter().flatten().min()
    }

    /// The notes of its application since the last call.
    pub(super) fn notes(&mut self) -> Vec<(Instant, RecordedEvent)> {
        self.worker.app_mut().take_notes()
    }

    /// The states of its connections.
    pub(super) fn states(&self, setting: &Setting) -> Vec<(u16, State)> {
        let state = |conn: &u16| {
            let [local, remote] = setting.ends(self.side, *conn);
            (*conn, self.worker.state_between(local, remote))
        };
        setting.conns.iter().map(state).collect()
    }

    /// Its neighbour entry for the other end.
    pub(super) fn neighbor(&self, setting: &Setting) -> Option<NeighborState> {
        self.worker
            .neighbor_state(setting.address(self.side.other()))
    }
}
