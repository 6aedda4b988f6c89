//! Values put into a record come out again, rounded only where and as the types say.

use core::time::Duration;

use crate::tcp::answer_limits::AnswerLimits;
use proptest::prelude::*;

use super::*;
use crate::seq::SeqNum;
use crate::tcp::answer_limits::Answer;
use crate::tcp::timestamps::RECENT_VALID_S;

fn tcb() -> ParkedTcb {
    ParkedTcb {
        snd_nxt: SeqNum(5),
        rcv_nxt: SeqNum(u32::MAX),
        rcv_wnd: 1_234_567,
        peer_window: 54_321,
        negotiated: Negotiated {
            peer_mss: 1460,
            window_scale: Some(14),
            timestamps: true,
            sack_permitted: true,
        },
        rcv_scale: 7,
        ts_recent: 77,
        heard_s: 100,
        srtt_us: 2_000,
        rttvar_us: 500,
        rto_us: 4_000,
        cwnd: 3 * 1448,
        ssthresh: 40 * 1448,
        answers: AnswerLimits::NEW,
    }
}

fn kept(tcb: &ParkedTcb, now: Instant) -> ParkedTcb {
    Parked::from_tcb(tcb, 0, ProfileId::DEFAULT).tcb(now)
}

#[test]
fn a_parked_tcb_is_kept_whole() {
    let now = Instant::from_ms(100_000);
    assert_eq!(kept(&tcb(), now), tcb());
    let plain = ParkedTcb {
        negotiated: Negotiated {
            peer_mss: 1448,
            ..Negotiated::default()
        },
        rcv_scale: 0,
        ts_recent: 0,
        srtt_us: 0,
        rttvar_us: 0,
        ssthresh: u32::MAX,
        ..tcb()
    };
    assert_eq!(kept(&plain, now), plain);
    assert_eq!(Parked::from_tcb(&tcb(), 3, ProfileId::DEFAULT).listener, 3);
}

#[test]
fn what_is_rounded_stays_within_what_is_said() {
    let now = Instant::from_ms(100_000);
    let large = ParkedTcb {
        cwnd: 1_000_000,
        ssthresh: 4_095 * 1448,
        ..tcb()
    };
    let kept_large = kept(&large, now);
    assert_eq!(
        (kept_large.cwnd, kept_large.ssthresh),
        (15 * 1448, u32::MAX)
    );
    // A record that nothing has filled in is that of a new connection.
    assert_eq!(Parked::default().tcb(now).ssthresh, u32::MAX);
}

#[test]
fn a_profile_is_kept_and_keepalive_is_work_to_do() {
    let other = ProfileId::nth(3);
    let mut record = Parked::from_tcb(&tcb(), 0, other);
    assert_eq!(record.profile, other);
    record.set_profile(ProfileId::DEFAULT, true);
    assert_eq!(record.profile, ProfileId::DEFAULT);
    assert!(record.flags.is_work_due());
    record.set_profile(other, false);
    assert!(!record.flags.is_work_due());
}

proptest! {
    #[test]
    fn an_answer_is_never_too_early_and_at_most_a_step_late(
        at_ms in 1u64..1 << 40,
        interval_ms in 1u64..10_000,
        wait_ms in 0u64..65_000,
        flag: bool,
        answer in prop::sample::select(&[Answer::Challenge, Answer::OldEmpty]),
    ) {
        let (at, interval) = (Instant::from_ms(at_ms), Duration::from_millis(interval_ms));
        let mut limits = AnswerLimits::NEW;
        prop_assert!(limits.admit(answer, at, interval));
        let ticks = AnswerTicks::new(limits, flag);
        let now = Instant::from_ms(at_ms + wait_ms);
        let admitted = ticks.limits(now).admit(answer, now, interval);
        prop_assert!(!admitted || wait_ms >= interval_ms, "too early");
        prop_assert!(admitted || wait_ms < interval_ms + 4, "too late");
        prop_assert_eq!(ticks.flag(), flag);
    }

    /// Kept modulo 131 s, a time that is long over looks like one ahead for half of every 131 s.
    #[test]
    fn what_was_answered_long_ago_limits_for_a_full_budget_at_most(
        at_ms in 1u64..1 << 40, wait_ms in 66_000u64..129_000,
    ) {
        let (at, interval) = (Instant::from_ms(at_ms), Duration::from_millis(500));
        for answer in [Answer::Challenge, Answer::OldEmpty, Answer::OldText] {
            let mut limits = AnswerLimits::NEW;
            prop_assert!(limits.admit(answer, at, interval));
            let now = Instant::from_ms(at_ms + wait_ms);
            let mut kept = AnswerTicks::new(limits, false).limits(now);
            prop_assert!(kept.admit(answer, now, interval), "{answer:?}");
        }
    }

    #[test]
    fn time_wait_is_kept_whole(
        snd_nxt: u32, rcv_nxt: u32, recent: Option<u32>, offset: u32, rcv_wnd: u16,
        now_ms in 0u64..1 << 40, left_ms in 0u64..240_000, challenged: bool,
    ) {
        let now = Instant::from_ms(now_ms);
        // On a step, which is what the record can tell exactly.
        let ahead = |steps| Instant::from_ms((now_ms / 4 + steps) * 4);
        let answers = if challenged {
            AnswerLimits { challenge: ahead(100), old: ahead(300) }
        } else {
            AnswerLimits::NEW
        };
        let record = time_wait::TimeWaitTcb {
            snd_nxt: SeqNum(snd_nxt),
            rcv_nxt: SeqNum(rcv_nxt),
            timestamps: recent.map(|recent| TimestampState {
                recent,
                offset,
                last_ack_sent: SeqNum(rcv_nxt),
            }),
            deadline: Deadline::at(Instant::from_ms(now_ms + left_ms)),
            rcv_wnd,
            window_max: 70_000,
            answers,
        };
        let small = TimeWait::from_tcp(&record, ProfileId::DEFAULT);
        prop_assert_eq!(small.has_timestamps(), recent.is_some());
        let deadline = TickMs::deadline(Instant::from_ms(now_ms + left_ms));
        prop_assert_eq!(small.to_tcp(deadline, offset, 70_000, now), record);
    }

    #[test]
    fn congestion_windows_are_rounded_down_to_segments(
        cwnd: u32, ssthresh: u32, mss in 1u16..,
    ) {
        let windows = ParkedWindows::new(cwnd, ssthresh, mss);
        let mss_bytes = u32::from(mss);
        let kept = windows.cwnd(mss);
        prop_assert!(kept <= cwnd.max(mss_bytes) && (kept == 15 * mss_bytes || cwnd.max(mss_bytes) - kept < mss_bytes));
        let kept = windows.ssthresh(mss);
        if ssthresh / mss_bytes >= 4_095 {
            prop_assert_eq!(kept, u32::MAX);
        } else {
            let ssthresh = ssthresh.max(2 * mss_bytes);
            prop_assert!(kept <= ssthresh && ssthresh - kept < mss_bytes);
        }
    }
}

#[test]
fn a_pure_ack_refreshes_what_it_is_newer_than() {
    let now = Instant::from_ms(200_000);
    let ack = |seq: u32, ack: u32, tsval: Option<u32>| {
        let mut segment = Segment {
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            window: 9,
            ..Segment::default()
        };
        segment.options.timestamps =
            tsval.map(|tsval| crate::tcp::segment::TimestampOption { tsval, tsecr: 0 });
        let mut record = Parked::from_tcb(&tcb(), 0, ProfileId::DEFAULT);
        record.on_ack(&segment, now);
        assert_eq!(record.heard_s, 200);
        (record.peer_window, record.ts_recent)
    };
    assert_eq!(ack(u32::MAX, 5, Some(80)), (9, 80));
    assert_eq!(ack(u32::MAX, 4, Some(80)), (54_321, 80), "an older ACK");
    assert_eq!(
        ack(0, 5, Some(80)),
        (9, 77),
        "ahead of what was acknowledged"
    );
    assert_eq!(ack(u32::MAX, 5, None), (9, 77));
}

#[test]
fn ts_recent_judges_for_24_days_and_no_longer_even_after_the_clock_of_ms_wrapped() {
    let record = Parked::from_tcb(&tcb(), 0, ProfileId::DEFAULT);
    let judges = |s: u32| {
        let now = Instant::from_ms((100 + u64::from(s)) * 1_000);
        record.numbers(0, now).ts_recent.is_some()
    };
    assert!(judges(RECENT_VALID_S) && !judges(RECENT_VALID_S + 1));
    assert!(!judges(60 * 24 * 3600));
    assert_eq!(
        record.numbers(0, Instant::from_ms(100_000)).max_snd_wnd,
        54_321 << 14
    );
}
