//! From [`SendPlan`] to frame: headers, options, payload in pieces, checksums. One [`Draft`] is one segment.
//!
//! It must never send, never keep a piece of payload, and never let a frame go that isn't exactly what its plan says:
//! what TCP counts as sent would be something else.

use core::net::IpAddr;

use zerocopy::FromBytes;

use crate::conn::FlowKey;
use crate::counters::{Counter, Counters};
use crate::nic::{Burst, Caps, Cut, Frame, IpVersion, Nic, PoolClass};
use crate::tcp::segment::{SegmentOptions, SendPlan};
use crate::wire::checksum;
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::ethernet::{EtherType, MacAddr};
use crate::wire::tcp_options::Timestamps;
use crate::wire::{tcp, vlan};
use crate::worker::segment_headers::{
    Content, Offload, SegmentHeaders, TcpFields, ip_header_len, write_options,
};

/// Pieces of payload up to this length, in bytes, are copied even where they could be chained: a reference costs an mbuf, an
/// atomic count and a descriptor of the NIC's ring.
pub const COPY_BREAK: usize = 256;

/// Buffers in one frame at most, the header's included: what the pickiest common NICs take (i40e and ice: 8 descriptors a
/// packet, `I40E_TX_MAX_MTU_SEG`). Payload in more pieces than that is copied together.
pub const SEGMENTS_MAX: usize = 8;

/// Bytes of payload at most in a segment that the NIC cuts: with its headers it must fit the length field of IP.
const LARGE_BYTES_MAX: usize = 64_000;

/// Bytes that a buffer of copies holds at least in such a segment: half of the usual 2,048, since a copy isn't split.
const LARGE_COPY_BYTES: usize = 1024;

/// Frames taken from the NIC's pool at a time.
const REFILL_FRAMES: usize = 32;

/// Where the frames of a connection go on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The peer's link-layer address, or that of the gateway to it.
    pub dst: MacAddr,
    /// The 802.1Q tag of the connection's VLAN.
    pub vlan: Option<vlan::Tag>,
}

/// The common part of all segments of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The connection.
    pub key: FlowKey,
    /// Our address: the one that `key` names by its id, so of the same family as the peer's.
    pub local: IpAddr,
    /// The next hop.
    pub route: Route,
    /// Worker 0 is to be asked for the next hop although an address is known: nothing that was sent there was answered.
    pub is_doubtful: bool,
}

impl Path {
    /// Whether the next hop's link-layer address is known: all zero stands for one that is to be resolved.
    #[must_use]
    #[inline]
    pub fn is_resolved(&self) -> bool {
        self.route.dst != MacAddr::ZERO && !self.is_doubtful
    }

    #[inline]
    fn l3_offset(&self) -> usize {
        match self.route.vlan {
            None => ethernet::HEADER_LEN,
            Some(_) => ethernet::HEADER_LEN + vlan::TAG_LEN,
        }
    }

    #[inline]
    fn ip(&self) -> IpVersion {
        match self.local {
            IpAddr::V4(_) => IpVersion::V4,
            IpAddr::V6(_) => IpVersion::V6,
        }
    }
}

/// Builds the segments of one worker, out of a stash of empty frames.
#[derive(Debug)]
pub struct SegmentWriter<F> {
    pub(super) mac: MacAddr,
    pub(super) ttl: u8,
    pub(super) offload: Offload,
    chains: bool,
    /// Buffers at most of a frame that the NIC cuts; 0 where it cuts none.
    tso_buffers: usize,
    /// Empty frames.
    pub(super) stash: Burst<F>,
}

impl<F: Frame> SegmentWriter<F> {
    /// For a port with this link-layer address and these capabilities; `ttl` (or hop limit) goes into every IP header.
    #[must_use]
    pub fn new(mac: MacAddr, ttl: u8, caps: &Caps) -> Self {
        Self {
            mac,
            ttl,
            offload: Offload::of(caps),
            chains: caps.tx_multi_seg,
            tso_buffers: if caps.tx_multi_seg && caps.tx_tcp_checksum {
                caps.tso_buffers.into()
            } else {
                0
            },
            stash: Burst::new(),
        }
    }

    /// Bytes of payload at most in a segment that the NIC cuts into several; 0 where it cuts none.
    #[must_use]
    #[inline]
    pub fn cut_bytes_max(&self) -> u32 {
        // The headers have one buffer, and copies behind the last reference may begin another.
        let copied = self.tso_buffers.saturating_sub(2) * LARGE_COPY_BYTES;
        copied.min(LARGE_BYTES_MAX) as u32
    }

    /// Begins the segment of `plan`. Its payload is appended next, in order, then [`Draft::finish`].
    ///
    /// `None`, counted as [`Counter::TxNoBuffer`], when the pool is empty or no buffer is that long.
    #[inline]
    pub fn begin<'a, N: Nic<Frame = F>>(
        &'a mut self,
        nic: &'a mut N,
        counters: &'a mut Counters,
        path: &'a Path,
        plan: &'a SendPlan,
    ) -> Option<Draft<'a, N>> {
        let options_len = options_len(&plan.options);
        let packet_len = ip_header_len(path.ip()) + tcp::HEADER_LEN + options_len;
        let Some(head) = self.head(nic, path.l3_offset() + packet_len) else {
            counters.bump(Counter::TxNoBuffer);
            return None;
        };
        Some(Draft {
            writer: self,
            nic,
            counters,
            path,
            plan,
            head,
            tail: None,
            segments: 1,
            is_whole: false,
            segment_bytes: 0,
            options_len,
            len: 0,
            sum: Sum::ZERO,
        })
    }

    /// The whole segment of a plan without payload: most ACKs, SYN, FIN, RST. `None` as in [`SegmentWriter::begin`], and
    /// for a plan that has payload.
    #[inline]
    pub fn bare<N: Nic<Frame = F>>(
        &mut self,
        nic: &mut N,
        counters: &mut Counters,
        path: &Path,
        plan: &SendPlan,
    ) -> Option<F> {
        self.begin(nic, counters, path, plan)?.finish()
    }

    /// Returns the stash to the NIC's pool: when the worker has nothing to send for a while.
    pub fn release<N: Nic<Frame = F>>(&mut self, nic: &mut N) {
        nic.free(&mut self.stash);
    }

    /// Takes more empty frames from the NIC's pool.
    pub(super) fn refill<N: Nic<Frame = F>>(&mut self, nic: &mut N) {
        nic.alloc(PoolClass::Control, &mut self.stash, REFILL_FRAMES);
    }

    /// An empty frame.
    #[inline]
    fn empty<N: Nic<Frame = F>>(&mut self, nic: &mut N) -> Option<F> {
        if self.stash.is_empty() {
            self.refill(nic);
        }
        self.stash.storage_mut().pop()
    }

    /// A frame that begins with `len` bytes of headers, still to be written.
    #[inline]
    fn head<N: Nic<Frame = F>>(&mut self, nic: &mut N, len: usize) -> Option<F> {
        let mut frame = self.empty(nic)?;
        frame.grow(len).ok()?;
        Some(frame)
    }
}

/// A segment whose payload is being put together. Dropped unfinished, it leaves nothing behind.
///
/// An append that finds no buffer leaves the payload short, and [`Draft::finish`] then says `None`: a segment is sent whole
/// or not at all, and TCP sends it again.
pub struct Draft<'a, N: Nic> {
    writer: &'a mut SegmentWriter<N::Frame>,
    nic: &'a mut N,
    counters: &'a mut Counters,
    path: &'a Path,
    plan: &'a SendPlan,
    head: N::Frame,
    /// Copied bytes that follow a chained piece, not chained themselves yet.
    tail: Option<N::Frame>,
    /// Buffers in the chain of `head`.
    segments: usize,
    /// Nothing may be chained: the frame is still to be written to.
    is_whole: bool,
    /// Bytes of payload in each segment that the NIC makes of this one; 0 where it leaves it as it is.
    segment_bytes: u16,
    options_len: usize,
    /// Bytes of payload so far.
    len: usize,
    /// Their sum, unless the NIC takes it.
    sum: Sum,
}

impl<N: Nic> core::fmt::Debug for Draft<'_, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Draft")
            .field("plan", self.plan)
            .field("len", &self.len)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

impl<N: Nic> Draft<'_, N> {
    /// Copies every piece from here on, so that the finished frame is ours alone and can be written to.
    pub fn keep_whole(&mut self) {
        self.is_whole = true;
    }

    /// Lets the NIC cut the segment into several of so many bytes of payload (0: leaves it whole). The plan is one that
    /// [`SegmentWriter::cut_bytes_max`] allows.
    #[inline]
    pub fn cut(&mut self, segment_bytes: u16) {
        self.segment_bytes = segment_bytes;
    }

    /// Bytes at most that one copy may have.
    #[inline]
    pub fn copy_bytes_max(&self) -> usize {
        if self.segment_bytes == 0 {
            usize::MAX
        } else {
            LARGE_COPY_BYTES
        }
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn append_copy(&mut self, bytes: &[u8]) {
        if bytes.len() > self.copy_bytes_max() {
            for piece in bytes.chunks(LARGE_COPY_BYTES) {
                self.append_with(piece.len(), |into| into.copy_from_slice(piece));
            }
            return;
        }
        self.append_with(bytes.len(), |into| into.copy_from_slice(bytes));
    }

    /// Appends `len` bytes that `fill` writes. It must overwrite all that it gets: old frames still stand there.
    #[inline]
    pub fn append_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        let (odd, offload) = (self.is_odd(), self.writer.offload.tcp);
        let Some(into) = self.room(len) else {
            return;
        };
        fill(into);
        let sum = piece_sum(into, odd, offload);
        self.account(len, sum);
    }

    /// Appends the bytes `start..start + len` of `body`'s first segment: a reference to them when they are longer than
    /// [`COPY_BREAK`] and the NIC can chain (`body` must not be rewritten then until it is exclusive again), a copy
    /// otherwise ([`Counter::TxLinearized`] where only the NIC was to blame). A range that isn't there appends nothing.
    #[inline]
    pub fn append_frame(&mut self, body: &mut N::Frame, start: usize, len: usize) {
        let bytes = body.bytes().get(start..).and_then(|from| from.get(..len));
        let Some(bytes) = bytes else {
            return;
        };
        if len <= COPY_BREAK || self.is_whole || !self.may_chain() {
            return self.append_copy(bytes);
        }
        if self.writer.chains {
            let sum = piece_sum(bytes, self.is_odd(), self.writer.offload.tcp);
            if self.close_tail() && self.nic.chain(&mut self.head, body, start, len) {
                self.segments += 1;
                return self.account(len, sum);
            }
        }
        self.counters.bump(Counter::TxLinearized);
        self.append_copy(&body.bytes()[start..start + len]);
    }

    /// The finished frame, or `None`, counted as [`Counter::TxNoBuffer`], when its payload isn't as long as planned.
    #[inline]
    pub fn finish(mut self) -> Option<N::Frame> {
        if self.len != self.plan.payload_len as usize
            || !self.close_tail()
            || self.write_headers().is_none()
        {
            self.counters.bump(Counter::TxNoBuffer);
            return None;
        }
        Some(self.head)
    }

    #[inline]
    fn is_odd(&self) -> bool {
        self.len % 2 == 1
    }

    /// Whether the chain has room for another piece, for the copies in front of it, and for those behind it.
    #[inline]
    fn may_chain(&self) -> bool {
        if self.segment_bytes != 0 {
            return self.may_chain_large();
        }
        self.segments + usize::from(self.tail.is_some()) + 2 <= SEGMENTS_MAX
    }

    /// The same where the NIC cuts: all that follows may have to be copied.
    #[inline(never)]
    fn may_chain_large(&self) -> bool {
        let left = self.plan.payload_len as usize - self.len;
        let copies = left.div_ceil(LARGE_COPY_BYTES);
        self.segments + usize::from(self.tail.is_some()) + 1 + copies <= self.writer.tso_buffers
    }

    /// Where the next `len` copied bytes of a segment go that the NIC cuts: behind the headers as far as there is room, then in
    /// one buffer after the other. At most [`LARGE_COPY_BYTES`], so that each of them holds as many.
    #[inline(never)]
    fn large_room(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.segments == 1 && self.tail.is_none() && self.head.grow(len).is_ok() {
            return last(self.head.first_mut()?, len);
        }
        let has_room = self
            .tail
            .as_mut()
            .is_some_and(|tail| tail.grow(len).is_ok());
        if !has_room {
            if !self.close_tail() {
                return None;
            }
            let mut fresh = self.writer.empty(self.nic)?;
            fresh.grow(len).ok()?;
            self.tail = Some(fresh);
        }
        last(self.tail.as_mut()?.first_mut()?, len)
    }

    #[inline]
    fn account(&mut self, len: usize, sum: Sum) {
        self.len += len;
        self.sum = self.sum + sum;
    }

    /// Where the next `len` copied bytes go: behind the headers, or behind what is chained.
    #[inline]
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.segment_bytes != 0 {
            return self.large_room(len);
        }
        if self.segments == 1 {
            return self.head.grow(len).ok();
        }
        if self.tail.is_none() {
            self.tail = self.writer.empty(self.nic);
        }
        self.tail.as_mut()?.grow(len).ok()
    }

    /// Chains the copies that wait in the tail. False when they can't be: they still wait then.
    #[inline]
    fn close_tail(&mut self) -> bool {
        let Some(mut tail) = self.tail.take() else {
            return true;
        };
        let len = tail.bytes().len();
        if len == 0 {
            return true;
        }
        let mut chained = self.nic.chain(&mut self.head, &mut tail, 0, len);
        if !chained {
            // The stash may hold the very buffer that the reference needs.
            self.writer.release(self.nic);
            chained = self.nic.chain(&mut self.head, &mut tail, 0, len);
        }
        if chained {
            self.segments += 1; // the chain has its own reference
        } else {
            self.tail = Some(tail);
        }
        chained
    }

    /// Everything in front of the payload. `None` when the packet is longer than its length field can say.
    #[inline]
    fn write_headers(&mut self) -> Option<()> {
        let (path, plan, offload) = (self.path, self.plan, self.writer.offload);
        let (ip, l3_offset) = (path.ip(), path.l3_offset());
        let segment_len = tcp::HEADER_LEN + self.options_len + self.len;
        u16::try_from(ip_header_len(ip) + segment_len).ok()?;
        let headers = SegmentHeaders {
            content: PlannedSegment { path, plan },
            options_len: self.options_len,
            segment_len: segment_len as u16,
            // The NIC adds the length of each segment that it makes (DPDK Programmer's Guide, mbuf library).
            pseudo_len: if self.segment_bytes == 0 {
                segment_len as u16
            } else {
                0
            },
            payload: self.sum,
            ttl: self.writer.ttl,
            offload,
        };
        let bytes = self.head.first_mut()?;
        let (link, packet) = bytes.split_at_mut_checked(l3_offset)?;
        match path.local {
            IpAddr::V4(local) => {
                write_link(link, path.route, self.writer.mac, EtherType::IPV4)?;
                let remote = path.key.remote_v4().to_be_bytes();
                headers.write_v4(packet, |_| (local.octets(), remote))?;
            }
            IpAddr::V6(local) => {
                write_link(link, path.route, self.writer.mac, EtherType::IPV6)?;
                let remote = path.key.remote_v6().to_be_bytes();
                headers.write_v6(packet, |_| (local.octets(), remote))?;
            }
        }
        if let Some(mut request) = offload.request(ip, l3_offset) {
            if self.segment_bytes != 0 {
                request.cut = Some(Cut {
                    l4_len: (tcp::HEADER_LEN + self.options_len) as u8,
                    segment_bytes: self.segment_bytes,
                });
            }
            self.head.request(Some(request));
        }
        Some(())
    }
}

/// The last `len` bytes.
#[inline]
fn last(bytes: &mut [u8], len: usize) -> Option<&mut [u8]> {
    let at = bytes.len().checked_sub(len)?;
    bytes.get_mut(at..)
}

/// A segment of a connection.
struct PlannedSegment<'a> {
    path: &'a Path,
    plan: &'a SendPlan,
}

impl Content for PlannedSegment<'_> {
    #[inline(always)]
    fn fields(&self) -> TcpFields {
        let plan = self.plan;
        TcpFields {
            src_port: self.path.key.local_port(),
            dst_port: self.path.key.remote_port(),
            seq: plan.seq,
            ack: plan.ack,
            flags: plan.flags,
            window: plan.window,
            urgent: plan.urgent,
        }
    }

    #[inline]
    fn write_options(&self, into: &mut [u8]) -> Option<Sum> {
        match usual_options(&self.plan.options) {
            Some(None) => Some(Sum::ZERO),
            Some(Some(timestamps)) => write_options(&only(timestamps), into),
            None => write_rare_options(&self.plan.options, into),
        }
    }
}

/// The sum of a piece of payload as it counts in the segment; nothing when the NIC sums.
#[inline]
fn piece_sum(bytes: &[u8], odd: bool, offload: bool) -> Sum {
    if offload {
        return Sum::ZERO;
    }
    let sum = checksum::sum(bytes);
    if odd { sum.at_odd_offset() } else { sum }
}

/// Bytes that the options of a plan take: nothing or timestamps alone, unless it is a SYN's.
#[inline]
fn options_len(options: &SegmentOptions) -> usize {
    match usual_options(options) {
        Some(None) => 0,
        Some(Some(timestamps)) => only(timestamps).padded_len(),
        None => options.padded_len(),
    }
}

/// The timestamps of a segment that has no other option; `None` when it has.
#[inline]
fn usual_options(options: &SegmentOptions) -> Option<Option<Timestamps>> {
    match *options {
        SegmentOptions {
            timestamps,
            mss: None,
            window_scale: None,
            sack_permitted: false,
        } => Some(timestamps),
        _ => None,
    }
}

#[inline(always)]
pub(super) fn only(timestamps: Timestamps) -> SegmentOptions {
    SegmentOptions {
        timestamps: Some(timestamps),
        ..SegmentOptions::default()
    }
}

#[cold]
fn write_rare_options(options: &SegmentOptions, into: &mut [u8]) -> Option<Sum> {
    write_options(options, into)
}

#[inline]
pub(super) fn write_link(
    link: &mut [u8],
    route: Route,
    src: MacAddr,
    inner: EtherType,
) -> Option<()> {
    let (header, rest) = ethernet::Header::mut_from_prefix(link).ok()?;
    let mut ethertype = inner;
    if let Some(tag) = route.vlan {
        let (tagged, _) = vlan::Header::mut_from_prefix(rest).ok()?;
        *tagged = vlan::Header {
            tag,
            ethertype: inner,
        };
        ethertype = EtherType::VLAN;
    }
    *header = ethernet::Header {
        dst: route.dst,
        src,
        ethertype,
    };
    Some(())
}

#[cfg(test)]
mod tests;
