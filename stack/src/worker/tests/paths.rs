//! What ICMP errors and the link say about the way of a connection: who is believed, and what follows.

use core::net::SocketAddr;

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};

use super::host::{Flow, Host, LINK, OPEN, OUR_MAC, OUR_V4, OUR_V6, PEER_MAC, PEER_V4, PEER_V6};
use super::neighbors::arp_request;
use super::probe::Probe;
use crate::app::Connect;
use crate::counters::Counter;
use crate::tcp::lang::{ack, data, syn, syn_ack};
use crate::wire::MacAddr;

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
fn connecting(host: &mut Host<Probe>, remote: SocketAddr, local_port: u16) {
    let how = Connect {
        local_port: Some(local_port),
        ..Connect::default()
    };
    host.act(|_, cx| cx.connect(remote, &how))
        .expect("connects");
}

/// RFC 1122 §3.2.2: the protocol that the quote names is the one that hears of the error.
#[test]
fn an_error_about_a_udp_datagram_never_touches_tcp() {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    host.on(Flow::between(
        (PEER_V4, 9_000).into(),
        (OUR_V4, 50_000).into(),
    ));
    connecting(&mut host, (PEER_V4, 9_000).into(), 50_000);
    host.expect(syn().seq(0));
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

/// Nothing of a connection at rest is in flight, so no quote is believed (RFC 5927 §4.1): it is judged all the same.
#[test]
fn an_error_about_a_connection_at_rest_is_judged_by_its_number() {
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
    host.on(Flow::between(
        (PEER_V4, 9_000).into(),
        (OUR_V4, 50_000).into(),
    ));
    connecting(&mut host, (PEER_V4, 9_000).into(), 50_000);
    host.expect(syn().seq(0));
    host.flow.link.src = elsewhere;
    host.inject(syn().seq(0)).counted(Counter::ConnSegment);
    // Simultaneous open (MUST-10): the answer goes to where the peer is known to be.
    host.flow.link = LINK;
    host.expect(syn_ack().seq(0).ack(1)).silent();
    // What acknowledges our SYN has proved to be on the way.
    host.flow.link.src = elsewhere;
    host.inject(ack().seq(1).ack(1)).silent();
    let conn = host.conn();
    host.act(|_, cx| cx.send_bytes(conn, b"x"));
    host.expect(data(1).seq(1).ack(1));
}
