//! [`Segment`]: what stands in a TCP segment of a frame, and between which ends it goes; read by code that shares nothing with
//! the stack.
//!
//! It must never trust a length: forged frames come here too.

use super::super::inspect::{self, Tcp};

/// FIN.
pub(super) const FIN: u8 = 0x01;
/// SYN.
pub(super) const SYN: u8 = 0x02;
/// RST.
pub(super) const RST: u8 = 0x04;
/// ACK.
pub(super) const ACK: u8 = 0x10;

/// Address (an IPv4 address mapped into IPv6) and port.
pub(super) type End = ([u8; 16], u16);

/// A connection's name: the VLAN and both ends, the lesser first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowName {
    pub(super) vlan: u16,
    pub(super) ends: [End; 2],
}

impl core::fmt::Display for FlowName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b] = self.ends.map(|(address, port)| {
            let address = core::net::Ipv6Addr::from(address).to_canonical();
            core::net::SocketAddr::new(address, port)
        });
        write!(f, "{a} {b}")?;
        match self.vlan {
            0 => Ok(()),
            vlan => write!(f, " in VLAN {vlan}"),
        }
    }
}

/// The options that the rules ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) mss: Option<u16>,
    /// The shift count, 14 at most (RFC 7323 §2.3).
    pub(super) scale: Option<u8>,
    /// TSval and TSecr.
    pub(super) timestamps: Option<[u32; 2]>,
    /// Left and right edge of each SACK block (RFC 2018 §3).
    pub(super) sack: [[u32; 2]; 4],
    pub(super) sack_blocks: usize,
    /// Bytes of all options, padding included.
    pub(super) len: usize,
}

impl Options {
    fn read(all: &[u8]) -> Self {
        let mut options = Self {
            len: all.len(),
            ..Self::default()
        };
        let mut left = all;
        loop {
            left = match left {
                [1, rest @ ..] => rest,
                [] | [0, ..] | [_] => return options,
                [kind, len, ..] => {
                    let Some((option, rest)) = left.split_at_checked(usize::from(*len)) else {
                        return options;
                    };
                    let Some(value) = option.get(2..) else {
                        return options;
                    };
                    options.take(*kind, value);
                    rest
                }
            }
        }
    }

    fn take(&mut self, kind: u8, value: &[u8]) {
        let be32 = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        match (kind, value) {
            (2, [high, low]) => self.mss = Some(u16::from_be_bytes([*high, *low])),
            (3, [shift]) => self.scale = Some((*shift).min(14)),
            (5, blocks) if blocks.len() % 8 == 0 => {
                self.sack_blocks = blocks.len() / 8;
                for (edges, block) in self.sack.iter_mut().zip(blocks.chunks(8)) {
                    *edges = [be32(&block[..4]), be32(&block[4..])];
                }
            }
            (8, clocks) if clocks.len() == 8 => {
                self.timestamps = Some([be32(&clocks[..4]), be32(&clocks[4..])]);
            }
            _ => {}
        }
    }

    /// The blocks of the SACK option.
    pub(super) fn sacked(&self) -> &[[u32; 2]] {
        &self.sack[..self.sack_blocks.min(self.sack.len())]
    }
}

/// The name of the connection whose packet lies at `ip` in a frame, and which of its ends sent it.
fn name(
    frame: &[u8],
    ip: usize,
    is_v6: bool,
    ports: [u16; 2],
    vlan: u16,
) -> Option<(FlowName, usize)> {
    let end = |n: usize| -> Option<End> {
        let mut address = [0; 16];
        if is_v6 {
            let at = ip + 8 + 16 * n;
            address.copy_from_slice(frame.get(at..at + 16)?);
        } else {
            let at = ip + 12 + 4 * n;
            address[10..12].fill(0xff);
            address[12..].copy_from_slice(frame.get(at..at + 4)?);
        }
        Some((address, ports[n]))
    };
    let mut ends = [end(0)?, end(1)?];
    let sender = usize::from(ends[0] > ends[1]);
    ends.sort_unstable();
    Some((FlowName { vlan, ends }, sender))
}

/// A TCP segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    /// The window field, unscaled.
    pub(super) window: u16,
    pub(super) options: Options,
    pub(super) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The segment in a frame, its connection's name and which of the two ends sent it; `None` for a frame that holds none.
    pub(super) fn read(frame: &'a [u8]) -> Option<(FlowName, usize, Self)> {
        let places = inspect::places(frame).ok()??;
        let tcp = Tcp::of(frame)?;
        let vlan = inspect::vlan(frame);
        let (name, sender) = name(frame, places.ip, places.is_v6, tcp.ports(), vlan)?;
        let segment = Self {
            seq: tcp.seq(),
            ack: tcp.ack(),
            flags: tcp.flags(),
            window: tcp.window(),
            options: Options::read(tcp.options()),
            payload: tcp.payload(),
        };
        Some((name, sender, segment))
    }

    /// Whether all of these control bits are set.
    pub(super) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// SEG.LEN: numbers that it occupies.
    pub(super) fn len(&self) -> u32 {
        let bits = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.payload.len() as u32 + bits
    }
}
