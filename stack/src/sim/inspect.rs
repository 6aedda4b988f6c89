//! [`inspect`]: whether a frame that an endpoint sent is right, judged by code that shares nothing with the stack.
//!
//! It must never use `wire`: a mistake there would forgive itself here.

use core::fmt;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A fault of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Shorter than its headers say.
    Truncated,
    /// The EtherType or protocol is none that we ever send.
    UnknownProtocol,
    /// The IPv4 header checksum is wrong.
    Ipv4Checksum,
    /// The checksum of TCP, UDP, ICMP or ICMPv6 is wrong.
    TransportChecksum,
    /// A TCP data offset below 5 or beyond the segment.
    TcpHeaderLen,
    /// The IP packet is longer than the MTU.
    BeyondMtu,
    /// Padding behind the packet isn't zero: bytes of older frames leak.
    DirtyPadding,
    /// The source link address isn't the sender's own.
    SourceMac,
    /// In a VLAN that isn't the sender's.
    ForeignVlan,
    /// In another VLAN than earlier frames of its connection.
    OtherVlan,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "shorter than its headers say",
            Self::UnknownProtocol => "a protocol that we never send",
            Self::Ipv4Checksum => "wrong IPv4 header checksum",
            Self::TransportChecksum => "wrong transport checksum",
            Self::TcpHeaderLen => "impossible TCP header length",
            Self::BeyondMtu => "longer than the MTU",
            Self::DirtyPadding => "padding that isn't zero",
            Self::SourceMac => "the source link address of another host",
            Self::ForeignVlan => "a VLAN that isn't the sender's",
            Self::OtherVlan => "another VLAN than earlier frames of its connection",
        })
    }
}

/// Where the parts of an IP packet lie in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// First byte of the IP header.
    pub ip: usize,
    /// Whether it is IPv6.
    pub is_v6: bool,
    /// Protocol number of what the IP packet carries.
    pub protocol: u8,
    /// First byte of the transport header.
    pub transport: usize,
    /// First byte behind the IP packet.
    pub end: usize,
}

const TCP: u8 = 6;

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The places of an IPv4 or (without extension headers) IPv6 packet; `Ok(None)` for ARP.
///
/// # Errors
/// [`Fault::Truncated`] and [`Fault::UnknownProtocol`].
pub fn places(bytes: &[u8]) -> Result<Option<Places>, Fault> {
    let mut ethertype_at = 12;
    let mut ethertype = be16(bytes, 12).ok_or(Fault::Truncated)?;
    if ethertype == 0x8100 {
        ethertype_at = 16;
        ethertype = be16(bytes, 16).ok_or(Fault::Truncated)?;
    }
    let ip = ethertype_at + 2;
    let places = match ethertype {
        0x0806 => return Ok(None),
        0x0800 => {
            let first = *bytes.get(ip).ok_or(Fault::Truncated)?;
            let total_len = usize::from(be16(bytes, ip + 2).ok_or(Fault::Truncated)?);
            Places {
                ip,
                is_v6: false,
                protocol: *bytes.get(ip + 9).ok_or(Fault::Truncated)?,
                transport: ip + 4 * usize::from(first & 0x0f),
                end: ip + total_len,
            }
        }
        0x86dd => Places {
            ip,
            is_v6: true,
            protocol: *bytes.get(ip + 6).ok_or(Fault::Truncated)?,
            transport: ip + 40,
            end: ip + 40 + usize::from(be16(bytes, ip + 4).ok_or(Fault::Truncated)?),
        },
        _ => return Err(Fault::UnknownProtocol),
    };
    let least = if places.is_v6 { 40 } else { 20 };
    if places.transport < ip + least || places.transport > places.end || places.end > bytes.len() {
        return Err(Fault::Truncated);
    }
    Ok(Some(places))
}

/// A TCP segment in a frame: its header is whole, its options and payload lie within the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp<'a> {
    segment: &'a [u8],
    header_len: usize,
}

impl<'a> Tcp<'a> {
    /// The segment of a frame; `None` for a frame that holds none, or one that is cut short. Frames that a link corrupted
    /// may be given: no length in them is trusted.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let at = places(bytes).ok()??;
        let segment = bytes.get(at.transport..at.end)?;
        let header_len = usize::from(segment.get(12)? >> 4) * 4;
        let is_whole = at.protocol == TCP && (20..=segment.len()).contains(&header_len);
        is_whole.then_some(Self {
            segment,
            header_len,
        })
    }

    fn be32(&self, at: usize) -> u32 {
        let word = [0, 1, 2, 3].map(|i| self.segment[at + i]);
        u32::from_be_bytes(word)
    }

    /// Source and destination port.
    #[must_use]
    pub fn ports(&self) -> [u16; 2] {
        [0, 2].map(|at| u16::from_be_bytes([self.segment[at], self.segment[at + 1]]))
    }

    /// SEG.SEQ.
    #[must_use]
    pub fn seq(&self) -> u32 {
        self.be32(4)
    }

    /// SEG.ACK, whether or not the ACK bit is set.
    #[must_use]
    pub fn ack(&self) -> u32 {
        self.be32(8)
    }

    /// The control bits: FIN is bit 0.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.segment[13]
    }

    /// The window field, unscaled.
    #[must_use]
    pub fn window(&self) -> u16 {
        u16::from_be_bytes([self.segment[14], self.segment[15]])
    }

    /// The options, padding included.
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        &self.segment[20..self.header_len]
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.segment[self.header_len..]
    }

    /// TSval and TSecr of the timestamps option (RFC 7323 §3.2), where there is one.
    #[must_use]
    pub fn timestamps(&self) -> Option<[u32; 2]> {
        let mut options = self.options();
        loop {
            match *options {
                [1, ref rest @ ..] => options = rest,
                [8, 10, a, b, c, d, e, f, g, h, ..] => {
                    return Some([[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes));
                }
                [0, ..] => return None,
                [_, len, ..] if len >= 2 => options = options.get(usize::from(len)..)?,
                _ => return None,
            }
        }
    }
}

/// The VLAN of a frame: 0 without a tag, and with a priority tag.
#[must_use]
pub fn vlan(bytes: &[u8]) -> u16 {
    match be16(bytes, 12) {
        Some(0x8100) => be16(bytes, 14).unwrap_or(0) & 0x0fff,
        _ => 0,
    }
}

/// The key of both directions of a TCP connection: address and port of either end, the lesser end first.
pub type Ends = [Vec<u8>; 2];

/// The ends of a frame's TCP segment; `None` for a frame that holds none.
#[must_use]
pub fn ends(bytes: &[u8]) -> Option<Ends> {
    let tcp = Tcp::of(bytes)?;
    let at = places(bytes).ok()??;
    let (first, len) = if at.is_v6 { (8, 16) } else { (12, 4) };
    let end = |n: usize| {
        let address = at.ip + first + n * len;
        [
            &bytes[address..address + len],
            &tcp.segment[2 * n..2 * n + 2],
        ]
        .concat()
    };
    let mut ends = [end(0), end(1)];
    ends.sort();
    Some(ends)
}

/// Whether all frames of a connection are in one VLAN, and whether a host keeps to its own.
#[derive(Debug, Clone, Default)]
pub struct VlanJudge {
    seen: BTreeMap<Ends, u16>,
}

impl VlanJudge {
    /// The defect in the VLAN of a frame that a host sent, which keeps to `ours` if that names any. Resets answer frames of other
    /// VLANs without a connection, so they count only when those are not forged.
    ///
    /// # Errors
    /// [`Fault::ForeignVlan`], [`Fault::OtherVlan`].
    pub fn judge(&mut self, bytes: &[u8], ours: Option<&[u16]>, forged: bool) -> Result<(), Fault> {
        const RST: u8 = 4;
        let vlan = vlan(bytes);
        if ours.is_some_and(|ours| !ours.contains(&vlan)) {
            return Err(Fault::ForeignVlan);
        }
        let is_reset = Tcp::of(bytes).is_some_and(|tcp| tcp.flags() & RST != 0);
        let Some(ends) = ends(bytes).filter(|_| !(is_reset && forged)) else {
            return Ok(());
        };
        match self.seen.entry(ends) {
            Entry::Occupied(first) if *first.get() != vlan => Err(Fault::OtherVlan),
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(_) if is_reset => Ok(()),
            Entry::Vacant(place) => {
                place.insert(vlan);
                Ok(())
            }
        }
    }
}

/// RFC 1071 word by word: the folded sum.
#[must_use]
pub fn ones_complement_sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether the IPv4 header's checksum is right (always for IPv6, which has none).
#[must_use]
pub fn ipv4_checksum_is_right(bytes: &[u8], at: &Places) -> bool {
    at.is_v6 || ones_complement_sum(&bytes[at.ip..at.transport], 0) == 0xffff
}

/// Whether the checksum of what the packet carries is right.
#[must_use]
pub fn transport_checksum_is_right(bytes: &[u8], at: &Places) -> bool {
    transport_sum(bytes, at) == 0xffff
}

/// The sum of what the packet carries, its checksum and the pseudo-header included.
pub(super) fn transport_sum(bytes: &[u8], at: &Places) -> u16 {
    let segment = &bytes[at.transport..at.end];
    let with_pseudo_header = at.is_v6 || matches!(at.protocol, TCP | 17);
    let start = if with_pseudo_header {
        let addresses = if at.is_v6 {
            &bytes[at.ip + 8..at.ip + 40]
        } else {
            &bytes[at.ip + 12..at.ip + 20]
        };
        let sum = u32::from(ones_complement_sum(addresses, 0));
        sum + u32::from(at.protocol) + segment.len() as u32
    } else {
        0
    };
    ones_complement_sum(segment, start)
}

/// Whether a receiver would take all of this frame's checksums for right: of those that a link has corrupted, it takes few.
#[must_use]
pub fn checksums_are_right(bytes: &[u8]) -> bool {
    let is_right =
        |at: &Places| ipv4_checksum_is_right(bytes, at) && transport_checksum_is_right(bytes, at);
    matches!(places(bytes), Ok(Some(at)) if is_right(&at))
}

/// The fault of a frame that the owner of `mac` sent over a link of `mtu` bytes.
///
/// # Errors
/// The first [`Fault`] found.
pub fn inspect(bytes: &[u8], mac: [u8; 6], mtu: u16) -> Result<(), Fault> {
    if bytes.get(6..12) != Some(mac.as_slice()) {
        return Err(Fault::SourceMac);
    }
    let Some(at) = places(bytes)? else {
        return Ok(());
    };
    if at.end - at.ip > usize::from(mtu) {
        return Err(Fault::BeyondMtu);
    }
    if bytes[at.end..].iter().any(|&byte| byte != 0) {
        return Err(Fault::DirtyPadding);
    }
    if !ipv4_checksum_is_right(bytes, &at) {
        return Err(Fault::Ipv4Checksum);
    }
    match (at.protocol, at.is_v6) {
        (TCP, _) if Tcp::of(bytes).is_none() => return Err(Fault::TcpHeaderLen),
        (TCP, _) => {}
        (1, false) | (58, true) | (17, _) => {}
        _ => return Err(Fault::UnknownProtocol),
    }
    if transport_checksum_is_right(bytes, &at) {
        Ok(())
    } else {
        Err(Fault::TransportChecksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Link, MacAddr, SegmentSpec};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn segment(source: &str, destination: &str) -> Vec<u8> {
        let link = Link {
            dst: MacAddr([2, 0, 0, 0, 0, 8]),
            src: MacAddr(MAC),
            vlan: None,
        };
        let address = |text: &str| text.parse().expect("an address");
        let spec = SegmentSpec {
            payload: b"odd",
            ..SegmentSpec::new(link, address(source), address(destination))
        };
        let mut bytes = vec![0; 200];
        let len = spec.emit(&mut bytes).expect("room");
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn right_frames_of_both_families_pass_and_any_changed_bit_of_them_is_found() {
        let v4 = segment("198.18.0.1:1", "198.18.0.2:2");
        let v6 = segment("[2001:db8::1]:1", "[2001:db8::2]:2");
        for frame in [v4, v6] {
            assert_eq!(inspect(&frame, MAC, 1500), Ok(()));
            let is_v6 = frame[14] >> 4 == 6;
            for bit in 6 * 8..frame.len() * 8 {
                // Traffic class, flow label and hop limit of IPv6 stand under no checksum.
                if is_v6 && ((14 * 8..18 * 8).contains(&bit) || bit / 8 == 21) {
                    continue;
                }
                let mut changed = frame.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                // A version that doesn't fit the EtherType is nothing that this judges.
                assert!(inspect(&changed, MAC, 1500).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn frames_with_impossible_lengths_hold_no_segment_and_no_read_goes_beyond_them() {
        let v4 = segment("198.18.0.1:1", "198.18.0.2:2");
        let v6 = segment("[2001:db8::1]:1", "[2001:db8::2]:2");
        for frame in [v4, v6] {
            let whole = Tcp::of(&frame).expect("a segment");
            assert_eq!((whole.ports(), whole.payload()), ([1, 2], &b"odd"[..]));
            for at in 12..frame.len() {
                for byte in [0x00, 0x0f, 0x40, 0x4f, 0xf0, 0xff] {
                    let mut changed = frame.clone();
                    changed[at] = byte;
                    if let Some(tcp) = Tcp::of(&changed) {
                        let len = tcp.options().len() + tcp.payload().len();
                        assert!(len + 20 <= frame.len() - 34, "byte {at} = {byte:#04x}");
                        let _ = tcp.timestamps();
                    }
                    let _ = inspect(&changed, MAC, 1500);
                }
            }
            for len in 0..frame.len() {
                assert_eq!(Tcp::of(&frame[..len]), None, "{len} bytes");
            }
        }
    }

    #[test]
    fn what_no_checksum_covers_is_judged_as_well() {
        let frame = segment("198.18.0.1:1", "198.18.0.2:2");
        let len = frame.len();
        assert_eq!(inspect(&frame, [2; 6], 1500), Err(Fault::SourceMac));
        assert_eq!(
            inspect(&frame, MAC, (len - 15) as u16),
            Err(Fault::BeyondMtu)
        );
        let mut padded = frame.clone();
        padded.extend([0, 0, 1]);
        assert_eq!(inspect(&padded, MAC, 1500), Err(Fault::DirtyPadding));
        assert_eq!(inspect(&frame[..len - 1], MAC, 1500), Err(Fault::Truncated));
    }

    /// A segment of a connection, or the other direction of it, in this VLAN.
    fn vlan_segment(flags: u8, vlan: u16, back: bool) -> Vec<u8> {
        let ends = [[198, 18, 0, 1, 0, 80], [198, 18, 0, 2, 156, 64]];
        let [src, dst] = if back { [ends[1], ends[0]] } else { ends };
        let mut frame = vec![2; 12];
        if vlan != 0 {
            frame.extend([0x81, 0, 0x20, vlan as u8]);
        }
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([&src[..4], &dst[..4], &src[4..], &dst[4..]].concat());
        frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        frame
    }

    #[test]
    fn a_connection_keeps_to_one_vlan_and_a_host_to_its_own() {
        const ACK: u8 = 0x10;
        const RST: u8 = 4;
        let mut judge = VlanJudge::default();
        let mut frame = |flags, vlan, back, forged| {
            judge.judge(&vlan_segment(flags, vlan, back), Some(&[0, 5]), forged)
        };
        assert_eq!(frame(ACK, 5, false, false), Ok(()));
        assert_eq!(frame(ACK, 5, true, false), Ok(()));
        assert_eq!(frame(ACK, 0, true, false), Err(Fault::OtherVlan));
        assert_eq!(frame(ACK, 6, false, false), Err(Fault::ForeignVlan));
        assert_eq!(frame(RST, 0, false, false), Err(Fault::OtherVlan));
        assert_eq!(frame(RST, 0, false, true), Ok(()), "to what was forged");
        assert_eq!(frame(ACK, 0, false, true), Err(Fault::OtherVlan));
    }
}
