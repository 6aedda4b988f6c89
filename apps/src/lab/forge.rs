//! Frames that the network makes in a scene: segments that no end sent, ICMP errors, SYNs of a third host.
//!
//! It must never send: it makes bytes.

use std::net::SocketAddr;

use stack::icmp::{Refusal, port_unreachable};
use stack::tcp::lang::{Base, Spec};
use stack::wire::tcp::Flags;
use stack::wire::{EmitError, Link, MacAddr, OptionBytes, SegmentSpec};

use crate::lab::network::IcmpCode;

/// Bytes of an Ethernet header without a tag: the simulated link has none.
const ETHERNET_LEN: usize = 14;
/// Bytes of an IPv4 header without options, and of an IPv6 header.
const IP_LENS: [usize; 2] = [20, 40];
/// The first source port of a flood, and how many it uses.
const FLOOD_PORT: u16 = 1024;
const FLOOD_PORTS: u32 = 32_768;
/// More than any frame here.
const FRAME_LEN: usize = 2048;

/// A segment from `src` to `dst`, with the link addresses of both.
pub(crate) fn segment(
    spec: &Spec,
    base: Base,
    macs: [[u8; 6]; 2],
    src: SocketAddr,
    dst: SocketAddr,
) -> Result<Vec<u8>, EmitError> {
    let segment = spec.to_segment(base);
    let link = Link {
        src: MacAddr(macs[0]),
        dst: MacAddr(macs[1]),
        vlan: None,
    };
    let options: OptionBytes = segment.options.to_bytes();
    let payload = vec![b'?'; spec.payload_len as usize];
    emit(&SegmentSpec {
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        options: options.as_padded(),
        payload: &payload,
        ..SegmentSpec::new(link, src, dst)
    })
}

/// The source port of a flood's SYN number `n`.
pub(crate) const fn flood_port(n: u32) -> u16 {
    FLOOD_PORT + (n % FLOOD_PORTS) as u16
}

/// A SYN of a flood.
pub(crate) fn flood_syn(
    macs: [[u8; 6]; 2],
    src: SocketAddr,
    dst: SocketAddr,
    seq: u32,
) -> Result<Vec<u8>, EmitError> {
    let link = Link {
        src: MacAddr(macs[0]),
        dst: MacAddr(macs[1]),
        vlan: None,
    };
    emit(&SegmentSpec {
        seq: stack::seq::SeqNum(seq),
        flags: Flags::SYN,
        ..SegmentSpec::new(link, src, dst)
    })
}

fn emit(spec: &SegmentSpec<'_>) -> Result<Vec<u8>, EmitError> {
    let mut bytes = vec![0; FRAME_LEN];
    let len = spec.emit(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// The ICMP error about a segment, to its sender, as if its receiver had sent it.
pub(crate) fn icmp_error(
    about: &[u8],
    mac: [u8; 6],
    is_v4: bool,
    code: IcmpCode,
) -> Result<Vec<u8>, Refusal> {
    let mut bytes = about.to_vec();
    bytes.resize(FRAME_LEN, 0);
    // The length that counts is the one in the IP header.
    let len = port_unreachable(&mut bytes, MacAddr(mac))?;
    bytes.truncate(len);
    let at = ETHERNET_LEN + IP_LENS[usize::from(!is_v4)];
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let before = word(&bytes, at);
    bytes[at + 1] = code.code(is_v4);
    let sum = patched(word(&bytes, at + 2), before, word(&bytes, at));
    bytes[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

/// The checksum after a word has changed (RFC 1624, equation 3).
fn patched(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}
