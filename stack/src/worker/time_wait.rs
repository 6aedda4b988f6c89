//! TIME-WAIT at the worker: how a connection enters it, what segments do there, and how it ends.
//!
//! It must never hold a frame, and never let a SYN in whose numbers the old connection's segments could be taken for.

use arrayvec::ArrayVec;

use super::Core;
use super::callbacks::Hosted;
use super::classify::Meta;
use super::endpoint::{Endpoint, EndpointVerdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::connections::Slot;
use crate::conn::{FlowHash, Found, MoveError, StateNumber, TickMs, TimeWait};
use crate::counters::Counter;
use crate::nic::{Frame, Nic};
use crate::seq::SeqNum;
use crate::tcp::env::Env;
use crate::tcp::segment::SendPlan;
use crate::tcp::time_wait::TimeWaitStep;
use crate::tcp::verdict::CloseReason;
use crate::time::Instant;
use crate::worker::app::App;
use crate::worker::opening::tuple;

/// TIME-WAIT records that end by time per turn at most.
const TIME_WAITS_PER_TURN: usize = 64;

impl Endpoint {
    /// A connection enters TIME-WAIT in the place of the oldest one there, and ends at once where that can't be. The state that the
    /// app keeps of it.
    #[cold]
    #[inline(never)]
    fn linger_instead(
        &mut self,
        why: MoveError,
        (found, hash): (Found, FlowHash),
        record: &TimeWait,
        ends_at: Instant,
    ) -> Option<StateNumber> {
        let table = &mut self.table;
        if matches!(why, MoveError::Full(_))
            && let Some(oldest) = table.oldest_time_wait(found.entry().is_v6())
            && let Some(key) = table.key(oldest)
        {
            //~ Without a free record of TIME-WAIT the oldest is recycled: -> `let _ = key;`;
            //~   without_a_record_the_oldest_of_its_family_is_recycled
            table.remove(oldest, self.hasher.hash(&key));
            self.counters.bump(Counter::TimeWaitRecycled);
            if let Ok((_, state)) = table.linger(found, record, ends_at) {
                return Some(state);
            }
        }
        self.counters.bump(Counter::TimeWaitNoRecord);
        self.table.end(found, hash)
    }
}

impl<N: Nic> Core<N> {
    /// A connection in TIME-WAIT becomes a small record of its own. Without a free one the oldest is recycled.
    #[inline(always)]
    pub(super) fn linger<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, now: Instant) {
        let Some(conn) = self.conns.get(slot) else {
            return;
        };
        let time_wait = conn.tcb.to_time_wait();
        let (found, hash) = (conn.found, conn.hash);
        let ends_at = time_wait.deadline.instant().unwrap_or(now);
        let record = TimeWait::from_tcp(&time_wait, conn.profile);
        let state = match self.endpoint.table.linger(found, &record, ends_at) {
            Ok((_, state)) => Some(state),
            Err(why) => {
                let endpoint = &mut self.endpoint;
                endpoint.linger_instead(why, (found, hash), &record, ends_at)
            }
        };
        let outbox = &mut self.outbox;
        if let Some(conn) = self.conns.remove(slot, |frame| outbox.free(frame)) {
            self.ended(hosted, &conn, state, CloseReason::Graceful, now);
        }
    }

    /// A segment of a connection in TIME-WAIT.
    pub(super) fn on_time_wait(
        &mut self,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        now: Instant,
    ) {
        let Some(record) = self.endpoint.table.time_wait(found).copied() else {
            return self.end(frame, Counter::TimeWaitDropped);
        };
        let segment = meta.segment(frame.bytes());
        let deadline = self.endpoint.table.deadline(found);
        let offset = self.endpoint.isn.timestamp_offset_ms(tuple(&meta.key));
        let settings = self.endpoint.profiles.get(record.profile);
        let mut time_wait = record.to_tcp(
            deadline.unwrap_or(TickMs::at(now)),
            offset,
            settings.profile.rcv_buf,
            now,
        );
        let before = time_wait.deadline;
        let mut env = Env {
            now,
            settings,
            counters: &mut self.conns.counters,
        };
        let mut step = time_wait.on_segment(&segment, &mut env);
        if matches!(step, TimeWaitStep::Reopen { .. })
            && self.endpoint.listener_of(&meta.key).is_none()
        {
            //~ A newer SYN at a port without a listener draws an ACK;
            //~   a_newer_syn_at_a_port_without_a_listener_draws_an_ack_within_the_limit
            step = time_wait.refuse_syn(&segment, &mut env);
        }
        if let Some(place) = self.endpoint.table.time_wait_mut(found) {
            //~ A record of TIME-WAIT keeps the limit of its ACKs: -> `let _ = place;`;
            //~   a_reset_ends_it_and_strangers_are_challenged_within_the_limit
            *place = TimeWait::from_tcp(&time_wait, record.profile);
        }
        if time_wait.deadline != before
            && let Some(at) = time_wait.deadline.instant()
        {
            //~ The FIN again starts the record's 2 MSL over: -> `let _ = at;`;
            //~   the_fin_again_is_acknowledged_and_begins_2msl_anew
            self.endpoint.table.restart_time_wait(found, at);
        }
        match step {
            TimeWaitStep::Drop => self.end(frame, Counter::TimeWaitDropped),
            TimeWaitStep::Ack(plan) => {
                self.endpoint.answer = reply_of(&plan);
                self.endpoint.counters.bump(Counter::TimeWaitAck);
                self.answer(frame, meta);
            }
            TimeWaitStep::Closed => {
                self.endpoint.table.remove(found, meta.hash);
                self.end(frame, Counter::TimeWaitReset);
            }
            TimeWaitStep::Reopen { iss_after } => self.reopen(frame, meta, found, iss_after, now),
        }
    }

    /// A SYN that may end TIME-WAIT (RFC 9293 MAY-2): it meets the listener.
    #[inline(never)]
    fn reopen(
        &mut self,
        frame: N::Frame,
        meta: &Meta,
        found: Found,
        iss_after: SeqNum,
        now: Instant,
    ) {
        let bytes = frame.bytes();
        let verdict = self
            .endpoint
            .on_reopening_syn(meta, bytes, found, iss_after, now);
        match verdict {
            EndpointVerdict::Reply => self.answer(frame, meta),
            EndpointVerdict::Reset(reset) => self.answer_reset(frame, meta, reset),
            _ => self.outbox.free(frame),
        }
    }

    /// The timer stage of TIME-WAIT: 2 MSL are over.
    #[inline]
    pub(super) fn expire_time_waits(&mut self, now: Instant) {
        //~ The worker ends records of TIME-WAIT that are due: -> `if false {`; time_wait::it_ends_after_2msl
        if self.endpoint.table.has_due_time_wait(now) {
            self.expire_due_time_waits(now);
        }
    }

    #[inline(never)]
    fn expire_due_time_waits(&mut self, now: Instant) {
        let Endpoint {
            table,
            hasher,
            counters,
            ..
        } = &mut self.endpoint;
        // First all buckets, then all removals: what has been waiting for 2 MSL is in no cache, and one miss after the other
        // would cost a connection as much as its handshake.
        let mut due: ArrayVec<(Found, FlowHash), TIME_WAITS_PER_TURN> = ArrayVec::new();
        for found in table.due_time_waits(now).take(TIME_WAITS_PER_TURN) {
            let Some(key) = table.key(found) else {
                break;
            };
            let hash = hasher.hash(&key);
            table.prefetch_bucket(hash);
            due.push((found, hash));
        }
        counters.add(Counter::TimeWaitExpired, due.len() as u64);
        for (found, hash) in due {
            table.remove(found, hash);
        }
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
