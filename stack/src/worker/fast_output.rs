//! The fast path of output: a connection that has exactly one ordinary segment to send writes it straight into a buffer.
//!
//! It must never send another segment than the general path in `output` does, nor settle a connection in another way.

use super::Core;
use super::callbacks::Hosted;
use super::frame_writer::{COPY_BREAK, SegmentWriter};
use super::plain_writer::{OrdinarySegment, SYN_OPTIONS_LEN, SynSegment, TIMESTAMPS_LEN, Way};
use super::settling::arm;
use crate::conn::TickMs;
use crate::conn::connections::{Parts, Slot};
use crate::counters::Counter;
use crate::nic::{Frame, Nic};
use crate::path::CONFIRMED_MS;
use crate::queue::chunks::Chunks;
use crate::queue::statics::Statics;
use crate::queue::tx_queue::TxQueue;
use crate::tcp::env::Env;
use crate::tcp::output::Unsent;
use crate::tcp::predict::PlainSegment;
use crate::tcp::settings::Settings;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::checksum::{self, Sum};
use crate::wire::ethernet::MacAddr;
use crate::worker::app::App;

/// The result of asking a connection by the fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FastOutput {
    /// It has said all, and waits for its next deadline.
    Settled,
    /// It has said all, and is over.
    Over,
    /// The general path has to ask it. Nothing has changed.
    Unusual,
}

impl<N: Nic> Core<N> {
    /// Asks a connection of the list by the fast path. False when the general path has to.
    #[inline(always)]
    pub(super) fn output_expected<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        now: Instant,
    ) -> bool {
        match self.ask_expected(slot, now) {
            FastOutput::Settled => true,
            FastOutput::Over => {
                self.settle(hosted, slot, now);
                true
            }
            FastOutput::Unusual => false,
        }
    }

    #[inline(always)]
    fn ask_expected(&mut self, slot: Slot, now: Instant) -> FastOutput {
        let Some(mut parts) = self.conns.parts(slot) else {
            return FastOutput::Settled;
        };
        parts.leave_list();
        if !self.fast_path.is_on() {
            return FastOutput::Unusual;
        }
        let unsent = parts.conn.unsent();
        // With text there is something to say, nearly always.
        if unsent.len > 0 || !parts.conn.tcb.is_silent(unsent) {
            //~ The fast path sends where there is room: `self.outbox.connection_room() > 0` -> `true`;
            //~   the_fast_path_sends_no_more_than_there_is_room_for
            //~ The fast path sends where there is a buffer: `&& self.writer.has_buffer(&mut self.nic)` -> nothing;
            //~   whatever_happens_the_fast_path_changes_nothing
            let is_ready = self.outbox.connection_room() > 0
                && parts.conn.path_epoch == self.paths.epoch()
                && self.writer.has_buffer(&mut self.nic);
            let settings = self.endpoint.profiles.get(parts.conn.profile);
            // No closure: where there are several apps the compiler would keep it apart, 150 instructions a segment.
            let written = if is_ready {
                write(&mut self.writer, &mut parts, unsent, settings, now)
            } else {
                None
            };
            let counters = &mut self.endpoint.counters;
            match written {
                Some(Some(frame)) => self.outbox.connection(frame, counters),
                Some(None) => counters.bump(Counter::TxNoBuffer),
                None => return FastOutput::Unusual,
            }
        }
        if arm(&mut parts, self.endpoint.config.park_after, now) {
            FastOutput::Settled
        } else {
            FastOutput::Over
        }
    }
}

/// The segment that a connection has to send, if it is the only one and an ordinary one: its frame, or none when the buffer was
/// too short for it. `None`, and nothing has changed, for anything else.
#[inline(always)]
fn write<F: Frame>(
    writer: &mut SegmentWriter<F>,
    parts: &mut Parts<'_, F>,
    unsent: Unsent,
    settings: &Settings,
    now: Instant,
) -> Option<Option<F>> {
    let conn = &mut *parts.conn;
    let (Some(link), Some(local)) = (&conn.link, &conn.local) else {
        return None;
    };
    //~ The fast path sends where the way was confirmed: `!is_fresh ||` -> nothing;
    //~   whatever_happens_the_fast_path_changes_nothing
    //~ The fast path sends where the way is known: `|| link.mac == MacAddr::ZERO` -> nothing;
    //~   whatever_happens_the_fast_path_changes_nothing
    let is_fresh = TickMs::at(now).since(link.heard_at) < CONFIRMED_MS;
    if !is_fresh || link.mac == MacAddr::ZERO {
        return None;
    }
    let key = &conn.key;
    let way = Way {
        key,
        local,
        dst: &link.mac,
    };
    let env = &mut Env {
        now,
        settings,
        counters: parts.counters,
    };
    if conn.tcb.is_opening() {
        let syn = conn.tcb.predict_syn(env)?;
        let content = SynSegment { key, syn };
        return Some(writer.write(&way, &content, SYN_OPTIONS_LEN, (&[], Sum::ZERO)));
    }
    // Each by itself: without text, half of the work is known when compiling.
    if unsent.len == 0 {
        let segment = conn.tcb.predict_output(0, env)?;
        return Some(write_segment(
            writer,
            &mut conn.tcb,
            env,
            &way,
            segment,
            (&[], Sum::ZERO),
        ));
    }
    let text = text(&conn.tx, parts.statics, parts.chunks, unsent.len)?;
    let segment = conn.tcb.predict_output(unsent.len, env)?;
    Some(write_segment(
        writer,
        &mut conn.tcb,
        env,
        &way,
        segment,
        text,
    ))
}

/// The frame of a segment that counts as sent; none when the buffer was too short for it.
#[inline(always)]
fn write_segment<F: Frame>(
    writer: &mut SegmentWriter<F>,
    tcb: &mut Tcb,
    env: &Env<'_>,
    way: &Way<'_>,
    segment: PlainSegment,
    payload: (&[u8], Sum),
) -> Option<F> {
    let key = way.key;
    let frame = if segment.timestamps.is_some() {
        let content = OrdinarySegment::<true> { key, segment };
        writer.write(way, &content, TIMESTAMPS_LEN, payload)
    } else {
        let content = OrdinarySegment::<false> { key, segment };
        writer.write(way, &content, 0, payload)
    };
    if frame.is_none() {
        tcb.on_unsent(env);
    }
    frame
}

/// All that a connection has to send, where it is one item that was never sent and is short enough to be copied: registered text,
/// or bytes in one frame.
#[inline(always)]
fn text<'a, F: Frame>(
    tx: &TxQueue,
    statics: &'a Statics<F>,
    chunks: &'a Chunks<F>,
    unsent_len: u32,
) -> Option<(&'a [u8], Sum)> {
    let Some((id, start, len)) = tx.sole_static() else {
        return text_in_frame(tx, chunks, unsent_len);
    };
    //~ The fast path sends text of which nothing is in flight: `len != unsent_len ||` -> nothing;
    //~   the_rest_of_a_text_goes_from_where_the_window_cut_it
    //~ The fast path copies short text only: `|| len as usize > COPY_BREAK` -> nothing;
    //~   longer_text_is_chained_on_the_fast_path_too
    if len != unsent_len || len as usize > COPY_BREAK {
        return None;
    }
    statics.bytes(id, start, len)
}

/// The same where no registered text is queued.
#[inline(never)]
fn text_in_frame<'a, F: Frame>(
    tx: &TxQueue,
    chunks: &'a Chunks<F>,
    unsent_len: u32,
) -> Option<(&'a [u8], Sum)> {
    let bytes = tx.sole_frame_bytes(chunks)?;
    //~ The fast path sends a frame of which nothing is in flight: `bytes.len() != unsent_len as usize ||` -> nothing;
    //~   the_rest_of_copied_text_goes_from_where_the_window_cut_it
    //~ The fast path copies a short frame only: `|| bytes.len() > COPY_BREAK` -> nothing;
    //~   longer_copied_text_is_chained_on_the_fast_path_too
    if bytes.len() != unsent_len as usize || bytes.len() > COPY_BREAK {
        return None;
    }
    Some((bytes, checksum::sum(bytes)))
}
