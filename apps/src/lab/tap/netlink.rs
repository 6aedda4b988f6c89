//! [`Route`]: link, addresses and neighbour entries of a network namespace, by rtnetlink(7).
//!
//! It must never touch another namespace than that of its thread when it was opened.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use stack::neighbor::NeighborState;

/// The group of changes of neighbour entries (RTNLGRP_NEIGH).
const NEIGHBOR_GROUP: u32 = 3;

/// Asks and orders, about one interface of a namespace.
pub(super) struct Route {
    socket: Socket,
    /// Of the interface.
    index: u32,
}

impl Route {
    /// In the namespace of this thread, for the interface with this index.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        Ok(Self { socket, index })
    }

    /// Switches an interface on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn switch_on(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.order(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Gives the interface an address, without asking whether another host has it: none is there.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn add_address(&self, address: IpAddr, prefix_len: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix_len;
        message.header.index = self.index;
        if address.is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
        ];
        self.order(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE)
    }

    /// Makes a neighbour entry that is used without asking: REACHABLE, or PERMANENT.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn set_neighbor(
        &self,
        address: IpAddr,
        mac: [u8; 6],
        is_permanent: bool,
    ) -> io::Result<()> {
        let mut message = self.neighbor_message(address);
        message.header.state = if is_permanent {
            NeighbourState::Permanent
        } else {
            NeighbourState::Reachable
        };
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        self.order(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// The state of the entry for an address; `None`: there is none, or one that no scene knows.
    pub(super) fn neighbor(&self, address: IpAddr) -> Option<NeighborState> {
        let message = RouteNetlinkMessage::GetNeighbour(self.neighbor_message(address));
        // ENOENT: no entry.
        match self.ask(message, 0).ok()?? {
            RouteNetlinkMessage::NewNeighbour(entry) => state_of(entry.header.state),
            _ => None,
        }
    }

    fn neighbor_message(&self, address: IpAddr) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = self.index;
        message.attributes = vec![NeighbourAttribute::Destination(match address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        })];
        message
    }

    fn order(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, NLM_F_ACK | flags).map(drop)
    }

    /// Sends it and waits for the kernel's answer, which comes at once.
    fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (bytes, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match answer.payload {
            NetlinkPayload::InnerMessage(inner) => Ok(Some(inner)),
            // Without a code it is the acknowledgment.
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(None),
        }
    }
}

/// The kernel's notices of changed neighbour entries.
pub(super) struct NeighborMonitor(Socket);

impl NeighborMonitor {
    /// In the namespace of this thread.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(NEIGHBOR_GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// The states that the entry for an address went through since the last call, as far as the kernel says so: it doesn't for
    /// INCOMPLETE and DELAY.
    pub(super) fn changes(&self, address: IpAddr) -> Vec<Option<NeighborState>> {
        let mut changes = Vec::new();
        // Until it would block.
        while let Ok((bytes, _)) = self.0.recv_from_full() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes);
            let (entry, is_gone) = match message.map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry))) => {
                    (entry, false)
                }
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(entry))) => {
                    (entry, true)
                }
                _ => continue,
            };
            if is_about(&entry, address) {
                changes.push(state_of(entry.header.state).filter(|_| !is_gone));
            }
        }
        changes
    }
}

fn is_about(entry: &NeighbourMessage, address: IpAddr) -> bool {
    entry.attributes.iter().any(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => *v4 == address,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => *v6 == address,
        _ => false,
    })
}

const fn state_of(state: NeighbourState) -> Option<NeighborState> {
    match state {
        NeighbourState::Incomplete => Some(NeighborState::Incomplete),
        NeighbourState::Reachable | NeighbourState::Permanent => Some(NeighborState::Reachable),
        NeighbourState::Stale => Some(NeighborState::Stale),
        NeighbourState::Delay => Some(NeighborState::Delay),
        NeighbourState::Probe => Some(NeighborState::Probe),
        NeighbourState::Failed => Some(NeighborState::Failed),
        _ => None,
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
