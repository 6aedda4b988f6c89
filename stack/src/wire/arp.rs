//! ARP for Ethernet and IPv4: [`Packet`] (RFC 826, RFC 5227).
//!
//! It must never accept another hardware or protocol: lengths are fixed here.

use core::net::Ipv4Addr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{EtherType, MacAddr};
use super::{Defect, U16, ipv4};

/// Bytes of an ARP packet for Ethernet and IPv4.
pub const PACKET_LEN: usize = 28;

/// Asks who has an address.
pub const REQUEST: u16 = 1;

/// Says who has it.
pub const REPLY: u16 = 2;

/// An ARP packet for Ethernet and IPv4. All byte values are legal until [`Packet::parse`] has checked them; alignment
/// 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Packet {
    /// Hardware type: 1 for Ethernet.
    pub hardware: U16,
    /// Protocol type: 0x0800 for IPv4.
    pub protocol: EtherType,
    /// Bytes of a hardware address: 6.
    pub hardware_len: u8,
    /// Bytes of a protocol address: 4.
    pub protocol_len: u8,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: U16,
    /// Hardware address of the sender.
    pub sender_mac: MacAddr,
    /// Protocol address of the sender; 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub sender_ip: [u8; 4],
    /// Hardware address of the target; nothing in a request.
    pub target_mac: MacAddr,
    /// Protocol address of the target.
    pub target_ip: [u8; 4],
}

impl Packet {
    /// A request for `target_ip`.
    #[must_use]
    pub const fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        Self::new(REQUEST, sender_mac, sender_ip, MacAddr::ZERO, target_ip)
    }

    /// A reply to `target_mac`, `target_ip`.
    #[must_use]
    pub const fn reply(
        sender_mac: MacAddr,
        sender_ip: Ipv4Addr,
        target_mac: MacAddr,
        target_ip: Ipv4Addr,
    ) -> Self {
        Self::new(REPLY, sender_mac, sender_ip, target_mac, target_ip)
    }

    const fn new(
        operation: u16,
        sender_mac: MacAddr,
        sender_ip: Ipv4Addr,
        target_mac: MacAddr,
        target_ip: Ipv4Addr,
    ) -> Self {
        Self {
            hardware: U16::new(1),
            protocol: EtherType::IPV4,
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_mac,
            sender_ip: sender_ip.octets(),
            target_mac,
            target_ip: target_ip.octets(),
        }
    }

    /// Checks what RFC 826 "Packet Reception" checks, and that the sender can be a host. Padding behind it is ignored.
    ///
    /// # Errors
    /// [`Defect::ArpTruncated`], [`Defect::ArpHardware`], [`Defect::ArpProtocol`], [`Defect::ArpOperation`],
    /// [`Defect::ArpSenderMac`], [`Defect::ArpSenderIp`].
    pub fn parse(bytes: &[u8]) -> Result<&Self, Defect> {
        let (packet, _) = Self::ref_from_prefix(bytes).map_err(|_| Defect::ArpTruncated)?;
        if packet.hardware.get() != 1 || packet.hardware_len != 6 {
            return Err(Defect::ArpHardware);
        }
        if packet.protocol != EtherType::IPV4 || packet.protocol_len != 4 {
            return Err(Defect::ArpProtocol);
        }
        if !matches!(packet.operation.get(), REQUEST | REPLY) {
            return Err(Defect::ArpOperation);
        }
        if !packet.sender_mac.is_unicast() {
            return Err(Defect::ArpSenderMac);
        }
        if !ipv4::is_valid_source(packet.sender_ip) && !packet.is_probe() {
            return Err(Defect::ArpSenderIp);
        }
        Ok(packet)
    }

    /// Whether it asks.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.operation.get() == REQUEST
    }

    /// Whether it asks without claiming an address itself: duplicate detection (RFC 5227 §2.1.1).
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.is_request() && matches!(self.sender_ip, [0, 0, 0, 0])
    }

    /// Whether it announces the sender's own address: a gratuitous ARP (RFC 5227 §2.3).
    #[must_use]
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip && !self.is_probe()
    }

    /// The sender's protocol address.
    #[must_use]
    pub const fn sender_addr(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.sender_ip;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The target's protocol address.
    #[must_use]
    pub const fn target_addr(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.target_ip;
        Ipv4Addr::new(a, b, c, d)
    }
}
