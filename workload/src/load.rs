//! The load generator: connections and requests to any target, at a given rate or as fast as replies come, each reply read to
//! its end, each operation counted once and timed from when it was due.
//!
//! It must never wait for a target before it counts: in an open loop what is due is due, and what could not be begun shows.

// When operations are due.
mod schedule;
// How long they took.
mod measure;
// Where connections come from.
mod local_tuples;
// The plan of a run.
mod plan;
// Counts of a run.
mod counts;
// Requests with placeholders.
mod template;
// Checksums of bodies.
mod checksum;
// The servers behind a header of responses.
mod backends;
// Heads of HTTP responses.
mod response;
// Operations and connections that are under way.
mod under_way;
// The app.
mod client;
// Reading replies.
mod reading;
// The same in one step, where a reply is as expected.
mod expected;

pub use backends::{Backend, Backends};
pub use checksum::{BodyChecksum, ChecksumError};
pub use client::{FailureMark, LoadClient};
pub use counts::{BulkCounts, Ends, LoadCounts, Reused};
pub use local_tuples::{LocalTuple, LocalTuples};
pub use measure::{Bounded, Interval, Measure, Measures, STEPS, Step};
pub use plan::{
    CloseMode, Direction, LoadPlan, Opening, Pace, ProxyHeader, ReplyPlan, RequestPlan, WhenBusy,
    Window, Work,
};
pub use response::HEAD_MAX;
pub use schedule::{Arrivals, RatePiece, Schedule};
pub use template::{RANDOM_MAX, Template, TemplateError, WRITTEN_MAX};

/// The state of the load generator with each connection inside the stack: where its own record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadConn(u32);

impl Default for LoadConn {
    fn default() -> Self {
        Self(under_way::NONE)
    }
}

#[cfg(test)]
mod tests;
