//! Active opens: ports, errors, link addresses, and where frames of connections go.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::HashSet;

use super::answer::Answer;
use super::host::{Flow, Host, OPEN, OUR_V4, OUR_V6, PEER_MAC, PEER_V4, PEER_V6};
use super::neighbors::{arp_reply, arp_request};
use super::retransmission::expect_arp_request;
use crate::counters::Counter;
use crate::local::ports::PortRange;
use crate::sim::puppet::AppEvent::{Data, Open};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, syn, syn_ack};
use crate::wire::{MacAddr, vlan};
use crate::worker::connect::{Connect, ConnectError};

pub(super) const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(PEER_V4), 9_000);

pub(super) fn from_port(port: u16) -> Connect {
    Connect {
        local_port: Some(port),
        ..Connect::default()
    }
}

/// A host with an open connection that doesn't park so soon.
fn busy() -> Host<Puppet> {
    let mut host = Host::probing(|spec| spec.park_after = Duration::from_secs(100));
    host.shake_hands();
    host
}

/// The next reply as it is.
fn next_answer(host: &mut Host<Puppet>) -> Answer {
    let frame = host.next_reply();
    Answer::read(&frame)
}

#[test]
fn the_syn_waits_for_the_neighbor_and_the_handshake_completes() {
    let mut host = Host::probing(|_| {});
    host.on(Flow::between(REMOTE, (OUR_V4, 50_000).into()));
    host.act(|_, cx| cx.connect(REMOTE, &from_port(50_000), false))
        .expect("connects");
    expect_arp_request(&mut host, PEER_V4);
    host.silent()
        .inject_bytes(&arp_reply())
        .counted(Counter::ArpLearned);
    host.expect(syn().seq(0).mss(1460).wscale(7).win(65_535))
        .hears(&[]);
    host.inject(syn_ack().seq(0).ack(1).mss(1460))
        .counted(Counter::ConnSegment)
        .hears(&[Open])
        .expect(ack().seq(1).ack(1));
    assert_eq!(host.count(Counter::ActiveOpens), 1);
    let conn = host.conn();
    let info = host.act(|_, cx| cx.info(conn)).expect("open");
    assert_eq!((info.local.port(), info.remote), (50_000, REMOTE));
    assert_eq!(info.listener, None);
    assert_eq!(host.act(|_, cx| cx.send_bytes(conn, b"hello")), Ok(5));
    host.expect(data(5).seq(1).ack(1));
    host.inject(data(3).seq(1).ack(6)).hears(&[Data(3)]);
}

/// All that are opened while the neighbour is asked for send their SYN when it has answered, and not when a timer says that
/// it was lost; and the timer runs from then on.
#[test]
fn every_syn_leaves_when_the_neighbor_has_answered() {
    let mut host = Host::probing(|_| {});
    let ports: Vec<u16> = (50_000..50_040).collect();
    host.act(|_, cx| {
        for &port in &ports {
            assert!(
                cx.connect((PEER_V4, 9_000).into(), &from_port(port), false)
                    .is_ok()
            );
        }
    });
    expect_arp_request(&mut host, PEER_V4);
    host.silent().wait_ms(900).silent();
    host.inject_bytes(&arp_reply()).counted(Counter::ArpLearned);
    let expect_syns = |host: &mut Host<Puppet>| {
        let sent: Vec<u16> = ports
            .iter()
            .map(|_| next_answer(host))
            .inspect(|answer| assert!(answer.segment.flags.syn()))
            .map(|answer| answer.src.port())
            .collect();
        assert_eq!(sent, ports);
        host.silent();
    };
    expect_syns(&mut host);
    host.wait_ms(999).silent();
    host.wait_ms(2);
    expect_syns(&mut host);
    assert_eq!(host.count(Counter::TxNeighborDropped), 0);
}

/// The first question is lost: the second one is as good.
#[test]
fn every_syn_leaves_when_the_neighbor_has_answered_late() {
    let mut host = Host::probing(|_| {});
    host.act(|_, cx| {
        for port in 50_000..50_010 {
            assert!(
                cx.connect((PEER_V4, 9_000).into(), &from_port(port), false)
                    .is_ok()
            );
        }
    });
    expect_arp_request(&mut host, PEER_V4);
    host.wait_ms(1_001);
    expect_arp_request(&mut host, PEER_V4);
    host.silent().wait_ms(500).silent();
    host.inject_bytes(&arp_reply());
    for _ in 0..10 {
        next_answer(&mut host);
    }
    host.silent();
}

#[test]
fn a_known_neighbor_gets_the_syn_at_once() {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    host.on(Flow::between(REMOTE, (OUR_V4, 50_000).into()));
    host.act(|_, cx| cx.connect(REMOTE, &from_port(50_000), false))
        .expect("connects");
    host.expect(syn().seq(0)).silent();
}

#[test]
fn chosen_ports_are_of_the_range_and_none_twice() {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    let mut ports = HashSet::new();
    for _ in 0..50 {
        host.act(|_, cx| cx.connect(REMOTE, &Connect::default(), false))
            .expect("connects");
        let answer = next_answer(&mut host);
        assert_eq!(answer.dst, REMOTE);
        assert_eq!(answer.src.ip(), IpAddr::from(OUR_V4));
        let range = PortRange::default();
        assert!((range.first()..=range.last()).contains(&answer.src.port()));
        assert!(ports.insert(answer.src.port()), "{} twice", answer.src);
    }
}

/// The same frames, ports included, whether connections are opened one by one or at once; more of them than one group has.
#[test]
fn many_connections_open_as_one_after_another_would() {
    const COUNT: usize = 70;
    let syns = |at_once: bool| -> Vec<Vec<u8>> {
        let mut host = Host::probing(|spec| spec.limits.records.open.v4 = COUNT as u32);
        host.inject_bytes(&arp_request()).next_reply();
        let how = Connect::default();
        host.act(|_, cx| {
            if at_once {
                let mut opened = 0;
                let opens = (0..COUNT).map(|_| (REMOTE, how, false));
                cx.connect_many(opens, |result| {
                    opened += usize::from(result.is_ok());
                    ControlFlow::Continue(())
                });
                assert_eq!(opened, COUNT);
            } else {
                for _ in 0..COUNT {
                    assert!(cx.connect(REMOTE, &how, false).is_ok());
                }
            }
        });
        (0..COUNT).map(|_| host.next_reply()).collect()
    };
    assert_eq!(syns(true), syns(false));
}

/// Towards one peer each port serves once: the one that is taken is passed over, and then there is none.
#[test]
fn what_is_in_use_is_passed_over_and_nothing_free_is_missed() {
    let mut host = Host::probing(|spec| {
        spec.local_ports = PortRange::new(50_000, 50_003).expect("a range");
    });
    host.inject_bytes(&arp_request()).next_reply();
    let taken = host.act(|_, cx| cx.connect(REMOTE, &from_port(50_001), false));
    assert!(taken.is_ok());
    let results = host.act(|_, cx| {
        let mut results = Vec::new();
        let any = Connect::default();
        let opens = [any, from_port(50_001), any, any, any, any].map(|how| (REMOTE, how, false));
        cx.connect_many(opens, |result| {
            results.push(result.map(drop));
            match result {
                Err(ConnectError::NoPort) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        results
    });
    let expected = [
        Ok(()),
        Err(ConnectError::PortInUse),
        Ok(()),
        Ok(()),
        Err(ConnectError::NoPort),
    ];
    assert_eq!(results, expected, "and nothing behind the break");
    let ports: HashSet<u16> = (0..4).map(|_| next_answer(&mut host).src.port()).collect();
    assert_eq!(ports, HashSet::from_iter(50_000..=50_003));
    host.silent();
}

#[test]
fn every_error_says_what_is_wrong_and_nothing_is_sent() {
    let mut host = Host::probing(|spec| spec.limits.records.open.v4 = 1);
    let to = |address: &str| SocketAddr::new(address.parse().expect("an address"), 9_000);
    let from = |local: IpAddr| Connect {
        local: Some(local),
        ..Connect::default()
    };
    let any = Connect::default();
    for (remote, how, error) in [
        (REMOTE, from(PEER_V4.into()), ConnectError::NotLocal),
        (REMOTE, from(OUR_V6.into()), ConnectError::NotLocal),
        (to("203.0.113.1"), any, ConnectError::NoRoute),
        (to("2001:db8::1"), any, ConnectError::NoRoute),
        (to("224.0.0.1"), any, ConnectError::BadAddress),
        (to("255.255.255.255"), any, ConnectError::BadAddress),
        (to("198.18.0.255"), any, ConnectError::BadAddress),
        (to("0.0.0.0"), any, ConnectError::BadAddress),
        (to("ff02::1"), any, ConnectError::BadAddress),
        (to("::"), any, ConnectError::BadAddress),
        ((PEER_V4, 0).into(), any, ConnectError::BadAddress),
        (
            (OUR_V4, 777).into(),
            from_port(777),
            ConnectError::BadAddress,
        ),
    ] {
        let result = host.act(|_, cx| cx.connect(remote, &how, false));
        assert_eq!(result, Err(error), "{remote} {how:?}");
        host.silent();
    }
    host.inject_bytes(&arp_request()).next_reply();
    assert!(host.act(|_, cx| cx.connect(REMOTE, &from_port(5), false).is_ok()));
    host.next_reply();
    let again = host.act(|_, cx| cx.connect(REMOTE, &from_port(5), false));
    assert_eq!(
        again,
        Err(ConnectError::PortInUse),
        "taken towards this peer"
    );
    let full = host.act(|_, cx| cx.connect(REMOTE, &from_port(6), false));
    assert_eq!(full, Err(ConnectError::TableFull));
    // Another family has records of its own.
    let v6 = SocketAddr::new(PEER_V6.into(), 9_000);
    assert!(host.act(|_, cx| cx.connect(v6, &any, false).is_ok()));
    let solicitation = host.next_reply();
    assert_eq!(solicitation[54], 135, "a neighbour solicitation");
    assert_eq!(host.count(Counter::ActiveOpens), 2);
}

/// A segment from elsewhere counts only when it is the peer's: a forger doesn't move the connection.
#[test]
fn the_way_back_is_learned_from_valid_segments_only() {
    let elsewhere = MacAddr([2, 0, 0, 0, 0, 77]);
    let mut host = busy();
    let conn = host.conn();
    host.flow.link.src = elsewhere;
    for forged in [
        ack().seq(500_000).ack(1), // outside the window
        ack().seq(1).ack(77),      // of something never sent
        syn().seq(1),
        data(100).seq(0u32.wrapping_sub(50_000)).ack(77), // long received
    ] {
        host.wait_ms(1_000)
            .inject(forged)
            .counted(Counter::ConnSegment);
        // The challenge itself goes the old way.
        let answer = next_answer(&mut host);
        assert_eq!(answer.link_dst, PEER_MAC.0);
    }
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
    assert_eq!(next_answer(&mut host).link_dst, PEER_MAC.0);
    // The peer has moved.
    host.inject(ack().seq(1).ack(2)).silent();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"y"));
    host.expect(data(1).seq(2).ack(1));
}

#[test]
fn a_connection_stays_in_its_vlan() {
    for flow in [Flow::v4(1, OPEN), Flow::v6(1, OPEN)] {
        let mut host = Host::probing(|_| {});
        host.on(flow);
        host.flow.link.vlan = Some(vlan::Tag::new(7));
        host.shake_hands();
        let conn = host.conn();
        let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
        host.expect(data(5).seq(1).ack(1));
    }
}

/// RFC 4861 §7.3.1: what a connection hears confirms its neighbour, for 30 s.
#[test]
fn who_was_not_heard_for_30_s_is_looked_for() {
    let mut host = busy();
    let conn = host.conn();
    host.wait_ms(29_000);
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"a"));
    host.expect(data(1).seq(1).ack(1));
    host.inject(ack().seq(1).ack(2)).silent();
    host.wait_ms(30_000);
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"b"));
    expect_arp_request(&mut host, PEER_V4);
    host.silent()
        .inject_bytes(&arp_reply())
        .expect(data(1).seq(2).ack(1));
}

/// Without a route there is no neighbour to ask: the frames go where they came from.
#[test]
fn without_a_route_the_way_that_frames_came_is_the_way() {
    let far = SocketAddr::new(Ipv4Addr::new(198, 19, 0, 9).into(), 1);
    let mut host = Host::probing(|spec| spec.park_after = Duration::from_secs(100));
    host.on(Flow::between(far, (OUR_V4, OPEN).into()))
        .shake_hands();
    let conn = host.conn();
    host.wait_ms(60_000);
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.expect(data(5).seq(1).ack(1));
    assert_eq!(host.count(Counter::TxNoRoute), 0);
}
