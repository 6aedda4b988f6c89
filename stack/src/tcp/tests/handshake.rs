//! Opening: RFC 9293 §3.5 and §3.10.7.3, options on SYN, resets in SYN-SENT and SYN-RECEIVED.

use crate::tcp::answer_limits::OLD_BURST;
use crate::tcp::handshake::AnsweredSyn;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::negotiated::Negotiated;
use crate::tcp::opening::SynAckSent;
use crate::tcp::segment::Flags;
use crate::tcp::settings::Settings;
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::OpenParams;
use crate::tcp::testing::{Host, MSS, RCV_BUF, params, plain};
use crate::tcp::verdict::{CloseReason, Events, IcmpErrorKind, Outcome, Payload};

fn syn_sent() -> Host {
    let mut host = Host::client(plain(), params());
    host.expect(syn().seq(0).mss(MSS as u16));
    host
}

fn syn_received() -> Host {
    let mut host = Host::server(plain(), params(), syn().seq(0).mss(MSS as u16));
    host.expect(syn_ack().seq(0).ack(1).mss(MSS as u16));
    host.expect_state(State::SynReceivedPassive);
    host
}

#[test]
fn an_active_open_takes_three_segments() {
    let mut host = Host::established();
    assert!(host.events.has(Events::OPENED));
    assert_eq!(
        host.counters
            .transitions
            .taken(State::SynSent, Event::SynAck),
        1
    );
    host.expect_nothing();
    assert_eq!(
        host.tcb.deadline(),
        None,
        "nothing is in flight, keepalive is off (MUST-25)"
    );
}

#[test]
fn a_passive_open_completes_with_the_ack_and_what_it_carries() {
    let mut host = syn_received();
    let verdict = host.inject(data(10).seq(1).ack(1));
    assert_eq!(
        verdict.payload,
        Payload::InOrder {
            skip: 0,
            len: 10,
            released: 0
        }
    );
    assert!(verdict.events.has(Events::OPENED) && verdict.acked_len == 0);
    host.expect_state(State::Established);
}

#[test]
fn the_ack_of_the_handshake_may_carry_the_fin() {
    let mut host = syn_received();
    host.inject(fin().seq(1).ack(1));
    host.expect_state(State::CloseWait);
    host.expect(ack().ack(2));
}

#[test]
fn both_sides_may_open_at_once() {
    // RFC 9293 Figure 8.
    let mut host = syn_sent();
    host.inject_as(syn().seq(0), Outcome::SynCrossed);
    host.expect_state(State::SynReceivedActive);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject_as(syn_ack().seq(0).ack(1), Outcome::Handshake);
    host.expect_state(State::Established);
    host.expect_nothing();
    host.inject_as(ack().seq(1).ack(1), Outcome::PureAck);
}

/// Figure 8 has a SYN,ACK and nothing else: what brings data or a FIN besides is judged step by step, and each step that
/// looks at it refuses it.
#[test]
fn syn_received_takes_no_syn_that_brings_data_or_a_fin() {
    let at_irs = syn_ack().seq(0).ack(1);
    let loaded = [
        at_irs.len(20),
        at_irs.with(Flags::FIN),
        at_irs.len(20).with(Flags::FIN),
        syn().seq(0).with(Flags::FIN),
    ];
    for spec in loaded {
        let mut host = syn_sent();
        host.inject(syn().seq(0));
        host.expect(syn_ack());
        let verdict = host.inject_as(spec, Outcome::SynChallenged);
        assert_eq!(verdict.payload, Payload::None);
        host.expect_state(State::SynReceivedActive);
        host.expect(ack().seq(1).ack(1));

        let mut host = syn_received();
        let verdict = host.inject_as(spec, Outcome::SynRestart);
        assert_eq!(verdict.payload, Payload::None);
        host.expect_state(State::Listen);
    }
    // A listener's half-open connection has no business with Figure 8 either.
    let mut host = syn_received();
    host.inject_as(at_irs, Outcome::Duplicate);
    host.expect_state(State::SynReceivedPassive);
}

#[test]
fn simultaneous_open_also_completes_by_a_plain_ack() {
    let mut host = syn_sent();
    host.inject(syn().seq(0));
    host.expect(syn_ack());
    host.inject(ack().seq(1).ack(1));
    host.expect_state(State::Established);
}

#[test]
fn syn_sent_answers_wrong_acks_by_a_reset() {
    for wrong in [0, 2, 0x8000_0001] {
        for spec in [syn_ack(), ack(), fin(), data(5)] {
            let mut host = syn_sent();
            host.inject_as(spec.seq(0).ack(wrong), Outcome::HandshakeBadAck);
            host.expect(rst().seq(wrong));
            host.expect_state(State::SynSent);
        }
        let mut host = syn_sent();
        host.inject_as(rst().seq(0).ack(wrong), Outcome::HandshakeBadAck);
        host.expect_nothing();
    }
}

#[test]
fn syn_sent_believes_a_reset_only_with_the_ack_of_its_syn() {
    let mut host = syn_sent();
    host.inject_as(rst().seq(0), Outcome::HandshakeIgnored);
    host.inject_as(ack().seq(0).ack(1), Outcome::HandshakeIgnored);
    host.inject_as(fin().seq(0).ack(1), Outcome::HandshakeIgnored);
    host.expect_state(State::SynSent);
    host.inject_as(rst().seq(0).ack(1), Outcome::RstAccepted);
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::Refused));
    assert!(host.tcb.is_finished() && host.events.has(Events::CLOSED));
    host.expect_nothing();
}

#[test]
fn data_with_the_syn_ack_is_taken() {
    let mut host = syn_sent();
    let verdict = host.inject(syn_ack().seq(0).ack(1).len(20).with(Flags::FIN));
    assert_eq!(
        verdict.payload,
        Payload::InOrder {
            skip: 0,
            len: 20,
            released: 0
        }
    );
    host.expect_state(State::CloseWait);
    host.expect(ack().seq(1).ack(22));
}

#[test]
fn syn_received_goes_back_to_listen_or_is_refused() {
    let mut host = syn_received();
    host.inject_as(rst().seq(1), Outcome::RstAccepted);
    host.expect_state(State::Listen);
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::BackToListen));

    let mut host = syn_received();
    host.inject_as(syn().seq(1), Outcome::SynRestart);
    host.expect_state(State::Listen);

    let mut host = syn_sent();
    host.inject(syn().seq(0));
    host.expect(syn_ack());
    host.inject_as(rst().seq(1), Outcome::RstAccepted);
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::Refused));
}

#[test]
fn syn_received_answers_wrong_acks_by_a_reset() {
    for wrong in [0, 2] {
        let mut host = syn_received();
        host.inject_as(ack().seq(1).ack(wrong), Outcome::HandshakeBadAck);
        host.expect(rst().seq(wrong));
        host.expect_state(State::SynReceivedPassive);
    }
    let mut host = syn_received();
    host.inject_as(data(5).seq(1).with(Flags::PSH), Outcome::Handshake);
    let mut host = syn_received();
    host.inject_as(
        crate::tcp::lang::segment(Flags::PSH).seq(1),
        Outcome::AckMissing,
    );
}

#[test]
fn the_peers_syn_again_brings_our_syn_ack_again_within_the_limit() {
    let mut host = syn_received();
    for i in 0..8 {
        host.inject_as(syn().seq(0), Outcome::SynRetransmitted);
        if i < OLD_BURST {
            host.expect(syn_ack().seq(0).ack(1));
        }
        host.expect_nothing();
    }
    // Junk takes nothing of it.
    let mut host = syn_received();
    host.inject_as(ack().seq(100_000), Outcome::OutOfWindow);
    host.expect(ack().seq(1).ack(1));
    host.inject_as(syn().seq(0), Outcome::SynRetransmitted);
    host.expect(syn_ack().seq(0).ack(1));
}

#[test]
fn syns_back_off_from_one_second_and_r2_is_three_minutes() {
    let mut host = Host::client(plain(), params());
    host.advance_ms(200_000);
    for at in [0, 1, 3, 7, 15, 31, 63, 127] {
        host.expect_at(at * 1000, syn().seq(0));
    }
    host.expect_nothing();
    assert!(host.events.has(Events::R1));
    assert_eq!(
        host.tcb.close_reason(),
        Some(CloseReason::TimedOut { soft: None })
    );
}

#[test]
fn icmp_is_recorded_and_shows_in_the_reason() {
    let mut host = syn_sent();
    let (iss, _, _) = host.tcb.numbers();
    host.turn(|tcb, env| tcb.on_icmp(IcmpErrorKind::PortUnreachable, iss.add(1), env));
    assert_eq!(
        host.tcb.soft_error(),
        None,
        "quotes a number that is not in flight"
    );
    assert_eq!(host.counters.icmp_out_of_window, 1);
    host.turn(|tcb, env| tcb.on_icmp(IcmpErrorKind::Unreachable, iss, env));
    host.expect_state(State::SynSent);
    host.advance_ms(200_000);
    let soft = Some(IcmpErrorKind::Unreachable);
    assert_eq!(
        host.tcb.close_reason(),
        Some(CloseReason::TimedOut { soft })
    );

    let mut host = syn_sent();
    host.turn(|tcb, env| tcb.on_icmp(IcmpErrorKind::PortUnreachable, iss, env));
    let reason = CloseReason::Unreachable(IcmpErrorKind::PortUnreachable);
    assert_eq!(host.tcb.close_reason(), Some(reason));

    // RFC 5927 §5.2: hard errors are soft once the connection is synchronised.
    let mut host = Host::established();
    host.write(10);
    host.expect(data(10));
    let una = host.tcb.numbers().0;
    host.turn(|tcb, env| tcb.on_icmp(IcmpErrorKind::PortUnreachable, una, env));
    host.expect_state(State::Established);
    assert_eq!(host.tcb.soft_error(), Some(IcmpErrorKind::PortUnreachable));
}

#[test]
fn options_are_used_only_if_both_sides_sent_them() {
    let big = OpenParams {
        rcv_buf: 1 << 20,
        ..params()
    };
    let settings = Settings::default();
    let mut host = Host::client(settings.clone(), big);
    let plan = host.expect(syn().wscale(5).mss(MSS as u16));
    assert!(plan.options.timestamps.is_some_and(|ts| ts.tsecr == 0));
    host.inject(
        syn_ack()
            .seq(0)
            .ack(1)
            .mss(1400)
            .wscale(15)
            .ts(77, 0)
            .sack_ok(),
    );
    let plan = host.expect(ack());
    assert_eq!(plan.options.timestamps.map(|ts| ts.tsecr), Some(77));
    assert_eq!(plan.options.mss, None, "MUST-65");
    assert_eq!(
        host.tcb.mss(),
        MSS - 12,
        "MUST-16: the smaller MSS, less the option"
    );
    assert!(
        !host.tcb.sack_permitted(),
        "RFC 2018 §2: both SYNs carry it, or neither counts; ours doesn't"
    );
    host.inject(ack().win(2).ts(78, 0));
    assert_eq!(
        host.tcb.send_window(),
        2 << 14,
        "a shift of 15 counts as 14"
    );

    let mut host = Host::client(settings.clone(), big);
    host.expect(syn());
    host.inject(syn_ack().seq(0).ack(1).win(5000));
    assert!(host.expect(ack()).options.timestamps.is_none());
    assert_eq!(host.tcb.mss(), 536, "MUST-15");
    host.inject(ack().win(5001));
    assert_eq!(host.tcb.send_window(), 5001);

    let mut host = Host::server(settings.clone(), big, syn().seq(0));
    let plan = host.expect(syn_ack());
    assert!(plan.options.window_scale.is_none() && plan.options.timestamps.is_none());
    let mut host = Host::server(settings, big, syn().seq(0).wscale(3).ts(9, 0).mss(1));
    let plan = host.expect(syn_ack().wscale(5));
    assert_eq!(plan.options.timestamps.map(|ts| ts.tsecr), Some(9));
    assert_eq!(plan.window, 65535, "never scaled on a SYN");
    assert_eq!(host.tcb.mss(), 36, "an MSS of 1 doesn't rule us");
}

/// A connection whose SYN-ACK an embryo sent, with a window of 4000.
fn grown_up(syn_ack: SynAckSent) -> Host {
    let mut host = Host::server(plain(), params(), syn().seq(0).mss(MSS as u16));
    let answered = AnsweredSyn {
        irs: host.tcb.numbers().2.sub(1),
        window: 10_000,
        ts_recent: 0,
        negotiated: Negotiated {
            peer_mss: 700,
            ..Negotiated::default()
        },
    };
    host.turn(|tcb, env| tcb.open_answered(&params(), &answered, 4000, syn_ack, env));
    host
}

/// RFC 6298 §3: without timestamps too. On a path of 0.8 s the first data has more than a second.
#[test]
fn the_ack_of_a_syn_ack_sent_once_is_a_sample() {
    let sent_at = Host::established().now;
    let mut host = grown_up(SynAckSent::Once(sent_at));
    host.advance_ms(800);
    host.inject_as(ack().seq(1).ack(1), Outcome::Handshake);
    assert_eq!(host.tcb.srtt_us().map(|us| us.div_ceil(1000)), Some(800));
    assert_eq!(host.tcb.rto().as_millis().div_ceil(10), 240);
    let mut host = grown_up(SynAckSent::Unknown);
    host.advance_ms(800);
    host.inject_as(ack().seq(1).ack(1), Outcome::Handshake);
    assert_eq!(host.tcb.srtt_us(), None);
    assert_eq!(host.tcb.rto().as_secs(), 1);
}

#[test]
fn an_embryo_grows_up_with_the_window_it_offered() {
    let mut host = grown_up(SynAckSent::Again);
    host.expect_nothing();
    host.inject_as(data(100).seq(1).ack(1), Outcome::Handshake);
    host.expect_state(State::Established);
    assert_eq!(
        host.tcb.congestion().window(),
        host.tcb.mss(),
        "the SYN-ACK was lost once"
    );
    assert_eq!(host.tcb.rto().as_secs(), 3, "RFC 6298 §5.7");
    host.advance_ms(100);
    host.expect(ack().ack(101).win((RCV_BUF - 100) as u16));
}

#[test]
fn a_lost_syn_starts_data_with_one_segment_and_three_seconds() {
    let mut host = Host::client(plain(), params());
    host.advance_ms(1000);
    assert!(!host.expect(syn()).is_retransmission);
    assert!(host.expect(syn()).is_retransmission);
    assert_eq!(host.counters.retransmitted_segments, 1);
    host.inject(syn_ack().seq(0).ack(1).mss(MSS as u16));
    host.expect(ack());
    assert_eq!(host.tcb.congestion().window(), MSS);
    assert_eq!(host.tcb.rto().as_secs(), 3);
    assert_eq!(host.tcb.srtt_us(), None, "Karn: which SYN was answered?");
}

#[test]
fn a_close_during_the_handshake_waits_for_it_or_withdraws_it() {
    let mut host = syn_sent();
    host.close();
    assert_eq!(host.tcb.close_reason(), Some(CloseReason::Graceful));
    host.expect_nothing();

    let mut host = syn_received();
    host.close();
    host.expect_nothing();
    host.inject(ack().seq(1).ack(1));
    host.expect_state(State::FinWait1);
    host.expect(fin().seq(1).ack(1));
}
