//! Established connections without an application: they stay, answer as RFC 5961 asks, and end at the first data or FIN.
//!
//! Called by: [`Endpoint::on_segment`]. It must never acknowledge data: nobody here would read it.

use super::classify::Meta;
use super::endpoint::{Endpoint, Verdict, segment_head};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::{ConnFlags, Found, Parked, TickMs};
use crate::counters::Counter;
use crate::tcp::rest::{RestNumbers, RestStep, rest_step};
use crate::time::Instant;
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::TcpOptions;

/// At least this long between two challenge ACKs of one connection (RFC 5961 §7; Linux: 500 ms as well).
const CHALLENGE_INTERVAL_MS: u32 = 500;

impl Endpoint {
    /// A segment whose tuple is that of a connection at rest.
    pub(super) fn on_parked(
        &mut self,
        meta: &Meta,
        options: &[u8],
        found: Found,
        now: Instant,
    ) -> Verdict {
        let Some(parked) = self.table.parked(found).copied() else {
            return self.ended(Counter::RestDropped);
        };
        let with_timestamps = parked.flags.has(ConnFlags::TIMESTAMPS);
        let tsval = TcpOptions::parse(options).timestamps.map(|ts| ts.tsval);
        let numbers = RestNumbers {
            snd_nxt: parked.snd_nxt,
            rcv_nxt: parked.rcv_nxt,
            rcv_wnd: parked.rcv_wnd,
            max_snd_wnd: u32::from(parked.peer_window) << parked.shifts.send(),
            ts_recent: with_timestamps.then_some(parked.ts_recent),
        };
        match rest_step(&numbers, &segment_head(meta, tsval)) {
            RestStep::Drop => self.ended(Counter::RestDropped),
            RestStep::Ack => {
                if let Some(record) = self.table.parked_mut(found) {
                    record.last_rx_at = TickMs::at(now);
                    record.peer_window = meta.window;
                    // RFC 7323 §4.3: only from a segment that isn't ahead of what was acknowledged.
                    let in_order = !meta.seq.after(parked.rcv_nxt);
                    if let (true, Some(tsval)) = (with_timestamps && in_order, tsval) {
                        record.ts_recent = tsval;
                    }
                }
                self.ended(Counter::RestAck)
            }
            RestStep::Challenge => self.challenge(meta, found, &parked, now),
            RestStep::Reset | RestStep::Wake => Verdict::Wake(found),
        }
    }

    /// Answers with a challenge ACK, unless this connection had one just now.
    fn challenge(&mut self, meta: &Meta, found: Found, parked: &Parked, now: Instant) -> Verdict {
        // `deadline` is free on a connection without keepalive: it holds when the next challenge may go.
        let limited = parked.deadline != TickMs(0) && !parked.deadline.is_due(TickMs::at(now));
        if limited {
            return self.ended(Counter::RestChallengeLimited);
        }
        if let Some(record) = self.table.parked_mut(found) {
            record.deadline = TickMs(TickMs::at(now).0.wrapping_add(CHALLENGE_INTERVAL_MS));
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
