//! Looking at a worker from outside: the state of a connection, of a neighbour, and when something is due.
//!
//! It must never change anything.

use core::net::{IpAddr, SocketAddr};

use super::Worker;
use crate::conn::{FlowKey, Kind};
use crate::neighbor::{self, Neighbor};
use crate::nic::Nic;
use crate::tcp::state::State;
use crate::worker::app::App;

impl<N: Nic, A: App> Worker<N, A> {
    /// The state of the connection between these two in the VLAN that we open connections in, whatever it is by now: an embryo, an open or parked connection,
    /// a record in TIME-WAIT. CLOSED when there is none, also on a port with a listener.
    #[must_use]
    pub fn state_between(&self, local: SocketAddr, remote: SocketAddr) -> State {
        let endpoint = &self.core.endpoint;
        let locals = &endpoint.config.locals;
        let Some(id) = locals.find(locals.vlans().first(), local.ip()) else {
            return State::Closed;
        };
        let key = FlowKey::new(id, local.port(), remote.ip(), remote.port());
        let Some(found) = endpoint.table.lookup(&key, endpoint.hasher.hash(&key)) else {
            return State::Closed;
        };
        match found.kind() {
            Kind::Embryo => State::SynReceivedPassive,
            Kind::Parked => State::Established,
            Kind::TimeWait => State::TimeWait,
            Kind::Open => {
                let Some(slot) = endpoint.table.slot(found) else {
                    return State::Closed;
                };
                match self.core.conns.get(slot) {
                    Some(conn) => conn.tcb.state(),
                    // At rest.
                    None => State::Established,
                }
            }
        }
    }

    /// The state of a neighbour in the VLAN that we open connections in: `None` when it was never asked about, and on all workers but the first, which keeps
    /// the neighbours of all.
    #[must_use]
    pub fn neighbor_state(&self, addr: IpAddr) -> Option<neighbor::NeighborState> {
        let vlan = self.core.endpoint.config.locals.vlans().first();
        self.core.neighborhood.state(Neighbor { vlan, addr })
    }
}
