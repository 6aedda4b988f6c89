//! The headers of a plain frame (untagged, IPv4 without options, TCP) in as few stores as they have words.
//!
//! It must never write a byte that `segment_headers` wouldn't: tests of those who use it compare them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, native_endian};

use crate::seq::SeqNum;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::MacAddr;
use crate::wire::tcp::Flags;
use crate::wire::{U16, U32, U64, ip_protocol, ipv4, tcp};

/// Bytes of the headers of a plain frame.
pub(super) const HEADERS_LEN: usize = size_of::<PlainFrame>();

/// The headers of a plain frame in the words in which they are written, as the machine stores them.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct PlainFrame {
    /// MAC addresses, EtherType, version and header length, DSCP.
    pub(super) link: [u8; 16],
    /// Total length, identification, flags and fragment offset, TTL, protocol.
    ip: U64,
    ip_checksum: U16,
    /// Source and destination.
    pub(super) addresses: native_endian::U64,
    /// Source and destination.
    pub(super) ports: native_endian::U32,
    seq: U32,
    ack: U32,
    /// Data offset, control bits and window.
    control: U32,
    checksum: U16,
    urgent: U16,
}

const _: () = assert!(HEADERS_LEN == 54);

/// The header fields of a plain frame, the link excepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainFields {
    /// As [`PlainFrame::addresses`].
    pub(super) addresses: u64,
    /// As [`PlainFrame::ports`].
    pub(super) ports: u32,
    pub(super) seq: SeqNum,
    pub(super) ack: SeqNum,
    pub(super) flags: Flags,
    /// The window field, scaled already.
    pub(super) window: u16,
    pub(super) ttl: u8,
    /// Bytes of TCP options.
    pub(super) options_len: u16,
    /// Bytes of payload.
    pub(super) payload_len: u16,
}

impl PlainFrame {
    /// Writes the link header of a frame from `src` to `dst`, and the beginning of the IP header.
    #[inline(always)]
    pub(super) fn begin(&mut self, dst: &MacAddr, src: &MacAddr) {
        self.link[..6].copy_from_slice(&dst.0);
        self.link[6..12].copy_from_slice(&src.0);
        self.link[12..].copy_from_slice(&[8, 0, ipv4::VERSION_IHL_PLAIN, 0]);
    }

    /// Writes all behind the link header. `rest` is the sum of options and payload.
    #[inline(always)]
    pub(super) fn fill(&mut self, fields: &PlainFields, rest: Sum) {
        let segment_len = tcp::HEADER_LEN as u16 + fields.options_len + fields.payload_len;
        let total_len = ipv4::HEADER_LEN as u16 + segment_len;
        self.addresses.set(fields.addresses);
        // Both halves added to each other, the carry included.
        let both = fields.addresses.rotate_left(32);
        let both = (fields.addresses.wrapping_add(both) >> 32) as u32;
        let addresses = Sum::bytes4(both.to_ne_bytes());
        let ttl_protocol = u16::from_be_bytes([fields.ttl, ip_protocol::TCP]);
        let ip = u64::from(total_len) << 48
            | u64::from(ipv4::DONT_FRAGMENT) << 16
            | u64::from(ttl_protocol);
        self.ip.set(ip);
        let sum = addresses
            + Sum::word(u16::from_be_bytes([ipv4::VERSION_IHL_PLAIN, 0]))
            + Sum::word(total_len)
            + Sum::word(ipv4::DONT_FRAGMENT)
            + Sum::word(ttl_protocol);
        self.ip_checksum = sum.finish();

        self.ports.set(fields.ports);
        self.seq.set(fields.seq.0);
        self.ack.set(fields.ack.0);
        let header_len = tcp::HEADER_LEN + usize::from(fields.options_len);
        let data_offset = tcp::Header::data_offset_for(header_len);
        let offset_flags = u16::from_be_bytes([data_offset, fields.flags.0]);
        self.control
            .set(u32::from(offset_flags) << 16 | u32::from(fields.window));
        let sum = addresses
            + Sum::word(ip_protocol::TCP.into())
            + Sum::word(segment_len)
            + Sum::bytes4(fields.ports.to_ne_bytes())
            + Sum::bytes4(fields.seq.0.to_be_bytes())
            + Sum::bytes4(fields.ack.0.to_be_bytes())
            + Sum::word(offset_flags)
            + Sum::word(fields.window)
            + rest;
        self.checksum = sum.finish();
        self.urgent = U16::ZERO;
    }
}
