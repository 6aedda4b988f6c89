//! Our own HTTP server at the other end of an in-memory link, for a run without a target.
//!
//! It must never answer for anything but that link.

use std::net::IpAddr;
use std::sync::Arc;

use dpdk::DpdkNic;
use stack::config::{Config, ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::counters::Counters;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::memory::PageOptions;
use stack::worker::{Cycles, RingEnd, Secrets, Worker};
use workload::load::Work;

use super::plan::{RING_CLIENT, RING_SERVER, RunPlan};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::{Order, Orders};
use crate::rig::idle::{BackOff, Idle};
use crate::serve::{Services, WallClock, listens};

/// Its services, as `serve --listen` has them. A client may keep a connection for longer than a server of http would.
const LISTEN: [(u16, &str); 4] = [
    (7, "7=echo"),
    (9, "9=discard"),
    (19, "19=chargen"),
    (80, "80=http,idle=never"),
];

/// Where connections are held: those that are not parked at most.
const UNDER_WAY_MAX: u32 = 1 << 18;

/// What the server did.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTotals {
    pub(super) counters: Counters,
    pub(super) cycles: Cycles,
}

/// The server's part on one worker.
pub(super) struct OwnServer {
    worker: Worker<DpdkNic, Services>,
    clock: Clock,
}

/// The configuration of the server's workers: as many connections as the client has.
///
/// # Errors
/// [`Failure::Run`] when it contradicts itself.
pub(super) fn config(plan: &RunPlan) -> Result<Arc<Config>, Failure> {
    let mut spec = ConfigSpec::new(vec![Interface {
        address: IpAddr::V4(RING_SERVER),
        prefix_len: 24,
    }]);
    let connections = plan.connections.max(1024);
    let listener = |port| ListenerConfig {
        backlog: connections,
        ..ListenerConfig::new(port, SynPolicy::CookieWhenFull)
    };
    spec.listeners = LISTEN.map(|(port, _)| listener(port)).to_vec();
    spec.tcp.profile.nagle = false;
    let v4 = |n| Records { v4: n, v6: 0 };
    // The client's addresses off the link are behind it.
    spec.gateway_v4 = Some(RING_CLIENT);
    spec.limits.records = if plan.work == Work::Hold {
        let under_way = connections.min(UNDER_WAY_MAX);
        Capacity {
            embryos: v4(under_way),
            parked: v4(connections.saturating_add(1024)),
            open: v4(under_way),
            time_wait: v4(1024),
        }
    } else {
        Capacity {
            embryos: v4(connections),
            parked: v4(connections * 2),
            open: v4(connections * 2),
            time_wait: v4(1 << 20),
        }
    };
    let config = spec.validate();
    config
        .map(Arc::new)
        .map_err(|error| Failure::Run(error.to_string()))
}

impl OwnServer {
    /// Takes all memory. `has_proxy`: a header of the PROXY protocol stands in front of each connection.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is too little.
    pub(super) fn new(
        nic: DpdkNic,
        (config, secrets): (Arc<Config>, &Secrets),
        end: RingEnd<dpdk::Mbuf>,
        (clock, has_proxy): (Clock, bool),
    ) -> Result<Self, Failure> {
        let wall = WallClock::new(clock.at(dpdk::cycles()));
        let mut places = Vec::new();
        for (_, text) in LISTEN {
            let behind = if has_proxy { ",proxy=any" } else { "" };
            places.extend(listens(&format!("{text}{behind}")).map_err(Failure::Run)?.0);
        }
        let services = Services::new(&places, wall);
        let worker = Worker::with_app(nic, services, config, secrets, end, PageOptions::default())
            .map_err(|error| {
                Failure::Run(format!(
                    "the server's table does not fit into memory: {error}; lower --connections"
                ))
            })?;
        Ok(Self { worker, clock })
    }

    /// Serves until ordered to stop.
    pub(super) fn run(mut self, orders: &Orders) -> ServerTotals {
        let mut back_off = BackOff::new(Idle::Spin);
        loop {
            let now = self.clock.at(dpdk::cycles());
            let moved = match orders.current() {
                Order::Stop => break,
                Order::Drain => self.worker.drain_turn(now),
                _ => self.worker.turn(now) > 0,
            };
            back_off.rest(moved);
        }
        let totals = ServerTotals {
            counters: self.worker.counters().clone(),
            cycles: *self.worker.cycles(),
        };
        drop(self.worker.into_nic());
        totals
    }
}
