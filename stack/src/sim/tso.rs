//! [`segments`]: what a NIC with TCP segmentation offload makes of one large segment, by DPDK's rules (Programmer's Guide, mbuf
//! library, "Meta Information").
//!
//! It must never use `wire`: a mistake there would forgive itself here.

use super::inspect::ones_complement_sum;
use crate::nic::{Cut, IpVersion, TxRequest};

const FIN_PSH: u8 = 0x09;

/// The frames that leave for `bytes`.
pub(super) fn segments(bytes: &[u8], request: TxRequest, cut: Cut) -> Vec<Vec<u8>> {
    let ip = usize::from(request.l2_len);
    let tcp = ip + usize::from(request.l3_len);
    let payload = tcp + usize::from(cut.l4_len);
    let (headers, text) = bytes.split_at(payload);
    let pieces = text.chunks(cut.segment_bytes.into());
    let last = pieces.len() - 1;
    pieces
        .enumerate()
        .map(|(number, piece)| {
            let mut frame = [headers, piece].concat();
            let ahead = number * usize::from(cut.segment_bytes);
            add(&mut frame[tcp + 4..tcp + 8], ahead as u32);
            if number != last {
                frame[tcp + 13] &= !FIN_PSH;
            }
            let len = (frame.len() - tcp) as u16;
            if request.ip == IpVersion::V4 {
                let ident = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]);
                put(&mut frame, ip + 4, ident.wrapping_add(number as u16));
            }
            write_ip_len(&mut frame, request.ip, ip, tcp);
            // In the field stands the sum of the pseudo-header without its length.
            let sum = !ones_complement_sum(&frame[tcp..], len.into());
            put(&mut frame, tcp + 16, sum);
            frame
        })
        .collect()
}

/// Writes the length of the IP packet with which `frame` ends, whose headers lie at `ip` and `tcp`, and the checksum of its header
/// where it has one.
pub(super) fn write_ip_len(frame: &mut [u8], version: IpVersion, ip: usize, tcp: usize) {
    let end = frame.len();
    match version {
        IpVersion::V4 => {
            put(frame, ip + 2, (end - ip) as u16);
            put(frame, ip + 10, 0);
            let sum = !ones_complement_sum(&frame[ip..tcp], 0);
            put(frame, ip + 10, sum);
        }
        IpVersion::V6 => put(frame, ip + 4, (end - tcp) as u16),
    }
}

/// Writes a field of two bytes.
pub(super) fn put(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn add(number: &mut [u8], more: u32) {
    let old = number
        .iter()
        .fold(0u32, |all, &byte| all << 8 | u32::from(byte));
    number.copy_from_slice(&old.wrapping_add(more).to_be_bytes());
}
