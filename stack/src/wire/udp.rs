//! UDP, as far as a TCP endpoint needs it: to name what arrived, and to answer that no program listens (RFC 768).
//!
//! It must never deliver anything: no UDP application lives here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Defect, U16};

/// Bytes of a UDP header.
pub const HEADER_LEN: usize = 8;

/// A UDP header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Port of the sender.
    pub src_port: U16,
    /// Port of the receiver.
    pub dst_port: U16,
    /// Bytes of header and payload.
    pub len: U16,
    /// Over pseudo-header, header and payload; 0 over IPv4 means that the sender computed none.
    pub checksum: U16,
}

/// A datagram cut out of a packet.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The header.
    pub header: &'a Header,
    /// The datagram up to its length field, header included: the bytes that the checksum covers.
    pub datagram: &'a [u8],
}

impl<'a> View<'a> {
    /// Cuts an IP payload at the length field.
    ///
    /// # Errors
    /// [`Defect::UdpTruncated`], [`Defect::UdpLength`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| Defect::UdpTruncated)?;
        let len = header.len.get() as usize;
        match bytes.get(..len) {
            Some(datagram) if len >= HEADER_LEN => Ok(Self { header, datagram }),
            _ => Err(Defect::UdpLength),
        }
    }

    /// The datagram's data.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.datagram.get(HEADER_LEN..).unwrap_or(&[])
    }
}
