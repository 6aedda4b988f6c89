//! [`FloodFlags`]: which control bits the frames of a flood carry, and what a reply to them must acknowledge.
//!
//! It must never mean two things by one name: these are the names of hping3 and nmap.

use super::template::{FLAG_ACK, FLAG_FIN, FLAG_PSH, FLAG_RST, FLAG_SYN, FLAG_URG};

/// Control bits by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FloodFlags {
    /// SYN
    #[value(name = "S", alias = "s")]
    Syn,
    /// ACK
    #[value(name = "A", alias = "a")]
    Ack,
    /// FIN
    #[value(name = "F", alias = "f")]
    Fin,
    /// RST
    #[value(name = "R", alias = "r")]
    Rst,
    /// SYN and ACK: what a victim of spoofed SYNs sends
    #[value(name = "SA", alias = "sa")]
    SynAck,
    /// No bit
    #[value(name = "null")]
    Null,
    /// FIN, PSH and URG
    #[value(name = "xmas")]
    Xmas,
    /// All of these in turn, each tuple one of them
    #[value(name = "mix")]
    Mix,
}

impl FloodFlags {
    /// The control bits, one set or all of them.
    pub(crate) fn sets(self) -> &'static [u8] {
        const ALL: [u8; 7] = [
            FLAG_SYN,
            FLAG_ACK,
            FLAG_FIN,
            FLAG_RST,
            FLAG_SYN | FLAG_ACK,
            0,
            FLAG_FIN | FLAG_PSH | FLAG_URG,
        ];
        match self {
            Self::Syn => &ALL[..1],
            Self::Ack => &ALL[1..2],
            Self::Fin => &ALL[2..3],
            Self::Rst => &ALL[3..4],
            Self::SynAck => &ALL[4..5],
            Self::Null => &ALL[5..6],
            Self::Xmas => &ALL[6..7],
            Self::Mix => &ALL,
        }
    }

    /// As it stands on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Syn => "S",
            Self::Ack => "A",
            Self::Fin => "F",
            Self::Rst => "R",
            Self::SynAck => "SA",
            Self::Null => "null",
            Self::Xmas => "xmas",
            Self::Mix => "mix",
        }
    }
}

/// SEG.LEN of a segment without data: SYN and FIN count (RFC 9293 §3.4).
pub(super) const fn segment_len(flags: u8) -> u32 {
    (flags & FLAG_SYN != 0) as u32 + (flags & FLAG_FIN != 0) as u32
}
