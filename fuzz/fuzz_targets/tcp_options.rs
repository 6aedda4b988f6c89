//! Any bytes as TCP options: every reader that the stack has says what a walk says that was written apart from it.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run tcp_options`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use stack::wire::tcp_options::{MAX_LEN, Options, SegmentOptions, TcpOption};

/// The values of a header's options (RFC 9293 §3.1, RFC 2018, RFC 7323).
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    mss: Option<u16>,
    scale: Option<u8>,
    sack_permitted: bool,
    timestamps: Option<(u32, u32)>,
    sack: Vec<(u32, u32)>,
    malformed: bool,
}

fn be32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Byte by byte: of an option that comes twice, the last counts; one of a wrong length says nothing.
fn walk(bytes: &[u8]) -> Said {
    let (mut said, mut at) = (Said::default(), 0);
    while at < bytes.len() && bytes[at] != 0 {
        if bytes[at] == 1 {
            at += 1;
            continue;
        }
        let len = bytes.get(at + 1).map_or(0, |len| usize::from(*len));
        if len < 2 || at + len > bytes.len() {
            said.malformed = true;
            break;
        }
        let value = &bytes[at + 2..at + len];
        match (bytes[at], value.len()) {
            (2, 2) => said.mss = Some(be32(value) as u16),
            (3, 1) => said.scale = Some(value[0]),
            (4, 0) => said.sack_permitted = true,
            (5, 8 | 16 | 24 | 32) => {
                let blocks = value.chunks(8);
                said.sack = blocks.map(|b| (be32(&b[..4]), be32(&b[4..]))).collect();
            }
            (8, 8) => said.timestamps = Some((be32(&value[..4]), be32(&value[4..]))),
            _ => {}
        }
        at += len;
    }
    said
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(MAX_LEN)];
    let said = walk(bytes);
    let stamps = |stamps: stack::wire::Timestamps| (stamps.tsval, stamps.tsecr);
    let mut walked = Said::default();
    for option in Options::new(bytes) {
        match option {
            Ok(TcpOption::Mss(mss)) => walked.mss = Some(mss),
            Ok(TcpOption::WindowScale(shift)) => walked.scale = Some(shift),
            Ok(TcpOption::SackPermitted) => walked.sack_permitted = true,
            Ok(TcpOption::Timestamps(read)) => walked.timestamps = Some(stamps(read)),
            Ok(TcpOption::Sack(blocks)) => {
                let edges = |block: &[u8]| (be32(&block[..4]), be32(&block[4..]));
                walked.sack = blocks.chunks(8).map(edges).collect();
            }
            Ok(_) => {}
            Err(_) => walked.malformed = true,
        }
    }
    assert_eq!(walked, said);
    let scale = said.scale.map(|scale| scale.min(14));
    let of_syn = SegmentOptions::parse_syn(bytes);
    assert_eq!(of_syn.mss, said.mss);
    assert_eq!(of_syn.window_scale, scale);
    assert_eq!(of_syn.sack_permitted, said.sack_permitted);
    assert_eq!(of_syn.timestamps.map(stamps), said.timestamps);
    let of_segment = SegmentOptions::parse(bytes);
    assert_eq!(of_segment.timestamps.map(stamps), said.timestamps);
});
