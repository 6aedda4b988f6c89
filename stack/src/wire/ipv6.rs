//! IPv6: [`Header`], the bounded walk over extension headers, addresses that can't be true (RFC 8200, RFC 4291).
//!
//! Called by: the classifier, every builder, `icmp`. It must never walk without a limit, and never decide whether an
//! address is ours: it knows none.

use core::net::Ipv6Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, Sum};
use super::{U16, U32};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

/// The fixed IPv6 header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Version (6) in 4 bits, traffic class in 8, flow label in 20.
    pub version_class_flow: U32,
    /// Bytes behind this header, extension headers included.
    pub payload_len: U16,
    /// What follows ([`super::ip_protocol`]), or an extension header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Header {
    /// The version field.
    #[must_use]
    #[inline]
    pub const fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168).
    #[must_use]
    #[inline]
    pub const fn dscp_ecn(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// The flow label, 20 bits (RFC 6437).
    #[must_use]
    #[inline]
    pub const fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }

    /// The source address.
    #[must_use]
    #[inline]
    pub const fn src_addr(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from_be_bytes(self.src))
    }

    /// The destination address.
    #[must_use]
    #[inline]
    pub const fn dst_addr(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from_be_bytes(self.dst))
    }

    /// The pseudo-header's sum for `len` bytes of the upper-layer protocol `next_header` (RFC 8200 §8.1: the last next
    /// header, not necessarily this header's).
    #[must_use]
    #[inline]
    pub fn pseudo_sum(&self, next_header: u8, len: u32) -> Sum {
        checksum::pseudo_v6(&self.src, &self.dst, next_header, len)
    }
}
