//! IPv6: [`Header`], the bounded walk over extension headers, addresses that can't be true (RFC 8200, RFC 4291).
//!
//! It must never walk without a limit, and never decide whether an address is ours: it knows none.

use core::net::Ipv6Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, Sum};
use super::{Defect, U16, U32, icmpv6, ip_protocol};

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
    /// The protocol that follows ([`super::ip_protocol`]), or an extension header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Header {
    /// The pseudo-header's words for a TCP segment behind this header, to be summed with the segment (RFC 8200 §8.1).
    #[must_use]
    #[inline(always)]
    pub fn pseudo_words_tcp(&self) -> [u64; 5] {
        const PROTOCOL: u64 = (ip_protocol::TCP as u16).to_be() as u64;
        let [src_high, src_low]: [[u8; 8]; 2] = zerocopy::transmute!(self.src);
        let [dst_high, dst_low]: [[u8; 8]; 2] = zerocopy::transmute!(self.dst);
        let payload_len = u16::from_ne_bytes(self.payload_len.to_bytes());
        [
            u64::from_ne_bytes(src_high),
            u64::from_ne_bytes(src_low),
            u64::from_ne_bytes(dst_high),
            u64::from_ne_bytes(dst_low),
            u64::from(payload_len) + PROTOCOL,
        ]
    }

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
    /// The protocol of the payload: the last header's next-header field.
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
pub fn skip_extensions(next_header: u8, content: &[u8]) -> Result<(u8, &[u8]), Defect> {
    match walk(next_header, content) {
        Ok(end) => Ok((end.next_header, end.payload)),
        Err(fault) => Err(fault.defect),
    }
}

/// Where the fragment header of a packet is named, and where it stands, both in bytes from the packet's first; `None` where no
/// fragment header follows the extension headers that each router reads (RFC 8200 §4.5: the per-fragment headers).
#[must_use]
pub fn fragment_header_at(packet: &[u8]) -> Option<(usize, usize)> {
    let (header, _) = Header::ref_from_prefix(packet).ok()?;
    let mut named_at = core::mem::offset_of!(Header, next_header);
    let mut next_header = header.next_header;
    let mut at = HEADER_LEN;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        match next_header {
            FRAGMENT => return Some((named_at, at)),
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => {}
            _ => return None,
        }
        let rest = packet.get(at..)?;
        let len = extension_len(rest).ok()?;
        (named_at, next_header) = (at, *rest.first()?);
        at += len;
    }
    None
}

/// The defect of a packet that is reported to its sender in an ICMPv6 parameter problem (RFC 4443 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterProblem {
    /// Its code: [`super::icmpv6::CODE_ERRONEOUS_FIELD`] and those that follow.
    pub code: u8,
    /// Where in the packet, in bytes from its first.
    pub pointer: u32,
    /// Whether it is reported of a packet to a group as well (RFC 8200 §4.2).
    pub even_to_group: bool,
}

/// The error that RFC 8200 demands about a packet, cut at its end: a next header that we don't know (§4), an option that wants to be
/// known (§4.2), a routing header that isn't used up (§4.4), a length past the packet's end. `None` when there is nothing to
/// be said, or nothing may be: of an ICMPv6 error, a redirect, a fragment (RFC 4443 §2.4 (e)), nor of what can't be distinguished
/// from these.
#[must_use]
pub fn problem(packet: &[u8]) -> Option<ParameterProblem> {
    let (header, content) = Header::ref_from_prefix(packet).ok()?;
    let problem = match walk(header.next_header, content) {
        //~ An unknown next header is reported: -> `Ok(_) if true => None,`;
        //~   an_unknown_next_header_is_a_parameter_problem
        Ok(end) if is_known(end.next_header) => None,
        Ok(end) => Some(ParameterProblem {
            code: icmpv6::CODE_UNKNOWN_NEXT_HEADER,
            pointer: end.named_at,
            even_to_group: false,
        }),
        Err(fault) => fault.problem,
    };
    //~ Errors, redirects and fragments are never reported: -> `problem`; what_may_not_be_reported_is_not
    problem.filter(|_| may_be_reported(header.next_header, content))
}

const fn is_known(next_header: u8) -> bool {
    matches!(
        next_header,
        ip_protocol::TCP | ip_protocol::UDP | ip_protocol::ICMPV6
    )
}

/// Whether a packet is no ICMPv6 error, redirect or fragment, by the lengths of its headers alone: what is wrong in them has
/// been seen.
fn may_be_reported(mut next_header: u8, content: &[u8]) -> bool {
    let mut rest = content;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let len = match next_header {
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING => extension_len(rest),
            FRAGMENT => fragment_header_len(rest),
            ip_protocol::ICMPV6 => {
                let kind = rest.first().copied().unwrap_or(0);
                return kind >= icmpv6::ECHO_REQUEST && kind != icmpv6::REDIRECT;
            }
            _ => return true,
        };
        let Some((extension, behind)) = len.ok().and_then(|len| rest.split_at_checked(len)) else {
            return false;
        };
        next_header = extension.first().copied().unwrap_or(NO_NEXT_HEADER);
        rest = behind;
    }
    false
}

/// Where a walk over extension headers has led.
struct End<'a> {
    next_header: u8,
    /// Where in the packet that is named, in bytes.
    named_at: u32,
    payload: &'a [u8],
}

/// Why a walk stopped, and what is to be said of it.
struct Fault {
    defect: Defect,
    problem: Option<ParameterProblem>,
}

impl From<Defect> for Fault {
    fn from(defect: Defect) -> Self {
        Self {
            defect,
            problem: None,
        }
    }
}

impl Fault {
    /// A fault of which the sender hears, unless the packet went to a group.
    const fn told(defect: Defect, code: u8, pointer: u32) -> Self {
        Self {
            defect,
            problem: Some(ParameterProblem {
                code,
                pointer,
                even_to_group: false,
            }),
        }
    }

    /// The same within an extension header that starts `offset` bytes into the packet.
    fn behind(mut self, offset: u32) -> Self {
        if let Some(problem) = &mut self.problem {
            problem.pointer += offset;
        }
        self
    }
}

fn walk(mut next_header: u8, content: &[u8]) -> Result<End<'_>, Fault> {
    let mut payload = content;
    let mut named_at = core::mem::offset_of!(Header, next_header) as u32;
    for walked in 0.. {
        // A packet is at most 65,575 bytes long.
        let at = (HEADER_LEN + content.len() - payload.len()) as u32;
        let len = match next_header {
            HOP_BY_HOP if walked > 0 => {
                let code = icmpv6::CODE_UNKNOWN_NEXT_HEADER;
                return Err(Fault::told(Defect::Ipv6ExtensionChain, code, named_at));
            }
            HOP_BY_HOP | DESTINATION_OPTIONS => options_header_len(payload),
            ROUTING => routing_header_len(payload),
            FRAGMENT => fragment_header_len(payload).map_err(Fault::from),
            NO_NEXT_HEADER => return Err(Defect::Ipv6NoNextHeader.into()),
            _ => break,
        };
        let len = len.map_err(|fault| fault.behind(at))?;
        if walked == MAX_EXTENSION_HEADERS {
            return Err(Defect::Ipv6ExtensionChain.into());
        }
        let (extension, rest) = payload
            .split_at_checked(len)
            .ok_or(Defect::Ipv6ExtensionTruncated)?;
        next_header = *extension.first().ok_or(Defect::Ipv6ExtensionTruncated)?;
        (named_at, payload) = (at, rest);
    }
    Ok(End {
        next_header,
        named_at,
        payload,
    })
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

/// Hop-by-hop or destination options: what becomes of a packet with an unknown one is said by its upper two bits (RFC 8200
/// §4.2): skip it; discard; discard and report; discard and report unless it went to a group.
fn options_header_len(bytes: &[u8]) -> Result<usize, Fault> {
    const PAD1: u8 = 0;
    let len = extension_len(bytes)?;
    let whole = bytes.get(..len).unwrap_or(&[]);
    let mut options = whole.get(2..).unwrap_or(&[]);
    while let [kind, rest @ ..] = options {
        // A header is at most 2,048 bytes long.
        let at = (whole.len() - options.len()) as u32;
        let unknown = |even_to_group| ParameterProblem {
            code: icmpv6::CODE_UNKNOWN_OPTION,
            pointer: at,
            even_to_group,
        };
        let problem = match kind >> 6 {
            _ if *kind == PAD1 => {
                options = rest;
                continue;
            }
            0 => {
                let data = rest.split_first();
                let behind = data.and_then(|(len, data)| data.get(usize::from(*len)..));
                let code = icmpv6::CODE_ERRONEOUS_FIELD;
                options = behind.ok_or(Fault::told(Defect::Ipv6Option, code, at + 1))?;
                continue;
            }
            1 => None,
            //~ An option says whether it is reported to a group: -> `2 => Some(unknown(false)),`;
            //~   an_unknown_option_says_itself_what_becomes_of_its_packet
            2 => Some(unknown(true)),
            _ => Some(unknown(false)),
        };
        return Err(Fault {
            defect: Defect::Ipv6Option,
            problem,
        });
    }
    Ok(len)
}

/// A routing header that is used up may be skipped, one with segments left is for routers (RFC 8200 §4.4). We know no type.
fn routing_header_len(bytes: &[u8]) -> Result<usize, Fault> {
    /// Where the type stands.
    const TYPE: u32 = 2;
    let len = extension_len(bytes)?;
    match bytes.get(3) {
        Some(0) => Ok(len),
        _ => {
            let code = icmpv6::CODE_ERRONEOUS_FIELD;
            Err(Fault::told(Defect::Ipv6Routing, code, TYPE))
        }
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
