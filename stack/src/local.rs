//! The addresses and ports of this endpoint: its addresses in each VLAN, its open ports, and the ports that active opens take.
//!
//! It must never change with what a peer sends, nor know a connection.

// Our own addresses, those of each VLAN, under 16-bit ids.
pub mod addresses;
// Why addresses or VLANs can't be ours.
pub mod error;
// Open ports and what a SYN to them gets.
pub mod listener;
// Which local port an active open gets.
pub mod ports;
// Which VLANs are ours.
pub mod vlans;
