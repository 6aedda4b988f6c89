//! Turns a received frame into its own answer: addresses swapped, IP and TCP headers written fresh, in place.
//!
//! Called by: the process stage, for every reply that needs no frame of its own. It must never read what it has already
//! overwritten, and never keep a byte of the received segment behind the headers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nic::{Caps, Frame, IpVersion, TxRequest};
use crate::tcp::reset::Reset;
use crate::tcp::seq::SeqNum;
use crate::wire::checksum::{self, Sum};
use crate::wire::tcp::Flags;
use crate::wire::{U16, U32, ethernet, ip_protocol, ipv4, ipv6, tcp};

/// Bytes of the longest option block that a reply carries: MSS (4), timestamps (10 + 2 NOP), window scale (3 + 1 NOP).
pub const MAX_OPTIONS_LEN: usize = 20;

/// Where the headers of a frame start: the same frame is parsed once and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The IP version of the frame.
    pub ip: IpVersion,
    /// Bytes before the IP header: 14, or 18 with one 802.1Q tag.
    pub l3_offset: u8,
}

impl Layout {
    fn ip_header_len(self) -> usize {
        match self.ip {
            IpVersion::V4 => ipv4::HEADER_LEN,
            IpVersion::V6 => ipv6::HEADER_LEN,
        }
    }
}

/// The ports of a received segment. Passed along, because the bytes that held them may lie where the reply is shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The sender's port: where the reply goes.
    pub remote: u16,
    /// Our port.
    pub local: u16,
}

/// The options of a SYN-ACK, or the timestamps of any other segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyOptions {
    /// MSS option, SYN-ACK only (RFC 9293 MUST-65).
    pub mss: Option<u16>,
    /// Window scale option, SYN-ACK only (RFC 7323 §2.2).
    pub window_scale: Option<u8>,
    /// TSval and TSecr (RFC 7323 §3.2).
    pub timestamps: Option<(u32, u32)>,
}

impl ReplyOptions {
    /// No option.
    pub const NONE: Self = Self {
        mss: None,
        window_scale: None,
        timestamps: None,
    };

    #[inline]
    fn is_none(self) -> bool {
        self.mss.is_none() && self.window_scale.is_none() && self.timestamps.is_none()
    }

    /// Writes them, four-byte aligned, and returns their length: 0 to [`MAX_OPTIONS_LEN`].
    #[inline]
    pub(super) fn write(self, into: &mut [u8; MAX_OPTIONS_LEN]) -> usize {
        let mut len = 0;
        let mut put = |word: [u8; 4]| {
            into[len..len + 4].copy_from_slice(&word);
            len += 4;
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put([2, 4, high, low]);
        }
        if let Some((tsval, tsecr)) = self.timestamps {
            put([1, 1, 8, 10]);
            put(tsval.to_be_bytes());
            put(tsecr.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put([1, 3, 3, shift]);
        }
        len
    }
}

/// A segment that answers another one without payload of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpReply {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK, 0 when `flags` has no ACK.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire, already scaled down.
    pub window: u16,
    /// Options.
    pub options: ReplyOptions,
}

impl From<Reset> for TcpReply {
    #[inline]
    fn from(reset: Reset) -> Self {
        Self {
            seq: reset.seq,
            ack: reset.ack,
            flags: reset.flags,
            window: 0,
            options: ReplyOptions::NONE,
        }
    }
}

/// Why a reply could not be written into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotWritable;

/// Rewrites `frame`, a received TCP segment laid out as `layout`, into `reply` to its sender.
///
/// # Errors
/// [`NotWritable`] when the frame is shared or too small; it is unchanged then.
#[inline]
pub fn turn_around<F: Frame>(
    frame: &mut F,
    layout: Layout,
    ports: Ports,
    reply: &TcpReply,
    ttl: u8,
    caps: &Caps,
) -> Result<(), NotWritable> {
    if reply.options.is_none() {
        // Told apart here, so that the plain replies (resets, challenge ACKs) are compiled without a trace of options.
        return turn_around_with(frame, layout, ports, reply, ttl, caps, &[]);
    }
    let mut options = [0u8; MAX_OPTIONS_LEN];
    let options_len = reply.options.write(&mut options);
    turn_around_with(
        frame,
        layout,
        ports,
        reply,
        ttl,
        caps,
        &options[..options_len],
    )
}

#[inline(always)]
fn turn_around_with<F: Frame>(
    frame: &mut F,
    layout: Layout,
    ports: Ports,
    reply: &TcpReply,
    ttl: u8,
    caps: &Caps,
    options: &[u8],
) -> Result<(), NotWritable> {
    let tcp_len = tcp::HEADER_LEN + options.len();
    let l3 = usize::from(layout.l3_offset);
    frame
        .set_len(l3 + layout.ip_header_len() + tcp_len)
        .map_err(|_| NotWritable)?;
    let bytes = frame.bytes_mut().ok_or(NotWritable)?;
    let (link, packet) = bytes.split_at_mut_checked(l3).ok_or(NotWritable)?;
    swap_macs(link)?;
    match layout.ip {
        IpVersion::V4 => write_v4(packet, ports, reply, options, ttl, caps),
        IpVersion::V6 => write_v6(packet, ports, reply, options, ttl, caps),
    }
    .ok_or(NotWritable)?;
    let offload = caps.tx_tcp_checksum || (layout.ip == IpVersion::V4 && caps.tx_ipv4_checksum);
    frame.request(offload.then_some(TxRequest {
        ip: layout.ip,
        l2_len: layout.l3_offset,
        l3_len: layout.ip_header_len() as u16,
        ipv4_checksum: layout.ip == IpVersion::V4 && caps.tx_ipv4_checksum,
        tcp_checksum: caps.tx_tcp_checksum,
    }));
    Ok(())
}

#[inline]
fn swap_macs(link: &mut [u8]) -> Result<(), NotWritable> {
    let (header, _) = ethernet::Header::mut_from_prefix(link).map_err(|_| NotWritable)?;
    core::mem::swap(&mut header.dst, &mut header.src);
    Ok(())
}

#[inline(always)]
fn write_v4(
    packet: &mut [u8],
    ports: Ports,
    reply: &TcpReply,
    options: &[u8],
    ttl: u8,
    caps: &Caps,
) -> Option<()> {
    let (headers, rest) = TcpIpv4::mut_from_prefix(packet).ok()?;
    let (src, dst) = (headers.ip.dst, headers.ip.src);
    let tcp_len = (tcp::HEADER_LEN + options.len()) as u16;
    let total_len = ipv4::HEADER_LEN as u16 + tcp_len;
    let addresses = Sum::bytes4(src) + Sum::bytes4(dst);
    let sum = addresses
        + Sum::word(u16::from_be_bytes([ipv4::VERSION_IHL_PLAIN, 0]))
        + Sum::word(total_len)
        + Sum::word(ipv4::DONT_FRAGMENT)
        + Sum::word(u16::from_be_bytes([ttl, ip_protocol::TCP]));
    headers.ip = ipv4::Header {
        version_ihl: ipv4::VERSION_IHL_PLAIN,
        dscp_ecn: 0,
        total_len: U16::new(total_len),
        // An atomic datagram (RFC 6864 §4.1): never fragmented, so its identification means nothing.
        ident: U16::ZERO,
        flags_fragment: U16::new(ipv4::DONT_FRAGMENT),
        ttl,
        protocol: ip_protocol::TCP,
        checksum: if caps.tx_ipv4_checksum {
            U16::ZERO
        } else {
            sum.finish()
        },
        src,
        dst,
    };
    let pseudo = addresses + Sum::word(u16::from(ip_protocol::TCP)) + Sum::word(tcp_len);
    headers.tcp = tcp_header(ports, reply, options, pseudo, caps);
    put_words(rest, options)?;
    Some(())
}

#[inline(always)]
fn write_v6(
    packet: &mut [u8],
    ports: Ports,
    reply: &TcpReply,
    options: &[u8],
    ttl: u8,
    caps: &Caps,
) -> Option<()> {
    let (headers, rest) = TcpIpv6::mut_from_prefix(packet).ok()?;
    let (src, dst) = (headers.ip.dst, headers.ip.src);
    let tcp_len = (tcp::HEADER_LEN + options.len()) as u16;
    headers.ip = ipv6::Header {
        version_class_flow: U32::new(6 << 28),
        payload_len: U16::new(tcp_len),
        next_header: ip_protocol::TCP,
        hop_limit: ttl,
        src,
        dst,
    };
    let pseudo = checksum::pseudo_v6(&src, &dst, ip_protocol::TCP, u32::from(tcp_len));
    headers.tcp = tcp_header(ports, reply, options, pseudo, caps);
    put_words(rest, options)?;
    Some(())
}

/// Copies options word by word: they are a few words, and a call of memcpy costs more than they do.
#[inline(always)]
fn put_words(into: &mut [u8], options: &[u8]) -> Option<()> {
    let (words, _) = options.as_chunks::<4>();
    let into = into.get_mut(..options.len())?;
    for (into, word) in into.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *into = *word;
    }
    Some(())
}

/// The TCP header of a reply. Its checksum is summed from the values, not from the bytes: words that were just written in
/// parts can't be forwarded to a wider load, and waiting for that cost 40 % of the whole reply.
#[inline(always)]
fn tcp_header(
    ports: Ports,
    reply: &TcpReply,
    options: &[u8],
    pseudo: Sum,
    caps: &Caps,
) -> tcp::Header {
    let data_offset = tcp::Header::data_offset_for(tcp::HEADER_LEN + options.len());
    let checksum = if caps.tx_tcp_checksum {
        pseudo.folded()
    } else {
        let sum = pseudo
            + Sum::word(ports.local)
            + Sum::word(ports.remote)
            + Sum::bytes4(reply.seq.0.to_be_bytes())
            + Sum::bytes4(reply.ack.0.to_be_bytes())
            + Sum::word(u16::from_be_bytes([data_offset, reply.flags.0]))
            + Sum::word(reply.window);
        (sum + checksum::sum_header(options)).finish()
    };
    tcp::Header {
        src_port: U16::new(ports.local),
        dst_port: U16::new(ports.remote),
        seq: U32::new(reply.seq.0),
        ack: U32::new(reply.ack.0),
        data_offset,
        flags: reply.flags,
        window: U16::new(reply.window),
        checksum,
        urgent: U16::ZERO,
    }
}

/// The headers of a reply behind the link header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TcpIpv4 {
    ip: ipv4::Header,
    tcp: tcp::Header,
}

/// The headers of a reply behind the link header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TcpIpv6 {
    ip: ipv6::Header,
    tcp: tcp::Header,
}
