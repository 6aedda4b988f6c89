//! Frames that we send on our own account, and the neighbours that they need: worker 0 resolves for all.
//!
//! Called by: the timer stage (retransmitted SYN-ACKs), the slow lane (what ARP and NDP say). It must never block on a
//! neighbour: frames wait in the table, bounded, and are counted when they are dropped.

use core::net::Ipv6Addr;

use super::Core;
use super::reply::TcpReply;
use crate::config::Config;
use crate::conn::FlowKey;
use crate::counters::Counter;
use crate::nic::Nic;
use crate::time::Instant;
use crate::wire::{MacAddr, arp, ndp};

/// Frames that resolving one neighbour can set free at once.
pub(super) const FRAMES_PER_RESOLUTION: usize = 4;

/// The neighbour table, on worker 0.
pub(super) struct Neighborhood<F> {
    waiting: Vec<F>,
}

impl<F> Neighborhood<F> {
    pub(super) fn new(_config: &Config, _mac: MacAddr, _is_first: bool) -> Self {
        Self {
            waiting: Vec::new(),
        }
    }

    pub(super) fn hold_for_resolution(&mut self, frame: F) {
        self.waiting.push(frame);
    }

    pub(super) fn on_arp(&mut self, _packet: &arp::Packet, _for_us: bool, _now: Instant) {}

    pub(super) fn on_ndp(
        &mut self,
        _m: &ndp::Message,
        _src: Ipv6Addr,
        _mac: MacAddr,
        _now: Instant,
    ) {
    }
}

impl<N: Nic> Core<N> {
    pub(super) fn originate(&mut self, _key: &FlowKey, _reply: &TcpReply, _now: Instant) {
        self.endpoint.counters.bump(Counter::TxNoRoute);
    }

    pub(super) fn run_neighborhood(&mut self, _now: Instant) {}
}
