//! The safe side of DPDK: everything between the NIC seam (`syncline-nic`) and libdpdk.
//!
//! [`Eal`] is DPDK's environment, [`NicSpec`] names a NIC as users write it, [`Port`] is an open one, [`QueuePair`] what one thread polls,
//! [`Mbuf`] one frame. [`DpdkNic`] is the [`nic::Nic`](::nic::Nic) of a queue pair: a TCP endpoint (`syncline-stack`) runs on it, and so does
//! any other packet loop. What drivers do otherwise than they say is known here, and errors name cause and fix.
//!
//! ```no_run
#![doc = include_str!("../examples/reflect.rs")]
//! ```
//!
//! Modules stand in the order in which a program needs them. With `dpdk-sys` this is the only crate with `unsafe`; each
//! block names its invariant and who upholds it. It must never know about a protocol above Ethernet (the one exception,
//! [`checksum`], is DPDK's own code for verifying frames of others).

// Errors, with cause and fix.
mod error;
// NIC specs as users write them (`ring`, `tap:dtap0`, `memif:/run/a.sock,server`, `pci:0000:3b:00.0`).
mod spec;
// Checks of a spec before DPDK is asked, because DPDK's own errors don't say what to do.
mod preflight;
// Huge pages for what a program itself allocates.
mod allocator;
// Limits of this process, as causes of errors.
mod limits;
// DPDK's log lines: to stderr, and into errors.
mod log;
// Quirks of drivers.
mod drivers;
// The environment: memory, plugins, threads.
mod eal;
// Work that is left to a NIC.
mod offloads;
// Pools of mbufs, and one frame of them.
pub mod mbuf;
mod mempool;
// Pools without a handle.
mod retired_pool;
// Devices, ports, their queues, and the in-memory link.
mod device;
mod port;
mod queue;
mod ring;
mod rings;
// A tap without a signal for each packet.
mod tap;
// Keeps pollers out of a memif link whose peer vanishes.
mod memif;
// The stack's NIC on one queue pair.
mod nic;
// Injected faults: loss, reordering, corruption.
mod faults;
// DPDK's checksum verifiers, for the side that must not trust ours.
pub mod checksum;

pub use allocator::HugePageAllocator;
pub use drivers::TxCheck;
pub use eal::{Eal, EalConfig, Hugepages, ThreadRegistration};
pub use error::Error;
pub use faults::FaultTotals;
pub use limits::require_addresses;
pub use mbuf::Mbuf;
pub use mempool::Mempool;
pub use nic::{DpdkNic, Instrument};
pub use offloads::{OffloadFault, Offloads};
pub use port::{PoolSizes, Port, PortConfig, PortStats, UninitPort};
pub use queue::{QueuePair, RxQueue, TxQueue};
pub use ring::{RingConfig, ring_pair};
pub use spec::NicSpec;

/// The cycle counter: TSC ticks on x86-64. About 12 ns to read, so once per burst.
#[must_use]
#[inline]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has RDTSC; it reads a register and touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads DPDK's cycle counter and touches no memory.
    unsafe {
        dpdk_sys::sl_cycles()
    }
}

/// Hints to the CPU that this is a polling loop (PAUSE on x86-64): between two empty bursts.
#[inline]
pub fn pause() {
    core::hint::spin_loop();
}
