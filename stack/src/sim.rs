//! The deterministic world: hosts with real workers on simulated NICs and links, in virtual time, from one seed.
//!
//! It must never read a clock, start a thread or do I/O, and never draw from anything but its seed: the same seed, hosts
//! and calls give the same frames at the same instants.
//!
//! ```text
//!  Host ── SimNic ── Link (up) ──►  switch  ──► Link (down) ── SimNic ── Host
//!  workers  queues    faults       by MAC        faults         queues    workers
//! ```
//!
//! [`world::World`] holds the queue of events and jumps from one to the next. It judges as it goes: each frame that a
//! worker sends is inspected by code that shares nothing with the stack ([`inspect`]), each NIC checks what it is
//! given ([`nic::SimNic`]). What was wrong stands in [`world::World::violations`].

mod agenda;
mod draws;
pub mod frame;
pub mod host;
mod host_id;
pub mod inspect;
pub mod link;
mod lro;
pub mod nic;
pub mod pair;
pub mod puppet;
mod referee;
pub mod router;
pub mod trace;
mod tso;
pub mod world;
pub mod wrap;
