//! [`NicArgs`]: the flags that name a NIC, our addresses on it and the CPUs that drive it, the same in every command.
//!
//! It must never touch the machine.

use std::net::IpAddr;

use dpdk::{NicSpec, PoolSizes, PortConfig};
use stack::config::{ConfigSpec, Interface};
use stack::local::addresses::LocalPrefix;
use stack::nic::rss::SYMMETRIC_KEY;
use stack::wire::vlan::VlanId;

use super::idle::Idle;
use super::offloads::OffloadArgs;
use super::rss::RssKey;
use crate::addresses::{host_prefix, routed_prefix, vlan_id};
use crate::failure::Failure;
use crate::{secrets, units};

/// The tap of `--nic tap`, in a network namespace of its own.
const PRIVATE_TAP: &str = "syncline0";
/// IPv6 links carry packets of this length at least (RFC 8200 §5).
const IPV6_MTU_MIN: u16 = 1280;

/// The NIC and its addresses.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NicArgs {
    /// The NIC: tap:NAME, tap (a tap in a network namespace of its own), `memif:SOCKET[,server]`, af_xdp:INTERFACE, pci:ADDRESS,
    /// or any DPDK device (net_…)
    #[arg(long, value_name = "NIC")]
    pub(crate) nic: Option<String>,

    /// Our address and prefix length, IPv4 or IPv6; repeatable
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = host_prefix)]
    pub(crate) ip: Vec<Interface>,

    /// The router for off-link addresses, one per address family
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(crate) gateway: Vec<IpAddr>,

    /// A prefix that is routed to us: all its addresses are ours; repeatable
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = routed_prefix)]
    pub(crate) prefix: Vec<LocalPrefix>,

    /// VLANs (802.1Q) to accept, 1 to 4094, and 0 for untagged frames: our addresses exist in each of them, frames of other VLANs
    /// are dropped [default: untagged frames, and every VLAN if there are at most 16 addresses]
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = vlan_id)]
    pub(crate) vlan: Vec<VlanId>,

    /// Configure the kernel's side of the tap: bring it up and give it this address, in the first VLAN of --vlan unless --vlan
    /// names 0 [default: print the commands]
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = host_prefix)]
    pub(crate) tap_up: Vec<Interface>,

    /// Create the tap in a network namespace of its own, which ends with the run; without root also in a user namespace of its
    /// own. The command that runs a program there is printed
    #[arg(long)]
    pub(crate) unshare: bool,

    /// Queue pairs, each with its own worker [default: as many as --cpus names, else 1]
    #[arg(short = 't', long, value_name = "N", value_parser = units::within(1, 64u16))]
    pub(crate) queues: Option<u16>,

    /// CPUs of the workers, one each [default: the first CPUs; for taps and other kernel devices the kernel chooses]
    #[arg(
        long,
        visible_alias = "lcores",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = units::within(0, 65_535usize)
    )]
    pub(crate) cpus: Option<Vec<usize>>,

    /// Whether workers sleep or poll while no frames arrive [default: sleep on taps and other kernel devices, else spin]
    #[arg(long, value_enum)]
    pub(crate) idle: Option<Idle>,

    /// Largest IP packet, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = units::within(576, 9000u16))]
    pub(crate) mtu: u16,

    /// Bytes that a receive buffer holds; longer packets are received into several, where the NIC can [default: enough for a
    /// whole packet]
    #[arg(long, value_name = "BYTES", value_parser = units::within(256, 9216u16), hide_short_help = true)]
    pub(crate) rx_buffer: Option<u16>,

    /// Work that is left to the NIC
    #[command(flatten)]
    pub(crate) offloads: OffloadArgs,

    /// The key of the NIC's hash (RSS): random, which no peer can guess, or symmetric, which brings both directions of a flow to
    /// one queue, for a box in the middle. On memif and vhost-user, symmetric says that the other end steers so, too
    #[arg(
        long,
        value_enum,
        value_name = "KEY",
        default_value = "random",
        hide_short_help = true
    )]
    pub(crate) rss_key: RssKey,

    /// Before the first flow, send 256 segments of no connection to this host, and compare the queue to which each of its resets comes
    /// with the one that the NIC's hash names [default: the first flows are the proof]
    #[arg(long, value_name = "ADDR", hide_short_help = true)]
    pub(crate) rss_probe: Option<IpAddr>,

    /// Require this much memory in hugepages, in MB [default: hugepages if enough are free, else ordinary pages]
    #[arg(long, value_name = "MB", value_parser = units::count)]
    pub(crate) hugepages: Option<u64>,

    /// An argument for DPDK's EAL, passed on unchanged; repeatable
    #[arg(
        long,
        value_name = "ARG",
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    pub(crate) eal: Vec<String>,
}

impl NicArgs {
    /// The NIC that `--nic` names; `ring` without one.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a name that is no NIC's.
    pub(crate) fn spec(&self) -> Result<NicSpec, Failure> {
        let text = self.nic.as_deref().unwrap_or("ring");
        match text.strip_prefix("tap") {
            Some(options) if options.is_empty() || options.starts_with(',') => {
                Ok(format!("tap:{PRIVATE_TAP}{options}").parse()?)
            }
            _ => Ok(text.parse()?),
        }
    }

    /// Whether the run moves into a network namespace of its own.
    pub(crate) fn wants_own_namespace(&self) -> bool {
        let nic = self.nic.as_deref().unwrap_or_default();
        self.unshare || nic == "tap" || nic.starts_with("tap,")
    }

    /// Queue pairs and workers.
    ///
    /// # Errors
    /// [`Failure::Usage`] when `--queues` and `--cpus` disagree.
    pub(crate) fn workers(&self) -> Result<u16, Failure> {
        let named = self.cpus.as_ref().map(Vec::len);
        match (self.queues, named) {
            (Some(queues), Some(cpus)) if usize::from(queues) != cpus => {
                Err(Failure::Usage(format!(
                    "--queues {queues} needs as many --cpus, but --cpus names {cpus}: each queue has a worker of its own"
                )))
            }
            (Some(queues), _) => Ok(queues),
            (None, Some(cpus)) => u16::try_from(cpus)
                .map_err(|_| Failure::Usage("--cpus names more CPUs than a NIC has queues".into())),
            (None, None) => Ok(1),
        }
    }

    /// Contradictions between flags and the NIC that they name.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the first contradiction.
    pub(crate) fn check(&self, spec: &NicSpec) -> Result<(), Failure> {
        let usage = |text: String| Err(Failure::Usage(text));
        if self.mtu < IPV6_MTU_MIN && self.ip.iter().any(|ip| ip.address.is_ipv6()) {
            return usage(format!("--mtu {}: IPv6 needs at least 1280", self.mtu));
        }
        if let (NicSpec::Ring, Some(bytes)) = (spec, self.rx_buffer) {
            return usage(format!(
                "--rx-buffer {bytes} doesn't apply to the in-memory link: leave it out"
            ));
        }
        if let Some(host) = self.rss_probe
            && self.workers()? < 2
        {
            return usage(format!(
                "--rss-probe {host} needs several queues to tell apart: give --queues 2 or more"
            ));
        }
        let is_tap = matches!(spec, NicSpec::Tap { .. });
        if !is_tap && !self.tap_up.is_empty() {
            return usage(format!(
                "--tap-up applies only to --nic tap:NAME: the kernel has no side of {spec}"
            ));
        }
        if !is_tap && self.wants_own_namespace() {
            return usage(format!(
                "--unshare applies only to --nic tap:NAME: a network namespace of our own does not contain {spec}"
            ));
        }
        for theirs in &self.tap_up {
            if self.ip.iter().any(|ip| ip.address == theirs.address) {
                return usage(format!(
                    "{} is in both --ip and --tap-up: the kernel's resets would kill our connections; give the kernel another one",
                    theirs.address
                ));
            }
            if !self.ip.iter().any(|ip| theirs.on_link(ip.address)) {
                return usage(format!(
                    "--tap-up {}/{}: no --ip lies in that prefix, so the kernel could not reach us",
                    theirs.address, theirs.prefix_len
                ));
            }
        }
        Ok(())
    }

    /// The stack's configuration, as far as these flags say it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a second gateway of one family.
    pub(crate) fn config_spec(&self) -> Result<ConfigSpec, Failure> {
        let mut spec = ConfigSpec::new(self.ip.clone());
        spec.prefixes.clone_from(&self.prefix);
        spec.vlans = (!self.vlan.is_empty()).then(|| self.vlan.clone());
        for &gateway in &self.gateway {
            let taken = match gateway {
                IpAddr::V4(gateway) => spec.gateway_v4.replace(gateway).is_some(),
                IpAddr::V6(gateway) => spec.gateway_v6.replace(gateway).is_some(),
            };
            if taken {
                return Err(Failure::Usage(
                    "--gateway is given twice for one family: give one for IPv4 and one for IPv6 at most".into(),
                ));
            }
        }
        Ok(spec)
    }

    /// How the port is set up: `workers` queue pairs, these pools, and what the flags say.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system has no randomness for the key of the NIC's hash.
    pub(crate) fn port_config(
        &self,
        workers: u16,
        pools: PoolSizes,
    ) -> Result<PortConfig, Failure> {
        let ids = self.vlan.iter().map(|vlan| vlan.0).collect();
        Ok(PortConfig {
            queues: workers,
            mtu: self.mtu,
            rx_buffer: self.rx_buffer,
            pools,
            vlans: (!self.vlan.is_empty()).then_some(ids),
            offloads: self.offloads.offloads(),
            rss_key: match self.rss_key {
                RssKey::Random => secrets::rss_key()?,
                RssKey::Symmetric => SYMMETRIC_KEY,
            },
            peer_steers: self.rss_key == RssKey::Symmetric,
            fault: self.offloads.fault(),
            ..PortConfig::default()
        })
    }

    /// Whether an address of ours is of that family.
    pub(crate) fn has_family(&self, v6: bool) -> bool {
        let hosts = self.ip.iter().map(|ip| ip.address);
        let prefixes = self.prefix.iter().map(LocalPrefix::first);
        hosts.chain(prefixes).any(|ip| ip.is_ipv6() == v6)
    }

    /// The VLAN of the kernel's side of a tap: the first of `--vlan`.
    pub(crate) fn kernel_vlan(&self) -> VlanId {
        // Untagged comes first where it is among them, as in the stack's own order.
        self.vlan
            .iter()
            .copied()
            .min_by_key(|vlan| *vlan != VlanId::UNTAGGED)
            .unwrap_or_default()
    }
}
