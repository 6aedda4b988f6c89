//! Segments of connections: from a record that was found to the protocol, its queues and the app.
//!
//! Called by: the process stage, for all that [`super::endpoint::Endpoint`] doesn't answer alone. It must never
//! acknowledge what the queues have no room for, and never send: connections are asked at the end of the turn.

use super::Core;
use super::callbacks::Hosted;
use super::classify::Meta;
use super::endpoint::{Endpoint, Verdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::app::{App, Chunk};
use crate::conn::connections::{Conn, LinkPeer, Parts, Slot};
use crate::conn::listener::ListenerId;
use crate::conn::opening::{NoRecord, Opening, tuple};
use crate::conn::{Found, TickMs};
use crate::counters::Counter;
use crate::nic::{Burst, Frame, Nic, PoolClass};
use crate::tcp::env::Env;
use crate::tcp::reset::answer_closed;
use crate::tcp::segment::{Options, Segment, SendPlan};
use crate::tcp::seq::SeqNum;
use crate::tcp::time_wait::Step;
use crate::tcp::verdict::{Events, Outcome, Payload, Reply};
use crate::time::Instant;
use crate::wire::ethernet::{self, MacAddr};
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::TcpOptions;
use crate::wire::{U16, vlan};

impl<N: Nic> Core<N> {
    /// A segment for which the endpoint found more than an answer.
    #[inline(never)]
    pub(super) fn process_record<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        verdict: Verdict,
        now: Instant,
    ) {
        match verdict {
            Verdict::Open(found) => {
                let slot = self.conns.slot_of(found.entry());
                self.on_connection(hosted, frame, meta, slot, now);
            }
            Verdict::Wake(found) => match self.opening(now).wake(found, meta.hash) {
                Ok(slot) => self.on_connection(hosted, frame, meta, slot, now),
                Err(NoRecord) => self.end(frame, Counter::WakeNoRecord),
            },
            Verdict::Establish(found) => self.establish(hosted, frame, meta, found, now),
            Verdict::EstablishCookie => self.establish_cookie(hosted, frame, meta, now),
            Verdict::TimeWait(found) => self.on_time_wait(frame, meta, found, now),
            Verdict::Unreachable => self.answer_unreachable(frame),
            // Not reached: the process stage has dealt with these.
            Verdict::Drop | Verdict::Reply | Verdict::Reset(_) => self.outbox.free(frame),
        }
    }

    pub(super) fn opening(&mut self, now: Instant) -> Opening<'_, N::Frame> {
        let endpoint = &mut self.endpoint;
        Opening {
            config: &endpoint.config,
            isn: &endpoint.isn,
            table: &mut endpoint.table,
            conns: &mut self.conns,
            mtu: endpoint.mtu,
            now,
        }
    }

    fn end(&mut self, frame: N::Frame, counter: Counter) {
        self.endpoint.counters.bump(counter);
        self.outbox.free(frame);
    }

    /// The final ACK of an embryo. With a full accept queue the embryo stays, or is reset by option.
    fn establish<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        now: Instant,
    ) {
        let Some(embryo) = self.endpoint.table.embryo(found).copied() else {
            return self.end(frame, Counter::EmbryoDropped);
        };
        let listener = ListenerId(embryo.listener);
        if let Some(abort) = self.accept_overflow(listener) {
            if !abort {
                return self.end(frame, Counter::EmbryoAckQueueFull);
            }
            self.endpoint.end_embryo(found, meta, &embryo);
            return self.reset_sender(frame, meta, Counter::EmbryoAckQueueReset);
        }
        match self
            .opening(now)
            .embryo(found, meta.key, meta.hash, &embryo)
        {
            Err(NoRecord) => self.end(frame, Counter::EmbryoAckNoRecord),
            Ok(slot) => {
                self.endpoint.leave_backlog(&embryo);
                self.endpoint.counters.bump(Counter::EmbryoEstablished);
                self.on_connection(hosted, frame, meta, slot, now);
            }
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
                self.endpoint.counters.bump(Counter::CookieEstablished);
                self.on_connection(hosted, frame, meta, slot, now);
            }
        }
    }

    /// Whether a listener's accept queue is full, and if so, whether its connections are to be reset then.
    fn accept_overflow(&self, listener: ListenerId) -> Option<bool> {
        let config = self.endpoint.config.listeners.config(listener)?;
        self.endpoint
            .accept_queues
            .is_full(listener)
            .then_some(config.abort_on_overflow)
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

    /// A segment of an open connection.
    pub(super) fn on_connection<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        slot: Slot,
        now: Instant,
    ) {
        let mut segment = segment_of(meta, frame.bytes());
        if !self.conns.chunks.has_receive_room() && segment.payload_len > 0 {
            // No place for its bytes: it counts as if they had been lost, but its ACK may set memory free.
            self.endpoint.counters.bump(Counter::PayloadNoPlace);
            segment.payload_len = 0;
            segment.flags = segment.flags.without(Flags::FIN);
        }
        let Some(mut parts) = self.conns.parts(slot) else {
            // Not reached: every open record has its connection.
            return self.end(frame, Counter::WakeNoRecord);
        };
        let before = parts.conn.tcb.numbers();
        let verdict = {
            let (tcb, mut env) = parts.protocol(&self.endpoint.config, now);
            tcb.on_segment(&segment, &mut env)
        };
        self.endpoint.counters.bump(Counter::ConnSegment);
        let Parts { conn, chunks, .. } = parts;
        if proves_way(verdict.outcome) {
            conn.link = link_of(frame.bytes(), now);
        }
        if verdict.acked_len > 0 {
            let outbox = &mut self.outbox;
            conn.tx
                .ack(chunks, verdict.acked_len, |frame| outbox.free(frame));
        }
        let (id, key_reset) = (conn.id, verdict.reply == Reply::Reset);
        let place = payload_offset(meta);
        let nic = &mut self.nic;
        let fresh = || data_frame(nic);
        match verdict.payload {
            _ if key_reset => {
                let payload_len = u32::from(meta.payload_len);
                match answer_closed(meta.seq, meta.ack, meta.flags, payload_len) {
                    Some(reset) => self.answer_reset(frame, meta, reset),
                    None => self.outbox.free(frame),
                }
            }
            Payload::None => self.outbox.free(frame),
            Payload::InOrder {
                skip,
                len,
                released,
            } => {
                let outbox = &mut self.outbox;
                let start = place + skip;
                if len == 0 {
                    outbox.free(frame);
                } else if let Err(chunk) = conn.rx.push(chunks, Chunk { frame, start, len }) {
                    // Not reached: there was a place before.
                    outbox.free(chunk.frame);
                }
                if !conn.ahead.is_empty() {
                    let delivered = rcv_nxt(before).add(len);
                    conn.ahead.release(
                        chunks,
                        delivered,
                        delivered.add(released),
                        &mut conn.rx,
                        |frame| outbox.free(frame),
                    );
                }
                if len + released > 0 {
                    conn.set(Conn::NEWS);
                }
            }
            Payload::OutOfOrder { seq, skip, len } => {
                let start = place + skip;
                let chunk = Chunk { frame, start, len };
                let outbox = &mut self.outbox;
                let kept = conn
                    .ahead
                    .insert(chunks, seq, chunk, fresh, |frame| outbox.free(frame));
                if let Err(chunk) = kept {
                    // Not reached: there was a place before.
                    outbox.free(chunk.frame);
                }
            }
        }
        self.conns.mark_dirty(slot);
        self.after_segment(hosted, slot, id, verdict.events, now);
    }

    /// What follows from a segment besides its answer.
    fn after_segment<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: crate::conn::ConnId,
        events: Events,
        now: Instant,
    ) {
        if events.has(Events::PEER_CLOSED)
            && let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot)
        {
            conn.set(Conn::PEER_CLOSED);
            // Nothing comes behind the FIN: what was kept there is void.
            let outbox = &mut self.outbox;
            conn.ahead.clear(chunks, |frame| outbox.free(frame));
        }
        if events.has(Events::OPENED) {
            self.on_opened(hosted, slot, id, now);
        } else {
            self.deliver(hosted, slot, id, now);
        }
        if !self.conns.opened.is_empty() {
            self.announce(hosted, now);
        }
        self.compact(slot);
        if events.has(Events::CLOSED) {
            self.settle(hosted, slot, now);
        } else if events.has(Events::ACK_NOW) {
            self.transmit(slot, now);
        }
    }

    fn on_opened<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        id: crate::conn::ConnId,
        now: Instant,
    ) {
        let Some(conn) = self.conns.get(slot) else {
            return;
        };
        match conn.listener() {
            Some(listener) if !conn.has(Conn::OWNED) => self.offer(hosted, listener, id, now),
            _ => self.opened(hosted, slot, id, now),
        }
    }

    /// Bytes that nobody took yet, in a frame that is mostly empty, move to a frame that they share: a million segments of
    /// one byte must not keep a million frames.
    fn compact(&mut self, slot: Slot) {
        let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot) else {
            return;
        };
        if conn.rx.is_empty() {
            return;
        }
        let (nic, outbox) = (&mut self.nic, &mut self.outbox);
        conn.rx
            .compact(chunks, || data_frame(nic), |frame| outbox.free(frame));
    }

    /// A segment of a connection in TIME-WAIT.
    fn on_time_wait(&mut self, frame: N::Frame, meta: &Meta, found: Found, now: Instant) {
        let Some(record) = self.endpoint.table.time_wait(found).copied() else {
            return self.end(frame, Counter::TimeWaitDropped);
        };
        let segment = segment_of(meta, frame.bytes());
        let deadline = self.endpoint.table.deadline(found);
        let offset = self.endpoint.isn.timestamp_offset_ms(tuple(&meta.key));
        let mut time_wait = record.to_tcp(deadline.unwrap_or(TickMs::at(now)), offset, now);
        let before = time_wait.deadline;
        let mut env = Env {
            now,
            settings: &self.endpoint.config.tcp,
            counters: &mut self.conns.counters,
        };
        let step = time_wait.on_segment(&segment, &mut env);
        if let Some(place) = self.endpoint.table.time_wait_mut(found) {
            *place = crate::conn::TimeWait::from_tcp(&time_wait);
        }
        if time_wait.deadline != before
            && let Some(at) = time_wait.deadline.instant()
        {
            self.endpoint.table.restart_time_wait(found, at);
        }
        match step {
            Step::Drop => self.end(frame, Counter::TimeWaitDropped),
            Step::Ack(plan) => {
                self.endpoint.answer = reply_of(&plan);
                self.endpoint.counters.bump(Counter::TimeWaitAck);
                self.answer(frame, meta);
            }
            Step::Closed => {
                self.endpoint.table.remove(found, meta.hash);
                self.end(frame, Counter::TimeWaitReset);
            }
            Step::Reopen { iss_after } => self.reopen(frame, meta, found, iss_after, now),
        }
    }

    /// A SYN that may end TIME-WAIT (RFC 9293 MAY-2): it meets the listener, with an ISS above the old connection's numbers.
    #[inline(never)]
    fn reopen(
        &mut self,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        iss_after: SeqNum,
        now: Instant,
    ) {
        let listens = self
            .endpoint
            .config
            .listeners
            .find(meta.key.local(), meta.key.local_port());
        if listens.is_none() {
            return self.end(frame, Counter::TimeWaitDropped);
        }
        self.endpoint.table.remove(found, meta.hash);
        self.endpoint.iss_after = Some(iss_after);
        let verdict = self.endpoint.on_unmatched(meta, frame.bytes(), now);
        self.endpoint.iss_after = None;
        match verdict {
            Verdict::Reply => self.answer(frame, meta),
            Verdict::Reset(reset) => self.answer_reset(frame, meta, reset),
            _ => self.outbox.free(frame),
        }
    }
}

impl Endpoint {
    /// The ISS of a new passive connection: above the numbers of the one in TIME-WAIT that it follows, if it does.
    pub(super) fn passive_iss(&self, meta: &Meta, now: Instant) -> SeqNum {
        let iss = self.isn.iss(tuple(&meta.key), now);
        match self.iss_after {
            Some(after) if !iss.after(after) => after.add(1 + (iss.0 & 0xffff)),
            _ => iss,
        }
    }
}

fn rcv_nxt((_, _, rcv_nxt): (SeqNum, SeqNum, SeqNum)) -> SeqNum {
    rcv_nxt
}

/// An empty buffer for payload.
fn data_frame<N: Nic>(nic: &mut N) -> Option<N::Frame> {
    let mut fresh = Burst::new();
    nic.alloc(PoolClass::Data, &mut fresh, 1);
    fresh.take_front(1).next()
}

/// Whether a segment that ended so came from our peer: its link-layer source is the way back then.
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
            | Outcome::Duplicate
    )
}

/// Where a frame came from.
#[inline]
fn link_of(bytes: &[u8], now: Instant) -> Option<LinkPeer> {
    let header = bytes.first_chunk::<{ ethernet::HEADER_LEN + 2 }>()?;
    let mac = MacAddr([
        header[6], header[7], header[8], header[9], header[10], header[11],
    ]);
    let tagged = header[12..14] == ethernet::EtherType::VLAN.0.to_bytes();
    Some(LinkPeer {
        mac,
        vlan: tagged.then(|| vlan::Tag(U16::new(u16::from_be_bytes([header[14], header[15]])))),
        heard_at: TickMs::at(now),
    })
}

/// Where the payload starts in the frame.
#[inline]
fn payload_offset(meta: &Meta) -> u32 {
    u32::from(meta.l4_offset) + crate::wire::tcp::HEADER_LEN as u32 + u32::from(meta.options_len)
}

/// The numbers of a segment as the protocol wants them.
#[inline]
fn segment_of(meta: &Meta, bytes: &[u8]) -> Segment {
    let options = meta.options(bytes);
    let urgent_at = usize::from(meta.l4_offset) + 18;
    let urgent = match bytes.get(urgent_at..urgent_at + 2) {
        Some(&[high, low]) if meta.flags.contains(Flags::URG) => u16::from_be_bytes([high, low]),
        _ => 0,
    };
    Segment {
        seq: meta.seq,
        ack: meta.ack,
        flags: meta.flags,
        window: meta.window,
        urgent,
        payload_len: meta.payload_len.into(),
        options: if options.is_empty() {
            Options::default()
        } else {
            Options::from(&TcpOptions::parse(options))
        },
    }
}

/// A plan without payload as a reply in place.
fn reply_of(plan: &SendPlan) -> TcpReply {
    let timestamps = plan.options.timestamps;
    TcpReply {
        seq: plan.seq,
        ack: plan.ack,
        flags: plan.flags,
        window: plan.window,
        options: ReplyOptions::NONE
            .with_timestamps(timestamps.map(|option| (option.tsval, option.tsecr))),
    }
}
