//! TCP itself: numbers and rules, no buffers, no I/O, no NIC. RFC 9293.
//!
//! It must never import nic, conn, app, worker or sim.
//!
//! The tour: a [`segment::Segment`] comes to a [`tcb::Tcb`], `input` judges it by RFC 9293 §3.10.7 and returns a
//! [`verdict::Verdict`]; afterwards the `Tcb` is asked for what it wants to send (`output`), a [`segment::SendPlan`] at
//! a time. The mechanisms that both consult stand in a file each.

// Vocabulary.
pub mod negotiated;
pub mod segment;
pub mod verdict;
// The surroundings of calls: time, settings, counters.
pub mod env;
pub mod profile;
pub mod profiles;
pub mod settings;
// The diagram.
pub mod state;
// The connection, what comes in, what goes out.
mod commands;
pub mod info;
mod input;
mod invariants;
pub mod opening;
pub mod output;
pub mod predict;
mod sample;
pub mod tcb;
mod text;
mod timers;
// Before there is a connection, and while nothing happens to it: resets, ISS, cookies, embryos, connections at rest, parked records.
pub mod cookie;
pub mod handshake;
pub mod isn;
pub mod parked;
pub(crate) mod prf;
pub mod reset;
pub mod rest;
// One mechanism, one file.
pub mod ack;
pub mod answer_limits;
// Its yes-or-no properties.
mod bits;
mod black_hole;
pub mod congestion;
pub mod deadline;
pub mod keepalive;
pub mod nagle;
mod path_mtu;
pub mod persist;
pub mod reassembly;
pub mod retransmit;
pub mod rtt;
pub mod time_wait;
pub mod timestamps;
pub mod window;
// The segment language of tests, simulations and lab scenarios.
pub mod lang;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
