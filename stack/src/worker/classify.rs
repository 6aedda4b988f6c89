//! The classify stage: what each frame of a burst is. One [`Meta`] per frame, so that no later stage parses again.
//!
//! It must never keep a borrow of a frame beyond its own loop, and the fast lane must never name a reason: whatever
//! isn't perfect goes to the slow lane, which does.

use core::net::{IpAddr, Ipv4Addr};

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, little_endian};

use super::reply::{Layout, Ports};
use crate::conn::bucket::Bucket;
use crate::conn::key::{FlowHash, FlowHasher, FlowKey};
use crate::counters::{Counter, Counters};
use crate::local::addresses::LocalAddrs;
use crate::memory::prefetch_read;
use crate::nic::{BURST_FRAMES, ChecksumVerdict, Frame, IpVersion, RxChecksum};
use crate::seq::SeqNum;
use crate::tcp::predict::ExpectedSegment;
use crate::tcp::segment::{Segment, SegmentOptions, TimestampOption};
use crate::wire::ethernet::{self, EtherType, MacAddr};
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::only_timestamps;
use crate::wire::{
    self, Defect, Tcp4Headers, Tcp6Headers, Transport, checksum, ip_protocol, ipv4, ipv6, tcp,
};

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
    /// Counted already; its sender may be due an ICMP error. Parsed again by the slow lane.
    Refused,
    /// Counted already; only its buffer is left to return.
    Ended,
}

/// What options a segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionsKind {
    None,
    /// NOP, NOP, timestamps and nothing else: they stand in [`Meta::tsval`] and [`Meta::tsecr`].
    Timestamps,
    /// Any others, timestamps in another layout among them: to be parsed from the frame.
    Other,
}

/// What is known of one frame. Copy and below a cache line, so that a burst of them stays in L1. What is constant in a fast lane
/// (offsets and lane) stands side by side: one store.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Meta {
    pub(super) key: FlowKey,
    pub(super) hash: FlowHash,
    pub(super) seq: SeqNum,
    pub(super) ack: SeqNum,
    /// Means something only with [`OptionsKind::Timestamps`].
    pub(super) tsval: u32,
    /// As `tsval`.
    pub(super) tsecr: u32,
    pub(super) payload_len: u16,
    pub(super) window: u16,
    /// Where the TCP header starts.
    pub(super) l4_offset: u16,
    pub(super) l3_offset: u8,
    pub(super) lane: Lane,
    /// Bytes of TCP options: 0 to 40.
    pub(super) options_len: u8,
    pub(super) flags: Flags,
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
        seq: SeqNum(0),
        ack: SeqNum(0),
        tsval: 0,
        tsecr: 0,
        payload_len: 0,
        window: 0,
        l4_offset: 0,
        l3_offset: 0,
        options_len: 0,
        flags: Flags::NONE,
        options_kind: OptionsKind::None,
        lane: Lane::Ended,
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

    #[inline]
    pub(super) fn ports(&self) -> Ports {
        Ports {
            remote: self.key.remote_port(),
            local: self.key.local_port(),
        }
    }

    /// The option bytes in the frame that this was made from.
    #[inline]
    pub(super) fn options<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.l4_offset) + tcp::HEADER_LEN;
        bytes
            .get(start..start + usize::from(self.options_len))
            .unwrap_or(&[])
    }

    /// Whether the options are timestamps in their usual layout and nothing else: `tsval` and `tsecr` hold them.
    #[inline(always)]
    pub(super) fn has_usual_timestamps(&self) -> bool {
        self.options_kind == OptionsKind::Timestamps
    }

    /// What the options say; `bytes` are the frame that this was made from.
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
    first: [u8; 4],
    more: Vec<[u8; 4]>,
}

impl Broadcasts {
    /// From all of them. Without any, the limited broadcast stands in, which is nobody's source anyway.
    pub(super) fn new(all: &[[u8; 4]]) -> Self {
        let (&first, more) = all.split_first().unwrap_or((&[255; 4], &[]));
        Self {
            first,
            more: more.to_vec(),
        }
    }
}

/// What classifying needs to know of its endpoint.
pub(super) struct Classifier<'a> {
    pub(super) locals: &'a LocalAddrs,
    /// The directed broadcast addresses of our links: nobody's source (RFC 1122 §3.2.1.3).
    pub(super) broadcasts: &'a Broadcasts,
    pub(super) hasher: &'a FlowHasher,
    /// Only for prefetching: a bucket starts loading as soon as its hash is known. Taken once per burst, because making the
    /// slice costs more than the prefetch.
    pub(super) buckets: &'a [Bucket],
    pub(super) mac: MacAddr,
    /// The longest IP packet of our link, in bytes. What is longer is no use: its answer may be as long, and no NIC takes it.
    pub(super) mtu: usize,
}

/// The first 24 bytes of a frame as words, for masked compares. Typed as words on purpose: put together from bytes, the
/// compiler takes the masked-out bytes away first and then loads the others one by one.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    /// Destination MAC address, and the first two bytes of the source.
    link: little_endian::U64,
    _source: [u8; 4],
    /// EtherType, version and header length, traffic class.
    network: little_endian::U32,
    _length_ident: [u8; 4],
    /// Flags and fragment offset, TTL, protocol.
    fragment: little_endian::U32,
}

/// Destination MAC address, and the group bit of the source.
const LINK_MASK: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]);

impl Head {
    /// To our MAC address, from an individual one, IPv4 without options, no fragment, TCP.
    #[inline(always)]
    fn is_plain_v4(&self, mac: MacAddr) -> bool {
        let [e0, e1] = EtherType::IPV4.0.to_bytes();
        let network = u32::from_le_bytes([e0, e1, ipv4::VERSION_IHL_PLAIN, 0]);
        let fragment = u32::from_le_bytes([0, 0, 0, ip_protocol::TCP]);
        self.link.get() & LINK_MASK == mac_word(mac)
            && self.network.get() & 0x00ff_ffff == network
            && self.fragment.get() & 0xff00_ff3f == fragment
    }
}

#[inline(always)]
const fn mac_word(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl Classifier<'_> {
    /// Classifies a burst into `metas`, frame by frame.
    #[inline]
    pub(super) fn run<F: Frame>(
        &self,
        frames: &[F],
        metas: &mut [Meta; BURST_FRAMES],
        counters: &mut Counters,
    ) {
        for frame in frames.iter().take(PREFETCH_AHEAD) {
            frame.prefetch();
        }
        for (index, (frame, meta)) in frames.iter().zip(metas).enumerate() {
            if let Some(ahead) = frames.get(index + PREFETCH_AHEAD) {
                ahead.prefetch();
            }
            let bytes = frame.bytes();
            let verdict = frame.rx_checksum();
            if !self.fast_v4(bytes, verdict, meta) && !self.fast_v6(bytes, verdict, meta) {
                self.slow(bytes, verdict, meta, counters);
            }
        }
    }

    /// TCP over IPv4 at fixed offsets, to us, intact in every respect.
    #[inline]
    fn fast_v4(&self, bytes: &[u8], verdict: RxChecksum, meta: &mut Meta) -> bool {
        self.try_fast_v4(bytes, verdict, meta).is_some()
    }

    #[inline(always)]
    fn try_fast_v4(&self, bytes: &[u8], verdict: RxChecksum, meta: &mut Meta) -> Option<()> {
        let (headers, _) = Tcp4Headers::ref_from_prefix(bytes).ok()?;
        let (head, _) = Head::ref_from_prefix(bytes).ok()?;
        if !head.is_plain_v4(self.mac) {
            return None;
        }
        let (ip, segment) = (&headers.ip, &headers.tcp);
        let total_len = usize::from(ip.total_len.get());
        let header_len = segment.header_len();
        let tcp_bytes = bytes.get(34..ethernet::HEADER_LEN + total_len)?;
        let payload_len = tcp_bytes.len().checked_sub(header_len)?;
        let options = tcp_bytes.get(tcp::HEADER_LEN..header_len)?;
        if !self.is_host(ip.src) || ip.src == ip.dst {
            return None;
        }
        if verdict.ip != ChecksumVerdict::Good && !ip.sum().is_valid() {
            return None;
        }
        //~ The fast lane takes no verified IPv4 packet longer than the MTU: `} else if total_len > self.mtu {`
        //~   -> `} else if false {`; a_packet_longer_than_our_mtu_is_refused
        if verdict.l4 != ChecksumVerdict::Good {
            let pseudo = ip.pseudo_sum(tcp_bytes.len() as u16);
            let rest = tcp_bytes.get(tcp::HEADER_LEN..)?;
            let headers = pseudo + segment.sum();
            // Without payload the rest is options: whole words, and too few of them for the long sum's lanes. Nor can a packet
            // be too long then.
            let sum = match (options.len(), payload_len) {
                (0, 0) => headers,
                (_, 0) => headers + checksum::sum_options(rest),
                //~ The fast lane takes no IPv4 packet longer than the MTU; a_packet_longer_than_our_mtu_is_refused
                _ if total_len > self.mtu => return None,
                _ => headers + checksum::sum(rest),
            };
            if !sum.is_valid() {
                return None;
            }
        } else if total_len > self.mtu {
            return None;
        }
        let local = self.locals.find_untagged_v4(ip.dst_addr())?;
        let (src_port, dst_port) = (segment.src_port.get(), segment.dst_port.get());
        let key = FlowKey::v4(local, dst_port, ip.src_addr(), src_port);
        let lengths = Lengths {
            l3: 14,
            l4: 34,
            payload: payload_len,
        };
        self.fill(meta, key, segment, options, lengths);
        Some(())
    }

    /// TCP over IPv6 at fixed offsets, to us, intact in every respect.
    #[inline]
    fn fast_v6(&self, bytes: &[u8], verdict: RxChecksum, meta: &mut Meta) -> bool {
        self.try_fast_v6(bytes, verdict, meta).is_some()
    }

    #[inline(always)]
    fn try_fast_v6(&self, bytes: &[u8], verdict: RxChecksum, meta: &mut Meta) -> Option<()> {
        let (headers, _) = Tcp6Headers::ref_from_prefix(bytes).ok()?;
        let (link, ip, segment) = (&headers.ethernet, &headers.ip, &headers.tcp);
        let plain = link.ethertype == EtherType::IPV6
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
        if ipv6::HEADER_LEN + payload_len > self.mtu {
            return None;
        }
        let header_len = segment.header_len();
        let tcp_bytes = bytes.get(54..54 + payload_len)?;
        let payload_len = tcp_bytes.len().checked_sub(header_len)?;
        let options = tcp_bytes.get(tcp::HEADER_LEN..header_len)?;
        if !ipv6::is_valid_source(ip.src_addr()) || ip.src == ip.dst {
            return None;
        }
        if verdict.l4 != ChecksumVerdict::Good
            && !checksum::verify_v6(&ip.src, &ip.dst, ip_protocol::TCP, tcp_bytes)
        {
            return None;
        }
        let local = self.locals.find_untagged_v6(ip.dst_addr())?;
        let (src_port, dst_port) = (segment.src_port.get(), segment.dst_port.get());
        let key = FlowKey::v6(local, dst_port, ip.src_addr(), src_port);
        let lengths = Lengths {
            l3: 14,
            l4: 54,
            payload: payload_len,
        };
        self.fill(meta, key, segment, options, lengths);
        Some(())
    }

    /// Whether a host on or behind our links can have this source address.
    #[inline]
    fn is_host(&self, src: [u8; 4]) -> bool {
        ipv4::is_valid_source(src)
            && src != self.broadcasts.first
            && (self.broadcasts.more.is_empty() || !self.broadcasts.more.contains(&src))
    }

    /// Everything that isn't perfect: found out and named, or prepared like the fast lane's (VLAN, IP options, extension
    /// headers).
    #[cold]
    #[inline(never)]
    fn slow(&self, bytes: &[u8], verdict: RxChecksum, meta: &mut Meta, counters: &mut Counters) {
        let Err(end) = self.try_slow(bytes, verdict, meta) else {
            return;
        };
        match end {
            End::Defect(defect) => counters.defect(defect),
            End::Counter(counter) => counters.bump(counter),
        }
        meta.lane = if end.may_be_reported() {
            Lane::Refused
        } else {
            Lane::Ended
        };
    }

    fn try_slow(&self, bytes: &[u8], verdict: RxChecksum, meta: &mut Meta) -> Result<(), End> {
        let parsed = wire::parse(bytes)?;
        let vlan = parsed.link.vlan_id();
        //~ Frames of other VLANs are dropped under a name: -> `if false {`;
        //~   frames_of_vlans_that_are_not_ours_are_dropped_whatever_they_are
        if !self.locals.vlans().contains(vlan) {
            return Err(End::Counter(Counter::NotOurVlan));
        }
        let to_group = parsed.link.dst.is_multicast();
        if !to_group && parsed.link.dst != self.mac {
            return Err(End::Counter(Counter::NotOurMac));
        }
        //~ A packet longer than the MTU is dropped: -> `if false {`; a_packet_longer_than_our_mtu_is_refused
        if parsed.end_offset() - parsed.l3_offset() > self.mtu {
            return Err(End::Counter(Counter::LongerThanMtu));
        }
        parsed.verify_checksums(
            verdict.ip != ChecksumVerdict::Good,
            verdict.l4 != ChecksumVerdict::Good,
        )?;
        meta.lane = Lane::Other;
        let (Some((src, dst)), Some(transport)) = (parsed.addresses(), parsed.transport()) else {
            return Ok(());
        };
        if let IpAddr::V4(src) = src
            && !self.is_host(src.octets())
        {
            return Err(End::Defect(Defect::Ipv4Source));
        }
        let local = self.locals.find(vlan, dst);
        let segment = match transport {
            Transport::Tcp(segment) => segment,
            Transport::Icmp(_) | Transport::Icmpv6(_) => return Ok(()),
            Transport::Udp(_) | Transport::Other(_) if local.is_none() => {
                return Err(End::Counter(Counter::NotOurIp));
            }
            Transport::Udp(_) => return Err(End::Counter(Counter::UdpClosed)),
            Transport::Other(_) => return Err(End::Counter(Counter::IpProtocolUnsupported)),
        };
        if to_group || is_group(dst, self.broadcasts) {
            return Err(End::Counter(Counter::TcpToGroup));
        }
        if src == dst {
            return Err(End::Counter(Counter::Land));
        }
        let local = local.ok_or(End::Counter(Counter::NotOurIp))?;
        let header = segment.header;
        let key = FlowKey::new(local, header.dst_port.get(), src, header.src_port.get());
        let lengths = Lengths {
            l3: parsed.l3_offset(),
            l4: parsed.l4_offset(),
            payload: segment.payload.len(),
        };
        self.fill(meta, key, header, segment.options, lengths);
        Ok(())
    }

    #[inline(always)]
    fn fill(
        &self,
        meta: &mut Meta,
        key: FlowKey,
        segment: &tcp::Header,
        options: &[u8],
        lengths: Lengths,
    ) {
        meta.key = key;
        meta.hash = self.hasher.hash(&key);
        // Fewer than 2^32 buckets, by the table's construction.
        let home = meta.hash.bucket(self.buckets.len() as u32);
        if let Some(bucket) = self.buckets.get(home as usize) {
            prefetch_read(bucket);
        }
        meta.seq = segment.seq();
        meta.ack = segment.ack();
        // All four come out of one IP packet of at most 65,575 bytes behind at most 18 bytes of link header, with the
        // lengths checked: none of these casts can lose a bit.
        meta.payload_len = lengths.payload as u16;
        meta.l4_offset = lengths.l4 as u16;
        meta.l3_offset = lengths.l3 as u8;
        meta.options_len = options.len() as u8;
        meta.options_kind = if options.is_empty() {
            OptionsKind::None
        } else if let Some(timestamps) = only_timestamps(options) {
            (meta.tsval, meta.tsecr) = (timestamps.tsval, timestamps.tsecr);
            OptionsKind::Timestamps
        } else {
            OptionsKind::Other
        };
        meta.window = segment.window.get();
        meta.flags = segment.flags;
        meta.lane = Lane::Tcp;
    }
}

/// Where the parts of a segment lie in its frame, in bytes.
#[derive(Clone, Copy)]
struct Lengths {
    l3: usize,
    l4: usize,
    payload: usize,
}

/// Why a frame ended in the slow lane.
enum End {
    Defect(Defect),
    Counter(Counter),
}

impl End {
    /// Whether it is of a kind that hosts tell the sender of; whether they do is for `icmp` to say.
    fn may_be_reported(&self) -> bool {
        //~ UDP hears that its port is closed, other protocols that they are unknown:
        //~   `Self::Counter(Counter::UdpClosed | Counter::IpProtocolUnsupported)` -> `Self::Counter(Counter::Land)`;
        //~   udp_is_told_that_its_port_is_unreachable
        matches!(
            self,
            Self::Counter(Counter::UdpClosed | Counter::IpProtocolUnsupported)
                | Self::Defect(
                    Defect::Ipv6Option | Defect::Ipv6Routing | Defect::Ipv6ExtensionChain
                )
        )
    }
}

impl From<Defect> for End {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

/// Whether a destination is more than one host.
fn is_group(dst: IpAddr, broadcasts: &Broadcasts) -> bool {
    match dst {
        IpAddr::V4(dst) => {
            let dst = dst.octets();
            ipv4::is_multicast_or_broadcast(dst)
                || (dst == broadcasts.first || broadcasts.more.contains(&dst))
        }
        IpAddr::V6(dst) => dst.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
