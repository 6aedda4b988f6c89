//! The parts of every run on a NIC: flags, network namespace, EAL, port, pools, the kernel's side of a
//! tap, polling threads, guard rails.
//!
//! It must never know a protocol or a command: `serve`, `load` and `flood` differ in what their threads do.

// The flags that name the NIC, its addresses and its CPUs.
mod args;
// From the flags to an open port with its pools.
mod opened;
// The port's link and offloads, for logs and results.
pub(crate) mod link;
// Work that is left to the NIC.
mod offloads;
// Whether the NIC brings flows to the queue that it says.
mod rss;
// The same before the first flow, by asking a host.
mod rss_probe;
// ARP and neighbour discovery for frames that no stack sends.
pub(crate) mod neighbors;
// A queue pair in a VLAN.
pub(crate) mod vlan_nic;
// The port's own counts at the end.
mod nic_report;
// Which tuples of the sources are used.
mod pool_args;
// The needs of a command, for `doctor`.
mod needs;
// The command of `--with`.
mod companion;
// Counters of the system for this process.
mod process;
// The end of a process whose thread hangs.
mod hanging;
// Ends and kind of a TCP frame.
pub(crate) mod glance;
// To whom, from whom and how fast traffic may go.
mod guard;

pub(crate) use args::NicArgs;
pub(crate) use companion::{Companion, KeepArgs, keep};
pub(crate) use guard::{Allowed, GuardArgs, Reach};
pub(crate) use hanging::{HANGS, leave, silent};
pub(crate) use needs::Needs;
pub(crate) use nic_report::NicReport;
pub(crate) use opened::{
    announce_namespace, check_flags, configure_kernel_side, cpus, memory_mb, start_eal,
};
pub(crate) use pool_args::{OrderName, PoolArgs, port_range};
pub(crate) use process::{resident_bytes, thread_cpu_wait};
pub(crate) use rss::{RssKey, RssReport};
pub(crate) use rss_probe::probe as rss_probe;
pub(crate) use syncline::port::{OpenedNic, in_use, pool_sizes};
pub(crate) use syncline::threads::{Ready, poll_all};
pub(crate) use syncline::{idle, kernel, namespace};
