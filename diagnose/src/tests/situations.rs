//! Each situation in its plainest form, and what must not be taken for it.

use stack::tcp::lang::{Spec, ack, data, fin, rst, syn, syn_ack};

use super::tape::Tape;
use crate::analysis::{Ladders, Limits};
use crate::evidence::evidence;
use crate::side::End::{self, Client, Server};
use crate::situation::Certainty::{self, Certain, Likely, Possible};
use crate::situation::Situation;

#[track_caller]
fn expect(tape: &Tape, situation: Situation, certainty: Certainty, end: Option<End>) {
    assert_eq!(tape.verdict(), (situation, certainty, end));
}

/// A request of 100 bytes and a response of 1,000.
fn exchange(tape: Tape) -> Tape {
    tape.client(2, data(100).seq(1).ack(1))
        .server(3, ack().seq(1).ack(101))
        .server(4, data(1_000).seq(1).ack(101))
        .client(5, ack().seq(101).ack(1_001))
}

/// Segment after segment of the server, each acknowledged.
fn bulk(mut tape: Tape, segments: u32) -> Tape {
    for n in 0..segments {
        let at_ms = u64::from(10 + n);
        tape = tape
            .server(at_ms, data(1_400).seq(1 + n * 1_400).ack(1))
            .client(at_ms, ack().seq(1).ack(1 + (n + 1) * 1_400));
    }
    tape
}

#[test]
fn a_connection_that_ends_well_is_normal() {
    let tape = exchange(Tape::new().handshake());
    expect(&tape, Situation::Normal, Likely, None);
    let tape = tape
        .client(6, fin().seq(101).ack(1_001))
        .server(7, fin().seq(1_001).ack(102))
        .client(8, ack().seq(102).ack(1_002));
    expect(&tape, Situation::Normal, Certain, None);
    let analysis = tape.analysis(Limits::default());
    let machines = analysis.judged()[0].connection.machines;
    let states = End::BOTH.map(|end| machines.state(end).expect("known").name());
    assert_eq!(states, ["TIME-WAIT", "CLOSED"]);
}

#[test]
fn a_closed_port_is_told_by_the_reset_of_the_syn() {
    let tape = Tape::new()
        .client(0, syn().seq(0))
        .server(1, rst().seq(0).ack(1));
    expect(&tape, Situation::PortClosed, Certain, Some(Server));
    // The answer alone: its shape says it, but the SYN isn't there.
    let raw = Tape::between("198.18.0.1:40001", "198.18.0.2:81").server(1, answer_without_iss());
    expect(&raw, Situation::PortClosed, Likely, Some(Server));
    // A reset that acknowledges something else doesn't count.
    let wrong = Tape::new()
        .client(0, syn().seq(0))
        .server(1, rst().seq(0).ack(77));
    expect(&wrong, Situation::NoAnswer, Possible, Some(Server));
}

/// A closed port's reset has the number 0 on the wire.
fn answer_without_iss() -> Spec {
    rst().seq(0u32.wrapping_sub(7_000)).ack(1)
}

#[test]
fn unanswered_syns_are_one_class_unless_arp_says_more() {
    let tape = Tape::new()
        .client(0, syn().seq(0))
        .client(1_000, syn().seq(0))
        .client(3_000, syn().seq(0));
    expect(&tape, Situation::NoAnswer, Likely, Some(Server));
    let gone = tape.asks(3_500).asks(4_500).asks(5_500);
    expect(&gone, Situation::NeighborDead, Likely, Some(Server));
}

#[test]
fn a_port_that_opened_connections_before_and_drops_a_syn_has_a_full_queue() {
    let tape = exchange(Tape::new().handshake())
        .then_from("198.18.0.1:40002")
        .client(100, syn().seq(0))
        .client(1_100, syn().seq(0));
    let analysis = tape.analysis(Limits::default());
    let verdict = analysis.judged()[1].verdict;
    assert_eq!(
        (verdict.situation, verdict.certainty),
        (Situation::QueueFull, Possible)
    );
}

#[test]
fn a_syn_ack_that_comes_again_behind_its_ack_means_a_full_queue() {
    let tape = Tape::new()
        .handshake()
        .client(10, data(5).seq(1).ack(1))
        .client(210, data(5).seq(1).ack(1))
        .server(1_000, syn_ack().seq(0).ack(1).mss(1460))
        .client(1_001, ack().seq(6).ack(1))
        .server(3_000, syn_ack().seq(0).ack(1).mss(1460))
        .client(3_001, ack().seq(6).ack(1));
    expect(&tape, Situation::QueueFull, Likely, Some(Server));
}

#[test]
fn half_open_and_given_up_differ_by_the_clients_reset() {
    let half = Tape::new()
        .client(0, syn().seq(0))
        .server(1, syn_ack().seq(0).ack(1))
        .server(1_001, syn_ack().seq(0).ack(1));
    expect(&half, Situation::HalfOpen, Certain, Some(Client));
    let late = Tape::new()
        .client(0, syn().seq(0))
        .server(4_000, syn_ack().seq(0).ack(1))
        .client(4_001, rst().seq(1));
    expect(&late, Situation::GaveUp, Certain, Some(Client));
}

#[test]
fn a_closed_window_counts_when_it_lasts() {
    let begin = || {
        Tape::new()
            .handshake()
            .client(10, data(1_400).seq(1).ack(1))
            .server(20, ack().seq(1).ack(1_401).win(0))
    };
    let short = begin().server(120, ack().seq(1).ack(1_401).win(9_000));
    expect(&short, Situation::Normal, Likely, None);
    let long = begin()
        .client(250, ack().seq(1_400).ack(1))
        .server(251, ack().seq(1).ack(1_401).win(0))
        .client(12_000, ack().seq(1_400).ack(1))
        .server(12_020, ack().seq(1).ack(1_401).win(0));
    expect(&long, Situation::ZeroWindow, Certain, Some(Server));
    let analysis = long.analysis(Limits::default());
    let judged = analysis.judged()[0];
    let said = evidence(judged.connection, &judged.verdict, analysis.surroundings()).join("\n");
    assert!(
        said.contains("for 12.0 s at most, and still is; 2 probes, 2 answers"),
        "{said}"
    );
}

#[test]
fn two_shapes_of_reset_end_an_open_connection() {
    let unread = Tape::new()
        .handshake()
        .client(2, data(100).seq(1).ack(1))
        .server(3, ack().seq(1).ack(101))
        .server(500, rst().seq(1).ack(101));
    expect(&unread, Situation::Aborted, Likely, Some(Server));
    let rebooted = exchange(Tape::new().handshake())
        .client(60_000, data(50).seq(101).ack(1_001))
        .server(60_001, rst().seq(1_001));
    expect(&rebooted, Situation::NoSocket, Likely, Some(Server));
    let other_hops = exchange(Tape::new().hops(Server, 57).handshake())
        .client(60_000, data(50).seq(101).ack(1_001))
        .hops(Server, 64)
        .server(60_001, rst().seq(1_001));
    expect(&other_hops, Situation::MiddleboxReset, Likely, Some(Server));
}

#[test]
fn what_is_sent_again_behind_a_reset_is_no_silence() {
    let mut tape = exchange(Tape::new().hops(Server, 63).handshake())
        .server(9_000, data(50).seq(1_001).ack(101))
        .hops(Server, 64)
        .server(9_001, rst().seq(1_001))
        .hops(Server, 63);
    for at_ms in [9_200, 9_600, 10_400, 12_000] {
        tape = tape
            .server(at_ms, data(50).seq(1_001).ack(101))
            .client(at_ms, rst().seq(101));
    }
    assert_eq!(tape.verdict().0, Situation::MiddleboxReset);
}

#[test]
fn an_unreachable_from_the_host_itself_is_its_own_arp() {
    let tape = Tape::new().client(0, syn().seq(0));
    let quote = tape.frames[0].1[14..14 + 28].to_vec();
    let mut error = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    error.extend([
        0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 1, 198, 18, 0, 1,
    ]);
    error.extend([3, 1, 0, 0, 0, 0, 0, 0]);
    error.extend(&quote);
    expect(
        &tape.frame(3_000, &error),
        Situation::NeighborDead,
        Likely,
        Some(Server),
    );
}

#[test]
fn data_behind_a_close_draws_the_reset() {
    let tape = exchange(Tape::new().handshake())
        .server(10, fin().seq(1_001).ack(101))
        .client(11, ack().seq(101).ack(1_002))
        .client(500, data(70).seq(101).ack(1_002))
        .server(501, rst().seq(1_002));
    expect(&tape, Situation::DataAfterClose, Certain, Some(Server));
}

#[test]
fn an_application_that_says_nothing_shows_once_its_peer_gives_up() {
    let tape = Tape::new()
        .handshake()
        .client(2, data(100).seq(1).ack(1))
        .server(42, ack().seq(1).ack(101));
    expect(&tape, Situation::Normal, Likely, None);
    let given_up = tape
        .client(5_000, fin().seq(101).ack(1))
        .server(5_040, ack().seq(1).ack(102));
    expect(&given_up, Situation::AppSilent, Likely, Some(Server));
    // One that only takes, and closes when its peer does, is well.
    let sink = Tape::new()
        .handshake()
        .client(2, data(100).seq(1).ack(1))
        .server(42, ack().seq(1).ack(101))
        .client(5_000, fin().seq(101).ack(1))
        .server(5_001, fin().seq(1).ack(102))
        .client(5_002, ack().seq(102).ack(2));
    expect(&sink, Situation::Normal, Certain, None);
}

#[test]
fn silence_outage_and_loss_differ_by_what_comes_after() {
    let mut tape = bulk(Tape::new().handshake(), 10);
    let next = 1 + 10 * 1_400;
    for at_ms in [30, 230, 630, 1_430, 3_030] {
        tape = tape.server(at_ms, data(1_400).seq(next).ack(1));
    }
    expect(&tape, Situation::Silence, Likely, Some(Client));
    let back = tape.client(3_100, ack().seq(1).ack(next + 1_400));
    expect(&back, Situation::Outage, Likely, Some(Client));

    let mut lossy = bulk(Tape::new().handshake(), 200);
    for n in 0..4 {
        let seq = 1 + n * 1_400;
        lossy = lossy.server(300 + u64::from(n), data(1_400).seq(seq).ack(1));
    }
    expect(&lossy, Situation::Loss, Likely, Some(Server));
}

#[test]
fn only_large_segments_vanish_in_a_black_hole() {
    let mut tape = exchange(Tape::new().handshake());
    for at_ms in [10, 230, 650, 1_500] {
        tape = tape.client(at_ms, data(1_400).seq(101).ack(1_001));
    }
    // The server is there: it closes in the meantime.
    let closing = fin().seq(1_001).ack(101);
    let there = tape
        .clone()
        .server(2_000, closing)
        .client(2_001, ack().seq(1_501).ack(1_002))
        .client(3_200, data(1_400).seq(101).ack(1_002));
    expect(&there, Situation::MtuBlackHole, Likely, Some(Client));
    // A segment after the sender gave up says nothing about the time in between.
    let back = tape
        .client(3_200, data(1_400).seq(101).ack(1_001))
        .server(9_000, closing);
    expect(&back, Situation::MtuBlackHole, Possible, Some(Client));
}

/// A NIC that cuts frames makes small segments of large ones: what got through then is no proof against a black hole.
#[test]
fn a_black_hole_that_its_sender_found_by_smaller_segments_is_one() {
    let mut tape = exchange(Tape::new().handshake());
    for at_ms in [10, 230, 650, 1_500] {
        tape = tape.client(at_ms, data(1_400).seq(101).ack(1_001));
    }
    tape = tape
        .client(3_200, data(500).seq(101).ack(1_001))
        .server(3_201, ack().seq(1_001).ack(601))
        .client(3_202, data(1_400).seq(1_501).ack(1_001))
        .client(3_203, data(900).seq(601).ack(1_001))
        .server(3_204, ack().seq(1_001).ack(2_901));
    expect(&tape, Situation::MtuBlackHole, Likely, Some(Client));
}

#[test]
fn large_segments_that_never_arrived_are_told_from_a_death_in_the_middle() {
    let again = |mut tape: Tape, seq: u32| {
        for at_ms in [100, 330, 750, 1_600, 3_300] {
            tape = tape.client(at_ms, data(1_400).seq(seq).ack(1_001));
        }
        tape
    };
    let first = again(exchange(Tape::new().handshake()), 101);
    expect(&first, Situation::MtuBlackHole, Possible, Some(Client));
    let after_others = exchange(Tape::new().handshake())
        .client(50, data(1_400).seq(101).ack(1_001))
        .server(51, ack().seq(1_001).ack(1_501));
    expect(
        &again(after_others, 1_501),
        Situation::Silence,
        Likely,
        Some(Server),
    );
}

#[test]
fn a_smaller_segment_that_is_sacked_shows_that_the_large_ones_are_the_matter() {
    let mut tape = Tape::new()
        .handshake()
        .client(2, data(1_400).seq(1).ack(1))
        .client(2, data(300).seq(1_401).ack(1))
        .sacks(3, ack().seq(1).ack(1), 1_401, 1_701);
    for at_ms in [230, 650, 1_500, 3_200] {
        tape = tape.client(at_ms, data(1_400).seq(1).ack(1));
    }
    expect(&tape, Situation::MtuBlackHole, Likely, Some(Client));
}

#[test]
fn an_ack_that_was_captured_before_its_data_is_no_retransmission() {
    let mut tape = Tape::new().handshake();
    for n in 0..40 {
        let at_ms = u64::from(10 + n);
        tape = tape
            .client(at_ms, ack().seq(1).ack(1 + (n + 1) * 1_400))
            .server(at_ms, data(1_400).seq(1 + n * 1_400).ack(1));
    }
    expect(&tape, Situation::Normal, Likely, None);
}

#[test]
fn one_direction_is_enough_for_what_it_shows() {
    let tape = Tape::new()
        .server(0, syn_ack().seq(0).ack(1).mss(1460))
        .server(2, ack().seq(1).ack(101))
        .server(500, rst().seq(1).ack(101));
    expect(&tape, Situation::Aborted, Possible, Some(Server));
    let embryo = Tape::new()
        .server(0, syn_ack().seq(0).ack(1).mss(1460))
        .server(1_000, syn_ack().seq(0).ack(1).mss(1460));
    expect(&embryo, Situation::HalfOpen, Likely, Some(Client));
}

#[test]
fn an_icmp_error_counts_even_when_its_quote_was_cut_off() {
    let refused = |cut| {
        let tape = Tape::new().client(0, syn().seq(0));
        let quote = tape.frames[0].1[14..14 + 28].to_vec();
        let mut error = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        error.extend([
            0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 9, 198, 18, 0, 1,
        ]);
        error.extend([3, 13, 0, 0, 0, 0, 0, 0]);
        error.extend(&quote[..quote.len() - cut]);
        tape.frame(1, &error)
    };
    for cut in [0, 8, 20] {
        expect(&refused(cut), Situation::Rejected, Certain, Some(Server));
    }
}

#[test]
fn a_syn_in_an_open_connection_means_that_its_sender_lost_its_state() {
    let tape = exchange(Tape::new().handshake())
        .client(9_000, syn().seq(500_000))
        .server(9_001, ack().seq(1_001).ack(101))
        .client(9_002, rst().seq(101));
    let analysis = tape.analysis(Limits::default());
    assert_eq!(
        analysis.judged()[0].verdict.situation,
        Situation::StaleConnection
    );
}

#[test]
fn another_connection_between_the_same_ports_has_a_number_of_its_own() {
    let tape = Tape::new()
        .client(0, syn().seq(0))
        .server(1, rst().seq(0).ack(1))
        .client(1_000, syn().seq(90_000))
        .server(1_001, rst().seq(0).ack(90_001));
    let analysis = tape.analysis(Limits::default());
    let verdicts: Vec<Situation> = analysis
        .judged()
        .iter()
        .map(|judged| judged.verdict.situation)
        .collect();
    assert_eq!(verdicts, [Situation::PortClosed, Situation::PortClosed]);
}

#[test]
fn the_table_stays_within_its_limit_and_sums_the_rest() {
    let mut tape = exchange(Tape::new().handshake());
    for n in 0..3_000_u64 {
        let client = format!("198.18.{}.{}:{}", 1 + n / 250, 1 + n % 250, 1_024 + n);
        tape = tape
            .then_from(&client)
            .client(n, syn().seq(0))
            .server(n, syn_ack().seq(0).ack(1));
    }
    let limits = Limits {
        connections: 64,
        ..Limits::default()
    };
    let analysis = tape.analysis(limits);
    let judged = analysis.judged();
    assert!(judged.len() <= 64, "{}", judged.len());
    // Open connections stay.
    assert_eq!(judged[0].connection.number, 1);
    let summed: u64 = analysis.summed().values().sum();
    assert_eq!(summed as usize + judged.len(), 3_001);
    assert_eq!(analysis.servers().flooded().len(), 1);
}

#[test]
fn a_ladder_keeps_its_first_and_last_lines() {
    let tape = bulk(Tape::new().handshake(), 100);
    let limits = Limits {
        ladders: Ladders::One(1),
        rows: 5,
        ..Limits::default()
    };
    let analysis = tape.analysis(limits);
    let rows = &analysis.judged()[0].connection.rows;
    assert_eq!(
        (rows.first().len(), rows.last().count(), rows.left_out()),
        (5, 5, 193)
    );
}

#[test]
fn names_are_different_and_each_abnormal_class_says_what_tells_its_members_apart() {
    let mut names: Vec<&str> = Situation::all().map(Situation::name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    for situation in Situation::all().filter(|situation| *situation != Situation::Normal) {
        assert!(!situation.apart().is_empty(), "{situation:?}");
    }
}
