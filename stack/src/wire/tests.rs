//! Tests of [`super::parse()`] and the builders against frames of the Linux kernel, and of every truncation.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::seq::SeqNum;
use ethernet::EtherType;
use golden::bytes;

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

#[test]
fn frames_of_the_kernel_parse_and_their_checksums_are_right() {
    for (name, hex) in golden::ALL {
        let frame = bytes(hex);
        let parsed = parse(&frame).unwrap_or_else(|defect| panic!("{name}: {defect:?}"));
        assert_eq!(parsed.verify_checksums(true, true), Ok(()), "{name}");
        assert_eq!(parsed.end_offset(), frame.len(), "{name}");
    }
}

/// A flipped bit anywhere behind the addresses of a kernel frame is a defect, or is caught by one of the checksums.
#[test]
fn every_flipped_bit_of_a_kernel_frame_is_noticed() {
    for hex in [
        golden::SYN,
        golden::SYN_ACK6,
        golden::PING_REQUEST,
        golden::PING6_REPLY,
    ] {
        let frame = bytes(hex);
        let v6 = frame[12] == 0x86;
        for bit in 14 * 8..frame.len() * 8 {
            // IPv6 protects neither class, flow label, hop limit nor version.
            if v6 && (bit / 8 < 18 || bit / 8 == 21) {
                continue;
            }
            let mut broken = frame.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let verdict = parse(&broken).and_then(|parsed| parsed.verify_checksums(true, true));
            // A protocol that isn't known any more has no checksum that we know.
            let other = parse(&broken)
                .is_ok_and(|parsed| matches!(parsed.transport(), Some(Transport::Other(_))));
            assert!(verdict.is_err() || (v6 && other), "bit {bit} of {hex}");
        }
    }
}

#[test]
fn checksums_are_verified_only_when_asked() {
    let mut frame = bytes(golden::SYN);
    frame[22] -= 1; // TTL
    frame[50] ^= 0x80; // TCP checksum
    let parsed = parse(&frame).unwrap();
    assert_eq!(parsed.verify_checksums(false, false), Ok(()));
    assert_eq!(
        parsed.verify_checksums(true, false),
        Err(Defect::Ipv4Checksum)
    );
    assert_eq!(
        parsed.verify_checksums(false, true),
        Err(Defect::TcpChecksum)
    );
    assert_eq!(
        parsed.verify_checksums(true, true),
        Err(Defect::Ipv4Checksum)
    );
}

/// RFC 9293 §3.1: the field is the complement of the sum. A host that leaves the rest to its NIC writes the sum of the
/// pseudo-header, as it is; that is not luck, and has a name of its own.
#[test]
fn a_checksum_that_was_left_to_a_nic_is_told_from_a_wrong_one() {
    for (hex, v6) in [(golden::SYN, false), (golden::SYN_ACK6, true)] {
        let mut frame = bytes(hex);
        let l4 = if v6 { 54 } else { 34 };
        let len = frame.len() - l4;
        let pseudo = if v6 {
            let address = |at: usize| frame[at..at + 16].as_array().copied().expect("16 bytes");
            checksum::pseudo_v6(&address(22), &address(38), ip_protocol::TCP, len as u32)
        } else {
            let address = |at: usize| frame[at..at + 4].as_array().copied().expect("4 bytes");
            checksum::pseudo_v4(address(26), address(30), ip_protocol::TCP, len as u16)
        };
        let left = !pseudo.finish().get();
        for (field, defect) in [
            (left, Defect::TcpChecksumOffloaded),
            (!left, Defect::TcpChecksum),
            (left ^ 1, Defect::TcpChecksum),
        ] {
            frame[l4 + 16..l4 + 18].copy_from_slice(&field.to_be_bytes());
            let parsed = parse(&frame).unwrap();
            assert_eq!(parsed.verify_checksums(true, true), Err(defect), "{hex}");
        }
    }
}

/// The defect as which a frame cut off at `len` must be refused.
fn defect_of_truncation(frame: &[u8], len: usize) -> Defect {
    let tagged = frame[12..14] == [0x81, 0x00];
    let l3 = if tagged { 18 } else { 14 };
    match len {
        0..14 => Defect::EthernetTruncated,
        14..18 if tagged => Defect::VlanTruncated,
        _ => match frame[l3 - 2..l3] {
            [0x08, 0x06] => Defect::ArpTruncated,
            [0x08, 0x00] if len < l3 + 20 => Defect::Ipv4Truncated,
            [0x08, 0x00] => Defect::Ipv4TotalLength,
            _ if len < l3 + 40 => Defect::Ipv6Truncated,
            _ => Defect::Ipv6PayloadLength,
        },
    }
}

#[test]
fn every_truncated_frame_has_its_defect() {
    for (name, hex) in golden::ALL {
        for frame in [bytes(hex), tagged(&bytes(hex))] {
            for len in 0..frame.len() {
                let defect = parse(&frame[..len]).err();
                assert_eq!(
                    defect,
                    Some(defect_of_truncation(&frame, len)),
                    "{name} cut at {len}"
                );
            }
        }
    }
}

/// The same frame cut off *inside* the packet: IP lengths agree, the transport is short.
#[test]
fn every_truncated_transport_has_its_defect() {
    for (name, hex) in golden::ALL {
        let frame = bytes(hex);
        let Ok(Parsed { network, .. }) = parse(&frame) else {
            panic!("{name}")
        };
        let (l4, full) = (parse(&frame).unwrap().l4_offset(), frame.len());
        for len in l4..full {
            let mut cut = frame[..len].to_vec();
            match network {
                Network::Arp(_) => continue,
                Network::Ipv4 { .. } => {
                    cut[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
                }
                Network::Ipv6 { .. } => {
                    cut[18..20].copy_from_slice(&((len - 54) as u16).to_be_bytes());
                }
            }
            let got = parse(&cut).err();
            let has = len - l4;
            let expected = match parse(&frame).unwrap().transport() {
                Some(Transport::Tcp(_)) if has < 20 => Some(Defect::TcpTruncated),
                Some(Transport::Tcp(view)) if has < view.header.header_len() => {
                    Some(Defect::TcpDataOffset)
                }
                Some(Transport::Udp(_)) if has < 8 => Some(Defect::UdpTruncated),
                Some(Transport::Udp(_)) => Some(Defect::UdpLength),
                Some(Transport::Icmp(_)) if has < 8 => Some(Defect::IcmpTruncated),
                Some(Transport::Icmpv6(_)) if has < 8 => Some(Defect::Icmpv6Truncated),
                _ => None,
            };
            assert_eq!(got, expected, "{name} cut at {len}");
        }
    }
}

/// Puts an 802.1Q tag for VLAN 7 into an untagged frame.
fn tagged(frame: &[u8]) -> Vec<u8> {
    let mut tagged = frame.to_vec();
    tagged.splice(12..12, [0x81, 0x00, 0xa0, 0x07]);
    tagged
}

#[test]
fn one_tag_is_read_and_two_are_named() {
    let frame = tagged(&bytes(golden::SYN));
    let parsed = parse(&frame).unwrap();
    let tag = parsed.link.vlan.unwrap();
    assert_eq!((tag.id(), tag.priority()), (7, 5));
    assert_eq!((parsed.l3_offset(), parsed.l4_offset()), (18, 38));
    assert_eq!(parsed.verify_checksums(true, true), Ok(()));
    assert_eq!(parse(&tagged(&frame)).err(), Some(Defect::VlanNested));
    let mut service = frame;
    service[12..14].copy_from_slice(&[0x88, 0xa8]);
    assert_eq!(parse(&service).err(), Some(Defect::VlanNested));
}

/// A frame with one byte changed, and what it must be refused as.
#[track_caller]
fn refused(hex: &str, changes: &[(usize, u8)], expected: Defect) {
    let mut frame = bytes(hex);
    for (at, value) in changes {
        frame[*at] = *value;
    }
    assert_eq!(parse(&frame).err(), Some(expected), "{changes:?}");
}

#[test]
fn each_defect_of_the_link_and_ipv4_is_named() {
    refused(golden::SYN, &[(6, 0x03)], Defect::EthernetSource);
    refused(
        golden::SYN,
        &[(12, 0x05), (13, 0xdc)],
        Defect::EthernetLength,
    );
    refused(golden::SYN, &[(12, 0x88), (13, 0xcc)], Defect::EtherType);
    refused(golden::SYN, &[(14, 0x55)], Defect::Ipv4Version);
    for ihl in 0..5 {
        refused(golden::SYN, &[(14, 0x40 | ihl)], Defect::Ipv4HeaderLength);
    }
    refused(
        golden::ARP_REQUEST,
        &[(12, 0x08), (13, 0x00), (14, 0x45)],
        Defect::Ipv4TotalLength,
    );
    refused(golden::SYN, &[(17, 19)], Defect::Ipv4TotalLength);
    refused(
        golden::SYN,
        &[(14, 0x46), (17, 23)],
        Defect::Ipv4TotalLength,
    );
    refused(golden::SYN, &[(17, 61)], Defect::Ipv4TotalLength);
    for first in [0, 127, 224, 239, 240, 255] {
        refused(golden::SYN, &[(26, first)], Defect::Ipv4Source);
    }
    refused(golden::SYN, &[(30, 0)], Defect::Ipv4Destination);
    refused(golden::SYN, &[(30, 127)], Defect::Ipv4Destination);
    refused(golden::SYN, &[(20, 0x20)], Defect::Ipv4Fragment);
    refused(golden::SYN, &[(21, 0x01)], Defect::Ipv4Fragment);
    for offset in 0..5 {
        refused(golden::SYN, &[(46, offset << 4)], Defect::TcpDataOffset);
    }
    refused(golden::SYN, &[(46, 0xb0)], Defect::TcpDataOffset);
    refused(golden::UDP, &[(39, 7)], Defect::UdpLength);
    refused(golden::UDP, &[(39, 17)], Defect::UdpLength);
}

#[test]
fn each_defect_of_arp_is_named() {
    refused(golden::ARP_REQUEST, &[(15, 6)], Defect::ArpHardware);
    refused(golden::ARP_REQUEST, &[(18, 8)], Defect::ArpHardware);
    refused(golden::ARP_REQUEST, &[(17, 1)], Defect::ArpProtocol);
    refused(golden::ARP_REQUEST, &[(19, 16)], Defect::ArpProtocol);
    refused(golden::ARP_REQUEST, &[(21, 3)], Defect::ArpOperation);
    refused(golden::ARP_REQUEST, &[(22, 1)], Defect::ArpSenderMac);
    refused(golden::ARP_REQUEST, &[(28, 255)], Defect::ArpSenderIp);
    let nobody = [(28, 0), (29, 0), (30, 0), (31, 0)];
    refused(golden::ARP_REPLY, &nobody, Defect::ArpSenderIp);
    let mut probe = bytes(golden::ARP_REQUEST);
    probe[28..32].fill(0);
    let Ok(Parsed {
        network: Network::Arp(packet),
        ..
    }) = parse(&probe)
    else {
        panic!()
    };
    assert!(packet.is_probe() && !packet.is_announcement());
}

#[test]
fn each_defect_of_ipv6_is_named() {
    refused(golden::SYN6, &[(14, 0x40)], Defect::Ipv6Version);
    refused(golden::SYN6, &[(19, 41)], Defect::Ipv6PayloadLength);
    refused(golden::SYN6, &[(22, 0xff)], Defect::Ipv6Source);
    refused(golden::SYN6, &[(20, 59)], Defect::Ipv6NoNextHeader);
    let mut frame = bytes(golden::SYN6);
    frame[38..54].fill(0);
    assert_eq!(parse(&frame).err(), Some(Defect::Ipv6Destination));
    frame[53] = 1;
    assert_eq!(parse(&frame).err(), Some(Defect::Ipv6Destination));
    let mut frame = bytes(golden::SYN6);
    for last in [0, 1] {
        frame[22..38].fill(0);
        frame[37] = last;
        assert_eq!(
            parse(&frame).err(),
            Some(Defect::Ipv6Source),
            "TCP from nobody or loopback"
        );
    }
    frame[32..34].fill(0xff); // ::ffff:0.0.0.1
    assert_eq!(parse(&frame).err(), Some(Defect::Ipv6Source));
}

/// Puts extension headers between the IPv6 header and the segment of [`golden::SYN6`].
fn with_extensions(first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut frame = bytes(golden::SYN6);
    frame[20] = first;
    let len = 40 + extensions.len() as u16;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame.splice(54..54, extensions.iter().copied());
    frame
}

#[test]
fn extension_headers_are_walked_to_the_segment() {
    const PADN: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let options = |next: u8| [&[next, 0], PADN.as_slice()].concat();
    let chain = [
        options(43),
        vec![60, 0, 4, 0, 0, 0, 0, 0],
        options(44),
        vec![6, 0, 0, 0, 1, 2, 3, 4],
    ];
    let frame = with_extensions(0, &chain.concat());
    let parsed = parse(&frame).unwrap();
    assert_eq!(parsed.l4_offset(), 14 + 40 + 32);
    assert_eq!(parsed.tcp().unwrap().header.flags, tcp::Flags::SYN);
    assert_eq!(parsed.verify_checksums(true, true), Ok(()));
    for len in 54..frame.len() {
        let mut cut = frame[..len].to_vec();
        cut[18..20].copy_from_slice(&((len - 54) as u16).to_be_bytes());
        let expected = match len - 54 {
            0..32 => Defect::Ipv6ExtensionTruncated,
            32..52 => Defect::TcpTruncated,
            _ => Defect::TcpDataOffset,
        };
        assert_eq!(parse(&cut).err(), Some(expected), "cut at {len}");
    }
}

#[test]
fn each_defect_of_extension_headers_is_named() {
    let refused = |first, extensions: &[u8], expected| {
        assert_eq!(
            parse(&with_extensions(first, extensions)).err(),
            Some(expected)
        );
    };
    refused(
        60,
        &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0],
        Defect::Ipv6ExtensionChain,
    );
    refused(
        60,
        &[60, 0, 1, 4, 0, 0, 0, 0].repeat(9),
        Defect::Ipv6ExtensionChain,
    );
    refused(
        60,
        &[6, 255, 1, 4, 0, 0, 0, 0],
        Defect::Ipv6ExtensionTruncated,
    );
    refused(60, &[6, 0, 1, 5, 0, 0, 0, 0], Defect::Ipv6Option);
    refused(60, &[6, 0, 0, 0, 0, 0, 0, 1], Defect::Ipv6Option);
    for discard in [0x41, 0x81, 0xc2] {
        refused(60, &[6, 0, discard, 4, 0, 0, 0, 0], Defect::Ipv6Option);
    }
    refused(43, &[6, 0, 0, 1, 0, 0, 0, 0], Defect::Ipv6Routing);
    refused(44, &[6, 0, 0, 1, 0, 0, 0, 0], Defect::Ipv6Fragment);
    refused(44, &[6, 0, 0, 8, 0, 0, 0, 0], Defect::Ipv6Fragment);
    assert!(parse(&with_extensions(60, &[6, 0, 0x3e, 4, 9, 9, 9, 9])).is_ok());
}

#[test]
fn eight_extension_headers_are_walked() {
    let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(MAX);
    const MAX: usize = ipv6::MAX_EXTENSION_HEADERS;
    chain[8 * (MAX - 1)] = 6;
    assert!(parse(&with_extensions(60, &chain)).is_ok());
}

#[test]
fn options_of_an_ipv4_header_are_skipped_and_checksummed() {
    let mut frame = bytes(golden::SYN);
    frame.splice(34..34, [0x94, 0x04, 0x00, 0x00]);
    frame[14] = 0x46;
    frame[17] += 4;
    let parsed = parse(&frame).unwrap();
    assert_eq!(parsed.l4_offset(), 38);
    assert_eq!(parsed.verify_checksums(false, true), Ok(()));
    assert_eq!(
        parsed.verify_checksums(true, true),
        Err(Defect::Ipv4Checksum)
    );
    let old = U16::from_bytes([frame[24], frame[25]]);
    let changed = checksum::update(old, U16::new(0x453c), U16::new(0x4640));
    let changed = checksum::update(changed, U16::ZERO, U16::new(0x9404));
    frame[24..26].copy_from_slice(&changed.to_bytes());
    assert_eq!(parse(&frame).unwrap().verify_checksums(true, true), Ok(()));
}

#[test]
fn padding_is_no_payload() {
    let mut frame = bytes(golden::RST_ACK);
    frame.resize(60, 0xee);
    let parsed = parse(&frame).unwrap();
    assert!(parsed.tcp().unwrap().payload.is_empty());
    assert_eq!(
        (parsed.end_offset(), parsed.verify_checksums(true, true)),
        (54, Ok(()))
    );
}

#[test]
fn udp_checksums_follow_the_family() {
    let mut frame = bytes(golden::UDP);
    frame[40..42].fill(0);
    assert_eq!(parse(&frame).unwrap().verify_checksums(true, true), Ok(()));
    let mut frame = bytes(golden::UDP6);
    frame[60..62].fill(0);
    assert_eq!(
        parse(&frame).unwrap().verify_checksums(true, true),
        Err(Defect::UdpChecksum)
    );
}

#[test]
fn defects_have_dense_numbers_and_different_names() {
    for (i, defect) in Defect::ALL.iter().enumerate() {
        assert_eq!(*defect as usize, i);
    }
    let names: std::collections::BTreeSet<_> = Defect::ALL.iter().map(|d| d.name()).collect();
    assert_eq!(names.len(), Defect::ALL.len());
}

#[test]
fn the_fixed_headers_fit_the_kernels_frames() {
    let frame = bytes(golden::SYN);
    let (headers, options) = Tcp4Headers::ref_from_prefix(&frame).unwrap();
    assert_eq!(headers.ethernet.ethertype, EtherType::IPV4);
    assert_eq!(headers.ip.version_ihl, ipv4::VERSION_IHL_PLAIN);
    assert!(headers.ip.sum().is_valid() && headers.ip.dont_fragment());
    let len = (frame.len() - 34) as u16;
    let sum = headers.ip.pseudo_sum(len) + headers.tcp.sum() + checksum::sum_header(options);
    assert!(sum.is_valid());
    let frame = bytes(golden::SYN6);
    let (headers, options) = Tcp6Headers::ref_from_prefix(&frame).unwrap();
    assert_eq!(headers.ethernet.ethertype, EtherType::IPV6);
    let sum = headers.ip.pseudo_sum(6, 40) + headers.tcp.sum() + checksum::sum_header(options);
    assert!(sum.is_valid());
}

/// Reads a kernel segment, builds it anew from what was read, and gets the kernel's bytes back.
fn rebuilt(hex: &str) -> (Vec<u8>, Vec<u8>) {
    let frame = bytes(hex);
    let parsed = parse(&frame).unwrap();
    let (src, dst) = parsed.addresses().unwrap();
    let segment = parsed.tcp().unwrap();
    let header = segment.header;
    let src = SocketAddr::new(src, header.src_port.get());
    let dst = SocketAddr::new(dst, header.dst_port.get());
    let mut spec = SegmentSpec::new(parsed.link, src, dst);
    if let Network::Ipv4 { packet, .. } = parsed.network {
        spec.ip.ident = packet.header.ident.get();
        spec.ip.ttl = packet.header.ttl;
    }
    spec.seq = header.seq();
    spec.ack = header.ack();
    spec.flags = header.flags;
    spec.window = header.window.get();
    let options = SegmentOptions::parse(segment.options);
    let built = if header.flags.syn() {
        let (ws, ts) = (options.window_scale, options.timestamps);
        OptionBytes::syn(options.mss, ws, options.sack_permitted, ts)
    } else {
        options
            .timestamps
            .map_or_else(OptionBytes::new, OptionBytes::timestamps)
    };
    spec.options = built.as_padded();
    spec.payload = segment.payload;
    let mut into = [0xee; 200];
    let len = spec.emit(&mut into).unwrap();
    let mut frame = frame;
    if src.is_ipv6() {
        frame[15..18].fill(0); // the kernel's flow label
    }
    (into[..len].to_vec(), frame)
}

#[test]
fn built_segments_equal_the_kernels() {
    let segments = [
        golden::SYN,
        golden::SYN_ACK,
        golden::ACK,
        golden::DATA,
        golden::FIN_ACK,
        golden::RST_ACK,
        golden::SYN6,
        golden::SYN_ACK6,
        golden::DATA6,
    ];
    for hex in segments {
        let (ours, kernels) = rebuilt(hex);
        assert_eq!(ours, kernels);
    }
}

#[test]
fn built_requests_equal_the_kernels() {
    let mut into = [0xee; 200];
    let broadcast = Link {
        dst: MacAddr::BROADCAST,
        ..link()
    };
    let request = arp::Packet::request(CLIENT_MAC, CLIENT4, SERVER4);
    let len = emit::arp(broadcast, &request, &mut into).unwrap();
    assert_eq!(into[..len], bytes(golden::ARP_REQUEST));
    let reply = arp::Packet::reply(SERVER_MAC, SERVER4, CLIENT_MAC, CLIENT4);
    let back = Link {
        dst: CLIENT_MAC,
        src: SERVER_MAC,
        vlan: None,
    };
    let len = emit::arp(back, &reply, &mut into).unwrap();
    assert_eq!(into[..len], bytes(golden::ARP_REPLY));

    let group = ndp::solicited_node(SERVER6);
    let to_group = Link {
        dst: ndp::multicast_mac(group),
        ..link()
    };
    let len = emit::neighbor_solicitation(to_group, CLIENT6, group, SERVER6, &mut into).unwrap();
    assert_eq!(into[..len], bytes(golden::NEIGHBOR_SOLICITATION));
    let flags = ndp::FLAG_SOLICITED | ndp::FLAG_OVERRIDE;
    let len = emit::neighbor_advertisement(back, CLIENT6, SERVER6, flags, &mut into).unwrap();
    assert_eq!(into[..len], bytes(golden::NEIGHBOR_ADVERTISEMENT));

    let kernels = bytes(golden::PING_REQUEST);
    let mut ip = IpSpec::new(IpAddr::V4(CLIENT4), IpAddr::V4(SERVER4));
    ip.ident = u16::from_be_bytes([kernels[18], kernels[19]]);
    let ident = u16::from_be_bytes([kernels[38], kernels[39]]);
    let len = emit::echo_request(link(), &ip, ident, 1, &kernels[42..], &mut into).unwrap();
    assert_eq!(into[..len], kernels);
    let mut kernels = bytes(golden::PING6_REQUEST);
    kernels[15..18].fill(0);
    let ip = IpSpec::new(CLIENT6.into(), SERVER6.into());
    let ident = u16::from_be_bytes([kernels[58], kernels[59]]);
    let len = emit::echo_request(link(), &ip, ident, 1, &kernels[62..], &mut into).unwrap();
    assert_eq!(into[..len], kernels);
}

#[test]
fn a_duplicate_detection_solicitation_equals_the_kernels_but_for_its_nonce() {
    let kernels = bytes(golden::DAD_SOLICITATION);
    let group = ndp::solicited_node(SERVER6);
    let to_group = Link {
        dst: ndp::multicast_mac(group),
        src: SERVER_MAC,
        vlan: None,
    };
    let mut into = [0; 200];
    let nobody = Ipv6Addr::UNSPECIFIED;
    let len = emit::neighbor_solicitation(to_group, nobody, group, SERVER6, &mut into).unwrap();
    assert_eq!(len, 78);
    // Linux adds a nonce option (RFC 7527), which changes length and checksum.
    assert_eq!(into[..18], kernels[..18]);
    assert_eq!(into[20..56], kernels[20..56]);
    assert_eq!(into[58..len], kernels[58..78]);
    assert_eq!(
        parse(&into[..len]).unwrap().verify_checksums(true, true),
        Ok(())
    );
}

#[test]
fn builders_refuse_what_does_not_fit() {
    let v4 = |addr: Ipv4Addr| SocketAddr::new(addr.into(), 1);
    let mut spec = SegmentSpec::new(link(), v4(CLIENT4), v4(SERVER4));
    let mut into = vec![0; 70_000];
    for room in 0..54 {
        assert!(
            matches!(spec.emit(&mut into[..room]), Err(EmitError::NoRoom { needed }) if needed > room)
        );
    }
    assert_eq!(spec.emit(&mut into[..54]), Ok(54));
    spec.options = &[1, 1, 1];
    assert_eq!(spec.emit(&mut into), Err(EmitError::Options));
    spec.options = &[1; 44];
    assert_eq!(spec.emit(&mut into), Err(EmitError::Options));
    spec.options = &[];
    let payload = vec![1; 65_496];
    spec.payload = &payload;
    assert_eq!(spec.emit(&mut into), Err(EmitError::TooLong));
    spec.payload = &payload[1..];
    assert_eq!(spec.emit(&mut into), Ok(14 + 65_535));
    spec.ip.dst = SERVER6.into();
    assert_eq!(spec.emit(&mut into), Err(EmitError::MixedFamilies));
}

#[test]
fn groups_and_hosts_have_link_addresses_of_their_own() {
    let all_nodes = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(ndp::multicast_mac(ndp::ALL_NODES), all_nodes);
    assert_eq!(
        MacAddr([2, 0, 0, 0, 0, 0xab]).to_string(),
        "02:00:00:00:00:ab"
    );
    assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
    assert!(!MacAddr::ZERO.is_unicast() && CLIENT_MAC.is_unicast());
}

#[test]
fn datagrams_are_cut_at_their_length() {
    let mut frame = bytes(golden::UDP);
    frame[39] = 12;
    let Some(Transport::Udp(udp)) = parse(&frame).unwrap().transport() else {
        panic!()
    };
    assert_eq!(
        (udp.payload(), udp.header.dst_port.get()),
        (&b"quot"[..], 7777)
    );
}

#[test]
fn flags_read_as_people_write_them() {
    assert_eq!(tcp::Flags::RST_ACK.to_string(), "RST,ACK");
    assert_eq!(tcp::Flags::SYN_ACK.to_string(), "SYN,ACK");
    assert_eq!(tcp::Flags::NONE.to_string(), "none");
    assert_eq!(
        tcp::Flags(0xff).to_string(),
        "SYN,RST,FIN,PSH,ACK,URG,ECE,CWR"
    );
    assert_eq!(
        (tcp::Flags::SYN | tcp::Flags::FIN | tcp::Flags::RST).seq_len(),
        2
    );
}

proptest! {
    /// The slow lane reads back what the builder wrote, checksums included.
    #[test]
    fn emitted_segments_parse_back(
        v6: bool, ports: (u16, u16), numbers: (u32, u32), flags: u8, window: u16, urgent: u16,
        words in 0usize..=10, payload in proptest::collection::vec(any::<u8>(), 0..300),
        tag in proptest::option::of(0u16..4096), ttl: u8, dscp_ecn: u8,
    ) {
        let (src, dst): (IpAddr, IpAddr) =
            if v6 { (CLIENT6.into(), SERVER6.into()) } else { (CLIENT4.into(), SERVER4.into()) };
        let link = Link { vlan: tag.map(vlan::Tag::new), ..link() };
        let (src, dst) = (SocketAddr::new(src, ports.0), SocketAddr::new(dst, ports.1));
        let mut spec = SegmentSpec::new(link, src, dst);
        let options = vec![1; words * 4];
        (spec.seq, spec.ack) = (SeqNum(numbers.0), SeqNum(numbers.1));
        (spec.flags, spec.window, spec.urgent) = (tcp::Flags(flags), window, urgent);
        (spec.options, spec.payload) = (&options, &payload);
        (spec.ip.ttl, spec.ip.dscp_ecn) = (ttl, dscp_ecn);
        let mut into = [0; 500];
        let len = spec.emit(&mut into).unwrap();
        let parsed = parse(&into[..len]).unwrap();
        prop_assert_eq!(parsed.verify_checksums(true, true), Ok(()));
        prop_assert_eq!(parsed.link, link);
        prop_assert_eq!(parsed.addresses(), Some((src.ip(), dst.ip())));
        let theirs = etherparse::SlicedPacket::from_ethernet(&into[..len]).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = theirs.transport else { panic!() };
        let checksum = match theirs.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()),
            Some(etherparse::NetSlice::Ipv6(ip)) => tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()),
            _ => panic!(),
        };
        prop_assert_eq!(checksum.unwrap(), tcp.checksum());
        prop_assert_eq!((tcp.sequence_number(), tcp.payload()), (numbers.0, payload.as_slice()));
        let segment = parsed.tcp().unwrap();
        prop_assert_eq!(segment.header.seq(), spec.seq);
        prop_assert_eq!(segment.header.ack(), spec.ack);
        prop_assert_eq!(segment.header.flags, spec.flags);
        prop_assert_eq!(segment.options, spec.options);
        prop_assert_eq!(segment.payload, spec.payload);
        let syn_fin = spec.flags.seq_len();
        prop_assert_eq!(segment.seq_len(), payload.len() as u32 + syn_fin);
        match parsed.network {
            Network::Ipv4 { packet, .. } => {
                prop_assert_eq!((packet.header.ttl, packet.header.dscp_ecn), (ttl, dscp_ecn));
            }
            Network::Ipv6 { packet, .. } => {
                prop_assert_eq!(packet.header.hop_limit, ttl);
                prop_assert_eq!(packet.header.dscp_ecn(), dscp_ecn);
                prop_assert_eq!(packet.header.flow_label(), 0);
            }
            Network::Arp(_) => prop_assert!(false),
        }
    }

    /// Arbitrary bytes never panic, whatever their ethertype; offsets stay inside.
    #[test]
    fn arbitrary_frames_survive(
        mut frame in proptest::collection::vec(any::<u8>(), 0..200),
        ethertype in prop::sample::select(vec![[8, 0], [8, 6], [0x86, 0xdd], [0x81, 0]]),
    ) {
        if let Some(place) = frame.get_mut(12..14) {
            place.copy_from_slice(&ethertype);
        }
        if let Ok(parsed) = parse(&frame) {
            prop_assert!(parsed.end_offset() <= frame.len());
            let _ = parsed.verify_checksums(true, true);
        }
    }
}
