//! Syncline's TCP endpoint. Modules stand in the order in which a frame meets them.
#![forbid(unsafe_code)]

// THE HOT PATH: bursts through classify, look up, process, timers, output, tx. Start reading here.
pub mod worker;
// The seam to whatever carries frames: bursts of owned frames, offloads by request. A crate of its own.
pub use nic;
// Every limit and default, validated once.
pub mod config;
// One u64 per named event; every received frame ends in exactly one counter.
pub mod counters;
// Instants as arguments; the stack never reads a clock.
pub mod time;
// The one generator behind worlds and faults on purpose, from a seed; no secret ever comes of it.
pub use nic::rng;
// Sequence numbers: serial arithmetic modulo 2^32.
pub mod seq;
// Single bits of a connection, stored by bytes.
pub mod bits;
// Frames as bytes: views with one bounds check a header, builders with right checksums.
pub mod wire;
// Which host answers at which link-layer address: the ARP and NDP state machine, pending frames bounded.
pub mod neighbor;
// Answers of a host that need no connection: echo, ARP, NDP, port unreachable; what an ICMP error quotes.
pub mod icmp;
// What is known of the way to a destination: the path's MTU, and the link address that answered last.
pub mod path;
// Huge-page-advised zeroed memory as typed slices: what tables and slabs live in.
pub mod memory;
// What is ours: addresses by VLAN, open ports, ports for active opens.
pub mod local;
// What connections keep of bytes: to send, received in order, behind a gap; one budget for all.
pub mod queue;
// The connection table: which connection, embryo or TIME-WAIT record a segment belongs to.
pub mod conn;
// TCP itself: numbers and rules, no buffers.
pub mod tcp;
// When a connection wants to be called: a timing wheel with one node each.
pub mod timer;
// What runs on top: the App trait, and what an app can do.
pub use worker::app;
// The deterministic world: hosts, links and time from a seed.
pub mod sim;
