//! ICMP errors: what one that quotes a segment of ours does to its connection (RFC 9293 §3.9.2.2, RFC 5927).
//!
//! It must never believe an error whose quote isn't of TCP, or names a number that isn't in flight: anybody can send
//! one.

use super::Core;
use super::slow::Action;
use crate::conn::{FlowHash, FlowKey, Found, Kind};
use crate::counters::Counter;
use crate::icmp::{ErrorKind, IcmpError, Quote, Unreachable};
use crate::local::listener::ListenerId;
use crate::nic::Nic;
use crate::tcp::verdict::{self, Events};
use crate::time::Instant;
use crate::wire::ip_protocol;
use crate::wire::vlan::VlanId;

impl<N: Nic> Core<N> {
    /// An error goes to the connection whose segment it quotes, in whatever kind of record that is.
    pub(super) fn decide_icmp_error(
        &mut self,
        error: &IcmpError,
        vlan: VlanId,
        now: Instant,
    ) -> Action {
        let quote = &error.quote;
        // RFC 1122 §3.2.2: the quote says which protocol the error is for. Ports of UDP mean nothing to TCP.
        //~ An ICMP error is for the protocol that it quotes: -> `if false {`;
        //~   an_error_about_a_udp_datagram_never_touches_tcp
        if quote.protocol != ip_protocol::TCP {
            return Action::Drop(Counter::IcmpErrorUnmatched);
        }
        //~ An ICMP error speaks of a flow of its VLAN: `locals.find(vlan, quote.src)`
        //~   -> `locals.find({ let _ = vlan; VlanId(5) }, quote.src)`;
        //~   an_icmp_error_from_another_vlan_quotes_another_flow
        let Some(local) = self.endpoint.config.locals.find(vlan, quote.src) else {
            return Action::Drop(Counter::IcmpErrorUnmatched);
        };
        let key = FlowKey::new(local, quote.src_port, quote.dst, quote.dst_port);
        let hash = self.endpoint.hasher.hash(&key);
        let owner = self.owner(&key, hash);
        if owner != self.ring.index() {
            return Action::HandOver(owner);
        }
        let Some(found) = self.endpoint.table.lookup(&key, hash) else {
            return Action::Drop(Counter::IcmpErrorUnmatched);
        };
        match found.kind() {
            Kind::Open => self.tell_connection(error, found, now),
            Kind::Embryo => self.tell_embryo(error, found, hash),
            // All that they sent was acknowledged: no quote can be of something in flight (RFC 5927 §4.1).
            //~ An error about a parked connection is judged: `self.conns.counters.icmp_out_of_window += 1,` -> `{}`;
            //~   an_error_about_a_parked_connection_is_judged_by_its_number
            Kind::Parked | Kind::TimeWait => self.conns.counters.icmp_out_of_window += 1,
        }
        Action::Drop(Counter::IcmpErrorForConnection)
    }

    fn tell_connection(&mut self, error: &IcmpError, found: Found, now: Instant) {
        let slot = self.endpoint.table.slot(found);
        let Some(slot) = slot.and_then(|slot| self.awake(slot, now)) else {
            return;
        };
        if let ErrorKind::TooBig { mtu } = error.kind {
            //~ A packet too big lowers the path's MTU: -> `let _ = mtu;`;
            //~   a_packet_too_big_makes_packets_smaller_at_once_and_for_later_connections
            return self.on_too_big(slot, mtu, &error.quote, now);
        }
        if let Some(kind) = kind_of(error.kind) {
            let seq = error.quote.seq;
            let mut events = None;
            self.command(slot, now, |tcb, env| events = tcb.on_icmp(kind, seq, env));
            if events == Some(Events::NONE) {
                //~ A soft error reaches the app; an_icmp_error_about_what_is_in_flight_reaches_the_app_and_ends_nothing
                self.conns.on_soft_error(slot);
            }
        }
    }

    /// Before a connection is synchronised, a hard error about its SYN-ACK ends it (RFC 5927 §5.2, RFC 9293 SHLD-25).
    fn tell_embryo(&mut self, error: &IcmpError, found: Found, hash: FlowHash) {
        let Some(embryo) = self.endpoint.table.embryo(found).copied() else {
            return;
        };
        let Quote { seq, .. } = error.quote;
        //~ An embryo believes an error about its own number only: -> `if false {`;
        //~   a_hard_error_about_its_syn_ack_ends_an_embryo
        //~ A soft error ends no embryo: `kind_of(error.kind) == Some(verdict::IcmpErrorKind::PortUnreachable)`
        //~   -> `true`; a_hard_error_about_its_syn_ack_ends_an_embryo
        //~ A hard error ends an embryo: `&& self.endpoint.table.remove(found, hash)` -> `&& false`;
        //~   a_hard_error_about_its_syn_ack_ends_an_embryo
        if seq != embryo.iss {
            self.conns.counters.icmp_out_of_window += 1;
        } else if kind_of(error.kind) == Some(verdict::IcmpErrorKind::PortUnreachable)
            && self.endpoint.table.remove(found, hash)
        {
            self.endpoint.leave_backlog(ListenerId(embryo.listener));
            self.endpoint.counters.bump(Counter::EmbryoUnreachable);
        }
    }
}

/// The effect of an ICMP error on a connection (RFC 9293 §3.9.2.2, RFC 5927 §5.2).
fn kind_of(kind: ErrorKind) -> Option<verdict::IcmpErrorKind> {
    match kind {
        ErrorKind::Unreachable(Unreachable::Port | Unreachable::Protocol) => {
            Some(verdict::IcmpErrorKind::PortUnreachable)
        }
        ErrorKind::Unreachable(Unreachable::Prohibited) => Some(verdict::IcmpErrorKind::Prohibited),
        ErrorKind::Unreachable(_) => Some(verdict::IcmpErrorKind::Unreachable),
        ErrorKind::TimeExceeded { .. } => Some(verdict::IcmpErrorKind::TimeExceeded),
        ErrorKind::ParameterProblem { .. } => Some(verdict::IcmpErrorKind::ParameterProblem),
        ErrorKind::TooBig { .. } => None,
    }
}
