//! Neighbour discovery: [`Message`], its validation and options (RFC 4861 §4, §6.1, §7.1).
//!
//! It must never believe a message that may have crossed a router (hop limit below 255).

use core::net::Ipv6Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::MacAddr;
use super::{Defect, icmpv6, ipv6};

/// Option type: source link-layer address.
pub const OPTION_SOURCE_LLADDR: u8 = 1;
/// Option type: target link-layer address.
pub const OPTION_TARGET_LLADDR: u8 = 2;
/// Option type: MTU (RFC 4861 §4.6.4).
pub const OPTION_MTU: u8 = 5;

/// Flag in the upper byte of a neighbour advertisement: the sender is a router.
pub const FLAG_ROUTER: u32 = 1 << 31;
/// It answers a solicitation.
pub const FLAG_SOLICITED: u32 = 1 << 30;
/// It replaces a cached link-layer address.
pub const FLAG_OVERRIDE: u32 = 1 << 29;

/// The hop limit of every neighbour discovery packet.
pub const HOP_LIMIT: u8 = 255;

/// All nodes on the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A source or target link-layer address option for Ethernet. All byte values are legal; alignment 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct LinkAddrOption {
    /// [`OPTION_SOURCE_LLADDR`] or [`OPTION_TARGET_LLADDR`].
    pub kind: u8,
    /// Length in units of 8 bytes: 1.
    pub len_words: u8,
    /// The address.
    pub mac: MacAddr,
}

/// A validated neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A host looks for routers.
    RouterSolicitation {
        /// The sender's link-layer address.
        source_lladdr: Option<MacAddr>,
    },
    /// A router speaks.
    RouterAdvertisement {
        /// How long it serves as default router, in seconds; 0: not at all.
        router_lifetime_s: u16,
        /// Its link-layer address.
        source_lladdr: Option<MacAddr>,
        /// The link's MTU, in bytes.
        mtu: Option<u32>,
    },
    /// Who has `target`?
    NeighborSolicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The sender's link-layer address; never there when the source is unspecified (duplicate detection).
        source_lladdr: Option<MacAddr>,
    },
    /// `target` is at `target_lladdr`.
    NeighborAdvertisement {
        /// The address spoken for.
        target: Ipv6Addr,
        /// Its link-layer address.
        target_lladdr: Option<MacAddr>,
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces a cached link-layer address.
        overriding: bool,
    },
}

/// Whether the ICMPv6 type is one that [`parse()`] understands.
#[must_use]
pub const fn is_ndp(kind: u8) -> bool {
    matches!(
        kind,
        icmpv6::ROUTER_SOLICITATION
            | icmpv6::ROUTER_ADVERTISEMENT
            | icmpv6::NEIGHBOR_SOLICITATION
            | icmpv6::NEIGHBOR_ADVERTISEMENT
    )
}

/// Validates a neighbour discovery message by RFC 4861 §6.1.1, §6.1.2, §7.1.1 and §7.1.2. The caller has verified the
/// ICMPv6 checksum.
///
/// # Errors
/// The `Ndp*` defects; [`Defect::Icmpv6Type`] for other messages.
pub fn parse(ip: &ipv6::Header, message: icmpv6::View<'_>) -> Result<Message, Defect> {
    if !is_ndp(message.header.kind) {
        return Err(Defect::Icmpv6Type);
    }
    if ip.hop_limit != HOP_LIMIT {
        return Err(Defect::NdpHopLimit);
    }
    if message.header.code != 0 {
        return Err(Defect::NdpCode);
    }
    match message.header.kind {
        icmpv6::ROUTER_SOLICITATION => router_solicitation(ip, message.body),
        icmpv6::ROUTER_ADVERTISEMENT => router_advertisement(ip, message),
        icmpv6::NEIGHBOR_SOLICITATION => neighbor_solicitation(ip, message.body),
        _ => neighbor_advertisement(ip, message),
    }
}

fn router_solicitation(ip: &ipv6::Header, body: &[u8]) -> Result<Message, Defect> {
    let options = Options::parse(body)?;
    if ip.src_addr().is_unspecified() && options.source_lladdr.is_some() {
        return Err(Defect::NdpAddress);
    }
    Ok(Message::RouterSolicitation {
        source_lladdr: options.source_lladdr,
    })
}

fn router_advertisement(ip: &ipv6::Header, message: icmpv6::View<'_>) -> Result<Message, Defect> {
    // Reachable time and retransmission timer stand before the options.
    let options = message.body.get(8..).ok_or(Defect::NdpTruncated)?;
    let options = Options::parse(options)?;
    if !ip.src_addr().is_unicast_link_local() {
        return Err(Defect::NdpAddress);
    }
    Ok(Message::RouterAdvertisement {
        router_lifetime_s: message.header.rest.get() as u16,
        source_lladdr: options.source_lladdr,
        mtu: options.mtu,
    })
}

fn neighbor_solicitation(ip: &ipv6::Header, body: &[u8]) -> Result<Message, Defect> {
    let (target, options) = target_and_options(body)?;
    if ip.src_addr().is_unspecified()
        && (!is_solicited_node(ip.dst_addr()) || options.source_lladdr.is_some())
    {
        return Err(Defect::NdpAddress);
    }
    Ok(Message::NeighborSolicitation {
        target,
        source_lladdr: options.source_lladdr,
    })
}

fn neighbor_advertisement(ip: &ipv6::Header, message: icmpv6::View<'_>) -> Result<Message, Defect> {
    let (target, options) = target_and_options(message.body)?;
    let flags = message.header.rest.get();
    let solicited = flags & FLAG_SOLICITED != 0;
    if ip.src_addr().is_unspecified() || (solicited && ip.dst_addr().is_multicast()) {
        return Err(Defect::NdpAddress);
    }
    Ok(Message::NeighborAdvertisement {
        target,
        target_lladdr: options.target_lladdr,
        router: flags & FLAG_ROUTER != 0,
        solicited,
        overriding: flags & FLAG_OVERRIDE != 0,
    })
}

fn target_and_options(body: &[u8]) -> Result<(Ipv6Addr, Options), Defect> {
    let (target, options) = body.split_first_chunk::<16>().ok_or(Defect::NdpTruncated)?;
    let target = Ipv6Addr::from(*target);
    if target.is_multicast() || target.is_unspecified() {
        return Err(Defect::NdpTarget);
    }
    Ok((target, Options::parse(options)?))
}

/// The options that we use; the rest is skipped (RFC 4861 §4.6: unknown options must be ignored).
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    source_lladdr: Option<MacAddr>,
    target_lladdr: Option<MacAddr>,
    mtu: Option<u32>,
}

impl Options {
    /// Walks the options; each turn takes at least 8 bytes, so the packet's length bounds it.
    fn parse(mut bytes: &[u8]) -> Result<Self, Defect> {
        let mut options = Self::default();
        while !bytes.is_empty() {
            let &[kind, len_words, ..] = bytes else {
                return Err(Defect::NdpOption);
            };
            let len = usize::from(len_words) * 8;
            if len == 0 {
                return Err(Defect::NdpOption);
            }
            let (option, rest) = bytes.split_at_checked(len).ok_or(Defect::NdpOption)?;
            match kind {
                OPTION_SOURCE_LLADDR => options.source_lladdr = Some(link_addr(option)?),
                OPTION_TARGET_LLADDR => options.target_lladdr = Some(link_addr(option)?),
                OPTION_MTU => options.mtu = Some(mtu(option)?),
                _ => {}
            }
            bytes = rest;
        }
        Ok(options)
    }
}

/// One station's address: a group there would turn every answer into a multicast.
fn link_addr(option: &[u8]) -> Result<MacAddr, Defect> {
    match LinkAddrOption::read_from_bytes(option) {
        Ok(option) if option.mac.is_unicast() => Ok(option.mac),
        _ => Err(Defect::NdpOption),
    }
}

fn mtu(option: &[u8]) -> Result<u32, Defect> {
    match option {
        [_, _, _, _, mtu @ ..] => mtu
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| Defect::NdpOption),
        _ => Err(Defect::NdpOption),
    }
}

/// The group on which `addr` is solicited: ff02::1:ff00:0/104 and its lower 24 bits (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | a as u16,
        (b as u16) << 8 | c as u16,
    )
}

/// Whether `addr` is a solicited-node group.
#[must_use]
pub fn is_solicited_node(addr: Ipv6Addr) -> bool {
    addr.is_multicast() && addr == solicited_node(addr)
}

/// The Ethernet group of an IPv6 multicast address: 33:33 and its lower 32 bits (RFC 2464 §7).
#[must_use]
pub const fn multicast_mac(addr: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = addr.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden::{self, bytes};
    use crate::wire::{Link, Network, Transport, emit, parse as parse_frame};

    const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
    const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);
    const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
    const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);

    fn read(frame: &[u8]) -> Result<Message, Defect> {
        match parse_frame(frame)?.network {
            Network::Ipv6 {
                packet,
                transport: Transport::Icmpv6(message),
            } => parse(packet.header, message),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(hex: &str, changes: &[(usize, u8)], expected: Defect) {
        let mut frame = bytes(hex);
        for (at, value) in changes {
            frame[*at] = *value;
        }
        assert_eq!(read(&frame), Err(expected), "{changes:?}");
    }

    #[test]
    fn messages_of_the_kernel_are_read() {
        assert_eq!(
            read(&bytes(golden::NEIGHBOR_SOLICITATION)),
            Ok(Message::NeighborSolicitation {
                target: SERVER,
                source_lladdr: Some(CLIENT_MAC)
            })
        );
        assert_eq!(
            read(&bytes(golden::DAD_SOLICITATION)),
            Ok(Message::NeighborSolicitation {
                target: SERVER,
                source_lladdr: None
            })
        );
        assert_eq!(
            read(&bytes(golden::NEIGHBOR_ADVERTISEMENT)),
            Ok(Message::NeighborAdvertisement {
                target: SERVER,
                target_lladdr: Some(SERVER_MAC),
                router: false,
                solicited: true,
                overriding: true,
            })
        );
        assert_eq!(
            read(&bytes(golden::ROUTER_SOLICITATION)),
            Ok(Message::RouterSolicitation {
                source_lladdr: Some(CLIENT_MAC)
            })
        );
    }

    #[test]
    fn what_is_no_neighbour_discovery_is_said() {
        assert_eq!(read(&bytes(golden::PING6_REQUEST)), Err(Defect::Icmpv6Type));
        assert_eq!(read(&bytes(golden::MLD_REPORT)), Err(Defect::Icmpv6Type));
    }

    /// RFC 4861 §7.1.1 and §7.1.2, rule by rule.
    #[test]
    fn each_broken_rule_has_its_defect() {
        let (ns, na, dad) = (
            golden::NEIGHBOR_SOLICITATION,
            golden::NEIGHBOR_ADVERTISEMENT,
            golden::DAD_SOLICITATION,
        );
        for hop_limit in [0, 1, 64, 254] {
            refused(ns, &[(21, hop_limit)], Defect::NdpHopLimit);
            refused(na, &[(21, hop_limit)], Defect::NdpHopLimit);
        }
        refused(ns, &[(55, 1)], Defect::NdpCode);
        refused(ns, &[(62, 0xff)], Defect::NdpTarget);
        refused(na, &[(62, 0xff)], Defect::NdpTarget);
        refused(ns, &[(79, 0)], Defect::NdpOption);
        refused(ns, &[(79, 2)], Defect::NdpOption);
        refused(ns, &[(80, 0x01)], Defect::NdpOption);
        // Duplicate detection must go to the solicited-node group and carry no address.
        refused(dad, &[(49, 0)], Defect::NdpAddress);
        refused(dad, &[(78, 1)], Defect::NdpAddress);
        // A solicited advertisement must not go to a group.
        refused(na, &[(38, 0xff)], Defect::NdpAddress);
        assert!(
            read(&{
                let mut unsolicited = bytes(na);
                (unsolicited[38], unsolicited[58]) = (0xff, 0x20);
                unsolicited
            })
            .is_ok()
        );
    }

    #[test]
    fn every_truncated_message_has_its_defect() {
        for hex in [
            golden::NEIGHBOR_SOLICITATION,
            golden::NEIGHBOR_ADVERTISEMENT,
        ] {
            let frame = bytes(hex);
            for len in 62..frame.len() {
                let mut cut = frame[..len].to_vec();
                cut[19] = (len - 54) as u8;
                let expected = match len {
                    0..78 => Err(Defect::NdpTruncated),
                    78 => Ok(()),
                    _ => Err(Defect::NdpOption),
                };
                assert_eq!(read(&cut).map(|_| ()), expected, "cut at {len}");
            }
        }
    }

    /// A router advertisement with lifetime 1800 s, source link-layer address and MTU (RFC 4861 §4.2).
    fn router_advertisement() -> Vec<u8> {
        let mut frame = bytes(golden::ROUTER_SOLICITATION);
        frame.truncate(54);
        frame[19] = 32;
        frame.extend([134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend([1, 1, 2, 0, 0, 0, 0, 0x0a, 5, 1, 0, 0, 0, 0, 0x05, 0x14]);
        frame
    }

    #[test]
    fn router_advertisements_are_read() {
        let frame = router_advertisement();
        let expected = Message::RouterAdvertisement {
            router_lifetime_s: 1800,
            source_lladdr: Some(CLIENT_MAC),
            mtu: Some(1300),
        };
        assert_eq!(read(&frame), Ok(expected));
        let mut from_afar = frame.clone();
        from_afar[22] = 0x20;
        assert_eq!(read(&from_afar), Err(Defect::NdpAddress));
        let mut short = frame[..54 + 15].to_vec();
        short[19] = 15;
        assert_eq!(read(&short), Err(Defect::NdpTruncated));
        let mut mtu_of_16_bytes = frame;
        mtu_of_16_bytes[79] = 2;
        mtu_of_16_bytes.extend([0; 8]);
        mtu_of_16_bytes[19] += 8;
        assert_eq!(read(&mtu_of_16_bytes), Err(Defect::NdpOption));
    }

    #[test]
    fn an_advertisement_from_nobody_is_refused() {
        let link = Link {
            dst: CLIENT_MAC,
            src: SERVER_MAC,
            vlan: None,
        };
        let mut into = [0; 100];
        let len = emit::neighbor_advertisement(link, CLIENT, SERVER, 0, &mut into).unwrap();
        into[22..38].fill(0);
        assert_eq!(read(&into[..len]), Err(Defect::NdpAddress));
    }

    #[test]
    fn group_addresses_follow_the_rfcs() {
        // RFC 4291 §2.7.1's own example.
        let addr: Ipv6Addr = "4037::01:800:200e:8c6c".parse().unwrap();
        let group: Ipv6Addr = "ff02::1:ff0e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(addr), group);
        assert!(
            is_solicited_node(group) && !is_solicited_node(addr) && !is_solicited_node(ALL_NODES)
        );
        assert_eq!(
            multicast_mac(group),
            MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c])
        );
    }
}
