//! [`Servers`]: what the connections to one address and port say together: a queue that is full, a flood.
//!
//! It must never hold more servers than its limit: a port scan has thousands.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::dissect::Endpoint;

/// Servers at most.
const MAX_SERVERS: usize = 16_384;
/// From so many half-open connections on it is a flood.
const FLOOD_FROM: u64 = 200;

/// The connections to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Server {
    /// Connections that began with a SYN.
    pub attempts: u64,
    /// Those whose handshake ended.
    pub(crate) established: u64,
    /// When the last of those did, in ns since 1970.
    pub(crate) last_established_ns: u64,
}

impl Server {
    /// Connections that began and never got further.
    #[must_use]
    pub const fn unfinished(&self) -> u64 {
        self.attempts.saturating_sub(self.established)
    }

    /// Whether nearly all of very many connections never got further.
    #[must_use]
    pub(crate) const fn is_flooded(&self) -> bool {
        self.unfinished() >= FLOOD_FROM && self.unfinished() / 4 >= self.established
    }
}

/// Servers by address and port.
#[derive(Debug, Default)]
pub struct Servers {
    by_endpoint: HashMap<Endpoint, Server, RandomState>,
}

impl Servers {
    /// A connection began with a SYN to this server.
    pub(crate) fn attempted(&mut self, server: Endpoint) {
        if let Some(server) = self.entry(server) {
            server.attempts += 1;
        }
    }

    /// A handshake with this server ended then.
    pub(crate) fn established(&mut self, server: Endpoint, at_ns: u64) {
        if let Some(server) = self.entry(server) {
            server.established += 1;
            server.last_established_ns = at_ns;
        }
    }

    fn entry(&mut self, server: Endpoint) -> Option<&mut Server> {
        if self.by_endpoint.len() >= MAX_SERVERS && !self.by_endpoint.contains_key(&server) {
            return None;
        }
        Some(self.by_endpoint.entry(server).or_default())
    }

    /// The facts about a server.
    #[must_use]
    pub(crate) fn get(&self, server: Endpoint) -> Server {
        self.by_endpoint.get(&server).copied().unwrap_or_default()
    }

    /// The servers that were flooded, the worst first.
    #[must_use]
    pub fn flooded(&self) -> Vec<(Endpoint, Server)> {
        let mut flooded: Vec<(Endpoint, Server)> = self
            .by_endpoint
            .iter()
            .filter(|(_, server)| server.is_flooded())
            .map(|(endpoint, server)| (*endpoint, *server))
            .collect();
        flooded.sort_by_key(|(endpoint, server)| (u64::MAX - server.unfinished(), *endpoint));
        flooded
    }
}
