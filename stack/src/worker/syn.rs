//! A SYN at a listener that doesn't answer each with a cookie: mostly it becomes an embryo, and its frame the SYN-ACK, in one step.
//!
//! It must never answer otherwise than [`Endpoint::on_syn_by_policy`] says, which judges every SYN that isn't the usual one.

use super::Core;
use super::classify::Meta;
use super::endpoint::{Endpoint, EndpointVerdict};
use super::handshake::EmbryoStart;
use super::plain_reply::{AllOptions, turn_around_plain};
use crate::conn::FlowKey;
use crate::counters::Counter;
use crate::local::listener::{ListenerId, SynPolicy};
use crate::nic::{Frame, Nic};
use crate::tcp::segment::OFFERS_SACK;
use crate::time::Instant;
use crate::wire::tcp_options::usual_syn;
use crate::worker::opening::tuple;
use crate::worker::reply::TcpReply;

impl Endpoint {
    /// Turns the SYN of most connections into an embryo: with the options of a Linux SYN, to a listener that has room. `None`, and
    /// nothing has changed, when it is another. `key` is that of `meta`: what is known of it when compiling leaves half of the work.
    #[inline(always)]
    fn usual_embryo(
        &mut self,
        meta: &Meta,
        key: FlowKey,
        bytes: &[u8],
        listener: ListenerId,
        now: Instant,
    ) -> Option<TcpReply> {
        let config = self.listeners.config(listener)?;
        //~ A SYN makes an embryo in one step where the policy keeps SYNs:
        //~   `matches!(config.policy, SynPolicy::Embryo | SynPolicy::CookieWhenFull)` -> `true`;
        //~   the_policy_is_followed_in_one_step_too
        let keeps_syns = matches!(config.policy, SynPolicy::Embryo | SynPolicy::CookieWhenFull);
        let waiting = *self.embryos.get(usize::from(listener.0))?;
        //~ The backlog is a limit in one step too: `waiting < config.backlog &&` -> `{ let _ = waiting; true } &&`;
        //~   a_full_backlog_is_full_in_one_step_too
        //~ A full accept queue drops SYNs in one step too: `&& !self.accept_queues.is_full(listener)` -> nothing;
        //~   a_full_accept_queue_drops_the_usual_syn_too
        let has_room = waiting < config.backlog && !self.accept_queues.is_full(listener);
        let settings = &self.config.tcp;
        //~ Without tcp.timestamps no SYN is answered in one step: `&& settings.timestamps` -> nothing;
        //~   the_settings_take_options_from_the_usual_syn_too
        //~ Without tcp.window_scaling no SYN is answered in one step: `&& settings.window_scaling` -> nothing;
        //~   the_settings_take_options_from_the_usual_syn_too
        if !(keeps_syns && has_room && settings.timestamps && settings.window_scaling) {
            return None;
        }
        //~ Only a SYN with all options is answered in one step: `usual_syn(meta.options(bytes))?`
        //~   -> `usual_syn(meta.options(bytes)).unwrap_or_default()`; a_syn_with_other_options_is_answered_as_it_asks
        let mut offer = usual_syn(meta.options(bytes))?;
        //~ SACK-permitted of the usual SYN counts if both SYNs had it: `&= OFFERS_SACK` -> `|= OFFERS_SACK`;
        //~   sack_permitted_counts_in_one_step_as_in_all_steps
        offer.sack_permitted &= OFFERS_SACK;
        let start = EmbryoStart {
            key,
            listener,
            profile: config.profile,
            iss: self.isn.iss(tuple(&key), now),
            reopens: None,
        };
        self.make_embryo(meta, bytes, &offer, start, now)
    }
}

impl<N: Nic> Core<N> {
    /// A SYN for a listener.
    #[inline(never)]
    pub(super) fn process_syn(
        &mut self,
        mut frame: N::Frame,
        meta: &Meta,
        listener: ListenerId,
        now: Instant,
    ) {
        //~ A SYN is dropped while no record is free for its connection: -> `if false {`;
        //~   without_a_record_for_the_connection_a_syn_is_dropped
        if self.conns.are_all_taken(meta.key.is_v6()) {
            return self.process_syn_without_record(frame, meta, listener, now);
        }
        if !self.fast_path.is_on() {
            return self.process_any_syn(frame, meta, listener, now);
        }
        //~ Only a plain frame is turned round as one: `!self.is_plain(meta)` -> `false`;
        //~   only_a_plain_frame_is_answered_in_one_step
        if !self.is_plain(meta) {
            return self.process_syn_in_other_frame(frame, meta, listener, now);
        }
        let endpoint = &mut self.endpoint;
        let key = meta.key.of_v4();
        let Some(reply) = endpoint.usual_embryo(meta, key, frame.bytes(), listener, now) else {
            return self.process_any_syn(frame, meta, listener, now);
        };
        endpoint.counters.bump(Counter::SynEmbryo);
        let options = AllOptions(&reply.options);
        if turn_around_plain(&mut frame, &reply, &options, endpoint.config.ttl).is_some() {
            self.outbox.reply(frame, &mut endpoint.counters);
        } else {
            endpoint.answer = reply;
            self.answer_any(frame, meta);
        }
    }

    /// The usual SYN over IPv6, with a tag, or on a NIC that takes checksums.
    #[inline(never)]
    fn process_syn_in_other_frame(
        &mut self,
        frame: N::Frame,
        meta: &Meta,
        listener: ListenerId,
        now: Instant,
    ) {
        let endpoint = &mut self.endpoint;
        let Some(reply) = endpoint.usual_embryo(meta, meta.key, frame.bytes(), listener, now)
        else {
            return self.process_any_syn(frame, meta, listener, now);
        };
        endpoint.counters.bump(Counter::SynEmbryo);
        endpoint.answer = reply;
        self.answer_any(frame, meta);
    }

    /// A SYN while all records of open connections are in use. A cookie would promise what its final ACK can't have, and a peer that
    /// says nothing for longer than a cookie lives would be reset then. A dropped SYN comes again, as with Linux and a full accept
    /// queue.
    #[cold]
    fn process_syn_without_record(
        &mut self,
        frame: N::Frame,
        meta: &Meta,
        listener: ListenerId,
        now: Instant,
    ) {
        let config = self.endpoint.listeners.config(listener);
        match config.map(|config| config.policy) {
            // No connection is to come of it.
            Some(SynPolicy::Drop | SynPolicy::Rst) => {
                self.process_any_syn(frame, meta, listener, now);
            }
            _ => self.end(frame, Counter::SynDroppedNoRecord),
        }
    }

    #[inline(never)]
    fn process_any_syn(
        &mut self,
        frame: N::Frame,
        meta: &Meta,
        listener: ListenerId,
        now: Instant,
    ) {
        let endpoint = &mut self.endpoint;
        let Some(&config) = endpoint.listeners.config(listener) else {
            // Not reached: it was looked up just now.
            return self.end(frame, Counter::ListenDropped);
        };
        match endpoint.on_syn_by_policy(meta, frame.bytes(), listener, config, now) {
            EndpointVerdict::Reply => self.answer(frame, meta),
            EndpointVerdict::Reset(reset) => self.answer_reset(frame, meta, reset),
            _ => self.outbox.free(frame),
        }
    }
}
