//! Connections at rest: which ones may rest, and that a connection goes on after a rest as it was before.
//!
//! [`check`] is called for every segment that the tests of `tcp` inject: whatever a connection has been through, if it could rest
//! before the segment, the segment must do the same to it afterwards.

use core::time::Duration;

use super::predict::Copy;
use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::answer_limits::AnswerLimits;
use crate::tcp::deadline::Deadline;
use crate::tcp::lang::{ack, data, fin, segment, syn, syn_ack};
use crate::tcp::profile::Profile;
use crate::tcp::rest::RestTcb;
use crate::tcp::rtt::RttTimer;
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::settings::Settings;
use crate::tcp::tcb::Tcb;
use crate::tcp::testing::{Host, MSS, RCV_BUF, params, plain};
use crate::tcp::verdict::{IcmpErrorKind, Outcome};
use crate::time::Instant;

/// The connection with one value for each field that means nothing now, whatever it was before.
fn canonical(tcb: &Tcb, now: Instant) -> Tcb {
    let mut tcb = tcb.clone();
    let small = tcb.snd_sml.since(tcb.snd_una);
    if small == 0 || small > tcb.flight() {
        tcb.snd_sml = tcb.snd_una; // no small segment is in flight
    }
    if tcb.rtt_timer.is_idle() {
        tcb.rtt_timer = RttTimer::default();
    }
    let limits = &mut tcb.cold.answers;
    for paid in [&mut limits.challenge, &mut limits.old] {
        if *paid <= now {
            *paid = Instant::ZERO;
        }
    }
    // Looked at when a connection opens, and never again.
    tcb.cold.params.rcv_buf = 0;
    for (bit, number) in [
        (Bits::FIN_AHEAD, &mut tcb.cold.rcv_fin),
        (Bits::URGENT_OUT, &mut tcb.cold.snd_up),
        (Bits::URGENT_IN, &mut tcb.cold.rcv_up),
    ] {
        if !tcb.bits.has(bit) {
            *number = SeqNum(0);
        }
    }
    if !tcb.bits.has(Bits::SLOW_SET) {
        tcb.cold.slow_timer = Deadline::OFF;
    }
    tcb
}

/// The settings with the buffer that `params` has: the tests say it there.
fn with_buffer(settings: &Settings, rcv_buf: u32) -> Settings {
    let profile = Profile {
        rcv_buf,
        ..settings.profile
    };
    Settings {
        profile,
        ..settings.clone()
    }
}

fn rest(tcb: &Tcb, settings: &Settings, now: Instant) -> Option<RestTcb> {
    Copy::of(tcb).with(settings, now, |tcb, env| tcb.rest(env))
}

/// The connection that goes on where another one stood before, of which nothing may be left.
fn resumed(rested: &RestTcb, settings: &Settings, now: Instant) -> Tcb {
    let mut other = Copy::of(&other());
    other.with(settings, now, |tcb, env| {
        tcb.resume(rested, params().default_peer_mss, env);
        tcb.clone()
    })
}

/// A connection of which every field differs from a new one's.
fn other() -> Tcb {
    let mut host = Host::established_with(Settings::default());
    host.write(10);
    host.expect(data(10));
    host.inject(data(10).seq(20));
    host.shutdown();
    host.turn(|tcb, _| tcb.mark_urgent(5));
    let tcb = &mut host.tcb;
    tcb.bits.set(Bits::SYN_LOST | Bits::URGENT_IN);
    (tcb.expiries, tcb.snd_sml) = (3, SeqNum(7));
    tcb.cold.answers = AnswerLimits {
        challenge: host.now,
        old: host.now,
    };
    tcb.clone()
}

/// If the connection may rest now, the one that goes on is the same, and takes `seg` in the same way. Says whether it may.
pub(crate) fn check(tcb: &Tcb, seg: &Segment, settings: &Settings, now: Instant) -> bool {
    let settings = &with_buffer(settings, tcb.rcv.buf());
    let Some(rested) = rest(tcb, settings, now) else {
        return false;
    };
    let again = resumed(&rested, settings, now);
    let show = |tcb: &Tcb| format!("{:#?}", canonical(tcb, now));
    assert_eq!(show(&again), show(tcb));
    let [(before, tcb), (after, again)] = [tcb, &again].map(|tcb| {
        let mut copy = Copy::of(tcb);
        copy.with(settings, now, |tcb, env| {
            let verdict = tcb.on_segment(*seg, env);
            (format!("{verdict:?}"), tcb.clone())
        })
    });
    assert_eq!(after, before, "{seg:?}");
    assert_eq!(show(&again), show(&tcb), "{seg:?}");
    true
}

impl Host {
    fn may_rest(&self) -> bool {
        rest(&self.tcb, &with_buffer(&self.settings, RCV_BUF), self.now).is_some()
    }

    /// The connection rests, and goes on at once.
    #[track_caller]
    fn rest(&mut self) {
        self.expect_nothing();
        let settings = with_buffer(&self.settings, RCV_BUF);
        let rested = rest(&self.tcb, &settings, self.now).expect("nothing is under way");
        assert_eq!(self.tcb.deadline(), None, "a timer would be forgotten");
        self.tcb = resumed(&rested, &settings, self.now);
        self.expect_nothing();
    }
}

/// Does something to an established connection, and says why it must not rest.
#[track_caller]
fn under_way(why: &str, act: impl FnOnce(&mut Host)) {
    let mut host = Host::established();
    assert!(host.may_rest());
    act(&mut host);
    assert!(!host.may_rest(), "{why}");
}

#[test]
fn a_connection_rests_only_when_nothing_is_under_way() {
    under_way("in flight", |host| {
        host.write(10);
        host.expect(data(10));
    });
    under_way("a delayed ACK", |host| {
        host.inject(data(10));
        host.read(10);
        host.expect_nothing();
    });
    under_way("an ACK that is due", |host| {
        host.inject(data(10));
        host.inject(data(10));
        host.read(20);
    });
    under_way("unread", |host| {
        host.inject(data(10));
        host.advance_ms(50);
        host.expect(ack().ack(11));
    });
    under_way("a gap", |host| {
        host.inject(data(10).seq(5));
        host.expect(ack().ack(1));
    });
    under_way("a FIN ahead of a gap", |host| {
        host.inject(fin().seq(5));
        host.expect(ack().ack(1));
    });
    under_way("urgent data announced", |host| {
        host.inject(segment(Flags::ACK).urgent(100));
    });
    under_way("urgent data to send", |host| {
        host.turn(|tcb, _| tcb.mark_urgent(5));
    });
    under_way("a FIN to send", |host| host.shutdown());
    under_way("a peer that closed", |host| {
        host.inject(fin());
        host.expect(ack().ack(2));
        host.tcb.bits.clear(Bits::FIN_AHEAD);
    });
    under_way("a reset to send", |host| host.abort());
    under_way("keepalive", |host| {
        host.settings.profile.keepalive = true;
        host.turn(|tcb, env| tcb.on_profile(env));
    });
    under_way("a suspected loss", |host| {
        host.turn(|tcb, _| {
            let _ = tcb
                .congestion
                .on_duplicate_ack(tcb.snd_una, tcb.snd_nxt, MSS);
        });
    });
    under_way("in flight, whatever else is over", |host| {
        host.tcb.snd_una = host.tcb.snd_una.sub(1);
    });
    under_way("an ACK that is owed, whatever was sent", |host| {
        host.tcb.ack.now();
    });
    under_way("an expiry", |host| {
        host.tcb.expiries = 1;
    });
    under_way("a gap whose bits are gone", |host| {
        host.tcb.has_ranges = true;
    });
    let mut opening = Host::client(plain(), params());
    opening.expect(syn());
    assert!(!opening.may_rest(), "SYN-SENT");
}

#[test]
fn what_is_left_behind_keeps_a_connection_from_resting() {
    under_way("a path that swallows large segments", |host| {
        host.tcb.cold.black_hole = crate::tcp::black_hole::BlackHole::Suspected { vanished: 900 };
    });
    under_way("an answer that is overdue", |host| {
        host.tcb
            .cold
            .overdue
            .waiting(host.now, Duration::from_secs(1));
    });
    under_way("another buffer", |host| host.tcb.rcv.set_buf(RCV_BUF / 2));
}

#[test]
fn the_budgets_of_answers_outlast_a_rest() {
    let mut host = Host::established();
    host.inject_as(syn().seq(100), Outcome::SynChallenged);
    host.expect(ack().ack(1));
    assert!(!host.may_rest(), "it has answered just now");
    host.advance_ms(500);
    host.rest();
    host.inject_as(syn().seq(100), Outcome::SynChallenged);
    host.expect(ack().ack(1));
}

#[test]
fn a_rest_changes_nothing() {
    let profile = Profile {
        nagle: false,
        rcv_buf: RCV_BUF,
        ..Profile::default()
    };
    let settings = Settings {
        profile,
        ..Settings::default()
    };
    let mut host = Host::client(settings, params());
    let tsval = host
        .expect(syn())
        .options
        .timestamps
        .expect("offered")
        .tsval;
    host.inject(
        syn_ack()
            .seq(0)
            .ack(1)
            .mss(MSS as u16)
            .wscale(3)
            .ts(5_000, tsval),
    );
    host.expect(ack().seq(1).ack(1));
    // A window beyond the initial one, a threshold, an RTT, a backoff, an error: parking would forget most of these.
    host.tcb.congestion = crate::tcp::congestion::Congestion::resume(
        3 * MSS,
        70 * MSS,
        MSS,
        host.settings.initial_window,
    );
    host.tcb.snd_wnd.max = 1 << 20;
    host.tcb.rto.back_off(&host.settings);
    host.tcb.cold.rtt.sample(12_345);
    host.tcb.cold.soft_error = Some(IcmpErrorKind::TimeExceeded);
    host.tcb.cold.retransmissions = 7;
    let before = format!("{:#?}", canonical(&host.tcb, host.now));
    host.rest();
    assert_eq!(format!("{:#?}", canonical(&host.tcb, host.now)), before);
    let segment = Segment::default();
    assert!(check(&host.tcb, &segment, &host.settings, host.now));
}
