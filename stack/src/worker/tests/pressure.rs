//! Which connections give way while others wait for places in the queues, after how long, and which do not.

use core::time::Duration;

use super::answer::Answer;
use super::host::{Flow, Host, OPEN};
use crate::config::ConfigSpec;
use crate::conn::{ConnId, Kind};
use crate::counters::Counter;
use crate::nic::memory::{MemoryFrame, MemoryNic};
use crate::queue::item::TxItem;
use crate::sim::puppet::AppEvent::{self, Closed, Writable};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data};
use crate::tcp::verdict::CloseReason;
use crate::worker::app::Cx;

/// 16 places for each direction: the last 4 for first claims, 8 of the others for bytes ahead of gaps. Beyond 2 they are
/// scarce.
fn few_places() -> Host<Puppet> {
    few_places_and(|_| {})
}

fn few_places_and(change: impl FnOnce(&mut ConfigSpec)) -> Host<Puppet> {
    Host::probing(|spec| {
        spec.limits.queue_items = 32;
        spec.limits.stall_limit = Duration::from_secs(5);
        spec.limits.records.open.v4 = 200;
        spec.park_after = Duration::from_secs(1);
        change(spec);
    })
}

fn item(len: u64) -> TxItem<MemoryFrame> {
    TxItem::Pattern { start: 0, len }
}

/// A connection of port `port`.
fn open(host: &mut Host<Puppet>, port: u16) -> ConnId {
    hush(host);
    host.on(Flow::v4(port, OPEN)).shake_hands();
    host.conn()
}

/// One whose peer keeps its window closed while an item of ours waits.
fn closed(host: &mut Host<Puppet>, port: u16) -> ConnId {
    let conn = open(host, port);
    host.inject(ack().seq(1).ack(1).win(0));
    assert!(host.act(|_, cx| cx.send(conn, item(1000)).is_ok()));
    conn
}

/// All places for sending are taken by connections of ports 1 to 16, whose peers keep their windows closed.
fn without_send_places() -> Host<Puppet> {
    let mut host = few_places();
    for port in 1..=16 {
        closed(&mut host, port);
    }
    host
}

/// A connection of port `port` that is refused a place.
fn refused(host: &mut Host<Puppet>, port: u16) -> ConnId {
    let conn = open(host, port);
    assert!(host.act(|_, cx| cx.send(conn, item(1)).is_err()));
    conn
}

/// Drops what was sent.
fn hush(host: &mut Host<Puppet>) {
    while host.try_reply().is_some() {}
}

/// So many turns, and seconds.
fn seconds(host: &mut Host<Puppet>, n: u32) {
    for _ in 0..n {
        host.wait_ms(1_000);
        hush(host);
    }
}

/// Which connections are over, in the order in which they opened, counted from 1.
fn gone(host: &mut Host<Puppet>) -> Vec<usize> {
    let conns = host.app().conns.clone();
    let is_gone = |cx: &mut Cx<'_, MemoryNic, bool>, conn| cx.info(conn).is_none();
    host.act(|_, cx| {
        let gone = conns
            .iter()
            .enumerate()
            .filter(|&(_, &conn)| is_gone(cx, conn));
        gone.map(|(index, _)| index + 1).collect()
    })
}

fn ends(host: &mut Host<Puppet>) -> Vec<AppEvent> {
    host.heard()
        .into_iter()
        .filter(|heard| matches!(heard, Closed(_) | Writable))
        .collect()
}

const EVICTED: AppEvent = Closed(CloseReason::Evicted);

/// RFC 6429: while no connection waits for places, a closed window is probed for ever; under pressure it costs the connection its life.
#[test]
fn who_takes_nothing_gives_way_when_others_wait_for_places() {
    let mut host = without_send_places();
    seconds(&mut host, 61);
    assert_eq!(gone(&mut host), [], "nobody waits");
    let waits = refused(&mut host, 100);
    // All stood still for 60 s: at once, and so many that there is room to spare.
    assert_eq!(gone(&mut host), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(host.count(Counter::ConnectionsEvicted), 7);
    let mut heard = ends(&mut host);
    heard.retain(|heard| *heard != Writable);
    assert_eq!(heard, [EVICTED; 7]);
    assert!(host.act(|_, cx| cx.send(waits, item(1)).is_ok()));
    seconds(&mut host, 30);
    assert_eq!(host.count(Counter::ConnectionsEvicted), 7, "there is room");
}

/// A process that was stopped, or a machine without a CPU for it: what the peers sent meanwhile is still to be read.
#[test]
fn an_absence_of_the_worker_is_no_standstill() {
    let mut host = without_send_places();
    refused(&mut host, 100);
    host.wait_ms(60_000);
    hush(&mut host);
    seconds(&mut host, 4);
    assert_eq!(gone(&mut host), [], "it was away");
    seconds(&mut host, 60);
    assert!(!gone(&mut host).is_empty(), "it was not");
}

/// Those that are new in the slots of others have not stood still for as long as those had.
#[test]
fn a_mark_is_not_taken_over_with_the_slot() {
    let mut host = without_send_places();
    seconds(&mut host, 61);
    refused(&mut host, 100);
    assert_eq!(gone(&mut host), [1, 2, 3, 4, 5, 6, 7]);
    for port in 201..=207 {
        closed(&mut host, port);
    }
    refused(&mut host, 101);
    let gone = gone(&mut host);
    assert!(
        gone.len() > 7 && gone.iter().all(|&nth| nth <= 16),
        "{gone:?}"
    );
    hush(&mut host);
}

/// A program that sleeps until something is due looks after those that wait for places, too.
#[test]
fn who_waits_for_places_is_looked_after_without_a_frame() {
    let mut host = without_send_places();
    let waits = open(&mut host, 100);
    host.wait_ms(1);
    let soon = host.now + Duration::from_millis(1);
    let now = host.now;
    let due = host.worker().next_due(now);
    assert!(due.is_none_or(|due| due > soon), "none waits: {due:?}");
    assert!(host.act(|_, cx| cx.send(waits, item(1)).is_err()));
    let due = host.worker().next_due(now);
    assert!(due.is_some_and(|due| due <= soon), "{due:?}");
    hush(&mut host);
}

#[test]
fn who_waits_for_a_first_place_waits_as_long_as_the_limit_says() {
    let mut host = without_send_places();
    refused(&mut host, 100);
    seconds(&mut host, 4);
    assert_eq!(gone(&mut host), []);
    host.wait_ms(1_000);
    let reset = core::iter::from_fn(|| host.try_reply()).map(|frame| Answer::read(&frame));
    let reset: Vec<Answer> = reset.filter(|answer| answer.segment.flags.rst()).collect();
    assert_eq!(reset.len(), 7, "their peers are told");
    assert_eq!(gone(&mut host), [1, 2, 3, 4, 5, 6, 7]);
    hush(&mut host);
}

#[test]
fn who_has_stood_still_longest_goes_first() {
    let mut host = few_places();
    for port in 101..=110 {
        closed(&mut host, port);
    }
    seconds(&mut host, 20);
    // Others take their records: it is not the order of records that decides.
    let conns = &host.app().conns;
    for conn in [conns[0], conns[1], conns[2]] {
        host.act(|_, cx| cx.abort(conn));
    }
    for port in 1..=9 {
        closed(&mut host, port);
    }
    let waits = open(&mut host, 200);
    // All have stood still for longer than the limit.
    seconds(&mut host, 6);
    assert!(host.act(|_, cx| cx.send(waits, item(1)).is_err()));
    hush(&mut host);
    assert_eq!(gone(&mut host), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    hush(&mut host);
}

/// A byte now and then is no progress; a segment is, and so is all that was queued.
#[test]
fn who_takes_a_byte_at_a_time_stands_still() {
    let mut host = few_places();
    let conn = open(&mut host, 1);
    let slow = host.flow;
    host.inject(ack().seq(1).ack(1).win(1));
    assert!(host.act(|_, cx| cx.send(conn, item(1000)).is_ok()));
    let conn = open(&mut host, 2);
    let steady = host.flow;
    assert!(host.act(|_, cx| cx.send(conn, item(100_000)).is_ok()));
    for port in 3..=16 {
        closed(&mut host, port);
    }
    for n in 1..=5 {
        seconds(&mut host, 1);
        host.on(slow).inject(ack().seq(1).ack(1 + n).win(1));
        host.on(steady).inject(ack().seq(1).ack(1 + 536 * n));
        hush(&mut host);
    }
    refused(&mut host, 100);
    seconds(&mut host, 1);
    let gone = gone(&mut host);
    assert!(gone.contains(&1) && !gone.contains(&2), "{gone:?}");
    hush(&mut host);
}

/// Places are scarce beyond an eighth: who has taken nothing yet gets two, and one while its window is closed.
#[test]
fn who_takes_nothing_gets_few_places_while_they_are_scarce() {
    let mut host = few_places();
    for port in 1..=5 {
        closed(&mut host, port);
    }
    let conn = open(&mut host, 100);
    let sends = |host: &mut Host<Puppet>| {
        (0..10)
            .filter(|_| host.act(|_, cx| cx.send(conn, item(536)).is_ok()))
            .count()
    };
    assert_eq!(sends(&mut host), 2, "two that it has not earned");
    host.inject(ack().seq(1).ack(1 + 2 * 536));
    hush(&mut host);
    assert_eq!(ends(&mut host), [Writable]);
    assert_eq!(sends(&mut host), 4);
    host.inject(ack().seq(1).ack(1 + 6 * 536).win(0));
    hush(&mut host);
    assert_eq!(sends(&mut host), 1, "enough to go on");
}

/// Unread bytes hold places for receiving.
#[test]
fn who_is_not_read_gives_way_when_others_wait_for_places() {
    let mut host = few_places();
    host.app().reads = false;
    for port in 1..=16 {
        open(&mut host, port);
        host.inject(data(1000).seq(1).ack(1));
    }
    hush(&mut host);
    open(&mut host, 100);
    let late = host.flow;
    host.inject(data(1000).seq(1).ack(1));
    assert_eq!(host.count(Counter::PayloadNoPlace), 1);
    seconds(&mut host, 4);
    assert_eq!(gone(&mut host), []);
    seconds(&mut host, 2);
    assert_eq!(gone(&mut host), [1, 2, 3, 4, 5, 6, 7]);
    host.on(late).inject(data(1000).seq(1).ack(1));
    assert_eq!(host.count(Counter::PayloadNoPlace), 1);
    hush(&mut host);
}

/// One byte ahead of each of `gaps` gaps.
fn leave_gaps(host: &mut Host<Puppet>, gaps: u32) {
    for n in 0..gaps {
        host.inject(data(1).seq(3 + 2 * n).ack(1));
    }
    hush(host);
}

/// A few bytes ahead of gaps, kept for nothing, must not switch reassembly off for all.
#[test]
fn bytes_ahead_of_old_gaps_give_way_to_those_ahead_of_new_ones() {
    let mut host = few_places();
    open(&mut host, 1);
    let first = host.flow;
    leave_gaps(&mut host, 8);
    seconds(&mut host, 2);
    assert_eq!(host.count(Counter::AheadPruned), 0, "nobody waits");
    open(&mut host, 2);
    let lossy = host.flow;
    host.inject(data(1000).seq(1001).ack(1));
    assert_eq!(host.count(Counter::PayloadNoPlace), 1);
    seconds(&mut host, 1);
    assert_eq!(gone(&mut host), [], "its connection goes on");
    assert_eq!(host.count(Counter::AheadPruned), 1);
    assert_eq!(host.worker().queued_items(), 0);
    host.app().heard.clear();
    host.on(lossy)
        .inject(data(1000).seq(1001).ack(1))
        .inject(data(1000).seq(1).ack(1))
        .hears(&[AppEvent::Data(2000)]);
    hush(&mut host);
    // Dropped bytes were not acknowledged, nor are they when the first gap is filled. They come again.
    host.on(first)
        .inject(data(2).seq(1).ack(1))
        .hears(&[AppEvent::Data(2)]);
    host.wait_ms(41).expect(ack().seq(1).ack(3));
    host.inject(data(14).seq(3).ack(1))
        .hears(&[AppEvent::Data(14)]);
    hush(&mut host);
}

#[test]
fn a_connection_with_gaps_parks_after_a_minute() {
    let mut host = few_places();
    open(&mut host, 1);
    leave_gaps(&mut host, 3);
    seconds(&mut host, 59);
    assert_eq!(host.kind(), Some(Kind::Open));
    seconds(&mut host, 2);
    assert_eq!(host.kind(), Some(Kind::Parked));
    assert_eq!(host.count(Counter::AheadPruned), 1);
    assert_eq!(host.worker().queued_items(), 0);
}
