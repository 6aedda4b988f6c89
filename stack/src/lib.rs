//! Syncline's TCP endpoint. Modules stand in the order in which a frame meets them.
#![forbid(unsafe_code)]

// THE HOT PATH: bursts through classify, look up, process, timers, output, tx. Start reading here.
pub mod worker;
// The seam to whatever carries frames: bursts of owned frames, offloads by request.
pub mod nic;
// Every limit and default, validated once.
pub mod config;
// One u64 per named event; every received frame ends in exactly one counter.
pub mod counters;
// Instants as arguments; the stack never reads a clock.
pub mod time;
// Frames as bytes: views with one bounds check a header, builders with right checksums.
pub mod wire;
// Who answers at which link address: ARP and NDP as one state machine, no I/O.
pub mod neighbor;
// Replies that need no connection, written in place; what a received ICMP error is about.
pub mod icmp;
// TCP itself: numbers and rules, no buffers.
pub mod tcp;
