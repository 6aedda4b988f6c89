//! TCP segments: [`Header`], [`Flags`], [`View`] (RFC 9293 §3.1).
//!
//! It must never interpret a segment: it knows no connection.

use core::fmt;
use core::ops::{BitAnd, BitOr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{self, Sum, WideSum};
use super::{Defect, U16, U32, U64};
use crate::seq::SeqNum;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// The fixed part of a TCP header. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Port of the sender.
    pub src_port: U16,
    /// Port of the receiver.
    pub dst_port: U16,
    /// SEG.SEQ as it stands on the wire; [`Header::seq`] has its type.
    pub seq: U32,
    /// SEG.ACK as it stands on the wire; [`Header::ack`] has its type.
    pub ack: U32,
    /// Header length in 32-bit words in the upper half, reserved bits in the lower.
    pub data_offset: u8,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND, unscaled.
    pub window: U16,
    /// Over pseudo-header, header and payload.
    pub checksum: U16,
    /// SEG.UP: distance from SEG.SEQ to the byte behind the urgent data.
    pub urgent: U16,
}

/// The same 20 bytes in the words in which they are moved: neighbours together.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Words {
    /// Port of the sender in the upper half, port of the receiver in the lower.
    pub ports: U32,
    /// SEG.SEQ in the upper half, SEG.ACK in the lower.
    pub seq_ack: U64,
    /// Data offset, reserved bits, control bits and window, from the top down.
    pub control: U32,
    /// Checksum in the upper half, urgent pointer in the lower.
    pub checksum_urgent: U32,
}

impl Header {
    /// The same bytes in wider words.
    #[must_use]
    #[inline(always)]
    pub fn words(&self) -> &Words {
        zerocopy::transmute_ref!(self)
    }

    /// SEG.SEQ.
    #[must_use]
    #[inline]
    pub const fn seq(&self) -> SeqNum {
        SeqNum(self.seq.get())
    }

    /// SEG.ACK; means something only with [`Flags::ACK`].
    #[must_use]
    #[inline]
    pub const fn ack(&self) -> SeqNum {
        SeqNum(self.ack.get())
    }

    /// Bytes of the header with its options, as claimed: 0 to 60.
    #[must_use]
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }

    /// The `data_offset` byte for a header of `len` bytes; `len` is rounded down to a multiple of 4 and cut at 60.
    #[must_use]
    #[inline]
    pub const fn data_offset_for(len: usize) -> u8 {
        let words = len / 4;
        (if words > 15 { 15 } else { words as u8 }) << 4
    }

    /// The sum over these 20 bytes, checksum field included.
    #[must_use]
    #[inline]
    pub fn sum(&self) -> Sum {
        let bytes: &[u8; HEADER_LEN] = zerocopy::transmute_ref!(self);
        checksum::sum_array(bytes)
    }
}

impl Header {
    /// As [`Header::sum`], and of words that belong to it, in fewer additions.
    #[must_use]
    #[inline(always)]
    pub fn wide_sum_with<const N: usize>(&self, more: [u64; N]) -> WideSum {
        WideSum::header_and(zerocopy::transmute_ref!(self), more)
    }
}

/// The control bits of a segment, CWR to FIN (RFC 9293 §3.1).
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
pub struct Flags(pub u8);

impl Flags {
    /// No control bit: a NULL segment.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push function.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN-Echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// SYN and ACK, the second step of the handshake.
    pub const SYN_ACK: Self = Self(0x12);
    /// RST and ACK, the answer to a segment without ACK.
    pub const RST_ACK: Self = Self(0x14);

    /// Whether all bits of `other` are set.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[must_use]
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits and those of `other`.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits without those of `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether SYN is set.
    #[must_use]
    #[inline]
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Whether ACK is set.
    #[must_use]
    #[inline]
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// Whether RST is set.
    #[must_use]
    #[inline]
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }

    /// Whether FIN is set.
    #[must_use]
    #[inline]
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Sequence numbers that SYN and FIN take: 0, 1 or 2 (SEG.LEN is this plus the payload, RFC 9293 §3.4).
    #[must_use]
    #[inline]
    pub const fn seq_len(self) -> u32 {
        (self.0 & 1) as u32 + ((self.0 >> 1) & 1) as u32
    }
}

impl BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, rhs: Self) -> Self {
        self.with(rhs)
    }
}

impl BitAnd for Flags {
    type Output = Self;

    #[inline]
    fn bitand(self, rhs: Self) -> Self {
        Self(self.0 & rhs.0)
    }
}

impl fmt::Display for Flags {
    /// Names joined by commas, the ones that tell segments apart first: `SYN,ACK`, `RST,ACK`, `FIN,ACK`, `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Flags, &str); 8] = [
            (Flags::SYN, "SYN"),
            (Flags::RST, "RST"),
            (Flags::FIN, "FIN"),
            (Flags::PSH, "PSH"),
            (Flags::ACK, "ACK"),
            (Flags::URG, "URG"),
            (Flags::ECE, "ECE"),
            (Flags::CWR, "CWR"),
        ];
        let mut separator = "";
        for (flag, name) in NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        if self.0 == 0 {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A segment cut out of a packet: header, options, payload.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The fixed header.
    pub header: &'a Header,
    /// Option bytes, 0 to 40.
    pub options: &'a [u8],
    /// The segment's data.
    pub payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Cuts an IP payload at the data offset.
    ///
    /// # Errors
    /// [`Defect::TcpTruncated`], [`Defect::TcpDataOffset`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Defect> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| Defect::TcpTruncated)?;
        let options_len = header
            .header_len()
            .checked_sub(HEADER_LEN)
            .ok_or(Defect::TcpDataOffset)?;
        let (options, payload) = rest
            .split_at_checked(options_len)
            .ok_or(Defect::TcpDataOffset)?;
        Ok(Self {
            header,
            options,
            payload,
        })
    }

    /// Sequence numbers that the segment takes: SEG.LEN of RFC 9293 §3.4, payload and SYN and FIN.
    #[must_use]
    #[inline]
    pub fn seq_len(&self) -> u32 {
        // A payload comes out of an IP packet, so it is shorter than 2^32.
        self.payload.len() as u32 + self.header.flags.seq_len()
    }
}
