//! Connections at rest: which ones rest and which don't; and that every other test of a worker passes with them too.

use core::time::Duration;
use std::process::Command;

use super::host::{Flow, Host, OPEN};
use crate::config::Rest;
use crate::conn::{ConnId, Kind};
use crate::counters::Counter;
use crate::queue::item::TxItem;
use crate::sim::puppet::AppEvent::{Closed, Data, Open, PeerClosed, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst};
use crate::tcp::verdict::CloseReason;

/// Set to anything, every idle connection of these tests rests at the end of its turn.
const EVERYWHERE: &str = "SYNCLINE_REST_EVERYWHERE";

/// Whether connections of hosts that say nothing else rest.
pub(super) fn is_everywhere() -> bool {
    std::env::var_os(EVERYWHERE).is_some()
}

const CONNECTIONS: u16 = 40;

/// Every idle connection rests.
pub(super) const AT_ONCE: Rest = Rest {
    above: 0,
    after: Duration::ZERO,
};

/// A host whose connections rest as soon as they are idle, and park after a minute.
fn resting() -> Host<Puppet> {
    Host::probing(|spec| {
        spec.rest = AT_ONCE;
        spec.park_after = Duration::from_secs(60);
    })
}

impl Host<Puppet> {
    /// Connections that have a `Conn`, and those that rest.
    fn awake_and_resting(&mut self) -> (usize, usize) {
        let conns = &self.worker().core.conns;
        (conns.awake_len(), conns.resting_len())
    }

    /// Long enough for every idle connection to rest.
    fn settle(&mut self) -> &mut Self {
        for _ in 0..CONNECTIONS {
            self.wait_ms(6);
        }
        self
    }
}

/// A host with one connection, which rests.
fn one() -> (Host<Puppet>, ConnId) {
    let mut host = resting();
    host.shake_hands().hears(&[Ready, Open]);
    let conn = host.conn();
    host.settle();
    assert_eq!(host.awake_and_resting(), (0, 1));
    (host, conn)
}

#[test]
fn idle_connections_rest_and_go_on() {
    let mut host = resting();
    for n in 0..CONNECTIONS {
        host.on(Flow::of(n % 2 == 0, 40_000 + n, OPEN))
            .shake_hands();
    }
    host.settle();
    assert_eq!(host.awake_and_resting(), (0, CONNECTIONS.into()));
    assert_eq!(
        host.worker().records(Kind::Open).total(),
        u64::from(CONNECTIONS)
    );
    host.heard();
    host.inject(data(5).seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[Data(5)]);
    host.wait_ms(41).expect(ack().seq(1).ack(6)).settle();
    assert_eq!(host.awake_and_resting(), (0, CONNECTIONS.into()));
    // All of them at once, by their app.
    host.act(|puppet, cx| {
        let id = cx.register_static(b"text").expect("room");
        for &conn in &puppet.conns {
            let (start, len) = (0, 4);
            assert!(cx.send(conn, TxItem::Static { id, start, len }).is_ok());
        }
    });
    let sent = core::iter::from_fn(|| host.try_reply()).count();
    assert_eq!(sent, CONNECTIONS.into());
    assert_eq!(host.awake_and_resting(), (CONNECTIONS.into(), 0));
}

#[test]
fn commands_reach_it() {
    let (mut host, conn) = one();
    host.act(|puppet, cx| {
        puppet.closes = false;
        let id = cx.register_static(b"text").expect("room");
        let (start, len) = (0, 4);
        assert!(cx.send(conn, TxItem::Static { id, start, len }).is_ok());
    });
    host.expect(data(4).seq(1).ack(1));
    host.inject(ack().seq(1).ack(5)).settle();
    assert_eq!(host.awake_and_resting(), (0, 1));
    host.act(|_, cx| cx.shutdown(conn));
    host.expect(fin().seq(5).ack(1));
    host.inject(fin().seq(1).ack(6))
        .hears(&[PeerClosed, Closed(CloseReason::Graceful)])
        .expect(ack().seq(6).ack(2));

    let (mut host, conn) = one();
    host.act(|_, cx| cx.abort(conn));
    host.expect(rst().seq(1).ack(1));
    host.hears(&[Closed(CloseReason::Aborted)]);
    assert_eq!(host.awake_and_resting(), (0, 0));

    let (mut host, conn) = one();
    host.act(|_, cx| assert!(cx.mark_urgent(conn).is_ok() && cx.cork(conn).is_ok()));
    host.settle();
    assert_eq!(host.awake_and_resting(), (1, 0), "corked");
}

#[test]
fn it_is_seen_as_it_is() {
    let (mut host, conn) = one();
    let resting = host.act(|_, cx| (cx.info(conn), cx.unread_len(conn), cx.next_conn(0).0));
    assert_eq!(
        host.awake_and_resting(),
        (0, 1),
        "a look wakes no connection"
    );
    host.inject(ack().seq(1).ack(1));
    let awake = host.act(|_, cx| (cx.info(conn), cx.unread_len(conn), cx.next_conn(0).0));
    assert_eq!(resting, awake);
    assert!(awake.0.is_some() && awake.2 == Some(conn));
}

#[test]
fn who_is_not_accepted_does_not_rest() {
    let mut host = resting();
    host.app().accepts = false;
    host.shake_hands().settle();
    assert_eq!(host.awake_and_resting(), (1, 0));
}

#[test]
fn what_is_kept_or_corked_keeps_a_connection_awake() {
    let mut host = resting();
    host.app().reads = false;
    host.shake_hands();
    let conn = host.conn();
    host.inject(data(5).seq(1).ack(1));
    host.wait_ms(41).expect(ack().seq(1).ack(6)).settle();
    host.act(|_, cx| {
        let chunk = cx.take(conn).expect("unread");
        assert!(cx.keep(conn, chunk).is_ok());
    });
    host.settle();
    assert_eq!(host.awake_and_resting(), (1, 0));
}

#[test]
fn what_is_in_use_stays_awake() {
    let mut host = Host::probing(|spec| {
        let (above, after) = (0, Duration::from_secs(5));
        spec.rest = Rest { above, after };
        spec.park_after = Duration::from_secs(60);
    });
    host.shake_hands().settle();
    assert_eq!(host.awake_and_resting(), (0, 1), "it has carried nothing");
    host.inject(data(5).seq(1).ack(1));
    host.wait_ms(41).expect(ack().seq(1).ack(6));
    for _ in 0..4 {
        host.wait_ms(1_000);
    }
    assert_eq!(host.awake_and_resting(), (1, 0));
    for _ in 0..4 {
        host.wait_ms(1_000);
    }
    assert_eq!(host.awake_and_resting(), (0, 1));
}

/// A host whose connections rest after two seconds, and park before that; half of them may be open at a time.
fn parking_soon(above: u32) -> Host<Puppet> {
    Host::probing(|spec| {
        let after = Duration::from_secs(2);
        spec.rest = Rest { above, after };
        spec.limits.records.open.v4 /= 2;
    })
}

#[test]
fn what_parks_soon_does_not_rest() {
    let mut host = Host::probing(|spec| {
        let (above, after) = (0, Duration::from_secs(2));
        spec.rest = Rest { above, after };
    });
    host.shake_hands().wait_ms(100).wait_ms(100);
    assert_eq!(host.awake_and_resting(), (1, 0));
}

#[test]
fn what_has_carried_nothing_parks_at_once() {
    let mut host = parking_soon(1);
    host.shake_hands();
    host.on(Flow::v4(40_001, OPEN)).shake_hands();
    host.wait_ms(6);
    assert_eq!(host.awake_and_resting(), (1, 0), "one may stay awake");
    assert_eq!(host.worker().records(Kind::Parked).total(), 1);

    // It goes on as any that is parked, and has then carried something.
    let mut host = parking_soon(0);
    host.shake_hands().hears(&[Ready, Open]);
    host.wait_ms(6);
    assert_eq!(host.kind(), Some(Kind::Parked));
    host.inject(data(5).seq(1).ack(1)).hears(&[Data(5)]);
    host.wait_ms(41).expect(ack().seq(1).ack(6));
    for _ in 0..10 {
        host.wait_ms(6);
    }
    assert_eq!(host.kind(), Some(Kind::Open));

    // Nor does one park that its app has not accepted yet.
    let mut host = parking_soon(0);
    host.app().accepts = false;
    host.shake_hands().settle();
    assert_eq!(host.kind(), Some(Kind::Open));
}

#[test]
fn where_each_may_be_open_none_parks_before_its_time() {
    let mut host = Host::probing(|spec| {
        let (above, after) = (0, Duration::from_secs(2));
        spec.rest = Rest { above, after };
    });
    host.shake_hands();
    for _ in 0..10 {
        host.wait_ms(6);
    }
    assert_eq!(host.kind(), Some(Kind::Open));
}

#[test]
fn what_rests_for_long_enough_parks() {
    let (mut host, _) = one();
    host.wait_ms(58_000);
    assert_eq!(host.kind(), Some(Kind::Open));
    for _ in 0..20 {
        host.wait_ms(1_000);
    }
    assert_eq!(host.kind(), Some(Kind::Parked));
    assert_eq!(host.awake_and_resting(), (0, 0));

    // One that only a question of its app wakes parks as well, though it has nothing to send, and though another may stay awake.
    let mut host = Host::probing(|spec| {
        spec.rest = Rest {
            above: 1,
            ..AT_ONCE
        }
    });
    for port in [40_000, 40_001] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    host.wait_ms(6);
    assert_eq!(host.awake_and_resting(), (1, 1));
    for conn in host.app().conns.clone() {
        host.act(|_, cx| assert!(cx.has_room(conn)));
    }
    for _ in 0..8 {
        host.wait_ms(200);
    }
    assert_eq!(host.worker().records(Kind::Parked).total(), 2);
}

#[test]
fn every_test_of_a_worker_passes_with_connections_at_rest() {
    let program = std::env::current_exe().expect("the path of this program");
    // Three of them count on when exactly a timer of the wheel fires: those park, and what rests parks a little later.
    let timers = [
        "every_test_of_a_worker_passes",
        "cookies::a_cookie_that_found_no_record_can_be_used_again",
        "timers::what_ended_connections_left_behind",
        "unparking::parking_begins_when_it_is_idle",
    ];
    let again = Command::new(program)
        .arg("worker::tests::")
        .args(timers.iter().flat_map(|name| ["--skip", name]))
        .env(EVERYWHERE, "1")
        .output();
    let again = again.expect("it can be started");
    assert!(
        again.status.success(),
        "with connections at rest ({EVERYWHERE}=1):\n{}{}",
        String::from_utf8_lossy(&again.stdout),
        String::from_utf8_lossy(&again.stderr)
    );
}
