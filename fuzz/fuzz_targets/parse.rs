//! Any bytes as a received frame: parsing, checksums, TCP options, neighbour discovery, ICMP errors and every answer that is
//! written in place. Nothing may panic; offsets must stay inside; what we answer must itself be well-formed and right.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run parse`; see `cargo fuzz --help`. Seeds: `fuzz/seeds/parse`, kernel frames.
#![no_main]
#![forbid(unsafe_code)]

use core::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use stack::icmp::{self, Refusal};
use stack::wire::{
    self, Defect, MacAddr, Network, OptionBytes, Parsed, SegmentOptions, Transport, ndp,
    tcp_options,
};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const LOCAL: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);

fuzz_target!(|frame: &[u8]| {
    options(frame);
    let Ok(parsed) = wire::parse(frame) else {
        return;
    };
    look_at(frame, &parsed);
    let intact = parsed.verify_checksums(true, true).is_ok();
    answer(frame, intact, |frame| {
        icmp::echo_reply(frame, MAC, Some(LOCAL))
    });
    answer(frame, intact, |frame| icmp::arp_reply(frame, MAC));
    answer(frame, intact, |frame| icmp::neighbor_reply(frame, MAC));
    answer(frame, intact, |frame| icmp::port_unreachable(frame, MAC));
});

fn look_at(frame: &[u8], parsed: &Parsed<'_>) {
    assert!(parsed.l3_offset() <= parsed.l4_offset());
    assert!(parsed.l4_offset() <= parsed.end_offset() && parsed.end_offset() <= frame.len());
    let _ = icmp::parse_error(parsed);
    match parsed.network {
        Network::Ipv6 {
            packet,
            transport: Transport::Icmpv6(message),
        } => {
            let _ = ndp::parse(packet.header, message);
        }
        _ => {
            if let Some(segment) = parsed.tcp() {
                options(segment.options);
                assert!(segment.seq_len() >= segment.payload.len() as u32);
            }
        }
    }
}

/// Parsed options must survive being written and read again.
fn options(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(tcp_options::MAX_LEN)];
    let read = SegmentOptions::parse(bytes);
    let built = OptionBytes::syn(
        read.mss,
        read.window_scale,
        read.sack_permitted,
        read.timestamps,
    );
    assert_eq!(SegmentOptions::parse(built.as_padded()), read);
    assert!(tcp_options::Options::new(built.as_padded()).all(|option| option.is_ok()));
}

fn answer(frame: &[u8], intact: bool, write: impl Fn(&mut [u8]) -> Result<usize, Refusal>) {
    let mut answer = frame.to_vec();
    let mut result = write(&mut answer);
    if let Err(Refusal::NoRoom { needed }) = result {
        assert!(needed > answer.len() && answer == frame);
        answer.resize(needed, 0);
        result = write(&mut answer);
        assert!(!matches!(result, Err(Refusal::NoRoom { .. })));
    }
    match result {
        Ok(len) => {
            let parsed = match wire::parse(&answer[..len]) {
                Ok(parsed) => parsed,
                // That the address asked for can be ours is the caller's to know.
                Err(Defect::Ipv4Source | Defect::Ipv6Source | Defect::ArpSenderIp) => return,
                Err(defect) => panic!("an answer with {defect:?}"),
            };
            assert_eq!(parsed.end_offset(), len);
            assert_eq!(parsed.link.src, MAC);
            if intact {
                assert_eq!(parsed.verify_checksums(true, true), Ok(()));
            }
        }
        Err(_) => assert_eq!(answer, frame),
    }
}
