//! One `u64` per named event, and the rule that every received frame ends in exactly one of them.
//!
//! It must never be shared between workers on the data path: each worker owns one [`Counters`] and hands out copies.

pub use crate::tcp::env::TcpCounters;
pub use crate::wire::Defect;

/// The class of a counter. It decides on which side of [`Counters::unaccounted`] the counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// A frame that came in.
    In,
    /// The one end of a frame that came in.
    End,
    /// Anything else that happened; no part of the sum.
    Event,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $class:ident $variant:ident $name:literal,)+) => {
        /// The name of a counter. The text names are stable: reports and scripts rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Counter {
            /// All counters, in the order in which a frame meets them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable text name, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Its meaning, in one sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }

            /// In which sum it stands.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)+ }
            }
        }
    };
}

counters! {
    /// Frames received from the NIC.
    In RxFrames "rx_frames",
    /// Frames received from another worker that met them by mistake of the NIC's hash.
    In HandoffIn "handoff_in",
    /// Segments that large ones were taken apart into.
    In RxLargeSegments "rx_large_segments",
    /// IP datagrams that were put together from fragments.
    In DatagramsReassembled "datagrams_reassembled",

    /// Handed to the worker that owns the flow, or to worker 0 (ARP, NDP).
    End HandedOff "handed_off",
    /// Dropped: the ring to the owning worker was full.
    End HandoffFull "handoff_full",
    /// Dropped: unicast to another MAC address.
    End NotOurMac "not_our_mac",
    /// Dropped: in a VLAN that isn't ours, or untagged where only VLANs are (`--vlan`).
    End NotOurVlan "not_our_vlan",
    /// Dropped: to an IP address that isn't ours.
    End NotOurIp "not_our_ip",
    /// Dropped: TCP to a broadcast or multicast address, link or IP (RFC 9293 MUST-57).
    End TcpToGroup "tcp_to_group",
    /// Dropped: source equals destination address ("land").
    End Land "land",
    /// Dropped: an IP packet longer than our MTU.
    End LongerThanMtu "longer_than_mtu",
    /// Dropped: an unsupported IP protocol; reported to its sender within the limit of ICMP errors.
    End IpProtocolUnsupported "ip_protocol_unsupported",
    /// Dropped: UDP to one of our addresses, where no port is ever open; reported to its sender within the limit of ICMP errors.
    End UdpClosed "udp_closed",
    /// Fragment of a datagram that is kept until it is whole.
    End FragmentHeld "fragment_held",
    /// Dropped: a fragment whose bytes are all held already.
    End FragmentDuplicate "fragment_duplicate",
    /// Dropped: a fragment that overlaps another one or disagrees with it about the datagram's end, and all others of its datagram
    /// (RFC 5722).
    End FragmentOverlap "fragment_overlap",
    /// Dropped: a first fragment without its whole transport header, or one that begins inside a TCP header (RFC 1858, RFC 3128).
    End FragmentTiny "fragment_tiny",
    /// Large segment, which the NIC (LRO) or the link has made of several: taken apart again.
    End RxLarge "rx_large",
    /// Dropped: a frame in several buffers that is longer than a control buffer.
    End ChainedTooLong "chained_too_long",
    /// Dropped: a frame in several buffers, and no buffer could be had to put it into one.
    End ChainedNoBuffer "chained_no_buffer",

    /// ARP request for one of our addresses, answered.
    End ArpAnswered "arp_answered",
    /// ARP reply or announcement, given to the neighbour table.
    End ArpLearned "arp_learned",
    /// ARP for another host.
    End ArpNotForUs "arp_not_for_us",
    /// Neighbour Solicitation for one of our addresses, answered.
    End NdpAnswered "ndp_answered",
    /// Neighbour Advertisement, given to the neighbour table.
    End NdpLearned "ndp_learned",
    /// Other neighbour discovery or multicast listener traffic: for routers, or not for us.
    End NdpIgnored "ndp_ignored",
    /// ICMP or ICMPv6 echo request, answered.
    End EchoAnswered "echo_answered",
    /// ICMP error that quotes one of our connections. It counts when the quoted number is in flight (RFC 5927): TCP's
    /// `icmp_out_of_window` has the others.
    End IcmpErrorForConnection "icmp_error_for_connection",
    /// ICMP error that quotes nothing that we know: another protocol than TCP, or no connection of ours.
    End IcmpErrorUnmatched "icmp_error_unmatched",
    /// ICMP that needs no answer.
    End IcmpIgnored "icmp_ignored",

    /// Segment without a connection, answered with the reset of RFC 9293 3.10.7.1.
    End RstSent "rst_sent",
    /// Reset without a connection: never answered.
    End RstUnmatched "rst_unmatched",
    /// Segment to a closed port, dropped by `--closed drop`.
    End ClosedDropped "closed_dropped",
    /// Segment to a closed port, answered with ICMP port unreachable by `--closed icmp`.
    End ClosedIcmpSent "closed_icmp_sent",
    /// Segment to a closed port, ICMP not sent because of its rate limit or because the segment was itself a reset.
    End ClosedIcmpLimited "closed_icmp_limited",

    /// Segment without SYN, ACK or RST to a listener: dropped (RFC 9293 3.10.7.2).
    End ListenDropped "listen_dropped",
    /// SYN with FIN to a listener: dropped, as Linux does.
    End ListenSynFin "listen_syn_fin",
    /// Reset to a listener: ignored.
    End ListenRst "listen_rst",
    /// ACK to a listener that matches nothing and is no cookie: reset.
    End ListenAckReset "listen_ack_reset",
    /// SYN answered with a SYN cookie, no state kept.
    End SynCookieSent "syn_cookie_sent",
    /// SYN that became an embryo; SYN-ACK sent.
    End SynEmbryo "syn_embryo",
    /// SYN dropped: embryos or backlog full and the policy has no cookies.
    End SynDroppedFull "syn_dropped_full",
    /// SYN dropped: the accept queue is full.
    End SynDroppedAcceptFull "syn_dropped_accept_full",
    /// SYN dropped: all records of open connections are in use, so its final ACK would find none; the peer tries again.
    End SynDroppedNoRecord "syn_dropped_no_record",
    /// SYN dropped by the listener's policy.
    End SynDroppedPolicy "syn_dropped_policy",
    /// SYN reset by the listener's policy.
    End SynResetPolicy "syn_reset_policy",
    /// ACK while cookies are alive, but with a wrong or outdated one: reset.
    End CookieRejected "cookie_rejected",
    /// ACK with a cookie that has opened a connection before, which has ended: reset.
    End CookieSpent "cookie_spent",
    /// ACK with a valid cookie, dropped because no record was free; the peer tries again.
    End CookieNoRecord "cookie_no_record",
    /// ACK with a valid cookie, dropped because the accept queue is full; the peer tries again.
    End CookieQueueFull "cookie_queue_full",
    /// ACK with a valid cookie, reset because the accept queue is full (`abort-on-overflow`).
    End CookieQueueReset "cookie_queue_reset",

    /// The SYN of an embryo again: SYN-ACK sent again.
    End EmbryoSynAgain "embryo_syn_again",
    /// Embryo whose final ACK came while no record was free: it stays, its SYN-ACK is retransmitted.
    End EmbryoAckNoRecord "embryo_ack_no_record",
    /// Embryo whose final ACK met a full accept queue: it stays, its SYN-ACK is retransmitted.
    End EmbryoAckQueueFull "embryo_ack_queue_full",
    /// Embryo whose final ACK met a full accept queue: reset (`abort-on-overflow`).
    End EmbryoAckQueueReset "embryo_ack_queue_reset",
    /// Embryo ended by a valid reset.
    End EmbryoReset "embryo_reset",
    /// Embryo: unacceptable ACK, reset sent (RFC 9293 3.10.7.4, fifth).
    End EmbryoBadAck "embryo_bad_ack",
    /// Embryo ended by another SYN in its window: back to LISTEN without an answer (RFC 9293 3.10.7.4, fourth).
    End EmbryoBackToListen "embryo_back_to_listen",
    /// Embryo: segment outside the window or inexact RST in it, answered with an ACK (RFC 5961).
    End EmbryoChallenged "embryo_challenged",
    /// Embryo: SYN again or segment to be answered with an ACK, but it has answered as many as its limit allows.
    End EmbryoAnswerLimited "embryo_answer_limited",
    /// Embryo: segment dropped without an answer (no ACK bit, reset outside the window, PAWS).
    End EmbryoDropped "embryo_dropped",

    /// Segment of an open connection; TCP's own counters say what became of it.
    End ConnSegment "conn_segment",
    /// Parked: segment that changed nothing but the acknowledgement or window.
    End ParkedAck "parked_ack",
    /// Parked: challenge ACK sent (RFC 5961).
    End ParkedChallenged "parked_challenged",
    /// Parked: challenge ACK due, but this connection had one just now.
    End ParkedChallengeLimited "parked_challenge_limited",
    /// Parked: old data or a probe, answered with an ACK.
    End ParkedOldAnswered "parked_old_answered",
    /// Parked: old data or a probe, but this connection has answered as many as its limit allows.
    End ParkedOldLimited "parked_old_limited",
    /// Parked: ended by a valid reset.
    End ParkedReset "parked_reset",
    /// Parked: segment dropped without an answer (no ACK bit, reset outside the window).
    End ParkedDropped "parked_dropped",
    /// Parked: data or FIN dropped because no record for an open connection was free; the peer tries again.
    End UnparkNoRecord "unpark_no_record",
    /// TIME-WAIT: answered with an ACK.
    End TimeWaitAck "time_wait_ack",
    /// TIME-WAIT: segment dropped without an answer.
    End TimeWaitDropped "time_wait_dropped",
    /// TIME-WAIT: ended by a valid reset.
    End TimeWaitReset "time_wait_reset",

    /// Embryos whose final ACK came: connection established.
    Event EmbryoEstablished "embryo_established",
    /// Valid cookies that came back: connection established.
    Event CookieEstablished "cookie_established",
    /// Connections that we opened.
    Event ActiveOpens "active_opens",
    /// Connections that ended, or entered TIME-WAIT.
    Event ConnectionsClosed "connections_closed",
    /// Connections parked after an idle time.
    Event ConnectionsParked "connections_parked",
    /// TIME-WAIT records that ended by time.
    Event TimeWaitExpired "time_wait_expired",
    /// TIME-WAIT records given up before their time because all were in use.
    Event TimeWaitRecycled "time_wait_recycled",
    /// Connections that ended without TIME-WAIT because no record could be had.
    Event TimeWaitNoRecord "time_wait_no_record",
    /// Segments whose bytes were not taken because the queues of all connections are full; their ACK was.
    Event PayloadNoPlace "payload_no_place",

    /// Times that a connection's bytes ahead of gaps were dropped: places were wanted, or it was idle for a minute.
    Event AheadPruned "ahead_pruned",
    /// Connections that were reset because they stood still while others waited for places in the queues (RFC 6429).
    Event ConnectionsEvicted "connections_evicted",
    /// ICMP errors sent about frames that ended under a name of their own: port and protocol unreachable, parameter problem.
    Event IcmpErrorsSent "icmp_errors_sent",
    /// ICMP errors of that kind that were due, but for their rate limit.
    Event IcmpErrorsLimited "icmp_errors_limited",
    /// Path MTUs lowered: by an ICMP error about something in flight (RFC 1191, RFC 8201), or because a path swallows full
    /// segments in silence (TCP's `black_holes`).
    Event PathMtuLowered "path_mtu_lowered",
    /// ICMP errors about packets too big that were not believed: they would raise the MTU, name what the packet did not
    /// exceed, or go below what every path carries.
    Event PathMtuIgnored "path_mtu_ignored",
    /// Lowered path MTUs that ended after ten minutes: the larger one is tried again.
    Event PathMtuExpired "path_mtu_expired",

    /// Datagrams whose fragments had not all come in time: 30 s over IPv4, 60 s over IPv6.
    Event ReassemblyTimedOut "reassembly_timed_out",
    /// Datagrams that gave way to others while fragments of theirs were missing.
    Event ReassemblyEvicted "reassembly_evicted",
    /// Whole datagrams that found no buffer, or none that is long enough.
    Event ReassemblyNoBuffer "reassembly_no_buffer",

    /// Frames that the NIC accepted for sending.
    Event TxFrames "tx_frames",
    /// Times the NIC accepted less than it was offered.
    Event TxRefused "tx_refused",
    /// Frames from us dropped because the NIC refused each again and again, and took those behind it.
    Event TxUnsendable "tx_unsendable",
    /// Stateless replies dropped because the NIC refused them for too long.
    Event TxRepliesDropped "tx_replies_dropped",
    /// SYN-ACKs of embryos retransmitted by timer.
    Event SynAckRetransmitted "syn_ack_retransmitted",
    /// Embryos ended by an ICMP error about their SYN-ACK: the peer's host or port isn't there (RFC 5927 §5.2).
    Event EmbryoUnreachable "embryo_unreachable",
    /// Embryos that ended after their last retransmission.
    Event EmbryoExpired "embryo_expired",
    /// Frames from us that had no route: no gateway and off every local prefix.
    Event TxNoRoute "tx_no_route",
    /// Frames from us dropped because their neighbour didn't answer or gave way to another, or too many waited for it.
    Event TxNeighborDropped "tx_neighbor_dropped",
    /// Neighbours that gave way to others before their time: the table, or the half of it for those being asked, was full.
    Event NeighborEvicted "neighbor_evicted",
    /// Questions of other workers about neighbours that worker 0 had no place to remember (64): they are asked again.
    Event NeighborQuestionsForgotten "neighbor_questions_forgotten",
    /// ARP requests and Neighbour Solicitations sent.
    Event SolicitationsSent "solicitations_sent",
    /// Frames and replies from us that found no buffer; a reply stands here beside the counter that says why it was due.
    Event TxNoBuffer "tx_no_buffer",
    /// Received frames in several buffers that were put into one.
    Event RxLinearized "rx_linearized",
    /// Pieces of payload that were copied although they were long enough to be sent from where they lie: this NIC can't
    /// chain buffers, or had none left for it.
    Event TxLinearized "tx_linearized",
    /// Sent frames that the NIC cuts into several segments.
    Event TxCut "tx_cut",
    /// The segments that it makes of them.
    Event TxCutSegments "tx_cut_segments",
    /// Frames from us that found no room in the outbox.
    Event TxNoRoom "tx_no_room",
    /// Segments of connections that we opened, in frames from another link-layer address than ours go to: direct server return, or
    /// two hosts with one address.
    Event ConnFromElsewhere "conn_from_elsewhere",
    /// Neighbours that were found at another link-layer address: the old one kept silent, the new one answered.
    Event NeighborMoved "neighbor_moved",
    /// The same, as heard from worker 0.
    Event NeighborUpdates "neighbor_updates",
    /// The same, not passed to a worker whose ring was full: its connections find out by their timeouts.
    Event NeighborUpdatesLost "neighbor_updates_lost",
    /// Replies written into a fresh buffer because the received one was shared or chained.
    Event RepliesCopied "replies_copied",
}

const COUNTERS: usize = Counter::ALL.len();
const DEFECTS: usize = Defect::ALL.len();

/// The counters of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    events: [u64; COUNTERS],
    defects: [u64; DEFECTS],
}

impl Counters {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            events: [0; COUNTERS],
            defects: [0; DEFECTS],
        }
    }

    /// Adds one.
    #[inline]
    pub fn bump(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        let value = &mut self.events[counter as usize];
        *value = value.wrapping_add(n);
    }

    /// Counts a frame that ended as malformed.
    #[inline]
    pub fn defect(&mut self, defect: Defect) {
        let value = &mut self.defects[defect as usize];
        *value = value.wrapping_add(1);
    }

    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.events[counter as usize]
    }

    /// How many frames ended with this defect.
    #[must_use]
    pub fn get_defect(&self, defect: Defect) -> u64 {
        self.defects[defect as usize]
    }

    /// Adds the counters of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.events.iter_mut().zip(&other.events) {
            *mine = mine.wrapping_add(*theirs);
        }
        for (mine, theirs) in self.defects.iter_mut().zip(&other.defects) {
            *mine = mine.wrapping_add(*theirs);
        }
    }

    /// Frames that came in minus frames that ended: 0 between turns of a worker, or an accounting bug.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let sum = |class| {
            let of_class = Counter::ALL
                .iter()
                .filter(move |counter| counter.class() == class);
            of_class.fold(0u64, |sum, &counter| sum.wrapping_add(self.get(counter)))
        };
        let defects = self
            .defects
            .iter()
            .fold(0u64, |sum, &n| sum.wrapping_add(n));
        sum(Class::In)
            .wrapping_sub(sum(Class::End))
            .wrapping_sub(defects)
            .cast_signed()
    }

    /// Name and value of every counter that isn't zero, defects with their own names.
    pub fn non_zero(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let events = Counter::ALL
            .iter()
            .map(|&counter| (counter.name(), self.get(counter)));
        let defects = Defect::ALL
            .iter()
            .map(|&defect| (defect.name(), self.get_defect(defect)));
        events.chain(defects).filter(|(_, value)| *value != 0)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_indices_match_the_list() {
        let mut names = HashSet::new();
        for (index, &counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(counter as usize, index);
            assert!(names.insert(counter.name()), "{} twice", counter.name());
            assert!(counter.description().ends_with('.'));
        }
        for (index, &defect) in Defect::ALL.iter().enumerate() {
            assert_eq!(defect as usize, index);
            assert!(names.insert(defect.name()), "{} twice", defect.name());
        }
    }

    #[test]
    fn a_frame_without_an_end_or_with_two_shows() {
        let mut counters = Counters::new();
        counters.bump(Counter::RxFrames);
        assert_eq!(counters.unaccounted(), 1);
        counters.bump(Counter::RstSent);
        counters.bump(Counter::TxFrames);
        assert_eq!(counters.unaccounted(), 0);
        counters.defect(Defect::ALL[0]);
        assert_eq!(counters.unaccounted(), -1);
        let mut total = counters.clone();
        total.merge(&counters);
        assert_eq!(total.get(Counter::RxFrames), 2);
        assert_eq!(total.non_zero().count(), 4);
    }
}
