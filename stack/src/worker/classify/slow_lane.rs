//! The slow lane of classifying: parses a frame from the outside in, and names what is wrong with it.
//!
//! It must never judge a frame that a fast lane takes in another way than that does: a test of both compares them.

use core::net::IpAddr;

use super::{Broadcasts, Classifier, Lane, Meta};
use crate::conn::key::FlowKey;
use crate::counters::{Counter, Counters};
use crate::nic::{ChecksumVerdict, RxChecksum};
use crate::wire::{self, Defect, Transport, ipv4};

impl Classifier {
    /// Everything that isn't perfect: found out and named, or prepared like the fast lanes' (IP options, extension headers).
    #[cold]
    #[inline(never)]
    pub(super) fn slow(
        &self,
        bytes: &[u8],
        verdict: RxChecksum,
        meta: &mut Meta,
        counters: &mut Counters,
    ) {
        let Err(end) = self.try_slow(bytes, verdict, meta) else {
            return;
        };
        match end {
            End::Defect(Defect::Ipv4Fragment | Defect::Ipv6Fragment) => {
                meta.lane = Lane::Fragment;
                return;
            }
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
        let longest = match parsed.transport() {
            Some(Transport::Tcp(_)) => self.longest_segment,
            _ => self.mtu,
        };
        //~ A packet longer than the MTU is dropped: -> `if false {`; a_packet_longer_than_our_mtu_is_refused
        if parsed.end_offset() - parsed.l3_offset() > longest {
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
            && !self.is_host(src)
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
        if to_group || is_group(dst, &self.broadcasts) {
            return Err(End::Counter(Counter::TcpToGroup));
        }
        if src == dst {
            return Err(End::Counter(Counter::Land));
        }
        let local = local.ok_or(End::Counter(Counter::NotOurIp))?;
        let header = segment.header;
        let key = FlowKey::new(local, header.dst_port.get(), src, header.src_port.get());
        meta.take_options(segment.options);
        let offsets = (parsed.l3_offset(), parsed.l4_offset());
        self.fill(meta, key, header, offsets, segment.payload.len());
        Ok(())
    }
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
            ipv4::is_multicast_or_broadcast(dst.octets()) || broadcasts.contains(dst)
        }
        IpAddr::V6(dst) => dst.is_multicast(),
    }
}
