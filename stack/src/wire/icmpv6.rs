//! ICMPv6: [`Header`], its types and codes (RFC 4443). Neighbour discovery's bodies are in [`super::ndp`].
//!
//! It must never answer by itself.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Defect, U16, U32};

/// Bytes of an ICMPv6 header, the four type-dependent ones included.
pub const HEADER_LEN: usize = 8;

/// Type: destination unreachable; the code says what.
pub const UNREACHABLE: u8 = 1;
/// Type: packet too big; the MTU stands in bytes 4 to 7 (RFC 8201).
pub const PACKET_TOO_BIG: u8 = 2;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Time exceeded code: fragments were missing when the time for reassembly was over.
pub const CODE_REASSEMBLY: u8 = 1;
/// Type: parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type: echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type: router solicitation (RFC 4861).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type: router advertisement (RFC 4861).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type: neighbour solicitation (RFC 4861).
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Type: neighbour advertisement (RFC 4861).
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Type: redirect (RFC 4861).
pub const REDIRECT: u8 = 137;

/// Unreachable code: port.
pub const CODE_PORT: u8 = 4;

/// Parameter problem code: a header field that makes no sense.
pub const CODE_ERRONEOUS_FIELD: u8 = 0;
/// Parameter problem code: a next header that we don't know.
pub const CODE_UNKNOWN_NEXT_HEADER: u8 = 1;
/// Parameter problem code: an option that we don't know.
pub const CODE_UNKNOWN_OPTION: u8 = 2;

/// An ICMPv6 header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Its type: below 128 errors, from 128 on information.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Over pseudo-header, header and body.
    pub checksum: U16,
    /// Echo: identifier and sequence number. Packet too big: MTU in bytes. Neighbour advertisement: flags.
    pub rest: U32,
}

/// A message cut out of a packet.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The header.
    pub header: &'a Header,
    /// Echo: data. Errors: the quoted packet. Neighbour discovery: target and options.
    pub body: &'a [u8],
}

impl<'a> View<'a> {
    /// Splits an IPv6 upper-layer payload.
    ///
    /// # Errors
    /// [`Defect::Icmpv6Truncated`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (header, body) = Header::ref_from_prefix(bytes).map_err(|_| Defect::Icmpv6Truncated)?;
        Ok(Self { header, body })
    }
}
