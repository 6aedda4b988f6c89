//! ICMP errors that we send: about UDP, foreign protocols, and IPv6 headers that can't be processed; and about what we never
//! send any.

use core::net::{IpAddr, Ipv6Addr};

use etherparse::{PacketBuilder, TransportSlice};

use super::answer::slices;
use super::host::{CLOSED, Flow, Host, OPEN, OUR_MAC, OUR_V4, OUR_V6, PEER_MAC, PEER_V4, PEER_V6};
use super::packets::{fix_ipv4, with_extensions};
use crate::config::ClosedPolicy;
use crate::counters::Counter;
use crate::tcp::lang::syn;
use crate::wire::{Defect, MacAddr, ndp};

/// The next header of an experiment (RFC 3692), which no host speaks.
const UNKNOWN: u8 = 253;

/// Type and code of an ICMP error, and the bytes that it quotes.
#[track_caller]
fn error(reply: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let packet = slices(reply);
    let (kind, code, rest, payload) = match packet.transport {
        Some(TransportSlice::Icmpv4(icmp)) => (
            icmp.type_u8(),
            icmp.code_u8(),
            icmp.bytes5to8(),
            icmp.payload(),
        ),
        Some(TransportSlice::Icmpv6(icmp)) => (
            icmp.type_u8(),
            icmp.code_u8(),
            icmp.bytes5to8(),
            icmp.payload(),
        ),
        other => panic!("no ICMP: {other:?}"),
    };
    (kind, code, u32::from_be_bytes(rest), payload.to_vec())
}

fn udp(src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(PEER_MAC.0, OUR_MAC.0);
    let ip = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => link.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => link.ipv6(src.octets(), dst.octets(), 64),
        _ => unreachable!("of one family"),
    };
    let mut frame = Vec::new();
    ip.udp(40_000, 53)
        .write(&mut frame, b"query")
        .expect("written");
    frame
}

fn udp_v4() -> Vec<u8> {
    udp(PEER_V4.into(), OUR_V4.into())
}

/// The frame of a foreign protocol.
fn protocol_v4(protocol: u8) -> Vec<u8> {
    let mut frame = Flow::v4(1, OPEN).frame(syn());
    frame[23] = protocol;
    fix_ipv4(&mut frame);
    frame
}

/// A segment to us behind these extension headers.
fn extended(first: u8, headers: &[u8]) -> Vec<u8> {
    with_extensions(Flow::v6(1, CLOSED).frame(syn()), first, headers)
}

/// To another address, and to its group on the link where it is one.
fn redirected(mut frame: Vec<u8>, dst: Ipv6Addr) -> Vec<u8> {
    frame[38..54].copy_from_slice(&dst.octets());
    if dst.is_multicast() {
        frame[..6].copy_from_slice(&ndp::multicast_mac(dst).0);
    }
    frame
}

#[test]
fn udp_is_told_that_its_port_is_unreachable() {
    let mut host = Host::new();
    for (frame, kind, code) in [(udp_v4(), 3, 3), (udp(PEER_V6.into(), OUR_V6.into()), 1, 4)] {
        host.inject_bytes(&frame).counted(Counter::UdpClosed);
        let reply = host.next_reply();
        assert_eq!(error(&reply), (kind, code, 0, frame[14..].to_vec()));
        assert_eq!((&reply[..6], &reply[6..12]), (&frame[6..12], &frame[..6]));
    }
    assert_eq!(host.count(Counter::IcmpErrorsSent), 2);
    let mut corrupt = udp_v4();
    *corrupt.last_mut().expect("bytes") ^= 1;
    host.inject_bytes(&corrupt).refused(Defect::UdpChecksum);
}

#[test]
fn a_foreign_protocol_is_told_that_it_is_unreachable() {
    let mut host = Host::with(|spec| spec.limits.icmp_errors_pps = 1_000_000);
    for protocol in (0..=255u8).filter(|protocol| !matches!(protocol, 1 | 6 | 17)) {
        let frame = protocol_v4(protocol);
        host.inject_bytes(&frame)
            .counted(Counter::IpProtocolUnsupported);
        assert_eq!(error(&host.next_reply()), (3, 2, 0, frame[14..].to_vec()));
    }
}

/// RFC 8200 §4: the pointer names the field that named it.
#[test]
fn an_unknown_next_header_is_a_parameter_problem() {
    let mut host = Host::new();
    let options = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let hop_by_hop_again = [options(0), options(6)].concat();
    for (first, headers, pointer, counter) in [
        (UNKNOWN, vec![], 6, Some(Counter::IpProtocolUnsupported)),
        (50, vec![], 6, Some(Counter::IpProtocolUnsupported)),
        (1, vec![], 6, Some(Counter::IpProtocolUnsupported)),
        (
            60,
            options(UNKNOWN).to_vec(),
            40,
            Some(Counter::IpProtocolUnsupported),
        ),
        (
            0,
            [options(60), options(UNKNOWN)].concat(),
            48,
            Some(Counter::IpProtocolUnsupported),
        ),
        (60, hop_by_hop_again, 40, None),
    ] {
        let frame = extended(first, &headers);
        host.inject_bytes(&frame);
        match counter {
            Some(counter) => host.counted(counter),
            None => {
                assert_eq!(host.ends(), [(Defect::Ipv6ExtensionChain.name(), 1)]);
                &mut host
            }
        };
        assert_eq!(
            error(&host.next_reply()),
            (4, 1, pointer, frame[14..].to_vec())
        );
    }
    // Nothing follows: discarded in silence (§4.7).
    host.inject_bytes(&extended(59, &[]))
        .refused(Defect::Ipv6NoNextHeader);
}

/// RFC 8200 §4.2: the two high bits say what becomes of a packet with an unknown option.
#[test]
fn an_unknown_option_says_itself_what_becomes_of_its_packet() {
    let mut host = Host::new();
    for (kind, to_us, to_group) in [
        (0x3e, None, None),
        (0x7e, Some(false), Some(false)),
        (0xbe, Some(true), Some(true)),
        (0xfe, Some(true), Some(false)),
    ] {
        for first in [0, 60] {
            // Behind a padding of one byte and one of two.
            let headers = [6, 1, 0, 1, 0, kind, 4, 9, 9, 9, 9, 0, 1, 2, 0, 0];
            let frame = extended(first, &headers);
            for (dst, reported) in [(OUR_V6, to_us), (ndp::ALL_NODES, to_group)] {
                let frame = redirected(frame.clone(), dst);
                host.inject_bytes(&frame);
                let Some(reported) = reported else {
                    // Skipped: what is wrong now is the group, or the port.
                    host.try_reply();
                    continue;
                };
                assert_eq!(host.ends(), [(Defect::Ipv6Option.name(), 1)], "{kind:#x}");
                if reported {
                    let reply = host.next_reply();
                    assert_eq!(error(&reply), (4, 2, 45, frame[14..].to_vec()), "{kind:#x}");
                    assert_eq!(reply[22..38], OUR_V6.octets(), "from an address of ours");
                    assert_eq!(reply[6..12], OUR_MAC.0);
                }
                host.silent();
            }
        }
    }
    // An option that ends behind its header: its length makes no sense.
    let frame = extended(60, &[6, 0, 0x3e, 5, 0, 0, 0, 0]);
    host.inject_bytes(&frame);
    assert_eq!(error(&host.next_reply()), (4, 0, 43, frame[14..].to_vec()));
}

/// RFC 8200 §4.4: the pointer names the type; of a used-up route the rest is processed.
#[test]
fn a_routing_header_with_segments_left_is_a_parameter_problem() {
    let mut host = Host::new();
    for kind in [0, 2, 4, 99] {
        let frame = extended(43, &[6, 0, kind, 1, 0, 0, 0, 0]);
        host.inject_bytes(&frame);
        assert_eq!(host.ends(), [(Defect::Ipv6Routing.name(), 1)]);
        assert_eq!(error(&host.next_reply()), (4, 0, 42, frame[14..].to_vec()));
        host.inject_bytes(&extended(43, &[6, 0, kind, 0, 0, 0, 0, 0]))
            .counted(Counter::RstSent);
        host.next_reply();
    }
}

/// RFC 1122 §3.2.2, RFC 4443 §2.4 (e).
#[test]
fn what_may_not_be_reported_is_not() {
    let mut host = Host::new();
    let option = [6, 0, 0xbe, 4, 0, 0, 0, 0];
    let with_option = || extended(60, &option);
    let changed = |mut frame: Vec<u8>, at: usize, bytes: &[u8]| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let ipv4 = |mut frame: Vec<u8>, at: usize, bytes: &[u8]| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        fix_ipv4(&mut frame);
        frame
    };
    // Groups: of the link, of IP, and one that we aren't in.
    let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    let elsewhere: Ipv6Addr = "ff0e::1234".parse().expect("an address");
    let silent = [
        changed(protocol_v4(99), 0, &MacAddr::BROADCAST.0),
        ipv4(protocol_v4(99), 30, &[198, 18, 0, 255]),
        ipv4(protocol_v4(99), 30, &[224, 0, 0, 1]),
        changed(udp(PEER_V6.into(), OUR_V6.into()), 0, &group.0),
        udp(PEER_V6.into(), ndp::ALL_NODES.into()),
        redirected(with_option(), elsewhere),
        redirected(with_option(), "ff02::2".parse().expect("all routers")),
        // For another host, on the link or in IP.
        changed(with_option(), 0, &[2, 0, 0, 0, 0, 9]),
        redirected(with_option(), PEER_V6),
        ipv4(protocol_v4(99), 33, &[99]),
        // From no address, from a group, from a broadcast address, from ourselves.
        changed(with_option(), 22, &[0; 16]),
        changed(with_option(), 22, &ndp::ALL_NODES.octets()),
        changed(with_option(), 22, &OUR_V6.octets()),
        ipv4(protocol_v4(99), 26, &[198, 18, 0, 255]),
        ipv4(protocol_v4(99), 26, &OUR_V4.octets()),
        // Fragments.
        ipv4(protocol_v4(99), 20, &[0x20, 0]),
        ipv4(protocol_v4(99), 20, &[0, 1]),
        extended(60, &[44, 0, 0xbe, 4, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 1]),
        extended(60, &[44, 0, 0xbe, 4, 0, 0, 0, 0, 6, 0, 0, 8, 0, 0, 0, 1]),
        // An ICMPv6 error and a redirect, behind one header and behind two.
        changed(extended(60, &[58, 0, 0xbe, 4, 0, 0, 0, 0]), 62, &[1, 4]),
        changed(extended(60, &[58, 0, 0xbe, 4, 0, 0, 0, 0]), 62, &[137, 0]),
        changed(
            extended(60, &[43, 0, 0xbe, 4, 0, 0, 0, 0, 58, 0, 9, 1, 0, 0, 0, 0]),
            70,
            &[4, 0],
        ),
    ];
    for (case, frame) in silent.iter().enumerate() {
        host.inject_bytes(frame);
        assert_eq!(host.try_reply(), None, "case {case}: {:?}", host.ends());
    }
    assert_eq!(host.count(Counter::IcmpErrorsSent), 0);
    // And what would have been reported but for that.
    for frame in [
        with_option(),
        protocol_v4(99),
        changed(extended(60, &[58, 0, 0xbe, 4, 0, 0, 0, 0]), 62, &[128, 0]),
    ] {
        host.inject_bytes(&frame).next_reply();
    }
}

#[test]
fn reports_share_the_limit_of_icmp_errors() {
    let mut host = Host::with(|spec| spec.limits.icmp_errors_pps = 10);
    let mut sent = 0;
    for _ in 0..20 {
        for frame in [udp_v4(), protocol_v4(99), extended(UNKNOWN, &[])] {
            host.inject_bytes(&frame);
            sent += u64::from(host.try_reply().is_some());
        }
    }
    assert!((1..=20).contains(&sent), "{sent}");
    assert_eq!(host.count(Counter::IcmpErrorsSent), sent);
    assert_eq!(host.count(Counter::IcmpErrorsLimited), 60 - sent);
    host.wait_ms(100).inject_bytes(&udp_v4());
    host.next_reply();
}

/// `--closed drop`: nothing betrays a host there but what IP itself wants.
#[test]
fn closed_ports_that_are_silent_are_so_for_all_protocols() {
    let mut host = Host::with(|spec| spec.closed = ClosedPolicy::Drop);
    for (frame, counter) in [
        (udp_v4(), Counter::UdpClosed),
        (protocol_v4(99), Counter::IpProtocolUnsupported),
    ] {
        host.inject_bytes(&frame).counted(counter).silent();
    }
    host.inject_bytes(&extended(UNKNOWN, &[])).next_reply();
}

/// A report is as long as its family allows, and quotes the beginning.
#[test]
fn a_long_packet_is_quoted_in_part() {
    let mut host = Host::new();
    let flow = Flow::v6(1, CLOSED);
    let frame = with_extensions(flow.frame(syn().len(1400)), UNKNOWN, &[]);
    host.inject_bytes(&frame);
    let reply = host.next_reply();
    assert_eq!(reply.len(), 14 + 1280);
    assert_eq!(error(&reply).3, frame[14..14 + 1232]);
    let mut frame = Flow::v4(1, CLOSED).frame(syn().len(1400));
    frame[23] = 99;
    fix_ipv4(&mut frame);
    host.inject_bytes(&frame);
    let reply = host.next_reply();
    assert_eq!(reply.len(), 14 + 576);
    assert_eq!(error(&reply).3, frame[14..14 + 548]);
}
