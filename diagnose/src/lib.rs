//! What became of the TCP connections in a capture: reads pcap and pcapng, follows both state machines of each connection, and
//! names the situation with its evidence.
//!
//! A crate of its own so that fuzz targets and tests reach it without DPDK and without the binary. It must never open a file,
//! print, or take memory that grows with the capture: the table of connections and all lists are bounded.
//!
//! A frame takes this way: [`capture`] cuts the file into frames, [`dissect`] reads a frame as far as it was captured,
//! [`analysis`] finds its connection, [`connection`] keeps what the frame says, and at the end [`verdict`] names the situation.
#![forbid(unsafe_code)]

// What frames begin with.
pub mod link_type;
// Files and pipes into frames.
pub mod capture;
// A frame into addresses, numbers and flags.
pub mod dissect;
// What is kept of one sender of a connection.
pub mod side;
// How the numbers of a sender advance.
mod progress;
// A reset, and what it answers.
pub mod reset;
// What is kept of a connection.
pub mod connection;
// Both state machines.
pub mod machines;
// The lines of a ladder, of which a bounded number is kept.
pub mod rows;
// Hosts that ARP and NDP asked for, and that answered.
pub mod neighbors;
// What the connections to one port say together.
pub mod servers;
// The names of what can have happened.
pub mod situation;
// Which of them happened.
pub mod verdict;
// Why.
pub mod evidence;
// All of it together.
pub mod analysis;

pub use analysis::{Analysis, Limits};
pub use situation::{Certainty, Situation};

#[cfg(test)]
mod tests;
