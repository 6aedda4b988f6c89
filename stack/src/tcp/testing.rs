//! A connection under test: [`Host`] plays one side in virtual time, the test plays the other in the segment language.
//!
//! It must never compute what it checks. There are no frames and no queues here: `worker/tests/host.rs` has them.

use std::collections::VecDeque;

use super::env::{Env, TcpCounters};
use super::lang::{Base, Spec, ack, syn, syn_ack};
use super::output::Unsent;
use super::profile::Profile;
use super::reset::{Reset, answer_closed};
use super::segment::{Flags, Segment, SendPlan};
use super::settings::Settings;
use super::state::State;
use super::tcb::{OpenParams, Tcb};
use super::tests::{predict, rest};
use super::verdict::{Events, Outcome, Reply, Verdict};
use crate::seq::SeqNum;
use crate::time::Instant;

pub(super) const MSS: u32 = 1000;
pub(super) const RCV_BUF: u32 = 8000;
/// The window that injected segments advertise unless they say another.
const PEER_WINDOW: u16 = 10_000;

/// Params with everything at its plainest. ISS and IRS start just below the wrap, in every unit test.
pub(super) fn params() -> OpenParams {
    OpenParams {
        iss: SeqNum(0u32.wrapping_sub(50)),
        timestamp_offset: 0u32.wrapping_sub(7),
        local_mss: MSS as u16,
        path_mss: MSS as u16,
        default_peer_mss: 536,
        rcv_buf: RCV_BUF,
    }
}

/// [`plain`] settings with a profile.
pub(super) fn profiled(profile: Profile) -> Settings {
    Settings { profile, ..plain() }
}

/// Settings without timestamps and scaling, so that segments are short to write.
pub(super) fn plain() -> Settings {
    Settings {
        timestamps: false,
        window_scaling: false,
        ..Settings::default()
    }
}

pub(super) struct Host {
    pub(super) tcb: Tcb,
    pub(super) settings: Settings,
    pub(super) counters: TcpCounters,
    pub(super) now: Instant,
    pub(super) unsent: u32,
    pub(super) events: Events,
    /// Of the segments that the test injects.
    base: Base,
    out: VecDeque<(Instant, SendPlan)>,
    start: Instant,
}

impl Host {
    fn with(settings: Settings, make: impl FnOnce(&mut Env<'_>) -> Tcb) -> Self {
        let (start, mut counters) = (Instant::from_ms(1_000_000), TcpCounters::default());
        let tcb = make(&mut Env {
            now: start,
            settings: &settings,
            counters: &mut counters,
        });
        Self {
            tcb,
            settings,
            counters,
            now: start,
            unsent: 0,
            events: Events::NONE,
            base: Base {
                sender_iss: SeqNum(0u32.wrapping_sub(500)),
                receiver_iss: params().iss,
            },
            out: VecDeque::new(),
            start,
        }
    }

    /// An active open whose SYN was not asked for yet.
    pub(super) fn client(settings: Settings, params: OpenParams) -> Self {
        Self::with(settings, |env| Tcb::connect(params, env))
    }

    /// A passive open by this SYN; the SYN-ACK was not asked for yet.
    pub(super) fn server(settings: Settings, params: OpenParams, syn: Spec) -> Self {
        let base = Base {
            sender_iss: SeqNum(0u32.wrapping_sub(500)),
            receiver_iss: params.iss,
        };
        let seg = Segment {
            window: PEER_WINDOW,
            ..syn.to_segment(base)
        };
        Self::answering(settings, params, &seg)
    }

    /// The same by this segment.
    pub(super) fn answering(settings: Settings, params: OpenParams, syn: &Segment) -> Self {
        Self::with(settings, |env| Tcb::accept(params, syn, env))
    }

    /// A client in ESTABLISHED, both sides at relative number 1, with the MSS of the peer at 1000.
    pub(super) fn established() -> Self {
        Self::established_with(plain())
    }

    pub(super) fn established_with(settings: Settings) -> Self {
        let mut host = Self::client(settings, params());
        host.expect(syn());
        host.inject(syn_ack().seq(0).ack(1).mss(MSS as u16));
        host.expect(ack().seq(1).ack(1));
        host.expect_state(State::Established);
        host
    }

    pub(super) fn turn<T>(&mut self, call: impl FnOnce(&mut Tcb, &mut Env<'_>) -> T) -> T {
        let Self {
            tcb,
            settings,
            counters,
            now,
            ..
        } = self;
        let result = call(
            tcb,
            &mut Env {
                now: *now,
                settings,
                counters,
            },
        );
        self.tcb.check_invariants().unwrap();
        result
    }

    /// The peer sends a segment: by default in order, acknowledging everything, with the usual window.
    pub(super) fn inject(&mut self, spec: Spec) -> Verdict {
        let (_, nxt, rcv_nxt) = self.tcb.numbers();
        let mut seg = spec.to_segment(self.base);
        if spec.seq.is_none() {
            seg.seq = rcv_nxt;
        }
        if spec.ack.is_none() && seg.flags.contains(Flags::ACK) {
            seg.ack = nxt;
        }
        seg.window = spec.window.unwrap_or(PEER_WINDOW);
        self.inject_segment(&seg)
    }

    pub(super) fn inject_segment(&mut self, seg: &Segment) -> Verdict {
        for seg in predict::near(seg).iter().chain([seg]) {
            predict::check_input(&self.tcb, seg, &self.settings, self.now);
        }
        rest::check(&self.tcb, seg, &self.settings, self.now);
        let verdict = self.turn(|tcb, env| tcb.on_segment(*seg, env));
        self.events.add(verdict.events);
        if verdict.reply == Reply::Reset {
            self.out.push_back((self.now, reset_for(seg)));
        }
        verdict
    }

    /// Injects and checks how the segment ended.
    pub(super) fn inject_as(&mut self, spec: Spec, outcome: Outcome) -> Verdict {
        let verdict = self.inject(spec);
        assert_eq!(verdict.outcome, outcome, "{spec} in {}", self.tcb.state());
        verdict
    }

    fn poll(&mut self) {
        loop {
            let unsent = Unsent { len: self.unsent };
            predict::check_output(&self.tcb, self.unsent, &self.settings, self.now);
            let Some(plan) = self.turn(|tcb, env| tcb.poll_output(unsent, env)) else {
                break;
            };
            if !plan.is_retransmission {
                self.unsent -= plan.payload_len;
            }
            self.out.push_back((self.now, plan));
        }
    }

    /// The next segment out must be this.
    #[track_caller]
    pub(super) fn expect(&mut self, spec: Spec) -> SendPlan {
        self.poll();
        let Some((_, plan)) = self.out.pop_front() else {
            panic!("expected {spec}, got nothing")
        };
        let (seg, base) = (plan.as_segment(), self.base.reverse());
        assert!(
            spec.matches(&seg, base),
            "expected {spec}\n     got {}",
            Spec::of(&seg, base)
        );
        plan
    }

    /// The next segment out must be this, and have come `ms` milliseconds after the start.
    #[track_caller]
    pub(super) fn expect_at(&mut self, ms: u64, spec: Spec) {
        self.poll();
        let at = self
            .out
            .front()
            .map(|(at, _)| at.since(self.start).as_millis());
        assert_eq!(at, Some(ms.into()), "time of {spec}");
        self.expect(spec);
    }

    #[track_caller]
    pub(super) fn expect_nothing(&mut self) {
        self.poll();
        if let Some((_, plan)) = self.out.front() {
            panic!(
                "unexpected {}",
                Spec::of(&plan.as_segment(), self.base.reverse())
            );
        }
    }

    /// Takes all that goes out now; no segment has more payload than this.
    #[track_caller]
    pub(super) fn poll_largest(&mut self, payload_len: u32) {
        self.poll();
        for (_, plan) in self.out.drain(..) {
            assert!(
                plan.payload_len <= payload_len,
                "{} bytes",
                plan.payload_len
            );
        }
    }

    #[track_caller]
    pub(super) fn expect_state(&self, state: State) {
        assert_eq!(self.tcb.state(), state);
    }

    /// Lets time pass; each deadline on the way is handled at its moment, and what it sends is kept for `expect`.
    pub(super) fn advance_ms(&mut self, ms: u64) {
        self.poll();
        let end = Instant::from_ns(self.now.as_ns() + ms * 1_000_000);
        while let Some(at) = self.tcb.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let events = self.turn(|tcb, env| tcb.on_timer(env));
            self.events.add(events);
            self.poll();
        }
        self.now = end;
    }

    pub(super) fn write(&mut self, len: u32) {
        self.unsent += len;
    }

    pub(super) fn read(&mut self, len: u32) {
        self.tcb.on_read(len);
    }

    pub(super) fn close(&mut self) {
        let events = self.turn(Tcb::close);
        self.events.add(events);
    }

    pub(super) fn shutdown(&mut self) {
        let events = self.turn(Tcb::shutdown);
        self.events.add(events);
    }

    pub(super) fn abort(&mut self) {
        let events = self.turn(Tcb::abort);
        self.events.add(events);
    }
}

/// The answer to a verdict of `Reply::Reset`.
pub(super) fn reset_for(seg: &Segment) -> SendPlan {
    let reset = answer_closed(seg.seq, seg.ack, seg.flags, seg.payload_len);
    let Reset { seq, ack, flags } = reset.expect("a RST is never answered");
    SendPlan {
        seq,
        ack,
        flags,
        ..SendPlan::default()
    }
}
