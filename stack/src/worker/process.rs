//! The process stage: each frame in arrival order meets its record and becomes a reply or goes.
//!
//! It must never reorder frames, and never write into a frame that somebody else may read.

use super::callbacks::Hosted;
use super::classify::{Lane, Meta};
use super::endpoint::EndpointVerdict;
use super::handoff::Message;
use super::reply::{turn_around, turn_around_plain};
use super::{Core, Scratch};
use crate::counters::Counter;
use crate::nic::{BURST_FRAMES, Burst, Frame, Nic, PoolClass};
use crate::tcp::reset::Reset;
use crate::time::Instant;
use crate::worker::app::App;

/// Bytes that are enough for every header that a reply is made from: link with tag, the longest IPv4 header or IPv6
/// with the extension headers that we walk, and a TCP header.
const HEADERS_LEN: usize = 256;

impl<N: Nic> Core<N> {
    /// Frames in several buffers become frames in one, so that no later stage has to know of them.
    #[inline]
    pub(super) fn linearize(&mut self, rx: &mut Burst<N::Frame>) {
        if rx.as_slice().iter().all(Frame::is_contiguous) {
            return;
        }
        let mut burst = core::mem::take(rx);
        for frame in burst.take_front(BURST_FRAMES) {
            let frame = if frame.is_contiguous() {
                Ok(frame)
            } else {
                self.copy(&frame, usize::MAX)
            };
            match frame {
                // Not refused: there were no more than fit before.
                Ok(frame) => drop(rx.push(frame)),
                Err(why) => self.endpoint.counters.bump(why),
            }
        }
    }

    /// The first `len` bytes of a frame in a fresh buffer.
    ///
    /// # Errors
    /// The counter under which a chained frame ends that can't be copied.
    pub(super) fn copy(&mut self, frame: &N::Frame, len: usize) -> Result<N::Frame, Counter> {
        let fresh = self.nic.alloc_one(PoolClass::Control);
        let mut fresh = fresh.ok_or(Counter::ChainedNoBuffer)?;
        let fits = fresh.set_len(frame.total_len().min(len)).is_ok();
        match fresh.bytes_mut() {
            Some(bytes) if fits => {
                frame.copy_out(0, bytes);
                Ok(fresh)
            }
            _ => Err(Counter::ChainedTooLong),
        }
    }

    /// The process stage.
    #[inline]
    pub(super) fn process<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        rx: &mut Burst<N::Frame>,
        scratch: &Scratch,
        now: Instant,
    ) {
        let inserted = self.endpoint.table.inserted();
        let alone = self.ring.workers() == 1;
        let per_frame = scratch.metas.iter().zip(&*scratch.probes);
        for (frame, (meta, &probe)) in rx.take_front(BURST_FRAMES).zip(per_frame) {
            match meta.lane {
                Lane::Tcp if alone || self.owns(meta) => {
                    let bytes = frame.bytes();
                    let verdict = self.endpoint.on_segment(meta, bytes, probe, inserted, now);
                    // Tests in the order of a flood, not a jump through a table.
                    if verdict == EndpointVerdict::Reply {
                        self.answer(frame, meta);
                    } else if let EndpointVerdict::Reset(reset) = verdict {
                        self.answer_reset(frame, meta, reset);
                    } else if verdict == EndpointVerdict::Drop {
                        self.outbox.free(frame);
                    } else {
                        self.process_record(hosted, frame, meta, verdict, now);
                    }
                }
                Lane::Tcp => self.hand_over(frame, meta.hash.owner(self.ring.workers())),
                Lane::Other => self.process_other(frame, now),
                Lane::Refused => self.report(frame, now),
                Lane::Ended => self.outbox.free(frame),
            }
        }
    }

    fn owns(&self, meta: &Meta) -> bool {
        meta.hash.owner(self.ring.workers()) == self.ring.index()
    }

    /// Gives a frame to the worker that owns its flow.
    pub(super) fn hand_over(&mut self, frame: N::Frame, owner: u16) {
        match self.ring.push(owner, Message::Received(frame)) {
            Ok(()) => self.endpoint.counters.bump(Counter::HandedOff),
            Err(frame) => {
                self.endpoint.counters.bump(Counter::HandoffFull);
                self.outbox.free(frame);
            }
        }
    }

    /// Turns the frame into [`super::endpoint::Endpoint::answer`].
    #[inline(always)]
    pub(super) fn answer(&mut self, mut frame: N::Frame, meta: &Meta) {
        let ttl = self.endpoint.config.ttl;
        let (layout, ports) = (meta.layout(), meta.ports());
        if turn_around_plain(
            &mut frame,
            layout,
            ports,
            &self.endpoint.answer,
            ttl,
            &self.caps,
        ) {
            self.outbox.reply(frame, &mut self.endpoint.counters);
        } else {
            self.answer_any(frame, meta);
        }
    }

    /// The same for a reset, whose numbers never leave the registers.
    #[inline(always)]
    pub(super) fn answer_reset(&mut self, mut frame: N::Frame, meta: &Meta, reset: Reset) {
        let ttl = self.endpoint.config.ttl;
        let (layout, ports) = (meta.layout(), meta.ports());
        if turn_around_plain(&mut frame, layout, ports, &reset.into(), ttl, &self.caps) {
            self.outbox.reply(frame, &mut self.endpoint.counters);
        } else {
            self.endpoint.answer = reset.into();
            self.answer_any(frame, meta);
        }
    }

    /// Any layout, offload and options; in a fresh buffer when the received one is shared.
    #[inline(never)]
    fn answer_any(&mut self, mut frame: N::Frame, meta: &Meta) {
        let ttl = self.endpoint.config.ttl;
        let (layout, ports) = (meta.layout(), meta.ports());
        if turn_around(
            &mut frame,
            layout,
            ports,
            &self.endpoint.answer,
            ttl,
            &self.caps,
        )
        .is_ok()
        {
            return self.outbox.reply(frame, &mut self.endpoint.counters);
        }
        let copy = self.copy(&frame, HEADERS_LEN);
        self.outbox.free(frame);
        let answer = &self.endpoint.answer;
        let written = copy.ok().and_then(|mut copy| {
            let written = turn_around(&mut copy, layout, ports, answer, ttl, &self.caps);
            written.ok().map(|()| copy)
        });
        match written {
            Some(copy) => {
                self.endpoint.counters.bump(Counter::RepliesCopied);
                self.outbox.reply(copy, &mut self.endpoint.counters);
            }
            None => self.endpoint.counters.bump(Counter::TxNoBuffer),
        }
    }
}
