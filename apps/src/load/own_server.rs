//! Our own server: at the other end of an in-memory link for a run without a target, or behind a device (`--server-nic`).
//!
//! It must never answer for an address that is not its own.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use dpdk::{DpdkNic, NicSpec};
use stack::config::{Config, ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::counters::Counters;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::memory::PageOptions;
use stack::tcp::env::TcpCounters;
use stack::worker::{Cycles, RingEnd, Secrets, Worker};
use workload::load::Work;

use super::args::{LoadArgs, Way, Workload};
use super::arms::{Arm, ArmRecord, Observer};
use super::target::{Scheme, TargetUrl};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::{Order, Orders};
use crate::rig::NicArgs;
use crate::rig::idle::{BackOff, Idle};
use crate::serve::{Listen, Services, SiteStats, WallClock, listens};

/// Its services on an in-memory link, as `serve --listen` has them. A client may keep a connection for longer than a server of http
/// would.
const RING_LISTEN: [&str; 4] = ["7=echo", "9=discard", "19=chargen", "80=http,idle=never"];

/// Where connections are held: those that are not parked at most.
const UNDER_WAY_MAX: u32 = 1 << 18;

/// The services of our server, and their addresses.
#[derive(Debug, Clone)]
pub(super) struct ServerPlan {
    /// The flags of its NIC; `None` at the other end of an in-memory link.
    pub(super) link: Option<(NicArgs, NicSpec)>,
    interfaces: Vec<Interface>,
    listens: Vec<Listen>,
    spec: ConfigSpec,
    /// Whether its workers sleep or poll while no frames arrive.
    idle: Idle,
}

/// The counts of the server.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTotals {
    pub(super) counters: Counters,
    pub(super) tcp: TcpCounters,
    pub(super) cycles: Cycles,
    /// By place, in the order of [`ServerPlan::places`].
    pub(super) sites: Vec<SiteStats>,
    /// Frames that the driver took.
    pub(super) frames_taken: u64,
}

/// The server's part on one worker.
pub(super) struct OwnServer {
    worker: Worker<DpdkNic, Services>,
    clock: Clock,
    idle: Idle,
}

impl ServerPlan {
    /// The server of an in-memory link. `client` is at the other end.
    ///
    /// # Errors
    /// [`Failure::Run`] when its services can't be read, which a test would find.
    pub(super) fn ring(
        args: &LoadArgs,
        (server, client): (Interface, IpAddr),
    ) -> Result<Self, Failure> {
        let mut spec = ConfigSpec::new(vec![server]);
        // The client's addresses off the link are behind it.
        match client {
            IpAddr::V4(client) => spec.gateway_v4 = Some(client),
            IpAddr::V6(client) => spec.gateway_v6 = Some(client),
        }
        let texts = RING_LISTEN.map(str::to_owned);
        Ok(Self {
            link: None,
            interfaces: vec![server],
            listens: places(args, &texts).map_err(Failure::Run)?,
            spec,
            idle: Idle::Spin,
        })
    }

    /// The servers at `--server-nic`; `None` without it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for flags that contradict each other.
    pub(super) fn behind_a_device(
        args: &LoadArgs,
        targets: &[TargetUrl],
    ) -> Result<Option<Self>, Failure> {
        let Some(link) = args.server.link(&args.link)? else {
            return Ok(None);
        };
        let spec = link.spec()?;
        link.check(&spec)?;
        if let Some(both) = link.ip.iter().find(|ip| args.link.ip.contains(ip)) {
            return Err(Failure::Usage(format!(
                "{} is in both --ip and --server-ip: each arm has addresses of its own",
                both.address
            )));
        }
        let texts = if args.server.server_listen.is_empty() {
            default_listens(args, &link.ip, targets)
        } else {
            args.server.server_listen.clone()
        };
        let listens = places(args, &texts)
            .map_err(|why| Failure::Usage(format!("--server-listen: {why}")))?;
        Ok(Some(Self {
            interfaces: link.ip.clone(),
            listens,
            spec: link.config_spec()?,
            idle: args.link.idle.unwrap_or(Idle::Spin),
            link: Some((link, spec)),
        }))
    }

    /// The places, as users write them, and their services.
    pub(super) fn places(&self) -> impl Iterator<Item = (String, &'static str)> {
        let places = self.listens.iter();
        places.map(|listen| (listen.to_string(), listen.service.name()))
    }

    /// The configuration of the server's workers: as many connections as the clients have.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it contradicts itself.
    pub(super) fn config(&self, connections: u32, work: Work) -> Result<Arc<Config>, Failure> {
        let mut spec = self.spec.clone();
        let connections = connections.max(1024);
        let of_place = |listen: &Listen| {
            let place = ListenerConfig {
                address: listen.address,
                backlog: listen.backlog.unwrap_or(connections),
                abort_on_overflow: listen.abort_on_overflow,
                ..ListenerConfig::new(0, listen.policy.unwrap_or(SynPolicy::CookieWhenFull))
            };
            let ports = listen.ports.clone();
            ports.map(move |port| ListenerConfig { port, ..place })
        };
        spec.listeners = self.listens.iter().flat_map(of_place).collect();
        spec.tcp.profile.nagle = false;
        let has = |v6| self.interfaces.iter().any(|ip| ip.address.is_ipv6() == v6);
        let of_families = |n| Records {
            v4: if has(false) { n } else { 0 },
            v6: if has(true) { n } else { 0 },
        };
        spec.limits.records = if work == Work::Hold {
            let under_way = connections.min(UNDER_WAY_MAX);
            Capacity {
                embryos: of_families(under_way),
                parked: of_families(connections.saturating_add(1024)),
                open: of_families(under_way),
                time_wait: of_families(1024),
            }
        } else {
            Capacity {
                embryos: of_families(connections),
                parked: of_families(connections.saturating_mul(2)),
                open: of_families(connections.saturating_mul(2)),
                time_wait: of_families(1 << 20),
            }
        };
        let config = spec.validate();
        config
            .map(Arc::new)
            .map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// Parses services in the form of `serve --listen`. With `--send-proxy` each connection begins with a PROXY header.
fn places(args: &LoadArgs, texts: &[String]) -> Result<Vec<Listen>, String> {
    let behind = if args.send_proxy.is_some() && !texts.iter().any(|text| text.contains("proxy=")) {
        ",proxy=any"
    } else {
        ""
    };
    let mut places = Vec::new();
    for text in texts {
        places.extend(listens(&format!("{text}{behind}"))?.0);
    }
    Ok(places)
}

/// The services that the targets need, at each address of the servers.
fn default_listens(args: &LoadArgs, ours: &[Interface], targets: &[TargetUrl]) -> Vec<String> {
    let mut texts = Vec::new();
    for target in targets {
        let port = target.address.port();
        let service = match (target.scheme, args.workload, args.direction) {
            (Scheme::Http, ..) => "http,idle=never",
            (Scheme::Tcp, Some(Workload::Stream), Way::Up) => "discard",
            (Scheme::Tcp, Some(Workload::Stream), Way::Down) => "chargen",
            (Scheme::Tcp, ..) => "echo",
        };
        for ip in ours {
            let address = match ip.address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            let text = format!("{address}:{port}={service}");
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    texts
}

impl OwnServer {
    /// Takes all memory. What it sees of a device goes to `record`, if there is one.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is too little.
    pub(super) fn new(
        mut nic: DpdkNic,
        (plan, config, secrets): (&ServerPlan, Arc<Config>, &Secrets),
        end: RingEnd<dpdk::Mbuf>,
        (clock, record): (Clock, Option<&Arc<Mutex<ArmRecord>>>),
    ) -> Result<Self, Failure> {
        if let Some(record) = record {
            let observer = Observer::new(Arm::Servers, Arc::clone(record));
            nic.set_instrument(Some(Box::new(observer)));
        }
        let wall = WallClock::new(clock.at(dpdk::cycles()));
        let services = Services::new(&plan.listens, wall);
        let worker = Worker::with_app(nic, services, config, secrets, end, PageOptions::default())
            .map_err(|error| {
                Failure::Run(format!(
                    "the server's table does not fit into memory: {error}; lower --connections"
                ))
            })?;
        Ok(Self {
            worker,
            clock,
            idle: plan.idle,
        })
    }

    /// Serves until ordered to stop.
    pub(super) fn run(mut self, orders: &Orders) -> ServerTotals {
        let mut back_off = BackOff::new(self.idle);
        loop {
            let now = self.clock.at(dpdk::cycles());
            let moved = match orders.current() {
                Order::Stop => break,
                Order::Drain => self.worker.drain_turn(now),
                _ => self.worker.turn(now) > 0,
            };
            back_off.rest(moved);
        }
        let sites = self.worker.app().stats().collect();
        let (counters, tcp) = (
            self.worker.counters().clone(),
            self.worker.tcp_counters().clone(),
        );
        let cycles = *self.worker.cycles();
        let nic = self.worker.into_nic();
        ServerTotals {
            counters,
            tcp,
            cycles,
            sites,
            frames_taken: nic.frames_taken(),
        }
    }
}
