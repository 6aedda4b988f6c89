//! From [`SendPlan`] to frame: headers, options, payload in pieces, checksums. One [`Draft`] is one segment.
//!
//! It must never send, never keep a piece of payload, and never let a frame go that isn't exactly what its plan says:
//! what TCP counts as sent would be something else.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use crate::conn::FlowKey;
use crate::counters::{Counter, Counters};
use crate::nic::{Burst, Caps, Frame, IpVersion, Nic, PoolClass, TxRequest};
use crate::tcp::segment::{SegmentOptions, SendPlan};
use crate::wire::checksum;
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::ethernet::{EtherType, MacAddr};
use crate::wire::tcp_options::Timestamps;
use crate::wire::{U16, U32, ip_protocol, ipv4, ipv6, tcp, vlan};
use crate::worker::reply::{Offload, TIMESTAMPS_WORD, TcpIpv4, TcpIpv6, ipv4_header};

/// Pieces of payload up to this length, in bytes, are copied even where they could be chained: a reference costs an mbuf, an
/// atomic count and a descriptor of the NIC's ring.
pub const COPY_BREAK: usize = 256;

/// Buffers in one frame at most, the header's included: what the pickiest common NICs take (i40e and ice: 8 descriptors a
/// packet, `I40E_TX_MAX_MTU_SEG`). Payload in more pieces than that is copied together.
pub const SEGMENTS_MAX: usize = 8;

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

/// What all segments of a connection have in common.
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
    fn ip_header_len(&self) -> usize {
        match self.local {
            IpAddr::V4(_) => ipv4::HEADER_LEN,
            IpAddr::V6(_) => ipv6::HEADER_LEN,
        }
    }
}

/// Builds the segments of one worker, out of a stash of empty frames.
#[derive(Debug)]
pub struct SegmentWriter<F> {
    mac: MacAddr,
    ttl: u8,
    offload: Offload,
    chains: bool,
    stash: Burst<F>,
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
            stash: Burst::new(),
        }
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
        let packet_len = path.ip_header_len() + tcp::HEADER_LEN + options_len;
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

    /// An empty frame.
    #[inline]
    fn empty<N: Nic<Frame = F>>(&mut self, nic: &mut N) -> Option<F> {
        if self.stash.is_empty() {
            nic.alloc(PoolClass::Control, &mut self.stash, REFILL_FRAMES);
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

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn append_copy(&mut self, bytes: &[u8]) {
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
        self.segments + usize::from(self.tail.is_some()) + 2 <= SEGMENTS_MAX
    }

    #[inline]
    fn account(&mut self, len: usize, sum: Sum) {
        self.len += len;
        self.sum = self.sum + sum;
    }

    /// Where the next `len` copied bytes go: behind the headers, or behind what is chained.
    #[inline]
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
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
        let (path, offload) = (self.path, self.writer.offload);
        let (l3_offset, ip_header_len) = (path.l3_offset(), path.ip_header_len());
        let segment_len = tcp::HEADER_LEN + self.options_len + self.len;
        u16::try_from(ip_header_len + segment_len).ok()?;
        let headers = Headers {
            path,
            plan: self.plan,
            options_len: self.options_len,
            segment_len: segment_len as u16,
            payload: self.sum,
            ttl: self.writer.ttl,
            offload,
        };
        let bytes = self.head.first_mut()?;
        let (link, packet) = bytes.split_at_mut_checked(l3_offset)?;
        let ip = match path.local {
            IpAddr::V4(local) => {
                write_link(link, path.route, self.writer.mac, EtherType::IPV4)?;
                headers.write_v4(local, packet)?;
                IpVersion::V4
            }
            IpAddr::V6(local) => {
                write_link(link, path.route, self.writer.mac, EtherType::IPV6)?;
                headers.write_v6(local, packet)?;
                IpVersion::V6
            }
        };
        let ipv4_checksum = ip == IpVersion::V4 && offload.ipv4;
        if offload.tcp || ipv4_checksum {
            self.head.request(Some(TxRequest {
                ip,
                l2_len: l3_offset as u8,
                l3_len: ip_header_len as u16,
                ipv4_checksum,
                tcp_checksum: offload.tcp,
            }));
        }
        Some(())
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
        Some(Some(_)) => 4 * TIMESTAMPS_WORDS,
        None => options.to_bytes().as_padded().len(),
    }
}

/// Words of the timestamps option with the two NOPs in front of it.
const TIMESTAMPS_WORDS: usize = 3;

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

/// Writes the options into the beginning of `into`, as long as [`options_len`] says, and returns their sum.
#[inline]
fn write_options(options: &SegmentOptions, into: &mut [u8]) -> Option<Sum> {
    match usual_options(options) {
        Some(None) => Some(Sum::ZERO),
        Some(Some(timestamps)) => {
            let (tsval, tsecr) = (
                timestamps.tsval.to_be_bytes(),
                timestamps.tsecr.to_be_bytes(),
            );
            let (words, _) = into.as_chunks_mut::<4>();
            let words: &mut [_; TIMESTAMPS_WORDS] = words.first_chunk_mut()?;
            *words = [TIMESTAMPS_WORD, tsval, tsecr];
            Some(Sum::bytes4(TIMESTAMPS_WORD) + Sum::bytes4(tsval) + Sum::bytes4(tsecr))
        }
        None => write_rare_options(options, into),
    }
}

#[cold]
fn write_rare_options(options: &SegmentOptions, into: &mut [u8]) -> Option<Sum> {
    let bytes = options.to_bytes();
    let bytes = bytes.as_padded();
    into.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(checksum::sum_header(bytes))
}

#[inline]
fn write_link(link: &mut [u8], route: Route, src: MacAddr, inner: EtherType) -> Option<()> {
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

/// What the IP and TCP headers of one segment say.
struct Headers<'a> {
    path: &'a Path,
    plan: &'a SendPlan,
    options_len: usize,
    /// TCP header, options and payload, in bytes.
    segment_len: u16,
    payload: Sum,
    ttl: u8,
    offload: Offload,
}

impl Headers<'_> {
    #[inline]
    fn write_v4(&self, local: Ipv4Addr, packet: &mut [u8]) -> Option<()> {
        let (headers, rest) = TcpIpv4::mut_from_prefix(packet).ok()?;
        let (src, dst) = (local.octets(), self.path.key.remote_v4().to_be_bytes());
        let addresses = Sum::bytes4(src) + Sum::bytes4(dst);
        let total_len = ipv4::HEADER_LEN as u16 + self.segment_len;
        headers.ip = ipv4_header(src, dst, addresses, total_len, self.ttl, self.offload.ipv4);
        let pseudo =
            addresses + Sum::word(u16::from(ip_protocol::TCP)) + Sum::word(self.segment_len);
        headers.tcp = self.tcp_header(pseudo, write_options(&self.plan.options, rest)?);
        Some(())
    }

    #[inline]
    fn write_v6(&self, local: Ipv6Addr, packet: &mut [u8]) -> Option<()> {
        let (headers, rest) = TcpIpv6::mut_from_prefix(packet).ok()?;
        let (src, dst) = (local.octets(), self.path.key.remote_v6().to_be_bytes());
        headers.ip = ipv6::Header {
            version_class_flow: U32::new(6 << 28),
            payload_len: U16::new(self.segment_len),
            next_header: ip_protocol::TCP,
            hop_limit: self.ttl,
            src,
            dst,
        };
        let pseudo = checksum::pseudo_v6(&src, &dst, ip_protocol::TCP, u32::from(self.segment_len));
        headers.tcp = self.tcp_header(pseudo, write_options(&self.plan.options, rest)?);
        Some(())
    }

    /// Summed from the values, not from the bytes that were just stored: see the replies' header.
    #[inline]
    fn tcp_header(&self, pseudo: Sum, options: Sum) -> tcp::Header {
        let (plan, key) = (self.plan, &self.path.key);
        let data_offset = tcp::Header::data_offset_for(tcp::HEADER_LEN + self.options_len);
        let checksum = if self.offload.tcp {
            pseudo.folded()
        } else {
            let sum = pseudo
                + options
                + self.payload
                + Sum::word(key.local_port())
                + Sum::word(key.remote_port())
                + Sum::bytes4(plan.seq.0.to_be_bytes())
                + Sum::bytes4(plan.ack.0.to_be_bytes())
                + Sum::word(u16::from_be_bytes([data_offset, plan.flags.0]))
                + Sum::word(plan.window)
                + Sum::word(plan.urgent);
            sum.finish()
        };
        tcp::Header {
            src_port: U16::new(key.local_port()),
            dst_port: U16::new(key.remote_port()),
            seq: U32::new(plan.seq.0),
            ack: U32::new(plan.ack.0),
            data_offset,
            flags: plan.flags,
            window: U16::new(plan.window),
            checksum,
            urgent: U16::new(plan.urgent),
        }
    }
}

#[cfg(test)]
mod tests;
