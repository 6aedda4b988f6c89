//! Ethernet II: [`Header`], [`MacAddr`], [`EtherType`] (IEEE 802.3, RFC 894).
//!
//! It must never look past its 14 bytes.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::U16;

/// Bytes of an Ethernet header without a VLAN tag.
pub const HEADER_LEN: usize = 14;

/// An Ethernet header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// The receiver.
    pub dst: MacAddr,
    /// The sender.
    pub src: MacAddr,
    /// The type of the payload.
    pub ethertype: EtherType,
}

/// An EUI-48 link-layer address.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address: the unknown target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether the group bit is set (broadcast included).
    #[must_use]
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it addresses everybody.
    #[must_use]
    #[inline]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether one station can own it: neither a group nor zero.
    #[must_use]
    #[inline]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sender of a frame; zero when it is shorter than a header.
#[must_use]
#[inline]
pub fn source(frame: &[u8]) -> MacAddr {
    match frame.first_chunk() {
        Some(&[_, _, _, _, _, _, a, b, c, d, e, g]) => MacAddr([a, b, c, d, e, g]),
        None => MacAddr::ZERO,
    }
}

/// The protocol number of an Ethernet frame, as it stands on the wire. Values below 0x0600 are lengths (802.3 LLC).
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct EtherType(pub U16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(U16::new(0x0800));
    /// ARP (RFC 826).
    pub const ARP: Self = Self(U16::new(0x0806));
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(U16::new(0x86dd));
    /// An 802.1Q tag follows.
    pub const VLAN: Self = Self(U16::new(0x8100));
    /// An 802.1ad service tag follows (QinQ).
    pub const SERVICE_VLAN: Self = Self(U16::new(0x88a8));

    /// Its value.
    #[must_use]
    #[inline]
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// Whether it is a length of an 802.3 frame instead of a protocol.
    #[must_use]
    pub const fn is_length(self) -> bool {
        self.0.get() < 0x0600
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.value())
    }
}
