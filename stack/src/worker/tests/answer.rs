//! [`Answer`]: a frame that we sent, read by a parser and checked by a checksum that are not ours (etherparse).
//!
//! It must never use `wire` to judge what `wire` wrote.

use core::net::{IpAddr, SocketAddr};

use etherparse::{
    LinkSlice, NetSlice, SlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
    checksum::Sum16BitWords,
};

use crate::seq::SeqNum;
use crate::tcp::segment::{Flags, Segment, SegmentOptions, TimestampOption};

/// A TCP segment from us that is right in every byte which doesn't depend on what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) link_src: [u8; 6],
    pub(super) link_dst: [u8; 6],
    pub(super) vlan: Option<u16>,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) ttl: u8,
    pub(super) segment: Segment,
}

impl Answer {
    /// Reads a frame; panics with the reason when anything in it is wrong.
    pub(super) fn read(frame: &[u8]) -> Self {
        let packet = SlicedPacket::from_ethernet(frame).expect("a frame that can be read");
        let Some(LinkSlice::Ethernet2(link)) = &packet.link else {
            panic!("no Ethernet header");
        };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
            panic!("no TCP: {packet:?}");
        };
        let l3_offset = 14 + 4 * packet.link_exts.len();
        let (src, dst, ttl) = check_ip(&packet, tcp, frame.len() - l3_offset);
        let header = tcp.header_slice();
        assert_eq!(header[12] & 0x0f, 0, "reserved bits");
        assert!(
            tcp.urg() || tcp.urgent_pointer() == 0,
            "stale urgent pointer"
        );
        assert!(
            tcp.ack() || tcp.acknowledgment_number() == 0,
            "stale ack number"
        );
        Self {
            link_src: link.source(),
            link_dst: link.destination(),
            vlan: packet.vlan_ids().first().map(|id| id.value()),
            src: SocketAddr::new(src, tcp.source_port()),
            dst: SocketAddr::new(dst, tcp.destination_port()),
            ttl,
            segment: Segment {
                seq: SeqNum(tcp.sequence_number()),
                ack: SeqNum(tcp.acknowledgment_number()),
                flags: Flags(header[13]),
                window: tcp.window_size(),
                urgent: tcp.urgent_pointer(),
                payload_len: tcp.payload().len() as u32,
                options: options(tcp),
                is_stripped: false,
            },
        }
    }
}

/// Checks lengths, fixed fields and both checksums.
fn check_ip(packet: &SlicedPacket<'_>, tcp: &TcpSlice<'_>, l3_len: usize) -> (IpAddr, IpAddr, u8) {
    match packet.net.as_ref().expect("a network header") {
        NetSlice::Ipv4(ip) => {
            let ip = ip.header();
            assert_eq!(
                usize::from(ip.total_len()),
                l3_len,
                "bytes behind the packet"
            );
            assert_eq!((ip.ihl(), ip.dcp().value(), ip.ecn().value()), (5, 0, 0));
            assert!(ip.dont_fragment() && !ip.more_fragments());
            assert_eq!(ip.fragments_offset().value(), 0);
            let theirs = Sum16BitWords::new().add_slice(ip.slice()).ones_complement();
            assert_eq!(theirs, 0, "IPv4 header checksum");
            let sum = tcp.calc_checksum_ipv4(ip.source(), ip.destination());
            assert_eq!(Ok(tcp.checksum()), sum, "TCP checksum");
            (
                ip.source_addr().into(),
                ip.destination_addr().into(),
                ip.ttl(),
            )
        }
        NetSlice::Ipv6(ip) => {
            let ip = ip.header();
            let payload_len = usize::from(ip.payload_length());
            assert_eq!(payload_len + 40, l3_len, "bytes behind the packet");
            assert_eq!((ip.traffic_class(), ip.flow_label().value()), (0, 0));
            assert_eq!(ip.next_header().0, 6, "extension headers in a reply");
            let sum = tcp.calc_checksum_ipv6(ip.source(), ip.destination());
            assert_eq!(Ok(tcp.checksum()), sum, "TCP checksum");
            (
                ip.source_addr().into(),
                ip.destination_addr().into(),
                ip.hop_limit(),
            )
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

fn options(tcp: &TcpSlice<'_>) -> SegmentOptions {
    let mut options = SegmentOptions::default();
    for option in tcp.options_iterator() {
        match option.expect("legal options") {
            TcpOptionElement::Noop => {}
            TcpOptionElement::MaximumSegmentSize(mss) => options.mss = Some(mss),
            TcpOptionElement::WindowScale(shift) => options.window_scale = Some(shift),
            TcpOptionElement::SelectiveAcknowledgementPermitted => options.sack_permitted = true,
            TcpOptionElement::Timestamp(tsval, tsecr) => {
                options.timestamps = Some(TimestampOption { tsval, tsecr });
            }
            TcpOptionElement::SelectiveAcknowledgement(..) => panic!("SACK blocks"),
        }
    }
    options
}

/// Reads an echo reply, ARP or NDP answer: only that it is well-formed and its checksum right; gives the slices back.
pub(super) fn slices(frame: &[u8]) -> SlicedPacket<'_> {
    let packet = SlicedPacket::from_ethernet(frame).expect("a frame that can be read");
    let end = 14
        + 4 * packet.link_exts.len()
        + match packet.net.as_ref().expect("a network header") {
            NetSlice::Ipv4(ip) => {
                let sum = Sum16BitWords::new().add_slice(ip.header().slice());
                assert_eq!(sum.ones_complement(), 0, "IPv4 header checksum");
                usize::from(ip.header().total_len())
            }
            NetSlice::Ipv6(ip) => 40 + usize::from(ip.header().payload_length()),
            NetSlice::Arp(arp) => arp.slice().len(),
        };
    assert_eq!(end, frame.len(), "bytes behind the packet");
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let ip = ip.header();
            assert!(
                icmp.is_checksum_valid(ip.source(), ip.destination()),
                "ICMPv6 checksum"
            );
        }
        (_, Some(TransportSlice::Icmpv4(icmp))) => {
            let sum = Sum16BitWords::new().add_slice(icmp.slice());
            assert_eq!(sum.ones_complement(), 0, "ICMP checksum");
        }
        _ => {}
    }
    packet
}
