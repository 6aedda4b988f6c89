//! IPv4: [`Header`], its length rules, fragments, addresses that can't be true (RFC 791, RFC 1122 §3.2.1).
//!
//! It must never decide whether an address is ours: it knows none.

use core::net::Ipv4Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, native_endian};

use super::checksum::{self, Sum, WideSum};
use super::{Defect, U16, ip_protocol};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// `version_ihl` of a header without options: what the fast lane compares with.
pub const VERSION_IHL_PLAIN: u8 = 0x45;

/// Don't-fragment bit in [`Header::flags_fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;

/// The fixed part of an IPv4 header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Version (4) in the upper half, header length in 32-bit words in the lower.
    pub version_ihl: u8,
    /// DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    pub dscp_ecn: u8,
    /// Bytes of the packet, header included.
    pub total_len: U16,
    /// Identification of a datagram's fragments (RFC 6864).
    pub ident: U16,
    /// Reserved, don't-fragment and more-fragments bits, then the offset in units of 8 bytes.
    pub flags_fragment: U16,
    /// Time to live, in hops.
    pub ttl: u8,
    /// The protocol that follows ([`super::ip_protocol`]).
    pub protocol: u8,
    /// Over the header alone.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

/// A header in the words of which the pseudo-header is made, as they are summed.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PseudoWords {
    _version_dscp: [u8; 2],
    total_len: native_endian::U16,
    _ident_to_checksum: [u8; 8],
    addresses: native_endian::U64,
}

impl Header {
    /// The version field.
    #[must_use]
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Bytes of the header with its options, as claimed: 0 to 60.
    #[must_use]
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether the packet is a part of a datagram: an offset, or more to follow.
    #[must_use]
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.flags_fragment.get() & 0x3fff != 0
    }

    /// Whether the datagram goes on behind this fragment.
    #[must_use]
    #[inline]
    pub const fn has_more_fragments(&self) -> bool {
        self.flags_fragment.get() & 0x2000 != 0
    }

    /// Where this fragment's payload belongs in the datagram, in bytes.
    #[must_use]
    #[inline]
    pub const fn fragment_offset(&self) -> usize {
        (self.flags_fragment.get() & 0x1fff) as usize * 8
    }

    /// Whether routers may not fragment it.
    #[must_use]
    #[inline]
    pub const fn dont_fragment(&self) -> bool {
        self.flags_fragment.get() & DONT_FRAGMENT != 0
    }

    /// The source address.
    #[must_use]
    #[inline]
    pub const fn src_addr(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.src;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The destination address.
    #[must_use]
    #[inline]
    pub const fn dst_addr(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.dst;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Source and destination, in one load.
    #[must_use]
    #[inline(always)]
    pub fn addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        let words: &PseudoWords = zerocopy::transmute_ref!(self);
        let both = words.addresses.get().to_be();
        let (src, dst) = ((both >> 32) as u32, both as u32);
        (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst))
    }

    /// The sum over these 20 bytes: valid for a header without options, a part of it otherwise.
    #[must_use]
    #[inline]
    pub fn sum(&self) -> Sum {
        let bytes: &[u8; HEADER_LEN] = zerocopy::transmute_ref!(self);
        checksum::sum_array(bytes)
    }

    /// As [`Header::sum`], in fewer additions.
    #[must_use]
    #[inline(always)]
    pub fn wide_sum(&self) -> WideSum {
        WideSum::header(zerocopy::transmute_ref!(self))
    }

    /// The pseudo-header's words for a TCP segment behind this header without options, to be summed with the segment.
    #[must_use]
    #[inline(always)]
    pub fn pseudo_words_tcp(&self) -> [u64; 2] {
        // The segment's length is the packet's without this header: in one's complement, taking away is adding the complement.
        const WITHOUT_HEADER: u64 = (!(HEADER_LEN as u16)).to_be() as u64;
        const PROTOCOL: u64 = (ip_protocol::TCP as u16).to_be() as u64;
        let words: &PseudoWords = zerocopy::transmute_ref!(self);
        let total_len = u64::from(words.total_len.get());
        [words.addresses.get(), total_len + WITHOUT_HEADER + PROTOCOL]
    }

    /// Sets the checksum of a header without options.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.checksum = U16::ZERO;
        self.checksum = self.sum().finish();
    }

    /// The pseudo-header's sum for a segment of `len` bytes of this packet's protocol.
    #[must_use]
    #[inline]
    pub fn pseudo_sum(&self, len: u16) -> Sum {
        checksum::pseudo_v4(self.src, self.dst, self.protocol, len)
    }
}

/// A packet cut out of a frame: header, options and the payload without Ethernet's padding.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: &'a Header,
    /// Option bytes, 0 to 40.
    pub options: &'a [u8],
    /// The payload: the bytes behind the header that the total length covers.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks lengths and version and cuts the packet at its total length (RFC 1122 §3.2.1).
    ///
    /// # Errors
    /// [`Defect::Ipv4Truncated`], [`Defect::Ipv4Version`], [`Defect::Ipv4HeaderLength`], [`Defect::Ipv4TotalLength`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| Defect::Ipv4Truncated)?;
        if header.version() != 4 {
            return Err(Defect::Ipv4Version);
        }
        let (header_len, total_len) = (header.header_len(), header.total_len.get() as usize);
        if header_len < HEADER_LEN {
            return Err(Defect::Ipv4HeaderLength);
        }
        if total_len < header_len {
            return Err(Defect::Ipv4TotalLength);
        }
        let packet = bytes.get(..total_len).ok_or(Defect::Ipv4TotalLength)?;
        let options = packet
            .get(HEADER_LEN..header_len)
            .ok_or(Defect::Ipv4HeaderLength)?;
        let payload = packet.get(header_len..).ok_or(Defect::Ipv4HeaderLength)?;
        Ok(Self {
            header,
            options,
            payload,
        })
    }

    /// Whether all options are well-formed, and none is a source route: its replies would have to go back by it, which lets
    /// any host speak for another (RFC 7126 §4.3, §4.4). Where its pointer stands is of no matter. What is behind the
    /// end of the list is padding.
    ///
    /// # Errors
    /// [`Defect::Ipv4Option`], [`Defect::Ipv4SourceRoute`].
    pub fn check_options(&self) -> Result<(), Defect> {
        const END: u8 = 0;
        const NOP: u8 = 1;
        const LOOSE_SOURCE_ROUTE: u8 = 131;
        const STRICT_SOURCE_ROUTE: u8 = 137;
        let mut options = self.options;
        while let [kind, rest @ ..] = options {
            options = match (*kind, rest) {
                (END, _) => return Ok(()),
                (NOP, _) => rest,
                //~ A source route is refused: -> `(_, _) if STRICT_SOURCE_ROUTE == LOOSE_SOURCE_ROUTE => {`;
                //~   a_source_route_is_refused_wherever_its_pointer_stands
                (LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, _) => {
                    return Err(Defect::Ipv4SourceRoute);
                }
                (_, [len, ..]) if *len >= 2 => {
                    let behind = options.get(usize::from(*len)..);
                    behind.ok_or(Defect::Ipv4Option)?
                }
                _ => return Err(Defect::Ipv4Option),
            };
        }
        Ok(())
    }

    /// Whether the header checksum is right, options included (RFC 1122 §3.2.1.2).
    #[must_use]
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        (self.header.sum() + checksum::sum_header(self.options)).is_valid()
    }
}

/// Whether `addr` may stand in a source field that we answer to: not "this network" (0/8), loopback, multicast,
/// reserved (240/4) or limited broadcast (RFC 1122 §3.2.1.3, RFC 6890). A subnet's own broadcast address is the
/// caller's to know.
#[must_use]
#[inline]
pub const fn is_valid_source(addr: [u8; 4]) -> bool {
    // Classes D and E and the limited broadcast are all that starts at 224. 1 to 223 in one compare.
    let addr = u32::from_be_bytes(addr);
    addr.wrapping_sub(1 << 24) < 223 << 24 && addr.wrapping_sub(127 << 24) >= 1 << 24
}

/// Whether `addr` may stand in a destination field on the wire: not 0/8, not loopback (RFC 1122 §3.2.1.3 (a), (g)).
#[must_use]
#[inline]
pub const fn is_valid_destination(addr: [u8; 4]) -> bool {
    !matches!(addr[0], 0 | 127)
}

/// Whether `addr` is a group: multicast (224/4) or limited broadcast.
#[must_use]
#[inline]
pub const fn is_multicast_or_broadcast(addr: [u8; 4]) -> bool {
    matches!(addr[0], 224..=239) || matches!(addr, [255, 255, 255, 255])
}
