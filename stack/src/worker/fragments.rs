//! Fragments: each goes to the worker that owns its datagram by (source, destination, identification), which puts the datagram
//! together and lets it pass through the stages like any other frame: its flow's owner gets it from there.
//!
//! It must never keep a received buffer: what is held is copied, within [`Limits::fragmented_datagrams`]. And it must never cost a
//! frame that is no fragment anything.
//!
//! [`Limits::fragmented_datagrams`]: crate::config::Limits::fragmented_datagrams

use core::net::IpAddr;

mod table;

use table::{Expired, Place};

pub(super) use table::Fragments;

use super::Core;
use crate::conn::FlowKey;
use crate::counters::Counter;
use crate::icmp;
use crate::icmp::report::Problem;
use crate::nic::{ChecksumVerdict, Frame, Nic, PoolClass};
use crate::time::Instant;
use crate::wire::fragment::{self, Fragment, Head};
use crate::wire::{Defect, envelope, icmpv6, ip_protocol};

/// The outcome of a fragment.
enum Fate {
    /// It belongs to a datagram of another worker.
    HandOver(u16),
    /// It ends here.
    End(Counter),
    /// It can't be.
    Defect(Defect),
    /// It was the last one that was missing.
    Whole(Place),
}

impl<N: Nic> Core<N> {
    /// A fragment, counted nowhere yet.
    #[cold]
    pub(super) fn on_fragment(&mut self, frame: N::Frame, now: Instant) {
        let parsed = fragment::parse(frame.bytes());
        let fate = match &parsed {
            Ok(fragment) => {
                let is_verified = frame.rx_checksum().ip == ChecksumVerdict::Good;
                self.fate(fragment, is_verified, now)
            }
            Err(defect) => Fate::Defect(*defect),
        };
        match fate {
            Fate::HandOver(owner) => return self.hand_over(frame, owner),
            Fate::End(counter) => self.endpoint.counters.bump(counter),
            Fate::Defect(defect) => self.endpoint.counters.defect(defect),
            Fate::Whole(place) => {
                self.endpoint.counters.bump(Counter::FragmentHeld);
                self.pass_on(place);
            }
        }
        self.outbox.free(frame);
    }

    fn fate(&mut self, fragment: &Fragment<'_>, is_verified: bool, now: Instant) -> Fate {
        if !self.fragments.is_on() {
            return Fate::Defect(fragment.defect());
        }
        let datagram = fragment.datagram;
        let locals = &self.endpoint.config.locals;
        if !locals.vlans().contains(datagram.vlan) {
            return Fate::End(Counter::NotOurVlan);
        }
        // To a group goes nothing that a host would put together: TCP never does.
        if fragment.link.dst != self.mac {
            return Fate::End(Counter::NotOurMac);
        }
        if !is_verified && !fragment.checksum_ok() {
            return Fate::Defect(Defect::Ipv4Checksum);
        }
        let Some(local) = locals.find(datagram.vlan, datagram.dst) else {
            return Fate::End(Counter::NotOurIp);
        };
        if self.endpoint.config.is_broadcast(datagram.src) {
            return Fate::Defect(Defect::Ipv4Source);
        }
        if datagram.src == datagram.dst {
            return Fate::End(Counter::Land);
        }
        // The identification stands where a flow has its ports.
        let (low, high) = (datagram.id as u16, (datagram.id >> 16) as u16);
        let key = FlowKey::new(local, low, datagram.src, high);
        let owner = self.endpoint.hasher.hash(&key).owner(self.ring.workers());
        //~ Fragments go to the owner of their datagram: -> `if false && owner != self.ring.index() {`;
        //~   fragments_of_a_datagram_meet_at_one_worker_whichever_queues_they_come_in
        if owner != self.ring.index() {
            return Fate::HandOver(owner);
        }
        //~ Tiny fragments are refused: -> `if false {`; a_first_fragment_without_its_ports_is_refused
        if fragment.is_tiny() {
            return Fate::End(Counter::FragmentTiny);
        }
        //~ Neighbour discovery comes whole: -> `if false {`; neighbor_discovery_in_fragments_is_ignored
        if is_neighbor_discovery(fragment) {
            return Fate::End(Counter::NdpIgnored);
        }
        let taken = self.fragments.take(fragment, now);
        self.endpoint
            .counters
            .add(Counter::ReassemblyEvicted, taken.evicted.into());
        match taken.whole {
            Some(place) => Fate::Whole(place),
            None => Fate::End(taken.end),
        }
    }

    /// A whole datagram becomes a frame of the next turn, and its place is free.
    fn pass_on(&mut self, place: Place) {
        let frame = self.nic.alloc_one(PoolClass::Data).and_then(|mut frame| {
            let len = self.fragments.frame_len(place);
            frame.set_len(len).ok()?;
            let is_written = self.fragments.write(place, frame.bytes_mut()?);
            is_written.then_some(frame)
        });
        self.fragments.release(place);
        match frame {
            Some(frame) => {
                self.endpoint.counters.bump(Counter::DatagramsReassembled);
                self.leave_behind(frame);
            }
            None => self.endpoint.counters.bump(Counter::ReassemblyNoBuffer),
        }
    }

    /// Lets the time of datagrams pass that are not whole.
    #[inline]
    pub(super) fn run_fragments(&mut self, now: Instant) {
        if now >= self.fragments.next_end() {
            self.expire_fragments(now);
        }
    }

    #[cold]
    #[inline(never)]
    fn expire_fragments(&mut self, now: Instant) {
        while let Some(expired) = self.fragments.pop_expired(now) {
            self.endpoint.counters.bump(Counter::ReassemblyTimedOut);
            if let Expired::Told(place, head, len) = expired
                && self.endpoint.may_report(now)
            {
                self.tell_expired(place, &head, len);
            }
        }
    }

    /// Sends "time exceeded" to the sender of a datagram whose first fragment has come and others have not (RFC 1122 §3.3.2, RFC 8200 §4.5).
    fn tell_expired(&mut self, place: Place, head: &Head, len: usize) {
        let Some(mut frame) = self.nic.alloc_one(PoolClass::Control) else {
            self.endpoint.counters.bump(Counter::TxNoBuffer);
            return;
        };
        let is_written = frame.set_len(head.received().len() + len).is_ok()
            && frame
                .bytes_mut()
                .is_some_and(|bytes| self.fragments.write_first(place, head, len, bytes));
        let Some(us) = envelope(frame.bytes()).filter(|_| is_written) else {
            return self.outbox.free(frame);
        };
        let (us, mac) = (us.dst, self.mac);
        let write = |bytes: &mut [u8]| icmp::write_report(bytes, mac, us, Problem::ReassemblyTime);
        let _ = self.rewrite(frame, write);
    }
}

/// RFC 6980 §5: a fragmented message of neighbour discovery is ignored.
fn is_neighbor_discovery(fragment: &Fragment<'_>) -> bool {
    let is_v6 = matches!(fragment.datagram.dst, IpAddr::V6(_));
    match fragment.transport() {
        Some((ip_protocol::ICMPV6, [kind, ..])) if is_v6 => {
            (icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT).contains(kind)
        }
        _ => false,
    }
}
