//! ICMP for IPv4: [`Header`], its types and codes (RFC 792, RFC 1122 §3.2.2).
//!
//! It must never answer by itself.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Defect, U16, checksum};

/// Bytes of an ICMP header, the four type-dependent ones included.
pub const HEADER_LEN: usize = 8;

/// Type: echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type: destination unreachable; the code says what.
pub const UNREACHABLE: u8 = 3;
/// Type: redirect.
pub const REDIRECT: u8 = 5;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Time exceeded code: fragments were missing when the time for reassembly was over.
pub const CODE_REASSEMBLY: u8 = 1;
/// Type: parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Unreachable code: protocol.
pub const CODE_PROTOCOL: u8 = 2;
/// Unreachable code: port.
pub const CODE_PORT: u8 = 3;
/// Unreachable code: fragmentation needed and DF set; the next hop's MTU stands in bytes 6 and 7 (RFC 1191 §4).
pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;

/// An ICMP header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Its value.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Over header and body.
    pub checksum: U16,
    /// Echo: identifier. Errors: unused.
    pub ident: U16,
    /// Echo: sequence number. Fragmentation needed: MTU of the next hop, in bytes, 0 from old routers.
    pub seq: U16,
}

/// A message cut out of a packet.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The header.
    pub header: &'a Header,
    /// Echo: data. Errors: the quoted packet.
    pub body: &'a [u8],
}

impl<'a> View<'a> {
    /// Splits an IP payload.
    ///
    /// # Errors
    /// [`Defect::IcmpTruncated`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (header, body) = Header::ref_from_prefix(bytes).map_err(|_| Defect::IcmpTruncated)?;
        Ok(Self { header, body })
    }
}

/// Whether a whole ICMP message, checksum included, is intact.
#[must_use]
pub fn checksum_ok(message: &[u8]) -> bool {
    checksum::sum(message).is_valid()
}
