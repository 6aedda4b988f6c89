//! DPDK's own checksum verifiers, as safe functions over bytes.
//!
//! It must never call our own checksum code. Bounds and lengths are checked before DPDK reads: DPDK trusts the header.

use dpdk_sys as sys;

const IPV4_HEADER_MIN_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// The packet can't be verified: it is truncated, its lengths contradict each other, or it is neither TCP nor UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a whole IP packet with TCP or UDP")]
#[non_exhaustive]
pub struct Malformed;

/// Whether the header checksum of an IPv4 packet (from its first byte on) is right, RFC 791 §3.1.
///
/// # Errors
/// [`Malformed`] when the header is not whole.
pub fn ipv4_header(packet: &[u8]) -> Result<bool, Malformed> {
    ipv4_header_bytes(packet)?;
    // SAFETY: the header is whole with its options (just checked); DPDK reads no further and at any alignment.
    Ok(unsafe { sys::sl_ipv4_header_cksum(packet.as_ptr().cast()) } == 0)
}

/// Whether the TCP or UDP checksum of an IPv4 packet is right, RFC 9293 §3.1, RFC 768. Bytes behind the packet's total
/// length (Ethernet padding) don't count. A UDP checksum of 0 (not computed) counts as wrong.
///
/// # Errors
/// [`Malformed`] when the packet is not whole, is a fragment, or is neither TCP nor UDP.
pub fn ipv4_l4(packet: &[u8]) -> Result<bool, Malformed> {
    let header = ipv4_header_bytes(packet)?;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    let l4 = total.checked_sub(header).ok_or(Malformed)?;
    if fragment || total > packet.len() || l4 < l4_header_bytes(packet[9])? {
        return Err(Malformed);
    }
    // SAFETY: the packet is whole up to the total length that DPDK goes by, and the L4 header lies inside it.
    let wrong = unsafe {
        sys::sl_ipv4_l4_cksum_verify(packet.as_ptr().cast(), packet[header..].as_ptr().cast())
    };
    Ok(wrong == 0)
}

/// Whether the TCP or UDP checksum of an IPv6 packet without extension headers is right, RFC 8200 §8.1. Bytes behind the
/// payload length don't count.
///
/// # Errors
/// [`Malformed`] when the packet is not whole, has extension headers, or is neither TCP nor UDP.
pub fn ipv6_l4(packet: &[u8]) -> Result<bool, Malformed> {
    if packet.len() < IPV6_HEADER_BYTES || packet[0] >> 4 != 6 {
        return Err(Malformed);
    }
    let payload = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    if payload > packet.len() - IPV6_HEADER_BYTES || payload < l4_header_bytes(packet[6])? {
        return Err(Malformed);
    }
    let l4 = packet[IPV6_HEADER_BYTES..].as_ptr();
    // SAFETY: the packet is whole up to the payload length that DPDK goes by, and the L4 header lies inside it.
    Ok(unsafe { sys::sl_ipv6_l4_cksum_verify(packet.as_ptr().cast(), l4.cast()) } == 0)
}

fn ipv4_header_bytes(packet: &[u8]) -> Result<usize, Malformed> {
    let first = *packet.first().ok_or(Malformed)?;
    let bytes = usize::from(first & 0xf) * 4;
    let whole = first >> 4 == 4 && bytes >= IPV4_HEADER_MIN_BYTES && packet.len() >= bytes;
    if whole { Ok(bytes) } else { Err(Malformed) }
}

fn l4_header_bytes(protocol: u8) -> Result<usize, Malformed> {
    match protocol {
        PROTOCOL_TCP => Ok(20),
        PROTOCOL_UDP => Ok(8),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN from 198.18.0.1:1234 to 198.18.0.2:80 as scapy builds it: neither our checksum code nor DPDK's.
    const SYN: [u8; 40] = [
        0x45, 0x00, 0x00, 0x28, 0x00, 0x01, 0x00, 0x00, 0x40, 0x06, 0xee, 0xa7, 0xc6, 0x12, 0x00,
        0x01, 0xc6, 0x12, 0x00, 0x02, 0x04, 0xd2, 0x00, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x50, 0x02, 0x20, 0x00, 0xfe, 0x98, 0x00, 0x00,
    ];

    #[test]
    fn right_checksums_are_right_and_every_flipped_bit_is_found() {
        assert_eq!(ipv4_header(&SYN), Ok(true));
        assert_eq!(ipv4_l4(&SYN), Ok(true));
        for bit in 160..320 {
            let mut broken = SYN;
            broken[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(ipv4_l4(&broken), Ok(false), "bit {bit}");
        }
        for bit in (16..160).filter(|bit| bit / 8 != 2 && bit / 8 != 3) {
            let mut broken = SYN;
            broken[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(ipv4_header(&broken), Ok(false), "bit {bit}");
        }
    }

    #[test]
    fn padding_behind_the_packet_does_not_count() {
        let mut padded = [0xaa; 46];
        padded[..40].copy_from_slice(&SYN);
        assert_eq!(ipv4_l4(&padded), Ok(true));
    }

    #[test]
    fn every_truncation_is_malformed_and_never_read_past() {
        for len in 0..SYN.len() {
            // A boxed copy of exactly that size, so that a read past it is one that valgrind or ASan sees.
            let cut: Box<[u8]> = SYN[..len].into();
            assert_eq!(ipv4_l4(&cut), Err(Malformed), "{len} bytes");
        }
        assert_eq!(ipv6_l4(&[0x60; 39]), Err(Malformed));
    }

    #[test]
    fn ipv6_goes_by_payload_length_and_protocol() {
        // The TCP header of SYN under an IPv6 header whose addresses sum to the same pseudo-header.
        let mut packet = [0; 60];
        packet[0] = 0x60;
        packet[5] = 20;
        packet[6] = PROTOCOL_TCP;
        packet[20..24].copy_from_slice(&SYN[12..16]);
        packet[36..40].copy_from_slice(&SYN[16..20]);
        packet[40..].copy_from_slice(&SYN[20..]);
        assert_eq!(ipv6_l4(&packet), Ok(true));
        packet[59] ^= 1;
        assert_eq!(ipv6_l4(&packet), Ok(false));
        packet[5] = 21;
        assert_eq!(ipv6_l4(&packet), Err(Malformed));
        packet[5] = 20;
        packet[6] = 44;
        assert_eq!(ipv6_l4(&packet), Err(Malformed));
    }
}
