//! The ICMP errors that we send, each written into the frame that it is about: unreachable ports and protocols (RFC 1122
//! §3.2.2.1, RFC 4443 §3.1), parameter problems of IPv6 (RFC 4443 §3.4, RFC 8200 §4).
//!
//! It must never report an error, a fragment, a source that is no single host, or what went to a group (RFC 1122 §3.2.2,
//! RFC 4443 §2.4 (e); RFC 8200 §4.2 has an exception).

use core::net::IpAddr;
use core::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::{Refusal, TTL, back};
use crate::wire::checksum::{self, Sum};
use crate::wire::{
    IpSpec, Link, MacAddr, Network, Transport, U16, emit, envelope, icmp, icmpv6, ip_protocol,
    ipv4, ipv6, parse,
};

/// The longest ICMP error over IPv4, IP header included, in bytes (RFC 1812 §4.3.2.3).
pub const MAX_ERROR_LEN_V4: usize = 576;

/// The longest ICMPv6 error, IP header included, in bytes: the minimum MTU (RFC 4443 §2.4 (c)).
pub const MAX_ERROR_LEN_V6: usize = 1280;

/// The error to report about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// No program listens at its port.
    Port,
    /// Its protocol is unsupported (IPv4; over IPv6 that is a parameter problem).
    Protocol,
    /// Fragments of it that are missing have not come in time.
    ReassemblyTime,
    /// Its headers can't be processed (IPv6).
    Parameter(ipv6::ParameterProblem),
}

/// A packet that can't be taken, and what its sender is to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its defect.
    pub problem: Problem,
    /// Its link header.
    pub link: Link,
    /// Its sender: an address that a single host can have.
    pub src: IpAddr,
    /// Whom it was for. A group only where that may be reported.
    pub dst: IpAddr,
}

/// The error to report about a UDP datagram, another protocol than ours, or a packet whose IPv6 headers can't be processed.
/// `None` when it is nothing of these, or may not be reported. Whether the destination is ours, and the source the broadcast
/// address of a link, is the caller's to know; so are checksums.
#[must_use]
pub fn report_due(frame: &[u8]) -> Option<Report> {
    let envelope = envelope(frame)?;
    let problem = match envelope.dst {
        IpAddr::V4(_) => None,
        IpAddr::V6(_) => ipv6::problem(envelope.packet).map(Problem::Parameter),
    };
    let problem = match problem {
        Some(problem) => problem,
        None => match parse(frame).ok()?.network {
            Network::Ipv4 { transport, .. } | Network::Ipv6 { transport, .. } => match transport {
                Transport::Udp(_) => Problem::Port,
                Transport::Other(_) => Problem::Protocol,
                _ => return None,
            },
            Network::Arp(_) => return None,
        },
    };
    let from_host = match envelope.src {
        IpAddr::V4(src) => ipv4::is_valid_source(src.octets()),
        IpAddr::V6(src) => ipv6::is_valid_source(src),
    };
    let to_group = is_group(envelope.dst) || envelope.link.dst.is_multicast();
    let even_to_group = matches!(problem, Problem::Parameter(problem) if problem.even_to_group);
    //~ Packets to a group are not reported: `(!to_group || even_to_group)` -> `true`; what_may_not_be_reported_is_not
    let may = from_host && (!to_group || even_to_group) && !envelope.link.src.is_multicast();
    may.then_some(Report {
        problem,
        link: envelope.link,
        src: envelope.src,
        dst: envelope.dst,
    })
}

fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => ipv4::is_multicast_or_broadcast(address.octets()),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// Turns a TCP segment or UDP datagram to a port of ours into "port unreachable", in place, and says how long it is
/// (RFC 792, RFC 1122 §3.2.2.1; RFC 4443 §3.1). What parses is no fragment; errors are never answered, since only TCP and UDP
/// are.
///
/// # Errors
/// [`Refusal`], as of [`write_report`].
pub fn port_unreachable(frame: &mut [u8], local_mac: MacAddr) -> Result<usize, Refusal> {
    let parsed = parse(frame).map_err(Refusal::Malformed)?;
    let has_ports = matches!(
        parsed.transport(),
        Some(Transport::Tcp(_) | Transport::Udp(_))
    );
    let Some((_, us)) = parsed.addresses().filter(|_| has_ports) else {
        return Err(Refusal::NotARequest);
    };
    if is_group(us) || parsed.link.dst.is_multicast() {
        return Err(Refusal::GroupDestination);
    }
    write_report(frame, local_mac, us, Problem::Port)
}

/// Turns a frame into the error about it, in place, from `us` to its sender, and says how long it is. It quotes as much as
/// fits into [`MAX_ERROR_LEN_V4`] or [`MAX_ERROR_LEN_V6`].
///
/// The error is longer than most frames: [`Refusal::NoRoom`] says how far to extend the frame before the second call.
///
/// # Errors
/// [`Refusal`]; [`Refusal::NotARequest`] when it is no whole IP packet of the family of `us`.
pub fn write_report(
    frame: &mut [u8],
    local_mac: MacAddr,
    us: IpAddr,
    problem: Problem,
) -> Result<usize, Refusal> {
    let about = envelope(frame).filter(|about| about.src.is_ipv4() == us.is_ipv4());
    let about = about.ok_or(Refusal::NotARequest)?;
    let (link, them, whole_len) = (about.link, about.src, about.packet.len());
    let (protocol, header_len, max_len) = match us {
        IpAddr::V4(_) => (ip_protocol::ICMP, ipv4::HEADER_LEN, MAX_ERROR_LEN_V4),
        IpAddr::V6(_) => (ip_protocol::ICMPV6, ipv6::HEADER_LEN, MAX_ERROR_LEN_V6),
    };
    let l3 = link.header_len();
    let quote_len = whole_len.min(max_len - header_len - icmp::HEADER_LEN);
    let message = l3 + header_len;
    let needed = message + icmp::HEADER_LEN + quote_len;
    if frame.len() < needed {
        return Err(Refusal::NoRoom { needed });
    }
    frame.copy_within(l3..l3 + quote_len, message + icmp::HEADER_LEN);
    let ip = IpSpec {
        ttl: TTL,
        ..IpSpec::new(us, them)
    };
    let link = back(link, local_mac);
    let message = emit::ip_in_place(link, &ip, protocol, frame, message..needed)?;
    let pseudo = pseudo_sum(us, them, message.len());
    fill_error(frame, message.clone(), problem.header(us), pseudo);
    Ok(message.end)
}

impl Problem {
    /// The first eight bytes of the message, without the checksum. ICMP and ICMPv6 lay them out alike.
    fn header(self, us: IpAddr) -> icmp::Header {
        let (kind, code, pointer) = match (self, us) {
            (Self::Port, IpAddr::V4(_)) => (icmp::UNREACHABLE, icmp::CODE_PORT, 0),
            (Self::Port, IpAddr::V6(_)) => (icmpv6::UNREACHABLE, icmpv6::CODE_PORT, 0),
            (Self::ReassemblyTime, IpAddr::V4(_)) => {
                (icmp::TIME_EXCEEDED, icmp::CODE_REASSEMBLY, 0)
            }
            (Self::ReassemblyTime, IpAddr::V6(_)) => {
                (icmpv6::TIME_EXCEEDED, icmpv6::CODE_REASSEMBLY, 0)
            }
            (Self::Protocol, _) => (icmp::UNREACHABLE, icmp::CODE_PROTOCOL, 0),
            (Self::Parameter(problem), _) => {
                (icmpv6::PARAMETER_PROBLEM, problem.code, problem.pointer)
            }
        };
        icmp::Header {
            kind,
            code,
            checksum: U16::ZERO,
            ident: U16::new((pointer >> 16) as u16),
            seq: U16::new(pointer as u16),
        }
    }
}

/// The bytes that the checksum covers besides the message: nothing over IPv4, the pseudo-header over IPv6.
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

fn fill_error(frame: &mut [u8], message: Range<usize>, header: icmp::Header, pseudo: Sum) {
    let Some(bytes) = frame.get_mut(message) else {
        return;
    };
    if header.write_to_prefix(bytes).is_err() {
        return;
    }
    let value = (pseudo + checksum::sum(bytes)).finish();
    if let Ok((header, _)) = icmp::Header::mut_from_prefix(bytes) {
        header.checksum = value;
    }
}
