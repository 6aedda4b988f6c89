//! TIME-WAIT at the worker: RFC 9293 §3.10.7.4, RFC 6191, and what happens when there are too many.

use super::host::{Flow, Host, OPEN};
use crate::conn::{Kind, Records};
use crate::counters::Counter;
use crate::local::listener::SynPolicy;
use crate::sim::puppet::AppEvent::Closed;
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, fin, rst, syn, syn_ack};
use crate::tcp::verdict::CloseReason;

/// Opens the flow and closes it from our side.
fn linger(host: &mut Host<Puppet>) {
    host.shake_hands();
    close_first(host);
}

fn close_first(host: &mut Host<Puppet>) {
    let conn = host.conn();
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1).ack(1));
    host.inject(fin().seq(1).ack(2))
        .counted(Counter::ConnSegment)
        .expect(ack().seq(2).ack(2));
    assert_eq!(host.heard().last(), Some(&Closed(CloseReason::Graceful)));
    assert_eq!(host.kind(), Some(Kind::TimeWait));
}

fn lingering() -> Host<Puppet> {
    let mut host = Host::probing(|_| {});
    linger(&mut host);
    host
}

#[test]
fn it_ends_after_2msl() {
    let mut host = lingering();
    host.wait_ms(59_999);
    assert_eq!(host.kind(), Some(Kind::TimeWait));
    host.wait_ms(1);
    assert_eq!(host.kind(), None);
    assert_eq!(host.count(Counter::TimeWaitExpired), 1);
}

#[test]
fn the_fin_again_is_acknowledged_and_begins_2msl_anew() {
    let mut host = lingering();
    host.wait_ms(59_000)
        .inject(fin().seq(1).ack(2))
        .counted(Counter::TimeWaitAck)
        .expect(ack().seq(2).ack(2));
    host.wait_ms(59_999);
    assert_eq!(host.kind(), Some(Kind::TimeWait));
    host.wait_ms(1);
    assert_eq!(host.kind(), None);
}

/// At the same time the tuple's ISS is the same: only what TIME-WAIT demands makes it a higher one.
#[test]
fn a_newer_syn_reopens_with_a_higher_iss() {
    let mut host = lingering();
    let old = host.conn();
    let snd_nxt = host.flow.our_iss.expect("told").add(2);
    host.forget_iss();
    // An old one doesn't.
    host.flow.our_iss = Some(snd_nxt.sub(2));
    host.inject(syn().seq(1))
        .counted(Counter::TimeWaitAck)
        .expect(ack().seq(2).ack(2));
    host.forget_iss();
    host.flow.peer_iss = host.flow.peer_iss.add(100_000);
    host.inject(syn().seq(0))
        .counted(Counter::SynEmbryo)
        .expect(syn_ack().seq(0).ack(1));
    let iss = host.flow.our_iss.expect("told");
    assert!(iss.after(snd_nxt), "{iss} after {snd_nxt}");
    // The old name reaches neither the embryo nor what comes of it.
    host.act(|_, cx| cx.abort(old));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    let new = host.conn();
    assert_eq!((new.handle(), new == old), (old.handle(), false));
    host.act(|_, cx| cx.abort(old));
    assert_eq!(host.kind(), Some(Kind::Open));
    assert_eq!(host.worker().table().total(), 1);
}

/// The behaviour of a rebooted peer: the ACK of its SYN, which is older by number, reveals the old connection to it; its reset
/// ends that, and the SYN again opens a new one.
#[test]
fn a_syn_that_does_not_reopen_gets_in_after_the_reset_that_its_ack_draws() {
    let mut host = lingering();
    let old = host.flow;
    host.flow.peer_iss = old.peer_iss.sub(1_000_000);
    host.forget_iss();
    host.inject(syn().seq(0)).counted(Counter::TimeWaitAck);
    host.on(old).expect(ack().seq(2).ack(2));
    host.inject(rst().seq(2))
        .counted(Counter::TimeWaitReset)
        .silent();
    host.forget_iss();
    host.flow.peer_iss = old.peer_iss.sub(1_000_000);
    host.wait_ms(1_000)
        .inject(syn().seq(0))
        .counted(Counter::SynEmbryo)
        .expect(syn_ack().seq(0).ack(1));
}

#[test]
fn a_newer_syn_at_a_port_without_a_listener_draws_an_ack_within_the_limit() {
    let mut host = lingering();
    host.worker().core.endpoint.ports_closed = true;
    let old = host.flow;
    host.flow.peer_iss = old.peer_iss.add(1_000_000);
    host.inject(syn().seq(0)).counted(Counter::TimeWaitAck);
    host.flow.peer_iss = old.peer_iss;
    host.expect(ack().seq(2).ack(2));
    host.flow.peer_iss = old.peer_iss.add(1_000_000);
    host.inject(syn().seq(0))
        .counted(Counter::TimeWaitDropped)
        .silent();
    assert_eq!(host.kind(), Some(Kind::TimeWait));
}

/// A cookie's ISS can't be put above the old numbers, so there is an embryo even where the listener has none else.
#[test]
fn a_listener_that_sends_cookies_reopens_with_an_embryo() {
    let mut host = Host::probing(|spec| spec.listeners[0].policy = SynPolicy::CookieAlways);
    host.inject(syn().seq(0))
        .counted(Counter::SynCookieSent)
        .expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    close_first(&mut host);
    let snd_nxt = host.flow.our_iss.expect("told").add(2);
    host.forget_iss();
    host.flow.peer_iss = host.flow.peer_iss.add(100_000);
    host.inject(syn().seq(0))
        .counted(Counter::SynEmbryo)
        .expect(syn_ack().seq(0).ack(1));
    assert!(host.flow.our_iss.expect("told").after(snd_nxt));
    assert_eq!(host.kind(), Some(Kind::Embryo));
    assert_eq!(host.worker().table().total(), 1);
}

#[test]
fn a_newer_syn_that_nobody_has_room_for_leaves_it_as_it_is() {
    let mut host = Host::probing(|spec| spec.limits.records.embryos = Records { v4: 1, v6: 1 });
    linger(&mut host);
    let lingers = host.flow;
    host.on(Flow::v4(7, OPEN))
        .inject(syn().seq(0))
        .counted(Counter::SynEmbryo)
        .expect(syn_ack().seq(0).ack(1));
    host.on(lingers);
    host.flow.peer_iss = host.flow.peer_iss.add(200_000);
    host.inject(syn().seq(0))
        .counted(Counter::SynDroppedFull)
        .silent();
    assert_eq!(host.kind(), Some(Kind::TimeWait));
}

#[test]
fn a_reset_ends_it_and_strangers_are_challenged_within_the_limit() {
    let mut host = lingering();
    host.inject(ack().seq(5).ack(2))
        .counted(Counter::TimeWaitAck)
        .expect(ack().seq(2).ack(2));
    host.inject(ack().seq(5).ack(2))
        .counted(Counter::TimeWaitDropped)
        .silent();
    host.inject(rst().seq(2))
        .counted(Counter::TimeWaitReset)
        .silent();
    assert_eq!(host.worker().table().total(), 0);
}

/// The oldest of the same family goes: another family's would make no room.
#[test]
fn without_a_record_the_oldest_of_its_family_is_recycled() {
    let mut host = Host::probing(|spec| {
        spec.limits.records.time_wait = Records { v4: 2, v6: 1 };
    });
    host.on(Flow::v6(9, OPEN));
    linger(&mut host);
    for port in 1..=5 {
        host.wait_ms(4).on(Flow::v4(port, OPEN));
        linger(&mut host);
    }
    assert_eq!(host.count(Counter::TimeWaitRecycled), 3);
    assert_eq!(host.count(Counter::TimeWaitNoRecord), 0);
    let left = host.worker().table().len(Kind::TimeWait);
    assert_eq!(left, Records { v4: 2, v6: 1 });
    for (port, kind) in [
        (3, None),
        (4, Some(Kind::TimeWait)),
        (5, Some(Kind::TimeWait)),
    ] {
        assert_eq!(host.on(Flow::v4(port, OPEN)).kind(), kind, "{port}");
    }
}

#[test]
fn with_no_records_at_all_it_is_skipped() {
    let mut host = Host::probing(|spec| spec.limits.records.time_wait = Records::default());
    host.shake_hands();
    let conn = host.conn();
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1).ack(1));
    host.inject(fin().seq(1).ack(2)).expect(ack().seq(2).ack(2));
    assert_eq!(host.kind(), None);
    assert_eq!(host.count(Counter::TimeWaitNoRecord), 1);
    assert_eq!(host.heard().last(), Some(&Closed(CloseReason::Graceful)));
}
