//! [`Observer`]: what one worker of an arm sends and receives: frames by kind, and the handshakes of the first connections in full.
//!
//! It must never change a frame, and takes memory for a bounded number of connections only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use diagnose::capture::Frame as Captured;
use diagnose::dissect::{Content, TcpFrame, dissect};
use diagnose::link_type::LinkType;
use dpdk::{Instrument, Mbuf};
use stack::nic::{BURST_FRAMES, Frame as _};

use super::TUPLE_HEADER;
use crate::rig::glance::{KINDS, Kind, glance};

/// Connections whose handshakes one worker keeps.
const HANDSHAKES_MAX: usize = 1024;
/// Bytes of a frame that are looked at.
const LOOKED_AT: usize = 2048;

/// Which end of a connection an arm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::load) enum Arm {
    Clients,
    Servers,
}

/// TCP frames by kind; a FIN or RST with data counts as such, with its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::load) struct FrameCounts {
    by_kind: [u64; KINDS.len()],
    pub(super) payload_bytes: u64,
}

impl FrameCounts {
    fn add(&mut self, (kind, payload_len): (Kind, usize)) {
        self.by_kind[kind as usize] += 1;
        self.payload_bytes += payload_len as u64;
    }

    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.by_kind[kind as usize]
    }

    fn merge(&mut self, other: &Self) {
        for (mine, others) in self.by_kind.iter_mut().zip(other.by_kind) {
            *mine += others;
        }
        self.payload_bytes += other.payload_bytes;
    }
}

/// One side's SYN or SYN-ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) isn: u32,
    pub(super) mss: Option<u16>,
    pub(super) window_scale: Option<u8>,
    pub(super) has_sack: bool,
    pub(super) has_timestamps: bool,
    pub(super) window: u16,
    /// TTL or hop limit.
    pub(super) hops: u8,
}

impl Opening {
    fn of(tcp: &TcpFrame) -> Self {
        let segment = &tcp.segment;
        Self {
            isn: segment.seq.0,
            mss: segment.options.mss,
            window_scale: segment.options.window_scale,
            has_sack: segment.options.sack_permitted,
            has_timestamps: segment.options.timestamps.is_some(),
            window: segment.window,
            hops: tcp.hops,
        }
    }
}

/// A connection as one arm saw it begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) syn: Opening,
    pub(super) syn_ack: Option<Opening>,
    /// The client's end and the server's, as a request on it says that they were at the clients' arm.
    pub(super) original: Option<(SocketAddr, SocketAddr)>,
}

/// The observations of an arm.
#[derive(Debug, Clone, Default)]
pub(in crate::load) struct ArmRecord {
    pub(super) sent: FrameCounts,
    pub(super) received: FrameCounts,
    pub(super) handshakes: Vec<Handshake>,
}

impl ArmRecord {
    /// Adds what another worker of the same arm has seen.
    pub(in crate::load) fn merge(&mut self, other: Self) {
        self.sent.merge(&other.sent);
        self.received.merge(&other.received);
        self.handshakes.extend(other.handshakes);
    }
}

/// The records of all workers of both arms.
#[derive(Debug)]
pub(in crate::load) struct ArmRecords {
    pub(in crate::load) clients: Vec<Arc<Mutex<ArmRecord>>>,
    pub(in crate::load) servers: Vec<Arc<Mutex<ArmRecord>>>,
}

impl ArmRecords {
    /// For so many workers at each arm.
    pub(in crate::load) fn new(workers: u16) -> Self {
        let records = || (0..workers).map(|_| Arc::default()).collect();
        Self {
            clients: records(),
            servers: records(),
        }
    }

    /// The observations of the clients' arm, and of the servers'. Their workers have ended.
    pub(in crate::load) fn merged(&self) -> (ArmRecord, ArmRecord) {
        let all = |records: &[Arc<Mutex<ArmRecord>>]| {
            let mut sum = ArmRecord::default();
            for record in records {
                sum.merge(
                    record
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clone(),
                );
            }
            sum
        };
        (all(&self.clients), all(&self.servers))
    }
}

/// Shows the frames of one worker to its record.
#[derive(Debug)]
pub(in crate::load) struct Observer {
    arm: Arm,
    record: Arc<Mutex<ArmRecord>>,
    index: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Frames that were offered to the NIC.
    offered: Vec<Option<(Kind, usize)>>,
    scratch: Box<[u8]>,
}

impl Observer {
    /// An observer at `arm`; what it sees stands in `record` once its NIC is gone.
    pub(in crate::load) fn new(arm: Arm, record: Arc<Mutex<ArmRecord>>) -> Self {
        Self {
            arm,
            record,
            index: HashMap::with_capacity(HANDSHAKES_MAX),
            offered: Vec::with_capacity(BURST_FRAMES),
            scratch: vec![0; LOOKED_AT].into(),
        }
    }

    /// A frame whose handshake or first request may be worth keeping.
    fn look(&mut self, record: &mut ArmRecord, frame: &Mbuf, kind: Kind) {
        let is_new = kind == Kind::Syn && self.index.len() < HANDSHAKES_MAX;
        let tells = kind == Kind::SynAck || (kind == Kind::Data && self.arm == Arm::Servers);
        if !is_new && !tells {
            return;
        }
        let len = frame.copy_out(0, &mut self.scratch);
        let bytes = &self.scratch[..len];
        let captured = Captured {
            at_ns: 0,
            bytes,
            original_len: u32::try_from(frame.total_len()).unwrap_or(u32::MAX),
            link: Some(LinkType::Ethernet),
        };
        let Content::Tcp(tcp) = dissect(&captured) else {
            return;
        };
        let (src, dst) = (
            SocketAddr::new(tcp.src.ip, tcp.src.port),
            SocketAddr::new(tcp.dst.ip, tcp.dst.port),
        );
        match kind {
            Kind::Syn => {
                let place = record.handshakes.len();
                if self.index.insert((src, dst), place).is_none() {
                    record.handshakes.push(Handshake {
                        client: src,
                        server: dst,
                        syn: Opening::of(&tcp),
                        syn_ack: None,
                        original: None,
                    });
                }
            }
            Kind::SynAck => {
                let handshake = self.index.get(&(dst, src));
                if let Some(handshake) = handshake.and_then(|&at| record.handshakes.get_mut(at)) {
                    handshake.syn_ack.get_or_insert(Opening::of(&tcp));
                }
            }
            _ => {
                let handshake = self.index.get(&(src, dst));
                if let Some(handshake) = handshake.and_then(|&at| record.handshakes.get_mut(at))
                    && handshake.original.is_none()
                {
                    handshake.original = tuple_in(bytes);
                }
            }
        }
    }

    fn each(&mut self, frames: &[Mbuf], is_sent: bool) {
        let record = Arc::clone(&self.record);
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in frames {
            let glance = glance(frame.bytes()).map(|seen| (seen.kind, seen.payload_len));
            if is_sent {
                self.offered.push(glance);
            } else if let Some(seen) = glance {
                record.received.add(seen);
            }
            if let Some((kind, _)) = glance {
                self.look(&mut record, frame, kind);
            }
        }
    }
}

impl Instrument for Observer {
    fn rx(&mut self, frames: &[Mbuf]) {
        self.each(frames, false);
    }

    fn tx(&mut self, frames: &[Mbuf]) {
        self.each(frames, true);
    }

    fn tx_done(&mut self, refused: usize) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.offered.len().saturating_sub(refused);
        for seen in self.offered.drain(..).take(sent).flatten() {
            record.sent.add(seen);
        }
    }
}

/// The tuple that a request carries in its header, in whatever case a proxy writes names.
fn tuple_in(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let name = TUPLE_HEADER.as_bytes();
    let at = bytes
        .windows(name.len())
        .position(|window| window.eq_ignore_ascii_case(name))?;
    let rest = bytes.get(at + name.len()..)?.strip_prefix(b":")?;
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let value = std::str::from_utf8(rest.get(..end)?).ok()?;
    let (client, server) = value.trim().split_once('>')?;
    Some((client.parse().ok()?, server.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tuple_of_a_request_is_read_as_proxies_write_it() {
        let ends = |text: &str| tuple_in(text.as_bytes());
        let client: SocketAddr = "198.18.0.2:1024".parse().expect("an address");
        let server: SocketAddr = "198.18.1.2:80".parse().expect("an address");
        for name in ["Syncline-Tuple", "syncline-tuple"] {
            let text = format!("GET / HTTP/1.1\r\n{name}: {client}>{server}\r\nX: y\r\n\r\n");
            assert_eq!(ends(&text), Some((client, server)));
        }
        assert_eq!(ends("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), None);
        assert_eq!(ends("Syncline-Tuple: nonsense\r\n"), None);
        assert_eq!(ends("Syncline-Tuple: 1.2.3.4:5>"), None);
    }
}
