//! Path data of connections, and their reports to the cache of paths.
//!
//! It must never act on an error whose quote the connection has not confirmed.

use super::Core;
use super::endpoint::Endpoint;
use crate::config::Config;
use crate::conn::connections::{Parts, Slot};
use crate::counters::Counter;
use crate::icmp::Quote;
use crate::neighbor::{Move, Neighbor};
use crate::nic::Nic;
use crate::path::{Destination, LinkMove, Paths, floor_mtu, lowered_mtu};
use crate::time::Instant;
use crate::worker::opening::{destination, local_mss};

impl<N: Nic> Core<N> {
    /// A router says that a segment was too large for the link behind it, and names that link's MTU (RFC 1191, RFC 8201).
    pub(super) fn on_too_big(&mut self, slot: Slot, claimed: u32, quote: &Quote, now: Instant) {
        let Some(mut parts) = self.conns.parts(slot) else {
            return;
        };
        let (tcb, mut env) = parts.protocol(&self.endpoint.profiles, now);
        //~ Only a quote of data in flight lowers the MTU: -> `if false {`;
        //~   only_a_quote_of_data_in_flight_lowers_and_nothing_raises
        if !tcb.quotes_flight(quote.seq, &mut env) {
            return;
        }
        let to = destination(&parts.conn.key, &self.endpoint.config.locals);
        let known = self.paths.mtu(to);
        match lowered_mtu(to.address, claimed, quote.packet_len, known) {
            None => self.endpoint.counters.bump(Counter::PathMtuIgnored),
            Some(mtu) => self.lower_mtu(slot, mtu, now),
        }
    }

    /// Full segments of a connection vanish in silence: the least MTU of the family is left.
    #[cold]
    pub(super) fn on_black_hole(&mut self, slot: Slot, now: Instant) {
        if let Some(conn) = self.conns.get(slot) {
            self.lower_mtu(slot, floor_mtu(conn.key.remote()), now);
        }
    }

    /// The connection and all others to its destination go by the smaller MTU from now on.
    fn lower_mtu(&mut self, slot: Slot, mtu: u16, now: Instant) {
        let Some(mut parts) = self.conns.parts(slot) else {
            return;
        };
        self.endpoint.counters.bump(Counter::PathMtuLowered);
        let to = destination(&parts.conn.key, &self.endpoint.config.locals);
        self.paths.lower_mtu(to, mtu, now);
        ask_again(&self.paths, &self.endpoint, &mut parts, now);
        parts.mark_dirty();
    }

    /// A neighbour was found at another link-layer address: what goes over it goes there from now on.
    #[cold]
    pub(super) fn on_move(&mut self, moved: Move) {
        let config = &self.endpoint.config;
        self.paths.on_move(moved, |to| next_hop(config, to));
    }

    /// Lets lowered MTUs end whose time is over.
    #[inline]
    pub(super) fn run_paths(&mut self, now: Instant) {
        //~ A lowered MTU ends: -> `let _ = now; let ended = 0;`; after_ten_minutes_the_larger_mtu_is_tried_again
        let ended = self.paths.expire(now);
        if ended > 0 {
            self.endpoint.counters.add(Counter::PathMtuExpired, ended);
        }
    }

    /// A connection parks, or its first SYN was answered: where its peer was heard from last is remembered for when it is
    /// unparked, and for others to the same destination.
    pub(super) fn confirm_path(&mut self, slot: Slot) {
        if let Some(conn) = self.conns.get(slot)
            && let Some(link) = conn.link
        {
            let to = destination(&conn.key, &self.endpoint.config.locals);
            self.paths.confirm(to, link);
        }
    }
}

/// The neighbour that packets to a destination are handed to.
fn next_hop(config: &Config, to: Destination) -> Option<Neighbor> {
    let addr = config.next_hop(to.address)?;
    Some(Neighbor {
        vlan: to.vlan,
        addr,
    })
}

/// Something has changed since the connection asked for its path.
#[cold]
pub(super) fn ask_again<F>(
    paths: &Paths,
    endpoint: &Endpoint,
    parts: &mut Parts<'_, F>,
    now: Instant,
) {
    let config = &endpoint.config;
    let key = parts.conn.key;
    let to = destination(&key, &config.locals);
    if let Some(link) = &mut parts.conn.link {
        let since = parts.conn.path_epoch;
        match paths.moves(since, link.mac, next_hop(config, to)) {
            LinkMove::Known(mac) => link.mac = mac,
            LinkMove::Forgotten => parts.conn.link = None,
        }
    }
    parts.conn.path_epoch = paths.epoch();
    let profile = &endpoint.profiles.get(parts.conn.profile).profile;
    let path_mss = local_mss(&key, paths.mtu(to)).min(profile.mss_max);
    if path_mss != parts.conn.tcb.path_mss() {
        let (tcb, env) = parts.protocol(&endpoint.profiles, now);
        tcb.set_path_mss(path_mss, &env);
    }
}
