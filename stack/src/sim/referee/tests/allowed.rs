//! Cases that look like faults and are none: each case stands for seeds in which a rule was once stricter than an endpoint can be.

use super::script::{MSS, Said, Script};
use crate::sim::referee::Rule;
use crate::sim::referee::segment::RST;

/// A server that has sent `len` bytes and reset the connection; then a copy of the client's SYN arrives.
fn reset_by_the_server(len: u32) -> Script {
    let mut script = Script::open();
    script.pass(Said::text(1, 1, len, 1));
    script.pass(Said::reset(1, 1 + len, 1));
    script.arrive(Said::syn(0));
    script
}

/// A SYN cookie is the same for a minute.
#[test]
fn a_cookie_comes_again_after_a_reset_as_often_as_its_syn() {
    let mut script = reset_by_the_server(100);
    script.pass(Said::syn(1)).wait_ms(20).arrive(Said::syn(0));
    script.pass(Said::syn(1)).is_right();
    script.wait_ms(20).pass(Said::syn(1));
    script.breaks(Rule::RtoFloor);
}

#[test]
fn an_incarnation_may_lie_within_the_numbers_of_one_that_was_reset() {
    let incarnation = 500;
    let mut script = reset_by_the_server(1_000);
    script.pass(Said {
        incarnation,
        ..Said::syn(1)
    });
    script.pass(Said {
        incarnation,
        ..Said::ack(1, 1, 1)
    });
    script.is_right();
}

#[test]
fn another_incarnation_offers_less() {
    let mut script = reset_by_the_server(100);
    script.pass(Said {
        incarnation: 500,
        ..Said::syn(1).window(50_000)
    });
    script.is_right();
}

#[test]
fn duplicates_of_a_second_loss_count_until_that_is_repaired() {
    let mut script = Script::open();
    let text = |n: u32| Said::text(0, 1 + n * MSS, MSS, 1);
    script.pass(text(0));
    (1..10).for_each(|n| {
        script.lose(text(n));
    });
    // A duplicate while this much is on its way, which is acknowledged before the loss is repaired.
    script.pass(Said::ack(1, 1, 1));
    script.pass(Said::ack(1, 1, 1 + MSS));
    script.lose(text(10)).pass(text(11));
    for n in 12..32 {
        script.pass(Said::ack(1, 1, 1 + MSS)).pass(text(n));
    }
    (1..10).for_each(|n| {
        script.arrive(text(n));
    });
    script.pass(Said::ack(1, 1, 1 + 10 * MSS)).pass(text(32));
    script.is_right();
}

/// It was delivered before the endpoint sent, and is noticed after that.
#[test]
fn an_ack_that_is_repeated_just_before_something_is_sent_counts_as_a_duplicate() {
    let repeated = |after_ms: u64| {
        let mut script = Script::open();
        script.pass(Said::text(0, 1, MSS, 1));
        script.pass(Said::text(1, 1, 10, 1 + MSS));
        script.pass(Said::ack(1, 11, 1 + MSS)).wait_ms(after_ms);
        script.lose(Said::text(0, 1 + MSS, MSS, 11));
        script.pass(Said::text(0, 1 + 2 * MSS, MSS, 11));
        script.pass(Said::ack(1, 11, 1 + MSS));
        script.pass(Said::ack(1, 11, 1 + MSS));
        script.pass(Said::text(0, 1 + MSS, MSS, 11));
        script
    };
    repeated(0).is_right();
    repeated(1).breaks(Rule::RtoFloor);
}

#[test]
fn an_ack_of_an_incarnation_that_the_referee_forgot() {
    let attacked = |syns: u32| {
        let mut script = Script::open();
        for n in 1..=syns {
            script.forge(Said {
                incarnation: n * 10_000,
                ..Said::syn(0)
            });
        }
        script.pass(Said::ack(1, 1, 5_000));
        script
    };
    attacked(10).breaks(Rule::AckOfUndelivered);
    attacked(70).is_right();
}

/// With timestamps it says when it was built, without them only its host's question shows that it may have waited.
#[test]
fn a_segment_that_waited_for_its_neighbour_started_the_timer_when_it_was_built() {
    let mut stamped = Script::open_with_timestamps();
    stamped.wait_ms(80);
    stamped.lose(Said::text(0, 1, 500, 1).timestamps(100, 900));
    stamped.wait_ms(920);
    stamped.pass(Said::text(0, 1, 500, 1).timestamps(1_100, 900));
    stamped.is_right();
    for asks in [true, false] {
        let mut plain = Script::open();
        if asks {
            plain.ask(0);
        }
        plain.wait_ms(80).lose(Said::text(0, 1, MSS, 1));
        plain.wait_ms(920).pass(Said::text(0, 1, MSS, 1));
        if asks {
            plain.is_right();
        } else {
            plain.breaks(Rule::RtoFloor);
        }
    }
}

/// News of one connection about a path, others use at once: so from then on no timer is judged.
#[test]
fn a_segment_that_is_cut_for_a_smaller_path_is_no_timeout() {
    let mut script = Script::open();
    script.lose(Said::text(0, 1, MSS, 1)).wait_ms(300);
    for n in 0..2 {
        script.pass(Said::text(0, 1 + n * 500, 500, 1));
    }
    script.wait_ms(300).pass(Said::text(0, 1, 500, 1));
    script.is_right();
}

#[test]
fn an_answer_of_a_parked_connection_leaves_behind_what_is_sent_in_the_same_turn() {
    for waits_ms in [0, 1] {
        let mut script = Script::open();
        script.pass(Said::text(0, 1, 500, 1));
        script.pass(Said::ack(1, 1, 501)).wait_ms(waits_ms);
        script.pass(Said::ack(1, 1, 501).window(990));
        if waits_ms == 0 {
            script.is_right();
        } else {
            script.breaks(Rule::EdgeRetreats);
        }
    }
}

/// Text with the same acknowledgment may be noticed first: then the pure ACK is a duplicate, and lets a segment go (RFC 3042).
#[test]
fn an_ack_that_text_overtakes_lets_one_segment_go() {
    let grown = |segments: u32| {
        let mut script = Script::open();
        let send = |script: &mut Script, n: u32| {
            script.pass(Said::text(0, 1 + n * MSS, MSS, 1));
        };
        (0..10).for_each(|n| send(&mut script, n));
        script.pass(Said::ack(1, 1, 1 + MSS));
        (10..12 + segments).for_each(|n| send(&mut script, n));
        script
    };
    grown(1).is_right();
    grown(2).breaks(Rule::Flight);
}

#[test]
fn a_forged_syn_within_the_numbers_of_a_connection_is_answered() {
    let mut script = Script::open();
    script
        .pass(Said::text(0, 1, MSS, 1))
        .pass(Said::ack(1, 1, 1 + MSS));
    script.pass(Said::reset(1, 1, 1 + MSS));
    let forged = Said {
        incarnation: 500,
        ..Said::syn(0)
    };
    script.forge(forged);
    script.pass(Said {
        incarnation: 9_000,
        ack: Some(501),
        ..Said::syn(1)
    });
    script.is_right();
}

/// A bare ACK shows that the number was spent.
#[test]
fn what_did_not_leave_for_want_of_a_buffer_started_the_timer_all_the_same() {
    let resent = |shows: bool| {
        let mut script = Script::open();
        if shows {
            script.pass(Said::ack(0, 1 + MSS, 1));
        }
        script.wait_ms(900).lose(Said::text(0, 1, MSS, 1));
        script.wait_ms(100).pass(Said::text(0, 1, MSS, 1));
        script
    };
    resent(true).is_right();
    resent(false).breaks(Rule::RtoFloor);
}

#[test]
fn a_bare_reset_overtakes_what_the_nic_refused() {
    let mut script = Script::open();
    script.pass(Said::text(1, 1, 10, 1));
    script.pass(Said {
        flags: RST,
        ..Said::ack(1, 11, 0)
    });
    script.pass(Said::text(1, 11, 10, 1)).is_right();
}

/// The endpoint has not got the first one: to it the second one is new, and opens its window.
#[test]
fn an_acknowledgment_that_was_lost_behind_the_wire_is_answered_when_it_is_repeated() {
    let mut script = Script::open();
    script.lose(Said::text(0, 1, 500, 1)).wait_ms(10);
    script.pass(Said::text(1, 1, 10, 1)).wait_ms(3_000);
    script.pass(Said::text(1, 11, 10, 1));
    script.pass(Said::text(0, 1, 500, 21));
    script.pass(Said::text(0, 501, 600, 21)).is_right();
}

/// Nothing is on its way as far as the wires show, yet the endpoint waits for acknowledgments.
#[test]
fn duplicates_of_what_did_not_leave_count() {
    let mut script = Script::open();
    let text = |n: u32| Said::text(0, 1 + n * MSS, MSS, 1);
    script.pass(Said::ack(0, 1 + 10 * MSS, 1)).wait_ms(10);
    script.pass(Said::ack(1, 1, 1));
    (10..11).for_each(|n| {
        script.lose(text(n));
    });
    script.is_right();
}
