//! SYN cookies through the worker: what survives the round trip, and what is no cookie of ours.

use core::time::Duration;

use super::embryos::assert_a_syn_needs_a_record;
use super::host::{Flow, Host, OPEN};
use crate::conn::{ConnFlags, Records};
use crate::counters::Counter;
use crate::local::listener::SynPolicy;
use crate::tcp::lang::{Spec, ack, data, rst, syn, syn_ack};

/// A host that has just answered `spec` with a cookie, and the TSval in it.
fn cookie(flow: Flow, spec: Spec) -> (Host, Option<u32>) {
    let mut host = Host::listening(SynPolicy::CookieAlways);
    host.on(flow)
        .inject(spec.seq(0))
        .counted(Counter::SynCookieSent);
    host.expect(syn_ack().seq(0).ack(1).win(65_535));
    assert_eq!(host.worker().table().total(), 0, "no state");
    let tsval = host.last().segment.options.timestamps.map(|ts| ts.tsval);
    (host, tsval)
}

#[test]
fn with_timestamps_every_option_survives() {
    for (flow, mss) in [(Flow::v4(1, OPEN), 1460), (Flow::v6(1, OPEN), 1440)] {
        for shift in 0..=14 {
            for sack in [false, true] {
                let mut offer = syn().mss(1400).wscale(shift).ts(77, 0);
                offer.sack_permitted = sack.then_some(true);
                let (mut host, tsval) = cookie(flow, offer);
                let offered = host.last().segment.options;
                assert_eq!((offered.mss, offered.window_scale), (Some(mss), Some(7)));
                assert_eq!(offered.timestamps.expect("timestamps").tsecr, 77);
                let tsecr = tsval.expect("timestamps");
                host.inject(ack().seq(1).ack(1).ts(78, tsecr))
                    .counted(Counter::ConnSegment);
                let parked = host.silent().park().parked().expect("parked");
                assert_eq!((parked.mss, parked.ts_recent), (1388, 78));
                assert_eq!((parked.shifts.send(), parked.shifts.receive()), (shift, 7));
                assert!(!parked.flags.has(ConnFlags::SACK), "our SYN-ACK has none");
                assert!(
                    parked
                        .flags
                        .has(ConnFlags::TIMESTAMPS.with(ConnFlags::WINDOW_SCALE))
                );
                assert_eq!(parked.rcv_nxt, host.flow.peer_iss.add(1));
            }
        }
    }
}

#[test]
fn what_was_not_offered_is_not_invented() {
    let (mut host, tsval) = cookie(Flow::v4(1, OPEN), syn().mss(1460).ts(77, 0));
    assert_eq!(host.last().segment.options.window_scale, None);
    let tsecr = tsval.expect("timestamps");
    host.inject(ack().seq(1).ack(1).ts(78, tsecr))
        .counted(Counter::ConnSegment);
    let parked = host.park().parked().expect("parked");
    assert!(!parked.flags.has(ConnFlags::WINDOW_SCALE) && parked.flags.has(ConnFlags::TIMESTAMPS));
    assert_eq!((parked.shifts.send(), parked.shifts.receive()), (0, 0));
}

/// Scale and SACK have no room without timestamps: neither may be promised.
#[test]
fn without_timestamps_the_mss_survives_and_nothing_else_is_promised() {
    for (offered, kept) in [
        (Some(1460), 1460),
        (Some(1459), 1440),
        (Some(9000), 1460),
        (None, 536),
        (Some(1), 64),
    ] {
        let mut offer = syn().wscale(9).sack_ok();
        offer.mss = offered;
        let (mut host, tsval) = cookie(Flow::v4(1, OPEN), offer);
        let promised = host.last().segment.options;
        assert_eq!(
            (promised.window_scale, tsval, promised.sack_permitted),
            (None, None, false)
        );
        host.inject(ack().seq(1).ack(1))
            .counted(Counter::ConnSegment)
            .silent();
        let parked = host.park().parked().expect("parked");
        assert_eq!((parked.mss, parked.shifts.send()), (kept, 0));
        assert_eq!(parked.flags, ConnFlags::default());
    }
}

/// An epoch is 64 s; a cookie lives in its own and the next.
#[test]
fn a_cookie_lives_between_one_and_two_epochs() {
    // Tests start 40 s into an epoch.
    for (waited_s, counter) in [
        (23, Counter::ConnSegment),
        (87, Counter::ConnSegment),
        (88, Counter::CookieRejected),
        (127, Counter::CookieRejected),
        // By now no cookie can be alive, and none is looked for.
        (128, Counter::ListenAckReset),
    ] {
        let (mut host, _) = cookie(Flow::v4(1, OPEN), syn());
        host.wait_ms(waited_s * 1000)
            .inject(ack().seq(1).ack(1))
            .counted(counter);
        if counter != Counter::ConnSegment {
            host.expect(rst().seq(1));
        }
    }
}

#[test]
fn a_forged_cookie_is_reset() {
    let (mut host, tsval) = cookie(Flow::v4(1, OPEN), syn().mss(1460).wscale(3).ts(77, 0));
    let tsecr = tsval.expect("timestamps");
    let forged = [
        ack().seq(1).ack(2).ts(78, tsecr),
        ack().seq(1).ack(0).ts(78, tsecr),
        ack().seq(2).ack(1).ts(78, tsecr),
        ack().seq(1).ack(1 << 27).ts(78, tsecr), // another MSS
    ];
    for spec in forged {
        host.inject(spec).counted(Counter::CookieRejected);
        host.expect(rst().seq(spec.ack.expect("an ACK")));
    }
    // Of another tuple.
    let iss = host.flow.our_iss;
    host.on(Flow::v4(2, OPEN));
    host.flow.our_iss = iss;
    host.inject(ack().seq(1).ack(1).ts(78, tsecr))
        .counted(Counter::CookieRejected);
    host.expect(rst().seq(1));
    assert_eq!(host.worker().table().total(), 0);
}

/// A middlebox took the timestamps off the final ACK: the connection opens without options, as with Linux.
#[test]
fn a_final_ack_that_lost_its_timestamps_opens_without_options() {
    let (mut host, _) = cookie(
        Flow::v4(1, OPEN),
        syn().mss(1460).wscale(3).sack_ok().ts(77, 0),
    );
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    let parked = host.park().parked().expect("parked");
    assert_eq!((parked.mss, parked.shifts.send()), (1460, 0));
    assert_eq!(parked.flags, ConnFlags::default());
}

/// The cookie of a connection that has ended is still valid for a minute or two. A late copy of the final ACK or of the first
/// data must not open the connection again and hand its data to the application once more.
#[test]
fn a_late_copy_of_its_first_segment_opens_no_ended_connection_again() {
    for (flow, ts) in [(Flow::v4(1, OPEN), true), (Flow::v6(1, OPEN), false)] {
        let offer = if ts { syn().ts(77, 0) } else { syn() };
        let (mut host, tsval) = cookie(flow, offer);
        let stamp = |spec: Spec| match tsval {
            Some(tsval) => spec.ts(78, tsval),
            None => spec,
        };
        host.inject(stamp(ack().seq(1).ack(1)))
            .counted(Counter::ConnSegment)
            .park();
        host.inject(stamp(rst().seq(1)))
            .counted(Counter::ParkedReset);
        assert_eq!(host.worker().table().total(), 0);
        for late in [ack().seq(1).ack(1), data(100).seq(1).ack(1)] {
            host.inject(stamp(late))
                .counted(Counter::CookieSpent)
                .expect(rst().seq(1));
        }
        assert_eq!(host.count(Counter::CookieEstablished), 1);
        // Another SYN of the same flow gets another cookie, and opens.
        host.flow.peer_iss = host.flow.peer_iss.add(77);
        host.forget_iss()
            .inject(syn().seq(0))
            .counted(Counter::SynCookieSent)
            .expect(syn_ack().seq(0).ack(1));
        host.inject(ack().seq(1).ack(1))
            .counted(Counter::ConnSegment)
            .silent();
    }
}

/// A cookie that opened no connection is not spent.
#[test]
fn a_cookie_that_found_no_record_can_be_used_again() {
    let mut host = Host::with(|spec| {
        spec.listeners[0].policy = SynPolicy::CookieAlways;
        spec.limits.records.open = Records { v4: 1, v6: 1 };
        spec.limits.records.parked = Records { v4: 1, v6: 1 };
    });
    let flows = [1, 2].map(|port| {
        host.on(Flow::v4(port, OPEN))
            .inject(syn().seq(0))
            .counted(Counter::SynCookieSent)
            .expect(syn_ack().seq(0).ack(1));
        host.flow
    });
    for (flow, counter) in [
        (flows[0], Counter::ConnSegment),
        (flows[1], Counter::CookieNoRecord),
    ] {
        host.on(flow)
            .inject(ack().seq(1).ack(1))
            .counted(counter)
            .silent();
    }
    host.on(flows[0])
        .inject(rst().seq(1))
        .counted(Counter::ConnSegment);
    host.on(flows[1])
        .inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
}

#[test]
fn the_upper_bits_of_an_echoed_timestamp_are_free() {
    let (mut host, tsval) = cookie(Flow::v4(1, OPEN), syn().ts(77, 0));
    let tsecr = tsval.expect("timestamps") ^ 0xffff_ffe0;
    host.inject(ack().seq(1).ack(1).ts(78, tsecr))
        .counted(Counter::ConnSegment);
}

/// An ACK flood costs a hash per segment only while a client may be about to return a cookie.
#[test]
fn acks_are_not_checked_before_a_cookie_was_sent() {
    let mut host = Host::listening(SynPolicy::CookieAlways);
    host.on(host.flow.absolute());
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ListenAckReset)
        .expect(rst().seq(1));
    host.on(Flow::v4(9, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynCookieSent);
    host.expect(syn_ack().seq(0).ack(1));
    host.on(Flow::v4(1, OPEN).absolute());
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::CookieRejected)
        .expect(rst().seq(1));
    // A SYN,ACK can't be the third step of a handshake.
    host.inject(syn_ack().seq(1).ack(1))
        .counted(Counter::ListenAckReset)
        .expect(rst().seq(1));
}

#[test]
fn a_cookie_can_be_used_twice_only_as_the_same_connection() {
    let (mut host, _) = cookie(Flow::v4(1, OPEN), syn());
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent()
        .park();
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ParkedAck)
        .silent();
    assert_eq!(host.worker().table().total(), 1);
    // And twice in one burst.
    let (mut host, _) = cookie(Flow::v4(1, OPEN), syn());
    host.inject_together(&[ack().seq(1).ack(1), ack().seq(1).ack(1)]);
    assert_eq!(host.ends(), [("conn_segment", 2)]);
    assert_eq!(host.count(Counter::CookieEstablished), 1);
    assert_eq!(host.worker().table().total(), 1);
}

#[test]
fn data_on_the_ack_of_a_cookie_is_reset_for_want_of_an_application() {
    let (mut host, _) = cookie(Flow::v4(1, OPEN), syn());
    host.inject(data(5).seq(1).ack(1))
        .counted(Counter::ConnSegment);
    host.expect(rst().seq(1).ack(6));
    assert_eq!(host.worker().table().total(), 0);
}

#[test]
fn a_valid_cookie_without_a_record_is_dropped_so_that_the_peer_tries_again() {
    let mut host = Host::with(|spec| {
        spec.listeners[0].policy = SynPolicy::CookieAlways;
        spec.limits.records.open.v4 = 1;
        spec.park_after = Duration::from_secs(1);
    });
    let [first, second] = [1, 2].map(|port| {
        host.on(Flow::v4(port, OPEN))
            .inject(syn().seq(0))
            .counted(Counter::SynCookieSent);
        host.expect(syn_ack().seq(0).ack(1));
        host.flow
    });
    for (flow, counter) in [
        (first, Counter::ConnSegment),
        (second, Counter::CookieNoRecord),
    ] {
        host.on(flow)
            .inject(ack().seq(1).ack(1))
            .counted(counter)
            .silent();
    }
}

#[test]
fn without_a_record_for_the_connection_no_cookie_is_sent() {
    assert_a_syn_needs_a_record(SynPolicy::CookieAlways, Counter::SynCookieSent);
}

/// The TSval of a cookie may not run ahead of the clock that the connection's later segments show.
#[test]
fn the_timestamp_of_a_cookie_is_never_in_the_future() {
    for shift in 0..=14 {
        let (mut host, tsval) = cookie(Flow::v4(1, OPEN), syn().wscale(shift).ts(77, 0));
        let tsecr = tsval.expect("timestamps");
        host.inject(ack().seq(1).ack(1).ts(78, tsecr))
            .counted(Counter::ConnSegment)
            .park();
        // A challenge ACK shows the clock.
        host.inject(syn().seq(9).ts(79, 0))
            .counted(Counter::ParkedChallenged);
        host.expect(ack().seq(1).ack(1));
        let clock = host
            .last()
            .segment
            .options
            .timestamps
            .expect("timestamps")
            .tsval;
        assert!(clock.wrapping_sub(tsecr) < 32, "{tsecr} then {clock}");
    }
}
