//! Writes an ordinary segment of a connection, headers, timestamps and payload, into one buffer in one go.
//!
//! It must never chain: payload is copied. What is longer or lies in pieces goes through [`super::frame_writer::Draft`].

use core::net::{IpAddr, Ipv4Addr};

use zerocopy::FromBytes;

use super::frame_writer::{Route, SegmentWriter, only, write_link};
use super::plain_frame::{HEADERS_LEN, PlainFields, PlainFrame};
use super::segment_headers::{
    Content, Offload, SegmentHeaders, TcpFields, ip_header_len, write_options,
};
use crate::conn::FlowKey;
use crate::nic::{Frame, IpVersion, Nic};
use crate::seq::SeqNum;
use crate::tcp::predict::{FirstSyn, PlainSegment};
use crate::tcp::segment::{Flags, SegmentOptions, TimestampOption};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, EtherType, MacAddr};
use crate::wire::vlan::VlanId;
use crate::wire::{tcp, vlan};

/// Bytes of options where timestamps are the only one.
pub(super) const TIMESTAMPS_LEN: usize = 12;

/// Bytes of options of a first SYN: MSS, window scale and timestamps.
pub(super) const SYN_OPTIONS_LEN: usize = 20;

/// An ordinary segment as the header writer wants it. `WITH_TIMESTAMPS`: whether it has them, which makes its headers' length
/// known when compiling.
#[derive(Debug, Clone)]
pub(super) struct OrdinarySegment<'a, const WITH_TIMESTAMPS: bool> {
    pub(super) key: &'a FlowKey,
    pub(super) segment: PlainSegment,
}

impl<const WITH_TIMESTAMPS: bool> Content for OrdinarySegment<'_, WITH_TIMESTAMPS> {
    #[inline(always)]
    fn fields(&self) -> TcpFields {
        TcpFields {
            src_port: self.key.local_port(),
            dst_port: self.key.remote_port(),
            seq: self.segment.seq,
            ack: self.segment.ack,
            flags: self.segment.flags,
            window: self.segment.window,
            urgent: 0,
        }
    }

    #[inline(always)]
    fn write_options(&self, into: &mut [u8]) -> Option<Sum> {
        match self.segment.timestamps {
            Some(timestamps) if WITH_TIMESTAMPS => write_options(&only(timestamps), into),
            _ => Some(Sum::ZERO),
        }
    }
}

/// A first SYN as the header writer wants it.
#[derive(Debug, Clone)]
pub(super) struct SynSegment<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) syn: FirstSyn,
}

impl Content for SynSegment<'_> {
    #[inline(always)]
    fn fields(&self) -> TcpFields {
        TcpFields {
            src_port: self.key.local_port(),
            dst_port: self.key.remote_port(),
            seq: self.syn.seq,
            ack: SeqNum(0),
            flags: Flags::SYN,
            window: self.syn.window,
            urgent: 0,
        }
    }

    #[inline(always)]
    fn write_options(&self, into: &mut [u8]) -> Option<Sum> {
        let options = SegmentOptions {
            mss: Some(self.syn.mss),
            window_scale: Some(self.syn.window_scale),
            timestamps: Some(TimestampOption {
                tsval: self.syn.tsval,
                tsecr: 0,
            }),
            sack_permitted: false,
        };
        write_options(&options, into)
    }
}

/// Where a segment comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) key: &'a FlowKey,
    /// Our VLAN and address, which the key names by their id.
    pub(super) local: &'a (VlanId, IpAddr),
    /// The link address of the peer or its router.
    pub(super) dst: &'a MacAddr,
}

impl<F: Frame> SegmentWriter<F> {
    /// Whether there is an empty buffer for the next segment.
    #[inline(always)]
    pub(super) fn has_buffer<N: Nic<Frame = F>>(&mut self, nic: &mut N) -> bool {
        if self.stash.is_empty() {
            self.refill(nic);
        }
        !self.stash.is_empty()
    }

    /// The finished frame of a segment with this payload and its sum. `None` without a buffer, or when it is too short.
    #[inline(always)]
    pub(super) fn write<C: Content + Clone>(
        &mut self,
        way: &Way<'_>,
        content: &C,
        options_len: usize,
        payload: (&[u8], Sum),
    ) -> Option<F> {
        //~ A plain frame has its checksums: `if self.offload == Offload::NONE` -> nothing;
        //~   whatever_happens_the_fast_path_changes_nothing
        //~ A plain frame is untagged: `(VlanId::UNTAGGED, IpAddr::V4(local))` -> `(_, IpAddr::V4(local))`;
        //~   whatever_happens_the_fast_path_changes_nothing
        match way.local {
            (VlanId::UNTAGGED, IpAddr::V4(local)) if self.offload == Offload::NONE => {
                self.write_plain(way, *local, content, options_len, payload)
            }
            // Copies: what these look at would be kept in memory for the other too.
            _ if self.offload == Offload::NONE => {
                self.write_any::<C, false>(&way.clone(), &content.clone(), options_len, payload)
            }
            _ => self.write_any::<C, true>(&way.clone(), &content.clone(), options_len, payload),
        }
    }

    /// Untagged, IPv4, and no checksum is the NIC's.
    #[inline(always)]
    fn write_plain<C: Content>(
        &mut self,
        way: &Way<'_>,
        local: Ipv4Addr,
        content: &C,
        options_len: usize,
        (payload, sum): (&[u8], Sum),
    ) -> Option<F> {
        let mut frame = self.stash.storage_mut().pop()?;
        let headers_len = HEADERS_LEN + options_len;
        let bytes = frame.grow(headers_len + payload.len()).ok()?;
        let (headers, text) = bytes.split_at_mut_checked(headers_len)?;
        if !payload.is_empty() {
            text.copy_from_slice(payload);
        }
        let (headers, options) = PlainFrame::mut_from_prefix(headers).ok()?;
        headers.begin(way.dst, &self.mac);
        let rest = content.write_options(options)? + sum;
        let fields = content.fields();
        let [a, b, c, d] = local.octets();
        let [e, f, g, h] = way.key.remote_v4().to_be_bytes();
        let fields = PlainFields {
            addresses: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            ports: (u32::from(fields.src_port) << 16 | u32::from(fields.dst_port)).to_be(),
            seq: fields.seq,
            ack: fields.ack,
            flags: fields.flags,
            window: fields.window,
            ttl: self.ttl,
            options_len: options_len as u16,
            payload_len: payload.len() as u16,
        };
        headers.fill(&fields, rest);
        Some(frame)
    }

    /// Either family, tagged or not. `OFFLOADS`: whether a checksum is the NIC's.
    #[inline(never)]
    fn write_any<C: Content, const OFFLOADS: bool>(
        &mut self,
        way: &Way<'_>,
        content: &C,
        options_len: usize,
        (payload, sum): (&[u8], Sum),
    ) -> Option<F> {
        let mut frame = self.stash.storage_mut().pop()?;
        let Way { key, local, dst } = *way;
        let (vlan, local) = *local;
        let route = Route {
            dst: *dst,
            vlan: vlan.tag(),
        };
        let ip = match local {
            IpAddr::V4(_) => IpVersion::V4,
            IpAddr::V6(_) => IpVersion::V6,
        };
        let l3_offset = match route.vlan {
            None => ethernet::HEADER_LEN,
            Some(_) => ethernet::HEADER_LEN + vlan::TAG_LEN,
        };
        let headers_len = tcp::HEADER_LEN + options_len;
        let packet_len = ip_header_len(ip) + headers_len + payload.len();
        let bytes = frame.grow(l3_offset + packet_len).ok()?;
        let (link, packet) = bytes.split_at_mut_checked(l3_offset)?;
        let (packet, text) = packet.split_at_mut_checked(packet_len - payload.len())?;
        if !payload.is_empty() {
            text.copy_from_slice(payload);
        }
        let offload = if OFFLOADS {
            self.offload
        } else {
            Offload::NONE
        };
        let headers = SegmentHeaders {
            content,
            options_len,
            segment_len: (headers_len + payload.len()) as u16,
            pseudo_len: (headers_len + payload.len()) as u16,
            payload: sum,
            ttl: self.ttl,
            offload,
        };
        match local {
            IpAddr::V4(local) => {
                write_link(link, route, self.mac, EtherType::IPV4)?;
                let remote = key.remote_v4().to_be_bytes();
                headers.write_v4(packet, |_| (local.octets(), remote))?;
            }
            IpAddr::V6(local) => {
                write_link(link, route, self.mac, EtherType::IPV6)?;
                let remote = key.remote_v6().to_be_bytes();
                headers.write_v6(packet, |_| (local.octets(), remote))?;
            }
        }
        if let Some(request) = offload.request(ip, l3_offset) {
            frame.request(Some(request));
        }
        Some(frame)
    }
}
