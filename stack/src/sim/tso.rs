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
            match request.ip {
                IpVersion::V4 => {
                    let total = len + request.l3_len;
                    frame[ip + 2..ip + 4].copy_from_slice(&total.to_be_bytes());
                    let ident = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]);
                    let ident = ident.wrapping_add(number as u16);
                    frame[ip + 4..ip + 6].copy_from_slice(&ident.to_be_bytes());
                    frame[ip + 10..ip + 12].fill(0);
                    let sum = !ones_complement_sum(&frame[ip..tcp], 0);
                    frame[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
                }
                IpVersion::V6 => frame[ip + 4..ip + 6].copy_from_slice(&len.to_be_bytes()),
            }
            // In the field stands the sum of the pseudo-header without its length.
            let sum = !ones_complement_sum(&frame[tcp..], len.into());
            frame[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
            frame
        })
        .collect()
}

fn add(number: &mut [u8], more: u32) {
    let old = number
        .iter()
        .fold(0u32, |all, &byte| all << 8 | u32::from(byte));
    number.copy_from_slice(&old.wrapping_add(more).to_be_bytes());
}
