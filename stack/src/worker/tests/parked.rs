//! Parked connections: RFC 9293 3.10.7.4 and RFC 5961.

use core::net::Ipv4Addr;

use super::host::{Flow, Host, OPEN, OUR_V4};
use crate::counters::Counter;
use crate::tcp::answer_limits::OLD_BURST;
use crate::tcp::lang::{ack, data, fin, rst, segment, syn, syn_ack};
use crate::tcp::segment::Flags;

fn established() -> Host {
    let mut host = Host::new();
    host.establish();
    host
}

#[test]
fn acknowledgements_are_taken_in_silence() {
    let mut host = established();
    host.inject(ack().seq(1).ack(1).win(77))
        .counted(Counter::ParkedAck)
        .silent();
    assert_eq!(host.parked().expect("established").peer_window, 77);
    // An old one within the largest window (RFC 5961 §5.2).
    host.inject(ack().seq(1).ack(0))
        .counted(Counter::ParkedAck)
        .silent();
}

#[test]
fn data_and_fin_are_reset_and_the_record_is_gone() {
    for flow in [Flow::v4(1, OPEN), Flow::v6(1, OPEN)] {
        for (spec, received) in [
            (data(1).seq(1).ack(1), 2),
            (fin().seq(1).ack(1), 2),
            (data(1400).seq(1).ack(1).push(true), 1401),
        ] {
            let mut host = Host::new();
            host.on(flow).establish();
            host.inject(spec).counted(Counter::ConnSegment);
            host.expect(rst().seq(1).ack(received).win(0));
            assert_eq!(host.worker().table().total(), 0);
            host.inject(ack().seq(2).ack(1))
                .counted(Counter::ListenAckReset)
                .expect(rst().seq(1));
        }
    }
}

#[test]
fn a_reset_must_be_exact() {
    let mut host = established();
    host.inject(rst().seq(0))
        .counted(Counter::ParkedDropped)
        .silent();
    host.inject(rst().seq(65_536))
        .counted(Counter::ParkedDropped)
        .silent();
    host.inject(rst().seq(2)).counted(Counter::ParkedChallenged);
    host.expect(ack().seq(1).ack(1));
    assert!(host.parked().is_some());
    host.inject(rst().seq(1))
        .counted(Counter::ParkedReset)
        .silent();
    assert_eq!(host.worker().table().total(), 0);
}

#[test]
fn syns_and_what_lies_outside_the_window_are_challenged() {
    for spec in [
        syn().seq(1),
        syn().seq(1_000_000),
        syn_ack().seq(1).ack(1),
        ack().seq(1_000_000).ack(1),
        data(5).seq(1_000_000).ack(1),
        ack().seq(1).ack(2), // of something never sent
        ack().seq(1).ack(0u32.wrapping_sub(60_000)),
    ] {
        let mut host = established();
        host.inject(spec).counted(Counter::ParkedChallenged);
        host.expect(ack().seq(1).ack(1).win(65_535));
        assert!(host.parked().is_some(), "{spec}");
    }
}

#[test]
fn without_ack_nothing_happens() {
    let mut host = established();
    for spec in [
        segment(Flags::NONE).seq(1),
        segment(Flags::FIN).seq(1),
        segment(Flags::PSH).seq(1).len(3),
    ] {
        host.inject(spec).counted(Counter::ParkedDropped).silent();
    }
    assert!(host.parked().is_some());
}

/// The peer's R2 ends the connection when its data again, its probes, or the SYN-ACK of its that we acknowledged in vain get no
/// answer: an attacker that knows addresses and ports must not be able to bring that about.
#[test]
fn junk_does_not_silence_the_answers_to_what_is_old() {
    for old in [
        data(1).seq(0).ack(1),
        ack().seq(0).ack(1),
        syn_ack().seq(0).ack(1),
    ] {
        let mut host = established();
        for round in 0..10 {
            host.inject(ack().seq(1_000_000).ack(1))
                .counted(Counter::ParkedChallenged)
                .expect(ack().seq(1).ack(1));
            for _ in 0..20 {
                host.inject(ack().seq(1_000_000).ack(1))
                    .counted(Counter::ParkedChallengeLimited)
                    .silent();
            }
            host.inject(old)
                .counted(Counter::ParkedOldAnswered)
                .expect(ack().seq(1).ack(1));
            assert!(host.parked().is_some(), "{old} in round {round}");
            host.wait_ms(500);
        }
    }
}

#[test]
fn old_data_is_answered_within_a_limit_of_its_own() {
    let mut host = established();
    for _ in 0..OLD_BURST {
        host.inject(data(1).seq(0).ack(1))
            .counted(Counter::ParkedOldAnswered)
            .expect(ack().seq(1).ack(1));
    }
    host.inject_together(&[data(1).seq(0).ack(1); 10]);
    assert_eq!(host.ends(), [("parked_old_limited", 10)]);
    host.silent();
    // Unparking and parking again lifts no limit.
    host.wait_ms(500)
        .inject(data(1).seq(0).ack(1))
        .counted(Counter::ParkedOldAnswered)
        .expect(ack().seq(1).ack(1));
    host.inject(data(1).seq(0).ack(1))
        .counted(Counter::ParkedOldLimited)
        .silent();
}

/// The record keeps the time of an answer modulo 131 s: what was answered 75 s ago, as keepalive probes are, limits nothing.
#[test]
fn an_answer_limits_no_longer_than_its_budget_says() {
    let mut host = established();
    for _ in 0..10 {
        host.inject(ack().seq(0).ack(1))
            .counted(Counter::ParkedOldAnswered)
            .expect(ack().seq(1).ack(1));
        host.inject(ack().seq(1_000_000).ack(1))
            .counted(Counter::ParkedChallenged)
            .expect(ack().seq(1).ack(1));
        host.wait_ms(75_000);
    }
}

#[test]
fn a_connection_challenges_at_most_every_500_ms_and_each_on_its_own() {
    let mut host = established();
    let first = host.flow;
    let challenge = |host: &mut Host| {
        host.inject(syn().seq(1)).counted(Counter::ParkedChallenged);
        host.expect(ack().seq(1).ack(1));
    };
    let limited = |host: &mut Host| {
        host.inject(syn().seq(1))
            .counted(Counter::ParkedChallengeLimited)
            .silent();
    };
    challenge(&mut host);
    limited(&mut host);
    host.wait_ms(499);
    limited(&mut host);
    // CVE-2016-5696: another connection's challenges are none of its business.
    host.on(Flow::v4(2, OPEN)).establish();
    challenge(&mut host);
    host.on(first).wait_ms(1);
    challenge(&mut host);
    limited(&mut host);
    // Many in one burst are one.
    host.wait_ms(500).inject_together(&[syn().seq(1); 10]);
    let ends = [("parked_challenged", 1), ("parked_challenge_limited", 9)];
    assert_eq!(host.ends(), ends);
    host.expect(ack().seq(1).ack(1));
}

#[test]
fn the_limit_outlives_the_wrap_of_the_millisecond_clock() {
    let mut host = Host::new();
    host.now = crate::time::Instant::from_ms((1 << 32) - 100);
    host.establish();
    host.inject(syn().seq(1))
        .counted(Counter::ParkedChallenged)
        .expect(ack().seq(1).ack(1));
    host.wait_ms(200)
        .inject(syn().seq(1))
        .counted(Counter::ParkedChallengeLimited);
    host.wait_ms(300)
        .inject(syn().seq(1))
        .counted(Counter::ParkedChallenged);
    host.expect(ack().seq(1).ack(1));
}

#[test]
fn paws_challenges_an_older_timestamp_but_never_a_reset() {
    let mut host = Host::new();
    host.inject(syn().seq(0).ts(100, 0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1).ts(110, 0))
        .counted(Counter::ConnSegment)
        .park();
    host.inject(data(1).seq(1).ack(1).ts(109, 0))
        .counted(Counter::ParkedChallenged);
    host.expect(ack().seq(1).ack(1));
    let shown = host.last().segment.options.timestamps.expect("timestamps");
    assert_eq!(shown.tsecr, 110);
    host.inject(rst().seq(1).ts(1, 0))
        .counted(Counter::ParkedReset)
        .silent();
}

/// A challenge ACK announces the window as the connection scales it.
#[test]
fn a_scaled_window_is_announced_scaled() {
    let mut host = Host::new();
    host.inject(syn().seq(0).wscale(2))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1).win(65_535).wscale(7));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .park();
    host.inject(syn().seq(1)).counted(Counter::ParkedChallenged);
    host.expect(ack().seq(1).ack(1).win(65_535 >> 7));
}

/// Bucket and tag of the table agree by chance once in a million flows or so: only the key distinguishes them.
#[test]
fn a_flow_that_collides_with_a_connection_is_not_mistaken_for_it() {
    let mut host = established();
    let stranger = (0..20_000_000u32)
        .map(|n| {
            Flow::between(
                (Ipv4Addr::from_bits(0x0a00_0000 + n), 1).into(),
                (OUR_V4, OPEN).into(),
            )
        })
        .find(|&flow| host.on(flow).collides());
    host.on(stranger.expect("some flow collides").absolute());
    for (spec, counter) in [
        (ack().seq(1).ack(1), Counter::ListenAckReset),
        (data(3).seq(1).ack(1), Counter::ListenAckReset),
    ] {
        host.inject(spec).counted(counter).expect(rst().seq(1));
    }
    assert_eq!(
        host.worker().table().total(),
        1,
        "the connection is untouched"
    );
}
