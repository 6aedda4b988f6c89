//! What happens when a connection's deadline is reached: retransmission (RFC 6298 §5.4 to §5.6), zero-window probes,
//! the silly-window override, delayed ACK, keepalive, FIN-WAIT-2, 2 MSL.
//!
//! It must never send: it marks what is due, and `poll_output` gives it.

use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::keepalive::KeepaliveStep;
use crate::tcp::retransmit::{Patience, TimerMode};
use crate::tcp::rtt::Rto;
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::{Bits, Tcb, ms};
use crate::tcp::verdict::{CloseReason, Events};

impl Tcb {
    /// Handles every deadline that was reached, and says what came of it.
    pub fn on_timer(&mut self, env: &mut Env<'_>) -> Events {
        let mut events = Events::NONE;
        if self.ack_timer.is_due(env.now) {
            self.ack_timer = Deadline::OFF;
            self.ack.now();
            env.counters.delayed_acks += 1;
        }
        if self.rtx_timer.is_due(env.now) {
            self.rtx_timer = Deadline::OFF;
            events.add(self.on_rtx_timer(env));
        }
        if self.bits.has(Bits::SLOW_SET) && self.cold.slow_timer.is_due(env.now) {
            self.stop_slow();
            events.add(self.on_slow_timer(env));
        }
        events
    }

    fn on_rtx_timer(&mut self, env: &mut Env<'_>) -> Events {
        if self.timer_mode == TimerMode::SwsOverride {
            self.timer_mode = TimerMode::Retransmit;
            self.bits.set(Bits::FORCE_SEND);
            return Events::NONE;
        }
        if !self.is_opening() && self.snd_wnd.size == 0 {
            // The window shrank to nothing under what is in flight (MUST-34): that is no loss.
            if self.timer_mode == TimerMode::Retransmit {
                self.timer_mode = TimerMode::Persist;
                self.expiries = 0;
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
        self.bits.set(Bits::PROBE_DUE);
        Events::NONE
    }

    fn on_retransmission_timeout(&mut self, env: &mut Env<'_>) -> Events {
        env.counters.retransmission_timeouts += 1;
        let patience = self.patience(env);
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
        self.rtx_nxt = self.snd_una; // §5.4, and from there on as the loss window allows
        self.bits.clear(Bits::RTX_HEAD);
        self.rto.back_off(env.settings); // §5.5
        let wanted = self.rto.duration();
        let wait = self.cold.overdue.limit(env.now, wanted, &patience);
        self.rtx_timer = Deadline::after(env.now, wait); // §5.6
        if self.expiries == env.settings.r1_expiries {
            events.add(Events::R1);
        }
        events
    }

    /// What R2 allows this connection now.
    pub(super) fn patience(&self, env: &Env<'_>) -> Patience {
        Patience {
            r2: if self.is_opening() {
                env.settings.r2_syn
            } else {
                env.settings.profile.r2
            },
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
            State::TimeWait => self.finish(Event::TwoMsl, CloseReason::Graceful, env),
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
        let is_busy = self.flight() > 0 || !self.rtx_timer.is_off();
        match self.cold.keepalive.step(silent, is_busy, env.settings) {
            KeepaliveStep::Wait(delay) => self.arm_slow(env.now, delay),
            KeepaliveStep::Probe(delay) => {
                self.bits.set(Bits::KEEPALIVE_DUE);
                self.arm_slow(env.now, delay);
            }
            KeepaliveStep::GiveUp => {
                return self.abort_because(CloseReason::KeepaliveTimedOut, env);
            }
        }
        Events::NONE
    }
}
