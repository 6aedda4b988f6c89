//! Which ACKs tell the round-trip time (RFC 6298 §3, RFC 7323 §4.1), and what follows for the retransmission timeout.
//!
//! It must never take a sample that may hold the wait for a timer: what is backed off then would never come down.

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::env::Env;
use crate::tcp::retransmit::TimerMode;
use crate::tcp::rtt::Rto;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;

impl Tcb {
    /// A sample from the segment being timed; where a retransmission spoilt that one, from the echoed timestamp
    /// (RFC 7323 §4.1), which says which copy was received.
    #[inline(always)]
    pub(super) fn sample_rtt(&mut self, ack: SeqNum, echo: Option<u32>, env: &Env<'_>) {
        //~ An echoed timestamp gives a sample in spite of a retransmission:
        //~   `} else if self.bits.has(Bits::TIMESTAMPS) {` -> `} else if false {`;
        //~   an_echoed_timestamp_ends_the_backoff_at_once
        let sample_us = if !self.rtt_timer.is_idle() {
            self.rtt_timer.stop(ack, env.now)
        } else if self.bits.has(Bits::TIMESTAMPS) {
            //~ An echo older than the last copy is no sample: `.filter(|&rtt_us| self.answers_last_copy(rtt_us, env))`
            //~   -> nothing; an_echoed_timestamp_ends_the_backoff_at_once
            echo.and_then(|tsecr| self.ts.rtt_us(tsecr, env.now))
                .filter(|&rtt_us| self.answers_last_copy(rtt_us, env))
        } else {
            None
        };
        if let Some(rtt_us) = sample_us {
            //~ A sample sets the timeout, and ends the backoff: -> `self.cold.rtt.sample(rtt_us);`;
            //~   rto_follows_the_round_trip_time
            self.rto = Rto::from_estimate(self.cold.rtt.sample(rtt_us), env.settings);
        }
    }

    /// Whether what this sample measures began no earlier than the timer's last expiry. A peer that had the original all
    /// along, and whose ACK got lost, echoes an old value again: the wait for the timer is no part of the path.
    #[inline(always)]
    fn answers_last_copy(&self, rtt_us: u32, env: &Env<'_>) -> bool {
        let was_sent_again = self.expiries > 0 && self.timer_mode == TimerMode::Retransmit;
        !was_sent_again || self.answers_expiry(rtt_us, env)
    }

    #[inline(never)]
    fn answers_expiry(&self, rtt_us: u32, env: &Env<'_>) -> bool {
        const TICK_US: u64 = 1_000;
        let until_us = self.rtx_timer.instant().map_or(0, Instant::as_us);
        let sent_us = until_us.saturating_sub(self.rto.us().into());
        u64::from(rtt_us) <= env.now.as_us().saturating_sub(sent_us) + TICK_US
    }
}
