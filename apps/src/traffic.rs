//! The traffic generator: SYNs of random flows out, every reply verified. One for `bench`, `flood` and `load`.
//!
//! It must never verify with the code that it tests: checksums of replies are DPDK's, and what a reply must say is
//! written down here a second time, from the RFCs and not from `stack`.

// Which flow, and the numbers that belong to it.
mod flow;
// The SYN of a flow, from a template with its checksums patched; the reset that takes it back.
mod template;
// The options of a SYN-ACK.
mod options;
// What a reply must be.
mod verify;
// The reasons why one isn't.
mod wrong;
// What was sent and what came back.
mod tally;
// When SYNs may leave.
mod pace;
// The loop.
mod generator;

pub(crate) use flow::FIRST_PORT;
pub(crate) use generator::{Generator, TrafficPlan};
pub(crate) use pace::PaceConfig;
pub(crate) use tally::Tally;
pub(crate) use template::{SynOptions, Target};
pub(crate) use verify::Expect;
#[cfg(test)]
pub(crate) use wrong::ReplyFault;
