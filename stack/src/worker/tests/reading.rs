//! Received data, the room for it, and who hears when there is some.

use super::host::{Flow, Host, OPEN};
use crate::conn::{ConnId, Kind};
use crate::counters::Counter;
use crate::nic::memory::MemoryFrame;
use crate::queue::item::TxItem;
use crate::sim::puppet::AppEvent::{Data, Open, Ready, Writable};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, syn, syn_ack};
use crate::worker::connect::SendError;

/// A host with one open connection and an app that reads only on request.
fn unread(change: impl FnOnce(&mut crate::config::ConfigSpec)) -> Host<Puppet> {
    let mut host = Host::probing(change);
    host.app().reads = false;
    host.shake_hands().hears(&[Ready, Open]);
    host
}

fn consume(host: &mut Host<Puppet>, conn: ConnId, len: u32) {
    host.act(|_, cx| cx.consume(conn, len));
}

#[test]
fn the_window_closes_on_who_does_not_read_and_opens_with_an_update() {
    let mut host = unread(|spec| spec.tcp.profile.rcv_buf = 4096);
    host.inject_together(&[data(1460).seq(1).ack(1), data(1460).seq(1461).ack(1)]);
    host.expect(ack().seq(1).ack(2921).win(1176));
    host.inject(data(1176).seq(2921).ack(1)).silent();
    host.wait_ms(41).expect(ack().seq(1).ack(4097).win(0));
    host.hears(&[Data(1460), Data(2920), Data(4096)]);
    // A probe is answered at once, and its byte isn't taken.
    for _ in 0..3 {
        host.inject(data(1).seq(4097).ack(1))
            .counted(Counter::ConnSegment)
            .expect(ack().seq(1).ack(4097).win(0));
    }
    host.hears(&[]);
    let conn = host.conn();
    // A byte is not worth a window (RFC 9293 §3.8.6.2.2).
    consume(&mut host, conn, 1);
    host.silent();
    consume(&mut host, conn, 4095);
    host.expect(ack().seq(1).ack(4097).win(4096));
    assert_eq!(host.worker().queued_items(), 0);
    host.inject(data(1).seq(4097).ack(1)).hears(&[Data(1)]);
    host.wait_ms(41).expect(ack().seq(1).ack(4098));
}

/// A SYN-ACK can't offer all of a large buffer; that alone is no reason for a segment.
#[test]
fn a_handshake_draws_no_window_update() {
    let mut host = Host::probing(|_| {});
    host.inject(syn().seq(0).wscale(2))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1).win(65_535).wscale(7));
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .silent();
    host.wait_ms(500).silent();
    // The first segment that goes anyway offers it.
    host.inject_together(&[data(10).seq(1).ack(1), data(10).seq(11).ack(1)]);
    host.expect(ack().seq(1).ack(21).win(32_768));
}

#[test]
fn an_ack_in_the_middle_of_a_burst_keeps_the_peer_going() {
    let mut host = unread(|_| {});
    host.app().reads = true;
    let burst: Vec<_> = (0..20).map(|n| data(100).seq(1 + 100 * n).ack(1)).collect();
    host.inject_together(&burst).counted(Counter::ConnSegment);
    for acked in [801, 1601, 2001] {
        host.expect(ack().seq(1).ack(acked));
    }
    host.silent();
}

#[test]
fn without_a_place_the_bytes_are_lost_but_the_ack_counts() {
    let mut host = unread(|spec| spec.limits.queue_items = 8);
    let conn = host.conn();
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, &[7; 100])), Ok(100));
    host.expect(data(100).seq(1).ack(1));
    for n in 0..3 {
        host.inject(data(1000).seq(1 + 1000 * n).ack(1))
            .counted(Counter::ConnSegment);
        assert_eq!(host.count(Counter::PayloadNoPlace), 0);
    }
    while host.try_reply().is_some() {}
    assert_eq!(host.worker().queued_items(), 4);
    host.inject(data(1000).seq(3001).ack(101))
        .counted(Counter::ConnSegment)
        .silent();
    assert_eq!(host.count(Counter::PayloadNoPlace), 1);
    assert_eq!(
        host.worker().queued_items(),
        3,
        "what we sent is acknowledged"
    );
    // Again, and there is a place now.
    consume(&mut host, conn, 1000);
    while host.try_reply().is_some() {}
    host.inject(data(1000).seq(3001).ack(101))
        .counted(Counter::ConnSegment);
    host.hears(&[Data(1000), Data(2000), Data(3000), Data(3000)]);
    host.wait_ms(41).expect(ack().seq(101).ack(4001));
}

fn item() -> TxItem<MemoryFrame> {
    TxItem::Pattern { start: 0, len: 1 }
}

/// Lets the peer take two segments: while places are scarce a connection may hold as many as that, and two more.
fn earn(host: &mut Host<Puppet>, conn: ConnId) {
    let two = TxItem::Pattern {
        start: 0,
        len: 2 * 536,
    };
    assert!(host.act(|_, cx| cx.send(conn, two).is_ok()));
    while host.try_reply().is_some() {}
    host.inject(ack().seq(1).ack(1 + 2 * 536));
}

/// Half of the places are for receiving, and in each half the last ones are for who holds none.
#[test]
fn neither_direction_nor_connection_keeps_out_another() {
    let mut host = unread(|spec| spec.limits.queue_items = 8);
    let (first, second) = (host.conn(), Flow::v4(2, OPEN));
    earn(&mut host, first);
    for sent in [true, true, true, false] {
        assert_eq!(host.act(|_, cx| cx.send(first, item()).is_ok()), sent);
    }
    for (n, lost) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
        host.inject(data(1000).seq(1 + 1000 * n).ack(1));
        assert_eq!(host.count(Counter::PayloadNoPlace), lost);
    }
    while host.try_reply().is_some() {}
    host.on(second).shake_hands();
    let conn = host.conn();
    for sent in [true, false] {
        assert_eq!(host.act(|_, cx| cx.send(conn, item()).is_ok()), sent);
    }
    host.inject(data(1000).seq(1).ack(1));
    assert_eq!(host.count(Counter::PayloadNoPlace), 1, "no more");
    assert_eq!(host.worker().queued_items(), 8);
    while host.try_reply().is_some() {}
}

#[test]
fn who_finds_no_place_to_send_hears_when_there_is_one() {
    let mut host = unread(|spec| spec.limits.queue_items = 2);
    let (first, first_flow) = (host.conn(), host.flow);
    let second = fill(&mut host);
    assert_eq!(
        host.act(|_, cx| cx.send_bytes(first, b"no")),
        Err(SendError::Full(()))
    );
    assert!(host.act(|_, cx| cx.send(first, item()).is_err() && !cx.has_room(first)));
    assert!(!host.act(|_, cx| cx.has_room(second)), "it has its place");
    host.hears(&[]);
    host.inject(ack().seq(1).ack(2));
    // The one by its acknowledgment, the other in line.
    host.hears(&[Writable, Writable]);
    while host.try_reply().is_some() {}
    assert_eq!(host.act(|_, cx| cx.send_bytes(first, b"yes")), Ok(3));
    host.on(first_flow).expect(data(3).seq(1).ack(1));
    host.wait_ms(100).hears(&[]);
}

/// It was refused by its own limit, and all of its own is acknowledged; but with the same segment its app sends so much on
/// other connections that the room of all is used up. Nothing more will come on this one: it must stand in line.
#[test]
fn who_is_refused_by_its_own_limit_hears_although_room_comes_later() {
    let mut host = unread(|spec| {
        spec.limits.queue_items = 8;
        spec.limits.send_queue_items = 3;
    });
    let (first, first_flow) = (host.conn(), host.flow);
    let full_segment = || TxItem::Pattern { start: 0, len: 536 };
    earn(&mut host, first);
    for sent in [true, true, true, false] {
        let result = host.act(|_, cx| cx.send(first, full_segment()).is_ok());
        assert_eq!(result, sent);
    }
    while host.try_reply().is_some() {}
    let others = [2, 3, 4].map(|port| {
        host.on(Flow::v4(port, OPEN))
            .shake_hands()
            .hears(&[Ready, Open]);
        (host.conn(), host.flow)
    });
    host.app().reads = true;
    host.app().fills = others.map(|(conn, _)| conn).to_vec();
    host.on(first_flow)
        .inject(data(1).seq(1).ack(1 + 5 * 536))
        .hears(&[Data(1)]);
    while host.try_reply().is_some() {}
    // Of the places of all, one is free now: it is for who has none.
    host.on(others[0].1)
        .inject(ack().seq(1).ack(2))
        .counted(Counter::ConnSegment)
        .hears(&[Writable]);
    while host.try_reply().is_some() {}
}

/// A parked connection would never hear.
#[test]
fn who_waits_for_room_does_not_park() {
    let mut host = unread(|spec| spec.limits.queue_items = 2);
    let (first, first_flow) = (host.conn(), host.flow);
    fill(&mut host);
    assert_eq!(
        host.act(|_, cx| cx.send_bytes(first, b"no")),
        Err(SendError::Full(()))
    );
    host.wait_ms(10_000);
    while host.try_reply().is_some() {}
    host.inject(ack().seq(1).ack(2));
    while host.try_reply().is_some() {}
    host.hears(&[Writable]);
    // It has nothing to say: now it may.
    host.wait_ms(2_000).on(first_flow);
    while host.try_reply().is_some() {}
    assert_eq!(host.kind(), Some(Kind::Parked));
}

/// Another connection, whose unacknowledged byte takes the only place for sending.
fn fill(host: &mut Host<Puppet>) -> ConnId {
    host.on(Flow::v4(2, OPEN))
        .shake_hands()
        .hears(&[Ready, Open]);
    let conn = host.conn();
    assert!(host.act(|_, cx| cx.send(conn, item()).is_ok()));
    while host.try_reply().is_some() {}
    conn
}

/// A connection that waits for room may end before there is any, and leave its slot to another.
#[test]
fn a_wait_for_room_ends_with_its_connection() {
    let mut host = unread(|spec| {
        spec.limits.queue_items = 2;
        spec.limits.records.open.v4 = 2;
        spec.limits.records.parked.v4 = 2;
    });
    fill(&mut host);
    for port in 100..120 {
        let conns = &host.app().conns;
        let conn = if port == 100 {
            conns[0]
        } else {
            conns[conns.len() - 1]
        };
        assert_eq!(
            host.act(|_, cx| cx.send_bytes(conn, b"no")),
            Err(SendError::Full(()))
        );
        host.act(|_, cx| cx.abort(conn));
        assert!(host.try_reply().is_some(), "a reset");
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    assert_eq!(
        host.worker().core.conns.starved_len(),
        1,
        "a slot waits once"
    );
    host.app().heard.clear();
    host.on(Flow::v4(2, OPEN)).inject(ack().seq(1).ack(2));
    while host.try_reply().is_some() {}
    // Its slot's present owner never asked.
    host.hears(&[]);
}

/// SHLD-31: a segment ahead of a gap around bytes that are held keeps what is new on both sides of them.
#[test]
fn a_segment_around_what_is_held_keeps_all_that_is_new() {
    let mut host = unread(|_| {});
    let bytes = |len: u32, seq: u32| data(len).seq(seq).ack(1);
    for ahead in [bytes(100, 401), bytes(1000, 201)] {
        host.inject(ahead).expect(ack().seq(1).ack(1));
    }
    assert_eq!(host.worker().queued_items(), 1, "what it covers is let go");
    host.inject(bytes(200, 1)).expect(ack().seq(1).ack(1201));
    host.hears(&[Data(1200)]);
    let conn = host.conn();
    consume(&mut host, conn, 1200);
    assert_eq!(host.worker().queued_items(), 0);
}

/// Without a place, data is lost: what we sent isn't.
#[test]
fn data_without_a_place_starts_no_fast_retransmit() {
    let mut host = unread(|spec| spec.limits.queue_items = 8);
    let conn = host.conn();
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, &[7; 1600])), Ok(1600));
    while host.try_reply().is_some() {}
    for n in 0..9 {
        host.inject(data(1000).seq(1 + 1000 * n).ack(1));
    }
    let lost = host.count(Counter::PayloadNoPlace);
    assert!(lost >= 3, "{lost}");
    while host.try_reply().is_some() {}
    let tcp = host.worker().tcp_counters();
    assert_eq!((tcp.fast_retransmits, tcp.retransmitted_segments), (0, 0));
}

/// No buffer for the ACK when its delay ends: it goes when there is one, and not when the peer's timer asks again.
#[test]
fn an_ack_that_found_no_buffer_is_sent_later() {
    let mut host = unread(|_| {});
    host.inject(data(10).seq(1).ack(1)).silent();
    host.nic().pool_frames = 0;
    host.wait_ms(41).silent();
    assert_eq!(host.count(Counter::TxNoBuffer), 1);
    host.wait_ms(41).silent();
    assert_eq!(host.count(Counter::TxNoBuffer), 2, "tried again");
    host.nic().pool_frames = usize::MAX;
    host.wait_ms(41).expect(ack().seq(1).ack(11));
    host.wait_ms(500).silent();
}
