//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): what a load balancer sends in front of a connection,
//! read and written.
//!
//! It must never allocate, and never guess that a connection has no header. Once a result isn't [`Parsed::Partial`], further bytes
//! never change it.

mod v1;
mod v2;
mod write;

use core::net::SocketAddr;

pub use self::write::{Tlv, V1Line, write_v1, write_v2};

/// The first bytes of version 1.
const V1_START: &[u8] = b"PROXY ";
/// The first bytes of version 2.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 1 at most, the line's end included.
pub const V1_MAX: usize = 107;
/// Bytes of a header of version 2 that are read at most: addresses, and 4 kB of TLVs and padding.
pub const V2_MAX: usize = 4096;
/// Bytes of any header at most.
pub const HEADER_MAX: usize = V2_MAX;

/// Which versions a receiver accepts. A connection without a header is an error in all three cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
    /// Both.
    Any,
}

/// Where a connection came from, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Version 2, LOCAL: a connection of the sender itself, such as a health check.
    Local,
    /// The sender doesn't know the original connection, or it isn't TCP over IP.
    Unknown,
    /// The original connection.
    Relayed {
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to; of the same family as `source`.
        destination: SocketAddr,
    },
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes. Data of the connection follows.
    pub len: usize,
    /// 1 or 2.
    pub version: u8,
    /// Where the connection came from.
    pub origin: Origin,
    /// The header has a CRC32C, and it is correct.
    pub is_crc32c_verified: bool,
}

/// The meaning of the bytes at the front of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header, or nothing yet.
    Partial,
    /// A header.
    Header(Header),
    /// Not a valid header: abort the connection.
    Malformed(Defect),
}

/// A fault of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Defect {
    /// The bytes begin like neither version.
    NoHeader,
    /// A header of a version that this receiver doesn't accept.
    WrongVersion,
    /// Version 1: the line has no end within 107 bytes.
    LineTooLong,
    /// Version 1: a carriage return or line feed alone.
    LineEnd,
    /// Version 1: neither TCP4, TCP6 nor UNKNOWN.
    Protocol,
    /// Version 1: invalid addresses or ports, too few or too many fields.
    Address,
    /// Version 2: another number than 2 behind the signature.
    Number,
    /// Version 2: neither LOCAL nor PROXY.
    Command,
    /// Version 2: a family or a protocol that isn't assigned.
    Family,
    /// Version 2: shorter than the addresses of its family.
    TooShort,
    /// Version 2: longer than 4096 bytes.
    TooLong,
    /// Version 2: a TLV that ends behind the header.
    Tlv,
    /// Version 2: a CRC32C that is wrong, or not 4 bytes long.
    Crc32c,
}

impl Defect {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::NoHeader,
        Self::WrongVersion,
        Self::LineTooLong,
        Self::LineEnd,
        Self::Protocol,
        Self::Address,
        Self::Number,
        Self::Command,
        Self::Family,
        Self::TooShort,
        Self::TooLong,
        Self::Tlv,
        Self::Crc32c,
    ];

    /// Its name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoHeader => "no_header",
            Self::WrongVersion => "wrong_version",
            Self::LineTooLong => "line_too_long",
            Self::LineEnd => "line_end",
            Self::Protocol => "protocol",
            Self::Address => "address",
            Self::Number => "version_number",
            Self::Command => "command",
            Self::Family => "family",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Tlv => "tlv",
            Self::Crc32c => "crc32c",
        }
    }
}

/// Reads the header at the front of `bytes`, which are all that has come so far.
#[must_use]
pub fn parse(bytes: &[u8], versions: Versions) -> Parsed {
    let Some(first) = bytes.first() else {
        return Parsed::Partial;
    };
    let (start, version) = if *first == V1_START[0] {
        (V1_START, Versions::V1)
    } else {
        (V2_SIGNATURE, Versions::V2)
    };
    let compared = bytes.len().min(start.len());
    if bytes[..compared] != start[..compared] {
        return Parsed::Malformed(Defect::NoHeader);
    }
    if compared < start.len() {
        return Parsed::Partial;
    }
    if versions != Versions::Any && versions != version {
        return Parsed::Malformed(Defect::WrongVersion);
    }
    match version {
        Versions::V1 => v1::parse(bytes),
        _ => v2::parse(bytes),
    }
}

#[cfg(test)]
mod tests;
