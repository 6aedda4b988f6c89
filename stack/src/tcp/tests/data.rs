//! Data both ways: windows, Nagle, acknowledgments, reassembly, urgent data, loss and congestion.

use crate::tcp::lang::{ack, data, fin};
use crate::tcp::segment::Flags;
use crate::tcp::settings::{InitialWindow, Settings};
use crate::tcp::state::State;
use crate::tcp::testing::{Host, MSS, RCV_BUF, plain};
use crate::tcp::verdict::{Events, Outcome, Payload};

fn no_delay(mut settings: Settings) -> Host {
    settings.profile.nagle = false;
    Host::established_with(settings)
}

#[test]
fn what_is_queued_goes_in_full_segments_and_the_last_pushes() {
    let mut host = Host::established();
    host.write(2500);
    host.expect(data(1000).seq(1).ack(1).push(false));
    host.expect(data(1000).seq(1001).push(false));
    let plan = host.expect(data(500).seq(2001).push(true));
    assert_eq!(plan.payload_offset, 2000);
    host.expect_nothing();
    let verdict = host.inject(ack().ack(1501));
    assert_eq!(verdict.acked_len, 1500);
    assert_eq!(host.inject(ack().ack(2501)).acked_len, 1000);
    assert_eq!(host.tcb.deadline(), None, "RFC 6298 §5.2");
}

#[test]
fn nagle_holds_the_second_small_write() {
    let mut host = Host::established();
    host.write(10);
    host.expect(data(10));
    host.write(10);
    host.expect_nothing();
    host.write(5);
    host.inject(ack().ack(11));
    host.expect(data(15));

    let mut host = no_delay(plain());
    host.write(10);
    host.expect(data(10));
    host.write(10);
    host.expect(data(10));

    // Behind a FIN nothing comes that would be worth waiting for.
    let mut host = Host::established();
    host.write(10);
    host.expect(data(10));
    host.write(10);
    host.close();
    host.expect(fin().len(10));
}

#[test]
fn the_peers_window_bounds_the_flight() {
    let mut host = Host::established();
    host.inject(ack().win(2500));
    host.write(5000);
    host.expect(data(1000));
    host.expect(data(1000));
    host.expect_nothing(); // 500 left: a silly segment
    host.inject(ack().ack(2001).win(2500));
    host.expect(data(1000));
    host.expect(data(1000));
    host.expect_nothing();
}

#[test]
fn a_silly_window_is_filled_only_after_the_override() {
    let mut host = Host::established();
    host.inject(ack().win(300));
    host.write(5000);
    host.expect_nothing();
    host.advance_ms(199);
    host.expect_nothing();
    host.advance_ms(1);
    host.expect(data(300).seq(1));
    host.expect_nothing();
    host.inject(ack().win(300));
    host.expect_nothing(); // the next one waits as long
    host.inject(ack().win(8000));
    host.expect(data(1000).seq(301));
}

#[test]
fn a_shrunk_window_stops_new_data_but_not_the_connection() {
    let mut host = Host::established();
    host.write(3000);
    host.advance_ms(0);
    for _ in 0..3 {
        host.expect(data(1000));
    }
    // MUST-34, SHLD-14..17: retransmit within the window, no new data, no RTO blame for what lies beyond.
    host.inject(ack().ack(1).win(1500));
    host.write(1000);
    host.expect_nothing();
    host.advance_ms(1000);
    host.expect(data(1000).seq(1));
    host.expect_nothing();
    host.inject(ack().ack(1001).win(500));
    host.expect(data(500).seq(1001));
    host.expect_nothing();
    host.inject(ack().ack(1501).win(0));
    host.advance_ms(60_000);
    host.expect_state(State::Established);
    assert!(host.counters.window_probes > 2);
}

#[test]
fn an_older_segment_does_not_move_the_window() {
    let mut host = Host::established();
    host.inject(data(10).win(9000));
    host.inject(data(10).win(8000));
    assert_eq!(host.tcb.send_window(), 8000);
    host.inject(data(20).seq(1).win(100)); // a duplicate, unacceptable
    assert_eq!(host.tcb.send_window(), 8000);
}

/// Seed 0 of the day this was written: text behind a gap offers up to 2001, and the text of the gap, which the peer sent again
/// later, acknowledges 2001 and closes the window. With the older window beside the newer ACK, text went out up to 4001.
#[test]
fn a_newer_ack_brings_its_window_whatever_its_sequence_number() {
    let mut host = Host::established();
    host.write(4000);
    host.inject(data(10).seq(1001).ack(1).win(2000));
    host.expect(ack().ack(1));
    host.expect(data(1000).seq(1));
    host.expect(data(1000).seq(1001));
    host.inject(data(1000).seq(1).ack(2001).win(0));
    assert_eq!(host.tcb.send_window(), 0);
}

#[test]
fn every_second_segment_is_acknowledged_and_a_burst_once() {
    let mut host = Host::established();
    host.inject_as(data(1000), Outcome::InOrder);
    host.expect_nothing();
    host.inject(data(1000));
    host.expect(ack().ack(2001).win((RCV_BUF - 2000) as u16));
    for _ in 0..4 {
        host.inject(data(1000));
    }
    host.expect(ack().ack(6001));
    host.expect_nothing(); // MUST-58
    host.inject(data(10));
    host.advance_ms(39);
    host.expect_nothing();
    host.advance_ms(1);
    host.expect(ack().ack(6011));
    assert_eq!(host.counters.delayed_acks, 1);
}

#[test]
fn a_long_burst_says_when_an_ack_should_not_wait() {
    let mut host = Host::established();
    let asks: Vec<bool> = (0..8)
        .map(|_| host.inject(data(100)).events.has(Events::ACK_NOW))
        .collect();
    assert_eq!(asks.iter().position(|&ask| ask), Some(7));
}

#[test]
fn data_carries_the_ack_that_was_delayed() {
    let mut host = Host::established();
    host.inject(data(10));
    host.write(20);
    host.expect(data(20).ack(11));
    host.advance_ms(39);
    host.expect_nothing();
    assert_eq!(host.counters.delayed_acks, 0);
}

#[test]
fn each_segment_ahead_of_a_gap_draws_its_own_ack_and_the_filler_one() {
    let mut host = Host::established();
    let stored = host.inject_as(data(100).seq(201), Outcome::OutOfOrder);
    assert!(matches!(
        stored.payload,
        Payload::OutOfOrder {
            skip: 0,
            len: 100,
            ..
        }
    ));
    host.inject(data(100).seq(301));
    host.inject_as(data(100).seq(201), Outcome::OutOfOrderDuplicate);
    for _ in 0..3 {
        host.expect(ack().ack(1));
    }
    host.expect_nothing();
    let filler = host.inject(data(250).seq(1));
    assert_eq!(
        filler.payload,
        Payload::InOrder {
            skip: 0,
            len: 250,
            released: 150
        }
    );
    host.expect(ack().ack(401));
    host.expect_nothing();
    assert!(host.tcb.out_of_order().is_empty());
}

/// SHLD-31: 401:501, then 201:1201 around it, then what was missing.
#[test]
fn a_segment_around_what_is_held_keeps_all_that_is_new() {
    let mut host = Host::established();
    host.inject_as(data(100).seq(401), Outcome::OutOfOrder);
    host.inject_as(data(1000).seq(201), Outcome::OutOfOrder);
    host.expect(ack().ack(1));
    host.expect(ack().ack(1));
    let filler = host.inject_as(data(200).seq(1), Outcome::InOrder);
    let Payload::InOrder { released: 1000, .. } = filler.payload else {
        panic!("{filler:?}")
    };
    host.expect(ack().ack(1201));
}

#[test]
fn acks_of_what_lies_ahead_go_before_data() {
    let mut host = Host::established();
    host.inject(data(100).seq(201));
    host.write(100);
    host.expect(ack().ack(1)); // on data it would be no duplicate (RFC 5681 §2)
    host.expect(data(100).ack(1));
    host.expect_nothing();
}

#[test]
fn what_lies_outside_of_the_window_is_cut_off() {
    let mut host = Host::established();
    host.inject(data(100));
    let overlap = host.inject(data(150).seq(51));
    assert_eq!(
        overlap.payload,
        Payload::InOrder {
            skip: 50,
            len: 100,
            released: 0
        }
    );
    let end = RCV_BUF + 1;
    let beyond = host.inject(data(1000).seq(end - 500).with(Flags::FIN));
    let Payload::OutOfOrder {
        skip: 0, len: 500, ..
    } = beyond.payload
    else {
        panic!()
    };
    host.inject_as(data(1).seq(end), Outcome::OutOfWindow);
    host.inject_as(data(100).seq(1), Outcome::Duplicate);
    host.expect(ack().ack(201));
}

#[test]
fn a_closed_receive_window_answers_probes_and_reopens_by_a_segment() {
    let mut host = Host::established();
    for _ in 0..8 {
        host.inject(data(1000));
    }
    host.expect(ack().ack(8001).win(0));
    host.write(10);
    host.expect(data(10).ack(8001));
    // MUST-66: the ACK of a probe counts although its text does not.
    let probe = host.inject_as(data(1).ack(11), Outcome::WindowProbe);
    assert_eq!((probe.payload, probe.acked_len), (Payload::None, 10));
    host.expect(ack().ack(8001).win(0));
    host.read(999);
    host.expect_nothing();
    host.read(1);
    host.expect(ack().ack(8001).win(1000));
    host.inject_as(data(1000), Outcome::InOrder);
    host.read(8000);
    host.expect(ack().ack(9001).win(RCV_BUF as u16));
}

#[test]
fn a_bare_fin_needs_no_window() {
    let mut host = Host::established();
    host.inject(data(8000));
    host.expect_nothing();
    host.inject_as(fin(), Outcome::InOrder);
    host.expect_state(State::CloseWait);
    host.expect(ack().ack(8002).win(0));
}

#[test]
fn a_closed_window_is_probed_for_ever_as_long_as_it_answers() {
    let mut host = Host::established();
    host.write(5000);
    host.inject(ack().win(0));
    host.expect_nothing();
    let mut probes = 0;
    for _ in 0..100 {
        host.advance_ms(100_000);
        while host.counters.window_probes > probes {
            host.expect(ack().seq(0).ack(1));
            probes += 1;
            host.inject(ack().win(0));
        }
        host.expect_state(State::Established);
    }
    assert!(probes > 50);
    host.inject(ack().win(1000));
    host.expect(data(1000).seq(1));
}

/// Between two probes lies more than R2 after some minutes. Two in a row may get lost, and the peer is there all the while.
#[test]
fn a_lost_probe_does_not_end_a_connection_whose_window_is_closed_for_long() {
    let mut host = Host::established();
    host.write(5000);
    host.inject(ack().win(0));
    host.expect_nothing();
    let mut probes = 0;
    for second in 1..10_000u64 {
        host.advance_ms(1_000);
        while host.counters.window_probes > probes {
            host.expect(ack().seq(0).ack(1));
            probes += 1;
            if probes % 3 == 0 {
                host.inject(ack().win(0));
            }
        }
        host.expect_state(State::Established);
        assert!(probes < 8 || second > 240, "120 s apart at last");
    }
    assert!((80..=90).contains(&probes), "{probes}");
    // Three in a row are silence.
    host.inject(ack().win(0));
    host.advance_ms(600_000);
    host.expect_state(State::Closed);
    assert_eq!(host.counters.window_probes - probes, 3);
}

/// A segment overdue when the window closed was answered by the ACK that closed it: R2 counts probes from then on.
#[test]
fn a_window_that_closes_during_an_outage_starts_r2_over() {
    let mut host = Host::established();
    host.write(1000);
    host.advance_ms(95_000); // six expiries; the seventh would be at R2
    host.inject(ack().ack(1).win(0));
    host.advance_ms(60_000);
    host.expect_state(State::Established);
    assert!(host.counters.window_probes > 0);
}

#[test]
fn probes_start_after_an_rto_and_double_and_silence_ends_them() {
    let mut host = Host::established();
    host.write(5000);
    host.inject(ack().win(0));
    host.advance_ms(200_000);
    for at in [1, 3, 7, 15, 31, 63] {
        host.expect_at(at * 1000, ack().seq(0));
    }
    host.expect_nothing();
    assert!(
        host.events.has(Events::CLOSED),
        "R2: 100 s without an answer"
    );
}

#[test]
fn a_window_that_opened_unseen_is_found_by_the_next_probe() {
    let mut host = Host::established();
    host.write(5000);
    host.inject(ack().win(0));
    host.advance_ms(1000);
    host.expect(ack().seq(0));
    host.inject(ack().win(5000));
    for i in 0..5 {
        host.expect(data(1000).seq(1 + 1000 * i));
    }
}

#[test]
fn what_a_closed_window_cut_off_goes_again_as_soon_as_it_opens() {
    let mut host = Host::established();
    host.write(2000);
    host.expect(data(1000));
    host.expect(data(1000));
    host.inject(ack().ack(1).win(0));
    host.advance_ms(1000);
    host.expect(ack().seq(0)); // a probe, no retransmission
    host.inject(ack().ack(1).win(5000));
    assert!(host.expect(data(1000).seq(1)).is_retransmission);
    host.expect(data(1000).seq(1001));
    assert_eq!(host.counters.retransmission_timeouts, 0);
    assert!(
        host.tcb.congestion().window() >= 10 * MSS,
        "a closed window is no loss"
    );
}

#[test]
fn three_duplicate_acks_bring_the_segment_again_without_waiting() {
    let settings = Settings {
        initial_window: InitialWindow::Rfc5681,
        ..plain()
    };
    let mut host = no_delay(settings);
    host.write(20_000);
    for _ in 0..4 {
        host.expect(data(1000));
    }
    host.expect_nothing();
    host.inject_as(ack().ack(1), Outcome::DuplicateAck);
    host.expect(data(1000).seq(4001)); // limited transmit
    host.inject(ack().ack(1));
    host.expect(data(1000).seq(5001));
    host.expect_nothing();
    host.inject(ack().ack(1));
    let plan = host.expect(data(1000).seq(1));
    assert!(plan.is_retransmission && plan.payload_offset == 0);
    assert_eq!(host.counters.fast_retransmits, 1);
    // A partial ACK: the next hole at once (RFC 6582).
    host.inject(ack().ack(2001));
    host.expect(data(1000).seq(2001));
    host.inject(ack().ack(6001));
    assert!(!host.tcb.congestion().is_recovering());
    assert_eq!(host.counters.retransmission_timeouts, 0);
}

#[test]
fn only_the_first_partial_ack_restarts_the_timer() {
    // RFC 6582 §4, the impatient variant: many losses in one window end in a timeout instead of one hole per round trip.
    let mut host = Host::established();
    host.write(8000);
    for i in 0..8 {
        host.expect(data(1000).seq(1 + 1000 * i));
    }
    for _ in 0..3 {
        host.inject(ack().ack(1));
    }
    host.expect(data(1000).seq(1));
    host.advance_ms(500);
    host.inject(ack().ack(1001));
    host.advance_ms(400);
    host.inject(ack().ack(2001));
    host.advance_ms(599);
    assert_eq!(host.counters.retransmission_timeouts, 0);
    host.advance_ms(1);
    assert_eq!(host.counters.retransmission_timeouts, 1);
}

#[test]
fn acks_stay_within_a_window_that_shrank() {
    let mut host = Host::established();
    host.write(3000);
    for _ in 0..3 {
        host.expect(data(1000));
    }
    host.inject(ack().ack(1).win(500));
    host.inject(data(10).ack(1).win(500));
    host.inject(data(10).ack(1).win(500));
    host.expect(ack().seq(501).ack(21)); // from SND.NXT the peer would have to drop it
}

#[test]
fn only_true_duplicates_count() {
    let mut host = Host::established();
    host.write(3000);
    host.advance_ms(0);
    host.inject_as(ack().ack(1).win(9000), Outcome::PureAck); // the window moved
    host.inject_as(data(5).ack(1).win(9000), Outcome::InOrder); // it has data
    for _ in 0..2 {
        host.inject_as(ack().ack(1).win(9000), Outcome::DuplicateAck);
    }
    assert_eq!(host.counters.fast_retransmits, 0);
    host.inject(ack().ack(1).win(9000));
    assert_eq!(host.counters.fast_retransmits, 1);
}

/// Six segments for which there was no place: nothing that we sent is missing.
#[test]
fn data_without_a_place_is_no_duplicate_ack() {
    let mut host = Host::established();
    host.write(3000);
    host.advance_ms(0);
    for _ in 0..6 {
        let (una, _, rcv_nxt) = host.tcb.numbers();
        let stripped = crate::tcp::segment::Segment {
            seq: rcv_nxt,
            ack: una,
            flags: Flags::ACK,
            window: 10_000,
            is_stripped: true,
            ..Default::default()
        };
        let verdict = host.inject_segment(&stripped);
        assert_eq!(verdict.outcome, Outcome::PureAck);
    }
    assert_eq!(host.counters.fast_retransmits, 0);
}

#[test]
fn probes_of_our_window_are_no_duplicates() {
    let mut host = Host::established();
    host.inject(data(RCV_BUF));
    host.write(1000);
    host.expect(data(1000).win(0));
    for _ in 0..3 {
        host.inject_as(data(1).ack(1), Outcome::WindowProbe);
    }
    assert_eq!(host.counters.fast_retransmits, 0);
}

#[test]
fn a_timeout_starts_over_with_one_segment() {
    let mut host = Host::established();
    host.write(5000);
    host.advance_ms(0);
    for _ in 0..5 {
        host.expect(data(1000));
    }
    host.advance_ms(1000);
    host.expect(data(1000).seq(1).push(false));
    host.expect_nothing();
    assert_eq!(host.tcb.congestion().window(), MSS);
    assert_eq!(host.tcb.congestion().threshold(), 5 * MSS / 2);
    host.inject(ack().ack(1001));
    host.expect(data(1000).seq(1001));
    host.expect(data(1000).seq(2001));
    host.expect_nothing();
    host.inject(ack().ack(5001)); // the rest was there all along
    host.expect_nothing();
    assert_eq!(host.tcb.deadline(), None);
}

#[test]
fn after_an_idle_time_the_window_is_the_initial_one() {
    let mut host = no_delay(Settings {
        initial_window: InitialWindow::Rfc5681,
        ..plain()
    });
    for i in 0..20u32 {
        host.write(4000);
        for _ in 0..4 {
            host.expect(data(1000));
        }
        host.inject(ack().ack(4000 * (i + 1) + 1).win(60_000));
    }
    assert!(host.tcb.congestion().window() > 6 * MSS);
    host.advance_ms(1001);
    host.write(20_000);
    for _ in 0..4 {
        host.expect(data(1000));
    }
    host.expect_nothing();
}

#[test]
fn urgent_data_is_pointed_at_in_both_directions() {
    let mut host = Host::established();
    host.tcb.mark_urgent(1500);
    host.write(2500);
    host.expect(data(1000).seq(1).urgent(1500));
    host.expect(data(1000).seq(1001).urgent(500));
    host.expect(data(500).seq(2001));
    let verdict = host.inject(data(100).urgent(40));
    assert!(verdict.events.has(Events::URGENT));
    assert_eq!(host.tcb.urgent_left(), Some(40));
    host.read(40);
    assert_eq!(host.tcb.urgent_left(), None);
    assert!(
        !host
            .inject(data(100).seq(1).urgent(40))
            .events
            .has(Events::URGENT)
    );
    // MUST-66: also at a closed window.
    host.inject(data(7900));
    host.expect(ack());
    assert!(
        host.inject(data(1).urgent(60_000))
            .events
            .has(Events::URGENT)
    );
}

/// A forger who meets RCV.NXT roughly, but not our numbers, can't move TS.Recent, which would shut out the peer.
#[test]
fn the_timestamp_of_what_is_refused_does_not_count() {
    let mut host = Host::client(Settings::default(), crate::tcp::testing::params());
    host.expect(crate::tcp::lang::syn());
    let answer = crate::tcp::lang::syn_ack().seq(0).ack(1).mss(1000);
    host.inject(answer.ts(100, 0));
    host.expect(ack());
    let later = 100 + (1 << 30);
    for (forged, outcome) in [
        (data(10).ack(77_777), Outcome::AckOfUnsent),
        (crate::tcp::lang::syn_ack(), Outcome::SynChallenged),
    ] {
        host.inject_as(forged.seq(1).ts(later, 0), outcome);
    }
    host.inject_as(data(10).seq(1).ts(101, 0), Outcome::InOrder);
}

#[test]
fn timestamps_guard_against_old_segments() {
    let mut host = Host::client(Settings::default(), crate::tcp::testing::params());
    host.expect(crate::tcp::lang::syn());
    host.inject(
        crate::tcp::lang::syn_ack()
            .seq(0)
            .ack(1)
            .mss(1000)
            .ts(100, 0),
    );
    host.expect(ack());
    host.inject_as(data(10).ts(101, 0), Outcome::InOrder);
    host.inject_as(data(10).ts(99, 0), Outcome::Paws);
    let plan = host.expect(ack().ack(11));
    assert_eq!(plan.options.timestamps.map(|ts| ts.tsecr), Some(101));
    host.inject_as(data(10), Outcome::TimestampMissing);
    host.expect_nothing();
    // 24 days later TS.Recent says nothing (§5.5).
    host.advance_ms(25 * 24 * 3600 * 1000);
    host.inject_as(data(10).ts(50, 0), Outcome::InOrder);
    // A RST needs no timestamp (§5.2).
    host.inject_as(crate::tcp::lang::rst(), Outcome::RstAccepted);
}

#[test]
fn segments_without_timestamps_are_accepted_on_request() {
    let settings = Settings {
        require_timestamps: false,
        ..Settings::default()
    };
    let mut host = Host::client(settings, crate::tcp::testing::params());
    host.expect(crate::tcp::lang::syn());
    host.inject(crate::tcp::lang::syn_ack().seq(0).ack(1).ts(100, 0));
    host.inject_as(data(10), Outcome::InOrder);
}
