//! Segments that no peer should send: RFC 5961, and anything at all in every state.

use proptest::prelude::*;

use crate::seq::SeqNum;
use crate::tcp::answer_limits::OLD_BURST;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::segment::{Flags, Segment, SegmentOptions, TimestampOption};
use crate::tcp::settings::Settings;
use crate::tcp::state::State;
use crate::tcp::testing::{Host, RCV_BUF, params, plain};
use crate::tcp::verdict::Outcome;

#[test]
fn a_blind_reset_must_hit_exactly() {
    let mut host = Host::established();
    host.inject_as(rst().seq(2), Outcome::RstChallenged);
    host.expect(ack().seq(1).ack(1));
    host.inject_as(rst().seq(RCV_BUF), Outcome::RstChallenged);
    host.expect_nothing(); // limited
    host.inject_as(rst().seq(RCV_BUF + 1), Outcome::RstOutOfWindow);
    host.inject_as(rst().seq(0), Outcome::RstOutOfWindow);
    host.expect_nothing();
    host.expect_state(State::Established);
    host.advance_ms(500);
    host.inject(rst().seq(2));
    host.expect(ack().seq(1).ack(1));
    host.inject_as(rst().seq(1), Outcome::RstAccepted);
}

#[test]
fn a_syn_in_a_synchronised_state_is_challenged_wherever_it_is() {
    // The SYN at 0 is the peer's own again: it has the budget of what is old.
    for (seq, outcome, answers) in [
        (1, Outcome::SynChallenged, 1),
        (100, Outcome::SynChallenged, 1),
        (0, Outcome::Duplicate, OLD_BURST),
        (RCV_BUF + 1, Outcome::OutOfWindow, 1),
        (0x8000_0000, Outcome::OutOfWindow, 1),
    ] {
        for spec in [syn(), syn_ack()] {
            let mut host = Host::established();
            for _ in 0..answers {
                host.inject_as(spec.seq(seq), outcome);
                host.expect(ack().seq(1).ack(1));
            }
            host.inject(spec.seq(seq));
            host.expect_nothing();
            host.expect_state(State::Established);
        }
    }
}

#[test]
fn an_ack_must_lie_between_the_oldest_window_and_what_was_sent() {
    let mut host = Host::established();
    host.write(100);
    host.expect(data(100));
    host.inject_as(data(10).ack(102), Outcome::AckOfUnsent);
    host.expect(ack().ack(1));
    host.advance_ms(500);
    host.inject_as(data(10).ack(0u32.wrapping_sub(10_000)), Outcome::AckTooOld);
    host.expect(ack().ack(1));
    host.inject_as(data(10).ack(0u32.wrapping_sub(9_999)), Outcome::InOrder);
    host.inject_as(data(10).ack(101), Outcome::InOrder);
}

#[test]
fn without_ack_nothing_is_taken() {
    let mut host = Host::established();
    for flags in [Flags::NONE, Flags::PSH, Flags::FIN, Flags::URG] {
        let spec = crate::tcp::lang::segment(flags).len(5);
        host.inject_as(spec, Outcome::AckMissing);
    }
    host.expect_nothing();
    host.expect_state(State::Established);
}

#[test]
fn two_sides_that_disagree_do_not_answer_each_other_for_ever() {
    let mut host = Host::established();
    let mut answers = 0;
    for _ in 0..100 {
        host.inject(ack().seq(0x4000_0000));
        host.advance_ms(1);
        answers = host.counters.challenge_acks;
    }
    assert_eq!(answers, 1);
    assert_eq!(host.counters.challenge_acks_suppressed, 99);
}

/// Junk needs only the addresses and ports. It must not silence the ACKs that a peer in earnest waits for: it would give up
/// after R2.
#[test]
fn junk_does_not_silence_the_answers_to_what_is_old() {
    let mut host = Host::established();
    host.inject_as(data(100), Outcome::InOrder);
    host.read(100);
    host.advance_ms(1_000);
    host.expect(ack().ack(101));
    for round in 0..10 {
        for junk in 0..20 {
            host.inject_as(ack().seq(1_000_000 * (junk + 1)), Outcome::OutOfWindow);
        }
        host.expect(ack().ack(101));
        host.expect_nothing();
        if round % 2 == 0 {
            host.inject_as(data(100).seq(1), Outcome::Duplicate);
        } else {
            host.inject_as(ack().seq(100), Outcome::OutOfWindow);
        }
        host.expect(ack().ack(101));
        host.advance_ms(500);
    }
}

/// Old data is answered, but not as often as a peer may send it.
#[test]
fn old_data_is_answered_within_a_limit_of_its_own() {
    let mut host = Host::established();
    host.inject_as(data(100), Outcome::InOrder);
    host.read(100);
    host.advance_ms(1_000);
    host.expect(ack().ack(101));
    for spec in [data(100).seq(1), fin().seq(100)] {
        for _ in 0..OLD_BURST {
            host.inject_as(spec, Outcome::Duplicate);
            host.expect(ack().ack(101));
        }
        for _ in 0..100 {
            host.inject_as(spec, Outcome::Duplicate);
        }
        host.expect_nothing();
        host.advance_ms(500);
        host.inject_as(spec, Outcome::Duplicate);
        host.expect(ack().ack(101));
        host.advance_ms(2_000);
    }
    assert_eq!(
        host.counters.old_segment_acks,
        2 * (u64::from(OLD_BURST) + 1)
    );
    assert_eq!(host.counters.old_segment_acks_suppressed, 200);
}

/// Data from beyond the window was not sent in earnest.
#[test]
fn data_beyond_the_window_is_a_challenge() {
    let mut host = Host::established();
    for i in 0..10 {
        host.inject_as(data(10).seq(RCV_BUF + 1 + i), Outcome::OutOfWindow);
    }
    host.expect(ack().ack(1));
    host.expect_nothing();
    assert_eq!(host.counters.challenge_acks, 1);
}

#[test]
fn a_flood_of_segments_ahead_of_gaps_is_bounded() {
    let mut host = Host::established();
    for i in 0..1000 {
        host.inject(data(1).seq(3 + 2 * (i % 3000)));
    }
    assert!(host.tcb.out_of_order().len() <= crate::tcp::reassembly::RANGES_MAX);
    assert!(host.counters.outcome(Outcome::OutOfOrderNoRoom) > 0);
    for _ in 0..host.settings.duplicate_acks_max {
        host.expect(ack().ack(1));
    }
    host.expect_nothing();
}

/// A host in each state that a `Tcb` can be in.
fn in_state(state: State, settings: Settings) -> Host {
    let mut host = match state {
        State::SynSent | State::SynReceivedActive => Host::client(settings, params()),
        State::SynReceivedPassive => {
            Host::server(settings, params(), syn().seq(0).wscale(3).ts(1, 0))
        }
        _ => {
            let mut host = Host::client(settings, params());
            host.expect(syn());
            host.inject(syn_ack().seq(0).ack(1).mss(1000).wscale(2).ts(1, 0));
            host
        }
    };
    match state {
        State::SynReceivedActive => {
            host.inject(syn().seq(0));
        }
        State::FinWait1 => host.shutdown(),
        State::FinWait2 | State::TimeWait | State::Closing => {
            host.shutdown();
            host.advance_ms(0);
            if state != State::Closing {
                host.inject(ack().ts(2, 0));
            }
            if state != State::FinWait2 {
                host.inject(
                    fin()
                        .ack(if state == State::Closing { 1 } else { 2 })
                        .ts(2, 0),
                );
            }
        }
        State::CloseWait | State::LastAck => {
            host.inject(fin().ts(2, 0));
            if state == State::LastAck {
                host.close();
            }
        }
        State::Closed => host.abort(),
        _ => {}
    }
    host.expect_state(state);
    host
}

/// An action of a test on a host between segments.
#[derive(Debug, Clone)]
enum Act {
    Segment {
        seq: i32,
        ack: i32,
        flags: u8,
        window: u16,
        len: u32,
        ts: Option<(u32, u32)>,
        mss: Option<u16>,
    },
    Write(u32),
    Read(u32),
    Advance(u64),
    Poll,
    Shutdown,
    Close,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let near = prop_oneof![
        4 => -3i32..4,
        2 => -2000i32..12_000,
        1 => any::<i32>(),
    ];
    let len = prop_oneof![3 => Just(0u32), 3 => 1u32..1500, 1 => any::<u32>()];
    let ts = prop::option::of((prop_oneof![0u32..5, any::<u32>()], any::<u32>()));
    let segment = (
        near.clone(),
        near,
        any::<u8>(),
        any::<u16>(),
        len,
        ts,
        prop::option::of(any::<u16>()),
    )
        .prop_map(|(seq, ack, flags, window, len, ts, mss)| Act::Segment {
            seq,
            ack,
            flags,
            window,
            len,
            ts,
            mss,
        });
    let act = prop_oneof![
        8 => segment,
        1 => (0u32..20_000).prop_map(Act::Write),
        1 => (0u32..20_000).prop_map(Act::Read),
        2 => (0u64..70_000).prop_map(Act::Advance),
        3 => Just(Act::Poll),
        1 => prop_oneof![Just(Act::Shutdown), Just(Act::Close)],
    ];
    prop::collection::vec(act, 1..60)
}

fn perform(host: &mut Host, act: &Act) {
    match *act {
        Act::Segment {
            seq,
            ack,
            flags,
            window,
            len,
            ts,
            mss,
        } => {
            let (una, _, rcv_nxt) = host.tcb.numbers();
            let timestamps = ts.map(|(tsval, tsecr)| TimestampOption { tsval, tsecr });
            let seg = Segment {
                seq: SeqNum(rcv_nxt.0.wrapping_add_signed(seq)),
                ack: SeqNum(una.0.wrapping_add_signed(ack)),
                flags: Flags(flags),
                window,
                urgent: window,
                payload_len: len,
                options: SegmentOptions {
                    timestamps,
                    mss,
                    window_scale: ts.map(|t| t.0 as u8),
                    sack_permitted: false,
                },
                is_stripped: false,
            };
            let before = host.counters.segments();
            host.inject_segment(&seg);
            assert_eq!(
                host.counters.segments(),
                before + 1,
                "each segment ends exactly once"
            );
        }
        Act::Write(len) => host.write(len),
        Act::Read(len) => host.read(len.min(host.tcb.unread())),
        Act::Advance(ms) => host.advance_ms(ms),
        Act::Poll => host.advance_ms(0),
        Act::Shutdown => host.shutdown(),
        Act::Close => host.close(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// `Host::turn` checks the invariants after every call; what was acknowledged or received never exceeds what was
    /// sent or offered.
    #[test]
    fn nothing_that_a_peer_sends_breaks_a_connection(
        state in prop::sample::select(State::ALL.as_slice()),
        with_options: bool,
        acts in acts(),
    ) {
        // A `Tcb` is never made in LISTEN.
        let state = if state == State::Listen { State::Established } else { state };
        let settings = if with_options { Settings::default() } else { plain() };
        let mut host = in_state(state, settings);
        for act in &acts {
            let (una, nxt, _) = host.tcb.numbers();
            perform(&mut host, act);
            let (una_after, nxt_after, _) = host.tcb.numbers();
            prop_assert!(!una_after.before(una) && !nxt_after.before(nxt), "numbers never go back");
            prop_assert!(host.tcb.unread() <= RCV_BUF + 8, "the buffer holds what was offered");
        }
    }
}
