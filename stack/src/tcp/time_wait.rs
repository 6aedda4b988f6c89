//! TIME-WAIT as a record of its own: what is left of a connection while its old segments die. RFC 9293 §3.6.1 and
//! §3.10.7.4, RFC 6191, RFC 1337.
//!
//! It must never hold data, and never be prolonged by anything but the peer's own FIN.

use crate::seq::SeqNum;
use crate::tcp::answer_limits::{Answer, AnswerLimits};
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::segment::{Flags, Segment, SegmentOptions, SendPlan};
use crate::tcp::state::{Event, State};
use crate::tcp::timestamps::TimestampState;
use crate::tcp::verdict::Outcome;
use crate::tcp::window::acceptable;

/// A connection in TIME-WAIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeWaitTcb {
    /// SND.NXT: the number of our ACKs; a reopened connection must start above it (RFC 1122 §4.2.2.13).
    pub snd_nxt: SeqNum,
    /// RCV.NXT: behind the peer's FIN.
    pub rcv_nxt: SeqNum,
    /// The timestamps, if they were negotiated.
    pub timestamps: Option<TimestampState>,
    /// When 2 MSL are over.
    pub deadline: Deadline,
    /// RCV.WND that the peer knows of, in bytes, as wide as a field without scaling shows.
    pub rcv_wnd: u16,
    /// The largest window that we ever offered, in bytes.
    pub window_max: u32,
    /// How often it answers.
    pub answers: AnswerLimits,
}

/// The reaction of a connection in TIME-WAIT to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeWaitStep {
    /// Nothing; the segment is dropped.
    Drop,
    /// Send this ACK.
    Ack(SendPlan),
    /// A SYN that may start a new connection (MAY-2): treat it as a listener would, with an ISS above this number.
    Reopen {
        /// The ISS must come after this.
        iss_after: SeqNum,
    },
    /// The record goes.
    Closed,
}

impl TimeWaitTcb {
    /// Judges one segment. Counted in `env` under its outcome, like every segment of a connection.
    pub fn on_segment(&mut self, seg: &Segment, env: &mut Env<'_>) -> TimeWaitStep {
        let (outcome, step) = self.judge(seg, env);
        env.counters.count(outcome);
        step
    }

    /// Whether 2 MSL are over; the step to CLOSED is counted.
    pub fn on_timer(&mut self, env: &mut Env<'_>) -> bool {
        //~ 2 MSL end a record of TIME-WAIT: `self.deadline.is_due(env.now)` -> `false`; tests::it_ends_after_2msl
        let over = self.deadline.is_due(env.now);
        if over {
            let _ = env
                .counters
                .transitions
                .step(State::TimeWait, Event::TwoMsl);
        }
        over
    }

    /// A SYN that may reopen met no listener: it is acknowledged like one that may not, within the limit. The peer's reset
    /// ends TIME-WAIT, and its next SYN gets the answer of a closed port.
    pub fn refuse_syn(&mut self, seg: &Segment, env: &mut Env<'_>) -> TimeWaitStep {
        self.limited_ack(seg, env)
    }

    pub(super) fn judge(&mut self, seg: &Segment, env: &mut Env<'_>) -> (Outcome, TimeWaitStep) {
        let flags = seg.flags;
        if flags.rst() {
            return self.rst(seg, env);
        }
        // With a FIN no real peer sends it, and no listener takes it.
        //~ Only a SYN reopens TIME-WAIT: -> `if !flags.intersects(Flags::ACK | Flags::FIN) {`;
        //~   in_the_window_nothing_without_ack_is_answered
        //~ A SYN with FIN reopens nothing: `!flags.intersects(Flags::ACK | Flags::FIN)`
        //~   -> `!flags.intersects(Flags::ACK)`; a_syn_with_fin_never_reopens
        if flags.syn() && !flags.intersects(Flags::ACK | Flags::FIN) {
            return self.syn(seg, env);
        }
        //~ PAWS in TIME-WAIT: `&& ts.is_old(option.tsval)` -> `&& ts.is_old(option.tsval) && false`;
        //~   an_old_fin_starts_nothing_over
        if let (Some(ts), Some(option)) = (&self.timestamps, seg.options.timestamps)
            && ts.is_old(option.tsval)
        {
            return (Outcome::Paws, self.limited_ack(seg, env));
        }
        // First: sequence number.
        if !acceptable(seg.seq, seg.len(), self.rcv_nxt, self.rcv_wnd.into()) {
            return self.unacceptable(seg, env);
        }
        // Fourth: SYN, with RFC 5961 §4.2.
        if flags.syn() {
            return (Outcome::SynChallenged, self.limited_ack(seg, env));
        }
        // Fifth: "if the ACK bit is off, drop the segment and return".
        if !flags.ack() {
            //~ In the window nothing without ACK is answered; in_the_window_nothing_without_ack_is_answered
            return (Outcome::AckMissing, TimeWaitStep::Drop);
        }
        //~ Strays in TIME-WAIT draw an ACK: -> `if seg.is_empty() {`;
        //~   what_is_neither_syn_nor_in_order_draws_an_ack_and_reopens_nothing
        if seg.seq == self.rcv_nxt && seg.is_empty() {
            return (Outcome::PureAck, TimeWaitStep::Drop);
        }
        (Outcome::OutOfWindow, self.limited_ack(seg, env))
    }

    /// A segment outside the window is acknowledged, whatever else it is. "The only thing that can arrive in this state is a
    /// retransmission of the remote FIN" starts 2 MSL over: a FIN that an acknowledgment comes with, since the peer's never
    /// came without.
    fn unacceptable(&mut self, seg: &Segment, env: &mut Env<'_>) -> (Outcome, TimeWaitStep) {
        let flags = seg.flags;
        //~ A FIN without ACK does not start 2 MSL over: `flags.contains(Flags::FIN | Flags::ACK)`
        //~   -> `flags.contains(Flags::FIN)`; a_fin_without_ack_starts_nothing_over
        //~ No other FIN starts 2 MSL over: `&& seg.end() == self.rcv_nxt {` -> `{`;
        //~   the_peers_fin_again_is_acknowledged_and_starts_2msl_over
        let outcome = if flags.syn() {
            Outcome::SynChallenged
        } else if flags.contains(Flags::FIN | Flags::ACK) && seg.end() == self.rcv_nxt {
            //~ The peer's FIN again starts 2 MSL over; the_peers_fin_again_is_acknowledged_and_starts_2msl_over
            self.deadline = Deadline::after(env.now, env.settings.two_msl);
            Outcome::TimeWaitFin
        } else {
            Outcome::OutOfWindow
        };
        (outcome, self.limited_ack(seg, env))
    }

    /// RFC 6191 §2: a newer timestamp reopens; the same one or none needs a newer sequence number. Any other is acknowledged
    /// (RFC 9293 §3.10.7.4, fourth step): silence would keep the peer out for 2 MSL, and of an ACK its reset makes an end.
    fn syn(&mut self, seg: &Segment, env: &mut Env<'_>) -> (Outcome, TimeWaitStep) {
        let newer_seq = seg.seq.after(self.rcv_nxt);
        let may_reopen = match (&self.timestamps, seg.options.timestamps) {
            (Some(ts), Some(option)) if option.tsval == ts.recent => newer_seq,
            (Some(ts), Some(option)) => !ts.is_old(option.tsval),
            // The old connection had none, the new one brings them: newer by definition (§2, third bullet).
            (None, Some(_)) => true,
            (_, None) => newer_seq,
        };
        //~ A newer SYN reopens TIME-WAIT: -> `if true {`; a_syn_reopens_by_rfc_6191_and_draws_an_ack_where_it_does_not
        //~ An older SYN doesn't reopen TIME-WAIT: -> `if false {`;
        //~   a_syn_reopens_by_rfc_6191_and_draws_an_ack_where_it_does_not
        if !may_reopen {
            //~ A SYN that doesn't reopen TIME-WAIT draws an ACK:
            //~   -> `return (Outcome::TimeWaitSyn, TimeWaitStep::Drop);`;
            //~   a_syn_reopens_by_rfc_6191_and_draws_an_ack_where_it_does_not
            return (Outcome::TimeWaitSyn, self.limited_ack(seg, env));
        }
        let _ = env.counters.transitions.step(State::TimeWait, Event::Syn);
        (
            Outcome::TimeWaitReopen,
            TimeWaitStep::Reopen {
                iss_after: self.snd_nxt,
            },
        )
    }

    fn rst(&mut self, seg: &Segment, env: &mut Env<'_>) -> (Outcome, TimeWaitStep) {
        if !seg
            .seq
            .in_window(self.rcv_nxt, u32::from(self.rcv_wnd).max(1))
        {
            //~ A RST outside of the window ends no TIME-WAIT; a_rst_closes_unless_rfc_1337_is_on
            return (Outcome::RstOutOfWindow, TimeWaitStep::Drop);
        }
        //~ A RST doesn't end TIME-WAIT where RFC 1337 is on: -> `if false {`; a_rst_closes_unless_rfc_1337_is_on
        if env.settings.rfc1337 {
            return (Outcome::RstInTimeWait, TimeWaitStep::Drop);
        }
        //~ A RST in the window that isn't exact ends no TIME-WAIT: -> `if false {`; a_rst_closes_unless_rfc_1337_is_on
        if seg.seq != self.rcv_nxt {
            return (Outcome::RstChallenged, self.limited_ack(seg, env));
        }
        let _ = env.counters.transitions.step(State::TimeWait, Event::Rst);
        //~ A RST ends TIME-WAIT: -> `(Outcome::RstAccepted, TimeWaitStep::Drop)`; a_rst_closes_unless_rfc_1337_is_on
        (Outcome::RstAccepted, TimeWaitStep::Closed)
    }

    fn limited_ack(&mut self, seg: &Segment, env: &mut Env<'_>) -> TimeWaitStep {
        let answer = Answer::to(seg, self.rcv_nxt, self.window_max);
        let interval = env.settings.challenge_interval;
        let admitted = self.answers.admit(answer, env.now, interval);
        env.counters.answer(answer, admitted);
        if admitted {
            TimeWaitStep::Ack(self.ack(env))
        } else {
            //~ ACKs of TIME-WAIT are limited: -> `TimeWaitStep::Ack(self.ack(env))`;
            //~   old_duplicates_are_acknowledged_within_the_limit
            TimeWaitStep::Drop
        }
    }

    fn ack(&self, env: &Env<'_>) -> SendPlan {
        SendPlan {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            window: self.rcv_wnd,
            options: SegmentOptions {
                timestamps: self.timestamps.map(|ts| ts.option(env.now, true)),
                ..SegmentOptions::default()
            },
            ..SendPlan::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::env::TcpCounters;
    use crate::tcp::segment::TimestampOption;
    use crate::tcp::settings::Settings;
    use crate::time::Instant;

    fn record() -> TimeWaitTcb {
        TimeWaitTcb {
            snd_nxt: SeqNum(500),
            rcv_nxt: SeqNum(1000),
            timestamps: Some(TimestampState {
                recent: 70,
                offset: 0,
                last_ack_sent: SeqNum(1000),
            }),
            deadline: Deadline::at(Instant::from_ms(60_000)),
            rcv_wnd: 1000,
            window_max: 1000,
            answers: AnswerLimits::NEW,
        }
    }

    fn seg(flags: Flags, seq: u32, tsval: Option<u32>) -> Segment {
        let timestamps = tsval.map(|tsval| TimestampOption { tsval, tsecr: 0 });
        Segment {
            seq: SeqNum(seq),
            flags,
            options: SegmentOptions {
                timestamps,
                ..SegmentOptions::default()
            },
            ..Segment::default()
        }
    }

    fn judge(record: &mut TimeWaitTcb, seg: Segment, settings: &Settings) -> TimeWaitStep {
        let mut counters = TcpCounters::default();
        let env = &mut Env {
            now: Instant::from_ms(30_000),
            settings,
            counters: &mut counters,
        };
        let step = record.on_segment(&seg, env);
        assert_eq!(counters.segments(), 1);
        step
    }

    #[test]
    fn a_syn_reopens_by_rfc_6191_and_draws_an_ack_where_it_does_not() {
        let s = Settings::default();
        let reopened = |mut tw: TimeWaitTcb, seq, tsval| {
            let step = judge(&mut tw, seg(Flags::SYN, seq, tsval), &s);
            match step {
                TimeWaitStep::Reopen { iss_after } => {
                    assert_eq!(iss_after, SeqNum(500));
                    true
                }
                TimeWaitStep::Ack(plan) => {
                    assert_eq!((plan.seq, plan.ack), (SeqNum(500), SeqNum(1000)));
                    false
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(
            reopened(record(), 5, Some(71)),
            "newer timestamp, older number"
        );
        assert!(!reopened(record(), 5, Some(70)) && reopened(record(), 1001, Some(70)));
        assert!(!reopened(record(), 1001, Some(69)), "older timestamp");
        assert!(!reopened(record(), 1000, None) && reopened(record(), 1001, None));
        let without = TimeWaitTcb {
            timestamps: None,
            ..record()
        };
        assert!(reopened(without.clone(), 5, Some(1)));
        assert!(!reopened(without.clone(), 5, None) && reopened(without, 1001, None));
    }

    /// Decision 0012: no real peer sends it.
    #[test]
    fn a_syn_with_fin_never_reopens() {
        let s = Settings::default();
        for (seq, tsval) in [
            (1001, Some(71)),
            (1001, None),
            (5, Some(71)),
            (900_000, None),
        ] {
            let spec = seg(Flags::SYN | Flags::FIN, seq, tsval);
            let step = judge(&mut record(), spec, &s);
            assert!(
                matches!(step, TimeWaitStep::Ack(_)),
                "{seq} {tsval:?}: {step:?}"
            );
        }
    }

    #[test]
    fn syns_that_reopen_nothing_are_acknowledged_within_the_limit() {
        let s = Settings::default();
        let mut tw = record();
        let syn = seg(Flags::SYN, 2_000_000_000, Some(69));
        assert!(matches!(judge(&mut tw, syn, &s), TimeWaitStep::Ack(_)));
        assert_eq!(judge(&mut tw, syn, &s), TimeWaitStep::Drop);
        // The peer's FIN again has a budget of its own.
        let fin = seg(Flags::FIN | Flags::ACK, 999, Some(70));
        for _ in 0..crate::tcp::answer_limits::OLD_BURST {
            assert!(matches!(judge(&mut tw, fin, &s), TimeWaitStep::Ack(_)));
        }
        assert_eq!(judge(&mut tw, fin, &s), TimeWaitStep::Drop);
    }

    #[test]
    fn in_the_window_nothing_without_ack_is_answered() {
        let s = Settings::default();
        for flags in [Flags::NONE, Flags::PSH, Flags::FIN, Flags::URG] {
            for (seq, payload_len) in [(1000, 0), (1000, 5), (1500, 5), (1999, 0)] {
                let spec = Segment {
                    payload_len,
                    ..seg(flags, seq, Some(71))
                };
                assert_eq!(
                    judge(&mut record(), spec, &s),
                    TimeWaitStep::Drop,
                    "{spec:?}"
                );
            }
            // Outside of it the first check comes first.
            let outside = seg(flags, 3000, Some(71));
            assert!(matches!(
                judge(&mut record(), outside, &s),
                TimeWaitStep::Ack(_)
            ));
        }
    }

    #[test]
    fn a_fin_without_ack_starts_nothing_over() {
        let s = Settings::default();
        let mut tw = record();
        let step = judge(&mut tw, seg(Flags::FIN, 999, Some(70)), &s);
        assert!(matches!(step, TimeWaitStep::Ack(_)));
        assert_eq!(tw.deadline, record().deadline);
        let mut tw = record();
        judge(&mut tw, seg(Flags::FIN | Flags::SYN_ACK, 998, Some(70)), &s);
        assert_eq!(tw.deadline, record().deadline);
    }

    #[test]
    fn the_peers_fin_again_is_acknowledged_and_starts_2msl_over() {
        let s = Settings::default();
        let mut tw = record();
        let fin = Flags::FIN.with(Flags::ACK);
        let TimeWaitStep::Ack(plan) = judge(&mut tw, seg(fin, 999, Some(70)), &s) else {
            panic!("no ACK")
        };
        assert_eq!(
            (plan.seq, plan.ack, plan.flags),
            (SeqNum(500), SeqNum(1000), Flags::ACK)
        );
        assert_eq!(tw.deadline.instant(), Some(Instant::from_ms(90_000)));
        // Another FIN is no reason to stay.
        let mut tw = record();
        judge(&mut tw, seg(fin, 1500, Some(70)), &s);
        assert_eq!(tw.deadline, record().deadline);
    }

    #[test]
    fn an_old_fin_starts_nothing_over() {
        let mut tw = record();
        let fin = seg(Flags::FIN.with(Flags::ACK), 999, Some(69));
        let step = judge(&mut tw, fin, &Settings::default());
        assert!(matches!(step, TimeWaitStep::Ack(_)));
        assert_eq!(tw.deadline, record().deadline, "PAWS: of another time");
    }

    #[test]
    fn a_rst_closes_unless_rfc_1337_is_on() {
        let plain = Settings::default();
        let strict = Settings {
            rfc1337: true,
            ..Settings::default()
        };
        assert_eq!(
            judge(&mut record(), seg(Flags::RST, 1000, None), &plain),
            TimeWaitStep::Closed
        );
        assert_eq!(
            judge(&mut record(), seg(Flags::RST, 1000, None), &strict),
            TimeWaitStep::Drop
        );
        assert_eq!(
            judge(&mut record(), seg(Flags::RST, 2000, None), &plain),
            TimeWaitStep::Drop
        );
        let challenged = judge(&mut record(), seg(Flags::RST, 1001, None), &plain);
        assert!(matches!(challenged, TimeWaitStep::Ack(_)));
    }

    #[test]
    fn old_duplicates_are_acknowledged_within_the_limit() {
        let s = Settings::default();
        let mut tw = record();
        let old = seg(Flags::ACK, 900, Some(60));
        assert!(matches!(judge(&mut tw, old, &s), TimeWaitStep::Ack(_)));
        assert_eq!(judge(&mut tw, old, &s), TimeWaitStep::Drop, "limited");
        assert_eq!(
            judge(&mut record(), seg(Flags::ACK, 1000, Some(70)), &s),
            TimeWaitStep::Drop
        );
    }

    #[test]
    fn what_is_neither_syn_nor_in_order_draws_an_ack_and_reopens_nothing() {
        let s = Settings::default();
        let text = Segment {
            payload_len: 1,
            ..seg(Flags::ACK, 1000, Some(70))
        };
        for stray in [
            seg(Flags::ACK, 900, Some(70)),
            seg(Flags::FIN | Flags::ACK, 1500, Some(71)),
            seg(Flags::FIN, 2000, Some(71)),
            seg(Flags::SYN_ACK, 2000, Some(71)),
            text,
        ] {
            let step = judge(&mut record(), stray, &s);
            assert!(matches!(step, TimeWaitStep::Ack(_)), "{stray:?}: {step:?}");
        }
    }

    #[test]
    fn it_ends_after_2msl() {
        let settings = Settings::default();
        let mut counters = TcpCounters::default();
        let mut at = |ms| {
            let now = Instant::from_ms(ms);
            record().on_timer(&mut Env {
                now,
                settings: &settings,
                counters: &mut counters,
            })
        };
        assert!(!at(59_999) && at(60_000));
    }
}
