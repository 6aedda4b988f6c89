//! The timers of a connection, once their deadline is reached: retransmission (RFC 6298 §5.4 to §5.6), zero-window probes,
//! the silly-window override, delayed ACK, keepalive, FIN-WAIT-2, 2 MSL.
//!
//! It must never send: it marks what is due, and `poll_output` gives it.

use crate::bits::Bits;
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::keepalive::KeepaliveStep;
use crate::tcp::retransmit::{Patience, TimerMode};
use crate::tcp::rtt::Rto;
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::{Tcb, ms};
use crate::tcp::verdict::{CloseReason, Events};

impl Tcb {
    /// Handles every deadline that was reached, and says what came of it.
    pub fn on_timer(&mut self, env: &mut Env<'_>) -> Events {
        let mut events = Events::NONE;
        if self.ack_timer.is_due(env.now) {
            self.ack_timer = Deadline::OFF;
            //~ The end of the delay sends the ACK; every_second_segment_is_acknowledged_and_a_burst_once
            self.ack.now();
            env.counters.delayed_acks += 1;
        }
        if self.rtx_timer.is_due(env.now) {
            self.rtx_timer = Deadline::OFF;
            events.add(self.on_rtx_timer(env));
        }
        //~ A timer that fires early ends nothing: `&& self.cold.slow_timer.is_due(env.now)` -> nothing;
        //~   a_timer_that_fires_too_early_ends_nothing
        if self.bits.has(Bits::SLOW_SET) && self.cold.slow_timer.is_due(env.now) {
            self.stop_slow();
            events.add(self.on_slow_timer(env));
        }
        events
    }

    fn on_rtx_timer(&mut self, env: &mut Env<'_>) -> Events {
        if self.timer_mode == TimerMode::SwsOverride {
            self.timer_mode = TimerMode::Retransmit;
            //~ The override sends what the window takes; a_silly_window_is_filled_only_after_the_override
            self.bits.set(Bits::FORCE_SEND);
            return Events::NONE;
        }
        //~ A window that shrank to nothing is no loss: -> `if self.timer_mode == TimerMode::Persist {`;
        //~   what_a_closed_window_cut_off_goes_again_as_soon_as_it_opens
        if !self.is_opening() && self.snd_wnd.size == 0 {
            // The window shrank to nothing under what is in flight (MUST-34): that is no loss.
            if self.timer_mode == TimerMode::Retransmit {
                self.timer_mode = TimerMode::Persist;
                self.expiries = 0;
                //~ An ACK that closes the window is an answer; a_window_that_closes_during_an_outage_starts_r2_over
                self.cold.overdue.answered(); // by the ACK that closed the window
            }
            return self.on_persist_timeout(env);
        }
        self.on_retransmission_timeout(env)
    }

    fn on_persist_timeout(&mut self, env: &mut Env<'_>) -> Events {
        if self.cold.overdue.is_over(env.now, &self.patience(env)) {
            return self.time_out(env);
        }
        //~ The probe timer's expiry sends a probe; probes_start_after_an_rto_and_double_and_silence_ends_them
        self.bits.set(Bits::PROBE_DUE);
        Events::NONE
    }

    fn on_retransmission_timeout(&mut self, env: &mut Env<'_>) -> Events {
        env.counters.retransmission_timeouts += 1;
        let patience = self.patience(env);
        //~ R2 ends the connection; data_is_sent_again_with_backoff_until_r2
        self.cold.overdue.waiting(env.now, self.rto.duration());
        if self.cold.overdue.is_over(env.now, &patience) {
            return self.time_out(env);
        }
        self.cold.overdue.tried();
        self.expiries = self.expiries.saturating_add(1);
        let mut events = Events::NONE;
        if self.is_opening() {
            self.bits.set(Bits::SYN_LOST);
        } else {
            events.add(self.look_for_black_hole(env));
            let is_first = self.expiries == 1;
            self.congestion
                .on_timeout(self.snd_una, self.snd_nxt, self.mss(), is_first);
        }
        //~ The timer's expiry sends again, from SND.UNA on; a_timeout_starts_over_with_one_segment
        self.rtx_nxt = self.snd_una; // §5.4, and from there on as the loss window allows
        self.bits.clear(Bits::RTX_HEAD);
        //~ The timeout doubles; data_is_sent_again_with_backoff_until_r2
        self.rto.back_off(env.settings); // §5.5
        let wanted = self.rto.duration();
        let wait = self.cold.overdue.limit(env.now, wanted, &patience);
        //~ The timer's expiry starts it again: -> `let _ = wait;`; r2_is_the_applications
        self.rtx_timer = Deadline::after(env.now, wait); // §5.6

        //~ R1 is reported to the app: -> `if false {`; r1_is_told_at_the_third_expiry
        if self.expiries == env.settings.r1_expiries {
            events.add(Events::R1);
        }
        events
    }

    /// The limit R2 of this connection now.
    pub(super) fn patience(&self, env: &Env<'_>) -> Patience {
        Patience {
            r2: if self.is_opening() {
                //~ A SYN has an R2 of its own: -> `self.cold.params.options.r2`;
                //~   syns_back_off_from_one_second_and_r2_is_three_minutes
                env.settings.r2_syn
            } else {
                env.settings.profile.r2
            },
            //~ Tries are counted by the timer without backoff:
            //~   `Rto::without_backoff(&self.cold.rtt, env.settings).duration()` -> `self.rto.duration()`;
            //~   a_loss_after_a_long_outage_is_sent_again_three_times
            rto: Rto::without_backoff(&self.cold.rtt, env.settings).duration(),
            r1_expiries: env.settings.r1_expiries,
        }
    }

    /// R2 (MUST-20): "close the connection".
    fn time_out(&mut self, env: &mut Env<'_>) -> Events {
        let soft = self.cold.soft_error;
        self.finish(Event::Timeout, CloseReason::TimedOut { soft }, env)
    }

    fn on_slow_timer(&mut self, env: &mut Env<'_>) -> Events {
        match self.state {
            //~ 2 MSL end TIME-WAIT: -> `State::TimeWait => Events::NONE,`; we_close_first
            State::TimeWait => self.finish(Event::TwoMsl, CloseReason::Graceful, env),
            //~ Half-closed by shutdown, FIN-WAIT-2 has no end: -> `State::FinWait2 => {`;
            //~   keepalive_goes_on_where_only_our_direction_is_closed
            State::FinWait2 if self.bits.has(Bits::APP_CLOSED) => {
                self.finish(Event::Timeout, CloseReason::FinWait2TimedOut, env)
            }
            _ => self.on_keepalive_timer(env),
        }
    }

    fn on_keepalive_timer(&mut self, env: &mut Env<'_>) -> Events {
        if !env.settings.profile.keepalive {
            return Events::NONE;
        }
        let silent_ms = ms(env.now).wrapping_sub(self.heard_ms);
        let silent = core::time::Duration::from_millis(silent_ms.into());
        //~ No keepalive while something is in flight: -> `let is_busy = false;`;
        //~   keepalive_is_silent_while_something_is_in_flight
        //~ No keepalive while something waits for a window: `|| !self.rtx_timer.is_off()` -> nothing;
        //~   keepalive_is_silent_while_something_is_in_flight
        let is_busy = self.flight() > 0 || !self.rtx_timer.is_off();
        match self.cold.keepalive.step(silent, is_busy, env.settings) {
            KeepaliveStep::Wait(delay) => self.arm_slow(env.now, delay),
            KeepaliveStep::Probe(delay) => {
                //~ An idle peer is probed; keepalive_probes_an_idle_peer_and_gives_up_after_nine
                self.bits.set(Bits::KEEPALIVE_DUE);
                self.arm_slow(env.now, delay);
            }
            KeepaliveStep::GiveUp => {
                //~ Keepalive ends by a reset: `return self.abort_because(CloseReason::KeepaliveTimedOut, env)`
                //~   -> `return self.finish(Event::Abort, CloseReason::KeepaliveTimedOut, env)`;
                //~   keepalive_probes_an_idle_peer_and_gives_up_after_nine
                return self.abort_because(CloseReason::KeepaliveTimedOut, env);
            }
        }
        Events::NONE
    }
}
