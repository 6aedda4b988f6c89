//! IPv6: [`Header`], the bounded walk over extension headers, addresses that can't be true (RFC 8200, RFC 4291).
//!
//! Called by: the classifier, every builder, `icmp`. It must never walk without a limit, and never decide whether an
//! address is ours: it knows none.

use core::net::Ipv6Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, Sum};
use super::{Defect, U16, U32};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

/// The fixed IPv6 header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Version (6) in 4 bits, traffic class in 8, flow label in 20.
    pub version_class_flow: U32,
    /// Bytes behind this header, extension headers included.
    pub payload_len: U16,
    /// What follows ([`super::ip_protocol`]), or an extension header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Header {
    /// The version field.
    #[must_use]
    #[inline]
    pub const fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168).
    #[must_use]
    #[inline]
    pub const fn dscp_ecn(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// The flow label, 20 bits (RFC 6437).
    #[must_use]
    #[inline]
    pub const fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }

    /// The source address.
    #[must_use]
    #[inline]
    pub const fn src_addr(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from_be_bytes(self.src))
    }

    /// The destination address.
    #[must_use]
    #[inline]
    pub const fn dst_addr(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from_be_bytes(self.dst))
    }

    /// The pseudo-header's sum for `len` bytes of the upper-layer protocol `next_header` (RFC 8200 §8.1: the last next
    /// header, not necessarily this header's).
    #[must_use]
    #[inline]
    pub fn pseudo_sum(&self, next_header: u8, len: u32) -> Sum {
        checksum::pseudo_v6(&self.src, &self.dst, next_header, len)
    }
}

/// Extension headers walked at most. Real packets carry one or two; more is an attack on the walker.
pub const MAX_EXTENSION_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

/// A packet cut out of a frame: header, extension headers, and the upper-layer payload without Ethernet's padding.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: &'a Header,
    /// All extension headers, often none.
    pub extensions: &'a [u8],
    /// What the payload is: the last header's next-header field.
    pub next_header: u8,
    /// The upper-layer packet.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks lengths and version, cuts the packet at its payload length and walks the extension headers. Unknown
    /// upper-layer protocols, ESP and AH among them, are the caller's to name. An atomic fragment (offset 0, none to
    /// follow) is a whole packet (RFC 6946 §4).
    ///
    /// # Errors
    /// The `Ipv6*` defects of lengths, version, extension headers and fragments; addresses aren't looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| Defect::Ipv6Truncated)?;
        if header.version() != 6 {
            return Err(Defect::Ipv6Version);
        }
        // Length 0 with a jumbo payload option ends here as a truncated extension header: no jumbograms (RFC 2675).
        let content = rest
            .get(..header.payload_len.get() as usize)
            .ok_or(Defect::Ipv6PayloadLength)?;
        let (next_header, payload) = skip_extensions(header.next_header, content)?;
        let extensions = content.get(..content.len() - payload.len()).unwrap_or(&[]);
        Ok(Self {
            header,
            extensions,
            next_header,
            payload,
        })
    }
}

/// Walks over the extension headers that `content` starts with, the first of which is named by `next_header`; gives
/// the upper-layer protocol and what belongs to it. For quoted packets too, which may be cut off behind it.
///
/// # Errors
/// The `Ipv6*` defects of extension headers and fragments.
pub fn skip_extensions(mut next_header: u8, content: &[u8]) -> Result<(u8, &[u8]), Defect> {
    let mut payload = content;
    for walked in 0.. {
        let len = match next_header {
            HOP_BY_HOP if walked > 0 => return Err(Defect::Ipv6ExtensionChain),
            HOP_BY_HOP | DESTINATION_OPTIONS => options_header_len(payload)?,
            ROUTING => routing_header_len(payload)?,
            FRAGMENT => fragment_header_len(payload)?,
            NO_NEXT_HEADER => return Err(Defect::Ipv6NoNextHeader),
            _ => break,
        };
        if walked == MAX_EXTENSION_HEADERS {
            return Err(Defect::Ipv6ExtensionChain);
        }
        let (extension, rest) = payload
            .split_at_checked(len)
            .ok_or(Defect::Ipv6ExtensionTruncated)?;
        next_header = *extension.first().ok_or(Defect::Ipv6ExtensionTruncated)?;
        payload = rest;
    }
    Ok((next_header, payload))
}

/// The length of the extension header that `bytes` starts with, from its length field (RFC 8200 §4.3).
fn extension_len(bytes: &[u8]) -> Result<usize, Defect> {
    match bytes {
        [_, len_words, ..] => {
            let len = (usize::from(*len_words) + 1) * 8;
            if len <= bytes.len() {
                Ok(len)
            } else {
                Err(Defect::Ipv6ExtensionTruncated)
            }
        }
        _ => Err(Defect::Ipv6ExtensionTruncated),
    }
}

/// Hop-by-hop or destination options: unknown ones are skipped when their upper two bits say so (RFC 8200 §4.2).
fn options_header_len(bytes: &[u8]) -> Result<usize, Defect> {
    const PAD1: u8 = 0;
    let len = extension_len(bytes)?;
    let mut options = bytes.get(2..len).unwrap_or(&[]);
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (PAD1, _) => rest,
            (kind, _) if kind >> 6 != 0 => return Err(Defect::Ipv6Option),
            (_, [len, data @ ..]) => data.get(usize::from(*len)..).ok_or(Defect::Ipv6Option)?,
            (_, []) => return Err(Defect::Ipv6Option),
        };
    }
    Ok(len)
}

/// A routing header that is used up may be skipped, one with segments left is for routers (RFC 8200 §4.4).
fn routing_header_len(bytes: &[u8]) -> Result<usize, Defect> {
    let len = extension_len(bytes)?;
    match bytes.get(3) {
        Some(0) => Ok(len),
        _ => Err(Defect::Ipv6Routing),
    }
}

/// Only an atomic fragment is a whole packet (RFC 6946).
fn fragment_header_len(bytes: &[u8]) -> Result<usize, Defect> {
    const LEN: usize = 8;
    match bytes {
        [_, _, offset, more, _, _, _, _, ..] if *offset == 0 && more & 0xf9 == 0 => Ok(LEN),
        [_, _, _, _, _, _, _, _, ..] => Err(Defect::Ipv6Fragment),
        _ => Err(Defect::Ipv6ExtensionTruncated),
    }
}

/// Whether `addr` may stand in a source field that we answer to: one host's address that can be on a wire (RFC 4291).
/// Not multicast, loopback, unspecified, or IPv4-mapped (RFC 4942 §2.2). The unspecified source of duplicate
/// detection is legal in ICMPv6 alone, which [`super::parse()`] allows for.
#[must_use]
#[inline]
pub const fn is_valid_source(addr: Ipv6Addr) -> bool {
    !(addr.is_multicast()
        || addr.is_loopback()
        || addr.is_unspecified()
        || addr.to_ipv4_mapped().is_some())
}

/// Whether `addr` may stand in a destination field on the wire (RFC 4291 §2.5.2, §2.5.3).
#[must_use]
#[inline]
pub const fn is_valid_destination(addr: Ipv6Addr) -> bool {
    !(addr.is_loopback() || addr.is_unspecified())
}
