//! Frames that we send on our own account, and the neighbours that they need: worker 0 resolves for all.
//!
//! It must never block on a neighbour: frames wait in the table, bounded, and are counted when they are dropped. No
//! frame leaves the VLAN of its connection, or of the neighbour that it asks for.

use core::net::{IpAddr, Ipv6Addr};

use super::Core;
use super::handoff::Message;
use super::reply::TcpReply;
use crate::config::Config;
use crate::conn::FlowKey;
use crate::counters::Counter;
use crate::neighbor::{
    Action, Advertisement, MAX_PENDING_FRAMES, Neighbor, NeighborState, NeighborTable, Resolution,
    ResolvedNeighbor, Solicit,
};
use crate::nic::{Burst, Frame, Nic, PoolClass};
use crate::time::Instant;
use crate::wire::vlan::{self, VlanId};
use crate::wire::{
    Link, MacAddr, Network, Transport, arp, emit, ethernet, icmpv6, ipv6, ndp, parse,
};
use crate::worker::frame_writer::{Path, Route};

/// Frames that resolving one neighbour can set free at once.
pub(super) const FRAMES_PER_RESOLUTION: usize = MAX_PENDING_FRAMES;

/// The longest frame that [`emit`] makes here: a neighbour solicitation with its target and our link-layer address.
const MAX_FRAME_LEN: usize =
    ethernet::HEADER_LEN + vlan::TAG_LEN + ipv6::HEADER_LEN + icmpv6::HEADER_LEN + 16 + 8;

/// The neighbour table of worker 0, and what other workers have sent it to resolve.
pub(super) struct Neighborhood<F> {
    /// `None` on all workers but the first.
    table: Option<NeighborTable<F>>,
    handed_over: Burst<F>,
}

impl<F> Neighborhood<F> {
    /// `seed` varies the lifetime of entries (RFC 4861 §6.3.2).
    pub(super) fn new(config: &Config, is_first: bool, seed: u64) -> Self {
        let table = if is_first {
            // The limits were validated with the configuration.
            let mut table = NeighborTable::new(config.limits.neighbor_config(), seed).ok();
            for gateway in config.gateways() {
                for &vlan in config.locals.vlans().named() {
                    let addr = gateway;
                    table
                        .iter_mut()
                        .for_each(|table| table.keep(Neighbor { vlan, addr }));
                }
            }
            table
        } else {
            None
        };
        Self {
            table,
            handed_over: Burst::new(),
        }
    }

    /// The entry of a neighbour, where this worker keeps neighbours.
    pub(super) fn state(&self, neighbor: Neighbor) -> Option<NeighborState> {
        Some(self.table.as_ref()?.get(neighbor)?.0)
    }

    /// When the neighbour table wants to be polled.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.table.as_ref()?.next_deadline()
    }

    /// Takes a frame that another worker wants sent, or gives it back when a burst of them waits already.
    pub(super) fn hold_for_resolution(&mut self, frame: F) -> Result<(), F> {
        self.handed_over.push(frame)
    }

    /// Takes the sender's address from an ARP packet; the frames that waited for it.
    pub(super) fn on_arp(
        &mut self,
        packet: &arp::Packet,
        vlan: VlanId,
        for_us: bool,
        now: Instant,
    ) -> Option<ResolvedNeighbor<F>> {
        let table = self.table.as_mut()?;
        let neighbor = Neighbor {
            vlan,
            addr: packet.sender_addr().into(),
        };
        if packet.is_probe() {
            // RFC 5227: the sender doesn't own the address yet.
            return None;
        }
        if packet.is_request() || packet.is_announcement() {
            return table.on_solicitation(neighbor, packet.sender_mac, for_us, now);
        }
        let (mac, solicited) = (Some(packet.sender_mac), for_us);
        table.on_advertisement(
            Advertisement {
                neighbor,
                mac,
                solicited,
                overriding: true,
            },
            now,
        )
    }

    /// Takes the sender's address from a solicitation or an advertisement; the frames that waited for it.
    pub(super) fn on_ndp(
        &mut self,
        message: &ndp::Message,
        vlan: VlanId,
        source: Ipv6Addr,
        now: Instant,
    ) -> Option<ResolvedNeighbor<F>> {
        let table = self.table.as_mut()?;
        let at = |addr: Ipv6Addr| Neighbor {
            //~ NDP from another VLAN speaks of another neighbour: -> `vlan: { let _ = vlan; VlanId(5) },`;
            //~   the_neighbor_is_asked_for_in_the_vlan_and_answers_from_there
            vlan,
            addr: addr.into(),
        };
        match *message {
            ndp::Message::NeighborSolicitation {
                source_lladdr: Some(mac),
                ..
            } => table.on_solicitation(at(source), mac, true, now),
            ndp::Message::NeighborAdvertisement {
                target,
                target_lladdr,
                solicited,
                overriding,
                ..
            } => {
                let (neighbor, mac) = (at(target), target_lladdr);
                table.on_advertisement(
                    Advertisement {
                        neighbor,
                        mac,
                        solicited,
                        overriding,
                    },
                    now,
                )
            }
            _ => None,
        }
    }
}

impl<N: Nic> Core<N> {
    /// Sends a segment of `key`'s connection that answers no frame: a SYN-ACK by timer. It goes to `dst`, where the SYN came
    /// from, as the first one did: SYNs from addresses without a host behind them make no neighbour entries.
    pub(super) fn originate(&mut self, key: &FlowKey, dst: MacAddr, reply: &TcpReply) {
        if let Some(frame) = self.write_segment(key, dst, reply) {
            self.outbox.connection(frame, &mut self.endpoint.counters);
        }
    }

    /// The same, to the neighbour that the table names: a reset by the app of a parked connection.
    pub(super) fn originate_resolved(&mut self, key: &FlowKey, reply: &TcpReply, now: Instant) {
        let Some(vlan) = self.endpoint.config.locals.vlan(key.local()) else {
            return self.endpoint.counters.bump(Counter::TxNoRoute);
        };
        let addr = key.remote();
        if let Some(frame) = self.write_segment(key, MacAddr::ZERO, reply) {
            self.dispatch(frame, Neighbor { vlan, addr }, now);
        }
    }

    fn write_segment(&mut self, key: &FlowKey, dst: MacAddr, reply: &TcpReply) -> Option<N::Frame> {
        let Some((vlan, local)) = self.endpoint.config.locals.locate(key.local()) else {
            self.endpoint.counters.bump(Counter::TxNoRoute);
            return None;
        };
        let path = Path {
            key: *key,
            local,
            route: Route {
                dst,
                //~ A SYN-ACK by timer goes out in its VLAN: -> `vlan: vlan.tag().filter(|_| false),`;
                //~   the_syn_ack_again_stays_in_the_vlan
                vlan: vlan.tag(),
            },
            is_doubtful: false,
        };
        let counters = &mut self.endpoint.counters;
        self.writer
            .bare(&mut self.nic, counters, &path, &reply.into())
    }

    /// Lets `write` fill a fresh control frame. `None`, counted, without a buffer.
    fn write_frame(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<N::Frame> {
        let frame = self
            .nic
            .alloc_one(PoolClass::Control)
            .and_then(|mut frame| {
                frame.set_len(MAX_FRAME_LEN).ok()?;
                let len = write(frame.bytes_mut()?)?;
                frame.set_len(len).ok()?;
                frame.request(None);
                Some(frame)
            });
        if frame.is_none() {
            self.endpoint.counters.bump(Counter::TxNoBuffer);
        }
        frame
    }

    /// Gives a finished packet its link addresses and sends it, now or when its neighbour has answered. One that has a link
    /// destination was sent there before and not answered: it goes at once, and its neighbour becomes doubtful.
    pub(super) fn dispatch(&mut self, frame: N::Frame, destination: Neighbor, now: Instant) {
        let tried = link_destination(frame.bytes());
        if self.neighborhood.table.is_none() {
            match self.ring.push(0, Message::Resolve(frame)) {
                Ok(()) => {}
                Err(frame) if tried.is_some() => {
                    self.outbox.connection(frame, &mut self.endpoint.counters);
                }
                Err(frame) => self.drop_unsent(frame, Counter::TxNeighborDropped),
            }
            return;
        }
        let Neighbor { vlan, addr } = destination;
        let Some(addr) = self.endpoint.config.next_hop(addr) else {
            return self.drop_unsent(frame, Counter::TxNoRoute);
        };
        let next_hop = Neighbor { vlan, addr };
        if let Some(tried) = tried {
            return self.send_doubtful(frame, next_hop, tried, now);
        }
        let Some(resolution) = self.resolve(next_hop, now) else {
            return;
        };
        match resolution {
            Resolution::Resolved(mac) => self.send_to(frame, mac),
            Resolution::NoRoom => self.drop_unsent(frame, Counter::TxNeighborDropped),
            Resolution::Solicit(_) | Resolution::Waiting => {
                let table = self.neighborhood.table.as_mut();
                if let Some(displaced) = table.and_then(|table| table.queue(next_hop, frame)) {
                    self.drop_unsent(displaced, Counter::TxNeighborDropped);
                }
                if let Resolution::Solicit(solicit) = resolution {
                    self.solicit(solicit);
                }
            }
        }
    }

    /// A segment to `destination` was not answered, and its connection knows no link address: the neighbour that the table names is
    /// in doubt. A message that finds no room is forgotten: the next repetition brings another.
    #[cold]
    pub(super) fn doubt_neighbor(&mut self, destination: Neighbor, now: Instant) {
        let Some(addr) = self.endpoint.config.next_hop(destination.addr) else {
            return;
        };
        let neighbor = Neighbor {
            addr,
            ..destination
        };
        match self.neighborhood.table.as_mut() {
            Some(table) => table.doubt(neighbor, now),
            None => {
                self.ring.tell(0, Message::Doubt(neighbor));
            }
        }
    }

    /// Sends a frame at once that was sent to `tried` before and not answered: its next hop is in doubt.
    fn send_doubtful(&mut self, frame: N::Frame, next_hop: Neighbor, tried: MacAddr, now: Instant) {
        let Some(table) = self.neighborhood.table.as_mut() else {
            return;
        };
        let (outbox, counters) = (&mut self.outbox, &mut self.endpoint.counters);
        let (mac, solicit) = table.resolve_doubtful(next_hop, tried, now, |displaced| {
            counters.bump(Counter::TxNeighborDropped);
            outbox.free(displaced);
        });
        counters.add(Counter::NeighborEvicted, table.take_evictions());
        self.send_to(frame, mac);
        if let Some(solicit) = solicit {
            self.solicit(solicit);
        }
    }

    /// The neighbour table's entry of a next hop; `None` on workers without one.
    pub(super) fn resolve(&mut self, next_hop: Neighbor, now: Instant) -> Option<Resolution> {
        let table = self.neighborhood.table.as_mut()?;
        let (outbox, counters) = (&mut self.outbox, &mut self.endpoint.counters);
        let resolution = table.resolve(next_hop, now, |displaced| {
            counters.bump(Counter::TxNeighborDropped);
            outbox.free(displaced);
        });
        //~ Neighbours that gave way are counted: `table.take_evictions()` -> `{ let _ = table; 0 }`;
        //~   neighbors_that_are_asked_for_displace_each_other_and_are_counted
        counters.add(Counter::NeighborEvicted, table.take_evictions());
        Some(resolution)
    }

    /// The consequences of ARP or NDP: frames that waited for a neighbour are sent, a displaced neighbour is counted, and the new
    /// address of one that moved reaches the connections of every worker.
    pub(super) fn release(&mut self, resolved: Option<ResolvedNeighbor<N::Frame>>, now: Instant) {
        if let Some(table) = &mut self.neighborhood.table {
            let (evictions, moved) = (table.take_evictions(), table.take_move());
            let counters = &mut self.endpoint.counters;
            counters.add(Counter::NeighborEvicted, evictions);
            if let Some(moved) = moved {
                counters.bump(Counter::NeighborMoved);
                counters.add(Counter::NeighborUpdatesLost, self.ring.tell_all(moved));
                //~ A move reaches the worker's own connections;
                //~   a_connection_that_only_sends_follows_its_neighbour_that_moved
                self.on_move(moved);
            }
        }
        if let Some(ResolvedNeighbor {
            neighbor,
            mac,
            frames,
        }) = resolved
        {
            for frame in frames {
                self.send_to(frame, mac);
            }
            self.tell_held(neighbor, Some(mac), now);
        }
    }

    fn send_to(&mut self, mut frame: N::Frame, mac: MacAddr) {
        if let Some(dst) = frame
            .bytes_mut()
            .and_then(|bytes| bytes.first_chunk_mut::<6>())
        {
            *dst = mac.0;
        }
        self.outbox.connection(frame, &mut self.endpoint.counters);
    }

    /// Reports to the connection that sent a frame that its neighbour doesn't answer. The frame is dropped.
    pub(super) fn no_route(&mut self, frame: N::Frame, now: Instant) {
        let key = self.sender_of(frame.bytes());
        if let Some(key) = key {
            let hash = self.endpoint.hasher.hash(&key);
            let owner = self.owner(&key, hash);
            if owner != self.ring.index() {
                if let Err(frame) = self.ring.push(owner, Message::NoRoute(frame)) {
                    self.drop_unsent(frame, Counter::TxNeighborDropped);
                }
                return;
            }
            if let Some(found) = self.endpoint.table.lookup(&key, hash)
                && let Some(slot) = self.endpoint.table.slot(found)
                && let Some(slot) = self.awake(slot, now)
            {
                self.command(slot, now, |tcb, env| {
                    tcb.on_no_route(env);
                });
            }
        }
        self.drop_unsent(frame, Counter::TxNeighborDropped);
    }

    /// The flow of a frame that we made.
    fn sender_of(&self, bytes: &[u8]) -> Option<FlowKey> {
        let parsed = parse(bytes).ok()?;
        let (source, destination) = parsed.addresses()?;
        //~ A connection without a neighbour is found by its VLAN: -> `let vlan = VlanId::UNTAGGED;`;
        //~   without_an_answer_in_its_vlan_a_connection_hears_of_it
        let vlan = parsed.link.vlan_id();
        let local = self.endpoint.config.locals.find(vlan, source)?;
        match parsed.transport()? {
            Transport::Tcp(segment) => Some(FlowKey::new(
                local,
                segment.header.src_port.get(),
                destination,
                segment.header.dst_port.get(),
            )),
            _ => None,
        }
    }

    fn drop_unsent(&mut self, frame: N::Frame, counter: Counter) {
        self.endpoint.counters.bump(counter);
        self.outbox.free(frame);
    }

    /// Asks who has a neighbour's address, or whether it is still there.
    pub(super) fn solicit(&mut self, solicit: Solicit) {
        let Some(source) = self.endpoint.config.source_for(solicit.neighbor.addr) else {
            return self.endpoint.counters.bump(Counter::TxNoRoute);
        };
        let link = |group| Link {
            dst: solicit.to.unwrap_or(group),
            src: self.mac,
            //~ A neighbour is asked for in its VLAN: -> `vlan: None,`;
            //~   the_neighbor_is_asked_for_in_the_vlan_and_answers_from_there
            vlan: solicit.neighbor.vlan.tag(),
        };
        let frame = match (source, solicit.neighbor.addr) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let (link, packet) = (
                    link(MacAddr::BROADCAST),
                    arp::Packet::request(self.mac, source, target),
                );
                self.write_frame(|bytes| emit::arp(link, &packet, bytes).ok())
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let group = ndp::solicited_node(target);
                let link = link(ndp::multicast_mac(group));
                let to = if solicit.to.is_some() { target } else { group };
                self.write_frame(|bytes| {
                    emit::neighbor_solicitation(link, source, to, target, bytes).ok()
                })
            }
            _ => None,
        };
        if let Some(frame) = frame {
            self.endpoint.counters.bump(Counter::SolicitationsSent);
            self.outbox.connection(frame, &mut self.endpoint.counters);
        }
    }

    /// Lets the neighbour table's deadlines pass, and takes up what other workers want sent.
    #[inline]
    pub(super) fn run_neighborhood(&mut self, now: Instant) {
        if !self.neighborhood.handed_over.is_empty() {
            self.dispatch_handed_over(now);
        }
        let due =
            |table: &NeighborTable<N::Frame>| table.next_deadline().is_some_and(|at| at <= now);
        if self.neighborhood.table.as_ref().is_some_and(due) {
            self.poll_neighbors(now);
        }
    }

    #[cold]
    fn dispatch_handed_over(&mut self, now: Instant) {
        let mut burst = core::mem::take(&mut self.neighborhood.handed_over);
        let frames = burst.len();
        for frame in burst.take_front(frames) {
            let destination = parse(frame.bytes())
                .ok()
                .and_then(|parsed| match parsed.network {
                    Network::Arp(_) => None,
                    _ => Some(Neighbor {
                        //~ Worker 0 resolves for others in their VLAN: -> `vlan: VlanId::UNTAGGED,`;
                        //~   a_frame_of_another_worker_waits_in_its_vlan
                        vlan: parsed.link.vlan_id(),
                        addr: parsed.addresses()?.1,
                    }),
                });
            match destination {
                Some(destination) => self.dispatch(frame, destination, now),
                // Not reached: `originate` wrote it.
                None => self.drop_unsent(frame, Counter::TxNoRoute),
            }
        }
    }

    #[cold]
    fn poll_neighbors(&mut self, now: Instant) {
        let Some(mut table) = self.neighborhood.table.take() else {
            return;
        };
        table.poll(now, |action| match action {
            Action::Solicit(solicit) => self.solicit(solicit),
            Action::Unreachable { neighbor, frames } => {
                for frame in frames {
                    self.no_route(frame, now);
                }
                self.tell_held(neighbor, None, now);
            }
        });
        self.neighborhood.table = Some(table);
    }
}

/// Where a frame on the link was meant to go; `None` when that is still to be resolved.
fn link_destination(bytes: &[u8]) -> Option<MacAddr> {
    let mac = MacAddr(*bytes.first_chunk()?);
    (mac != MacAddr::ZERO).then_some(mac)
}
