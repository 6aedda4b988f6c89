//! `syncline serve` as its users meet it: the program itself, with the Linux kernel as its peer over a tap.
//!
//! Tests under `root_only` need root and /dev/net/tun. Each runs in a network namespace of its own, which belongs to its
//! thread and what that thread starts, and ends with them.
#![forbid(unsafe_code)]

// `--pcap` to what takes no bytes, or takes them later.
mod captures;
// Missing devices and bad flags are one clear error.
mod refusals;
// The program on a tap.
mod root_only;
// A running `syncline serve`.
mod server;
