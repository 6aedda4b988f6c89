//! Events that unpark a parked connection, events that don't, and the behaviour where none may be unparked.

use core::time::Duration;

use super::host::{Flow, Host, OPEN};
use super::neighbors::arp_request;
use crate::conn::{ConnId, Kind, Records};
use crate::counters::Counter;
use crate::queue::item::TxItem;
use crate::sim::puppet::AppEvent::{Closed, Data, Open, PeerClosed, Ready, Writable};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::profile::Profile;
use crate::tcp::verdict::CloseReason;
use crate::worker::connect::SendError;

/// A host whose connection is parked.
fn parked() -> (Host<Puppet>, ConnId) {
    let mut host = Host::probing(|_| {});
    // A parked connection forgets its peer's link address, which the neighbour table may know.
    host.inject_bytes(&arp_request()).next_reply();
    host.shake_hands().hears(&[Ready, Open]);
    let conn = host.conn();
    host.wait_ms(1_004);
    assert_eq!(host.kind(), Some(Kind::Parked));
    (host, conn)
}

/// It parks a second after the last segment, not after the first.
#[test]
fn parking_begins_when_it_is_idle_for_long_enough() {
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
fn data_unparks_it_under_the_same_name() {
    let (mut host, conn) = parked();
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
fn loading_ahead_unparks_nothing_and_passes_over_what_has_ended() {
    let (mut host, conn) = parked();
    host.act(|_, cx| cx.prefetch(&[conn, conn]));
    host.silent();
    assert_eq!(host.kind(), Some(Kind::Parked));
    host.inject(rst().seq(1))
        .hears(&[Closed(CloseReason::Reset)]);
    host.act(|_, cx| cx.prefetch(&[conn]));
    host.silent();
    assert_eq!(host.worker().table().total(), 0);
}

#[test]
fn a_fin_unparks_it() {
    let (mut host, _) = parked();
    host.inject(fin().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[PeerClosed])
        .expect(fin().seq(1).ack(2));
    host.inject(ack().seq(2).ack(2))
        .hears(&[Closed(CloseReason::Graceful)]);
}

#[test]
fn a_reset_ends_it_asleep() {
    let (mut host, _) = parked();
    host.inject(rst().seq(1))
        .counted(Counter::ParkedReset)
        .silent()
        .hears(&[Closed(CloseReason::Reset)]);
    assert_eq!(host.worker().table().total(), 0);
    assert_eq!(host.count(Counter::ConnectionsClosed), 1);
}

#[test]
fn the_app_unparks_it_by_sending_and_closing_and_not_by_looking() {
    let (mut host, conn) = parked();
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

/// A host with a parked connection, and another that holds the only record of open ones: its data is not read.
fn crowded() -> (Host<Puppet>, Flow, Flow) {
    let mut host = Host::probing(|spec| spec.limits.records.open.v4 = 1);
    host.app().reads = false;
    host.shake_hands();
    let parked = host.flow;
    host.wait_ms(1_004);
    host.on(Flow::v4(2, OPEN)).shake_hands();
    host.inject(data(1).seq(1).ack(1));
    host.wait_ms(41).expect(ack().seq(1).ack(2));
    host.hears(&[Ready, Open, Ready, Open, Data(1)]);
    let busy = host.flow;
    host.on(parked);
    (host, parked, busy)
}

#[test]
fn without_a_record_its_data_is_lost_and_taken_when_it_comes_again() {
    let (mut host, parked, busy) = crowded();
    for spec in [data(5).seq(1).ack(1), fin().seq(1).ack(1)] {
        host.inject(spec)
            .counted(Counter::UnparkNoRecord)
            .silent()
            .hears(&[]);
    }
    // Work that needs no record goes on.
    host.inject(ack().seq(1).ack(1)).counted(Counter::ParkedAck);
    host.on(busy)
        .inject(rst().seq(2))
        .hears(&[Closed(CloseReason::Reset)]);
    host.on(parked)
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
        .counted(Counter::ParkedReset)
        .hears(&[Closed(CloseReason::Reset)]);
}

/// Without a record of parked ones it stays open, and idle.
#[test]
fn without_a_place_to_park_it_stays_open() {
    let mut host = Host::probing(|spec| spec.limits.records.parked.v4 = 1);
    for port in [1, 2] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    host.wait_ms(5_000);
    assert_eq!(host.worker().table().len(Kind::Parked).v4, 1);
    assert_eq!(host.worker().table().len(Kind::Open).v4, 1);
}

/// As [`crowded`], but the neighbour table knows the peer: what a parked connection sends once unparked leaves at once.
fn crowded_among_neighbors() -> (Host<Puppet>, ConnId, Flow, Flow) {
    let (mut host, parked, busy) = crowded();
    host.inject_bytes(&arp_request()).next_reply();
    let conn = host.app().conns[0];
    (host, conn, parked, busy)
}

/// The connection that holds the only record ends; the parked one has it from the next turn on.
fn make_room(host: &mut Host<Puppet>, busy: Flow, parked: Flow) {
    host.on(busy).inject(rst().seq(2));
    host.turn();
    host.on(parked);
}

#[test]
fn without_a_record_close_is_remembered() {
    let (mut host, conn, parked, busy) = crowded_among_neighbors();
    host.act(|_, cx| {
        cx.close(conn);
        cx.close(conn);
    });
    host.silent();
    assert_eq!(host.kind(), Some(Kind::Parked));
    // It sends no more: refused for good, so nothing is to be heard of room.
    let refused = host.act(|_, cx| cx.send(conn, TxItem::Pattern { start: 0, len: 1 }));
    assert!(refused.is_err());
    make_room(&mut host, busy, parked);
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
    let (mut host, conn, parked, busy) = crowded_among_neighbors();
    host.act(|_, cx| cx.shutdown(conn));
    host.silent();
    make_room(&mut host, busy, parked);
    host.expect(fin().seq(1).ack(1))
        .hears(&[Closed(CloseReason::Reset)]);
    host.inject(data(5).seq(1).ack(2)).hears(&[Data(5)]);
    host.wait_ms(41).expect(ack().seq(2).ack(6));
}

/// The remembered call is done first, whatever unparks the connection: data after a close resets, as on an open connection.
#[test]
fn what_was_remembered_is_done_when_a_segment_unparks_it() {
    let (mut host, conn, parked, busy) = crowded_among_neighbors();
    host.act(|_, cx| cx.close(conn));
    let (end, late) = (
        busy.frame(rst().seq(2)),
        parked.frame(data(5).seq(1).ack(1)),
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
    let (mut host, conn, parked, busy) = crowded_among_neighbors();
    assert_eq!(
        host.act(|_, cx| cx.send_bytes(conn, b"no")),
        Err(SendError::Full(()))
    );
    let item = TxItem::Pattern { start: 0, len: 1 };
    assert!(host.act(|_, cx| cx.send(conn, item)).is_err());
    assert!(!host.act(|_, cx| cx.has_room(conn)));
    host.hears(&[]);
    make_room(&mut host, busy, parked);
    host.hears(&[Closed(CloseReason::Reset), Writable]);
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, b"yes")), Ok(3));
    host.expect(data(3).seq(1).ack(1)).hears(&[]);
}

#[test]
fn a_profile_is_taken_while_parked() {
    let (mut host, conn, parked, busy) = crowded_among_neighbors();
    let profile = Profile {
        nagle: false,
        r2: Duration::from_secs(5),
        ..Profile::default()
    };
    host.choose(conn, profile);
    assert_eq!(host.kind(), Some(Kind::Parked), "they unpark none");
    make_room(&mut host, busy, parked);
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
fn keepalive_unparks_it_when_there_is_a_record() {
    let (mut host, conn, parked, busy) = crowded_among_neighbors();
    let profile = Profile {
        keepalive: true,
        ..Profile::default()
    };
    host.choose(conn, profile);
    assert_eq!(host.kind(), Some(Kind::Parked));
    make_room(&mut host, busy, parked);
    assert_eq!(host.kind(), Some(Kind::Open));
    host.hears(&[Closed(CloseReason::Reset)]).silent();
    // An idle time counts from the last segment.
    host.wait_ms(7_200_000 - 2_000).silent();
    host.wait_ms(2_001).expect(ack().seq(0).ack(1));
}

/// The line of those that wait is as long as there are parked connections, whatever they do meanwhile.
#[test]
fn those_that_wait_for_a_record_wait_once_each() {
    let mut host = Host::probing(|spec| {
        spec.limits.records.open.v4 = 1;
        spec.limits.records.parked.v4 = 4;
    });
    host.app().reads = false;
    for round in 0..20 {
        // A parked connection that wants to close, and one that keeps the record; then both are reset.
        host.on(Flow::v4(1_000 + round, OPEN)).shake_hands();
        let (parked, conn) = (host.flow, host.conn());
        host.wait_ms(1_004);
        host.on(Flow::v4(2_000 + round, OPEN)).shake_hands();
        host.inject(data(1).seq(1).ack(1));
        host.wait_ms(41).expect(ack().seq(1).ack(2));
        let busy = host.flow;
        host.act(|_, cx| cx.close(conn));
        host.on(parked)
            .inject(rst().seq(1))
            .counted(Counter::ParkedReset);
        assert!(host.worker().core.waiting.len() <= 4, "round {round}");
        host.on(busy).inject(rst().seq(2));
    }
    host.turn();
    assert_eq!(host.worker().core.waiting.len(), 0);
    assert_eq!(host.worker().table().total(), 0);
}

/// The limit counts connections, at work or parked: a table with room for four of each kind serves four, not eight.
#[test]
fn there_are_never_more_connections_than_the_limit_says() {
    for v6 in [false, true] {
        let flow = |port| Flow::of(v6, port, OPEN);
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
                "parked, so its open record is free"
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
        host.on(Flow::of(!v6, 6, OPEN)).establish();
        // Where one has ended there is room.
        host.on(first.expect("the first"))
            .inject(rst().seq(1))
            .counted(Counter::ParkedReset);
        host.on(fifth)
            .inject(ack().seq(1).ack(1))
            .counted(Counter::ConnSegment)
            .silent();
    }
}
