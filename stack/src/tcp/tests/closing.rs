//! Ending: FIN in every order, half-close, abort, TIME-WAIT, data after close.

use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::settings::Settings;
use crate::tcp::state::State;
use crate::tcp::testing::{Host, params, plain};
use crate::tcp::verdict::{CloseReason, Events, Outcome, Payload};

#[test]
fn we_close_first() {
    let mut host = Host::established();
    host.close();
    host.expect_state(State::FinWait1);
    host.expect(fin().seq(1).ack(1).push(false));
    assert_eq!(host.inject(ack().ack(2)).acked_len, 0, "a FIN is no byte");
    host.expect_state(State::FinWait2);
    host.advance_ms(10_000);
    host.inject(fin());
    host.expect(ack().seq(2).ack(2));
    host.expect_state(State::TimeWait);
    assert!(host.events.has(Events::TIME_WAIT));
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::Graceful));
    host.advance_ms(59_999);
    host.expect_state(State::TimeWait);
    host.advance_ms(1);
    host.expect_state(State::Closed);
}

#[test]
fn the_peer_closes_first() {
    let mut host = Host::established();
    assert!(host.inject(fin()).events.has(Events::PEER_CLOSED));
    host.expect(ack().ack(2));
    host.expect_state(State::CloseWait);
    host.write(1500);
    host.close();
    host.expect(data(1000));
    host.expect(fin().len(500).ack(2));
    host.expect_state(State::LastAck);
    host.inject(ack().seq(2));
    assert!(host.tcb.is_finished());
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::Graceful));
}

#[test]
fn both_close_at_once() {
    let mut host = Host::established();
    host.close();
    host.expect(fin().seq(1));
    host.inject(fin().ack(1));
    host.expect_state(State::Closing);
    host.expect(ack().seq(2).ack(2));
    host.inject(ack().seq(2).ack(2));
    host.expect_state(State::TimeWait);
    host.advance_ms(60_000);
    host.expect_state(State::Closed);
}

#[test]
fn a_fin_that_acknowledges_ours_goes_straight_to_time_wait() {
    let mut host = Host::established();
    host.close();
    host.expect(fin());
    host.inject(fin().ack(2));
    host.expect_state(State::TimeWait);
    host.expect(ack().ack(2));
}

#[test]
fn a_half_closed_connection_still_receives_without_a_time_limit() {
    let mut host = Host::established();
    host.shutdown();
    host.expect(fin());
    host.inject(ack().ack(2));
    host.advance_ms(3_600_000);
    host.expect_state(State::FinWait2);
    let verdict = host.inject(data(10));
    assert_eq!(
        verdict.payload,
        Payload::InOrder {
            skip: 0,
            len: 10,
            released: 0
        }
    );
    // Closing for good starts the clock.
    host.read(10);
    host.close();
    host.advance_ms(60_000);
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::FinWait2TimedOut));
}

#[test]
fn fin_wait_2_ends_after_a_minute_once_the_application_closed() {
    let mut host = Host::established();
    host.close();
    host.expect(fin());
    host.inject(ack().ack(2));
    host.expect_state(State::FinWait2);
    host.advance_ms(59_999);
    host.expect_state(State::FinWait2);
    host.advance_ms(1);
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::FinWait2TimedOut));
    host.expect_nothing();
}

#[test]
fn queued_data_goes_before_the_fin() {
    let mut host = Host::established();
    host.write(15_000);
    host.close();
    for _ in 0..10 {
        host.expect(data(1000));
    }
    host.expect_nothing(); // the peer's window is full
    host.inject(ack().ack(10_001));
    for _ in 0..4 {
        host.expect(data(1000));
    }
    host.expect(fin().len(1000).seq(14_001).push(true));
}

#[test]
fn the_fin_waits_for_room_and_is_sent_again_when_lost() {
    let mut host = Host::established();
    host.inject(ack().win(500));
    host.write(500);
    host.close();
    host.expect(data(500));
    host.expect_nothing();
    host.inject(ack().ack(501).win(0));
    host.advance_ms(1000);
    host.expect(ack().seq(500)); // a probe
    host.inject(ack().ack(501).win(10));
    host.expect(fin().seq(501));
    host.advance_ms(1000);
    assert!(host.expect(fin().seq(501)).is_retransmission);
    host.inject(ack().ack(502));
    host.expect_state(State::FinWait2);
}

#[test]
fn a_fin_on_a_full_segment_is_sent_again_with_it_as_far_as_the_window_goes() {
    let mut host = Host::established();
    host.write(1000);
    host.close();
    host.expect(fin().len(1000).push(true));
    host.advance_ms(1000); // cwnd is one segment now, and the FIN one number more
    assert!(
        host.expect(fin().len(1000).push(true).seq(1))
            .is_retransmission
    );
    host.inject(ack().ack(1).win(1000));
    host.advance_ms(2000);
    host.expect(data(1000).seq(1));
    host.expect_nothing();
}

#[test]
fn a_fin_ahead_of_a_gap_counts_once_the_gap_is_filled() {
    let mut host = Host::established();
    host.inject_as(fin().seq(101), Outcome::OutOfOrder);
    host.expect(ack().ack(1));
    host.inject_as(data(50).seq(201), Outcome::AfterFin);
    host.expect_state(State::Established);
    let verdict = host.inject(data(100).seq(1));
    assert!(verdict.events.has(Events::PEER_CLOSED));
    host.expect(ack().ack(102));
    host.expect_state(State::CloseWait);
}

#[test]
fn text_behind_the_fin_is_ignored_and_acknowledged() {
    let mut host = Host::established();
    host.inject(fin());
    host.expect(ack().ack(2));
    let verdict = host.inject_as(data(10).seq(2), Outcome::AfterFin);
    assert_eq!(verdict.payload, Payload::None);
    host.expect(ack().ack(2));
    host.inject_as(fin().seq(1), Outcome::Duplicate);
    host.expect(ack().ack(2));
}

#[test]
fn closing_with_unread_data_resets() {
    let mut host = Host::established();
    host.inject(data(10));
    host.close();
    host.expect(rst().seq(1).ack(11));
    assert!(host.tcb.is_finished());
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::UnreadData));
    // In CLOSE-WAIT as well.
    let mut host = Host::established();
    host.inject(fin().len(10));
    host.expect(ack());
    host.close();
    host.expect(rst().ack(12));
}

#[test]
fn data_after_close_resets() {
    let mut host = Host::established();
    host.close();
    host.expect(fin());
    host.inject_as(data(10).ack(2), Outcome::AfterClose);
    host.expect(rst().seq(2));
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::DataAfterClose));
}

#[test]
fn an_abort_resets_where_the_rfc_says_so() {
    let mut host = Host::established();
    host.write(100);
    host.expect(data(100));
    host.abort();
    host.expect(rst().seq(101).ack(1));
    host.expect_nothing();
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::Aborted));

    let mut host = Host::established();
    host.inject(fin());
    host.close();
    host.expect(fin());
    host.abort(); // LAST-ACK: simply gone
    host.expect_nothing();
    assert!(host.tcb.is_finished());
}

#[test]
fn a_reset_ends_every_state_and_says_so() {
    let in_state: [fn(&mut Host); 4] = [
        |_| {},
        Host::shutdown,
        |h| {
            h.inject(fin());
        },
        |h| {
            h.inject(fin());
            h.close();
        },
    ];
    for enter in in_state {
        let mut host = Host::established();
        enter(&mut host);
        host.advance_ms(0);
        host.inject_as(rst(), Outcome::RstAccepted);
        assert_eq!(host.tcb.close_reason(), Some(CloseReason::Reset));
        assert!(host.tcb.is_finished() && host.events.has(Events::CLOSED));
    }
}

#[test]
fn nothing_is_left_after_closed() {
    let mut host = Host::established();
    host.inject(rst());
    host.inject_as(data(5).seq(1).ack(1), Outcome::NoConnection);
    host.expect(rst().seq(1));
    host.inject_as(rst().seq(1), Outcome::NoConnection);
    host.expect_nothing();
    assert_eq!(host.tcb.deadline(), None);
}

fn time_wait() -> Host {
    let mut host = Host::established();
    host.close();
    host.expect(fin());
    host.inject(fin());
    host.expect(ack());
    host
}

/// RFC 7323 §3.2: TSopt "SHOULD be sent in an <RST> segment" once it was negotiated.
#[test]
fn a_reset_carries_timestamps_where_they_are_in_use() {
    for with_timestamps in [true, false] {
        let settings = if with_timestamps {
            Settings::default()
        } else {
            plain()
        };
        let mut host = Host::client(settings, params());
        host.expect(syn());
        host.inject(syn_ack().seq(0).ack(1).mss(1000).ts(7, 0));
        host.expect(ack().seq(1).ack(1));
        host.abort();
        let reset = host.expect(rst().seq(1).ack(1));
        let clock = host
            .tcb
            .to_time_wait()
            .timestamps
            .map(|ts| ts.clock(host.now));
        let shown = reset.options.timestamps.map(|ts| (ts.tsval, ts.tsecr));
        assert_eq!(shown, clock.map(|clock| (clock, 7)));
        assert_eq!(shown.is_some(), with_timestamps);
    }
}

#[test]
fn a_timer_that_fires_too_early_ends_nothing() {
    let mut host = time_wait();
    host.advance_ms(59_999);
    host.turn(|tcb, env| tcb.on_timer(env));
    host.expect_state(State::TimeWait);
}

#[test]
fn time_wait_answers_as_its_record_does() {
    let mut host = time_wait();
    host.advance_ms(30_000);
    host.inject_as(fin().seq(1), Outcome::TimeWaitFin);
    host.expect(ack().seq(2).ack(2));
    host.advance_ms(59_999);
    host.expect_state(State::TimeWait);
    host.inject_as(syn().seq(1), Outcome::TimeWaitSyn);
    host.expect(ack().seq(2).ack(2));
    let verdict = host.inject_as(syn().seq(1000), Outcome::TimeWaitReopen);
    assert!(verdict.events.has(Events::CLOSED));
    let mut host = time_wait();
    host.inject_as(rst(), Outcome::RstAccepted);
    host.expect_state(State::Closed);
}

#[test]
fn the_record_of_time_wait_is_what_the_connection_was() {
    let host = time_wait();
    let record = host.tcb.to_time_wait();
    let (_, nxt, rcv_nxt) = host.tcb.numbers();
    assert_eq!((record.snd_nxt, record.rcv_nxt), (nxt, rcv_nxt));
    assert_eq!(record.deadline.instant(), host.tcb.deadline());
}
