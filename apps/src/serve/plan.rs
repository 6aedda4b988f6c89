//! [`Plan`]: what the endpoint is going to be. Everything that can be refused before a NIC is touched is refused here.
//!
//! It must never change the machine; it looks at it (addresses, interfaces, sockets).

use std::sync::Arc;

use dpdk::{NicSpec, PoolSizes, PortConfig};
use stack::config::{Config, Limits};
use stack::conn::{Capacity, Records};
use stack::local::addresses::LocalPrefix;
use stack::local::listener::ListenerConfig;
use stack::tcp::profile::{Profile, ProfileId};

use super::args::ServeArgs;
use super::listen::{Listen, ListenGroup, Service};
use crate::failure::Failure;
use crate::rig;
use crate::rig::idle::Idle;
use crate::rig::kernel::KernelAddress;

/// Half-open connections that one worker has room for at most, whatever the listeners ask for.
const EMBRYOS_MAX: u32 = 1 << 20;
/// Half-open connections that there is room for at least, where the listeners ask for fewer: a table can't have none.
const EMBRYOS_MIN: u32 = 16;
/// Connections at work at once on one family, unless asked for otherwise.
const ACTIVE_DEFAULT: u32 = 65_536;
/// Frames that the registered bytes of one place may take on one worker: 64 KiB of body, and twelve short responses.
const FRAMES_PER_PLACE: u32 = 64;
/// Memory of the program besides DPDK and workers: threads of the control side, allocators of all threads.
const OTHER_BYTES: u64 = 64 << 20;

/// A checked configuration.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The NIC.
    pub(super) spec: NicSpec,
    /// The configuration of each worker: the same but for its share of what is counted.
    pub(super) configs: Vec<Arc<Config>>,
    /// The places of `--listen`; the configuration's listeners are their ports, in this order.
    pub(super) listens: Vec<Listen>,
    /// Queue pairs, workers.
    pub(super) workers: u16,
    /// Whether they sleep or poll while no frames arrive.
    pub(super) idle: Idle,
    /// How the port is set up.
    pub(super) port: PortConfig,
    /// Further memory of all workers, in bytes, generously: tables, queues, stacks.
    pub(super) worker_bytes: u64,
}

impl Plan {
    /// The plan that `args` describe, as far as this machine allows it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what another command line avoids, [`Failure::Run`] for what the machine hasn't got.
    pub(super) fn new(args: &ServeArgs) -> Result<Self, Failure> {
        let plan = Self::of(args)?;
        rig::check_flags(&args.link, &plan.spec)?;
        refuse_owned_vips(&args.vip, &rig::kernel::owned_addresses()?)?;
        Ok(plan)
    }

    /// The plan that `args` describe, whatever this machine allows.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what another command line avoids.
    pub(super) fn of(args: &ServeArgs) -> Result<Self, Failure> {
        let spec = args.link.spec()?;
        if spec == NicSpec::Ring {
            return usage(
                "`ring` is a link inside one process, with nothing at its other end: use `syncline bench`, or --nic tap:dtap0",
            );
        }
        check_duration(args)?;
        let workers = args.link.workers()?;
        let listens = listens(args);
        let configs = Share::all(workers)
            .map(|share| config(args, &listens, share).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        args.link.check(&spec)?;
        let pools = pools(args, &listens, workers);
        let of_workers: u64 = configs
            .iter()
            .map(|config| worker_bytes(&config.limits))
            .sum();
        let worker_bytes = of_workers + OTHER_BYTES;
        Ok(Self {
            idle: args.link.idle.unwrap_or_else(|| Idle::usual_on(&spec)),
            configs,
            listens,
            workers,
            port: args.link.port_config(workers, pools)?,
            worker_bytes,
            spec,
        })
    }
}

impl Plan {
    /// Frames on their way to another worker, per receiving worker.
    pub(super) fn handoff_frames(&self) -> u16 {
        let of = |config: &Arc<Config>| config.limits.handoff_frames;
        self.configs.first().map_or(1, of)
    }
}

/// Memory of a worker, in bytes, generously: records with their share of the index (ARCHITECTURE.md), what an app keeps for
/// them, places in queues, a stack.
fn worker_bytes(limits: &Limits) -> u64 {
    const OPEN_BYTES: u64 = 1024;
    const OTHER_RECORD_BYTES: u64 = 192;
    const PLACE_BYTES: u64 = 64;
    const STACK_BYTES: u64 = 8 << 20;
    let count = |records: Records| u64::from(records.v4) + u64::from(records.v6);
    let records = &limits.records;
    let others = count(records.embryos) + count(records.parked) + count(records.time_wait);
    count(records.open) * OPEN_BYTES
        + others * OTHER_RECORD_BYTES
        + u64::from(limits.queue_items) * PLACE_BYTES
        + STACK_BYTES
}

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// A run without time is refused.
/// A virtual address may be another machine's, but not this kernel's, whose resets would kill our connections.
fn refuse_owned_vips(vips: &[LocalPrefix], owned: &[KernelAddress]) -> Result<(), Failure> {
    for KernelAddress { address, interface } in owned {
        if let Some(vip) = vips.iter().find(|vip| vip.contains(*address)) {
            return usage(format!(
                "--vip {vip}: the kernel owns {address} (on {interface}), and its resets would kill our connections; take it away \
                 from the kernel, or run in another network namespace"
            ));
        }
    }
    Ok(())
}

fn check_duration(args: &ServeArgs) -> Result<(), Failure> {
    if args.duration.is_some_and(|duration| duration.is_zero()) {
        return usage(
            "--duration 0 ends the run before it begins: give a longer time, or leave it out",
        );
    }
    Ok(())
}

/// All places, in the order of the command line.
fn listens(args: &ServeArgs) -> Vec<Listen> {
    let values = args.listen.iter();
    values
        .flat_map(|ListenGroup(places)| places)
        .cloned()
        .collect()
}

fn config(args: &ServeArgs, listens: &[Listen], share: Share) -> Result<Config, Failure> {
    let mut spec = args.link.config_spec()?;
    spec.vips.clone_from(&args.vip);
    let active = args.max_active.unwrap_or(args.max_connections);
    for (flag, whole) in [
        ("--max-connections", args.max_connections),
        ("--max-active", active),
    ] {
        if whole < u32::from(share.workers) {
            return usage(format!(
                "{flag} {whole}: each of the {} workers needs at least one",
                share.workers
            ));
        }
    }
    spec.closed = args.closed.into();
    spec.ttl = args.ttl;
    spec.tcp.profile.rcv_buf = args.rcv_buf;
    let whole = spec.add_profile(Profile {
        nagle: false,
        ..spec.tcp.profile
    });
    spec.listeners = listeners(args, listens, share, whole);
    spec.tcp.two_msl = args.time_wait;
    spec.tcp.rto_min = args.rto_min;
    spec.tcp.rto_initial = spec.tcp.rto_initial.max(args.rto_min);
    spec.park_after = args.rto_min;
    spec.limits.queue_items = share.of(args.max_kept_frames);
    spec.limits.records = capacity(args, &spec.listeners, share);
    spec.validate()
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// One for each port of each place. Services whose answers are whole, so that there is nothing to wait for, have the profile `whole`.
fn listeners(
    args: &ServeArgs,
    listens: &[Listen],
    share: Share,
    whole: ProfileId,
) -> Vec<ListenerConfig> {
    let of_place = |listen: &Listen| {
        let place = ListenerConfig {
            address: listen.address,
            port: 0,
            policy: listen.policy.unwrap_or(args.syn.into()),
            // A port that a worker has no place for would be closed to the flows that are its.
            backlog: share.of(listen.backlog.unwrap_or(args.backlog)).max(1),
            abort_on_overflow: listen.abort_on_overflow,
            profile: match listen.service {
                Service::Echo | Service::Http(_) => whole,
                _ => ProfileId::DEFAULT,
            },
        };
        let ports = listen.ports.clone();
        ports.map(move |port| ListenerConfig { port, ..place })
    };
    listens.iter().flat_map(of_place).collect()
}

/// Room in each worker's table, for the families that we have addresses of.
fn capacity(args: &ServeArgs, listeners: &[ListenerConfig], share: Share) -> Capacity {
    let of_families = |records: u32| {
        let has_vip = |v6| args.vip.iter().any(|vip| vip.first().is_ipv6() == v6);
        let has = |v6| args.link.has_family(v6) || has_vip(v6);
        Records {
            v4: if has(false) { records } else { 0 },
            v6: if has(true) { records } else { 0 },
        }
    };
    let embryos = listeners
        .iter()
        .fold(0u32, |sum, listener| sum.saturating_add(listener.backlog));
    let active = args
        .max_active
        .unwrap_or(args.max_connections.min(ACTIVE_DEFAULT));
    let part = |whole| of_families(share.of(whole));
    Capacity {
        embryos: of_families(embryos.clamp(EMBRYOS_MIN, EMBRYOS_MAX)),
        parked: part(args.max_connections),
        open: part(active),
        time_wait: part(args.max_time_wait),
    }
}

/// One worker's part of what is shared out: the parts of all workers together are the whole, to the last one.
#[derive(Debug, Clone, Copy)]
struct Share {
    worker: u16,
    workers: u16,
}

impl Share {
    /// The shares of so many workers, in their order.
    fn all(workers: u16) -> impl Iterator<Item = Self> {
        (0..workers).map(move |worker| Self { worker, workers })
    }

    /// This worker's part of `whole`: the first ones have one more where it doesn't divide.
    fn of(self, whole: u32) -> u32 {
        let workers = u32::from(self.workers.max(1));
        whole / workers + u32::from(u32::from(self.worker) < whole % workers)
    }

    /// The largest part of `whole`, for what all workers take from one pool.
    fn largest(whole: u32, workers: u16) -> u32 {
        whole.div_ceil(workers.max(1).into())
    }
}

fn pools(args: &ServeArgs, listens: &[Listen], workers: u16) -> PoolSizes {
    let kept = Share::largest(args.max_kept_frames, workers);
    let registered = u32::try_from(listens.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(FRAMES_PER_PLACE);
    rig::pool_sizes(workers, kept, registered)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use stack::local::listener::{ListenerId, SynPolicy};

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn args(flags: &str) -> ServeArgs {
        Line::try_parse_from(std::iter::once("serve").chain(flags.split(' ')))
            .unwrap_or_else(|error| panic!("{flags}: {error}"))
            .args
    }

    /// The error of wrong `flags`, before the machine is examined.
    fn refusal(flags: &str) -> String {
        let args = args(flags);
        let spec = args.link.spec().expect("a spec");
        check_duration(&args)
            .and_then(|()| args.link.check(&spec))
            .and_then(|()| args.link.workers())
            .and_then(|workers| {
                let mut shares = Share::all(workers);
                shares.try_for_each(|share| config(&args, &listens(&args), share).map(drop))
            })
            .expect_err(flags)
            .to_string()
    }

    const TAP: &str = "--nic tap:dtap9 --ip 198.18.0.2/24";

    #[test]
    fn virtual_addresses_are_ours_and_never_the_kernels() {
        let args = args(&format!(
            "{TAP} --vip 198.18.0.77,2001:db8::77 --vip 198.18.7.0/24"
        ));
        let listens = listens(&args);
        let mut shares = Share::all(1);
        let config = config(&args, &listens, shares.next().expect("one")).expect("valid");
        let untagged = config.locals.vlans().first();
        for (address, is_ours, is_announced) in [
            ("198.18.0.2", true, true),
            ("198.18.0.77", true, false),
            ("198.18.7.9", true, false),
            ("2001:db8::77", true, false),
            ("198.18.0.78", false, false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(
                config.locals.find(untagged, address).is_some(),
                is_ours,
                "{address}"
            );
            assert_eq!(
                config.is_announced(untagged, address),
                is_announced,
                "{address}"
            );
        }
        assert!(
            config.limits.records.open.v6 > 0,
            "a VIP's family has connections too"
        );
        let owned = |address: &str| KernelAddress {
            interface: "lo".into(),
            address: address.parse().expect("an address"),
        };
        let refused = refuse_owned_vips(&args.vip, &[owned("198.18.7.9")]).expect_err("refused");
        assert!(
            refused
                .to_string()
                .contains("--vip 198.18.7.0/24: the kernel owns 198.18.7.9 (on lo)")
        );
        assert_eq!(refuse_owned_vips(&args.vip, &[owned("198.18.0.1")]), Ok(()));
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (flags, part) in [
            ("--tap-up 198.18.0.2/24", "in both --ip and --tap-up"),
            ("--tap-up 203.0.113.1/24", "could not reach us"),
            ("--cpus 0,1 --queues 3", "as many --cpus"),
            (
                "--gateway 198.18.0.1 --gateway 198.18.0.9",
                "given twice for one family",
            ),
            ("--gateway 203.0.113.1", "none of our links"),
            ("--ip 2001:db8::2/64 --mtu 1000", "at least 1280"),
            ("--duration 0", "--duration 0"),
            ("--max-connections 3 --queues 4", "each of the 4 workers"),
            ("--max-active 0", "--max-active 0"),
            ("--listen 80,80", "two listeners"),
            ("--listen 198.18.0.3:80", "not one of our addresses"),
            ("--ip 224.0.0.1/24", "224.0.0.1"),
            ("--vlan 5,6 --vlan 5", "VLAN 5 is given twice"),
            (
                "--prefix 198.18.128.0/17 --vlan 5,6",
                "32769 local addresses in each of 2 VLANs",
            ),
        ] {
            let text = refusal(&format!("{TAP} {flags}"));
            assert!(text.contains(part), "{flags}: {text}");
        }
        let text = refusal("--nic memif:/run/a --ip 198.18.0.2/24 --tap-up 198.18.0.1/24");
        assert!(
            text.contains("--tap-up applies only to --nic tap"),
            "{text}"
        );
    }

    #[test]
    fn limits_are_shared_out_and_families_without_an_address_cost_nothing() {
        let args = args(&format!(
            "{TAP} --listen 80,81 --backlog 100 --max-connections 1001 --queues 2"
        ));
        let shares = Share::all(args.link.workers().expect("two"));
        let backlog = |config: &Config| Some(config.listeners.config(ListenerId(1))?.backlog);
        for (share, connections) in shares.zip([501, 500]) {
            let config = config(&args, &listens(&args), share).expect("valid");
            assert_eq!(backlog(&config), Some(50));
            let records = config.limits.records;
            assert_eq!((records.embryos.v4, records.embryos.v6), (100, 0));
            assert_eq!((records.parked.v4, records.parked.v6), (connections, 0));
            assert_eq!((records.open.v4, records.open.v6), (connections, 0));
        }
    }

    /// To the last one: no minimum, no rounding.
    #[test]
    fn the_shares_of_all_workers_are_what_was_asked_for() {
        for workers in 1..=16 {
            let args = args(&format!(
                "{TAP} --max-connections 64 --max-active 33 --max-time-wait 8 --max-kept-frames 1001 --queues {workers}"
            ));
            let sum = |count: fn(&Config) -> u32| -> u32 {
                let shares = Share::all(workers);
                shares
                    .map(|share| count(&config(&args, &[], share).expect("valid")))
                    .sum()
            };
            assert_eq!(sum(|c| c.limits.records.connections().v4), 64);
            assert_eq!(sum(|c| c.limits.records.open.v4), 33);
            assert_eq!(sum(|c| c.limits.records.time_wait.v4), 8);
            assert_eq!(sum(|c| c.limits.queue_items), 1001);
        }
    }

    #[test]
    fn places_become_listeners_with_their_own_options_or_those_of_all() {
        let args = args(&format!(
            "{TAP} --prefix 198.18.64.0/24 --backlog 9 --syn cookies --listen 7-8=echo,backlog=4,cookies=never \
             --listen 198.18.64.0/24:80=http,abort-on-overflow"
        ));
        let listens = listens(&args);
        let alone = Share {
            worker: 0,
            workers: 1,
        };
        let config = config(&args, &listens, alone).expect("valid");
        let of = |index: u16| {
            let listener = config.listeners.config(ListenerId(index));
            let listener = listener.expect("configured");
            (
                listener.port,
                listener.backlog,
                listener.policy,
                listener.abort_on_overflow,
            )
        };
        assert_eq!(of(0), (7, 4, SynPolicy::Embryo, false));
        assert_eq!(of(1), (8, 4, SynPolicy::Embryo, false));
        assert_eq!(of(2), (80, 9, SynPolicy::CookieAlways, true));
        let third = config.listeners.config(ListenerId(2));
        assert_eq!(third.and_then(|l| l.address), Some(args.link.prefix[0]));
        assert_eq!(config.limits.records.embryos.v4, 17);
    }

    #[test]
    fn the_pools_feed_every_queue_count() {
        for workers in 1..=64_u16 {
            let args = args(TAP);
            let kept = Share::largest(args.max_kept_frames, workers);
            let pools = pools(&args, &[], workers);
            let per_queue =
                kept + u32::from(PortConfig::default().rx_descriptors) + pools.cache_frames + 128;
            assert!(
                pools.rx_frames >= per_queue * u32::from(workers),
                "{workers}"
            );
        }
    }
}
