//! The fast path of a connection: a segment that is exactly as expected goes from its [`Meta`] to the app in one step, and its
//! frame is lent to the app's callback instead of being queued.
//!
//! It must never lead to another frame, callback, counter or state than the general path in `connection` does: what it can't
//! take it leaves untouched. The sim runs every seed with either (`tests/sim_seeds.rs`).

use super::Core;
use super::callbacks::Hosted;
use super::classify::Meta;
use super::connection::payload_offset;
use super::settling::{is_unheard, settle_unheard};
use super::way::learn_link;
use crate::config::FastPath;
use crate::conn::connections::{Conn, Parts, Slot};
use crate::counters::Counter;
use crate::nic::{Frame, Nic};
use crate::queue::claim::Claim;
use crate::queue::rx_queue::Chunk;
use crate::rng::Random;
use crate::tcp::predict::Prediction;
use crate::tcp::verdict::Events;
use crate::time::Instant;
use crate::wire::tcp_options::usual_syn;
use crate::worker::app::App;
use crate::worker::outbox::Outbox;

/// Whether the next segment may take the fast path.
#[derive(Debug)]
pub(super) enum FastPathSwitch {
    On,
    Off,
    Random(Random),
}

impl FastPathSwitch {
    pub(super) const fn new(fast_path: FastPath) -> Self {
        match fast_path {
            FastPath::On => Self::On,
            FastPath::Off => Self::Off,
            FastPath::Random(seed) => Self::Random(Random::new(seed)),
        }
    }

    #[inline(always)]
    pub(super) const fn is_on(&mut self) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Random(random) => random.next_u64() & 1 == 0,
        }
    }
}

/// A received frame that the callbacks of its connection may read before it takes a place in the queue.
#[derive(Debug)]
pub(super) struct LentFrame<F> {
    pub(super) slot: Slot,
    /// Its unread bytes.
    chunk: Chunk<F>,
}

impl<F: Frame> LentFrame<F> {
    /// Its bytes that are still unread.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        let start = self.chunk.start as usize;
        let bytes = self.chunk.frame.bytes().get(start..);
        bytes
            .and_then(|from| from.get(..self.chunk.len as usize))
            .unwrap_or(&[])
    }

    #[inline]
    pub(super) const fn unread_len(&self) -> u32 {
        self.chunk.len
    }

    /// Marks its first `len` bytes as read, at most all; says how many those were.
    #[inline]
    pub(super) fn consume(&mut self, len: u32) -> u32 {
        let len = len.min(self.chunk.len);
        //~ What is read of a lent frame is not read again; a_lent_frame_is_read_by_its_connection_only_piece_by_piece
        self.chunk.start += len;
        self.chunk.len -= len;
        len
    }
}

/// The peer has this many bytes of text more.
#[inline(always)]
fn let_go<F>(parts: &mut Parts<'_, F>, outbox: &mut Outbox<F>, acked_len: u32) {
    let Parts { conn, chunks, .. } = parts;
    conn.tx.ack(chunks, acked_len, |frame| outbox.free(frame));
}

impl<N: Nic> Core<N> {
    /// Takes a segment of an open connection in one step when it is exactly as expected. Any other comes back, and nothing has
    /// changed.
    #[inline(always)]
    pub(super) fn on_expected<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        slot: Slot,
        now: Instant,
    ) -> Result<(), N::Frame> {
        if !self.fast_path.is_on() {
            return Err(frame);
        }
        let Core {
            conns, endpoint, ..
        } = self;
        let Some(mut parts) = conns.parts(slot) else {
            return Err(frame);
        };
        //~ The fast path takes text when nothing is unread: `parts.conn.rx.is_empty() &&` -> nothing;
        //~   whatever_happens_the_fast_path_changes_nothing
        //~ The fast path takes text when there is a place: `&& parts.chunks.has_receive_room(Claim::First)` -> nothing;
        //~   whatever_happens_the_fast_path_changes_nothing
        let has_text = meta.payload_len > 0;
        let has_place = parts.conn.rx.is_empty() && parts.chunks.has_receive_room(Claim::First);
        if has_text && !has_place {
            return Err(frame);
        }
        let Some(segment) = meta.expected() else {
            return self.on_expected_syn_ack(hosted, frame, meta, slot, now);
        };
        let prediction = {
            let (tcb, mut env) = parts.protocol(&endpoint.profiles, now);
            tcb.predict(&segment, &mut env)
        };
        match prediction {
            Some(prediction) => {
                self.take_expected(hosted, frame, meta, (slot, prediction), now);
                Ok(())
            }
            None => Err(frame),
        }
    }

    /// The connection in `slot` has taken this segment: what follows from it for its queues, its app and its output.
    #[inline(always)]
    pub(super) fn take_expected<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        (slot, prediction): (Slot, Prediction),
        now: Instant,
    ) {
        let Core {
            conns,
            endpoint,
            outbox,
            lent,
            ..
        } = self;
        let Some(mut parts) = conns.parts(slot) else {
            // Not reached: it was predicted just now.
            return outbox.free(frame);
        };
        let has_text = meta.payload_len > 0;
        let is_progress = prediction.acked_len > 0;
        let way = learn_link(parts.conn, frame.bytes(), is_progress, now);
        endpoint.count_way(way);
        if prediction.acked_len > 0 {
            //~ The fast path lets go of what was acknowledged; whatever_happens_the_fast_path_changes_nothing
            let_go(&mut parts, outbox, prediction.acked_len);
        }
        endpoint.counters.bump(Counter::ConnSegment);
        //~ The app hears on the fast path what it has to hear: `is_unheard(parts.conn, events_but_end)` -> `true`;
        //~   whatever_happens_the_fast_path_changes_nothing
        let events_but_end = prediction.events.without(Events::CLOSED);
        if !has_text && is_unheard(parts.conn, events_but_end) {
            outbox.free(frame);
            if prediction.events.has(Events::CLOSED) {
                self.settle_closed(hosted, slot, now);
            } else {
                settle_unheard(&mut parts, endpoint.config.park_after, now);
            }
            return;
        }
        let id = parts.conn.id;
        if prediction.events.has(Events::PEER_CLOSED) {
            //~ The app hears of the peer's end on the fast path too; whatever_happens_the_fast_path_changes_nothing
            // Nothing was kept ahead: then nothing is predicted.
            parts.conn.set(Conn::PEER_CLOSED);
        }
        if !prediction.events.has(Events::CLOSED) {
            parts.mark_dirty();
        }
        if has_text {
            //~ Text on the fast path is news; whatever_happens_the_fast_path_changes_nothing
            parts.conn.set(Conn::NEWS);
            parts.chunks.lend();
            let (start, len) = (payload_offset(meta), u32::from(meta.payload_len));
            let chunk = Chunk { frame, start, len };
            *lent = Some(LentFrame { slot, chunk });
        } else {
            outbox.free(frame);
        }
        self.tell(hosted, slot, id, prediction.events, now);
    }

    /// The same for the SYN-ACK of a connection that we open, with the options of a Linux SYN.
    #[inline(never)]
    fn on_expected_syn_ack<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        slot: Slot,
        now: Instant,
    ) -> Result<(), N::Frame> {
        let Core {
            conns,
            endpoint,
            outbox,
            ..
        } = self;
        let (Some(options), Some(mut parts)) =
            (usual_syn(meta.options(frame.bytes())), conns.parts(slot))
        else {
            return Err(frame);
        };
        let prediction = {
            let (tcb, mut env) = parts.protocol(&endpoint.profiles, now);
            tcb.predict_syn_ack(&meta.syn(options), &mut env)
        };
        let Some(prediction) = prediction else {
            return Err(frame);
        };
        let way = learn_link(parts.conn, frame.bytes(), true, now);
        endpoint.count_way(way);
        endpoint.counters.bump(Counter::ConnSegment);
        let id = parts.conn.id;
        parts.mark_dirty();
        outbox.free(frame);
        self.tell(hosted, slot, id, prediction.events, now);
        Ok(())
    }

    /// The callbacks are over: what they left unread of the lent frame takes its place in the queue.
    #[inline]
    pub(super) fn take_back_lent(&mut self) {
        let Some(LentFrame { slot, chunk }) = self.lent.take() else {
            return;
        };
        //~ The place of a lent frame is free again; whatever_happens_the_fast_path_changes_nothing
        self.conns.chunks.unlend();
        //~ What is left unread of a lent frame is queued: `chunk.len > 0` -> `false`;
        //~   whatever_happens_the_fast_path_changes_nothing
        if chunk.len > 0
            && let Some(Parts { conn, chunks, .. }) = self.conns.parts(slot)
        {
            // Refused is only what names no byte: its place was kept.
            if let Err(chunk) = conn.rx.push(chunks, chunk) {
                self.outbox.free(chunk.frame);
            }
            self.compact_unread(slot);
        } else {
            self.outbox.free(chunk.frame);
        }
    }

    /// The frame that is lent to the callbacks of this connection.
    #[inline]
    pub(super) fn lent_to(&self, slot: Slot) -> Option<&LentFrame<N::Frame>> {
        //~ A lent frame is shown to its connection only: `.filter(|lent| lent.slot == slot)` -> nothing;
        //~   a_lent_frame_is_read_by_its_connection_only_piece_by_piece
        self.lent.as_ref().filter(|lent| lent.slot == slot)
    }

    /// [`Core::lent_to`], for reading from it.
    #[inline]
    pub(super) fn lent_to_mut(&mut self, slot: Slot) -> Option<&mut LentFrame<N::Frame>> {
        //~ A lent frame is read by its connection only: `.filter(|lent| lent.slot == slot)` -> nothing;
        //~   a_lent_frame_is_read_by_its_connection_only_piece_by_piece
        self.lent.as_mut().filter(|lent| lent.slot == slot)
    }
}
