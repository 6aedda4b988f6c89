//! Frames cut off at every length: never a panic, never an answer, and each length under the name of the header in which
//! the frame ends.

use super::host::{CLOSED, Flow, Host, LINK, OPEN, OUR_V4, OUR_V6, PEER_MAC, PEER_V4, PEER_V6};
use crate::counters::Counter;
use crate::tcp::lang::syn;
use crate::wire::{Defect, IpSpec, Link, arp, emit, ndp, vlan};

/// Cuts `frame` everywhere. `ends` lists in order up to which length (exclusive) which defect is due; behind the last
/// one the frame is whole.
#[track_caller]
fn cut(frame: &[u8], ends: &[(usize, Defect)]) {
    let mut host = Host::new();
    for len in 0..frame.len() {
        let defect = ends.iter().find(|(until, _)| len < *until);
        let (_, defect) = defect.unwrap_or_else(|| panic!("length {len} is not spoken for"));
        host.inject_bytes(&frame[..len]).silent();
        assert_eq!(host.ends(), [(defect.name(), 1)], "cut to {len} bytes");
    }
}

fn syn_with_options() -> crate::tcp::lang::Spec {
    syn().mss(1460).wscale(7).sack_ok().ts(1, 0).len(10)
}

fn tagged(mut flow: Flow) -> Flow {
    flow.link.vlan = Some(vlan::Tag::new(7));
    flow
}

const V4: [(usize, Defect); 3] = [
    (14, Defect::EthernetTruncated),
    (34, Defect::Ipv4Truncated),
    (usize::MAX, Defect::Ipv4TotalLength),
];

const V6: [(usize, Defect); 3] = [
    (14, Defect::EthernetTruncated),
    (54, Defect::Ipv6Truncated),
    (usize::MAX, Defect::Ipv6PayloadLength),
];

fn behind_a_tag(ends: [(usize, Defect); 3]) -> [(usize, Defect); 4] {
    let [_, (header, in_header), behind] = ends;
    [
        (14, Defect::EthernetTruncated),
        (18, Defect::VlanTruncated),
        (header + 4, in_header),
        behind,
    ]
}

#[test]
fn tcp_over_ipv4() {
    cut(&Flow::v4(1, OPEN).frame(syn_with_options()), &V4);
    cut(&Flow::v4(1, CLOSED).frame(syn_with_options()), &V4);
}

#[test]
fn tcp_over_ipv6() {
    cut(&Flow::v6(1, OPEN).frame(syn_with_options()), &V6);
    cut(&Flow::v6(1, CLOSED).frame(syn_with_options()), &V6);
}

#[test]
fn behind_a_vlan_tag() {
    let flow = tagged(Flow::v4(1, OPEN));
    cut(&flow.frame(syn_with_options()), &behind_a_tag(V4));
    let flow = tagged(Flow::v6(1, OPEN));
    cut(&flow.frame(syn_with_options()), &behind_a_tag(V6));
}

#[test]
fn arp_request() {
    let request = arp::Packet::request(PEER_MAC, PEER_V4, OUR_V4);
    let mut frame = [0; 64];
    let len = emit::arp(LINK, &request, &mut frame).expect("fits");
    let ends = [(14, Defect::EthernetTruncated), (42, Defect::ArpTruncated)];
    cut(&frame[..len], &ends);
}

#[test]
fn neighbor_solicitation() {
    let group = ndp::solicited_node(OUR_V6);
    let link = Link {
        dst: ndp::multicast_mac(group),
        ..LINK
    };
    let mut frame = [0; 128];
    let len = emit::neighbor_solicitation(link, PEER_V6, group, OUR_V6, &mut frame);
    cut(&frame[..len.expect("fits")], &V6);
}

#[test]
fn echo_requests() {
    let mut frame = [0; 128];
    let ip = IpSpec::new(PEER_V4.into(), OUR_V4.into());
    let len = emit::echo_request(LINK, &ip, 1, 2, b"abcdefgh", &mut frame).expect("fits");
    cut(&frame[..len], &V4);
    let ip = IpSpec::new(PEER_V6.into(), OUR_V6.into());
    let len = emit::echo_request(LINK, &ip, 1, 2, b"abcdefgh", &mut frame).expect("fits");
    cut(&frame[..len], &V6);
}

/// The packet itself is cut, with lengths and the header checksum of IP right for what is left.
#[test]
fn a_segment_that_ends_early_inside_a_whole_packet() {
    let mut host = Host::new();
    let whole = Flow::v4(1, OPEN).frame(syn_with_options());
    // 20 bytes and the options: MSS, window scale, SACK-permitted, timestamps.
    let header_len = usize::from(whole[34 + 12] >> 4) * 4;
    for segment_len in 0..whole.len() - 34 {
        let mut frame = whole[..34 + segment_len].to_vec();
        frame[16..18].copy_from_slice(&(20 + segment_len as u16).to_be_bytes());
        super::packets::fix_ipv4(&mut frame);
        host.inject_bytes(&frame).refused(match segment_len {
            0..20 => Defect::TcpTruncated,
            len if len < header_len => Defect::TcpDataOffset,
            _ => Defect::TcpChecksum,
        });
        let mut frame = Flow::v6(1, OPEN).frame(syn_with_options());
        frame.truncate(54 + segment_len);
        frame[18..20].copy_from_slice(&(segment_len as u16).to_be_bytes());
        host.inject_bytes(&frame).refused(match segment_len {
            0..20 => Defect::TcpTruncated,
            len if len < header_len => Defect::TcpDataOffset,
            _ => Defect::TcpChecksum,
        });
    }
    assert_eq!(host.count(Counter::TxFrames), 0);
}

/// Errors that quote a connection of ours, cut everywhere, and with less and less of a quote.
#[test]
fn icmp_errors_that_quote_too_little() {
    let whole = super::neighbors::port_unreachable_v4();
    cut(&whole, &V4);
    let mut host = Host::new();
    for message_len in 0..whole.len() - 34 {
        let mut frame = whole[..34 + message_len].to_vec();
        frame[16..18].copy_from_slice(&(20 + message_len as u16).to_be_bytes());
        super::packets::fix_ipv4(&mut frame);
        if message_len < 8 {
            host.inject_bytes(&frame).refused(Defect::IcmpTruncated);
            continue;
        }
        super::packets::fix_icmp(&mut frame);
        let quoted_len = message_len - 8;
        // The quoted header and eight bytes behind it name the connection (RFC 792).
        let end = if quoted_len < 28 {
            Defect::IcmpQuote.name()
        } else {
            Counter::IcmpErrorUnmatched.name()
        };
        host.inject_bytes(&frame).silent();
        assert_eq!(host.ends(), [(end, 1)], "{quoted_len} bytes quoted");
    }
}
