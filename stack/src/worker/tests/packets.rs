//! Features of IP: options, extension headers, fragments, foreign protocols, land, groups.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;

use super::host::{CLOSED, Flow, Host, OPEN, OUR_V4, OUR_V6, PEER_V4, PEER_V6};
use crate::config::ClosedPolicy;
use crate::counters::Counter;
use crate::nic::{ChecksumVerdict, RxChecksum};
use crate::tcp::lang::{ack, rst, syn, syn_ack};
use crate::wire::Defect;

/// Makes the IPv4 header checksum of an untagged frame right.
pub(super) fn fix_ipv4(frame: &mut [u8]) {
    let end = (14 + 4 * usize::from(frame[14] & 15)).min(frame.len());
    frame[24..26].fill(0);
    let sum = Sum16BitWords::new()
        .add_slice(&frame[14..end])
        .ones_complement();
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
}

/// Makes the ICMP checksum of an untagged frame without IP options right.
pub(super) fn fix_icmp(frame: &mut [u8]) {
    frame[36..38].fill(0);
    let sum = Sum16BitWords::new()
        .add_slice(&frame[34..])
        .ones_complement();
    frame[36..38].copy_from_slice(&sum.to_ne_bytes());
}

/// Puts IPv4 options (whole words) into an untagged frame.
fn with_ip_options(mut frame: Vec<u8>, options: &[u8]) -> Vec<u8> {
    frame.splice(34..34, options.iter().copied());
    frame[14] += (options.len() / 4) as u8;
    let total_len = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total_len.to_be_bytes());
    fix_ipv4(&mut frame);
    frame
}

/// Puts extension headers into an untagged frame; the first one is of kind `first`, the last one says "TCP".
pub(super) fn with_extensions(mut frame: Vec<u8>, first: u8, headers: &[u8]) -> Vec<u8> {
    frame.splice(54..54, headers.iter().copied());
    frame[20] = first;
    let payload_len = (frame.len() - 54) as u16;
    frame[18..20].copy_from_slice(&payload_len.to_be_bytes());
    frame
}

#[test]
fn ip_options_are_walked_over_and_do_not_return() {
    let mut host = Host::new();
    for options in [
        &[1, 1, 1, 0][..],
        &[148, 4, 0, 0],
        &[7, 39, 4, 0].repeat(10)[..40],
    ] {
        host.on(Flow::v4(1, CLOSED).absolute());
        let frame = with_ip_options(host.flow.frame(syn().seq(9).len(2)), options);
        host.inject_bytes(&frame).counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(12));
    }
    host.on(Flow::v4(1, OPEN));
    let frame = with_ip_options(host.flow.frame(syn().seq(0).mss(1460)), &[1, 1, 1, 0]);
    host.inject_bytes(&frame).counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
}

#[test]
fn extension_headers_are_walked_over_and_do_not_return() {
    let mut host = Host::new();
    // Hop-by-hop and destination options with padding inside, one after the other; a spent routing header.
    let options = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let chains: [(u8, Vec<u8>); 4] = [
        (0, options(6).to_vec()),
        (60, options(6).to_vec()),
        (0, [options(60), options(6)].concat()),
        (43, vec![6, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (first, headers) in chains {
        host.on(Flow::v6(1, CLOSED).absolute());
        let frame = with_extensions(host.flow.frame(syn().seq(9)), first, &headers);
        host.inject_bytes(&frame).counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(10));
    }
}

#[test]
fn extension_headers_that_a_host_must_refuse() {
    let mut host = Host::new();
    let refused: [(u8, &[u8], Defect); 5] = [
        (43, &[6, 0, 0, 1, 0, 0, 0, 0], Defect::Ipv6Routing),
        (0, &[6, 0, 0x80, 4, 0, 0, 0, 0], Defect::Ipv6Option),
        (
            0,
            &[6, 200, 1, 4, 0, 0, 0, 0],
            Defect::Ipv6ExtensionTruncated,
        ),
        (60, &[0, 0, 1, 4, 0, 0, 0, 0], Defect::Ipv6ExtensionChain),
        (59, &[], Defect::Ipv6NoNextHeader),
    ];
    for (first, headers, defect) in refused {
        let mut frame = with_extensions(Flow::v6(1, CLOSED).frame(syn()), first, headers);
        // To another host, so that the sender need not hear of it.
        frame[53] = 99;
        host.inject_bytes(&frame).refused(defect);
    }
}

/// "Don't fragment", and the reserved bit, are no fragments.
#[test]
fn what_may_not_be_cut_is_no_fragment() {
    let mut host = Host::new();
    for flags_fragment in [0u16, 0x4000] {
        host.on(Flow::v4(1, CLOSED).absolute());
        let mut frame = host.flow.frame(syn().seq(0));
        frame[20..22].copy_from_slice(&flags_fragment.to_be_bytes());
        fix_ipv4(&mut frame);
        host.inject_bytes(&frame).counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(1));
    }
}

/// RFC 7126 §4.3, §4.4: whether the route is used up (the pointer beyond the length) or not, for TCP and ICMP alike, and
/// behind other options.
#[test]
fn a_source_route_is_refused_wherever_its_pointer_stands() {
    let mut host = Host::new();
    for kind in [131, 137] {
        for pointer in [4, 8, 200] {
            let route = [kind, 7, pointer, 198, 18, 0, 9, 0];
            let behind = [&[1, 148, 4, 0, 0][..], &route[..7]].concat();
            for options in [&route[..], &behind] {
                for frame in [
                    Flow::v4(1, OPEN).frame(syn()),
                    Flow::v4(1, CLOSED).frame(syn()),
                    super::neighbors::echo_request_v4(b"who?"),
                ] {
                    host.inject_bytes(&with_ip_options(frame, options))
                        .refused(Defect::Ipv4SourceRoute);
                }
            }
        }
        // Behind the end of the list it is padding.
        let frame = with_ip_options(
            super::neighbors::echo_request_v4(b"who?"),
            &[0, kind, 7, 4, 1, 2, 3, 4],
        );
        host.inject_bytes(&frame).counted(Counter::EchoAnswered);
        host.next_reply();
    }
}

#[test]
fn ip_options_that_end_nowhere_are_refused() {
    let mut host = Host::new();
    for options in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 4, 0], [1, 1, 1, 7]] {
        let frame = with_ip_options(Flow::v4(1, OPEN).frame(syn()), &options);
        host.inject_bytes(&frame).refused(Defect::Ipv4Option);
    }
}

/// A packet longer than our link's MTU can't have come by it, and an answer to it may not leave by it.
#[test]
fn a_packet_longer_than_our_mtu_is_refused() {
    let mtu = 600;
    let mut host = Host::on_nic(
        |_| {},
        |nic| nic.caps_mut().mtu = mtu,
        crate::worker::RingEnd::single(),
    );
    let mtu = usize::from(mtu);
    for len in [mtu - 1, mtu, mtu + 1, mtu + 400] {
        let fits = len <= mtu;
        let echo = super::neighbors::echo_request_v4(&vec![7; len - 28]);
        host.inject_bytes(&echo);
        if fits {
            host.counted(Counter::EchoAnswered);
            assert_eq!(host.next_reply().len(), 14 + len);
        } else {
            host.counted(Counter::LongerThanMtu).silent();
        }
        for (flow, headers) in [(Flow::v4(1, CLOSED), 40), (Flow::v6(1, CLOSED), 60)] {
            host.on(flow.absolute());
            let payload_len = (len - headers) as u32;
            let frame = host.flow.frame(syn().seq(9).len(payload_len));
            // As the driver has verified it, and as it has not.
            for verdict in [ChecksumVerdict::Unknown, ChecksumVerdict::Good] {
                let verdict = RxChecksum {
                    ip: verdict,
                    l4: verdict,
                };
                let nic = host.nic();
                nic.caps_mut().rx_tcp_checksum = true;
                nic.caps_mut().rx_ipv4_checksum = true;
                let frame = nic.frame(&frame).with_rx_checksum(verdict);
                host.inject_frames(vec![frame]);
                if fits {
                    host.counted(Counter::RstSent);
                    host.expect(rst().seq(0).ack(10 + payload_len));
                } else {
                    host.counted(Counter::LongerThanMtu).silent();
                }
            }
        }
    }
    // Ethernet's padding is no part of the packet.
    let mut padded = super::neighbors::echo_request_v4(b"short");
    padded.resize(14 + mtu + 1, 0);
    host.inject_bytes(&padded).counted(Counter::EchoAnswered);
    host.next_reply();
}

#[test]
fn every_ip_protocol_but_ours_ends_under_one_name() {
    // Their senders hear of it, unless closed ports are to be silent.
    let mut host = Host::with(|spec| spec.closed = ClosedPolicy::Drop);
    for protocol in 0..=255u8 {
        if matches!(protocol, 1 | 6 | 17) {
            continue;
        }
        let mut frame = Flow::v4(1, OPEN).frame(syn());
        frame[23] = protocol;
        fix_ipv4(&mut frame);
        host.inject_bytes(&frame)
            .counted(Counter::IpProtocolUnsupported)
            .silent();
        frame[33] = 99;
        fix_ipv4(&mut frame);
        host.inject_bytes(&frame)
            .counted(Counter::NotOurIp)
            .silent();
    }
}

#[test]
fn a_land_frame_would_be_answered_to_ourselves() {
    let mut host = Host::new();
    for local_port in [OPEN, CLOSED] {
        let v4 = Flow::between((OUR_V4, OPEN).into(), (OUR_V4, local_port).into());
        host.on(v4).inject(syn()).counted(Counter::Land).silent();
        let v6 = Flow::between((OUR_V6, OPEN).into(), (OUR_V6, local_port).into());
        host.on(v6).inject(syn()).counted(Counter::Land).silent();
    }
}

#[test]
fn segments_to_somebody_else_or_to_a_group_are_not_answered() {
    let mut host = Host::new();
    let v4 = |dst: [u8; 4]| Flow::between((PEER_V4, 1).into(), (Ipv4Addr::from(dst), OPEN).into());
    let v6 = |dst: Ipv6Addr| Flow::between((PEER_V6, 1).into(), (dst, OPEN).into());
    for (flow, counter) in [
        (v4([198, 18, 0, 3]), Counter::NotOurIp),
        (v4([198, 18, 0, 255]), Counter::TcpToGroup), // our subnet's broadcast
        (v4([255, 255, 255, 255]), Counter::TcpToGroup),
        (v4([224, 0, 0, 1]), Counter::TcpToGroup),
        (v4([198, 18, 1, 255]), Counter::NotOurIp), // some other subnet's
        (
            v6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 9)),
            Counter::NotOurIp,
        ),
        (v6(crate::wire::ndp::ALL_NODES), Counter::TcpToGroup),
        (
            v6(crate::wire::ndp::solicited_node(OUR_V6)),
            Counter::TcpToGroup,
        ),
    ] {
        for spec in [syn(), ack(), rst()] {
            host.on(flow).inject(spec).counted(counter).silent();
        }
    }
    for dst in [[0, 0, 0, 0], [127, 0, 0, 1]] {
        host.on(v4(dst))
            .inject(syn())
            .refused(Defect::Ipv4Destination);
    }
    for dst in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST] {
        host.on(v6(dst))
            .inject(syn())
            .refused(Defect::Ipv6Destination);
    }
}

#[test]
fn a_reset_is_never_answered() {
    let mut host = Host::new();
    for flow in [Flow::v4(1, CLOSED), Flow::v6(1, CLOSED)] {
        for spec in [
            rst(),
            rst().ack(5),
            rst().seq(7).len(9),
            syn().with(rst().flags),
        ] {
            host.on(flow)
                .inject(spec)
                .counted(Counter::RstUnmatched)
                .silent();
        }
    }
    host.on(Flow::v4(1, OPEN))
        .inject(rst())
        .counted(Counter::ListenRst)
        .silent();
    host.inject(rst().ack(1))
        .counted(Counter::ListenRst)
        .silent();
}

#[test]
fn wrong_ip_headers_are_named() {
    let wrong = |at: usize, value: u8, defect: Defect| {
        let mut frame = Flow::v4(1, OPEN).frame(syn());
        frame[at] = value;
        fix_ipv4(&mut frame);
        Host::new().inject_bytes(&frame).refused(defect);
    };
    wrong(14, 0x65, Defect::Ipv4Version);
    wrong(14, 0x44, Defect::Ipv4HeaderLength);
    wrong(14, 0x4f, Defect::Ipv4TotalLength);
    wrong(17, 19, Defect::Ipv4TotalLength);
    wrong(16, 0x40, Defect::Ipv4TotalLength);
    let mut frame = Flow::v6(1, OPEN).frame(syn());
    frame[14] = 0x40;
    Host::new()
        .inject_bytes(&frame)
        .refused(Defect::Ipv6Version);
}
