//! The comparisons of the fast lane of IPv4: the constant bytes of a frame's headers, and the layout of nearly all options.
//!
//! It must never look at a byte whose value a flow or a segment chooses: lengths, addresses, numbers.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::wire::ethernet::{EtherType, MacAddr};
use crate::wire::tcp_options::{USUAL_TIMESTAMPS, USUAL_TIMESTAMPS_LEN};
use crate::wire::{U64, ip_protocol, ipv4, tcp, vlan};

/// Where a VLAN tag stands in a frame that has one: behind the two MAC addresses.
const TAG_AT: usize = 12;

/// The first 32 bytes of a frame that are compared, and which bits of them count: to our MAC address, from an individual one,
/// IPv4 without options, no fragment, TCP.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainV4 {
    expected: [u8; 32],
    mask: [u8; 32],
}

impl PlainV4 {
    pub(super) fn new(mac: MacAddr) -> Self {
        let (mut expected, mut mask) = ([0; 32], [0; 32]);
        let mut ask = |at: usize, bits: &[u8], which: u8| {
            expected[at..at + bits.len()].copy_from_slice(bits);
            mask[at..at + bits.len()].fill(which);
        };
        ask(0, &mac.0, 0xff);
        // The group bit of the source.
        ask(6, &[0], 1);
        ask(12, &EtherType::IPV4.0.to_bytes(), 0xff);
        ask(14, &[ipv4::VERSION_IHL_PLAIN], 0xff);
        // More fragments, and the offset.
        ask(20, &[0], 0x3f);
        ask(21, &[0], 0xff);
        ask(23, &[ip_protocol::TCP], 0xff);
        Self { expected, mask }
    }

    /// One compare of all.
    #[cfg(target_feature = "avx2")]
    #[inline(always)]
    pub(super) fn fits(&self, head: &[u8; 32]) -> bool {
        use safe_arch::{m256i, testz_m256i};
        let differs = m256i::from(*head) ^ m256i::from(self.expected);
        testz_m256i(differs, m256i::from(self.mask)) == 1
    }

    #[cfg(not(target_feature = "avx2"))]
    #[inline(always)]
    pub(super) fn fits(&self, head: &[u8; 32]) -> bool {
        let bytes = head.iter().zip(&self.expected).zip(&self.mask);
        bytes.fold(0, |differs, ((a, b), mask)| differs | (a ^ b) & mask) == 0
    }

    /// The same of a frame with a VLAN tag, which stands between the addresses and the rest.
    #[inline(always)]
    pub(super) fn fits_behind_tag(&self, head: &[u8; 36]) -> bool {
        let mut without_tag = [0; 32];
        without_tag[..TAG_AT].copy_from_slice(&head[..TAG_AT]);
        without_tag[TAG_AT..].copy_from_slice(&head[TAG_AT + vlan::TAG_LEN..]);
        self.fits(&without_tag)
    }
}

/// The options of nearly every segment of an open connection, at their place in a frame.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct UsualTimestamps {
    _headers: [u8; 54],
    head: [u8; 4],
    pub(super) tsval_tsecr: U64,
}

/// The usual timestamps of a frame with a TCP header of this length at its usual place, if it has them.
#[inline(always)]
pub(super) fn usual_timestamps(bytes: &[u8], header_len: usize) -> Option<&UsualTimestamps> {
    if header_len != tcp::HEADER_LEN + USUAL_TIMESTAMPS_LEN {
        return None;
    }
    let (usual, _) = UsualTimestamps::ref_from_prefix(bytes).ok()?;
    (usual.head == USUAL_TIMESTAMPS).then_some(usual)
}
