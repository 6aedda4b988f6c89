//! Time: retransmission, Karn, R1 and R2, keepalive.

use core::time::Duration;

use crate::tcp::lang::{ack, data};
use crate::tcp::profile::Profile;
use crate::tcp::settings::Settings;
use crate::tcp::state::State;
use crate::tcp::testing::{Host, MSS, RCV_BUF, params, plain, profiled};
use crate::tcp::verdict::{CloseReason, Events, Outcome};

#[test]
fn data_is_sent_again_with_backoff_until_r2() {
    let mut host = Host::established();
    host.write(100);
    host.advance_ms(200_000);
    // Base 1 s (no RTT above the floor); R2 of 100 s ends it, exactly.
    for at in [0, 1, 3, 7, 15, 31, 63] {
        host.expect_at(at * 1000, data(100).seq(1));
    }
    host.expect_nothing();
    assert!(host.events.has(Events::R1));
    assert_eq!(
        host.tcb.close_reason(),
        Some(CloseReason::TimedOut { soft: None })
    );
    assert_eq!(host.counters.retransmitted_segments, 6);
    assert_eq!(host.counters.retransmission_timeouts, 7);
}

#[test]
fn r1_is_told_at_the_third_expiry() {
    let mut host = Host::established();
    host.write(100);
    host.advance_ms(6_999);
    assert!(!host.events.has(Events::R1));
    host.advance_ms(1);
    assert!(host.events.has(Events::R1));
}

#[test]
fn r2_is_the_applications() {
    let profile = Profile {
        r2: Duration::from_secs(10),
        ..Profile::default()
    };
    let mut host = Host::established_with(profiled(profile));
    host.write(100);
    host.advance_ms(9_999);
    host.expect_state(State::Established);
    host.advance_ms(1);
    host.expect_state(State::Closed);
}

/// RTO outlasts the outage that backed it off (Karn), and may come near R2: the next loss has its three retransmissions all
/// the same.
#[test]
fn a_loss_after_a_long_outage_is_sent_again_three_times() {
    let mut host = Host::established();
    host.write(100);
    host.advance_ms(90_000);
    for at in [0, 1, 3, 7, 15, 31, 63] {
        host.expect_at(at * 1000, data(100).seq(1));
    }
    host.inject(ack().ack(101)); // at 90 s, and ambiguous
    assert_eq!(host.tcb.rto(), Duration::from_secs(64));
    host.write(100);
    host.advance_ms(1_000_000);
    for at in [0, 64, 64 + 120, 64 + 240] {
        host.expect_at(90_000 + at * 1000, data(100).seq(101));
    }
    host.expect_nothing();
    assert!(host.events.has(Events::CLOSED));
}

/// The application's R2 is what it says where the timer has its plain length.
#[test]
fn a_short_r2_ends_as_soon_as_it_says() {
    for (r2_ms, sent) in [(500, 1), (2_000, 2), (5_000, 3), (10_000, 4)] {
        let profile = Profile {
            r2: Duration::from_millis(r2_ms),
            ..Profile::default()
        };
        let mut host = Host::established_with(profiled(profile));
        host.write(100);
        let ends_ms = r2_ms.max(1_000);
        host.advance_ms(ends_ms - 1);
        host.expect_state(State::Established);
        host.advance_ms(1);
        host.expect_state(State::Closed);
        for _ in 0..sent {
            host.expect(data(100).seq(1));
        }
        host.expect_nothing();
    }
}

#[test]
fn an_ack_of_new_data_restarts_the_timer_and_forgives() {
    let mut host = Host::established();
    host.write(2000);
    host.advance_ms(900);
    host.inject(ack().ack(1001));
    // SRTT + 4 RTTVAR = 0.9 s / 8 + 4 * 0.9 s / 4, from the ACK on (the SYN took no time).
    host.advance_ms(1_000);
    assert_eq!(host.counters.retransmission_timeouts, 0, "RFC 6298 §5.3");
    host.advance_ms(20);
    assert_eq!(host.counters.retransmission_timeouts, 1);
    // Half of R2 later an ACK comes: the clock of R2 starts over.
    host.advance_ms(50_000);
    host.inject(ack().ack(2001));
    host.write(100);
    host.advance_ms(60_000);
    host.expect_state(State::Established);
}

#[test]
fn karn_the_backoff_stays_until_something_sent_once_is_acknowledged() {
    let mut host = Host::established();
    host.write(100);
    host.advance_ms(3_000);
    assert_eq!(host.tcb.rto(), Duration::from_secs(4));
    host.inject(ack().ack(101));
    assert_eq!(
        host.tcb.rto(),
        Duration::from_secs(4),
        "the ACK is ambiguous"
    );
    host.write(100);
    host.advance_ms(50);
    host.inject(ack().ack(201));
    assert_eq!(host.tcb.rto(), Duration::from_secs(1));
    assert!(host.tcb.srtt_us().is_some());
}

#[test]
fn an_echoed_timestamp_ends_the_backoff_at_once() {
    let mut host = Host::client(Settings::default(), params());
    let tsval = host
        .expect(crate::tcp::lang::syn())
        .options
        .timestamps
        .unwrap()
        .tsval;
    host.inject(
        crate::tcp::lang::syn_ack()
            .seq(0)
            .ack(1)
            .mss(1000)
            .ts(5, tsval),
    );
    host.expect(ack());
    host.write(100);
    host.expect(data(100));
    host.advance_ms(1_000);
    let plan = host.expect(data(100));
    assert!(plan.is_retransmission);
    assert_eq!(host.tcb.rto(), Duration::from_secs(2));
    host.advance_ms(20);
    host.inject(ack().ack(101).ts(6, plan.options.timestamps.unwrap().tsval));
    assert_eq!(host.tcb.rto(), Duration::from_secs(1));
    // The ACK got lost, not the data: what comes again is no news for the peer, which echoes what it did before.
    host.write(100);
    let original = host.expect(data(100));
    host.advance_ms(3_000);
    assert!(host.expect(data(100)).is_retransmission);
    assert!(host.expect(data(100)).is_retransmission);
    let tsval = original.options.timestamps.unwrap().tsval;
    host.inject(ack().ack(201).ts(7, tsval));
    assert_eq!(host.tcb.srtt_us().map(|us| us / 1_000), Some(2));
    assert_eq!(host.tcb.rto(), Duration::from_secs(4), "the backoff stays");
}

#[test]
fn rto_follows_the_round_trip_time() {
    let settings = Settings {
        rto_min: Duration::from_millis(1),
        ..plain()
    };
    let mut host = Host::established_with(settings);
    let mut acked = 1;
    for _ in 0..100 {
        host.write(100);
        host.advance_ms(40);
        acked += 100;
        host.inject(ack().ack(acked));
    }
    let rto = host.tcb.rto().as_millis();
    assert!((40..60).contains(&rto), "{rto}");
    assert_eq!(host.tcb.srtt_us().map(|us| us / 1000), Some(39));
}

fn keepalive() -> Host {
    let profile = Profile {
        keepalive: true,
        ..Profile::default()
    };
    Host::established_with(profiled(profile))
}

#[test]
fn keepalive_is_off_unless_asked_for() {
    let mut host = Host::established();
    host.advance_ms(100_000_000);
    host.expect_nothing();
    host.expect_state(State::Established);
}

#[test]
fn keepalive_probes_an_idle_peer_and_gives_up_after_nine() {
    let mut host = keepalive();
    host.advance_ms(7_200_000 + 9 * 75_000 - 1);
    for i in 0..9 {
        host.expect_at(7_200_000 + i * 75_000, ack().seq(0).ack(1));
    }
    host.expect_nothing();
    host.expect_state(State::Established);
    assert_eq!(host.counters.keepalive_probes, 9);
    host.advance_ms(1);
    host.expect(crate::tcp::lang::rst().seq(1).ack(1));
    assert_eq!(
        host.tcb.close_reason(),
        Some(CloseReason::KeepaliveTimedOut)
    );
}

#[test]
fn an_answer_keeps_it_alive() {
    let mut host = keepalive();
    host.advance_ms(7_200_000);
    host.expect(ack().seq(0));
    host.inject(ack());
    host.advance_ms(7_199_999);
    host.expect_nothing();
    host.advance_ms(75_000);
    host.expect(ack().seq(0));
}

/// All that the window takes is on its way to us, or lost: what the peer says comes from behind it.
#[test]
fn an_answer_from_the_right_edge_counts_and_its_ack_too() {
    let mut host = keepalive();
    host.advance_ms(7_200_000);
    host.expect(ack().seq(0));
    host.inject_as(ack().seq(RCV_BUF + 1), Outcome::PureAck);
    host.advance_ms(7_199_999);
    host.expect_nothing();
    host.write(100);
    host.expect(data(100));
    host.inject_as(ack().seq(RCV_BUF + 1).ack(101), Outcome::PureAck);
    host.advance_ms(10_000);
    host.expect_nothing();
    host.inject_as(ack().seq(RCV_BUF + 2).ack(101), Outcome::OutOfWindow);
}

#[test]
fn keepalive_is_silent_while_something_is_in_flight() {
    let profile = Profile {
        keepalive: true,
        r2: Duration::from_secs(1_000_000),
        ..Profile::default()
    };
    let mut host = Host::established_with(profiled(profile));
    host.write(10);
    host.advance_ms(7_300_000);
    assert_eq!(host.counters.keepalive_probes, 0);
    // Nor while something waits for a window: its probes ask the same.
    let mut host = Host::established_with(profiled(profile));
    host.write(10);
    host.inject(ack().win(0));
    host.advance_ms(7_300_000);
    assert!(host.counters.window_probes > 0 && host.counters.keepalive_probes == 0);
}

#[test]
fn keepalive_goes_on_where_only_our_direction_is_closed() {
    let mut host = keepalive();
    host.shutdown();
    host.expect(crate::tcp::lang::fin());
    host.inject(ack().ack(2));
    host.expect_state(State::FinWait2);
    host.advance_ms(7_200_000);
    host.expect(ack().seq(1).ack(1));
    host.inject(ack());
    host.advance_ms(7_199_999);
    host.expect_nothing();
    host.expect_state(State::FinWait2);
}

#[test]
fn keepalive_can_be_switched_on_a_living_connection() {
    let mut host = Host::established();
    host.settings.profile.keepalive = true;
    host.turn(|tcb, env| tcb.on_profile(env));
    host.advance_ms(7_200_000);
    host.expect(ack().seq(0));
    host.settings.profile.keepalive = false;
    host.turn(|tcb, env| tcb.on_profile(env));
    host.advance_ms(10_000_000);
    host.expect_nothing();
}

/// The receiver of a probe drops it: the ACK that is owed goes out all the same, when its time has come.
#[test]
fn a_window_probe_pays_no_ack() {
    let mut host = Host::established();
    host.write(5 * MSS);
    host.inject(ack().win(0));
    host.expect_nothing();
    host.advance_ms(990);
    host.inject(data(10).win(0));
    host.advance_ms(20);
    host.expect_at(1_000, ack().seq(0).ack(11));
    host.expect_nothing();
    host.advance_ms(100);
    host.expect_at(1_030, ack().seq(1).ack(11));
    // Nor one that is owed at once.
    host.advance_ms(2_999 - 1_110);
    host.now = host.now + Duration::from_millis(1);
    host.inject(data(10).win(0));
    host.inject(data(10).win(0));
    host.turn(|tcb, env| tcb.on_timer(env));
    host.expect(ack().seq(0).ack(31));
    host.expect(ack().seq(1).ack(31));
}

#[test]
fn a_keepalive_probe_pays_no_ack() {
    let mut host = Host::established_with(profiled(Profile {
        keepalive: true,
        keepalive_idle: Duration::from_millis(20),
        ..Profile::default()
    }));
    host.advance_ms(10);
    host.inject(data(10));
    host.advance_ms(41);
    host.expect_at(30, ack().seq(0).ack(11));
    host.expect_at(50, ack().seq(1).ack(11));
}

/// A retransmission whose original arrived is dropped as well.
#[test]
fn a_retransmission_pays_no_ack() {
    let mut host = Host::established();
    host.write(100);
    host.expect(data(100));
    host.advance_ms(990);
    host.inject(data(10).ack(1));
    host.advance_ms(50);
    host.expect_at(1_000, data(100).seq(1).ack(11));
    host.expect_at(1_030, ack().seq(101).ack(11));
    host.expect_nothing();
}

#[test]
fn a_probe_leaves_last_ack_sent_and_the_offered_edge() {
    let mut host = Host::client(Settings::default(), params());
    host.expect(crate::tcp::lang::syn());
    let answer = crate::tcp::lang::syn_ack().seq(0).ack(1).mss(1012);
    host.inject(answer.ts(100, 0));
    host.expect(ack());
    host.write(5 * MSS);
    let closed = |len| data(len).win(0).ts(101, 0);
    host.inject(closed(MSS));
    host.inject(closed(MSS));
    host.expect(ack().ack(2 * MSS + 1));
    // More than a segment's worth: the next segment that counts may offer it.
    host.read(3 * MSS / 2);
    host.advance_ms(980);
    host.inject(closed(10));
    let (edge, last_ack_sent) = (host.tcb.receive_window(), host.tcb.ts.last_ack_sent);
    host.advance_ms(20);
    let probe = host.expect(ack().seq(0).ack(2 * MSS + 11));
    assert_eq!(u32::from(probe.window), edge);
    assert_eq!(host.tcb.receive_window(), edge);
    assert_eq!(host.tcb.ts.last_ack_sent, last_ack_sent);
    host.advance_ms(20);
    host.expect(ack().seq(1).ack(2 * MSS + 11));
    assert!(host.tcb.receive_window() > edge);
    assert!(host.tcb.ts.last_ack_sent != last_ack_sent);
}
