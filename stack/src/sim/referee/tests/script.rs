//! [`Script`]: frames written by hand, sent and delivered at given times, and the rules that they break.

use core::time::Duration;

use crate::sim::host::HostId;
use crate::sim::referee::segment::{ACK, FIN, RST, SYN};
use crate::sim::referee::{Bounds, Referee, Rule};
use crate::time::Instant;

/// The client's ISS: its numbers wrap.
const ISS: [u32; 2] = [u32::MAX - 500, 7_000];

/// The MSS that both SYNs announce.
pub(super) const MSS: u32 = 1000;

/// A byte of either stream, by its place.
fn byte_at(place: u32) -> u8 {
    (place ^ (place >> 8)) as u8
}

/// The promises of both hosts' settings.
pub(super) fn bounds() -> Bounds {
    Bounds {
        rto_initial: Duration::from_secs(1),
        rto_min: Duration::from_secs(1),
        rto_max: Duration::from_secs(60),
        syn_ack_rto: Duration::from_secs(1),
        challenge_interval: Duration::from_millis(500),
        has_large_initial_window: true,
        mss_min: 36,
    }
}

/// A segment of a side: numbers count from the ISS of their streams.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) side: usize,
    pub(super) at: u32,
    pub(super) ack: Option<u32>,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) text: Vec<u8>,
    /// Options besides timestamps.
    pub(super) options: Vec<u8>,
    pub(super) timestamps: Option<[u32; 2]>,
    /// Added to the ISS: another incarnation.
    pub(super) incarnation: u32,
}

impl Said {
    /// `len` bytes of text from `at` on.
    pub(super) fn text(side: usize, at: u32, len: u32, ack: u32) -> Self {
        Self {
            side,
            at,
            ack: Some(ack),
            flags: ACK,
            window: 1000,
            text: (at..at + len).map(byte_at).collect(),
            options: Vec::new(),
            timestamps: None,
            incarnation: 0,
        }
    }

    pub(super) fn ack(side: usize, at: u32, ack: u32) -> Self {
        Self::text(side, at, 0, ack)
    }

    pub(super) fn syn(side: usize) -> Self {
        Self {
            flags: SYN | if side == 1 { ACK } else { 0 },
            ack: (side == 1).then_some(1),
            window: 60_000,
            // MSS, no operation, window scale 6.
            options: vec![2, 4, (MSS >> 8) as u8, MSS as u8, 1, 3, 3, 6],
            ..Self::text(side, 0, 0, 0)
        }
    }

    pub(super) fn fin(side: usize, at: u32, ack: u32) -> Self {
        Self {
            flags: ACK | FIN,
            ..Self::ack(side, at, ack)
        }
    }

    pub(super) fn reset(side: usize, at: u32, ack: u32) -> Self {
        Self {
            flags: ACK | RST,
            ..Self::ack(side, at, ack)
        }
    }

    pub(super) fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    pub(super) fn timestamps(self, tsval: u32, tsecr: u32) -> Self {
        Self {
            timestamps: Some([tsval, tsecr]),
            ..self
        }
    }

    /// SACK blocks of places.
    pub(super) fn sack(mut self, blocks: &[[u32; 2]]) -> Self {
        let iss = ISS[1 - self.side];
        self.options = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
        for edge in blocks.iter().flatten() {
            let number = iss.wrapping_add(*edge);
            self.options.extend(number.to_be_bytes());
        }
        self
    }

    /// As a frame, without checksums: no rule asks for them.
    pub(super) fn frame(&self) -> Vec<u8> {
        let (own, peer) = (self.side, 1 - self.side);
        let mut options = self.options.clone();
        if let Some([tsval, tsecr]) = self.timestamps {
            options.extend([1, 1, 8, 10]);
            options.extend([tsval.to_be_bytes(), tsecr.to_be_bytes()].concat());
        }
        let header_len = 20 + options.len();
        let total_len = (20 + header_len + self.text.len()) as u16;
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(total_len.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([198, 18, 0, 1 + own as u8, 198, 18, 0, 1 + peer as u8]);
        frame.extend([40 + own as u8, 0, 40 + peer as u8, 0]);
        let seq = ISS[own]
            .wrapping_add(self.incarnation)
            .wrapping_add(self.at);
        let ack = self.ack.map_or(0, |ack| ISS[peer].wrapping_add(ack));
        frame.extend(seq.to_be_bytes());
        frame.extend(ack.to_be_bytes());
        frame.extend([(header_len as u8 / 4) << 4, self.flags]);
        frame.extend(self.window.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(options);
        frame.extend(&self.text);
        frame
    }
}

/// A referee and what it has found.
pub(super) struct Script {
    pub(super) referee: Referee,
    now: Instant,
    pub(super) found: Vec<Rule>,
}

#[allow(clippy::needless_pass_by_value)] // A script is read best with each segment where it is sent.
impl Script {
    pub(super) fn new() -> Self {
        let mut referee = Referee::default();
        for host in [0, 1] {
            referee.on_power_on(HostId(host), bounds());
        }
        Self {
            referee,
            now: Instant::from_ms(10_000),
            found: Vec::new(),
        }
    }

    /// After the handshake; both windows are 64,000 bytes.
    pub(super) fn open() -> Self {
        let mut script = Self::new();
        script.pass(Said::syn(0)).pass(Said::syn(1));
        script.pass(Said::ack(0, 1, 1));
        script
    }

    /// After a handshake with timestamps: the client's clock shows 100, the server's 900.
    pub(super) fn open_with_timestamps() -> Self {
        let mut script = Self::new();
        script.pass(Said::syn(0).timestamps(100, 0));
        script.pass(Said::syn(1).timestamps(900, 100));
        script.pass(Said::ack(0, 1, 1).timestamps(100, 900));
        script
    }

    pub(super) fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(ms);
        self
    }

    /// This side's host asks for a neighbour's address.
    pub(super) fn ask(&mut self, side: u16) -> &mut Self {
        let question = [[0xff; 12].as_slice(), &[8, 6], &[0; 28]].concat();
        self.referee.on_sent(self.now, HostId(side), &question);
        self
    }

    /// It is sent, and gets lost.
    pub(super) fn lose(&mut self, said: Said) -> &mut Self {
        let host = HostId(said.side as u16);
        let broken = self.referee.on_sent(self.now, host, &said.frame());
        self.found
            .extend(broken.into_iter().map(|broken| broken.rule));
        self
    }

    /// It is sent, and arrives.
    pub(super) fn pass(&mut self, said: Said) -> &mut Self {
        self.lose(said.clone());
        self.arrive(said)
    }

    /// A copy of what was sent before arrives.
    pub(super) fn arrive(&mut self, said: Said) -> &mut Self {
        self.referee.on_delivered(self.now, &said.frame(), false);
        self
    }

    /// It arrives, and its sender never sent it.
    pub(super) fn forge(&mut self, said: Said) -> &mut Self {
        self.referee.on_delivered(self.now, &said.frame(), true);
        self
    }

    /// It is broken in this way and in no other.
    #[track_caller]
    pub(super) fn breaks(&self, rule: Rule) {
        assert_eq!(self.found, [rule]);
    }

    /// It breaks nothing.
    #[track_caller]
    pub(super) fn is_right(&self) {
        assert_eq!(self.found, []);
    }
}
