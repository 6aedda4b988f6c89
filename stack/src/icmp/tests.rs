//! Tests of the stateless answers and the quoting parser, against what the Linux kernel answers to the same frames.

use super::report::{MAX_ERROR_LEN_V4, MAX_ERROR_LEN_V6};
use super::*;
use crate::seq::SeqNum;
use crate::wire::golden::{self, bytes};
use crate::wire::{SegmentSpec, vlan};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use proptest::prelude::*;

const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const SERVER4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);

fn link() -> Link {
    Link {
        dst: SERVER_MAC,
        src: CLIENT_MAC,
        vlan: None,
    }
}

fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    frame
}

#[track_caller]
fn valid(frame: &[u8]) -> Parsed<'_> {
    let parsed = parse(frame).unwrap();
    assert_eq!(parsed.verify_checksums(true, true), Ok(()));
    parsed
}

#[test]
fn a_ping_is_answered_as_the_kernel_does() {
    let mut frame = bytes(golden::PING_REQUEST);
    let len = echo_reply(&mut frame, SERVER_MAC, None).unwrap();
    let kernels = bytes(golden::PING_REPLY);
    valid(&frame[..len]);
    assert_eq!(len, kernels.len());
    // Identification, DF and with them the header checksum are each stack's own.
    assert_eq!(frame[..18], kernels[..18]);
    assert_eq!(frame[22..24], kernels[22..24]);
    assert_eq!(frame[26..len], kernels[26..]);
}

#[test]
fn a_ping_over_ipv6_is_answered_as_the_kernel_does() {
    let mut frame = bytes(golden::PING6_REQUEST);
    let len = echo_reply(&mut frame, SERVER_MAC, None).unwrap();
    let mut kernels = bytes(golden::PING6_REPLY);
    kernels[15..18].fill(0); // the flow label
    valid(&frame[..len]);
    assert_eq!(frame[..len], kernels);
}

#[test]
fn padding_is_cut_and_the_vlan_stays() {
    for hex in [golden::PING_REQUEST, golden::PING6_REQUEST] {
        let mut frame = tagged(bytes(hex));
        let whole = frame.len();
        frame.extend([0xee; 7]);
        let len = echo_reply(&mut frame, SERVER_MAC, None).unwrap();
        assert_eq!(len, whole);
        assert_eq!(valid(&frame[..len]).link.vlan, Some(vlan::Tag::new(7)));
    }
}

/// The update must not bless data that was corrupted before it came here.
#[test]
fn a_corrupt_request_stays_recognisable() {
    for (hex, defect) in [
        (golden::PING_REQUEST, Defect::IcmpChecksum),
        (golden::PING6_REQUEST, Defect::Icmpv6Checksum),
    ] {
        let mut frame = bytes(hex);
        *frame.last_mut().unwrap() ^= 0x10;
        let len = echo_reply(&mut frame, SERVER_MAC, None).unwrap();
        assert_eq!(
            parse(&frame[..len]).unwrap().verify_checksums(true, true),
            Err(defect)
        );
    }
}

#[test]
fn pings_to_groups_get_no_answer_over_ipv4() {
    let changes: [&[(usize, u8)]; 3] = [
        &[(30, 224), (31, 0), (32, 0), (33, 1)],
        &[(30, 255), (31, 255), (32, 255), (33, 255)],
        &[(0, 0xff)], // a link-layer group around a host's address
    ];
    for changes in changes {
        let mut frame = bytes(golden::PING_REQUEST);
        for (at, value) in changes {
            frame[*at] = *value;
        }
        let before = frame.clone();
        let answer = echo_reply(&mut frame, SERVER_MAC, Some(SERVER6));
        assert_eq!(answer, Err(Refusal::GroupDestination));
        assert_eq!(frame, before);
    }
}

#[test]
fn a_ping_to_an_ipv6_group_is_answered_from_a_hosts_address() {
    let to_group = Link {
        dst: ndp::multicast_mac(ndp::ALL_NODES),
        ..link()
    };
    let mut ip = IpSpec::new(CLIENT6.into(), ndp::ALL_NODES.into());
    ip.dscp_ecn = 0xbb;
    let mut frame = [0; 200];
    let len = emit::echo_request(to_group, &ip, 0xbeef, 7, b"who is there?", &mut frame).unwrap();
    let mut silent = frame;
    let answer = echo_reply(&mut silent[..len], SERVER_MAC, None);
    assert_eq!(answer, Err(Refusal::GroupDestination));
    let len = echo_reply(&mut frame[..len], SERVER_MAC, Some(SERVER6)).unwrap();
    let parsed = valid(&frame[..len]);
    assert_eq!(parsed.addresses(), Some((SERVER6.into(), CLIENT6.into())));
    assert_eq!((parsed.link.dst, parsed.link.src), (CLIENT_MAC, SERVER_MAC));
    let Network::Ipv6 {
        packet,
        transport: Transport::Icmpv6(reply),
    } = parsed.network
    else {
        panic!()
    };
    assert_eq!(
        (packet.header.hop_limit, packet.header.dscp_ecn()),
        (64, 0xb8)
    );
    assert_eq!(
        (reply.header.kind, reply.header.rest.get()),
        (129, 0xbeef_0007)
    );
    assert_eq!(reply.body, b"who is there?");
}

#[test]
fn a_ping_from_nobody_gets_no_answer() {
    let ip = IpSpec::new(Ipv6Addr::UNSPECIFIED.into(), SERVER6.into());
    let mut frame = [0; 100];
    let len = emit::echo_request(link(), &ip, 1, 1, b"", &mut frame).unwrap();
    assert_eq!(
        echo_reply(&mut frame[..len], SERVER_MAC, None),
        Err(Refusal::Source)
    );
}

#[test]
fn what_is_no_echo_request_gets_no_echo_reply() {
    for (name, hex) in golden::ALL {
        if name.ends_with("REQUEST") && name.starts_with("PING") {
            continue;
        }
        let answer = echo_reply(&mut bytes(hex), SERVER_MAC, Some(SERVER6));
        assert_eq!(answer, Err(Refusal::NotARequest), "{name}");
    }
    let mut odd_code = bytes(golden::PING_REQUEST);
    odd_code[35] = 1;
    assert_eq!(
        echo_reply(&mut odd_code, SERVER_MAC, None),
        Err(Refusal::NotARequest)
    );
}

#[test]
fn options_and_extension_headers_do_not_return() {
    let mut frame = bytes(golden::PING_REQUEST);
    frame.splice(34..34, [0x07, 0x07, 0x04, 198, 18, 0, 9, 0]); // a record of the route
    (frame[14], frame[17]) = (0x47, frame[17] + 8);
    let len = echo_reply(&mut frame, SERVER_MAC, None).unwrap();
    assert_eq!(valid(&frame[..len]).l4_offset(), 34);
    assert_eq!(frame[42..len], bytes(golden::PING_REQUEST)[42..]);

    let mut frame = bytes(golden::PING6_REQUEST);
    frame.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
    (frame[20], frame[19]) = (60, frame[19] + 8);
    let len = echo_reply(&mut frame, SERVER_MAC, None).unwrap();
    assert_eq!(valid(&frame[..len]).l4_offset(), 54);
    assert_eq!(frame[62..len], bytes(golden::PING6_REQUEST)[62..]);
}

proptest! {
    #[test]
    fn echo_returns_everything(
        v6: bool, ident: u16, seq: u16, data in proptest::collection::vec(any::<u8>(), 0..1400),
    ) {
        let ip = if v6 {
            IpSpec::new(CLIENT6.into(), SERVER6.into())
        } else {
            IpSpec::new(CLIENT4.into(), SERVER4.into())
        };
        let mut frame = [0; 1500];
        let len = emit::echo_request(link(), &ip, ident, seq, &data, &mut frame).unwrap();
        let len = echo_reply(&mut frame[..len], SERVER_MAC, None).unwrap();
        let parsed = parse(&frame[..len]).unwrap();
        prop_assert_eq!(parsed.verify_checksums(true, true), Ok(()));
        let at = parsed.l4_offset();
        prop_assert_eq!(frame[at], if v6 { 129 } else { 0 });
        let wanted = [ident.to_be_bytes(), seq.to_be_bytes()].concat();
        prop_assert_eq!(&frame[at + 4..at + 8], wanted.as_slice());
        prop_assert_eq!(&frame[at + 8..len], data.as_slice());
    }

    /// Whatever comes in, what goes out is well-formed, goes to a host, and is right.
    #[test]
    fn arbitrary_frames_are_refused_or_answered_rightly(
        which in 0..golden::ALL.len(), changes in proptest::collection::vec((0usize..80, any::<u8>()), 0..3),
    ) {
        let mut original = bytes(golden::ALL[which].1);
        for (at, value) in changes {
            if let Some(place) = original.get_mut(at) {
                *place = value;
            }
        }
        let checked = parse(&original).and_then(|parsed| parsed.verify_checksums(true, true));
        let room = [original.as_slice(), &[0; 60]].concat();
        let mut answers: [Vec<u8>; 4] = core::array::from_fn(|_| room.clone());
        let lens = [
            echo_reply(&mut answers[0], SERVER_MAC, Some(SERVER6)),
            arp_reply(&mut answers[1], SERVER_MAC),
            neighbor_reply(&mut answers[2], SERVER_MAC),
            port_unreachable(&mut answers[3], SERVER_MAC),
        ];
        for (answer, len) in answers.iter().zip(lens) {
            match len {
                Ok(len) => {
                    let parsed = match parse(&answer[..len]) {
                        Ok(parsed) => parsed,
                        // That the address asked for can be ours is the caller's to know.
                        Err(Defect::Ipv4Source | Defect::Ipv6Source | Defect::ArpSenderIp) => continue,
                        Err(defect) => panic!("{defect:?}"),
                    };
                    prop_assert_eq!(parsed.end_offset(), len);
                    if checked.is_ok() {
                        prop_assert_eq!(parsed.verify_checksums(true, true), Ok(()));
                    }
                }
                Err(_) => prop_assert_eq!(answer, &room),
            }
        }
    }
}

#[test]
fn arp_is_answered_as_the_kernel_does() {
    let mut frame = bytes(golden::ARP_REQUEST);
    frame.extend([0; 18]);
    let len = arp_reply(&mut frame, SERVER_MAC).unwrap();
    assert_eq!(frame[..len], bytes(golden::ARP_REPLY));
    let mut frame = tagged(bytes(golden::ARP_REQUEST));
    let len = arp_reply(&mut frame, SERVER_MAC).unwrap();
    assert_eq!(frame[..len], tagged(bytes(golden::ARP_REPLY)));
    assert_eq!(
        arp_reply(&mut bytes(golden::ARP_REPLY), SERVER_MAC),
        Err(Refusal::NotARequest)
    );
    assert_eq!(
        arp_reply(&mut bytes(golden::SYN), SERVER_MAC),
        Err(Refusal::NotARequest)
    );
}

/// RFC 5227 §2.1.1: a host that probes our address must hear that it is taken.
#[test]
fn an_arp_probe_is_answered() {
    let mut frame = bytes(golden::ARP_REQUEST);
    frame[28..32].fill(0);
    let len = arp_reply(&mut frame, SERVER_MAC).unwrap();
    let Network::Arp(reply) = parse(&frame[..len]).unwrap().network else {
        panic!()
    };
    assert_eq!(
        (reply.sender_addr(), reply.target_addr()),
        (SERVER4, Ipv4Addr::UNSPECIFIED)
    );
    assert_eq!(
        (reply.sender_mac, reply.target_mac),
        (SERVER_MAC, CLIENT_MAC)
    );
}

#[test]
fn a_solicitation_is_answered_as_the_kernel_does() {
    let mut frame = bytes(golden::NEIGHBOR_SOLICITATION);
    let len = neighbor_reply(&mut frame, SERVER_MAC).unwrap();
    assert_eq!(frame[..len], bytes(golden::NEIGHBOR_ADVERTISEMENT));
    for hex in [
        golden::NEIGHBOR_ADVERTISEMENT,
        golden::ROUTER_SOLICITATION,
        golden::SYN6,
    ] {
        assert!(neighbor_reply(&mut bytes(hex), SERVER_MAC).is_err());
    }
    let mut from_afar = bytes(golden::NEIGHBOR_SOLICITATION);
    from_afar[21] = 64;
    let answer = neighbor_reply(&mut from_afar, SERVER_MAC);
    assert_eq!(answer, Err(Refusal::Malformed(Defect::NdpHopLimit)));
}

/// RFC 4861 §7.2.4: the question is unsolicited, so all hear the answer.
#[test]
fn duplicate_detection_is_answered_to_all_nodes() {
    let group = ndp::solicited_node(SERVER6);
    let to_group = Link {
        dst: ndp::multicast_mac(group),
        src: CLIENT_MAC,
        vlan: None,
    };
    let mut frame = vec![0; 78];
    let nobody = Ipv6Addr::UNSPECIFIED;
    emit::neighbor_solicitation(to_group, nobody, group, SERVER6, &mut frame).unwrap();
    let before = frame.clone();
    let answer = neighbor_reply(&mut frame, SERVER_MAC);
    assert_eq!(answer, Err(Refusal::NoRoom { needed: 86 }));
    assert_eq!(frame, before);
    frame.resize(86, 0);
    assert_eq!(neighbor_reply(&mut frame, SERVER_MAC), Ok(86));
    let parsed = valid(&frame);
    assert_eq!(parsed.link.dst, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(
        parsed.addresses(),
        Some((SERVER6.into(), ndp::ALL_NODES.into()))
    );
    let Network::Ipv6 {
        packet,
        transport: Transport::Icmpv6(message),
    } = parsed.network
    else {
        panic!()
    };
    let expected = ndp::Message::NeighborAdvertisement {
        target: SERVER6,
        target_lladdr: Some(SERVER_MAC),
        router: false,
        solicited: false,
        overriding: true,
    };
    assert_eq!(ndp::parse(packet.header, message), Ok(expected));
}

#[test]
fn a_closed_port_is_reported_as_the_kernel_does() {
    let pairs = [
        (golden::UDP, golden::PORT_UNREACHABLE, 34),
        (golden::UDP6, golden::PORT_UNREACHABLE6, 54),
    ];
    for (hex, kernels, l4) in pairs {
        let (mut frame, kernels) = (bytes(hex), bytes(kernels));
        let answer = port_unreachable(&mut frame, SERVER_MAC);
        assert_eq!(
            answer,
            Err(Refusal::NoRoom {
                needed: kernels.len()
            })
        );
        assert_eq!(frame, bytes(hex));
        frame.resize(kernels.len(), 0);
        let len = port_unreachable(&mut frame, SERVER_MAC).unwrap();
        let (ours, theirs) = (valid(&frame[..len]), parse(&kernels).unwrap());
        assert_eq!(
            (ours.link, ours.addresses()),
            (theirs.link, theirs.addresses())
        );
        assert_eq!(frame[l4..len], kernels[l4..]);
    }
}

#[test]
fn quotes_end_at_the_limit_of_their_family() {
    let payload = [0x5a; 1400];
    let pairs: [(IpAddr, IpAddr, usize); 2] = [
        (CLIENT4.into(), SERVER4.into(), 14 + MAX_ERROR_LEN_V4),
        (CLIENT6.into(), SERVER6.into(), 14 + MAX_ERROR_LEN_V6),
    ];
    for (src, dst, expected) in pairs {
        let mut spec = SegmentSpec::new(
            link(),
            SocketAddr::new(src, 40_000),
            SocketAddr::new(dst, 81),
        );
        (spec.seq, spec.payload) = (SeqNum(0xfeed_beef), &payload);
        let mut frame = [0; 1600];
        let len = spec.emit(&mut frame).unwrap();
        let len = port_unreachable(&mut frame[..len], SERVER_MAC).unwrap();
        assert_eq!(len, expected);
        let error = parse_error(&valid(&frame[..len])).unwrap();
        assert_eq!(error.kind, ErrorKind::Unreachable(Unreachable::Port));
        let headers = if src.is_ipv4() { 40 } else { 60 };
        let quote = Quote {
            packet_len: headers + payload.len() as u32,
            src,
            dst,
            protocol: ip_protocol::TCP,
            src_port: 40_000,
            dst_port: 81,
            seq: SeqNum(0xfeed_beef),
        };
        assert_eq!(error.quote, quote);
    }
}

#[test]
fn errors_and_groups_are_never_answered_with_errors() {
    let refused = |mut frame: Vec<u8>, expected| {
        frame.resize(frame.len() + 60, 0);
        assert_eq!(port_unreachable(&mut frame, SERVER_MAC), Err(expected));
    };
    refused(bytes(golden::PORT_UNREACHABLE), Refusal::NotARequest);
    refused(bytes(golden::PORT_UNREACHABLE6), Refusal::NotARequest);
    refused(bytes(golden::PING_REQUEST), Refusal::NotARequest);
    refused(bytes(golden::ARP_REQUEST), Refusal::NotARequest);
    for at in [0, 30] {
        let mut frame = bytes(golden::UDP);
        frame[at] = if at == 0 { 1 } else { 224 };
        refused(frame, Refusal::GroupDestination);
    }
    let mut frame = bytes(golden::UDP);
    frame[30..34].fill(255);
    refused(frame, Refusal::GroupDestination);
    let mut frame = bytes(golden::UDP6);
    frame[38] = 0xff;
    refused(frame, Refusal::GroupDestination);
    let mut fragment = bytes(golden::UDP);
    fragment[21] = 1;
    refused(fragment, Refusal::Malformed(Defect::Ipv4Fragment));
}

/// An error over `quote`, as a router would send it.
fn error_v4(kind: u8, code: u8, rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 34];
    frame.extend([kind, code, 0, 0]);
    frame.extend(rest);
    frame.extend(quote);
    let ip = IpSpec::new(CLIENT4.into(), SERVER4.into());
    let range = 34..frame.len();
    emit::ip_in_place(link(), &ip, ip_protocol::ICMP, &mut frame, range).unwrap();
    frame
}

fn error_v6(kind: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 54];
    frame.extend([kind, code, 0, 0]);
    frame.extend(rest.to_be_bytes());
    frame.extend(quote);
    let ip = IpSpec::new(CLIENT6.into(), SERVER6.into());
    let range = 54..frame.len();
    emit::ip_in_place(link(), &ip, ip_protocol::ICMPV6, &mut frame, range).unwrap();
    frame
}

#[test]
fn every_code_has_its_kind() {
    let quote = bytes(golden::SYN)[14..].to_vec();
    let kind_of = |kind, code, rest| {
        parse_error(&parse(&error_v4(kind, code, rest, &quote)).unwrap()).map(|e| e.kind)
    };
    use Unreachable::{Host, Network, Other, Port, Prohibited, Protocol, SourceRoute};
    let codes = [
        Network,
        Host,
        Protocol,
        Port,
        Other(4),
        SourceRoute,
        Network,
        Host,
        Network,
        Prohibited,
        Prohibited,
        Network,
        Host,
        Prohibited,
        Other(14),
        Other(15),
    ];
    for (code, unreachable) in codes.into_iter().enumerate().filter(|(code, _)| *code != 4) {
        assert_eq!(
            kind_of(3, code as u8, [0; 4]),
            Ok(ErrorKind::Unreachable(unreachable))
        );
    }
    assert_eq!(
        kind_of(3, 4, [0, 0, 0x05, 0x14]),
        Ok(ErrorKind::TooBig { mtu: 1300 })
    );
    assert_eq!(
        kind_of(11, 0, [0; 4]),
        Ok(ErrorKind::TimeExceeded { code: 0 })
    );
    let problem = ErrorKind::ParameterProblem {
        code: 0,
        pointer: 20,
    };
    assert_eq!(kind_of(12, 0, [20, 0, 0, 0]), Ok(problem));
    for kind in [0, 4, 5, 8, 13, 200] {
        assert_eq!(
            kind_of(kind, 0, [0; 4]),
            Err(Defect::IcmpType),
            "MUST-55 and others"
        );
    }
}

#[test]
fn every_icmpv6_code_has_its_kind() {
    use Unreachable::{Host, Network, Other, Port, Prohibited};
    let quote = bytes(golden::SYN6)[14..].to_vec();
    let kind_of = |kind, code, rest| {
        parse_error(&parse(&error_v6(kind, code, rest, &quote)).unwrap()).map(|e| e.kind)
    };
    for (code, unreachable) in [
        Network,
        Prohibited,
        Other(2),
        Host,
        Port,
        Prohibited,
        Prohibited,
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            kind_of(1, code as u8, 0),
            Ok(ErrorKind::Unreachable(unreachable))
        );
    }
    assert_eq!(kind_of(2, 0, 1280), Ok(ErrorKind::TooBig { mtu: 1280 }));
    assert_eq!(kind_of(3, 1, 0), Ok(ErrorKind::TimeExceeded { code: 1 }));
    let problem = ErrorKind::ParameterProblem {
        code: 1,
        pointer: 6,
    };
    assert_eq!(kind_of(4, 1, 6), Ok(problem));
    assert_eq!(kind_of(128, 0, 0), Err(Defect::Icmpv6Type));
}

#[test]
fn quotes_are_read_from_eight_bytes_of_transport_on() {
    let syn = bytes(golden::SYN)[14..].to_vec();
    for len in 0..syn.len() {
        let got = parse_error(&parse(&error_v4(3, 1, [0; 4], &syn[..len])).unwrap());
        if len < 28 {
            assert_eq!(got, Err(Defect::IcmpQuote), "{len} bytes quoted");
        } else {
            let quote = got.unwrap().quote;
            assert_eq!((quote.src, quote.dst), (CLIENT4.into(), SERVER4.into()));
            assert_eq!((quote.dst_port, quote.seq), (80, SeqNum(4_226_047_305)));
        }
    }
    let syn = bytes(golden::SYN6)[14..].to_vec();
    for len in 0..syn.len() {
        let got = parse_error(&parse(&error_v6(1, 0, 0, &syn[..len])).unwrap());
        if len < 48 {
            assert_eq!(got, Err(Defect::Icmpv6Quote), "{len} bytes quoted");
        } else {
            assert_eq!(got.unwrap().quote.dst_port, 81);
        }
    }
}

#[test]
fn broken_quotes_are_refused() {
    let syn = bytes(golden::SYN)[14..].to_vec();
    for (at, value) in [(0, 0x65), (0, 0x44), (7, 1), (0, 0x4f)] {
        let mut quote = syn[..40].to_vec();
        quote[at] = value;
        let got = parse_error(&parse(&error_v4(3, 1, [0; 4], &quote)).unwrap());
        assert_eq!(got, Err(Defect::IcmpQuote), "{at}: {value:#x}");
    }
    let mut quote = bytes(golden::SYN6)[14..].to_vec();
    quote[0] = 0x40;
    let got = parse_error(&parse(&error_v6(1, 0, 0, &quote)).unwrap());
    assert_eq!(got, Err(Defect::Icmpv6Quote));
}

#[test]
fn the_kernels_errors_are_read() {
    for (hex, dst) in [
        (golden::PORT_UNREACHABLE, IpAddr::from(SERVER4)),
        (golden::PORT_UNREACHABLE6, IpAddr::from(SERVER6)),
    ] {
        let error = parse_error(&parse(&bytes(hex)).unwrap()).unwrap();
        assert_eq!(error.kind, ErrorKind::Unreachable(Unreachable::Port));
        assert_eq!(
            (error.quote.protocol, error.quote.dst),
            (ip_protocol::UDP, dst)
        );
        assert_eq!(error.quote.dst_port, 7777);
    }
}
