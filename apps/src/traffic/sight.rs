//! [`Observer`]: what a received frame says, read from the wire: a segment to a tuple, an ICMP error about one, or neither.
//!
//! It must never read with `stack`, and never believe a frame whose checksum is wrong.

use dpdk::checksum;
use workload::pools::Source;

use super::template::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, IP, PROTOCOL_TCP};
use super::tuples::{Tuple, TupleSpace};

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;
/// Types of ICMP errors that quote a packet (RFC 792): unreachable, source quench, redirect, time exceeded, parameter problem.
const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
/// Types of ICMPv6 errors (RFC 4443 §2.1) lie below this.
const ICMPV6_ERRORS_END: u8 = 128;
/// Bytes of ICMP before the quoted packet.
const ICMP_HEADER: usize = 8;

/// A TCP segment, as far as a flood looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Control bits.
    pub(super) flags: u8,
    /// SEG.SEQ.
    pub(super) seq: u32,
    /// SEG.ACK.
    pub(super) ack: u32,
    /// TSval, when there is a timestamps option.
    pub(super) tsval: Option<u32>,
    /// Where TCP begins in the frame.
    pub(super) at: usize,
}

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// A segment from a target to a source of ours.
    Segment(Tuple, Segment),
    /// An ICMP error that quotes a frame of this tuple and this sequence number.
    Icmp {
        /// Whose frame is quoted.
        tuple: Tuple,
        /// The sequence number that is quoted.
        seq: u32,
        /// Type of the error.
        kind: u8,
        /// Code of the error.
        code: u8,
    },
    /// To a source of ours, with a wrong checksum or lengths that contradict each other.
    Damaged,
    /// Anything else: neighbour discovery, a probe's connection, others' traffic.
    Other,
}

/// Reads frames of one tuple space.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    v6: bool,
}

/// An IP packet that is whole: where its payload begins and ends in the frame, its protocol and its ends.
struct Network {
    payload: usize,
    end: usize,
    protocol: u8,
    from: u128,
    to: u128,
}

impl Observer {
    /// A reader for that space's family.
    pub(super) fn new(space: &TupleSpace) -> Self {
        Self {
            v6: space.is_ipv6(),
        }
    }

    /// The kind of `frame`.
    #[inline]
    pub(super) fn read(&self, frame: &[u8], space: &TupleSpace) -> Sight {
        let Some(network) = self.network(frame) else {
            return Sight::Other;
        };
        match network.protocol {
            PROTOCOL_TCP => self.segment(frame, &network, space),
            PROTOCOL_ICMP if !self.v6 => self.icmp(frame, &network, space),
            PROTOCOL_ICMPV6 if self.v6 => self.icmp(frame, &network, space),
            _ => Sight::Other,
        }
    }

    /// The IP header of a frame of our family.
    #[inline]
    fn network(&self, frame: &[u8]) -> Option<Network> {
        let ethertype = if self.v6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        };
        if frame.get(12..14)? != ethertype {
            return None;
        }
        let (header_len, network) = header(&frame[IP..], self.v6)?;
        Some(Network {
            payload: IP + header_len,
            end: IP + network.end,
            ..network
        })
    }

    #[inline]
    fn segment(&self, frame: &[u8], network: &Network, space: &TupleSpace) -> Sight {
        let Some(tcp) = frame.get(network.payload..network.end.min(frame.len())) else {
            return Sight::Other;
        };
        let Some([from_high, from_low, to_high, to_low]) = tcp.first_chunk() else {
            return Sight::Other;
        };
        let remote = Source {
            address: network.from,
            port: u16::from_be_bytes([*from_high, *from_low]),
        };
        let local = Source {
            address: network.to,
            port: u16::from_be_bytes([*to_high, *to_low]),
        };
        let Ok(tuple) = space.find(local, remote) else {
            return Sight::Other;
        };
        let packet = &frame[IP..];
        let is_right = if self.v6 {
            checksum::ipv6_l4(packet)
        } else {
            checksum::ipv4_header(packet).and_then(|right| Ok(right && checksum::ipv4_l4(packet)?))
        };
        let header_len = tcp.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
        let Some(options) = tcp.get(20..header_len).filter(|_| is_right == Ok(true)) else {
            return Sight::Damaged;
        };
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let segment = Segment {
            flags: tcp[13] & 0x3f,
            seq: word(4),
            ack: word(8),
            tsval: timestamp(options),
            at: network.payload,
        };
        Sight::Segment(tuple, segment)
    }

    #[cold]
    fn icmp(&self, frame: &[u8], network: &Network, space: &TupleSpace) -> Sight {
        let Some(message) = frame.get(network.payload..network.end.min(frame.len())) else {
            return Sight::Other;
        };
        let [kind, code, ..] = *message else {
            return Sight::Other;
        };
        let is_error = if self.v6 {
            kind < ICMPV6_ERRORS_END
        } else {
            ICMP_ERRORS.contains(&kind)
        };
        let quoted = message
            .get(ICMP_HEADER..)
            .filter(|_| is_error)
            .and_then(|packet| Some((packet, header(packet, self.v6)?)));
        let Some((packet, (header_len, inner))) = quoted else {
            return Sight::Other;
        };
        let Some(ports) = packet
            .get(header_len..)
            .and_then(<[u8]>::first_chunk::<8>)
            .filter(|_| inner.protocol == PROTOCOL_TCP)
        else {
            return Sight::Other;
        };
        let end = |address, at: usize| Source {
            address,
            port: u16::from_be_bytes([ports[at], ports[at + 1]]),
        };
        let Ok(tuple) = space.find(end(inner.from, 0), end(inner.to, 2)) else {
            return Sight::Other;
        };
        if !self.icmp_sum_is_right(message, network) {
            return Sight::Damaged;
        }
        Sight::Icmp {
            tuple,
            seq: u32::from_be_bytes([ports[4], ports[5], ports[6], ports[7]]),
            kind,
            code,
        }
    }

    fn icmp_sum_is_right(&self, message: &[u8], network: &Network) -> bool {
        let mut sum = word_sum(message);
        if self.v6 {
            sum += word_sum(&network.from.to_be_bytes());
            sum += word_sum(&network.to.to_be_bytes());
            sum += message.len() as u64 + u64::from(PROTOCOL_ICMPV6);
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum == 0xffff
    }
}

/// The header of a packet, which need not be whole behind it: its length, and `payload` and `end` counted from its first byte.
#[inline]
fn header(packet: &[u8], v6: bool) -> Option<(usize, Network)> {
    if v6 {
        let fixed = packet.first_chunk::<40>()?;
        if fixed[0] >> 4 != 6 {
            return None;
        }
        let address = |at: usize| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&fixed[at..at + 16]);
            u128::from_be_bytes(bytes)
        };
        let network = Network {
            payload: 40,
            end: 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]])),
            protocol: fixed[6],
            from: address(8),
            to: address(24),
        };
        return Some((40, network));
    }
    let fixed = packet.first_chunk::<20>()?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    let is_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0;
    if fixed[0] >> 4 != 4 || header_len < 20 || is_fragment {
        return None;
    }
    let address = |at: usize| {
        u128::from(u32::from_be_bytes([
            fixed[at],
            fixed[at + 1],
            fixed[at + 2],
            fixed[at + 3],
        ]))
    };
    let network = Network {
        payload: header_len,
        end: usize::from(u16::from_be_bytes([fixed[2], fixed[3]])),
        protocol: fixed[9],
        from: address(12),
        to: address(16),
    };
    Some((header_len, network))
}

/// TSval of a timestamps option (RFC 7323 §3.2), when there is one and the options before it are well-formed.
fn timestamp(mut options: &[u8]) -> Option<u32> {
    loop {
        match *options {
            [] | [0, ..] => return None,
            [1, ..] => options = &options[1..],
            [8, 10, a, b, c, d, _, _, _, _, ..] => return Some(u32::from_be_bytes([a, b, c, d])),
            [_, len, ..] if len >= 2 => options = options.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// The sum of 16-bit words (RFC 1071); an odd byte at the end is the upper half of one.
fn word_sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    bytes.chunks(2).map(word).sum()
}
