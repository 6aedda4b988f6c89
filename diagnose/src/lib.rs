//! Explains the TCP connections in a capture: reads pcap and pcapng, follows both state machines of each connection, and
//! names the situation with its evidence.
//!
//! A crate of its own so that fuzz targets and tests reach it without DPDK and without the binary. It must never open a file,
//! print, or take memory that grows with the capture: the table of connections and all lists are bounded.
//!
//! A frame takes this way: [`capture`] cuts the file into frames, [`dissect`] reads a frame as far as it was captured,
//! [`analysis`] finds its connection, [`connection`] keeps what the frame says, and at the end [`verdict`] names the situation.
//!
//! # From a file
//!
//! ```no_run
#![doc = include_str!("../examples/verdicts.rs")]
//! ```
//!
//! # From frames in memory
//!
//! A SYN, and the reset that a closed port answers with:
//!
//! ```
//! use diagnose::capture::Frame;
//! use diagnose::link_type::LinkType;
//! use diagnose::{Analysis, Limits, Situation};
//!
//! #[rustfmt::skip]
//! const SYN: [u8; 54] = [
//!     0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x45, 0x00, 0x00, 0x28,
//!     0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0xae, 0xa8, 0xc6, 0x12, 0x00, 0x01, 0xc6, 0x12, 0x00, 0x02, 0x9c, 0x40,
//!     0x00, 0x51, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x00, 0x00, 0x50, 0x02, 0xfa, 0xf0, 0x88, 0x50, 0x00, 0x00,
//! ];
//! #[rustfmt::skip]
//! const RESET: [u8; 54] = [
//!     0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x08, 0x00, 0x45, 0x00, 0x00, 0x28,
//!     0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0xae, 0xa8, 0xc6, 0x12, 0x00, 0x02, 0xc6, 0x12, 0x00, 0x01, 0x00, 0x51,
//!     0x9c, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xe9, 0x50, 0x14, 0x00, 0x00, 0x83, 0x2e, 0x00, 0x00,
//! ];
//!
//! let mut analysis = Analysis::new(Limits::default());
//! for (at_ns, bytes) in [(0, &SYN), (80_000, &RESET)] {
//!     analysis.take(&Frame { at_ns, bytes, original_len: 54, link: Some(LinkType::Ethernet) });
//! }
//! let judged = analysis.judged();
//! assert_eq!(judged.len(), 1);
//! assert_eq!(judged[0].verdict.situation, Situation::PortClosed);
//! ```
#![forbid(unsafe_code)]

// The link headers of frames.
pub mod link_type;
// Files and pipes into frames.
pub mod capture;
// A frame into addresses, numbers and flags.
pub mod dissect;
// The facts about one sender of a connection.
pub mod side;
// How the numbers of a sender advance.
mod progress;
// A reset, and what it answers.
mod reset;
// The facts about a connection.
pub mod connection;
// Both state machines.
pub mod machines;
// The lines of a ladder, of which a bounded number is kept.
pub mod rows;
// Hosts that were asked for by ARP and NDP, and their answers.
pub mod neighbors;
// The connections to one port, taken together.
pub mod servers;
// The names of the situations.
pub mod situation;
// Which situation a connection was in.
pub mod verdict;
// The evidence for it.
pub mod evidence;
// All of it together.
pub mod analysis;
// Numbers with their nouns.
mod counted;

pub use analysis::{Analysis, Limits};
pub use counted::counted;
pub use situation::{Certainty, Situation};

#[cfg(test)]
mod tests;
