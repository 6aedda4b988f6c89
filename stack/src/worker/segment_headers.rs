//! The IP and TCP headers of every segment that we send: in a fresh buffer ([`super::frame_writer`]), or over those of a
//! received segment ([`super::reply`]). A field that no segment varies has its value here: DF, identification, DSCP, flow label.
//!
//! It must never sum the bytes that it has just stored: words that were written in parts can't be forwarded to a wider load,
//! and waiting for that cost 40 % of a reply. It sums the values.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nic::{Caps, IpVersion, TxRequest};
use crate::seq::SeqNum;
use crate::tcp::segment::SegmentOptions;
use crate::wire::checksum::{self, Sum};
use crate::wire::tcp::Flags;
use crate::wire::{U16, U32, ip_protocol, ipv4, ipv6, tcp};

/// Which checksums the NIC fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offload {
    pub(super) ipv4: bool,
    pub(super) tcp: bool,
}

impl Offload {
    /// No checksum.
    pub(super) const NONE: Self = Self {
        ipv4: false,
        tcp: false,
    };

    /// All that a NIC with these capabilities can fill in.
    #[inline(always)]
    pub(super) const fn of(caps: &Caps) -> Self {
        Self {
            ipv4: caps.tx_ipv4_checksum,
            tcp: caps.tx_tcp_checksum,
        }
    }

    /// The offloads to ask of the NIC for a segment whose IP header begins `l3_offset` bytes into the frame.
    #[inline(always)]
    pub(super) fn request(self, ip: IpVersion, l3_offset: usize) -> Option<TxRequest> {
        let ipv4_checksum = ip == IpVersion::V4 && self.ipv4;
        (self.tcp || ipv4_checksum).then_some(TxRequest {
            ip,
            l2_len: l3_offset as u8,
            l3_len: ip_header_len(ip) as u16,
            ipv4_checksum,
            tcp_checksum: self.tcp,
            cut: None,
        })
    }
}

/// Bytes of the IP header of our segments: no options, no extension headers.
#[inline(always)]
pub(super) const fn ip_header_len(ip: IpVersion) -> usize {
    match ip {
        IpVersion::V4 => ipv4::HEADER_LEN,
        IpVersion::V6 => ipv6::HEADER_LEN,
    }
}

/// The TCP header fields of one segment, options excepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct TcpFields {
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) seq: SeqNum,
    pub(super) ack: SeqNum,
    pub(super) flags: Flags,
    /// The window field, scaled already.
    pub(super) window: u16,
    pub(super) urgent: u16,
}

/// A segment to write. It is asked for each part when that is written, not before: what is read earlier than it is stored takes
/// a register, and a cookie has none left.
pub(super) trait Content {
    /// Its TCP header fields.
    fn fields(&self) -> TcpFields;

    /// Writes its options into the beginning of `into`, and returns their sum; `None` without room.
    fn write_options(&self, into: &mut [u8]) -> Option<Sum>;
}

impl<C: Content> Content for &C {
    #[inline(always)]
    fn fields(&self) -> TcpFields {
        (*self).fields()
    }

    #[inline(always)]
    fn write_options(&self, into: &mut [u8]) -> Option<Sum> {
        (*self).write_options(into)
    }
}

/// The headers of a segment with this content.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentHeaders<C> {
    pub(super) content: C,
    /// Bytes of its options: a multiple of four.
    pub(super) options_len: usize,
    /// TCP header, options and payload, in bytes.
    pub(super) segment_len: u16,
    /// The length in the sum of the pseudo-header: `segment_len`, or 0 where the NIC cuts the segment and knows the lengths.
    pub(super) pseudo_len: u16,
    /// Of the payload; nothing when the NIC sums.
    pub(super) payload: Sum,
    /// TTL or hop limit.
    pub(super) ttl: u8,
    pub(super) offload: Offload,
}

impl<C: Content> SegmentHeaders<C> {
    /// Writes the IPv4 header, the TCP header and the options into the beginning of `packet`. `addresses` says source and
    /// destination, and may read them from the header that stands there. `None` without room.
    #[inline(always)]
    pub(super) fn write_v4(
        &self,
        packet: &mut [u8],
        addresses: impl FnOnce(&ipv4::Header) -> ([u8; 4], [u8; 4]),
    ) -> Option<()> {
        let (headers, rest) = TcpIpv4::mut_from_prefix(packet).ok()?;
        let (src, dst) = addresses(&headers.ip);
        let sum = Sum::bytes4(src) + Sum::bytes4(dst);
        headers.ip = self.ipv4_header(src, dst, sum);
        let pseudo = sum + Sum::word(u16::from(ip_protocol::TCP)) + Sum::word(self.pseudo_len);
        headers.tcp = self.tcp_header(pseudo, self.content.write_options(rest)?);
        Some(())
    }

    /// The same for IPv6.
    #[inline(always)]
    pub(super) fn write_v6(
        &self,
        packet: &mut [u8],
        addresses: impl FnOnce(&ipv6::Header) -> ([u8; 16], [u8; 16]),
    ) -> Option<()> {
        let (headers, rest) = TcpIpv6::mut_from_prefix(packet).ok()?;
        let (src, dst) = addresses(&headers.ip);
        headers.ip = ipv6::Header {
            version_class_flow: U32::new(6 << 28),
            payload_len: U16::new(self.segment_len),
            next_header: ip_protocol::TCP,
            hop_limit: self.ttl,
            src,
            dst,
        };
        let len = u32::from(self.pseudo_len);
        let pseudo = checksum::pseudo_v6(&src, &dst, ip_protocol::TCP, len);
        headers.tcp = self.tcp_header(pseudo, self.content.write_options(rest)?);
        Some(())
    }

    /// `addresses` is the sum of both.
    #[inline(always)]
    fn ipv4_header(&self, src: [u8; 4], dst: [u8; 4], addresses: Sum) -> ipv4::Header {
        let total_len = ipv4::HEADER_LEN as u16 + self.segment_len;
        let sum = addresses
            + Sum::word(u16::from_be_bytes([ipv4::VERSION_IHL_PLAIN, 0]))
            + Sum::word(total_len)
            + Sum::word(ipv4::DONT_FRAGMENT)
            + Sum::word(u16::from_be_bytes([self.ttl, ip_protocol::TCP]));
        ipv4::Header {
            version_ihl: ipv4::VERSION_IHL_PLAIN,
            dscp_ecn: 0,
            total_len: U16::new(total_len),
            // An atomic datagram (RFC 6864 §4.1): never fragmented, so its identification means nothing.
            ident: U16::ZERO,
            flags_fragment: U16::new(ipv4::DONT_FRAGMENT),
            ttl: self.ttl,
            protocol: ip_protocol::TCP,
            checksum: if self.offload.ipv4 {
                U16::ZERO
            } else {
                sum.finish()
            },
            src,
            dst,
        }
    }

    #[inline(always)]
    fn tcp_header(&self, pseudo: Sum, options: Sum) -> tcp::Header {
        let fields = self.content.fields();
        let data_offset = tcp::Header::data_offset_for(tcp::HEADER_LEN + self.options_len);
        let checksum = if self.offload.tcp {
            pseudo.folded()
        } else {
            let sum = pseudo
                + options
                + self.payload
                + Sum::word(fields.src_port)
                + Sum::word(fields.dst_port)
                + Sum::bytes4(fields.seq.0.to_be_bytes())
                + Sum::bytes4(fields.ack.0.to_be_bytes())
                + Sum::word(u16::from_be_bytes([data_offset, fields.flags.0]))
                + Sum::word(fields.window)
                + Sum::word(fields.urgent);
            sum.finish()
        };
        tcp::Header {
            src_port: U16::new(fields.src_port),
            dst_port: U16::new(fields.dst_port),
            seq: U32::new(fields.seq.0),
            ack: U32::new(fields.ack.0),
            data_offset,
            flags: fields.flags,
            window: U16::new(fields.window),
            checksum,
            urgent: U16::new(fields.urgent),
        }
    }
}

/// Writes `options` into the beginning of `into`, and returns their sum; `None` without room. Options that are known when
/// compiling become as many stores as they have words.
#[inline(always)]
pub(super) fn write_options(options: &SegmentOptions, into: &mut [u8]) -> Option<Sum> {
    let into = into.get_mut(..options.padded_len())?;
    let mut places = into.as_chunks_mut().0.iter_mut();
    let mut sum = Sum::ZERO;
    options.each_word(|word| {
        *places.next()? = word;
        sum = sum + Sum::bytes4(word);
        Some(())
    })?;
    Some(sum)
}

/// The headers of a segment behind the link header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TcpIpv4 {
    ip: ipv4::Header,
    tcp: tcp::Header,
}

/// The headers of a segment behind the link header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TcpIpv6 {
    ip: ipv6::Header,
    tcp: tcp::Header,
}
