//! Connections that wait for the application, and what happens when too many do (Linux's semantics: listen(2), tcp(7)).

use super::super::RingEnd;
use super::host::{Flow, Host, OPEN};
use crate::config::ConfigSpec;
use crate::conn::ConnId;
use crate::counters::Counter;
use crate::local::listener::{ListenerId, SynPolicy};
use crate::nic::Nic;
use crate::sim::puppet::AppEvent::{Closed, Data, Open, PeerClosed, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::verdict::CloseReason;
use crate::worker::app::{App, Cx};

const LISTENER: ListenerId = ListenerId(0);

/// A host that accepts nothing, with this backlog.
fn waiting(backlog: u32, abort: bool, policy: SynPolicy) -> Host<Puppet> {
    let mut host = Host::probing(|spec| {
        spec.listeners[0].backlog = backlog;
        spec.listeners[0].abort_on_overflow = abort;
        spec.listeners[0].policy = policy;
    });
    host.app().accepts = false;
    host
}

/// Two connections wait, and two embryos more than the queue has places for.
fn full_with_embryos(abort: bool) -> (Host<Puppet>, Flow, Flow) {
    let mut host = waiting(2, abort, SynPolicy::Embryo);
    for port in [1, 2] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    let [c, d] = [3, 4].map(|port| {
        host.on(Flow::v4(port, OPEN))
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1));
        host.flow
    });
    (host, c, d)
}

#[test]
fn backlog_and_one_wait_and_then_syns_are_dropped() {
    let (mut host, c, d) = full_with_embryos(false);
    host.on(c)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    assert_eq!(host.act(|_, cx| cx.accept_queue_len(LISTENER)), 3);
    // The embryo stays, and stays silent: its SYN-ACK comes again by timer.
    for spec in [ack().seq(1).ack(1), data(5).seq(1).ack(1)] {
        host.on(d)
            .inject(spec)
            .counted(Counter::EmbryoAckQueueFull)
            .silent();
    }
    assert!(host.embryo().is_some());
    host.on(Flow::v4(5, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynDroppedAcceptFull)
        .silent();
    // One is taken: there is a place again.
    host.hears(&[Ready; 3]);
    assert!(host.act(|_, cx| cx.accept(LISTENER)).is_some());
    host.hears(&[Open]);
    host.on(d)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    host.hears(&[Ready]);
    host.on(Flow::v4(5, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynDroppedAcceptFull);
}

#[test]
fn one_that_ends_before_it_is_accepted_leaves_no_state() {
    let mut host = waiting(2, false, SynPolicy::Embryo);
    host.on(Flow::v4(1, OPEN)).shake_hands();
    assert_eq!(host.worker().table().states_taken(), 1);
    host.inject(rst().seq(1)).counted(Counter::ConnSegment);
    assert_eq!(host.kind(), None);
    assert_eq!(host.worker().table().states_taken(), 0);
}

#[test]
fn abort_on_overflow_resets_the_connection_that_finds_no_place() {
    let (mut host, c, d) = full_with_embryos(true);
    host.on(c)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment);
    host.on(d)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::EmbryoAckQueueReset)
        .expect(rst().seq(1));
    assert_eq!(host.kind(), None);
    // Its place in the backlog is free: of two, none is taken.
    assert_eq!(host.worker().core.endpoint.embryos, [0]);
}

#[test]
fn a_cookie_that_finds_no_place_is_dropped_or_reset() {
    for (abort, counter) in [
        (false, Counter::CookieQueueFull),
        (true, Counter::CookieQueueReset),
    ] {
        let mut host = waiting(1, abort, SynPolicy::CookieAlways);
        // All cookies were sent while there were places.
        let flows = [1, 2, 3].map(|port| {
            host.on(Flow::v4(port, OPEN))
                .inject(syn().seq(0))
                .counted(Counter::SynCookieSent);
            host.expect(syn_ack().seq(0).ack(1));
            host.flow
        });
        for (flow, last) in flows.into_iter().zip([false, false, true]) {
            host.on(flow).inject(ack().seq(1).ack(1));
            host.counted(if !last { Counter::ConnSegment } else { counter });
        }
        if abort {
            host.expect(rst().seq(1));
        }
        assert_eq!(host.worker().table().total(), 2);
        // The dropped one comes again, and there is a place.
        if !abort {
            host.act(|_, cx| cx.accept(LISTENER));
            host.inject(ack().seq(1).ack(1))
                .counted(Counter::ConnSegment)
                .silent();
        }
    }
}

#[test]
fn with_a_full_queue_cookies_are_no_way_around_it() {
    let mut host = waiting(1, false, SynPolicy::CookieWhenFull);
    for port in [1, 2] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    host.on(Flow::v4(3, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynDroppedAcceptFull)
        .silent();
}

/// tcp(7): the option is about the handshake's last step; a SYN that comes to a full queue is dropped with it and without it.
#[test]
fn a_full_queue_drops_syns_whatever_the_option_and_the_policy() {
    for policy in [
        SynPolicy::Embryo,
        SynPolicy::CookieWhenFull,
        SynPolicy::CookieAlways,
    ] {
        for abort in [false, true] {
            let mut host = waiting(1, abort, policy);
            for port in [1, 2] {
                host.on(Flow::v4(port, OPEN)).inject(syn().seq(0));
                host.expect(syn_ack().seq(0).ack(1));
                host.inject(ack().seq(1).ack(1));
            }
            host.on(Flow::v4(3, OPEN))
                .inject(syn().seq(0))
                .counted(Counter::SynDroppedAcceptFull)
                .silent();
            // One is taken: there is a place again.
            host.act(|_, cx| cx.accept(LISTENER));
            host.inject(syn().seq(0)).expect(syn_ack().seq(0).ack(1));
        }
    }
}

#[test]
fn what_came_before_accept_is_told_after_it_in_order() {
    let mut host = waiting(8, false, SynPolicy::Embryo);
    host.shake_hands();
    host.inject(data(5).seq(1).ack(1))
        .counted(Counter::ConnSegment);
    host.inject(fin().seq(6).ack(1))
        .counted(Counter::ConnSegment)
        .expect(ack().seq(1).ack(7));
    host.hears(&[Ready]);
    let accepted = host.act(|_, cx| cx.accept(LISTENER));
    host.hears(&[Open, Data(5), PeerClosed]);
    assert_eq!(accepted, Some(host.conn()));
    // It has read and closed.
    host.expect(fin().seq(1).ack(7));
    host.inject(ack().seq(7).ack(2))
        .counted(Counter::ConnSegment)
        .hears(&[Closed(CloseReason::Graceful)]);
    assert_eq!(host.worker().queued_items(), 0);
}

#[test]
fn who_was_reset_while_waiting_is_never_heard_of() {
    let mut host = waiting(8, false, SynPolicy::Embryo);
    host.on(Flow::v4(1, OPEN)).shake_hands();
    let first = host.flow;
    host.on(Flow::v4(2, OPEN)).shake_hands();
    host.on(first)
        .inject(data(100).seq(1).ack(1))
        .counted(Counter::ConnSegment);
    host.inject(rst().seq(101)).counted(Counter::ConnSegment);
    assert_eq!(host.worker().queued_items(), 0);
    host.hears(&[Ready, Ready]);
    let accepted = host.act(|_, cx| cx.accept(LISTENER));
    assert!(accepted.is_some());
    host.hears(&[Open]);
    assert_eq!(host.act(|_, cx| cx.accept(LISTENER)), None);
}

/// Waiting isn't parking: the app has not heard of it yet.
#[test]
fn who_waits_to_be_accepted_does_not_park() {
    let mut host = waiting(8, false, SynPolicy::Embryo);
    host.shake_hands().wait_ms(60_000);
    assert!(host.parked().is_none());
    host.act(|_, cx| cx.accept(LISTENER));
    host.wait_ms(1_004);
    assert!(host.parked().is_some());
}

/// An app that takes whatever comes, and is asked for it or not.
#[derive(Default)]
struct Taker<const IS_ASKED: bool> {
    heard: Vec<String>,
}

impl<const IS_ASKED: bool> App for Taker<IS_ASKED> {
    type Conn = u32;

    fn accepts_all(&self, _: ListenerId) -> bool {
        !IS_ASKED
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, u32>, conn: ConnId, state: &mut u32) {
        let info = cx.info(conn).expect("open");
        *state = info.remote.port().into();
        self.heard
            .push(format!("open {state} of {:?}", info.listener));
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, u32>, conn: ConnId, state: &mut u32) {
        let len = cx.unread_len(conn);
        cx.consume(conn, len);
        self.heard.push(format!("{len} bytes for {state}"));
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, u32>, conn: ConnId, _: &mut u32) {
        cx.close(conn);
    }

    fn on_close<N: Nic>(
        &mut self,
        _: &mut Cx<'_, N, u32>,
        _: ConnId,
        state: &mut u32,
        reason: CloseReason,
    ) {
        self.heard.push(format!("{state} is over: {reason:?}"));
    }
}

/// Its callbacks, and its segments, on connections by embryo and by cookie, with text in their first segment and without.
fn taken<const IS_ASKED: bool>(policy: SynPolicy) -> (Vec<String>, Vec<Vec<u8>>) {
    let listening = |spec: &mut ConfigSpec| spec.listeners[0].policy = policy;
    let app = Taker::<IS_ASKED>::default();
    let mut host = Host::build(app, listening, |_| {}, RingEnd::single());
    let mut frames = Vec::new();
    for (port, len) in [(1, 0), (2, 7)] {
        host.on(Flow::v4(port, OPEN)).inject(syn().seq(0));
        host.expect(syn_ack().seq(0).ack(1));
        let first = if len > 0 { data(len) } else { ack() };
        host.inject(first.seq(1).ack(1));
        host.inject(fin().seq(1 + len).ack(1));
        frames.extend(core::iter::from_fn(|| host.try_reply()));
        host.inject(ack().seq(2 + len).ack(2));
    }
    let heard = core::mem::take(&mut host.worker().app_mut().heard);
    (heard, frames)
}

#[test]
fn accepting_all_is_what_the_default_does() {
    for policy in [SynPolicy::Embryo, SynPolicy::CookieAlways] {
        let (heard, frames) = taken::<false>(policy);
        assert_eq!(
            (&heard, &frames),
            (&taken::<true>(policy).0, &taken::<true>(policy).1)
        );
        assert_eq!(heard.len(), 5, "{heard:?}");
        assert!(heard[4].starts_with("2 is over"), "{heard:?}");
    }
}
