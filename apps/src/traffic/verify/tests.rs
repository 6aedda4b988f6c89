//! Right replies pass, and every way to be wrong that we know of is found under its own name.
//!
//! It must never build replies with `stack`: both would be wrong together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::traffic::strict::sources;
use crate::traffic::template::{Headers, SynOptions};
use crate::traffic::tuples::{Numbers, Target};

const OUR_MAC: [u8; 6] = [4, 4, 4, 4, 4, 4];
const THEIR_MAC: [u8; 6] = [2, 2, 2, 2, 2, 2];
const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2));
const PORT: u16 = 80;
const KEY: [u64; 2] = [12, 13];

/// A verifier and one tuple whose SYN it knows.
struct Bench {
    verifier: Verifier,
    tuple: Tuple,
    numbers: Numbers,
    v6: bool,
}

fn bench(expect: Expect, address: IpAddr, options: SynOptions) -> Bench {
    let target = Target {
        mac: THEIR_MAC,
        address,
        port: PORT,
    };
    let v6 = address.is_ipv6();
    let space = TupleSpace::new(sources(v6).expect("a pool"), vec![target], KEY);
    let tuple = space.get(4_000_000_123);
    let numbers = space.numbers(tuple.index, 0);
    let syn = Template::new(v6, FLAG_SYN, &Headers::linux(OUR_MAC, options));
    Bench {
        verifier: Verifier::new(expect, OUR_MAC, &syn, space),
        tuple,
        numbers,
        v6,
    }
}

impl Bench {
    /// A reply with these TCP fields, padded to 60 bytes, its checksums not filled in.
    fn unsummed(&self, seq: u32, ack: u32, flags: u8, options: &[u8]) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend_from_slice(&PORT.to_be_bytes());
        tcp.extend_from_slice(&self.tuple.source.port.to_be_bytes());
        tcp.extend_from_slice(&seq.to_be_bytes());
        tcp.extend_from_slice(&ack.to_be_bytes());
        let offset = ((20 + options.len()) / 4) as u8;
        tcp.extend_from_slice(&[offset << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(options);
        let mut frame = [OUR_MAC, THEIR_MAC].concat();
        if self.v6 {
            frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, tcp.len() as u8, 6, 64]);
            let IpAddr::V6(address) = V6 else {
                unreachable!()
            };
            frame.extend_from_slice(&address.octets());
            frame.extend_from_slice(&self.tuple.source.address.to_be_bytes());
        } else {
            let total = (20 + tcp.len()) as u8;
            frame.extend_from_slice(&[0x08, 0, 0x45, 0, 0, total, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            let IpAddr::V4(address) = V4 else {
                unreachable!()
            };
            frame.extend_from_slice(&address.octets());
            frame.extend_from_slice(&(self.tuple.source.address as u32).to_be_bytes());
        }
        frame.extend_from_slice(&tcp);
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn rst(&self) -> Vec<u8> {
        summed(self.unsummed(
            0,
            self.numbers.seq.wrapping_add(1),
            FLAG_RST | FLAG_ACK,
            &[],
        ))
    }

    /// The options of a right SYN-ACK to a SYN with `linux` options.
    fn linux_options(&self) -> Vec<u8> {
        let mut options = vec![2, 4, 0x05, 0xb4, 1, 3, 3, 7, 1, 1, 8, 10, 1, 2, 3, 4];
        options.extend_from_slice(&self.numbers.tsval.to_be_bytes());
        options
    }

    fn syn_ack(&self, options: &[u8]) -> Vec<u8> {
        let ack = self.numbers.seq.wrapping_add(1);
        summed(self.unsummed(77, ack, FLAG_SYN | FLAG_ACK, options))
    }

    /// The judgement of `frame` with `change` made to it and its checksums right again.
    fn after(&self, mut frame: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Judgement {
        change(&mut frame);
        self.verifier.judge(&summed(frame))
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

fn folded(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

/// With both checksums right for whatever stands in it.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let v6 = frame[12..14] == ETHERTYPE_IPV6;
    let (tcp, end) = if v6 {
        (54, 54 + usize::from(frame[19]))
    } else {
        frame[24..26].fill(0);
        let checksum = folded(sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&checksum);
        (34, 14 + usize::from(frame[17]))
    };
    let Some(segment) = frame.get(tcp..end).filter(|segment| segment.len() >= 20) else {
        return frame;
    };
    let addresses = if v6 { &frame[22..54] } else { &frame[26..34] };
    let mut total = sum(addresses) + 6 + segment.len() as u32 + sum(segment);
    total -= sum(&segment[16..18]);
    frame[tcp + 16..tcp + 18].copy_from_slice(&folded(total));
    frame
}

#[test]
fn right_replies_pass_in_both_families() {
    for address in [V4, V6] {
        for options in [SynOptions::Bare, SynOptions::Linux] {
            let bench = bench(Expect::Rst, address, options);
            assert_eq!(
                bench.verifier.judge(&bench.rst()),
                Judgement::Verified(bench.tuple)
            );
        }
        let plain = bench(Expect::Syn, address, SynOptions::Bare);
        let reply = plain.syn_ack(&[2, 4, 5, 180]);
        assert_eq!(
            plain.verifier.judge(&reply),
            Judgement::Verified(plain.tuple)
        );
        let linux = bench(Expect::Syn, address, SynOptions::Linux);
        let reply = linux.syn_ack(&linux.linux_options());
        assert_eq!(
            linux.verifier.judge(&reply),
            Judgement::Verified(linux.tuple)
        );
    }
}

#[test]
fn every_wrong_field_of_a_reset_is_found_under_its_name() {
    type Change = fn(&mut Vec<u8>);
    let changes: &[(ReplyFault, Change)] = &[
        (ReplyFault::Truncated, |frame| frame.truncate(53)),
        (ReplyFault::Truncated, |frame| frame[17] = 100),
        (ReplyFault::Truncated, |frame| frame[46] = 0x40),
        (ReplyFault::Mac, |frame| frame[0] ^= 1),
        (ReplyFault::Mac, |frame| frame[11] ^= 1),
        (ReplyFault::EtherType, |frame| frame[13] = 1),
        (ReplyFault::IpHeader, |frame| frame[14] = 0x46),
        (ReplyFault::IpHeader, |frame| frame[20] = 0x20),
        (ReplyFault::IpHeader, |frame| frame[21] = 1),
        (ReplyFault::IpHeader, |frame| frame[22] = 0),
        (ReplyFault::IpHeader, |frame| frame[23] = 17),
        (ReplyFault::Address, |frame| frame[29] = 3),
        (ReplyFault::Address, |frame| frame[30] = 10),
        (ReplyFault::Port, |frame| frame[35] = 81),
        (ReplyFault::Port, |frame| frame[36] = 0),
        (ReplyFault::AcknowledgmentNumber, |frame| frame[37] ^= 1),
        (ReplyFault::AcknowledgmentNumber, |frame| frame[33] ^= 1),
        (ReplyFault::AcknowledgmentNumber, |frame| frame[45] ^= 1),
        (ReplyFault::SequenceNumber, |frame| frame[38] = 1),
        (ReplyFault::Flags, |frame| frame[47] = FLAG_RST),
        (ReplyFault::Flags, |frame| {
            frame[47] = FLAG_RST | FLAG_ACK | FLAG_SYN;
        }),
        (ReplyFault::Flags, |frame| frame[46] = 0x51),
        (ReplyFault::UrgentPointer, |frame| frame[53] = 1),
        (ReplyFault::Payload, |frame| frame[17] += 1),
        (ReplyFault::OptionsMalformed, |frame| {
            (frame[17], frame[46]) = (44, 0x60);
        }),
        (ReplyFault::Padding, |frame| frame[59] = 1),
    ];
    let bench = bench(Expect::Rst, V4, SynOptions::Bare);
    for (wrong, change) in changes {
        assert_eq!(
            bench.after(bench.rst(), change),
            Judgement::Wrong(*wrong),
            "{wrong:?}"
        );
    }
}

#[test]
fn wrong_checksums_and_every_truncation_are_found() {
    let v4 = bench(Expect::Rst, V4, SynOptions::Bare);
    let judge = |mut frame: Vec<u8>, at: usize| {
        frame[at] ^= 0x10;
        v4.verifier.judge(&frame)
    };
    assert_eq!(
        judge(v4.rst(), 24),
        Judgement::Wrong(ReplyFault::IpChecksum)
    );
    assert_eq!(
        judge(v4.rst(), 50),
        Judgement::Wrong(ReplyFault::TcpChecksum)
    );
    for len in 0..54 {
        let cut: Box<[u8]> = v4.rst()[..len].into();
        assert_eq!(
            v4.verifier.judge(&cut),
            Judgement::Wrong(ReplyFault::Truncated),
            "{len} bytes"
        );
    }
    let v6 = bench(Expect::Rst, V6, SynOptions::Bare);
    let mut frame = v6.rst();
    frame[70] ^= 1;
    assert_eq!(
        v6.verifier.judge(&frame),
        Judgement::Wrong(ReplyFault::TcpChecksum)
    );
}

#[test]
fn wrong_ipv6_headers_are_found() {
    let bench = bench(Expect::Rst, V6, SynOptions::Bare);
    let wrong = |change: fn(&mut Vec<u8>)| bench.after(bench.rst(), change);
    assert_eq!(
        wrong(|frame| frame[14] = 0x50),
        Judgement::Wrong(ReplyFault::IpHeader)
    );
    assert_eq!(
        wrong(|frame| frame[21] = 0),
        Judgement::Wrong(ReplyFault::IpHeader)
    );
    assert_eq!(
        wrong(|frame| frame[22] ^= 1),
        Judgement::Wrong(ReplyFault::Address)
    );
    assert_eq!(
        wrong(|frame| frame[38] ^= 1),
        Judgement::Wrong(ReplyFault::Address)
    );
    assert_eq!(
        wrong(|frame| frame[19] += 40),
        Judgement::Wrong(ReplyFault::Truncated)
    );
}

#[test]
fn every_wrong_option_of_a_syn_ack_is_found_under_its_name() {
    let linux = bench(Expect::Syn, V4, SynOptions::Linux);
    let right = linux.linux_options();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut options = right.clone();
        change(&mut options);
        options.resize(options.len().div_ceil(4) * 4, 0);
        linux.verifier.judge(&linux.syn_ack(&options))
    };
    for (wrong, judged) in [
        (ReplyFault::MssMissing, with(|options| options[..4].fill(1))),
        (
            ReplyFault::OptionsMalformed,
            with(|options| options[2..4].fill(0)),
        ),
        (
            ReplyFault::Timestamps,
            with(|options| options[10..].fill(1)),
        ),
        (ReplyFault::Timestamps, with(|options| options[19] ^= 1)),
        (ReplyFault::WindowScale, with(|options| options[7] = 15)),
        (
            ReplyFault::SackPermitted,
            with(|options| options.extend([4, 2])),
        ),
        (
            ReplyFault::OptionsMalformed,
            with(|options| options.extend([2, 4, 5, 180])),
        ),
        (
            ReplyFault::OptionsMalformed,
            with(|options| options.extend([254, 2])),
        ),
        (
            ReplyFault::OptionsMalformed,
            with(|options| options.extend([1, 1, 1, 8])),
        ),
        (
            ReplyFault::OptionsMalformed,
            with(|options| options.extend([1, 1, 5, 1])),
        ),
        (
            ReplyFault::OptionsMalformed,
            with(|options| options.extend([0, 0, 0, 1])),
        ),
    ] {
        assert_eq!(judged, Judgement::Wrong(wrong));
    }
    let plain = bench(Expect::Syn, V4, SynOptions::Bare);
    let judge = |options: &[u8]| plain.verifier.judge(&plain.syn_ack(options));
    assert_eq!(judge(&right), Judgement::Wrong(ReplyFault::WindowScale));
    assert_eq!(
        judge(&[2, 4, 5, 180, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
        Judgement::Wrong(ReplyFault::Timestamps)
    );
}

#[test]
fn a_reply_of_the_other_kind_is_wrong() {
    let closed = bench(Expect::Rst, V4, SynOptions::Bare);
    let open = bench(Expect::Syn, V4, SynOptions::Bare);
    let syn_ack = open.syn_ack(&[2, 4, 5, 180]);
    assert_eq!(
        closed.verifier.judge(&syn_ack),
        Judgement::Wrong(ReplyFault::Flags)
    );
    assert_eq!(
        open.verifier.judge(&closed.rst()),
        Judgement::Wrong(ReplyFault::Flags)
    );
}

#[test]
fn an_echo_is_the_frame_with_swapped_macs_and_nothing_else() {
    for address in [V4, V6] {
        let bench = bench(Expect::Echo, address, SynOptions::Linux);
        let len = bench.verifier.syn.len();
        let mut echo = vec![0; len];
        let (source, numbers) = (bench.tuple.source, bench.numbers);
        bench.verifier.syn.write(&mut echo, source, numbers);
        echo[..12].copy_from_slice(&[OUR_MAC, THEIR_MAC].concat());
        assert_eq!(
            bench.verifier.judge(&echo),
            Judgement::Verified(bench.tuple)
        );
        for at in 0..len {
            let mut other = echo.clone();
            other[at] ^= 0x40;
            assert!(
                matches!(bench.verifier.judge(&other), Judgement::Wrong(_)),
                "byte {at}"
            );
        }
        echo.push(0);
        assert_eq!(
            bench.verifier.judge(&echo),
            Judgement::Wrong(ReplyFault::Truncated)
        );
    }
}

#[test]
fn neighbour_traffic_is_no_reply_and_not_wrong() {
    let bench = bench(Expect::Rst, V4, SynOptions::Bare);
    let mut arp = bench.rst();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(bench.verifier.judge(&arp), Judgement::Housekeeping);
    let mut ndp = bench.rst();
    ndp[12..14].copy_from_slice(&ETHERTYPE_IPV6);
    ndp[20] = PROTOCOL_ICMPV6;
    assert_eq!(bench.verifier.judge(&ndp), Judgement::Housekeeping);
}

#[test]
fn reasons_have_unique_names() {
    let mut names: Vec<_> = ReplyFault::ALL.iter().map(|reason| reason.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ReplyFault::ALL.len());
}
