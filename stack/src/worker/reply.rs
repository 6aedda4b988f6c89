//! Turns a received frame into its own answer: addresses swapped, IP and TCP headers written fresh, in place.
//!
//! It must never read what it has already overwritten, and never keep a byte of the received segment behind the headers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nic::{Caps, Frame, IpVersion, TxRequest};
use crate::seq::SeqNum;
use crate::tcp::reset::Reset;
use crate::wire::checksum::{self, Sum};
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::kind;
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
///
/// The order of the fields matters: two numbers side by side that go out side by side are loaded as one vector right after
/// they were stored apart, and the load waits for both stores to leave the core. So none stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct ReplyOptions {
    tsval: u32,
    mss: u16,
    window_scale: u8,
    present: u8,
    tsecr: u32,
}

const HAS_MSS: u8 = 1;
const HAS_WINDOW_SCALE: u8 = 2;
const HAS_TIMESTAMPS: u8 = 4;

impl ReplyOptions {
    /// No option.
    pub const NONE: Self = Self {
        tsval: 0,
        mss: 0,
        window_scale: 0,
        present: 0,
        tsecr: 0,
    };

    /// The MSS option as well, SYN-ACK only (RFC 9293 MUST-65).
    #[must_use]
    #[inline]
    pub const fn with_mss(self, mss: u16) -> Self {
        let present = self.present | HAS_MSS;
        Self {
            mss,
            present,
            ..self
        }
    }

    /// The window scale option as well, if there is a shift; SYN-ACK only (RFC 7323 §2.2).
    #[must_use]
    #[inline]
    pub const fn with_window_scale(self, shift: Option<u8>) -> Self {
        match shift {
            Some(window_scale) => {
                let present = self.present | HAS_WINDOW_SCALE;
                Self {
                    window_scale,
                    present,
                    ..self
                }
            }
            None => self,
        }
    }

    /// TSval and TSecr as well, if there are any (RFC 7323 §3.2).
    #[must_use]
    #[inline]
    pub const fn with_timestamps(self, timestamps: Option<(u32, u32)>) -> Self {
        match timestamps {
            Some((tsval, tsecr)) => {
                let present = self.present | HAS_TIMESTAMPS;
                Self {
                    tsval,
                    tsecr,
                    present,
                    ..self
                }
            }
            None => self,
        }
    }

    #[inline]
    const fn has(&self, option: u8) -> bool {
        self.present & option != 0
    }

    #[inline]
    fn is_none(&self) -> bool {
        self.present == 0
    }

    /// Bytes that they take: a multiple of four up to [`MAX_OPTIONS_LEN`].
    #[inline]
    pub(super) fn len(&self) -> usize {
        let words = usize::from(self.has(HAS_MSS))
            + 3 * usize::from(self.has(HAS_TIMESTAMPS))
            + usize::from(self.has(HAS_WINDOW_SCALE));
        words * 4
    }

    /// What nearly every SYN-ACK carries: MSS, timestamps and window scale.
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.present == HAS_MSS | HAS_WINDOW_SCALE | HAS_TIMESTAMPS
    }

    /// As [`ReplyOptions::write`], for options that are full.
    #[inline(always)]
    fn write_all(&self, into: &mut [u8]) -> Option<Sum> {
        let words = [
            self.mss_word(),
            TIMESTAMPS_WORD,
            self.tsval.to_be_bytes(),
            self.tsecr.to_be_bytes(),
            self.window_scale_word(),
        ];
        let (into, _) = into.split_first_chunk_mut::<MAX_OPTIONS_LEN>()?;
        let mut sum = Sum::ZERO;
        for (into, word) in into.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *into = word;
            sum = sum + Sum::bytes4(word);
        }
        Some(sum)
    }

    /// Writes them into the first [`ReplyOptions::len`] bytes of `into` and returns their sum, or `None` when `into` is
    /// shorter. Padding is NOPs in front, so that every word is whole (RFC 7323 appendix A).
    pub(super) fn write(&self, into: &mut [u8]) -> Option<Sum> {
        let (words, _) = into.as_chunks_mut::<4>();
        let mut words = words.iter_mut();
        let mut sum = Sum::ZERO;
        let mut put = |word: [u8; 4]| {
            *words.next()? = word;
            sum = sum + Sum::bytes4(word);
            Some(())
        };
        if self.has(HAS_MSS) {
            put(self.mss_word())?;
        }
        if self.has(HAS_TIMESTAMPS) {
            put(TIMESTAMPS_WORD)?;
            put(self.tsval.to_be_bytes())?;
            put(self.tsecr.to_be_bytes())?;
        }
        if self.has(HAS_WINDOW_SCALE) {
            put(self.window_scale_word())?;
        }
        Some(sum)
    }

    const fn mss_word(&self) -> [u8; 4] {
        let [high, low] = self.mss.to_be_bytes();
        [kind::MSS, 4, high, low]
    }

    const fn window_scale_word(&self) -> [u8; 4] {
        [kind::NOP, kind::WINDOW_SCALE, 3, self.window_scale]
    }
}

/// What stands before TSval and TSecr (RFC 7323 appendix A).
pub(super) const TIMESTAMPS_WORD: [u8; 4] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10];

/// A segment that answers another one without payload of its own. The order of the fields matters as in [`ReplyOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct TcpReply {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.WND as it stands on the wire, already scaled down.
    pub window: u16,
    /// Control bits.
    pub flags: Flags,
    /// SEG.ACK, 0 when `flags` has no ACK.
    pub ack: SeqNum,
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

/// Which checksums the NIC fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offload {
    pub(super) ipv4: bool,
    pub(super) tcp: bool,
}

impl Offload {
    #[inline(always)]
    pub(super) const fn of(caps: &Caps) -> Self {
        Self {
            ipv4: caps.tx_ipv4_checksum,
            tcp: caps.tx_tcp_checksum,
        }
    }
}

/// The layout of nearly every frame: IPv4 right behind an untagged link header.
const PLAIN_V4: Layout = Layout {
    ip: IpVersion::V4,
    l3_offset: ethernet::HEADER_LEN as u8,
};

const NO_OFFLOAD: Offload = Offload {
    ipv4: false,
    tcp: false,
};

/// [`turn_around`] for the common cases: plain IPv4, no offload, no option or all of them; compiled with these as
/// constants. False when it is another case or can't be written: the frame is unchanged then.
#[inline(always)]
pub(super) fn turn_around_plain<F: Frame>(
    frame: &mut F,
    layout: Layout,
    ports: Ports,
    reply: &TcpReply,
    ttl: u8,
    caps: &Caps,
) -> bool {
    if layout != PLAIN_V4 || Offload::of(caps) != NO_OFFLOAD {
        return false;
    }
    if reply.options.is_none() {
        write_reply::<F, NO_OPTIONS>(frame, PLAIN_V4, ports, reply, ttl, NO_OFFLOAD).is_ok()
    } else {
        reply.options.is_full()
            && write_reply::<F, ALL_OPTIONS>(frame, PLAIN_V4, ports, reply, ttl, NO_OFFLOAD).is_ok()
    }
}

/// Rewrites `frame`, a received TCP segment laid out as `layout`, into `reply` to its sender.
///
/// # Errors
/// [`NotWritable`] when the frame is shared or too small; it is unchanged then.
pub(super) fn turn_around<F: Frame>(
    frame: &mut F,
    layout: Layout,
    ports: Ports,
    reply: &TcpReply,
    ttl: u8,
    caps: &Caps,
) -> Result<(), NotWritable> {
    write_reply::<F, SOME_OPTIONS>(frame, layout, ports, reply, ttl, Offload::of(caps))
}

/// How much of [`ReplyOptions`] is known when compiling.
const NO_OPTIONS: u8 = 0;
const ALL_OPTIONS: u8 = 1;
const SOME_OPTIONS: u8 = 2;

#[inline(always)]
fn write_reply<F: Frame, const OPTIONS: u8>(
    frame: &mut F,
    layout: Layout,
    ports: Ports,
    reply: &TcpReply,
    ttl: u8,
    offload: Offload,
) -> Result<(), NotWritable> {
    let options_len = match OPTIONS {
        NO_OPTIONS => 0,
        ALL_OPTIONS => MAX_OPTIONS_LEN,
        _ => reply.options.len(),
    };
    let tcp_len = tcp::HEADER_LEN + options_len;
    let l3 = usize::from(layout.l3_offset);
    frame
        .set_len(l3 + layout.ip_header_len() + tcp_len)
        .map_err(|_| NotWritable)?;
    let bytes = frame.bytes_mut().ok_or(NotWritable)?;
    let (link, packet) = bytes.split_at_mut_checked(l3).ok_or(NotWritable)?;
    swap_macs(link)?;
    match layout.ip {
        IpVersion::V4 => write_v4::<OPTIONS>(packet, ports, reply, options_len, ttl, offload),
        IpVersion::V6 => write_v6::<OPTIONS>(packet, ports, reply, options_len, ttl, offload),
    }
    .ok_or(NotWritable)?;
    let ipv4_checksum = layout.ip == IpVersion::V4 && offload.ipv4;
    frame.request((offload.tcp || ipv4_checksum).then_some(TxRequest {
        ip: layout.ip,
        l2_len: layout.l3_offset,
        l3_len: layout.ip_header_len() as u16,
        ipv4_checksum,
        tcp_checksum: offload.tcp,
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
fn write_v4<const OPTIONS: u8>(
    packet: &mut [u8],
    ports: Ports,
    reply: &TcpReply,
    options_len: usize,
    ttl: u8,
    offload: Offload,
) -> Option<()> {
    let (headers, rest) = TcpIpv4::mut_from_prefix(packet).ok()?;
    let (src, dst) = (headers.ip.dst, headers.ip.src);
    let tcp_len = (tcp::HEADER_LEN + options_len) as u16;
    let total_len = ipv4::HEADER_LEN as u16 + tcp_len;
    let addresses = Sum::bytes4(src) + Sum::bytes4(dst);
    headers.ip = ipv4_header(src, dst, addresses, total_len, ttl, offload.ipv4);
    let pseudo = addresses + Sum::word(u16::from(ip_protocol::TCP)) + Sum::word(tcp_len);
    let sum = pseudo + write_options::<OPTIONS>(&reply.options, rest)?;
    headers.tcp = tcp_header(ports, reply, options_len, pseudo, sum, offload);
    Some(())
}

/// The IPv4 header of a segment of ours. `addresses` is the sum of both; with `offload` the NIC fills in the checksum.
#[inline(always)]
pub(super) fn ipv4_header(
    src: [u8; 4],
    dst: [u8; 4],
    addresses: Sum,
    total_len: u16,
    ttl: u8,
    offload: bool,
) -> ipv4::Header {
    let sum = addresses
        + Sum::word(u16::from_be_bytes([ipv4::VERSION_IHL_PLAIN, 0]))
        + Sum::word(total_len)
        + Sum::word(ipv4::DONT_FRAGMENT)
        + Sum::word(u16::from_be_bytes([ttl, ip_protocol::TCP]));
    ipv4::Header {
        version_ihl: ipv4::VERSION_IHL_PLAIN,
        dscp_ecn: 0,
        total_len: U16::new(total_len),
        // An atomic datagram (RFC 6864 §4.1): never fragmented, so its identification means nothing.
        ident: U16::ZERO,
        flags_fragment: U16::new(ipv4::DONT_FRAGMENT),
        ttl,
        protocol: ip_protocol::TCP,
        checksum: if offload { U16::ZERO } else { sum.finish() },
        src,
        dst,
    }
}

#[inline(always)]
fn write_v6<const OPTIONS: u8>(
    packet: &mut [u8],
    ports: Ports,
    reply: &TcpReply,
    options_len: usize,
    ttl: u8,
    offload: Offload,
) -> Option<()> {
    let (headers, rest) = TcpIpv6::mut_from_prefix(packet).ok()?;
    let (src, dst) = (headers.ip.dst, headers.ip.src);
    let tcp_len = (tcp::HEADER_LEN + options_len) as u16;
    headers.ip = ipv6::Header {
        version_class_flow: U32::new(6 << 28),
        payload_len: U16::new(tcp_len),
        next_header: ip_protocol::TCP,
        hop_limit: ttl,
        src,
        dst,
    };
    let pseudo = checksum::pseudo_v6(&src, &dst, ip_protocol::TCP, u32::from(tcp_len));
    let sum = pseudo + write_options::<OPTIONS>(&reply.options, rest)?;
    headers.tcp = tcp_header(ports, reply, options_len, pseudo, sum, offload);
    Some(())
}

#[inline(always)]
fn write_options<const OPTIONS: u8>(options: &ReplyOptions, into: &mut [u8]) -> Option<Sum> {
    match OPTIONS {
        NO_OPTIONS => Some(Sum::ZERO),
        ALL_OPTIONS => options.write_all(into),
        _ => options.write(into),
    }
}

/// The TCP header of a reply. Its checksum is summed from the values, not from the bytes: words that were just written in
/// parts can't be forwarded to a wider load, and waiting for that cost 40 % of the whole reply.
#[inline(always)]
fn tcp_header(
    ports: Ports,
    reply: &TcpReply,
    options_len: usize,
    pseudo: Sum,
    pseudo_and_options: Sum,
    offload: Offload,
) -> tcp::Header {
    let data_offset = tcp::Header::data_offset_for(tcp::HEADER_LEN + options_len);
    let checksum = if offload.tcp {
        pseudo.folded()
    } else {
        let sum = pseudo_and_options
            + Sum::word(ports.local)
            + Sum::word(ports.remote)
            + Sum::bytes4(reply.seq.0.to_be_bytes())
            + Sum::bytes4(reply.ack.0.to_be_bytes())
            + Sum::word(u16::from_be_bytes([data_offset, reply.flags.0]))
            + Sum::word(reply.window);
        sum.finish()
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

/// The headers of a segment behind the link header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct TcpIpv4 {
    pub(super) ip: ipv4::Header,
    pub(super) tcp: tcp::Header,
}

/// The headers of a segment behind the link header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct TcpIpv6 {
    pub(super) ip: ipv6::Header,
    pub(super) tcp: tcp::Header,
}
