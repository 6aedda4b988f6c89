//! The process stage: each frame in arrival order meets its record and becomes a reply or goes.
//!
//! It must never reorder frames, and never write into a frame that another worker or an app may read.

use super::callbacks::Hosted;
use super::classify::{Lane, Meta};
use super::endpoint::EndpointVerdict;
use super::handoff::Message;
use super::plain_reply::{AllOptions, NoOptions, turn_around_full, turn_around_plain};
use super::reply::turn_around;
use super::segment_headers::Offload;
use super::{Core, Scratch};
use crate::conn::{Found, Kind, Met};
use crate::counters::Counter;
use crate::nic::{BURST_FRAMES, Burst, Frame, Nic, PoolClass};
use crate::tcp::profile::ProfileId;
use crate::tcp::reset::Reset;
use crate::time::Instant;
use crate::worker::app::App;

/// Bytes that are enough for every header that a reply is made from: link with tag, the longest IPv4 header or IPv6
/// with the extension headers that we walk, and a TCP header.
const HEADERS_LEN: usize = 256;

impl<N: Nic> Core<N> {
    /// Frames in several buffers become frames in one, or several such frames, so that no later stage has to know of them.
    #[inline]
    pub(super) fn linearize(&mut self, rx: &mut Burst<N::Frame>) {
        if rx.as_slice().iter().all(Frame::is_contiguous) {
            return;
        }
        let mut burst = core::mem::take(rx);
        for frame in burst.take_front(BURST_FRAMES) {
            // A large segment fills the burst with its parts: what came behind it stays behind it.
            if self.large.is_waiting() || rx.room() == 0 {
                self.leave_behind(frame);
            } else {
                self.take_apart(frame, rx);
            }
        }
    }

    /// Puts a frame in several buffers into one, at the end of `rx`, which has room.
    pub(super) fn put_into_one_buffer(&mut self, frame: &N::Frame, rx: &mut Burst<N::Frame>) {
        self.endpoint.counters.bump(Counter::RxLinearized);
        //~ A frame that comes in pieces lies where kept frames lie: `PoolClass::Data` -> `PoolClass::Control`;
        //~   a_chained_frame_takes_no_buffer_of_the_replies
        match self.copy(frame, usize::MAX, PoolClass::Data) {
            Ok(mut copy) => {
                //~ The NIC's verdict goes with a frame that is put together; the_verdict_on_a_chained_frame_stays
                copy.set_rx_checksum(frame.rx_checksum());
                drop(rx.push(copy));
            }
            Err(why) => self.endpoint.counters.bump(why),
        }
    }

    /// The first `len` bytes of a frame in a fresh buffer of this class.
    ///
    /// # Errors
    /// The counter under which a chained frame ends that can't be copied.
    pub(super) fn copy(
        &mut self,
        frame: &N::Frame,
        len: usize,
        class: PoolClass,
    ) -> Result<N::Frame, Counter> {
        let fresh = self.nic.alloc_one(class);
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
            // Tests in the order of a flood, not a jump through a table.
            if meta.lane != Lane::Tcp {
                self.process_other_lane(frame, meta, now);
                continue;
            }
            // Only the owner of a flow has a record of it.
            match self.endpoint.table.meet(&meta.key, probe) {
                Met::Open(slot) => {
                    if let Err(frame) = self.on_expected(hosted, frame, meta, slot, now) {
                        self.on_connection(hosted, frame, meta, slot, now);
                    }
                    continue;
                }
                Met::Other(found) => {
                    self.process_found(hosted, frame, meta, found, now);
                    continue;
                }
                Met::Nothing => {}
            }
            if self.endpoint.may_be_elsewhere(probe, inserted)
                && let Some(found) = self.endpoint.table.lookup_further(&meta.key, meta.hash)
            {
                self.process_further(hosted, frame, meta, found, now);
                continue;
            }
            if !alone && let Some(owner) = self.owner_elsewhere(meta) {
                self.hand_over(frame, owner);
                continue;
            }
            let Some(listener) = self.endpoint.listener_of(&meta.key) else {
                self.process_closed(frame, meta, now);
                continue;
            };
            let endpoint = &mut self.endpoint;
            let verdict = endpoint.on_listener(meta, frame.bytes(), listener, now);
            if let EndpointVerdict::Cookie(profile) = verdict {
                //~ No cookie is sent while no record is free for its connection:
                //~   `self.conns.are_all_taken(meta.key.is_v6())` -> `false`;
                //~   without_a_record_for_the_connection_no_cookie_is_sent
                if self.conns.are_all_taken(meta.key.is_v6()) {
                    self.end(frame, Counter::SynDroppedNoRecord);
                } else {
                    self.answer_cookie(frame, meta, profile, now);
                }
            } else if let EndpointVerdict::Syn(listener) = verdict {
                self.process_syn(frame, meta, listener, now);
            } else if let EndpointVerdict::Reset(reset) = verdict {
                self.answer_reset_apart(frame, meta, reset);
            } else if matches!(verdict, EndpointVerdict::Drop) {
                self.outbox.free(frame);
            } else {
                self.process_record(hosted, frame, meta, verdict, now);
            }
        }
    }

    /// A segment of nothing. Its verdict is a case of its own: one that any other function writes into is kept in memory.
    #[inline(always)]
    fn process_closed(&mut self, frame: N::Frame, meta: &Meta, now: Instant) {
        match self.endpoint.on_closed(meta, now) {
            EndpointVerdict::Reset(reset) => self.answer_reset(frame, meta, reset),
            EndpointVerdict::Unreachable => self.answer_unreachable(frame),
            _ => self.outbox.free(frame),
        }
    }

    /// A segment whose record was not the first that its hash led to.
    #[cold]
    #[inline(never)]
    fn process_further<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        now: Instant,
    ) {
        match self.endpoint.table.slot(found) {
            Some(slot) => self.on_open_segment(hosted, frame, meta, slot, now),
            None => self.process_found(hosted, frame, meta, found, now),
        }
    }

    /// A segment of a record that isn't open.
    #[inline(always)]
    fn process_found<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        now: Instant,
    ) {
        let bytes = frame.bytes();
        let verdict = match found.kind() {
            // Not reached: these are taken before.
            Kind::Open => return self.outbox.free(frame),
            Kind::TimeWait => return self.on_time_wait(frame, meta, found, now),
            Kind::Embryo => {
                if self.fast_path.is_on()
                    && let Some(listener) = self.endpoint.completes_handshake(meta, found)
                {
                    return self.establish_expected(hosted, frame, meta, (found, listener), now);
                }
                self.endpoint.on_embryo(meta, bytes, found, now)
            }
            Kind::Parked => self.endpoint.on_parked(meta, bytes, found, now),
        };
        match verdict {
            // Rare: a flood of these takes an embryo or a connection each.
            EndpointVerdict::Reply => self.answer_any(frame, meta),
            EndpointVerdict::Reset(reset) => {
                self.endpoint.answer = reset.into();
                self.answer_any(frame, meta);
            }
            EndpointVerdict::Drop => self.outbox.free(frame),
            verdict => self.process_record(hosted, frame, meta, verdict, now),
        }
    }

    #[inline(never)]
    fn process_other_lane(&mut self, frame: N::Frame, meta: &Meta, now: Instant) {
        match meta.lane {
            Lane::Other => self.process_other(frame, now),
            Lane::Fragment => self.on_fragment(frame, now),
            Lane::Refused => self.report(frame, now),
            Lane::Tcp | Lane::Ended => self.outbox.free(frame),
        }
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
        let (reply, ttl) = (&self.endpoint.answer, self.endpoint.config.ttl);
        let written = if !self.is_plain(meta) {
            None
        } else if reply.options.is_full() {
            turn_around_plain(&mut frame, reply, &AllOptions(&reply.options), ttl)
        } else if reply.options.is_none() {
            turn_around_plain(&mut frame, reply, &NoOptions, ttl)
        } else {
            None
        };
        if written.is_some() {
            self.outbox.reply(frame, &mut self.endpoint.counters);
        } else {
            self.answer_any(frame, meta);
        }
    }

    /// The same for a reset, whose numbers never leave the registers.
    #[inline(always)]
    pub(super) fn answer_reset(&mut self, mut frame: N::Frame, meta: &Meta, reset: Reset) {
        let ttl = self.endpoint.config.ttl;
        if self.is_plain(meta)
            && turn_around_plain(&mut frame, &reset.into(), &NoOptions, ttl).is_some()
        {
            self.outbox.reply(frame, &mut self.endpoint.counters);
        } else {
            self.endpoint.answer = reset.into();
            self.answer_any(frame, meta);
        }
    }

    #[inline(never)]
    fn answer_reset_apart(&mut self, frame: N::Frame, meta: &Meta, reset: Reset) {
        self.answer_reset(frame, meta, reset);
    }

    /// The same for a SYN-ACK with a cookie.
    #[inline(always)]
    fn answer_cookie(
        &mut self,
        mut frame: N::Frame,
        meta: &Meta,
        profile: ProfileId,
        now: Instant,
    ) {
        let (is_plain, ttl) = (self.is_plain(meta), self.endpoint.config.ttl);
        let endpoint = &mut self.endpoint;
        match endpoint.usual_cookie(meta, frame.bytes(), profile, now) {
            Some(reply) if is_plain => {
                let options = AllOptions(&reply.options);
                if turn_around_plain(&mut frame, &reply, &options, ttl).is_some() {
                    return self.outbox.reply(frame, &mut self.endpoint.counters);
                }
                self.endpoint.answer = reply;
            }
            Some(reply) => endpoint.answer = reply,
            None => {
                endpoint.send_cookie(meta, frame.bytes(), profile, now);
            }
        }
        self.answer_any(frame, meta);
    }

    /// Whether a frame may be turned round by [`super::plain_reply`], which fills in checksums itself.
    #[inline(always)]
    pub(super) fn is_plain(&self, meta: &Meta) -> bool {
        //~ Only untagged IPv4 without options counts as plain: `meta.is_plain_v4() &&` -> `{ let _ = meta; true } &&`;
        //~   data_from_another_vlan_is_another_flow_whatever_record_there_is
        //~ No frame counts as plain whose checksums the NIC fills in: `&& Offload::of(&self.caps) == Offload::NONE`
        //~   -> nothing; what_a_nic_promised_is_asked_of_it
        meta.is_plain_v4() && Offload::of(&self.caps) == Offload::NONE
    }

    /// Any layout, offload and options; in a fresh buffer when the received one is shared.
    #[inline(never)]
    pub(super) fn answer_any(&mut self, mut frame: N::Frame, meta: &Meta) {
        let ttl = self.endpoint.config.ttl;
        let (layout, ports) = (meta.layout(), meta.ports());
        let answer = &self.endpoint.answer;
        let written = if answer.options.is_full() && Offload::of(&self.caps) == Offload::NONE {
            turn_around_full(&mut frame, layout, ports, answer, ttl)
        } else {
            turn_around(&mut frame, layout, ports, answer, ttl, &self.caps)
        };
        if written.is_ok() {
            return self.outbox.reply(frame, &mut self.endpoint.counters);
        }
        let copy = self.copy(&frame, HEADERS_LEN, PoolClass::Control);
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
