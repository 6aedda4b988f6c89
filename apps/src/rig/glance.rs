//! [`glance`]: the ends and the kind of a TCP frame, from its headers alone.
//!
//! It must never check what it reads: it is for counting and for telling frames apart, on a worker's path.

use std::net::{IpAddr, SocketAddr};

use stack::wire::tcp::Flags;

/// A kind of TCP frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    SynAck,
    Fin,
    Rst,
    Data,
    Ack,
}

/// All kinds, with their names.
pub(crate) const KINDS: [(Kind, &str); 6] = [
    (Kind::Syn, "syn"),
    (Kind::SynAck, "syn_ack"),
    (Kind::Data, "data"),
    (Kind::Ack, "ack"),
    (Kind::Fin, "fin"),
    (Kind::Rst, "rst"),
];

const TAGS: [u16; 2] = [0x8100, 0x88a8];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;

/// A TCP frame, as far as its headers show at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance {
    /// By whom and to whom.
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) kind: Kind,
    /// In bytes.
    pub(crate) payload_len: usize,
}

/// Looks at a frame; `None` when it carries no TCP. IPv6 extension headers are not read, and no checksum.
pub(crate) fn glance(frame: &[u8]) -> Option<Glance> {
    let u16_at = |at: usize| {
        let bytes = frame.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let (mut ethertype, mut at) = (u16_at(12)?, 14);
    while TAGS.contains(&ethertype) {
        (ethertype, at) = (u16_at(at + 2)?, at + 4);
    }
    let v4_at = |at: usize| {
        let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let v6_at = |at: usize| {
        let bytes: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let (tcp_at, tcp_len, src, dst) = match ethertype {
        IPV4 => {
            let header_len = usize::from(frame.get(at)? & 0x0f) * 4;
            let is_fragment = u16_at(at + 6)? & 0x1fff != 0;
            if *frame.get(at + 9)? != TCP || is_fragment {
                return None;
            }
            let total_len = usize::from(u16_at(at + 2)?);
            let tcp_len = total_len.checked_sub(header_len)?;
            (at + header_len, tcp_len, v4_at(at + 12)?, v4_at(at + 16)?)
        }
        IPV6 if *frame.get(at + 6)? == TCP => {
            let tcp_len = usize::from(u16_at(at + 4)?);
            (at + 40, tcp_len, v6_at(at + 8)?, v6_at(at + 24)?)
        }
        _ => return None,
    };
    let header_len = usize::from(frame.get(tcp_at + 12)? >> 4) * 4;
    let payload_len = tcp_len.checked_sub(header_len)?;
    let flags = Flags(*frame.get(tcp_at + 13)?);
    let has = |flag: Flags| flags.0 & flag.0 != 0;
    let kind = if has(Flags::RST) {
        Kind::Rst
    } else if has(Flags::SYN) && has(Flags::ACK) {
        Kind::SynAck
    } else if has(Flags::SYN) {
        Kind::Syn
    } else if has(Flags::FIN) {
        Kind::Fin
    } else if payload_len > 0 {
        Kind::Data
    } else {
        Kind::Ack
    };
    Some(Glance {
        src: SocketAddr::new(src, u16_at(tcp_at)?),
        dst: SocketAddr::new(dst, u16_at(tcp_at + 2)?),
        kind,
        payload_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with these flags and so many bytes of payload, over IPv4 with `tags` VLAN tags.
    fn frame(flags: u8, payload: &[u8], tags: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 5]);
        }
        frame.extend([8, 0]);
        let mut ip = vec![0; 20];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&(40 + payload.len() as u16).to_be_bytes());
        ip[9] = TCP;
        frame.extend(ip);
        let mut tcp = vec![0; 20];
        tcp[12] = 0x50;
        tcp[13] = flags;
        frame.extend(tcp);
        frame.extend(payload);
        // Ethernet pads short frames.
        frame.resize(frame.len().max(60), 0);
        frame
    }

    #[test]
    fn frames_are_told_apart_by_their_headers_and_padding_is_no_payload() {
        for (flags, payload, kind) in [
            (0x02, &b""[..], Kind::Syn),
            (0x12, b"", Kind::SynAck),
            (0x10, b"", Kind::Ack),
            (0x18, b"GET", Kind::Data),
            (0x19, b"end", Kind::Fin),
            (0x14, b"", Kind::Rst),
        ] {
            for tags in 0..3 {
                let seen = glance(&frame(flags, payload, tags));
                let seen = seen.map(|seen| (seen.kind, seen.payload_len));
                assert_eq!(seen, Some((kind, payload.len())), "{flags:#x} {tags}");
            }
        }
        let whole = frame(0x18, b"GET", 0);
        for len in 0..48 {
            assert_eq!(glance(&whole[..len]), None, "{len}");
        }
        let mut udp = whole;
        udp[23] = 17;
        assert_eq!(glance(&udp), None);
    }
}
