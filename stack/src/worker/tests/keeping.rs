//! Bytes that an application keeps in a connection beyond the callback that read them.

use super::host::{Flow, Host, OPEN};
use super::neighbors::arp_request;
use crate::conn::{ConnId, Kind};
use crate::nic::Frame as _;
use crate::queue::item::TxItem;
use crate::sim::puppet::AppEvent::{Data, Open, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, rst};

/// A connection that has got five bytes, which the app has not read.
fn with_data() -> (Host<Puppet>, ConnId) {
    let mut host = Host::probing(|spec| spec.limits.queue_items = 64);
    host.inject_bytes(&arp_request()).next_reply();
    host.app().reads = false;
    host.shake_hands().hears(&[Ready, Open]);
    host.inject(data(5).seq(1).ack(1)).hears(&[Data(5)]);
    let conn = host.conn();
    (host, conn)
}

/// The delayed ACK.
fn acked(host: &mut Host<Puppet>, up_to: u32) {
    host.wait_ms(50).expect(ack().seq(1).ack(up_to));
}

/// Keeps all that waits to be read; says whether there was a place.
fn keep(host: &mut Host<Puppet>, conn: ConnId) -> bool {
    host.act(|_, cx| {
        let can = cx.can_keep();
        let chunk = cx.take(conn).expect("something waits");
        let is_kept = cx.keep(conn, chunk).is_ok();
        assert!(is_kept || !can, "there was a place");
        is_kept
    })
}

#[test]
fn what_is_kept_counts_as_read_and_is_sent_later() {
    let (mut host, conn) = with_data();
    assert!(keep(&mut host, conn));
    // It is acknowledged, and the window is whole.
    acked(&mut host, 6);
    assert_eq!(
        host.act(|_, cx| (cx.unread_len(conn), cx.kept_len(conn))),
        (0, 5)
    );
    host.wait_ms(5_000).silent();
    assert_eq!(host.kind(), Some(Kind::Open), "it doesn't park");
    let peeked = host.act(|_, cx| cx.peek_kept(conn).len());
    assert_eq!(peeked, 5);
    host.act(|_, cx| {
        let chunk = cx.take_kept(conn).expect("kept");
        assert!(cx.take_kept(conn).is_none(), "once");
        let (start, len) = (chunk.start, chunk.len);
        let frame = chunk.frame;
        assert!(!frame.bytes().is_empty());
        assert!(cx.send(conn, TxItem::Owned { frame, start, len }).is_ok());
    });
    host.expect(data(5).push(true).seq(1).ack(6));
    host.inject(ack().seq(6).ack(6)).wait_ms(5_000);
    assert_eq!(host.kind(), Some(Kind::Parked));
}

/// The host checks at its end that no buffer is missing.
#[test]
fn what_is_kept_goes_with_its_connection() {
    let (mut host, conn) = with_data();
    assert!(keep(&mut host, conn));
    acked(&mut host, 6);
    assert_eq!(host.worker().queued_items(), 1);
    host.inject(rst().seq(6));
    assert_eq!(host.worker().queued_items(), 0);
    assert_eq!(host.act(|_, cx| cx.kept_len(conn)), 0);
    host.act(|_, cx| assert!(cx.take_kept(conn).is_none()));
}

#[test]
fn places_for_what_others_receive_are_left() {
    let (mut host, first) = with_data();
    let mut kept = u32::from(keep(&mut host, first));
    acked(&mut host, 6);
    let mut seq = 6;
    loop {
        host.inject(data(5).seq(seq).ack(1)).hears(&[Data(5)]);
        seq += 5;
        let is_kept = keep(&mut host, first);
        acked(&mut host, seq);
        if !is_kept {
            break;
        }
        kept += 1;
    }
    // Half of the places are for what was received, and an eighth of all for those that have none.
    assert_eq!(kept, 64 / 2 - 64 / 8);
    host.on(Flow::v4(2, OPEN)).shake_hands();
    host.hears(&[Ready, Open]);
    host.inject(data(5).seq(1).ack(1)).hears(&[Data(5)]);
    let second = host.conn();
    host.act(|_, cx| cx.consume(second, 5));
    acked(&mut host, 6);
}
