//! The slow lane: ARP, neighbour discovery and ICMP. Rare, so it may parse again; bounded, so it can't be abused.
//!
//! It must never answer what `icmp` refuses, and never learn a neighbour from anybody but that neighbour.

use core::net::{IpAddr, Ipv6Addr};

use super::Core;
use crate::config::ClosedPolicy;
use crate::counters::Counter;
use crate::icmp::report::{Problem, Report};
use crate::icmp::{self, Refusal};
use crate::nic::{Frame, Nic, PoolClass};
use crate::time::Instant;
use crate::wire::vlan::VlanId;
use crate::wire::{Defect, Network, Parsed, Transport, arp, icmp as icmp_wire, icmpv6, ndp, parse};

/// ICMPv6 types of neighbour discovery (RFC 4861 §4).
const NEIGHBOR_DISCOVERY: core::ops::RangeInclusive<u8> =
    icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT;

/// The treatment of a frame of the slow lane, decided while the frame is borrowed.
pub(super) enum Action {
    Drop(Counter),
    DropDefect(Defect),
    HandOver(u16),
    AnswerArp,
    AnswerNdp,
    AnswerEcho,
}

impl<N: Nic> Core<N> {
    /// A frame that is intact and no TCP.
    pub(super) fn process_other(&mut self, frame: N::Frame, now: Instant) {
        let action = match parse(frame.bytes()) {
            Ok(parsed) => self.decide(&parsed, now),
            // Not reached: the classify stage has parsed the same bytes.
            Err(_) => Action::Drop(Counter::IcmpIgnored),
        };
        let mac = self.mac;
        match action {
            Action::Drop(counter) => {
                self.endpoint.counters.bump(counter);
                self.outbox.free(frame);
            }
            Action::DropDefect(defect) => {
                self.endpoint.counters.defect(defect);
                self.outbox.free(frame);
            }
            Action::HandOver(owner) => self.hand_over(frame, owner),
            Action::AnswerArp => {
                self.answer_in_place(frame, Counter::ArpAnswered, |bytes| {
                    icmp::arp_reply(bytes, mac)
                });
            }
            Action::AnswerNdp => {
                let write = |bytes: &mut [u8]| icmp::neighbor_reply(bytes, mac);
                self.answer_in_place(frame, Counter::NdpAnswered, write);
            }
            Action::AnswerEcho => {
                let local_v6 = self.first_v6();
                let write = |bytes: &mut [u8]| icmp::echo_reply(bytes, mac, local_v6);
                self.answer_in_place(frame, Counter::EchoAnswered, write);
            }
        }
    }

    fn decide(&mut self, parsed: &Parsed<'_>, now: Instant) -> Action {
        let vlan = parsed.link.vlan_id();
        match (parsed.network, parsed.transport()) {
            (Network::Arp(packet), _) => self.decide_arp(packet, vlan, now),
            (_, Some(Transport::Icmp(message))) => {
                let echo = message.header.kind == icmp_wire::ECHO_REQUEST;
                self.decide_icmp(parsed, echo, now)
            }
            (Network::Ipv6 { packet, .. }, Some(Transport::Icmpv6(message))) => {
                if NEIGHBOR_DISCOVERY.contains(&message.header.kind) {
                    return self.decide_ndp(packet.header, message, vlan, now);
                }
                self.decide_icmp(parsed, message.header.kind == icmpv6::ECHO_REQUEST, now)
            }
            _ => Action::Drop(Counter::IcmpIgnored),
        }
    }

    fn decide_arp(&mut self, packet: &arp::Packet, vlan: VlanId, now: Instant) -> Action {
        // Worker 0 owns the neighbour table, so it sees all of ARP.
        if !self.ring.is_first() {
            return Action::HandOver(0);
        }
        let target = packet.target_addr().into();
        let for_us = self.endpoint.config.is_announced(vlan, target);
        //~ ARP from another VLAN speaks of another neighbour: `on_arp(packet, vlan, for_us, now)`
        //~   -> `on_arp(packet, VlanId(5), for_us, now)`; the_neighbor_is_asked_for_in_the_vlan_and_answers_from_there
        let resolved = self.neighborhood.on_arp(packet, vlan, for_us, now);
        self.release(resolved, now);
        match (packet.is_request(), for_us) {
            (true, true) => Action::AnswerArp,
            (false, _) => Action::Drop(Counter::ArpLearned),
            (true, false) => Action::Drop(Counter::ArpNotForUs),
        }
    }

    fn decide_ndp(
        &mut self,
        ip: &crate::wire::ipv6::Header,
        message: icmpv6::View<'_>,
        vlan: VlanId,
        now: Instant,
    ) -> Action {
        if !self.ring.is_first() {
            return Action::HandOver(0);
        }
        let message = match ndp::parse(ip, message) {
            Ok(message) => message,
            Err(defect) => return Action::DropDefect(defect),
        };
        match message {
            ndp::Message::NeighborSolicitation { target, .. } => {
                let target = target.into();
                if !self.endpoint.config.is_announced(vlan, target) {
                    return Action::Drop(Counter::NdpIgnored);
                }
                let resolved = self.neighborhood.on_ndp(&message, vlan, ip.src_addr(), now);
                self.release(resolved, now);
                Action::AnswerNdp
            }
            ndp::Message::NeighborAdvertisement { .. } => {
                let resolved = self.neighborhood.on_ndp(&message, vlan, ip.src_addr(), now);
                self.release(resolved, now);
                Action::Drop(Counter::NdpLearned)
            }
            _ => Action::Drop(Counter::NdpIgnored),
        }
    }

    /// Echo requests are answered by whichever worker gets them; errors belong to the connection that they quote.
    fn decide_icmp(&mut self, parsed: &Parsed<'_>, is_echo_request: bool, now: Instant) -> Action {
        let locals = &self.endpoint.config.locals;
        let Some((_, dst)) = parsed.addresses() else {
            return Action::Drop(Counter::IcmpIgnored);
        };
        // RFC 4443 §4.2 lets a host answer an echo request to a group that it is in; RFC 1122 §3.2.2.6 lets it be silent over
        // IPv4.
        let vlan = parsed.link.vlan_id();
        let to_us = locals.find(vlan, dst).is_some();
        //~ Pings to groups that we aren't in get no answer: `if locals.is_member(dst)` -> `if dst.is_multicast()`;
        //~   echo_to_a_group_that_we_are_not_in_is_not_answered
        let to_group = matches!(dst, IpAddr::V6(dst) if locals.is_member(dst));
        if is_echo_request {
            return if to_us || to_group {
                Action::AnswerEcho
            } else {
                Action::Drop(Counter::NotOurIp)
            };
        }
        if !to_us {
            return Action::Drop(Counter::NotOurIp);
        }
        match icmp::parse_error(parsed) {
            Ok(error) => self.decide_icmp_error(&error, vlan, now),
            Err(defect) => Action::DropDefect(defect),
        }
    }

    /// A frame that has been counted as refused: its sender hears why, within the limit of ICMP errors, if that is due at all.
    #[cold]
    pub(super) fn report(&mut self, frame: N::Frame, now: Instant) {
        let due = icmp::report_due(frame.bytes()).and_then(|report| self.reporter(&report));
        if let Some((us, problem)) = due
            && self.endpoint.may_report(now)
        {
            let mac = self.mac;
            let _ = self.rewrite(frame, |bytes| icmp::write_report(bytes, mac, us, problem));
        } else {
            self.outbox.free(frame);
        }
    }

    /// As whom we report what; `None` when it isn't ours to report, or when closed ports are to be silent.
    fn reporter(&self, report: &Report) -> Option<(IpAddr, Problem)> {
        let Report {
            problem,
            link,
            src,
            dst,
        } = *report;
        let vlan = link.vlan_id();
        let config = &self.endpoint.config;
        let silent = config.closed == ClosedPolicy::Drop
            && matches!(problem, Problem::Port | Problem::Protocol);
        let on_link = link.dst == self.mac || link.dst.is_multicast();
        //~ Closed ports that are silent are so for all protocols: `if silent || ` -> `if `;
        //~   closed_ports_that_are_silent_are_so_for_all_protocols
        if silent || !on_link || src == dst || config.is_broadcast(src) {
            return None;
        }
        let us = match dst {
            IpAddr::V6(group) if group.is_multicast() => {
                let us = config.next_hop(src).and_then(|hop| config.source_for(hop));
                us.filter(|_| {
                    config.locals.is_member(group) && config.locals.vlans().contains(vlan)
                })?
            }
            _ => config.locals.find(vlan, dst).map(|_| dst)?,
        };
        Some((us, problem))
    }

    /// Answers a segment to a closed port with port unreachable (`--closed icmp`).
    pub(super) fn answer_unreachable(&mut self, frame: N::Frame) {
        let mac = self.mac;
        self.rewrite(frame, |bytes| icmp::port_unreachable(bytes, mac));
    }

    /// Rewrites a frame into its answer, and counts its end as `counter`, or as ignored when there is no answer to it.
    fn answer_in_place(
        &mut self,
        frame: N::Frame,
        counter: Counter,
        write: impl Fn(&mut [u8]) -> Result<usize, Refusal>,
    ) {
        let answered = self.rewrite(frame, write);
        self.endpoint.counters.bump(if answered {
            counter
        } else {
            Counter::IcmpIgnored
        });
    }

    /// Lets `write` rewrite the frame (or a copy, when it is shared) and sends the result. False when it was refused or
    /// found no buffer; the frame is gone either way.
    pub(super) fn rewrite(
        &mut self,
        frame: N::Frame,
        write: impl Fn(&mut [u8]) -> Result<usize, Refusal>,
    ) -> bool {
        let Some(mut frame) = self.exclusive(frame) else {
            self.endpoint.counters.bump(Counter::TxNoBuffer);
            return false;
        };
        let mut result = frame.bytes_mut().map(&write);
        if let Some(Err(Refusal::NoRoom { needed })) = result
            && frame.set_len(needed).is_ok()
        {
            result = frame.bytes_mut().map(&write);
        }
        let Some(Ok(len)) = result else {
            self.outbox.free(frame);
            return false;
        };
        if frame.set_len(len).is_err() {
            // Not reached: `write` has written that far.
            self.outbox.free(frame);
            return false;
        }
        frame.request(None);
        self.outbox.reply(frame, &mut self.endpoint.counters);
        true
    }

    /// The frame itself when it is ours alone, else a copy.
    fn exclusive(&mut self, mut frame: N::Frame) -> Option<N::Frame> {
        if frame.bytes_mut().is_some() {
            return Some(frame);
        }
        let copy = self.copy(&frame, usize::MAX, PoolClass::Control).ok();
        self.outbox.free(frame);
        if copy.is_some() {
            self.endpoint.counters.bump(Counter::RepliesCopied);
        }
        copy
    }

    /// The source of replies to IPv6 groups.
    fn first_v6(&self) -> Option<Ipv6Addr> {
        self.endpoint
            .config
            .interfaces
            .iter()
            .find_map(|interface| match interface.address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
    }
}
