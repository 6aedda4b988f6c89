//! Connections at rest: they take acknowledgements and answer as RFC 5961 asks; whatever else comes wakes them.
//!
//! Called by: [`Endpoint::on_segment`]. It must never acknowledge data: there is no queue here to keep it in.

use super::classify::Meta;
use super::endpoint::{Endpoint, Verdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::{ChallengeTick, Found, Parked};
use crate::counters::Counter;
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
    ) -> Verdict {
        let Some(parked) = self.table.parked(found).copied() else {
            return self.ended(Counter::RestDropped);
        };
        let segment = meta.segment(bytes);
        match rest_step(&parked.numbers(now), &segment) {
            RestStep::Drop => self.ended(Counter::RestDropped),
            RestStep::Ack => {
                if let Some(record) = self.table.parked_mut(found) {
                    record.on_ack(&segment, now);
                }
                self.ended(Counter::RestAck)
            }
            RestStep::Challenge => self.challenge(meta, found, &parked, now),
            RestStep::Reset => Verdict::RestReset(found),
            RestStep::Wake => Verdict::Wake(found),
        }
    }

    /// Answers with a challenge ACK, unless this connection had one just now.
    fn challenge(&mut self, meta: &Meta, found: Found, parked: &Parked, now: Instant) -> Verdict {
        let mut limit = parked.challenge.limit(now);
        if !limit.admit(now, self.config.tcp.challenge_interval) {
            return self.ended(Counter::RestChallengeLimited);
        }
        if let Some(record) = self.table.parked_mut(found) {
            record.challenge = ChallengeTick::new(limit, false);
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
        self.reply(Counter::RestChallenged, reply)
    }
}
