//! A complete TCP (RFC 9293) for programs that have their frames in their own hands: sans-I/O, safe Rust, no native dependency.
//!
//! A [`worker::Worker`] owns one [`nic::Nic`] and turns when it is called: it takes a burst of frames, answers them, lets timers fire,
//! calls the [`app::App`] and sends what follows. It reads no clock, no randomness and no file: time is an argument of each turn, secrets
//! are an argument of its making, so the same frames and times give the same answers. Nothing that a peer sends allocates or panics.
//!
//! | Module | What a program finds there |
//! |---|---|
//! | [`app`] | [`app::App`], called when connections open, bytes arrive, there is room; [`app::Cx`], through which it acts |
//! | [`config`] | addresses, listeners, limits, profiles; [`config::ConfigSpec::validate`] |
//! | [`worker`] | [`worker::Worker`], hand-off rings between workers, cycles by stage |
//! | [`counters`] | one name for everything that can happen to a frame |
//! | [`nic`] | the seam to what carries frames; DPDK behind it is `syncline-dpdk` |
//! | [`time`] | instants as arguments |
//!
//! For a server on a real NIC begin with the crate `syncline`: clock, secrets, threads, signals and drain are done there.
//!
//! # A worker driven by hand
//!
//! Two workers on NICs in memory; one sends ten megabytes, the other counts them. No thread, no clock, no root.
//!
//! ```
#![doc = include_str!("../examples/by_hand.rs")]
//! ```
//!
//! # Features
//!
//! - `sim`: whole worlds of workers with links that lose, delay and reorder, from a seed: to test an application.
//! - `internals`: the modules behind the API, for benchmarks, fuzz targets and tools that work on segments. They may change with any release.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "internals", feature = "sim")),
    allow(dead_code, unreachable_pub, unused_imports) // tests and tools that use the rest of these modules have the features
)]

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
#[cfg(not(feature = "internals"))]
mod seq;
#[cfg(feature = "internals")]
pub mod seq;
// Single bits of a connection, stored by bytes.
#[cfg(not(feature = "internals"))]
mod bits;
#[cfg(feature = "internals")]
pub mod bits;
// Frames as bytes: views with one bounds check a header, builders with right checksums.
#[cfg(not(feature = "internals"))]
mod wire;
#[cfg(feature = "internals")]
pub mod wire;
// Which host answers at which link-layer address: the ARP and NDP state machine, pending frames bounded.
#[cfg(not(feature = "internals"))]
mod neighbor;
#[cfg(feature = "internals")]
pub mod neighbor;
// Answers of a host that need no connection: echo, ARP, NDP, port unreachable; what an ICMP error quotes.
#[cfg(not(feature = "internals"))]
mod icmp;
#[cfg(feature = "internals")]
pub mod icmp;
// Paths to destinations: the path's MTU, and the link address that answered last.
#[cfg(not(feature = "internals"))]
mod path;
#[cfg(feature = "internals")]
pub mod path;
// Huge-page-advised zeroed memory as typed slices: what tables and slabs live in.
#[cfg(not(feature = "internals"))]
mod memory;
#[cfg(feature = "internals")]
pub mod memory;
// The endpoint's own: addresses by VLAN, open ports, ports for active opens.
#[cfg(not(feature = "internals"))]
mod local;
#[cfg(feature = "internals")]
pub mod local;
// Bytes that connections hold: to send, received in order, behind a gap; one budget for all.
#[cfg(not(feature = "internals"))]
mod queue;
#[cfg(feature = "internals")]
pub mod queue;
// The connection table: which connection, embryo or TIME-WAIT record a segment belongs to.
#[cfg(not(feature = "internals"))]
mod conn;
#[cfg(feature = "internals")]
pub mod conn;
// TCP itself: numbers and rules, no buffers.
#[cfg(not(feature = "internals"))]
mod tcp;
#[cfg(feature = "internals")]
pub mod tcp;
// When a connection wants to be called: a timing wheel with one node each.
#[cfg(not(feature = "internals"))]
mod timer;
#[cfg(feature = "internals")]
pub mod timer;
// Applications: the App trait, and the calls of an app.
pub use worker::app;
// The deterministic world: hosts, links and time from a seed.
#[cfg(feature = "sim")]
pub mod sim;
