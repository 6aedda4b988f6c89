//! Answers of a host that need no connection, written into the received frame: echo, ARP, neighbour discovery, ICMP errors;
//! and what a received ICMP error says about which connection.
//!
//! It must never answer a group, an error with an error, or a source that can't be a host.

pub mod error;
pub mod report;

pub use error::{ErrorKind, IcmpError, Quote, Unreachable, parse_error};
pub use report::{Report, port_unreachable, report_due, write_report};

use core::net::Ipv6Addr;
use core::ops::Range;

use zerocopy::FromBytes;

use crate::wire::checksum;
use crate::wire::{
    Defect, IpSpec, Link, MacAddr, Network, Parsed, Transport, U16, arp, emit, icmp, icmpv6,
    ip_protocol, ipv4, ipv6, ndp, parse,
};

/// TTL and hop limit of our answers (RFC 1700's recommended default).
const TTL: u8 = 64;

/// Why a frame gets no answer from this module. It is unchanged then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It isn't well-formed.
    Malformed(Defect),
    /// It is something else than what this function answers.
    NotARequest,
    /// It went to a multicast or broadcast address, on the link or in IP (RFC 1122 §3.2.2, §3.2.2.6, RFC 4443 §2.4
    /// (e)).
    GroupDestination,
    /// Its source can't be answered: unspecified (RFC 4443 §2.4 (e)).
    Source,
    /// The answer is longer than the frame's buffer: extend it and call again.
    NoRoom {
        /// Bytes that the answer needs.
        needed: usize,
    },
}

impl Refusal {
    /// Its stable name for counters and reports, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(defect) => defect.name(),
            Self::NotARequest => "not_a_request",
            Self::GroupDestination => "group_destination",
            Self::Source => "source",
            Self::NoRoom { .. } => "no_room",
        }
    }
}

impl From<emit::EmitError> for Refusal {
    fn from(error: emit::EmitError) -> Self {
        match error {
            emit::EmitError::NoRoom { needed } => Self::NoRoom { needed },
            // The addresses come from one packet and the lengths from a frame that was parsed.
            _ => Self::NotARequest,
        }
    }
}

/// Turns an echo request of either family into its reply, in place, and says how long it is (unpadded). Identifier,
/// sequence number and data return whole (RFC 1122 §3.2.2.6, RFC 4443 §4.2); IP options and extension headers don't.
///
/// The checksum is updated, not computed anew: a request that was corrupted on its way stays recognisable as such.
///
/// `local_v6` is the source of replies to IPv6 groups (RFC 4443 §4.2); without one those get none. The caller knows the
/// broadcast addresses of its IPv4 subnets and keeps requests to them away.
///
/// # Errors
/// [`Refusal`], never [`Refusal::NoRoom`].
pub fn echo_reply(
    frame: &mut [u8],
    local_mac: MacAddr,
    local_v6: Option<Ipv6Addr>,
) -> Result<usize, Refusal> {
    let parsed = parse(frame).map_err(Refusal::Malformed)?;
    match parsed.network {
        Network::Ipv4 {
            packet,
            transport: Transport::Icmp(message),
        } if (message.header.kind, message.header.code) == (icmp::ECHO_REQUEST, 0) => {
            echo_reply_v4(
                parsed.link,
                local_mac,
                *packet.header,
                payload_range(&parsed),
                frame,
            )
        }
        Network::Ipv6 {
            packet,
            transport: Transport::Icmpv6(message),
        } if (message.header.kind, message.header.code) == (icmpv6::ECHO_REQUEST, 0) => {
            let dst = packet.header.dst_addr();
            let us = if dst.is_multicast() {
                local_v6
            } else {
                Some(dst)
            };
            let us = us.ok_or(Refusal::GroupDestination)?;
            let link = back(parsed.link, local_mac);
            echo_reply_v6(link, us, *packet.header, payload_range(&parsed), frame)
        }
        _ => Err(Refusal::NotARequest),
    }
}

const fn payload_range(parsed: &Parsed<'_>) -> Range<usize> {
    parsed.l4_offset()..parsed.end_offset()
}

fn echo_reply_v4(
    link: Link,
    local_mac: MacAddr,
    request: ipv4::Header,
    message: Range<usize>,
    frame: &mut [u8],
) -> Result<usize, Refusal> {
    if link.dst.is_multicast() || ipv4::is_multicast_or_broadcast(request.dst) {
        return Err(Refusal::GroupDestination);
    }
    let mut ip = IpSpec::new(request.dst_addr().into(), request.src_addr().into());
    (ip.ttl, ip.dscp_ecn) = (TTL, request.dscp_ecn & !ECN_MASK);
    ip.ident = request.ident.get();
    let link = back(link, local_mac);
    let message = emit::ip_in_place(link, &ip, ip_protocol::ICMP, frame, message)?;
    if let Some(header) = header_mut(frame, &message) {
        become_reply(header, icmp::ECHO_REPLY);
    }
    Ok(message.end)
}

fn echo_reply_v6(
    link: Link,
    us: Ipv6Addr,
    request: ipv6::Header,
    message: Range<usize>,
    frame: &mut [u8],
) -> Result<usize, Refusal> {
    let them = request.src_addr();
    if them.is_unspecified() {
        return Err(Refusal::Source);
    }
    let mut ip = IpSpec::new(us.into(), them.into());
    (ip.ttl, ip.dscp_ecn) = (TTL, request.dscp_ecn() & !ECN_MASK);
    let message = emit::ip_in_place(link, &ip, ip_protocol::ICMPV6, frame, message)?;
    if let Some(header) = header_mut(frame, &message) {
        become_reply(header, icmpv6::ECHO_REPLY);
        // Swapped addresses leave the pseudo-header's sum alone; a group that gave way to an address of ours doesn't.
        let (old, _) = request.dst.as_chunks::<2>();
        let new = us.octets();
        for (old, new) in old.iter().zip(new.as_chunks::<2>().0) {
            let (old, new) = (U16::from_bytes(*old), U16::from_bytes(*new));
            header.checksum = checksum::update(header.checksum, old, new);
        }
    }
    Ok(message.end)
}

fn header_mut<'a>(frame: &'a mut [u8], message: &Range<usize>) -> Option<&'a mut icmp::Header> {
    let (header, _) = icmp::Header::mut_from_prefix(frame.get_mut(message.clone())?).ok()?;
    Some(header)
}

/// Echo is laid out alike in both families (RFC 792, RFC 4443 §4.1); code 0 stays.
fn become_reply(header: &mut icmp::Header, kind: u8) {
    let (old, new) = (
        U16::from_bytes([header.kind, 0]),
        U16::from_bytes([kind, 0]),
    );
    header.kind = kind;
    header.checksum = checksum::update(header.checksum, old, new);
}

/// The two ECN bits: they report about the way here, not the way back (RFC 3168).
const ECN_MASK: u8 = 0x03;

/// The way back on the link: to the sender, from us, in the same VLAN.
const fn back(link: Link, local_mac: MacAddr) -> Link {
    Link {
        dst: link.src,
        src: local_mac,
        vlan: link.vlan,
    }
}

/// Turns an ARP request for an address of ours into the reply, in place, and says how long it is (RFC 826). Probes
/// (RFC 5227) are answered as well: that is how duplicates are found.
///
/// # Errors
/// [`Refusal`], never [`Refusal::NoRoom`].
pub fn arp_reply(frame: &mut [u8], local_mac: MacAddr) -> Result<usize, Refusal> {
    let parsed = parse(frame).map_err(Refusal::Malformed)?;
    let Network::Arp(request) = parsed.network else {
        return Err(Refusal::NotARequest);
    };
    if !request.is_request() {
        return Err(Refusal::NotARequest);
    }
    let reply = arp::Packet::reply(
        local_mac,
        request.target_addr(),
        request.sender_mac,
        request.sender_addr(),
    );
    let link = Link {
        dst: request.sender_mac,
        ..back(parsed.link, local_mac)
    };
    Ok(emit::arp(link, &reply, frame)?)
}

/// Turns a neighbour solicitation for an address of ours into the advertisement, in place, and says how long it is (RFC
/// 4861 §7.2.4): solicited to a host, unsolicited to all nodes when the source is unspecified (duplicate detection).
///
/// A solicitation without a link-layer address is shorter than the advertisement: [`Refusal::NoRoom`] says how far to
/// extend the frame before the second call.
///
/// # Errors
/// [`Refusal`].
pub fn neighbor_reply(frame: &mut [u8], local_mac: MacAddr) -> Result<usize, Refusal> {
    let parsed = parse(frame).map_err(Refusal::Malformed)?;
    let Network::Ipv6 {
        packet,
        transport: Transport::Icmpv6(message),
    } = parsed.network
    else {
        return Err(Refusal::NotARequest);
    };
    let message = ndp::parse(packet.header, message).map_err(Refusal::Malformed)?;
    let ndp::Message::NeighborSolicitation {
        target,
        source_lladdr,
    } = message
    else {
        return Err(Refusal::NotARequest);
    };
    let mut link = back(parsed.link, local_mac);
    let them = packet.header.src_addr();
    let (dst, flags) = if them.is_unspecified() {
        link.dst = ndp::multicast_mac(ndp::ALL_NODES);
        (ndp::ALL_NODES, ndp::FLAG_OVERRIDE)
    } else {
        link.dst = source_lladdr.unwrap_or(parsed.link.src);
        (them, ndp::FLAG_SOLICITED | ndp::FLAG_OVERRIDE)
    };
    // Extension headers were walked over; the advertisement has none, so it may still be shorter.
    let needed = link.header_len() + NEIGHBOR_ADVERTISEMENT_LEN;
    if frame.len() < needed {
        return Err(Refusal::NoRoom { needed });
    }
    Ok(emit::neighbor_advertisement(
        link, dst, target, flags, frame,
    )?)
}

/// IPv6 header, ICMPv6 header, target, one option.
const NEIGHBOR_ADVERTISEMENT_LEN: usize = ipv6::HEADER_LEN + icmpv6::HEADER_LEN + 16 + 8;

#[cfg(test)]
mod tests;
