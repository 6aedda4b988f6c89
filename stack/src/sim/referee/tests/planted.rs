//! A fault for each rule, in frames written by hand: what is right up to the fault, the fault, and what looks like it.

use super::script::{MSS, Said, Script};
use crate::sim::host::HostId;
use crate::sim::referee::Rule;
use crate::sim::referee::segment::{ACK, RST, SYN};

#[test]
fn text_beyond_the_offered_edge() {
    let mut script = Script::new();
    script.pass(Said::syn(0)).pass(Said::syn(1).window(2_500));
    script.pass(Said::ack(0, 1, 1));
    script
        .pass(Said::text(0, 1, MSS, 1))
        .pass(Said::text(0, 1001, MSS, 1));
    script.pass(Said::text(0, 2001, 500, 1));
    script.is_right();
    script.pass(Said::text(0, 2501, 1, 1));
    script.breaks(Rule::BeyondEdge);
}

#[test]
fn a_closed_window_is_probed_with_one_byte() {
    let mut closed = Script::new();
    closed.pass(Said::syn(0)).pass(Said::syn(1).window(1_000));
    closed
        .pass(Said::ack(0, 1, 1))
        .pass(Said::text(0, 1, MSS, 1));
    closed.pass(Said::ack(1, 1, 1001).window(0));
    closed.pass(Said::ack(0, 1000, 1)).wait_ms(1_000);
    closed.pass(Said::text(0, 1001, 1, 1)).is_right();
    closed.pass(Said::text(0, 1002, 1, 1));
    closed.breaks(Rule::BeyondEdge);
}

#[test]
fn the_edge_retreats() {
    let mut script = Script::open();
    script.pass(Said::text(0, 1, 200, 1));
    script.pass(Said::ack(1, 1, 201).window(997)).is_right();
    // 201 + 997 * 64 is 64,009, and 211 + 996 * 64 is 63,955: less, but by no more than the shift cuts off.
    script.pass(Said::text(0, 201, 10, 1));
    script.pass(Said::ack(1, 1, 211).window(996)).is_right();
    script.pass(Said::text(0, 211, 10, 1));
    script.pass(Said::ack(1, 1, 221).window(995));
    script.breaks(Rule::EdgeRetreats);
}

#[test]
fn another_byte_at_the_same_number() {
    let mut script = Script::open();
    script.lose(Said::text(0, 1, 100, 1)).wait_ms(1_000);
    script.pass(Said::text(0, 1, 200, 1)).is_right();
    let mut other = Said::text(0, 1, 200, 1);
    other.text[150] ^= 1;
    script.wait_ms(2_000).pass(other);
    script.breaks(Rule::OtherBytes);
}

#[test]
fn text_or_another_fin_behind_a_fin() {
    let closing = || {
        let mut script = Script::open();
        script
            .pass(Said::text(0, 1, 100, 1))
            .lose(Said::fin(0, 101, 1));
        script.wait_ms(1_000).pass(Said::text(0, 1, 100, 1));
        script.pass(Said::ack(1, 1, 101)).pass(Said::fin(0, 101, 1));
        script.is_right();
        script
    };
    let mut text = closing();
    text.pass(Said::text(0, 102, 1, 1))
        .breaks(Rule::TextBeyondFin);
    let mut fin = closing();
    fin.pass(Said::fin(0, 102, 1)).breaks(Rule::TextBeyondFin);
    let mut early = Script::open();
    early
        .pass(Said::text(0, 1, 100, 1))
        .pass(Said::fin(0, 51, 1));
    early.breaks(Rule::TextBeyondFin);
}

#[test]
fn a_segment_after_a_reset() {
    let mut script = Script::open();
    script
        .pass(Said::text(0, 1, 10, 1))
        .pass(Said::reset(0, 11, 1));
    script.pass(Said::reset(0, 11, 1)).is_right();
    script.pass(Said::ack(0, 11, 1));
    script.breaks(Rule::AfterReset);
}

/// So a listener that answers with cookies resets what overtook the segment that opens its connection.
#[test]
fn a_bare_reset_behind_the_syn_ends_nothing() {
    let bare = |at| Said {
        flags: RST,
        ..Said::ack(1, at, 0)
    };
    let mut script = Script::open();
    script.pass(Said::text(1, 1, 10, 1)).pass(bare(1));
    script.pass(Said::text(1, 11, 10, 1)).is_right();
    script.pass(bare(11)).wait_ms(1);
    script.pass(Said::text(1, 21, 10, 1));
    script.breaks(Rule::AfterReset);
}

#[test]
fn a_new_syn_opens_a_connection_that_was_reset() {
    let mut script = Script::open();
    script.pass(Said::reset(0, 1, 1));
    let incarnation = 1_000_000;
    script.pass(Said {
        incarnation,
        ..Said::syn(0)
    });
    script.is_right();
}

#[test]
fn an_ack_of_what_was_not_delivered() {
    for beyond_a_gap in [false, true] {
        let mut script = Script::open();
        script
            .pass(Said::text(0, 1, 100, 1))
            .lose(Said::text(0, 101, 100, 1));
        if beyond_a_gap {
            script.pass(Said::text(0, 201, 100, 1));
        }
        script.pass(Said::ack(1, 1, 101)).is_right();
        script.pass(Said::ack(1, 1, if beyond_a_gap { 301 } else { 201 }));
        script.breaks(Rule::AckOfUndelivered);
    }
    let mut unsent = Script::open();
    unsent
        .pass(Said::ack(1, 1, 5))
        .breaks(Rule::AckOfUndelivered);
}

#[test]
fn a_sack_block_of_what_was_not_delivered() {
    let gap = || {
        let mut script = Script::open();
        script
            .lose(Said::text(0, 1, 100, 1))
            .pass(Said::text(0, 101, 100, 1));
        script
            .lose(Said::text(0, 201, 100, 1))
            .pass(Said::text(0, 301, 100, 1));
        script.pass(Said::ack(1, 1, 1).sack(&[[301, 401], [101, 201]]));
        script.is_right();
        script
    };
    let mut wide = gap();
    wide.pass(Said::ack(1, 1, 1).sack(&[[101, 301]]))
        .breaks(Rule::SackOfUndelivered);
    let mut empty = gap();
    empty
        .pass(Said::ack(1, 1, 1).sack(&[[301, 301]]))
        .breaks(Rule::SackOfUndelivered);
}

#[test]
fn a_duplicate_may_be_reported_below_the_ack_and_only_first() {
    let mut script = Script::open();
    script.pass(Said::text(0, 1, 200, 1));
    script
        .pass(Said::ack(1, 1, 201).sack(&[[1, 101]]))
        .is_right();
    script
        .lose(Said::text(0, 201, 100, 1))
        .pass(Said::text(0, 301, 100, 1));
    script.pass(Said::ack(1, 1, 201).sack(&[[301, 401], [1, 101]]));
    script.breaks(Rule::SackOfUndelivered);
}

#[test]
fn a_tsecr_that_was_never_heard() {
    let mut script = Script::open_with_timestamps();
    script.pass(Said::text(0, 1, 10, 1).timestamps(105, 900));
    script.lose(Said::text(0, 11, 10, 1).timestamps(106, 900));
    script
        .pass(Said::ack(1, 1, 11).timestamps(905, 105))
        .is_right();
    script.pass(Said::ack(1, 1, 11).timestamps(905, 106));
    script.breaks(Rule::UnheardTsecr);
}

#[test]
fn a_segment_without_the_timestamps_that_both_agreed_on() {
    let mut script = Script::open_with_timestamps();
    script
        .pass(Said::text(0, 1, 10, 1).timestamps(105, 900))
        .is_right();
    script.pass(Said::ack(1, 1, 11));
    script.breaks(Rule::TimestampsMissing);
}

/// Text from `at` on in segments of `len` bytes, so many, none acknowledged.
fn burst(script: &mut Script, at: u32, len: u32, segments: u32) {
    for n in 0..segments {
        script.pass(Said::text(0, at + n * len, len, 1));
    }
}

#[test]
fn more_than_the_initial_window() {
    let mut script = Script::open();
    burst(&mut script, 1, MSS, 10);
    script.is_right();
    script.pass(Said::text(0, 10_001, 1, 1));
    script.breaks(Rule::InitialWindow);
}

#[test]
fn two_duplicate_acks_let_two_more_segments_go() {
    let mut script = Script::open();
    burst(&mut script, 1, MSS, 10);
    for _ in 0..2 {
        script.pass(Said::ack(1, 1, 1));
    }
    burst(&mut script, 10_001, MSS, 2);
    script.is_right();
    script.pass(Said::text(0, 12_001, MSS, 1));
    script.breaks(Rule::InitialWindow);
}

#[test]
fn a_window_that_grows_faster_than_slow_start() {
    let mut script = Script::open();
    burst(&mut script, 1, MSS, 10);
    script.pass(Said::text(1, 1, 10, 2_001));
    burst(&mut script, 10_001, MSS, 4);
    script.is_right();
    script.pass(Said::text(0, 14_001, MSS, 1));
    script.breaks(Rule::Flight);
}

#[test]
fn a_segment_beyond_the_mss() {
    let mut script = Script::open_with_timestamps();
    let text = |at, len| Said::text(0, at, len, 1).timestamps(100, 900);
    script.pass(text(1, MSS - 12)).is_right();
    script.pass(text(1 + MSS - 12, MSS - 11));
    script.breaks(Rule::SegmentSize);
}

#[test]
fn what_was_sacked_is_sent_again_before_a_timeout_only() {
    let sacked = || {
        let mut script = Script::open();
        script.lose(Said::text(0, 1, 100, 1));
        burst(&mut script, 101, 100, 3);
        for edge in [201, 301, 401] {
            script.pass(Said::ack(1, 1, 1).sack(&[[101, edge]]));
        }
        script.lose(Said::text(0, 1, 100, 1)).is_right();
        script
    };
    let mut before = sacked();
    before
        .pass(Said::text(0, 201, 100, 1))
        .breaks(Rule::ResentSacked);
    let mut after = sacked();
    after.wait_ms(1_000).pass(Said::text(0, 1, 100, 1));
    after
        .pass(Said::ack(1, 1, 101))
        .pass(Said::text(0, 101, 100, 1));
    after.is_right();
}

#[test]
fn a_timeout_below_the_floor() {
    for waits_ms in [1_000, 990] {
        let mut script = Script::open();
        script.lose(Said::text(0, 1, 100, 1)).wait_ms(waits_ms);
        script.pass(Said::text(0, 1, 100, 1));
        match waits_ms {
            1_000 => script.is_right(),
            _ => script.breaks(Rule::RtoFloor),
        }
    }
    // The timer starts again with each ACK of something new.
    let mut script = Script::open();
    script
        .pass(Said::text(0, 1, 100, 1))
        .lose(Said::text(0, 101, 100, 1));
    script.wait_ms(500).pass(Said::ack(1, 1, 101));
    script.wait_ms(900).pass(Said::text(0, 101, 100, 1));
    script.breaks(Rule::RtoFloor);
    let mut syn = Script::new();
    syn.lose(Said::syn(0))
        .wait_ms(900)
        .pass(Said::syn(0))
        .pass(Said::syn(1));
    assert_eq!(syn.found, [], "no host has answered yet");
}

#[test]
fn a_syn_ack_again_below_the_floor_unless_the_syn_came_again() {
    let mut script = Script::new();
    script.pass(Said::syn(0)).lose(Said::syn(1)).wait_ms(300);
    script.pass(Said::syn(0)).lose(Said::syn(1));
    assert_eq!(script.found, [Rule::RtoFloor], "the SYN's own");
    script.wait_ms(300).lose(Said::syn(1));
    assert_eq!(script.found, [Rule::RtoFloor; 2]);
}

#[test]
fn a_timeout_that_does_not_double() {
    let twice = || {
        let mut script = Script::open();
        script.lose(Said::text(0, 1, 100, 1));
        script.wait_ms(1_000).lose(Said::text(0, 1, 100, 1));
        script.wait_ms(2_000).lose(Said::text(0, 1, 100, 1));
        script.is_right();
        script
    };
    let mut late = twice();
    late.wait_ms(4_000)
        .pass(Said::text(0, 1, 100, 1))
        .is_right();
    let mut early = twice();
    early.wait_ms(3_900).pass(Said::text(0, 1, 100, 1));
    early.breaks(Rule::Backoff);
}

#[test]
fn three_duplicate_acks_bring_a_segment_again_at_once_and_two_do_not() {
    for duplicates in [3, 2] {
        let mut script = Script::open();
        script.lose(Said::text(0, 1, 100, 1));
        burst(&mut script, 101, 100, 3);
        for _ in 0..duplicates {
            script.pass(Said::ack(1, 1, 1));
        }
        script.pass(Said::text(0, 1, 100, 1));
        match duplicates {
            3 => script.is_right(),
            _ => script.breaks(Rule::RtoFloor),
        }
    }
}

#[test]
fn more_than_one_segment_after_a_timeout() {
    let mut script = Script::open();
    for n in 0..4 {
        script.lose(Said::text(0, 1 + n * MSS, MSS, 1));
    }
    script.wait_ms(1_000).pass(Said::text(0, 1, MSS, 1));
    script.pass(Said::ack(1, 1, 1 + MSS));
    script
        .pass(Said::text(0, 1 + MSS, MSS, 1))
        .lose(Said::text(0, 1 + 2 * MSS, MSS, 1));
    script.is_right();
    script
        .wait_ms(1_000)
        .lose(Said::text(0, 1 + MSS, MSS, 1))
        .is_right();
    script.lose(Said::text(0, 1 + 2 * MSS, MSS, 1));
    script.breaks(Rule::LossWindow);
}

#[test]
fn answers_without_end() {
    let mut script = Script::open();
    script
        .pass(Said::text(0, 1, 100, 1))
        .pass(Said::ack(1, 1, 101));
    // The SYN and the text have earned one each.
    for _ in 0..12 {
        script.pass(Said::ack(1, 1, 101));
    }
    script.is_right();
    script.wait_ms(200).pass(Said::ack(1, 1, 101));
    script.breaks(Rule::AnswerLimit);
}

#[test]
fn answers_that_text_out_of_order_earns_are_no_challenges() {
    let mut script = Script::open();
    script.lose(Said::text(0, 1, 10, 1));
    script.pass(Said::ack(1, 1, 1));
    for n in 1..60 {
        script.pass(Said::text(0, 1 + 10 * n, 10, 1));
        script.pass(Said::ack(1, 1, 1));
    }
    script.is_right();
}

#[test]
fn a_forged_reset_and_its_answer_leave_the_other_rules_alone() {
    let mut script = Script::open();
    script.pass(Said::text(0, 1, 100, 1));
    script.forge(Said::ack(1, 500, 1));
    script
        .pass(Said::reset(0, 1, 1))
        .pass(Said::text(0, 101, 10, 1));
    script.is_right();
    script.pass(Said::ack(1, 1, 500));
    script.breaks(Rule::AckOfUndelivered);
}

#[test]
fn a_host_that_lost_its_power_is_judged_again_from_its_next_syn_on() {
    let mut script = Script::open();
    script
        .pass(Said::text(0, 1, 100, 1))
        .pass(Said::ack(1, 1, 101));
    script.referee.on_power_off(HostId(1));
    script.pass(Said::ack(1, 1, 90_000)).is_right();
    let incarnation = 1_000_000;
    script.pass(Said {
        incarnation,
        ack: Some(200),
        ..Said::syn(1)
    });
    script.breaks(Rule::AckOfUndelivered);
}

#[test]
fn once_a_link_was_too_narrow_no_timer_is_judged_and_all_else_is() {
    let mut script = Script::open();
    script.referee.on_too_big();
    script.lose(Said::text(0, 1, 100, 1)).wait_ms(10);
    script.pass(Said::text(0, 1, 100, 1)).is_right();
    script.pass(Said::ack(1, 1, 500));
    script.breaks(Rule::AckOfUndelivered);
}

#[test]
fn a_connection_with_a_station_is_not_judged() {
    let mut script = Script::new();
    let syn = Said {
        flags: SYN,
        ack: None,
        ..Said::syn(1)
    };
    let syn_ack = Said {
        flags: SYN | ACK,
        ack: Some(1),
        ..Said::syn(0)
    };
    script.pass(syn).forge(syn_ack);
    script.pass(Said::text(1, 1, 30_000, 77)).is_right();
}
