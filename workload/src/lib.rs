//! What connections are for: the load generator behind `syncline load` ([`load`]), the two exchanges of a benchmark as plans for it
//! ([`exchange`]), and the least servers that can answer those ([`connect`], [`request`]).
//!
//! The apps need a worker and nothing else: [`pools`] has addresses × ports as one index space, [`Latency`] is a histogram,
//! [`LoadCounts`](load::LoadCounts) what happened. The client of 256 complete connections at a time, from 254 addresses:
//!
//! ```
//! use std::net::{IpAddr, SocketAddr};
//! use workload::load::{LoadClient, LocalTuples};
//! use workload::pools::{PortRange, Shard, SourcePool, TupleOrder};
//! use workload::{Shape, exchange};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (server, sources): (SocketAddr, IpAddr) = ("198.18.0.2:80".parse()?, "198.18.64.0".parse()?);
//! let pool = SourcePool::new(&[(sources, 24)], &[PortRange::UNPRIVILEGED])?;
//! let tuples = LocalTuples::new(pool, TupleOrder::Sequential, Shard::WHOLE).ok_or("no tuples")?;
//! let plan = exchange::complete_connections((server, tuples), Shape::Piggyback, 256, b"hello");
//! let client = LoadClient::new(plan);
//! assert!(client.is_idle() && client.counts().begun == 0);
//! # Ok(())
//! # }
//! ```
//!
//! A crate of its own because `benches` must build without DPDK. It must never know a NIC, a clock or a thread.
#![forbid(unsafe_code)]

// Counts of events: one fate for each connection and each reply.
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
// The PROXY protocol header that a load balancer sends in front of a connection.
pub mod proxy;
// Actions that an app postpones by one turn.
mod next_turn;
// The server of complete connections.
pub mod connect;
// The server of one byte there and back.
pub mod request;
// Both exchanges as plans of the load generator.
pub mod exchange;
// The load generator: any target, open or closed loop, every reply read to its end.
pub mod load;
// Both servers under one type.
pub mod side;

pub use connect::{ConnectServer, Shape};
pub use latency::Latency;
pub use request::RequestServer;
pub use side::Side;
pub use tally::{Fault, Tally};

/// The state that a server of this crate keeps with each connection: 4 bytes, so that an idle connection stays small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnState {
    /// [`connect`]: bytes of the request received and found right.
    received: u16,
    /// [`connect`]: all of the request was received and found right.
    complete: bool,
}

const _: () = assert!(size_of::<ConnState>() == 4);

#[cfg(test)]
mod tests;
