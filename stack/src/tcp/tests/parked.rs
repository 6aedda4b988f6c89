//! Parking: what keeps a connection from parking, and that what is unparked is what was parked.

use core::time::Duration;

use crate::bits::Bits;
use crate::tcp::lang::{Spec, ack, data, segment, syn, syn_ack};
use crate::tcp::parked::ParkedTcb;
use crate::tcp::profile::Profile;
use crate::tcp::segment::{Flags, Segment, TimestampOption};
use crate::tcp::settings::Settings;
use crate::tcp::state::State;
use crate::tcp::tcb::{OpenParams, Tcb};
use crate::tcp::testing::{Host, MSS, RCV_BUF, params, plain};
use crate::tcp::timestamps::RECENT_VALID_S;
use crate::tcp::verdict::Outcome;

impl Host {
    fn parked(&mut self) -> Option<ParkedTcb> {
        self.turn(|tcb, env| tcb.park(env))
    }

    /// Parks now, and is unparked after `ms`. What `params` shouldn't decide is another's.
    #[track_caller]
    fn park_ms(&mut self, ms: u64) {
        self.expect_nothing();
        let parked = self.parked().expect("nothing is pending");
        assert_eq!(self.tcb.deadline(), None, "a timer would be forgotten");
        self.now = self.now + Duration::from_millis(ms);
        let params = OpenParams {
            iss: crate::seq::SeqNum(77),
            ..params()
        };
        self.tcb = self.turn(|_, env| Tcb::unpark(params, &parked, env));
        self.expect_nothing();
        self.expect_state(State::Established);
        let heard_s = parked.heard_s;
        let again = self.parked().map(|parked| ParkedTcb { heard_s, ..parked });
        let cwnd = again.map_or(0, |again| again.cwnd);
        assert_eq!(
            again,
            Some(ParkedTcb { cwnd, ..parked }),
            "only cwnd changes"
        );
    }
}

#[test]
fn a_connection_parks_when_nothing_is_pending_and_goes_on_as_if_it_had_not() {
    let mut host = Host::established();
    host.write(10);
    host.expect(data(10).seq(1));
    host.inject(ack().ack(11));
    host.park_ms(3_600_000);
    host.write(MSS + 10);
    host.expect(data(MSS).seq(11).ack(1));
    host.expect(data(10).seq(11 + MSS));
    host.inject(data(20));
    host.read(20);
    host.advance_ms(50);
    host.expect(ack().ack(21));
    host.inject(ack().seq(21).ack(21 + MSS));
    host.park_ms(10);
    host.close();
    host.expect(crate::tcp::lang::fin().seq(21 + MSS).ack(21));
}

/// Does something to an established connection, and says why it must not park.
fn pending(why: &str, act: impl FnOnce(&mut Host)) {
    let mut host = Host::established();
    assert!(host.parked().is_some());
    act(&mut host);
    assert_eq!(host.parked(), None, "{why}");
}

#[test]
fn whatever_is_pending_keeps_it_open() {
    pending("in flight", |host| {
        host.write(10);
        host.expect(data(10));
    });
    pending("a delayed ACK", |host| {
        host.inject(data(10));
        host.read(10);
        host.expect_nothing();
    });
    pending("an ACK that is due", |host| {
        host.inject(data(10));
        host.inject(data(10));
        host.read(20);
    });
    pending("unread", |host| {
        host.inject(data(10));
        host.advance_ms(50);
        host.expect(ack().ack(11));
    });
    pending("a window update that is due", |host| {
        for _ in 0..RCV_BUF / MSS {
            host.inject(data(MSS));
        }
        host.expect(ack().win(0));
        host.read(RCV_BUF);
    });
    pending("a gap", |host| {
        host.inject(data(10).seq(5));
        host.expect(ack().ack(1));
    });
    pending("a FIN ahead of a gap", |host| {
        host.inject(crate::tcp::lang::fin().seq(5));
        host.expect(ack().ack(1));
    });
    pending("urgent data announced", |host| {
        host.inject(segment(Flags::ACK).urgent(100));
    });
    pending("urgent data to send", |host| {
        host.turn(|tcb, _| tcb.mark_urgent(5));
    });
    pending("something that a closed window holds back", |host| {
        host.inject(ack().win(0));
        host.write(10);
        host.expect_nothing();
    });
    pending("a FIN to send", |host| host.shutdown());
    pending("a peer that closed", |host| {
        host.inject(crate::tcp::lang::fin());
        host.expect(ack().ack(2));
    });
    pending("a reset to send", |host| host.abort());
    pending("keepalive", |host| {
        host.settings.profile.keepalive = true;
        host.turn(|tcb, env| tcb.on_profile(env));
    });
    pending("a window that scaled down is zero", |host| {
        host.tcb.scales = 14 << 4;
    });
    let mut opening = Host::client(plain(), params());
    opening.expect(syn());
    assert_eq!(opening.parked(), None, "SYN-SENT");
}

/// A connection with all options, and an acknowledged write.
fn with_options() -> Host {
    let profile = Profile {
        nagle: false,
        r2: Duration::from_secs(30),
        ..Profile::default()
    };
    let settings = Settings {
        profile,
        ..Settings::default()
    };
    let mut host = Host::client(
        settings,
        OpenParams {
            rcv_buf: 1 << 20,
            ..params()
        },
    );
    let tsval = host.expect(syn()).options.timestamps.unwrap().tsval;
    let answer: Spec = syn_ack().seq(0).ack(1).mss(MSS as u16).wscale(3);
    host.inject(answer.ts(5_000, tsval).sack_ok());
    host.expect(ack().seq(1).ack(1));
    host.tcb.bits.set(Bits::SACK_PERMITTED); // as it will be once our SYNs carry it
    host
}

fn stamped(host: &Host, tsval: u32) -> Segment {
    let (_, nxt, rcv_nxt) = host.tcb.numbers();
    let mut seg = Segment {
        seq: rcv_nxt,
        ack: nxt,
        flags: Flags::ACK,
        window: 4_000,
        ..Segment::default()
    };
    seg.options.timestamps = Some(TimestampOption { tsval, tsecr: 0 });
    seg
}

#[test]
fn what_was_negotiated_and_chosen_outlasts_parking() {
    let mut host = with_options();
    let seg = stamped(&host, 5_001);
    host.inject_segment(&seg);
    let (clock, mss) = (host.tcb.ts, host.tcb.mss());
    // The buffer of `park_ms` is smaller: what was offered stays offered, and the scale stays what was negotiated.
    let edge = host.tcb.rcv.edge();
    host.park_ms(60_000);
    assert_eq!((host.tcb.ts, host.tcb.mss()), (clock, mss));
    assert_eq!((host.tcb.rcv.edge(), host.tcb.rcv_scale()), (edge, 5));
    assert_eq!(host.tcb.send_window(), 4_000 << 3);
    assert!(host.tcb.sack_permitted() && host.tcb.bits.has(Bits::SCALING));
    // No Nagle: two small writes are two segments.
    host.write(10);
    host.expect(data(10));
    host.write(10);
    host.expect(data(10));
    // R2 of 30 s.
    host.advance_ms(29_999);
    host.expect_state(State::Established);
    host.advance_ms(1);
    host.expect_state(State::Closed);
}

#[test]
fn paws_outlasts_parking_for_24_days() {
    let outcome = |rest_s: u32| {
        let mut host = with_options();
        host.park_ms(u64::from(rest_s) * 1_000);
        let old = stamped(&host, 4_999);
        host.inject_segment(&old).outcome
    };
    assert_eq!(outcome(1), Outcome::Paws);
    assert_eq!(outcome(RECENT_VALID_S), Outcome::Paws);
    assert_eq!(outcome(RECENT_VALID_S + 1), Outcome::PureAck);
    assert_eq!(
        outcome(60 * 24 * 3600),
        Outcome::PureAck,
        "the clock of ms wrapped"
    );
}

#[test]
fn the_restart_window_is_the_initial_one_or_less_and_ssthresh_stays() {
    let initial = 10 * MSS;
    let mut host = Host::established();
    host.tcb.congestion = crate::tcp::congestion::Congestion::resume(
        3 * MSS,
        7 * MSS,
        MSS,
        host.settings.initial_window,
    );
    host.park_ms(5_000);
    let congestion = *host.tcb.congestion();
    assert_eq!(
        (congestion.window(), congestion.threshold()),
        (3 * MSS, 7 * MSS)
    );

    let mut host = Host::established();
    for n in 0..20u32 {
        host.write(10 * MSS);
        host.advance_ms(0);
        host.inject(ack().ack(1 + (n + 1) * 10 * MSS));
    }
    while host.tcb.flight() == 0 && host.tcb.congestion().window() <= initial {
        host.write(10 * MSS);
        host.advance_ms(0);
        host.inject(ack());
    }
    let parked = host.parked().unwrap();
    assert!(parked.cwnd > initial);
    let unparked = host.turn(|_, env| Tcb::unpark(params(), &parked, env));
    assert_eq!(unparked.congestion().window(), initial);
}

#[test]
fn what_is_known_of_the_round_trip_outlasts_parking_backoff_included() {
    let mut host = Host::established();
    host.write(10);
    host.expect(data(10));
    host.advance_ms(950);
    host.inject(ack());
    let (srtt, rto) = (host.tcb.srtt_us(), host.tcb.rto());
    assert!(srtt.is_some() && rto > Duration::from_secs(1));
    host.park_ms(5_000);
    assert_eq!((host.tcb.srtt_us(), host.tcb.rto()), (srtt, rto));

    // Karn: sent twice, so no sample, and the next transmission keeps the backed-off RTO.
    let mut host = Host::established();
    host.write(10);
    host.advance_ms(1_000);
    host.inject(ack().ack(11));
    assert_eq!(host.tcb.rto(), Duration::from_secs(2));
    for _ in 0..2 {
        host.expect(data(10));
    }
    host.park_ms(5_000);
    assert_eq!(host.tcb.rto(), Duration::from_secs(2));
}

#[test]
fn resting_lifts_no_limit_on_challenges() {
    let mut host = Host::established();
    host.inject_as(syn().seq(100), Outcome::SynChallenged);
    host.expect(ack().ack(1));
    host.park_ms(100);
    host.inject_as(syn().seq(100), Outcome::SynChallenged);
    host.expect_nothing();
    host.park_ms(400);
    host.inject_as(syn().seq(100), Outcome::SynChallenged);
    host.expect(ack().ack(1));
}

#[test]
fn a_path_can_make_segments_smaller_after_parking_and_as_large_as_they_were() {
    let mut host = with_options();
    host.park_ms(1_000);
    let mss = host.tcb.mss();
    host.turn(|tcb, env| tcb.set_path_mss(9_000, env));
    assert_eq!(host.tcb.mss(), mss);
    host.turn(|tcb, env| tcb.set_path_mss(500, env));
    assert_eq!(host.tcb.mss(), 488);
    // The size that the path took is not remembered while parked: it may be over when the connection is unparked.
    host.park_ms(1_000);
    host.turn(|tcb, env| tcb.set_path_mss(9_000, env));
    assert_eq!(host.tcb.mss(), mss);
}

#[test]
fn idle_counts_from_whichever_came_last() {
    let mut host = Host::established();
    host.advance_ms(700);
    assert_eq!(host.tcb.idle_ms(host.now), 700);
    host.write(1);
    host.expect(data(1));
    host.advance_ms(300);
    assert_eq!(host.tcb.idle_ms(host.now), 300);
    host.inject(ack());
    assert_eq!(host.tcb.idle_ms(host.now), 0);
}
