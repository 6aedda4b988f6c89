//! Frames as bytes: views that check lengths once, and builders with right checksums, both over plain slices.
//!
//! It must never know a connection, an address of ours or a clock, never allocate, and import nothing of ours but
//! `tcp::seq`.

pub mod arp;
pub mod checksum;
pub mod defect;
pub mod emit;
pub mod ethernet;
pub mod fragment;
#[cfg(test)]
pub(crate) mod golden;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod parse;
pub mod tcp;
pub mod tcp_options;
pub mod udp;
pub mod vlan;

pub use defect::Defect;
pub use emit::{EmitError, IpSpec, SegmentSpec};
pub use ethernet::MacAddr;
pub use parse::{Envelope, Link, Network, Parsed, Transport, envelope, parse};
pub use tcp_options::{OptionBytes, SegmentOptions, Timestamps};
pub use zerocopy::network_endian::{U16, U32, U64};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Protocol numbers of the IPv4 protocol and the IPv6 next-header field (IANA "Assigned Internet Protocol Numbers").
pub mod ip_protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
}

/// The headers of a TCP segment over IPv4 at fixed offsets: no VLAN tag, no IP options. One bounds check for all three.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Tcp4Headers {
    /// Bytes 0 to 13.
    pub ethernet: ethernet::Header,
    /// Bytes 14 to 33.
    pub ip: ipv4::Header,
    /// Bytes 34 to 53.
    pub tcp: tcp::Header,
}

/// The headers of a TCP segment over IPv6 at fixed offsets: no VLAN tag, no extension header. One bounds check for
/// all three.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Tcp6Headers {
    /// Bytes 0 to 13.
    pub ethernet: ethernet::Header,
    /// Bytes 14 to 53.
    pub ip: ipv6::Header,
    /// Bytes 54 to 73.
    pub tcp: tcp::Header,
}

const _: () = {
    assert!(size_of::<Tcp4Headers>() == 54 && align_of::<Tcp4Headers>() == 1);
    assert!(size_of::<Tcp6Headers>() == 74 && align_of::<Tcp6Headers>() == 1);
};

#[cfg(test)]
mod tests;
