//! The passive handshake with state: SYN, SYN-ACK, and everything that can come instead of the final ACK.

use core::time::Duration;

use super::host::{BACKLOG, CLOSED, Flow, Host, OPEN};
use crate::conn::{ConnFlags, Records};
use crate::counters::Counter;
use crate::local::listener::SynPolicy;
use crate::tcp::answer_limits::OLD_BURST;
use crate::tcp::lang::{ack, data, fin, rst, segment, syn, syn_ack};
use crate::tcp::segment::Flags;

/// A host whose flow is an embryo.
fn embryo() -> Host {
    let mut host = Host::new();
    host.inject(syn().seq(0)).counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host
}

#[test]
fn the_syn_ack_offers_what_was_offered_and_no_more() {
    for (flow, mss) in [(Flow::v4(1, OPEN), 1460), (Flow::v6(1, OPEN), 1440)] {
        let mut host = Host::new();
        host.on(flow)
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1).win(65_535).mss(mss));
        let options = host.last().segment.options;
        assert_eq!((options.window_scale, options.timestamps), (None, None));

        let mut host = Host::new();
        let all = syn().seq(0).mss(1400).wscale(9).sack_ok().ts(77, 0);
        host.on(flow).inject(all).counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1).win(65_535).mss(mss).wscale(7));
        let options = host.last().segment.options;
        assert_eq!(options.timestamps.expect("timestamps").tsecr, 77);
        assert!(!options.sack_permitted, "not offered before SACK is built");
        let embryo = host.embryo().expect("an embryo");
        assert_eq!((embryo.peer_mss, embryo.shifts.send()), (1400, 9));
    }
}

/// RFC 7323 §2.2: the window of a SYN-ACK isn't scaled, that of any later segment is.
#[test]
fn a_challenge_offers_what_the_syn_ack_has_offered() {
    let mut host = Host::new();
    host.inject(syn().seq(0).mss(1400).wscale(9))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1).win(65_535).wscale(7));
    host.inject(ack().seq(70_000).ack(1))
        .counted(Counter::EmbryoChallenged);
    host.expect(ack().seq(1).ack(1).win(65_535 >> 7));
}

/// RFC 9293 MUST-15, RFC 7323 §2.3.
#[test]
fn without_mss_the_smallest_and_a_scale_above_14_counts_as_14() {
    for (flow, mss) in [(Flow::v4(1, OPEN), 536), (Flow::v6(1, OPEN), 1220)] {
        let mut host = Host::new();
        host.on(flow)
            .inject(syn().seq(0).wscale(200))
            .counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1));
        let embryo = host.embryo().expect("an embryo");
        assert_eq!((embryo.peer_mss, embryo.shifts.send()), (mss, 14));
    }
}

#[test]
fn text_on_a_syn_is_not_acknowledged() {
    let mut host = Host::new();
    host.inject(syn().seq(0).len(100))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
}

#[test]
fn the_final_ack_establishes() {
    let mut host = Host::new();
    host.inject(syn().seq(0).mss(1400).wscale(9).ts(77, 0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    let tsval = host
        .last()
        .segment
        .options
        .timestamps
        .expect("timestamps")
        .tsval;
    host.inject(ack().seq(1).ack(1).win(500).ts(80, tsval))
        .counted(Counter::ConnSegment);
    let parked = host.silent().park().parked().expect("parked");
    assert_eq!(
        (parked.ts_recent, parked.peer_window, parked.mss),
        (80, 500, 1388)
    );
    assert_eq!((parked.shifts.send(), parked.shifts.receive()), (9, 7));
    assert!(
        parked
            .flags
            .has(ConnFlags::TIMESTAMPS.with(ConnFlags::WINDOW_SCALE))
    );
    assert_eq!(parked.rcv_nxt, host.flow.peer_iss.add(1));
    assert_eq!(
        Some(parked.snd_nxt),
        host.flow.our_iss.map(|iss| iss.add(1))
    );
}

#[test]
fn the_syn_again_gets_the_same_syn_ack_again() {
    let mut host = embryo();
    for _ in 0..3 {
        host.inject(syn().seq(0)).counted(Counter::EmbryoSynAgain);
        host.expect(syn_ack().seq(0).ack(1));
    }
    assert_eq!(host.worker().table().total(), 1);
}

/// The second SYN was looked up before the first one had made its embryo.
#[test]
fn a_syn_and_its_copy_in_one_burst_make_one_embryo() {
    let mut host = Host::new();
    host.inject_together(&[syn().seq(0), syn().seq(0)]);
    assert_eq!(host.ends(), [("syn_embryo", 1), ("embryo_syn_again", 1)]);
    host.expect(syn_ack().seq(0).ack(1))
        .expect(syn_ack().seq(0).ack(1));
    assert_eq!(host.worker().table().total(), 1);
}

#[test]
fn a_whole_handshake_in_one_burst() {
    // The ISS is a function of tuple and time, so a first try shows it.
    let mut host = embryo();
    host.inject(rst().seq(1)).counted(Counter::EmbryoReset);
    host.inject_together(&[syn().seq(0), ack().seq(1).ack(1), data(3).seq(1).ack(1)]);
    assert_eq!(host.ends(), [("syn_embryo", 1), ("conn_segment", 2)]);
    assert_eq!(host.count(Counter::EmbryoEstablished), 1);
    // Connections come before replies in the outbox.
    host.forget_iss().next_reply();
    host.expect(syn_ack().seq(0).ack(1));
    assert_eq!(host.worker().table().total(), 0);
}

/// The second frame has found, before, the connection that the first one ends: its reference is out of date.
#[test]
fn a_reset_and_an_ack_in_one_burst() {
    let mut host = embryo();
    host.inject_together(&[rst().seq(1), ack().seq(1).ack(1)]);
    assert_eq!(host.ends(), [("listen_ack_reset", 1), ("embryo_reset", 1)]);
    host.expect(rst().seq(1));
}

/// As above, and the record belongs to another connection by then.
#[test]
fn a_record_that_changes_hands_within_a_burst() {
    let mut host = embryo();
    let (old, new) = (host.flow, Flow::v4(50_000, OPEN));
    let frames = [
        old.frame(rst().seq(1)),
        new.frame(syn().seq(0)),
        old.frame(ack().seq(1).ack(1)),
    ];
    host.inject_burst(frames);
    let ends = [
        ("listen_ack_reset", 1),
        ("syn_embryo", 1),
        ("embryo_reset", 1),
    ];
    assert_eq!(host.ends(), ends);
    host.on(new).expect(syn_ack().seq(0).ack(1));
    host.on(old).expect(rst().seq(1));
    assert!(host.on(new).embryo().is_some());
}

#[test]
fn a_reset_must_be_exact() {
    let mut host = embryo();
    host.inject(rst().seq(0))
        .counted(Counter::EmbryoDropped)
        .silent();
    host.inject(rst().seq(65_536))
        .counted(Counter::EmbryoDropped)
        .silent();
    for inexact in [2, 65_535] {
        let mut host = embryo();
        host.inject(rst().seq(inexact))
            .counted(Counter::EmbryoChallenged);
        host.expect(ack().seq(1).ack(1));
    }
    assert!(host.embryo().is_some());
    host.inject(rst().seq(1))
        .counted(Counter::EmbryoReset)
        .silent();
    assert!(host.embryo().is_none());
    // The listener listens on.
    host.forget_iss()
        .inject(syn().seq(0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
}

#[test]
fn an_ack_of_something_else_is_reset_and_the_embryo_stays() {
    let mut host = embryo();
    for wrong in [0u32, 2, 1000, u32::MAX] {
        host.inject(ack().seq(1).ack(wrong))
            .counted(Counter::EmbryoBadAck);
        host.expect(rst().seq(wrong));
    }
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
}

#[test]
fn another_syn_in_the_window_goes_back_to_listen_without_a_word() {
    let mut host = embryo();
    host.inject(syn().seq(100))
        .counted(Counter::EmbryoBackToListen)
        .silent();
    assert!(host.embryo().is_none());
}

#[test]
fn what_lies_outside_the_window_is_challenged() {
    for spec in [
        ack().seq(70_000).ack(1),
        data(9).seq(70_000).ack(1),
        syn().seq(70_000),
    ] {
        let mut host = embryo();
        host.inject(spec).counted(Counter::EmbryoChallenged);
        host.expect(ack().seq(1).ack(1));
        host.inject(spec)
            .counted(Counter::EmbryoAnswerLimited)
            .silent();
    }
    let mut host = embryo();
    for spec in [
        segment(Flags::NONE).seq(1),
        segment(Flags::FIN).seq(1),
        segment(Flags::NONE).seq(1).len(5),
    ] {
        host.inject(spec).counted(Counter::EmbryoDropped).silent();
    }
    assert!(host.embryo().is_some());
}

/// Junk doesn't silence the SYN-ACK for a peer whose first one was lost, and neither is sent without a limit.
#[test]
fn junk_takes_nothing_from_the_answers_to_the_syn_again() {
    let mut host = embryo();
    host.inject(ack().seq(70_000).ack(1))
        .counted(Counter::EmbryoChallenged)
        .expect(ack().seq(1).ack(1));
    for _ in 0..OLD_BURST {
        host.inject(syn().seq(0))
            .counted(Counter::EmbryoSynAgain)
            .expect(syn_ack().seq(0).ack(1));
    }
    for spec in [syn().seq(0), ack().seq(70_000).ack(1)] {
        host.inject(spec)
            .counted(Counter::EmbryoAnswerLimited)
            .silent();
    }
    host.wait_ms(500)
        .inject(syn().seq(0))
        .counted(Counter::EmbryoSynAgain)
        .expect(syn_ack().seq(0).ack(1));
}

#[test]
fn paws_challenges_an_older_timestamp() {
    let mut host = Host::new();
    host.inject(syn().seq(0).ts(100, 0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1).ts(99, 0))
        .counted(Counter::EmbryoChallenged);
    host.expect(ack().seq(1).ack(1));
    assert_eq!(
        host.last()
            .segment
            .options
            .timestamps
            .expect("timestamps")
            .tsecr,
        100
    );
    host.inject(ack().seq(1).ack(1).ts(100, 0))
        .counted(Counter::ConnSegment)
        .silent();
}

/// RFC 7323 §3.2: it would be dropped as a segment of the connection, so it makes none.
#[test]
fn a_final_ack_without_the_timestamp_that_was_agreed_on_is_dropped() {
    let mut host = Host::new();
    host.inject(syn().seq(0).ts(100, 0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::EmbryoDropped)
        .silent();
    assert!(host.embryo().is_some());
    // A reset needs none (§3.2).
    host.inject(rst().seq(1)).counted(Counter::EmbryoReset);

    let mut host = Host::with(|spec| spec.tcp.require_timestamps = false);
    host.inject(syn().seq(0).ts(100, 0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
}

#[test]
fn data_or_fin_on_the_final_ack_is_reset_for_want_of_an_application() {
    for (spec, received) in [(data(3).seq(1).ack(1), 4), (fin().seq(1).ack(1), 2)] {
        let mut host = embryo();
        host.inject(spec).counted(Counter::ConnSegment);
        host.expect(rst().seq(1).ack(received));
        assert_eq!(host.worker().table().total(), 0);
    }
}

/// Fills the backlog from other ports.
fn fill(host: &mut Host) {
    for port in 1..=BACKLOG as u16 {
        host.on(Flow::v4(port, OPEN))
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1));
    }
    host.on(Flow::v4(40_000, OPEN));
}

#[test]
fn a_full_backlog_drops_and_a_place_that_is_free_again_is_used() {
    let mut host = Host::new();
    fill(&mut host);
    host.inject(syn().seq(0))
        .counted(Counter::SynDroppedFull)
        .silent();
    // A closed port knows no backlog.
    host.on(Flow::v4(1, CLOSED).absolute())
        .inject(syn().seq(0))
        .counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(1));
    let first = Flow::v4(1, OPEN);
    host.on(first)
        .inject(rst().seq(1))
        .counted(Counter::EmbryoReset);
    host.on(Flow::v4(40_000, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    // Establishing gives a place back as well.
    host.inject(syn().seq(0))
        .counted(Counter::EmbryoSynAgain)
        .expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment);
    host.on(Flow::v4(41_000, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host.on(Flow::v4(42_000, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynDroppedFull);
}

#[test]
fn embryos_that_expire_leave_the_backlog() {
    let mut host = Host::new();
    fill(&mut host);
    for _ in 0..16 {
        host.wait_ms(1_000);
        while host.try_reply().is_some() {}
    }
    assert_eq!(host.count(Counter::EmbryoExpired), u64::from(BACKLOG));
    host.inject(syn().seq(0)).counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
}

#[test]
fn a_full_backlog_falls_back_to_cookies_when_told_to() {
    let mut host = Host::listening(SynPolicy::CookieWhenFull);
    fill(&mut host);
    host.inject(syn().seq(0)).counted(Counter::SynCookieSent);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    assert!(host.park().parked().is_some());
}

#[test]
fn without_a_record_for_the_connection_the_embryo_stays() {
    let mut host = Host::with(|spec| {
        spec.limits.records.open.v4 = 1;
        spec.park_after = Duration::from_secs(1);
    });
    host.on(Flow::v4(2, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    let waiting = host.flow;
    host.on(Flow::v4(1, OPEN)).establish();
    let first = host.flow;
    host.on(waiting)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::EmbryoAckNoRecord)
        .silent();
    host.on(first)
        .inject(rst().seq(1))
        .counted(Counter::ConnSegment);
    host.on(waiting)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
}

/// While the only record is in use, a SYN that this policy answers (and counts so) is dropped.
pub(super) fn assert_a_syn_needs_a_record(policy: SynPolicy, answered: Counter) {
    for v6 in [false, true] {
        let flow = |port| Flow::of(v6, port, OPEN);
        let mut host = Host::with(|spec| {
            spec.listeners[0].policy = policy;
            spec.limits.records.open = Records { v4: 1, v6: 1 };
            spec.park_after = Duration::from_secs(1);
        });
        host.on(flow(1)).inject(syn().seq(0)).counted(answered);
        host.expect(syn_ack().seq(0).ack(1));
        host.inject(ack().seq(1).ack(1))
            .counted(Counter::ConnSegment)
            .silent();
        let first = host.flow;
        host.on(flow(2))
            .inject(syn().seq(0))
            .counted(Counter::SynDroppedNoRecord)
            .silent();
        host.on(first)
            .inject(rst().seq(1))
            .counted(Counter::ConnSegment);
        // It comes again.
        host.on(flow(2)).inject(syn().seq(0)).counted(answered);
        host.expect(syn_ack().seq(0).ack(1));
    }
}

#[test]
fn without_a_record_for_the_connection_a_syn_is_dropped() {
    assert_a_syn_needs_a_record(SynPolicy::Embryo, Counter::SynEmbryo);
}

#[test]
fn a_listener_may_drop_or_reset_every_syn() {
    let mut host = Host::listening(SynPolicy::Drop);
    host.inject(syn().seq(0))
        .counted(Counter::SynDroppedPolicy)
        .silent();
    let mut host = Host::listening(SynPolicy::Rst);
    host.on(host.flow.absolute())
        .inject(syn().seq(5).len(2))
        .counted(Counter::SynResetPolicy);
    host.expect(rst().seq(0).ack(8));
}

/// RFC 6528: other tuples have other numbers, and later means higher.
#[test]
fn initial_sequence_numbers_differ_by_tuple_and_grow_with_time() {
    let mut host = Host::new();
    let iss = |host: &mut Host, port| {
        host.on(Flow::v4(port, OPEN))
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1));
        host.inject(rst().seq(1)).counted(Counter::EmbryoReset);
        host.flow.our_iss.expect("told")
    };
    let first = iss(&mut host, 1);
    assert_ne!(first, iss(&mut host, 2));
    assert_eq!(first, iss(&mut host, 1), "at the same time");
    host.wait_ms(1000);
    // The clock of RFC 9293 §3.4.1 ticks every 4 us.
    assert_eq!(iss(&mut host, 1).since(first), 250_000);
}

/// SRTT in milliseconds of a connection whose final ACK came so long after its SYN, by what else came in between.
fn srtt_ms(wait_ms: u64, between: impl FnOnce(&mut Host)) -> u32 {
    let mut host = embryo();
    host.wait_ms(wait_ms / 2);
    between(&mut host);
    host.wait_ms(wait_ms - wait_ms / 2);
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    let parked = host.park().parked().expect("parked");
    parked.srtt.as_us().div_ceil(1_000)
}

/// RFC 6298 §3, without timestamps.
#[test]
fn the_ack_of_a_syn_ack_says_how_long_the_path_is() {
    for wait_ms in [2, 100, 800, 999] {
        let srtt_ms = srtt_ms(wait_ms, |_| {});
        assert!((wait_ms - 1..=wait_ms + 1).contains(&srtt_ms.into()));
    }
}

/// Karn: which of them does the ACK answer?
#[test]
fn a_syn_ack_sent_twice_says_nothing_of_the_path() {
    let again = srtt_ms(800, |host| {
        host.inject(syn().seq(0)).counted(Counter::EmbryoSynAgain);
        host.expect(syn_ack().seq(0).ack(1));
    });
    assert_eq!(again, 0);
}

/// RFC 2018 §2: our SYN-ACK doesn't carry it.
#[test]
fn sack_permitted_is_not_kept_before_it_is_offered() {
    let mut host = Host::new();
    host.inject(syn().seq(0).sack_ok())
        .counted(Counter::SynEmbryo)
        .expect(syn_ack().seq(0).ack(1));
    let embryo = host.embryo().expect("an embryo");
    assert!(!embryo.flags.has(ConnFlags::SACK));
}
