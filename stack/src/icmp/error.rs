//! Received ICMP errors of either family, and the packet of ours that they report: [`parse_error`].
//!
//! It must never believe the quote: anybody can have sent the error.

use core::net::IpAddr;

use zerocopy::FromBytes;

use crate::seq::SeqNum;
use crate::wire::{Defect, Parsed, Transport, icmp, icmpv6, ipv4, ipv6};

/// An ICMP error, and the packet of ours that it is about. Anybody can have sent it: check the quote (RFC 5927 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// With which packet.
    pub quote: Quote,
}

/// The kinds of ICMP errors, for both families.
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
    /// No program listens (IPv4 code 3; IPv6 code 4).
    Port,
    /// A source route failed (IPv4 code 5).
    SourceRoute,
    /// A policy forbids it (IPv4 codes 9, 10, 13; IPv6 codes 1, 5, 6).
    Prohibited,
    /// Another code.
    Other(u8),
}

/// The quoted start of a packet that we sent, or that a forger wants us to believe that we sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Its whole length in bytes, IP header included, as its header says.
    pub packet_len: u32,
    /// Its source: ours, if it is true.
    pub src: IpAddr,
    /// Its destination.
    pub dst: IpAddr,
    /// Its transport protocol ([`crate::wire::ip_protocol`]).
    pub protocol: u8,
    /// Its source port.
    pub src_port: u16,
    /// Its destination port.
    pub dst_port: u16,
    /// Its sequence number, when the protocol is TCP; the next four bytes otherwise.
    pub seq: SeqNum,
}

/// Reads an ICMP error of either family: what it reports, and about which packet. The caller has verified its
/// checksum, and checks the quote against the connection (RFC 5927 §4.1). Source Quench is refused as a type
/// (MUST-55, RFC 6633).
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
        header.total_len.get().into(),
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
        ipv6::HEADER_LEN as u32 + u32::from(header.payload_len.get()),
        header.src_addr().into(),
        header.dst_addr().into(),
        protocol,
        transport,
    )
}

fn quote(
    packet_len: u32,
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    transport: &[u8],
) -> Option<Quote> {
    let &[a, b, c, d, e, f, g, h] = transport.first_chunk::<8>()?;
    Some(Quote {
        packet_len,
        src,
        dst,
        protocol,
        src_port: u16::from_be_bytes([a, b]),
        dst_port: u16::from_be_bytes([c, d]),
        seq: SeqNum(u32::from_be_bytes([e, f, g, h])),
    })
}
