//! [`OpenedNic`]: from the flags to an open port: EAL, port, pools, CPUs, the kernel's side of a tap.
//!
//! It must never touch an interface that this run has not made, and never forget a pool: what is not back at the end is a leak.

use dpdk::{
    Eal, EalConfig, Hugepages, Mempool, NicSpec, PoolSizes, Port, PortConfig, QueuePair,
    RingConfig, ring_pair,
};
use stack::config::Interface;
use stack::local::addresses::LocalPrefix;
use stack::wire::MacAddr;

use super::args::NicArgs;
use super::idle::Idle;
use super::kernel::{self, KernelSide};
use super::namespace;
use crate::console;
use crate::failure::Failure;
use crate::threads;

/// Memory beside the pools: rings, descriptors, what drivers take; in MB.
const OTHER_MEMORY_MB: u64 = 64;

/// A port that is open, with its queues.
#[derive(Debug)]
pub(crate) struct OpenedNic {
    /// The port. Its rings hold buffers until it is dropped.
    pub(crate) port: Port,
    /// One for each worker.
    pub(crate) queues: Vec<QueuePair>,
    /// All pools of the port; the queues share them.
    pub(crate) pools: Vec<Mempool>,
    /// Its link-layer address.
    pub(crate) mac: MacAddr,
}

/// Checks the flags against the NIC and the machine, before anything is touched.
///
/// # Errors
/// [`Failure`]: contradicting flags, an address that the kernel owns, a NIC that can't be had.
pub(crate) fn check_flags(args: &NicArgs, spec: &NicSpec) -> Result<(), Failure> {
    args.check(spec)?;
    kernel::refuse_owned(&args.ip, &args.prefix, &kernel::owned_addresses()?)?;
    spec.check().map_err(|error| match error {
        dpdk::Error::NoTun { .. } if !args.wants_own_namespace() => Failure::Run(format!(
            "{error}, or give --unshare for a tap in a user and network namespace of its own"
        )),
        error => error.into(),
    })
}

/// Starts DPDK for these NICs, with memory for `ports` ports that have such pools.
///
/// # Errors
/// [`Failure`] when DPDK does not start.
pub(crate) fn start_eal(
    args: &NicArgs,
    nics: Vec<NicSpec>,
    (pools, ports): (&PoolSizes, u64),
) -> Result<Eal, Failure> {
    let eal = Eal::init(&EalConfig {
        memory_mb: memory_mb(args, (pools, ports)),
        hugepages: args
            .hugepages
            .map_or(Hugepages::Auto, |mb| Hugepages::Require { mb }),
        nics,
        extra_args: args.eal.clone(),
    })?;
    Ok(eal)
}

/// Memory of `ports` ports that have such pools, in MB: pools, rings, and what drivers take.
pub(crate) fn memory_mb(args: &NicArgs, (pools, ports): (&PoolSizes, u64)) -> u64 {
    pools.memory_mb(args.mtu, args.rx_buffer) * ports + OTHER_MEMORY_MB
}

impl OpenedNic {
    /// Opens the port of `spec`.
    ///
    /// # Errors
    /// [`Failure`] when DPDK can't.
    pub(crate) fn open(eal: &Eal, spec: &NicSpec, config: &PortConfig) -> Result<Self, Failure> {
        let (port, queues) = eal.open(spec)?.init(config)?;
        Ok(Self::new(port, queues))
    }

    /// Opens both ends of an in-memory link.
    ///
    /// # Errors
    /// [`Failure`] when DPDK can't.
    pub(crate) fn ring_pair(eal: &Eal, config: &RingConfig) -> Result<(Self, Self), Failure> {
        let (near, far) = ring_pair(eal, config)?;
        Ok((Self::new(near.0, near.1), Self::new(far.0, far.1)))
    }

    fn new(port: Port, queues: Vec<QueuePair>) -> Self {
        let of_queues = queues
            .first()
            .map(|queue| [queue.control.clone(), queue.data.clone()]);
        let rx = port.rx_pool().cloned();
        let mac = queues.first().map(|queue| queue.mac).unwrap_or_default();
        Self {
            pools: of_queues.into_iter().flatten().chain(rx).collect(),
            port,
            queues,
            mac: MacAddr(mac),
        }
    }
}

/// Buffers that are in use. After the ports have been dropped all of them are leaks.
pub(crate) fn in_use(pools: &[Mempool]) -> u32 {
    pools.iter().map(Mempool::in_use).sum()
}

/// The CPU of each of `workers` workers, or `None` where the kernel is to choose.
///
/// # Errors
/// [`Failure::Usage`] when `--cpus` does not fit.
pub(crate) fn cpus(
    args: &NicArgs,
    eal: &Eal,
    (workers, idle): (u16, Idle),
) -> Result<Vec<Option<usize>>, Failure> {
    // A worker that sleeps shares its CPU with the kernel that feeds it.
    if args.cpus.is_none() && idle == Idle::Sleep {
        return Ok(vec![None; workers.into()]);
    }
    let names: Vec<String> = (0..workers).map(|n| format!("worker{n}")).collect();
    let roles: Vec<&str> = names.iter().map(String::as_str).collect();
    let cpus = threads::assign(&roles, args.cpus.as_deref(), eal.cpus())?;
    Ok(cpus.into_iter().map(Some).collect())
}

/// Sets up the kernel's side of a tap as `--tap-up` says, or prints the commands for it. Nothing for other NICs. `prefixes`
/// are routed to us beside those of `--prefix`.
///
/// # Errors
/// [`Failure::Run`] with the command that failed.
pub(crate) fn configure_kernel_side(
    args: &NicArgs,
    spec: &NicSpec,
    (ours, prefixes): (&[Interface], &[LocalPrefix]),
) -> Result<(), Failure> {
    let NicSpec::Tap { name, .. } = spec else {
        return Ok(());
    };
    if args.wants_own_namespace() {
        kernel::bring_loopback_up()?;
    }
    let side = KernelSide {
        tap: name,
        vlan: args.kernel_vlan(),
        ours,
        prefixes,
    };
    if !args.tap_up.is_empty() {
        return side.bring_up(&args.tap_up);
    }
    console::log(
        "the kernel's side of the tap is still down; set it up with (or give --tap-up ADDR/LEN):",
    );
    for command in side.commands(&args.gateway) {
        console::log(format_args!("  {command}"));
    }
    Ok(())
}

/// Prints how a program gets into the network namespace of this run, if it has one of its own.
pub(crate) fn announce_namespace(args: &NicArgs, programs: &str) {
    if args.wants_own_namespace() {
        let user = if namespace::is_user_namespace() {
            "--user --preserve-credentials "
        } else {
            ""
        };
        console::log(format_args!(
            "in a network namespace of its own; {programs} run there by: nsenter --target {} {user}--net COMMAND",
            std::process::id()
        ));
    }
}
