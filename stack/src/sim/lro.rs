//! [`join`]: what a NIC with large receive offload makes of segments in a row, by the rules of Linux's GRO (`tcp_gro_receive`), but
//! that it goes on behind PSH.
//!
//! It must never use `wire`: a mistake there would forgive itself here.

use super::frame::SimFrame;
use super::inspect::{self, Places, Tcp};
use super::tso::{put, write_ip_len};
use crate::nic::{Frame as _, IpVersion};

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// The places of a right frame with a TCP segment that may be joined to others: it has payload, and neither options of IPv4 nor
/// control bits but ACK, PSH and FIN.
fn segment(bytes: &[u8]) -> Option<(Places, Tcp<'_>)> {
    let at = inspect::places(bytes).ok()??;
    let tcp = Tcp::of(bytes)?;
    let ip_header_len = if at.is_v6 { 40 } else { 20 };
    let is_plain = tcp.flags() & !(FIN | PSH) == ACK
        && !tcp.payload().is_empty()
        && at.transport - at.ip == ip_header_len
        && inspect::checksums_are_right(bytes);
    is_plain.then_some((at, tcp))
}

/// Puts the payload of `next` behind that of `whole`, which is one segment or several that were joined.
///
/// # Errors
/// `next`, where it does not follow.
pub(super) fn join(whole: &mut SimFrame, next: SimFrame) -> Result<(), SimFrame> {
    let (before, behind) = (whole.to_vec(), next.to_vec());
    let (Some((at, first)), Some((next_at, second))) = (segment(&before), segment(&behind)) else {
        return Err(next);
    };
    let follows = first.seq().wrapping_add(first.payload().len() as u32) == second.seq();
    let is_alike = before[..at.ip] == behind[..next_at.ip]
        && inspect::ends(&before) == inspect::ends(&behind)
        && first.ports() == second.ports()
        && (first.ack(), first.window()) == (second.ack(), second.window())
        && first.options() == second.options();
    let end = at.end + second.payload().len();
    let fits = end - at.ip <= usize::from(u16::MAX) && first.flags() & FIN == 0;
    let is_free = next.is_contiguous() && whole.first_mut().is_some();
    if !(follows && is_alike && fits && is_free) {
        return Err(next);
    }
    let payload = next_at.end - second.payload().len()..next_at.end;
    whole.absorb(at.end, next, payload);
    let mut joined = whole.to_vec();
    joined[at.transport + 13] = second.flags();
    write_lengths_and_checksums(&mut joined, Places { end, ..at });
    if let Some(bytes) = whole.first_mut() {
        let len = bytes.len();
        bytes.copy_from_slice(&joined[..len]);
    }
    Ok(())
}

fn write_lengths_and_checksums(bytes: &mut [u8], at: Places) {
    let version = if at.is_v6 {
        IpVersion::V6
    } else {
        IpVersion::V4
    };
    write_ip_len(bytes, version, at.ip, at.transport);
    put(bytes, at.transport + 16, 0);
    let sum = inspect::transport_sum(bytes, &at);
    put(bytes, at.transport + 16, !sum);
}

#[cfg(test)]
mod tests {
    use super::super::frame::Pool;
    use super::super::tso;
    use super::*;
    use crate::nic::{Cut, TxRequest};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// A right frame with a segment of this payload.
    fn frame(is_v6: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
        let transport = if is_v6 { 54 } else { 34 };
        let mut bytes = vec![0; transport + 20];
        bytes[6..12].copy_from_slice(&MAC);
        bytes[12..14].copy_from_slice(if is_v6 { &[0x86, 0xdd] } else { &[8, 0] });
        bytes[14] = if is_v6 { 0x60 } else { 0x45 };
        bytes[if is_v6 { 20 } else { 23 }] = 6;
        bytes[transport + 7] = 9;
        bytes[transport + 12..transport + 14].copy_from_slice(&[0x50, flags]);
        bytes.extend_from_slice(payload);
        let at = Places {
            ip: 14,
            is_v6,
            protocol: 6,
            transport,
            end: bytes.len(),
        };
        write_lengths_and_checksums(&mut bytes, at);
        bytes
    }

    /// What a NIC makes of a large segment that is to be cut into segments of 100 bytes.
    fn cut(bytes: &[u8], is_v6: bool) -> Vec<Vec<u8>> {
        let request = TxRequest {
            ip: if is_v6 { IpVersion::V6 } else { IpVersion::V4 },
            l2_len: 14,
            l3_len: if is_v6 { 40 } else { 20 },
            ipv4_checksum: true,
            tcp_checksum: true,
            cut: None,
        };
        let mut bytes = bytes.to_vec();
        let at = inspect::places(&bytes).ok().flatten().expect("a packet");
        // The sum of the pseudo-header without its length, as the request for a cut wants it.
        let mut pseudo = bytes.clone();
        pseudo[at.transport..].fill(0);
        let len = (at.end - at.transport) as u32;
        let sum = inspect::transport_sum(&pseudo, &at);
        let sum = inspect::ones_complement_sum(&sum.to_be_bytes(), u32::from(!(len as u16)));
        put(&mut bytes, at.transport + 16, sum);
        let cut = Cut {
            l4_len: 20,
            segment_bytes: 100,
        };
        tso::segments(&bytes, request, cut)
    }

    fn received(pool: &std::sync::Arc<Pool>, bytes: &[u8]) -> SimFrame {
        SimFrame::new(pool, bytes).expect("room")
    }

    #[test]
    fn what_a_nic_has_cut_another_joins() {
        let payload: Vec<u8> = (0..=255).cycle().take(950).collect();
        for is_v6 in [false, true] {
            let whole = frame(is_v6, ACK | PSH | FIN, &payload);
            let pool = Pool::new(20);
            let pieces = cut(&whole, is_v6);
            assert_eq!(pieces.len(), 10);
            let mut pieces = pieces.iter().map(|piece| received(&pool, piece));
            let mut joined = pieces.next().expect("a piece");
            for piece in pieces {
                assert!(join(&mut joined, piece).is_ok());
            }
            assert_eq!(joined.to_vec(), whole);
            assert_eq!(joined.buffers(), 10);
            assert_eq!(inspect::inspect(&joined.to_vec(), MAC, 1500), Ok(()));
        }
    }

    #[test]
    fn what_does_not_follow_is_given_back() {
        let pool = Pool::new(20);
        let pieces = cut(&frame(false, ACK | FIN, &[7; 300]), false);
        let refuses = |first: &[u8], next: &[u8]| {
            let before = received(&pool, first).to_vec();
            let mut whole = received(&pool, first);
            let refused = join(&mut whole, received(&pool, next)).is_err();
            assert_eq!(refused, whole.to_vec() == before);
            refused
        };
        assert!(!refuses(&pieces[0], &pieces[1]));
        assert!(refuses(&pieces[0], &pieces[2]), "a gap");
        assert!(refuses(&pieces[1], &pieces[0]), "the wrong order");
        assert!(refuses(&pieces[2], &frame(false, ACK, b"x")), "behind FIN");
        for at in [31, 37, 45, 48] {
            let mut other = pieces[1].clone();
            other[at] ^= 1;
            assert!(refuses(&pieces[0], &other), "a wrong checksum");
            let places = inspect::places(&other).ok().flatten().expect("a packet");
            write_lengths_and_checksums(&mut other, places);
            assert!(refuses(&pieces[0], &other), "another field at {at}");
        }
    }
}
