//! [`Needs`]: what a command line on a NIC needs of the machine, before anything is touched.
//!
//! It must never depend on the machine.

use std::net::IpAddr;

use dpdk::NicSpec;

use super::idle::Idle;

/// The needs of a command.
#[derive(Debug)]
pub(crate) struct Needs {
    /// Its NIC.
    pub(crate) spec: NicSpec,
    /// Memory of its pools and rings, in MB.
    pub(crate) memory_mb: u64,
    /// Whether its workers sleep or poll while no frames arrive.
    pub(crate) idle: Idle,
    /// Addresses that it sends to on its own account, in the order of its command line.
    pub(crate) targets: Vec<IpAddr>,
}
