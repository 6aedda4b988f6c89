//! TCP itself: numbers and rules, no buffers, no I/O, no NIC.
//!
//! Called by: the worker and the connection records. It must never import nic, conn, app, worker or sim.

pub mod cookie;
pub mod handshake;
pub mod isn;
mod prf;
pub mod reset;
pub mod rest;
pub mod seq;
