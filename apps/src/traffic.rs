//! The stateless traffic engine: frames of any tuple out, every reply judged. One for `bench` and `flood`.
//!
//! It must never verify with the code that it tests: checksums of replies are DPDK's, and what a reply must say is
//! written down here a second time, from the RFCs and not from `stack`.

// Sources × targets, and the numbers that belong to each tuple.
mod tuples;
// The frame of a tuple, from a template with its checksums patched.
mod template;
// The fields of a burst of frames, kind by kind.
mod columns;
// Frames sent, and frames that came back.
mod tally;
// When frames may leave.
mod pace;
// The loop.
mod generator;
// The options of a SYN-ACK.
mod options;
// The reply that our endpoint must give.
mod verify;
// The reasons why one isn't.
mod wrong;
// The frames that `bench` sends and expects.
mod strict;
// Which control bits the frames of a flood carry.
mod flags;
// Frames in flight: bits and times.
mod book;
// The contents of a received frame.
mod sight;
// The answers of a flood.
mod answer;
// Replies, counted by target.
mod outcome;
// The frames of `flood`, and its verdicts on replies.
mod observed;
// A NIC in memory for tests.
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use answer::Answer;
pub(crate) use book::Book;
pub(crate) use flags::FloodFlags;
pub(crate) use generator::{Generator, Sending};
pub(crate) use observed::{Bystander, FloodPlan, Observable, ObservedExchange};
pub(crate) use outcome::{LatencyHistogram, Matrix, Outcome, OutcomeRow, percentile};
pub(crate) use pace::Rate;
pub(crate) use strict::{FIRST_PORT, StrictExchange, StrictPlan};
pub(crate) use tally::Tally;
pub(crate) use template::{Headers, SynOptions};
pub(crate) use tuples::{Target, TupleSpace};
pub(crate) use verify::Expect;
#[cfg(test)]
pub(crate) use wrong::ReplyFault;
