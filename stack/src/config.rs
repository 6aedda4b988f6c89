//! Every limit and default of an endpoint, validated once before the first frame.
//!
//! It must never change while a worker runs: the same [`Config`] is shared read-only by all workers.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::local::addresses::LocalAddrs;
use crate::local::listener::Listeners;
use crate::neighbor::NeighborConfig;
use crate::tcp::profiles::Profiles;

pub use crate::conn::{Capacity, Records, Rest};
pub use crate::local::addresses::{LocalId, LocalPrefix};
pub use crate::local::error::LocalAddrsError;
pub use crate::local::listener::{ListenerConfig, ListenerId, ListenersError, SynPolicy};
pub use crate::local::ports::{PortRange, PortRangeError};
pub use crate::memory::{MemoryError, PageOptions};
pub use crate::neighbor::NeighborConfigError;
pub use crate::tcp::profile::{Profile, ProfileError, ProfileId};
pub use crate::tcp::settings::{InitialWindow, Settings, SettingsError};
pub use crate::wire::ethernet::MacAddr;
pub use crate::wire::vlan::VlanId;

/// The answer to a segment for a port without a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClosedPolicy {
    /// The reset of RFC 9293 3.10.7.1.
    #[default]
    Rst,
    /// Nothing, as a firewall that drops.
    Drop,
    /// ICMP destination unreachable, port unreachable, as a firewall that rejects; rate-limited.
    Icmp,
}

/// One of our addresses, with the length of the prefix that is on the same link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Our address.
    pub address: IpAddr,
    /// Leading bits that all addresses on this link share: 0 to 32, or 0 to 128.
    pub prefix_len: u8,
}

impl Interface {
    /// Whether `other` is on the same link as this address.
    #[must_use]
    pub fn on_link(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let host_bits = 32 - u32::from(self.prefix_len.min(32));
                (mine.to_bits() ^ other.to_bits())
                    .checked_shr(host_bits)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let host_bits = 128 - u32::from(self.prefix_len.min(128));
                (mine.to_bits() ^ other.to_bits())
                    .checked_shr(host_bits)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

/// How many of each thing an endpoint keeps. All memory for them is taken at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records of each kind, per worker.
    pub records: Capacity,
    /// Neighbour entries (worker 0 keeps them).
    pub neighbors: u16,
    /// Destinations whose path MTU or link address is remembered, per worker.
    pub paths: u16,
    /// Frames on their way to another worker, per receiving worker.
    pub handoff_frames: u16,
    /// IP datagrams of which fragments are missing, per worker: each takes a packet of the link's MTU. 0 drops all fragments.
    pub fragmented_datagrams: u16,
    /// Cookies that have opened a connection and are remembered so that they open no other, per worker: 8 bytes each. Where
    /// more are opened while a cookie is valid (64 to 128 s), the oldest are forgotten.
    pub spent_cookies: u32,
    /// ICMP errors sent per second and worker (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
    pub icmp_errors_pps: u32,
    /// Places in the queues of all connections together, per worker: each holds a received frame that waits to be read or
    /// reassembled, or something to send until it is acknowledged. The owner of the NIC keeps this below what its pools
    /// have beyond rings, caches and two bursts, else the ACK that would free memory can't be received.
    pub queue_items: u32,
    /// Places that one connection's send queue may take.
    pub send_queue_items: u16,
    /// How long a connection whose peer takes nothing, or whose application reads nothing, keeps its places at least while
    /// others get none (RFC 6429): longer ones first, from 12 times as long downwards. While no connection is refused a place it
    /// keeps them for ever.
    pub stall_limit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: Capacity::of_each(Records {
                v4: 65_536,
                v6: 65_536,
            }),
            neighbors: 1024,
            paths: 4096,
            handoff_frames: 4096,
            fragmented_datagrams: 64,
            spent_cookies: 65_536,
            icmp_errors_pps: 1000,
            queue_items: 16_384,
            send_queue_items: 64,
            stall_limit: Duration::from_secs(3),
        }
    }
}

impl Limits {
    /// The neighbour table's configuration: its defaults, with this capacity.
    #[must_use]
    pub(crate) fn neighbor_config(&self) -> NeighborConfig {
        NeighborConfig {
            capacity: self.neighbors.into(),
            ..NeighborConfig::default()
        }
    }
}

/// Which segments of connections take the fast path: those that are exactly as expected can go through in one step
/// (header prediction). What follows is the same either way, and tests hold it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FastPath {
    /// Each that can.
    #[default]
    On,
    /// None.
    Off,
    /// About half of those that can, drawn with this seed: for tests.
    Random(u64),
}

/// Times and counts of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// RTO of the first SYN-ACK; doubles with each retransmission (RFC 6298 §2, §5.5).
    pub syn_ack_rto: Duration,
    /// Retransmissions of a SYN-ACK before the embryo ends. Few: each one is a frame that a spoofed SYN makes us send
    /// to a host that never asked.
    pub syn_ack_retries: u8,
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            syn_ack_rto: Duration::from_secs(1),
            syn_ack_retries: 3,
        }
    }
}

/// The configuration of an endpoint. [`ConfigSpec::validate`] turns it into what workers share.
#[derive(Debug, Clone)]
pub struct ConfigSpec {
    /// Our addresses on this link.
    pub interfaces: Vec<Interface>,
    /// More addresses that are ours: whole prefixes routed to us. They answer no ARP or NDP beyond their own range.
    pub prefixes: Vec<LocalPrefix>,
    /// Virtual addresses (VIPs): ours for TCP and ping, and never announced. No ARP request or Neighbour Solicitation for one is
    /// answered, so that a load balancer can own the address on the same link (direct server return).
    pub vips: Vec<LocalPrefix>,
    /// The VLANs in which all these addresses are ours, [`VlanId::UNTAGGED`] for untagged frames; frames of others are
    /// dropped. `None` for untagged frames and, with up to 16 addresses, every VLAN (decision 0021).
    pub vlans: Option<Vec<VlanId>>,
    /// The router for IPv4 destinations off the link.
    pub gateway_v4: Option<core::net::Ipv4Addr>,
    /// The router for IPv6 destinations off the link.
    pub gateway_v6: Option<core::net::Ipv6Addr>,
    /// Open ports.
    pub listeners: Vec<ListenerConfig>,
    /// The answer of closed ports.
    pub closed: ClosedPolicy,
    /// TTL and hop limit of what we send (RFC 9293 MUST-49); at least 1.
    pub ttl: u8,
    /// Limits.
    pub limits: Limits,
    /// Handshake.
    pub handshake: Handshake,
    /// Limits and defaults of TCP, with the profile of all that choose no other.
    pub tcp: Settings,
    /// Other profiles, see [`ConfigSpec::add_profile`].
    pub profiles: Vec<Profile>,
    /// How long a connection is idle before it is parked. By default the least retransmission timeout: after that long
    /// its congestion window is forgotten anyway (RFC 5681 §4.1).
    pub park_after: Duration,
    /// When open connections rest, where they park later than that. Where they park sooner: how many stay open that have carried nothing.
    pub rest: Rest,
    /// The local ports that active opens get where they ask for none.
    pub local_ports: PortRange,
    /// Which segments take the fast path.
    pub fast_path: FastPath,
}

impl ConfigSpec {
    /// A configuration with these addresses and every default: no listener, closed ports reset.
    #[must_use]
    pub fn new(interfaces: Vec<Interface>) -> Self {
        Self {
            interfaces,
            prefixes: Vec::new(),
            vips: Vec::new(),
            vlans: None,
            gateway_v4: None,
            gateway_v6: None,
            listeners: Vec::new(),
            closed: ClosedPolicy::Rst,
            ttl: 64,
            limits: Limits::default(),
            handshake: Handshake::default(),
            tcp: Settings::default(),
            profiles: Vec::new(),
            park_after: Settings::default().rto_min,
            rest: Rest::default(),
            local_ports: PortRange::default(),
            fast_path: FastPath::On,
        }
    }

    /// Adds a profile for listeners and connections that choose another than [`ConfigSpec::tcp`] has. [`ConfigSpec::validate`]
    /// refuses more than 255.
    pub fn add_profile(&mut self, profile: Profile) -> ProfileId {
        self.profiles.push(profile);
        ProfileId::nth(self.profiles.len())
    }

    /// Checks everything that can be wrong and interns the addresses.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong.
    pub fn validate(self) -> Result<Config, ConfigError> {
        if self.interfaces.is_empty() && self.prefixes.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        if self.ttl == 0 {
            return Err(ConfigError::ZeroTtl);
        }
        self.tcp.validate().map_err(ConfigError::Tcp)?;
        for (name, value, least) in [
            ("embryos", self.limits.records.embryos.total(), 1u64),
            ("connections", self.limits.records.parked.total(), 1),
            // One for each direction.
            ("queue_items", self.limits.queue_items.into(), 2),
            ("send_queue_items", self.limits.send_queue_items.into(), 1),
            ("handoff_frames", self.limits.handoff_frames.into(), 1),
        ] {
            if value < least {
                return Err(ConfigError::Limit { name, value, least });
            }
        }
        if let Err(error) = self.limits.neighbor_config().validate() {
            return Err(ConfigError::Neighbors(error));
        }
        let mut prefixes = [&self.prefixes[..], &self.vips].concat();
        for interface in &self.interfaces {
            let bits = if interface.address.is_ipv4() { 32 } else { 128 };
            if interface.prefix_len > bits {
                return Err(ConfigError::PrefixLen(*interface));
            }
            prefixes.push(LocalPrefix::host(interface.address)?);
        }
        let locals = local_addresses(&prefixes, self.vlans.as_deref())?;
        let listeners = Listeners::new(&self.listeners, &locals)?;
        let profiles = Profiles::new(self.tcp.clone(), &self.profiles);
        let profiles = profiles.map_err(|error| ConfigError::Tcp(SettingsError::Profile(error)))?;
        if let Some((_, listener)) = listeners.open().find(|(_, l)| !profiles.has(l.profile)) {
            return Err(ConfigError::NoProfile(listener.port));
        }
        for gateway in [
            self.gateway_v4.map(IpAddr::from),
            self.gateway_v6.map(IpAddr::from),
        ] {
            let Some(gateway) = gateway else { continue };
            if !self
                .interfaces
                .iter()
                .any(|interface| interface.on_link(gateway))
            {
                return Err(ConfigError::GatewayOffLink(gateway));
            }
        }
        Ok(Config {
            interfaces: self.interfaces,
            locals,
            vips: self.vips,
            gateway_v4: self.gateway_v4.map(IpAddr::from),
            gateway_v6: self.gateway_v6.map(IpAddr::from),
            listeners,
            closed: self.closed,
            ttl: self.ttl,
            limits: self.limits,
            handshake: self.handshake,
            tcp: self.tcp,
            profiles,
            park_after: self.park_after,
            rest: self.rest,
            local_ports: self.local_ports,
            fast_path: self.fast_path,
        })
    }
}

/// All our addresses, in the VLANs that are named, or in those that are ours without a name.
fn local_addresses(
    prefixes: &[LocalPrefix],
    vlans: Option<&[VlanId]>,
) -> Result<LocalAddrs, LocalAddrsError> {
    match vlans {
        Some(vlans) => LocalAddrs::in_vlans(prefixes, vlans),
        None => LocalAddrs::new(prefixes),
    }
}

/// A validated configuration, shared read-only by all workers of an endpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our addresses on this link.
    pub interfaces: Vec<Interface>,
    /// All addresses that are ours, and the VLANs.
    pub locals: LocalAddrs,
    vips: Vec<LocalPrefix>,
    gateway_v4: Option<IpAddr>,
    gateway_v6: Option<IpAddr>,
    /// Open ports.
    pub listeners: Listeners,
    /// The answer of closed ports.
    pub closed: ClosedPolicy,
    /// TTL and hop limit of what we send.
    pub ttl: u8,
    /// Limits.
    pub limits: Limits,
    /// Handshake.
    pub handshake: Handshake,
    /// Limits and defaults of TCP.
    pub tcp: Settings,
    /// The profiles that the configuration names, the default first.
    pub profiles: Profiles,
    /// How long a connection is idle before it is parked.
    pub park_after: Duration,
    /// When open connections rest.
    pub rest: Rest,
    /// The local ports that active opens get where they ask for none.
    pub local_ports: PortRange,
    /// Which segments take the fast path.
    pub fast_path: FastPath,
}

impl Config {
    /// The neighbour that a packet to `destination` is handed to, or `None` without a route (RFC 1122 §3.3.1.1).
    #[must_use]
    pub fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        if self
            .interfaces
            .iter()
            .any(|interface| interface.on_link(destination))
        {
            return Some(destination);
        }
        if destination.is_ipv4() {
            self.gateway_v4
        } else {
            self.gateway_v6
        }
    }

    /// Whether ARP and neighbour discovery say that an address is ours: all but [`ConfigSpec::vips`].
    #[must_use]
    pub fn is_announced(&self, vlan: VlanId, address: IpAddr) -> bool {
        //~ A VIP is never announced: `!self.vips.iter().any(|vip| vip.contains(address))` -> `true`;
        //~   a_vip_answers_tcp_and_ping_and_no_question_for_its_link_address
        self.locals.find(vlan, address).is_some()
            && !self.vips.iter().any(|vip| vip.contains(address))
    }

    /// The routers off our links, one of each family at most.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        [self.gateway_v4, self.gateway_v6].into_iter().flatten()
    }

    /// Whether this is the directed broadcast address of one of our IPv4 links.
    #[must_use]
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        let is_theirs = |interface: &Interface| {
            directed_broadcast(interface).is_some_and(|theirs| IpAddr::from(theirs) == address)
        };
        self.interfaces.iter().any(is_theirs)
    }

    /// The directed broadcast addresses of our IPv4 links (RFC 1122 §3.2.1.3 (d)); none for /31 and /32 (RFC 3021).
    #[must_use]
    pub fn broadcasts(&self) -> Vec<[u8; 4]> {
        self.interfaces
            .iter()
            .filter_map(directed_broadcast)
            .collect()
    }

    /// The address that we ask neighbours from: the interface on `neighbor`'s link.
    #[must_use]
    pub fn source_for(&self, neighbor: IpAddr) -> Option<IpAddr> {
        let on_link = |interface: &&Interface| interface.on_link(neighbor);
        self.interfaces
            .iter()
            .find(on_link)
            .map(|interface| interface.address)
    }
}

fn directed_broadcast(interface: &Interface) -> Option<[u8; 4]> {
    match interface.address {
        IpAddr::V4(address) if interface.prefix_len < 31 => {
            let host_mask = u32::MAX
                .checked_shr(u32::from(interface.prefix_len))
                .unwrap_or(0);
            Some((address.to_bits() | host_mask).to_be_bytes())
        }
        _ => None,
    }
}

/// A configuration that can't be used. The text names the cause and the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing is ours.
    NoAddress,
    /// A TTL of 0 never leaves the host.
    ZeroTtl,
    /// The listener on this port names a profile that isn't there.
    NoProfile(u16),
    /// TCP's settings contradict each other or the RFCs.
    Tcp(SettingsError),
    /// A limit without which nothing can be kept.
    Limit {
        /// Which.
        name: &'static str,
        /// Its value.
        value: u64,
        /// Its least allowed value.
        least: u64,
    },
    /// The prefix is longer than the address.
    PrefixLen(Interface),
    /// The gateway can't be reached without a gateway.
    GatewayOffLink(IpAddr),
    /// The addresses don't fit together.
    Addresses(LocalAddrsError),
    /// The limit on neighbours is impossible.
    Neighbors(NeighborConfigError),
    /// The listeners don't fit together.
    Listeners(ListenersError),
}

impl From<LocalAddrsError> for ConfigError {
    fn from(error: LocalAddrsError) -> Self {
        Self::Addresses(error)
    }
}

impl From<ListenersError> for ConfigError {
    fn from(error: ListenersError) -> Self {
        Self::Listeners(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => write!(
                f,
                "no address is ours; give at least one, such as --ip 198.18.0.2/24"
            ),
            Self::ZeroTtl => write!(f, "a TTL of 0 never leaves this host; give 1 to 255"),
            Self::NoProfile(port) => write!(
                f,
                "the listener on port {port} names a profile that isn't there; add it with add_profile"
            ),
            Self::Tcp(error) => write!(f, "{error}"),
            Self::Limit { name, value, least } => {
                write!(f, "the limit '{name}' is {value}; give at least {least}")
            }
            Self::PrefixLen(Interface {
                address,
                prefix_len,
            }) => {
                write!(
                    f,
                    "{address}/{prefix_len}: the prefix is longer than the address"
                )
            }
            Self::GatewayOffLink(gateway) => write!(
                f,
                "gateway {gateway} is on none of our links; give an address inside the prefix of one --ip"
            ),
            Self::Neighbors(error) => fmt::Display::fmt(error, f),
            Self::Addresses(error) => fmt::Display::fmt(error, f),
            Self::Listeners(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::local::listener::SynPolicy;
    use crate::tcp::profile::ProfileError;

    fn v4(d: u8, prefix_len: u8) -> Interface {
        Interface {
            address: Ipv4Addr::new(198, 18, 0, d).into(),
            prefix_len,
        }
    }

    #[test]
    fn routes_go_to_the_link_first_then_to_the_gateway_then_nowhere() {
        let gateway = Ipv4Addr::new(198, 18, 0, 1);
        let v6 = Interface {
            address: "2001:db8::2".parse().expect("an address"),
            prefix_len: 64,
        };
        let mut spec = ConfigSpec::new(vec![v4(2, 24), v6]);
        spec.gateway_v4 = Some(gateway);
        let config = spec.validate().expect("valid");
        let on_link = IpAddr::from(Ipv4Addr::new(198, 18, 0, 77));
        assert_eq!(config.next_hop(on_link), Some(on_link));
        assert_eq!(
            config.next_hop(Ipv4Addr::new(198, 19, 0, 1).into()),
            Some(gateway.into())
        );
        assert_eq!(config.next_hop(Ipv6Addr::from_bits(1 << 120).into()), None);
        assert_eq!(config.source_for(on_link), Some(v4(2, 24).address));
        assert_eq!(config.broadcasts(), [[198, 18, 0, 255]]);
    }

    #[test]
    fn prefix_lengths_of_zero_and_all_bits_work() {
        let far = IpAddr::from(Ipv4Addr::new(203, 0, 113, 9));
        assert!(
            v4(2, 0).on_link(far)
                && !v4(2, 32).on_link(far)
                && v4(2, 32).on_link(v4(2, 32).address)
        );
        assert!(!v4(2, 0).on_link(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let error = |change: fn(&mut ConfigSpec)| {
            let mut spec = ConfigSpec::new(vec![v4(2, 24)]);
            change(&mut spec);
            spec.validate().expect_err("refused")
        };
        assert_eq!(
            error(|spec| spec.interfaces.clear()),
            ConfigError::NoAddress
        );
        assert_eq!(error(|spec| spec.ttl = 0), ConfigError::ZeroTtl);
        let rcv_buf = ConfigError::Tcp(SettingsError::Profile(ProfileError::RcvBuf(2919)));
        assert_eq!(error(|spec| spec.tcp.profile.rcv_buf = 2919), rcv_buf);
        let add_small = |spec: &mut ConfigSpec| {
            let _ = spec.add_profile(Profile {
                rcv_buf: 2919,
                ..Profile::default()
            });
        };
        assert_eq!(error(add_small), rcv_buf);
        let many = ConfigError::Tcp(SettingsError::Profile(ProfileError::TooMany));
        let add_many = |spec: &mut ConfigSpec| spec.profiles = vec![Profile::default(); 256];
        assert_eq!(error(add_many), many);
        let unknown = |spec: &mut ConfigSpec| {
            spec.listeners = vec![ListenerConfig {
                profile: ProfileId::nth(1),
                ..ListenerConfig::new(80, SynPolicy::Embryo)
            }];
        };
        assert_eq!(error(unknown), ConfigError::NoProfile(80));
        assert_eq!(
            error(|spec| spec.tcp.rto_min = Duration::ZERO),
            ConfigError::Tcp(SettingsError::RtoOrder)
        );
        assert!(matches!(
            error(|spec| spec.limits.neighbors = 0),
            ConfigError::Neighbors(_)
        ));
        assert_eq!(
            error(|spec| spec.interfaces[0].prefix_len = 33),
            ConfigError::PrefixLen(v4(2, 33))
        );
        assert_eq!(
            error(|spec| spec.gateway_v4 = Some(Ipv4Addr::new(198, 19, 0, 1))),
            ConfigError::GatewayOffLink(Ipv4Addr::new(198, 19, 0, 1).into())
        );
    }
}
