//! [`Watcher`]: reads the frames of an attempt as they pass the NIC, into a [`Sight`].
//!
//! It must never change or keep a frame.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk::{Instrument, Mbuf};
use stack::icmp::parse_error;
use stack::nic::Frame as _;
use stack::wire::{Network, Parsed, Transport, icmpv6, parse};

use super::super::attempt::{Cause, SeenFrames};

/// Neighbour solicitation (RFC 4861 4.3).
const SOLICITATION: u8 = 135;

/// The observations of an attempt, and its number.
#[derive(Debug, Default)]
pub(super) struct Sight {
    target: Option<SocketAddr>,
    seen: SeenFrames,
}

impl Sight {
    /// From now on frames count that are about this target.
    pub(super) fn begin(&mut self, target: SocketAddr) {
        *self = Self {
            target: Some(target),
            seen: SeenFrames::default(),
        };
    }

    /// The observations since.
    pub(super) fn seen(&self) -> SeenFrames {
        self.seen
    }

    fn sent(&mut self, frame: &[u8]) {
        let Ok(parsed) = parse(frame) else { return };
        match (parsed.network, parsed.transport()) {
            (Network::Arp(packet), _) if packet.is_request() && !packet.is_announcement() => {
                self.seen.questions = self.seen.questions.saturating_add(1);
            }
            (_, Some(Transport::Icmpv6(message))) if message.header.kind == SOLICITATION => {
                self.seen.questions = self.seen.questions.saturating_add(1);
            }
            (_, Some(Transport::Tcp(tcp))) => {
                let flags = tcp.header.flags;
                if flags.syn() && !flags.ack() && self.is_target(tcp.header.dst_port.get()) {
                    self.seen.syns = self.seen.syns.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    fn received(&mut self, frame: &[u8]) {
        let Ok(parsed) = parse(frame) else { return };
        let Some((from, ttl)) = origin(&parsed) else {
            return;
        };
        match parsed.transport() {
            Some(Transport::Tcp(tcp)) => {
                let is_its = self.target.is_some_and(|target| target.ip() == from)
                    && self.is_target(tcp.header.src_port.get());
                let flags = tcp.header.flags;
                if is_its && flags.rst() {
                    self.seen.reset.get_or_insert((flags.ack(), ttl));
                } else if is_its && flags.syn() && flags.ack() {
                    self.seen.syn_ack_ttl.get_or_insert(ttl);
                }
            }
            Some(Transport::Icmp(message)) => {
                self.error(&parsed, from, (message.header.kind, message.header.code));
            }
            Some(Transport::Icmpv6(message)) if message.header.kind < icmpv6::ECHO_REQUEST => {
                self.error(&parsed, from, (message.header.kind, message.header.code));
            }
            _ => {}
        }
    }

    fn error(&mut self, parsed: &Parsed<'_>, from: IpAddr, (kind, code): (u8, u8)) {
        let Ok(error) = parse_error(parsed) else {
            return;
        };
        let about = SocketAddr::new(error.quote.dst, error.quote.dst_port);
        if self.target == Some(about) {
            self.seen.icmp.get_or_insert(Cause {
                is_local: false,
                kind,
                code,
                from: Some(from),
            });
        }
    }

    fn is_target(&self, port: u16) -> bool {
        self.target.is_some_and(|target| target.port() == port)
    }
}

/// The sender, and the TTL or hop limit.
fn origin(parsed: &Parsed<'_>) -> Option<(IpAddr, u8)> {
    match parsed.network {
        Network::Ipv4 { packet, .. } => Some((packet.header.src_addr().into(), packet.header.ttl)),
        Network::Ipv6 { packet, .. } => {
            Some((packet.header.src_addr().into(), packet.header.hop_limit))
        }
        Network::Arp(_) => None,
    }
}

/// The NIC's instrument.
pub(super) struct Watcher {
    sight: Arc<Mutex<Sight>>,
}

impl Watcher {
    /// Notes into `sight`.
    pub(super) fn new(sight: Arc<Mutex<Sight>>) -> Self {
        Self { sight }
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        // No thread panics while holding it.
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instrument for Watcher {
    fn rx(&mut self, frames: &[Mbuf]) {
        let mut sight = self.sight();
        for frame in frames {
            sight.received(frame.bytes());
        }
    }

    fn tx(&mut self, frames: &[Mbuf]) {
        let mut sight = self.sight();
        for frame in frames {
            sight.sent(frame.bytes());
        }
    }

    fn tx_done(&mut self, refused: usize) {
        // Frames that are sent again would count twice: a NIC that refuses the few frames of an attempt is a broken one.
        let _ = refused;
    }
}
