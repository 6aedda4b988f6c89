//! A path that carries less than the link: announced by an ICMP error, or found out by silence.

use crate::tcp::lang::{ack, data, syn, syn_ack};
use crate::tcp::settings::Settings;
use crate::tcp::tcb::OpenParams;
use crate::tcp::testing::{Host, MSS, params, plain};
use crate::tcp::verdict::Events;

/// The size that every path carries in these tests: `default_peer_mss`.
const FLOOR: u32 = 536;

/// Sends so many full segments, all of which are in flight then.
fn in_flight(host: &mut Host, segments: u32) {
    host.write(segments * MSS);
    for n in 0..segments {
        host.expect(data(MSS).seq(1 + n * MSS));
    }
    host.expect_nothing();
}

#[test]
fn a_new_connection_starts_with_what_the_path_carries_and_announces_the_link() {
    let small = OpenParams {
        path_mss: 600,
        ..params()
    };
    let mut host = Host::client(plain(), small);
    host.expect(syn().mss(MSS as u16));
    host.inject(syn_ack().seq(0).ack(1).mss(MSS as u16));
    host.expect(ack());
    assert_eq!(host.tcb.mss(), 600);
    let mut host = Host::server(Settings::default(), small, syn().seq(0).mss(1400).ts(1, 0));
    host.expect(syn_ack().mss(MSS as u16));
    host.inject(ack().seq(1).ack(1).ts(1, 0));
    assert_eq!(host.tcb.mss(), 588, "less the timestamps");
}

/// RFC 1191 §6.4: sent again at once, and neither the congestion window nor the timeout pays for it.
#[test]
fn what_is_too_large_is_cut_again_at_once_and_that_is_no_congestion() {
    let mut host = Host::established();
    in_flight(&mut host, 4);
    let before = (*host.tcb.congestion(), host.tcb.rto());
    host.turn(|tcb, env| tcb.set_path_mss(600, env));
    for n in 0..6 {
        let again = host.expect(data(600).seq(1 + n * 600));
        assert!(again.is_retransmission);
    }
    host.expect(data(400).seq(3601));
    host.expect_nothing();
    assert_eq!((*host.tcb.congestion(), host.tcb.rto()), before);
    assert_eq!(host.counters.retransmission_timeouts, 0);
    assert_eq!(host.counters.fast_retransmits, 0);
    host.inject(ack().ack(4001));
    host.write(1000);
    host.expect(data(600).seq(4001));
}

#[test]
fn what_fits_a_smaller_path_is_not_sent_again() {
    let mut host = Host::established();
    host.write(600);
    host.expect(data(600).seq(1));
    host.advance_ms(500);
    host.turn(|tcb, env| tcb.set_path_mss(600, env));
    host.advance_ms(499);
    host.expect_nothing();
    host.advance_ms(1);
    host.expect(data(600).seq(1));
    assert_eq!(host.counters.retransmission_timeouts, 1);
}

/// The timer runs from what was sent again, not from what never could arrive.
#[test]
fn what_is_cut_again_gets_a_whole_timeout() {
    let mut host = Host::established();
    in_flight(&mut host, 1);
    host.advance_ms(900);
    host.turn(|tcb, env| tcb.set_path_mss(600, env));
    host.expect(data(600).seq(1));
    host.expect(data(400).seq(601));
    host.advance_ms(999);
    host.expect_nothing();
    assert_eq!(host.counters.retransmission_timeouts, 0);
    host.advance_ms(1);
    host.expect(data(600).seq(1));
}

/// A larger path makes larger segments, and a window of one small segment does not hold the first of them back for ever.
#[test]
fn a_path_that_carries_more_again_is_used() {
    let mut host = Host::established();
    host.turn(|tcb, env| tcb.set_path_mss(600, env));
    host.write(600);
    host.expect(data(600));
    host.advance_ms(1000);
    host.expect(data(600).seq(1));
    assert_eq!(host.tcb.congestion().window(), 600);
    host.turn(|tcb, env| tcb.set_path_mss(5000, env));
    assert_eq!(host.tcb.mss(), MSS, "no more than the peer takes");
    assert_eq!(host.tcb.congestion().window(), MSS, "room for one");
    host.inject(ack().ack(601));
    host.write(MSS);
    host.expect(data(MSS).seq(601));
    host.expect_nothing();
}

/// Small segments pass, large ones vanish in silence (RFC 2923 §2.1): it costs seconds, not the connection.
#[test]
fn a_black_hole_is_found_by_silence() {
    let mut host = Host::established();
    in_flight(&mut host, 4);
    for wait_ms in [1000, 2000] {
        host.advance_ms(wait_ms);
        host.expect(data(MSS).seq(1));
    }
    assert_eq!(host.counters.black_holes_suspected, 0);
    host.advance_ms(4000);
    host.expect(data(FLOOR).seq(1));
    assert_eq!(host.counters.black_holes_suspected, 1);
    host.inject(ack().ack(1 + FLOOR));
    // Was it the size, or an outage that is over? A full segment decides.
    host.expect(data(MSS).seq(1 + FLOOR));
    assert!(!host.events.has(Events::BLACK_HOLE));
    let rto_ms = host.tcb.rto().as_millis() as u64;
    host.advance_ms(rto_ms);
    assert!(host.events.has(Events::BLACK_HOLE));
    assert_eq!(host.counters.black_holes, 1);
    host.expect(data(FLOOR).seq(1 + FLOOR));
    let mut acked = 1 + FLOOR;
    while acked < 1 + 4 * MSS {
        acked = (acked + FLOOR).min(1 + 4 * MSS);
        host.inject(ack().ack(acked));
        host.poll_largest(FLOOR);
    }
    assert_eq!(host.tcb.mss(), FLOOR);
}

/// Writes of one segment each: what is left of one that was cut passes, and the next one vanishes as the first did.
#[test]
fn what_is_left_of_a_segment_proves_nothing_about_its_size() {
    let mut host = Host::established();
    host.write(MSS);
    host.expect(data(MSS));
    host.advance_ms(7000);
    host.expect(data(MSS).seq(1));
    host.expect(data(MSS).seq(1));
    host.expect(data(FLOOR).seq(1));
    host.inject(ack().ack(1 + FLOOR));
    host.expect(data(MSS - FLOOR).seq(1 + FLOOR));
    host.inject(ack().ack(1 + MSS));
    host.write(MSS);
    host.expect(data(MSS).seq(1 + MSS));
    let rto_ms = host.tcb.rto().as_millis() as u64;
    host.advance_ms(rto_ms);
    assert_eq!(host.counters.black_holes, 1);
    host.expect(data(FLOOR).seq(1 + MSS));
}

/// When all is lost alike, size has nothing to do with it.
#[test]
fn an_outage_is_no_black_hole() {
    let mut host = Host::established();
    in_flight(&mut host, 4);
    host.advance_ms(7000);
    host.expect(data(MSS).seq(1));
    host.expect(data(MSS).seq(1));
    host.expect(data(FLOOR).seq(1));
    host.inject(ack().ack(1 + FLOOR));
    host.expect(data(MSS).seq(1 + FLOOR));
    host.inject(ack().ack(1 + FLOOR + MSS));
    assert_eq!(host.tcb.mss(), MSS);
    // A loss later on is a loss.
    host.poll_largest(MSS);
    let rto_ms = host.tcb.rto().as_millis() as u64;
    host.advance_ms(rto_ms);
    assert!(!host.events.has(Events::BLACK_HOLE));
    assert_eq!((host.tcb.mss(), host.counters.black_holes), (MSS, 0));
}

/// A path may carry more than the least and less than a full segment: what is between the two vanishes as well.
#[test]
fn a_black_hole_swallows_segments_that_are_not_full() {
    let mut host = Host::established();
    host.write(2 * FLOOR + 1);
    host.expect(data(MSS));
    host.expect(data(2 * FLOOR + 1 - MSS));
    host.advance_ms(7000);
    host.expect(data(MSS).seq(1));
    host.expect(data(MSS).seq(1));
    host.expect(data(FLOOR).seq(1));
    host.inject(ack().ack(1 + FLOOR));
    host.expect(data(FLOOR + 1).seq(1 + FLOOR));
    let rto_ms = host.tcb.rto().as_millis() as u64;
    host.advance_ms(rto_ms);
    assert_eq!(host.counters.black_holes, 1);
    host.expect(data(FLOOR).seq(1 + FLOOR));
}

/// A size that every path carries says nothing about others.
#[test]
fn small_segments_make_no_black_hole() {
    let mut host = Host::established();
    host.write(FLOOR);
    host.expect(data(FLOOR));
    host.advance_ms(60_000);
    assert_eq!(host.counters.black_holes_suspected, 0);
    assert_eq!(host.tcb.mss(), MSS);
}

/// News about the path meanwhile does not bring the full segment back too early.
#[test]
fn a_suspicion_outlasts_news_of_the_path() {
    let mut host = Host::established();
    in_flight(&mut host, 4);
    host.advance_ms(7000);
    assert_eq!(host.tcb.mss(), FLOOR);
    host.turn(|tcb, env| tcb.set_path_mss(900, env));
    assert_eq!(host.tcb.mss(), FLOOR);
    host.inject(ack().ack(1 + FLOOR));
    assert_eq!(host.tcb.mss(), 900);
}
