//! Connections at rest: they take acknowledgements and answer as RFC 5961 asks; whatever else comes wakes them.
//!
//! It must never acknowledge data: there is no queue here to keep it in.

use super::classify::Meta;
use super::endpoint::{Endpoint, EndpointVerdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::rounded::AnswerTicks;
use crate::conn::{Found, Parked};
use crate::counters::Counter;
use crate::tcp::answer_limits::Answer;
use crate::tcp::rest::{RestStep, rest_step};
use crate::time::Instant;
use crate::wire::tcp::Flags;

impl Endpoint {
    /// A segment whose tuple is that of a connection at rest.
    pub(super) fn on_parked(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        found: Found,
        now: Instant,
    ) -> EndpointVerdict {
        let Some(parked) = self.table.parked(found).copied() else {
            return self.ended(Counter::RestDropped);
        };
        let segment = meta.segment(bytes);
        let rcv_buf = self.profiles.get(parked.profile).profile.rcv_buf;
        match rest_step(&parked.numbers(rcv_buf, now), &segment) {
            RestStep::Drop => self.ended(Counter::RestDropped),
            RestStep::Ack => {
                if let Some(record) = self.table.parked_mut(found) {
                    record.on_ack(&segment, now);
                }
                self.ended(Counter::RestAck)
            }
            RestStep::Answer(answer) => self.answer_at_rest(meta, found, &parked, answer, now),
            RestStep::Reset => EndpointVerdict::RestReset(found),
            RestStep::Wake => EndpointVerdict::Wake(found),
        }
    }

    /// Answers what a connection at rest can't accept with an ACK, as far as its budget goes.
    fn answer_at_rest(
        &mut self,
        meta: &Meta,
        found: Found,
        parked: &Parked,
        answer: Answer,
        now: Instant,
    ) -> EndpointVerdict {
        let (answered, limited) = if answer.is_old() {
            (Counter::RestOldAnswered, Counter::RestOldLimited)
        } else {
            (Counter::RestChallenged, Counter::RestChallengeLimited)
        };
        let mut limits = parked.answers.limits(now);
        if !limits.admit(answer, now, self.config.tcp.challenge_interval) {
            return self.ended(limited);
        }
        if let Some(record) = self.table.parked_mut(found) {
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
