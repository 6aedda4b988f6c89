//! Facts that an app can ask about its connections: while they are open, parked, and in their last callback.

use core::time::Duration;

use super::host::{Host, OUR_V4, PEER_V4};
use super::neighbors::arp_request;
use crate::conn::{ConnId, Kind};
use crate::sim::puppet::AppEvent::{Closed, Open, PeerClosed, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::state::State;
use crate::tcp::verdict::CloseReason;
use crate::worker::app::ConnectionEnd;
use crate::worker::connect::{ConnInfo, Connect};

/// A connection whose peer asked for everything, with round-trip times of 40 ms.
fn open() -> (Host<Puppet>, ConnId) {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    host.inject(syn().seq(0).mss(1000).wscale(3).ts(7, 0));
    host.expect(syn_ack().seq(0).ack(1).mss(1460).wscale(7));
    let (tsval, _) = host
        .last()
        .segment
        .options
        .timestamps
        .map_or((0, 0), |ts| (ts.tsval, ts.tsecr));
    host.wait_ms(40);
    host.inject(ack().seq(1).ack(1).win(1_000).ts(8, tsval));
    host.hears(&[Ready, Open]);
    let conn = host.conn();
    (host, conn)
}

fn info(host: &mut Host<Puppet>, conn: ConnId) -> ConnInfo {
    let now = host.now;
    let info = host.worker().with_cx(now, |_, cx| cx.info(conn));
    info.expect("a connection")
}

#[test]
fn an_open_connection_says_what_was_negotiated_and_measured() {
    let (mut host, conn) = open();
    let before = info(&mut host, conn);
    assert_eq!(before.state, State::Established);
    let tcp = before.tcp;
    assert_eq!((tcp.snd_mss, tcp.rcv_mss), (1000 - 12, 1460));
    assert_eq!(
        (tcp.timestamps, tcp.window_scales, tcp.sack_permitted),
        (true, Some((3, 7)), false)
    );
    let ms = Duration::from_millis;
    assert_eq!(
        (tcp.srtt, tcp.rttvar, tcp.rto),
        (Some(ms(40)), ms(20), ms(1000))
    );
    assert_eq!((tcp.cwnd, tcp.ssthresh), (9880, None));
    assert_eq!(
        (tcp.acked_len, tcp.received_len, tcp.retransmissions),
        (1, 0, 0)
    );
    assert_eq!((tcp.close_reason, tcp.closed_first), (None, None));

    let _ = host.act(|_, cx| cx.send_bytes(conn, &[7; 100]));
    host.next_reply();
    host.wait_ms(1_001).next_reply();
    let lost = info(&mut host, conn).tcp;
    assert_eq!((lost.retransmissions, lost.rto), (1, ms(2000)));
    assert_eq!((lost.cwnd, lost.ssthresh), (988, Some(2 * 988)));
    host.inject(data(30).seq(1).ack(101).ts(9, 0));
    let after = info(&mut host, conn).tcp;
    assert_eq!((after.acked_len, after.received_len), (101, 30));
    host.next_reply();
}

#[test]
fn a_parked_one_says_the_same() {
    let (mut host, conn) = open();
    let open = info(&mut host, conn);
    host.wait_ms(1_004);
    assert_eq!(host.kind(), Some(Kind::Parked));
    let mut parked = info(&mut host, conn);
    assert_eq!(parked.tcp.acked_len, 0, "counted from when it is unparked");
    parked.tcp.acked_len = open.tcp.acked_len;
    // Times are kept with 11 bits.
    let rounding = open.tcp.rto - parked.tcp.rto;
    assert!(rounding < Duration::from_micros(500));
    parked.tcp.rto = open.tcp.rto;
    assert_eq!(parked, open);
    // And when it is unparked, it still knows.
    host.inject(data(5).seq(1).ack(1).ts(9, 0))
        .wait_ms(41)
        .next_reply();
    let unparked = info(&mut host, conn).tcp;
    assert_eq!((unparked.srtt, unparked.received_len), (open.tcp.srtt, 5));
}

#[test]
fn the_last_callback_sees_the_connection_as_it_ended() {
    let (mut host, conn) = open();
    host.inject(data(5).seq(1).ack(1).ts(9, 0))
        .inject(rst().seq(6));
    host.try_reply();
    host.hears(&[
        crate::sim::puppet::AppEvent::Data(5),
        Closed(CloseReason::Reset),
    ]);
    let ended = host.app().ended.expect("an end");
    assert_eq!(
        (ended.local.ip(), ended.remote.ip()),
        (OUR_V4.into(), PEER_V4.into())
    );
    assert_eq!((ended.state, ended.tcp.received_len), (State::Closed, 5));
    assert_eq!(ended.tcp.srtt, Some(Duration::from_millis(40)));
    let now = host.now;
    assert_eq!(host.worker().with_cx(now, |_, cx| cx.info(conn)), None);
    assert_eq!(host.try_reply(), None);
}

#[test]
fn parked_too() {
    for by_peer in [true, false] {
        let (mut host, conn) = open();
        host.wait_ms(1_004);
        assert_eq!(host.kind(), Some(Kind::Parked));
        host.hears(&[]);
        let why = if by_peer {
            host.inject(rst().seq(1));
            CloseReason::Reset
        } else {
            host.act(|_, cx| cx.abort(conn));
            host.next_reply();
            CloseReason::Aborted
        };
        host.hears(&[Closed(why)]);
        let ended = host.app().ended.expect("an end");
        assert_eq!((ended.state, ended.tcp.snd_mss), (State::Closed, 988));
    }
}

#[test]
fn whose_fin_came_first() {
    let (mut host, _) = open();
    host.inject(fin().seq(1).ack(1).ts(9, 0))
        .hears(&[PeerClosed]);
    host.next_reply();
    host.inject(ack().seq(2).ack(2).ts(9, 0));
    host.hears(&[Closed(CloseReason::Graceful)]);
    let first = |host: &mut Host<Puppet>| host.app().ended.and_then(|info| info.tcp.closed_first);
    assert_eq!(first(&mut host), Some(ConnectionEnd::Remote));

    let (mut host, conn) = open();
    host.act(|_, cx| cx.close(conn));
    host.next_reply();
    host.inject(fin().seq(1).ack(2).ts(9, 0));
    host.next_reply();
    host.hears(&[PeerClosed, Closed(CloseReason::Graceful)]);
    assert_eq!(first(&mut host), Some(ConnectionEnd::Local));

    // Withdrawn: no FIN from either side.
    let remote = (PEER_V4, 9_000).into();
    let conn = host.act(|_, cx| cx.connect(remote, &Connect::default(), false));
    host.next_reply();
    host.act(|_, cx| cx.close(conn.expect("a record")));
    host.hears(&[Closed(CloseReason::Graceful)]);
    assert_eq!(first(&mut host), None);
}
