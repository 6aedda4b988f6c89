//! Parked connections: they take acknowledgements and answer as RFC 5961 asks; whatever else comes unparks them.
//!
//! It must never acknowledge data: there is no queue here to keep it in.

use super::classify::Meta;
use super::endpoint::{Endpoint, EndpointVerdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::rounded::AnswerTicks;
use crate::conn::{Found, Parked};
use crate::counters::Counter;
use crate::tcp::answer_limits::Answer;
use crate::tcp::parked::{ParkedStep, parked_step};
use crate::time::Instant;
use crate::wire::tcp::Flags;

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
