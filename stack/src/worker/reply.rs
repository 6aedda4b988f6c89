//! Turns a received frame into its own answer, in place: addresses swapped, IP and TCP headers written fresh by
//! `worker/segment_headers.rs`.
//!
//! It must never read what it has already overwritten, and never keep a byte of the received segment behind the headers.

use zerocopy::FromBytes;

use crate::nic::{Caps, Frame, IpVersion};
use crate::seq::SeqNum;
use crate::tcp::reset::Reset;
use crate::tcp::segment::{SegmentOptions, SendPlan};
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::Timestamps;
use crate::wire::{ethernet, tcp};
use crate::worker::segment_headers::{
    Content, Offload, SegmentHeaders, TcpFields, ip_header_len, write_options,
};

/// Where the headers of a frame start: the same frame is parsed once and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The IP version of the frame.
    pub(crate) ip: IpVersion,
    /// Bytes before the IP header: 14, or 18 with one 802.1Q tag.
    pub(crate) l3_offset: u8,
}

/// The ports of a received segment. Passed along, because the bytes that held them may lie where the reply is shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The sender's port: where the reply goes.
    pub(crate) remote: u16,
    /// Our port.
    pub(crate) local: u16,
}

/// The options of a SYN-ACK, or the timestamps of any other segment.
///
/// The order of the fields matters: two numbers side by side that go out side by side are loaded as one vector right after
/// they were stored apart, and the load waits for both stores to leave the core. So none stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct ReplyOptions {
    pub(super) tsval: u32,
    pub(super) mss: u16,
    pub(super) window_scale: u8,
    present: u8,
    pub(super) tsecr: u32,
}

const HAS_MSS: u8 = 1;
const HAS_WINDOW_SCALE: u8 = 2;
const HAS_TIMESTAMPS: u8 = 4;
const ALL_OPTIONS: u8 = HAS_MSS | HAS_WINDOW_SCALE | HAS_TIMESTAMPS;

impl ReplyOptions {
    /// No option.
    pub(crate) const NONE: Self = Self {
        tsval: 0,
        mss: 0,
        window_scale: 0,
        present: 0,
        tsecr: 0,
    };

    /// The MSS option as well, SYN-ACK only (RFC 9293 MUST-65).
    #[must_use]
    #[inline]
    pub(crate) const fn with_mss(self, mss: u16) -> Self {
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
    pub(crate) const fn with_window_scale(self, shift: Option<u8>) -> Self {
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
    pub(crate) const fn with_timestamps(self, timestamps: Option<(u32, u32)>) -> Self {
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

    #[inline(always)]
    pub(super) const fn is_none(&self) -> bool {
        self.present == 0
    }

    /// The options of nearly every SYN-ACK: MSS, timestamps and window scale.
    #[inline(always)]
    pub(super) const fn is_full(&self) -> bool {
        self.present == ALL_OPTIONS
    }

    /// These as any segment has them.
    fn segment_options(&self) -> SegmentOptions {
        let has = |option| self.present & option != 0;
        SegmentOptions {
            timestamps: has(HAS_TIMESTAMPS).then_some(Timestamps {
                tsval: self.tsval,
                tsecr: self.tsecr,
            }),
            mss: has(HAS_MSS).then_some(self.mss),
            window_scale: has(HAS_WINDOW_SCALE).then_some(self.window_scale),
            sack_permitted: false,
        }
    }
}

/// A segment that answers another one without payload of its own. The order of the fields matters as in [`ReplyOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct TcpReply {
    /// SEG.SEQ.
    pub(crate) seq: SeqNum,
    /// SEG.WND as it stands on the wire, already scaled down.
    pub(crate) window: u16,
    /// Control bits.
    pub(crate) flags: Flags,
    /// SEG.ACK, 0 when `flags` has no ACK.
    pub(crate) ack: SeqNum,
    /// Options.
    pub(crate) options: ReplyOptions,
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

impl From<&TcpReply> for SendPlan {
    fn from(reply: &TcpReply) -> Self {
        Self {
            seq: reply.seq,
            ack: reply.ack,
            flags: reply.flags,
            window: reply.window,
            options: reply.options.segment_options(),
            ..Self::default()
        }
    }
}

/// Why a reply could not be written into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotWritable;

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
    let offload = Offload::of(caps);
    let content = Answer { ports, reply };
    let options_len = content.options().padded_len();
    write_answer(frame, layout, content, options_len, ttl, offload)
}

/// The same with this content. What is known of it when compiling leaves half of the work.
#[inline(always)]
pub(super) fn write_answer<F: Frame, C: Content>(
    frame: &mut F,
    layout: Layout,
    content: C,
    options_len: usize,
    ttl: u8,
    offload: Offload,
) -> Result<(), NotWritable> {
    let segment_len = tcp::HEADER_LEN + options_len;
    let l3 = usize::from(layout.l3_offset);
    frame
        .set_len(l3 + ip_header_len(layout.ip) + segment_len)
        .map_err(|_| NotWritable)?;
    let bytes = frame.bytes_mut().ok_or(NotWritable)?;
    let (link, packet) = bytes.split_at_mut_checked(l3).ok_or(NotWritable)?;
    swap_macs(link)?;
    let headers = SegmentHeaders {
        content,
        options_len,
        segment_len: segment_len as u16,
        pseudo_len: segment_len as u16,
        payload: Sum::ZERO,
        ttl,
        offload,
    };
    match layout.ip {
        IpVersion::V4 => headers.write_v4(packet, |asks| (asks.dst, asks.src)),
        IpVersion::V6 => headers.write_v6(packet, |asks| (asks.dst, asks.src)),
    }
    .ok_or(NotWritable)?;
    frame.request(offload.request(layout.ip, l3));
    Ok(())
}

/// A reply to the sender of a segment.
pub(super) struct Answer<'a> {
    pub(super) ports: Ports,
    pub(super) reply: &'a TcpReply,
}

impl Answer<'_> {
    fn options(&self) -> SegmentOptions {
        self.reply.options.segment_options()
    }
}

impl Content for Answer<'_> {
    #[inline(always)]
    fn fields(&self) -> TcpFields {
        TcpFields {
            src_port: self.ports.local,
            dst_port: self.ports.remote,
            seq: self.reply.seq,
            ack: self.reply.ack,
            flags: self.reply.flags,
            window: self.reply.window,
            urgent: 0,
        }
    }

    #[inline(always)]
    fn write_options(&self, into: &mut [u8]) -> Option<Sum> {
        write_options(&self.options(), into)
    }
}

#[inline]
fn swap_macs(link: &mut [u8]) -> Result<(), NotWritable> {
    let (header, _) = ethernet::Header::mut_from_prefix(link).map_err(|_| NotWritable)?;
    core::mem::swap(&mut header.dst, &mut header.src);
    Ok(())
}
