//! Whole frames with right checksums: ARP and neighbour discovery; TCP segments and echo requests of peers that are played.
//!
//! It must never write a segment of a connection of ours: `worker/segment_headers.rs` does.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::ops::Range;

use zerocopy::{Immutable, IntoBytes};

use super::checksum::{self, Sum};
use super::ethernet::{self, EtherType};
use super::parse::Link;
use super::{U16, U32, arp, icmp, icmpv6, ip_protocol, ipv4, ipv6, ndp, tcp, tcp_options, vlan};
use crate::seq::SeqNum;

/// Why a frame could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The buffer is too short.
    NoRoom {
        /// Bytes that the frame needs.
        needed: usize,
    },
    /// Source and destination are not of one family.
    MixedFamilies,
    /// TCP options of more than 40 bytes, or not in whole words.
    Options,
    /// The packet would exceed 65,535 bytes.
    TooLong,
}

/// Everything that an IP header of either family says besides protocol and lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpSpec {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub dscp_ecn: u8,
    /// IPv4 identification; IPv6 has none.
    pub ident: u16,
}

impl IpSpec {
    /// TTL 64, best effort, identification 0 (legal for atomic datagrams, RFC 6864 §4.1).
    #[must_use]
    pub const fn new(src: IpAddr, dst: IpAddr) -> Self {
        Self {
            src,
            dst,
            ttl: 64,
            dscp_ecn: 0,
            ident: 0,
        }
    }
}

/// A TCP segment in a frame, every field free: illegal ones too, for tests and floods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSpec<'a> {
    /// Link addresses and tag.
    pub link: Link,
    /// The IP header.
    pub ip: IpSpec,
    /// Port of the sender.
    pub src_port: u16,
    /// Port of the receiver.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK, written even without the ACK bit.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: tcp::Flags,
    /// SEG.WND, unscaled.
    pub window: u16,
    /// SEG.UP.
    pub urgent: u16,
    /// Option bytes in whole words: [`tcp_options::OptionBytes::as_padded`].
    pub options: &'a [u8],
    /// The segment's data.
    pub payload: &'a [u8],
}

impl<'a> SegmentSpec<'a> {
    /// A segment without control bits, options or data, window 65,535, sequence numbers 0, TTL 64.
    #[must_use]
    pub const fn new(link: Link, src: SocketAddr, dst: SocketAddr) -> Self {
        Self {
            link,
            ip: IpSpec::new(src.ip(), dst.ip()),
            src_port: src.port(),
            dst_port: dst.port(),
            seq: SeqNum(0),
            ack: SeqNum(0),
            flags: tcp::Flags::NONE,
            window: 0xffff,
            urgent: 0,
            options: &[],
            payload: &[],
        }
    }

    /// Writes the frame, unpadded, with right checksums, and says how long it is.
    ///
    /// # Errors
    /// [`EmitError`]; the buffer's contents are then unspecified.
    pub fn emit(&self, into: &mut [u8]) -> Result<usize, EmitError> {
        if self.options.len() > tcp_options::MAX_LEN || !self.options.len().is_multiple_of(4) {
            return Err(EmitError::Options);
        }
        let header_len = tcp::HEADER_LEN + self.options.len();
        let header = tcp::Header {
            src_port: U16::new(self.src_port),
            dst_port: U16::new(self.dst_port),
            seq: U32::new(self.seq.0),
            ack: U32::new(self.ack.0),
            data_offset: tcp::Header::data_offset_for(header_len),
            flags: self.flags,
            window: U16::new(self.window),
            checksum: U16::ZERO,
            urgent: U16::new(self.urgent),
        };
        let mut writer = Writer { into, at: 0 };
        let len = header_len + self.payload.len();
        let pseudo = writer.ip_packet(self.link, &self.ip, ip_protocol::TCP, len)?;
        let start = writer.at;
        writer.put(&header)?;
        writer.put(self.options)?;
        writer.put(self.payload)?;
        writer.fill_checksum(start, 16, pseudo);
        Ok(writer.at)
    }
}

/// Writes an ARP frame, unpadded, and says how long it is.
///
/// # Errors
/// [`EmitError::NoRoom`].
pub fn arp(link: Link, packet: &arp::Packet, into: &mut [u8]) -> Result<usize, EmitError> {
    let mut writer = Writer { into, at: 0 };
    writer.link(link, EtherType::ARP)?;
    writer.put(packet)?;
    Ok(writer.at)
}

/// Writes an ICMP or ICMPv6 echo request, by the family of the addresses, and says how long it is.
///
/// # Errors
/// [`EmitError`].
pub fn echo_request(
    link: Link,
    ip: &IpSpec,
    ident: u16,
    seq: u16,
    data: &[u8],
    into: &mut [u8],
) -> Result<usize, EmitError> {
    let (protocol, kind) = match ip.src {
        IpAddr::V4(_) => (ip_protocol::ICMP, icmp::ECHO_REQUEST),
        IpAddr::V6(_) => (ip_protocol::ICMPV6, icmpv6::ECHO_REQUEST),
    };
    // Both families lay echo out alike (RFC 792, RFC 4443 §4.1).
    let header = icmp::Header {
        kind,
        code: 0,
        checksum: U16::ZERO,
        ident: U16::new(ident),
        seq: U16::new(seq),
    };
    let mut writer = Writer { into, at: 0 };
    let pseudo = writer.ip_packet(link, ip, protocol, icmp::HEADER_LEN + data.len())?;
    let start = writer.at;
    writer.put(&header)?;
    writer.put(data)?;
    // ICMP has no pseudo-header, ICMPv6 has one.
    let pseudo = if protocol == ip_protocol::ICMP {
        Sum::ZERO
    } else {
        pseudo
    };
    writer.fill_checksum(start, 2, pseudo);
    Ok(writer.at)
}

/// Writes a neighbour solicitation for `target` and says how long it is. `src` is unspecified for duplicate
/// detection, and then the frame carries no link-layer address (RFC 4861 §4.3).
///
/// # Errors
/// [`EmitError::NoRoom`].
pub fn neighbor_solicitation(
    link: Link,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    target: Ipv6Addr,
    into: &mut [u8],
) -> Result<usize, EmitError> {
    let option = ndp::LinkAddrOption {
        kind: ndp::OPTION_SOURCE_LLADDR,
        len_words: 1,
        mac: link.src,
    };
    let option = if src.is_unspecified() {
        None
    } else {
        Some(option)
    };
    neighbor_message(
        link,
        (src, dst),
        (icmpv6::NEIGHBOR_SOLICITATION, 0),
        target,
        option,
        into,
    )
}

/// Writes a neighbour advertisement for `target` at the link's source address and says how long it is. `flags` is
/// made of [`ndp::FLAG_ROUTER`], [`ndp::FLAG_SOLICITED`] and [`ndp::FLAG_OVERRIDE`].
///
/// # Errors
/// [`EmitError::NoRoom`].
pub fn neighbor_advertisement(
    link: Link,
    dst: Ipv6Addr,
    target: Ipv6Addr,
    flags: u32,
    into: &mut [u8],
) -> Result<usize, EmitError> {
    let option = ndp::LinkAddrOption {
        kind: ndp::OPTION_TARGET_LLADDR,
        len_words: 1,
        mac: link.src,
    };
    let kind = icmpv6::NEIGHBOR_ADVERTISEMENT;
    neighbor_message(
        link,
        (target, dst),
        (kind, flags),
        target,
        Some(option),
        into,
    )
}

fn neighbor_message(
    link: Link,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    (kind, flags): (u8, u32),
    target: Ipv6Addr,
    option: Option<ndp::LinkAddrOption>,
    into: &mut [u8],
) -> Result<usize, EmitError> {
    let ip = IpSpec {
        ttl: ndp::HOP_LIMIT,
        ..IpSpec::new(src.into(), dst.into())
    };
    let header = icmpv6::Header {
        kind,
        code: 0,
        checksum: U16::ZERO,
        rest: U32::new(flags),
    };
    let len = icmpv6::HEADER_LEN + 16 + option.map_or(0, |_| 8);
    let mut writer = Writer { into, at: 0 };
    let pseudo = writer.ip_packet(link, &ip, ip_protocol::ICMPV6, len)?;
    let start = writer.at;
    writer.put(&header)?;
    writer.put(&target.octets())?;
    if let Some(option) = option {
        writer.put(&option)?;
    }
    writer.fill_checksum(start, 2, pseudo);
    Ok(writer.at)
}

/// Moves the IP payload that lies at `payload` in `frame` behind a fresh link and IP header, without options or
/// extension headers, and says where it lies then; its end is the frame's length. The payload's own checksum isn't
/// touched.
///
/// # Errors
/// [`EmitError`], [`EmitError::NoRoom`] also when `payload` doesn't lie in the frame; the frame is unchanged then.
pub fn ip_in_place(
    link: Link,
    ip: &IpSpec,
    protocol: u8,
    frame: &mut [u8],
    payload: Range<usize>,
) -> Result<Range<usize>, EmitError> {
    let header_len = match (ip.src, ip.dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ipv4::HEADER_LEN,
        (IpAddr::V6(_), IpAddr::V6(_)) => ipv6::HEADER_LEN,
        _ => return Err(EmitError::MixedFamilies),
    };
    let len = payload.len();
    let start = link.header_len() + header_len;
    let needed = payload.end.max(start + len);
    if frame.len() < needed || payload.start > payload.end {
        return Err(EmitError::NoRoom { needed });
    }
    if header_len + len > usize::from(u16::MAX) {
        return Err(EmitError::TooLong);
    }
    frame.copy_within(payload, start);
    let mut writer = Writer { into: frame, at: 0 };
    writer.ip_packet(link, ip, protocol, len)?;
    Ok(start..start + len)
}

/// A place in the buffer that moves forward.
struct Writer<'a> {
    into: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, part: &T) -> Result<(), EmitError> {
        let bytes = part.as_bytes();
        let needed = self.at + bytes.len();
        let place = self
            .into
            .get_mut(self.at..needed)
            .ok_or(EmitError::NoRoom { needed })?;
        place.copy_from_slice(bytes);
        self.at = needed;
        Ok(())
    }

    fn link(&mut self, link: Link, ethertype: EtherType) -> Result<(), EmitError> {
        let outer = if link.vlan.is_some() {
            EtherType::VLAN
        } else {
            ethertype
        };
        self.put(&ethernet::Header {
            dst: link.dst,
            src: link.src,
            ethertype: outer,
        })?;
        match link.vlan {
            Some(tag) => self.put(&vlan::Header { tag, ethertype }),
            None => Ok(()),
        }
    }

    /// Link and IP header for a payload of `len` bytes; gives back the pseudo-header's sum.
    fn ip_packet(
        &mut self,
        link: Link,
        ip: &IpSpec,
        protocol: u8,
        len: usize,
    ) -> Result<Sum, EmitError> {
        match (ip.src, ip.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let total_len =
                    u16::try_from(ipv4::HEADER_LEN + len).map_err(|_| EmitError::TooLong)?;
                let mut header = ipv4::Header {
                    version_ihl: ipv4::VERSION_IHL_PLAIN,
                    dscp_ecn: ip.dscp_ecn,
                    total_len: U16::new(total_len),
                    ident: U16::new(ip.ident),
                    flags_fragment: U16::new(ipv4::DONT_FRAGMENT),
                    ttl: ip.ttl,
                    protocol,
                    checksum: U16::ZERO,
                    src: src.octets(),
                    dst: dst.octets(),
                };
                header.fill_checksum();
                self.link(link, EtherType::IPV4)?;
                self.put(&header)?;
                Ok(header.pseudo_sum(len as u16))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let payload_len = u16::try_from(len).map_err(|_| EmitError::TooLong)?;
                let header = ipv6::Header {
                    version_class_flow: U32::new(6 << 28 | u32::from(ip.dscp_ecn) << 20),
                    payload_len: U16::new(payload_len),
                    next_header: protocol,
                    hop_limit: ip.ttl,
                    src: src.octets(),
                    dst: dst.octets(),
                };
                self.link(link, EtherType::IPV6)?;
                self.put(&header)?;
                Ok(header.pseudo_sum(protocol, u32::from(payload_len)))
            }
            _ => Err(EmitError::MixedFamilies),
        }
    }

    /// Sums what was written from `start` on and stores the checksum `offset` bytes behind it.
    fn fill_checksum(&mut self, start: usize, offset: usize, pseudo: Sum) {
        let Some(written) = self.into.get_mut(start..self.at) else {
            return;
        };
        let value = (pseudo + checksum::sum(written)).finish();
        if let Some(field) = written.get_mut(offset..offset + 2) {
            field.copy_from_slice(&value.to_bytes());
        }
    }
}
