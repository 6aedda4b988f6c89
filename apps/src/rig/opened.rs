//! From the flags to what a port needs: EAL, CPUs, the kernel's side of a tap.
//!
//! It must never touch an interface that this run has not made.

use dpdk::{Eal, EalConfig, Hugepages, NicSpec, PoolSizes};
use stack::config::Interface;
use stack::local::addresses::LocalPrefix;
use syncline::port::OTHER_MEMORY_MB;

use super::args::NicArgs;
use super::idle::Idle;
use super::kernel::{self, KernelSide};
use super::namespace;
use crate::addresses::written;
use crate::console;
use crate::failure::Failure;
use crate::threads;

/// Checks the flags against the NIC and the machine, before anything is touched.
///
/// # Errors
/// [`Failure`]: contradicting flags, an address that the kernel owns, a NIC that can't be had.
pub(crate) fn check_flags(args: &NicArgs, spec: &NicSpec) -> Result<(), Failure> {
    args.check(spec)?;
    kernel::refuse_owned(named(args)?, &kernel::owned_addresses()?)?;
    spec.check().map_err(|error| match error {
        dpdk::Error::NoTun { .. } if !args.wants_own_namespace() => Failure::Run(format!(
            "{error}, or give --unshare for a tap in a user and network namespace of its own"
        )),
        error => error.into(),
    })
}

/// Our addresses as the flags give them.
fn named(args: &NicArgs) -> Result<Vec<(String, LocalPrefix)>, Failure> {
    let hosts = args.ip.iter().map(|ip| {
        let host = LocalPrefix::host(ip.address);
        host.map(|host| (format!("--ip {}", written(ip)), host))
            .map_err(|error| Failure::Usage(error.to_string()))
    });
    let prefixes = args.prefix.iter();
    let prefixes = prefixes.map(|prefix| Ok((format!("--prefix {prefix}"), *prefix)));
    hosts.chain(prefixes).collect()
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
        return Ok(side.bring_up(&args.tap_up)?);
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
