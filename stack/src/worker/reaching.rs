//! The way to a destination before a connection is opened to it: what a load generator settles before its clock starts.
//!
//! It must never open a connection, and never ask a neighbour again that was asked a moment ago.

use core::net::IpAddr;

use super::Core;
use crate::neighbor::{Neighbor, Resolution};
use crate::nic::Nic;
use crate::worker::connect::ConnectError;
use crate::worker::cx::Cx;

/// The reachability of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// The link address of the next hop is known: a SYN would leave at once.
    Known,
    /// It was asked for, and has not been heard of yet.
    Asked,
    /// Another worker keeps the neighbours: worker 0 is to be asked.
    Elsewhere,
}

impl<N: Nic, S> Cx<'_, N, S> {
    /// Asks for the link address of the next hop to `destination`, in the VLAN that connections are opened in by default, and
    /// says what is known. To be called again until it is known; each turn is fine.
    ///
    /// # Errors
    /// [`ConnectError::NoRoute`] when neither an interface nor a gateway leads there.
    pub fn reach(&mut self, destination: IpAddr) -> Result<Reachability, ConnectError> {
        let now = self.now;
        let Core { endpoint, .. } = &*self.core;
        let config = &endpoint.config;
        let addr = config.next_hop(destination).ok_or(ConnectError::NoRoute)?;
        let vlan = config.locals.vlans().first();
        Ok(match self.core.resolve(Neighbor { vlan, addr }, now) {
            Some(Resolution::Resolved(_)) => Reachability::Known,
            Some(Resolution::Solicit(solicit)) => {
                self.core.solicit(solicit);
                Reachability::Asked
            }
            Some(Resolution::Waiting | Resolution::NoRoom) => Reachability::Asked,
            None => Reachability::Elsewhere,
        })
    }
}
