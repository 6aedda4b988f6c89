//! ARP, neighbour discovery and echo: who is answered, and with which bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, TransportSlice, icmpv4, icmpv6};

use super::answer::slices;
use super::host::{Host, LINK, OPEN, OUR_MAC, OUR_V4, OUR_V6, PEER_MAC, PEER_V4, PEER_V6};
use crate::counters::Counter;
use crate::tcp::lang::syn;
use crate::wire::{Defect, IpSpec, Link, MacAddr, arp, emit, ndp};

const BROADCAST: Link = Link {
    dst: MacAddr::BROADCAST,
    ..LINK
};

/// The peer's answer to a request for its address.
pub(super) fn arp_reply() -> Vec<u8> {
    arp_frame(
        LINK,
        &arp::Packet::reply(PEER_MAC, PEER_V4, OUR_MAC, OUR_V4),
    )
}

/// The peer's advertisement to a solicitation for its address.
pub(super) fn advertisement_of_peer() -> Vec<u8> {
    let mut frame = vec![0; 128];
    let flags = ndp::FLAG_SOLICITED | ndp::FLAG_OVERRIDE;
    let len = emit::neighbor_advertisement(LINK, OUR_V6, PEER_V6, flags, &mut frame);
    frame.truncate(len.expect("fits"));
    // The builder takes the target for the source.
    frame
}

pub(super) fn arp_frame(link: Link, packet: &arp::Packet) -> Vec<u8> {
    let mut frame = vec![0; 64];
    let len = emit::arp(link, packet, &mut frame).expect("fits");
    frame.truncate(len);
    frame
}

pub(super) fn arp_request() -> Vec<u8> {
    arp_request_for(PEER_V4, OUR_V4)
}

/// A request of the peer for `target`.
pub(super) fn arp_request_for(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp_frame(BROADCAST, &arp::Packet::request(PEER_MAC, sender, target))
}

/// A neighbour solicitation for our address, to its solicited-node group.
pub(super) fn solicitation() -> Vec<u8> {
    solicitation_from(PEER_V6, OUR_V6)
}

pub(super) fn solicitation_from(src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = ndp::solicited_node(target);
    let link = Link {
        dst: ndp::multicast_mac(group),
        ..LINK
    };
    let mut frame = vec![0; 128];
    let len = emit::neighbor_solicitation(link, src, group, target, &mut frame).expect("fits");
    frame.truncate(len);
    frame
}

pub(super) fn echo_request_v4(data: &[u8]) -> Vec<u8> {
    echo_request(IpSpec::new(PEER_V4.into(), OUR_V4.into()), data)
}

pub(super) fn echo_request(ip: IpSpec, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 2048];
    let len = emit::echo_request(LINK, &ip, 0x1234, 7, data, &mut frame).expect("fits");
    frame.truncate(len);
    frame
}

/// "Port unreachable" from the peer, about a segment from our [`OPEN`] port to its port 40,000.
pub(super) fn port_unreachable_v4() -> Vec<u8> {
    port_unreachable_about(OPEN, 40_000, 1)
}

/// "Port unreachable" from the peer, about a segment of ours with this sequence number.
pub(super) fn port_unreachable_about(from: u16, to: u16, seq: u32) -> Vec<u8> {
    let mut quoted = Vec::new();
    PacketBuilder::ipv4(OUR_V4.octets(), PEER_V4.octets(), 64)
        .tcp(from, to, seq, 1000)
        .write(&mut quoted, &[])
        .expect("written");
    let port = icmpv4::DestUnreachableHeader::Port;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER_MAC.0, OUR_MAC.0)
        .ipv4(PEER_V4.octets(), OUR_V4.octets(), 64)
        .icmpv4(Icmpv4Type::DestinationUnreachable(port))
        .write(&mut frame, &quoted)
        .expect("written");
    frame
}

#[test]
fn an_arp_request_for_us_is_answered_to_its_sender() {
    let mut host = Host::new();
    host.inject_bytes(&arp_request())
        .counted(Counter::ArpAnswered);
    let reply = host.next_reply();
    let packet = slices(&reply);
    let Some(NetSlice::Arp(arp)) = packet.net else {
        panic!("no ARP: {packet:?}");
    };
    let arp = arp.to_packet();
    assert_eq!(arp.operation, etherparse::ArpOperation::REPLY);
    assert_eq!(arp.sender_hw_addr(), OUR_MAC.0);
    assert_eq!(arp.sender_protocol_addr(), OUR_V4.octets());
    assert_eq!(arp.target_hw_addr(), PEER_MAC.0);
    assert_eq!(arp.target_protocol_addr(), PEER_V4.octets());
    assert_eq!(
        (&reply[..6], &reply[6..12]),
        (&PEER_MAC.0[..], &OUR_MAC.0[..])
    );
}

#[test]
fn arp_for_others_is_not_answered() {
    let mut host = Host::new();
    let other = arp::Packet::request(PEER_MAC, PEER_V4, [198, 18, 0, 9].into());
    host.inject_bytes(&arp_frame(BROADCAST, &other))
        .counted(Counter::ArpNotForUs)
        .silent();
    let gratuitous = arp::Packet::request(PEER_MAC, PEER_V4, PEER_V4);
    host.inject_bytes(&arp_frame(BROADCAST, &gratuitous))
        .counted(Counter::ArpNotForUs)
        .silent();
    let reply = arp::Packet::reply(PEER_MAC, PEER_V4, OUR_MAC, OUR_V4);
    host.inject_bytes(&arp_frame(LINK, &reply))
        .counted(Counter::ArpLearned)
        .silent();
}

/// RFC 5227: a host that probes whether an address is taken has none yet.
#[test]
fn an_arp_probe_for_our_address_is_answered() {
    let mut host = Host::new();
    let probe = arp::Packet::request(PEER_MAC, [0, 0, 0, 0].into(), OUR_V4);
    host.inject_bytes(&arp_frame(BROADCAST, &probe))
        .counted(Counter::ArpAnswered);
    let reply = host.next_reply();
    slices(&reply);
    assert_eq!(reply[28..32], OUR_V4.octets());
}

#[test]
fn arp_with_lies_in_it_is_named() {
    let mut host = Host::new();
    let whole = arp_request();
    for (at, byte, defect) in [
        (15, 6, Defect::ArpHardware),
        (18, 8, Defect::ArpHardware),
        (16, 9, Defect::ArpProtocol),
        (19, 16, Defect::ArpProtocol),
        (21, 3, Defect::ArpOperation),
        (22, 1, Defect::ArpSenderMac),
        (28, 127, Defect::ArpSenderIp),
        (28, 224, Defect::ArpSenderIp),
    ] {
        let mut frame = whole.clone();
        frame[at] = byte;
        host.inject_bytes(&frame).refused(defect);
    }
}

fn advertisement(reply: &[u8]) -> (Ipv6Addr, icmpv6::NeighborAdvertisementHeader) {
    let packet = slices(reply);
    let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) =
        (&packet.net, &packet.transport)
    else {
        panic!("no ICMPv6: {packet:?}");
    };
    assert_eq!(ip.header().source_addr(), OUR_V6);
    assert_eq!(ip.header().hop_limit(), 255);
    let Icmpv6Type::NeighborAdvertisement(header) = icmp.icmp_type() else {
        panic!("no advertisement: {icmp:?}");
    };
    let payload = icmp.payload();
    assert_eq!(payload[..16], OUR_V6.octets(), "target");
    assert_eq!(payload[16..18], [2, 1], "target link-layer address");
    assert_eq!(payload[18..], OUR_MAC.0);
    (ip.header().destination_addr(), header)
}

#[test]
fn a_neighbor_solicitation_for_us_is_answered_to_its_sender() {
    let mut host = Host::new();
    host.inject_bytes(&solicitation())
        .counted(Counter::NdpAnswered);
    let reply = host.next_reply();
    let (dst, header) = advertisement(&reply);
    assert_eq!(dst, PEER_V6);
    assert!(header.solicited && header.r#override && !header.router);
    assert_eq!(
        (&reply[..6], &reply[6..12]),
        (&PEER_MAC.0[..], &OUR_MAC.0[..])
    );
}

/// Duplicate detection (RFC 4862 §5.4): the asker has no address yet, so all nodes hear it.
#[test]
fn duplicate_detection_for_our_address_is_answered_to_all_nodes() {
    let mut host = Host::new();
    host.inject_bytes(&solicitation_from(Ipv6Addr::UNSPECIFIED, OUR_V6));
    host.counted(Counter::NdpAnswered);
    let reply = host.next_reply();
    let (dst, header) = advertisement(&reply);
    assert_eq!(dst, ndp::ALL_NODES);
    assert!(!header.solicited && header.r#override);
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
}

#[test]
fn solicitations_for_others_and_from_beyond_the_link_are_not_answered() {
    let mut host = Host::new();
    let other = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 9);
    host.inject_bytes(&solicitation_from(PEER_V6, other))
        .counted(Counter::NdpIgnored)
        .silent();
    let mut far = solicitation();
    far[21] = 254;
    host.inject_bytes(&far).silent();
    assert_eq!(host.ends(), [("ndp_hop_limit", 1)]);
}

#[test]
fn echo_data_returns_whole() {
    let mut host = Host::new();
    for len in [0, 1, 2, 55, 56, 57, 1472] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let sent = echo_request_v4(&data);
        host.inject_bytes(&sent).counted(Counter::EchoAnswered);
        let reply = host.next_reply();
        let packet = slices(&reply);
        let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else {
            panic!("no ICMP: {packet:?}");
        };
        let header = etherparse::IcmpEchoHeader { id: 0x1234, seq: 7 };
        assert_eq!(icmp.icmp_type(), Icmpv4Type::EchoReply(header));
        assert_eq!(icmp.payload(), data);
        assert_eq!(
            (&reply[..6], &reply[6..12]),
            (&PEER_MAC.0[..], &OUR_MAC.0[..])
        );
        assert_eq!(
            (&reply[26..30], &reply[30..34]),
            (&OUR_V4.octets()[..], &PEER_V4.octets()[..])
        );

        let sent = echo_request(
            IpSpec::new(PEER_V6.into(), OUR_V6.into()),
            &data[..len.min(1452)],
        );
        host.inject_bytes(&sent).counted(Counter::EchoAnswered);
        let reply = host.next_reply();
        let packet = slices(&reply);
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else {
            panic!("no ICMPv6: {packet:?}");
        };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::EchoReply(header));
        assert_eq!(icmp.payload(), &data[..len.min(1452)]);
    }
}

#[test]
fn echo_to_others_and_to_ipv4_groups_is_not_answered() {
    let mut host = Host::new();
    let to = |dst: [u8; 4]| {
        echo_request(
            IpSpec::new(PEER_V4.into(), Ipv4Addr::from(dst).into()),
            b"x",
        )
    };
    for dst in [
        [198, 18, 0, 9],
        [198, 18, 0, 255],
        [224, 0, 0, 1],
        [255, 255, 255, 255],
    ] {
        host.inject_bytes(&to(dst))
            .counted(Counter::NotOurIp)
            .silent();
    }
    let mut to_group_mac = echo_request_v4(b"x");
    to_group_mac[..6].fill(0xff);
    host.inject_bytes(&to_group_mac)
        .counted(Counter::IcmpIgnored)
        .silent();
}

#[test]
fn echo_to_an_ipv6_group_is_answered_from_our_address() {
    let mut host = Host::new();
    let mut sent = echo_request(IpSpec::new(PEER_V6.into(), ndp::ALL_NODES.into()), b"x");
    sent[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    host.inject_bytes(&sent).counted(Counter::EchoAnswered);
    let reply = host.next_reply();
    slices(&reply);
    assert_eq!(reply[22..38], OUR_V6.octets());
}

/// The groups of every node are all nodes and the solicited-node groups of its addresses (RFC 4291 §2.8).
#[test]
fn echo_to_a_group_that_we_are_not_in_is_not_answered() {
    let mut host = Host::new();
    let mut ping = |group: Ipv6Addr| {
        let mut sent = echo_request(IpSpec::new(PEER_V6.into(), group.into()), b"x");
        sent[..6].copy_from_slice(&ndp::multicast_mac(group).0);
        host.inject_bytes(&sent);
        let reply = host.try_reply();
        host.counted(match reply {
            Some(_) => Counter::EchoAnswered,
            None => Counter::NotOurIp,
        });
        reply.is_some()
    };
    for group in ["ff0e::1234", "ff02::2", "ff02::fb", "ff05::1", "ff01::1"] {
        assert!(!ping(group.parse().expect("a group")), "{group}");
    }
    assert!(ping(ndp::solicited_node(OUR_V6)));
    assert!(!ping(ndp::solicited_node(PEER_V6)));
}

#[test]
fn icmp_errors_go_to_the_connection_that_they_quote_and_change_nothing() {
    let mut host = Host::new();
    host.inject_bytes(&port_unreachable_v4())
        .counted(Counter::IcmpErrorUnmatched)
        .silent();
    host.establish();
    host.inject_bytes(&port_unreachable_v4())
        .counted(Counter::IcmpErrorForConnection)
        .silent();
    assert!(host.parked().is_some(), "RFC 5927 §5.2");
}

#[test]
fn icmp_that_asks_nothing_is_ignored() {
    let mut host = Host::new();
    // Echo reply, Source Quench (RFC 6633), redirect, router advertisement, timestamp, address mask, unassigned.
    for kind in [0u8, 4, 5, 9, 13, 17, 42] {
        let mut frame = echo_request_v4(b"12345678");
        frame[34] = kind;
        super::packets::fix_icmp(&mut frame);
        host.inject_bytes(&frame).refused(Defect::IcmpType);
    }
    // An echo request that was damaged on its way.
    let mut frame = echo_request_v4(b"12345678");
    frame[45] ^= 1;
    host.inject_bytes(&frame).refused(Defect::IcmpChecksum);
    host.inject(syn().seq(0)).counted(Counter::SynEmbryo);
    host.next_reply();
}
