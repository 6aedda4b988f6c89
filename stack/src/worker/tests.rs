//! The worker on a NIC in memory.
