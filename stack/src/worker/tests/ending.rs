//! Every way in which a connection ends, and that its app hears of it once, with the reason. Timers of connections fire up
//! to a tick of 66 us late.

use core::time::Duration;

use super::host::{Flow, Host, OPEN, OUR_V4, PEER_V4};
use super::neighbors::{arp_reply, port_unreachable_about};
use super::retransmission::expect_arp_request;
use crate::conn::{ConnId, Kind};
use crate::counters::Counter;
use crate::sim::puppet::AppEvent::{Closed, Data, Open, PeerClosed, Ready, SoftError};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::profile::Profile;
use crate::tcp::verdict::{CloseReason, IcmpErrorKind};
use crate::worker::connect::Connect;

/// A host whose SYN is on its way to the peer.
fn connecting() -> (Host<Puppet>, ConnId) {
    let mut host = Host::probing(|_| {});
    let conn = connect(&mut host);
    host.inject_bytes(&arp_reply()).counted(Counter::ArpLearned);
    host.expect(syn().seq(0));
    (host, conn)
}

/// Connects from port 50,000 to the peer's 9,000, as far as the question for its link address.
fn connect(host: &mut Host<Puppet>) -> ConnId {
    host.on(Flow::between(
        (PEER_V4, 9_000).into(),
        (OUR_V4, 50_000).into(),
    ));
    let how = Connect {
        local_port: Some(50_000),
        ..Connect::default()
    };
    let conn = host.act(|_, cx| cx.connect((PEER_V4, 9_000).into(), &how, false));
    expect_arp_request(host, PEER_V4);
    conn.expect("connects")
}

/// The app hears this, once, and nothing else of the connection is left.
#[track_caller]
fn ends(mut host: Host<Puppet>, reason: CloseReason) {
    host.hears(&[Closed(reason)]);
    assert_eq!(host.worker().queued_items(), 0);
    assert_eq!(host.worker().table().len(Kind::Open).total(), 0);
    assert_eq!(host.count(Counter::ConnectionsClosed), 1);
    host.wait_ms(200_000).hears(&[]);
    while host.try_reply().is_some() {}
    assert_eq!(host.worker().table().total(), 0);
}

#[test]
fn by_the_peer_first() {
    let (mut host, _) = Host::open();
    host.inject(fin().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[PeerClosed])
        .expect(fin().seq(1).ack(2));
    host.inject(ack().seq(2).ack(2))
        .counted(Counter::ConnSegment)
        .silent();
    assert_eq!(host.kind(), None, "LAST-ACK needs no TIME-WAIT");
    ends(host, CloseReason::Graceful);
}

#[test]
fn by_us_first() {
    let (mut host, conn) = Host::open();
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1).ack(1));
    host.inject(ack().seq(1).ack(2)).hears(&[]);
    host.inject(fin().seq(1).ack(2))
        .hears(&[PeerClosed, Closed(CloseReason::Graceful)])
        .expect(ack().seq(2).ack(2));
    assert_eq!(host.kind(), Some(Kind::TimeWait));
    host.wait_ms(60_000).hears(&[]);
    assert_eq!(host.kind(), None);
}

#[test]
fn by_both_at_once() {
    let (mut host, conn) = Host::open();
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1).ack(1));
    host.inject(fin().seq(1).ack(1))
        .hears(&[PeerClosed])
        .expect(ack().seq(2).ack(2));
    host.inject(ack().seq(2).ack(2)).silent();
    assert_eq!(host.kind(), Some(Kind::TimeWait));
    ends(host, CloseReason::Graceful);
}

#[test]
fn by_a_reset() {
    let (mut host, _) = Host::open();
    host.inject(rst().seq(1))
        .counted(Counter::ConnSegment)
        .silent();
    ends(host, CloseReason::Reset);
}

#[test]
fn by_abort() {
    let (mut host, conn) = Host::open();
    host.act(|_, cx| cx.abort(conn));
    host.expect(rst().seq(1).ack(1));
    // Its frames find no connection, and get a reset of the listener's.
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ListenAckReset)
        .expect(rst().seq(1));
    ends(host, CloseReason::Aborted);
}

/// Both directions have ended well and bytes wait unread: in CLOSED, and in TIME-WAIT.
fn ended_with_bytes_unread(we_close_first: bool) -> (Host<Puppet>, ConnId) {
    let (mut host, conn) = Host::open();
    (host.app().reads, host.app().closes) = (false, false);
    if we_close_first {
        host.act(|_, cx| cx.shutdown(conn));
        host.expect(fin().seq(1).ack(1));
        host.inject(fin().len(5).seq(1).ack(2))
            .expect(ack().seq(2).ack(7));
    } else {
        host.inject(fin().len(5).seq(1).ack(1))
            .expect(ack().seq(1).ack(7));
        host.act(|_, cx| cx.shutdown(conn));
        host.expect(fin().seq(1).ack(7));
        host.inject(ack().seq(7).ack(2));
    }
    host.hears(&[Data(5), PeerClosed]).silent();
    assert_eq!(host.kind(), Some(Kind::Open), "it may still be read");
    (host, conn)
}

#[test]
fn by_abort_after_both_have_ended_with_bytes_unread() {
    for we_close_first in [false, true] {
        let (mut host, conn) = ended_with_bytes_unread(we_close_first);
        host.act(|_, cx| cx.abort(conn));
        assert_eq!(host.kind(), None);
        ends(host, CloseReason::Graceful);
    }
}

#[test]
fn by_the_end_of_the_run_after_both_have_ended_with_bytes_unread() {
    for we_close_first in [false, true] {
        let (mut host, _) = ended_with_bytes_unread(we_close_first);
        let now = host.now;
        while host.worker().abort(now) {}
        host.turn();
        ends(host, CloseReason::Graceful);
    }
}

/// RFC 1122 §4.2.2.13.
#[test]
fn by_close_with_unread_data() {
    let (mut host, conn) = Host::open();
    host.app().reads = false;
    host.inject(data(5).seq(1).ack(1)).hears(&[Data(5)]);
    host.act(|_, cx| cx.close(conn));
    host.expect(rst().seq(1).ack(6));
    ends(host, CloseReason::UnreadData);
}

#[test]
fn by_data_after_close() {
    let (mut host, conn) = Host::open();
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1).ack(1));
    host.inject(data(5).seq(1).ack(2))
        .counted(Counter::ConnSegment)
        .expect(rst().seq(2));
    ends(host, CloseReason::DataAfterClose);
}

#[test]
fn by_a_peer_that_never_closes() {
    let (mut host, conn) = Host::open();
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1).ack(1));
    host.inject(ack().seq(1).ack(2)).silent();
    host.wait_ms(59_999).hears(&[]);
    host.wait_ms(2);
    ends(host, CloseReason::FinWait2TimedOut);
}

#[test]
fn by_silence() {
    let (mut host, conn) = Host::open();
    let profile = Profile {
        r2: Duration::from_secs(5),
        ..Profile::default()
    };
    host.choose(conn, profile);
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.expect(data(5).seq(1).ack(1));
    for after_ms in [1_000, 2_000] {
        host.wait_ms(after_ms - 1).drop_arp().silent();
        host.wait_ms(2).drop_arp();
        host.expect(data(5).seq(1).ack(1)).hears(&[]);
    }
    // At 3 s and a tick or two.
    host.wait_ms(1_990).drop_arp().silent().hears(&[]);
    host.wait_ms(10).drop_arp().silent();
    ends(host, CloseReason::TimedOut { soft: None });
}

#[test]
fn by_keepalive() {
    let (mut host, conn) = Host::open();
    let profile = Profile {
        keepalive: true,
        keepalive_idle: Duration::from_secs(10),
        keepalive_interval: Duration::from_secs(1),
        keepalive_probes: 2,
        ..Profile::default()
    };
    host.choose(conn, profile);
    host.wait_ms(9_999).silent();
    host.wait_ms(2).expect(ack().seq(0).ack(1));
    host.wait_ms(1_001).expect(ack().seq(0).ack(1));
    host.wait_ms(1_001).expect(rst().seq(1).ack(1));
    ends(host, CloseReason::KeepaliveTimedOut);
}

#[test]
fn by_refusal() {
    let (mut host, _) = connecting();
    // Not of our SYN: no end.
    host.inject(rst().seq(0)).counted(Counter::ConnSegment);
    host.inject(rst().seq(0).ack(7))
        .counted(Counter::ConnSegment);
    host.hears(&[]);
    host.inject(rst().seq(0).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    ends(host, CloseReason::Refused);
}

#[test]
fn by_close_before_it_opened() {
    let (mut host, conn) = connecting();
    host.act(|_, cx| cx.close(conn));
    host.silent();
    ends(host, CloseReason::Graceful);
}

/// Hard only before the connection is open, and only when it quotes what is in flight (RFC 5927 §4.1, §5.2).
#[test]
fn by_port_unreachable_while_connecting() {
    let (mut host, _) = connecting();
    let iss = host.flow.our_iss.expect("told").0;
    let about = |seq| port_unreachable_about(50_000, 9_000, seq);
    host.inject_bytes(&about(iss.wrapping_sub(1)))
        .counted(Counter::IcmpErrorForConnection);
    host.hears(&[]);
    host.inject_bytes(&about(iss))
        .counted(Counter::IcmpErrorForConnection);
    ends(
        host,
        CloseReason::Unreachable(IcmpErrorKind::PortUnreachable),
    );

    let (mut host, conn) = Host::open();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.expect(data(5).seq(1).ack(1));
    let snd_una = host.flow.our_iss.expect("told").add(1).0;
    host.inject_bytes(&port_unreachable_about(OPEN, 40_000, snd_una))
        .counted(Counter::IcmpErrorForConnection)
        .hears(&[SoftError(IcmpErrorKind::PortUnreachable)]);
    assert_eq!(host.kind(), Some(Kind::Open));
}

/// Three questions, a second apart, and no SYN: there is no neighbour to send it to.
#[test]
fn by_a_neighbor_that_does_not_answer() {
    let mut host = Host::probing(|_| {});
    connect(&mut host);
    for _ in 0..2 {
        host.silent().wait_ms(1_000);
        expect_arp_request(&mut host, PEER_V4);
    }
    host.silent().wait_ms(999).hears(&[]).silent();
    // One turn in which the neighbour is given up, and the connection with it.
    host.wait_ms(1).silent();
    ends(host, CloseReason::Unreachable(IcmpErrorKind::Unreachable));
}

/// Callbacks of one connection don't reach the next one under the same handle.
#[test]
fn the_next_connection_begins_anew() {
    let (mut host, first) = Host::open();
    for port in 2..10 {
        host.inject(rst().seq(1))
            .hears(&[Closed(CloseReason::Reset)]);
        host.on(Flow::v4(port, OPEN))
            .shake_hands()
            .hears(&[Ready, Open]);
        let next = host.conn();
        assert_eq!(next.handle(), first.handle());
        assert_ne!(next, first);
        // The old name means nothing.
        host.act(|_, cx| cx.abort(first));
        host.silent();
    }
}

/// The handshake's third step is lost, and the SYN-ACK comes again.
#[test]
fn a_syn_ack_again_is_acknowledged_again() {
    let (mut host, _) = connecting();
    for heard in [&[Open][..], &[]] {
        host.inject(syn_ack().seq(0).ack(1))
            .counted(Counter::ConnSegment)
            .hears(heard)
            .expect(ack().seq(1).ack(1));
    }
}
