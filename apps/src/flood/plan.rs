//! [`Setup`]: what the flags come to: sources, targets, what may be sent where, and whether there are tuples enough.
//!
//! It must never touch the machine beyond asking the kernel for its addresses, and never let a run begin that would have to
//! use a tuple before the verdict on it.

use diagnose::counted;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dpdk::{NicSpec, Offloads, PoolSizes, PortConfig};
use stack::config::{Config, Interface};
use stack::local::addresses::LocalPrefix;
use workload::pools::{self, SourcePool, TUPLES_MAX};

use super::args::FloodArgs;
use super::probe::ProbePlan;
use crate::failure::Failure;
use crate::rig::idle::Idle;
use crate::rig::{Allowed, Reach, RssKey, kernel};
use crate::traffic::Observable;

/// Targets at most, addresses times ports.
const TARGETS_MAX: u64 = 65_536;
/// Tuples in flight of a run without a rate, of all workers together: as many as 16 M frames a second need, in these bounds.
const UNLIMITED_IN_FLIGHT: core::ops::RangeInclusive<u64> = 1 << 14..=1 << 24;
/// Times longer than this would not fit the clock of the frames.
const HORIZON_MAX: Duration = Duration::from_secs(1800);
/// From this rate of one worker on frames leave in whole groups.
const GROUPS_FROM_PPS: u64 = 1_000_000;
/// The logarithm of the frames in such a group.
const GROUP_BITS: u32 = 3;
/// Frames in the pools of each queue.
const POOL_FRAMES: u32 = 8191;

/// Everything that is known before DPDK starts.
#[derive(Debug)]
pub(super) struct Setup {
    /// The NIC.
    pub(super) spec: NicSpec,
    /// Workers that send, one for each queue pair but the probe's.
    pub(super) workers: u16,
    /// The probe; its queue pair is the last one.
    pub(super) probe: Option<Arc<ProbePlan>>,
    /// The behaviour of a worker while no frame comes.
    pub(super) idle: Idle,
    /// Addresses and ports that frames come from.
    pub(super) pool: SourcePool,
    /// Addresses and ports that they go to.
    pub(super) targets: Vec<(IpAddr, u16)>,
    /// Whose replies can come back.
    pub(super) observable: Observable,
    /// Sources that are routed to us.
    pub(super) routed: Vec<LocalPrefix>,
    /// Routes, and the addresses that we ask neighbours from.
    pub(super) config: Config,
    /// Frames a second, all workers together; `None` for as many as are taken.
    pub(super) rate_pps: Option<u64>,
    /// Frames that each worker may have in flight.
    pub(super) in_flight: u64,
    /// The logarithm of the number of frames that are made at one time.
    pub(super) group_bits: u32,
    /// The port.
    pub(super) port: PortConfig,
    /// Whom frames reach.
    pub(super) reach: Reach,
}

impl Setup {
    /// The setup of `args`.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the flag and the fix.
    pub(super) fn new(args: &FloodArgs) -> Result<Self, Failure> {
        let spec = args.link.spec()?;
        let is_ring = matches!(spec, NicSpec::Ring);
        if is_ring {
            return usage(
                "flood needs a target behind a NIC: give --nic tap, memif:SOCKET, pci:ADDRESS, … (`syncline bench syn` floods an endpoint of its own in memory)".into(),
            );
        }
        if args.link.rss_probe.is_some() {
            return usage(
                "--rss-probe doesn't apply to flood, which takes replies on any queue: leave it out"
                    .into(),
            );
        }
        if args.link.rss_key == RssKey::Symmetric {
            return usage(
                "--rss-key symmetric doesn't apply to flood, which takes replies on any queue: leave it out".into(),
            );
        }
        if args.link.ip.is_empty() {
            return usage("--ip is missing: give the address from which flood asks for neighbours, such as --ip 198.18.0.2/24".into());
        }
        if args.link.vlan.len() > 1 {
            return usage("--vlan: flood sends in one VLAN; start a run for each".into());
        }
        let config = args.config_spec()?.validate();
        let config = config.map_err(|error| Failure::Usage(error.to_string()))?;
        let workers = workers(args)?;
        let targets = targets(args)?;
        let v6 = targets[0].0.is_ipv6();
        let allowed = Allowed::for_floods(&spec, &args.guard);
        for (address, _) in &targets {
            allowed.target(*address)?;
        }
        let sources = sources(args, v6)?;
        for prefix in &sources {
            if !args.link.ip.iter().any(|ip| ip.address == prefix.address) {
                allowed.source_prefix(prefix)?;
            }
        }
        let pool = pool(args, &sources, &targets, &config)?;
        let rate_pps = allowed.rate(args.rate);
        let horizon = args.wait + args.resend.unwrap_or_default() * args.retries;
        let in_flight = in_flight(args, &pool, targets.len() as u64, (rate_pps, horizon))?;
        Ok(Self {
            observable: observable(args, &sources),
            routed: routed(args, &sources),
            idle: args.link.idle.unwrap_or_else(|| Idle::usual_on(&spec)),
            group_bits: if rate_pps.is_none_or(|rate| rate / u64::from(workers) >= GROUPS_FROM_PPS)
            {
                GROUP_BITS
            } else {
                0
            },
            in_flight: in_flight.div_ceil(workers.into()),
            port: port(args, workers + u16::from(args.probe.is_some()))?,
            probe: probe(args, &targets).map(Arc::new),
            reach: allowed.reach(),
            spec,
            workers,
            pool,
            targets,
            config,
            rate_pps,
        })
    }
}

/// Workers that send. With a probe, `--queues` and `--cpus` count its queue as well.
fn workers(args: &FloodArgs) -> Result<u16, Failure> {
    let given = args.link.queues.is_some() || args.link.cpus.is_some();
    let queues = args.link.workers()?;
    match (args.probe.is_some(), given) {
        (false, _) | (true, false) => Ok(queues),
        (true, true) if queues > 1 => Ok(queues - 1),
        (true, true) => usage(
            "--probe needs a queue and a CPU of its own (the last one): give --queues 2 or more, or two --cpus".into(),
        ),
    }
}

fn probe(args: &FloodArgs, targets: &[(IpAddr, u16)]) -> Option<ProbePlan> {
    let targets: Vec<SocketAddr> = targets.iter().map(|&target| target.into()).collect();
    let host = targets.first()?;
    Some(ProbePlan {
        rate: args.probe?,
        request: args.probe_request.as_ref().map_or_else(
            || format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes(),
            |bytes| bytes.0.clone(),
        ),
        targets,
        reply: args.probe_reply.0.clone(),
        timeout: args.probe_timeout,
        reconnects: args.reconnect,
    })
}

fn usage<T>(text: String) -> Result<T, Failure> {
    Err(Failure::Usage(text))
}

/// The port for so many queue pairs.
///
/// # Errors
/// As [`crate::rig::NicArgs::port_config`].
pub(super) fn port(args: &FloodArgs, queues: u16) -> Result<PortConfig, Failure> {
    let frames = POOL_FRAMES * u32::from(queues);
    let pools = PoolSizes {
        rx_frames: frames,
        control_frames: frames,
        data_frames: frames,
        ..PoolSizes::default()
    };
    let port = args.link.port_config(queues, pools)?;
    Ok(PortConfig {
        // Frames are read as they come: each is one reply.
        offloads: Offloads {
            lro: false,
            ..port.offloads
        },
        vlans: args.vlan().map(|vlan| vec![vlan.0]),
        ..port
    })
}

/// All targets, in the order in which they were named, each once.
fn targets(args: &FloodArgs) -> Result<Vec<(IpAddr, u16)>, Failure> {
    let v6 = args
        .target
        .first()
        .is_some_and(|group| group.addresses.address.is_ipv6());
    let mut targets = Vec::new();
    for group in &args.target {
        let Interface {
            address,
            prefix_len,
        } = group.addresses;
        if address.is_ipv6() != v6 {
            return usage("the targets are of IPv4 and IPv6: start a run for each family".into());
        }
        let pool = SourcePool::new(&[(address, prefix_len)], &[group.ports])
            .map_err(|error| Failure::Usage(format!("target {address}/{prefix_len}: {error}")))?;
        if pool.len() + targets.len() as u64 > TARGETS_MAX {
            return usage(format!(
                "target {address}/{prefix_len}: more than {TARGETS_MAX} targets (addresses × ports); name fewer, or use several runs"
            ));
        }
        for index in 0..pool.len() {
            let source = pool.get(index);
            let ip = pool.ip(index / u64::from(pool.ports()));
            targets.push((ip, source.port));
        }
    }
    let mut seen = std::collections::HashSet::new();
    targets.retain(|target| seen.insert(*target));
    Ok(targets)
}

/// The prefixes that frames come from.
fn sources(args: &FloodArgs, v6: bool) -> Result<Vec<Interface>, Failure> {
    if let Some(other) = args
        .sources
        .iter()
        .find(|prefix| prefix.address.is_ipv6() != v6)
    {
        return usage(format!(
            "--sources {}/{}: the targets are of the other family; give sources of theirs",
            other.address, other.prefix_len
        ));
    }
    if !args.sources.is_empty() {
        return Ok(args.sources.clone());
    }
    let own = args.link.ip.iter().filter(|ip| ip.address.is_ipv6() == v6);
    let own: Vec<Interface> = own
        .map(|ip| Interface {
            address: ip.address,
            prefix_len: if v6 { 128 } else { 32 },
        })
        .collect();
    if own.is_empty() {
        return usage(
            "no source address of the targets' family: give one with --ip or --sources".into(),
        );
    }
    Ok(own)
}

/// The pool without addresses that others have: targets, gateways, the kernel, and the ends of our links.
fn pool(
    args: &FloodArgs,
    sources: &[Interface],
    targets: &[(IpAddr, u16)],
    config: &Config,
) -> Result<SourcePool, Failure> {
    let prefixes: Vec<_> = sources
        .iter()
        .map(|prefix| (prefix.address, prefix.prefix_len))
        .collect();
    let wrong = |error: pools::PoolError| Failure::Usage(format!("--sources: {error}"));
    let mut pool = SourcePool::new(&prefixes, args.pool.ports()).map_err(wrong)?;
    let of_kernel = kernel::owned_addresses()?;
    let networks = args.link.ip.iter().filter_map(network_address);
    // Its connections are the stack's, not the flood's.
    let of_probe = args.link.ip.iter().filter(|_| args.probe.is_some());
    let of_probe = of_probe.map(|ip| ip.address);
    let taken = targets
        .iter()
        .map(|(address, _)| *address)
        .chain(args.link.gateway.iter().copied())
        .chain(args.link.tap_up.iter().map(|ip| ip.address))
        .chain(of_kernel.iter().map(|owned| owned.address))
        .chain(config.broadcasts().into_iter().map(IpAddr::from))
        .chain(networks)
        .chain(of_probe);
    for address in taken {
        if pool.contains(address) {
            pool = pool.without(address).map_err(wrong)?;
        }
    }
    Ok(pool)
}

/// The address of an IPv4 link itself, which no host has; none for links of two or one (RFC 3021).
fn network_address(ip: &Interface) -> Option<IpAddr> {
    let IpAddr::V4(address) = ip.address else {
        return None;
    };
    let host = u32::MAX.checked_shr(ip.prefix_len.into()).unwrap_or(0);
    (ip.prefix_len < 31).then(|| IpAddr::from((address.to_bits() & !host).to_be_bytes()))
}

/// First and last address of a prefix.
fn ends(prefix: &Interface) -> (u128, u128) {
    let width: u32 = if prefix.address.is_ipv6() { 128 } else { 32 };
    let host_bits = width - u32::from(prefix.prefix_len);
    let host = 1u128
        .checked_shl(host_bits)
        .map_or(u128::MAX, |next| next - 1);
    let first = pools::bits(prefix.address) & !host;
    (first, first | host)
}

/// Replies come back to sources on our links, which answer ARP, and to those that are routed to us.
fn observable(args: &FloodArgs, sources: &[Interface]) -> Observable {
    if args.routed {
        return Observable::All;
    }
    let v6 = sources
        .first()
        .is_some_and(|prefix| prefix.address.is_ipv6());
    let links = args.link.ip.iter().copied();
    let prefixes = args.link.prefix.iter().map(|prefix| Interface {
        address: prefix.first(),
        prefix_len: prefix.prefix_len(),
    });
    let ranges: Vec<(u128, u128)> = links
        .chain(prefixes)
        .filter(|prefix| prefix.address.is_ipv6() == v6)
        .map(|prefix| ends(&prefix))
        .collect();
    let within = |prefix: &Interface| {
        let (first, last) = ends(prefix);
        ranges
            .iter()
            .any(|range| range.0 <= first && last <= range.1)
    };
    let apart = |prefix: &Interface| {
        let (first, last) = ends(prefix);
        ranges.iter().all(|range| last < range.0 || range.1 < first)
    };
    if sources.iter().all(within) {
        Observable::All
    } else if sources.iter().all(apart) {
        Observable::None
    } else {
        Observable::Ranges(ranges)
    }
}

/// The sources that the kernel's side of a tap must route to us, in prefixes that it takes.
fn routed(args: &FloodArgs, sources: &[Interface]) -> Vec<LocalPrefix> {
    if !args.routed {
        return Vec::new();
    }
    let off_link = sources.iter().filter(|prefix| {
        let (first, last) = ends(prefix);
        let mut links = args.link.ip.iter();
        !links.any(|link| {
            link.address.is_ipv6() == prefix.address.is_ipv6() && {
                let link = ends(link);
                link.0 <= first && last <= link.1
            }
        })
    });
    off_link.flat_map(pieces).collect()
}

/// A prefix in pieces of at most 65,536 addresses, up to 256 of them; the rest of a larger one is for the user to route.
fn pieces(prefix: &Interface) -> Vec<LocalPrefix> {
    let (first, last) = ends(prefix);
    let piece_len = prefix
        .prefix_len
        .max(if prefix.address.is_ipv6() { 112 } else { 16 });
    let width: u8 = if prefix.address.is_ipv6() { 128 } else { 32 };
    let step = 1u128 << (width - piece_len);
    let starts = (0..256u128).map(|n| first + n * step);
    starts
        .take_while(|&start| start <= last)
        .filter_map(|start| {
            let address = if prefix.address.is_ipv6() {
                std::net::Ipv6Addr::from_bits(start).into()
            } else {
                std::net::Ipv4Addr::from_bits(start as u32).into()
            };
            LocalPrefix::new(address, piece_len).ok()
        })
        .collect()
}

/// Tuples that are in flight at most, when there are as many.
fn in_flight(
    args: &FloodArgs,
    pool: &SourcePool,
    targets: u64,
    (rate_pps, horizon): (Option<u64>, Duration),
) -> Result<u64, Failure> {
    if horizon > HORIZON_MAX {
        return usage(format!(
            "--wait and --resend keep each tuple for {horizon:?}: lower them to at most 30 minutes together"
        ));
    }
    let tuples = pool.len().checked_mul(targets).filter(|&n| n <= TUPLES_MAX);
    let Some(tuples) = tuples else {
        return usage("sources × targets are more than 2^62 tuples: name longer prefixes".into());
    };
    let tuples = tuples / u64::from(args.pool.shard().count());
    let Some(rate) = rate_pps else {
        let wanted = u64::try_from(horizon.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_mul(16);
        let wanted = wanted.clamp(*UNLIMITED_IN_FLIGHT.start(), *UNLIMITED_IN_FLIGHT.end());
        return Ok(wanted.min(tuples));
    };
    let taken = horizon.min(args.duration);
    let needed = (u128::from(rate) * taken.as_nanos()).div_ceil(1_000_000_000);
    let needed = args.count.map_or(needed, |count| needed.min(count.into()));
    if needed > u128::from(tuples) {
        return usage(format!(
            "this needs {} ({rate} frames a second, each taken for {taken:?}), you have {tuples} ({} × {} × {}): add addresses or ports to --sources, or lower -R or --wait",
            counted(needed, "tuple"),
            counted(pool.addresses(), "address"),
            counted(pool.ports(), "port"),
            counted(targets, "target")
        ));
    }
    // A quarter more, for a worker that is late with its verdicts.
    let wanted = u64::try_from(needed + needed / 4).unwrap_or(u64::MAX);
    Ok(wanted.max(4096).min(tuples))
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::args;
    use super::*;

    fn setup(line: &str) -> Result<Setup, Failure> {
        Setup::new(&args(&format!("--nic tap:t0 --ip 198.18.0.2/24 {line}")).expect("valid flags"))
    }

    fn error(line: &str) -> String {
        setup(line).expect_err(line).to_string()
    }

    #[test]
    fn a_pool_leaves_out_what_others_have() {
        let setup = setup("198.18.0.1:80 --sources 198.18.0.0/24 --gateway 198.18.0.9 -R 1k")
            .expect("a setup");
        assert_eq!(setup.pool.addresses(), 256 - 4);
        for taken in ["198.18.0.0", "198.18.0.1", "198.18.0.9", "198.18.0.255"] {
            assert!(
                !setup.pool.contains(taken.parse().expect("an address")),
                "{taken}"
            );
        }
        assert!(matches!(setup.observable, Observable::All));
        assert!(setup.routed.is_empty());
    }

    #[test]
    fn too_few_tuples_are_refused_with_the_arithmetic() {
        let text = error("198.18.0.1:80 -R 100k");
        assert!(
            text.contains("needs 100000 tuples") && text.contains("you have 64512"),
            "{text}"
        );
        assert!(setup("198.18.0.1:80 -R 100k --sources 198.18.0.64/26").is_ok());
        assert!(
            setup("198.18.0.1:80 198.18.0.1:81 -R 100k").is_ok(),
            "twice the tuples"
        );
        assert!(
            setup("198.18.0.1:80 -R 100k -n 60k").is_ok(),
            "fewer frames than tuples"
        );
        assert!(setup("198.18.0.1:80 -R 100k -d 500ms").is_ok());
        assert!(error("198.18.0.1:80 -R 20k --resend 3s --retries 2").contains("140000"));
        assert!(error("198.18.0.1:80 -R 40k --shard 1/2").contains("you have 32256"));
    }

    #[test]
    fn sources_off_the_link_are_not_observable_unless_routed() {
        let observable = |line: &str| setup(&format!("198.18.0.1:80 -R 1k {line}")).expect(line);
        assert!(matches!(
            observable("--sources 198.18.64.0/18").observable,
            Observable::None
        ));
        let routed = observable("--sources 198.18.64.0/18 --routed");
        assert!(matches!(routed.observable, Observable::All));
        assert_eq!(routed.routed.len(), 1);
        assert!(matches!(
            observable("--sources 198.18.64.0/18,198.18.0.0/24").observable,
            Observable::Ranges(_)
        ));
        assert!(matches!(
            observable("--sources 198.18.64.0/18 --prefix 198.18.64.0/18").observable,
            Observable::All
        ));
        assert_eq!(
            observable("--sources 198.18.0.0/15 --routed").routed.len(),
            2
        );
    }

    #[test]
    fn what_can_not_be_is_refused_in_a_line() {
        for (line, part) in [
            ("198.18.0.1:80 [2001:db8::1]:80", "each family"),
            (
                "[2001:db8::1]:80",
                "no source address of the targets' family",
            ),
            ("198.18.0.1:80 --sources 2001:db8::/96", "other family"),
            ("198.18.0.1:80 --vlan 5,6", "start a run for each"),
            ("198.18.0.0/16:80-81", "more than 65536 targets"),
            ("198.18.0.1:80 --wait 1h", "30 minutes"),
            (
                "198.18.0.1:80 --queues 2 --rss-probe 198.18.0.1",
                "leave it out",
            ),
            (
                "198.18.0.1:80 --queues 2 --rss-key symmetric",
                "leave it out",
            ),
        ] {
            assert!(error(line).contains(part), "{line}: {}", error(line));
        }
        let no_nic = Setup::new(&args("198.18.0.1:80 --ip 198.18.0.2/24").expect("valid"));
        assert!(no_nic.expect_err("no NIC").to_string().contains("--nic"));
    }

    #[test]
    fn a_probe_has_a_queue_and_the_addresses_of_its_own() {
        let with = |more: &str| {
            setup(&format!(
                "198.18.0.1:80 --sources 198.18.0.0/26 -R 1k --probe 10 {more}"
            ))
        };
        let setup = with("").expect("a setup");
        assert_eq!((setup.workers, setup.port.queues), (1, 2));
        assert!(
            !setup
                .pool
                .contains("198.18.0.2".parse().expect("an address"))
        );
        assert_eq!(with("--queues 3").expect("a setup").workers, 2);
        assert!(with("--queues 1").is_err());
        assert!(
            error("198.18.0.1:80 -R 1k --probe 10").contains("no address"),
            "only --ip, which is the probe's"
        );
    }

    #[test]
    fn elsewhere_a_flood_needs_leave_and_is_slow() {
        let line =
            |more: &str| format!("198.18.0.1:80 --nic af_xdp:veth0 --ip 198.18.0.2/24 {more}");
        let refused = Setup::new(&args(&line("")).expect("valid"));
        assert!(
            refused
                .expect_err("a stranger")
                .to_string()
                .contains("--allow-target")
        );
        let allowed = Setup::new(&args(&line("--allow-target 198.18.0.1/32")).expect("valid"));
        assert_eq!(allowed.expect("allowed").rate_pps, Some(10_000));
    }
}
