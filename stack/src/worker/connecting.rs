//! Active opens: source address, local port, record; one connection at a time, or many whose buckets load together.
//!
//! It must never send: the SYN leaves with the output stage, at the end of the turn.

use core::net::{IpAddr, SocketAddr};
use core::ops::ControlFlow;

use arrayvec::ArrayVec;

use super::Core;
use crate::conn::connections::LinkPeer;
use crate::conn::{ConnId, FlowHash, FlowKey};
use crate::counters::Counter;
use crate::local::addresses::LocalId;
use crate::nic::{BURST_FRAMES, Nic};
use crate::path::{Destination, Paths};
use crate::time::Instant;
use crate::wire::vlan::VlanId;
use crate::worker::connect::{Connect, ConnectError};
use crate::worker::cx::Cx;

/// Local ports tried for one connection at most; the next attempt goes on behind them.
const PORT_TRIES: u16 = 4096;

/// The common part of connections to one remote end: most that are opened in a row go to the same one.
struct Towards {
    remote: SocketAddr,
    next_hop: IpAddr,
    /// The VLAN in which the last of them was opened, and where earlier connections reached the remote end in it lately.
    way: Option<(VlanId, Option<LinkPeer>)>,
}

/// The flow that was chosen for a new connection; whether another connection has it is still to be seen.
#[derive(Clone, Copy)]
struct ChosenFlow {
    key: FlowKey,
    hash: FlowHash,
    /// Our end of it, which `key` names by its id.
    vlan: VlanId,
    address: IpAddr,
}

/// The local port that the app asked for; 0 asks for none.
fn asked_port(how: &Connect) -> Option<u16> {
    how.local_port.filter(|&port| port != 0)
}

impl<N: Nic, S> Cx<'_, N, S> {
    /// Opens a connection, of which the app remembers `state` from the start: every callback about it gets that. The SYN
    /// leaves at the end of this turn.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent then.
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        how: &Connect,
        state: S,
    ) -> Result<ConnId, ConnectError> {
        let mut towards = self.towards(remote)?;
        let chosen = self.choose(&towards, how, false)?;
        self.enter(&mut towards, how, &chosen, state)
    }

    /// Opens many connections, each as [`Cx::connect`] does and in that order. The table's buckets of a whole group are on
    /// their way before the first of them is read, so a large table costs each connection little more than a small one.
    ///
    /// `opened` hears of each connection, or why it could not be opened, and says whether to go on. Where it breaks, up to a
    /// group of items has been taken from `opens` and is dropped: their local ports are skipped for a round.
    pub fn connect_many(
        &mut self,
        opens: impl IntoIterator<Item = (SocketAddr, Connect, S)>,
        mut opened: impl FnMut(Result<ConnId, ConnectError>) -> ControlFlow<()>,
    ) {
        let mut opens = opens.into_iter();
        loop {
            // Filled and emptied where it stands: a group that is collected, or iterated by value, is moved as a whole.
            let mut group = ArrayVec::<_, BURST_FRAMES>::new();
            group.extend(opens.by_ref().take(BURST_FRAMES));
            if group.is_empty() {
                return;
            }
            let mut flows = ArrayVec::<_, BURST_FRAMES>::new();
            let mut towards = None;
            for (remote, how, _) in &group {
                let chosen = self
                    .towards_in_row(&mut towards, *remote)
                    .and_then(|towards| self.choose(towards, how, false));
                if let Ok(chosen) = &chosen {
                    self.core.endpoint.table.prefetch_bucket(chosen.hash);
                }
                flows.push(chosen);
            }
            for ((remote, how, state), chosen) in group.drain(..).zip(&flows) {
                let result = match chosen {
                    Ok(chosen) => self
                        .towards_in_row(&mut towards, remote)
                        .and_then(|towards| self.enter(towards, &how, chosen, state)),
                    Err(error) => Err(*error),
                };
                if opened(result).is_break() {
                    return;
                }
            }
        }
    }

    /// The common part of connections to `remote`: computed again where the one before went elsewhere.
    #[inline(always)]
    fn towards_in_row<'t>(
        &self,
        last: &'t mut Option<Towards>,
        remote: SocketAddr,
    ) -> Result<&'t mut Towards, ConnectError> {
        if last.as_ref().is_none_or(|last| last.remote != remote) {
            *last = Some(self.towards(remote)?);
        }
        last.as_mut().ok_or(ConnectError::NoRoute)
    }

    /// The remote end of new connections, if it may be one and something leads there.
    #[inline(never)]
    fn towards(&self, remote: SocketAddr) -> Result<Towards, ConnectError> {
        let config = &self.core.endpoint.config;
        let group = match remote.ip() {
            IpAddr::V4(remote) => remote.is_multicast() || remote.is_broadcast(),
            IpAddr::V6(remote) => remote.is_multicast(),
        };
        let group = group || config.is_broadcast(remote.ip());
        if group || remote.ip().is_unspecified() || remote.port() == 0 {
            return Err(ConnectError::BadAddress);
        }
        Ok(Towards {
            remote,
            next_hop: config.next_hop(remote.ip()).ok_or(ConnectError::NoRoute)?,
            way: None,
        })
    }

    /// The flow of a new connection: its source address, and a port whose replies come back to this worker. Whether another
    /// connection has it is asked only where `must_be_free` says so.
    fn choose(
        &mut self,
        towards: &Towards,
        how: &Connect,
        must_be_free: bool,
    ) -> Result<ChosenFlow, ConnectError> {
        let remote = towards.remote;
        let (local, vlan, address) = self.source(towards, how)?;
        let Core {
            endpoint,
            ports,
            ring,
            owners,
            ..
        } = &mut *self.core;
        let from_any_port = FlowKey::new(local, 0, remote.ip(), remote.port());
        let flow = |port| {
            let key = from_any_port.from_port(port);
            (key, endpoint.hasher.hash(&key))
        };
        let locals = &endpoint.config.locals;
        //~ A port whose replies reach another worker is refused: `owner(locals, key, hash) == ring.index()`
        //~   -> `{ let _ = (key, hash); true }`; a_port_whose_replies_reach_another_worker_is_that_workers
        let is_ours = |key: &FlowKey, hash| owners.owner(locals, key, hash) == ring.index();
        let (key, hash) = match asked_port(how) {
            Some(port) => Some(flow(port))
                .filter(|(key, hash)| is_ours(key, *hash))
                .ok_or(ConnectError::OtherWorker)?,
            None => {
                let mut chosen = None;
                let is_usable = |port| {
                    let (key, hash) = flow(port);
                    let is_usable = is_ours(&key, hash)
                        && !(must_be_free && endpoint.table.lookup(&key, hash).is_some())
                        && endpoint.listeners.find(local, port).is_none();
                    chosen = is_usable.then_some((key, hash));
                    is_usable
                };
                ports.pick(local, remote, is_usable, PORT_TRIES);
                chosen.ok_or(ConnectError::NoPort)?
            }
        };
        if address == remote.ip() && key.local_port() == remote.port() {
            return Err(ConnectError::BadAddress);
        }
        Ok(ChosenFlow {
            key,
            hash,
            vlan,
            address,
        })
    }

    /// Gives a new connection its record and its state. Where another one has its flow, a free port is looked for if the app
    /// asked for none.
    fn enter(
        &mut self,
        towards: &mut Towards,
        how: &Connect,
        chosen: &ChosenFlow,
        state: S,
    ) -> Result<ConnId, ConnectError> {
        let other;
        let mut chosen = chosen;
        let table = &self.core.endpoint.table;
        if table.lookup(&chosen.key, chosen.hash).is_some() {
            //~ A port in use is refused: `asked_port(how).is_some()` -> `false`;
            //~   every_error_says_what_is_wrong_and_nothing_is_sent
            if asked_port(how).is_some() {
                return Err(ConnectError::PortInUse);
            }
            //~ A chosen port that is in use is passed over: `how, true` -> `how, false`;
            //~   what_is_in_use_is_passed_over_and_nothing_free_is_missed
            other = self.choose(towards, how, true)?;
            chosen = &other;
        }
        let link = towards.link(chosen.vlan, &self.core.paths, self.now);
        let local = (chosen.vlan, chosen.address);
        let slot = self
            .core
            .opening(self.now)
            .connect(chosen.key, chosen.hash, how.profile, local, link)
            .map_err(|_| ConnectError::TableFull)?;
        self.core.endpoint.counters.bump(Counter::ActiveOpens);
        self.core.conns.mark_dirty(slot);
        let conn = self.core.conns.get(slot).ok_or(ConnectError::TableFull)?;
        self.new_states.push(conn.state, state);
        Ok(conn.id)
    }

    /// The source of a new connection: its id, and the VLAN and address under it.
    #[inline(always)]
    fn source(
        &self,
        towards: &Towards,
        how: &Connect,
    ) -> Result<(LocalId, VlanId, IpAddr), ConnectError> {
        let config = &self.core.endpoint.config;
        let address = match how.local {
            Some(address) => address,
            None => config
                .source_for(towards.next_hop)
                .ok_or(ConnectError::NoRoute)?,
        };
        if address.is_ipv4() != towards.remote.is_ipv4() {
            return Err(ConnectError::NotLocal);
        }
        //~ A connection opens in the VLAN that is named: `how.vlan.unwrap_or(config.locals.vlans().first())`
        //~   -> `config.locals.vlans().first()`; a_connection_is_opened_in_the_vlan_that_is_named_or_the_first_one
        let vlan = how.vlan.unwrap_or(config.locals.vlans().first());
        let local = config.locals.find(vlan, address);
        Ok((local.ok_or(ConnectError::NotLocal)?, vlan, address))
    }
}

impl Towards {
    /// Where earlier connections in this VLAN reached the remote end lately.
    #[inline(always)]
    fn link(&mut self, vlan: VlanId, paths: &Paths, now: Instant) -> Option<LinkPeer> {
        match self.way {
            //~ What one connection knows of the way in its VLAN is no other VLAN's: `if of == vlan` -> `if true`;
            //~   connections_opened_at_once_go_each_in_its_vlan
            Some((of, link)) if of == vlan => link,
            _ => self.look_up_link(vlan, paths, now),
        }
    }

    #[inline(never)]
    fn look_up_link(&mut self, vlan: VlanId, paths: &Paths, now: Instant) -> Option<LinkPeer> {
        let address = self.remote.ip();
        let link = paths.link(Destination { vlan, address }, now);
        self.way = Some((vlan, link));
        link
    }
}
