//! [`Verifier`]: whether a received frame is exactly the reply that the generator's SYN deserves.
//!
//! It must never share code with the stack that it judges: checksums are DPDK's, and the rules stand here a second time
//! (RFC 9293 3.10.7.1 for resets, 3.10.7.2 for SYN-ACKs).

use dpdk::checksum;

use workload::pools::{self, Source};

use super::options;
use super::template::{
    AimedTemplate, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FLAG_ACK, FLAG_RST, FLAG_SYN, IP, MAX_LEN,
    Offsets, PROTOCOL_TCP, Template,
};
use super::tuples::{NoTuple, Tuple, TupleSpace};
use super::wrong::ReplyFault;

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const PROTOCOL_ICMPV6: u8 = 58;

/// The expected reply to a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Expect {
    /// `<SEQ=0><ACK=SEG.SEQ+1><CTL=RST,ACK>`, as from a closed port
    Rst,
    /// A SYN-ACK, as from an open port
    Syn,
    /// The frame itself with its MAC addresses swapped, as from testpmd's macswap
    Echo,
    /// Nothing: whatever comes is not looked at
    Sink,
}

/// The kind of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The reply to this tuple's SYN, right in every respect.
    Verified(Tuple),
    /// ARP or neighbour discovery: an endpoint may ask; no reply.
    Housekeeping,
    /// Anything else.
    Wrong(ReplyFault),
}

/// Knows what replies to one template's SYNs must look like.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    expect: Expect,
    space: TupleSpace,
    syn: AimedTemplate,
    /// The SYNs offer timestamps and a window scale.
    offers_options: bool,
    offsets: Offsets,
    /// Link header of every right reply.
    link: [u8; 14],
    /// The endpoint.
    endpoint: Source,
}

impl Verifier {
    /// `space` must be the generator's, with one target.
    pub(crate) fn new(
        expect: Expect,
        source_mac: [u8; 6],
        syn: &Template,
        space: TupleSpace,
    ) -> Self {
        let offsets = syn.offsets();
        let target = space.targets()[0];
        let mut link = [0; 14];
        link[..6].copy_from_slice(&source_mac);
        link[6..12].copy_from_slice(&target.mac);
        link[12..].copy_from_slice(if offsets.v6 {
            &ETHERTYPE_IPV6
        } else {
            &ETHERTYPE_IPV4
        });
        Self {
            expect,
            offers_options: syn.offers_options(),
            syn: syn.aimed(&target),
            offsets,
            link,
            endpoint: Source {
                address: pools::bits(target.address),
                port: target.port,
            },
            space,
        }
    }

    /// Judges one frame.
    #[inline]
    pub(crate) fn judge(&self, frame: &[u8]) -> Judgement {
        let judged = match self.expect {
            Expect::Rst => self.judge_reply(frame, FLAG_RST | FLAG_ACK),
            Expect::Syn => self.judge_reply(frame, FLAG_SYN | FLAG_ACK),
            Expect::Echo => self.judge_echo(frame),
            Expect::Sink => return Judgement::Housekeeping,
        };
        match judged {
            Ok(flow) => Judgement::Verified(flow),
            Err(_) if is_housekeeping(frame) => Judgement::Housekeeping,
            Err(wrong) => Judgement::Wrong(wrong),
        }
    }

    #[inline]
    fn judge_reply(&self, frame: &[u8], flags: u8) -> Result<Tuple, ReplyFault> {
        self.judge_link(frame)?;
        let (ip_len, local) = if self.offsets.v6 {
            self.judge_ipv6(frame)?
        } else {
            self.judge_ipv4(frame)?
        };
        // Both checksum functions have made sure that the packet is whole up to its own length and holds a TCP header.
        let (packet, padding) = frame.split_at(IP + ip_len);
        let tcp = &packet[self.offsets.tcp..];
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let ends = (
            Source {
                address: local,
                port: port(2),
            },
            Source {
                port: port(0),
                ..self.endpoint
            },
        );
        let tuple = self.space.find(ends.0, ends.1).map_err(|no| match no {
            NoTuple::Address => ReplyFault::Address,
            NoTuple::Port => ReplyFault::Port,
        })?;
        if tcp[13] != flags || tcp[12] & 0x0f != 0 {
            return Err(ReplyFault::Flags);
        }
        let numbers = self.space.numbers(tuple.index, 0);
        if tcp[8..12] != numbers.seq.wrapping_add(1).to_be_bytes() {
            return Err(ReplyFault::AcknowledgmentNumber);
        }
        let header_len = usize::from(tcp[12] >> 4) * 4;
        let Some(options) = tcp.get(20..header_len) else {
            return Err(ReplyFault::Truncated);
        };
        if flags & FLAG_RST != 0 {
            if tcp[4..8] != [0; 4] {
                return Err(ReplyFault::SequenceNumber);
            }
            if !options.is_empty() {
                return Err(ReplyFault::OptionsMalformed);
            }
        } else {
            options::judge(options, self.offers_options.then_some(numbers.tsval))?;
        }
        if tcp[18..20] != [0; 2] {
            return Err(ReplyFault::UrgentPointer);
        }
        if tcp.len() != header_len {
            return Err(ReplyFault::Payload);
        }
        if padding.iter().any(|&byte| byte != 0) {
            return Err(ReplyFault::Padding);
        }
        Ok(tuple)
    }

    #[inline]
    fn judge_link(&self, frame: &[u8]) -> Result<(), ReplyFault> {
        if frame.len() < self.offsets.tcp + 20 {
            return Err(ReplyFault::Truncated);
        }
        if frame[12..14] != self.link[12..] {
            return Err(ReplyFault::EtherType);
        }
        if frame[..12] != self.link[..12] {
            return Err(ReplyFault::Mac);
        }
        Ok(())
    }

    /// Length of the packet, and whom it is for.
    #[inline]
    fn judge_ipv4(&self, frame: &[u8]) -> Result<(usize, u128), ReplyFault> {
        let packet = &frame[IP..];
        let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
        if packet[0] != 0x45 || fragment || packet[8] == 0 || packet[9] != PROTOCOL_TCP {
            return Err(ReplyFault::IpHeader);
        }
        if checksum::ipv4_header(packet) != Ok(true) {
            return Err(ReplyFault::IpChecksum);
        }
        if packet[12..16] != (self.endpoint.address as u32).to_be_bytes() {
            return Err(ReplyFault::Address);
        }
        match checksum::ipv4_l4(packet) {
            Ok(true) => {}
            Ok(false) => return Err(ReplyFault::TcpChecksum),
            Err(_) => return Err(ReplyFault::Truncated),
        }
        let address = u32::from_be_bytes([packet[16], packet[17], packet[18], packet[19]]);
        Ok((
            usize::from(u16::from_be_bytes([packet[2], packet[3]])),
            address.into(),
        ))
    }

    #[inline]
    fn judge_ipv6(&self, frame: &[u8]) -> Result<(usize, u128), ReplyFault> {
        let packet = &frame[IP..];
        if packet[0] >> 4 != 6 || packet[6] != PROTOCOL_TCP || packet[7] == 0 {
            return Err(ReplyFault::IpHeader);
        }
        if packet[8..24] != self.endpoint.address.to_be_bytes() {
            return Err(ReplyFault::Address);
        }
        match checksum::ipv6_l4(packet) {
            Ok(true) => {}
            Ok(false) => return Err(ReplyFault::TcpChecksum),
            Err(_) => return Err(ReplyFault::Truncated),
        }
        let mut address = [0; 16];
        address.copy_from_slice(&packet[24..40]);
        let payload_len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
        Ok((40 + payload_len, u128::from_be_bytes(address)))
    }

    /// An echo names its tuple itself; the frame that was sent is written again and compared whole.
    #[inline]
    fn judge_echo(&self, frame: &[u8]) -> Result<Tuple, ReplyFault> {
        let Offsets {
            v6, source, tcp, ..
        } = self.offsets;
        let len = self.syn.len();
        if frame.len() != len {
            return Err(ReplyFault::Truncated);
        }
        if frame[..14] != self.link {
            return Err(ReplyFault::Mac);
        }
        let mut address = [0; 16];
        let width = if v6 { 16 } else { 4 };
        address[16 - width..].copy_from_slice(&frame[source..source + width]);
        let local = Source {
            address: u128::from_be_bytes(address),
            port: u16::from_be_bytes([frame[tcp], frame[tcp + 1]]),
        };
        let tuple = self
            .space
            .find(local, self.endpoint)
            .map_err(|_| ReplyFault::Echo)?;
        let mut sent = [0; MAX_LEN];
        let numbers = self.space.numbers(tuple.index, 0);
        self.syn.write(&mut sent[..len], local, numbers);
        if frame[14..] != sent[14..len] {
            return Err(ReplyFault::Echo);
        }
        Ok(tuple)
    }
}

/// ARP, or ICMPv6 (neighbour discovery).
#[cold]
fn is_housekeeping(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some(ethertype) if ethertype == ETHERTYPE_ARP => true,
        Some(ethertype) if ethertype == ETHERTYPE_IPV6 => {
            frame.get(IP + 6) == Some(&PROTOCOL_ICMPV6)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
