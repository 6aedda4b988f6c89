//! [`Tape`]: a capture written down in the segment language.
//!
//! It must never judge.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use stack::seq::SeqNum;
use stack::tcp::lang::{Base, Spec};
use stack::wire::{Link, MacAddr, SegmentSpec};

use crate::analysis::{Analysis, Limits};
use crate::capture;
use crate::side::End;
use crate::situation::{Certainty, Situation};

/// The ISS of the client, just below the wrap, and that of the server.
const ISS: [SeqNum; 2] = [SeqNum(u32::MAX - 5), SeqNum(7_000)];
const MS: u64 = 1_000_000;
/// When tapes begin, in ns since 1970.
pub(crate) const START_NS: u64 = 1_700_000_000_000_000_000;

/// Frames with their times.
#[derive(Clone)]
pub(crate) struct Tape {
    pub(crate) frames: Vec<(u64, Vec<u8>)>,
    ends: [SocketAddr; 2],
    hops: [u8; 2],
}

impl Tape {
    pub(crate) fn new() -> Self {
        Self::between("198.18.0.1:40001", "198.18.0.2:81")
    }

    pub(crate) fn between(client: &str, server: &str) -> Self {
        Self {
            frames: Vec::new(),
            ends: [client, server].map(|end| end.parse().expect("an address and a port")),
            hops: [64; 2],
        }
    }

    /// From now on that end's segments have this TTL.
    pub(crate) fn hops(mut self, end: End, hops: u8) -> Self {
        self.hops[end as usize] = hops;
        self
    }

    /// The same capture goes on with another connection.
    pub(crate) fn then_from(mut self, client: &str) -> Self {
        self.ends[0] = client.parse().expect("an address and a port");
        self
    }

    pub(crate) fn client(self, at_ms: u64, spec: Spec) -> Self {
        self.segment(at_ms, End::Client, spec)
    }

    pub(crate) fn server(self, at_ms: u64, spec: Spec) -> Self {
        self.segment(at_ms, End::Server, spec)
    }

    /// SYN, SYN-ACK, ACK within a millisecond.
    pub(crate) fn handshake(self) -> Self {
        use stack::tcp::lang::{ack, syn, syn_ack};
        self.client(0, syn().seq(0).mss(1460).win(64_000))
            .server(0, syn_ack().seq(0).ack(1).mss(1460).win(64_000))
            .client(1, ack().seq(1).ack(1).win(64_000))
    }

    fn segment(mut self, at_ms: u64, from: End, spec: Spec) -> Self {
        let base = Base {
            sender_iss: ISS[from as usize],
            receiver_iss: ISS[from.other() as usize],
        };
        let spec = if spec.window.is_none() && !spec.flags.rst() {
            spec.win(64_000)
        } else {
            spec
        };
        let segment = spec.to_segment(base);
        let payload: Vec<u8> = (0..spec.payload_len).map(|n| n as u8).collect();
        let options = segment.options.to_bytes();
        let link = Link {
            dst: MacAddr([2, 0, 0, 0, 0, 2]),
            src: MacAddr([2, 0, 0, 0, 0, 1]),
            vlan: None,
        };
        let (src, dst) = (self.ends[from as usize], self.ends[from.other() as usize]);
        let spec = SegmentSpec {
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            options: options.as_padded(),
            payload: &payload,
            ..SegmentSpec::new(link, src, dst)
        };
        let mut bytes = vec![0; 70_000];
        let len = spec.emit(&mut bytes).expect("it fits");
        bytes.truncate(len);
        let ttl = if src.is_ipv4() { 22 } else { 21 };
        let changed = self.hops[from as usize] != bytes[ttl];
        if changed && src.is_ipv4() {
            let old = u16::from_be_bytes([bytes[22], bytes[23]]);
            bytes[22] = self.hops[from as usize];
            let new = u16::from_be_bytes([bytes[22], bytes[23]]);
            let sum = u16::from_be_bytes([bytes[24], bytes[25]]);
            let sum = stack::wire::checksum::update(sum.into(), old.into(), new.into());
            bytes[24..26].copy_from_slice(&sum.get().to_be_bytes());
        }
        self.frames.push((START_NS + at_ms * MS, bytes));
        self
    }

    /// A segment of the server with a SACK block of relative numbers.
    pub(crate) fn sacks(mut self, at_ms: u64, spec: Spec, from: u32, to: u32) -> Self {
        self = self.server(at_ms, spec);
        let (_, bytes) = self.frames.last_mut().expect("a frame");
        let numbers = [from, to].map(|number| ISS[0].add(number).0.to_be_bytes());
        bytes.truncate(54);
        bytes.extend([1, 1, 5, 10]);
        bytes.extend(numbers.concat());
        // Three words more in the TCP header; the checksums are no longer right, so they are cut off.
        bytes[46] = 0x80;
        bytes[17] += 12;
        let sum = u16::from_be_bytes([bytes[24], bytes[25]]);
        let old = u16::from_be_bytes([bytes[16], bytes[17] - 12]);
        let new = u16::from_be_bytes([bytes[16], bytes[17]]);
        let sum = stack::wire::checksum::update(sum.into(), old.into(), new.into());
        bytes[24..26].copy_from_slice(&sum.get().to_be_bytes());
        self
    }

    /// A frame that isn't TCP.
    pub(crate) fn frame(mut self, at_ms: u64, bytes: &[u8]) -> Self {
        self.frames.push((START_NS + at_ms * MS, bytes.to_vec()));
        self
    }

    /// An ARP request of the client for the server.
    pub(crate) fn asks(self, at_ms: u64) -> Self {
        let (IpAddr::V4(client), IpAddr::V4(server)) = (self.ends[0].ip(), self.ends[1].ip())
        else {
            panic!("ARP is for IPv4");
        };
        let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6];
        bytes.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1]);
        bytes.extend(client.octets());
        bytes.extend([0; 6]);
        bytes.extend(server.octets());
        self.frame(at_ms, &bytes)
    }

    /// As pcap with µs, Ethernet, cut at `snaplen`.
    pub(crate) fn pcap(&self, snaplen: usize) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            file.extend(word.to_le_bytes());
        }
        for (at_ns, bytes) in &self.frames {
            let kept = &bytes[..bytes.len().min(snaplen)];
            let (s, us) = (at_ns / 1_000_000_000, at_ns / 1_000 % 1_000_000);
            for word in [s as u32, us as u32, kept.len() as u32, bytes.len() as u32] {
                file.extend(word.to_le_bytes());
            }
            file.extend(kept);
        }
        file
    }

    /// Its outcome.
    pub(crate) fn analysis(&self, limits: Limits) -> Analysis {
        read(&self.pcap(usize::MAX), limits)
    }

    /// The verdict on its only connection.
    pub(crate) fn verdict(&self) -> (Situation, Certainty, Option<End>) {
        let analysis = self.analysis(Limits::default());
        let judged = analysis.judged();
        assert_eq!(judged.len(), 1, "connections");
        let verdict = judged[0].verdict;
        (verdict.situation, verdict.certainty, verdict.end)
    }
}

/// Reads a capture that is whole.
pub(crate) fn read(file: &[u8], limits: Limits) -> Analysis {
    let mut analysis = Analysis::new(limits);
    let summary = capture::read(file, |frame| {
        analysis.take(&frame);
        ControlFlow::Continue(())
    });
    assert_eq!(summary.expect("a capture").damage, None);
    analysis
}
