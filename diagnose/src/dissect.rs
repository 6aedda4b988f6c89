//! [`dissect`]: one captured frame into what the analysis needs, as far as it was captured.
//!
//! It must never take a short capture for a short packet: lengths come from headers, or from the record where a sender's own
//! capture holds a packet that its NIC was to cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stack::seq::SeqNum;
use stack::tcp::segment::{Segment, SegmentOptions};
use stack::wire::tcp_options::{Options, TcpOption};
use stack::wire::{arp, checksum, ip_protocol, ipv4, ipv6, tcp};
use zerocopy::FromBytes as _;

use crate::capture::Frame;
use crate::link_type::LinkType;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what some switches wrote before that.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Tags of a frame at most.
const MAX_TAGS: usize = 4;

/// An address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// The verdict on a segment's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// The sum of the pseudo-header alone: the sender left the rest to its NIC (Linux: CHECKSUM_PARTIAL).
    Offloaded,
    /// Not the whole segment was captured.
    Unknown,
}

/// A TCP segment in a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFrame {
    /// The innermost VLAN, 0 without a tag.
    pub vlan: u16,
    /// By whom.
    pub src: Endpoint,
    /// To whom.
    pub dst: Endpoint,
    /// TTL or hop limit.
    pub hops: u8,
    /// IPv4 identification; 0 over IPv6.
    pub(crate) ident: u16,
    /// Its numbers. The payload's length is that on the wire.
    pub segment: Segment,
    /// The first SACK block.
    pub(crate) sack: Option<(SeqNum, SeqNum)>,
    /// Its checksum.
    pub(crate) checksum: Checksum,
}

/// A question for a link address, or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborFrame {
    /// It asks.
    pub is_request: bool,
    /// By whom: unspecified in a probe for duplicates.
    pub(crate) sender: IpAddr,
    /// The address asked or spoken for.
    pub target: IpAddr,
}

/// An ICMP error about a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IcmpError {
    /// By whom: a router, a firewall or the destination.
    pub reporter: IpAddr,
    /// Its kind.
    pub kind: IcmpKind,
    /// Type and code as they stand there.
    pub type_code: (u8, u8),
    /// The quoted segment's sender and destination; `None` when the capture cut them off.
    pub ends: Option<(Endpoint, Endpoint)>,
    /// To whom it was sent: the quoted segment's sender.
    pub(crate) receiver: IpAddr,
    /// The VLAN of the frame.
    pub(crate) vlan: u16,
}

/// The contents of an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IcmpKind {
    /// The packet was larger than a link takes; the link's MTU, in bytes (0 from old routers).
    TooBig(u32),
    /// A port, a protocol, or a policy: something refused on purpose.
    Refused,
    /// Host or network unreachable: no next hop, or its ARP went unanswered.
    Unreachable,
    /// Hop count exceeded.
    HopsExceeded,
    /// Another.
    Other,
}

/// The contents of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A TCP segment.
    Tcp(TcpFrame),
    /// ARP or NDP.
    Neighbor(NeighborFrame),
    /// An ICMP error that quotes a TCP segment.
    Icmp(IcmpError),
    /// A fragment of an IP packet: nothing is said of what it carries.
    Fragment,
    /// Anything else.
    Other,
    /// Too short, or lengths that contradict each other.
    Unreadable,
}

/// Reads a frame.
#[must_use]
pub fn dissect(frame: &Frame<'_>) -> Content {
    read(frame).unwrap_or(Content::Unreadable)
}

/// Bytes that were captured, and how many there were on the wire.
#[derive(Clone, Copy)]
struct Part<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Part<'a> {
    /// Without the first `n` bytes; `None` when they weren't all captured.
    fn behind(self, n: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.get(n..)?,
            len: self.len.checked_sub(n)?,
        })
    }

    /// The first `len` bytes on the wire, as many of them as were captured.
    fn first(self, len: usize) -> Self {
        Self {
            bytes: &self.bytes[..self.bytes.len().min(len)],
            len,
        }
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn is_whole(&self) -> bool {
        self.bytes.len() == self.len
    }
}

fn read(frame: &Frame<'_>) -> Option<Content> {
    let whole = Part {
        bytes: frame.bytes,
        len: (frame.original_len as usize).max(frame.bytes.len()),
    };
    let Some(link) = frame.link else {
        return Some(Content::Other);
    };
    let (mut ethertype, mut rest) = match link {
        LinkType::Ethernet => (whole.u16_at(12)?, whole.behind(14)?),
        LinkType::Sll => (whole.u16_at(14)?, whole.behind(16)?),
        LinkType::Sll2 => (whole.u16_at(0)?, whole.behind(20)?),
        LinkType::Raw => (ethertype_by_version(whole)?, whole),
        LinkType::Loopback => {
            let rest = whole.behind(4)?;
            (ethertype_by_version(rest)?, rest)
        }
    };
    let mut vlan = 0;
    for _ in 0..MAX_TAGS {
        if !TAGS.contains(&ethertype) {
            break;
        }
        vlan = rest.u16_at(0)? & 0x0fff;
        ethertype = rest.u16_at(2)?;
        rest = rest.behind(4)?;
    }
    match ethertype {
        ETHERTYPE_IPV4 => over_ipv4(rest, vlan),
        ETHERTYPE_IPV6 => over_ipv6(rest, vlan),
        ETHERTYPE_ARP => arp(rest),
        _ => Some(Content::Other),
    }
}

fn ethertype_by_version(part: Part<'_>) -> Option<u16> {
    match part.bytes.first()? >> 4 {
        4 => Some(ETHERTYPE_IPV4),
        6 => Some(ETHERTYPE_IPV6),
        _ => Some(0),
    }
}

fn arp(part: Part<'_>) -> Option<Content> {
    let (packet, _) = arp::Packet::ref_from_prefix(part.bytes).ok()?;
    if packet.protocol.value() != ETHERTYPE_IPV4 || packet.protocol_len != 4 {
        return Some(Content::Other);
    }
    let is_request = packet.operation.get() == arp::REQUEST;
    // A reply speaks for its sender.
    let target = if is_request {
        packet.target_addr()
    } else {
        packet.sender_addr()
    };
    Some(Content::Neighbor(NeighborFrame {
        is_request,
        sender: packet.sender_addr().into(),
        target: target.into(),
    }))
}

/// The facts of the IP header about the segment behind it.
struct Envelope {
    vlan: u16,
    src: IpAddr,
    dst: IpAddr,
    hops: u8,
    ident: u16,
}

fn over_ipv4(part: Part<'_>, vlan: u16) -> Option<Content> {
    let (header, _) = ipv4::Header::ref_from_prefix(part.bytes).ok()?;
    let header_len = header.header_len();
    if header.version() != 4 || header_len < ipv4::HEADER_LEN {
        return None;
    }
    if header.is_fragment() {
        return Some(Content::Fragment);
    }
    // A sender's own capture holds packets that its NIC cuts; beyond 64 KiB the length field says 0.
    let total_len = match header.total_len.get() {
        0 => part.len,
        len => usize::from(len),
    };
    let payload = part.first(total_len).behind(header_len)?;
    let envelope = Envelope {
        vlan,
        src: header.src_addr().into(),
        dst: header.dst_addr().into(),
        hops: header.ttl,
        ident: header.ident.get(),
    };
    match header.protocol {
        ip_protocol::TCP => segment(&envelope, payload),
        ip_protocol::ICMP => Some(icmpv4(&envelope, payload)),
        _ => Some(Content::Other),
    }
}

fn over_ipv6(part: Part<'_>, vlan: u16) -> Option<Content> {
    let (header, _) = ipv6::Header::ref_from_prefix(part.bytes).ok()?;
    if header.version() != 6 {
        return None;
    }
    let payload_len = match header.payload_len.get() {
        0 => part.len.checked_sub(ipv6::HEADER_LEN)?,
        len => usize::from(len),
    };
    let mut payload = part.behind(ipv6::HEADER_LEN)?.first(payload_len);
    let mut next = header.next_header;
    for _ in 0..ipv6::MAX_EXTENSION_HEADERS {
        match next {
            // Hop-by-hop, routing and destination options: length in units of 8 bytes beyond the first.
            0 | 43 | 60 => {
                let [after, words, ..] = payload.bytes[..] else {
                    return None;
                };
                next = after;
                payload = payload.behind(8 + usize::from(words) * 8)?;
            }
            44 => return Some(Content::Fragment),
            _ => break,
        }
    }
    let envelope = Envelope {
        vlan,
        src: header.src_addr().into(),
        dst: header.dst_addr().into(),
        hops: header.hop_limit,
        ident: 0,
    };
    match next {
        ip_protocol::TCP => segment(&envelope, payload),
        ip_protocol::ICMPV6 => Some(icmpv6(&envelope, payload)),
        _ => Some(Content::Other),
    }
}

fn segment(envelope: &Envelope, part: Part<'_>) -> Option<Content> {
    let (header, rest) = tcp::Header::ref_from_prefix(part.bytes).ok()?;
    let options_len = header.header_len().checked_sub(tcp::HEADER_LEN)?;
    let payload_len = part.len.checked_sub(header.header_len())?;
    let options = &rest[..rest.len().min(options_len)];
    let segment = Segment {
        seq: header.seq(),
        ack: header.ack(),
        flags: header.flags,
        window: header.window.get(),
        urgent: header.urgent.get(),
        payload_len: u32::try_from(payload_len).ok()?,
        options: SegmentOptions::parse(options),
        is_stripped: false,
    };
    Some(Content::Tcp(TcpFrame {
        vlan: envelope.vlan,
        src: Endpoint {
            ip: envelope.src,
            port: header.src_port.get(),
        },
        dst: Endpoint {
            ip: envelope.dst,
            port: header.dst_port.get(),
        },
        hops: envelope.hops,
        ident: envelope.ident,
        segment,
        sack: first_sack(options),
        checksum: checksum_of(envelope, part, header.checksum.get()),
    }))
}

fn first_sack(options: &[u8]) -> Option<(SeqNum, SeqNum)> {
    // Timestamps alone, as on nearly every segment, or nothing.
    if options.len() <= 12 && options.first() != Some(&5) && options.get(2) != Some(&5) {
        return None;
    }
    Options::new(options)
        .flatten()
        .find_map(|option| match option {
            TcpOption::Sack(&[a, b, c, d, e, f, g, h, ..]) => Some((
                SeqNum(u32::from_be_bytes([a, b, c, d])),
                SeqNum(u32::from_be_bytes([e, f, g, h])),
            )),
            _ => None,
        })
}

fn checksum_of(envelope: &Envelope, part: Part<'_>, field: u16) -> Checksum {
    let Ok(len) = u16::try_from(part.len) else {
        return Checksum::Unknown;
    };
    if !part.is_whole() {
        return Checksum::Unknown;
    }
    let (is_right, pseudo) = match (envelope.src, envelope.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (src, dst) = (src.octets(), dst.octets());
            (
                checksum::verify_v4(src, dst, ip_protocol::TCP, part.bytes),
                checksum::pseudo_v4(src, dst, ip_protocol::TCP, len),
            )
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (src, dst) = (src.octets(), dst.octets());
            (
                checksum::verify_v6(&src, &dst, ip_protocol::TCP, part.bytes),
                checksum::pseudo_v6(&src, &dst, ip_protocol::TCP, len.into()),
            )
        }
        _ => return Checksum::Unknown,
    };
    if is_right {
        Checksum::Right
    } else if field == !pseudo.finish().get() {
        Checksum::Offloaded
    } else {
        Checksum::Wrong
    }
}

fn icmpv4(envelope: &Envelope, part: Part<'_>) -> Content {
    let [kind, code, _, _, _, _, mtu_high, mtu_low, ..] = part.bytes[..] else {
        return Content::Unreadable;
    };
    let mtu = u16::from_be_bytes([mtu_high, mtu_low]);
    let meaning = match (kind, code) {
        (3, 4) => IcmpKind::TooBig(mtu.into()),
        (3, 2 | 3 | 9 | 10 | 13) => IcmpKind::Refused,
        (3, _) => IcmpKind::Unreachable,
        (11, _) => IcmpKind::HopsExceeded,
        (12, _) => IcmpKind::Other,
        _ => return Content::Other,
    };
    quoted(envelope, part, meaning, (kind, code))
}

fn icmpv6(envelope: &Envelope, part: Part<'_>) -> Content {
    let [kind, code, _, _, a, b, c, d, ..] = part.bytes[..] else {
        return Content::Unreadable;
    };
    let meaning = match (kind, code) {
        (135 | 136, 0) => return neighbor_message(envelope, part, kind == 135),
        (2, _) => IcmpKind::TooBig(u32::from_be_bytes([a, b, c, d])),
        (1, 1 | 4 | 5 | 6) => IcmpKind::Refused,
        (1, _) => IcmpKind::Unreachable,
        (3, _) => IcmpKind::HopsExceeded,
        (4, _) => IcmpKind::Other,
        _ => return Content::Other,
    };
    quoted(envelope, part, meaning, (kind, code))
}

fn neighbor_message(envelope: &Envelope, part: Part<'_>, is_request: bool) -> Content {
    let Some(target) = part
        .bytes
        .get(8..24)
        .and_then(|bytes| bytes.try_into().ok())
    else {
        return Content::Unreadable;
    };
    Content::Neighbor(NeighborFrame {
        is_request,
        sender: envelope.src,
        target: Ipv6Addr::from_bits(u128::from_be_bytes(target)).into(),
    })
}

/// The error with the quoted segment's ends, as far as they were captured.
fn quoted(envelope: &Envelope, part: Part<'_>, kind: IcmpKind, type_code: (u8, u8)) -> Content {
    let quote = part.bytes.get(8..).unwrap_or_default();
    let ends = match ends_in(quote) {
        Quote::Tcp(src, dst) => Some((src, dst)),
        Quote::Cut => None,
        Quote::Other => return Content::Other,
    };
    Content::Icmp(IcmpError {
        reporter: envelope.src,
        kind,
        type_code,
        ends,
        receiver: envelope.dst,
        vlan: envelope.vlan,
    })
}

/// The packet that an ICMP error quotes.
enum Quote {
    /// A segment between these.
    Tcp(Endpoint, Endpoint),
    /// A TCP segment, or what may be one: the capture ends before its ports.
    Cut,
    /// Another protocol.
    Other,
}

fn ends_in(quote: &[u8]) -> Quote {
    let (src, dst, ports): (IpAddr, IpAddr, &[u8]) = match quote.first().map(|byte| byte >> 4) {
        Some(4) => {
            let Ok((header, _)) = ipv4::Header::ref_from_prefix(quote) else {
                return Quote::Cut;
            };
            if header.protocol != ip_protocol::TCP {
                return Quote::Other;
            }
            let (src, dst): (Ipv4Addr, Ipv4Addr) = (header.src_addr(), header.dst_addr());
            let ports = quote.get(header.header_len()..).unwrap_or_default();
            (src.into(), dst.into(), ports)
        }
        Some(6) => {
            if quote.get(6) != Some(&ip_protocol::TCP) {
                return Quote::Other;
            }
            let Ok((header, rest)) = ipv6::Header::ref_from_prefix(quote) else {
                return Quote::Cut;
            };
            (header.src_addr().into(), header.dst_addr().into(), rest)
        }
        _ => return Quote::Other,
    };
    let &[a, b, c, d, ..] = ports else {
        return Quote::Cut;
    };
    let at = |ip, port| Endpoint { ip, port };
    Quote::Tcp(
        at(src, u16::from_be_bytes([a, b])),
        at(dst, u16::from_be_bytes([c, d])),
    )
}
