//! The answer of a router to a packet that is too large for the link behind it: ICMP "fragmentation needed" with the next hop's
//! MTU (RFC 1191 §4), ICMPv6 "packet too big" (RFC 4443 §3.2). At no rate limit.
//!
//! It must never use `wire` or `icmp`: a mistake there would forgive itself here.
//!
//! [`LinkSpec`]: super::link::LinkSpec

use super::host_id::HostId;
use super::inspect::{Places, ipv4_checksum_is_right, ones_complement_sum, places};

/// The sender of frames that a router makes: no host has this id.
pub const ROUTER: HostId = HostId(u16::MAX);

/// Its link address.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];
/// Its IPv4 address, on no host's link.
const ROUTER_V4: [u8; 4] = [198, 18, 255, 1];
/// And its IPv6 address.
const ROUTER_V6: [u8; 16] = [
    0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
];

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 64;

/// Bytes of an IPv4 error at most (RFC 1812 §4.3.2.3).
const ERROR_V4_LEN: usize = 576;
/// Bytes of an IPv6 error at most (RFC 4443 §2.4 (c)).
const ERROR_V6_LEN: usize = 1280;

/// Whether the IP packet in a frame is longer than `mtu`. IPv4 packets that may be fragmented pass: no fragments are
/// simulated.
#[must_use]
pub fn is_too_big(frame: &[u8], mtu: u16) -> bool {
    const DONT_FRAGMENT: u8 = 0x40;
    let Ok(Some(at)) = places(frame) else {
        return false;
    };
    let may_be_cut = !at.is_v6 && frame[at.ip + 6] & DONT_FRAGMENT == 0;
    at.end - at.ip > usize::from(mtu) && !may_be_cut
}

/// The frame that informs its sender that a frame is too large for a link of `mtu` bytes. `None` for one that gets no ICMP
/// error (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)): an ICMP error, one to a group, or one whose IPv4 header is damaged.
#[must_use]
pub fn too_big(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let at = places(frame).ok()??;
    let is_to_group = frame[0] & 1 == 1;
    if is_to_group || !ipv4_checksum_is_right(frame, &at) || is_icmp_error(frame, &at) {
        return None;
    }
    let mut error = Vec::new();
    error.extend(&frame[6..12]);
    error.extend(ROUTER_MAC);
    // EtherType, behind the tag that the frame had.
    error.extend(&frame[12..at.ip]);
    let packet = &frame[at.ip..at.end];
    error.extend(match at.is_v6 {
        true => error_v6(packet, mtu),
        false => error_v4(packet, mtu),
    });
    Some(error)
}

fn is_icmp_error(frame: &[u8], at: &Places) -> bool {
    match (at.protocol, frame.get(at.transport)) {
        (ICMP, Some(kind)) => matches!(kind, 3..=5 | 11 | 12),
        (ICMPV6, Some(kind)) => *kind < 128,
        _ => false,
    }
}

fn error_v4(packet: &[u8], mtu: u16) -> Vec<u8> {
    let quote = &packet[..packet.len().min(ERROR_V4_LEN - 28)];
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOP_LIMIT, ICMP, 0, 0];
    ip[2..4].copy_from_slice(&(28 + quote.len() as u16).to_be_bytes());
    ip.extend(ROUTER_V4);
    ip.extend(&packet[12..16]);
    put_checksum(&mut ip, 10, 0);
    let [high, low] = mtu.to_be_bytes();
    let mut icmp = vec![3, 4, 0, 0, 0, 0, high, low];
    icmp.extend(quote);
    put_checksum(&mut icmp, 2, 0);
    [ip, icmp].concat()
}

fn error_v6(packet: &[u8], mtu: u16) -> Vec<u8> {
    let quote = &packet[..packet.len().min(ERROR_V6_LEN - 48)];
    let len = 8 + quote.len() as u16;
    let mut ip = vec![0x60, 0, 0, 0, 0, 0, ICMPV6, HOP_LIMIT];
    ip[4..6].copy_from_slice(&len.to_be_bytes());
    ip.extend(ROUTER_V6);
    ip.extend(&packet[8..24]);
    let [high, low] = mtu.to_be_bytes();
    let mut icmp = vec![2, 0, 0, 0, 0, 0, high, low];
    icmp.extend(quote);
    let addresses = u32::from(ones_complement_sum(&ip[8..40], 0));
    put_checksum(&mut icmp, 2, addresses + u32::from(ICMPV6) + u32::from(len));
    [ip, icmp].concat()
}

/// The checksum over all bytes, those at `at` being zero, and a pseudo-header whose sum is `start`.
fn put_checksum(bytes: &mut [u8], at: usize, start: u32) {
    let sum = !ones_complement_sum(bytes, start);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::icmp::{ErrorKind, parse_error};
    use crate::sim::inspect::inspect;
    use crate::wire::parse;

    const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// A TCP segment with `payload` bytes, in a VLAN or in none; its checksum is wrong, which is no router's business.
    fn frame(is_v6: bool, tag: &[u8], payload: usize) -> Vec<u8> {
        let (v4, v6) = (20 + 20 + payload as u16, 20 + payload as u16);
        let mut ip = if is_v6 {
            let mut ip = vec![0x60, 0, 0, 0, 0, 0, 6, 64];
            ip[4..6].copy_from_slice(&v6.to_be_bytes());
            let address = |n| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n];
            ip.extend([address(1), address(2)].concat());
            ip
        } else {
            let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
            ip[2..4].copy_from_slice(&v4.to_be_bytes());
            ip.extend([198, 18, 0, 1, 198, 18, 0, 2]);
            put_checksum(&mut ip, 10, 0);
            ip
        };
        ip.extend([
            0, 80, 0, 81, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0,
        ]);
        ip.extend(vec![9; payload]);
        let ethertype: [u8; 2] = if is_v6 { [0x86, 0xdd] } else { [8, 0] };
        let link = [[2, 0, 0, 0, 0, 2], HOST].concat();
        [&link, tag, &ethertype, &ip].concat()
    }

    /// The judge finds it well made, and the stack reads from it what was meant.
    #[test]
    fn both_families_are_answered_with_the_mtu_in_the_vlan_of_the_packet() {
        for (is_v6, tag) in [
            (false, &[][..]),
            (true, &[][..]),
            (true, &[0x81, 0, 0, 5][..]),
        ] {
            let sent = frame(is_v6, tag, 1_400);
            let header = if is_v6 { 60 } else { 40 };
            assert!(is_too_big(&sent, 1_399 + header));
            assert!(!is_too_big(&sent, 1_400 + header));
            let error = too_big(&sent, 1_300).expect("an answer");
            assert_eq!(inspect(&error, ROUTER_MAC, 1_280), Ok(()));
            assert_eq!(error[..6], HOST);
            assert_eq!(error[12..12 + tag.len()], *tag);
            let parsed = parse(&error).expect("a packet");
            let said = parse_error(&parsed).expect("an error");
            assert_eq!(said.kind, ErrorKind::TooBig { mtu: 1_300 });
            assert_eq!(said.quote.packet_len, 1_400 + u32::from(header));
            assert_eq!((said.quote.src_port, said.quote.seq.0), (80, 7));
        }
    }

    #[test]
    fn an_error_a_group_and_a_damaged_header_are_not_answered() {
        let sent = frame(false, &[], 1_400);
        let mut damaged = sent.clone();
        damaged[30] ^= 1;
        let mut to_group = sent.clone();
        to_group[0] = 3;
        for frame in [damaged, to_group] {
            assert!(is_too_big(&frame, 1_300));
            assert_eq!(too_big(&frame, 1_300), None);
        }
        for is_v6 in [false, true] {
            let error = too_big(&frame(is_v6, &[], 1_400), 1_300).expect("an answer");
            assert_eq!(too_big(&error, 100), None);
        }
        let mut may_be_cut = sent;
        may_be_cut[20] = 0;
        assert!(!is_too_big(&may_be_cut, 1_300));
    }
}
