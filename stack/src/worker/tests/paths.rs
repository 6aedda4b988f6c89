//! Reports of ICMP and the link on the path of a connection: who is believed, and what follows.

use core::net::SocketAddr;
use core::time::Duration;

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};

use super::host::{Flow, Host, LINK, OPEN, OUR_MAC, OUR_V4, OUR_V6, PEER_MAC, PEER_V4, PEER_V6};
use super::neighbors::{advertisement_of_peer, arp_frame, arp_reply, arp_request, solicitation};
use crate::conn::{Kind, TickMs};
use crate::counters::Counter;
use crate::path::Destination;
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, syn, syn_ack};
use crate::wire::vlan::VlanId;
use crate::wire::{Link, MacAddr, arp, emit, ndp};
use crate::worker::connect::Connect;

/// An ICMPv4 error from the peer that quotes these bytes.
fn error_v4(kind: icmpv4::DestUnreachableHeader, quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER_MAC.0, OUR_MAC.0)
        .ipv4(PEER_V4.octets(), OUR_V4.octets(), 64)
        .icmpv4(Icmpv4Type::DestinationUnreachable(kind))
        .write(&mut frame, quote)
        .expect("written");
    frame
}

/// An ICMPv6 error from the peer that quotes these bytes.
fn error_v6(kind: Icmpv6Type, quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER_MAC.0, OUR_MAC.0)
        .ipv6(PEER_V6.octets(), OUR_V6.octets(), 64)
        .icmpv6(kind)
        .write(&mut frame, quote)
        .expect("written");
    frame
}

/// The start of a UDP datagram that has the addresses and ports of a segment of ours.
fn udp_quote(flow: Flow) -> Vec<u8> {
    let mut quoted = Vec::new();
    let (from, to) = (flow.local.port(), flow.remote.port());
    match flow.local {
        SocketAddr::V4(_) => PacketBuilder::ipv4(OUR_V4.octets(), PEER_V4.octets(), 64)
            .udp(from, to)
            .write(&mut quoted, &[0; 32])
            .expect("written"),
        SocketAddr::V6(_) => PacketBuilder::ipv6(OUR_V6.octets(), PEER_V6.octets(), 64)
            .udp(from, to)
            .write(&mut quoted, &[0; 32])
            .expect("written"),
    }
    quoted
}

/// Opens a connection to [`PEER_V4`], whose link address is known, up to the SYN.
fn connecting(host: &mut Host<Puppet>, remote: SocketAddr, local_port: u16) {
    let how = Connect {
        local_port: Some(local_port),
        ..Connect::default()
    };
    host.act(|_, cx| cx.connect(remote, &how, false))
        .expect("connects");
}

/// Sends the SYN of a connection from this port to the peer's 9,000, whose link address is known.
fn asks(host: &mut Host<Puppet>, local_port: u16) {
    let remote = (PEER_V4, 9_000).into();
    host.on(Flow::between(remote, (OUR_V4, local_port).into()));
    connecting(host, remote, local_port);
    host.expect(syn().seq(0));
}

/// RFC 1122 §3.2.2: the protocol that the quote names is the one that hears of the error.
#[test]
fn an_error_about_a_udp_datagram_never_touches_tcp() {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    asks(&mut host, 50_000);
    // Behind the ports a datagram has its length and checksum: here they are the SYN's own number.
    let mut quote = udp_quote(host.flow);
    let iss = host.flow.our_iss.expect("sent").0.to_be_bytes();
    quote[24..28].copy_from_slice(&iss);
    host.inject_bytes(&error_v4(icmpv4::DestUnreachableHeader::Port, &quote));
    host.counted(Counter::IcmpErrorUnmatched).hears(&[]);
    host.inject(syn_ack().seq(0).ack(1))
        .expect(ack().seq(1).ack(1));

    let mut host = Host::new();
    host.on(Flow::v6(40_000, OPEN)).establish();
    let quote = udp_quote(host.flow);
    let port = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
    host.inject_bytes(&error_v6(port, &quote));
    host.counted(Counter::IcmpErrorUnmatched).silent();
}

/// RFC 5927 §5.2: what isn't synchronised ends by a hard error about its own SYN-ACK, and by nothing else.
#[test]
fn a_hard_error_about_its_syn_ack_ends_an_embryo() {
    use super::neighbors::port_unreachable_about;
    let mut host = Host::new();
    host.inject(syn().seq(0)).expect(syn_ack().seq(0).ack(1));
    let iss = host.flow.our_iss.expect("sent").0;
    for wrong in [iss.wrapping_sub(1), iss.wrapping_add(1)] {
        host.inject_bytes(&port_unreachable_about(OPEN, 40_000, wrong));
        host.counted(Counter::IcmpErrorForConnection).silent();
    }
    assert!(host.embryo().is_some());
    assert_eq!(host.worker().tcp_counters().icmp_out_of_window, 2);
    let mut soft = port_unreachable_about(OPEN, 40_000, iss);
    soft[35] = 1; // host unreachable
    super::packets::fix_icmp(&mut soft);
    host.inject_bytes(&soft)
        .counted(Counter::IcmpErrorForConnection);
    assert!(host.embryo().is_some(), "MUST-56: soft");
    host.inject_bytes(&port_unreachable_about(OPEN, 40_000, iss));
    host.counted(Counter::IcmpErrorForConnection).silent();
    assert!(host.embryo().is_none());
    assert_eq!(host.count(Counter::EmbryoUnreachable), 1);
    // Its place in the backlog is free again.
    for port in 1..=super::host::BACKLOG as u16 {
        host.on(Flow::v4(port, OPEN)).inject(syn().seq(0));
        host.counted(Counter::SynEmbryo)
            .expect(syn_ack().seq(0).ack(1));
    }
}

/// Nothing of a parked connection is in flight, so no quote is believed (RFC 5927 §4.1): it is judged all the same.
#[test]
fn an_error_about_a_parked_connection_is_judged_by_its_number() {
    let mut host = Host::new();
    host.establish();
    host.inject_bytes(&super::neighbors::port_unreachable_v4());
    host.counted(Counter::IcmpErrorForConnection).silent();
    assert!(host.parked().is_some());
    assert_eq!(host.worker().tcp_counters().icmp_out_of_window, 1);
}

/// A SYN without an acknowledgment has proved nothing: anybody can send one who guesses the ports.
#[test]
fn a_blind_syn_does_not_redirect_an_active_open() {
    let elsewhere = MacAddr([2, 0, 0, 0, 0, 77]);
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    asks(&mut host, 50_000);
    host.flow.link.src = elsewhere;
    host.inject(syn().seq(0)).counted(Counter::ConnSegment);
    // Simultaneous open (MUST-10): the answer goes to where the peer is known to be.
    host.flow.link = LINK;
    host.expect(syn_ack().seq(0).ack(1)).silent();
    // Nor does an acknowledgment from there: where our frames go is the neighbour table's to say.
    host.flow.link.src = elsewhere;
    host.inject(ack().seq(1).ack(1)).silent();
    host.flow.link = LINK;
    let conn = host.conn();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
    host.expect(data(1).seq(1).ack(1));
}

/// A load balancer with direct server return: its address is the neighbour's, the answers come from the servers behind it.
#[test]
fn frames_from_another_link_address_lead_no_active_open_away() {
    let elsewhere = MacAddr([2, 0, 0, 0, 0, 77]);
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    // The second one goes where the first went, without a question.
    for port in [50_000, 50_001] {
        asks(&mut host, port);
        host.flow.link.src = elsewhere;
        host.inject(syn_ack().seq(0).ack(1).mss(1460));
        host.flow.link = LINK;
        host.expect(ack().seq(1).ack(1));
        host.flow.link.src = elsewhere;
        host.inject(data(1).seq(1).ack(1));
        host.flow.link = LINK;
        host.wait_ms(41).expect(ack().seq(1).ack(2));
    }
    assert_eq!(host.count(Counter::ConnFromElsewhere), 4);
    // And so it does when it was parked meanwhile.
    host.wait_ms(1_100).wait_ms(300);
    assert_eq!(host.kind(), Some(Kind::Parked));
    host.flow.link.src = elsewhere;
    host.inject(data(1).seq(2).ack(1));
    host.flow.link = LINK;
    host.wait_ms(41).expect(ack().seq(1).ack(3));
}

#[test]
fn answers_from_elsewhere_confirm_the_way_by_what_they_acknowledge() {
    let elsewhere = MacAddr([2, 0, 0, 0, 0, 77]);
    let mut host = busy();
    host.inject_bytes(&arp_request()).next_reply();
    asks(&mut host, 50_000);
    host.inject(syn_ack().seq(0).ack(1).mss(1460))
        .expect(ack().seq(1).ack(1));
    let conn = host.conn();
    host.wait_ms(12_000).drop_arp();
    let sent = host.act(|_, cx| cx.send_bytes(conn, b"x"));
    assert_eq!(sent, Ok(1));
    host.expect(data(1).seq(1).ack(1));
    let heard_at = |host: &mut Host<Puppet>| {
        let core = &host.worker().core;
        let conn = core.slot_named(conn).and_then(|slot| core.conns.get(slot));
        conn.and_then(|conn| conn.link).expect("known").heard_at
    };
    host.flow.link.src = elsewhere;
    let before = heard_at(&mut host);
    host.inject(ack().seq(1).ack(1));
    assert_eq!(heard_at(&mut host), before, "it acknowledges nothing new");
    // More is sent then, so that the connection stays awake.
    let sent = host.act(|_, cx| cx.send_bytes(conn, b"y"));
    assert_eq!(sent, Ok(1));
    host.inject(ack().seq(1).ack(2));
    host.flow.link = LINK;
    host.expect(data(1).seq(2).ack(1));
    assert_eq!(heard_at(&mut host), TickMs::at(host.now));
}

/// "Too big" about this frame of ours: the next link carries so much.
pub(super) fn too_big(frame: &[u8], mtu: u16) -> Vec<u8> {
    let quote = &frame[14..];
    match quote[0] >> 4 {
        4 => error_v4(
            icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu },
            &quote[..quote.len().min(548)],
        ),
        _ => error_v6(Icmpv6Type::PacketTooBig { mtu: mtu.into() }, &quote[..1180]),
    }
}

/// A host whose connections do not park so soon.
fn busy() -> Host<Puppet> {
    Host::probing(|spec| spec.park_after = Duration::from_secs(10_000))
}

/// The handshake of a peer that takes 1460 bytes (1440 over IPv6); we announce our link, whatever the path carries.
fn shake_hands_with_mss(host: &mut Host<Puppet>) {
    let mss = if host.flow.local.is_ipv4() {
        1460
    } else {
        1440
    };
    host.inject(syn().seq(0).mss(mss));
    host.expect(syn_ack().seq(0).ack(1).mss(mss));
    host.inject(ack().seq(1).ack(1)).silent();
}

/// Queues bytes, and returns the frames that they leave in at once.
fn send(host: &mut Host<Puppet>, len: usize) -> Vec<Vec<u8>> {
    let conn = host.conn();
    assert_eq!(
        host.act(|_, cx| cx.send_bytes(conn, &vec![7; len])),
        Ok(len)
    );
    frames(host)
}

fn frames(host: &mut Host<Puppet>) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| host.try_reply()).collect()
}

/// The segment that the connection sends next of its own accord.
fn after_silence(host: &mut Host<Puppet>) -> Vec<Vec<u8>> {
    for _ in 0..1_000 {
        let mut sent = frames(host.wait_ms(100));
        // Whom it asks for its neighbour is another test's.
        sent.retain(|frame| frame[12..14] != [8, 6]);
        if !sent.is_empty() {
            return sent;
        }
    }
    panic!("silent for 100 s");
}

/// The lengths of IP packets.
fn packet_lens(frames: &[Vec<u8>]) -> Vec<usize> {
    frames.iter().map(|frame| frame.len() - 14).collect()
}

/// RFC 1191, RFC 8201: what was in flight goes again at once as the path carries it, and the next connection knows.
#[test]
fn a_packet_too_big_makes_packets_smaller_at_once_and_for_later_connections() {
    for flow in [Flow::v4(40_000, OPEN), Flow::v6(40_000, OPEN)] {
        let mut host = busy();
        host.on(flow);
        shake_hands_with_mss(&mut host);
        let sent = send(&mut host, 4_000);
        assert_eq!(packet_lens(&sent)[..2], [1500, 1500]);
        host.inject_bytes(&too_big(&sent[0], 1400));
        host.counted(Counter::IcmpErrorForConnection);
        let again = frames(&mut host);
        assert_eq!(packet_lens(&again)[..2], [1400, 1400]);
        let headers = if flow.local.is_ipv4() { 40 } else { 60 };
        let bytes: usize = packet_lens(&again).iter().map(|len| len - headers).sum();
        assert_eq!(bytes, 4_000, "all that was in flight");
        // The router says it of each packet.
        host.inject_bytes(&too_big(&sent[1], 1400)).silent();
        assert_eq!(host.count(Counter::PathMtuLowered), 1);
        assert_eq!(host.count(Counter::PathMtuIgnored), 1);
        let mut other = flow;
        other.remote.set_port(40_001);
        host.on(other);
        shake_hands_with_mss(&mut host);
        assert_eq!(packet_lens(&send(&mut host, 3_000))[..2], [1400, 1400]);
        assert_eq!(host.worker().tcp_counters().retransmission_timeouts, 0);
    }
}

#[test]
fn only_a_quote_of_data_in_flight_lowers_and_nothing_raises() {
    let mut host = busy();
    shake_hands_with_mss(&mut host);
    let sent = send(&mut host, 3_000);
    let mut wrong = sent[0].clone();
    wrong[38] ^= 0x80; // a number that is not in flight
    host.inject_bytes(&too_big(&wrong, 1400)).silent();
    assert_eq!(host.worker().tcp_counters().icmp_out_of_window, 1);
    for claimed in [1500, 1501, 9000] {
        host.inject_bytes(&too_big(&sent[0], claimed)).silent();
    }
    assert_eq!(host.count(Counter::PathMtuIgnored), 3);
    host.inject_bytes(&too_big(&sent[0], 68));
    assert_eq!(packet_lens(&frames(&mut host))[0], 576, "the floor");
    host.inject(ack().seq(1).ack(3_001)).silent();
    host.inject_bytes(&too_big(&sent[0], 570)).silent();
    assert_eq!(host.worker().tcp_counters().icmp_out_of_window, 2);

    let mut host = busy();
    host.on(Flow::v6(40_000, OPEN));
    shake_hands_with_mss(&mut host);
    let sent = send(&mut host, 3_000);
    host.inject_bytes(&too_big(&sent[0], 1279)).silent();
    assert_eq!(host.count(Counter::PathMtuIgnored), 1);
    host.inject_bytes(&too_big(&sent[0], 1280));
    assert_eq!(packet_lens(&frames(&mut host))[0], 1280);
}

/// RFC 1191 §5: a router that names no MTU is asked by steps.
#[test]
fn a_router_of_old_names_no_mtu() {
    let mut host = busy();
    shake_hands_with_mss(&mut host);
    let sent = send(&mut host, 3_000);
    host.inject_bytes(&too_big(&sent[0], 0));
    let again = frames(&mut host);
    assert_eq!(packet_lens(&again)[0], 1492);
    host.inject_bytes(&too_big(&again[0], 0));
    assert_eq!(packet_lens(&frames(&mut host))[0], 1006);
}

#[test]
fn after_ten_minutes_the_larger_mtu_is_tried_again() {
    let mut host = busy();
    shake_hands_with_mss(&mut host);
    let sent = send(&mut host, 3_000);
    host.inject_bytes(&too_big(&sent[0], 1400));
    assert_eq!(packet_lens(&frames(&mut host))[0], 1400);
    host.inject(ack().seq(1).ack(3_001)).silent();
    host.wait_ms(599_999)
        .inject(ack().seq(1).ack(3_001))
        .silent();
    assert_eq!(packet_lens(&send(&mut host, 3_000))[0], 1400);
    host.inject(ack().seq(1).ack(6_001)).silent();
    host.wait_ms(1).inject(ack().seq(1).ack(6_001)).silent();
    assert_eq!(host.count(Counter::PathMtuExpired), 1);
    let larger = send(&mut host, 3_000);
    assert_eq!(packet_lens(&larger)[0], 1500);
    host.inject_bytes(&too_big(&larger[0], 1400));
    assert_eq!(packet_lens(&frames(&mut host))[0], 1400);
}

/// The path is not the connection's to remember: who is unparked asks what is known now.
#[test]
fn an_unparked_connection_goes_by_what_is_known_then() {
    let mut host = Host::probing(|spec| spec.park_after = Duration::from_secs(2));
    shake_hands_with_mss(&mut host);
    let sent = send(&mut host, 3_000);
    host.inject_bytes(&too_big(&sent[0], 1400));
    assert_eq!(packet_lens(&frames(&mut host))[0], 1400);
    host.inject(ack().seq(1).ack(3_001)).silent();
    host.wait_ms(2_004).wait_ms(4).silent();
    assert!(host.parked().is_some());
    assert_eq!(packet_lens(&send(&mut host, 3_000))[0], 1400);
    host.inject(ack().seq(1).ack(6_001)).silent();
    host.wait_ms(2_004).wait_ms(4).silent();
    assert!(host.parked().is_some());
    host.wait_ms(600_000).silent();
    host.inject_bytes(&arp_request()).next_reply();
    assert_eq!(packet_lens(&send(&mut host, 3_000))[0], 1500);
}

/// RFC 2923 §2.1: a path that swallows full segments in silence is found out, and the next connection knows it.
#[test]
fn a_black_hole_is_remembered_for_its_destination() {
    let mut host = busy();
    shake_hands_with_mss(&mut host);
    send(&mut host, 4_000);
    for _ in 0..2 {
        assert_eq!(packet_lens(&after_silence(&mut host))[0], 1500);
    }
    assert_eq!(packet_lens(&after_silence(&mut host)), [576]);
    host.inject(ack().seq(1).ack(537));
    let trial = frames(&mut host);
    assert_eq!(packet_lens(&trial)[0], 1500);
    assert_eq!(packet_lens(&after_silence(&mut host))[0], 576);
    assert_eq!(host.count(Counter::PathMtuLowered), 1);
    assert_eq!(host.worker().tcp_counters().black_holes, 1);
    host.on(Flow::v4(40_001, OPEN));
    shake_hands_with_mss(&mut host);
    assert_eq!(packet_lens(&send(&mut host, 3_000))[0], 576);
}

/// Where a frame goes on the link.
fn link_dst(frame: &[u8]) -> MacAddr {
    MacAddr(*frame.first_chunk().expect("a frame"))
}

const NEW_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 77]);

/// "I am the peer's address", to everybody and to us alone, from another link address.
fn claims(v6: bool) -> Vec<Vec<u8>> {
    let everybody = Link {
        dst: MacAddr::BROADCAST,
        src: NEW_MAC,
        vlan: None,
    };
    let us = Link {
        dst: OUR_MAC,
        ..everybody
    };
    if v6 {
        let advertise = |link, dst, flags| {
            let mut frame = vec![0; 128];
            let len = emit::neighbor_advertisement(link, dst, PEER_V6, flags, &mut frame);
            frame.truncate(len.expect("fits"));
            frame
        };
        let all = Link {
            dst: ndp::multicast_mac(ndp::ALL_NODES),
            ..everybody
        };
        let solicited = ndp::FLAG_SOLICITED | ndp::FLAG_OVERRIDE;
        return vec![
            advertise(all, ndp::ALL_NODES, ndp::FLAG_OVERRIDE),
            advertise(us, OUR_V6, solicited),
        ];
    }
    vec![
        arp_frame(everybody, &arp::Packet::request(NEW_MAC, PEER_V4, PEER_V4)),
        arp_frame(
            everybody,
            &arp::Packet::reply(NEW_MAC, PEER_V4, NEW_MAC, PEER_V4),
        ),
        arp_frame(us, &arp::Packet::reply(NEW_MAC, PEER_V4, OUR_MAC, OUR_V4)),
        arp_frame(everybody, &arp::Packet::request(NEW_MAC, PEER_V4, OUR_V4)),
    ]
}

/// The peer's answer from its old address, and from the new one.
fn answers(v6: bool) -> [Vec<u8>; 2] {
    let new = claims(v6);
    if v6 {
        [advertisement_of_peer(), new[1].clone()]
    } else {
        [arp_reply(), new[2].clone()]
    }
}

/// A connection whose peer the neighbour table has known for a while.
fn with_known_neighbor(v6: bool) -> Host<Puppet> {
    let mut host = busy();
    if v6 {
        host.inject_bytes(&solicitation()).next_reply();
        host.on(Flow::v6(40_000, OPEN));
    } else {
        host.inject_bytes(&arp_request()).next_reply();
    }
    host.shake_hands();
    host.wait_ms(1_000).silent();
    host
}

/// The sent frames that ask for a neighbour, by their destination on the link.
fn questions(frames: &[Vec<u8>]) -> Vec<MacAddr> {
    let asks = |frame: &&Vec<u8>| {
        let is_request = frame[12..14] == [8, 6] && frame[20..22] == [0, 1];
        is_request || frame.get(54) == Some(&135)
    };
    frames
        .iter()
        .filter(asks)
        .map(|frame| link_dst(frame))
        .collect()
}

/// A gratuitous ARP, an overriding advertisement, an unasked reply: such a claim alone redirects nothing.
#[test]
fn a_claim_alone_redirects_no_connection() {
    for v6 in [false, true] {
        for claim in claims(v6) {
            let mut host = with_known_neighbor(v6);
            let conn = host.conn();
            host.inject_bytes(&claim);
            let sent = frames(&mut host);
            let asked = questions(&sent);
            assert_eq!(asked, [PEER_MAC], "the known address is asked");
            let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
            assert_eq!(link_dst(&host.next_reply()), PEER_MAC);
            for claim in claims(v6) {
                host.inject_bytes(&claim);
            }
            frames(&mut host);
            host.inject_bytes(&answers(v6)[0]);
            host.wait_ms(300);
            frames(&mut host);
            let _ = host.act(|_, cx| cx.send_bytes(conn, b"y"));
            let sent = frames(&mut host);
            assert!(sent.iter().all(|frame| link_dst(frame) == PEER_MAC));
            assert_eq!(host.count(Counter::NeighborMoved), 0);
        }
    }
}

/// Failover of a gateway, migration of a machine: the new address has announced itself, the old one keeps silent.
#[test]
fn a_connection_that_only_sends_follows_its_neighbour_that_moved() {
    for v6 in [false, true] {
        for claim in claims(v6) {
            let mut host = with_known_neighbor(v6);
            let conn = host.conn();
            host.inject_bytes(&claim);
            assert_eq!(questions(&frames(&mut host)), [PEER_MAC]);
            host.wait_ms(250);
            let asked = questions(&frames(&mut host));
            assert!(asked.len() == 1 && asked[0].is_multicast(), "everybody");
            host.inject_bytes(&answers(v6)[1]);
            frames(&mut host);
            assert_eq!(host.count(Counter::NeighborMoved), 1);
            let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
            assert_eq!(link_dst(&host.next_reply()), NEW_MAC);
        }
    }
}

/// Milliseconds, below `limit_ms`, until a frame goes to the neighbour's new address, which answers when everybody is asked.
fn reached_ms(host: &mut Host<Puppet>, v6: bool, limit_ms: u64) -> u64 {
    let mut waited_ms = 0;
    loop {
        host.wait_ms(50);
        waited_ms += 50;
        let sent = frames(host);
        if sent.iter().any(|frame| link_dst(frame) == NEW_MAC) {
            return waited_ms;
        }
        if questions(&sent).iter().any(|asked| asked.is_multicast()) {
            host.inject_bytes(&answers(v6)[1]);
            frames(host);
        }
        assert!(waited_ms < limit_ms, "v6 {v6}");
    }
}

/// Without an announcement the first timeout asks: the kernel finds a new address at 7 s so, this at 3.
#[test]
fn missing_progress_finds_a_neighbour_that_moved() {
    for v6 in [false, true] {
        for knows in [true, false] {
            let mut host = busy();
            if knows {
                host = with_known_neighbor(v6);
            } else if v6 {
                host.on(Flow::v6(40_000, OPEN)).shake_hands();
            } else {
                host.shake_hands();
            }
            let conn = host.conn();
            let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
            assert_eq!(link_dst(&host.next_reply()), PEER_MAC);
            let reached = reached_ms(&mut host, v6, 7_000);
            assert!(reached <= 3_100, "known {knows}: {reached} ms");
        }
    }
}

/// The same of a SYN: its third repetition reaches the new address. By itself the entry would be asked after 30 s.
#[test]
fn a_repeated_syn_finds_a_neighbour_that_moved() {
    for v6 in [false, true] {
        let mut host = with_known_neighbor(v6);
        let remote: SocketAddr = if v6 {
            (PEER_V6, 9_000).into()
        } else {
            (PEER_V4, 9_000).into()
        };
        connecting(&mut host, remote, 50_000);
        assert_eq!(link_dst(&host.next_reply()), PEER_MAC);
        let reached = reached_ms(&mut host, v6, 15_000);
        assert!(reached <= 7_200, "{reached} ms");
        assert_eq!(host.count(Counter::NeighborMoved), 1);
    }
}

/// RFC 4861 §7.3.1: progress confirms a way, also for those that are unparked later or open to the same destination.
#[test]
fn a_link_address_outlasts_parking_and_helps_the_next_connection() {
    let mut host = Host::probing(|spec| spec.park_after = Duration::from_secs(1));
    host.shake_hands().wait_ms(1_004).wait_ms(4);
    assert!(host.parked().is_some());
    let conn = host.conn();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
    assert_eq!(link_dst(&host.next_reply()), PEER_MAC);
    host.silent();
    connecting(&mut host, (PEER_V4, 9_000).into(), 50_000);
    assert_eq!(link_dst(&host.next_reply()), PEER_MAC);
    host.silent();
}

/// RFC 4861 §7.3.1: a SYN-ACK is progress, and each further connection need not ask the neighbour table.
#[test]
fn the_answer_to_a_first_syn_shows_the_way_to_later_ones() {
    let mut host = Host::probing(|_| {});
    let remote = (PEER_V4, 9_000).into();
    host.on(Flow::between(remote, (OUR_V4, 50_000).into()));
    connecting(&mut host, remote, 50_000);
    host.next_reply();
    host.inject_bytes(&arp_reply()).expect(syn().seq(0));
    let to = Destination {
        vlan: VlanId::UNTAGGED,
        address: PEER_V4.into(),
    };
    let link = |host: &mut Host<Puppet>| {
        let now = host.now;
        host.worker().core.paths.link(to, now)
    };
    assert_eq!(link(&mut host), None);
    host.inject(syn_ack().seq(0).ack(1))
        .expect(ack().seq(1).ack(1));
    assert_eq!(link(&mut host).map(|link| link.mac), Some(PEER_MAC));
}
