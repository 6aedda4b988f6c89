//! What both sides of a connection benchmark do, as apps of the stack: whole HTTP connections ([`connect`]) and one byte
//! there and back over connections that stay ([`request`]), every reply verified by the side that asked.
//!
//! A crate of its own because `benches` must build without DPDK. It must never know a NIC, a clock or a thread.
#![forbid(unsafe_code)]

// What happened, counted: one fate for each connection and each reply.
pub mod tally;
// How long it took.
pub mod latency;
// The request and the response as bytes.
pub mod http;
// The head that was read last.
pub mod remembered_head;
// Addresses × ports as one index space, in any order, in any number of parts.
pub mod pools;
// Where a body ends.
pub mod body;
// What a load balancer sends in front of a connection.
pub mod proxy;
// Where a client's connections come from.
pub mod sources;
// What an app wants to do one turn later.
mod next_turn;
// Complete connections.
pub mod connect;
// One byte there and back.
pub mod request;
// The load generator: any target, open or closed loop, every reply read to its end.
pub mod load;
// The four of them under one type.
pub mod side;

pub use connect::{ConnectClient, ConnectServer, Shape};
pub use latency::Latency;
pub use request::{RequestClient, RequestServer};
pub use side::Side;
pub use sources::Sources;
pub use tally::{Fault, Tally};

/// What an app of this crate keeps with each connection: 8 bytes, so that an idle connection stays small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnState {
    /// [`RequestClient`]: the number of the connection.
    index: u32,
    /// [`connect`]: bytes of the request or response received and found right.
    received: u16,
    /// [`RequestServer`]: requests so far, modulo 256.
    served: u8,
    /// [`connect`]: all of the request or response was received and found right. [`RequestClient`]: established.
    complete: bool,
}

const _: () = assert!(size_of::<ConnState>() == 8);

#[cfg(test)]
mod tests;
