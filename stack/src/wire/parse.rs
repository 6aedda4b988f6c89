//! The slow lane: any Ethernet frame, from the outside in, to [`Parsed`] or the first [`Defect`].
//!
//! It must never verify checksums on the way (the NIC may have done it): [`Parsed::verify_checksums`] does when asked.

use core::net::{IpAddr, Ipv6Addr};

use zerocopy::FromBytes;

use super::ethernet::{self, EtherType, MacAddr};
use super::vlan::VlanId;
use super::{Defect, arp, checksum, icmp, icmpv6, ip_protocol, ipv4, ipv6, tcp, udp, vlan};

/// Where a frame comes from and goes to on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The receiver.
    pub dst: MacAddr,
    /// The sender.
    pub src: MacAddr,
    /// Its 802.1Q tag.
    pub vlan: Option<vlan::Tag>,
}

impl Link {
    /// Bytes before the network header: 14, or 18 with a tag.
    #[must_use]
    #[inline]
    pub const fn header_len(&self) -> usize {
        match self.vlan {
            Some(_) => ethernet::HEADER_LEN + vlan::TAG_LEN,
            None => ethernet::HEADER_LEN,
        }
    }

    /// The VLAN of the frame.
    #[must_use]
    pub const fn vlan_id(&self) -> VlanId {
        VlanId::of(self.vlan)
    }
}

/// A frame that is well-formed down to the header of its transport.
#[derive(Debug, Clone, Copy)]
pub struct Parsed<'a> {
    /// The link header.
    pub link: Link,
    /// The network packet in it.
    pub network: Network<'a>,
}

/// The network layer of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Network<'a> {
    /// An ARP packet for Ethernet and IPv4.
    Arp(&'a arp::Packet),
    /// A whole IPv4 packet.
    Ipv4 {
        /// Header, options and payload.
        packet: ipv4::Packet<'a>,
        /// The payload, taken apart.
        transport: Transport<'a>,
    },
    /// A whole IPv6 packet.
    Ipv6 {
        /// Header, extension headers and payload.
        packet: ipv6::Packet<'a>,
        /// The payload, taken apart.
        transport: Transport<'a>,
    },
}

/// The transport layer of a packet.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(tcp::View<'a>),
    /// A UDP datagram.
    Udp(udp::View<'a>),
    /// An ICMP message (over IPv4 only).
    Icmp(icmp::View<'a>),
    /// An ICMPv6 message (over IPv6 only).
    Icmpv6(icmpv6::View<'a>),
    /// Another protocol, by its number.
    Other(u8),
}

/// Takes a frame apart. Padding behind the packet is ignored; nothing is copied.
///
/// # Errors
/// The first defect from the outside in; no checksum is looked at.
pub fn parse(frame: &[u8]) -> Result<Parsed<'_>, Defect> {
    let (header, rest) =
        ethernet::Header::ref_from_prefix(frame).map_err(|_| Defect::EthernetTruncated)?;
    if header.src.is_multicast() {
        return Err(Defect::EthernetSource);
    }
    let (vlan, ethertype, content) = untag(header.ethertype, rest)?;
    let network = match ethertype {
        EtherType::IPV4 => parse_ipv4(content)?,
        EtherType::IPV6 => parse_ipv6(content)?,
        EtherType::ARP => Network::Arp(arp::Packet::parse(content)?),
        EtherType::VLAN | EtherType::SERVICE_VLAN => return Err(Defect::VlanNested),
        other if other.is_length() => return Err(Defect::EthernetLength),
        _ => return Err(Defect::EtherType),
    };
    Ok(Parsed {
        link: Link {
            dst: header.dst,
            src: header.src,
            vlan,
        },
        network,
    })
}

/// The outermost headers of a frame, whatever is wrong with what they carry: enough to tell its sender.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The link header.
    pub link: Link,
    /// Source address, as it stands there.
    pub src: IpAddr,
    /// Destination address, as it stands there.
    pub dst: IpAddr,
    /// The packet from its IP header on, without Ethernet's padding.
    pub packet: &'a [u8],
}

/// The envelope of an IP packet that is all there; `None` for anything else.
#[must_use]
pub fn envelope(frame: &[u8]) -> Option<Envelope<'_>> {
    let (header, rest) = ethernet::Header::ref_from_prefix(frame).ok()?;
    let (vlan, ethertype, content) = untag(header.ethertype, rest).ok()?;
    let (src, dst, len) = match ethertype {
        EtherType::IPV4 => {
            let packet = ipv4::Packet::parse(content).ok()?;
            let (src, dst) = (packet.header.src_addr(), packet.header.dst_addr());
            (src.into(), dst.into(), packet.header.total_len.get().into())
        }
        EtherType::IPV6 => {
            let (ip, _) = ipv6::Header::ref_from_prefix(content).ok()?;
            let len = ipv6::HEADER_LEN + usize::from(ip.payload_len.get());
            (ip.src_addr().into(), ip.dst_addr().into(), len)
        }
        _ => return None,
    };
    Some(Envelope {
        link: Link {
            dst: header.dst,
            src: header.src,
            vlan,
        },
        src,
        dst,
        packet: content.get(..len)?,
    })
}

type Untagged<'a> = (Option<vlan::Tag>, EtherType, &'a [u8]);

fn untag(ethertype: EtherType, bytes: &[u8]) -> Result<Untagged<'_>, Defect> {
    if ethertype != EtherType::VLAN {
        return Ok((None, ethertype, bytes));
    }
    let (header, rest) = vlan::Header::ref_from_prefix(bytes).map_err(|_| Defect::VlanTruncated)?;
    Ok((Some(header.tag), header.ethertype, rest))
}

fn parse_ipv4(bytes: &[u8]) -> Result<Network<'_>, Defect> {
    let packet = ipv4::Packet::parse(bytes)?;
    let header = packet.header;
    if !ipv4::is_valid_source(header.src) {
        return Err(Defect::Ipv4Source);
    }
    if !ipv4::is_valid_destination(header.dst) {
        return Err(Defect::Ipv4Destination);
    }
    packet.check_options()?;
    if header.is_fragment() {
        return Err(Defect::Ipv4Fragment);
    }
    let transport = match header.protocol {
        ip_protocol::TCP => Transport::Tcp(tcp::View::parse(packet.payload)?),
        ip_protocol::UDP => Transport::Udp(udp::View::parse(packet.payload)?),
        ip_protocol::ICMP => Transport::Icmp(icmp::View::parse(packet.payload)?),
        other => Transport::Other(other),
    };
    Ok(Network::Ipv4 { packet, transport })
}

fn parse_ipv6(bytes: &[u8]) -> Result<Network<'_>, Defect> {
    let packet = ipv6::Packet::parse(bytes)?;
    let (src, dst) = (packet.header.src_addr(), packet.header.dst_addr());
    let is_icmpv6 = packet.next_header == ip_protocol::ICMPV6;
    // Duplicate detection and listener reports come from a host without an address (RFC 4862 §5.4, RFC 3590).
    let from_nobody = is_icmpv6 && src == Ipv6Addr::UNSPECIFIED;
    if !ipv6::is_valid_source(src) && !from_nobody {
        return Err(Defect::Ipv6Source);
    }
    if !ipv6::is_valid_destination(dst) {
        return Err(Defect::Ipv6Destination);
    }
    let transport = match packet.next_header {
        ip_protocol::TCP => Transport::Tcp(tcp::View::parse(packet.payload)?),
        ip_protocol::UDP => Transport::Udp(udp::View::parse(packet.payload)?),
        ip_protocol::ICMPV6 => Transport::Icmpv6(icmpv6::View::parse(packet.payload)?),
        other => Transport::Other(other),
    };
    Ok(Network::Ipv6 { packet, transport })
}

impl<'a> Parsed<'a> {
    /// Source and destination address; `None` for ARP.
    #[must_use]
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match &self.network {
            Network::Arp(_) => None,
            Network::Ipv4 { packet, .. } => Some((
                packet.header.src_addr().into(),
                packet.header.dst_addr().into(),
            )),
            Network::Ipv6 { packet, .. } => Some((
                packet.header.src_addr().into(),
                packet.header.dst_addr().into(),
            )),
        }
    }

    /// The transport layer; `None` for ARP.
    #[must_use]
    pub const fn transport(&self) -> Option<Transport<'a>> {
        match self.network {
            Network::Arp(_) => None,
            Network::Ipv4 { transport, .. } | Network::Ipv6 { transport, .. } => Some(transport),
        }
    }

    /// The TCP segment, when it is one.
    #[must_use]
    pub const fn tcp(&self) -> Option<tcp::View<'a>> {
        match self.transport() {
            Some(Transport::Tcp(segment)) => Some(segment),
            _ => None,
        }
    }

    /// Where the network header starts in the frame, in bytes.
    #[must_use]
    pub const fn l3_offset(&self) -> usize {
        self.link.header_len()
    }

    /// Where the transport header starts in the frame, in bytes; for ARP where the packet starts.
    #[must_use]
    pub const fn l4_offset(&self) -> usize {
        let header_len = match self.network {
            Network::Arp(_) => 0,
            Network::Ipv4 { packet, .. } => ipv4::HEADER_LEN + packet.options.len(),
            Network::Ipv6 { packet, .. } => ipv6::HEADER_LEN + packet.extensions.len(),
        };
        self.l3_offset() + header_len
    }

    /// Where the packet ends in the frame, in bytes: what follows is Ethernet's padding.
    #[must_use]
    pub const fn end_offset(&self) -> usize {
        let payload_len = match self.network {
            Network::Arp(_) => arp::PACKET_LEN,
            Network::Ipv4 { packet, .. } => packet.payload.len(),
            Network::Ipv6 { packet, .. } => packet.payload.len(),
        };
        self.l4_offset() + payload_len
    }

    /// Verifies in software what the NIC has not: the IPv4 header's checksum when `ip`, the transport's when
    /// `transport`.
    ///
    /// # Errors
    /// [`Defect::Ipv4Checksum`], then [`Defect::TcpChecksum`] or [`Defect::TcpChecksumOffloaded`], [`Defect::UdpChecksum`], [`Defect::IcmpChecksum`],
    /// [`Defect::Icmpv6Checksum`].
    pub fn verify_checksums(&self, ip: bool, transport: bool) -> Result<(), Defect> {
        match &self.network {
            Network::Ipv4 { packet, .. } if ip && !packet.checksum_ok() => {
                Err(Defect::Ipv4Checksum)
            }
            Network::Ipv4 {
                packet,
                transport: inner,
            } if transport => verify_over_v4(packet, inner),
            Network::Ipv6 {
                packet,
                transport: inner,
            } if transport => verify_over_v6(packet, inner),
            _ => Ok(()),
        }
    }
}

fn verify_over_v4(packet: &ipv4::Packet<'_>, transport: &Transport<'_>) -> Result<(), Defect> {
    let header = packet.header;
    let ok = |bytes| checksum::verify_v4(header.src, header.dst, header.protocol, bytes);
    match transport {
        Transport::Tcp(segment) if !ok(packet.payload) => {
            let len = u16::try_from(packet.payload.len()).unwrap_or(u16::MAX);
            let pseudo = checksum::pseudo_v4(header.src, header.dst, header.protocol, len);
            Err(wrong_tcp_checksum(segment, pseudo))
        }
        // RFC 768: a zero field says that there is none.
        Transport::Udp(udp) if udp.header.checksum.get() != 0 && !ok(udp.datagram) => {
            Err(Defect::UdpChecksum)
        }
        Transport::Icmp(_) if !icmp::checksum_ok(packet.payload) => Err(Defect::IcmpChecksum),
        _ => Ok(()),
    }
}

/// The fault of a TCP checksum. A host that counts on its NIC leaves the sum of the pseudo-header in the field, not
/// inverted, for the NIC to add the rest (Linux: CHECKSUM_PARTIAL). On a veth pair and the like no NIC does.
#[cold]
fn wrong_tcp_checksum(segment: &tcp::View<'_>, pseudo: checksum::Sum) -> Defect {
    //~ A checksum that the sender left to its NIC has a name of its own: -> `let _ = (segment, pseudo); if false {`;
    //~   a_checksum_that_was_left_to_a_nic_is_told_from_a_wrong_one
    if segment.header.checksum.get() == !pseudo.finish().get() {
        Defect::TcpChecksumOffloaded
    } else {
        Defect::TcpChecksum
    }
}

fn verify_over_v6(packet: &ipv6::Packet<'_>, transport: &Transport<'_>) -> Result<(), Defect> {
    let header = packet.header;
    let ok = |bytes| checksum::verify_v6(&header.src, &header.dst, packet.next_header, bytes);
    match transport {
        Transport::Tcp(segment) if !ok(packet.payload) => {
            let len = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
            let pseudo = checksum::pseudo_v6(&header.src, &header.dst, packet.next_header, len);
            Err(wrong_tcp_checksum(segment, pseudo))
        }
        // RFC 8200 §8.1: a zero field is illegal over IPv6.
        Transport::Udp(udp) if udp.header.checksum.get() == 0 || !ok(udp.datagram) => {
            Err(Defect::UdpChecksum)
        }
        Transport::Icmpv6(_) if !ok(packet.payload) => Err(Defect::Icmpv6Checksum),
        _ => Ok(()),
    }
}
