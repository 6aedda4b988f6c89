//! Segments of connections: from a record that was found to the protocol, its queues and the app.
//!
//! It must never acknowledge what the queues have no room for, and never send: connections are asked at the end of the
//! turn.

use core::net::IpAddr;

use super::Core;
use super::callbacks::Hosted;
use super::classify::Meta;
use super::endpoint::EndpointVerdict;
use super::settling::{is_unheard, settle_unheard};
use crate::conn::connections::{Conn, Parts, Slot};
use crate::conn::{ConnId, Found};
use crate::counters::{Counter, Counters};
use crate::local::listener::ListenerId;
use crate::nic::{Frame, Nic, PoolClass};
use crate::queue::claim::Claim;
use crate::queue::claim::Lack;
use crate::queue::rx_queue::Chunk;
use crate::seq::SeqNum;
use crate::tcp::env::Env;
use crate::tcp::predict::ExpectedSegment;
use crate::tcp::reset::answer_closed;
use crate::tcp::segment::Segment;
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::{CloseReason, Events, Outcome, Payload, Reply};
use crate::time::Instant;
use crate::wire::tcp::Flags;
use crate::wire::vlan::VlanId;
use crate::worker::accept_queue::Established;
use crate::worker::app::App;
use crate::worker::opening::{NoRecord, Opening};
use crate::worker::outbox::Outbox;
use crate::worker::way::learn_link;

impl<N: Nic> Core<N> {
    /// A segment for which the endpoint found more than an answer.
    #[inline(never)]
    pub(super) fn process_record<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        verdict: EndpointVerdict,
        now: Instant,
    ) {
        match verdict {
            EndpointVerdict::Unpark(found) => match self.opening(now).unpark(found, meta.hash) {
                Ok(slot) => self.on_open_segment(hosted, frame, meta, slot, now),
                Err(NoRecord) => self.end(frame, Counter::UnparkNoRecord),
            },
            EndpointVerdict::ParkedReset(found) => {
                self.reset_parked(hosted, frame, meta, found, now);
            }
            EndpointVerdict::Establish(found, listener) => {
                self.establish(hosted, frame, meta, (found, listener, None), now);
            }
            EndpointVerdict::EstablishCookie => self.establish_cookie(hosted, frame, meta, now),
            EndpointVerdict::Unreachable => self.answer_unreachable(frame),
            // Not reached: the process stage has dealt with these.
            EndpointVerdict::Drop
            | EndpointVerdict::Syn(_)
            | EndpointVerdict::Reply
            | EndpointVerdict::Reset(_)
            | EndpointVerdict::Cookie(_) => self.outbox.free(frame),
        }
    }

    pub(super) fn opening(&mut self, now: Instant) -> Opening<'_, N::Frame> {
        let endpoint = &mut self.endpoint;
        Opening {
            config: &endpoint.config,
            profiles: &endpoint.profiles,
            isn: &endpoint.isn,
            table: &mut endpoint.table,
            conns: &mut self.conns,
            mtu: endpoint.mtu,
            paths: &self.paths,
            now,
        }
    }

    /// Gives the protocol of an open connection a command; what follows from it is sent at the end of the turn.
    #[inline]
    pub(super) fn command(
        &mut self,
        slot: Slot,
        now: Instant,
        act: impl FnOnce(&mut Tcb, &mut Env<'_>),
    ) {
        if let Some(mut parts) = self.conns.parts(slot) {
            let (tcb, mut env) = parts.protocol(&self.endpoint.profiles, now);
            act(tcb, &mut env);
            parts.mark_dirty();
        }
    }

    pub(super) fn end(&mut self, frame: N::Frame, counter: Counter) {
        self.endpoint.counters.bump(counter);
        self.outbox.free(frame);
    }

    /// A valid reset of a parked connection: it ends without being unparked, so no lack of records can keep it alive.
    fn reset_parked<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        now: Instant,
    ) {
        self.end(frame, Counter::ParkedReset);
        let id = self.endpoint.table.conn_id(found);
        if let Some(id) = id {
            //~ The last callback sees what a parked connection was; parked_too
            self.keep_info(id, CloseReason::Reset, now);
        }
        let state = self.endpoint.table.end(found, meta.hash);
        self.conns.counters.parked_reset();
        self.endpoint.counters.bump(Counter::ConnectionsClosed);
        if let Some(ended) = id.zip(state) {
            self.closed(hosted, ended, CloseReason::Reset, now);
            self.last_parked = None;
        }
    }

    /// The final ACK of an embryo, which may be taken in one step where it is `expected`.
    #[inline(never)]
    pub(super) fn establish_expected<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        (found, listener): (Found, ListenerId),
        now: Instant,
    ) {
        //~ The final ACK takes one step when there is a place for its text:
        //~   `meta.payload_len == 0 || self.conns.chunks.has_receive_room(Claim::First)` -> `true`;
        //~   without_a_place_the_text_of_the_final_ack_is_lost_in_one_step_too
        let has_place = meta.payload_len == 0 || self.conns.chunks.has_receive_room(Claim::First);
        let expected = if has_place { meta.expected() } else { None };
        self.establish(
            hosted,
            frame,
            meta,
            (found, listener, expected.as_ref()),
            now,
        );
    }

    /// The final ACK of an embryo. With a full accept queue the embryo stays, or is reset by option.
    #[inline(always)]
    pub(super) fn establish<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        (found, listener, expected): (Found, ListenerId, Option<&ExpectedSegment>),
        now: Instant,
    ) {
        if let Some(abort) = self.accept_overflow(listener) {
            if !abort {
                return self.end(frame, Counter::EmbryoAckQueueFull);
            }
            self.endpoint.end_embryo(found, meta, listener);
            return self.reset_sender(frame, meta, Counter::EmbryoAckQueueReset);
        }
        let local = match meta.plain_destination(frame.bytes()) {
            //~ Our end of a plain frame's flow is its destination, untagged: `IpAddr::V4(address)`
            //~   -> `IpAddr::V4(core::net::Ipv4Addr::from_bits(address.to_bits() + 1))`;
            //~   the_final_ack_is_judged_by_its_numbers_in_one_step_too
            Some(address) => Some((VlanId::UNTAGGED, IpAddr::V4(address))),
            None => self.endpoint.config.locals.locate(meta.key.local()),
        };
        let mut opening = self.opening(now);
        let Ok((slot, prediction)) = opening.embryo(found, &meta.key, meta.hash, local, expected)
        else {
            return self.end(frame, Counter::EmbryoAckNoRecord);
        };
        self.endpoint.leave_backlog(listener);
        self.endpoint.counters.bump(Counter::EmbryoEstablished);
        match prediction {
            Some(prediction) => {
                self.take_expected(hosted, frame, meta, (slot, prediction), now);
            }
            None => self.on_open_segment(hosted, frame, meta, slot, now),
        }
    }

    /// The ACK of a cookie, whose SYN is [`Endpoint::kept_syn`].
    fn establish_cookie<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        now: Instant,
    ) {
        let Some(kept) = self.endpoint.kept_syn.take() else {
            return self.end(frame, Counter::CookieNoRecord);
        };
        match self.accept_overflow(ListenerId(kept.listener)) {
            Some(true) => return self.reset_sender(frame, meta, Counter::CookieQueueReset),
            Some(false) => return self.end(frame, Counter::CookieQueueFull),
            None => {}
        }
        match self.opening(now).cookie(meta.key, meta.hash, &kept) {
            Err(NoRecord) => self.end(frame, Counter::CookieNoRecord),
            Ok(slot) => {
                //~ A cookie that opened one is remembered;
                //~   a_late_copy_of_its_first_segment_opens_no_ended_connection_again
                self.endpoint.spent_cookies.spend(meta.hash, kept.iss);
                self.endpoint.counters.bump(Counter::CookieEstablished);
                self.on_open_segment(hosted, frame, meta, slot, now);
            }
        }
    }

    /// Whether a listener's accept queue is full (or the listener closed, at the end of a run or before), and if so, whether its
    /// connections are to be reset then.
    fn accept_overflow(&mut self, listener: ListenerId) -> Option<bool> {
        let endpoint = &mut self.endpoint;
        if endpoint.ports_closed {
            return Some(true);
        }
        let Some(config) = endpoint.listeners.config(listener) else {
            return Some(true);
        };
        //~ A full accept queue stops connections that complete the handshake: -> `if true {`;
        //~   abort_on_overflow_resets_the_connection_that_finds_no_place
        if !endpoint.accept_queues.is_full(listener) {
            return None;
        }
        endpoint.accept_queues.refuse(listener);
        Some(config.abort_on_overflow)
    }

    /// Answers a segment as one without a connection.
    fn reset_sender(&mut self, frame: N::Frame, meta: &Meta, counter: Counter) {
        self.endpoint.counters.bump(counter);
        let payload_len = u32::from(meta.payload_len);
        match answer_closed(meta.seq, meta.ack, meta.flags, payload_len) {
            Some(reset) => self.answer_reset(frame, meta, reset),
            None => self.outbox.free(frame),
        }
    }

    /// A segment of an open connection, by the fast path where that takes it.
    #[inline(never)]
    pub(super) fn on_open_segment<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        slot: Slot,
        now: Instant,
    ) {
        if let Err(frame) = self.on_expected(hosted, frame, meta, slot, now) {
            self.on_connection(hosted, frame, meta, slot, now);
        }
    }

    /// The same by the general path: in all steps of the RFC.
    #[inline(never)]
    pub(super) fn on_connection<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        slot: Slot,
        now: Instant,
    ) {
        let Core {
            conns,
            endpoint,
            nic,
            outbox,
            ..
        } = self;
        let Some(mut parts) = conns.parts(slot) else {
            return self.on_resting(hosted, frame, meta, slot, now);
        };
        let segment = fitting_segment(meta, frame.bytes(), &mut parts, &mut endpoint.counters);
        let (_, _, rcv_nxt) = parts.conn.tcb.numbers();
        let verdict = {
            let (tcb, mut env) = parts.protocol(&endpoint.profiles, now);
            tcb.on_segment(segment, &mut env)
        };
        if proves_way(verdict.outcome) {
            let is_progress = verdict.acked_len > 0;
            let way = learn_link(parts.conn, frame.bytes(), is_progress, now);
            endpoint.count_way(way);
        }
        if verdict.acked_len > 0 {
            let Parts { conn, chunks, .. } = &mut parts;
            conn.tx
                .ack(chunks, verdict.acked_len, |frame| outbox.free(frame));
        }
        let id = parts.conn.id;
        if meta.payload_len == 0
            && verdict.reply != Reply::Reset
            && is_unheard(parts.conn, verdict.events)
        {
            settle_unheard(&mut parts, endpoint.config.park_after, now);
            return self.end(frame, Counter::ConnSegment);
        }
        if !verdict.events.has(Events::CLOSED) {
            parts.mark_dirty();
        }
        if verdict.reply == Reply::Reset {
            self.reset_sender(frame, meta, Counter::ConnSegment);
        } else {
            endpoint.counters.bump(Counter::ConnSegment);
            let payload = Arrived {
                frame,
                start: payload_offset(meta),
                payload: verdict.payload,
                rcv_nxt,
            };
            payload.keep(parts, nic, outbox);
        }
        self.after_segment(hosted, slot, id, verdict.events, now);
    }

    /// The effects of a segment besides its answer.
    fn after_segment<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: ConnId,
        events: Events,
        now: Instant,
    ) {
        let mut rare = Events::PEER_CLOSED;
        rare.add(Events::URGENT);
        if events.has(rare) {
            self.after_rare(hosted, slot, id, events, now);
        }
        self.tell(hosted, slot, id, events, now);
        self.compact(slot);
    }

    /// The app hears of a segment, and the connection answers at once where that is due.
    #[inline(always)]
    pub(super) fn tell<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: ConnId,
        events: Events,
        now: Instant,
    ) {
        if events.has(Events::OPENED) {
            self.on_opened(hosted, slot, id, now);
        } else {
            self.deliver(hosted, slot, id, now);
        }
        self.announce(hosted, now);
        self.take_back_lent();
        if events.has(Events::CLOSED) {
            self.settle_closed(hosted, slot, now);
        } else if events.has(Events::ACK_NOW) {
            //~ The ACK in the middle of a burst leaves at once; an_ack_in_the_middle_of_a_burst_keeps_the_peer_going
            self.transmit(slot, now);
        }
    }

    /// A segment has ended the connection.
    #[inline(always)]
    pub(super) fn settle_closed<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        now: Instant,
    ) {
        self.settle(hosted, slot, now);
        // Mostly it is gone; one that has a reset to send, or bytes to be read, is asked.
        self.conns.mark_dirty(slot);
    }

    /// The peer's end, or urgent data.
    fn after_rare<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: ConnId,
        events: Events,
        now: Instant,
    ) {
        if events.has(Events::URGENT) {
            //~ Urgent data reaches the app before its bytes; urgent_data_is_told_before_its_bytes
            self.tell_urgent(hosted, slot, id, now);
        }
        if events.has(Events::PEER_CLOSED)
            && let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot)
        {
            conn.set(Conn::PEER_CLOSED);
            // Nothing comes behind the FIN: what was kept there is void.
            if !conn.ahead.is_empty() {
                let outbox = &mut self.outbox;
                conn.ahead.clear(chunks, |frame| outbox.free(frame));
            }
        }
    }

    fn on_opened<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, id: ConnId, now: Instant) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.has(Conn::SEEKS_WAY) {
            //~ The first connection to a destination finds its link address for those that follow;
            //~   the_answer_to_a_first_syn_shows_the_way_to_later_ones
            self.confirm_path(slot);
        } else if !conn.has(Conn::OWNED)
            && let Some(listener) = self.endpoint.table.opener(conn.found)
        {
            if !hosted.app.accepts_all(listener) {
                return self.offer(hosted, listener, Established { id, slot }, now);
            }
            //~ A connection that is accepted as it opens is the app's; accepting_all_is_what_the_default_does
            conn.set(Conn::OWNED);
        }
        self.opened_at_once(hosted, slot, id, now);
    }

    /// Bytes that the app has not taken, in a frame that is mostly empty, move to a frame that they share: a million segments of
    /// one byte must not keep a million frames.
    fn compact(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else {
            return;
        };
        if !conn.rx.is_empty() {
            self.compact_unread(slot);
        }
    }

    #[inline(never)]
    pub(super) fn compact_unread(&mut self, slot: Slot) {
        let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot) else {
            return;
        };
        let (nic, outbox) = (&mut self.nic, &mut self.outbox);
        conn.rx.compact(
            chunks,
            || nic.alloc_one(PoolClass::Data),
            |frame| outbox.free(frame),
        );
    }
}

/// The segment as far as there is room for it. Without a place for its bytes it counts as if they had been lost; but its ACK
/// is taken, which may set memory free.
#[inline]
fn fitting_segment<F>(
    meta: &Meta,
    bytes: &[u8],
    parts: &mut Parts<'_, F>,
    counters: &mut Counters,
) -> Segment {
    let mut segment = meta.segment(bytes);
    if segment.payload_len > 0 {
        let (_, _, rcv_nxt) = parts.conn.tcb.numbers();
        let claim = if segment.seq.after(rcv_nxt) {
            Claim::Ahead
        } else {
            Claim::of(parts.conn.rx.is_empty())
        };
        if !parts.chunks.has_receive_room(claim) {
            parts.chunks.refuse(Lack::to_receive(claim));
            counters.bump(Counter::PayloadNoPlace);
            segment.payload_len = 0;
            segment.flags = segment.flags.without(Flags::FIN);
            //~ Data that finds no place is remembered as stripped; data_without_a_place_starts_no_fast_retransmit
            segment.is_stripped = true;
        }
    }
    segment
}

/// A frame whose segment the protocol has judged.
struct Arrived<F> {
    frame: F,
    /// Where its payload starts.
    start: u32,
    /// The part that the protocol took.
    payload: Payload,
    /// RCV.NXT before the segment.
    rcv_nxt: SeqNum,
}

impl<F: Frame> Arrived<F> {
    /// Puts what the protocol took into the connection's queues.
    #[inline]
    fn keep<N: Nic<Frame = F>>(self, parts: Parts<'_, F>, nic: &mut N, outbox: &mut Outbox<F>) {
        let Parts { conn, chunks, .. } = parts;
        let chunk = |frame, skip, len| {
            let start = self.start + skip;
            Chunk { frame, start, len }
        };
        match self.payload {
            Payload::None => outbox.free(self.frame),
            Payload::InOrder {
                skip,
                len,
                released,
            } => {
                // Refused is only what names no byte: there was a place before.
                if let Err(chunk) = conn.rx.push(chunks, chunk(self.frame, skip, len)) {
                    outbox.free(chunk.frame);
                }
                if !conn.ahead.is_empty() {
                    let delivered = self.rcv_nxt.add(len);
                    let up_to = delivered.add(released);
                    let freed = |frame| outbox.free(frame);
                    conn.ahead
                        .release(chunks, delivered, up_to, &mut conn.rx, freed);
                }
                if len + released > 0 {
                    conn.set(Conn::NEWS);
                }
            }
            Payload::OutOfOrder { seq, skip, len } => {
                let kept = conn.ahead.insert(
                    chunks,
                    seq,
                    chunk(self.frame, skip, len),
                    || nic.alloc_one(PoolClass::Data),
                    |frame| outbox.free(frame),
                );
                if let Err(chunk) = kept {
                    outbox.free(chunk.frame);
                }
            }
        }
    }
}

/// Whether a segment that ended so came from our peer: its link-layer source is the way back then. A segment below
/// RCV.NXT is not evidence: its ACK was never validated, and half of all sequence numbers are old.
#[inline]
fn proves_way(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::InOrder
            | Outcome::PureAck
            | Outcome::DuplicateAck
            | Outcome::OutOfOrder
            | Outcome::Handshake
            | Outcome::WindowProbe
    )
}

/// Where the payload starts in the frame.
#[inline]
pub(super) fn payload_offset(meta: &Meta) -> u32 {
    u32::from(meta.l4_offset) + meta.header_len() as u32
}
