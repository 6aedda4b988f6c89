//! Both sides of a connection benchmark, as apps of the stack: whole HTTP connections ([`connect`]) and one byte
//! there and back over connections that stay ([`request`]), every reply verified by the side that asked.
//!
//! The apps need a worker and nothing else: [`load`] is the load generator behind `syncline load`, [`pools`] addresses × ports as one index
//! space, [`Latency`] a histogram, [`Tally`] what happened. Here ten clients' connections ask a server in a simulated world:
//!
//! ```
//! use stack::config::{ListenerConfig, SynPolicy};
//! use stack::sim::host::{HostError, HostSpec};
//! use stack::sim::world::World;
//! use stack::time::Instant;
//! use workload::{RequestClient, RequestServer, Side, Sources};
//!
//! # fn main() -> Result<(), HostError> {
//! let mut world = World::new(1, Instant::from_ms(1_000));
//! let mut spec = HostSpec::new(1);
//! spec.config.listeners = vec![ListenerConfig::new(80, SynPolicy::CookieWhenFull)];
//! world.add_host(spec, |_| Side::RequestServer(Box::new(RequestServer::new())))?;
//! let (server, sources) = ((HostSpec::v4(1), 80).into(), Sources::new(HostSpec::v4(2), 1));
//! let client = RequestClient::new(server, sources, 10, 4, 7);
//! let mut client = Some(Side::RequestClient(Box::new(client)));
//! let client = world.add_host(HostSpec::new(2), |_| client.take().expect("one worker"))?;
//! world.act(client, 0, |side, _| side.set_running(true));
//! world.run_for(std::time::Duration::from_secs(1));
//! let tally = world.act(client, 0, |side, _| *side.tally()).expect("a running host");
//! assert_eq!(tally.opened, 10);
//! assert!(tally.replies > 0 && tally.faults_total() == 0);
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
// Where a client's connections come from.
pub mod sources;
// Actions that an app postpones by one turn.
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

/// The state that an app of this crate keeps with each connection: 8 bytes, so that an idle connection stays small.
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
