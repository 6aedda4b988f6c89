//! Header prediction against the steps of the RFC: whatever segment meets whatever connection, a predicted one leaves it as the
//! steps do, field by field, and any other leaves it as it was.
//!
//! [`check_input`] and [`check_output`] are called for every segment of the pipe and of the tests that inject segments. The fuzz
//! target `predict` has this file too, by its path.

use crate::tcp::env::{Env, TcpCounters};
use crate::tcp::output::Unsent;
use crate::tcp::predict::{ExpectedSegment, FirstSyn, PlainSegment};
use crate::tcp::segment::{Flags, Segment, SegmentOptions, SendPlan, TimestampOption};
use crate::tcp::settings::Settings;
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::{Payload, Reply};
use crate::time::Instant;

/// A connection and what its calls need, apart from all others.
pub(super) struct Copy {
    tcb: Tcb,
    counters: TcpCounters,
}

impl Copy {
    pub(super) fn of(tcb: &Tcb) -> Self {
        Self {
            tcb: tcb.clone(),
            counters: TcpCounters::default(),
        }
    }

    pub(super) fn with<T>(
        &mut self,
        settings: &Settings,
        now: Instant,
        call: impl FnOnce(&mut Tcb, &mut Env<'_>) -> T,
    ) -> T {
        let env = &mut Env {
            now,
            settings,
            counters: &mut self.counters,
        };
        call(&mut self.tcb, env)
    }

    /// All that the connection knows and all that was counted.
    pub(super) fn show(&self) -> String {
        let named: Vec<_> = self.counters.named().filter(|(_, n)| *n > 0).collect();
        format!("{:#?} {named:?} {:?}", self.tcb, self.counters.transitions)
    }
}

/// The segment as prediction sees it, where it may be given to it.
pub(super) fn expected(seg: &Segment) -> Option<ExpectedSegment> {
    let only_timestamps = SegmentOptions {
        timestamps: seg.options.timestamps,
        ..SegmentOptions::default()
    };
    (seg.options == only_timestamps).then_some(ExpectedSegment {
        seq: seg.seq,
        ack: seg.ack,
        flags: seg.flags,
        window: seg.window,
        payload_len: seg.payload_len,
        timestamps: seg.options.timestamps,
    })
}

/// Predicts what `seg` does to a copy of `tcb`, and compares it with what the steps do to another. Says whether it was
/// predicted.
pub(crate) fn check_input(tcb: &Tcb, seg: &Segment, settings: &Settings, now: Instant) -> bool {
    let (mut fast, mut general) = (Copy::of(tcb), Copy::of(tcb));
    let before = fast.show();
    let prediction = fast.with(settings, now, |tcb, env| match expected(seg) {
        Some(expected) if seg.flags != Flags::SYN_ACK => tcb.predict(&expected, env),
        _ => tcb.predict_syn_ack(seg, env),
    });
    let Some(prediction) = prediction else {
        assert_eq!(fast.show(), before, "not predicted, and changed: {seg:?}");
        return false;
    };
    let verdict = general.with(settings, now, |tcb, env| tcb.on_segment(*seg, env));
    assert_eq!(fast.show(), general.show(), "{seg:?}");
    assert_eq!(prediction.acked_len, verdict.acked_len, "{seg:?}");
    assert_eq!(prediction.events, verdict.events, "{seg:?}");
    assert_eq!(verdict.reply, Reply::None, "{seg:?}");
    let taken = match verdict.payload {
        Payload::InOrder {
            skip: 0,
            len,
            released: 0,
        } => Some(len),
        Payload::None => Some(0),
        _ => None,
    };
    assert_eq!(taken, Some(seg.payload_len), "{seg:?}");
    true
}

/// Segments that differ from `seg` in one field each, by a little or by much.
pub(crate) fn near(seg: &Segment) -> Vec<Segment> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Segment)| {
        let mut changed = *seg;
        change(&mut changed);
        all.push(changed);
    };
    for delta in [1, u32::MAX, 1_000, 0u32.wrapping_sub(1_000), 1 << 31] {
        add(&|seg| seg.seq = seg.seq.add(delta));
        add(&|seg| seg.ack = seg.ack.add(delta));
        add(&|seg| {
            if let Some(option) = &mut seg.options.timestamps {
                option.tsval = option.tsval.wrapping_add(delta);
            }
        });
        add(&|seg| {
            if let Some(option) = &mut seg.options.timestamps {
                option.tsecr = option.tsecr.wrapping_add(delta);
            }
        });
    }
    for bit in 0..8 {
        add(&|seg| seg.flags = Flags(seg.flags.0 ^ 1 << bit));
    }
    for window in [0, 1, u16::MAX] {
        add(&|seg| seg.window = window);
    }
    for len in [0, 1, seg.payload_len + 1, 100_000] {
        add(&|seg| seg.payload_len = len);
    }
    add(&|seg| seg.options.timestamps = None);
    add(&|seg| {
        seg.options
            .timestamps
            .get_or_insert(TimestampOption { tsval: 1, tsecr: 0 });
    });
    all
}

/// Predicts what a copy of `tcb` sends next, and compares it with what another says when it is asked.
pub(crate) fn check_output(tcb: &Tcb, unsent_len: u32, settings: &Settings, now: Instant) -> bool {
    let (mut fast, mut general) = (Copy::of(tcb), Copy::of(tcb));
    let unsent = Unsent { len: unsent_len };
    let mut polled = || general.with(settings, now, |tcb, env| tcb.poll_output(unsent, env));
    if let Some(syn) = fast.with(settings, now, |tcb, env| tcb.predict_syn(env)) {
        assert_eq!(Some(plan_of_syn(&syn)), polled());
        assert_eq!(fast.show(), general.show(), "{syn:?}");
        return true;
    }
    let predicted = fast.with(settings, now, |tcb, env| {
        tcb.predict_output(unsent_len, env)
    });
    let Some(plain) = predicted else {
        return false;
    };
    let plan = polled();
    assert_eq!(Some(plan_of(&plain, tcb.flight())), plan);
    assert_eq!(fast.show(), general.show(), "{plain:?}");
    let left = Unsent {
        len: unsent_len - plain.payload_len,
    };
    assert!(
        fast.tcb.is_silent(left),
        "it has more to say than {plain:?}"
    );
    true
}

fn plan_of_syn(syn: &FirstSyn) -> SendPlan {
    SendPlan {
        seq: syn.seq,
        flags: Flags::SYN,
        window: syn.window,
        options: SegmentOptions {
            mss: Some(syn.mss),
            window_scale: Some(syn.window_scale),
            timestamps: Some(TimestampOption {
                tsval: syn.tsval,
                tsecr: 0,
            }),
            sack_permitted: false,
        },
        ..SendPlan::default()
    }
}

fn plan_of(plain: &PlainSegment, flight: u32) -> SendPlan {
    let sends = plain.payload_len > 0 || plain.flags.fin();
    SendPlan {
        seq: plain.seq,
        ack: plain.ack,
        flags: plain.flags,
        window: plain.window,
        payload_len: plain.payload_len,
        payload_offset: if sends { flight } else { 0 },
        options: SegmentOptions {
            timestamps: plain.timestamps,
            ..SegmentOptions::default()
        },
        ..SendPlan::default()
    }
}

#[test]
fn a_near_miss_differs_in_one_field() {
    let seg = Segment::default();
    let next = seg.seq.add(1);
    assert!(near(&seg).iter().any(|near| near.seq == next));
    assert!(near(&seg).len() > 30);
}
