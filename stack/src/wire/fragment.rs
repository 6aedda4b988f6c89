//! [`Fragment`]: one part of an IP datagram that was cut on its way: of which datagram, which bytes of it, behind which headers
//! (RFC 791 §3.2, RFC 8200 §4.5). [`Head`] is what stands in front of the datagram when it is whole again.
//!
//! It must never decide whether a fragment is kept: it knows no other fragment, no address of ours and no clock.

use core::net::IpAddr;

use arrayvec::ArrayVec;

use super::vlan::VlanId;
use super::{Defect, Link, checksum, envelope, ip_protocol, ipv4, ipv6, tcp};

/// Bytes in front of a fragment's payload that are kept at most: link header with tag, and 106 bytes of IP headers.
pub const HEAD_MAX: usize = 124;

/// Bytes of the IPv6 fragment header.
const FRAGMENT_HEADER_LEN: usize = 8;

/// The shortest transport header but TCP's: UDP, ICMP.
const SHORT_TRANSPORT_LEN: usize = 8;

/// The facts that the fragments of one datagram have in common (RFC 791 §3.2, RFC 8200 §4.5), and where they came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatagramId {
    /// The VLAN.
    pub vlan: VlanId,
    /// The sender.
    pub src: IpAddr,
    /// The receiver.
    pub dst: IpAddr,
    /// IPv4's protocol; 0 over IPv6, where it is not part of the identity.
    pub protocol: u8,
    /// Identification: 16 bits over IPv4, 32 over IPv6.
    pub id: u32,
}

/// A fragment.
#[derive(Debug, Clone, Copy)]
pub struct Fragment<'a> {
    /// The link header.
    pub link: Link,
    /// Of which datagram.
    pub datagram: DatagramId,
    /// Where the payload starts in the datagram's, in bytes: a multiple of 8.
    pub start: usize,
    /// Whether the datagram ends with it.
    pub is_last: bool,
    /// The part of the datagram that it carries: at least 1 byte, and a multiple of 8 unless it is the last.
    pub payload: &'a [u8],
    /// Everything in front of the payload, from the link header on.
    head: &'a [u8],
    /// Where in `head` the next header is named that the fragment header follows; `None` over IPv4.
    named_at: Option<usize>,
    checksum_ok: bool,
}

/// Takes a frame apart of which [`super::parse()`] says that it is a fragment.
///
/// # Errors
/// [`Defect::Ipv4Fragment`] and [`Defect::Ipv6Fragment`] for a part that no datagram has: empty, not the last and no multiple of 8
/// bytes, beyond 65,535 bytes, or behind more than [`HEAD_MAX`] bytes of headers; a defect of source or destination.
pub fn parse(frame: &[u8]) -> Result<Fragment<'_>, Defect> {
    let about = envelope(frame).ok_or(Defect::Ipv4Fragment)?;
    let (link, src, dst) = (about.link, about.src, about.dst);
    let l3 = link.header_len();
    let vlan = link.vlan_id();
    let fragment = match (src, dst) {
        (IpAddr::V6(v6_src), IpAddr::V6(v6_dst)) => {
            if !ipv6::is_valid_source(v6_src) {
                return Err(Defect::Ipv6Source);
            }
            if !ipv6::is_valid_destination(v6_dst) {
                return Err(Defect::Ipv6Destination);
            }
            let (named_at, at) =
                ipv6::fragment_header_at(about.packet).ok_or(Defect::Ipv6Fragment)?;
            let (headers, payload) = about
                .packet
                .split_at_checked(at + FRAGMENT_HEADER_LEN)
                .ok_or(Defect::Ipv6Fragment)?;
            let header = headers.last_chunk().ok_or(Defect::Ipv6Fragment)?;
            let [_, _, offset, more, id @ ..]: &[u8; FRAGMENT_HEADER_LEN] = header;
            let offset = u16::from_be_bytes([*offset, *more]);
            Fragment {
                link,
                datagram: DatagramId {
                    vlan,
                    src,
                    dst,
                    protocol: 0,
                    id: u32::from_be_bytes(*id),
                },
                start: usize::from(offset & !7),
                is_last: offset & 1 == 0,
                payload,
                head: frame.get(..l3 + headers.len()).unwrap_or(&[]),
                named_at: Some(l3 + named_at),
                checksum_ok: true,
            }
        }
        _ => {
            let packet = ipv4::Packet::parse(about.packet)?;
            let header = packet.header;
            Fragment {
                link,
                datagram: DatagramId {
                    vlan,
                    src,
                    dst,
                    protocol: header.protocol,
                    id: header.ident.get().into(),
                },
                start: header.fragment_offset(),
                is_last: !header.has_more_fragments(),
                payload: packet.payload,
                head: frame.get(..l3 + header.header_len()).unwrap_or(&[]),
                named_at: None,
                checksum_ok: packet.checksum_ok(),
            }
        }
    };
    let len = fragment.payload.len();
    let is_odd = !fragment.is_last && !len.is_multiple_of(8);
    let is_beyond = fragment.start + len > usize::from(u16::MAX);
    if len == 0 || is_odd || is_beyond || fragment.head.len() > HEAD_MAX {
        return Err(fragment.defect());
    }
    Ok(fragment)
}

impl<'a> Fragment<'a> {
    /// The defect of a fragment of this family whose end is impossible.
    #[must_use]
    pub const fn defect(&self) -> Defect {
        match self.named_at {
            None => Defect::Ipv4Fragment,
            Some(_) => Defect::Ipv6Fragment,
        }
    }

    /// Where its payload ends in the datagram's, in bytes.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.start + self.payload.len()
    }

    /// Whether the checksum of its IPv4 header is right; there is none over IPv6.
    #[must_use]
    pub const fn checksum_ok(&self) -> bool {
        self.checksum_ok
    }

    /// The protocol and the first bytes of what a first fragment carries; `None` for others, and where the extension headers
    /// don't end in it (RFC 7112).
    #[must_use]
    pub fn transport(&self) -> Option<(u8, &'a [u8])> {
        match self.named_at {
            _ if self.start > 0 => None,
            None => Some((self.datagram.protocol, self.payload)),
            Some(_) => ipv6::skip_extensions(self.next_header(), self.payload).ok(),
        }
    }

    /// Whether a filter on its way could not have read the ports: a first fragment without its whole transport header, or one that
    /// begins inside a TCP header (RFC 1858 §3, RFC 3128, RFC 7112 §5).
    #[must_use]
    pub fn is_tiny(&self) -> bool {
        if self.start > 0 {
            return self.datagram.protocol == ip_protocol::TCP && self.start < tcp::HEADER_LEN;
        }
        match self.transport() {
            Some((ip_protocol::TCP, header)) => header.len() < tcp::HEADER_LEN,
            Some((_, header)) => header.len() < SHORT_TRANSPORT_LEN,
            None => true,
        }
    }

    /// The bytes in front of the datagram, where this is its first fragment.
    #[must_use]
    pub fn head(&self) -> Head {
        let mut bytes = ArrayVec::new();
        // Not longer, by `parse`.
        let _ = bytes.try_extend_from_slice(self.head);
        Head {
            bytes,
            l3: self.link.header_len(),
            named_at: self.named_at,
        }
    }

    /// The protocol that follows the fragment header of IPv6.
    fn next_header(&self) -> u8 {
        let at = self.head.len().checked_sub(FRAGMENT_HEADER_LEN);
        at.and_then(|at| self.head.get(at).copied()).unwrap_or(0)
    }
}

/// The headers of a first fragment: link, IP, and over IPv6 the fragment header at their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    bytes: ArrayVec<u8, HEAD_MAX>,
    l3: usize,
    named_at: Option<usize>,
}

impl Head {
    /// The headers as they came.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes in front of the whole datagram.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.named_at {
            None => self.bytes.len(),
            Some(_) => self.bytes.len().saturating_sub(FRAGMENT_HEADER_LEN),
        }
    }

    /// Whether there are no bytes: never of a parsed fragment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the headers of the whole datagram to the start of `into`: lengths, checksum and next header as if it had never been
    /// cut. `payload_len` is what follows them, in bytes.
    #[must_use = "false where they don't fit, and nothing useful was written"]
    pub fn write(&self, into: &mut [u8], payload_len: usize) -> bool {
        let (len, l3) = (self.len(), self.l3);
        let Some(head) = into.get_mut(..len) else {
            return false;
        };
        head.copy_from_slice(&self.bytes[..len]);
        // At most 65,535 and the headers, by `parse`; what doesn't fit the field is longer than any MTU.
        let Ok(packet_len) = u16::try_from(len - l3 + payload_len) else {
            return false;
        };
        match self.named_at {
            None => {
                head[l3 + 2..l3 + 4].copy_from_slice(&packet_len.to_be_bytes());
                head[l3 + 6] &= (ipv4::DONT_FRAGMENT >> 8) as u8;
                head[l3 + 7] = 0;
                head[l3 + 10..l3 + 12].fill(0);
                let checksum = checksum::sum_header(&head[l3..]).finish().get();
                head[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
            }
            Some(named_at) => {
                let content_len = packet_len - ipv6::HEADER_LEN as u16;
                head[l3 + 4..l3 + 6].copy_from_slice(&content_len.to_be_bytes());
                head[named_at] = self.bytes[len];
            }
        }
        true
    }
}
