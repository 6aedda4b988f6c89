//! What wakes a connection at rest, what doesn't, and what happens when none may wake.

use core::time::Duration;

use super::host::{Flow, Host, OPEN};
use super::neighbors::arp_request;
use crate::conn::{ConnId, Kind, Records};
use crate::counters::Counter;
use crate::queue::item::TxItem;
use crate::sim::puppet::Heard::{Closed, Data, Open, PeerClosed, Ready, Writable};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::profile::Profile;
use crate::tcp::verdict::CloseReason;
use crate::worker::connect::SendError;

/// A host whose connection has come to rest.
fn resting() -> (Host<Puppet>, ConnId) {
    let mut host = Host::probing(|_| {});
    // At rest it forgets its peer's link address, which the neighbour table may know.
    host.inject_bytes(&arp_request()).next_reply();
    host.shake_hands().hears(&[Ready, Open]);
    let conn = host.conn();
    host.wait_ms(1_004);
    assert_eq!(host.kind(), Some(Kind::Parked));
    (host, conn)
}

/// It comes to rest a second after the last segment, not after the first.
#[test]
fn rest_begins_when_it_is_idle_for_long_enough() {
    let mut host = Host::probing(|_| {});
    host.shake_hands();
    for n in 0..5 {
        host.wait_ms(900).inject(ack().seq(1).ack(1));
        host.counted(Counter::ConnSegment);
        assert_eq!(host.kind(), Some(Kind::Open), "{n}");
    }
    host.wait_ms(996);
    assert_eq!(host.kind(), Some(Kind::Open));
    host.wait_ms(8);
    assert_eq!(host.kind(), Some(Kind::Parked));
    assert_eq!(host.count(Counter::ConnectionsParked), 1);
}

#[test]
fn data_wakes_it_under_the_same_name() {
    let (mut host, conn) = resting();
    host.inject(data(5).seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[Data(5)]);
    assert_eq!(host.kind(), Some(Kind::Open));
    host.wait_ms(41).expect(ack().seq(1).ack(6));
    let state = host.act(|_, cx| cx.info(conn).map(|info| info.peer_closed));
    assert_eq!(state, Some(false), "the name is good");
    host.wait_ms(1_004);
    assert_eq!(host.kind(), Some(Kind::Parked));
    assert_eq!(host.count(Counter::ConnectionsParked), 2);
}

#[test]
fn a_fin_wakes_it() {
    let (mut host, _) = resting();
    host.inject(fin().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[PeerClosed])
        .expect(fin().seq(1).ack(2));
    host.inject(ack().seq(2).ack(2))
        .hears(&[Closed(CloseReason::Graceful)]);
}

#[test]
fn a_reset_ends_it_asleep() {
    let (mut host, _) = resting();
    host.inject(rst().seq(1))
        .counted(Counter::RestReset)
        .silent()
        .hears(&[Closed(CloseReason::Reset)]);
    assert_eq!(host.worker().table().total(), 0);
    assert_eq!(host.count(Counter::ConnectionsClosed), 1);
}

#[test]
fn the_app_wakes_it_by_sending_and_closing_and_not_by_looking() {
    let (mut host, conn) = resting();
    host.act(|_, cx| {
        assert!(cx.peek(conn).is_empty() && cx.take(conn).is_none());
        cx.consume(conn, 1);
        assert_eq!((cx.unread_len(conn), cx.peer_closed(conn)), (0, false));
    });
    assert_eq!(host.kind(), Some(Kind::Parked));
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, b"hello")), Ok(5));
    host.expect(data(5).seq(1).ack(1));
    host.inject(ack().seq(1).ack(6)).silent();
    host.wait_ms(1_004);
    assert_eq!(host.kind(), Some(Kind::Parked));
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(6).ack(1));
}

/// A host with a connection at rest, and another that holds the only record of open ones: its data is not read.
fn crowded() -> (Host<Puppet>, Flow, Flow) {
    let mut host = Host::probing(|spec| spec.limits.records.open.v4 = 1);
    host.app().reads = false;
    host.shake_hands();
    let resting = host.flow;
    host.wait_ms(1_004);
    host.on(Flow::v4(2, OPEN)).shake_hands();
    host.inject(data(1).seq(1).ack(1));
    host.wait_ms(41).expect(ack().seq(1).ack(2));
    host.hears(&[Ready, Open, Ready, Open, Data(1)]);
    let awake = host.flow;
    host.on(resting);
    (host, resting, awake)
}

#[test]
fn without_a_record_its_data_is_lost_and_taken_when_it_comes_again() {
    let (mut host, resting, awake) = crowded();
    for spec in [data(5).seq(1).ack(1), fin().seq(1).ack(1)] {
        host.inject(spec)
            .counted(Counter::WakeNoRecord)
            .silent()
            .hears(&[]);
    }
    // What needs no record goes on.
    host.inject(ack().seq(1).ack(1)).counted(Counter::RestAck);
    host.on(awake)
        .inject(rst().seq(2))
        .hears(&[Closed(CloseReason::Reset)]);
    host.on(resting)
        .inject(data(5).seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[Data(5)]);
    host.wait_ms(41).expect(ack().seq(1).ack(6));
}

/// A reset comes only once.
#[test]
fn without_a_record_a_reset_counts_all_the_same() {
    let (mut host, ..) = crowded();
    host.inject(rst().seq(1))
        .counted(Counter::RestReset)
        .hears(&[Closed(CloseReason::Reset)]);
}

/// Without a record of those at rest it stays awake, and idle.
#[test]
fn without_a_place_to_rest_it_stays_awake() {
    let mut host = Host::probing(|spec| spec.limits.records.parked.v4 = 1);
    for port in [1, 2] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    host.wait_ms(5_000);
    assert_eq!(host.worker().table().len(Kind::Parked).v4, 1);
    assert_eq!(host.worker().table().len(Kind::Open).v4, 1);
}

/// As [`crowded`], but the neighbour table knows the peer: what a connection at rest sends on waking leaves at once.
fn crowded_among_neighbors() -> (Host<Puppet>, ConnId, Flow, Flow) {
    let (mut host, resting, awake) = crowded();
    host.inject_bytes(&arp_request()).next_reply();
    let conn = host.app().conns[0];
    (host, conn, resting, awake)
}

/// The connection that holds the only record ends; the one at rest has it from the next turn on.
fn make_room(host: &mut Host<Puppet>, awake: Flow, resting: Flow) {
    host.on(awake).inject(rst().seq(2));
    host.turn();
    host.on(resting);
}

#[test]
fn without_a_record_close_is_remembered() {
    let (mut host, conn, resting, awake) = crowded_among_neighbors();
    host.act(|_, cx| {
        cx.close(conn);
        cx.close(conn);
    });
    host.silent();
    assert_eq!(host.kind(), Some(Kind::Parked));
    // It sends no more: refused for good, so nothing is to be heard of room.
    let refused = host.act(|_, cx| cx.send(conn, TxItem::Pattern { start: 0, len: 1 }));
    assert!(refused.is_err());
    make_room(&mut host, awake, resting);
    host.expect(fin().seq(1).ack(1))
        .hears(&[Closed(CloseReason::Reset)]);
    host.inject(ack().seq(1).ack(2))
        .inject(fin().seq(1).ack(2))
        .expect(ack().seq(2).ack(2))
        .hears(&[PeerClosed, Closed(CloseReason::Graceful)]);
    assert_eq!(host.kind(), Some(Kind::TimeWait));
}

#[test]
fn without_a_record_shutdown_is_remembered_and_it_reads_on() {
    let (mut host, conn, resting, awake) = crowded_among_neighbors();
    host.act(|_, cx| cx.shutdown(conn));
    host.silent();
    make_room(&mut host, awake, resting);
    host.expect(fin().seq(1).ack(1))
        .hears(&[Closed(CloseReason::Reset)]);
    host.inject(data(5).seq(1).ack(2)).hears(&[Data(5)]);
    host.wait_ms(41).expect(ack().seq(2).ack(6));
}

/// What was remembered is done first, whoever wakes it: data after a close resets, as on an open connection.
#[test]
fn what_was_remembered_is_done_when_a_segment_wakes_it() {
    let (mut host, conn, resting, awake) = crowded_among_neighbors();
    host.act(|_, cx| cx.close(conn));
    let (end, late) = (
        awake.frame(rst().seq(2)),
        resting.frame(data(5).seq(1).ack(1)),
    );
    host.inject_burst([end, late]);
    host.expect(rst().seq(1)).hears(&[
        Closed(CloseReason::Reset),
        Closed(CloseReason::DataAfterClose),
    ]);
}

#[test]
fn without_a_record_abort_resets_all_the_same() {
    let (mut host, conn, ..) = crowded_among_neighbors();
    host.act(|_, cx| {
        cx.close(conn);
        cx.abort(conn);
        cx.abort(conn);
    });
    host.expect(rst().seq(1).ack(1))
        .silent()
        .hears(&[Closed(CloseReason::Aborted)]);
    assert_eq!(host.kind(), None);
    assert_eq!(host.count(Counter::ConnectionsClosed), 1);
    assert_eq!(host.worker().table().len(Kind::Open).v4, 1);
}

#[test]
fn without_a_record_a_refused_send_hears_of_room() {
    let (mut host, conn, resting, awake) = crowded_among_neighbors();
    assert_eq!(
        host.act(|_, cx| cx.send_bytes(conn, b"no")),
        Err(SendError::Full(()))
    );
    let item = TxItem::Pattern { start: 0, len: 1 };
    assert!(host.act(|_, cx| cx.send(conn, item)).is_err());
    assert!(!host.act(|_, cx| cx.has_room(conn)));
    host.hears(&[]);
    make_room(&mut host, awake, resting);
    host.hears(&[Closed(CloseReason::Reset), Writable]);
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, b"yes")), Ok(3));
    host.expect(data(3).seq(1).ack(1)).hears(&[]);
}

#[test]
fn a_profile_is_taken_at_rest() {
    let (mut host, conn, resting, awake) = crowded_among_neighbors();
    let profile = Profile {
        nagle: false,
        r2: Duration::from_secs(5),
        ..Profile::default()
    };
    host.choose(conn, profile);
    assert_eq!(host.kind(), Some(Kind::Parked), "they wake nobody");
    make_room(&mut host, awake, resting);
    assert_eq!(host.kind(), Some(Kind::Parked));
    // Without Nagle's algorithm the second small segment doesn't wait; R2 ends it after 5 s.
    host.hears(&[Closed(CloseReason::Reset)]);
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"one"));
    host.expect(data(3).seq(1).ack(1));
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"two"));
    host.expect(data(3).seq(4).ack(1));
    for _ in 0..49 {
        host.wait_ms(100).hears(&[]);
    }
    host.wait_ms(300).wait_ms(300);
    host.hears(&[Closed(CloseReason::TimedOut { soft: None })]);
    while host.try_reply().is_some() {}
}

/// Its timer needs an open record: it is had as soon as there is one.
#[test]
fn keepalive_wakes_it_when_there_is_a_record() {
    let (mut host, conn, resting, awake) = crowded_among_neighbors();
    let profile = Profile {
        keepalive: true,
        ..Profile::default()
    };
    host.choose(conn, profile);
    assert_eq!(host.kind(), Some(Kind::Parked));
    make_room(&mut host, awake, resting);
    assert_eq!(host.kind(), Some(Kind::Open));
    host.hears(&[Closed(CloseReason::Reset)]).silent();
    // An idle time counts from the last segment.
    host.wait_ms(7_200_000 - 2_000).silent();
    host.wait_ms(2_001).expect(ack().seq(0).ack(1));
}

/// The line of those that wait is as long as there are connections at rest, whatever they do meanwhile.
#[test]
fn those_that_wait_for_a_record_wait_once_each() {
    let mut host = Host::probing(|spec| {
        spec.limits.records.open.v4 = 1;
        spec.limits.records.parked.v4 = 4;
    });
    host.app().reads = false;
    for round in 0..20 {
        // A connection at rest that wants to close, and one that keeps the record; then both are reset.
        host.on(Flow::v4(1_000 + round, OPEN)).shake_hands();
        let (resting, conn) = (host.flow, host.conn());
        host.wait_ms(1_004);
        host.on(Flow::v4(2_000 + round, OPEN)).shake_hands();
        host.inject(data(1).seq(1).ack(1));
        host.wait_ms(41).expect(ack().seq(1).ack(2));
        let awake = host.flow;
        host.act(|_, cx| cx.close(conn));
        host.on(resting)
            .inject(rst().seq(1))
            .counted(Counter::RestReset);
        assert!(host.worker().core.waiting.len() <= 4, "round {round}");
        host.on(awake).inject(rst().seq(2));
    }
    host.turn();
    assert_eq!(host.worker().core.waiting.len(), 0);
    assert_eq!(host.worker().table().total(), 0);
}

/// The limit counts connections, at work or at rest: a table with room for four of each kind serves four, not eight.
#[test]
fn there_are_never_more_connections_than_the_limit_says() {
    for v6 in [false, true] {
        let flow = |port| {
            if v6 {
                Flow::v6(port, OPEN)
            } else {
                Flow::v4(port, OPEN)
            }
        };
        let mut host = Host::with(|spec| {
            let records = Records { v4: 4, v6: 4 };
            spec.limits.records.open = records;
            spec.limits.records.parked = records;
        });
        let mut first = None;
        for port in 1..=4 {
            host.on(flow(port)).establish();
            first.get_or_insert(host.flow);
            assert!(
                host.parked().is_some(),
                "at rest, so its open record is free"
            );
        }
        host.on(flow(5))
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo)
            .expect(syn_ack().seq(0).ack(1));
        host.inject(ack().seq(1).ack(1))
            .counted(Counter::EmbryoAckNoRecord)
            .silent();
        let fifth = host.flow;
        // The other family has a limit of its own.
        let other = if v6 {
            Flow::v4(6, OPEN)
        } else {
            Flow::v6(6, OPEN)
        };
        host.on(other).establish();
        // Where one has ended there is room.
        host.on(first.expect("the first"))
            .inject(rst().seq(1))
            .counted(Counter::RestReset);
        host.on(fifth)
            .inject(ack().seq(1).ack(1))
            .counted(Counter::ConnSegment)
            .silent();
    }
}
