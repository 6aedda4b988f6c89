//! [`HostSpec`]: one machine of the world, its workers and how its NIC spreads frames over them.
//!
//! It must never let a worker see another's queue: what crosses between them goes through the stack's own rings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::sync::Arc;

use super::draws::FlowDraws;
pub use super::host_id::HostId;
use super::link::{LinkSpec, SimLink};
use super::nic::{NicSpec, Pools, SimNic};
use super::referee::Bounds;
use crate::config::{Config, ConfigError, ConfigSpec, Interface};
use crate::conn::{FlowHasher, FlowKey};
use crate::memory::{MemoryError, PageOptions};
use crate::rng::Random;
use crate::tcp::settings::InitialWindow;
use crate::time::Instant;
use crate::wire::{Network, parse};
use crate::worker::app::App;
use crate::worker::{Rings, Secrets, Worker};

/// To which queue of a host a received frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// All to the first.
    #[default]
    First,
    /// TCP to the worker that owns the flow, as NICs do whose hash was chosen so; all else to the first.
    Owner,
    /// TCP to a worker that doesn't own the flow, all else to the last: each frame is misdirected.
    Wrong,
    /// TCP as [`NicSpec::steering`] says, all else to the first.
    AsSaid,
    /// Each frame to any.
    Random,
}

/// How to build a host.
#[derive(Clone)]
pub struct HostSpec {
    /// Its link address.
    pub mac: [u8; 6],
    /// Its configuration.
    pub config: ConfigSpec,
    /// Workers, 1 to 64.
    pub workers: u16,
    /// Its port.
    pub nic: NicSpec,
    /// How the port spreads frames.
    pub spread: Spread,
    /// The wire from it.
    pub up: LinkSpec,
    /// The wire to it.
    pub down: LinkSpec,
    /// How far its clock is ahead of the world's: no two machines have the same time.
    pub clock_ahead: Duration,
    /// Its secrets; `None` draws them, anew each time that it is switched on.
    pub secrets: Option<Secrets>,
}

impl HostSpec {
    /// Host `number` (1 to 254) of a world: 198.18.0.`number`/24 and 2001:db8::`number`/64, one worker, perfect wires of
    /// 50 µs.
    #[must_use]
    pub fn new(number: u8) -> Self {
        let interface = |address, prefix_len| Interface {
            address,
            prefix_len,
        };
        let config = ConfigSpec::new(vec![
            interface(Self::v4(number), 24),
            interface(Self::v6(number), 64),
        ]);
        let wire = LinkSpec::perfect(Duration::from_micros(50));
        Self {
            mac: [2, 0, 0, 0, 0, number],
            config,
            workers: 1,
            nic: NicSpec::default(),
            spread: Spread::First,
            up: wire,
            down: wire,
            clock_ahead: Duration::ZERO,
            secrets: None,
        }
    }

    /// The IPv4 address of host `number`.
    #[must_use]
    pub const fn v4(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, number))
    }

    /// The IPv6 address of host `number`.
    #[must_use]
    pub const fn v6(number: u8) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number as u16))
    }
}

/// Secrets drawn from the seed.
#[must_use]
pub fn draw_secrets(random: &mut Random) -> Secrets {
    Secrets {
        flow: [random.next_u64(), random.next_u64()],
        isn: random.bytes(),
        cookie: random.bytes(),
        ports: random.bytes(),
    }
}

/// A host can't be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// Its configuration contradicts itself.
    Config(ConfigError),
    /// The system hasn't got the memory that its limits ask for.
    Memory(MemoryError),
}

impl core::fmt::Display for HostError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for HostError {}

/// One worker and when its turn comes.
pub(super) struct Seat<A: App> {
    pub(super) worker: Worker<SimNic, A>,
    /// The earliest turn that is planned; older plans in the queue of events are void.
    pub(super) turn_at: Option<Instant>,
}

/// The application of a host.
pub(super) enum HostPower<A: App> {
    /// Nothing: it is off.
    Off,
    /// The stack.
    Stack(Vec<Seat<A>>),
    /// A scripted peer: what it received.
    Station(Vec<(Instant, Vec<u8>)>),
}

/// A machine on the switch.
pub(super) struct Host<A: App> {
    pub(super) spec: HostSpec,
    pub(super) config: Arc<Config>,
    pub(super) up: SimLink,
    pub(super) down: SimLink,
    /// When and where a frame is noticed that has arrived.
    pub(super) arrivals: FlowDraws,
    pub(super) pools: Pools,
    pub(super) running: HostPower<A>,
    /// Its CPUs stand still: frames wait in the NIC's ring, the clock runs on.
    pub(super) is_frozen: bool,
    hasher: FlowHasher,
    random: Random,
}

impl<A: App> Host<A> {
    /// A host that is off.
    pub(super) fn new(spec: HostSpec, mut random: Random) -> Result<Self, HostError> {
        let config = spec.config.clone().validate().map_err(HostError::Config)?;
        Ok(Self {
            config: Arc::new(config),
            up: SimLink::new(spec.up, random.next_u64()),
            down: SimLink::new(spec.down, random.next_u64()),
            arrivals: FlowDraws::new(random.next_u64()),
            pools: Pools::new(spec.nic.pools),
            running: HostPower::Off,
            is_frozen: false,
            hasher: FlowHasher::new(draw_secrets(&mut random).flow),
            random,
            spec,
        })
    }

    /// Starts its workers, each with an app from `app`.
    pub(super) fn power_on(&mut self, mut app: impl FnMut(u16) -> A) -> Result<(), HostError> {
        let secrets = match self.spec.secrets {
            Some(secrets) => secrets,
            None => draw_secrets(&mut self.random),
        };
        self.hasher = FlowHasher::new(secrets.flow);
        let rings = Rings::new(self.spec.workers, self.config.limits.handoff_frames);
        let small = PageOptions {
            huge: false,
            prefault: false,
        };
        let mut seats = Vec::new();
        for end in rings.into_ends() {
            let random = self.random.fork();
            let nic = SimNic::new(&self.spec.nic, self.spec.mac, &self.pools, random);
            let app = app(end.index());
            let config = Arc::clone(&self.config);
            let worker = Worker::with_app(nic, app, config, &secrets, end, small)
                .map_err(HostError::Memory)?;
            seats.push(Seat {
                worker,
                turn_at: None,
            });
        }
        self.running = HostPower::Stack(seats);
        self.is_frozen = false;
        Ok(())
    }

    /// Ends everything on it at once. Says how many buffers were not returned.
    pub(super) fn power_off(&mut self) -> usize {
        if let HostPower::Stack(seats) = core::mem::replace(&mut self.running, HostPower::Off) {
            // All workers go before any NIC, because a frame may lie in the ring of a sibling.
            let nics: Vec<SimNic> = seats.into_iter().map(|s| s.worker.into_nic()).collect();
            for mut nic in nics {
                nic.power_off();
            }
        }
        self.pools.in_use()
    }

    /// Whether a frame to this link address concerns it.
    pub(super) fn hears(&self, destination: &[u8]) -> bool {
        destination == self.spec.mac || destination.first().is_some_and(|byte| byte & 1 == 1)
    }

    /// The promises of its settings to a referee.
    pub(super) fn bounds(&self) -> Bounds {
        let (tcp, handshake) = (&self.config.tcp, &self.config.handshake);
        Bounds {
            rto_initial: tcp.rto_initial,
            rto_min: tcp.rto_min,
            rto_max: tcp.rto_max,
            syn_ack_rto: handshake.syn_ack_rto,
            challenge_interval: tcp.challenge_interval,
            has_large_initial_window: tcp.initial_window == InitialWindow::Rfc6928,
            mss_min: tcp.mss_min,
        }
    }

    /// The queue that a frame goes to.
    pub(super) fn queue_of(&self, bytes: &[u8], random: &mut Random) -> usize {
        let queues = self.spec.workers.max(1);
        if queues == 1 {
            return 0;
        }
        let queue = match self.spec.spread {
            Spread::First => 0,
            Spread::Random => random.below(queues.into()) as u16,
            Spread::Owner => self.owner_of(bytes).unwrap_or(0),
            Spread::AsSaid => self.said_of(bytes).unwrap_or(0),
            Spread::Wrong => match self.owner_of(bytes) {
                Some(owner) => (owner + 1) % queues,
                None => queues - 1,
            },
        };
        usize::from(queue)
    }

    /// The queue that the NIC's own hash chooses for a TCP segment.
    fn said_of(&self, bytes: &[u8]) -> Option<u16> {
        let parsed = parse(bytes).ok()?;
        let (source, destination) = parsed.addresses()?;
        let ports = parsed.tcp()?.header;
        self.spec.nic.steering.as_ref()?.queue(
            (source, ports.src_port.get()).into(),
            (destination, ports.dst_port.get()).into(),
        )
    }

    /// The worker that owns the flow of a TCP segment by our own hash.
    fn owner_of(&self, bytes: &[u8]) -> Option<u16> {
        let parsed = parse(bytes).ok()?;
        if matches!(parsed.network, Network::Arp(_)) {
            return None;
        }
        let (source, destination) = parsed.addresses()?;
        let tcp = parsed.tcp()?;
        let vlan = parsed.link.vlan_id();
        let local = self.config.locals.find(vlan, destination)?;
        let key = FlowKey::new(
            local,
            tcp.header.dst_port.get(),
            source,
            tcp.header.src_port.get(),
        );
        Some(self.hasher.hash(&key).owner(self.spec.workers))
    }
}
