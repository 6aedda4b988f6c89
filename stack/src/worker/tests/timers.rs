//! The app's timer of a connection: once, at its time, whether the connection is parked or not, and never after its end.

use core::time::Duration;

use super::host::{Flow, Host, OPEN};
use super::neighbors::arp_request;
use crate::conn::{Capacity, ConnId, Kind, Records};
use crate::counters::Counter;
use crate::sim::puppet::AppEvent::{Closed, Open, PeerClosed, Ready, Timer};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst};
use crate::tcp::verdict::CloseReason;
use crate::worker::connect::Connect;
use crate::worker::timers::TIMERS_PER_TURN;

/// How late a timer may be.
const TICK: u64 = 1;

/// A host with a connection that is open, and parks after a second; it knows the way to its peer.
pub(super) fn open() -> (Host<Puppet>, ConnId) {
    let (mut host, conn) = Host::open();
    host.inject_bytes(&arp_request()).next_reply();
    (host, conn)
}

fn set(host: &mut Host<Puppet>, conn: ConnId, after_ms: u64) {
    let at = host.now + Duration::from_millis(after_ms);
    host.act(|_, cx| cx.set_timer(conn, at));
}

#[test]
fn it_fires_once_at_its_time() {
    let (mut host, conn) = open();
    set(&mut host, conn, 500);
    host.wait_ms(499).hears(&[]);
    host.wait_ms(1 + TICK).hears(&[Timer(conn)]);
    host.wait_ms(10_000).hears(&[]);
}

#[test]
fn it_is_moved_and_stopped() {
    let (mut host, conn) = open();
    set(&mut host, conn, 100);
    set(&mut host, conn, 600);
    host.wait_ms(599).hears(&[]);
    host.wait_ms(1 + TICK).hears(&[Timer(conn)]);
    set(&mut host, conn, 100);
    host.act(|_, cx| cx.clear_timer(conn));
    host.wait_ms(10_000).hears(&[]);
}

/// It keeps none open, and unparks none.
#[test]
fn it_fires_while_the_connection_is_parked() {
    let (mut host, conn) = open();
    set(&mut host, conn, 10_000);
    host.wait_ms(1_004);
    assert_eq!(host.kind(), Some(Kind::Parked), "a timer keeps none open");
    let now = host.now;
    let due = host.worker().next_due(now).expect("the timer");
    assert!(due <= now + Duration::from_millis(10_000 - 1_004 + TICK));
    host.wait_ms(10_000 - 1_005).hears(&[]);
    host.wait_ms(1 + TICK).hears(&[Timer(conn)]);
    assert_eq!(host.kind(), Some(Kind::Parked), "it is not unparked");
    // Set while it is parked, it outlasts the unparking.
    set(&mut host, conn, 500);
    host.inject(fin().seq(1).ack(1)).hears(&[PeerClosed]);
    host.expect(fin().seq(1).ack(2));
    assert_eq!(host.kind(), Some(Kind::Open));
    host.wait_ms(500 + TICK).hears(&[Timer(conn)]);
    host.inject(ack().seq(2).ack(2));
    host.hears(&[Closed(CloseReason::Graceful)]);
}

/// The next connection has the handle of the one that ended, and not its timer.
#[test]
fn it_ends_with_its_connection() {
    for parks in [false, true] {
        let (mut host, first) = open();
        set(&mut host, first, 5_000);
        if parks {
            host.wait_ms(1_004);
        }
        host.inject(rst().seq(1));
        host.hears(&[Closed(CloseReason::Reset)]);
        host.on(Flow::v4(40_001, OPEN)).shake_hands();
        host.hears(&[Ready, Open]);
        let second = host.conn();
        assert_eq!(first.handle(), second.handle());
        set(&mut host, first, 1);
        host.wait_ms(10_000).hears(&[]);
        set(&mut host, second, 10);
        host.act(|_, cx| cx.clear_timer(first));
        host.wait_ms(10 + TICK).hears(&[Timer(second)]);
    }
}

/// How long a connection may take to open is the app's to say.
#[test]
fn it_runs_before_the_connection_opens() {
    let (mut host, _) = open();
    let remote = (super::host::PEER_V4, 9_000).into();
    let conn = host
        .act(|_, cx| cx.connect(remote, &Connect::default(), false))
        .expect("a record");
    host.next_reply();
    set(&mut host, conn, 300);
    host.wait_ms(300 + TICK).hears(&[Timer(conn)]);
    host.act(|_, cx| cx.abort(conn));
    host.hears(&[Closed(CloseReason::Aborted)]);
    assert_eq!(host.count(Counter::ActiveOpens), 1);
}

/// Timers of a slot's last owner are not those of the next one.
#[test]
fn the_next_owner_of_a_slot_keeps_its_own_time() {
    let (mut host, first) = open();
    assert_eq!(host.act(|_, cx| cx.send_bytes(first, b"first")), Ok(5));
    host.expect(data(5).seq(1).ack(1));
    host.wait_ms(400).inject(rst().seq(1));
    assert_eq!(host.kind(), None);
    host.on(Flow::v4(7, OPEN)).shake_hands();
    let second = host.conn();
    assert_eq!(host.act(|_, cx| cx.send_bytes(second, b"second")), Ok(6));
    host.expect(data(6).seq(1).ack(1));
    // The timer of the first one fires in between.
    host.wait_ms(600 + TICK).silent();
    host.wait_ms(398).silent();
    host.wait_ms(1 + TICK).expect(data(6).seq(1).ack(1));
}

/// A loop that sleeps until something is due wakes seldom for a timer whose connection is gone: as often as the wheel looks at it.
#[test]
fn what_an_ended_connection_leaves_in_the_wheel_fires_once_for_nobody() {
    let (mut host, conn) = open();
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, b"first")), Ok(5));
    host.expect(data(5).seq(1).ack(1));
    host.inject(rst().seq(1));
    assert_eq!(host.kind(), None);
    let began = host.now;
    let mut wakes = 0;
    while let Some(due) = host.worker().core.conns.next_fire() {
        assert!(due > host.now, "it would wake again at once");
        host.now = due;
        host.turn();
        host.silent();
        wakes += 1;
        assert!(wakes <= 3, "it wakes again and again");
    }
    assert!(wakes >= 1, "nothing was left behind");
    assert!(host.now <= began + Duration::from_millis(1_000 + TICK));
    let now = host.now;
    assert_ne!(host.worker().next_due(now), Some(now));
}

/// Many connections end at once, and what they wanted of the wheel fires at one time: no turn does more than its budget.
#[test]
fn what_ended_connections_left_behind_takes_its_share_of_turns() {
    let many = TIMERS_PER_TURN as u16 + 1;
    let mut host = Host::probing(|spec| {
        spec.limits.records = Capacity::of_each(Records { v4: 512, v6: 1 });
    });
    let flows: Vec<Flow> = (1..=many).map(|port| Flow::v4(port, OPEN)).collect();
    for &flow in &flows {
        host.on(flow).shake_hands();
    }
    for &flow in &flows {
        host.on(flow).inject(rst().seq(1));
        assert_eq!(host.kind(), None);
    }
    host.wait_ms(1_000 + TICK);
    let due = host.worker().core.conns.next_fire();
    assert!(due.is_some_and(|due| due <= host.now), "one is left");
    host.turn();
    assert_eq!(host.worker().core.conns.next_fire(), None);
}
