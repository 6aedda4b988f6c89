//! Answers of a host that need no connection, written into the received frame: echo, ARP, neighbour discovery, port
//! unreachable; and what a received ICMP error says about which connection.
//!
//! Called by: the worker's slow lane, which has verified checksums, found the destination (or the target) to be ours, and
//! limits the rate. It must never answer a group, an error with an error, or a source that can't be a host.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use crate::tcp::seq::SeqNum;
use crate::wire::checksum::{self, Sum};
use crate::wire::{
    Defect, IpSpec, Link, MacAddr, Network, Parsed, Transport, U16, arp, emit, icmp, icmpv6,
    ip_protocol, ipv4, ipv6, ndp, parse,
};

/// TTL and hop limit of our answers (RFC 1700's recommended default).
const TTL: u8 = 64;

/// The longest ICMP error over IPv4, IP header included, in bytes (RFC 1812 §4.3.2.3).
pub const MAX_ERROR_LEN_V4: usize = 576;

/// The longest ICMPv6 error, IP header included, in bytes: the minimum MTU (RFC 4443 §2.4 (c)).
pub const MAX_ERROR_LEN_V6: usize = 1280;

/// Why a frame gets no answer from this module. It is unchanged then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It isn't well-formed.
    Malformed(Defect),
    /// It is something else than what this function answers.
    NotARequest,
    /// It went to a multicast or broadcast address, on the link or in IP (RFC 1122 §3.2.2, §3.2.2.6, RFC 4443 §2.4 (e)).
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

/// Turns a TCP segment or UDP datagram to a port of ours into "port unreachable", in place, and says how long it is (RFC
/// 792, RFC 1122 §3.2.2.1; RFC 4443 §3.1). It quotes as much as fits into [`MAX_ERROR_LEN_V4`] or [`MAX_ERROR_LEN_V6`].
///
/// The answer is longer than most frames: [`Refusal::NoRoom`] says how far to extend the frame before the second call.
/// What parses is no fragment; errors are never answered, since only TCP and UDP are.
///
/// # Errors
/// [`Refusal`].
pub fn port_unreachable(frame: &mut [u8], local_mac: MacAddr) -> Result<usize, Refusal> {
    let parsed = parse(frame).map_err(Refusal::Malformed)?;
    if !matches!(
        parsed.transport(),
        Some(Transport::Tcp(_) | Transport::Udp(_))
    ) {
        return Err(Refusal::NotARequest);
    }
    let Some((them, us)) = parsed.addresses() else {
        return Err(Refusal::NotARequest);
    };
    let is_group = us.is_multicast() || us == IpAddr::V4(Ipv4Addr::BROADCAST);
    if is_group || parsed.link.dst.is_multicast() {
        return Err(Refusal::GroupDestination);
    }
    let (protocol, kind, code) = match us {
        IpAddr::V4(_) => (ip_protocol::ICMP, icmp::UNREACHABLE, icmp::CODE_PORT),
        IpAddr::V6(_) => (ip_protocol::ICMPV6, icmpv6::UNREACHABLE, icmpv6::CODE_PORT),
    };
    let (header_len, max_len) = match us {
        IpAddr::V4(_) => (ipv4::HEADER_LEN, MAX_ERROR_LEN_V4),
        IpAddr::V6(_) => (ipv6::HEADER_LEN, MAX_ERROR_LEN_V6),
    };
    let parsed_link = parsed.link;
    let (l3, end) = (parsed.l3_offset(), parsed.end_offset());
    let quote_len = (end - l3).min(max_len - header_len - icmp::HEADER_LEN);
    let message = l3 + header_len;
    let needed = message + icmp::HEADER_LEN + quote_len;
    if frame.len() < needed {
        return Err(Refusal::NoRoom { needed });
    }
    frame.copy_within(l3..l3 + quote_len, message + icmp::HEADER_LEN);
    let link = back(parsed_link, local_mac);
    let ip = IpSpec {
        ttl: TTL,
        ..IpSpec::new(us, them)
    };
    let message = emit::ip_in_place(link, &ip, protocol, frame, message..needed)?;
    fill_error(
        frame,
        message.clone(),
        kind,
        code,
        pseudo_sum(us, them, message.len()),
    );
    Ok(message.end)
}

/// What the checksum covers besides the message: nothing over IPv4, the pseudo-header over IPv6.
fn pseudo_sum(us: IpAddr, them: IpAddr, len: usize) -> Sum {
    match (us, them) {
        (IpAddr::V6(us), IpAddr::V6(them)) => {
            // An error is at most 1280 bytes long.
            let len = len as u32;
            checksum::pseudo_v6(&us.octets(), &them.octets(), ip_protocol::ICMPV6, len)
        }
        _ => Sum::ZERO,
    }
}

fn fill_error(frame: &mut [u8], message: Range<usize>, kind: u8, code: u8, pseudo: Sum) {
    let Some(bytes) = frame.get_mut(message) else {
        return;
    };
    let blank = icmp::Header {
        kind,
        code,
        checksum: U16::ZERO,
        ident: U16::ZERO,
        seq: U16::ZERO,
    };
    if blank.write_to_prefix(bytes).is_err() {
        return;
    }
    let value = (pseudo + checksum::sum(bytes)).finish();
    if let Ok((header, _)) = icmp::Header::mut_from_prefix(bytes) {
        header.checksum = value;
    }
}

/// An ICMP error, and the packet of ours that it is about. Anybody can have sent it: check the quote (RFC 5927 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// With which packet.
    pub quote: Quote,
}

/// What an ICMP error reports, for both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The destination can't be reached.
    Unreachable(Unreachable),
    /// The packet was too long for a link on its way (RFC 1191, RFC 8201).
    TooBig {
        /// MTU of that link, in bytes, as claimed; 0 from routers older than RFC 1191.
        mtu: u32,
    },
    /// TTL or hop limit ran out (code 0), or reassembly took too long (code 1).
    TimeExceeded {
        /// The code.
        code: u8,
    },
    /// A field of the packet was not understood.
    ParameterProblem {
        /// The code.
        code: u8,
        /// Where in the quoted packet, in bytes.
        pointer: u32,
    },
}

/// Why a destination can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// No route to the network (IPv4 codes 0, 6, 8, 11; IPv6 code 0).
    Network,
    /// The host doesn't answer on its link (IPv4 codes 1, 7, 12; IPv6 code 3).
    Host,
    /// The host doesn't speak the protocol (IPv4 code 2).
    Protocol,
    /// Nobody listens (IPv4 code 3; IPv6 code 4).
    Port,
    /// A source route failed (IPv4 code 5).
    SourceRoute,
    /// A policy forbids it (IPv4 codes 9, 10, 13; IPv6 codes 1, 5, 6).
    Prohibited,
    /// Another code.
    Other(u8),
}

/// The quoted start of a packet that we sent, or that somebody wants us to believe that we sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Its source: ours, if it is true.
    pub src: IpAddr,
    /// Its destination.
    pub dst: IpAddr,
    /// Its transport protocol ([`ip_protocol`]).
    pub protocol: u8,
    /// Its source port.
    pub src_port: u16,
    /// Its destination port.
    pub dst_port: u16,
    /// Its sequence number, when the protocol is TCP; the next four bytes otherwise.
    pub seq: SeqNum,
}

/// Reads an ICMP error of either family: what it reports, and about which packet. The caller has verified its checksum, and
/// checks the quote against the connection (RFC 5927 §4.1). Source Quench is refused as a type (MUST-55, RFC 6633).
///
/// # Errors
/// [`Defect::IcmpType`], [`Defect::Icmpv6Type`] when it is no error that a TCP has a use for; [`Defect::IcmpQuote`],
/// [`Defect::Icmpv6Quote`] when the quote has no header, is a later fragment or has fewer than 8 bytes of transport.
pub fn parse_error(parsed: &Parsed<'_>) -> Result<IcmpError, Defect> {
    match parsed.transport() {
        Some(Transport::Icmp(message)) => {
            let kind = kind_v4(message.header)?;
            let quote = quote_v4(message.body).ok_or(Defect::IcmpQuote)?;
            Ok(IcmpError { kind, quote })
        }
        Some(Transport::Icmpv6(message)) => {
            let kind = kind_v6(message.header)?;
            let quote = quote_v6(message.body).ok_or(Defect::Icmpv6Quote)?;
            Ok(IcmpError { kind, quote })
        }
        _ => Err(Defect::IcmpType),
    }
}

fn kind_v4(header: &icmp::Header) -> Result<ErrorKind, Defect> {
    let code = header.code;
    Ok(match (header.kind, code) {
        (icmp::UNREACHABLE, icmp::CODE_FRAGMENTATION_NEEDED) => ErrorKind::TooBig {
            mtu: u32::from(header.seq.get()),
        },
        (icmp::UNREACHABLE, _) => ErrorKind::Unreachable(match code {
            0 | 6 | 8 | 11 => Unreachable::Network,
            1 | 7 | 12 => Unreachable::Host,
            icmp::CODE_PROTOCOL => Unreachable::Protocol,
            icmp::CODE_PORT => Unreachable::Port,
            5 => Unreachable::SourceRoute,
            9 | 10 | 13 => Unreachable::Prohibited,
            _ => Unreachable::Other(code),
        }),
        (icmp::TIME_EXCEEDED, _) => ErrorKind::TimeExceeded { code },
        (icmp::PARAMETER_PROBLEM, _) => {
            // The pointer is the upper byte of what echo calls the identifier.
            ErrorKind::ParameterProblem {
                code,
                pointer: u32::from(header.ident.get() >> 8),
            }
        }
        _ => return Err(Defect::IcmpType),
    })
}

fn kind_v6(header: &icmpv6::Header) -> Result<ErrorKind, Defect> {
    let code = header.code;
    Ok(match header.kind {
        icmpv6::UNREACHABLE => ErrorKind::Unreachable(match code {
            0 => Unreachable::Network,
            1 | 5 | 6 => Unreachable::Prohibited,
            3 => Unreachable::Host,
            icmpv6::CODE_PORT => Unreachable::Port,
            _ => Unreachable::Other(code),
        }),
        icmpv6::PACKET_TOO_BIG => ErrorKind::TooBig {
            mtu: header.rest.get(),
        },
        icmpv6::TIME_EXCEEDED => ErrorKind::TimeExceeded { code },
        icmpv6::PARAMETER_PROBLEM => ErrorKind::ParameterProblem {
            code,
            pointer: header.rest.get(),
        },
        _ => return Err(Defect::Icmpv6Type),
    })
}

/// A quote may end anywhere behind the transport's first 8 bytes, so its total length isn't held against it.
fn quote_v4(bytes: &[u8]) -> Option<Quote> {
    let (header, _) = ipv4::Header::ref_from_prefix(bytes).ok()?;
    let is_whole_header = header.version() == 4 && header.header_len() >= ipv4::HEADER_LEN;
    if !is_whole_header || header.fragment_offset() != 0 {
        return None;
    }
    let transport = bytes.get(header.header_len()..)?;
    quote(
        header.src_addr().into(),
        header.dst_addr().into(),
        header.protocol,
        transport,
    )
}

fn quote_v6(bytes: &[u8]) -> Option<Quote> {
    let (header, rest) = ipv6::Header::ref_from_prefix(bytes).ok()?;
    if header.version() != 6 {
        return None;
    }
    let (protocol, transport) = ipv6::skip_extensions(header.next_header, rest).ok()?;
    quote(
        header.src_addr().into(),
        header.dst_addr().into(),
        protocol,
        transport,
    )
}

fn quote(src: IpAddr, dst: IpAddr, protocol: u8, transport: &[u8]) -> Option<Quote> {
    let &[a, b, c, d, e, f, g, h] = transport.first_chunk::<8>()?;
    Some(Quote {
        src,
        dst,
        protocol,
        src_port: u16::from_be_bytes([a, b]),
        dst_port: u16::from_be_bytes([c, d]),
        seq: SeqNum(u32::from_be_bytes([e, f, g, h])),
    })
}

#[cfg(test)]
mod tests;
