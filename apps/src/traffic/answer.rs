//! [`Answer`]: what a flood says to a SYN-ACK, written into the buffer that brought it.
//!
//! It must never answer a segment that no frame of ours asked for.

use stack::nic::Frame;

use super::template::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, FLAG_ACK, FLAG_RST, IP, Offsets, PROTOCOL_TCP, folded, sum,
};

/// The answer to a SYN-ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Answer {
    /// A reset, as from a host that asked for nothing: `<SEQ=SEG.ACK><CTL=RST>`
    Rst,
    /// The last ACK of the handshake; one with a wrong ack gets a reset
    Complete,
    /// Nothing
    Nothing,
}

impl Answer {
    /// As it stands on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rst => "rst",
            Self::Complete => "complete",
            Self::Nothing => "nothing",
        }
    }
}

/// The numbers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// A bare reset with this sequence number.
    Reset {
        /// SEG.ACK of what it answers.
        seq: u32,
    },
    /// The last ACK of a handshake.
    Ack {
        /// SEG.ACK of the SYN-ACK.
        seq: u32,
        /// SEG.SEQ of the SYN-ACK plus 1.
        ack: u32,
        /// TSval and TSecr, when both sides have timestamps.
        timestamps: Option<(u32, u32)>,
    },
}

/// Bytes of a timestamps option behind two NOPs (RFC 7323 appendix A).
const TIMESTAMPS_LEN: usize = 12;
/// Ethernet's shortest frame without FCS, in bytes.
const MIN_LEN: usize = 60;

/// Turns a received segment, whose TCP header is at `tcp_at`, into the answer to it. False when its buffer is not ours to
/// change.
pub(super) fn write<F: Frame>(
    frame: &mut F,
    tcp_at: usize,
    reply: Reply,
    (ttl, window): (u8, u16),
) -> bool {
    let Some((link, ends)) = ends(frame.bytes(), tcp_at) else {
        return false;
    };
    let Offsets { tcp, source, .. } = Offsets::of(ends.v6);
    let timestamps = match reply {
        Reply::Ack { timestamps, .. } => timestamps,
        Reply::Reset { .. } => None,
    };
    let tcp_len = 20 + timestamps.map_or(0, |_| TIMESTAMPS_LEN);
    let end = tcp + tcp_len;
    if frame.set_len(end.max(MIN_LEN)).is_err() {
        return false;
    }
    let Some(bytes) = frame.bytes_mut() else {
        return false;
    };
    bytes.fill(0);
    bytes[..12].copy_from_slice(&link);
    let width = if ends.v6 { 16 } else { 4 };
    bytes[source..source + width].copy_from_slice(&ends.from[..width]);
    bytes[source + width..source + 2 * width].copy_from_slice(&ends.to[..width]);
    if ends.v6 {
        bytes[12..14].copy_from_slice(&ETHERTYPE_IPV6);
        bytes[IP] = 0x60;
        bytes[IP + 4..IP + 6].copy_from_slice(&(tcp_len as u16).to_be_bytes());
        bytes[IP + 6..IP + 8].copy_from_slice(&[PROTOCOL_TCP, ttl]);
    } else {
        bytes[12..14].copy_from_slice(&ETHERTYPE_IPV4);
        bytes[IP] = 0x45;
        bytes[IP + 2..IP + 4].copy_from_slice(&(20 + tcp_len as u16).to_be_bytes());
        bytes[IP + 6] = 0x40; // don't fragment
        bytes[IP + 8..IP + 10].copy_from_slice(&[ttl, PROTOCOL_TCP]);
        let checksum = folded(sum(&bytes[IP..tcp]));
        bytes[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
    }
    write_tcp(&mut bytes[tcp..end], ends.ports, reply, window);
    let pseudo = sum(&bytes[source..source + 2 * width]) + u64::from(PROTOCOL_TCP) + tcp_len as u64;
    let checksum = folded(pseudo + sum(&bytes[tcp..end]));
    bytes[tcp + 16..tcp + 18].copy_from_slice(&checksum.to_be_bytes());
    true
}

fn write_tcp(tcp: &mut [u8], ports: [u8; 4], reply: Reply, window: u16) {
    tcp[..4].copy_from_slice(&ports);
    let words = (tcp.len() / 4) as u8;
    match reply {
        Reply::Reset { seq } => {
            tcp[4..8].copy_from_slice(&seq.to_be_bytes());
            tcp[12..14].copy_from_slice(&[words << 4, FLAG_RST]);
        }
        Reply::Ack {
            seq,
            ack,
            timestamps,
        } => {
            tcp[4..8].copy_from_slice(&seq.to_be_bytes());
            tcp[8..12].copy_from_slice(&ack.to_be_bytes());
            tcp[12..14].copy_from_slice(&[words << 4, FLAG_ACK]);
            tcp[14..16].copy_from_slice(&window.to_be_bytes());
            if let Some((tsval, tsecr)) = timestamps {
                tcp[20..24].copy_from_slice(&[1, 1, 8, 10]);
                tcp[24..28].copy_from_slice(&tsval.to_be_bytes());
                tcp[28..32].copy_from_slice(&tsecr.to_be_bytes());
            }
        }
    }
}

/// Both ends of an answer, as bytes.
struct Ends {
    v6: bool,
    from: [u8; 16],
    to: [u8; 16],
    ports: [u8; 4],
}

/// The link addresses and the ends of the answer to `frame`: its own, the other way round.
fn ends(frame: &[u8], tcp_at: usize) -> Option<([u8; 12], Ends)> {
    let mut link = [0; 12];
    link[..6].copy_from_slice(frame.get(6..12)?);
    link[6..].copy_from_slice(frame.get(..6)?);
    let v6 = frame.get(12..14)? == ETHERTYPE_IPV6;
    let Offsets { source, .. } = Offsets::of(v6);
    let width = if v6 { 16 } else { 4 };
    let (mut from, mut to) = ([0; 16], [0; 16]);
    to[..width].copy_from_slice(frame.get(source..source + width)?);
    from[..width].copy_from_slice(frame.get(source + width..source + 2 * width)?);
    let ports = frame.get(tcp_at..tcp_at + 4)?;
    let ports = [ports[2], ports[3], ports[0], ports[1]];
    Some((
        link,
        Ends {
            v6,
            from,
            to,
            ports,
        },
    ))
}
