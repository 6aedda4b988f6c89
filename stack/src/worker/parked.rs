//! Parked connections: how a connection parks; and that it takes acknowledgements and answers as RFC 5961 asks, while
//! whatever else comes unparks it.
//!
//! It must never acknowledge data: there is no queue here to keep it in.

use core::time::Duration;

use super::classify::Meta;
use super::endpoint::{Endpoint, EndpointVerdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::connections::{Conn, Slot};
use crate::conn::rounded::AnswerTicks;
use crate::conn::{Found, Open, Parked};
use crate::counters::Counter;
use crate::nic::Nic;
use crate::tcp::answer_limits::Answer;
use crate::tcp::env::Env;
use crate::tcp::parked::{ParkedStep, parked_step};
use crate::time::Instant;
use crate::wire::tcp::Flags;
use crate::worker::Core;

/// A connection with bytes, or a FIN, ahead of a gap that hears nothing for so long forgets them and may park: its peer has
/// given up or sends all of it again.
const GAP_LIMIT: Duration = Duration::from_secs(60);

impl Endpoint {
    /// A segment whose tuple is that of a parked connection.
    pub(super) fn on_parked(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        found: Found,
        now: Instant,
    ) -> EndpointVerdict {
        let Some(parked) = self.table.parked(found).copied() else {
            return self.ended(Counter::ParkedDropped);
        };
        let segment = meta.segment(bytes);
        let rcv_buf = self.profiles.get(parked.profile).profile.rcv_buf;
        match parked_step(&parked.numbers(rcv_buf, now), &segment) {
            ParkedStep::Drop => self.ended(Counter::ParkedDropped),
            ParkedStep::Ack => {
                if let Some(record) = self.table.parked_mut(found) {
                    //~ A parked connection keeps the peer's window: -> `let _ = record;`;
                    //~   acknowledgements_are_taken_in_silence
                    record.on_ack(&segment, now);
                }
                self.ended(Counter::ParkedAck)
            }
            ParkedStep::Answer(answer) => self.answer_parked(meta, found, &parked, answer, now),
            ParkedStep::Reset => EndpointVerdict::ParkedReset(found),
            ParkedStep::Unpark => EndpointVerdict::Unpark(found),
        }
    }

    /// Answers what a parked connection can't accept with an ACK, as far as its budget goes.
    fn answer_parked(
        &mut self,
        meta: &Meta,
        found: Found,
        parked: &Parked,
        answer: Answer,
        now: Instant,
    ) -> EndpointVerdict {
        let (answered, limited) = if answer.is_old() {
            (Counter::ParkedOldAnswered, Counter::ParkedOldLimited)
        } else {
            (Counter::ParkedChallenged, Counter::ParkedChallengeLimited)
        };
        let mut limits = parked.answers.limits(now);
        //~ A parked connection's answers are limited:
        //~   -> `let _ = limits.admit(answer, now, self.config.tcp.challenge_interval); if false {`;
        //~   a_connection_challenges_at_most_every_500_ms_and_each_on_its_own
        if !limits.admit(answer, now, self.config.tcp.challenge_interval) {
            return self.ended(limited);
        }
        if let Some(record) = self.table.parked_mut(found) {
            //~ A parked connection's answer limits are kept: -> `let _ = record;`;
            //~   a_connection_challenges_at_most_every_500_ms_and_each_on_its_own
            record.answers = AnswerTicks::new(limits, false);
        }
        let reply = TcpReply {
            seq: parked.snd_nxt,
            ack: parked.rcv_nxt,
            flags: Flags::ACK,
            window: (parked.rcv_wnd >> parked.shifts.receive()).min(0xffff) as u16,
            options: ReplyOptions::NONE.with_timestamps(self.stamps(
                &meta.key,
                parked.flags,
                parked.ts_recent,
                now,
            )),
        };
        self.reply(answered, reply)
    }
}

impl<N: Nic> Core<N> {
    /// A connection that has been idle long enough parks; one that can't is asked again later.
    pub(super) fn park(&mut self, slot: Slot, now: Instant) {
        let park_after = self.endpoint.config.park_after;
        let Some(conn) = self.conns.get(slot) else {
            return;
        };
        // A parked connection would not hear of room, and its record knows of no cork.
        //~ A connection that keeps a frame doesn't park: ` || !conn.kept.is_empty()` -> nothing;
        //~   what_is_kept_counts_as_read_and_is_sent_later
        let is_busy = !conn.tx.is_empty() || !conn.rx.is_empty() || !conn.kept.is_empty();
        //~ A corked connection doesn't park: `Conn::WANTS_ROOM | Conn::CORKED` -> `Conn::WANTS_ROOM`;
        //~   an_empty_corked_connection_never_parks
        let keeps_open = conn.has(Conn::WANTS_ROOM | Conn::CORKED);
        if !conn.has(Conn::ANNOUNCED) || keeps_open || is_busy {
            return;
        }
        let idle = Duration::from_millis(conn.tcb.idle_ms(now).into());
        let has_gaps = conn.tcb.has_gaps();
        let parks_after = if has_gaps {
            //~ A connection with gaps parks after a minute: -> `park_after`;
            //~   a_connection_with_gaps_parks_after_a_minute
            park_after.max(GAP_LIMIT)
        } else {
            park_after
        };
        //~ A connection does not park before its time: -> `if false {`; parking_begins_when_it_is_idle_for_long_enough
        if idle < parks_after {
            return self.conns.fire_by(slot, now + (parks_after - idle));
        }
        if has_gaps {
            //~ A connection with gaps parks; a_connection_with_gaps_parks_after_a_minute
            self.prune_ahead(slot);
        }
        self.park_now(slot, now);
    }

    /// Parks a connection with empty queues that its app has heard of, unless something is under way.
    pub(super) fn park_now(&mut self, slot: Slot, now: Instant) {
        let Some(parts) = self.conns.parts(slot) else {
            return;
        };
        let conn = parts.conn;
        let env = Env {
            now,
            settings: self.endpoint.profiles.get(conn.profile),
            counters: parts.counters,
        };
        let Some(tcb) = conn.tcb.park(&env) else {
            return;
        };
        let found = conn.found;
        let open = self.endpoint.table.open(found);
        let listener = open.map_or(Open::NO_LISTENER, |open| open.listener);
        let parked = Parked::from_tcb(&tcb, listener, conn.profile);
        if self.endpoint.table.park(found, &parked).is_ok() {
            //~ The link address outlasts parking; a_link_address_outlasts_parking_and_helps_the_next_connection
            self.confirm_path(slot);
            let outbox = &mut self.outbox;
            self.conns.remove(slot, |frame| outbox.free(frame));
            self.endpoint.counters.bump(Counter::ConnectionsParked);
        }
        // Without a free record it stays open, and idle.
    }
}
