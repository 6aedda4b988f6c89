//! The classify stage: what each frame of a burst is. One [`Meta`] per frame, so that no later stage parses again.
//!
//! It must never keep a borrow of a frame beyond its own loop, and the fast lane must never name a reason: whatever
//! isn't perfect goes to the slow lane, which does.

use core::net::Ipv4Addr;

use zerocopy::FromBytes;

use super::reply::{Layout, Ports};
use crate::config::Config;
use crate::conn::bucket::Bucket;
use crate::conn::key::{FlowHash, FlowHasher, FlowKey};
use crate::counters::Counters;
use crate::local::addresses::LocalAddrs;
use crate::memory::prefetch_read;
use crate::nic::{BURST_FRAMES, Caps, ChecksumVerdict, Frame, IpVersion, RxChecksum};
use crate::seq::SeqNum;
use crate::tcp::predict::ExpectedSegment;
use crate::tcp::segment::{Segment, SegmentOptions, TimestampOption};
use crate::wire::checksum::WideSum;
use crate::wire::ethernet::{self, EtherType, MacAddr};
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::{USUAL_TIMESTAMPS, only_timestamps};
use crate::wire::vlan::VlanId;
use crate::wire::{Tcp4Headers, Tcp6Headers, checksum, ip_protocol, ipv4, ipv6, tcp, vlan};

mod plain_v4;
mod slow_lane;

use plain_v4::{PlainV4, usual_timestamps};

/// How many frames ahead the bytes are fetched: a DRAM miss is worth some six frames of this stage.
const PREFETCH_AHEAD: usize = 6;

/// Where the urgent pointer stands in a TCP header.
const URGENT_OFFSET: usize = core::mem::offset_of!(tcp::Header, urgent);

/// Where a frame goes after this stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A TCP segment to one of our addresses, intact: everything in its [`Meta`] is valid.
    Tcp,
    /// Anything else that is intact and may concern us: ARP, NDP, ICMP. Parsed again by the slow lane.
    Other,
    /// A fragment of an IP packet, not counted yet, of which nothing was verified. Parsed again by the slow lane.
    Fragment,
    /// Counted already; its sender may be due an ICMP error. Parsed again by the slow lane.
    Refused,
    /// Counted already; only its buffer is left to return.
    Ended,
}

/// The options of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionsKind {
    None,
    /// NOP, NOP, timestamps and nothing else: they stand in [`Meta::tsval`] and [`Meta::tsecr`].
    Timestamps,
    /// Any others, timestamps in another layout among them: to be parsed from the frame.
    Other,
}

/// The facts about one frame. Copy and below a cache line, so that a burst of them stays in L1. What is constant in a fast lane
/// (offsets and lane) stands side by side, and what stands side by side in a header stands so here, the other way round as
/// numbers of this machine do: one store each.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Meta {
    pub(super) key: FlowKey,
    pub(super) hash: FlowHash,
    pub(super) ack: SeqNum,
    pub(super) seq: SeqNum,
    /// Means something only with [`OptionsKind::Timestamps`].
    pub(super) tsecr: u32,
    /// As `tsecr`.
    pub(super) tsval: u32,
    pub(super) window: u16,
    pub(super) flags: Flags,
    /// Length of the TCP header in words: the upper half, as on the wire.
    data_offset: u8,
    /// Where the TCP header starts.
    pub(super) l4_offset: u16,
    pub(super) l3_offset: u8,
    pub(super) lane: Lane,
    pub(super) payload_len: u16,
    pub(super) options_kind: OptionsKind,
}

const _: () = assert!(size_of::<Meta>() <= 64, "a Meta outgrew its cache line");

impl Meta {
    /// Fills the scratch array before the first burst, and stands for frames without a flow.
    pub(super) const ENDED: Self = Self {
        key: FlowKey::v4(
            crate::local::addresses::LocalId(0),
            0,
            Ipv4Addr::UNSPECIFIED,
            0,
        ),
        hash: FlowHash(0),
        ack: SeqNum(0),
        seq: SeqNum(0),
        tsecr: 0,
        tsval: 0,
        window: 0,
        flags: Flags::NONE,
        data_offset: 0,
        l4_offset: 0,
        l3_offset: 0,
        lane: Lane::Ended,
        payload_len: 0,
        options_kind: OptionsKind::None,
    };

    #[inline]
    pub(super) fn layout(&self) -> Layout {
        let ip = if self.key.is_v6() {
            IpVersion::V6
        } else {
            IpVersion::V4
        };
        Layout {
            ip,
            l3_offset: self.l3_offset,
        }
    }

    /// Whether the frame is untagged IPv4 without options, whose headers stand at fixed offsets.
    #[inline(always)]
    pub(super) fn is_plain_v4(&self) -> bool {
        // No other headers of link and network are so short together.
        usize::from(self.l4_offset) == ethernet::HEADER_LEN + ipv4::HEADER_LEN
    }

    /// The destination of a frame of that kind; `bytes` are the frame that this was made from.
    #[inline(always)]
    pub(super) fn plain_destination(&self, bytes: &[u8]) -> Option<Ipv4Addr> {
        const AT: usize = ethernet::HEADER_LEN + 16;
        if !self.is_plain_v4() {
            return None;
        }
        let address = bytes.get(AT..)?.first_chunk::<4>()?;
        Some((*address).into())
    }

    #[inline]
    pub(super) fn ports(&self) -> Ports {
        Ports {
            remote: self.key.remote_port(),
            local: self.key.local_port(),
        }
    }

    /// Bytes of the TCP header with its options: 20 to 60.
    #[inline]
    pub(super) fn header_len(&self) -> usize {
        usize::from(self.data_offset >> 4) * 4
    }

    /// The option bytes in the frame that this was made from.
    #[inline]
    pub(super) fn options<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.l4_offset);
        bytes
            .get(start + tcp::HEADER_LEN..start + self.header_len())
            .unwrap_or(&[])
    }

    /// Fills in what the options are.
    #[inline(always)]
    fn take_options(&mut self, options: &[u8]) {
        self.options_kind = if options.is_empty() {
            OptionsKind::None
        } else if let Some(timestamps) = only_timestamps(options) {
            (self.tsval, self.tsecr) = (timestamps.tsval, timestamps.tsecr);
            OptionsKind::Timestamps
        } else {
            OptionsKind::Other
        };
    }

    #[inline(always)]
    fn set_timestamps(&mut self, tsval_tsecr: u64) {
        self.tsecr = tsval_tsecr as u32;
        self.tsval = (tsval_tsecr >> 32) as u32;
    }

    /// Whether the options are timestamps in their usual layout and nothing else: `tsval` and `tsecr` hold them.
    #[inline(always)]
    pub(super) fn has_usual_timestamps(&self) -> bool {
        self.options_kind == OptionsKind::Timestamps
    }

    /// The values of the options; `bytes` are the frame that this was made from.
    #[inline(always)]
    pub(super) fn segment_options(&self, bytes: &[u8]) -> SegmentOptions {
        if self.options_kind == OptionsKind::Other {
            return SegmentOptions::parse_any(self.options(bytes));
        }
        SegmentOptions {
            timestamps: self.has_usual_timestamps().then_some(TimestampOption {
                tsval: self.tsval,
                tsecr: self.tsecr,
            }),
            ..SegmentOptions::default()
        }
    }

    /// The segment in numbers, as the protocol wants it.
    #[inline]
    pub(super) fn segment(&self, bytes: &[u8]) -> Segment {
        Segment {
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: if self.flags.contains(Flags::URG) {
                self.urgent(bytes)
            } else {
                0
            },
            payload_len: self.payload_len.into(),
            options: self.segment_options(bytes),
            is_stripped: false,
        }
    }

    /// The segment in numbers, where it is a SYN with these options and without an urgent pointer.
    #[inline(always)]
    pub(super) fn syn(&self, options: SegmentOptions) -> Segment {
        Segment {
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: 0,
            payload_len: self.payload_len.into(),
            options,
            is_stripped: false,
        }
    }

    /// The segment as prediction wants it; `None` when it has other options than timestamps.
    #[inline(always)]
    pub(super) fn expected(&self) -> Option<ExpectedSegment> {
        let timestamps = match self.options_kind {
            OptionsKind::None => None,
            OptionsKind::Timestamps => Some(TimestampOption {
                tsval: self.tsval,
                tsecr: self.tsecr,
            }),
            OptionsKind::Other => return None,
        };
        Some(ExpectedSegment {
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            payload_len: self.payload_len.into(),
            timestamps,
        })
    }

    #[cold]
    fn urgent(&self, bytes: &[u8]) -> u16 {
        let at = usize::from(self.l4_offset) + URGENT_OFFSET;
        match bytes.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }
}

/// The directed broadcast addresses of our links. The first stands apart: it is tested for every frame, and mostly it is the
/// only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broadcasts {
    /// As a number: the compiler swaps the bytes of an address that it compares as an array.
    first: u32,
    more: Vec<Ipv4Addr>,
}

impl Broadcasts {
    /// From all of them. Without any, the limited broadcast stands in, which no host sends from.
    pub(super) fn new(all: &[[u8; 4]]) -> Self {
        let mut all = all.iter().map(|&address| Ipv4Addr::from(address));
        Self {
            first: all.next().unwrap_or(Ipv4Addr::BROADCAST).to_bits(),
            more: all.collect(),
        }
    }

    #[inline(always)]
    fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() == self.first || (!self.more.is_empty() && self.more.contains(&address))
    }
}

/// The facts about its endpoint that classifying needs, each a copy of its own: they lie side by side, so that one register leads to
/// all of them.
#[derive(Debug, Clone)]
pub(super) struct Classifier {
    plain_v4: PlainV4,
    mac: MacAddr,
    /// The longest IP packet of our link, in bytes. What is longer is no use: its answer may be as long, and no NIC takes it.
    mtu: usize,
    /// The same for TCP, whose segments may be several that the NIC has put together.
    longest_segment: usize,
    /// The directed broadcast addresses of our links, which no host sends from (RFC 1122 §3.2.1.3).
    broadcasts: Broadcasts,
    hasher: FlowHasher,
    locals: LocalAddrs,
}

/// A burst's loan: where to prefetch. Taken once per burst, because making the slice costs more than the prefetch.
type Buckets<'a> = &'a [Bucket];

impl Classifier {
    /// For an endpoint with this MAC address on a NIC that can do this.
    pub(super) fn new(mac: MacAddr, caps: &Caps, config: &Config, hasher: FlowHasher) -> Self {
        let mtu = usize::from(caps.mtu);
        Self {
            plain_v4: PlainV4::new(mac),
            mac,
            mtu,
            longest_segment: if caps.lro { usize::from(u16::MAX) } else { mtu },
            broadcasts: Broadcasts::new(&config.broadcasts()),
            hasher,
            locals: config.locals.clone(),
        }
    }

    /// Classifies a burst into `metas`, frame by frame.
    #[inline]
    pub(super) fn run<F: Frame>(
        &self,
        frames: &[F],
        buckets: Buckets<'_>,
        metas: &mut [Meta; BURST_FRAMES],
        counters: &mut Counters,
    ) {
        for frame in frames.iter().take(PREFETCH_AHEAD) {
            frame.prefetch();
        }
        let mut ahead = frames.get(PREFETCH_AHEAD..).unwrap_or(&[]).iter();
        let mut metas = metas.iter_mut();
        for frame in frames {
            if let Some(ahead) = ahead.next() {
                ahead.prefetch();
            }
            let Some(meta) = metas.next() else { break };
            let bytes = frame.bytes();
            let verdict = frame.rx_checksum();
            // Asked first, and again in the lane with all else: a frame of another kind should not pay for half of this lane.
            let is_plain =
                is_untagged_v4(bytes) && self.try_fast_v4::<false>(bytes, verdict, meta).is_some();
            if !is_plain && !self.other_than_plain_v4(bytes, verdict, meta, counters) {
                continue;
            }
            // Fewer than 2^32 buckets, by the table's construction.
            let home = meta.hash.bucket(buckets.len() as u32);
            if let Some(bucket) = buckets.get(home as usize) {
                prefetch_read(bucket);
            }
        }
    }

    /// Apart, because what it needs would take registers from the first lane. Whether it is a TCP segment.
    #[inline(never)]
    fn other_than_plain_v4(
        &self,
        bytes: &[u8],
        verdict: RxChecksum,
        meta: &mut Meta,
        counters: &mut Counters,
    ) -> bool {
        let taken = if is_tagged(bytes) {
            self.try_tagged(bytes, verdict, meta)
        } else {
            self.try_fast_v6::<false>(bytes, verdict, meta)
        };
        if taken.is_none() {
            self.slow(bytes, verdict, meta, counters);
        }
        meta.lane == Lane::Tcp
    }

    /// The lanes of frames with a tag, apart for the same reason.
    #[inline(never)]
    fn try_tagged(&self, frame: &[u8], verdict: RxChecksum, meta: &mut Meta) -> Option<()> {
        let taken = self.try_fast_v4::<true>(frame, verdict, meta);
        taken.or_else(|| self.try_fast_v6::<true>(frame, verdict, meta))
    }

    /// TCP over IPv4 at fixed offsets, to us, intact in every respect. Behind a tag the frame is read from four bytes on: there
    /// all but its MAC addresses stands where a frame without a tag has it.
    #[inline(always)]
    fn try_fast_v4<const TAGGED: bool>(
        &self,
        frame: &[u8],
        verdict: RxChecksum,
        meta: &mut Meta,
    ) -> Option<()> {
        let bytes = frame.get(tag_len(TAGGED)..)?;
        let (headers, _) = Tcp4Headers::ref_from_prefix(bytes).ok()?;
        let (ip, segment) = (&headers.ip, &headers.tcp);
        // Loaded and summed before the wide compare: behind it, the compiler would put these together from parts of the wide
        // word. A header that is all zero passes the sum and not the compare.
        let total_len = usize::from(ip.total_len.get());
        let (src, dst) = ip.addresses();
        let mut sum = segment.wide_sum_with(ip.pseudo_words_tcp());
        if verdict.ip != ChecksumVerdict::Good && !ip.wide_sum().is_valid() {
            return None;
        }
        let is_plain = if TAGGED {
            self.plain_v4.fits_behind_tag(frame.first_chunk()?)
        } else {
            self.plain_v4.fits(frame.first_chunk()?)
        };
        if !is_plain {
            return None;
        }
        if bytes.len() < ethernet::HEADER_LEN + total_len {
            return None;
        }
        let header_len = segment.header_len();
        let payload_len = total_len.checked_sub(ipv4::HEADER_LEN + header_len)?;
        if !self.is_host(src) || src.to_bits() == dst.to_bits() {
            return None;
        }
        sum = take_options(meta, bytes, header_len, sum)?;
        let is_verified = verdict.l4 == ChecksumVerdict::Good;
        // Without payload no packet can be too long.
        if payload_len != 0 {
            //~ The fast lane takes no IPv4 packet longer than the MTU: -> `if false {`;
            //~   a_packet_longer_than_our_mtu_is_refused
            if total_len > self.longest_segment {
                return None;
            }
            if !is_verified {
                sum = sum.and(checksum::sum(bytes.get(34 + header_len..14 + total_len)?));
            }
        }
        if !is_verified && !sum.is_valid() {
            return None;
        }
        let local = if TAGGED {
            self.locals.find_v4(vlan_of(frame)?, dst)?
        } else {
            self.locals.find_untagged_v4(dst)?
        };
        let key = FlowKey::received_v4(local, src, segment.words().ports.get());
        let l3 = ethernet::HEADER_LEN + tag_len(TAGGED);
        self.fill(meta, key, segment, (l3, l3 + ipv4::HEADER_LEN), payload_len);
        Some(())
    }

    /// The same over IPv6.
    #[inline(always)]
    fn try_fast_v6<const TAGGED: bool>(
        &self,
        frame: &[u8],
        verdict: RxChecksum,
        meta: &mut Meta,
    ) -> Option<()> {
        let bytes = frame.get(tag_len(TAGGED)..)?;
        let (headers, _) = Tcp6Headers::ref_from_prefix(bytes).ok()?;
        let (link, _) = ethernet::Header::ref_from_prefix(frame).ok()?;
        let (ip, segment) = (&headers.ip, &headers.tcp);
        let plain = headers.ethernet.ethertype == EtherType::IPV6
            && ip.version() == 6
            && ip.next_header == ip_protocol::TCP
            && link.dst == self.mac
            && !link.src.is_multicast();
        if !plain {
            return None;
        }
        let payload_len = usize::from(ip.payload_len.get());
        //~ The fast lane takes no IPv6 packet longer than the MTU: -> `if false {`;
        //~   a_packet_longer_than_our_mtu_is_refused
        if ipv6::HEADER_LEN + payload_len > self.longest_segment {
            return None;
        }
        let header_len = segment.header_len();
        let tcp_bytes = bytes.get(54..54 + payload_len)?;
        let payload_len = payload_len.checked_sub(header_len)?;
        if !ipv6::is_valid_source(ip.src_addr()) || ip.src == ip.dst {
            return None;
        }
        let mut sum = segment.wide_sum_with(ip.pseudo_words_tcp());
        // From there on, all stands where IPv4 has it.
        sum = take_options(meta, bytes.get(V6_SHIFT..)?, header_len, sum)?;
        if verdict.l4 != ChecksumVerdict::Good {
            if payload_len != 0 {
                sum = sum.and(checksum::sum(tcp_bytes.get(header_len..)?));
            }
            if !sum.is_valid() {
                return None;
            }
        }
        let local = if TAGGED {
            self.locals.find(vlan_of(frame)?, ip.dst_addr().into())?
        } else {
            self.locals.find_untagged_v6(ip.dst_addr())?
        };
        let key = FlowKey::received_v6(local, ip.src_addr(), segment.words().ports.get());
        let l3 = ethernet::HEADER_LEN + tag_len(TAGGED);
        self.fill(meta, key, segment, (l3, l3 + ipv6::HEADER_LEN), payload_len);
        Some(())
    }

    /// Whether a host on or behind our links can have this source address.
    #[inline(always)]
    fn is_host(&self, src: Ipv4Addr) -> bool {
        ipv4::is_valid_source(src.octets()) && !self.broadcasts.contains(src)
    }

    /// Fills in all but the options. `offsets` are those of the IP and the TCP header.
    #[inline(always)]
    fn fill(
        &self,
        meta: &mut Meta,
        key: FlowKey,
        segment: &tcp::Header,
        (l3, l4): (usize, usize),
        payload_len: usize,
    ) {
        let words = segment.words();
        let (seq_ack, control) = (words.seq_ack.get(), words.control.get());
        meta.key = key;
        meta.hash = self.hasher.hash(&key);
        meta.ack = SeqNum(seq_ack as u32);
        meta.seq = SeqNum((seq_ack >> 32) as u32);
        meta.window = control as u16;
        meta.flags = Flags((control >> 16) as u8);
        meta.data_offset = (control >> 24) as u8;
        // These come out of one IP packet of at most 65,575 bytes behind at most 18 bytes of link header, with the lengths
        // checked: none of these casts can lose a bit.
        meta.l4_offset = l4 as u16;
        meta.l3_offset = l3 as u8;
        meta.lane = Lane::Tcp;
        meta.payload_len = payload_len as u16;
    }
}

/// Says in `meta` what the options of a TCP header of this length are, and adds them to the sum of its segment. `bytes` have the TCP
/// header where a plain IPv4 frame has it.
#[inline(always)]
fn take_options(meta: &mut Meta, bytes: &[u8], header_len: usize, sum: WideSum) -> Option<WideSum> {
    if header_len == tcp::HEADER_LEN {
        meta.options_kind = OptionsKind::None;
        return Some(sum);
    }
    if let Some(usual) = usual_timestamps(bytes, header_len) {
        meta.options_kind = OptionsKind::Timestamps;
        meta.set_timestamps(usual.tsval_tsecr.get());
        let stamps = u64::from_ne_bytes(usual.tsval_tsecr.to_bytes());
        return Some(sum.and_two(stamps, u32::from_ne_bytes(USUAL_TIMESTAMPS)));
    }
    meta.options_kind = OptionsKind::Other;
    let options = bytes.get(54..34 + header_len)?;
    Some(sum.and(checksum::sum_options(options)))
}

/// By how much an IPv6 header is longer than an IPv4 header without options, in bytes.
const V6_SHIFT: usize = ipv6::HEADER_LEN - ipv4::HEADER_LEN;

/// How far a tag moves what follows, in bytes.
const fn tag_len(is_tagged: bool) -> usize {
    if is_tagged { vlan::TAG_LEN } else { 0 }
}

/// Whether a frame has an IPv4 packet right behind its MAC addresses.
#[inline(always)]
fn is_untagged_v4(frame: &[u8]) -> bool {
    let link = ethernet::Header::ref_from_prefix(frame);
    link.is_ok_and(|(link, _)| link.ethertype == EtherType::IPV4)
}

/// Whether a frame has a VLAN tag.
#[inline(always)]
fn is_tagged(frame: &[u8]) -> bool {
    let link = ethernet::Header::ref_from_prefix(frame);
    link.is_ok_and(|(link, _)| link.ethertype == EtherType::VLAN)
}

/// The VLAN of a frame with a tag.
#[inline(always)]
fn vlan_of(frame: &[u8]) -> Option<VlanId> {
    let behind = frame.get(ethernet::HEADER_LEN..)?;
    let (header, _) = vlan::Header::ref_from_prefix(behind).ok()?;
    Some(VlanId::of(Some(header.tag)))
}

#[cfg(test)]
mod tests;
