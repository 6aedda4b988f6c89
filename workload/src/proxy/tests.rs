//! The PROXY protocol by the bytes of its specification, and by properties of any bytes.

use core::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SIGNATURE: [u8; 12] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
];

fn end(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

fn relayed(source: &str, destination: &str) -> Origin {
    Origin::Relayed {
        source: end(source),
        destination: end(destination),
    }
}

/// Version 2 by hand: what follows the signature, and what follows the length.
fn v2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let len = u16::try_from(behind.len()).expect("short").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &len, behind].concat()
}

const ADDRESSES_V4: [u8; 12] = [192, 0, 2, 1, 198, 18, 0, 2, 0xdc, 0x04, 0x01, 0xbb];

fn header(bytes: &[u8]) -> Header {
    match parse(bytes, Versions::Any) {
        Parsed::Header(header) => header,
        other => panic!("{bytes:x?}: {other:?}"),
    }
}

#[test]
fn the_specifications_own_examples_are_read() {
    for (line, origin) in [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            relayed("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            relayed("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            relayed(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 1\r\n",
            relayed("[2001:db8::1]:0", "[::ffff:192.0.2.1]:1"),
        ),
        ("PROXY UNKNOWN\r\n", Origin::Unknown),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Origin::Unknown,
        ),
        ("PROXY UNKNOWN TCP4 what\0 ever\r\n", Origin::Unknown),
    ] {
        let read = header(format!("{line}GET / HTTP/1.1\r\n").as_bytes());
        assert_eq!((read.len, read.origin), (line.len(), origin), "{line}");
        assert_eq!((read.version, read.is_crc32c_verified), (1, false));
    }
    let worst = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(worst.len(), V1_MAX);
}

#[test]
fn binary_headers_are_read_as_the_specification_lays_them_out() {
    let v6 = [
        [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    ];
    let v6 = [&v6[0][..], &v6[1], &[0x04, 0xd2, 0, 80]].concat();
    let noop = [&ADDRESSES_V4[..], &[0x04, 0, 2, 9, 9, 0xe0, 0, 0]].concat();
    for (bytes, origin) in [
        (
            v2(0x21, 0x11, &ADDRESSES_V4),
            relayed("192.0.2.1:56324", "198.18.0.2:443"),
        ),
        (
            v2(0x21, 0x11, &noop),
            relayed("192.0.2.1:56324", "198.18.0.2:443"),
        ),
        (
            v2(0x21, 0x21, &v6),
            relayed("[2001:db8::1]:1234", "[2001:db8::2]:80"),
        ),
        (v2(0x20, 0x00, &[]), Origin::Local),
        // LOCAL with a family, with addresses, with what is neither: all of it is skipped.
        (v2(0x20, 0x11, &ADDRESSES_V4), Origin::Local),
        (v2(0x20, 0xff, &[1, 2, 3]), Origin::Local),
        (v2(0x21, 0x00, &[1, 2, 3]), Origin::Unknown),
        (v2(0x21, 0x12, &ADDRESSES_V4), Origin::Unknown),
        (v2(0x21, 0x10, &ADDRESSES_V4), Origin::Unknown),
        (v2(0x21, 0x31, &[b'/'; 216]), Origin::Unknown),
    ] {
        let read = header(&[&bytes[..], b"\x21\x11data"].concat());
        assert_eq!(
            (read.len, read.origin, read.version),
            (bytes.len(), origin, 2)
        );
        assert!(!read.is_crc32c_verified);
    }
}

/// Computed bit by bit (RFC 9260, appendix A: reflected, polynomial 1edc6f41), to share no table with the code.
fn crc32c_by_bits(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), bit);
    !bytes.iter().fold(u32::MAX, byte)
}

#[test]
fn a_header_with_a_flipped_bit_is_refused_by_its_checksum() {
    assert_eq!(crc32c_by_bits(b"123456789"), 0xe306_9283);
    let behind = [
        &ADDRESSES_V4[..],
        &[2, 0, 1, b'a', 3, 0, 4, 0, 0, 0, 0, 4, 0, 0],
    ]
    .concat();
    let mut bytes = v2(0x21, 0x11, &behind);
    let checksum = crc32c_by_bits(&bytes).to_be_bytes();
    let at = FIXED + ADDRESSES_V4.len() + 4 + 3;
    bytes[at..at + 4].copy_from_slice(&checksum);
    assert!(header(&bytes).is_crc32c_verified);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = parse(&flipped, Versions::Any);
        // A bit of the command or of the type may take the checksum itself away.
        let is_gone = matches!(read, Parsed::Header(header) if !header.is_crc32c_verified);
        assert!(
            is_gone || !matches!(read, Parsed::Header(_)),
            "{bit}: {read:?}"
        );
        if (FIXED * 8..(at - 3) * 8).contains(&bit) && !(28 * 8..31 * 8).contains(&bit) {
            assert_eq!(read, Parsed::Malformed(Defect::Crc32c), "{bit}");
        }
    }
}

const FIXED: usize = 16;

/// Each of these is refused with its defect.
fn are_refused(all: &[(Vec<u8>, Defect)]) {
    for (bytes, defect) in all {
        let shown = String::from_utf8_lossy(bytes);
        let wanted = Parsed::Malformed(*defect);
        assert_eq!(parse(bytes, Versions::Any), wanted, "{shown:?}");
    }
}

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn lines_that_are_no_header_are_refused_by_name() {
    let long_unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long_unknown.len(), V1_MAX + 1);
    are_refused(&[
        (text("GET / HTTP/1.1\r\n"), Defect::NoHeader),
        (text("PROXX"), Defect::NoHeader),
        (text("PROXY\r\n"), Defect::NoHeader),
        (text("\r\n\r\nGET"), Defect::NoHeader),
        (text(&long_unknown), Defect::LineTooLong),
        (
            text(&format!("PROXY TCP4 {}", "1".repeat(200))),
            Defect::LineTooLong,
        ),
        (
            text("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
            Defect::LineEnd,
        ),
        (
            text("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n"),
            Defect::LineEnd,
        ),
        (text("PROXY UNKNOWN \r x\r\n"), Defect::LineEnd),
        (
            text("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
            Defect::Protocol,
        ),
        (
            text("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
            Defect::Protocol,
        ),
        (
            text("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"),
            Defect::Protocol,
        ),
        (text("PROXY UNKNOWNX\r\n"), Defect::Protocol),
        (text("PROXY \r\n"), Defect::Protocol),
    ]);
}

#[test]
fn addresses_that_are_none_are_refused() {
    let lines = [
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 2001:db8::1 2001::db8::2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
    ];
    are_refused(&lines.map(|line| (text(line), Defect::Address)));
}

#[test]
fn binary_headers_that_are_malformed_are_refused_by_name() {
    let tlv = |tlv: &[u8]| v2(0x21, 0x11, &[&ADDRESSES_V4[..], tlv].concat());
    let mut too_long = v2(0x21, 0x11, &ADDRESSES_V4);
    too_long[14..16].copy_from_slice(&4081_u16.to_be_bytes());
    are_refused(&[
        (v2(0x11, 0x11, &ADDRESSES_V4), Defect::Number),
        (v2(0x31, 0x11, &ADDRESSES_V4), Defect::Number),
        (v2(0x22, 0x11, &ADDRESSES_V4), Defect::Command),
        (v2(0x2f, 0x11, &ADDRESSES_V4), Defect::Command),
        (v2(0x21, 0x41, &[0; 216]), Defect::Family),
        (v2(0x21, 0x13, &ADDRESSES_V4), Defect::Family),
        (v2(0x21, 0x11, &ADDRESSES_V4[..11]), Defect::TooShort),
        (v2(0x21, 0x21, &[0; 35]), Defect::TooShort),
        (v2(0x21, 0x31, &[0; 215]), Defect::TooShort),
        (too_long, Defect::TooLong),
        (tlv(&[4]), Defect::Tlv),
        (tlv(&[4, 0]), Defect::Tlv),
        (tlv(&[4, 0, 2, 0]), Defect::Tlv),
        (tlv(&[4, 0xff, 0xff, 0]), Defect::Tlv),
        (tlv(&[3, 0, 4, 0, 0, 0, 0]), Defect::Crc32c),
        (tlv(&[3, 0, 3, 0, 0, 0]), Defect::Crc32c),
    ]);
    for (index, defect) in Defect::ALL.into_iter().enumerate() {
        assert_eq!(defect as usize, index);
    }
}

#[test]
fn a_receiver_takes_the_versions_that_it_was_told() {
    let line = b"PROXY UNKNOWN\r\n".to_vec();
    let binary = v2(0x20, 0, &[]);
    for (bytes, versions, is_taken) in [
        (&line, Versions::V1, true),
        (&line, Versions::V2, false),
        (&line, Versions::Any, true),
        (&binary, Versions::V1, false),
        (&binary, Versions::V2, true),
        (&binary, Versions::Any, true),
    ] {
        let wanted = Parsed::Malformed(Defect::WrongVersion);
        assert_eq!(parse(bytes, versions) != wanted, is_taken, "{versions:?}");
    }
}

#[test]
fn a_long_header_has_room_for_its_padding_and_no_more() {
    let mut into = [0; 2 * V2_MAX];
    let ends = Some((end("192.0.2.1:1"), end("198.18.0.2:80")));
    let padding = [7; V2_MAX];
    let room = V2_MAX - FIXED - 12 - 7 - 3;
    let tlvs = |len: usize| {
        [
            Tlv::Crc32c,
            Tlv::Value {
                kind: 4,
                value: &padding[..len],
            },
        ]
    };
    let len = write_v2(ends, &tlvs(room), &mut into).expect("room");
    assert_eq!(len, V2_MAX);
    let read = header(&into[..len]);
    assert!(read.len == V2_MAX && read.is_crc32c_verified);
    assert_eq!(write_v2(ends, &tlvs(room + 1), &mut into), None);
    assert_eq!(write_v2(ends, &tlvs(0), &mut into[..37]), None);
    assert_eq!(write_v2(ends, &tlvs(0), &mut into[..38]), Some(38));
}

/// Both ends as any family, now and then of two.
fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    (any::<SocketAddr>(), any::<SocketAddr>()).prop_map(|(source, destination)| {
        // Flow labels and scopes aren't written.
        let plain = |end: SocketAddr| SocketAddr::new(end.ip(), end.port());
        (plain(source), plain(destination))
    })
}

/// Bytes that look like headers, with something wrong in them or behind them.
fn nearly_headers() -> impl Strategy<Value = Vec<u8>> {
    let written = (
        ends(),
        any::<bool>(),
        any::<bool>(),
        vec(any::<u8>(), 0..40),
    )
        .prop_map(|((source, destination), is_v1, with_crc, value)| {
            if is_v1 {
                return write_v1(source, destination).to_vec();
            }
            let mut into = [0; 256];
            let tlvs = [
                Tlv::Value {
                    kind: 4,
                    value: &value,
                },
                Tlv::Crc32c,
            ];
            let tlvs = if with_crc { &tlvs[..] } else { &tlvs[..1] };
            let len = write_v2(Some((source, destination)), tlvs, &mut into).expect("room");
            into[..len].to_vec()
        });
    let broken =
        (written, vec((any::<u16>(), any::<u8>()), 0..3)).prop_map(|(mut bytes, changes)| {
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            bytes
        });
    (broken, vec(any::<u8>(), 0..20)).prop_map(|(bytes, behind)| [bytes, behind].concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut((source, destination) in ends(), with_crc: bool, value in vec(any::<u8>(), 0..300), data in vec(any::<u8>(), 0..20)) {
        let mut into = [0; 512];
        let tlvs = [Tlv::Value { kind: 0xe0, value: &value }, Tlv::Crc32c];
        let tlvs = if with_crc { &tlvs[..] } else { &tlvs[..1] };
        let len = write_v2(Some((source, destination)), tlvs, &mut into).expect("room");
        let line = write_v1(source, destination);
        for (bytes, version) in [(&into[..len], 2), (&line[..], 1)] {
            for cut in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..cut], Versions::Any), Parsed::Partial);
            }
            let read = header(&[bytes, &data[..]].concat());
            prop_assert_eq!((read.len, read.version), (bytes.len(), version));
            prop_assert_eq!(read.is_crc32c_verified, with_crc && version == 2);
            let Origin::Relayed { source: from, destination: to } = read.origin else {
                panic!("{read:?}");
            };
            prop_assert_eq!((from.port(), to.port()), (source.port(), destination.port()));
            prop_assert_eq!(from.ip().to_canonical(), source.ip().to_canonical());
            prop_assert_eq!(to.ip().to_canonical(), destination.ip().to_canonical());
        }
    }

    #[test]
    fn a_decision_stands_whatever_follows(bytes in prop_oneof![nearly_headers(), vec(any::<u8>(), 0..200)]) {
        let mut decided = None;
        for len in 0..=bytes.len() {
            let read = parse(&bytes[..len], Versions::Any);
            if let Some(decided) = decided {
                prop_assert_eq!(read, decided);
            } else if read != Parsed::Partial {
                if let Parsed::Header(header) = read {
                    prop_assert_eq!(header.len, len);
                }
                decided = Some(read);
            }
        }
    }
}
